import bz2
import contextlib
import gzip
import importlib.util
import json
import os
from pathlib import Path

import geopandas as gpd
import numpy as np
import osmium
import pandas as pd
import pyproj
import pytest
import shapely
from geopandas.testing import assert_geodataframe_equal
from hypothesis import given, settings
from hypothesis import strategies as st

from osmxml import place, write_osm
from pbfs import block, dense, field, write_pbf
from pbfs import way as write_way
from survey.errors import AreaError, InputError
from survey.sources.area import Area, find_area
from survey.sources.extract import read_box, read_extract, suggest_box
from survey.sources.grid import Grid
from survey.sources.hull import thin_places
from survey.sources.libosmium import assemble_outlines
from survey.sources.outlines import shape_rings
from survey.sources.pbf_blocks import Objects, Places
from survey.sources.ways import Ways, find_stretches

MONACO = Path(__file__).parent.parent / "data" / "monaco.osm.pbf"
STREET = {"highway": "residential"}
SCHOOL = {"amenity": "school", "name": "一小"}
CORE = {"nanjing": (118.764, 32.035, 118.797, 32.053), "nanshan": (113.923, 22.537, 113.968, 22.56)}


def square(first, x, y, side=100):
    """Four nodes around a square, counted from `first`."""
    corners = [(x, y), (x + side, y), (x + side, y + side), (x, y + side)]
    return {first + n: place(*corner) for n, corner in enumerate(corners)}


def ring(first):
    return [first, first + 1, first + 2, first + 3, first]


def street(nodes=()):
    """Draw a street beside anything else: without one an area is refused."""
    return {1: place(0, -50), 2: place(100, -50), **dict(nodes)}, {1: ([1, 2], STREET)}


@pytest.fixture
def area():
    west, south = place(-500, -500)
    east, north = place(1500, 1500)
    return Area(shapely.box(west, south, east, north), "town")


@pytest.fixture
def read(tmp_path, area):
    """Write what a test draws beside one street, and read it."""

    def run(nodes=(), ways=(), relations=None, **more):
        all_nodes, all_ways = street(nodes)
        path = write_osm(
            tmp_path / "town.osm",
            nodes=all_nodes,
            ways={**all_ways, **dict(ways)},
            relations=relations,
            **more,
        )
        return read_extract(path, area)

    return run


def nodes_of(osm, key):
    """Ids of the nodes of each stretch of a way."""
    counts = shapely.get_num_coordinates(osm.streets.geometry.array)
    each = np.split(osm.street_nodes, np.cumsum(counts))
    return [each[row].tolist() for row in np.flatnonzero(osm.streets["way_id"] == key)]


def feature(osm, key):
    rows = osm.features[osm.features["osm_id"] == key]
    assert len(rows) == 1, f"{key} is there {len(rows)} times"
    return json.loads(rows["tags"].iloc[0]), rows.geometry.iloc[0]


def problems(osm):
    return dict(zip(osm.problems["osm_id"], osm.problems["problem"], strict=True))


def assert_same(one, other):
    assert_geodataframe_equal(one.streets, other.streets)
    assert_geodataframe_equal(one.features, other.features)
    pd.testing.assert_frame_equal(one.problems, other.problems)
    assert one.data_edge.equals_exact(other.data_edge)


def convert(source, target):
    with osmium.SimpleWriter(str(target)) as writer:
        for item in osmium.FileProcessor(str(source)):
            writer.add(item)


def test_four_formats_hold_the_same(tmp_path, area):
    """The same data as .osm, .osm.gz, .osm.bz2 and .osm.pbf give the same tables."""
    nodes, ways = street(square(10, 0, 0) | square(20, 30, 30, 20) | square(30, 300, 0))
    nodes |= {5: (*place(50, -50), {"amenity": "toilets", "name": "公厕 & <b>"})}
    del nodes[31]
    ways |= {2: (ring(10), {}), 3: (ring(20), {}), 4: (ring(30), SCHOOL)}
    members = [("way", 2, "outer"), ("way", 3, "inner")]
    relations = {1: (members, {"type": "multipolygon", "landuse": "residential"})}
    plain = write_osm(tmp_path / "a.osm", nodes=nodes, ways=ways, relations=relations)
    (tmp_path / "a.osm.gz").write_bytes(gzip.compress(plain.read_bytes()))
    (tmp_path / "a.osm.bz2").write_bytes(bz2.compress(plain.read_bytes()))
    convert(plain, tmp_path / "a.osm.pbf")
    expected = read_extract(plain, area)
    assert len(expected.streets) == 1
    assert sorted(expected.features["osm_id"]) == ["node/5", "relation/1", "way/4"]
    for name in ("a.osm.gz", "a.osm.bz2", "a.osm.pbf"):
        found = read_extract(tmp_path / name, area)
        assert_same(found, expected)
        assert found.source["path"] == name
        assert found.source["osm_date"] == "2024-05-06T07:08:09Z"


