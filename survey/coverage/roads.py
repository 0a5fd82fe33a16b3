"""Roads laid out as routes along which distance is walked, dual carriageways counted once."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from survey.frame.chains import group_edges, take_longest
from survey.frame.lines import Ints, cut_lines
from survey.frame.streets import Streets

if TYPE_CHECKING:
    import networkx as nx

_PIECE = ["edge", "from_mm", "to_mm"]


@dataclass(frozen=True, eq=False)
class Roads:
    """Roads as routes.

    Attributes
    ----------
    routes
        ``route_id, name, length_mm, loop, geometry`` (LineString), by route_id.
    pieces
        What the routes are made of, in the order walked: ``route`` (row of `routes`), ``edge``
        (row of the edges), ``from_mm, to_mm`` (on the edge, from u), ``back`` (walked from v to
        u), ``start_mm`` (where on the route the piece begins).
    beside
        Second carriageways: ``route, edge, from_mm, to_mm``.
    """

    routes: pd.DataFrame
    pieces: pd.DataFrame
    beside: pd.DataFrame


def find_roads(streets: Streets, chosen: npt.NDArray[np.bool_], *, pair_m: float) -> Roads:
    """Lay out roads as routes, each metre of road once.

    A road is the touching pieces of one name, or unnamed pieces that go straight on. Its main
    route is the shortest way along it between the two of its nodes that are farthest apart, drawn
    out at both ends as far as the road goes, or until it is a loop. What then runs alongside
    within `pair_m` and bears the same name is a second carriageway and counts no more; what is
    left over, such as branches, is laid out in the same way as further routes.

    Whatever is left and lies within `pair_m` of a route runs alongside it, except where it is
    shorter than twice `pair_m` for each place at which it leaves that strip or goes on from the
    route's end: so short a piece leads away from the route and is a branch of it, or its end.

    Parameters
    ----------
    streets
        The streets.
    chosen
        Which rows of the edges are main roads.
    pair_m
        How far apart two carriageways of one road may run, in metres.

    Returns
    -------
    Roads
    """
    mesh = _Mesh(streets)
    # A single millimetre cannot be halved, and is no road.
    rows = np.flatnonzero(chosen & (streets.length_mm > 1))
    rows = rows[np.argsort(streets.rows.to_numpy()[rows])]
    group = group_edges(streets, rows, np.zeros(len(streets.nodes), dtype=bool))
    ways, asides = [], []
    for number in np.unique(group):
        rest = _read_edges(streets, rows[group == number])
        while len(rest):
            way, aside, rest = _lay_route(mesh, rest, pair_m)
            ways.append(way)
            asides.append(aside)
    return _as_roads(mesh, ways, asides)


@dataclass(frozen=True, eq=False)
class _Mesh:
    """Streets, and the nodes and lines of pieces cut out of their edges.

    Pieces are rows of edge, from_mm, to_mm; a way has ``back`` (0 or 1) as a fourth column.
    """

    streets: Streets

    @cached_property
    def _rank(self) -> Ints:
        """Nodes numbered in the order of their ids, so that ties fall alike in any row order."""
        return np.argsort(np.argsort(self.streets.nodes["node_id"].to_numpy()))

    @cached_property
    def _base(self) -> Ints:
        """Where each edge begins on an axis of all edges end to end, by id, after the nodes."""
        order, length = np.argsort(self.streets.rows.to_numpy()), self.streets.length_mm
        base = np.empty_like(length)
        base[order] = np.cumsum(length[order]) - length[order] + len(self._rank)
        return base

    def nodes(self, pieces: Ints) -> Ints:
        """Find the nodes at both ends of pieces, shape (n, 2); cuts are numbered after nodes."""
        u, v = self.streets.ends
        edge = pieces[:, 0]
        found = [
            np.select(
                [at == 0, at == self.streets.length_mm[edge]],
                [self._rank[u[edge]], self._rank[v[edge]]],
                self._base[edge] + at,
            )
            for at in (pieces[:, 1], pieces[:, 2])
        ]
        return np.stack(found, axis=1)

    def lines(self, pieces: Ints) -> npt.NDArray[Any]:
        """Cut the lines of pieces out of their edges, from u to v."""
        edge, start, end = pieces.T[:3]
        length = self.streets.length_mm[edge]
        lines = np.asarray(self.streets.edges.geometry.array)[edge]
        return cut_lines(lines, start / length, end / length)

    def graph(self, pieces: Ints) -> "nx.Graph[int]":
        """Make a graph whose links know the row of their piece; of parallel ones the shortest."""
        import networkx as nx

        graph = nx.Graph()
        length, nodes = pieces[:, 2] - pieces[:, 1], self.nodes(pieces)
        for row in np.argsort(-length, kind="stable"):
            u, v = nodes[row]
            graph.add_edge(int(u), int(v), mm=int(length[row]), row=int(row))
        return graph


def _read_edges(streets: Streets, rows: Ints) -> Ints:
    """Take edges whole, except that one which returns to its own node is halved."""
    u, v = (end[rows] for end in streets.ends)
    length = streets.length_mm[rows]
    middle = np.where(u == v, length // 2, length)
    halves = np.concatenate([np.c_[rows, 0 * rows, middle], np.c_[rows, middle, length]])
    return halves[halves[:, 2] > halves[:, 1]]


def _lay_route(mesh: _Mesh, rest: Ints, pair_m: float) -> tuple[Ints, Ints, Ints]:
    """Take one route out of a road: the way, what runs alongside, and what is left."""
    start, end = _find_ends(mesh, rest, pair_m)
    way, rest = _walk(mesh, rest, start, end)
    asides = []
    for _ in range(2):
        while start != end:
            aside, rest = _part_alongside(mesh, rest, way, (start, end), pair_m)
            asides.append(aside)
            goal = _find_goal(mesh, rest, end, start)
            if goal is None:
                break
            more, rest = _walk(mesh, rest, end, goal)
            way, end = np.concatenate([way, more]), goal
        way, start, end = _turn(way), end, start
    aside, rest = _part_alongside(mesh, rest, way, (start, end), pair_m)
    way = way if start <= end else _turn(way)
    return way, np.concatenate([*asides, aside]), rest


def _find_ends(mesh: _Mesh, rest: Ints, pair_m: float) -> tuple[int, int]:
    """Find the two nodes farthest apart, in a straight line, of those with a way between them."""
    import networkx as nx

    node, first = np.unique(mesh.nodes(rest), return_index=True)
    lines = mesh.lines(rest)
    ends = np.stack([shapely.get_point(lines, 0), shapely.get_point(lines, -1)], axis=1)
    places = dict(zip(node.tolist(), shapely.get_coordinates(ends.ravel()[first]), strict=True))
    graph = mesh.graph(rest)
    best = (-1.0, 0, {0: 0.0})
    for part in nx.connected_components(graph):
        inner = sorted(part)
        at = np.array([places[name] for name in inner])
        away = np.hypot(*(at[:, None] - at[None]).transpose(2, 0, 1)).round(6)
        one = int(np.argmax(away.max(axis=1)))
        found = (float(away[one].max()), inner[one], dict(zip(inner, away[one], strict=True)))
        best = max(best, found, key=lambda found: (found[0], -found[1]))
    longest, start, from_start = best
    reach = nx.single_source_dijkstra_path_length(graph, start, weight="mm")
    # The farthest is the end of the other carriageway, aslant; the end of this one is as good.
    ends_too = [one for one, far in from_start.items() if far**2 + pair_m**2 >= longest**2]
    straight = {one: 2 * from_start[one] - reach[one] / 1000 for one in ends_too if one != start}
    return start, max(straight, key=lambda one: (straight[one], -one))


def _find_goal(mesh: _Mesh, rest: Ints, end: int, start: int) -> int | None:
    """Find where to go on from a route's end: to its start if a way leads there, else far off."""
    import networkx as nx

    graph = mesh.graph(rest)
    if end not in graph:
        return None
    reach = nx.single_source_dijkstra_path_length(graph, end, weight="mm")
    return start if start in reach else max(reach, key=lambda node: (reach[node], -node))


