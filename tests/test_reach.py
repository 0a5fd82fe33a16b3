import math
from itertools import pairwise

import networkx as nx
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import Point, box

from sketch import draw_frame
from survey.sampling.reach import measure_catchments, measure_reach, reached_stretches

FEW = settings(max_examples=15, deadline=None)  # building tables is slow, more so on a busy machine


def reach_of(frame, limit_m=2_000):
    """Measure reach: {(point, unit): (euclid_m, network_m or None)}."""
    table = measure_reach(frame, limit_m=limit_m)
    return {
        (row.point_id, row.unit_id): (
            row.euclid_m,
            None if np.isnan(row.network_m) else row.network_m,
        )
        for row in table.itertuples()
    }


def main_street(**more):
    """Draw a street of 1,000 m whose last 200 m are an alley, and an estate beside it."""
    lines = {"s": [(0, 0), (800, 0)], "alley": [(800, 0), (1000, 0)]}
    frame = {"points": {"school": Point(100, 30)}, "compounds": {"estate": box(500, 20, 600, 90)}}
    return draw_frame(lines, **{**frame, **more}, alley_id={"alley": "alley/1"})


def test_distances_by_hand():
    """Access leg + street + access leg to an estate; an alley is reached without access leg."""
    found = reach_of(main_street(gates=np.array([Point(600, 20)])))
    assert found["school", "alley/1"] == (round(math.hypot(700, 30), 3), 30 + 700)
    assert found["school", "estate"] == (400.0, 30 + 500 + 20)


def test_an_alley_is_reached_at_its_nearest_position():
    """A school beside an alley reaches it at its own door: only its access leg counts."""
    frame = main_street(points={"school": Point(900, 30), "hall": box(880, -20, 920, 20)})
    found = reach_of(frame)
    assert found["school", "alley/1"] == (30.0, 30.0)
    assert found["hall", "alley/1"] == (0.0, 0.0)


def test_distance_is_from_the_boundary_not_the_centre():
    """A school of 200 m by 200 m is as near as its wall, by crow, and as its door on foot."""
    frame = main_street(points={"school": box(100, 10, 300, 210)})
    found = reach_of(frame)
    assert found["school", "estate"][0] == 200.0
    assert found["school", "alley/1"][0] == round(math.hypot(500, 10), 3)


def test_limit_is_inclusive():
    """A unit at exactly the limit is there, on foot and by crow; beyond it there is none."""
    frame = main_street(points={"school": Point(100, 0)}, compounds={})
    assert reach_of(frame, 700)["school", "alley/1"] == (700.0, 700.0)
    assert reach_of(frame, 699.999) == {}


def test_missing_network_distance_is_nan():
    """Where only the crow is within the limit the network distance is missing."""
    lines = {
        "s": [(0, 0), (0, 400), (50, 400)],
        "a": [(50, 400), (50, 0)],
    }
    frame = draw_frame(lines, points={"p": Point(-10, 0)}, alley_id={"a": "alley/1"})
    assert reach_of(frame, 100) == {("p", "alley/1"): (60.0, None)}
    assert reach_of(frame, 460) == {("p", "alley/1"): (60.0, 460.0)}


def test_no_way_and_no_door():
    """Across a gap in the streets, or without a door, only the crow's distance is there."""
    lines = {"s": [(0, 0), (800, 0)], "i": [(0, 900), (300, 900)]}
    frame = draw_frame(
        lines,
        points={"p": Point(100, 0), "far": Point(400, 450)},
        compounds={"c": box(100, 900, 120, 920), "lost": box(400, 400, 420, 420)},
        alley_id={"i": "alley/1"},
    )
    assert reach_of(frame) == {
        ("p", "alley/1"): (900.0, None),
        ("p", "c"): (900.0, None),
        ("p", "lost"): (500.0, None),
        ("far", "alley/1"): (round(math.hypot(100, 450), 3), None),
        ("far", "c"): (round(math.hypot(280, 450), 3), None),
        ("far", "lost"): (30.0, None),
    }


def test_what_is_out_of_reach_is_an_absent_row():
    """A pair that neither distance brings within the limit has no row."""
    found = reach_of(main_street(), 450)
    assert set(found) == {("school", "estate")}