def test_reading_twice_gives_the_same():
    """Nothing about a reading depends on when it happens."""
    area = find_area(extract=MONACO)
    one, other = read_extract(MONACO, area), read_extract(MONACO, area)
    assert_same(one, other)
    assert one.source == other.source


def test_real_file_by_numbers():
    """Monaco's file gives its 10 schools, 7 hospitals, 29 toilets, and all ways with a node."""
    osm = read_extract(MONACO, find_area(extract=MONACO))
    tags = osm.features["tags"].map(json.loads)
    count = tags.map(lambda cell: cell.get("amenity")).value_counts()
    assert count["school"] >= 10
    assert count["hospital"] >= 7
    assert count["toilets"] == 29
    assert osm.streets["way_id"].nunique() == 2852
    assert osm.features["osm_id"].is_unique
    assert not osm.streets.duplicated(["way_id", "part"]).any()
    assert (osm.streets.geom_type == "LineString").all()
    assert set(osm.features.geom_type) <= {"Point", "LineString", "MultiPolygon"}


def test_street_nodes_are_the_vertices():
    """Each vertex of a street has the id of the node that stands at its place."""
    osm = read_extract(MONACO, find_area(extract=MONACO))
    nodes = osmium.FileProcessor(str(MONACO), osmium.osm.NODE)
    places = {item.id: (item.lon, item.lat) for item in nodes}
    grid = pyproj.Transformer.from_crs(4326, osm.area.crs, always_xy=True)
    expected = grid.transform(*np.array([places[node] for node in osm.street_nodes.tolist()]).T)
    assert np.array_equal(shapely.get_coordinates(osm.streets.geometry.array).T, expected)


def test_way_keeps_its_nodes_names_and_tags(read):
    """A street has its node ids in order, its tags as JSON with all names, and its length."""
    names = {
        "name": "中山路",
        "name:zh": "中山路",
        "name:en": 'Zhongshan "Rd"',
        "highway": "service",
    }
    osm = read({3: place(300, 0), 4: place(300, 400)}, {7: ([4, 3, 1], names)})
    row = osm.streets.set_index("way_id").loc["way/7"]
    assert nodes_of(osm, "way/7") == [[4, 3, 1]]
    assert json.loads(row["tags"]) == names
    assert row["part"] == 0
    assert row.geometry.length == pytest.approx(400 + (300**2 + 50**2) ** 0.5, abs=0.05)


@pytest.mark.parametrize(
    ("missing", "parts"),
    [
        ([], [[3, 4, 5, 6, 7]]),
        ([5], [[3, 4], [6, 7]]),
        ([3], [[4, 5, 6, 7]]),
        ([7], [[3, 4, 5, 6]]),
        ([4], [[5, 6, 7]]),
        ([4, 6], []),
        ([3, 4, 5], [[6, 7]]),
        ([3, 4, 5, 6, 7], []),
    ],
)
def test_clipped_way_keeps_its_present_stretches(read, missing, parts):
    """A way that lost nodes is cut there; a single node that is left over is no stretch."""
    nodes = {n: place(100 * n, 0) for n in range(3, 8) if n not in missing}
    osm = read(nodes, {7: ([3, 4, 5, 6, 7], STREET)})
    rows = osm.streets[osm.streets["way_id"] == "way/7"]
    assert nodes_of(osm, "way/7") == parts
    assert list(rows["part"]) == list(range(len(parts)))
    assert rows.length.sum() == pytest.approx(100 * sum(len(x) - 1 for x in parts), abs=0.05)


def test_way_of_one_node_is_no_street(read):
    """A way with one node has no length, and is left out without a crash."""
    osm = read({3: place(0, 0)}, {7: ([3], STREET), 8: ([3, 3], STREET), 9: ([], STREET)})
    assert list(osm.streets["way_id"]) == ["way/1"]


