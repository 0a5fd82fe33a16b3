"""Chains: which edges are one alley, and the row that describes it."""

import re
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from survey.frame.blocks import Flags, is_main, link_near
from survey.frame.lines import as_text
from survey.frame.streets import Ints, Streets
from survey.frame.tags import read_tags
from survey.frame.units import plain_names
from survey.sources.area import Area


def group_edges(streets: Streets, rows: Ints, bigger: Flags) -> Ints:
    """Group edges that are one alley: by name and nearness, or chained.

    Parameters
    ----------
    streets
        The streets.
    rows
        Rows of the edges that are of alleys.
    bigger
        Whether unnamed alleys end at a node, for each node.

    Returns
    -------
    numpy.ndarray
        The number of the alley of each of `rows`.
    """
    within_m = read_tags()["alleys"]["one_name_m"]
    name, lines = streets.edges["name"].iloc[rows], streets.edges.geometry.to_numpy()[rows]
    named = name.notna().to_numpy()
    group = np.empty(len(rows), dtype=np.int64)
    group[named] = link_near(lines[named], plain_names(name[named]), within_m)
    group[~named] = -1 - _chain_edges(streets, rows[~named], bigger)
    return group


def find_bigger_nodes(streets: Streets) -> Flags:
    """Nodes at which an unnamed alley ends: those of named streets and of tertiary and above."""
    edges = streets.edges
    named = edges["name"].notna() & edges["public"]
    chosen = named.to_numpy() | is_main(edges["highway"])
    bigger = np.zeros(len(streets.nodes), dtype=bool)
    for end in streets.ends:
        bigger[end[chosen]] = True
    return bigger


def _chain_edges(streets: Streets, rows: Ints, bigger: Flags) -> Ints:
    """Chain edges: at each node the straightest pairs go on, none twice."""
    left, right = _straight_pairs(streets, rows, bigger)
    links: list[Ints] = [np.empty((2, 0), dtype=np.int64)]
    while len(left):
        # Of the pairs that are left, those that are the first for both their ends.
        order = np.arange(len(left))
        first = np.full(2 * len(rows), len(left))
        np.minimum.at(first, np.r_[left, right], np.r_[order, order])
        taken = (first[left] == order) & (first[right] == order)
        links.append(np.array([left[taken], right[taken]]))
        free = np.ones(2 * len(rows), dtype=bool)
        free[links[-1]] = False
        rest = free[left] & free[right]
        left, right = left[rest], right[rest]
    first, second = np.concatenate(links, axis=1) % max(len(rows), 1)
    graph = coo_array((np.ones(len(first)), (first, second)), shape=(len(rows),) * 2)
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def _straight_pairs(streets: Streets, rows: Ints, bigger: Flags) -> tuple[Ints, Ints]:
    """Pairs of edge ends that meet at a node and go on straight, the straightest first.

    The ends at u are numbered as `rows` are, those at v go on from there.
    """
    rules = read_tags()["alleys"]
    lines = streets.edges.geometry.to_numpy()[rows]
    ways = []
    for at, toward in ((0, 1), (-1, -1)):
        start = shapely.get_coordinates(shapely.get_point(lines, at))
        reach = toward * rules["direction_m"]
        ahead = shapely.get_coordinates(shapely.line_interpolate_point(lines, reach)) - start
        ways.append(np.degrees(np.arctan2(ahead[:, 0], ahead[:, 1])))
    bearing = np.concatenate(ways)
    node = np.concatenate([end[rows] for end in streets.ends])
    ends = pd.DataFrame({"node": node, "end": np.arange(len(node))})[~bigger[node]]
    pairs = ends.merge(ends, on="node", suffixes=("", "_2"))
    left, right = pairs["end"].to_numpy(), pairs["end_2"].to_numpy()
    rank = np.tile(np.argsort(np.argsort(as_text(streets.edges["edge_id"].iloc[rows]))), 2)
    turn = np.abs(180 - np.abs(bearing[left] - bearing[right])).round(6)
    straight = (rank[left] < rank[right]) & (turn < rules["turn_deg"])
    left, right, turn = left[straight], right[straight], turn[straight]
    by = np.lexsort((rank[right], rank[left], turn))
    return left[by], right[by]


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
    facts = zip(table["kind"], table["name"], groups.size(), strict=True)
    table["reason"] = [_reason(*each) for each in facts]
    table["alley_id"] = _number_alleys(edges, table["length_m"])
    table["source"] = "osm"
    columns = ["alley_id", "name", "name_en", "highway", "source", "reason"]
    table[columns] = table[columns].astype("str")
    return gpd.GeoDataFrame(table[[*columns, "length_m"]], geometry=lines, crs=area.crs)


def join_lines(edges: gpd.GeoDataFrame) -> "pd.Series[Any]":
    """Join the lines of the edges of each ``group`` into one MultiLineString."""
    group, groups = pd.factorize(edges["group"], sort=True)
    if not len(groups):
        return pd.Series(index=groups, dtype=object)
    by = np.lexsort((as_text(edges["edge_id"]), group))
    lines = edges.geometry.to_numpy()[by]
    merged = shapely.line_merge(shapely.multilinestrings(lines, indices=group[by]))
    parts, row = shapely.get_parts(merged, return_index=True)
    lines = shapely.normalize(shapely.multilinestrings(parts, indices=row))
    return pd.Series(lines, index=groups, dtype=object)


def take_longest(edges: pd.DataFrame, column: str) -> "pd.Series[str]":
    """For each group, the value that most of its length has."""
    group, groups = pd.factorize(edges["group"], sort=True)
    code, texts = pd.factorize(edges[column], sort=True)
    known = code >= 0
    pair, row = np.unique(group[known] * len(texts) + code[known], return_inverse=True)
    length = np.bincount(row, weights=edges["length_mm"].to_numpy()[known])
    group, code = np.divmod(pair, max(len(texts), 1))
    by = np.lexsort((code, -length, group))
    first = by[np.diff(group[by], prepend=-1) > 0]
    return pd.Series(texts[code[first]], index=groups[group[first]], dtype="str")


def _reason(kind: str, name: Any, pieces: int) -> str:
    if pd.isna(name):
        return f"unnamed {kind}, chained" if pieces > 1 else f"unnamed {kind}"
    hint = re.search(read_tags()["alleys"]["names_hint"], name)
    return f"{kind}, named …{hint[0]}" if hint else f"{kind}, named"


def _number_alleys(edges: pd.DataFrame, length_m: "pd.Series[float]") -> "pd.Series[str]":
    """Id of each group after its lowest way; the longest of one way comes first."""
    way, ways = pd.factorize(edges["way_id"])
    rank = _rank_ids(ways)
    lowest = pd.DataFrame({"way": rank[way], "edge": _rank_ids(edges["edge_id"])})
    table = lowest.groupby(edges["group"].to_numpy()).min()
    table["length"] = -length_m
    table = table.sort_values(["length", "edge"])
    number = table.groupby("way").cumcount() + 1
    suffix = ("#" + number.astype("str")).where(number > 1, "")
    way_id = pd.Series(ways[np.argsort(rank)][table["way"]], index=table.index)
    return "alley/" + way_id.str.removeprefix("way/") + suffix


def _rank_ids(ids: Any) -> Ints:
    """Rank ids, the shorter first: ``way/9`` before ``way/10``."""
    text = as_text(ids)
    return np.argsort(np.lexsort((text, np.char.str_len(text))))
