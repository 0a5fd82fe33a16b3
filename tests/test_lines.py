import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from survey.frame.blocks import as_array
from survey.frame.lines import as_text, cut_lines

places = st.tuples(st.integers(0, 50), st.integers(0, 50))
lines = st.lists(
    st.lists(places, min_size=2, max_size=5, unique=True).map(shapely.LineString),
    min_size=1,
    max_size=6,
).map(as_array)
fractions = st.floats(0, 1)


def test_a_stretch_keeps_the_bends_within_it():
    """From 2 m to 7 m of a bent line the bend at 5 m stays, and nothing else."""
    bent = shapely.linestrings([[(0, 0), (5, 0), (5, 5)]])
    assert cut_lines(bent, [0.2], [0.7])[0].wkt == "LINESTRING (2 0, 5 0, 5 2)"


def test_all_of_a_line_is_the_line():
    """A line of which all is asked for stays as it is, beside one that is cut."""
    two = shapely.linestrings([[(0, 0), (5, 0)], [(0, 1), (5, 1)]])
    found = cut_lines(two, [0, 0], [1, 0.5])
    assert found[0] is two[0]
    assert found[1].wkt == "LINESTRING (0 1, 2.5 1)"
    assert two[1].length == 5


@settings(max_examples=60, deadline=None)
@given(lines, fractions)
def test_two_stretches_make_the_line(some, at):
    """Cut in two, a line keeps its length, its ends, and meets itself at the cut."""
    where = np.full(len(some), at)
    left, right = cut_lines(some, 0 * where, where), cut_lines(some, where, 0 * where + 1)
    total = shapely.length(left) + shapely.length(right)
    assert np.allclose(total, shapely.length(some), rtol=1e-12, atol=1e-9)
    ends = [(left, 0, some, 0), (right, -1, some, -1), (left, -1, right, 0)]
    for one, at_one, other, at_other in ends:
        apart = shapely.distance(shapely.get_point(one, at_one), shapely.get_point(other, at_other))
        assert (apart < 1e-9).all()


@settings(max_examples=30, deadline=None)
@given(lines, fractions, fractions)
def test_a_cut_does_not_depend_on_other_lines(some, one, other):
    """Each line is cut to the last digit as if it were alone."""
    start, end = np.full(len(some), min(one, other)), np.full(len(some), max(one, other))
    together = cut_lines(some, start, end)
    alone = [cut_lines(some[[row]], start[[row]], end[[row]])[0] for row in range(len(some))]
    assert shapely.to_wkb(together).tolist() == shapely.to_wkb(alone).tolist()


def test_texts_sort_as_python_sorts_them():
    """Ids of any script come in the order of their characters."""
    words = ["way/10", "way/9", "way/10.1", "路/2", "way/1", "a"]
    assert [words[row] for row in np.argsort(as_text(words))] == sorted(words)
