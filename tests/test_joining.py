import geopandas as gpd
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from paper_places import AREA, X, Y, at, block, features, points_of, school
from survey.errors import LayerError, TableError
from survey.frame.joining import merge_points, merge_toilets
from survey.frame.merging import match_rows
from survey.frame.places import find_toilets


def register(*rows, crs=AREA.crs):
    """Make a register of (id, name, kind, geometry)."""
    ids, names, kinds, shapes = zip(*rows, strict=True)
    return gpd.GeoDataFrame(
        {"id": ids, "name": names, "kind": kinds}, geometry=list(shapes), crs=crs
    )


KNOWN = [
    ("way/1", school("南京市第五中学", **{"name:en": "No. 5"}), block(0, 0, 100, 100)),
    ("node/2", school("光华学校"), at(0, 600)),
    ("node/3", {"amenity": "hospital"}, at(800)),
    ("way/4", {"amenity": "marketplace"}, block(0, -600, 50, 50)),
    ("node/5", {"shop": "mall", "name": "万达广场"}, at(-900)),
]


def test_a_register_of_points_wins():
    """One place in both takes the register's id and name, and OpenStreetMap's ground."""
    rows = register(
        ("P1", "南京五中", "school", at(180, 50)),
        (None, "人民医院", "hospital", at(830)),
        (None, "科巷菜市场", "market", at(25, -575)),
        (None, "新学校", "school", at(300, 900)),
        (None, "万达广场", "market", at(-900)),
        ("P9", "外学校", "school", at(9000)),
    )
    before = rows.copy(deep=True)
    points, notes = merge_points(points_of(*KNOWN), rows, AREA)
    pd.testing.assert_frame_equal(rows, before)
    table = points.set_index("point_id")
    assert table["source"].to_dict() == {
        "P1": "register+osm",
        "register/hospital/人民医院": "register+osm",
        "register/market/科巷菜市场": "register+osm",
        "register/school/新学校": "register",
        "register/market/万达广场": "register",
        "node/2": "osm",
        "node/5": "osm",
    }
    assert table.loc["P1", "name"] == "南京五中"
    assert table.loc["P1", "name_en"] == "No. 5"
    assert table.geometry["P1"].area == pytest.approx(100 * 100)
    assert table.geometry["register/hospital/人民医院"] == at(830)
    assert table.geometry["register/market/科巷菜市场"].area == pytest.approx(50 * 50)
    assert sorted(zip(notes["scope"], notes["measure"], notes["note"], strict=True)) == [
        ("P9", "outside_area", "school 外学校"),
        ("node/2", "only_in_osm", "school 光华学校"),
        ("node/5", "only_in_osm", "mall 万达广场"),
        ("register/market/万达广场", "only_in_register", "market 万达广场"),
        ("register/school/新学校", "only_in_register", "school 新学校"),
    ]


def test_registers_match_within_limits():
    """A name counts within 400 m, a place without a name within 50 m of a node, in its ground."""
    known = points_of(*KNOWN)

    def sources(*row):
        merged = merge_points(known, register(row), AREA)[0].set_index("point_id")["source"]
        return merged["P"]

    assert sources("P", "光华学校", "school", at(0, 999)) == "register+osm"
    assert sources("P", "光华学校", "school", at(0, 1001)) == "register"
    assert sources("P", "光荣学校", "school", at(0, 601)) == "register"
    assert sources("P", None, "school", at(0, 649)) == "register+osm"
    assert sources("P", "人民医院", "hospital", at(851)) == "register"
    assert sources("P", "科巷菜市场", "market", at(60, -575)) == "register"
    ground = shapely.box(X - 20, Y + 590, X + 20, Y + 610)
    merged = merge_points(known, register(("P", "光华学校", "school", ground)), AREA)[0]
    assert merged.set_index("point_id").geometry["P"].area == pytest.approx(40 * 20)


def test_one_point_takes_one_row():
    """Of two rows that match one point the nearer takes it; the other stands by itself."""
    rows = register(
        ("far", "光华学校", "school", at(0, 700)), ("near", "光华学校", "school", at(0, 610))
    )
    merged = merge_points(points_of(*KNOWN), rows, AREA)[0].set_index("point_id")["source"]
    assert merged[["near", "far"]].tolist() == ["register+osm", "register"]


def test_ids_of_a_register():
    """Rows without an id get one of name and place, whatever their order; ids must be unique."""
    rows = register(
        (None, "苏果超市", "mall", at(0)),
        (None, "苏果超市", "mall", at(700)),
        (None, None, "mall", at(1400)),
        (None, "苏果超市", "mall", at(0)),
        ("way/1", "南京五中", "school", at(1000, 1000)),
    )
    known = points_of(*KNOWN)
    points, notes = merge_points(known, rows, AREA)
    again, _ = merge_points(known, rows.iloc[::-1], AREA)
    pd.testing.assert_frame_equal(points, again)
    assert points["point_id"].str.startswith("register/mall/苏果超市@").sum() == 2
    assert points["point_id"].str.startswith("register/mall/@").sum() == 1
    assert (notes["measure"] == "merged_into").sum() == 1
    # An id of OpenStreetMap's is that place, even where the register puts it elsewhere.
    assert points["source"][points["point_id"] == "way/1"].tolist() == ["register"]
    twice = register(("P", "甲", "mall", at(0)), ("P", "乙", "mall", at(9)))
    with pytest.raises(LayerError, match=r"1 ids more than once, for example \['P'\]"):
        merge_points(known, twice, AREA)


