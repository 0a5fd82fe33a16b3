import json
import os
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import geopandas as gpd
import networkx as nx
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal
from shapely.geometry import LineString, Point, Polygon, box

from osmxml import place, write_osm
from survey import tables
from survey.errors import TableError
from survey.frame.streets import (
    Streets,
    build_streets,
    describe_way,
    find_level,
    from_networkx,
    to_networkx,
)
from survey.sources.area import find_area
from survey.sources.extract import read_extract

CRS = "EPSG:32650"
STREET = {"highway": "residential"}
SQUARE = box(0, 0, 1000, 1000)
FEW = settings(max_examples=20, deadline=None)  # building tables is slow, more so on a busy machine
MONACO = Path(__file__).parent.parent / "data" / "monaco.osm.pbf"


def build(nodes, ways, shape=SQUARE):
    """Build streets from nodes {id: (x, y)} and ways {id: (node ids, tags)} in metres.

    A way may be a list of stretches, as where it lost nodes at the edge of the data.
    """
    rows, street_nodes = [], []
    for key, (refs, tags) in ways.items():
        stretches = refs if isinstance(refs[0], list) else [refs]
        for part, stretch in enumerate(stretches):
            line = LineString([nodes[node] for node in stretch])
            rows.append((f"way/{key}", part, json.dumps(tags), line))
            street_nodes += stretch
    streets = gpd.GeoDataFrame(
        pd.DataFrame(rows, columns=["way_id", "part", "tags", "geometry"]), crs=CRS
    )
    area = SimpleNamespace(shape=shape, crs=CRS)
    nodes = np.array(street_nodes, dtype=np.int64)
    return build_streets(SimpleNamespace(streets=streets, street_nodes=nodes, area=area))


def ends(streets):
    """Edge id to (u, v), without the words that are the same everywhere."""
    edges = streets.edges
    return {
        key.removeprefix("way/"): (u.removeprefix("node/"), v.removeprefix("node/"))
        for key, u, v in zip(edges["edge_id"], edges["u"], edges["v"], strict=True)
    }


def lengths(streets):
    keys = streets.edges["edge_id"].str.removeprefix("way/")
    return dict(zip(keys, streets.edges["length_m"], strict=True))


def inside(streets):
    keys = streets.edges["edge_id"].str.removeprefix("way/")
    return dict(zip(keys, streets.edges["inside"], strict=True))


def test_a_way_without_junction_is_one_edge():
    """Bends do not cut a way."""
    streets = build({1: (0, 0), 2: (300, 0), 3: (300, 400)}, {5: ([1, 2, 3], STREET)})
    assert ends(streets) == {"5:0": ("1", "3")}
    assert lengths(streets) == {"5:0": 700.0}
    assert list(streets.nodes["node_id"]) == ["node/1", "node/3"]


def test_ways_are_cut_at_junctions():
    """A way is cut where another one ends or crosses, and edges are counted along the way."""
    nodes = {n: (100 * n, 500) for n in range(1, 6)} | {7: (200, 100), 8: (400, 900), 9: (400, 100)}
    ways = {30: ([1, 2, 3, 4, 5], STREET), 4: ([7, 2], STREET), 5: ([9, 4, 8], STREET)}
    assert ends(build(nodes, ways)) == {
        "30:0": ("1", "2"),
        "30:1": ("2", "4"),
        "30:2": ("4", "5"),
        "4:0": ("7", "2"),
        "5:0": ("9", "4"),
        "5:1": ("4", "8"),
    }


def test_ways_that_cross_without_a_node_do_not_meet():
    """A bridge over a street is no junction."""
    nodes = {1: (0, 500), 2: (1000, 500), 3: (500, 0), 4: (500, 1000)}
    assert len(build(nodes, {1: ([1, 2], STREET), 2: ([3, 4], STREET)}).edges) == 2


def test_two_nodes_at_one_place_do_not_meet():
    """Ways are joined by node, not by place; a segment without length stays in its edge."""
    nodes = {1: (0, 0), 2: (100, 0), 3: (100, 0), 4: (200, 0)}
    apart = build(nodes, {1: ([1, 2], STREET), 2: ([3, 4], STREET)})
    assert ends(apart) == {"1:0": ("1", "2"), "2:0": ("3", "4")}
    assert sorted(apart.piece) == [0, 1]
    joined = build(nodes, {1: ([1, 2, 3, 4], STREET)})
    assert lengths(joined) == {"1:0": 200.0}


