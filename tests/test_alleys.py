import json
import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from drawn import alleys_of, box, by_way, check_units, draw, draw_compounds, line
from survey.frame.alleys import find_alleys, find_public, tell_kind
from survey.frame.blocks import is_main
from survey.frame.compounds import find_compounds
from survey.frame.streets import build_streets
from survey.frame.tags import parse_features
from survey.sources.area import find_area
from survey.sources.extract import read_extract

HOME = {"highway": "residential"}
STREET = {"highway": "secondary", "name": "中山路"}
BOXES = {
    "nanjing": (118.764, 32.035, 118.797, 32.053),
    "nanshan": (113.923, 22.537, 113.968, 22.560),
}


def alley(name):
    return HOME | {"name": name}


def lengths(alleys):
    return dict(zip(alleys["alley_id"], alleys["length_m"], strict=True))


# -- which streets -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tags", "kind"),
    [
        ({"highway": "residential"}, "residential"),
        ({"highway": "living_street", "name": "如意里"}, "living_street"),
        ({"highway": "pedestrian"}, "pedestrian"),
        ({"highway": "unclassified", "lanes": "3"}, "unclassified"),
        ({"highway": "service", "service": "alley"}, "service=alley"),
        ({"highway": "service", "name": "盔头巷"}, "service"),
        ({"highway": "steps", "name": "百步梯"}, "steps"),
        ({"highway": "residential", "bridge": "yes"}, "residential"),
        ({"highway": "residential", "tunnel": "no"}, "residential"),
        ({"highway": "unclassified", "lanes": "4"}, None),
        ({"highway": "service"}, None),
        ({"highway": "footway"}, None),
        ({"highway": "tertiary", "name": "科巷"}, None),
        ({"highway": "footway", "name": "人行天桥"}, None),
        ({"highway": "footway", "name": "桥上路", "bridge": "yes"}, None),
        ({"highway": "residential", "name": "中山路辅路"}, None),
        ({"highway": "service", "name": "新街口停车场出口"}, None),
        ({"highway": "residential", "name": "科巷", "covered": "yes"}, None),
        ({"highway": "residential", "junction": "roundabout"}, None),
    ],
)
def test_tags_tell_what_may_be_an_alley(tags, kind):
    """Tags alone say what may be an alley; a name like 巷 never makes one of a bigger street."""
    assert tell_kind(tags) == kind


def test_what_is_not_public_is_no_alley():
    """Private streets, driveways, sidewalks and crossings are no alleys, named or not."""
    ways = {
        1: (line((0, 0), (100, 0)), HOME | {"access": "private"}),
        2: (line((0, 50), (100, 50)), {"highway": "service", "service": "driveway", "name": "甲"}),
        3: (line((0, 99), (100, 99)), {"highway": "footway", "footway": "sidewalk", "name": "乙"}),
    }
    _, alleys, of_edge, _, _ = alleys_of(ways)
    assert not len(alleys)
    assert of_edge.isna().all()


def test_paths_of_a_campus_are_no_alleys():
    """In a school's ground unnamed streets and all foot ways are out; a named street stays."""
    ways = {
        1: (line((10, 10), (190, 10)), HOME),
        2: (line((10, 50), (190, 50)), {"highway": "footway", "name": "樱花道"}),
        3: (line((10, 90), (190, 90)), alley("校中路")),
        4: (line((100, 150), (400, 150)), HOME),
    }
    school = {"way/9": (box(0, 0, 200, 200), {"amenity": "school"})}
    _, alleys, _, _, _ = alleys_of(ways, school)
    assert lengths(alleys) == {"alley/3": 180, "alley/4": 300}


def test_a_side_carriageway_is_no_alley():
    """Beside a main street, what is unnamed or bears its name is out; an own name keeps it in."""
    ways = {
        1: (line((0, 0), (300, 0)), STREET),
        2: (line((0, 25), (300, 25)), HOME),
        3: (line((0, -20), (300, -20)), alley("中山路")),
        4: (line((0, -24), (300, -24)), alley("后巷")),
        5: (line((0, 26), (300, 26)), HOME),
        6: (line((200, 0), (200, -32)), HOME),
    }
    _, alleys, _, _, notes = alleys_of(ways)
    assert lengths(alleys) == {"alley/4": 300, "alley/5": 300, "alley/6": 32}
    assert notes.set_index("measure")["value"]["alleys_beside_main"] == 2