def test_no_units():
    """Without any unit the table is empty, with its columns."""
    frame = draw_frame({"s": [(0, 0), (800, 0)]}, points={"p": Point(0, 0)})
    table = measure_reach(frame)
    assert len(table) == 0
    assert list(table) == ["point_id", "layer", "unit_id", "euclid_m", "network_m"]


def test_table_is_sorted_by_key():
    """Rows are sorted by point, layer and unit, whatever the order of the frame's tables."""
    lines = {f"s{n}": [(100 * n, 0), (100 * n + 100, 0)] for n in range(6)}
    alleys = {"s5": "alley/1", "s1": "alley/9", "s3": "alley/10"}
    frame = draw_frame(
        lines,
        points={"b": Point(0, 0), "a": Point(300, 0)},
        compounds={"way/2": box(50, 5, 60, 10), "way/10": box(80, 5, 90, 10)},
        alley_id=alleys,
    )
    table = measure_reach(frame)
    keys = list(zip(table["point_id"], table["layer"], table["unit_id"], strict=True))
    assert len(keys) == 10
    assert keys == sorted(keys)
    assert list(table.index) == list(range(10))


def test_two_edges_of_an_alley_and_a_point_between():
    """Of an alley in two parts the nearer part counts, whichever way the edges run."""
    lines = {
        "a": [(300, 0), (100, 0)],
        "s": [(300, 0), (600, 0)],
        "b": [(600, 0), (700, 0)],
    }
    frame = draw_frame(
        lines, points={"p": Point(500, 10)}, alley_id={"a": "alley/1", "b": "alley/1"}
    )
    assert reach_of(frame) == {("p", "alley/1"): (round(math.hypot(100, 10), 3), 110.0)}


place = st.tuples(st.integers(0, 300), st.integers(0, 300))


@st.composite
def towns(draw):
    """Streets at whole metres, some of them alleys, with points and compounds."""
    nodes = draw(st.lists(place, min_size=2, max_size=7, unique=True))
    lines, alley, level, closed = {}, {}, {}, {}
    for number in range(draw(st.integers(1, 9))):
        u, v = draw(st.sampled_from(nodes)), draw(st.sampled_from(nodes))
        key = f"e{number}"
        lines[key] = [u, *draw(st.lists(place, min_size=int(u == v), max_size=1)), v]
        match draw(st.integers(0, 9)):
            case 0 | 1 | 2 | 3:
                alley[key] = f"alley/{draw(st.integers(1, 3))}"
            case 4:
                level[key] = "-1"
            case 5:
                closed[key] = False
    columns = {"alley_id": alley, "level": level, "walkable": closed}
    shapes = {}
    for kind in ("point", "compound"):
        for number in range(draw(st.integers(1, 3))):
            x, y = draw(place)
            width, height = draw(st.tuples(st.integers(5, 80), st.integers(5, 80)))
            is_area = kind == "compound" or draw(st.booleans())
            shape = box(x, y, x + width, y + height) if is_area else Point(x, y)
            shapes.setdefault(f"{kind}s", {})[f"{kind}{number}"] = shape
    return lines, shapes, columns


def graph_with_doors(frame):
    """Insert every door into a networkx graph: (graph in mm, node of each row of doors)."""
    edges = frame.streets.edges.set_index("edge_id")
    graph = nx.MultiGraph()
    doors = frame.doors.reset_index(drop=True)
    mm = (doors["offset_m"] * 1000).round().astype(int)
    node_of = {}
    for key, edge in edges[edges["walkable"]].iterrows():
        length = round(edge["length_m"] * 1000)
        here = doors.index[doors["edge_id"] == key]
        stops = sorted({int(mm[row]) for row in here})
        names = {stop: (key, stop) for stop in stops}
        chain = [(0, edge["u"]), *((stop, names[stop]) for stop in stops), (length, edge["v"])]
        for (low, u), (high, v) in pairwise(chain):
            graph.add_edge(u, v, weight=high - low, edge=key)
        node_of |= {row: names[int(mm[row])] for row in here}
    return graph, node_of


