import csv

import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from paper_places import (
    AREA,
    BOXES,
    HERE,
    X,
    at,
    block,
    features,
    hospital,
    names_of,
    points_of,
    read,
    school,
    station,
)
from survey import tables
from survey.frame.kinds import find_kind
from survey.frame.names import is_same, read_title
from survey.frame.places import find_candidates, find_points, find_toilets


@pytest.fixture(scope="module", params=list(BOXES))
def real(request):
    return read(request.param)


def test_a_station_is_one():
    """Two halves, a node, a tram halt of the name and thirty entrances are one station."""
    entrances = [
        (f"node/{n}", {"railway": "subway_entrance", "name": f"新街口#{n}"}, at(10 * n))
        for n in range(1, 31)
    ]
    points, notes = find_points(
        features(
            ("way/8", station("新街口", layer="-1"), block(0, 0, 150, 20)),
            ("way/9", station("新街口站"), block(60, 150, 20, 140)),
            ("node/90", {"public_transport": "station", "name": "新街口地铁站"}, at(70, 80)),
            ("node/91", {"railway": "stop", "name": "新街口"}, at(75, 10)),
            *entrances,
        ),
        AREA,
    )
    assert points["point_id"].tolist() == ["way/8"]
    assert points["name"].tolist() == ["新街口"]
    assert points["level"].isna().all()  # one of its halves is at street level
    assert points.geometry[0].area == pytest.approx(150 * 20 + 20 * 140)
    assert notes["scope"].tolist() == ["node/90", "way/9"]
    assert set(notes["measure"]) == {"merged_into"}
    assert notes["note"].str.startswith("way/8 (新街口)").all()


def test_one_name_far_apart_is_two_places():
    """Within 400 m one name is one place; at 401 m there are two."""
    near = [("node/1", station("东站"), at(0)), ("node/2", station("东站"), at(400))]
    far = [("node/1", station("东站"), at(0)), ("node/2", station("东站"), at(401))]
    assert names_of(*near) == ["东站"]
    assert names_of(*far) == ["东站", "东站"]


def test_kinds_never_merge():
    """A mall and a station of one name and place are two points."""
    rows = [
        ("node/1", station("万达"), at(0)),
        ("way/1", {"shop": "mall", "name": "万达"}, block(-10, -10, 20, 20)),
    ]
    assert points_of(*rows)["kind"].tolist() == ["station", "mall"]


def test_a_hospital_is_its_ground():
    """A node, a ward and an unnamed ground are one hospital, by the named area's id."""
    points = points_of(
        ("way/1", {"amenity": "hospital"}, block(0, 0, 200, 100)),
        ("way/5", hospital("省人民医院", **{"name:en": "People's"}), block(20, 20, 60, 40)),
        ("way/6", hospital("急诊楼", building="hospital"), block(100, 20, 30, 40)),
        ("node/7", hospital("人民医院"), at(150, 50)),
    )
    assert points["point_id"].tolist() == ["way/5"]
    assert points["name"].tolist() == ["省人民医院"]
    assert points["name_en"].tolist() == ["People's"]
    assert points.geometry[0].area == pytest.approx(200 * 100)


@pytest.mark.parametrize(
    ("inner", "places"),
    [
        ("医学院", 1),
        ("南京大学医学院", 1),
        (None, 1),
        ("南京大学附属小学", 2),
        ("南大附中", 2),
        ("力学小学", 2),
        ("汉口路中学", 2),
    ],
)
def test_what_lies_in_a_university(inner, places):
    """A faculty is a part of its university; a school in its ground is a school of its own."""
    ground = ("way/1", {"amenity": "university", "name": "南京大学"}, block(0, 0, 500, 500))
    tags = {"amenity": "school"} | ({"name": inner} if inner else {})
    for shape in (at(250, 250), block(200, 200, 50, 50)):
        assert len(points_of(ground, ("way/2", tags, shape))) == places


