"""Street inside shapes, or within a distance of them by crow, cut exactly where that ends."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from survey.coverage.cuts import (
    Outlines,
    Stretches,
    dot,
    join_spans,
    meet_circle,
    meet_inside,
    meet_strip,
)
from survey.coverage.intervals import Segments
from survey.frame.grid import Grid
from survey.frame.lines import Floats, Ints, count_up

_CELL_M = 50.0  # no piece is longer, so that what lies in a cell is soon all inside or all outside
_HALF_M = _CELL_M / 2 + 1e-6  # a piece reaches no farther from its middle
_SIDES_AT_ONCE = 400
_PAIRS_AT_ONCE = 200_000


@dataclass(frozen=True, eq=False)
class Around:
    """What lies inside some shapes, or around them.

    Attributes
    ----------
    shapes
        Rows of the shapes.
    run_number, run_start, run_stop
        Places in `shapes`, and runs of the pieces of a grid that lie within throughout.
    cut_number, cut
        Places in `shapes`, and the stretches of other pieces that lie within.
    """

    shapes: Ints
    run_number: Ints
    run_start: Ints
    run_stop: Ints
    cut_number: Ints
    cut: Stretches


@dataclass(frozen=True, eq=False)
class SegmentGrid:
    """Straight segments in a grid.

    Attributes
    ----------
    segments
        The segments.
    pieces
        The segments, the long ones in several pieces, in the order of the grid.
    middle
        The middle of each piece, shape (n, 2), in metres.
    grid
        The grid of the middles.
    """

    segments: Segments
    pieces: Stretches
    middle: Floats
    grid: Grid

    @classmethod
    def of(cls, segments: Segments) -> "SegmentGrid":
        """Lay segments into a grid."""
        count = np.maximum(np.ceil(segments.length / _CELL_M), 1).astype(np.int64)
        segment, step = count_up(count)
        share = np.stack([step, step + 0.5, step + 1]) / count[segment]
        start, middle, end = share * segments.length[segment]
        places = segments.start[segment] + segments.direction[segment] * middle[:, None]
        grid = Grid.of(places, _CELL_M)
        pieces = Stretches(segment, start, end).pick(grid.order)
        return cls(segments, pieces, places[grid.order], grid)

    def find_inside(self, shapes: npt.NDArray[Any]) -> Around:
        """Find the street inside each of some polygons or multipolygons."""
        # Copies, because other threads must not meet a shape while it is being prepared.
        shapes = shapely.from_wkb(shapely.to_wkb(shapes))
        shapely.prepare(shapes)
        size = max(1, len(self.middle))
        (shape, row, column), met = self._touch(Outlines.of(shapes))
        # Between two cells that an outline touches all is inside, or all is outside.
        apart = (shape[1:] == shape[:-1]) & (row[1:] == row[:-1]) & (np.diff(column) > 1)
        left = np.flatnonzero(apart)
        start, stop = self.grid.find_runs(row[left], column[left] + 1, column[left + 1] - 1)
        begin, end = self.grid.find_runs(row, column, column)
        cell, step = count_up(end - begin)
        pair = shape[cell] * size + begin[cell] + step
        # So is every piece for itself that no outline meets.
        alone = pair[~np.isin(pair, met)]
        owner = np.r_[shape[left], alone // size]
        start, stop = np.r_[start, alone % size], np.r_[stop, alone % size + 1]
        some = stop > start
        owner, start, stop = owner[some], start[some], stop[some]
        inside = shapely.contains_xy(shapes[owner], *self.middle[start].T)
        pieces = self.pieces.pick(met % size)
        number, first, last = meet_inside(self.segments, pieces, shapes[met // size])
        return Around(
            np.arange(len(shapes)),
            owner[inside],
            start[inside],
            stop[inside],
            met[number] // size,
            Stretches(pieces.segment[number], first, last),
        )

    def _touch(self, outlines: Outlines) -> tuple[tuple[Ints, Ints, Ints], Ints]:
        """Find cells and pieces that outlines may meet.

        Returns
        -------
        cells
            Shape, row and column of all cells that hold the middle of a piece which an outline
            may meet; sorted.
        pairs
            The shapes and pieces whose boxes meet, as shape * pieces + piece; sorted.
        """
        run = outlines.end - outlines.begin
        count = np.maximum(np.ceil(np.hypot(*run.T) / _CELL_M), 1).astype(np.int64)
        side, step = count_up(count)
        ends = [
            outlines.begin[side] + run[side] * ((step + at) / count[side])[:, None] for at in (0, 1)
        ]
        low, high = np.minimum(*ends), np.maximum(*ends)
        left, bottom = np.floor((low - _HALF_M) / _CELL_M).astype(np.int64).T
        right, top = np.floor((high + _HALF_M) / _CELL_M).astype(np.int64).T
        owner = outlines.owner[side]
        box, step = count_up(top - bottom + 1)
        row = bottom[box] + step
        pairs = self._meet_boxes(row, left[box], right[box], low[box], high[box], owner[box])
        cell, step = count_up((right - left + 1)[box])
        return _sort_cells(owner[box[cell]], row[cell], left[box[cell]] + step), pairs

    def _meet_boxes(
        self, row: Ints, left: Ints, right: Ints, low: Floats, high: Floats, owner: Ints
    ) -> Ints:
        """Find the pieces in some cells of a row whose boxes meet a box; see `_touch`."""
        half = (self.pieces.end - self.pieces.start) / 2 + 1e-6
        spread = np.abs(self.segments.direction[self.pieces.segment]) * half[:, None] + 1e-6
        size, found = max(1, len(self.middle)), [np.zeros(0, dtype=np.int64)]
        lower, upper = (self.middle - spread).T, (self.middle + spread).T
        start, stop = self.grid.find_runs(row, left, right)
        # Most of what lies in the same cells does not meet, so that it is looked at in parts.
        parts = np.cumsum(stop - start) // _PAIRS_AT_ONCE
        for some in np.split(np.arange(len(row)), np.flatnonzero(np.diff(parts)) + 1):
            number, step = count_up(stop[some] - start[some])
            box, piece = some[number], start[some][number] + step
            for axis in (0, 1):
                near = upper[axis][piece] >= low[box, axis]
                near &= lower[axis][piece] <= high[box, axis]
                box, piece = box[near], piece[near]
            found.append(owner[box] * size + piece)
        return np.unique(np.concatenate(found))

    def find_around(self, shapes: npt.NDArray[Any], radius_m: float) -> Iterator[Around]:
        """Find the street within `radius_m` of each shape, a part of the shapes at a time.

        Parameters
        ----------
        shapes
            Points, polygons or multipolygons.
        radius_m
            The distance by crow from the shape itself, 0 within it.
        """
        outlines = Outlines.of(shapes)
        centre = shapely.get_coordinates(shapely.point_on_surface(shapes))
        away = np.hypot(*(outlines.begin - centre[outlines.owner]).T)
        spread = np.zeros(len(shapes))
        np.maximum.at(spread, outlines.owner, away)
        parts = np.cumsum(outlines.count) // _SIDES_AT_ONCE
        for some in np.split(np.arange(len(shapes)), np.flatnonzero(np.diff(parts)) + 1):
            number, whole, ring = self._classify(centre[some], spread[some], radius_m)
            run, step = count_up(ring[1] - ring[0])
            near, piece = np.tile(number, 2)[run], ring[0][run] + step
            pair, cut = self._cut_around(outlines, some[near], piece, radius_m, spread)
            yield Around(some, number, *whole, near[pair], cut)

    def _classify(
        self, centre: Floats, spread: Floats, radius_m: float
    ) -> tuple[Ints, tuple[Ints, Ints], tuple[Ints, Ints]]:
        """Find the runs of pieces that are near for sure, and those that may be, row by row.

        What is near the centre is near the shape, and what is near the shape is no farther from
        the centre than that and the shape's spread.
        """
        outer = radius_m + spread + _HALF_M
        inner = max(radius_m - _HALF_M, 0)
        x, y = centre.T
        low, high = (np.floor((y + side) / _CELL_M).astype(np.int64) for side in (-outer, outer))
        number, step = count_up(high - low + 1)
        row, x, y = low[number] + step, x[number], y[number]
        bottom, top = row * _CELL_M - y, (row + 1) * _CELL_M - y
        near = np.maximum(np.maximum(bottom, -top), 0)
        far = np.maximum(top, -bottom)
        half = np.sqrt(np.maximum(outer[number] ** 2 - near**2, 0))
        left, right = (np.floor((x + side) / _CELL_M).astype(np.int64) for side in (-half, half))
        half = np.sqrt(np.maximum(inner**2 - far**2, 0))
        first = np.ceil((x - half) / _CELL_M).astype(np.int64)
        last = np.floor((x + half) / _CELL_M).astype(np.int64) - 1
        none = (first > last) | (far >= inner)
        first, last = np.where(none, right + 1, first), np.where(none, right, last)
        begin, stop = self.grid.find_runs(row, left, right)
        whole = self.grid.find_runs(row, first, last)
        return number, whole, (np.r_[begin, whole[1]], np.r_[whole[0], stop])

    def _cut_around(
        self, outlines: Outlines, shape: Ints, piece: Ints, radius_m: float, spread: Floats
    ) -> tuple[Ints, Stretches]:
        """Cut pieces by all that is near one of a shape's corners or sides, or inside of it."""
        is_place = outlines.count[shape] == 1
        places, areas = np.flatnonzero(is_place), np.flatnonzero(~is_place)
        pieces, centre = self.pieces.pick(piece[places]), outlines.first[shape[places]]
        circle = meet_circle(self.segments, pieces, outlines.begin[centre], radius_m)
        near, some = self._compare(outlines, shape[areas], piece[areas], radius_m)
        inside, unclear = areas[near], areas[some]
        whole = self.pieces.pick(piece[inside])
        number, *ends = self._cut_by_sides(
            outlines, shape[unclear], piece[unclear], radius_m, spread
        )
        spans = [(places, *circle), (inside, whole.start, whole.end), (unclear[number], *ends)]
        pair, start, end = (np.concatenate(part) for part in zip(*spans, strict=True))
        met = end > start
        pair, start, end = pair[met], start[met], end[met]
        return pair, Stretches(self.pieces.segment[piece[pair]], start, end)

    def _compare(
        self, outlines: Outlines, shape: Ints, piece: Ints, radius_m: float
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Tell which pieces are near a corner throughout, and which others may be near in part."""
        x, y = self.middle[piece].T
        half = (self.pieces.end[piece] - self.pieces.start[piece]) / 2 + 1e-6
        away = [
            (x - corner_x) ** 2 + (y - corner_y) ** 2
            for corner_x, corner_y in (outlines.begin[side[shape]].T for side in outlines.far)
        ]
        nearest = np.sqrt(np.minimum.reduce(away))
        inside = nearest + half <= radius_m
        west, south, east, north = outlines.box[shape].T
        beyond_x = np.maximum(np.maximum(west - x, x - east), 0)
        beyond_y = np.maximum(np.maximum(south - y, y - north), 0)
        return inside, ~inside & (np.hypot(beyond_x, beyond_y) - half <= radius_m)

    def _cut_by_sides(
        self, outlines: Outlines, shape: Ints, piece: Ints, radius_m: float, spread: Floats
    ) -> tuple[Ints, Floats, Floats]:
        """Find where pieces are near a corner or a side of their shape, or inside of it."""
        pair, side = outlines.pair(shape)
        size = self.pieces.end[piece] - self.pieces.start[piece]
        half = (outlines.length[side] + size[pair]) / 2
        away = self.middle[piece[pair]] - (outlines.begin[side] + outlines.end[side]) / 2
        near = np.flatnonzero(dot(away, away) <= (radius_m + half + 1e-6) ** 2)
        pair, side = pair[near], side[near]
        pieces = self.pieces.pick(piece[pair])
        sides = outlines.begin[side], outlines.end[side]
        spans = [
            (pair, *meet_circle(self.segments, pieces, sides[0], radius_m)),
            (pair, *meet_strip(self.segments, pieces, sides, radius_m)),
        ]
        # Only in the middle of a wide shape can one be far from its outline.
        wide = np.flatnonzero(spread[shape] > radius_m)
        if len(wide):
            pieces = self.pieces.pick(piece[wide])
            number, start, end = meet_inside(self.segments, pieces, outlines.shapes[shape[wide]])
            spans.append((wide[number], start, end))
        return join_spans(*(np.concatenate(part) for part in zip(*spans, strict=True)))


def _sort_cells(shape: Ints, row: Ints, column: Ints) -> tuple[Ints, Ints, Ints]:
    """Sort cells by shape, row and column, each once."""
    # As one whole number each, cells are sorted and made unique fast.
    left, bottom = column.min(initial=0), row.min(initial=0)
    width, height = np.ptp(np.r_[column, 0]) + 1, np.ptp(np.r_[row, 0]) + 1
    cell = np.unique((shape * height + row - bottom) * width + column - left)
    return cell // width // height, cell // width % height + bottom, cell % width + left