def test_a_way_that_comes_back_is_cut_where_it_does():
    """A way that visits a node twice has a loop there, of its full length."""
    nodes = {1: (0, 0), 2: (100, 0), 3: (100, 100), 4: (0, 100), 5: (200, 0)}
    streets = build(nodes, {1: ([1, 2, 3, 4, 2, 5], STREET)})
    assert ends(streets) == {"1:0": ("1", "2"), "1:1": ("2", "2"), "1:2": ("2", "5")}
    assert lengths(streets)["1:1"] == pytest.approx(200 + 2**0.5 * 100, abs=0.001)


def test_closed_way_is_a_loop():
    """A roundabout that nothing meets is one loop; junctions cut it further."""
    nodes = {1: (0, 0), 2: (100, 0), 3: (100, 100), 4: (0, 100), 5: (200, 100)}
    ways = {1: ([1, 2, 3, 4, 1], STREET)}
    assert ends(build(nodes, ways)) == {"1:0": ("1", "1")}
    ways |= {2: ([3, 5], STREET)}
    assert ends(build(nodes, ways)) == {"1:0": ("1", "3"), "1:1": ("3", "1"), "2:0": ("3", "5")}


def test_parallel_edges_are_kept():
    """Two ways between the same two nodes are two edges, even over the same ground."""
    nodes = {1: (0, 0), 2: (100, 0), 3: (50, 50)}
    ways = {1: ([1, 2], STREET), 2: ([1, 3, 2], STREET), 3: ([2, 1], STREET)}
    assert lengths(build(nodes, ways)) == {"1:0": 100.0, "2:0": 141.421, "3:0": 100.0}


def test_stretches_of_a_clipped_way_are_counted_on():
    """Edges of a way that lost nodes are counted on over its stretches, with unlike cuts."""
    nodes = {1: (-100, 1), 2: (100, 1), 3: (400, 1), 4: (500, 1), 5: (1100, 1)}
    streets = build(nodes, {9: ([[1, 2], [3, 4, 5]], STREET), 8: ([4, 3], STREET)})
    assert ends(streets) == {
        "8:0": ("4", "3"),
        "9:0": ("1", "cut/9:0"),
        "9:1": ("cut/9:0", "2"),
        "9:2": ("3", "4"),
        "9:3": ("4", "cut/9.1:0"),
        "9:4": ("cut/9.1:0", "5"),
    }
    assert streets.edges["edge_id"].is_unique
    assert streets.nodes["node_id"].is_unique


def test_edges_are_cut_at_the_boundary():
    """A street that runs through the area has an outer, an inner and an outer edge."""
    streets = build({1: (-300, 500), 2: (1200, 500)}, {7: ([1, 2], STREET)})
    assert ends(streets) == {
        "7:0": ("1", "cut/7:0"),
        "7:1": ("cut/7:0", "cut/7:1"),
        "7:2": ("cut/7:1", "2"),
    }
    assert lengths(streets) == {"7:0": 300.0, "7:1": 1000.0, "7:2": 200.0}
    assert inside(streets) == {"7:0": False, "7:1": True, "7:2": False}
    cut = streets.nodes.set_index("node_id").geometry["cut/7:1"]
    assert cut.equals(Point(1000, 500))


def test_many_cuts_in_one_segment_are_in_order():
    """Where a segment leaves and enters a comb-like area again and again, cuts are in order."""
    comb = shapely.union_all([box(200 * n, 0, 200 * n + 100, 1000) for n in range(5)])
    streets = build({1: (1100, 10), 2: (-50, 10)}, {7: ([1, 2], STREET)}, comb)
    assert list(lengths(streets).values()) == [200.0, *[100.0] * 9, 50.0]
    assert list(inside(streets).values()) == [False, True] * 5 + [False]
    assert list(ends(streets)) == [f"7:{n}" for n in range(11)]


