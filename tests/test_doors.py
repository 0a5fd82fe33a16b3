import json

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import LineString, MultiPolygon, Point, Polygon, box

from sketch import CRS, draw_streets
from survey.frame.assembly import _find_doors, _Start
from survey.frame.doors import find_doors
from survey.frame.quality import _doors
from survey.frame.streets import Streets
from survey.frame.tags import parse_tags

FEW = settings(max_examples=25, deadline=None)  # building tables is slow, more so on a busy machine
STREET = {"s": [(0, 0), (400, 0)]}
HALVES = {"r": [(0, 0), (150, 0)], "s": [(150, 0), (400, 0)]}


def doors_of(
    lines, shapes, *, layer="compound", gates=(), levels=None, max_access_m=150, **columns
):
    """Find the doors of {id: shape}: {id: [(edge, kind, offset_m, access_m), ...]}."""
    objects = gpd.GeoDataFrame({"id": list(shapes)}, geometry=list(shapes.values()), crs=CRS)
    if levels is not None:
        objects["level"] = pd.Series([levels.get(key) for key in shapes], dtype="str")
    table = find_doors(
        draw_streets(lines, **columns),
        objects,
        layer=layer,
        gates=np.array([Point(gate) for gate in gates], dtype=object) if gates else None,
        max_access_m=max_access_m,
    )
    found = {}
    for row in table.itertuples():
        found.setdefault(row.id, []).append((row.edge_id, row.kind, row.offset_m, row.access_m))
    return found


def test_a_node_goes_to_its_nearest_position():
    """A door is the foot of the perpendicular, in the middle of a block and not at a node."""
    found = doors_of(STREET, {"p": Point(123.4567, 40)})
    assert found == {"p": [("s", "nearest", 123.457, 40.0)]}


def test_the_door_lies_on_the_street():
    """The geometry of a door is its position on the edge, `offset_m` from u, to the millimetre."""
    bent = [(0, 0), (100, 0), (100, 100), (30, 170)]
    shapes = [Point(10, 10), Point(120, 30), Point(60, 150), Point(101, 1)]
    objects = gpd.GeoDataFrame({"id": list("abcd")}, geometry=shapes, crs=CRS)
    table = find_doors(draw_streets({"s": bent}), objects, layer="toilet")
    line = LineString(bent)
    assert list(table["layer"]) == ["toilet"] * 4
    for row in table.itertuples():
        shape = shapes["abcd".index(row.id)]
        assert row.geometry.distance(line.interpolate(row.offset_m)) < 0.001
        assert row.geometry.distance(shape) == pytest.approx(row.access_m, abs=0.001)
        assert line.distance(shape) == pytest.approx(row.access_m, abs=0.001)
    assert table.crs == CRS


def test_beyond_the_ends_the_end_is_the_door():
    """Beside the ends of a street the door is its end: offset 0 or the whole length."""
    found = doors_of(STREET, {"p": Point(-30, 40), "q": Point(430, 40)})
    assert found == {"p": [("s", "nearest", 0.0, 50.0)], "q": [("s", "nearest", 400.0, 50.0)]}


def test_no_door_beyond_the_limit():
    """At 150 m there is a door; farther off there is none, and the object is absent."""
    shapes = {"p": Point(10, 150), "q": Point(20, 150.01), "r": box(200, 151, 210, 160)}
    assert doors_of(STREET, shapes) == {"p": [("s", "nearest", 10.0, 150.0)]}
    near = doors_of(STREET, shapes, max_access_m=200)
    assert set(near) == {"p", "q", "r"}
    assert doors_of(STREET, {"q": Point(20, 10)}, max_access_m=9) == {}


def test_nothing_to_find():
    """No objects, or no street that can be walked, give an empty table."""
    assert doors_of(STREET, {}) == {}
    assert doors_of(STREET, {"p": Point(0, 0)}, walkable={"s": False}) == {}


def test_streets_that_cannot_be_walked_have_no_doors():
    """A motorway beside an object is passed over for the street behind it."""
    lines = {"m": [(0, 20), (400, 20)], **STREET}
    found = doors_of(lines, {"p": Point(100, 30)}, walkable={"m": False})
    assert found == {"p": [("s", "nearest", 100.0, 30.0)]}


