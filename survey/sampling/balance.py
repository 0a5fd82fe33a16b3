"""Samples with given inclusion probabilities, well spread or not, and how well they are spread.

All functions work on arrays and give row numbers, sorted; `survey.sampling.mock` draws from tables.
"""

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from survey.errors import DesignError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_SLACK = 1e-9  # how far a sum of probabilities may be from a whole number and still be it
_HAIR_M = 1e-3  # what tells apart units at one place; half a hair moves nothing that is on a map
_TIE_M = 1e-6  # distances that differ by less are equal
_NEAR = 8  # neighbours found in advance; fewer than 1 in 100 units outlive all of theirs


def inclusion_probs(weights: npt.ArrayLike, size: int) -> Floats:
    """Turn weights into inclusion probabilities that add up to the size of the sample.

    They are proportional to the weights; those that would exceed 1 are set to 1 and the others
    scaled again, until none does (Särndal, Swensson and Wretman 1992, section 3.6.2).

    Parameters
    ----------
    weights
        Of shape (N,), 0 or above; a unit with weight 0 is never drawn.
    size
        How many units are to be drawn.

    Returns
    -------
    numpy.ndarray
        Probabilities of shape (N,).

    Raises
    ------
    DesignError
        If a weight is missing, infinite or below 0, or fewer units than `size` have one above 0.

    Examples
    --------
    >>> inclusion_probs([6, 2, 1, 1, 0], 2).tolist()
    [1.0, 0.5, 0.25, 0.25, 0.0]
    """
    weights = _as_vector(weights, "weight")
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(bad):
        raise DesignError(
            f"{len(bad)} weights cannot be used, the first is {weights[bad[0]]} in row {bad[0]};"
            " give finite numbers from 0 up"
        )
    free = weights > 0
    if not 0 <= size <= free.sum():
        raise DesignError(
            f"{size} units are asked for, but {free.sum()} have a weight above 0;"
            f" ask for 0 to {free.sum()}"
        )
    probs = np.zeros(len(weights))
    while free.any():
        share = weights[free] / weights[free].max()
        probs[free] = (size - np.sum(probs == 1)) * (share / share.sum())
        # Without the hair's breadth, rounding could keep the last units just below 1.
        over = free & (probs > 1 - 1e-12)
        if not over.any():
            break
        probs[over] = 1
        free &= ~over
    return probs


def simple_random(count: int, size: int, *, rng: np.random.Generator) -> Ints:
    """Draw `size` of `count` units, every set of that size with the same chance.

    Returns
    -------
    numpy.ndarray
        Row numbers of shape (size,), sorted.

    Raises
    ------
    DesignError
        If `size` is below 0 or above `count`.

    Examples
    --------
    >>> simple_random(3, 3, rng=np.random.default_rng(1)).tolist()
    [0, 1, 2]
    """
    if not 0 <= size <= count:
        raise DesignError(f"{size} units are asked for, but there are {count}")
    return np.sort(rng.choice(count, size, replace=False)).astype(np.int64)


def systematic(
    probs: npt.ArrayLike, order: npt.ArrayLike | None = None, *, rng: np.random.Generator
) -> Ints:
    """Draw by equal steps of 1 from a random start along the added-up probabilities.

    The ordered systematic method of Madow (1949), Annals of Mathematical Statistics 20: with the
    probabilities added up to C_1, C_2, ... in the given order and one start u in [0, 1), unit i
    is drawn where some u + k, k a whole number, lies in [C_(i-1), C_i). Units with probability 1
    are drawn in any case; leaving them out moves the rest by whole steps and changes nothing.

    Parameters
    ----------
    probs
        Inclusion probabilities of shape (N,).
    order
        Row numbers, each once, in the order of the walk; ``None`` for the order of the rows.
    rng
        The source of the one random number.

    Returns
    -------
    numpy.ndarray
        Row numbers, sorted: as many as the probabilities add up to, or one of the two nearest
        whole numbers where that is not a whole number.

    Raises
    ------
    DesignError
        If a probability lies outside [0, 1], or `order` does not name every row once.

    Examples
    --------
    Steps of one over pairs of halves meet one unit of each pair:

    >>> systematic([0.5, 0.5, 0.5, 0.5], rng=np.random.default_rng(1)).tolist()
    [1, 3]
    """
    probs = _check_probs(probs)
    rows = np.arange(len(probs)) if order is None else np.asarray(order)
    if rows.shape != probs.shape or not np.array_equal(np.sort(rows), np.arange(len(probs))):
        raise DesignError(f"the order should name each of the {len(probs)} rows once")
    rows = rows[(probs[rows] > 0) & (probs[rows] < 1)]
    end = np.cumsum(probs[rows])
    total = _whole(probs[rows])
    if total is not None and len(rows):
        end = np.append(np.minimum(end[:-1], total), total)
    steps = np.ceil(np.append(0, end) - rng.random())
    return np.sort(np.append(np.flatnonzero(probs == 1), rows[np.diff(steps) > 0]))