def _walk(mesh: _Mesh, rest: Ints, start: int, end: int) -> tuple[Ints, Ints]:
    """Take the shortest way between two nodes out of what is left."""
    import networkx as nx

    graph = mesh.graph(rest)
    steps = nx.dijkstra_path(graph, start, end, weight="mm")
    row = np.array([graph.edges[link]["row"] for link in pairwise(steps)])
    back = mesh.nodes(rest[row])[:, 0] != np.array(steps[:-1])
    return np.c_[rest[row], back], np.delete(rest, row, axis=0)


def _turn(way: Ints) -> Ints:
    return np.asarray(np.c_[way[::-1, :3], 1 - way[::-1, 3]])


def _part_alongside(
    mesh: _Mesh, rest: Ints, way: Ints, ends: tuple[int, int], pair_m: float
) -> tuple[Ints, Ints]:
    """Part what is left into what runs alongside a route and what does not."""
    import networkx as nx

    if not len(rest):
        return rest, rest
    # Fine enough a circle for half a centimetre at 50 m.
    strip = shapely.buffer(shapely.multilinestrings(mesh.lines(way)), pair_m, quad_segs=64)
    rest = _cut_at(mesh, rest, strip.boundary)
    shapely.prepare(strip)
    middle = shapely.line_interpolate_point(mesh.lines(rest), 0.5, normalized=True)
    near = shapely.intersects(strip, middle)
    nodes = mesh.nodes(rest)
    leaving = set(nodes[~near].ravel().tolist())
    if ends[0] != ends[1]:
        leaving |= set(ends)
    aside = np.zeros(len(rest), dtype=bool)
    links: nx.Graph[int] = nx.Graph(nodes[near].tolist())
    for part in nx.connected_components(links):
        run = near & np.isin(nodes[:, 0], list(part))
        length_m = (rest[run, 2] - rest[run, 1]).sum() / 1000
        aside |= run & (length_m > 2 * pair_m * len(part & leaving))
    return rest[aside], rest[~aside]


