import networkx as nx
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

import survey.frame.network as module
from sketch import draw_streets, row_of
from survey.frame.network import (
    Sources,
    cut_streets,
    find_path,
    search_nearest,
    search_within,
)
from survey.frame.streets import Streets

FEW = settings(max_examples=25, deadline=None)  # building tables is slow, more so on a busy machine
LADDER = {
    "a": [(0, 0), (100, 0)],
    "b": [(0, 0), (50, 50), (100, 0)],
    "c": [(100, 0), (100, 100)],
    "d": [(100, 100), (150, 100), (150, 150), (100, 150), (100, 100)],
}


def ints(*values):
    return np.array(values, dtype=np.int64)


def cut(streets, *positions):
    """Cut streets at positions (edge id, metres from u)."""
    keys = [key for key, _ in positions]
    return cut_streets(
        streets, row_of(streets, *keys), ints(*(round(at * 1000) for _, at in positions))
    )


def start_at(network, *positions, start_mm=0):
    """Take each position as one source."""
    count = len(positions)
    node = network.position_node[list(positions)]
    return Sources(count, np.arange(count), node, np.full(count, start_mm))


def walk(network, sources, limit_mm):
    """Collect what `search_within` yields as {(source, node): millimetres}."""
    found = {}
    for numbers, nodes, distances in search_within(network, sources, limit_mm):
        assert distances.shape == (len(numbers), len(nodes))
        assert (np.diff(nodes) > 0).all()
        for row, column in zip(*np.nonzero(np.isfinite(distances)), strict=True):
            key = (int(numbers[row]), int(nodes[column]))
            assert key not in found, "a source was searched twice"
            found[key] = distances[row, column]
    return found


def by_hand(streets, positions):
    """Insert positions (row of edge, mm) into a networkx graph; answer it and their nodes."""
    graph = nx.MultiGraph()
    graph.add_nodes_from(range(len(streets.nodes)))
    at = {}
    for edge in range(len(streets.edges)):
        if not streets.edges["walkable"].iloc[edge]:
            continue
        u, v = (int(end[edge]) for end in streets.ends)
        length = int(streets.length_mm[edge])
        before, offset = u, 0
        for mm in sorted({mm for row, mm in positions if row == edge and 0 < mm < length}):
            at[edge, mm] = (edge, mm)
            graph.add_edge(before, (edge, mm), weight=mm - offset)
            before, offset = (edge, mm), mm
        graph.add_edge(before, v, weight=length - offset)
        for mm in {mm for row, mm in positions if row == edge}:
            at.setdefault((edge, mm), u if mm <= 0 else v)
    return graph, [at[position] for position in positions]


@st.composite
def cases(draw):
    """Streets with parallels, loops and pieces without length, positions, and sources there."""
    count = draw(st.integers(2, 6))
    coordinate = st.integers(0, 40)
    places = [(draw(coordinate), draw(coordinate)) for _ in range(count)]
    lines, ends = {}, {}
    for key in range(draw(st.integers(1, 9))):
        u, v = draw(st.integers(0, count - 1)), draw(st.integers(0, count - 1))
        bends = draw(st.lists(st.tuples(coordinate, coordinate), max_size=2))
        lines[f"e{key}"] = [places[u], *bends, places[v]]
        ends[f"e{key}"] = (f"n{u}", f"n{v}")
    closed = {key: False for key in lines if draw(st.integers(0, 9)) == 0}
    streets = draw_streets(lines, ends=ends, walkable=closed)
    open_rows = [row for row, key in enumerate(lines) if key not in closed]
    positions = []
    for _ in range(draw(st.integers(1, 6)) if open_rows else 0):
        edge = draw(st.sampled_from(open_rows))
        length = int(streets.length_mm[edge])
        offset = draw(st.one_of(st.sampled_from([0, length]), st.integers(0, length)))
        positions.append((edge, offset))
    starts = [draw(st.integers(0, 30_000)) for _ in positions]
    owners = [draw(st.integers(0, 2)) for _ in positions]
    return streets, positions, owners, starts