def toilet_register(*rows):
    """Make a register of toilets: (id, level, geometry)."""
    ids, levels, shapes = zip(*rows, strict=True)
    return gpd.GeoDataFrame(
        {"id": ids, "level": pd.Series(levels, dtype="str")}, geometry=list(shapes), crs=AREA.crs
    )


def test_a_register_of_toilets_wins():
    """Within 30 m on one level a toilet is in both; its id and status are the register's."""
    east = AREA.shape.bounds[2] - X
    toilets = find_toilets(
        features(
            ("node/1", {"amenity": "toilets", "access": "customers", "fee": "no"}, at(0)),
            ("node/2", {"amenity": "toilets", "level": "-1"}, at(500)),
            ("node/3", {"amenity": "toilets"}, at(1000)),
        ),
        AREA,
    )
    rows = toilet_register(
        ("T1", None, at(30)),
        ("T2", None, at(505)),
        ("T3", None, at(1031)),
        (None, None, at(east + 100)),
        ("T9", None, at(9000)),
    ).assign(wheelchair="yes")
    merged, notes = merge_toilets(toilets, rows, AREA)
    table = merged.set_index("toilet_id")
    beyond = next(name for name in table.index if name.startswith("register/toilet/@"))
    assert table["source"].to_dict() == {
        "T1": "register+osm",
        "T2": "register",
        "T3": "register",
        beyond: "register",
        "node/2": "osm",
        "node/3": "osm",
    }
    assert table.loc["T1", ["status", "fee", "wheelchair"]].tolist() == ["public", "no", "yes"]
    assert table.geometry["T1"] == at(30)
    assert table["inside"].to_dict()[beyond] is False
    assert sorted(zip(notes["scope"], notes["measure"], strict=True)) == [
        ("T2", "only_in_register"),
        ("T3", "only_in_register"),
        ("T9", "outside_area"),
        ("node/2", "only_in_osm"),
        ("node/3", "only_in_osm"),
    ]
    with pytest.raises(TableError, match="'status' holds"):
        merge_toilets(toilets, rows.assign(status="开放"), AREA)


def test_an_empty_register_changes_nothing():
    """Joining with a register without rows gives the same places, all of them only in OSM."""
    points = points_of(*KNOWN)
    none = register(("P", "甲", "mall", at(0))).iloc[:0]
    merged, notes = merge_points(points, none, AREA)
    pd.testing.assert_frame_equal(merged, points)
    assert set(notes["measure"]) == {"only_in_osm"}
    added, _ = merge_points(points.iloc[:0], register(("P", "甲", "mall", at(0))), AREA)
    assert added["source"].tolist() == ["register"]


spots = st.lists(st.integers(0, 12), min_size=0, max_size=6)


@settings(deadline=None)  # the machine may be busy
@given(spots, spots, st.randoms(use_true_random=False))
def test_matching_takes_the_nearest_free_pair(left, right, random):
    """Matching is one to one within the limit, leaves no free pair, and ignores row order."""

    def table(places):
        return gpd.GeoDataFrame(geometry=gpd.GeoSeries([at(x) for x in places], crs=AREA.crs))

    def match(first, second):
        i, j = match_rows(table(first), table(second), max_m=3, rank=lambda _i, _j, _d: 0)
        return i.tolist(), j.tolist()

    i, j = match(left, right)
    assert len(set(i)) == len(i) == len(set(j)) == len(j)
    assert all(abs(left[a] - right[b]) <= 3 for a, b in zip(i, j, strict=True))
    free = [(a, b) for a in set(range(len(left))) - set(i) for b in set(range(len(right))) - set(j)]
    assert not any(abs(left[a] - right[b]) <= 3 for a, b in free)
    shuffled = random.sample(left, len(left))
    k, m = match(shuffled, right)
    pairs = sorted((left[a], right[b]) for a, b in zip(i, j, strict=True))
    assert sorted((shuffled[a], right[b]) for a, b in zip(k, m, strict=True)) == pairs


def test_surer_matches_go_first():
    """A sure pair far apart goes before an unsure one nearby."""
    first = gpd.GeoDataFrame(geometry=[at(0)], crs=AREA.crs)
    second = gpd.GeoDataFrame(geometry=[at(1), at(20)], crs=AREA.crs)
    found = match_rows(first, second, max_m=30, rank=lambda _i, j, _d: 1 - j)
    assert [rows.tolist() for rows in found] == [[0], [1]]
