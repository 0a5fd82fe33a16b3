"""Chains: which edges are one alley, and the row that describes it."""

import re
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from survey.frame.blocks import is_main, link_near
from survey.frame.streets import Ints, Streets
from survey.frame.tags import read_tags
from survey.frame.units import plain_name
from survey.sources.area import Area


def group_edges(edges: gpd.GeoDataFrame, bigger: set[str]) -> Ints:
    """Group edges that are one alley: by name and nearness, or chained.

    Parameters
    ----------
    edges
        Rows of `edges` that are of alleys.
    bigger
        Ids of the nodes at which unnamed alleys end.

    Returns
    -------
    numpy.ndarray
        The number of the alley of each edge.
    """
    rules = read_tags()["alleys"]
    named = edges["name"].notna().to_numpy()
    group = np.empty(len(edges), dtype=np.int64)
    names = edges["name"][named].map(plain_name)
    group[named] = link_near(edges.geometry.to_numpy()[named], names, rules["one_name_m"])
    group[~named] = -1 - _chain_edges(edges[~named], bigger)
    return group


def find_bigger_nodes(streets: Streets) -> set[str]:
    """Nodes at which an unnamed alley ends: those of named streets and of tertiary and above."""
    edges = streets.edges
    named = edges["name"].notna() & edges["public"]
    chosen = edges[named | is_main(edges["highway"])]
    return {*chosen["u"], *chosen["v"]}


def _chain_edges(edges: gpd.GeoDataFrame, bigger: set[str]) -> Ints:
    """Chain edges: at each node the straightest pairs go on, none twice."""
    pairs = _straight_pairs(edges, bigger)
    taken: set[tuple[int, str]] = set()
    links = []
    for left, left_end, right, right_end in pairs:
        if (left, left_end) not in taken and (right, right_end) not in taken:
            taken |= {(left, left_end), (right, right_end)}
            links.append((left, right))
    first, second = np.array(links, dtype=np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(first)), (first, second)), shape=(len(edges),) * 2)
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def _straight_pairs(edges: gpd.GeoDataFrame, bigger: set[str]) -> list[tuple[int, str, int, str]]:
    """Pairs of edge ends that meet at a node and go on straight, the straightest first."""
    rules = read_tags()["alleys"]
    lines = edges.geometry.to_numpy()
    ends = []
    for column, at, toward in (("u", 0, 1), ("v", -1, -1)):
        start = shapely.get_coordinates(shapely.get_point(lines, at))
        reach = toward * rules["direction_m"]
        ahead = shapely.get_coordinates(shapely.line_interpolate_point(lines, reach)) - start
        facts = {
            "row": np.arange(len(edges)),
            "end": column,
            "node": edges[column].to_numpy(),
            "edge_id": edges["edge_id"].to_numpy(),
            "bearing": np.degrees(np.arctan2(ahead[:, 0], ahead[:, 1])),
        }
        ends.append(pd.DataFrame(facts))
    table = pd.concat(ends)
    table = table[~table["node"].isin(bigger)]
    pairs = table.merge(table, on="node", suffixes=("", "_2"))
    pairs = pairs[pairs["edge_id"] < pairs["edge_id_2"]]
    pairs["turn"] = (180 - (pairs["bearing"] - pairs["bearing_2"]).abs()).abs().round(6)
    pairs = pairs[pairs["turn"] < rules["turn_deg"]]
    pairs = pairs.sort_values(["turn", "edge_id", "edge_id_2", "node"])
    return list(pairs[["row", "end", "row_2", "end_2"]].itertuples(index=False, name=None))


def describe_alleys(edges: gpd.GeoDataFrame, area: Area) -> gpd.GeoDataFrame:
    """Describe alleys from their edges.

    Parameters
    ----------
    edges
        Rows of `edges` with ``group`` (the number of the alley), ``kind``, ``name_en``,
        ``length_mm``.
    area
        Gives the CRS.

    Returns
    -------
    geopandas.GeoDataFrame
        The columns of the table `alleys` by ``group``, without ``subdistrict_id``.
    """
    lines = join_lines(edges)
    table = pd.DataFrame(index=lines.index)
    for column in ("name", "name_en", "highway", "kind"):
        table[column] = take_longest(edges, column)
    groups = edges.groupby("group")
    table["length_m"] = groups["length_mm"].sum() / 1000
    pieces = groups.size()
    table["reason"] = [
        _reason(kind, name, pieces[number])
        for number, kind, name in zip(table.index, table["kind"], table["name"], strict=True)
    ]
    table["alley_id"] = _number_alleys(edges, table["length_m"])
    table["source"] = "osm"
    columns = ["alley_id", "name", "name_en", "highway", "source", "reason"]
    table[columns] = table[columns].astype("str")
    return gpd.GeoDataFrame(table[[*columns, "length_m"]], geometry=lines, crs=area.crs)


def join_lines(edges: gpd.GeoDataFrame) -> "pd.Series[Any]":
    """Join the lines of the edges of each ``group`` into one MultiLineString."""
    edges = edges.sort_values(["group", "edge_id"])
    groups, row = np.unique(edges["group"], return_inverse=True)
    if not len(groups):
        return pd.Series(index=groups, dtype=object)
    merged = shapely.line_merge(shapely.multilinestrings(edges.geometry.to_numpy(), indices=row))
    parts, row = shapely.get_parts(merged, return_index=True)
    lines = shapely.normalize(shapely.multilinestrings(parts, indices=row))
    return pd.Series(lines, index=groups, dtype=object)


def take_longest(edges: pd.DataFrame, column: str) -> "pd.Series[str]":
    """For each group, the value that most of its length has."""
    sums = edges.groupby(["group", column], as_index=False)["length_mm"].sum()
    sums = sums.sort_values(["length_mm", column], ascending=[False, True])
    return sums.drop_duplicates("group").set_index("group")[column]


def _reason(kind: str, name: Any, pieces: int) -> str:
    if pd.isna(name):
        return f"unnamed {kind}, chained" if pieces > 1 else f"unnamed {kind}"
    hint = re.search(read_tags()["alleys"]["names_hint"], name)
    return f"{kind}, named …{hint[0]}" if hint else f"{kind}, named"


def _number_alleys(edges: pd.DataFrame, length_m: "pd.Series[float]") -> "pd.Series[str]":
    """Id of each group after its lowest way; the longest of one way comes first."""
    order = edges[["group", "way_id", "edge_id"]].assign(
        way_size=edges["way_id"].str.len(), edge_size=edges["edge_id"].str.len()
    )
    lowest_way = order.sort_values(["way_size", "way_id"]).drop_duplicates("group")
    lowest_edge = order.sort_values(["edge_size", "edge_id"]).drop_duplicates("group")
    table = pd.DataFrame({"way_id": lowest_way.set_index("group")["way_id"], "length": -length_m})
    table["edge_id"] = lowest_edge.set_index("group")["edge_id"]
    table = table.sort_values(["length", "edge_id"])
    number = table.groupby("way_id").cumcount() + 1
    suffix = ("#" + number.astype("str")).where(number > 1, "")
    return "alley/" + table["way_id"].str.removeprefix("way/") + suffix
