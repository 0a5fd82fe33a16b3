import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from survey.frame.grid import Grid

metres = st.integers(-40, 40).map(lambda n: n * 2.5)
spots = st.tuples(metres, metres)


def as_places(drawn):
    return np.array(drawn, dtype=float).reshape(-1, 2)


@given(drawn=st.lists(spots), corners=st.tuples(spots, spots))
def test_a_box_holds_its_places(drawn, corners):
    """A box gives every place in it, in rising order, and none beyond the cells that it touches."""
    places, (low, high) = as_places(drawn), np.sort(np.array(corners), axis=0)
    found = Grid.of(places, 10).find_box(low, high)
    assert (np.diff(found) > 0).all()
    inside = np.flatnonzero(((places >= low) & (places <= high)).all(axis=1))
    assert set(inside) <= set(found)
    cells = np.floor(places[found] / 10)
    assert ((cells >= np.floor(low / 10)) & (cells <= np.floor(high / 10))).all()


@given(drawn=st.lists(spots), row=st.integers(-12, 12), ends=st.tuples(*[st.integers(-12, 12)] * 2))
def test_a_run_is_part_of_a_row(drawn, row, ends):
    """A run holds exactly the places in its cells, rows and columns beyond the grid included."""
    places = as_places(drawn)
    grid = Grid.of(places, 10)
    start, stop = grid.find_runs(*(np.array([number]) for number in (row, *ends)))
    column, own = np.floor(places / 10).T
    expected = np.flatnonzero((own == row) & (column >= ends[0]) & (column <= ends[1]))
    assert sorted(grid.order[start[0] : stop[0]]) == expected.tolist()