def local_pivotal(probs: npt.ArrayLike, places: npt.ArrayLike, *, rng: np.random.Generator) -> Ints:
    """Draw a well-spread sample by the local pivotal method.

    LPM 2 of Grafström, Lundström and Schelin (2012), Biometrics 68: an undecided unit is taken
    at random, and it and its nearest undecided neighbour fight for their probabilities p and q.
    If p + q < 1 one of them gets p + q, with chances p : q, and the other 0; else one gets 1, with
    chances 1 - q : 1 - p, and the other p + q - 1. Every fight decides a unit, keeps each one's
    expectation, and lets neighbours seldom be drawn together. LPM 1 fights only when the two are
    each other's nearest; it searches several times as often, for a slightly better spread.

    Parameters
    ----------
    probs
        Inclusion probabilities of shape (N,).
    places
        Coordinates of shape (N, 2), metres. Of neighbours equally near, such as several at one
        place, one is taken at random.
    rng
        The source of randomness.

    Returns
    -------
    numpy.ndarray
        Row numbers, sorted. If the probabilities add up to a whole number, within 1e-9, so many;
        else a coin with its probability settles the last unit.

    Raises
    ------
    DesignError
        If a probability lies outside [0, 1], or a place is not two finite numbers.

    Notes
    -----
    The neighbours of all undecided units are found at once in a k-d tree, and again when half of
    them are decided: about N log N steps in all.

    Examples
    --------
    Of two pairs of neighbours, one each:

    >>> places = [(0, 0), (10, 0), (5_000, 0), (5_010, 0)]
    >>> local_pivotal([0.5, 0.5, 0.5, 0.5], places, rng=np.random.default_rng(1)).tolist()
    [1, 3]
    """
    probs = _check_probs(probs)
    spots = _check_places(places, len(probs))
    # A height of less than a millimetre decides between equal distances, at random and for each
    # of them alike; it sets other distances apart by some nanometres.
    spots = np.column_stack([spots, rng.random(len(probs)) * _HAIR_M])
    left: list[float] = probs.tolist()
    chances = _draw_chances(rng)
    undecided = np.flatnonzero((probs > 0) & (probs < 1))
    while len(undecided) > 1:
        _halve(left, undecided, spots[undecided], chances)
        undecided = np.array([i for i in undecided.tolist() if 0 < left[i] < 1], dtype=np.int64)
    for i in undecided.tolist():
        # What rounding has left of a whole number is no matter of chance.
        sure = _whole(probs) is not None
        left[i] = round(left[i]) if sure else float(next(chances) < left[i])
    return np.flatnonzero(np.array(left) == 1)