def solve(case):
    """Measure by networkx: {source: {node of the network: millimetres}}, and network, sources."""
    streets, positions, owners, starts = case
    rows, offsets = zip(*positions, strict=True) if positions else ((), ())
    network = cut_streets(streets, ints(*rows), ints(*offsets))
    graph, nodes = by_hand(streets, positions)
    ours = {node: number for number, node in enumerate(range(len(streets.nodes)))}
    ours |= dict(zip(nodes, map(int, network.position_node), strict=True))
    for source in range(3):
        graph.add_node(("source", source))
    for node, owner, start in zip(nodes, owners, starts, strict=True):
        graph.add_edge(("source", owner), node, weight=start)
    expected = {}
    for source in range(3):
        others = [node for node in graph if node != ("source", source)]
        # No way leads through another source's access legs.
        keep = [node for node in others if not (isinstance(node, tuple) and node[0] == "source")]
        part = graph.subgraph([*keep, ("source", source)])
        reached = nx.single_source_dijkstra_path_length(part, ("source", source))
        del reached["source", source]
        expected[source] = {ours[node]: length for node, length in reached.items()}
    sources = Sources(3, ints(*owners), network.position_node, ints(*starts))
    return network, sources, expected


@FEW
@given(cases())
def test_nearest_source_equals_networkx(case):
    """The nearest source is networkx's, and of those as near the one of the lowest number."""
    network, sources, expected = solve(case)
    distance, nearest = search_nearest(network, sources)
    assert len(distance) == len(nearest) == network.size
    for node in range(network.size):
        reached = {source: some[node] for source, some in expected.items() if node in some}
        if not reached:
            assert distance[node] == np.inf
            assert nearest[node] == -1
        else:
            assert distance[node] == min(reached.values())
            as_near = [source for source, mm in reached.items() if mm == distance[node]]
            assert nearest[node] == min(as_near)


@FEW
@given(cases(), st.integers(0, 120_000))
def test_search_within_equals_networkx(case, limit_mm):
    """Within any limit the distances from each source are networkx's, and no node is left out."""
    network, sources, expected = solve(case)
    found = walk(network, sources, limit_mm)
    assert found == {
        (source, node): length
        for source, some in expected.items()
        for node, length in some.items()
        if length <= limit_mm
    }


@FEW
@given(cases(), st.integers(1_000, 60_000))
def test_search_in_tiny_parts_is_the_same(case, limit_mm):
    """Searching source by source gives the same as searching all of a tile at once."""
    network, sources, _ = solve(case)
    whole = walk(network, sources, limit_mm)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CELLS_AT_ONCE", 1)
        assert walk(network, sources, limit_mm) == whole


@FEW
@given(cases())
def test_path_has_the_length_of_the_distance(case):
    """The path's length is the distance; its line has that length and the right ends."""
    network, sources, _ = solve(case)
    if len(sources.node) < 2:
        return
    _, positions, _, starts = case
    first, rest = ints(0), np.arange(1, len(positions))
    start_mm, end_mm = ints(starts[0]), ints(*starts[1:])
    length_m, line = find_path(network, first, rest, start_mm, end_mm)
    ends = network.position_node[rest]
    single = Sources(1, ints(0), network.position_node[first], start_mm)
    distance, _ = search_nearest(network, single)
    totals = distance[ends] + end_mm
    assert length_m == totals.min() / 1000
    if not np.isfinite(length_m):
        assert line.is_empty
        return
    best = [number for number, total in enumerate(totals) if total == totals.min()]
    walked = [totals.min() - starts[0] - end_mm[number] for number in best]
    if line.is_empty:
        assert 0 in walked
        return
    assert any(abs(line.length * 1000 - mm) <= 20 for mm in walked)
    places = network.places[network.position_node]
    assert line.coords[0] == pytest.approx(tuple(places[0]), abs=0.002)
    assert any(
        line.coords[-1] == pytest.approx(tuple(places[1 + number]), abs=0.002) for number in best
    )


def test_pieces_of_a_cut_edge():
    """Positions cut an edge once each, in order; those at its ends cut nothing."""
    streets = draw_streets(LADDER)
    network = cut(streets, ("a", 60), ("a", 0), ("a", 30.5), ("a", 100), ("a", 60))
    mine = network.edge == row_of(streets, "a")[0]
    assert list(network.from_mm[mine]) == [0, 30_500, 60_000]
    assert list(network.to_mm[mine]) == [30_500, 60_000, 100_000]
    assert network.size == len(streets.nodes) + 2
    assert list(network.position_node[[1, 3]]) == [streets.ends[0][0], streets.ends[1][0]]
    assert network.position_node[0] == network.position_node[4]
    where = network.places[network.position_node]
    assert where.tolist() == [[60, 0], [0, 0], [30.5, 0], [100, 0], [60, 0]]