def test_gates_within_five_metres():
    """A gate 5 m off the outline, within or without, is a door of it; at 5.01 m it is not."""
    estate = box(100, 20, 200, 120)
    gates = [(100, 50), (150, 15), (150, 25)]
    found = doors_of(STREET, {"c": estate}, gates=gates)
    assert [row[:2] for row in found["c"]] == [("s", "gate")] * 2
    assert sorted(row[2:] for row in found["c"]) == [(100.0, 50.0), (150.0, 15.0)]
    for gate in [(150, 14.99), (150, 25.01), (94.99, 70)]:
        assert doors_of(STREET, {"c": estate}, gates=[gate])["c"][0][1] == "nearest"


def test_gates_go_before_crossings():
    """Where a gate is mapped, ways that cross the outline are no doors."""
    lines = {**HALVES, "in": [(150, 0), (150, 60)]}
    estate = box(100, 20, 200, 120)
    assert doors_of(lines, {"c": estate}, gates=[(100, 30)]) == {
        "c": [("r", "gate", 100.0, 30.0)],
    }
    assert doors_of(lines, {"c": estate}) == {"c": [("in", "crossing", 20.0, 0.0)]}


def test_each_gate_is_a_door():
    """Each gate goes to the street that is nearest to the gate, not to the outline."""
    lines = {**STREET, "w": [(0, 0), (0, 300)]}
    estate = box(20, 20, 200, 250)
    found = doors_of(lines, {"c": estate}, gates=[(60, 20), (20, 200), (20, 210)])
    assert found == {
        "c": [("s", "gate", 60.0, 20.0), ("w", "gate", 200.0, 20.0), ("w", "gate", 210.0, 20.0)]
    }


def test_gates_belong_to_the_outlines_they_are_near():
    """A gate between two estates is a door of both; one elsewhere of neither."""
    shapes = {"c": box(100, 20, 150, 80), "d": box(156, 20, 200, 80)}
    found = doors_of(STREET, shapes, gates=[(153, 20), (300, 20)])
    assert found == {"c": [("s", "gate", 153.0, 20.0)], "d": [("s", "gate", 153.0, 20.0)]}


def test_a_gate_far_from_any_street_is_no_door():
    """A gate beyond the limit does not count; the outline's nearest position does."""
    found = doors_of(STREET, {"c": box(100, 20, 200, 300)}, gates=[(150, 300)])
    assert [row[1] for row in found["c"]] == ["nearest"]
    assert found["c"][0][3] == 20.0


def test_every_crossing_is_a_door():
    """Each place where a way crosses the outline is a door, without a way off the street."""
    crossings = [("x", 20.0), ("x", 120.0), ("y", 110.0)]
    lines = {**HALVES, "x": [(150, 0), (150, 200)], "y": [(150, 200), (180, 200), (180, 50)]}
    found = doors_of(lines, {"c": box(100, 20, 200, 120)})
    assert found == {"c": [(edge, "crossing", at, 0.0) for edge, at in crossings]}


def test_a_way_that_ends_at_the_outline_is_a_crossing():
    """A way that comes up to the outline is a door, though it does not go in."""
    lines = {**HALVES, "x": [(150, 0), (150, 20)]}
    assert doors_of(lines, {"c": box(100, 20, 200, 120)}) == {"c": [("x", "crossing", 20.0, 0.0)]}


def test_ways_inside_make_no_crossing():
    """A way wholly inside an estate crosses nothing; it counts only as the nearest street."""
    lines = {**STREET, "x": [(400, 0), (300, 0), (300, 10), (300, 0)], "i": [(20, 60), (40, 60)]}
    found = doors_of(lines, {"c": box(10, 50, 50, 80)})
    assert [(edge, kind, access) for edge, kind, _, access in found["c"]] == [("s", "nearest", 50)]
    alone = doors_of({"i": lines["i"]}, {"c": box(10, 50, 50, 80)})
    assert [(edge, kind, access) for edge, kind, _, access in alone["c"]] == [("i", "nearest", 0)]


def test_both_ends_of_a_shared_stretch():
    """Where the outline runs along a street, both ends of the stretch are doors, corners not."""
    straight = Polygon([(100, 0), (140, 0), (200, 0), (200, 80), (100, 80)])
    assert doors_of(STREET, {"c": straight}) == {
        "c": [("s", "crossing", 100.0, 0.0), ("s", "crossing", 200.0, 0.0)]
    }
    bent = {"s": [(0, 0), (100, 0), (100, 100), (0, 100)]}
    corner = Polygon([(50, 0), (100, 0), (100, 100), (40, 100)])
    assert doors_of(bent, {"c": corner}) == {
        "c": [("s", "crossing", 50.0, 0.0), ("s", "crossing", 260.0, 0.0)]
    }


