"""Street around and inside shapes against the buffers and intersections of shapely."""

import math
from itertools import pairwise

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import MultiPolygon, Point, Polygon, box

from survey.coverage.around import SegmentGrid
from survey.coverage.intervals import cut_segments

EAST, NORTH = 500_000, 3_550_000
MANY = settings(max_examples=60, deadline=None)
# Corners of a coarse grid meet, touch and run along each other as free ones never do.
corners = st.tuples(*[st.integers(-8, 8).map(lambda n: n * 50.0)] * 2)
spots = st.tuples(*[st.integers(-400_000, 400_000).map(lambda mm: mm / 1_000)] * 2)
places = st.one_of(corners, spots)
radii = st.one_of(st.sampled_from([50.0, 100.0, 500.0]), st.floats(0.5, 700))


@st.composite
def lines(draw):
    count = draw(st.integers(1, 6))
    return [
        shapely.LineString(draw(st.lists(places, min_size=2, max_size=4, unique=True)))
        for _ in range(count)
    ]


@st.composite
def areas(draw):
    """One area: concave, with a hole, in two parts, and small or wide."""
    west, south = draw(places)
    size = draw(st.sampled_from([20.0, 60.0, 300.0]))
    kind = draw(st.sampled_from(["box", "notch", "hole", "two", "free"]))
    whole = box(west, south, west + 3 * size, south + 2 * size)
    if kind == "notch":
        whole -= box(west + size, south + size / 2, west + 2 * size, south + 3 * size)
    elif kind == "hole":
        whole -= box(west + size, south + size / 2, west + 2 * size, south + size)
    elif kind == "two":
        whole = MultiPolygon([whole, box(west + 4 * size, south, west + 5 * size, south + size)])
    elif kind == "free":
        hull = shapely.MultiPoint(draw(st.lists(places, min_size=3, max_size=6))).convex_hull
        whole = hull if hull.geom_type == "Polygon" else whole
    return whole


shapes = st.lists(st.one_of(places.map(Point), areas()), min_size=1, max_size=4)


def as_array(drawn):
    return shapely.transform(np.array(drawn, dtype=object), lambda xy: xy + np.array([EAST, NORTH]))


def measure(grid, found):
    """Sum the length of street of each shape, and check that no stretch counts twice."""
    rows = [
        (found.shapes[number], piece)
        for number, start, stop in zip(
            found.run_number, found.run_start, found.run_stop, strict=True
        )
        for piece in range(start, stop)
    ]
    spans = [
        (shape, *(part[piece] for part in parts))
        for shape, piece in rows
        for parts in [(grid.pieces.segment, grid.pieces.start, grid.pieces.end)]
    ]
    cut = found.cut
    spans += zip(found.shapes[found.cut_number], cut.segment, cut.start, cut.end, strict=True)
    spans.sort()
    for one, other in pairwise(spans):
        assert one[:2] != other[:2] or one[3] <= other[2] + 1e-6
    total = dict.fromkeys(found.shapes.tolist(), 0.0)
    for shape, _, start, end in spans:
        total[shape] += end - start
    return total


def lengths_in(streets, shape):
    return shapely.length(shapely.intersection(streets, shape)).sum()


def around(streets, drawn, radius_m):
    grid = SegmentGrid.of(cut_segments(streets))
    total = {}
    for found in grid.find_around(drawn, radius_m):
        total |= measure(grid, found)
    return [total[row] for row in range(len(drawn))]


@MANY
@given(lines=lines(), drawn=shapes, radius_m=radii)
def test_around_lies_between_two_buffers(lines, drawn, radius_m):
    """What is within a distance is at least what a polygon inside it holds, at most one around it.

    A buffer of 256 sides per quarter has its corners on the circle; grown by 1 / cos(half an
    angle) it holds the circle.
    """
    streets, drawn = as_array(lines), as_array(drawn)
    grown = radius_m / math.cos(math.pi / 1024) + 1e-6
    found = around(streets, drawn, radius_m)
    for shape, length in zip(drawn, found, strict=True):
        inner, outer = (shape.buffer(size, quad_segs=256) for size in (radius_m, grown))
        assert lengths_in(streets, inner) - 1e-5 <= length <= lengths_in(streets, outer) + 1e-5


@MANY
@given(lines=lines(), drawn=st.lists(areas(), min_size=1, max_size=4))
def test_inside_equals_the_intersection(lines, drawn):
    """What lies inside areas is what shapely cuts out with them."""
    streets, drawn = as_array(lines), as_array(drawn)
    grid = SegmentGrid.of(cut_segments(streets))
    found = measure(grid, grid.find_inside(drawn))
    for number, shape in enumerate(drawn):
        assert found[number] == pytest.approx(lengths_in(streets, shape), abs=1e-5)


def test_a_circle_by_hand():
    """A street 300 m off a place is within 500 m of it for 800 m: 3-4-5."""
    streets = as_array([shapely.LineString([(-1_000, 300), (1_000, 300)])])
    assert around(streets, as_array([Point(0, 0)]), 500) == pytest.approx([800], abs=1e-6)


def test_around_an_area_by_hand():
    """Beside a hall it is the hall's side and a quarter circle's half chord at both ends."""
    streets = as_array([shapely.LineString([(-1_000, 350), (1_000, 350)])])
    hall = box(0, 0, 200, 50)
    # 300 m above the roof: 200 m along it, and sqrt(500^2 - 300^2) = 400 m beyond either corner
    assert around(streets, as_array([hall]), 500) == pytest.approx([1_000], abs=1e-6)


def test_in_the_middle_of_a_wide_area():
    """Inside an area one is near it, however far its outline is; in its hole one is not."""
    streets = as_array([shapely.LineString([(-2_000, 1), (2_000, 1)])])
    airport = box(-1_000, -1_000, 1_000, 1_000)
    yard = Polygon(airport.exterior, [box(-600, -600, 600, 600).exterior.coords])
    found = around(streets, as_array([airport, yard]), 100)
    assert found == pytest.approx([2_200, 2_200 - 1_000], abs=1e-6)


def test_a_street_on_the_outline_is_inside():
    """A street that is itself the boundary of two areas counts in both, in one piece or more."""
    places = [(0, 0), (321.123, 123.456)]
    streets = as_array([shapely.LineString(places), shapely.LineString(places[::-1])])
    above, below = Polygon([*places, (0, 500)]), Polygon([*places, (400, -500)])
    grid = SegmentGrid.of(cut_segments(streets))
    found = measure(grid, grid.find_inside(as_array([above, below])))
    length = 2 * math.hypot(*places[1])
    assert found == pytest.approx({0: length, 1: length}, abs=1e-6)


def test_nothing_around_nothing():
    """Without streets or without shapes nothing is found."""
    none = np.empty(0, dtype=object)
    hall, street = as_array([box(0, 0, 10, 10)]), as_array([shapely.LineString([(0, 0), (9, 9)])])
    assert around(none, hall, 50) == [0]
    assert around(street, none, 50) == []
    grid = SegmentGrid.of(cut_segments(none))
    assert measure(grid, grid.find_inside(hall)) == {0: 0}