@pytest.mark.parametrize("middle", [(1000, 500), (1000.0004, 500), (999.9996, 500)])
def test_a_street_may_cross_the_boundary_at_its_own_vertex(middle):
    """Where the crossing is a vertex of the street, or next to it, the street is cut there."""
    streets = build({1: (500, 500), 2: middle, 3: (1500, 500)}, {7: ([1, 2, 3], STREET)})
    assert ends(streets) == {"7:0": ("1", "2"), "7:1": ("2", "3")}
    assert inside(streets) == {"7:0": True, "7:1": False}


@pytest.mark.parametrize("side", [-400, 400])
def test_a_street_that_touches_the_boundary_is_not_cut(side):
    """A street that comes to the boundary at a vertex and turns back stays one edge."""
    nodes = {1: (1000 + side, 400), 2: (1000, 500), 3: (1000 + side, 600)}
    streets = build(nodes, {7: ([1, 2, 3], STREET)})
    assert inside(streets) == {"7:0": side < 0}


def test_a_street_along_the_boundary_is_inside():
    """A street that runs along the boundary is inside, cut only where it leaves it outward."""
    nodes = {1: (1000, -200), 2: (1000, 300), 3: (1000, 800), 4: (1200, 800)}
    streets = build(nodes, {7: ([1, 2, 3, 4], STREET)})
    assert ends(streets) == {"7:0": ("1", "cut/7:0"), "7:1": ("cut/7:0", "3"), "7:2": ("3", "4")}
    assert inside(streets) == {"7:0": False, "7:1": True, "7:2": False}


def test_a_bent_boundary_along_a_street_makes_no_pieces_without_length():
    """Corners of the boundary on a straight street leave no edge of length 0."""
    shape = Polygon([(0, 0), (1000, 0), (1000, 300), (1000, 300.5), (1000, 1000), (0, 1000)])
    streets = build({1: (1000, -200), 2: (1000, 1100)}, {7: ([1, 2], STREET)}, shape)
    assert lengths(streets) == {"7:0": 200.0, "7:1": 1000.0, "7:2": 100.0}


def test_area_with_a_hole():
    """The boundary of a hole cuts as well, and what lies in the hole is outside."""
    shape = SQUARE.difference(box(400, 400, 600, 600))
    streets = build({1: (0, 500), 2: (1000, 500)}, {7: ([1, 2], STREET)}, shape)
    assert lengths(streets) == {"7:0": 400.0, "7:1": 200.0, "7:2": 400.0}
    assert inside(streets) == {"7:0": True, "7:1": False, "7:2": True}


places = st.tuples(st.integers(-300, 1300), st.integers(-300, 1300))


@st.composite
def networks(draw):
    """Nodes at whole metres, of which some share a place, and ways that visit them anyhow."""
    count = draw(st.integers(2, 8))
    nodes = dict(enumerate(draw(st.lists(places, min_size=count, max_size=count))))
    steps = st.lists(st.integers(0, count - 1), min_size=2, max_size=6)
    ways = {}
    for key in range(draw(st.integers(1, 5))):
        refs = draw(steps)
        refs = [refs[0], *(b for a, b in pairwise(refs) if a != b)]
        if len(refs) > 1:
            ways[key] = (refs, STREET)
    return nodes, ways or {0: ([0, 1], STREET)}


@FEW
@given(networks())
def test_cutting_keeps_every_metre(network):
    """Edges of a way have the way's length, follow each other, and lie on one side each."""
    nodes, ways = network
    streets = build(nodes, ways)
    place_of = streets.nodes.set_index("node_id").geometry
    for key, (refs, _) in ways.items():
        mine = streets.edges[streets.edges["way_id"] == f"way/{key}"]
        way = LineString([nodes[node] for node in refs])
        assert mine["length_m"].sum() == pytest.approx(way.length, abs=0.0006 * len(mine))
        assert list(mine["edge_id"]) == [f"way/{key}:{n}" for n in range(len(mine))]
        assert list(mine["u"])[1:] == list(mine["v"])[:-1]
    for edge in streets.edges.itertuples():
        assert Point(edge.geometry.coords[0]).equals(place_of[edge.u])
        assert Point(edge.geometry.coords[-1]).equals(place_of[edge.v])
        if edge.inside:
            assert edge.geometry.difference(SQUARE).length < 0.01
        else:
            assert edge.geometry.intersection(SQUARE.buffer(-0.01)).length < 0.01