def _cut_at(mesh: _Mesh, pieces: Ints, boundary: Any) -> Ints:
    """Cut pieces where they cross a boundary."""
    lines = mesh.lines(pieces)
    shapely.prepare(boundary)
    hit = np.flatnonzero(shapely.intersects(boundary, lines))
    met, owner = shapely.get_coordinates(
        shapely.intersection(lines[hit], boundary), return_index=True
    )
    row = hit[owner]
    share = shapely.line_locate_point(lines[row], shapely.points(met), normalized=True)
    at = pieces[row, 1] + np.rint(share * (pieces[row, 2] - pieces[row, 1])).astype(np.int64)
    stops = np.unique(
        np.concatenate(
            [np.c_[np.arange(len(pieces)), pieces[:, side]] for side in (1, 2)] + [np.c_[row, at]]
        ),
        axis=0,
    )
    one = np.flatnonzero(stops[1:, 0] == stops[:-1, 0])
    return np.asarray(np.c_[pieces[stops[one, 0], 0], stops[one, 1], stops[one + 1, 1]])


def _as_roads(mesh: _Mesh, ways: list[Ints], asides: list[Ints]) -> Roads:
    """Make the tables; the routes of one name are numbered, the longest first."""
    pieces = _as_table([*_PIECE, "back"], ways)
    facts = mesh.streets.edges[["edge_id", "way_id", "name"]].iloc[pieces["edge"]]
    length = (pieces["to_mm"] - pieces["from_mm"]).to_numpy()
    facts = pd.DataFrame(facts).assign(group=pieces["route"].to_numpy(), length_mm=length)
    facts = facts.assign(size=facts["way_id"].str.len()).sort_values(["size", "way_id", "edge_id"])
    first = facts.groupby("group").first()
    routes = pd.DataFrame([_describe(mesh, way) for way in ways])
    routes["name"] = take_longest(facts, "name").reindex(routes.index).astype("str")
    routes["label"], routes["edge_id"] = routes["name"].fillna(first["way_id"]), first["edge_id"]
    routes = routes.sort_values(["label", "length_mm", "edge_id"], ascending=[True, False, True])
    number = routes.groupby("label").cumcount() + 1
    routes["route_id"] = routes["label"] + "#" + number.astype("str")
    order = routes.index
    pieces = _as_table([*_PIECE, "back"], [ways[row] for row in order])
    length = pieces["to_mm"] - pieces["from_mm"]
    start = length.groupby(pieces["route"]).cumsum() - length
    return Roads(
        routes[["route_id", "name", "length_mm", "loop", "geometry"]].reset_index(drop=True),
        pieces.assign(back=pieces["back"] == 1, start_mm=start),
        _as_table(_PIECE, [asides[row] for row in order]),
    )


def _describe(mesh: _Mesh, way: Ints) -> dict[str, Any]:
    nodes, lines = mesh.nodes(way), mesh.lines(way)
    lines = np.where(way[:, 3] == 1, shapely.reverse(lines), lines)
    return {
        "length_mm": (way[:, 2] - way[:, 1]).sum(),
        "loop": nodes[0, way[0, 3]] == nodes[-1, 1 - way[-1, 3]],
        "geometry": shapely.LineString(shapely.get_coordinates(lines)),
    }


def _as_table(columns: list[str], parts: list[Ints]) -> pd.DataFrame:
    route = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    table = pd.DataFrame(np.concatenate(parts), columns=columns)
    table.insert(0, "route", route)
    return table