def test_schools_on_one_ground():
    """Two numbered schools in one unnamed ground stay two, as do a primary and a middle school."""
    ground = ("way/1", {"amenity": "school"}, block(0, 0, 200, 200))
    for one, other in (("一中", "二中"), ("光华小学", "光华中学")):
        rows = [("node/1", school(one), at(50, 50)), ("node/2", school(other), at(150, 150))]
        assert names_of(ground, *rows) == sorted([one, other])
    parts = [
        ("node/1", school("光华学校小学部"), at(50, 50)),
        ("node/2", school("光华学校初中部"), at(150, 150)),
    ]
    assert len(points_of(("way/1", school("光华学校"), block(0, 0, 200, 200)), *parts)) == 1


def test_a_name_within_a_name():
    """A hall beside its market is that market within 50 m; stations and malls stay apart."""

    def two(key, value, one, other, apart):
        tags = [{key: value, "name": name} for name in (one, other)]
        return names_of(("node/1", tags[0], at(0)), ("node/2", tags[1], at(apart)))

    assert two("amenity", "marketplace", "Halles du marché X", "Marché X", 50) == [
        "Halles du marché X"
    ]
    assert len(two("amenity", "marketplace", "Halles du marché X", "Marché X", 51)) == 2
    assert len(two("amenity", "school", "十一中", "一中", 5)) == 2
    assert len(two("railway", "station", "白石洲", "白石洲长途汽车站", 5)) == 2
    assert len(two("shop", "supermarket", "Carrefour", "Carrefour City", 5)) == 2


def test_an_unnamed_shop_in_a_mall_is_the_mall():
    """Unnamed objects in or touching a named one of their kind are it; named shops are not."""
    mall = ("way/1", {"shop": "mall", "name": "万达广场"}, block(0, 0, 100, 100))
    assert names_of(mall, ("node/1", {"shop": "supermarket"}, at(50, 50))) == ["万达广场"]
    assert names_of(mall, ("way/2", {"shop": "mall"}, block(100, 0, 50, 50))) == ["万达广场"]
    assert names_of(mall, ("node/1", {"shop": "supermarket"}, at(102, 50))) == ["-", "万达广场"]
    named = ("node/1", {"shop": "supermarket", "name": "沃尔玛"}, at(50, 50))
    assert names_of(mall, named) == ["万达广场", "沃尔玛"]


def test_an_unnamed_neighbour_does_not_join_two():
    """An unnamed shop between two named ones belongs to the nearer and leaves them two."""
    rows = [
        ("way/1", {"shop": "mall", "name": "甲"}, block(0, 0, 50, 50)),
        ("way/2", {"shop": "mall"}, block(50.5, 0, 49.5, 50)),
        ("way/3", {"shop": "mall", "name": "乙"}, block(100, 0, 50, 50)),
    ]
    points, notes = find_points(features(*rows), AREA)
    assert points["name"].tolist() == ["甲", "乙"]
    assert notes["note"].str.startswith("way/3 (乙)").tolist() == [True]


def test_an_unnamed_station_near_a_named_one():
    """An unnamed bus stand within 100 m is a part of the station, whose geometry stays its own."""
    metro = ("node/1", station("白石洲"), at(0))
    stand = ("way/2", {"amenity": "bus_station"}, block(60, 0, 30, 15))
    points, notes = find_points(features(metro, stand), AREA)
    assert points["point_id"].tolist() == ["node/1"]
    assert points.geometry[0] == at(0)
    assert notes["note"].tolist() == ["node/1 (白石洲): unnamed, within 100 m of it"]
    far = ("way/2", {"amenity": "bus_station"}, block(101, 0, 30, 15))
    assert names_of(metro, far) == ["-", "白石洲"]


def test_way_and_relation_of_one_area():
    """An area mapped twice is one, by its larger shape, then by the smaller id."""
    tags = {"amenity": "marketplace"}
    same = [
        ("way/20", tags, block(0, 0, 50, 50)),
        ("way/3", tags, block(0, 0, 50, 50)),
    ]
    assert points_of(*same)["point_id"].tolist() == ["way/3"]
    larger = ("relation/100", tags, block(-1, -1, 52, 52))
    assert points_of(*same, larger)["point_id"].tolist() == ["relation/100"]