def test_way_visits_a_node_twice(read):
    """A way may come back to one of its nodes; only a node named twice in a row is one vertex."""
    nodes = {n: place(100 * (n % 3), 100 * (n // 3)) for n in range(3, 9)}
    osm = read(nodes, {7: ([3, 4, 4, 7, 6, 3, 8], STREET)})
    row = osm.streets.set_index("way_id").loc["way/7"]
    assert nodes_of(osm, "way/7") == [[3, 4, 7, 6, 3, 8]]
    assert shapely.get_num_points(row.geometry) == 6


def test_nodes_at_one_place_stay_apart(read):
    """Two nodes at the same place are two vertices: OpenStreetMap joins by node, not by place."""
    nodes = {3: place(0, 0), 4: place(100, 0), 5: place(100, 0), 6: place(200, 0)}
    osm = read(nodes, {7: ([3, 4, 5, 6], STREET)})
    row = osm.streets.set_index("way_id").loc["way/7"]
    assert nodes_of(osm, "way/7") == [[3, 4, 5, 6]]
    assert row.geometry.length == pytest.approx(200, abs=0.05)


def test_closed_way_is_an_area(read):
    """A closed way of a place is a MultiPolygon of its ground, whole, once."""
    tags, shape = feature(read(square(10, 0, 0), {7: (ring(10), SCHOOL)}), "way/7")
    assert tags == SCHOOL
    assert shape.geom_type == "MultiPolygon"
    assert shape.area == pytest.approx(10_000, rel=1e-3)


def test_node_twice_in_a_row_does_not_break_an_area(read):
    """A closed way that names a node twice in a row is one area, and no problem."""
    osm = read(square(10, 0, 0), {7: ([10, 11, 11, 12, 13, 10], SCHOOL)})
    assert feature(osm, "way/7")[1].area == pytest.approx(10_000, rel=1e-3)
    assert osm.problems.empty


def test_closed_wall_stays_a_line(read):
    """A closed way that is only a barrier, or says that it is no area, stays a line."""
    ways = {7: (ring(10), {"barrier": "wall"}), 8: (ring(10), SCHOOL | {"area": "no"})}
    osm = read(square(10, 0, 0), ways)
    for key in ("way/7", "way/8"):
        shape = feature(osm, key)[1]
        assert shape.geom_type == "LineString"
        assert shape.length == pytest.approx(400, rel=1e-3)


def test_way_there_and_back_is_no_area(read):
    """A way of three nodes that comes back has no ground; its object is kept as a line."""
    osm = read(square(10, 0, 0), {7: ([10, 11, 10], SCHOOL)})
    assert feature(osm, "way/7")[1].geom_type == "LineString"


def test_closed_street_is_a_street_and_an_area(read):
    """A closed street that is also a place appears in both tables."""
    osm = read(square(10, 0, 0), {7: (ring(10), STREET | {"amenity": "parking", "area": "yes"})})
    assert "way/7" in set(osm.streets["way_id"])
    assert feature(osm, "way/7")[1].geom_type == "MultiPolygon"


def test_relation_with_a_hole(read):
    """A multipolygon relation loses its inner ring; its ways are no features of their own."""
    members = [("way", 7, "outer"), ("way", 8, "inner")]
    osm = read(
        square(10, 0, 0) | square(20, 30, 30, 20),
        {7: (ring(10), {}), 8: (ring(20), {})},
        {3: (members, SCHOOL | {"type": "multipolygon"})},
    )
    tags, shape = feature(osm, "relation/3")
    assert shape.area == pytest.approx(10_000 - 400, rel=1e-3)
    assert tags["name"] == "一小"
    assert len(osm.features) == 1
    assert osm.problems.empty


def test_relation_of_open_ways(read):
    """An outline that is made of several open ways is put together."""
    members = [("way", 7, "outer"), ("way", 8, "outer")]
    osm = read(
        square(10, 0, 0),
        {7: ([10, 11, 12], {}), 8: ([10, 13, 12], {})},
        {3: (members, SCHOOL | {"type": "multipolygon"})},
    )
    assert feature(osm, "relation/3")[1].area == pytest.approx(10_000, rel=1e-3)


@pytest.mark.parametrize(
    ("lost_node", "ways", "problem"),
    [
        (None, {7: [10, 11, 12]}, "cut open at the edge"),
        (None, {7: [10, 11, 12], 8: [12, 13]}, "its outline is broken"),
        (13, {7: [10, 11, 12], 8: [12, 13, 10]}, "cut open at the edge"),
    ],
)
def test_school_relation_cut_open_keeps_a_position(read, lost_node, ways, problem):
    """A cut relation is named as a problem, and a place keeps a position amid what is left."""
    nodes = {key: at for key, at in square(10, 0, 0).items() if key != lost_node}
    members = [("way", 7, "outer"), ("way", 8, "outer")]
    osm = read(
        nodes,
        {key: (refs, {}) for key, refs in ways.items()},
        {3: (members, SCHOOL | {"type": "multipolygon"})},
    )
    shape = feature(osm, "relation/3")[1]
    assert shape.geom_type == "Point"
    outline = osm.area.project(shapely.box(*place(0, 0), *place(100, 100)))
    assert outline.buffer(1).contains(shape)
    assert problems(osm) == {"relation/3": problem}
    assert list(osm.problems["name"]) == ["一小"]


def test_relation_without_any_way_is_only_named(read):
    """A relation all of whose ways are missing is named; there is nothing to place it by."""
    osm = read(relations={3: ([("way", 99, "outer")], SCHOOL | {"type": "multipolygon"})})
    assert problems(osm) == {"relation/3": "cut open at the edge"}
    assert osm.features.empty


def test_cut_admin_boundary_is_named_and_not_placed(read):
    """A cut admin area is no position; boundaries of other kinds are not spoken of."""
    members = [("way", 7, "outer"), ("way", 99, "outer")]
    tags = {"type": "boundary", "boundary": "administrative", "name": "某街道"}
    osm = read(
        square(10, 0, 0),
        {7: ([10, 11, 12], {})},
        {3: (members, tags), 4: (members, tags | {"boundary": "postal_code"})},
    )
    assert problems(osm) == {"relation/3": "cut open at the edge"}
    assert osm.features.empty


def test_figure_of_eight_keeps_a_position(read):
    """An outline that crosses itself is named as broken, and the place keeps a position."""
    osm = read(square(10, 0, 0), {7: ([10, 12, 11, 13, 10], SCHOOL)})
    shape = feature(osm, "way/7")[1]
    centre = osm.area.project(shapely.Point(place(50, 50)))
    assert shape.geom_type == "Point"
    assert shape.distance(centre) < 25
    assert problems(osm) == {"way/7": "its outline is broken"}


@pytest.mark.parametrize("lost", [10, 11, 13])
def test_school_way_with_a_missing_node(read, lost):
    """A school whose outline lost a node is a position amid the nodes left, and a problem."""
    nodes = {key: at for key, at in square(10, 0, 0).items() if key != lost}
    osm = read(nodes, {7: (ring(10), SCHOOL)})
    shape = feature(osm, "way/7")[1]
    assert shape.geom_type == "Point"
    assert osm.area.project(shapely.box(*place(0, 0), *place(100, 100))).buffer(1).contains(shape)
    assert problems(osm) == {"way/7": "cut at the edge of the data"}


def test_ring_of_two_nodes_at_one_place_is_one_area(read):
    """A way that ends at another node in the place of its first is an area, and that alone."""
    osm = read({**square(10, 0, 0), 14: place(0, 0)}, {7: ([10, 11, 12, 13, 14], SCHOOL)})
    assert feature(osm, "way/7")[1].area == pytest.approx(10_000, rel=1e-3)


def test_drafts_of_an_editor_have_no_place_in_ways(read):
    """Nodes with negative ids, which OpenStreetMap does not hold, are points but no vertices."""
    nodes = {-3: (*place(0, 0), {"shop": "mall"}), 4: place(100, 0), 5: place(200, 0)}
    osm = read(nodes, {7: ([-3, 4, 5], STREET), -8: ([4, 5], STREET)})
    assert nodes_of(osm, "way/7") == [[4, 5]]
    assert nodes_of(osm, "way/-8") == [[4, 5]]
    assert feature(osm, "node/-3")[1].geom_type == "Point"


def test_what_is_cut_far_away_is_not_spoken_of(read):
    """Objects that are cut or broken count only if they reach into the margin, or lie nowhere."""
    members = [("way", 9, "outer"), ("way", 99, "outer")]
    school = SCHOOL | {"type": "multipolygon"}
    nodes = square(10, 0, 0) | square(20, 9000, 0)
    ways = {
        6: ([10, 11, 88], SCHOOL),
        7: ([20, 21, 88], SCHOOL),
        8: ([20, 22, 21, 23, 20], SCHOOL),
        9: ([20, 21], {}),
    }
    osm = read(nodes, ways, {3: (members, school), 4: (members[1:], school)})
    assert set(problems(osm)) == {"way/6", "relation/4"}
    assert set(osm.features["osm_id"]) == {"way/6"}


def test_features_of_other_keys_are_left_out(read):
    """Objects without a key of interest, and boundaries that are not admin, are not read."""
    nodes = {
        20: (*place(0, 0), {"power": "tower"}),
        21: (*place(0, 0), {"highway": "crossing"}),
        22: (*place(0, 0), {"boundary": "marker"}),
        23: (*place(0, 0), {"shop": "mall", "boundary": "lot"}),
    }
    osm = read(nodes)
    assert list(osm.features["osm_id"]) == ["node/23"]
    assert json.loads(osm.features["tags"].iloc[0]) == {"shop": "mall"}


def east_of(area, metres):
    """Find a place so far east of the middle of the area's east side."""
    low, high = (area.project(shapely.Point(place(x, 500))).x for x in (0, 1000))
    scale = 1000 / (high - low)
    edge = area.shape.intersection(
        shapely.LineString([area.project(shapely.Point(place(x, 500))) for x in (0, 9000)])
    )
    return place(edge.length * scale + metres, 500)


def test_streets_are_kept_for_two_kilometres(tmp_path, area):
    """Streets and features up to 2 km beyond the area are kept, and none beyond."""
    nodes, ways = street()
    for number, metres in enumerate((10, 1980, 2020, 4000)):
        lon, lat = east_of(area, metres)
        nodes |= {10 + number: (lon, lat, {"shop": "mall"}), 20 + number: (lon, lat + 0.0001)}
        ways[10 + number] = ([10 + number, 20 + number], STREET)
    osm = read_extract(write_osm(tmp_path / "a.osm", nodes=nodes, ways=ways), area)
    assert set(osm.streets["way_id"]) == {"way/1", "way/10", "way/11"}
    assert set(osm.features["osm_id"]) == {"node/10", "node/11"}


def test_two_kilometres_from_a_corner(tmp_path, area):
    """The margin is as wide at a corner, in any direction."""
    corner = area.project(shapely.Point(area.polygon.bounds[2:]))
    nodes, ways = street()
    for number, degrees in enumerate(range(10, 81, 5)):
        steps = [(metres, degrees) for metres in (1998, 2003)]
        for way, (metres, angle) in enumerate(steps):
            turn = shapely.affinity.rotate(
                shapely.Point(corner.x + metres, corner.y), angle, origin=corner
            )
            at = gpd.GeoSeries([turn], crs=area.crs).to_crs(4326).iloc[0]
            nodes |= {100 * way + 10 + number: (at.x, at.y, {"shop": "mall"})}
    osm = read_extract(write_osm(tmp_path / "a.osm", nodes=nodes, ways=ways), area)
    assert set(osm.features["osm_id"]) == {f"node/{number}" for number in range(10, 25)}


def test_long_way_is_kept_whole(tmp_path, area):
    """A way that begins near the area is kept to its end: cutting it would make a false end."""
    nodes, ways = street({5: place(30_000, 0)})
    osm = read_extract(
        write_osm(tmp_path / "a.osm", nodes=nodes, ways=ways | {9: ([2, 5], STREET)}), area
    )
    assert osm.streets.set_index("way_id").length["way/9"] == pytest.approx(29_900, rel=1e-3)


def test_header_box_is_the_edge_of_the_data(tmp_path):
    """The box in the header is the edge of the data, in the area's CRS."""
    nodes, ways = street()
    bounds = (*place(-800, -900), *place(1000, 1100))
    path = write_osm(tmp_path / "a.osm", nodes=nodes, ways=ways, bounds=bounds)
    assert read_box(path) == pytest.approx(bounds, abs=1e-7)
    osm = read_extract(path, find_area(extract=path))
    assert osm.data_edge.area == pytest.approx(1800 * 2000, rel=0.01)


def test_edge_of_the_data_is_read_off_the_streets(tmp_path, area):
    """Without a box the edge is the hull of the streets within the margin, however they end."""
    nodes, ways = street({5: place(30_000, 0)})
    for number in range(11):
        nodes |= {100 + number: place(100 * number, 0), 200 + number: place(100 * number, 1000)}
        nodes |= {300 + number: place(0, 100 * number), 400 + number: place(1000, 100 * number)}
        ways |= {100 + number: ([100 + number, 200 + number], STREET)}
        ways |= {300 + number: ([300 + number, 400 + number], STREET)}
    ways |= {9: ([2, 5], STREET)}
    osm = read_extract(write_osm(tmp_path / "a.osm", nodes=nodes, ways=ways), area)
    assert osm.data_edge.geom_type == "Polygon"
    assert osm.data_edge.area == pytest.approx(1_000_000, rel=0.11)
    within = osm.area.shape.buffer(2000)
    inner = shapely.points(shapely.get_coordinates(osm.streets.geometry.array))
    inner = inner[shapely.within(inner, within)]
    assert shapely.covers(osm.data_edge.buffer(0.01), inner).all()


def test_edge_of_a_single_street_has_an_extent(read):
    """One straight street has no hull; the edge of the data is still a polygon."""
    osm = read()
    assert osm.data_edge.geom_type == "Polygon"
    assert osm.data_edge.area > 0


def test_hull_of_many_places_hardly_changes():
    """Places that are left out of the hull move it by less than a tenth of its limit."""
    rng = np.random.default_rng(5)
    towns = [rng.normal(size=(15_000, 2)) * (400, 900) + rng.random(2) * 12_000 for _ in range(5)]
    roads = np.linspace((0, 0), (15_000, 9_000), 3_000)
    places = np.round(np.concatenate([*towns, roads]), 3)
    kept = thin_places(places)
    assert len(np.unique(kept, axis=0)) < len(places) / 3
    assert set(map(tuple, kept)) <= set(map(tuple, places))
    hulls = [shapely.concave_hull(shapely.multipoints(some), ratio=0.1) for some in (places, kept)]
    corners = shapely.get_coordinates(shapely.convex_hull(hulls[0]))
    limit = 0.1 * np.hypot(*np.diff(corners, axis=0).T).max()
    assert shapely.hausdorff_distance(*hulls) < limit / 10
    assert hulls[0].symmetric_difference(hulls[1]).area < 0.002 * hulls[0].area


def test_southern_hemisphere(tmp_path):
    """South of the equator lengths are true and the CRS is a southern zone."""
    origin = (151.2, -33.87)
    nodes = {1: place(0, 0, origin), 2: place(300, 400, origin)}
    path = write_osm(tmp_path / "sydney.osm", nodes=nodes, ways={1: ([1, 2], STREET)})
    area = find_area(bbox=(151.19, -33.88, 151.22, -33.85))
    osm = read_extract(path, area)
    assert osm.streets.crs.to_epsg() == 32756
    assert osm.streets.length.iloc[0] == pytest.approx(500, abs=0.05)
    assert read_box(path) is None
    assert suggest_box(path)[1] < 0


def test_no_streets_in_the_area(tmp_path, area):
    """A file whose streets all lie elsewhere is an AreaError that names the file and the box."""
    path = write_osm(
        tmp_path / "a.osm", nodes={1: (7.4, 43.7), 2: (7.41, 43.7)}, ways={1: ([1, 2], STREET)}
    )
    with pytest.raises(AreaError, match=r"a\.osm holds no streets .*118\.7") as fault:
        read_extract(path, area)
    assert "\n" not in str(fault.value)


def test_streets_only_in_the_margin(tmp_path, area):
    """Streets near the area but none in it are not enough."""
    lon, lat = east_of(area, 500)
    path = write_osm(
        tmp_path / "a.osm", nodes={1: (lon, lat), 2: (lon, lat + 0.001)}, ways={1: ([1, 2], STREET)}
    )
    with pytest.raises(AreaError, match="holds no streets"):
        read_extract(path, area)


def test_file_without_streets(tmp_path, area):
    """A file with features and no street at all is an AreaError, for the suggestion too."""
    path = write_osm(tmp_path / "a.osm", nodes={1: (*place(0, 0), SCHOOL)})
    for action in (suggest_box, lambda path: read_extract(path, area)):
        with pytest.raises(AreaError, match="holds no streets"):
            action(path)


def test_ways_before_nodes(tmp_path, area):
    """A file that lists ways before their nodes is an InputError that says how to mend it."""
    nodes, ways = street()
    path = write_osm(tmp_path / "a.osm", nodes=nodes, ways=ways)
    head, rest = path.read_text(encoding="utf-8").split("<node", 1)
    first, rest = rest.split("<way", 1)
    way, _ = rest.split("</osm>")
    path.write_text(f"{head}<way{way}<node{first}</osm>", encoding="utf-8")
    for action in (suggest_box, lambda path: read_extract(path, area)):
        with pytest.raises(InputError, match="put nodes first"):
            action(path)


BROKEN = {
    "empty.osm": b"",
    "empty.osm.gz": b"",
    "empty.osm.bz2": b"",
    "empty.osm.pbf": b"",
    "text.osm": b"hello",
    "text.osm.pbf": b"hello, this is not a map",
    "page.osm": b"<html><body>429 Too Many Requests</body></html>",
    "old.osm": b'<?xml version="1.0"?><osm version="0.5"></osm>',
    "head.osm.pbf": MONACO.read_bytes()[:100],
    "map.txt": b'<?xml version="1.0"?><osm version="0.6"></osm>',
    "packed.osm": gzip.compress(b'<?xml version="1.0"?><osm version="0.6"></osm>'),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_osm_file(tmp_path, area, name):
    """What is not an OpenStreetMap file is an InputError of one line that names the file."""
    path = tmp_path / name
    path.write_bytes(BROKEN[name])
    actions = (
        read_box,
        suggest_box,
        lambda path: read_extract(path, area),
        lambda path: find_area(extract=path),
    )
    for action in actions:
        with pytest.raises(InputError, match="not an OpenStreetMap file") as fault:
            action(path)
        assert name in str(fault.value)
        assert "\n" not in str(fault.value)


@pytest.mark.parametrize("kept", [200_000, -10])
def test_truncated_pbf(tmp_path, area, kept):
    """A PBF that stops in the middle, or shortly before its end, is never read as a smaller one."""
    path = tmp_path / "cut.osm.pbf"
    path.write_bytes(MONACO.read_bytes()[:kept])
    for action in (suggest_box, lambda path: read_extract(path, area)):
        with pytest.raises(InputError, match="cut short"):
            action(path)


@pytest.mark.parametrize("suffix", ["osm", "osm.gz", "osm.bz2"])
def test_truncated_xml(tmp_path, area, suffix):
    """XML that stops in the middle is cut short, packed or not."""
    nodes, ways = street(square(10, 0, 0))
    text = write_osm(tmp_path / "a.osm", nodes=nodes, ways=ways).read_bytes()
    pack = {"osm": bytes, "osm.gz": gzip.compress, "osm.bz2": bz2.compress}[suffix]
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(pack(text)[: -len(pack(text)) // 4])
    with pytest.raises(InputError, match="cut short"):
        read_extract(path, area)


@pytest.mark.parametrize(
    ("old", "new"),
    [(b'lon="118', b'lon="918'), (b'lon="118', b'lon="x'), (b'<way id="1"', b'<way id="1x"')],
)
def test_impossible_values(tmp_path, area, old, new):
    """A place off the globe or an id that is no number is an InputError."""
    nodes, ways = street()
    path = write_osm(tmp_path / "a.osm", nodes=nodes, ways=ways)
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(InputError, match=r"a\.osm"):
        read_extract(path, area)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=3))
def test_damaged_file(tmp_path_factory, changes):
    """A file with wrong bytes is refused, or holds no street there, or is read."""
    folder = tmp_path_factory.getbasetemp()
    path, whole = folder / "damaged.osm.pbf", folder / "whole.osm.pbf"
    if not whole.exists():
        nodes, ways = street(square(10, 0, 0))
        relations = {1: ([("way", 2, "outer")], SCHOOL | {"type": "multipolygon"})}
        ways |= {2: (ring(10), {})}
        source = write_osm(folder / "s.osm", nodes=nodes, ways=ways, relations=relations)
        with osmium.SimpleWriter(
            osmium.io.File(str(whole), "pbf,pbf_compression=none,pbf_dense_nodes=false")
        ) as writer:
            osmium.apply(osmium.io.Reader(str(source)), writer)
    data = bytearray(whole.read_bytes())
    for at, byte in changes:
        data[at % len(data)] = byte
    path.write_bytes(data)
    with contextlib.suppress(InputError, AreaError):
        osm = read_extract(path, Area(shapely.box(*place(-500, -500), *place(1500, 1500)), "town"))
        assert (
            len(osm.street_nodes) == shapely.get_num_coordinates(osm.streets.geometry.array).sum()
        )


def test_unusual_but_in_order(tmp_path):
    """A file that is written in an unusual way, or packed otherwise, is read all the same."""
    strings = ["highway", "service"]
    lats, lons = [320_400_000, 320_405_000], [1_187_800_000, 1_187_805_000]
    usual = block(strings, dense([1, 2], lats, lons), write_way(7, [1, 2], [1], [2]))
    twice = write_way(7, [1], [1], [2]) + write_way(8, [1, 2], [1], [2])
    mixed = block(strings, dense([1, 2], lats, lons) + twice, field(3, field(1, 9) * 2))
    area = find_area(bbox=(118.7, 32, 118.9, 32.1), name="a")
    found = read_extract(write_pbf(tmp_path / "usual.osm.pbf", usual), area)
    assert nodes_of(found, "way/7") == [[1, 2]]
    found = read_extract(write_pbf(tmp_path / "mixed.osm.pbf", mixed), area)
    assert nodes_of(found, "way/8") == [[1, 2]]


def test_box_out_of_a_large_file(tmp_path):
    """A box out of a file of four towns holds what the whole file holds there."""
    script = Path(__file__).parent.parent / "benchmarks" / "tile.py"
    spec = importlib.util.spec_from_file_location("tile", script)
    tile = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tile)
    path = tmp_path / "four.osm.pbf"
    tile.tile_extract(MONACO, 4, path)
    west, south, east, north = suggest_box(path)
    corner = (west + (east - west) / 10, south + (north - south) / 10)
    part = find_area(bbox=(west, south, *corner))
    whole = Area(shapely.box(west, south, east, north), "", part.data_edge)
    assert whole.crs == part.crs
    one, all_ = read_extract(path, part), read_extract(path, whole)
    shape = part.shape.buffer(2_000, quad_segs=64)
    for found, expected in ((one.streets, all_.streets), (one.features, all_.features)):
        there = expected[expected.intersects(shape)].reset_index(drop=True)
        assert 0 < len(there) < 0.6 * len(expected)
        assert_geodataframe_equal(found, there)
    assert set(one.problems["osm_id"]) < set(all_.problems["osm_id"])


def as_rings(rings):
    """Draw closed ways through corners in units of 1e-7 degrees."""
    corners = np.array([corner for ring in rings for corner in [*ring, ring[0]]], dtype=np.int32)
    count = np.array([len(ring) + 1 for ring in rings])
    nothing, spots = np.zeros(len(rings), dtype=np.int64), np.arange(len(corners))
    objects = Objects(np.arange(len(rings)), nothing, nothing[:0], nothing[:0], count, spots)
    return Ways(objects, spots[: len(rings)], nothing), corners, count


CORNERS = st.lists(st.tuples(st.integers(-4, 4), st.integers(-4, 4)), min_size=3, max_size=9)


@settings(max_examples=60, deadline=None)
@given(st.lists(CORNERS, min_size=1, max_size=8))
def test_rings_are_as_libosmium_puts_them_together(rings):
    """Rings of any form are the areas that libosmium makes of them, to the first vertex."""
    ways, corners, count = as_rings(rings)
    expected = assemble_outlines(corners, count, np.arange(len(rings)), np.ones(len(rings), int))
    places = Places(np.arange(len(corners)), *corners.T)
    grid = Grid(np.arange(len(corners), dtype=np.int32), corners / 1e7)
    found = shape_rings(ways, find_stretches(ways), places, grid, pyproj.CRS.from_epsg(4326))
    assert [shapely.to_wkt(shape, -1) for shape in found] == [
        shapely.to_wkt(shape, -1) for shape in expected
    ]


def test_folder_and_missing_file(tmp_path, area):
    """A folder or a missing file is an InputError that says which."""
    for path in (tmp_path, tmp_path / "none.osm"):
        for action in (read_box, suggest_box, lambda path: read_extract(path, area)):
            with pytest.raises(InputError, match="no such file") as fault:
                action(path)
            assert str(path) in str(fault.value)


def test_source_says_where_the_data_come_from(read):
    """Path, SHA-256 and the newest timestamp; without timestamps the date is empty."""
    osm = read(timestamp=None)
    assert osm.source["osm_date"] == ""
    assert osm.source["path"] == "town.osm"
    assert len(osm.source["sha256"]) == 64


def test_path_may_be_text_or_chinese(tmp_path, area):
    """A path may be a string, and hold Chinese and spaces."""
    nodes, ways = street()
    path = write_osm(tmp_path / "南 京.osm", nodes=nodes, ways=ways)
    assert len(read_extract(str(path), area).streets) == 1


@pytest.mark.parametrize("city", CORE)
def test_suggested_box_of_a_real_extract(city):
    """The suggested box covers most of the core box and is not much larger than it."""
    if "SURVEY_TEST_DATA" not in os.environ:
        pytest.skip("SURVEY_TEST_DATA is unset: the extracts of Nanjing and Nanshan are not here")
    path = Path(os.environ["SURVEY_TEST_DATA"]) / f"{city}.osm.pbf"
    found, core = shapely.box(*suggest_box(path)), shapely.box(*CORE[city])
    assert found.intersection(core).area >= {"nanjing": 0.9, "nanshan": 0.85}[city] * core.area
    assert found.area <= 1.2 * core.area
    west, south, east, north = (f"{value:.4f}" for value in found.bounds)
    with pytest.raises(AreaError, match=f"{west},{south},{east},{north}"):
        find_area(extract=path)