def test_shared_stretch_and_crossing_of_one_way():
    """A way that runs along the outline and crosses it elsewhere has all three doors."""
    way = {"s": [(0, 0), (200, 0), (200, 50), (50, 50)]}
    estate = box(100, 0, 150, 80)
    found = doors_of(way, {"c": estate})
    assert [row[2] for row in found["c"]] == [100.0, 150.0, 300.0, 350.0]


def test_a_crossing_at_a_junction_is_one_door():
    """Where several edges meet on the outline there is one door, at the edge of lowest id."""
    lines = {"b": [(0, 0), (100, 0)], "a": [(100, 0), (200, 0)], "c": [(100, 0), (100, 50)]}
    found = doors_of(lines, {"e": box(100, -30, 180, -0.0).union(box(100, -30, 110, 0))})
    places = [row[:3] for row in found["e"]]
    assert ("a", "crossing", 0.0) in places
    assert not any(edge in ("b", "c") for edge, _, _ in places)


def test_nodes_have_only_the_nearest():
    """A gate beside a node is not its door: gates belong to outlines."""
    found = doors_of(STREET, {"p": Point(100, 20)}, layer="point", gates=[(103, 20)])
    assert found == {"p": [("s", "nearest", 100.0, 20.0)]}


def test_without_gate_and_crossing_the_nearest():
    """An estate off the street goes to the position nearest to its outline."""
    estate = Polygon([(100, 60), (150, 30), (200, 60)])
    assert doors_of(STREET, {"c": estate}) == {"c": [("s", "nearest", 150.0, 30.0)]}


def test_parts_and_holes_of_an_area():
    """Each part of an area has its crossings; the inner outline counts as an outline."""
    lines = {"s": [(0, 0), (1000, 0)]}
    ring = box(100, -50, 300, 50).difference(box(150, -20, 250, 20))
    shape = MultiPolygon([ring, box(500, -50, 600, 50)])
    found = doors_of(lines, {"c": shape})
    assert [row[2] for row in found["c"]] == [100.0, 150.0, 250.0, 300.0, 500.0, 600.0]


ISLAND = {"i": [(0, 100), (50, 100)]}


def test_the_main_piece_goes_before_a_nearer_island():
    """Within 150 m the largest piece of street wins over an island next door."""
    found = doors_of(STREET | ISLAND, {"p": Point(20, 95)})
    assert found == {"p": [("s", "nearest", 20.0, 95.0)]}
    crossed = doors_of(STREET | ISLAND, {"c": box(20, 90, 40, 110)})
    assert crossed["c"][0][0] == "s"


def test_an_island_is_better_than_nothing():
    """Beyond 150 m from the largest piece the island is taken."""
    found = doors_of(STREET | ISLAND, {"p": Point(20, 151)})
    assert found == {"p": [("i", "nearest", 20.0, 51.0)]}
    crossed = doors_of({**STREET, "i": [(0, 400), (50, 400)]}, {"c": box(20, 390, 40, 410)})
    assert [row[:3] for row in crossed["c"]] == [("i", "crossing", 20), ("i", "crossing", 40)]


TUNNEL = {"t": [(400, 0), (400, 10), (0, 10)]}


@pytest.mark.parametrize("level", ["tunnel", "-1", "indoor", "1"])
def test_another_level_is_not_taken(level):
    """A tunnel or bridge that is nearer than the street at street level is passed over."""
    found = doors_of(STREET | TUNNEL, {"p": Point(100, 12)}, level={"t": level})
    assert found == {"p": [("s", "nearest", 100.0, 12.0)]}


def test_an_object_on_a_level_may_take_it():
    """An object goes to ways on its own level too, and not to those on others."""
    lines = STREET | TUNNEL
    shapes = {"p": Point(100, 12), "q": Point(110, 12), "r": Point(120, 1)}
    found = doors_of(
        lines, shapes, levels={"p": "-1", "q": "-2", "r": "-1"}, level={"t": "-1"}, layer="toilet"
    )
    assert found == {
        "p": [("t", "nearest", 310.0, 2.0)],
        "q": [("s", "nearest", 110.0, 12.0)],
        "r": [("s", "nearest", 120.0, 1.0)],
    }


def test_objects_without_level_stay_at_street_level():
    """Where some objects have a level, those without one still open to the street."""
    shapes = {"p": Point(100, 12), "q": Point(110, 12)}
    found = doors_of(STREET | TUNNEL, shapes, levels={"p": "-1"}, level={"t": "-1"})
    assert [found["p"][0][0], found["q"][0][0]] == ["t", "s"]