def test_pieces_of_a_university_are_one():
    """Grounds of one name within 400 m are one point with all of them as its geometry."""
    tags = {"amenity": "university", "name": "南京大学"}
    points = points_of(
        ("way/1", tags, block(0, 0, 100, 100)), ("way/2", tags, block(300, 0, 200, 100))
    )
    assert points["point_id"].tolist() == ["way/2"]
    assert points.geometry[0].geom_type == "MultiPolygon"
    assert points.geometry[0].area == pytest.approx(100 * 100 + 200 * 100)


def test_what_stands_for_a_place():
    """The area stands before the node and takes the name that says least beyond the name."""
    points = points_of(
        ("node/1", {"shop": "mall", "name": "德基广场", "name:en": "Deji"}, at(120, 0)),
        ("way/9", {"shop": "mall", "name": "德基广场二期"}, block(0, 0, 50, 50)),
    )
    row = points.iloc[0]
    assert (row["point_id"], row["name"], row["name_en"]) == ("way/9", "德基广场", "Deji")
    assert row["names"].split(";") == ["德基广场二期", "德基广场"]
    only_chinese = points_of(("node/1", {"amenity": "school", "name:zh": "光华学校"}, at(0)))
    assert only_chinese["name"].tolist() == ["光华学校"]


def test_other_names_count_too():
    """A node named in English and an area named in Chinese are one where the node says both."""
    assert (
        len(
            points_of(
                ("node/1", school("Guanghua School", **{"name:zh": "光华学校"}), at(120, 0)),
                ("way/1", school("光华学校"), block(0, 0, 50, 50)),
            )
        )
        == 1
    )


def test_communities():
    """Committee offices are the communities; a neighbourhood is one only where there is none."""
    place = ("node/1", {"place": "neighbourhood", "name": "五老村"}, at(0))
    office = ("node/2", {"office": "government", "name": "五老村社区居委会"}, at(300))
    centre = ("node/3", {"amenity": "community_centre", "name": "五老村社区服务中心"}, at(350))
    beyond = ("node/4", {"office": "government", "name": "江东社区居委会"}, at(5000))
    assert points_of(place, beyond)["point_id"].tolist() == ["node/1"]
    points, notes = find_points(features(place, office, centre), AREA)
    assert points["kind"].tolist() == ["community"]
    assert points["point_id"].tolist() == ["node/2"]
    assert notes[["scope", "measure"]].to_numpy().tolist() == [
        ["node/1", "not_a_point"],
        ["node/3", "merged_into"],
    ]


def test_only_what_lies_inside():
    """A place is inside if a position within its ground is; those outside leave no note."""
    east = AREA.shape.bounds[2] - X
    rows = [
        ("way/1", school("里学校"), block(east - 100, 0, 120, 50)),
        ("way/2", school("外学校"), block(east - 20, 500, 120, 50)),
        ("way/3", school("外幼儿园"), block(east + 100, 0, 50, 50)),
        ("node/4", school("外学校"), at(east + 50, 520)),
    ]
    points, notes = find_points(features(*rows), AREA)
    assert points["name"].tolist() == ["里学校"]
    assert len(notes) == 0


def test_a_named_building_without_a_tag_is_reported():
    """A building that looks like a school is noted, unless it stands in a school."""
    rows = [
        ("way/1", school("光华学校"), block(0, 0, 100, 100)),
        ("way/2", {"building": "school", "name": "教学楼"}, block(10, 10, 20, 20)),
        ("way/3", {"building": "school", "name": "创新学校"}, block(300, 0, 20, 20)),
        ("way/4", {"building": "school"}, block(600, 0, 20, 20)),
    ]
    notes = find_points(features(*rows), AREA)[1]
    assert notes["scope"].tolist() == ["way/3"]