def test_what_lies_beside_two_main_streets_counts_once():
    """An alley that leaves a corner of main streets aslant is no side carriageway.

    Of its 41.5 m, 26.5 m lie within 25 m of one of the three, much of it of all of them.
    """
    main = {"highway": "secondary"}
    ways = {
        1: (line((-100, -7), (0, 0)), main),
        2: (line((0, 0), (7, 100)), main),
        3: (line((0, 0), (31, -95)), main),
        4: (line((0, 0), (40, 11)), HOME),
    }
    _, alleys, _, _, notes = alleys_of(ways)
    assert lengths(alleys) == {"alley/4": 41.485}
    assert notes.set_index("measure")["value"]["alleys_beside_main"] == 0


# -- which edges are public ----------------------------------------------------------------------


def test_an_unnamed_way_in_a_compound_is_not_public():
    """Nine tenths inside an outline counts as inside; along it, or with a name, it is public."""
    ways = {
        1: (line((-5, 100), (150, 100)), HOME),
        2: (line((0, 3), (200, 3)), HOME),
        3: (line((20, 150), (180, 150)), alley("园中路")),
        4: (line((-40, 50), (150, 50)), HOME),
    }
    drawing, alleys, _, public, _ = alleys_of(ways, areas=[box(0, 0, 200, 200)])
    ways_public = drawing.streets.edges["way_id"][public].tolist()
    assert ways_public == ["way/2", "way/3", "way/4"]
    assert alleys["alley_id"].tolist() == ["alley/2", "alley/3", "alley/4"]


def test_a_short_stub_of_an_inner_way_is_inside_with_it():
    """An edge that sticks out of a compound follows its way, most of which lies inside."""
    ways = {
        1: (line((-15, 100), (10, 100), (190, 100)), HOME),
        2: (line((10, 100), (10, 20)), HOME),
    }
    drawing, _, _, public, _ = alleys_of(ways, areas=[box(0, 0, 200, 200)])
    assert len(drawing.streets.edges) == 3
    assert not public.any()


def test_the_outline_of_a_mall_is_no_street():
    """A closed, unnamed way on foot is an outline; a named one, or a carriageway, is a street."""
    ring = [(0, 0), (80, 0), (80, 60), (0, 60), (0, 0)]
    ways = {
        1: (line(*ring), {"highway": "footway"}),
        2: (line(*[(x + 200, y) for x, y in ring]), {"highway": "footway", "name": "环湖步道"}),
        3: (line(*[(x + 400, y) for x, y in ring]), HOME),
    }
    drawing = draw(ways, {})
    public = find_public(drawing.streets, drawing.osm, draw_compounds(drawing))
    assert public.tolist() == [False, True, True]


# -- which edges are one alley -------------------------------------------------------------------


@pytest.mark.parametrize(("apart_m", "count"), [(60, 1), (61, 2)])
def test_one_name_within_60_m_is_one_alley(apart_m, count):
    """Pieces of one name are one alley up to 60 m apart, and two alleys beyond that."""
    ways = {
        7: (line((100 + apart_m, 0), (200 + apart_m, 0)), alley("科 巷")),
        12: (line((0, 0), (100, 0)), alley("科巷")),
    }
    _, alleys, _, _, _ = alleys_of(ways)
    expected = {"alley/7": 200} if count == 1 else {"alley/12": 100, "alley/7": 100}
    assert lengths(alleys) == expected


def test_unnamed_streets_run_straight_on_to_a_bigger_street():
    """Unnamed streets cross each other straight on, and end at a named street."""
    ways = {
        1: (line((0, 0), (100, 0), (200, 0), (290, 0)), HOME),
        2: (line((100, -80), (100, 0), (100, 80)), HOME),
        3: (line((200, -500), (200, 0), (200, 500)), alley("科巷")),
    }
    drawing, alleys, of_edge, _, _ = alleys_of(ways)
    assert lengths(alleys) == {"alley/1": 200, "alley/1#2": 90, "alley/2": 160, "alley/3": 1000}
    assert by_way(drawing, of_edge) == {
        1: ["alley/1", "alley/1", "alley/1#2"],
        2: ["alley/2", "alley/2"],
        3: ["alley/3", "alley/3"],
    }
    reasons = alleys.set_index("alley_id")["reason"]
    assert reasons["alley/1"] == "unnamed residential, chained"
    assert reasons["alley/1#2"] == "unnamed residential"
    assert reasons["alley/3"] == "residential, named …巷"
    assert alleys.set_index("alley_id")["name"].isna().tolist() == [True, True, True, False]


