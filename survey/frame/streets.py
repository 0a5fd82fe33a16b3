"""Streets: the tables of nodes and edges, and what is built from them.

Edges are cut at junctions and at the boundary of the area, never simplified. They are walked both
ways; parallel edges and loops are kept.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from survey import tables
from survey.errors import TableError
from survey.frame.tags import match_any, read_tags
from survey.sources.extract import OsmData

if TYPE_CHECKING:
    import networkx as nx

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Streets:
    """A street network as two tables of the data contract, `nodes` and `edges`.

    Parameters
    ----------
    nodes
        ``node_id``, Point.
    edges
        ``edge_id, u, v, way_id, name, highway, level, alley_id, length_m, walkable, public,
        inside``, LineString from u to v. ``level`` is missing at street level; else it is the
        level, the layer, ``tunnel`` or ``indoor``.

    Raises
    ------
    TableError
        If a table breaks the contract or an edge ends at an unknown node.
    """

    nodes: gpd.GeoDataFrame
    edges: gpd.GeoDataFrame

    def __post_init__(self) -> None:
        """Check both tables."""
        tables.check("nodes", self.nodes)
        tables.check("edges", self.edges)
        ends = pd.concat([self.edges["u"], self.edges["v"]])
        strange = sorted(set(ends[~ends.isin(self.nodes["node_id"])]))
        if strange:
            raise TableError(
                f"edges end at {len(strange)} unknown nodes, for example {strange[:3]}"
            )

    def with_edges(self, **columns: Any) -> "Streets":
        """Copy with some columns of `edges` replaced."""
        return replace(self, edges=tables.check("edges", self.edges.assign(**columns)))

    @cached_property
    def ends(self) -> tuple[Ints, Ints]:
        """Rows in `nodes` of each edge's u and v."""
        rows = pd.Index(self.nodes["node_id"])
        return (
            rows.get_indexer(pd.Index(self.edges["u"])).astype(np.int64),
            rows.get_indexer(pd.Index(self.edges["v"])).astype(np.int64),
        )

    @cached_property
    def length_mm(self) -> Ints:
        """Length of each edge in whole millimetres, so that sums of lengths are exact."""
        return to_mm(self.edges["length_m"])

    @cached_property
    def rows(self) -> pd.Index:
        """Edge ids, for looking up the row of an edge."""
        return pd.Index(self.edges["edge_id"])

    @cached_property
    def piece(self) -> Ints:
        """Number of the connected piece of walkable street of each edge; the longest is 0.

        Edges that cannot be walked have -1.
        """
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        walkable = self.edges["walkable"].to_numpy()
        u, v = (end[walkable] for end in self.ends)
        size = len(self.nodes)
        graph = coo_array((np.ones(len(u)), (u, v)), shape=(size, size))
        label = connected_components(graph, directed=False)[1][u]
        lengths = np.bincount(label, weights=self.length_mm[walkable], minlength=1)
        # Pieces of equal length are told apart by their first edge id, not by row order.
        first = pd.Series(self.rows[walkable]).groupby(label).min()
        order = sorted(first.index, key=lambda number: (-lengths[number], first[number]))
        rank = np.zeros(len(lengths), dtype=np.int64)
        rank[order] = np.arange(len(order))
        result = np.full(len(self.edges), -1, dtype=np.int64)
        result[walkable] = rank[label]
        return result


def to_mm(metres: "pd.Series[float]") -> Ints:
    """Whole millimetres of lengths that are rounded to the millimetre."""
    whole: Ints = np.rint(metres.to_numpy() * 1000).astype(np.int64)
    return whole


def build_streets(osm: OsmData) -> Streets:
    """Cut ways into edges at their junctions and at the boundary of the area.

    Parameters
    ----------
    osm
        What `read_extract` read.

    Returns
    -------
    Streets
        Edges in the order of their ways; ``edge_id`` is ``way/123:<k>`` with k from 0 along the
        way, nodes are ``node/5``, and ``cut/123:<i>`` where the boundary cuts way 123.
        ``alley_id`` is missing still.
    """
    ways = osm.streets.sort_values(["way_id", "part"], kind="stable").reset_index(drop=True)
    way, node, places = _vertices(ways, osm.area.shape)
    is_end = np.r_[True, way[1:] != way[:-1]] | np.r_[way[1:] != way[:-1], True]
    codes, names = pd.factorize(node)
    cut = is_end | (np.bincount(codes) > 1)[codes]
    # The boundary may also be crossed at a vertex of the way, and touched without crossing.
    inside = _inside((places[:-1] + places[1:]) / 2, osm.area.shape)
    cut[1:-1] |= inside[1:] != inside[:-1]

    first = np.flatnonzero(cut[:-1] & (way[1:] == way[:-1]))
    stops = np.flatnonzero(cut)
    last = stops[np.searchsorted(stops, first, side="right")]
    lines = _lines(places, first, last)
    attributes = pd.DataFrame([describe_way(json.loads(text)) for text in ways["tags"]])
    edges = attributes.iloc[way[first]].reset_index(drop=True)
    way_id = ways["way_id"].to_numpy()[way[first]]
    number = pd.Series(way_id).groupby(way_id).cumcount()
    used, kept = np.unique(np.r_[codes[first], codes[last]], return_index=True)
    where = np.r_[first, last][kept]
    return Streets(
        tables.make(
            "nodes",
            {"node_id": names[used], "geometry": shapely.points(places[where])},
            crs=osm.area.crs,
        ),
        tables.make(
            "edges",
            {
                "edge_id": pd.Series(way_id).astype("str") + ":" + number.astype("str"),
                "u": names[codes[first]],
                "v": names[codes[last]],
                "way_id": way_id,
                "alley_id": np.full(len(first), None),
                "length_m": tables.round_mm(shapely.length(lines)),
                "inside": inside[first],
                "geometry": lines,
                **{str(name): edges[name] for name in edges},
            },
            crs=osm.area.crs,
        ),
    )


