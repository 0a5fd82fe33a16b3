"""A square grid over places: what lies in a box or a row of cells is found without a search."""

from dataclasses import dataclass

import numpy as np

from survey.frame.lines import Floats, Ints, count_up


@dataclass(frozen=True, eq=False)
class Grid:
    """Places sorted by the cells of a square grid, row by row.

    Attributes
    ----------
    cell_m
        The side of a cell, in metres.
    first
        Column and row of the cell in the lower left corner.
    width
        How many columns there are.
    order
        The places by cell: rows upwards, columns from left to right.
    cell
        The number of the cell of each place in `order`.
    """

    cell_m: float
    first: Ints
    width: int
    order: Ints
    cell: Ints

    @classmethod
    def of(cls, places: Floats, cell_m: float) -> "Grid":
        """Sort places, shape (n, 2), in metres, into cells of `cell_m`."""
        at = np.floor(places / cell_m).astype(np.int64)
        first = at.min(axis=0) if len(at) else np.zeros(2, dtype=np.int64)
        at -= first
        width = int(at[:, 0].max(initial=0)) + 1
        cell = at[:, 1] * width + at[:, 0]
        order = np.argsort(cell, kind="stable")
        return cls(cell_m, first, width, order, cell[order])

    def find_runs(self, row: Ints, left: Ints, right: Ints) -> tuple[Ints, Ints]:
        """Find where the places in the cells from `left` to `right` of a row lie in `order`.

        Rows and columns are those of the plane, ``floor(y / cell_m)`` and ``floor(x / cell_m)``,
        and may lie outside the grid.

        Returns
        -------
        start, stop
            A run is ``order[start:stop]``; where `right` is less than `left` both are the same.
        """
        base = (row - self.first[1]) * self.width
        begin = base + np.clip(left - self.first[0], 0, self.width)
        end = base + np.clip(right + 1 - self.first[0], 0, self.width)
        start = np.searchsorted(self.cell, begin)
        return start, np.searchsorted(self.cell, np.maximum(begin, end))

    def find_box(self, low: Floats, high: Floats) -> Ints:
        """Find the places in all cells that a box touches, its corners given; in rising order."""
        left, bottom = np.floor(low / self.cell_m).astype(np.int64)
        right, top = np.floor(high / self.cell_m).astype(np.int64)
        row = np.arange(bottom, top + 1)
        start, stop = self.find_runs(row, np.full(len(row), left), np.full(len(row), right))
        run, step = count_up(stop - start)
        return np.sort(self.order[start[run] + step])