def test_unnamed_streets_end_at_a_main_street_without_a_name():
    """A street of class tertiary and above ends a chain even if nobody named it."""
    ways = {
        1: (line((0, 0), (100, 0), (200, 0)), HOME),
        2: (line((100, -90), (100, 0), (100, 90)), {"highway": "tertiary"}),
    }
    assert lengths(alleys_of(ways)[1]) == {"alley/1": 100, "alley/1#2": 100}


@pytest.mark.parametrize(("turn_deg", "count"), [(44, 1), (46, 2)])
def test_a_chain_ends_where_it_turns_by_45_degrees(turn_deg, count):
    """At a junction an unnamed alley goes on through 44 degrees, and ends at 46."""
    turn = np.radians(turn_deg)
    end = (100 + 100 * np.cos(turn), 100 * np.sin(turn))
    ways = {1: (line((0, 0), (100, 0)), HOME), 2: (line((100, 0), end), HOME)}
    alleys = alleys_of(ways)[1]
    assert len(alleys) == count
    assert alleys["length_m"].sum() == pytest.approx(200, abs=0.002)


def test_the_straightest_pair_goes_on():
    """Where three ends meet, the straightest two are one alley; the third is its own."""
    ways = {
        1: (line((0, 0), (100, 0)), HOME),
        2: (line((100, 0), (200, 30)), HOME),
        3: (line((100, 0), (200, -10)), HOME),
    }
    drawing, _, of_edge, _, _ = alleys_of(ways)
    assert by_way(drawing, of_edge) == {1: ["alley/1"], 2: ["alley/2"], 3: ["alley/1"]}


def test_short_pieces_are_counted_not_kept():
    """What is shorter than `min_alley_m` is no alley; how many there were is noted."""
    ways = {
        1: (line((0, 0), (29.9, 0)), alley("甲巷")),
        2: (line((0, 100), (30, 100)), alley("乙巷")),
    }
    _, alleys, _, _, notes = alleys_of(ways)
    assert lengths(alleys) == {"alley/2": 30}
    assert notes.set_index("measure")["value"]["alleys_too_short"] == 1
    assert lengths(alleys_of(ways, min_alley_m=10)[1]) == {"alley/1": 29.9, "alley/2": 30}


def test_half_of_an_alley_lies_in_the_area():
    """An alley is in the frame, whole, if at least half of it lies in the area."""
    ways = {
        1: (line((890, 0), (1090, 0)), alley("甲巷")),
        2: (line((920, 100), (1120, 100)), alley("乙巷")),
    }
    assert lengths(alleys_of(ways)[1]) == {"alley/1": pytest.approx(200, abs=0.002)}


def test_names_and_class_are_those_of_most_of_the_length():
    """An alley has the class and the English name that most of its length has."""
    ways = {
        1: (line((0, 0), (100, 0)), alley("科巷")),
        2: (line((100, 0), (250, 0)), {"highway": "pedestrian", "name": "科巷", "name:en": "Ke"}),
    }
    only = alleys_of(ways)[1].iloc[0]
    assert (only["highway"], only["name_en"], only["length_m"]) == ("pedestrian", "Ke", 250)
    assert only["reason"] == "pedestrian, named …巷"
    assert only.geometry.geom_type == "MultiLineString"
    assert len(only.geometry.geoms) == 1


MAZE = {
    number: (line((x1, y1), (x2, y2)), dict(tags))
    for number, (x1, y1, x2, y2, tags) in enumerate(
        [
            *[(x, y, x + 50, y, {**HOME}) for x in range(0, 200, 50) for y in (0, 50, 100)],
            *[(x, y, x, y + 50, {**HOME}) for x in (0, 50, 100, 150, 200) for y in (0, 50)],
            (200, 0, 300, 10, alley("甲巷")),
            (350, 20, 400, 20, alley("甲巷")),
            (470, 20, 520, 20, alley("甲巷")),
            (-200, -60, 300, -60, STREET),
            (100, -60, 100, 0, HOME),
            (0, 50, -40, 80, {"highway": "living_street"}),
            (0, 50, -40, 20, {"highway": "living_street"}),
        ],
        start=11,
    )
}


