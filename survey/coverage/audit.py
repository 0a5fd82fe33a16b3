"""The audit: how many metres of street meet a distance rule, and where the gaps are."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from survey import tables
from survey.coverage.intervals import measure_by_crow, measure_by_walk, split_at_edge
from survey.coverage.rules import Rule, find_rule
from survey.coverage.shares import measure_shares
from survey.errors import RuleError
from survey.frame.frame import Frame
from survey.frame.lines import cut_lines
from survey.frame.places import join_subdistrict

DEFAULT_RULES = ("walk-500", "crow-500")
"""The rules that are audited when none are named."""


@dataclass(frozen=True, eq=False)
class Audit:
    """What an audit found, as tables of the data contract.

    Attributes
    ----------
    summary
        The table `audit`: one row per rule.
    covered, gaps
        Stretches of street within and beyond the limit.
    shares
        The share that meets a rule, by subdistrict and around each fixed point.
    """

    summary: pd.DataFrame
    covered: gpd.GeoDataFrame
    gaps: gpd.GeoDataFrame
    shares: pd.DataFrame

    @property
    def met(self) -> bool:
        """Whether every rule is met."""
        return bool(self.summary["met"].all())

    @property
    def tables(self) -> dict[str, Any]:
        """The tables by name."""
        return {
            "audit": self.summary,
            "covered": self.covered,
            "gaps": self.gaps,
            "shares": self.shares,
        }

    def _repr_html_(self) -> str:
        lines = (
            f"<tr><td>{escape(row.title)}</td><td>{row.share:.1%} to {row.share_high:.1%}"
            f" of {row.checked_m / 1000:.1f} km of street</td></tr>"
            for row in self.summary.itertuples()
        )
        return f"<table>{''.join(lines)}</table>"


def audit_coverage(
    frame: Frame, *, rules: Sequence[str] = DEFAULT_RULES, min_share: float | None = None
) -> Audit:
    """Measure on which metres of street a toilet is within the limit, exactly on every edge.

    Checked are the public edges inside the area, each metre once. With no toilet at all every
    metre fails.

    Parameters
    ----------
    frame
        What `build_frame` made; its toilets of status public and opened are the supply.
    rules
        Ids of rules.
    min_share
        The share of street from which a rule counts as met; 1 if absent.

    Returns
    -------
    Audit

    Raises
    ------
    RuleError
        If a rule is unknown or named twice, none is named, `min_share` is not within 0 to 1, or
        the area has no public street.
    """
    if not rules or len(set(rules)) != len(rules):
        raise RuleError(f"name each rule once, not {list(rules)}")
    if min_share is not None and not 0 <= min_share <= 1:
        raise RuleError(f"min_share is {min_share}; give a share from 0 to 1, such as 0.95")
    checked = (frame.streets.edges["public"] & frame.streets.edges["inside"]).to_numpy()
    checked_mm = int(frame.streets.length_mm[checked].sum())
    if checked_mm == 0:
        raise RuleError("there is no public street in the area to check; look at the frame first")
    found = [_audit_rule(frame, find_rule(rule), checked, min_share) for rule in rules]
    return Audit(
        pd.concat([part.summary for part in found], ignore_index=True),
        pd.concat([part.covered for part in found], ignore_index=True),
        pd.concat([part.gaps for part in found], ignore_index=True),
        pd.concat([part.shares for part in found], ignore_index=True),
    )


def _audit_rule(
    frame: Frame, rule: Rule, checked: npt.NDArray[np.bool_], min_share: float | None
) -> Audit:
    measure = measure_by_walk if rule.metric == "walk" else measure_by_crow
    intervals = measure(frame, checked, rule.limit_m)
    near = intervals["covered"].to_numpy()
    rows = _join(intervals[near], ["edge", "toilet"])
    covered = _as_covered(frame, rule, rows)
    gaps = _as_gaps(
        frame,
        rule,
        _join(split_at_edge(frame, intervals[~near], rule), ["edge", "near_edge"]),
    )
    shares = measure_shares(frame, rule, checked, rows, covered)
    summary = _summarise(frame, rule, checked, covered, gaps, min_share)
    return Audit(summary, covered, gaps, shares)


def _join(intervals: pd.DataFrame, same: list[str]) -> pd.DataFrame:
    """Join neighbours on an edge that agree in `same`; the worst place gives the toilet."""
    rows = intervals.reset_index(drop=True)
    worst = rows[["near_mm", "far_mm"]].max(axis=1)
    ends = rows["to_mm"].shift() != rows["from_mm"]
    group = (ends | (rows[same] != rows[same].shift()).any(axis=1)).cumsum()
    rows = rows.assign(worst_mm=worst, group=group)
    order = rows.sort_values(["group", "worst_mm", "toilet"], ascending=[True, False, True])
    head = order.groupby("group", sort=True).first()
    grouped = rows.groupby("group", sort=True)
    return head.assign(from_mm=grouped["from_mm"].min(), to_mm=grouped["to_mm"].max()).reset_index(
        drop=True
    )


def _columns(frame: Frame, rule: Rule, rows: pd.DataFrame) -> dict[str, Any]:
    """Make the columns that covered stretches and gaps have in common."""
    edge = rows["edge"].to_numpy(dtype=np.int64)
    supply = frame.supply()["toilet_id"].to_numpy()
    toilet = rows["toilet"].to_numpy(dtype=np.int64)
    ids = np.full(len(rows), None, dtype=object)
    ids[toilet >= 0] = supply[toilet[toilet >= 0]]
    length = frame.streets.length_mm[edge]
    return {
        "rule_id": np.full(len(rows), rule.rule_id, dtype=object),
        "edge_id": frame.streets.rows.to_numpy()[edge],
        "toilet_id": ids,
        "from_m": rows["from_mm"].to_numpy() / 1000,
        "to_m": rows["to_mm"].to_numpy() / 1000,
        "length_m": (rows["to_mm"] - rows["from_mm"]).to_numpy() / 1000,
        "worst_m": tables.round_mm(rows["worst_mm"].to_numpy(dtype=float) / 1000),
        "geometry": cut_lines(
            frame.streets.edges.geometry.array[edge],
            rows["from_mm"].to_numpy() / length,
            rows["to_mm"].to_numpy() / length,
        ),
    }


def _as_covered(frame: Frame, rule: Rule, rows: pd.DataFrame) -> gpd.GeoDataFrame:
    if not len(rows):
        return tables.empty("covered", crs=frame.area.crs)
    return tables.make("covered", _columns(frame, rule, rows), crs=frame.area.crs)


def _as_gaps(frame: Frame, rule: Rule, rows: pd.DataFrame) -> gpd.GeoDataFrame:
    crs = frame.area.crs
    if not len(rows):
        return tables.empty("gaps", crs=crs)
    columns = _columns(frame, rule, rows)
    edge = rows["edge"].to_numpy(dtype=np.int64)
    starts = pd.Series(columns["from_m"]).map("{:.3f}".format)
    gap_id = rule.rule_id + "/" + pd.Series(columns["edge_id"], dtype="str") + "@" + starts
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


def _find_stretches(frame: Frame, rows: pd.DataFrame, gap_id: "pd.Series[str]") -> Any:
    """Find which gaps touch and share a street; a stretch is called after its first gap."""
    edge = rows["edge"].to_numpy(dtype=np.int64)
    facts = frame.streets.edges.iloc[edge]
    street = facts["name"].fillna(facts["alley_id"]).fillna(facts["way_id"]).to_numpy()
    ends: list[tuple[int, Any]] = []
    length = frame.streets.length_mm[edge]
    for side, at in (("u", rows["from_mm"].to_numpy()), ("v", rows["to_mm"].to_numpy())):
        node = facts[side].to_numpy()
        at_node = (at == 0) | (at == length)
        ends += [
            (row, (street[row], node[row]) if at_node[row] else (edge[row], int(at[row])))
            for row in range(len(rows))
        ]
    joint = pd.factorize(pd.Series([end for _, end in ends]))[0]
    owner = np.array([row for row, _ in ends])
    size = len(rows) + joint.max() + 1
    graph = coo_array((np.ones(len(owner)), (owner, len(rows) + joint)), shape=(size, size))
    label = connected_components(graph, directed=False)[1][: len(rows)]
    return gap_id.groupby(label).transform("min")


def _summarise(
    frame: Frame,
    rule: Rule,
    checked: npt.NDArray[np.bool_],
    covered: gpd.GeoDataFrame,
    gaps: gpd.GeoDataFrame,
    min_share: float | None,
) -> pd.DataFrame:
    checked_m = int(frame.streets.length_mm[checked].sum()) / 1000
    covered_m = _total(covered["length_m"])
    near_edge_m = _total(gaps.loc[gaps["near_edge"], "length_m"])
    wanted = 1.0 if min_share is None else min_share
    return tables.make(
        "audit",
        {
            "rule_id": [rule.rule_id],
            "title": [rule.title],
            "metric": [rule.metric],
            "limit_m": [rule.limit_m],
            "checked_m": [checked_m],
            "covered_m": [covered_m],
            "share": [covered_m / checked_m],
            "near_edge_gap_m": [near_edge_m],
            "unconnected_gap_m": [_total(gaps.loc[gaps["worst_m"].isna(), "length_m"])],
            "share_high": [tables.round_mm(covered_m + near_edge_m) / checked_m],
            "met": [covered_m >= tables.round_mm(wanted * checked_m)],
        },
    )


def _total(metres: "pd.Series[float]") -> float:
    return float(tables.round_mm(metres.sum()))
