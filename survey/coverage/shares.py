"""The share of street that meets a rule, by subdistrict and around each fixed point."""

from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from survey import tables
from survey.coverage.rules import Rule
from survey.frame.frame import Frame
from survey.frame.lines import Floats, Ints
from survey.sampling.reach import CATCHMENT_RADII_M, reached_stretches


def measure_shares(
    frame: Frame,
    rule: Rule,
    checked: npt.NDArray[np.bool_],
    rows: pd.DataFrame,
    covered: gpd.GeoDataFrame,
) -> pd.DataFrame:
    """Measure shares of checked street that meets a rule.

    Around a point the street is that within 500, 1,000 and 2,000 m by the rule's own metric: on
    foot along streets from its doors, or by crow from its shape (grown by a polygon of 256 sides,
    so up to 4 cm per 500 m short of the circle).

    Parameters
    ----------
    frame
        What can be drawn.
    rule
        The rule.
    checked
        Which rows of the edges are checked.
    rows
        Covered intervals: ``edge, from_mm, to_mm``.
    covered
        The same as the table `covered`.

    Returns
    -------
    pandas.DataFrame
        The table `shares`; ``within_m`` is missing for a subdistrict, ``share`` where there is
        no checked street.
    """
    lines = frame.streets.edges.geometry.array[checked]
    parts = [
        _by_shape(lines, covered, frame.subdistricts.geometry.array).assign(
            scope="subdistrict", id=frame.subdistricts["subdistrict_id"].to_numpy(), within_m=np.nan
        )
    ]
    for radius in CATCHMENT_RADII_M:
        if rule.metric == "walk":
            part = _by_walk(frame, checked, rows, radius)
        else:
            discs = shapely.buffer(frame.points.geometry.array, radius, quad_segs=64)
            part = _by_shape(lines, covered, discs)
        ids = frame.points["point_id"].to_numpy()
        parts.append(part.assign(scope="point", id=ids, within_m=float(radius)))
    table = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
    some = table["checked_m"] > 0
    share = np.minimum(table["covered_m"].where(some) / table["checked_m"].where(some), 1)
    table = table.assign(rule_id=rule.rule_id, share=share, checked_n=np.nan, covered_n=np.nan)
    return tables.make("shares", table.sort_values(["scope", "id", "within_m"], kind="stable"))


def share_lengths(frame: Frame, rule: Rule, lines: Any, gaps: gpd.GeoDataFrame) -> pd.DataFrame:
    """Measure, by subdistrict, the share of the length of `lines` that lies outside `gaps`.

    Returns
    -------
    pandas.DataFrame
        The table `shares`.
    """
    shapes = frame.subdistricts.geometry.array
    total = tables.round_mm(_lengths_within(lines, shapes))
    covered = np.maximum(total - tables.round_mm(_lengths_within(gaps.geometry.array, shapes)), 0)
    empty = np.full(len(shapes), np.nan)
    share = np.divide(covered, total, out=empty.copy(), where=total > 0)
    made: pd.DataFrame = tables.make(
        "shares",
        {
            "rule_id": [rule.rule_id] * len(shapes),
            "scope": ["subdistrict"] * len(shapes),
            "id": frame.subdistricts["subdistrict_id"],
            "within_m": empty,
            "checked_m": total,
            "covered_m": tables.round_mm(covered),
            "checked_n": empty,
            "covered_n": empty,
            "share": share,
        },
    )
    return made


def _by_shape(lines: Any, covered: gpd.GeoDataFrame, shapes: Any) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "checked_m": tables.round_mm(_lengths_within(lines, shapes)),
            "covered_m": tables.round_mm(_lengths_within(covered.geometry.array, shapes)),
        }
    )


def _lengths_within(lines: Any, shapes: Any) -> Floats:
    """Total length of `lines` inside each of `shapes`."""
    shapely.prepare(shapes)
    shape, line = shapely.STRtree(lines).query(shapes, predicate="intersects")
    length = shapely.length(lines[line])
    cut = ~shapely.covers(shapes[shape], lines[line])
    length[cut] = shapely.length(shapely.intersection(lines[line[cut]], shapes[shape[cut]]))
    totals = np.bincount(shape, weights=length, minlength=len(shapes))
    return np.asarray(totals, dtype=np.float64)


def _by_walk(
    frame: Frame, checked: npt.NDArray[np.bool_], rows: pd.DataFrame, radius_m: float
) -> pd.DataFrame:
    """Measure on one axis of all edges end to end, where covered length is a running total."""
    length = frame.streets.length_mm
    base = np.cumsum(length) - length
    reached = reached_stretches(frame, radius_m)
    reached = reached[checked[reached["edge"]]]
    edge: Ints = reached["edge"].to_numpy()
    start, end = base[edge] + reached["from_mm"], base[edge] + reached["to_mm"]
    covered_edge: Ints = rows["edge"].to_numpy(dtype=np.int64)
    ends = np.c_[base[covered_edge] + rows["from_mm"], base[covered_edge] + rows["to_mm"]].ravel()
    total = np.repeat(np.cumsum(np.r_[0, (rows["to_mm"] - rows["from_mm"]).to_numpy()]), 2)[1:-1]
    ends, total = np.r_[-1.0, ends], np.r_[0.0, total]
    inside = np.interp(end, ends, total) - np.interp(start, ends, total)
    count = len(frame.points)
    point = reached["point"].to_numpy(dtype=np.int64)
    return pd.DataFrame(
        {
            "checked_m": np.rint(np.bincount(point, weights=end - start, minlength=count)) / 1000,
            "covered_m": np.rint(np.bincount(point, weights=inside, minlength=count)) / 1000,
        }
    )