@cache
def find_maze():
    return alleys_of(MAZE)


@settings(max_examples=15, deadline=None)
@given(st.permutations(sorted(MAZE)), st.sets(st.sampled_from(sorted(MAZE))), st.randoms())
def test_neither_order_nor_direction_matters(order, reversed_ways, random):
    """Shuffled edges and reversed lines give the same alleys."""
    ways = {
        number: (MAZE[number][0].reverse() if number in reversed_ways else MAZE[number][0], tags)
        for number in order
        for tags in [MAZE[number][1]]
    }
    expected_drawing, expected, expected_edges, _, _ = find_maze()
    drawing = draw(ways, {})
    rows = list(range(len(drawing.streets.edges)))
    random.shuffle(rows)
    edges = drawing.streets.edges.iloc[rows].reset_index(drop=True)
    streets = type(drawing.streets)(drawing.streets.nodes, edges)
    found, of_edge, _, _ = find_alleys(
        streets, drawing.osm, drawing.features, draw_compounds(drawing), drawing.area
    )
    assert found.drop(columns="geometry").equals(expected.drop(columns="geometry"))
    assert shapely.equals(found.geometry.array, expected.geometry.array).all()
    assert dict(zip(edges["edge_id"], of_edge.fillna("-"), strict=True)) == dict(
        zip(expected_drawing.streets.edges["edge_id"], expected_edges.fillna("-"), strict=True)
    )


# -- real extracts -------------------------------------------------------------------------------


def real(city):
    if city == "monaco":
        path, box_of_city = Path(__file__).parent.parent / "data" / "monaco.osm.pbf", None
    elif "SURVEY_TEST_DATA" in os.environ:
        path = Path(os.environ["SURVEY_TEST_DATA"]) / f"{city}.osm.pbf"
        box_of_city = BOXES[city]
    else:
        pytest.skip("SURVEY_TEST_DATA is not set")
    area = find_area(extract=path, bbox=box_of_city)
    osm = read_extract(path, area)
    return osm, build_streets(osm), parse_features(osm)


@pytest.mark.parametrize("city", ["monaco", "nanjing", "nanshan"])
def test_alleys_of_a_real_city_add_up(city):
    """Every alley is the sum of its edges, public, of no main class, and half in the area."""
    osm, streets, features = real(city)
    found, _ = find_compounds(features, streets, osm.area)
    alleys, of_edge, public, _ = find_alleys(streets, osm, features, found, osm.area)
    check_units("alleys", alleys)
    edges = streets.edges.assign(length_mm=streets.length_mm, alley=of_edge)
    mine = edges["alley"].notna()
    assert public[mine].all()
    assert not (public & ~edges["public"].to_numpy()).any()
    assert not is_main(edges["highway"][mine]).any()
    sums = edges.groupby("alley")["length_mm"].sum()
    length_mm = np.rint(alleys.set_index("alley_id")["length_m"] * 1000).astype("int64")
    assert sums.to_dict() == length_mm.to_dict()
    assert (sums >= 30_000).all()
    inside = edges[edges["inside"]].groupby("alley")["length_mm"].sum()
    assert (2 * inside.reindex(sums.index, fill_value=0) >= sums).all()
    names = edges.groupby("alley")["name"].nunique()
    assert names.max() == 1


@pytest.mark.parametrize("city", ["nanjing"])
def test_the_alleys_of_a_chinese_centre_are_found(city):
    """Every 巷 that OpenStreetMap maps as a small street, all of it inside, is in the frame."""
    osm, streets, features = real(city)
    found, _ = find_compounds(features, streets, osm.area)
    alleys, _, _, _ = find_alleys(streets, osm, features, found, osm.area)
    streets = osm.streets.assign(tags=osm.streets["tags"].map(json.loads))
    streets["name"] = [tags.get("name", "") for tags in streets["tags"]]
    small = [tags["highway"] in {"residential", "living_street"} for tags in streets["tags"]]
    lanes = streets[streets["name"].str.endswith("巷") & np.array(small)]
    whole = lanes.within(osm.area.shape).groupby(lanes["name"]).all()
    wanted = set(whole.index[whole])
    assert len(wanted) > 20
    assert wanted <= set(alleys["name"].dropna())