def test_any_level_of_the_main_piece_goes_before_an_island():
    """Where the street level is too far, a tunnel of the largest piece is taken, then islands."""
    lines = {"s": [(0, 0), (400, 0)], "t": [(0, 0), (0, 300)], "i": [(20, 290), (40, 290)]}
    found = doors_of(lines, {"p": Point(30, 280)}, level={"t": "tunnel"})
    assert found == {"p": [("t", "nearest", 280.0, 30.0)]}


def test_crossings_of_another_level_are_no_doors():
    """A tunnel under an estate does not open into it; the street beside it does."""
    lines = {**STREET, "t": [(0, 0), (0, 50), (400, 50)]}
    found = doors_of(lines, {"c": box(100, 20, 200, 120)}, level={"t": "-1"})
    assert [row[:2] for row in found["c"]] == [("s", "nearest")]


def test_many_objects_at_once():
    """Doors are numbered from 0 for each object, sorted by id; each place is there once."""
    lines = {**HALVES, "t": [(400, 0), (1000, 0)], "x": [(150, 0), (150, 200)]}
    shapes = {
        "z": box(100, 20, 200, 120),
        "b": Point(500, 20),
        "a": box(300, -20, 400, 20),
        "none": Point(0, 900),
    }
    objects = gpd.GeoDataFrame({"id": list(shapes)}, geometry=list(shapes.values()), crs=CRS)
    table = find_doors(draw_streets(lines), objects, layer="candidate")
    assert list(zip(table["id"], table["n"], strict=True)) == [
        ("a", 0),
        ("a", 1),
        ("b", 0),
        ("z", 0),
        ("z", 1),
    ]


def objects(key, **shapes):
    shapes = {name.replace("_", "/"): shape for name, shape in shapes.items()}
    return gpd.GeoDataFrame({key: list(shapes)}, geometry=list(shapes.values()), crs=CRS)


def test_entrances_count_for_points_only():
    """A house's entrance is a door of a fixed point; only gates are doors of a compound."""
    ground = box(100, 20, 200, 120)
    places = {
        (150, 20): {"entrance": "main"},
        (100, 70): {"barrier": "lift_gate"},
        (180, 20): {"entrance": "emergency"},
        (130, 20): {"shop": "convenience"},
    }
    features = gpd.GeoDataFrame(
        {"osm_id": [f"node/{n}" for n in range(4)], "tags": [*map(json.dumps, places.values())]},
        geometry=[Point(place) for place in places],
        crs=CRS,
    )
    found = {
        "point": objects("point_id", way_1=ground),
        "compound": objects("compound_id", way_2=ground),
        "toilet": objects("toilet_id", node_3=Point(300, 7)),
        "candidate": objects("candidate_id", node_4=Point(150, 20)),
        "facility": objects("facility_id", way_5=ground),
    }
    start = _Start(None, draw_streets(STREET), parse_tags(features), {})
    doors = pd.concat([_find_doors(start, layer, table) for layer, table in found.items()])
    rows = {}
    for row in doors.itertuples():
        rows.setdefault((row.layer, row.id), []).append((row.kind, row.offset_m, row.access_m))
    assert rows == {
        ("point", "way/1"): [("gate", 100.0, 70.0), ("gate", 150.0, 20.0)],
        ("compound", "way/2"): [("gate", 100.0, 70.0)],
        ("toilet", "node/3"): [("nearest", 300.0, 7.0)],
        ("candidate", "node/4"): [("nearest", 150.0, 20.0)],
        ("facility", "way/5"): [("gate", 100.0, 70.0), ("gate", 150.0, 20.0)],
    }


def test_objects_without_a_door_are_listed():
    """What is too far from every street is counted in `quality`, and named one by one."""
    near, far = Point(100, 10), Point(100, 500)
    shapes = objects("toilet_id", node_1=near, node_2=far, node_3=far)
    none = {f"{layer}s": objects(f"{layer}_id") for layer in ("point", "compound", "candidate")}
    doors = find_doors(draw_streets(STREET), shapes, layer="toilet")
    rows = pd.DataFrame(_doors({**none, "toilets": shapes, "doors": doors}))
    value = rows.set_index(["scope", "measure"])["value"]
    assert value["city", "toilets_without_door"] == 2
    assert value["city", "points_without_door"] == 0
    assert set(rows.loc[rows["measure"] == "without_door", "scope"]) == {"node/2", "node/3"}