def describe_way(tags: Mapping[str, str]) -> dict[str, Any]:
    """Tell what an edge says of its way: name, highway, level, walkable, public.

    The rules are data: `tags.toml`, section ``streets``.
    """
    rules = read_tags()["streets"]
    highway = tags["highway"]
    foot = tags.get("foot")
    forbidden = (
        tags.get("motorroad") == "yes"
        or foot in rules["forbidden_foot"]
        or (tags.get("access") in rules["forbidden_access"] and foot not in rules["allowed_foot"])
    )
    walkable = highway in rules["walkable"] and not forbidden
    return {
        "name": tags.get("name") or tags.get("name:zh"),
        "highway": highway,
        "level": find_level(tags),
        "walkable": walkable,
        "public": walkable and not match_any(tags, rules["not_public"]),
    }


def find_level(tags: Mapping[str, str]) -> str | None:
    """Find the level of an object off the street: its level, layer, ``tunnel`` or ``indoor``.

    ``None`` at street level; an object on several levels (``0;1``) is at street level if one of
    them is 0.
    """
    for key in ("level", "layer"):
        levels = [part.strip() for part in tags.get(key, "").split(";") if part.strip()]
        if levels and not any(level in {"0", "+0", "-0", "0.0"} for level in levels):
            return levels[0]
    if tags.get("tunnel", "no") != "no" and "layer" not in tags:
        return "tunnel"
    if tags.get("indoor", "no") != "no" and "level" not in tags:
        return "indoor"
    return None


def _vertices(ways: gpd.GeoDataFrame, shape: BaseGeometry) -> tuple[Ints, Any, Floats]:
    """Vertices of all ways, with more where they cross the area's boundary.

    Returns the row of the way, the node id and the place of each vertex.
    """
    places, way = shapely.get_coordinates(ways.geometry.array, return_index=True)
    node = "node/" + pd.Series(" ".join(ways["nodes"]).split(), dtype="str")
    boundary = shape.boundary
    shapely.prepare(boundary)
    crossing = np.flatnonzero(shapely.intersects(boundary, ways.geometry.array))
    at: list[int] = []
    ids: list[str] = []
    cuts: list[Floats] = []
    for row in crossing:
        vertices = np.flatnonzero(way == row)
        name = str(ways["way_id"].iloc[row]).removeprefix("way/")
        part = ways["part"].iloc[row]
        label = f"cut/{name}" if part == 0 else f"cut/{name}.{part}"
        for start in vertices[:-1]:
            for place in _crossings(places[start], places[start + 1], boundary):
                at.append(start + 1)
                ids.append(f"{label}:{len(ids)}")
                cuts.append(place)
    if not at:
        return way.astype(np.int64), node.to_numpy(dtype=object), places
    where = np.array(at)
    counts = pd.Series(ids).str.rsplit(":", n=1).str[0]
    ids = list(counts + ":" + counts.groupby(counts).cumcount().astype("str"))
    return (
        np.insert(way, where, way[where]).astype(np.int64),
        np.insert(node.to_numpy(dtype=object), where, ids),
        np.insert(places, where, cuts, axis=0),
    )


def _crossings(start: Floats, end: Floats, boundary: BaseGeometry) -> list[Floats]:
    """Places strictly between two vertices where the boundary crosses, in order."""
    segment = shapely.LineString([start, end])
    met = shapely.get_coordinates(shapely.intersection(segment, boundary))
    along = np.hypot(*(met - start).T) if len(met) else np.empty(0)
    order = np.argsort(along, kind="stable")
    met, along = met[order], along[order]
    # What is met twice, at a corner of a boundary that runs along, is one place.
    inner = (np.diff(along, prepend=0) > 0.001) & (along < segment.length - 0.001)
    return list(met[inner])


def _lines(places: Floats, first: Ints, last: Ints) -> npt.NDArray[Any]:
    counts = last - first + 1
    starts = np.cumsum(counts) - counts
    vertex = np.arange(counts.sum()) + np.repeat(first - starts, counts)
    return np.asarray(
        shapely.linestrings(places[vertex], indices=np.repeat(np.arange(len(first)), counts))
    )


def _inside(places: Floats, shape: BaseGeometry) -> npt.NDArray[np.bool_]:
    # A street that runs along the boundary is inside as a whole, whatever the last digits say.
    shape = shape.buffer(0.001)
    shapely.prepare(shape)
    return np.asarray(shapely.intersects_xy(shape, places))


