"""Claims: which edges belong to which row of a city's register of alleys."""

from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from survey.frame.blocks import Flags, Shapes, is_main, link_near
from survey.frame.lines import as_text
from survey.frame.streets import Floats, Ints, Streets
from survey.frame.tags import read_tags
from survey.frame.units import plain_names


@dataclass(frozen=True, eq=False)
class _Edges:
    """What decides on a claim, as arrays with one value per edge."""

    lines: Shapes
    length_m: Floats
    plain: Any
    alley: Ints  # row of its alley; -1: none
    by_alley: Ints  # rows of edges, sorted by their alley
    free: Flags  # may be an alley, and is of no named one
    along: Flags  # may be the street of a line: unnamed, or no main street


def claim_edges(
    rows: gpd.GeoDataFrame,
    alleys: gpd.GeoDataFrame,
    alley_of_edge: "pd.Series[str]",
    streets: Streets,
) -> tuple[Ints, list[str]]:
    """Find the register's row that each edge goes to, and how each row was found.

    Parameters
    ----------
    rows
        The register as `read_unit_register` answered it: lines and points.
    alleys, alley_of_edge
        What `find_alleys` answered.
    streets
        The streets.

    Returns
    -------
    claim
        The row of the register of each edge; -1 where there is none.
    why
        The reason of each row.
    """
    order = np.argsort(as_text(streets.edges["edge_id"]))
    edges = _read_edges(alleys, alley_of_edge, streets)
    owner = _match_alleys(rows, alleys)
    claim = np.append(owner, -1)[edges.alley]
    why = [""] * len(rows)
    for row, first in zip(*np.unique(owner, return_index=True), strict=True):
        if row >= 0:
            why[row] = f"in the city's register; {alleys['reason'].iloc[first]}"
    # In the order of edge ids, so that ties do not depend on the order of rows.
    tree = shapely.STRtree(edges.lines[order])
    shapes, names = rows.geometry.to_numpy(), rows["plain"].to_numpy()
    for how, find in _FINDERS.items():
        for row in (number for number, reason in enumerate(why) if not reason):
            shape = shapes[row]
            hits = tree.query(shape, predicate="dwithin", distance=_reach_m(shape))
            near = order[np.sort(hits)]
            near = near[edges.free[near] & (claim[near] < 0)]
            found = find(shape, names[row], near, edges) if len(near) else near
            found = found[claim[found] < 0]
            if len(found):
                claim[found] = row
                why[row] = f"in the city's register; {how}"
    nowhere = "in the city's register; no free street of OpenStreetMap lies along it"
    return claim, [reason or nowhere for reason in why]


def _read_edges(
    alleys: gpd.GeoDataFrame, alley_of_edge: "pd.Series[str]", streets: Streets
) -> _Edges:
    table = streets.edges
    alley = pd.Index(alleys["alley_id"]).get_indexer(pd.Index(alley_of_edge)).astype(np.int64)
    in_named = np.append(alleys["name"].notna().to_numpy(), False)[alley]
    # A lane in a compound that nobody named is not public, until the city says that it is.
    lane = table["walkable"] & table["highway"].isin(read_tags()["alleys"]["classes"])
    return _Edges(
        table.geometry.to_numpy(),
        table["length_m"].to_numpy(),
        plain_names(table["name"]).to_numpy(dtype=object),
        alley,
        np.argsort(alley, kind="stable"),
        (table["public"] | lane).to_numpy() & ~in_named,
        table["name"].isna().to_numpy() | ~is_main(table["highway"]),
    )


def _is_line(shape: BaseGeometry) -> bool:
    return bool(shapely.get_dimensions(shape) == 1)


def _reach_m(shape: BaseGeometry) -> float:
    """How far a register's line, or its less certain point, may lie from its street."""
    rules = read_tags()["alleys"]
    return float(rules["one_name_m"] if _is_line(shape) else rules["register_point_m"])


def _match_alleys(rows: gpd.GeoDataFrame, alleys: gpd.GeoDataFrame) -> Ints:
    """Row of the register of each alley, by id or else by name and place; -1: none."""
    shapes, theirs = rows.geometry.to_numpy(), alleys.geometry.to_numpy()
    reach = np.array([_reach_m(shape) for shape in shapes])
    row, alley = shapely.STRtree(theirs).query(shapes, predicate="dwithin", distance=reach)
    same = rows["plain"].to_numpy()[row] == plain_names(alleys["name"]).to_numpy()[alley]
    known = pd.Index(alleys["alley_id"]).get_indexer(pd.Index(rows["id"]))
    own = np.flatnonzero(known >= 0)
    pairs = pd.DataFrame(
        {
            "row": np.r_[own, row[same]],
            "alley": np.r_[known[own], alley[same]],
            "by_name": np.r_[np.zeros(len(own)), np.ones(same.sum())],
        }
    )
    pairs["away"] = shapely.distance(shapes[pairs["row"]], theirs[pairs["alley"]]).round(3)
    owner = np.full(len(alleys), -1, dtype=np.int64)
    served: set[int] = set()
    for pair in pairs.sort_values(["by_name", "away", "row", "alley"]).itertuples():
        # A line may hold several pieces of its alley; a point is but one.
        if owner[pair.alley] < 0 and (pair.row not in served or _is_line(shapes[pair.row])):
            owner[pair.alley] = pair.row
            served.add(pair.row)
    return owner


def _find_by_name(shape: BaseGeometry, name: Any, near: Ints, edges: _Edges) -> Ints:
    """Edges of that name near a line; the nearest street of that name, for a point."""
    same: Ints = near[edges.plain[near] == name]
    if not len(same) or _is_line(shape):
        return same
    within_m = read_tags()["alleys"]["one_name_m"]
    piece = link_near(edges.lines[same], np.zeros(len(same)), within_m)
    nearest = shapely.distance(shape, edges.lines[same]).round(3).argmin()
    return np.asarray(same[piece == piece[nearest]])


def _find_along(shape: BaseGeometry, _name: Any, near: Ints, edges: _Edges) -> Ints:
    """Edges, of no main street's name, that run along a line by half of their length."""
    rules = read_tags()["alleys"]
    if not _is_line(shape):
        return near[:0]
    near = near[edges.along[near]]
    lines, half = edges.lines[near], rules["along_share"] * edges.length_m[near]
    beside = shapely.intersection(lines, shape.buffer(rules["along_m"]))
    ends = [shapely.line_locate_point(shape, shapely.get_point(lines, at)) for at in (0, -1)]
    along = (shapely.length(beside) >= half) & (np.abs(ends[0] - ends[1]) >= half)
    return np.asarray(near[along])


def _find_unnamed(shape: BaseGeometry, _name: Any, near: Ints, edges: _Edges) -> Ints:
    """Edges of the nearest unnamed alley, for a point."""
    near = near[edges.alley[near] >= 0]
    away = shapely.distance(shape, edges.lines[near]).round(3)
    if _is_line(shape) or not len(near) or away.min() > read_tags()["alleys"]["one_name_m"]:
        return near[:0]
    alley = edges.alley[near[away.argmin()]]
    first, last = np.searchsorted(edges.alley, [alley, alley + 1], sorter=edges.by_alley)
    return edges.by_alley[first:last]


_FINDERS = {
    "a street of its name": _find_by_name,
    "a street along its line": _find_along,
    "the nearest unnamed alley": _find_unnamed,
}
"""How edges are found for a row that no alley matches, the surest first."""