def test_pieces_cover_each_walkable_edge():
    """The pieces of an edge follow each other and have its length; others are left out."""
    streets = draw_streets(LADDER, walkable={"c": False})
    network = cut(streets, ("d", 150), ("a", 1), ("b", 70), ("d", 0.001))
    assert set(network.edge) == set(row_of(streets, "a", "b", "d"))
    for edge in np.unique(network.edge):
        mine = network.edge == edge
        assert network.length_mm[mine].sum() == streets.length_mm[edge]
        assert list(network.v[mine][:-1]) == list(network.u[mine][1:])
        assert network.u[mine][0] == streets.ends[0][edge]
        assert network.v[mine][-1] == streets.ends[1][edge]


def test_no_positions():
    """Streets that are cut nowhere are their own edges."""
    streets = draw_streets(LADDER)
    network = cut(streets)
    assert list(network.edge) == [0, 1, 2, 3]
    assert network.size == len(streets.nodes)
    assert len(network.position_node) == 0


def test_the_shorter_of_parallel_edges_is_walked():
    """Of parallel edges the shorter one is walked, and the longer one has its own inside."""
    streets = draw_streets(LADDER)
    network = cut(streets, ("a", 0), ("a", 100), ("b", 70))
    found = walk(network, start_at(network, 0), 1_000_000)
    there, bend = (int(node) for node in network.position_node[1:])
    assert found[0, there] == 100_000
    assert found[0, bend] == 70_000
    found = walk(network, start_at(network, 2), 1_000_000)
    assert found[0, there] == 71_421


def test_position_on_a_loop():
    """From a position on a loop both ways round are open; the shorter one counts."""
    streets = draw_streets(LADDER)
    network = cut(streets, ("d", 150), ("d", 10), ("c", 100))
    found = walk(network, start_at(network, 0), 1_000_000)
    other, gate = (int(node) for node in network.position_node[1:])
    assert found[0, gate] == 50_000
    assert found[0, other] == 60_000


def test_limit_is_exact():
    """A node at exactly the limit is reached, and one a millimetre beyond is not."""
    streets = draw_streets(LADDER)
    network = cut(streets, ("a", 0), ("a", 100))
    there = int(network.position_node[1])
    assert walk(network, start_at(network, 0), 100_000)[0, there] == 100_000
    assert (0, there) not in walk(network, start_at(network, 0), 99_999)
    late = start_at(network, 0, start_mm=1)
    assert (0, there) not in walk(network, late, 100_000)
    assert walk(network, late, 100_001)[0, there] == 100_001


def test_edges_without_length():
    """An edge without length joins its ends at distance 0, beside parallels too."""
    streets = draw_streets(
        {
            "a": [(0, 0), (100, 0)],
            "z": [(100, 0), (100, 0)],
            "y": [(100, 0), (100, 10), (100, 0)],
            "b": [(100, 0), (200, 0)],
        },
        ends={"a": "mn", "z": "no", "y": "no", "b": "op"},
    )
    network = cut(streets, ("a", 0), ("z", 0), ("b", 100))
    found = walk(network, start_at(network, 0), 1_000_000)
    assert found[0, int(network.position_node[1])] == 100_000
    assert found[0, int(network.position_node[2])] == 200_000
    distance, nearest = search_nearest(network, start_at(network, 0))
    assert distance.max() == 200_000
    assert set(nearest) == {0}
    length_m, line = find_path(network, ints(0), ints(2), ints(0), ints(0))
    assert (length_m, line.length) == (200.0, 200.0)


def test_islands_are_not_reached():
    """What no street joins has no distance, no path and no source."""
    streets = draw_streets(LADDER | {"x": [(0, 40), (40, 40)]})
    network = cut(streets, ("a", 50), ("x", 20))
    island = int(network.position_node[1])
    assert (0, island) not in walk(network, start_at(network, 0), 10**9)
    distance, nearest = search_nearest(network, start_at(network, 0))
    assert (distance[island], nearest[island]) == (np.inf, -1)
    length_m, line = find_path(network, ints(0), ints(1), ints(0), ints(0))
    assert length_m == np.inf
    assert line.is_empty


def test_streets_that_cannot_be_walked_join_nothing():
    """A way over a street that cannot be walked is no way."""
    streets = draw_streets(LADDER, walkable={"c": False})
    network = cut(streets, ("a", 0), ("d", 10))
    distance, _ = search_nearest(network, start_at(network, 0))
    assert distance[network.position_node[1]] == np.inf


def test_sources_without_a_place():
    """A source without a place reaches nothing, and does not disturb the others."""
    streets = draw_streets(LADDER)
    network = cut(streets, ("a", 0))
    nobody = Sources(3, ints(), ints(), ints())
    assert list(search_within(network, nobody, 1000)) == []
    distance, nearest = search_nearest(network, nobody)
    assert np.isinf(distance).all()
    assert (nearest == -1).all()
    one = Sources(3, ints(1), network.position_node, ints(0))
    assert {source for source, _ in walk(network, one, 10**6)} == {1}
    assert set(search_nearest(network, one)[1]) == {1}


