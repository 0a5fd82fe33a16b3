import threading
import time
import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from drawn import draw, line
from sketch import draw_streets
from survey.frame.blocks import (
    cut_polygons,
    find_blocks,
    is_main,
    is_one_of,
    link_near,
    match_texts,
    name_by_streets,
    union_groups,
)
from survey.frame.cores import do_both, share_out
from survey.frame.tags import read_tags


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


def rank_streets(shape, lines):
    """List the names of {key: (name, line)} for one shape, one street at a time."""
    rules = read_tags()["compounds"]
    along, away = {}, {}
    for name, street_line in lines.values():
        metres = street_line.distance(shape)
        if metres > rules["streets_within_m"]:
            continue
        beside = metres < rules["beside_street_m"]
        around = shape.buffer(rules["beside_street_m"])
        inner = street_line.intersection(around).length if beside else 0
        along[name] = along.get(name, 0) + inner
        away[name] = min(away.get(name, metres), metres)
    return sorted(along, key=lambda name: (-round(along[name], 3), round(away[name], 3), name))


SPOTS = st.tuples(st.integers(-300, 300), st.integers(-300, 300))
NAMED = st.tuples(st.sampled_from("甲乙丙丁戊"), SPOTS, SPOTS).filter(lambda row: row[1] != row[2])


@settings(max_examples=40, deadline=None)
@given(st.lists(NAMED, min_size=1, max_size=9), st.lists(SPOTS, min_size=1, max_size=4))
def test_names_by_streets_are_those_found_one_by_one(streets, spots):
    """The names of many places at once are those of each place and street looked at alone."""
    lines = {f"e{n}": (name, line(*ends)) for n, (name, *ends) in enumerate(streets)}
    drawn = draw_streets(
        {key: list(each.coords) for key, (_, each) in lines.items()},
        name={key: name for key, (name, _) in lines.items()},
    )
    shapes = [shapely.box(x, y, x + 40, y + 25) for x, y in spots]
    ranked = [rank_streets(shape, lines) for shape in shapes]
    best = [" / ".join(names[:2]) for names in ranked]
    expected = [
        " / ".join(names[:3]) if best.count(two) > 1 else two
        for names, two in zip(ranked, best, strict=True)
    ]
    found = name_by_streets(np.array(shapes, dtype=object), drawn)
    assert found.fillna("").tolist() == expected


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


def test_several_polygons_are_cut_as_one_by_one():
    """Cutting many polygons gives the pieces of each, in the order of the polygons."""
    polygons = np.array([shapely.box(x, 0, x + 10, 10) for x in (0, 100, 5, 200)], dtype=object)
    lines = np.array([line((-5, y), (50, y)) for y in (3, 7)] + [line((205, -1), (205, 11))])
    pieces, origin = cut_polygons(polygons, lines)
    assert origin.tolist() == [0, 0, 0, 1, 2, 2, 2, 3, 3]
    assert pieces[3] == polygons[1]
    for number, polygon in enumerate(polygons):
        alone, _ = cut_polygons(polygons[[number]], lines)
        assert shapely.equals_exact(alone, pieces[origin == number]).all()
        assert shapely.area(alone).sum() == polygon.area


def test_groups_are_united_by_their_numbers():
    """Each group's union stands at its number, whatever the order of rows."""
    squares = shapely.box([0, 5, 1, 6], [0, 0, 0, 0], [1, 6, 2, 7], [1, 1, 1, 1])
    united = union_groups(squares, np.array([1, 0, 1, 0]))
    assert [shape.bounds for shape in united] == [(5, 0, 7, 1), (0, 0, 2, 1)]
    assert union_groups(squares[:0], np.empty(0, dtype=np.int64)).shape == (0,)


def test_shared_out_work_is_the_work_as_a_whole():
    """Rows that are shared out among cores come back in their order, few or many."""
    for count in (0, 3, 5_001):
        spots = shapely.points(np.arange(count), np.zeros(count))
        others = shapely.points(np.zeros(count), np.zeros(count))
        found = share_out(shapely.distance, spots, others)
        assert found.tolist() == list(range(count))


def test_two_things_are_done_whatever_the_cores(monkeypatch):
    """Both answers come in their order; where both fail, the first is told."""

    def fail(error):
        raise error

    for cores in (1, 2):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        assert do_both(lambda: 1, lambda: "two") == (1, "two")
        with pytest.raises(KeyError):
            do_both(partial(fail, KeyError), partial(fail, ValueError))
        with pytest.raises(ValueError, match="late"):
            do_both(lambda: 1, partial(fail, ValueError("late")))


def test_warnings_are_as_before_after_two_threads_silenced_them(monkeypatch):
    """What one thread sets aside and the other puts back in turn does not stay."""
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    entered, left = threading.Event(), threading.Event()

    def outer():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            entered.set()
            left.wait(10)

    def inner():
        entered.wait(10)
        quiet = warnings.catch_warnings()
        quiet.__enter__()
        left.set()
        time.sleep(0.1)  # the other puts its filters back
        quiet.__exit__(None, None, None)

    before = list(warnings.filters)
    do_both(outer, inner)
    assert list(warnings.filters) == before


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 2)), max_size=12),
    st.integers(1, 15),
)
def test_links_equal_brute_force(rows, within_m):
    """Two shapes are in one group if a chain of near shapes of their key leads there."""
    shapes = shapely.linestrings(
        [[(x, y), (x + 3, y + 2)] for x, y, _ in rows] or np.empty((0, 2, 2))
    )
    keys = [key for _, _, key in rows]
    expected = list(range(len(rows)))
    for one in range(len(rows)):
        for other in range(one):
            if keys[one] == keys[other] and shapely.dwithin(shapes[one], shapes[other], within_m):
                old, new = expected[one], expected[other]
                expected = [new if label == old else label for label in expected]
    found = link_near(shapes, keys, within_m).tolist()
    pairs = set(zip(found, expected, strict=True))
    assert len(pairs) == len(set(found)) == len(set(expected))


def test_texts_are_told_by_what_they_are():
    """Missing texts are none of those chosen and match nothing; links go with their class."""
    texts = pd.Series(["tertiary_link", None, "residential", "tertiary"], dtype="str")
    assert is_main(texts).tolist() == [True, False, False, True]
    assert is_one_of(texts, ["residential"]).tolist() == [False, False, True, False]
    assert match_texts(texts, "res|link").tolist() == [False, False, True, False]
    assert match_texts(texts[1:2], "t").tolist() == [False]