def brute_force(frame, limit_m):
    """Measure all pairs by networkx and shapely."""
    graph, node_of = graph_with_doors(frame)
    doors = frame.doors.reset_index(drop=True)
    access = (doors["access_m"] * 1000).round().astype(int)
    alley_nodes = {}
    alley_of = frame.streets.edges.set_index("edge_id")["alley_id"]
    for u, v, key in graph.edges(data="edge"):
        alley_nodes.setdefault(alley_of[key], set()).update((u, v))
    expected = {}
    units = [("alley", frame.alleys), ("compound", frame.compounds)]
    for point in frame.points.itertuples():
        best = {}
        for row in doors.index[(doors["layer"] == "point") & (doors["id"] == point.point_id)]:
            ways = nx.single_source_dijkstra_path_length(graph, node_of[row])
            for node, length in ways.items():
                best[node] = min(best.get(node, np.inf), length + access[row])
        for layer, table in units:
            for unit in table.itertuples():
                key = getattr(unit, f"{layer}_id")
                if layer == "alley":
                    ways = [best.get(node, np.inf) for node in alley_nodes.get(key, ())]
                else:
                    mine = doors.index[(doors["layer"] == layer) & (doors["id"] == key)]
                    ways = [best.get(node_of[row], np.inf) + access[row] for row in mine]
                on_foot = min(ways, default=np.inf) / 1000
                by_crow = round(point.geometry.distance(unit.geometry), 3)
                if min(on_foot, by_crow) <= limit_m:
                    walked = on_foot if on_foot <= limit_m else None
                    expected[point.point_id, key] = (by_crow, walked)
    return expected


@FEW
@given(towns(), st.sampled_from([50, 173.205, 400, 2_000]))
def test_reach_equals_brute_force(town, limit_m):
    """Both distances of every pair are those of networkx and shapely, within any limit."""
    lines, shapes, columns = town
    frame = draw_frame(lines, **shapes, **columns)
    assert reach_of(frame, limit_m) == brute_force(frame, limit_m)


@FEW
@given(towns())
def test_the_walk_is_never_shorter_than_the_crow(town):
    """The network distance is at least the crow's between the nearest pair of doors."""
    lines, shapes, columns = town
    frame = draw_frame(lines, **shapes, **columns)
    doors = frame.doors.groupby(["layer", "id"])
    for (point, unit), (_, on_foot) in reach_of(frame).items():
        if on_foot is None:
            continue
        start = doors.get_group(("point", point)).geometry
        if unit.startswith("alley/"):
            end = frame.alleys.set_index("alley_id").geometry[unit]
            crow = start.distance(end).min()
        else:
            ends = doors.get_group(("compound", unit)).geometry
            crow = min(start.distance(end).min() for end in ends)
        assert on_foot >= crow - 0.002 * len(lines) - 0.002


@FEW
@given(towns(), st.randoms(use_true_random=False))
def test_reach_does_not_depend_on_row_order(town, random):
    """Streets, points and compounds in another order give the same table."""
    lines, shapes, columns = town
    expected = measure_reach(draw_frame(lines, **shapes, **columns))

    def shuffle(some):
        keys = list(some)
        random.shuffle(keys)
        return {key: some[key] for key in keys}

    mixed = {name: shuffle(some) for name, some in shapes.items()}
    found = measure_reach(draw_frame(shuffle(lines), **mixed, **columns))
    pd.testing.assert_frame_equal(found, expected)


@FEW
@given(towns(), st.integers(10, 500))
def test_reached_stretches_equal_brute_force(town, limit_m):
    """A position on a street is in a reached stretch exactly if the walk there is short enough."""
    lines, shapes, columns = town
    frame = draw_frame(lines, points=shapes["points"], **columns)
    graph, node_of = graph_with_doors(frame)
    doors = frame.doors.reset_index(drop=True)
    reached = reached_stretches(frame, limit_m)
    edges = frame.streets.edges
    for number, key in enumerate(frame.points["point_id"]):
        mine = doors[doors["id"] == key]
        away = dict.fromkeys(graph, np.inf)
        for row, door in mine.iterrows():
            ways = nx.single_source_dijkstra_path_length(graph, node_of[row])
            for node, length in ways.items():
                away[node] = min(away[node], length / 1000 + door["access_m"])
        for edge, facts in enumerate(edges.itertuples()):
            rows = reached[(reached["point"] == number) & (reached["edge"] == edge)]
            if not facts.walkable or facts.length_m == 0:
                assert rows.empty
                continue
            offset = np.linspace(0, facts.length_m, 41)
            metres = np.minimum(away[facts.u] + offset, away[facts.v] + facts.length_m - offset)
            for door in mine[mine["edge_id"] == facts.edge_id].itertuples():
                metres = np.minimum(metres, abs(offset - door.offset_m) + door.access_m)
            inside = np.zeros(len(offset), dtype=int)
            for low, high in zip(rows["from_mm"], rows["to_mm"], strict=True):
                assert 0 <= low < high <= round(facts.length_m * 1000)
                inside += (offset * 1000 > low) & (offset * 1000 < high)
            assert (inside <= 1).all(), "stretches overlap"
            assert (metres[inside == 1] <= limit_m + 0.001).all()
            clear = metres < limit_m - 0.002
            ends = np.isclose(offset[:, None] * 1000, rows[["from_mm", "to_mm"]].to_numpy().ravel())
            assert ((inside == 1) | ends.any(axis=1))[clear].all()