def test_a_source_starts_at_the_best_of_its_places():
    """Of several places of a source the one that is nearest, access included, counts."""
    streets = draw_streets(LADDER)
    network = cut(streets, ("a", 0), ("a", 100), ("a", 50))
    middle = int(network.position_node[2])
    both = Sources(1, ints(0, 0), network.position_node[:2], ints(30_000, 10_000))
    assert walk(network, both, 10**6)[0, middle] == 60_000
    twice = Sources(1, ints(0, 0), network.position_node[[0, 0]], ints(30_000, 20_000))
    assert walk(network, twice, 10**6)[0, middle] == 70_000


def test_many_tiles_equal_one_search():
    """Forty sources over many tiles have the distances of one search over the whole town."""
    rows = {
        f"h{x},{y}": [(100 * x, 100 * y), (100 * x + 100, 100 * y)]
        for x in range(12)
        for y in range(12)
    }
    columns = {
        f"v{x},{y}": [(100 * x, 100 * y), (100 * x, 100 * y + 100)]
        for x in range(12)
        for y in range(0, 12, 2)
    }
    streets = draw_streets(rows | columns)
    random = np.random.default_rng(7)
    edge = random.integers(0, len(streets.edges), 40)
    network = cut_streets(streets, edge.astype(np.int64), random.integers(0, 100_001, 40))
    sources = Sources(
        20, np.arange(40) % 20, network.position_node, random.integers(0, 150_000, 40)
    )
    limit = 230_000
    whole = {key: mm for key, mm in walk(network, sources, 10**8).items() if mm <= limit}
    parts = walk(network, sources, limit)
    assert parts == whole
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CELLS_AT_ONCE", 500)
        assert walk(network, sources, limit) == whole


def test_distances_do_not_depend_on_rows_or_direction():
    """Shuffled rows and turned edges give the same distances."""
    streets = draw_streets(LADDER)
    network = cut(streets, ("a", 20), ("d", 40), ("b", 100))
    expected = [
        walk(network, start_at(network, 0), 10**7)[0, int(node)] for node in network.position_node
    ]
    edges = streets.edges.iloc[::-1].reset_index(drop=True)
    turned = edges.assign(u=edges["v"], v=edges["u"], geometry=edges.geometry.reverse())
    other = Streets(streets.nodes.iloc[::-1].reset_index(drop=True), turned)
    length = dict(zip(other.edges["edge_id"], other.edges["length_m"], strict=True))
    back = cut(other, ("a", length["a"] - 20), ("d", length["d"] - 40), ("b", length["b"] - 100))
    found = [walk(back, start_at(back, 0), 10**7)[0, int(node)] for node in back.position_node]
    assert found == expected


def test_path_by_hand():
    """The way from one street to another runs over their junction, turned where need be."""
    streets = draw_streets(LADDER)
    network = cut(streets, ("b", 100), ("d", 190))
    length_m, line = find_path(network, ints(0), ints(1), ints(2_000), ints(3_000))
    b = shapely.LineString(LADDER["b"])
    assert length_m == pytest.approx(2 + (141.421 - 100) + 100 + 10 + 3)
    assert line.length == pytest.approx(length_m - 5, abs=0.002)
    assert line.coords[0] == pytest.approx(b.interpolate(100).coords[0], abs=0.002)
    assert line.coords[-1] == pytest.approx((100, 110), abs=0.002)
    assert (100, 100) in line.coords


def test_path_takes_the_best_pair():
    """Between several doors on both sides the pair with the shortest way is walked."""
    streets = draw_streets(LADDER)
    network = cut(streets, ("a", 0), ("a", 90), ("c", 100), ("a", 100))
    length_m, line = find_path(network, ints(0, 1), ints(2, 3), ints(0, 5_000), ints(0, 1_000))
    assert length_m == 5 + 10 + 1
    assert line.equals(shapely.LineString([(90, 0), (100, 0)]))


def test_path_between_doors_at_one_place():
    """Between two doors at one place there is a way without a line: only the access legs."""
    streets = draw_streets(LADDER)
    network = cut(streets, ("a", 40), ("a", 40))
    length_m, line = find_path(network, ints(0), ints(1), ints(7_000), ints(5_000))
    assert length_m == 12
    assert line.is_empty
