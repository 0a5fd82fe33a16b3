import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from survey.frame.blocks import as_array
from survey.frame.enclosure import are_enclosed, join_overlapping, most_within

FEW = settings(max_examples=60, deadline=None)
SHARE = 0.6180339  # that no ratio of small whole numbers meets by chance

numbers = st.integers(0, 12)
places = st.tuples(numbers, numbers)
lines = st.lists(
    st.lists(places, min_size=2, max_size=4, unique=True).map(shapely.LineString),
    min_size=1,
    max_size=8,
).map(as_array)
boxes = st.lists(
    st.tuples(numbers, numbers, st.integers(1, 6), st.integers(1, 6)).map(
        lambda box: shapely.box(box[0], box[1], box[0] + box[2], box[1] + box[3])
    ),
    min_size=1,
    max_size=6,
).map(as_array)


def test_half_inside_is_not_enclosed():
    """Nine tenths of a street enclose it, half of it does not; what lies outside is not."""
    streets = shapely.linestrings([[(1, 5), (9, 5)], [(5, 5), (15, 5)], [(20, 5), (30, 5)]])
    ground = shapely.box([0], [0], [10], [10])
    found = are_enclosed(streets, shapely.length(streets), np.arange(3), ground, share=0.9)
    assert found.tolist() == [True, False, False]


def test_a_street_follows_its_group():
    """A stub that sticks out goes with its group, most of which lies within; if it is all out, no.

    Of 9 m + 1 m + 1 m, 9.5 m lie within.
    """
    streets = shapely.linestrings([[(0.5, 5), (9.5, 5)], [(9.5, 5), (10.5, 5)], [(11, 5), (12, 5)]])
    ground = shapely.box([0], [0], [10], [10])
    found = are_enclosed(streets, shapely.length(streets), np.zeros(3, int), ground, share=0.8)
    assert found.tolist() == [True, True, False]


def test_what_two_grounds_share_counts_once():
    """Of 10 m of a street 6 m lie within, 4 m of them within two grounds: not by eight tenths."""
    street = shapely.linestrings([[(0, 5), (10, 5)]])
    grounds = shapely.box([-1, -1], [0, 0], [6, 4], [10, 10])
    alone = np.array([0])
    assert are_enclosed(street, np.array([10.0]), alone, grounds, share=0.6).tolist() == [True]
    assert are_enclosed(street, np.array([10.0]), alone, grounds, share=0.8).tolist() == [False]


@FEW
@given(lines, boxes, st.randoms())
def test_enclosure_equals_brute_force(streets, grounds, random):
    """It is what the union of all grounds tells, however they overlap or touch."""
    group = np.array([random.randrange(len(streets)) for _ in streets])
    length = shapely.length(streets)
    inner = shapely.length(shapely.intersection(streets, shapely.union_all(grounds)))
    own, theirs = (np.bincount(group, weights=each)[group] for each in (inner, length))
    expected = (inner > 0) & ((inner >= SHARE * length) | (own >= SHARE * theirs))
    found = are_enclosed(streets, length, group, grounds, share=SHARE)
    assert found.tolist() == expected.tolist()


@FEW
@given(boxes)
def test_joined_grounds_are_apart(grounds):
    """Joined grounds cover the same ground, and no two of them share any of it."""
    joined = join_overlapping(grounds)
    everything = shapely.union_all(grounds)
    assert shapely.union_all(joined).symmetric_difference(everything).area < 1e-9
    assert abs(shapely.area(joined).sum() - everything.area) < 1e-9


@FEW
@given(lines, boxes, st.integers(0, 4))
def test_the_bound_is_never_too_low(streets, grounds, within_m):
    """No more of a line lies within a distance of shapes than the bound allows."""
    line, ground = np.indices((len(streets), len(grounds))).reshape(2, -1)
    bound = most_within(streets, line, grounds[ground], within_m=within_m)
    around = shapely.union_all(shapely.buffer(grounds, within_m))
    assert (shapely.length(shapely.intersection(streets, around)) <= bound + 1e-9).all()
    assert (bound <= shapely.length(streets)).all()


def test_the_bound_by_hand():
    """A line that ends 30 m away from a point, of which 10 m are within reach, has 10 m at most."""
    line = shapely.linestrings([[(0, 0), (30, 0)], [(0, 9), (30, 9)]])
    bound = most_within(line, np.array([0]), shapely.points([[0, 0]]), within_m=10)
    assert bound.tolist() == [10, 0]
