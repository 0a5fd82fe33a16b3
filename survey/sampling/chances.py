"""From distances to probabilities: what one visit draws, and what a round of many draws."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from survey.sampling.design import Design
from survey.sampling.pairs import Floats, Ints, Pairs


def count_bounds(design: Design) -> list[tuple[int, int]]:
    """List, for alleys and compounds, the least and greatest number that a visit draws."""
    return [design.alleys, design.compounds]


def draw_shares(design: Design, greatest: int, *, order: int = 1) -> Floats:
    """Return the chance that certain units are all drawn, by how many are eligible.

    Of M eligible units m = min(k, M) are drawn, so one of them is drawn with probability
    E[m] / M, and two with E[m (m - 1)] / (M (M - 1)).

    Parameters
    ----------
    design
        Gives the law of k for each layer: every whole number between two bounds.
    greatest
        The greatest M.
    order
        1 for one unit, 2 for two units of one layer.

    Returns
    -------
    numpy.ndarray
        Shape (2, greatest + 1): layer's number by M; 0 where M is less than `order`.
    """
    eligible = np.arange(greatest + 1)
    ways = np.ones(greatest + 1)
    for step in range(order):
        ways *= eligible - step
    ways_up_to = np.r_[0.0, np.cumsum(ways)]  # summed over 0..M at M + 1
    shares = np.zeros((2, greatest + 1))
    for layer, (low, high) in enumerate(count_bounds(design)):
        # Below `split` k is less than M, or M itself; above it min(k, M) is M.
        split = np.clip(eligible, low - 1, high)
        summed = ways_up_to[np.minimum(split, greatest) + 1] - ways_up_to[min(low, greatest + 1)]
        mean = (np.where(split < low, 0, summed) + ways * (high - split)) / (high - low + 1)
        np.divide(mean, ways, out=shares[layer], where=eligible >= order)
    return shares


def visit_chances(pairs: Pairs, design: Design) -> Floats:
    """Return for each pair the probability that a visit to the point draws the unit.

    The units within a radius are the first of a group, so the integral over the radius of
    E[min(k, M)] / M is a sum over the steps of M, from the unit's own distance on.
    """
    group = pairs.group
    last = np.r_[group[1:] != group[:-1], np.ones(min(1, len(group)), dtype=bool)]
    next_m = np.where(last, np.inf, np.r_[pairs.distance_m[1:], 0])
    mass = design.chance_below(next_m) - design.chance_below(pairs.distance_m)
    rank = pairs.rank
    shares = draw_shares(design, int(rank.max(initial=0)))
    parts = pd.Series((mass * shares[pairs.layer_of(group), rank])[::-1])
    sums: npt.NDArray[Any] = parts.groupby(group[::-1]).cumsum().to_numpy()
    return sums[::-1]


class Mixer:
    """Turns the chances of pairs into the probability that no visit of a round draws a unit.

    All points of a kind are visited, or n of its N at random. Rows (units, say) own consecutive
    pairs, one for each point that can draw them.

    Parameters
    ----------
    start
        The first pair of each row; every row has one at least.
    point
        The point of each pair, a row in `points`.
    points
        ``kind``, ``visited``, ``of_kind`` of every point, as in `Pairs`.
    """

    def __init__(self, start: Ints, point: Ints, points: pd.DataFrame) -> None:
        self._start = start
        visited, of_kind = (points[name].to_numpy() for name in ("visited", "of_kind"))
        kind = pd.factorize(points["kind"])[0]
        partial = (visited < of_kind)[point]
        self._whole = None if not partial.any() else ~partial
        row = np.repeat(np.arange(len(start)), np.diff(np.r_[start, len(point)]))
        self._partial = [
            (int(visited[kind == code][0]), int(of_kind[kind == code][0]), pick, row[pick])
            for code in np.unique(kind[point[partial]])
            for pick in [np.flatnonzero(partial & (kind[point] == code))]
        ]

    def miss(self, chance: Floats) -> Floats:
        """Return for each row the probability that none of its pairs' visits draws it.

        Where n of N points are visited, the points of a row are gone through one after another:
        the next is among the visited with probability (n - j) / (N - t), if j of the t before it
        are. Summed over j this is the elementary symmetric sum sum_j C(N-m, n-j) e_j(1-p) / C(N, n)
        over the m points of the row, in terms that are all positive.

        Parameters
        ----------
        chance
            For each pair the probability that a visit to its point draws it.
        """
        miss = 1 - chance
        whole = miss if self._whole is None else np.where(self._whole, miss, 1)
        result: Floats = np.multiply.reduceat(whole, self._start) if len(self._start) else whole
        for visited, of_kind, pick, row in self._partial:
            result *= _miss_of_kind(miss[pick], row, len(result), visited, of_kind)
        return np.minimum(result, 1)  # a sum of many terms can exceed 1 by its last digit


def _miss_of_kind(miss: Floats, row: Ints, rows: int, visited: int, of_kind: int) -> Floats:
    place = np.arange(len(row)) - np.searchsorted(row, row)  # how many of the row come before
    order = np.argsort(place, kind="stable")
    state = np.zeros((rows, min(visited, int(place.max()) + 1) + 1))
    state[:, 0] = 1
    for turn, pick in enumerate(np.split(order, np.cumsum(np.bincount(place))[:-1])):
        # Of so many gone through, no more can be visited.
        among = np.arange(min(visited, turn + 1) + 1)
        before = state[row[pick], : len(among)]
        chosen = before * ((visited - among) / (of_kind - turn))
        after = before - chosen
        after[:, 1:] += chosen[:, :-1] * miss[pick, None]
        state[row[pick], : len(among)] = after
    total: Floats = state.sum(axis=1)
    return total