@FEW
@given(networks(), st.randoms(use_true_random=False))
def test_streets_do_not_depend_on_row_order(network, random):
    """Ways in another order give the same tables of edges and nodes."""
    nodes, ways = network
    order = list(ways)
    random.shuffle(order)
    one, other = build(nodes, ways), build(nodes, {key: ways[key] for key in order})
    assert_frame_equal(pd.DataFrame(one.edges), pd.DataFrame(other.edges))
    assert_frame_equal(pd.DataFrame(one.nodes), pd.DataFrame(other.nodes))
    assert list(one.piece) == list(other.piece)


def test_real_extract_keeps_every_metre():
    """On real data the edges have together the length of the ways."""
    osm = read_extract(MONACO, find_area(extract=MONACO))
    edges = build_streets(osm).edges
    by_way = edges.groupby("way_id")["length_m"].sum()
    expected = osm.streets.length.groupby(osm.streets["way_id"]).sum()
    pieces = edges.groupby("way_id").size()
    assert ((by_way - expected).abs() <= 0.0006 * pieces).all()
    mixed = edges.geometry.intersection(osm.area.shape).length
    part = (mixed / edges.length.where(edges.length > 0))[edges["length_m"] > 0.1]
    assert ((part < 0.02) | (part > 0.98)).all()


@pytest.mark.parametrize(
    ("tags", "walkable", "public"),
    [
        ("residential", True, True),
        ("living_street", True, True),
        ("pedestrian", True, True),
        ("trunk", True, True),
        ("primary_link", True, True),
        ("service", True, True),
        ("service service=alley", True, True),
        ("footway", True, True),
        ("path", True, True),
        ("steps", True, True),
        ("track", True, True),
        ("road", True, True),
        ("motorway", False, False),
        ("motorway_link", False, False),
        ("trunk motorroad=yes", False, False),
        ("trunk motorroad=no", True, True),
        ("raceway", False, False),
        ("construction", False, False),
        ("construction construction=residential", False, False),
        ("proposed", False, False),
        ("bus_guideway", False, False),
        ("razed", False, False),
        ("residential foot=no", False, False),
        ("cycleway foot=no", False, False),
        ("residential access=private", False, False),
        ("residential access=no", False, False),
        ("residential access=private foot=yes", True, True),
        ("residential access=no foot=designated", True, True),
        ("residential access=no foot=permissive", True, True),
        ("residential access=private foot=destination", False, False),
        ("residential access=yes foot=no", False, False),
        ("residential access=destination", True, True),
        ("residential access=customers", True, True),
        ("footway footway=sidewalk", True, False),
        ("footway footway=crossing", True, False),
        ("footway footway=no", True, True),
        ("path path=sidewalk", True, False),
        ("cycleway", True, False),
        ("service service=driveway", True, False),
        ("service service=parking_aisle", True, False),
        ("service service=driveway access=private", False, False),
        ("corridor", True, False),
        ("footway indoor=yes", True, False),
        ("footway indoor=no", True, True),
        ("residential tunnel=yes", True, False),
        ("footway tunnel=building_passage", True, False),
        ("residential tunnel=no", True, True),
        ("pedestrian area=yes", True, False),
        ("pedestrian area=no", True, True),
        ("residential sidewalk=both", True, True),
        ("residential bridge=yes layer=1", True, True),
    ],
)
def test_who_may_walk_and_what_counts_as_street(tags, walkable, public):
    """`walkable` and `public` follow the tags as the contract says."""
    highway, *more = tags.split()
    row = describe_way({"highway": highway} | dict(tag.split("=") for tag in more))
    assert (row["walkable"], row["public"]) == (walkable, public)


def test_carriageways_of_a_dual_road_count_each():
    """Two one-way carriageways of one road are two public edges."""
    nodes = {1: (0, 0), 2: (900, 0), 3: (0, 15), 4: (900, 15)}
    tags = {"highway": "primary", "oneway": "yes", "name": "中山路"}
    edges = build(nodes, {1: ([1, 2], tags), 2: ([4, 3], tags)}).edges
    assert edges.loc[edges["public"], "length_m"].sum() == 1800