CROWD = [
    ("way/1", {"amenity": "hospital"}, block(0, 0, 200, 100)),
    ("way/5", hospital("省人民医院"), block(20, 20, 60, 40)),
    ("node/7", hospital("人民医院"), at(150, 50)),
    ("way/8", station("新街口", layer="-1"), block(500, 0, 150, 20)),
    ("way/9", station("新街口站"), block(560, 150, 20, 140)),
    ("way/10", {"amenity": "bus_station"}, block(700, 0, 30, 15)),
    ("way/11", {"amenity": "bus_station"}, block(730, 0, 30, 15)),
    ("way/21", {"shop": "mall", "name": "甲"}, block(0, 500, 50, 50)),
    ("way/22", {"shop": "mall"}, block(50, 500, 50, 50)),
    ("way/23", {"shop": "mall", "name": "乙"}, block(100, 500, 50, 50)),
    ("node/31", school("一中"), at(-350, 50)),
    ("way/32", {"amenity": "school"}, block(-400, 0, 200, 200)),
    ("node/33", school("二中"), at(-250, 150)),
    ("node/34", school("党校"), at(-250, 400)),
]


@settings(deadline=None, max_examples=25)  # a whole search each
@given(st.permutations(range(len(CROWD))))
def test_row_order_does_not_matter(order):
    """Points and notes are the same whatever the order of the features, which stay unchanged."""
    expected, notes = find_points(features(*CROWD), AREA)
    shuffled = features(*[CROWD[row] for row in order])
    before = shuffled.copy(deep=True)
    points, same = find_points(shuffled, AREA)
    pd.testing.assert_frame_equal(points, expected)
    pd.testing.assert_frame_equal(same, notes)
    pd.testing.assert_frame_equal(shuffled, before)
    assert len(points) == 6


def test_no_features():
    """Without features every table is empty, with its columns."""
    none = features()
    points, notes = find_points(none, AREA)
    assert len(points) == len(notes) == len(find_toilets(none, AREA)) == 0
    assert {"point_id", "name", "name_en", "kind", "source", "level"} <= set(points)
    assert list(notes) == ["scope", "measure", "note"]
    assert len(find_candidates(none, AREA)) == 0


def test_monaco_points_are_those_read_by_eye():
    """Every place on the list made by reading the raw file is a point once, and no other is."""
    area, _, found = read("monaco")
    points = find_points(found, area)[0]
    with (HERE / "data" / "monaco_points.csv").open(encoding="utf-8", newline="") as file:
        listed = [row for row in csv.DictReader(file) if row["kind"]]
    for row in listed:
        mine = points[points["point_id"].isin(row["osm_ids"].split())]
        assert mine["kind"].tolist() == [row["kind"]], row
        assert mine["name"].fillna("").tolist() == [row["name"]], row
    known = {name for row in listed for name in row["osm_ids"].split()}
    assert set(points["point_id"]) <= known
    assert len(points) == len(listed)


def test_nothing_tagged_is_lost(real):
    """Each object of a kind in a real area is a point, or a note says what became of it."""
    area, _, found = real
    points, notes = find_points(found, area)
    places = shapely.point_on_surface(found.geometry.array)
    tagged = [find_kind(tags)[0] in tables.KINDS for tags in found["tags"]]
    inside = found["osm_id"][np.array(tagged) & shapely.intersects(area.shape, places)]
    # A part inside of a place that stands outside is not a point of the area.
    assert set(inside) - set(points["point_id"]) - set(notes["scope"]) == set()
    assert not points["point_id"].duplicated().any()
    assert not notes.duplicated(["scope", "measure"]).any()


def test_no_name_stands_twice(real):
    """In a real area no two points of one kind within 400 m have the same name."""
    area, _, found = real
    points = find_points(found, area)[0]
    titles = [
        read_title([name for name in names.split(";") if name], kind)
        for names, kind in zip(points["names"], points["kind"], strict=True)
    ]
    for i in range(len(points)):
        for j in range(i):
            near = points.geometry[i].distance(points.geometry[j]) <= 400
            alike = points["kind"][i] == points["kind"][j] and is_same(titles[i], titles[j])
            assert not (near and alike)