def _halve(left: list[float], units: Ints, spots: Floats, chances: Iterator[float]) -> None:
    """Let `units` fight, changing `left`, until at most half of them are undecided."""
    tree = cKDTree(spots)
    near = units[tree.query(spots, min(_NEAR + 1, len(units)))[1]]
    names: list[int] = units.tolist()
    undecided = len(names)
    while undecided > max(1, len(names) // 2):
        row = int(next(chances) * len(names))
        i = names[row]
        p = left[i]
        if not 0 < p < 1:
            continue
        for j in near[row].tolist():
            if j != i and 0 < left[j] < 1:
                break
        else:
            j = _search_on(left, i, units, tree, spots[row])
        q = left[j]
        if p + q < 1:
            won, lost, chance = p + q, 0.0, p / (p + q)
        else:
            won, lost, chance = 1.0, p + q - 1, (1 - q) / ((1 - p) + (1 - q))
        left[i], left[j] = (won, lost) if next(chances) < chance else (lost, won)
        undecided -= (not 0 < left[i] < 1) + (not 0 < left[j] < 1)


def _search_on(left: list[float], i: int, units: Ints, tree: cKDTree, spot: Floats) -> int:
    """Find the nearest undecided neighbour of a unit that has outlived its near ones."""
    count = _NEAR
    while True:
        count *= 8
        for j in units[tree.query(spot, min(count, len(units)))[1]].tolist():
            if j != i and 0 < left[j] < 1:
                return int(j)


def _draw_chances(rng: np.random.Generator) -> Iterator[float]:
    while True:
        yield from rng.random(1024).tolist()


def spatial_balance(sample: npt.ArrayLike, probs: npt.ArrayLike, places: npt.ArrayLike) -> float:
    """Measure how evenly a sample is spread: 0 is perfect, and the less the better.

    With v_i the sum of the inclusion probabilities of all units nearer to sampled unit i than to
    any other sampled one (its Voronoi cell), which is 1 on average, the balance is the mean of
    (v_i - 1)^2 over the sample: Stevens and Olsen (2004), Journal of the American Statistical
    Association 99, in the form of Grafström, Lundström and Schelin (2012), Biometrics 68.

    Parameters
    ----------
    sample
        Row numbers of the sampled units, each once.
    probs
        Inclusion probabilities of shape (N,).
    places
        Coordinates of shape (N, 2), metres. A unit equally near to several sampled ones, within a
        micrometre, is shared among them.

    Returns
    -------
    float
        The balance. Compare it between samples of one size from one frame.

    Raises
    ------
    DesignError
        If the sample is empty, names a row twice or one that is not there, a probability lies
        outside [0, 1], or a place is not two finite numbers.

    Examples
    --------
    Four units on a line, two drawn: the first alone, or one of each half.

    >>> probs, places = [0.5] * 4, [(0, 0), (1, 0), (2, 0), (3, 0)]
    >>> spatial_balance([0, 1], probs, places), spatial_balance([0, 3], probs, places)
    (0.25, 0.0)
    """
    probs = _check_probs(probs)
    spots = _check_places(places, len(probs))
    rows = np.unique(np.asarray(sample))
    if (
        not len(rows)
        or len(rows) < np.size(sample)
        or not np.isin(rows, np.arange(len(probs))).all()
    ):
        raise DesignError(
            f"the sample should name one row at least of 0 to {len(probs) - 1}, none twice"
        )
    cells = _measure_cells(spots[rows], probs, spots)
    return float(np.mean((cells - 1) ** 2))


def _measure_cells(centres: Floats, probs: Floats, spots: Floats) -> Floats:
    """Add up the probabilities in the Voronoi cell of each centre."""
    sites, site_of, crowd = np.unique(centres, axis=0, return_inverse=True, return_counts=True)
    cells = np.zeros(len(sites))
    tree = cKDTree(sites)
    todo, count = np.arange(len(probs)), min(4, len(sites))
    while len(todo):
        away_m, near = tree.query(spots[todo], range(1, count + 1))
        tied = away_m <= away_m[:, :1] + _TIE_M
        # Where even the farthest one found is as near, there may be more.
        done = ~tied[:, -1] | (count == len(sites))
        share = np.where(tied, crowd[near], 0)[done]
        share = share / share.sum(axis=1, keepdims=True) * probs[todo[done], None]
        cells += np.bincount(near[done].ravel(), share.ravel(), minlength=len(sites))
        todo, count = todo[~done], min(2 * count, len(sites))
    shared: Floats = (cells / crowd)[site_of]
    return shared


def _as_vector(values: npt.ArrayLike, what: str) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise DesignError(f"there should be one {what} per unit, not an array of {array.shape}")
    return array


def _check_probs(probs: npt.ArrayLike) -> Floats:
    array = _as_vector(probs, "probability")
    bad = np.flatnonzero(~((array >= 0) & (array <= 1)))  # also true for NaN
    if len(bad):
        raise DesignError(
            f"{len(bad)} probabilities lie outside [0, 1], the first is {array[bad[0]]} in row"
            f" {bad[0]}; inclusion_probs makes them from weights"
        )
    return array


def _check_places(places: npt.ArrayLike, count: int) -> Floats:
    array = np.asarray(places, dtype=np.float64)
    if array.shape != (count, 2) or not np.isfinite(array).all():
        raise DesignError(
            f"there should be two finite coordinates for each of the {count} units, not an array"
            f" of {array.shape} with {np.sum(~np.isfinite(array))} missing or infinite ones"
        )
    return array


def _whole(probs: Floats) -> int | None:
    """Return the whole number that probabilities add up to, or None."""
    total = math.fsum(probs)
    return round(total) if abs(total - round(total)) <= _SLACK else None
