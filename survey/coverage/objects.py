"""Rules that are asked at fixed points or compounds, or per km2 of ground."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from survey import tables
from survey.coverage.rules import Rule
from survey.coverage.supply import find_facilities, view_supply
from survey.errors import NothingToCheckError
from survey.frame.frame import Frame
from survey.frame.lines import Floats, Ints
from survey.frame.network import search_nearest

GROUND_M = 250
"""Ground counts for a density where a public street is no farther than this."""


def check_objects(frame: Frame, rule: Rule) -> dict[str, Any]:
    """Check at each fixed point or compound how far the nearest facility is.

    On foot it is door to door along streets, by crow between the shapes. What has no door has no
    walking distance, and nothing within reach.

    Parameters
    ----------
    frame
        What can be drawn.
    rule
        A rule on points or compounds.

    Returns
    -------
    dict
        ``checks``, the table of this name; ``shares``, by subdistrict; ``numbers``, the share of
        objects that meet the rule, and its other end if all that the edge of the data leaves open
        went the other way.

    Raises
    ------
    NothingToCheckError
        If the area has nothing of the kind that the rule is asked at.
    """
    layer = rule.on.removesuffix("s")
    table = {"point": frame.points, "compound": frame.compounds}[layer]
    if rule.kinds:
        table = table[table["kind"].isin(rule.kinds)]
    if table.empty:
        what = f"points of kind {', '.join(rule.kinds)}" if rule.kinds else rule.on
        raise NothingToCheckError(f"rule {rule.rule_id}: the area has no {what} to ask it at")
    table = table.sort_values(f"{layer}_id", ignore_index=True)
    if rule.metric == "walk":
        distance, facility = _by_walk(frame, rule, layer, table[f"{layer}_id"])
    else:
        distance, facility = _by_crow(frame, rule, table.geometry.to_numpy())
    within = distance <= rule.reach_m
    met = ~within if rule.negative else within
    edge = shapely.distance(table.geometry.to_numpy(), frame.data_edge.boundary)
    near_edge = ~within & (edge < rule.reach_m)
    checks = tables.make(
        "checks",
        {
            "rule_id": [rule.rule_id] * len(table),
            "layer": [layer] * len(table),
            "id": table[f"{layer}_id"],
            "facility_id": facility,
            "distance_m": distance,
            "met": met,
            "near_edge": near_edge,
        },
    )
    sure = met & ~near_edge if rule.negative else met
    possible = met if rule.negative else met | near_edge
    numbers = _as_numbers(len(met), int(sure.sum()), high=int(possible.sum()))
    shares = _by_subdistrict(rule, frame, table["subdistrict_id"], sure)
    return {"checks": checks, "shares": shares, "numbers": numbers}


def _by_walk(
    frame: Frame, rule: Rule, layer: str, ids: "pd.Series[str]"
) -> tuple[Floats, npt.NDArray[Any]]:
    view = view_supply(frame, rule)
    supply = view.supply()["toilet_id"]
    distance_mm, nearest = search_nearest(view.network, view.sources("toilet", supply))
    doors = view.sources(layer, ids)
    total = distance_mm[doors.node] + doors.start_mm
    rows = pd.DataFrame({"number": doors.number, "total": total, "nearest": nearest[doors.node]})
    rows = rows[np.isfinite(rows["total"])].sort_values(["number", "total", "nearest"])
    best = rows.drop_duplicates("number")
    distance = np.full(len(ids), np.nan)
    facility = np.full(len(ids), None, dtype=object)
    distance[best["number"]] = tables.round_mm(best["total"] / 1000)
    facility[best["number"]] = supply.to_numpy()[best["nearest"].to_numpy(dtype=np.int64)]
    return distance, facility


def _by_crow(frame: Frame, rule: Rule, shapes: npt.NDArray[Any]) -> tuple[Floats, npt.NDArray[Any]]:
    found = find_facilities(frame, rule)
    distance = np.full(len(shapes), np.nan)
    facility = np.full(len(shapes), None, dtype=object)
    if len(found):
        tree = shapely.STRtree(found.geometry.to_numpy())
        (rows, near), metres = tree.query_nearest(shapes, return_distance=True, all_matches=True)
        best = pd.DataFrame({"row": rows, "near": near, "metres": metres})
        best = best.sort_values(["row", "near"]).drop_duplicates("row")
        distance[best["row"]] = tables.round_mm(best["metres"])
        facility[best["row"]] = found["facility_id"].to_numpy()[best["near"]]
    return distance, facility


def check_density(frame: Frame, rule: Rule) -> dict[str, Any]:
    """Check how many facilities there are per km2 of ground, in the area and by subdistrict.

    Ground is what lies in the area within 250 m of a checked street: sea, mountains and what the
    data do not show do not count. Facilities count where they stand inside the area.

    Parameters
    ----------
    frame
        What can be drawn.
    rule
        A rule on ground.

    Returns
    -------
    dict
        As `check_objects`, without checks. ``checked_n`` is the number that should be there,
        ``covered_n`` the number that is, as far as it counts.
    """
    edges = frame.streets.edges
    lines = edges.geometry.array[(edges["public"] & edges["inside"]).to_numpy()]
    around = shapely.union_all(shapely.buffer(lines, GROUND_M, quad_segs=4))
    ground = shapely.intersection(around, frame.area.shape)
    found = find_facilities(frame, rule)
    places = shapely.point_on_surface(found.geometry.to_numpy()[found["inside"].to_numpy()])
    wanted, there = _count_on(ground, places, rule)
    numbers = _as_numbers(wanted, min(wanted, there), high=min(wanted, there))
    parts = [
        (_count_on(shapely.intersection(ground, shape), places, rule), name)
        for shape, name in zip(
            frame.subdistricts.geometry, frame.subdistricts["subdistrict_id"], strict=True
        )
    ]
    shares = _as_shares(
        rule,
        [name for _, name in parts],
        np.array([counts[0] for counts, _ in parts]),
        np.array([min(counts) for counts, _ in parts]),
    )
    return {"shares": shares, "numbers": numbers}


def _count_on(ground: Any, places: npt.NDArray[Any], rule: Rule) -> tuple[float, float]:
    shapely.prepare(ground)
    wanted = float(shapely.area(ground)) / 1e6 * (rule.per_km2 or 0)
    return wanted, float(shapely.intersects(ground, places).sum())


def _as_numbers(checked: float, covered: float, *, high: float) -> dict[str, float]:
    return {
        "checked_n": float(checked),
        "covered_n": float(covered),
        "share": covered / checked if checked else 1.0,
        "share_high": high / checked if checked else 1.0,
    }


def _by_subdistrict(
    rule: Rule, frame: Frame, subdistrict: "pd.Series[str]", met: npt.NDArray[np.bool_]
) -> pd.DataFrame:
    ids = frame.subdistricts["subdistrict_id"]
    row: Ints = pd.Index(ids).get_indexer(pd.Index(subdistrict))
    known = row >= 0
    counts = np.bincount(row[known], minlength=len(ids))
    good = np.bincount(row[known & met], minlength=len(ids))
    return _as_shares(rule, list(ids), counts, good)


def _as_shares(rule: Rule, ids: list[str], checked: Any, covered: Any) -> pd.DataFrame:
    checked, covered = np.asarray(checked, dtype=float), np.asarray(covered, dtype=float)
    share = np.divide(covered, checked, out=np.full(len(ids), np.nan), where=checked > 0)
    empty = np.full(len(ids), np.nan)
    made: pd.DataFrame = tables.make(
        "shares",
        {
            "rule_id": [rule.rule_id] * len(ids),
            "scope": ["subdistrict"] * len(ids),
            "id": ids,
            "within_m": empty,
            "checked_m": empty,
            "covered_m": empty,
            "checked_n": checked,
            "covered_n": covered,
            "share": share,
        },
    )
    return made
