import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from drawn import draw, line
from survey.frame.blocks import cut_polygons, find_blocks, link_near, name_by_streets


def street(name):
    return {"highway": "residential", "name": name}


def test_names_by_streets():
    """Longest first, then nearest; a third street where two are not enough; else none."""
    ways = {
        1: (line((0, 0), (400, 0)), street("北街")),
        2: (line((0, 0), (0, -200)), street("西街")),
        3: (line((400, 0), (400, -200)), street("东街")),
        4: (line((0, 500), (9, 500)), {"highway": "primary"}),
    }
    drawing = draw(ways, {})
    shapes = [
        drawing.shape(shapely.box(*sides))
        for sides in [
            (5, -100, 190, -5),
            (210, -100, 395, -5),
            (150, -60, 250, -20),
            (150, 45, 250, 90),
            (0, 600, 100, 700),
        ]
    ]
    names = name_by_streets(np.array(shapes, dtype=object), drawing.streets)
    assert names.tolist()[:4] == ["北街 / 西街", "北街 / 东街", "北街 / 东街 / 西街", "北街"]
    assert pd.isna(names[4])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(*[st.integers(-20, 20)] * 4), max_size=8))
def test_a_cut_neither_loses_nor_doubles_ground(ends):
    """The pieces of a polygon fill it and do not overlap, whatever lines cut it."""
    whole = shapely.box(-10, -10, 10, 10).difference(shapely.box(-2, -2, 3, 3))
    lines = [line(each[:2], each[2:]) for each in ends if each[:2] != each[2:]]
    pieces, origin = cut_polygons(np.array([whole], dtype=object), np.array(lines, dtype=object))
    assert shapely.area(pieces).sum() == pytest.approx(whole.area)
    assert shapely.union_all(pieces).area == pytest.approx(whole.area)
    assert not origin.any()


def test_blocks_are_what_lines_enclose():
    """Two squares side by side are two blocks; a dead end in one bounds nothing."""
    ring = shapely.box(0, 0, 20, 10).exterior
    lines = [line(*ring.coords), line((10, 0), (10, 10)), line((15, 0), (15, 5))]
    blocks = find_blocks(np.array(lines, dtype=object))
    assert sorted(shapely.area(blocks)) == [100, 100]
    assert not len(find_blocks(np.empty(0, dtype=object)))


def test_links_need_the_same_key():
    """Shapes are linked over others of their key, never over one of another key."""
    points = shapely.points([[0, 0], [50, 0], [100, 0], [100, 10]])
    groups = link_near(points, ["a", "a", "a", "b"], 50)
    assert len(set(groups[:3])) == 1
    assert groups[3] not in groups[:3]