def to_networkx(streets: Streets) -> "nx.MultiDiGraph[Any]":
    """Convert streets to a graph as osmnx makes them.

    Returns
    -------
    networkx.MultiDiGraph
        Nodes are whole numbers, because osmnx takes no others: 5 for ``node/5``, below 0 for a
        cut; with ``x``, ``y`` and ``node_id``. Each edge both ways with ``osmid``, ``length``
        (metres), ``name``, ``highway``, ``geometry``, ``reversed`` and all columns of `edges`;
        the CRS in ``graph["crs"]``.
    """
    import networkx as nx

    graph = nx.MultiDiGraph(crs=streets.edges.crs)
    number = {}
    for row, (name, place) in enumerate(
        zip(streets.nodes["node_id"], streets.nodes.geometry, strict=True)
    ):
        digits = name.removeprefix("node/")
        number[name] = int(digits) if digits.isdecimal() else -1 - row
        graph.add_node(number[name], x=place.x, y=place.y, node_id=name)
    for row in streets.edges.to_dict("records"):
        facts = {name: value for name, value in row.items() if not _is_missing(value)}
        facts |= {"osmid": row["way_id"], "length": row["length_m"]}
        u, v, back = number[row["u"]], number[row["v"]], row["geometry"].reverse()
        graph.add_edge(u, v, **facts, reversed=False)
        graph.add_edge(v, u, **(facts | {"geometry": back}), reversed=True)
    return graph


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value))


def from_networkx(graph: "nx.MultiDiGraph[Any]") -> Streets:
    """Make streets from a projected osmnx graph, or from what `to_networkx` made.

    Both directions of a street become one edge; parallel edges and loops stay. Without the
    columns of `edges`, ``walkable`` and ``public`` come from the tags on the edge, ``inside`` is
    true, and ``edge_id`` is counted along ``osmid``.

    Raises
    ------
    TableError
        If the graph has no edges, a node has no place, or its CRS is missing or not in metres.
    """
    lost = [node for node, at in graph.nodes(data=True) if "x" not in at or "y" not in at]
    if lost or not graph.number_of_edges():
        fault = f"{len(lost)} nodes without x and y, e.g. {lost[:3]}" if lost else "no edges"
        raise TableError(f"the graph has {fault}; give a projected graph as osmnx makes them")
    name = {node: at.get("node_id", f"node/{node}") for node, at in graph.nodes(data=True)}
    places = {name[node]: shapely.Point(at["x"], at["y"]) for node, at in graph.nodes(data=True)}
    rows = {}
    for tail, head, facts in graph.edges(data=True):
        u, v = name[tail], name[head]
        line = facts.get("geometry") or shapely.LineString([places[u], places[v]])
        if facts.get("reversed") is True and "edge_id" in facts:
            u, v, line = v, u, line.reverse()
        # A line and its reverse are the same street.
        shape = min(shapely.to_wkb(line), shapely.to_wkb(line.reverse()))
        own = facts.get("edge_id")  # a list after osmnx has joined edges, in no order
        same = (*sorted([u, v]), own if isinstance(own, str) else "", shape)
        if same not in rows:
            rows[same] = _edge_row(u, v, line, facts)
    edges = pd.DataFrame(list(rows.values()))
    unnamed = edges["edge_id"].isna()
    # New numbers go on after those that edges of the same way brought along.
    ids = edges["edge_id"].astype("str")
    old = ids.str.extract(r":(\d+)$", expand=False).astype("float64")
    first = (old.groupby(edges["way_id"]).transform("max") + 1).fillna(0)
    number = first + edges.groupby(["way_id", unnamed]).cumcount()
    edges.loc[unnamed, "edge_id"] = edges["way_id"] + ":" + number.astype("int64").astype("str")
    crs = graph.graph.get("crs")
    nodes = {"node_id": list(places), "geometry": list(places.values())}
    return Streets(
        tables.make("nodes", nodes, crs=crs),
        tables.make("edges", {str(name): edges[name].to_numpy() for name in edges}, crs=crs),
    )


def _edge_row(u: str, v: str, line: BaseGeometry, facts: Mapping[str, Any]) -> dict[str, Any]:
    tags = {
        key: str(value[0] if isinstance(value, list) else value) for key, value in facts.items()
    }
    derived = describe_way({"highway": "road"} | tags)
    # Only `to_networkx` gives an edge these columns; elsewhere they are tags, or lists of them.
    own = facts if isinstance(facts.get("edge_id"), str) else {}
    osmid = facts.get("osmid", 0)
    osmid = str(min(osmid, key=str) if isinstance(osmid, list) else osmid)
    return {
        "edge_id": own.get("edge_id"),
        "u": u,
        "v": v,
        "way_id": osmid if osmid.startswith("way/") else f"way/{osmid}",
        "alley_id": own.get("alley_id"),
        "length_m": tables.round_mm(own.get("length_m", line.length)),
        "inside": own.get("inside", True),
        "geometry": line,
        **{name: own.get(name, value) for name, value in derived.items()},
    }
