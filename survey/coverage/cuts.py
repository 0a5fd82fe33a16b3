"""Straight segments cut by circles and outlines, to the last digits."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from survey.coverage.intervals import Segments
from survey.frame.lines import Floats, Ints, count_up

_TINY = 1e-12
_SLACK_M = 1e-9


@dataclass(frozen=True, eq=False)
class Stretches:
    """Stretches of straight segments.

    Attributes
    ----------
    segment
        Row of the segment.
    start, end
        Where the stretch begins and ends on it, in metres.
    """

    segment: Ints
    start: Floats
    end: Floats

    def pick(self, rows: Any) -> "Stretches":
        """Pick some of the stretches."""
        return Stretches(self.segment[rows], self.start[rows], self.end[rows])


@dataclass(frozen=True, eq=False)
class Outlines:
    """The sides of shapes, those of one shape together; a place is one side without length.

    Attributes
    ----------
    shapes
        Points, polygons or multipolygons.
    begin, end
        The ends of each side, shape (sides, 2), in metres.
    length, owner
        The length and the shape of each side.
    first, count
        Where each shape's sides begin, and how many they are.
    box
        West, south, east and north of each shape.
    far
        Of each shape the sides that begin farthest west, south, east and north, shape (4, n).
    """

    shapes: npt.NDArray[Any]
    begin: Floats
    end: Floats
    length: Floats
    owner: Ints
    first: Ints
    count: Ints
    box: Floats
    far: Ints

    @classmethod
    def of(cls, shapes: npt.NDArray[Any]) -> "Outlines":
        """Read the outlines of shapes."""
        is_place = shapely.get_dimensions(shapes) == 0
        parts, of_part = shapely.get_parts(shapes[~is_place], return_index=True)
        rings, of_ring = shapely.get_rings(parts, return_index=True)
        places, ring = shapely.get_coordinates(rings, return_index=True)
        side = np.flatnonzero(ring[1:] == ring[:-1])
        of_side = np.flatnonzero(~is_place)[of_part[of_ring[ring[side]]]]
        owner = np.r_[np.flatnonzero(is_place), of_side]
        single = shapely.get_coordinates(shapes[is_place])
        by = np.argsort(owner, kind="stable")
        begin, end = (np.concatenate([single, places[at]])[by] for at in (side, side + 1))
        count = np.bincount(owner, minlength=len(shapes))
        first, owner = np.cumsum(count) - count, owner[by]
        far = [np.lexsort((way, owner))[first] for way in (*begin.T, *-begin.T)]
        box = shapely.bounds(shapes).reshape(-1, 4)
        length = np.hypot(*(end - begin).T)
        return cls(shapes, begin, end, length, owner, first, count, box, np.array(far))

    def pair(self, shape: Ints) -> tuple[Ints, Ints]:
        """Pair rows of shapes with all their sides: the place in `shape`, and the side."""
        pair, step = count_up(self.count[shape])
        return pair, self.first[shape][pair] + step


def dot(one: Floats, other: Floats) -> Floats:
    """Multiply pairs of plane vectors, shape (n, 2)."""
    product: Floats = one[:, 0] * other[:, 0] + one[:, 1] * other[:, 1]
    return product


def meet_circle(
    segments: Segments, pieces: Stretches, centre: Floats, radius_m: float
) -> tuple[Floats, Floats]:
    """Find where on each piece the distance from a place is at most the radius.

    On a segment the square of the distance at offset s is s^2 + 2 m s + c.

    Returns
    -------
    start, end
        Offsets on the segment in metres; where nothing is met `start` is not less than `end`.
    """
    away = segments.start[pieces.segment] - centre
    m = dot(segments.direction[pieces.segment], away)
    root = np.sqrt(np.maximum(m**2 - dot(away, away) + radius_m**2, 0))
    start, end = (np.clip(-m + by, pieces.start, pieces.end) for by in (-root, root))
    return start, end


def meet_strip(
    segments: Segments, pieces: Stretches, sides: tuple[Floats, Floats], radius_m: float
) -> tuple[Floats, Floats]:
    """Find where on each piece one is beside a side, and at most the radius off its line.

    Returns
    -------
    start, end
        As those of `meet_circle`.
    """
    away = segments.start[pieces.segment] - sides[0]
    direction = segments.direction[pieces.segment]
    run = sides[1] - sides[0]
    length = np.hypot(*run.T)
    along = run / np.maximum(length, _TINY)[:, None]
    across = along[:, ::-1] * [-1, 1]
    start, end = pieces.start, pieces.end
    for axis, low, high in ((along, 0, length), (across, -radius_m, radius_m)):
        slope = dot(direction, axis)
        # What runs parallel to the axis is between both bounds throughout, or nowhere.
        slope = np.where(np.abs(slope) < _TINY, _TINY, slope)
        at = dot(away, axis)
        bounds = (low - _SLACK_M - at) / slope, (high + _SLACK_M - at) / slope
        start, end = np.maximum(start, np.minimum(*bounds)), np.minimum(end, np.maximum(*bounds))
    return start, np.where(length > 0, end, start)


def meet_inside(
    segments: Segments, pieces: Stretches, shapes: npt.NDArray[Any]
) -> tuple[Ints, Floats, Floats]:
    """Find where each piece lies inside its shape.

    Returns
    -------
    piece
        The place in `pieces` of each stretch.
    start, end
        Offsets on the segment in metres.
    """
    # Whole segments, drawn from their own vertices, may lie on an outline; pieces would miss it.
    ends = [place[pieces.segment] for place in (segments.start, segments.finish)]
    lines = shapely.linestrings(np.stack(ends, axis=1))
    shapely.prepare(shapes)
    whole = shapely.covers(shapes, lines)
    rest = np.flatnonzero(~whole)
    rest = rest[shapely.intersects(shapes[rest], lines[rest])]
    parts, owner = shapely.get_parts(
        shapely.intersection(lines[rest], shapes[rest]), return_index=True
    )
    flat = shapely.get_dimensions(parts) == 1
    parts, owner = parts[flat], rest[owner[flat]]
    row = pieces.segment[owner]
    places = (shapely.get_coordinates(shapely.get_point(parts, end)) for end in (0, -1))
    at = [dot(place - segments.start[row], segments.direction[row]) for place in places]
    whole = np.flatnonzero(whole)
    piece = np.r_[whole, owner]
    start = np.maximum(pieces.start[piece], np.r_[pieces.start[whole], np.minimum(*at)])
    end = np.minimum(pieces.end[piece], np.r_[pieces.end[whole], np.maximum(*at)])
    some = end > start
    return piece[some], start[some], end[some]


def join_spans(owner: Ints, start: Floats, end: Floats) -> tuple[Ints, Floats, Floats]:
    """Join the spans of each owner that touch or overlap; those without length are dropped."""
    some = end > start
    owner, start, end = owner[some], start[some], end[some]
    low, size = start.min(initial=0), np.ptp(np.r_[start, end, 0]) + 1
    # Each owner gets an axis of its own behind that of the one before.
    by = np.argsort(owner * size + (start - low))
    owner, start, end = owner[by], start[by], end[by]
    far = np.maximum.accumulate(owner * size + (end - low)) - owner * size + low
    new = (owner[1:] != owner[:-1]) | (start[1:] > far[:-1])
    head = np.flatnonzero(np.r_[True, new][: len(owner)])
    tail = np.r_[head[1:], len(owner)][: len(head)] - 1
    return owner[head], start[head], far[tail]
