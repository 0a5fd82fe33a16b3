"""The tables of covered stretches of street and of gaps, made of intervals."""

from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from survey import tables
from survey.coverage.rules import Rule
from survey.frame.frame import Frame
from survey.frame.lines import Ints, cut_lines
from survey.frame.places import join_subdistrict


def join_intervals(intervals: pd.DataFrame, same: str) -> pd.DataFrame:
    """Join neighbours on an edge that agree in `same`; the worst place gives the toilet."""
    edge, start, stop, toilet, kind = (
        intervals[name].to_numpy() for name in ("edge", "from_mm", "to_mm", "toilet", same)
    )
    worst = np.fmax(intervals["near_mm"].to_numpy(), intervals["far_mm"].to_numpy())
    change = (stop[:-1] != start[1:]) | (edge[1:] != edge[:-1]) | (kind[1:] != kind[:-1])
    first = np.flatnonzero(np.r_[True, change][: len(edge)])
    group = np.repeat(np.arange(len(first)), np.diff(np.r_[first, len(edge)]))
    head = np.lexsort((toilet, -worst, group))[first]
    kept = ["edge", "toilet"] if same == "toilet" else ["edge", "toilet", same]
    return (
        intervals[kept]
        .iloc[head]
        .assign(
            from_mm=start[first],
            to_mm=stop[np.r_[first[1:], len(edge)][: len(first)] - 1],
            worst_mm=worst[head],
        )
    )


def _columns(frame: Frame, rule: Rule, rows: pd.DataFrame) -> dict[str, Any]:
    """Make the columns that covered stretches and gaps have in common."""
    edge = rows["edge"].to_numpy(dtype=np.int64)
    toilet = rows["toilet"].to_numpy(dtype=np.int64)
    return {
        "rule_id": np.full(len(rows), rule.rule_id, dtype=object),
        # Taken out of columns of text, which need not be gone through again.
        "edge_id": frame.streets.edges["edge_id"].array.take(edge),
        "toilet_id": frame.supply()["toilet_id"].array.take(toilet, allow_fill=True),
        "from_m": rows["from_mm"].to_numpy() / 1000,
        "to_m": rows["to_mm"].to_numpy() / 1000,
        "length_m": (rows["to_mm"] - rows["from_mm"]).to_numpy() / 1000,
        "worst_m": tables.round_mm(rows["worst_mm"].to_numpy(dtype=float) / 1000),
        "geometry": _draw(frame, edge, rows["from_mm"].to_numpy(), rows["to_mm"].to_numpy()),
    }


def _draw(frame: Frame, edge: Ints, start: Ints, stop: Ints) -> npt.NDArray[Any]:
    """Draw stretches of edges; what is not cut is drawn already."""
    lines, length = np.asarray(frame.streets.edges.geometry.array)[edge], frame.streets.length_mm
    cut = np.flatnonzero((start > 0) | (stop < length[edge]))
    whole = length[edge[cut]]
    lines[cut] = cut_lines(lines[cut], start[cut] / whole, stop[cut] / whole)
    return lines


def as_covered(frame: Frame, rule: Rule, rows: pd.DataFrame) -> gpd.GeoDataFrame:
    """Make the table `covered` of joined intervals."""
    if not len(rows):
        return tables.empty("covered", crs=frame.area.crs)
    edge, start = rows["edge"].to_numpy(), rows["from_mm"].to_numpy()
    # Where these rise together, no stretch stands there twice.
    rising = (np.diff(edge) > 0) | ((np.diff(edge) == 0) & (np.diff(start) > 0))
    columns = _columns(frame, rule, rows)
    return tables.make("covered", columns, crs=frame.area.crs, key=not rising.all())


def as_gaps(frame: Frame, rule: Rule, rows: pd.DataFrame) -> gpd.GeoDataFrame:
    """Make the table `gaps` of joined intervals with ``near_edge``."""
    crs = frame.area.crs
    if not len(rows):
        return tables.empty("gaps", crs=crs)
    columns = _columns(frame, rule, rows)
    edge = rows["edge"].to_numpy(dtype=np.int64)
    starts = zip(columns["edge_id"], columns["from_m"], strict=True)
    gap_id = np.array([f"{rule.rule_id}/{name}@{at:.3f}" for name, at in starts], dtype=object)
    shapes = gpd.GeoDataFrame(geometry=columns["geometry"], crs=crs)
    return tables.make(
        "gaps",
        {
            **columns,
            "gap_id": gap_id,
            "stretch_id": _find_stretches(frame, rows, gap_id),
            "name": frame.streets.edges["name"].to_numpy()[edge],
            "subdistrict_id": join_subdistrict(shapes, frame.subdistricts),
            "near_edge": rows["near_edge"].to_numpy(dtype=bool),
        },
        crs=crs,
    )


def _find_stretches(frame: Frame, rows: pd.DataFrame, gap_id: npt.NDArray[Any]) -> Any:
    """Find which gaps touch and share a street; a stretch is called after its first gap."""
    streets, count = frame.streets, len(rows)
    edge = rows["edge"].to_numpy(dtype=np.int64)
    facts = streets.edges.iloc[edge]
    street = pd.factorize(facts["name"].fillna(facts["alley_id"]).fillna(facts["way_id"]))[0]
    # Gaps meet at a node of their street, or inside an edge: there on an axis of all edges.
    size, base = len(streets.nodes), np.cumsum(streets.length_mm)[edge]
    base = base - streets.length_mm[edge]
    joints = []
    for node, name in zip(streets.ends, ("from_mm", "to_mm"), strict=True):
        at = rows[name].to_numpy()
        at_node = (at == 0) | (at == streets.length_mm[edge])
        joints.append(np.where(at_node, street * size + node[edge], -1 - base - at))
    joint = np.unique(np.concatenate(joints), return_inverse=True)[1]
    owner = np.tile(np.arange(count), 2)
    shape = (count + joint.max() + 1,) * 2
    graph = coo_array((np.ones(2 * count), (owner, count + joint)), shape=shape)
    label = connected_components(graph, directed=False)[1][:count]
    by = np.argsort(label, kind="stable")
    first = np.flatnonzero(np.r_[True, label[by][1:] != label[by][:-1]])
    number = np.unique(label, return_inverse=True)[1]
    return np.minimum.reduceat(gap_id[by], first)[number]
