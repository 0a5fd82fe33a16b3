"""The band of the odds: their least and greatest value when the law of the radius is unknown."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd

from survey.sampling.chances import Mixer, draw_shares
from survey.sampling.design import Design
from survey.sampling.pairs import Floats, Ints, Pairs

_STEPS = 16  # of the radius, between which probabilities are bounded before they are worked out
_AT_ONCE = 200_000  # pairs held in memory at one time
_LEAST = 1e-18  # what is less likely to be missed counts as this likely, in bounds only
_SLACK = 1e-5  # of bounds, which are logarithms: far more than rounding can take from them


def find_band(pairs: Pairs, design: Design) -> tuple[Floats, Floats]:
    """Find the least and greatest probability over every fixed radius in `within_m`.

    The radius is the same for all points of a round. While it grows, a unit's chance at a point
    falls with every unit that becomes eligible there, and rises only where the unit itself does.
    So the greatest probability is found at the unit's own distances (or the least radius), the
    least one just before them (or at the greatest radius).

    Parameters
    ----------
    pairs
        What the design can draw.
    design
        Its counts, its points and the bounds of its radius; the law plays no part.

    Returns
    -------
    tuple of numpy.ndarray
        Least and greatest, for each row of `pairs.units`.
    """
    low, high = np.zeros(len(pairs.units)), np.zeros(len(pairs.units))
    if len(pairs.unit):
        chances = _Chances(pairs, design)
        weights = _weigh_visits(pairs)
        first = np.flatnonzero(np.diff(pairs.unit[pairs.by_unit], prepend=-1))
        cuts = first[np.flatnonzero(np.diff(first // _AT_ONCE)) + 1]
        parts = [_Search(pairs, order, chances) for order in np.split(pairs.by_unit, cuts)]
        with ThreadPoolExecutor() as pool:  # numpy lets go of the interpreter's lock
            bands = pool.map(lambda part: part.run(weights), parts)
        for part, (least, greatest) in zip(parts, bands, strict=True):
            low[part.units], high[part.units] = least, greatest
    return low, high


class _Chances:
    """The chance that a visit to a point draws an eligible unit, at any fixed radius.

    Its units are looked up in a table of coarse steps, then one by one.
    """

    def __init__(self, pairs: Pairs, design: Design) -> None:
        groups = np.arange(len(pairs.start) - 1)
        mm = _as_mm(pairs.distance_m)
        least_mm, greatest_mm = _as_mm(np.asarray(design.within_m)).tolist()
        # After each group's pairs comes a slot that no radius gets past.
        self._mm = np.insert(mm, pairs.start[1:], np.iinfo(np.int32).max).astype(np.int32)
        self._steps = max(1, 2 * len(mm) // len(groups))
        self._width = greatest_mm // self._steps + 1
        step = pairs.group * self._steps + mm // self._width
        sizes = np.bincount(step, minlength=len(groups) * self._steps)
        before = np.cumsum(sizes) - sizes + np.repeat(groups, self._steps)
        self._first = before.astype(np.int32)
        shares = draw_shares(design, int(pairs.rank.max()))
        self._shares = shares.ravel()
        self._shift = pairs.layer_of(groups) * shares.shape[1] - pairs.start[:-1] - groups
        self.radii = np.unique(np.linspace(least_mm, greatest_mm, _STEPS + 1).astype(np.int64))
        self.table = np.array([self.at(groups, np.full(len(groups), mm)) for mm in self.radii])

    def at(self, group: Ints, mm: Ints) -> Floats:
        """Return the chance for each group at a radius of mm."""
        slot = self._first[group * self._steps + mm // self._width].astype(np.int64)
        slot += self._mm[slot] <= mm
        going = np.flatnonzero(self._mm[slot] <= mm)
        while len(going):
            slot[going] += 1
            going = going[self._mm[slot[going]] <= mm[going]]
        chance: Floats = self._shares[slot + self._shift[group]]
        return chance


def _weigh_visits(pairs: Pairs) -> list[Floats]:
    """Return weights for each group's chances, with which products bound the odds.

    Where n of N points are visited, m points with chances p that can draw a unit miss it with a
    probability of at most the product of 1 - p n / N, since a visit to one makes the others less
    likely (Joag-Dev and Proschan 1983, Annals of Statistics 11), and of at least that of
    1 - p n / (N - m + 1), since none is visited with more, whatever is known of the others. Where
    all are visited, one weight does for both.
    """
    visited, of_kind = (pairs.points[name].to_numpy() for name in ("visited", "of_kind"))
    kind, kinds = pd.factorize(pairs.points["kind"])
    size = len(pairs.units) * len(kinds)
    many = np.bincount(pairs.unit * len(kinds) + kind[pairs.point], minlength=size)
    most = many.reshape(-1, len(kinds)).max(axis=0)[kind]
    greater = np.minimum(1, visited / np.maximum(of_kind - most + 1, 1))
    weights = [visited / of_kind, greater] if (visited < of_kind).any() else [visited / of_kind]
    return [np.tile(weight, 2) for weight in weights]


class _Search:
    """The pairs of some units, nearest first."""

    def __init__(self, pairs: Pairs, order: Ints, chances: _Chances) -> None:
        unit = pairs.unit[order]
        self._start = np.flatnonzero(np.diff(unit, prepend=-1))
        self.units = unit[self._start]
        self._row = np.repeat(np.arange(len(self.units)), np.diff(np.r_[self._start, len(unit)]))
        self._points = pairs.points
        self._group = pairs.group[order]
        self._point = self._group % len(pairs.points)
        self._mm = _as_mm(pairs.distance_m[order])
        self._chances = chances
        self._step = np.searchsorted(chances.radii, self._mm)

    def run(self, weights: list[Floats]) -> tuple[Floats, Floats]:
        """Bound the probabilities at all distances, and work out those that may be extreme."""
        mixer = Mixer(self._start, self._point, self._points)
        ends = [
            1 - mixer.miss(np.where(self._step <= step, self._chances.table[step][self._group], 0))
            for step in (0, len(self._chances.radii) - 1)
        ]
        least, greatest = np.minimum(*ends), np.maximum(*ends)
        inside = np.flatnonzero(self._step > 0)
        if len(inside):
            fall, rise, reached = self._bound(inside, weights)
            row = self._row[inside]
            tops = fall < reached[0][row] + _SLACK
            # Just before its nearest distance a unit has no odds, as at the least radius.
            dips = (rise > reached[1][row] - _SLACK) & (inside > self._start[row])
            self._improve(greatest, inside[tops], fall[tops], sign=1)
            self._improve(least, inside[dips], -rise[dips], sign=-1)
        return least, greatest

    def _bound(self, inside: Ints, weights: list[Floats]) -> tuple[Floats, Floats, list[Floats]]:
        """Bound the logarithm of the probability that a unit is missed.

        Returned are, for each pair, the least it can be at its distance, and the most it can be
        just before; and for each unit the least and the most that it is known to reach.
        """
        row, step, group = self._row[inside], self._step[inside], self._group[inside]
        first = np.flatnonzero(np.diff(row * (_STEPS + 1) + step, prepend=-1))
        size = np.diff(np.r_[first, len(inside)])
        logs = [_log(1 - self._chances.table * weight) for weight in weights]
        sums = [
            np.array(
                [
                    np.add.reduceat(np.where(self._step <= k, each[self._group], 0), self._start)
                    for k, each in enumerate(log)
                ]
            )
            for log in logs
        ]
        # Of the pairs within the same step those count that are nearer, each at the chance that
        # is greatest, that at its own distance, or least, that at the end of the step.
        own = self._chances.at(group, self._mm[inside])
        fall = _add_up(_log(1 - own * weights[-1][group]), first, size)
        fall += sums[-1][step - 1, row]
        later = logs[0][step, group]
        nearer = _add_up(later, first, size)
        rise = sums[0][step, row] - np.repeat(nearer[first + size - 1], size) + nearer - later
        return fall, rise, [sums[0].min(axis=0), sums[-1].max(axis=0)]

    def _improve(self, value: Floats, chosen: Ints, bound: Floats, *, sign: int) -> None:
        """Work out the probabilities that may be beyond `value`, the likeliest first."""
        for last in (False, True):
            row = self._row[chosen]
            able = bound < sign * _log(1 - value)[row] + _SLACK
            chosen, row, bound = chosen[able], row[able], bound[able]
            if not len(chosen):
                return
            first = np.flatnonzero(np.diff(row, prepend=-1))
            best = np.minimum.reduceat(bound, first)
            now = last | (bound == np.repeat(best, np.diff(np.r_[first, len(row)])))
            found = self._work_out(chosen[now], before=sign < 0)
            (np.maximum if sign > 0 else np.minimum).at(value, row[now], found)
            chosen, bound = chosen[~now], bound[~now]

    def _work_out(self, chosen: Ints, *, before: bool) -> Floats:
        """Return the probabilities at the distances of some pairs, or just before them."""
        place = chosen - self._start[self._row[chosen]]
        sizes = place if before else place + 1
        parts = np.split(
            np.arange(len(chosen)), np.flatnonzero(np.diff(sizes.cumsum() // _AT_ONCE)) + 1
        )
        found = []
        for part in parts:
            size = sizes[part]
            start = np.cumsum(size) - size
            pair = np.arange(size.sum()) + np.repeat(chosen[part] - place[part] - start, size)
            mm = np.repeat(self._mm[chosen[part]] - before, size)
            chance = self._chances.at(self._group[pair], mm)
            found.append(1 - Mixer(start, self._point[pair], self._points).miss(chance))
        return np.concatenate(found)


def _log(miss: Floats) -> Floats:
    log: Floats = np.log(np.maximum(miss, _LEAST))
    return log


def _add_up(values: Floats, first: Ints, size: Ints) -> Floats:
    """Add values up, beginning anew at each of `first`."""
    sums = np.cumsum(values)
    result: Floats = sums - np.repeat(sums[first] - values[first], size)
    return result


def _as_mm(metres: Floats) -> Ints:
    return np.rint(metres * 1000).astype(np.int64)
