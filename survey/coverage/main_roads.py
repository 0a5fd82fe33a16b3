"""Rules that are asked of whoever walks along a main or secondary road."""

from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from survey import tables
from survey.coverage.rules import Rule
from survey.coverage.shares import share_lengths
from survey.coverage.spacing import measure_spacing
from survey.errors import NothingToCheckError
from survey.frame.frame import Frame
from survey.frame.lines import cut_lines
from survey.frame.places import join_subdistrict


def audit_main_roads(frame: Frame, rule: Rule) -> dict[str, Any]:
    """Audit how often a facility is met along main and secondary roads.

    Parameters
    ----------
    frame
        The frame as the rule sees it (`view_supply`).
    rule
        A rule with metric spacing.

    Returns
    -------
    dict
        ``numbers``: ``checked_m``, the starts from which a walk of the limit is possible, end to
        end; ``covered_m``, those whose walk meets a facility; ``near_edge_gap_m``. ``gaps``: the
        stretches of road longer than the limit between facilities, a row per edge, where
        ``worst_m`` is the whole stretch. ``shares``: by subdistrict, of the length of the roads
        what lies outside gaps.

    Raises
    ------
    NothingToCheckError
        If the area has no such road, or none as long as the limit.
    """
    supply = frame.supply().rename(columns={"toilet_id": "facility_id"})
    found = measure_spacing(frame, supply, limit_m=rule.reach_m, beside_m=rule.beside_m)
    if not found.checked_m > 0:
        raise NothingToCheckError(
            f"rule {rule.rule_id}: no main or secondary road of the area is as long as"
            f" {rule.reach_m:g} m"
        )
    covered_m = float(tables.round_mm(found.checked_m - found.failing_m))
    high_m = float(tables.round_mm(found.share_high * found.checked_m))
    gaps = _as_gaps(frame, rule, found.gaps, supply)
    return {
        "numbers": {
            "checked_m": float(tables.round_mm(found.checked_m)),
            "covered_m": covered_m,
            "share": found.share,
            "share_high": found.share_high,
            "near_edge_gap_m": max(0.0, float(tables.round_mm(high_m - covered_m))),
            "unconnected_gap_m": 0.0,
        },
        "gaps": gaps,
        "shares": share_lengths(frame, rule, found.routes.geometry.array, gaps),
    }


def _as_gaps(frame: Frame, rule: Rule, rows: pd.DataFrame, supply: gpd.GeoDataFrame) -> Any:
    crs = frame.area.crs
    if rows.empty:
        return tables.empty("gaps", crs=crs)
    edge = rows["edge"].to_numpy(dtype=np.int64)
    length = frame.streets.length_mm[edge]
    start, end = rows["from_mm"].to_numpy(), rows["to_mm"].to_numpy()
    shapes = cut_lines(frame.streets.edges.geometry.array[edge], start / length, end / length)
    ids = np.full(len(rows), None, dtype=object)
    nearest = rows["facility"].to_numpy(dtype=np.int64)
    ids[nearest >= 0] = supply["facility_id"].to_numpy()[nearest[nearest >= 0]]
    edge_id = frame.streets.rows.to_numpy()[edge]
    begins = pd.Series(start / 1000).map("{:.3f}".format)
    gap_id = rule.rule_id + "/" + pd.Series(edge_id, dtype="str") + "@" + begins
    lines = gpd.GeoDataFrame(geometry=np.asarray(shapes), crs=crs)
    return tables.make(
        "gaps",
        {
            "gap_id": gap_id,
            "rule_id": [rule.rule_id] * len(rows),
            "stretch_id": gap_id.groupby(rows["stretch"].to_numpy()).transform("min"),
            "edge_id": edge_id,
            "from_m": start / 1000,
            "to_m": end / 1000,
            "length_m": (end - start) / 1000,
            "worst_m": tables.round_mm(rows["stretch_m"]),
            "toilet_id": ids,
            "name": frame.streets.edges["name"].to_numpy()[edge],
            "subdistrict_id": join_subdistrict(lines, frame.subdistricts),
            "near_edge": rows["near_edge"].to_numpy(dtype=bool),
            "geometry": np.asarray(shapely.force_2d(shapes)),
        },
        crs=crs,
    )