@pytest.mark.parametrize(
    ("tags", "name"),
    [
        ({"name": "评事街"}, "评事街"),
        ({"name:zh": "评事街"}, "评事街"),
        ({"name": "评事街", "name:zh": "x", "name:en": "y"}, "评事街"),
        ({"name": "", "name:zh": "评事街"}, "评事街"),
        ({"name:en": "Pingshi"}, None),
        ({}, None),
    ],
)
def test_name_of_a_street(tags, name):
    """A street is called by its name, else by its Chinese name."""
    assert describe_way({"highway": "service"} | tags)["name"] == name


@pytest.mark.parametrize(
    ("tags", "level"),
    [
        ({}, None),
        ({"layer": "0"}, None),
        ({"layer": "-1"}, "-1"),
        ({"layer": "1", "bridge": "yes"}, "1"),
        ({"level": "0"}, None),
        ({"level": "-2"}, "-2"),
        ({"level": "0;1"}, None),
        ({"level": "-1; 0"}, None),
        ({"level": "-1;-2"}, "-1"),
        ({"level": ""}, None),
        ({"level": "-1", "layer": "-2"}, "-1"),
        ({"level": "0", "layer": "-1"}, "-1"),
        ({"tunnel": "yes"}, "tunnel"),
        ({"tunnel": "yes", "layer": "-1"}, "-1"),
        ({"tunnel": "yes", "layer": "0"}, None),
        ({"tunnel": "no"}, None),
        ({"tunnel": "building_passage"}, "tunnel"),
        ({"indoor": "yes"}, "indoor"),
        ({"indoor": "yes", "level": "0"}, None),
        ({"indoor": "no"}, None),
    ],
)
def test_level(tags, level):
    """Level, layer, tunnel and indoor put a way off the street; level 0 among others does not."""
    assert find_level(tags) == level


def grid_of_pieces(order):
    """Four pieces: 300 m, twice 200 m, and one that cannot be walked."""
    nodes = {n: (10 * n, 10 * (n % 7)) for n in range(1, 20)}
    nodes |= {1: (0, 0), 2: (200, 0), 3: (300, 0), 4: (0, 500), 5: (200, 500)}
    nodes |= {6: (500, 500), 7: (600, 500), 8: (700, 500), 9: (0, 900), 10: (900, 900)}
    ways = {
        1: ([6, 7, 8], STREET),
        2: ([1, 2], STREET),
        3: ([2, 3], STREET),
        4: ([4, 5], STREET),
        5: ([9, 10], {"highway": "motorway"}),
    }
    return build(nodes, {key: ways[key] for key in order})


@pytest.mark.parametrize("order", [(1, 2, 3, 4, 5), (5, 4, 3, 2, 1), (4, 1, 5, 3, 2)])
def test_pieces_are_numbered_by_length_then_id(order):
    """The longest piece is 0; equal ones go by their first edge id; not walkable is -1."""
    streets = grid_of_pieces(order)
    found = dict(zip(streets.edges["edge_id"], streets.piece, strict=True))
    assert found == {"way/1:0": 1, "way/2:0": 0, "way/3:0": 0, "way/4:0": 2, "way/5:0": -1}


def test_pieces_do_not_depend_on_the_rows_of_the_tables():
    """Shuffling edges and nodes of finished streets shuffles the numbers alike."""
    streets = grid_of_pieces((1, 2, 3, 4, 5))
    shuffled = Streets(
        streets.nodes.iloc[::-1].reset_index(drop=True),
        streets.edges.sample(frac=1, random_state=1).reset_index(drop=True),
    )
    one, other = (
        dict(zip(some.edges["edge_id"], some.piece, strict=True)) for some in (streets, shuffled)
    )
    assert one == other


def test_what_cannot_be_walked_joins_nothing():
    """A motorway between two streets does not connect them; with no street at all all are -1."""
    nodes = {1: (0, 0), 2: (100, 0), 3: (200, 0), 4: (400, 0)}
    motorway = {"highway": "motorway"}
    ways = {1: ([1, 2], STREET), 2: ([2, 3], motorway), 3: ([3, 4], STREET)}
    assert list(build(nodes, ways).piece) == [1, -1, 0]
    assert list(build(nodes, {2: ([2, 3], motorway)}).piece) == [-1]