def catchment(table, point, metric, radius_m):
    rows = table.set_index(["point_id", "metric", "radius_m"]).geometry
    return rows[point, metric, radius_m]


def test_catchment_by_crow():
    """By crow a node's catchment is a disc, an area's its shape grown by the radius."""
    frame = main_street(points={"node": Point(0, 0), "hall": box(0, 0, 100, 50)})
    table = measure_catchments(frame)
    for radius in (500, 1_000, 2_000):
        disc = math.pi * radius**2
        assert catchment(table, "node", "euclid", radius).area == pytest.approx(disc, rel=5e-4)
        grown = 100 * 50 + 300 * radius + disc
        assert catchment(table, "hall", "euclid", radius).area == pytest.approx(grown, rel=5e-4)
    assert (table["area_m2"] == table.area.round(1)).all()


def test_catchment_on_foot_by_hand():
    """On a straight street it is a strip of 60 m that ends exactly where the walk ends."""
    frame = draw_frame({"s": [(-3000, 0), (3000, 0)]}, points={"p": Point(10, 40)})
    table = measure_catchments(frame)
    for radius in (500, 1_000, 2_000):
        strip = box(10 - radius + 40, -30, 10 + radius - 40, 30)
        found = catchment(table, "p", "network", radius)
        assert found.symmetric_difference(strip).area < 0.1


def test_catchment_of_a_dead_end():
    """A street that ends before the radius is claimed to its end and not beyond."""
    frame = draw_frame({"s": [(0, 0), (120, 0)]}, points={"p": Point(0, 0)})
    found = catchment(measure_catchments(frame), "p", "network", 500)
    assert found.symmetric_difference(box(0, -30, 120, 30)).area < 0.1


def test_points_without_a_walk_have_no_catchment_on_foot():
    """A point without a door has a catchment by crow only."""
    frame = draw_frame({"s": [(0, 0), (120, 0)]}, points={"p": Point(0, 400)})
    table = measure_catchments(frame, radii_m=(500,))
    assert list(table["metric"]) == ["euclid"]


@pytest.mark.parametrize("radius", [39.9, 40, 40.001, 40.01, 41])
def test_a_walk_of_hardly_any_length(radius):
    """A radius that hardly exceeds the access leg gives a sliver or nothing, and no crash."""
    frame = draw_frame({"s": [(-100, 0), (100, 0)]}, points={"p": Point(0, 40), "q": Point(30, 0)})
    table = measure_catchments(frame, radii_m=(radius,))
    rows = table[(table["metric"] == "network") & (table["point_id"] == "p")]
    if radius <= 40:
        assert rows.empty
    else:
        assert rows["area_m2"].sum() == pytest.approx(120 * (radius - 40), abs=0.2)
    strip = catchment(table, "q", "network", radius)
    assert strip.area == pytest.approx(60 * (radius + min(radius, 70)), rel=1e-3)


def grid_town():
    """Draw a town of bent streets over several blocks, with islands and four points."""
    lines = {}
    for x in range(12):
        for y in range(12):
            here = (110 * x, 110 * y)
            bend = (110 * x + 50, 110 * y + 17 * ((x + y) % 3))
            lines[f"h{x},{y}"] = [here, bend, (110 * x + 110, 110 * y)]
            if (x * y) % 5 != 4:
                lines[f"v{x},{y}"] = [here, (110 * x, 110 * y + 110)]
    lines["i"] = [(30, 60), (60, 60)]
    lines["loop"] = [(110, 110), (140, 160), (170, 150), (110, 110)]
    points = {
        "a": Point(300, 330),
        "b": box(600, 600, 680, 650),
        "c": Point(1300, 20),
        "d": Point(660, 645),
    }
    return draw_frame(lines, points=points, level={"h3,3": "-1"})


