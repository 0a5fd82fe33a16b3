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
from survey.frame.cutting import cut_ways
from survey.frame.lines import as_text, count_up
from survey.frame.tags import match_any, read_tags
from survey.sources.extract import OsmData
from survey.summaries import write_summary

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
        tables.check("edges", self.edges, key=False)
        if not self.rows.is_unique:
            tables.check("edges", self.edges)
        known = [end >= 0 for end in self.ends]
        strange = {*self.edges["u"][~known[0]], *self.edges["v"][~known[1]]}
        if strange:
            raise TableError(
                f"edges end at {len(strange)} unknown nodes, for example {sorted(strange)[:3]}"
            )

    def _repr_html_(self) -> str:
        rows = [("nodes", f"{len(self.nodes):,}", ""), ("edges", f"{len(self.edges):,}", "")]
        for name in ("walkable", "public", "inside"):
            length_m = self.length_mm[self.edges[name]].sum() / 1000
            rows.append((name, f"{self.edges[name].sum():,}", f"{length_m / 1000:,.1f} km"))
        return write_summary("Streets", rows)

    def with_edges(self, **columns: Any) -> "Streets":
        """Copy with some columns of `edges` replaced."""
        edges = self.edges.assign(**columns)
        if not columns.keys().isdisjoint(_MEASURED):
            return replace(self, edges=edges)
        tables.check("edges", edges, only=columns)
        made = object.__new__(Streets)
        kept = {name: value for name, value in vars(self).items() if name in _KEPT}
        vars(made).update(kept, nodes=self.nodes, edges=edges)
        return made

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
        pieces = np.unique(label)
        # Pieces of equal length are told apart by their first edge id, not by row order.
        equal = pd.Series(lengths[pieces]).duplicated(keep=False).to_numpy()
        tied = np.isin(label, pieces[equal])
        by = np.argsort(as_text(self.rows[walkable][tied]))
        found, place = np.unique(label[tied][by], return_index=True)
        first = np.zeros(len(lengths), dtype=np.int64)
        first[found] = place
        order = pieces[np.lexsort((first[pieces], -lengths[pieces]))]
        rank = np.zeros(len(lengths), dtype=np.int64)
        rank[order] = np.arange(len(order))
        result = np.full(len(self.edges), -1, dtype=np.int64)
        result[walkable] = rank[label]
        return result


_KEPT = ("ends", "rows", "length_mm", "piece")
# What these are computed from, and what is not checked column by column.
_MEASURED = ("edge_id", "u", "v", "length_m", "walkable", "geometry")


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
    pieces = cut_ways(osm)
    node_id = pd.array(pieces.node_id, dtype="str")
    edges = _describe_ways(pieces.ways, pieces.way) | {
        "u": node_id.take(pieces.u),
        "v": node_id.take(pieces.v),
        "length_m": tables.round_mm(shapely.length(pieces.lines)),
        "inside": pieces.inside,
    }
    # These are of the contract's types already, and `Streets` checks them.
    edges = {name: edges[name] for name in tables.TABLES["edges"].columns}
    points, crs = shapely.points(pieces.places), osm.area.crs
    return Streets(
        gpd.GeoDataFrame({"node_id": node_id}, geometry=points, crs=crs),
        gpd.GeoDataFrame(edges, geometry=pieces.lines, crs=crs),
    )


def _describe_ways(ways: gpd.GeoDataFrame, row: Ints) -> dict[str, Any]:
    """Columns of the edges that come from their ways: their ids and what the tags say."""
    way_id = ways["way_id"].to_numpy(dtype=object)
    # Stretches of one way stand together, and their edges are counted on.
    other = np.r_[False, way_id[1:] != way_id[:-1]]
    _, number = count_up(np.bincount(np.cumsum(other)[row]))
    endings = np.array([f":{k}" for k in range(number.max() + 1)], dtype=object)
    code, texts = pd.factorize(ways["tags"])
    facts = pd.DataFrame([describe_way(json.loads(text)) for text in texts])
    text = {name: facts[name].astype("str").array for name in ("name", "highway", "level")}
    flag = {name: facts[name].to_numpy(dtype=bool) for name in ("walkable", "public")}
    return {
        "edge_id": pd.array(way_id[row] + endings[number], dtype="str"),
        "way_id": pd.array(way_id[row], dtype="str"),
        "alley_id": pd.array(np.full(len(row), None), dtype="str"),
        **{name: values.take(code[row]) for name, values in (text | flag).items()},
    }


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
