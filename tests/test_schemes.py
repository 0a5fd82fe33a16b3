from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import Point

import survey
from survey.errors import DesignError, TableError
from survey.sampling.design import Design
from survey.sampling.schemes import Scheme, find_scheme, read_schemes
from survey.tables import KINDS, make


def points_of(**counts):
    """Make fixed points, so many of each kind."""
    kinds = [kind for kind, count in counts.items() for _ in range(count)]
    size = len(kinds)
    columns = {
        "point_id": [f"node/{place}" for place in range(size)],
        "kind": kinds,
        "source": ["test"] * size,
        "data_edge_m": [0.0] * size,
        "geometry": [Point(place, 0) for place in range(size)],
    }
    blank = dict.fromkeys(["name", "name_en", "subdistrict_id"], [None] * size)
    return make("points", columns | blank, crs="EPSG:32650")


def scheme_of(**given):
    """Make a scheme that says only what is given."""
    return Scheme("one", "One", "一", "a book", True, "", **given)


def test_the_founding_text():
    """The six surroundings give 1-2 alleys and 1-2 compounds within 500 m to 2 km of all points."""
    scheme = find_scheme("six-surroundings")
    assert dict(scheme.design) == {
        "alleys": [1, 2],
        "compounds": [1, 2],
        "within_m": [500, 2000],
    }
    design = scheme.make_design(points_of(market=2, school=1))
    assert design == Design(alleys=(1, 2), compounds=(1, 2), within_m=(500, 2000))
    assert design.points is None


@pytest.mark.parametrize(
    ("scheme_id", "points", "alleys", "roads"),
    [
        ("six-surroundings", None, None, None),
        ("jiaozuo-2019", 78, None, None),
        ("mock-87-points", 87, None, None),
        ("hygienic-city", None, (4, 8), (8, 15)),
    ],
)
def test_what_the_sources_give(scheme_id, points, alleys, roads):
    """Each scheme holds the totals of its source and no others."""
    scheme = read_schemes()[scheme_id]
    assert scheme.scheme_id == scheme_id
    assert (scheme.points_total, scheme.alleys_total, scheme.roads_total) == (points, alleys, roads)
    assert not scheme.design or scheme_id == "six-surroundings"


def test_every_scheme_says_where_it_is_from():
    """Each scheme has titles in two languages, a source, whether it was read, and a note."""
    schemes = read_schemes()
    assert len(schemes) == 4
    for scheme in schemes.values():
        assert isinstance(scheme.confirmed, bool)
        assert len({scheme.title, scheme.title_zh, scheme.source, scheme.note}) == 4
        assert min(map(len, (scheme.title, scheme.title_zh, scheme.source, scheme.note))) > 10
        assert "Our choice" in scheme.note or scheme.points_total is None


def test_the_schemes_stand_in_the_package():
    """The data file lies beside the modules, from where a wheel takes it."""
    assert (Path(survey.__file__).parent / "sampling" / "schemes.toml").is_file()


def test_a_total_is_divided_by_largest_remainders():
    """78 over 60, 29 and 11 points is 46.8, 22.62 and 8.58: 47, 23 and 8."""
    design = find_scheme("jiaozuo-2019").make_design(points_of(school=60, mall=29, market=11))
    assert dict(design.points) == {"school": 47, "mall": 23, "market": 8}
    assert design == Design(points=design.points)


def test_equal_remainders_go_by_the_order_of_kinds():
    """One point over three kinds of equal size goes to the market, which stands first."""
    design = scheme_of(points_total=1).make_design(points_of(station=2, school=2, market=2))
    assert dict(design.points) == {"market": 1, "school": 0, "station": 0}


def test_no_more_points_than_there_are():
    """A total above what there is visits every point."""
    design = find_scheme("mock-87-points").make_design(points_of(school=3, hospital=1))
    assert dict(design.points) == {"hospital": 1, "school": 3}


def test_a_total_keeps_the_design_beside_it():
    """What the source says of the draw at a point holds when the points are divided too."""
    scheme = scheme_of(points_total=2, design={"alleys": [3, 3]})
    assert scheme.make_design(points_of(school=4)) == Design(alleys=(3, 3), points={"school": 2})


@settings(max_examples=40, deadline=None)  # building tables is slow
@given(
    st.integers(1, 60),
    st.dictionaries(st.sampled_from(KINDS), st.integers(1, 12), min_size=1),
)
def test_division_keeps_its_quota(total, counts):
    """Parts add up to the total or to all points, none exceeds its kind, and none is off by one."""
    parts = scheme_of(points_total=total).make_design(points_of(**counts)).points
    there = sum(counts.values())
    assert sum(parts.values()) == min(total, there)
    for kind, count in counts.items():
        assert 0 <= parts[kind] <= count
        assert abs(parts[kind] - min(total, there) * count / there) < 1


def test_a_scheme_of_the_whole_city_makes_no_design():
    """A scheme without rules around points is refused with what to do instead."""
    with pytest.raises(DesignError) as fault:
        find_scheme("hygienic-city").make_design(points_of(school=1))
    assert str(fault.value) == (
        "scheme 'hygienic-city' says nothing of fixed points, so it makes no design: National"
        " Hygienic City: 4-8 alleys and 8-15 main and secondary roads of the whole city; draw a"
        " mock round by its totals, or take another scheme"
    )


def test_a_frame_without_points():
    """A total cannot be divided over no points."""
    with pytest.raises(DesignError, match="visits 78 points, but the frame has none; give the"):
        find_scheme("jiaozuo-2019").make_design(points_of())


def test_points_are_checked():
    """A table that is not of points is refused as every table is."""
    with pytest.raises(TableError, match="'points' breaks the data contract"):
        find_scheme("jiaozuo-2019").make_design(pd.DataFrame({"kind": ["school"]}))


@pytest.mark.parametrize(
    ("wrong", "hint"), [("six-surrounding", "did you mean 'six-surroundings'? "), ("???", "")]
)
def test_an_unknown_scheme(wrong, hint):
    """The message holds the closest id, if one is close, and all there are."""
    with pytest.raises(DesignError) as fault:
        find_scheme(wrong)
    assert str(fault.value) == (
        f"there is no scheme {wrong!r}; {hint}there are: six-surroundings, jiaozuo-2019,"
        " mock-87-points, hygienic-city"
    )


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"design": {"alley": [1, 2]}}, "scheme 'one' has an unknown key 'alley'"),
        ({"design": {"min_m": 9000}}, "scheme 'one': min_m = 9000 is not below"),
        ({"points_total": 0}, "scheme 'one': a total is below 1"),
        ({"alleys_total": (8, 4)}, r"scheme 'one': alleys_total is \(8, 4\); give the least"),
        ({"roads_total": (0, 4)}, "scheme 'one': a total is below 1"),
    ],
)
def test_a_scheme_checks_itself(given, says):
    """A scheme that no one could follow is refused where it is made."""
    with pytest.raises(DesignError, match=says):
        scheme_of(**given)