def test_streets_check_their_tables():
    """An edge that ends at an unknown node is an error that names the node."""
    streets = grid_of_pieces((1, 2))
    with pytest.raises(TableError, match=r"unknown nodes.*node/8"):
        Streets(streets.nodes[streets.nodes["node_id"] != "node/8"], streets.edges)


def test_with_edges_copies():
    """Replacing a column leaves the old streets as they were."""
    streets = grid_of_pieces((1, 2))
    changed = streets.with_edges(alley_id=pd.Series(["alley/1", None]).astype("str"))
    assert streets.edges["alley_id"].isna().all()
    assert list(changed.edges["alley_id"].isna()) == [False, True]
    with pytest.raises(TableError, match="alley_id"):
        streets.with_edges(alley_id=np.array([1.5, 2.5]))


def test_with_edges_measures_anew_what_it_must():
    """What was computed of the streets is kept, unless a column that it comes from changes."""
    streets = grid_of_pieces((2, 3, 4))
    assert streets.piece.tolist() == [0, 0, 1]
    same = streets.with_edges(public=False)
    assert not same.edges["public"].any()
    assert same.piece is streets.piece
    apart = streets.with_edges(walkable=[False, True, True])
    assert apart.piece.tolist() == [-1, 1, 0]
    longer = streets.with_edges(length_m=[1.0, 1.0, 7.0])
    assert longer.piece.tolist() == [1, 1, 0]
    with pytest.raises(TableError, match=r"unknown nodes.*node/x"):
        streets.with_edges(u="node/x")
    with pytest.raises(TableError, match="not unique"):
        streets.with_edges(edge_id="way/1:0")


def awkward():
    """Draw a town with a loop, parallel edges, a level, a motorway, names and an alley."""
    nodes = {1: (0, 0), 2: (100, 0), 3: (100, 100), 4: (0, 100), 5: (-200, 0), 6: (50, 50)}
    ways = {
        1: ([2, 3, 4, 2], STREET | {"name": "环路"}),
        2: ([1, 2], STREET | {"tunnel": "yes"}),
        3: ([1, 6, 2], {"highway": "footway", "footway": "sidewalk"}),
        4: ([2, 1], STREET | {"layer": "-1"}),
        5: ([1, 5], {"highway": "motorway"}),
    }
    streets = build(nodes, ways)
    alley = pd.Series(["alley/1", *[None] * (len(streets.edges) - 1)]).astype("str")
    return streets.with_edges(alley_id=alley)


def by_id(table, key):
    return pd.DataFrame(table.sort_values(key).reset_index(drop=True))


def test_networkx_round_trip():
    """Streets that went through networkx are the same streets, loops and parallels kept."""
    streets = awkward()
    back = from_networkx(to_networkx(streets))
    assert_frame_equal(by_id(back.edges, "edge_id"), by_id(streets.edges, "edge_id"))
    assert_frame_equal(by_id(back.nodes, "node_id"), by_id(streets.nodes, "node_id"))
    assert back.edges.crs == streets.edges.crs


@FEW
@given(networks())
def test_networkx_round_trip_of_any_network(network):
    """The round trip holds for any network."""
    streets = build(*network)
    back = from_networkx(to_networkx(streets))
    assert_frame_equal(by_id(back.edges, "edge_id"), by_id(streets.edges, "edge_id"))
    assert_frame_equal(by_id(back.nodes, "node_id"), by_id(streets.nodes, "node_id"))


def test_graph_goes_both_ways():
    """Each edge stands in the graph twice, its line turned, with osmnx's names of columns."""
    graph = to_networkx(awkward())
    assert graph.number_of_edges() == 2 * len(awkward().edges)
    forth = graph.get_edge_data(1, 5)[0]
    back = graph.get_edge_data(5, 1)[0]
    assert forth["length"] == back["length"] == 200.0
    assert list(forth["geometry"].coords) == list(back["geometry"].coords)[::-1]
    assert {forth["reversed"], back["reversed"]} == {False, True}
    assert graph.nodes[5]["x"] == -200
    assert nx.shortest_path_length(graph, 5, 2, weight="length") == 300