coordinate = st.integers(-20, 120)


@st.composite
def towns(draw):
    """Streets, objects and gates at whole metres."""
    place = st.tuples(coordinate, coordinate)
    nodes = draw(st.lists(place, min_size=2, max_size=7, unique=True))
    lines = {}
    for key in range(draw(st.integers(1, 8))):
        u, v = draw(st.sampled_from(nodes)), draw(st.sampled_from(nodes))
        bends = draw(st.lists(place, min_size=int(u == v), max_size=2))
        lines[f"e{key}"] = [u, *bends, v]
    shapes = {}
    for key in range(draw(st.integers(1, 5))):
        x, y = draw(place)
        width, height = draw(st.tuples(st.integers(0, 60), st.integers(1, 60)))
        shapes[f"o{key}"] = box(x, y, x + width, y + height) if width else Point(x, y)
    level = {key: "-1" for key in lines if draw(st.integers(0, 5)) == 0}
    closed = {key: False for key in lines if draw(st.integers(0, 9)) == 0}
    gates = draw(st.lists(place, max_size=3))
    return lines, shapes, {"level": level, "walkable": closed}, [Point(gate) for gate in gates]


def find(streets, shapes, gates):
    objects = gpd.GeoDataFrame({"id": list(shapes)}, geometry=list(shapes.values()), crs=CRS)
    return find_doors(
        streets, objects, layer="point", gates=np.array(gates, dtype=object), max_access_m=40
    )


@FEW
@given(towns(), st.randoms(use_true_random=False))
def test_doors_do_not_depend_on_row_order(town, random):
    """Streets, objects and gates in another order give the same table."""
    lines, shapes, columns, gates = town
    expected = find(draw_streets(lines, **columns), shapes, gates)
    order = list(lines)
    random.shuffle(order)
    keys = list(shapes)
    random.shuffle(keys)
    random.shuffle(gates)
    again = draw_streets({key: lines[key] for key in order}, **columns)
    found = find(again, {key: shapes[key] for key in keys}, gates)
    pd.testing.assert_frame_equal(pd.DataFrame(found), pd.DataFrame(expected))


@FEW
@given(towns())
def test_doors_do_not_depend_on_direction(town):
    """Turning every edge leaves kinds, ways off the street and crossings where they were."""
    lines, shapes, columns, gates = town
    streets = draw_streets(lines, **columns)
    edges = streets.edges
    turned = edges.assign(u=edges["v"], v=edges["u"], geometry=edges.geometry.reverse())
    one = find(streets, shapes, gates)
    other = find(Streets(streets.nodes, turned), shapes, gates)
    for table in (one, other):
        table["x"], table["y"] = table.geometry.x, table.geometry.y
    for key in shapes:
        mine, theirs = (table[table["id"] == key] for table in (one, other))
        assert list(mine["kind"]) == list(theirs["kind"])
        assert sorted(mine["access_m"]) == pytest.approx(sorted(theirs["access_m"]), abs=0.0011)
        for column in ("x", "y") if set(mine["kind"]) == {"crossing"} else ():
            assert sorted(mine[column]) == pytest.approx(sorted(theirs[column]), abs=0.0011)


@FEW
@given(towns())
def test_laws_of_doors(town):
    """Every door lies on a walkable edge, within reach, at the place that its offset says."""
    lines, shapes, columns, gates = town
    streets = draw_streets(lines, **columns)
    table = find(streets, shapes, gates)
    edges = streets.edges.set_index("edge_id")
    near = [
        key
        for key, shape in shapes.items()
        if streets.edges[streets.edges["walkable"]].distance(shape).min() <= 40
    ]
    assert set(table["id"]) == set(near)
    for row in table.itertuples():
        edge = edges.loc[row.edge_id]
        assert edge["walkable"]
        assert 0 <= row.offset_m <= edge["length_m"]
        along = edge.geometry.interpolate(row.offset_m)
        assert row.geometry.distance(along) <= 0.002
        if row.kind == "nearest":
            assert row.access_m == pytest.approx(shapes[row.id].distance(row.geometry), abs=0.002)
        elif row.kind == "crossing":
            assert row.access_m == 0
            assert shapes[row.id].boundary.distance(row.geometry) <= 0.002
        else:
            assert min(
                abs(gate.distance(row.geometry) - row.access_m)
                for gate in gates
                if gate.distance(shapes[row.id].boundary) <= 5
            ) == pytest.approx(0, abs=0.002)