@pytest.fixture(scope="module")
def town():
    return grid_town()


@pytest.fixture(scope="module")
def catchments(town):
    return measure_catchments(town, radii_m=(200, 500, 900))


def test_catchments_lie_near_the_door(town, catchments):
    """On foot nothing is claimed farther than radius + 30 m from every door, by crow."""
    for row in catchments[catchments["metric"] == "network"].itertuples():
        doors = town.doors[town.doors["id"] == row.point_id].geometry
        discs = shapely.union_all(doors.buffer(row.radius_m + 30.01, quad_segs=64).array)
        assert row.geometry.difference(discs).area == 0


def test_catchments_contain_what_is_reached(town, catchments):
    """Every reached stretch of street lies in the catchment, and within 30 m of it all of it."""
    length = town.streets.edges["length_m"].to_numpy()
    lines = town.streets.edges.geometry.array
    for radius in (200, 500, 900):
        reached = reached_stretches(town, radius)
        for number, rows in reached.groupby("point"):
            shape = catchment(catchments, town.points["point_id"].iloc[number], "network", radius)
            stretches = [
                shapely.ops.substring(
                    lines[edge],
                    low / 1000 / length[edge],
                    high / 1000 / length[edge],
                    normalized=True,
                )
                for _, edge, low, high in rows.itertuples(index=False)
            ]
            street = shapely.union_all(stretches)
            assert street.difference(shape.buffer(0.01)).length == 0
            assert shape.difference(street.buffer(31.1)).area == 0
            strips = [line.buffer(26, cap_style="flat", quad_segs=2) for line in stretches]
            assert shapely.union_all(strips).difference(shape).area < 0.001 * shape.area


def test_catchments_grow_with_the_radius(catchments):
    """The smaller catchment lies in the larger one, but for outer corners at junctions on foot."""
    for metric, share in (("network", 0.015), ("euclid", 0)):
        for point in "abcd":
            small, middle, large = (
                catchment(catchments, point, metric, radius) for radius in (200, 500, 900)
            )
            assert small.area < middle.area < large.area
            assert small.difference(middle).area <= share * small.area
            assert middle.difference(large).area <= share * middle.area


def test_catchments_do_not_depend_on_other_points(town, catchments):
    """A point has the same catchment alone as beside others, though strips are shared."""
    for point in "abcd":
        row = town.points["point_id"] == point
        shape = town.points.geometry[row].iloc[0]
        lines = {
            edge.edge_id: list(edge.geometry.coords) for edge in town.streets.edges.itertuples()
        }
        alone = draw_frame(lines, points={point: shape}, level={"h3,3": "-1"})
        table = measure_catchments(alone, radii_m=(200, 500, 900))
        for radius in (200, 500, 900):
            mine = catchment(table, point, "network", radius)
            shared = catchment(catchments, point, "network", radius)
            assert mine.symmetric_difference(shared).area < 0.002 * mine.area


def test_catchments_beside_another_town(town, catchments):
    """A longer street that nothing joins to the town leaves its catchments as they are."""
    lines = {edge.edge_id: list(edge.geometry.coords) for edge in town.streets.edges.itertuples()}
    lines |= {f"far{x}": [(1000 * x, 9_000), (1000 * x + 1000, 9_000)] for x in range(60)}
    points = dict(zip(town.points["point_id"], town.points.geometry, strict=True))
    both = draw_frame(lines, points=points, level={"h3,3": "-1"})
    assert (both.streets.piece == 0).sum() == 60
    table = measure_catchments(both, radii_m=(200, 500, 900))
    for row in catchments.itertuples():
        found = catchment(table, row.point_id, row.metric, row.radius_m)
        assert found.symmetric_difference(row.geometry).area < 1e-3


def test_catchments_keep_the_contract(catchments):
    """Rows are unique and sorted by point, metric and radius, and all shapes are valid."""
    keys = list(
        zip(catchments["point_id"], catchments["metric"], catchments["radius_m"], strict=True)
    )
    assert keys == sorted(set(keys))
    assert len(keys) == 4 * 2 * 3
    assert catchments.is_valid.all()