def test_nodes_of_the_graph_are_numbers():
    """Nodes bear OpenStreetMap's numbers, cuts numbers below 0, and their ids beside them."""
    streets = build({1: (-300, 500), 2: (1200, 500)}, {7: ([1, 2], STREET)})
    names = nx.get_node_attributes(to_networkx(streets), "node_id")
    assert {names[1], names[2]} == {"node/1", "node/2"}
    assert {name for node, name in names.items() if node < 0} == {"cut/7:0", "cut/7:1"}


def test_part_of_a_graph_may_hold_one_direction():
    """A graph that kept only the edges against their lines gives the same edges as before."""
    streets = awkward()
    graph = to_networkx(streets)
    against = [key for key in graph.edges(keys=True) if graph.edges[key]["reversed"]]
    back = from_networkx(graph.edge_subgraph(against))
    assert_frame_equal(by_id(back.edges, "edge_id"), by_id(streets.edges, "edge_id"))


@pytest.fixture
def osmnx_graph(tmp_path):
    """Make a projected osmnx graph of a cross of streets with a ring road, offline."""
    ox = pytest.importorskip("osmnx")
    nodes = {n: place(100 * n, 0) for n in range(6)}
    nodes |= {10 + n: place(200, 100 * n - 200) for n in range(5) if n != 2}
    nodes[20] = place(500, 100)
    ways = {
        1: ([0, 1, 2], STREET | {"name": "东街", "oneway": "yes"}),
        2: ([2, 3, 4], STREET | {"name": "西街"}),
        3: ([4, 5], {"highway": "tertiary", "name": "甲路"}),
        7: ([5, 20], STREET | {"name": "乙路"}),
        4: ([10, 11, 2, 13, 14], {"highway": "footway", "name": "巷"}),
        5: ([14, 4], STREET),
        6: ([4, 11], STREET | {"access": "private"}),
    }
    path = write_osm(tmp_path / "town.osm", nodes=nodes, ways=ways)

    def make(simplify):
        graph = ox.graph_from_xml(path, simplify=simplify, retain_all=True)
        return ox.project_graph(graph, to_crs=CRS)

    return make


def test_osmnx_graph_converts(osmnx_graph):
    """Streets made from an osmnx graph have every street once, with its length and tags."""
    streets = from_networkx(osmnx_graph(simplify=False))
    edges = streets.edges
    assert edges["edge_id"].is_unique
    totals = edges.groupby("way_id")["length_m"].sum()
    expected = {"way/1": 200, "way/2": 200, "way/3": 100, "way/4": 400, "way/7": 100}
    for key, length in expected.items():
        assert totals[key] == pytest.approx(length, abs=0.05)
    assert set(edges.loc[edges["way_id"] == "way/4", "name"]) == {"巷"}
    assert not edges.loc[edges["way_id"] == "way/6", "walkable"].any()
    assert edges.loc[edges["way_id"] != "way/6", "walkable"].all()
    assert streets.edges["inside"].all()


def test_simplified_osmnx_graph_converts(osmnx_graph):
    """Lists of tags, as simplifying leaves them, become scalars; lines keep their bends."""
    graph = osmnx_graph(simplify=True)
    kinds = {type(facts.get("name")) for _, _, facts in graph.edges(data=True)}
    assert list in kinds, "the graph should have an edge of several names"
    edges = from_networkx(graph).edges
    for column in ("name", "highway", "way_id", "edge_id"):
        assert not edges[column].dropna().str.contains(r"\[").any()
    assert edges.loc[edges["walkable"], "length_m"].sum() == pytest.approx(
        200 + 200 + 100 + 100 + 400 + (200**2 + 200**2) ** 0.5, abs=0.5
    )
    assert not edges["level"].notna().any()


def test_our_graph_simplified_by_osmnx(osmnx_graph):
    """Our graph may go through osmnx's simplification: every metre that can be walked stays."""
    ox = pytest.importorskip("osmnx")
    streets = from_networkx(osmnx_graph(simplify=False))
    simple = from_networkx(ox.simplify_graph(to_networkx(streets)))
    assert len(simple.edges) < len(streets.edges)
    assert simple.edges["length_m"].sum() == pytest.approx(
        streets.edges["length_m"].sum(), abs=0.01
    )


