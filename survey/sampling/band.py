"""The band of the odds: their least and greatest value when the law of the radius is unknown."""

import numpy as np

from survey.sampling.chances import Mixer, draw_shares
from survey.sampling.design import Design
from survey.sampling.pairs import Floats, Ints, Pairs

_STEPS = 16  # of the radius, between which probabilities are bounded before they are worked out
_AT_ONCE = 1_000_000  # chances held in memory at one time
_TABLE = 4_000_000  # entries of the table that counts units


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
        search = _Search(pairs, design)
        low[search.units], high[search.units] = search.run()
    return low, high


class _Search:
    """The pairs by unit, nearest first, and the chance that each has at any fixed radius."""

    def __init__(self, pairs: Pairs, design: Design) -> None:
        order = pairs.by_unit
        unit = pairs.unit[order]
        self.start = np.flatnonzero(np.diff(unit, prepend=-1))
        self.units = unit[self.start]
        self._row = np.repeat(np.arange(len(self.units)), np.diff(np.r_[self.start, len(unit)]))
        self._points = pairs.points
        self._group = pairs.group[order]
        self._layer = pairs.layer_of(self._group)
        self._mm = _as_mm(pairs.distance_m[order])
        self._shares = draw_shares(design, int(pairs.rank.max()))
        self._bounds = _as_mm(np.asarray(design.within_m))
        self._counter = _Counter(pairs.start, _as_mm(pairs.distance_m), int(self._bounds[1]))

    def run(self) -> tuple[Floats, Floats]:
        """Bound the probabilities between some radii, and work out those that may be extreme."""
        least_mm, greatest_mm = map(int, self._bounds)
        radii = np.unique(np.linspace(least_mm, greatest_mm, _STEPS + 1).astype(np.int64))
        mixer = Mixer(self.start, self._group % len(self._points), self._points)
        chance = [self._at(radius) for radius in radii]
        exact = [1 - mixer.miss(part) for part in chance]
        least, greatest = np.minimum.reduce(exact), np.maximum.reduce(exact)
        own = self._share(self._group, self._mm, self._layer)
        for near, far, here, there in zip(radii, radii[1:], chance, chance[1:], strict=False):
            inside = (self._mm > near) & (self._mm <= far)
            upper = 1 - mixer.miss(np.where(inside, own, here))
            lower = 1 - mixer.miss(np.where(inside, 0, there))
            tops = np.flatnonzero(inside & (upper > greatest)[self._row])
            np.maximum.at(greatest, self._row[tops], self._work_out(tops, before=False))
            dips = np.flatnonzero(inside & (lower < least)[self._row])
            np.minimum.at(least, self._row[dips], self._work_out(dips, before=True))
        return least, greatest

    def _at(self, radius_mm: int) -> Floats:
        """Return the chance of each pair at one radius."""
        groups = np.arange(2 * len(self._points))
        layer = groups // len(self._points)
        share = self._share(groups, np.full(len(groups), radius_mm), layer)
        return np.where(self._mm <= radius_mm, share[self._group], 0)

    def _share(self, group: Ints, mm: Ints, layer: Ints, *, before: bool = False) -> Floats:
        """Return the chance of an eligible unit at a radius of mm, or a hair less."""
        share: Floats = self._shares[layer, self._counter.count(group, mm - before)]
        return share

    def _work_out(self, chosen: Ints, *, before: bool) -> Floats:
        """Return the probabilities at the distances of some pairs, or just before them."""
        place = chosen - self.start[self._row[chosen]]
        sizes = place if before else place + 1
        parts = np.split(
            np.arange(len(chosen)), np.flatnonzero(np.diff(sizes.cumsum() // _AT_ONCE)) + 1
        )
        found = [np.empty(0)]
        for part in parts if len(chosen) else []:
            size = sizes[part]
            start = np.cumsum(size) - size
            pair = np.arange(size.sum()) + np.repeat(chosen[part] - place[part] - start, size)
            group, mm = self._group[pair], np.repeat(self._mm[chosen[part]], size)
            share = self._share(group, mm, self._layer[pair], before=before)
            found.append(1 - Mixer(start, group % len(self._points), self._points).miss(share))
        return np.concatenate(found)


class _Counter:
    """Counts the units of a group within a radius: a table of coarse steps, then one by one."""

    def __init__(self, start: Ints, mm: Ints, greatest_mm: int) -> None:
        groups = len(start) - 1
        self._start = start
        self._steps = max(1, min(4096, _TABLE // groups))
        self._width = greatest_mm // self._steps + 1
        group = np.repeat(np.arange(groups), np.diff(start))
        step = group * self._steps + mm // self._width
        sizes = np.bincount(step, minlength=groups * self._steps)
        self._before = np.cumsum(sizes) - sizes
        self._mm = np.r_[mm, 0]

    def count(self, group: Ints, mm: Ints) -> Ints:
        """Return how many units of each group lie within mm of its point."""
        found = self._before[group * self._steps + mm // self._width]
        end = self._start[group + 1]
        going = np.flatnonzero((found < end) & (self._mm[found] <= mm))
        while len(going):
            found[going] += 1
            on = found[going]
            going = going[(on < end[going]) & (self._mm[on] <= mm[going])]
        count: Ints = found - self._start[group]
        return count


def _as_mm(metres: Floats) -> Ints:
    return np.rint(metres * 1000).astype(np.int64)