def test_graph_by_hand():
    """Lists of tags, missing geometry, parallels and a loop: each street becomes one edge."""
    graph = nx.MultiDiGraph(crs=CRS)
    for node, x in ((1, 0), (2, 100), (3, 200)):
        graph.add_node(node, x=x, y=0)
    bent = LineString([(0, 0), (50, 50), (100, 0)])
    ring = LineString([(200, 0), (250, 50), (250, 0), (200, 0)])
    facts = {"osmid": [7, 8], "highway": ["footway", "residential"], "name": ["甲", "乙"]}
    graph.add_edge(1, 2, **facts, tunnel=["yes", "no"])
    graph.add_edge(2, 1, **facts, tunnel=["yes", "no"])
    graph.add_edge(1, 2, osmid=7, highway="residential", geometry=bent)
    graph.add_edge(2, 1, osmid=7, highway="residential", geometry=bent.reverse())
    graph.add_edge(2, 3, osmid=9, highway="motorway")
    graph.add_edge(3, 3, osmid=9, highway="residential", geometry=ring)
    graph.add_edge(3, 3, osmid=9, highway="residential", geometry=ring.reverse())
    edges = from_networkx(graph).edges.set_index("edge_id")
    assert list(edges.index) == ["way/7:0", "way/7:1", "way/9:0", "way/9:1"]
    assert list(edges["length_m"]) == [100.0, 141.421, 100.0, round(ring.length, 3)]
    assert list(edges["name"][:1]) == ["甲"]
    assert list(edges["highway"]) == ["footway", "residential", "motorway", "residential"]
    assert list(edges["level"].isna()) == [False, True, True, True]
    assert list(edges["walkable"]) == [True, True, False, True]
    assert list(edges["public"]) == [False, True, False, True]


@pytest.mark.parametrize(
    ("crs", "place_of", "edge", "says"),
    [
        ("EPSG:4326", {"x": 118.0, "y": 32.0}, True, "not in metres"),
        (None, {"x": 0.0, "y": 0.0}, True, "CRS is missing"),
        (CRS, {"x": 0.0}, True, "without x and y"),
        (CRS, {"x": 0.0, "y": 0.0}, False, "no edges"),
    ],
)
def test_graphs_that_are_refused(crs, place_of, edge, says):
    """A graph in degrees, without CRS, places or edges is a TableError that says so."""
    graph = nx.MultiDiGraph(**({"crs": crs} if crs else {}))
    graph.add_node(1, **place_of)
    graph.add_node(2, x=1.0, y=1.0)
    if edge:
        graph.add_edge(1, 2, osmid=1, highway="residential")
    with pytest.raises(TableError, match=says):
        from_networkx(graph)


def test_osmnx_goes_on_with_our_graph():
    """Nearest edges and shortest paths of osmnx work on what `to_networkx` makes."""
    ox = pytest.importorskip("osmnx")
    graph = to_networkx(awkward())
    u, v, _ = ox.distance.nearest_edges(graph, X=-150, Y=3)
    assert {u, v} == {1, 5}
    assert ox.distance.nearest_nodes(graph, X=-190, Y=3) == 5
    assert ox.routing.shortest_path(graph, 5, 2, weight="length") == [5, 1, 2]
    nodes, edges = ox.graph_to_gdfs(graph)
    assert len(nodes) == len(awkward().nodes)
    assert edges["length"].sum() == pytest.approx(2 * awkward().edges["length_m"].sum())


def test_real_streets_survive_networkx():
    """All edges of a real extract come back from networkx as they went."""
    if "SURVEY_TEST_DATA" not in os.environ:
        pytest.skip("SURVEY_TEST_DATA is unset: the extract of Nanjing is not here")
    path = Path(os.environ["SURVEY_TEST_DATA"]) / "nanjing.osm.pbf"
    area = find_area(extract=path, bbox=(118.764, 32.035, 118.797, 32.053))
    streets = build_streets(read_extract(path, area))
    back = from_networkx(to_networkx(streets))
    assert_frame_equal(by_id(back.edges, "edge_id"), by_id(streets.edges, "edge_id"))
    assert tables.check("nodes", back.nodes) is back.nodes
