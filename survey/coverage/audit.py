"""The audit: how many metres of street meet a distance rule, and where the gaps are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from survey import tables
from survey.coverage.hours import select_supply
from survey.coverage.intervals import measure_by_crow, measure_by_walk, split_at_edge
from survey.coverage.main_roads import audit_main_roads
from survey.coverage.objects import check_density, check_objects
from survey.coverage.rules import Rule, find_rule, read_rules
from survey.coverage.shares import Checked, measure_shares
from survey.coverage.supply import close_toilets, find_facilities, view_supply
from survey.errors import NothingToCheckError, RuleError
from survey.frame.frame import Frame
from survey.frame.lines import Ints, cut_lines
from survey.frame.places import join_subdistrict
from survey.summaries import write_summary

DEFAULT_RULES = ("walk-500", "crow-500")
"""The rules that are audited when none are named."""

_SLACK = 1e-9
_METRES = ("checked_m", "covered_m", "near_edge_gap_m", "unconnected_gap_m")


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
    checks
        How far the nearest facility is from each fixed point or compound that a rule asks.
    notes
        What a reader should know, such as rules that cannot be judged.
    """

    summary: pd.DataFrame
    covered: gpd.GeoDataFrame
    gaps: gpd.GeoDataFrame
    shares: pd.DataFrame
    checks: pd.DataFrame = field(default_factory=lambda: tables.empty("checks"))
    notes: tuple[str, ...] = ()

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
            "checks": self.checks,
        }

    def _repr_html_(self) -> str:
        rows = [
            (
                row.rule_id,
                row.title,
                f"{row.share:.1%} to {row.share_high:.1%}",
                f"of {describe_checked(row)}",
                self._describe_gaps(row.rule_id),
            )
            for row in self.summary.itertuples()
        ]
        return write_summary("Audit", rows, notes=self.notes)

    def _describe_gaps(self, rule_id: str) -> str:
        gaps = self.gaps[self.gaps["rule_id"] == rule_id]
        metres = gaps.groupby("stretch_id")["length_m"].sum()
        return f"{len(metres):,} gaps, the longest {metres.max():,.0f} m" if len(metres) else ""


def describe_checked(row: Any) -> str:
    """Say in words what a row of the table `audit` was asked of."""
    if row.on == "streets":
        return f"{row.checked_m / 1000:.1f} km of street"
    if row.on == "main":
        return f"{row.checked_m / 1000:.1f} km of walks along main roads"
    if row.on == "ground":
        return f"the {row.checked_n:.1f} that there should be"
    return f"{row.checked_n:.0f} {row.on}"


def audit_coverage(
    frame: Frame,
    *,
    rules: Sequence[str | Rule] = DEFAULT_RULES,
    min_share: float | None = None,
    moment: datetime | None = None,
) -> Audit:
    """Measure where a toilet, or another facility, is within the limit of each rule.

    On streets it is exact on every edge: checked are the public edges inside the area, each metre
    once. With no toilet at all every metre fails.

    Parameters
    ----------
    frame
        What `build_frame` made; its toilets of status public and opened are the supply.
    rules
        Ids of rules, or rules of one's own.
    min_share
        The share from which a rule counts as met; 1 if absent.
    moment
        When the toilets are to be open. Those whose hours are not known count as closed in
        ``share`` and as open in ``share_high``.

    Returns
    -------
    Audit

    Raises
    ------
    RuleError
        If a rule is unknown or named twice, none is named, or `min_share` is not within 0 to 1.
    NothingToCheckError
        If the area has nothing that a rule is asked of.
    """
    chosen = [rule if isinstance(rule, Rule) else find_rule(rule) for rule in rules]
    names = [rule.rule_id for rule in chosen]
    if not names or len(set(names)) != len(names):
        raise RuleError(f"name each rule once, not {names}")
    if min_share is not None and not 0 <= min_share <= 1:
        raise RuleError(f"min_share is {min_share}; give a share from 0 to 1, such as 0.95")
    checked = (frame.streets.edges["public"] & frame.streets.edges["inside"]).to_numpy()
    if not frame.streets.length_mm[checked].sum():
        raise NothingToCheckError(
            "there is no public street in the area to check; look at the frame first"
        )
    streets = Checked(frame, checked)
    return _put_together([_audit_at(frame, rule, streets, min_share, moment) for rule in chosen])


def audit_all(
    frame: Frame,
    *,
    rules: Mapping[str, Rule] | None = None,
    min_share: float | None = None,
    moment: datetime | None = None,
) -> Audit:
    """Audit every rule that the data can judge; the notes say which cannot be judged, and why.

    Parameters
    ----------
    frame, min_share, moment
        As for `audit_coverage`.
    rules
        The rules by id; those that the package knows if absent.

    Returns
    -------
    Audit

    Raises
    ------
    RuleError
        If no rule can be judged, or `min_share` is not within 0 to 1.
    """
    found, notes = [], []
    for rule in (read_rules() if rules is None else rules).values():
        if rule.facility != "toilet" and find_facilities(frame, rule).empty:
            notes.append(f"{rule.rule_id} cannot be judged: the data hold no {rule.facility}")
            continue
        try:
            found.append(audit_coverage(frame, rules=[rule], min_share=min_share, moment=moment))
        except NothingToCheckError as fault:
            notes.append(f"{rule.rule_id} cannot be judged: {fault}")
    if not found:
        raise RuleError(f"no rule can be judged: {'; '.join(notes) or 'there are none'}")
    audit = _put_together(found)
    return replace(audit, notes=(*audit.notes, *notes))


def _put_together(found: Sequence[Audit]) -> Audit:
    names = ("summary", "covered", "gaps", "shares", "checks")
    parts = {
        name: pd.concat([getattr(part, name) for part in found], ignore_index=True)
        for name in names
    }
    notes = dict.fromkeys(note for part in found for note in part.notes)
    return Audit(**parts, notes=tuple(notes))


def _audit_at(
    frame: Frame,
    rule: Rule,
    checked: Checked,
    min_share: float | None,
    moment: datetime | None,
) -> Audit:
    """Audit a rule with the toilets that are open for certain, and with those that may be."""
    if moment is None or rule.facility != "toilet":
        return _audit_rule(frame, rule, checked, min_share)
    supply = select_supply(frame.toilets, moment=moment)
    ids = frame.toilets["toilet_id"]
    sure = _audit_rule(close_toilets(frame, ids[~supply.open]), rule, checked, min_share)
    may_be = close_toilets(frame, ids[~(supply.open | supply.unknown)])
    high = _audit_rule(may_be, rule, checked, min_share).summary["share_high"]
    return replace(sure, summary=sure.summary.assign(share_high=high), notes=supply.notes)


def _audit_rule(frame: Frame, rule: Rule, checked: Checked, min_share: float | None) -> Audit:
    if rule.on == "streets":
        return _audit_streets(view_supply(frame, rule), rule, checked, min_share)
    crs = frame.area.crs
    if rule.on == "main":
        found = audit_main_roads(view_supply(frame, rule), rule)
        numbers = found["numbers"] | dict.fromkeys(("checked_n", "covered_n"), np.nan)
    else:
        ask = check_density if rule.on == "ground" else check_objects
        found = ask(frame, rule)
        numbers = found["numbers"] | dict.fromkeys(_METRES, np.nan)
    wanted = 1.0 if min_share is None else min_share
    facts: dict[str, Any] = {"rule_id": rule.rule_id, "title": rule.title, "metric": rule.metric}
    facts |= {"facility": rule.facility, "on": rule.on, "limit_m": rule.limit_m}
    row = facts | numbers | {"met": numbers["share"] >= wanted - _SLACK}
    return Audit(
        tables.make("audit", pd.DataFrame([row])),
        tables.empty("covered", crs=crs),
        found.get("gaps", tables.empty("gaps", crs=crs)),
        found["shares"],
        found.get("checks", tables.empty("checks")),
    )


def _audit_streets(frame: Frame, rule: Rule, checked: Checked, min_share: float | None) -> Audit:
    measure = measure_by_walk if rule.metric == "walk" else measure_by_crow
    intervals = measure(frame, checked.edges, rule.reach_m)
    near = intervals["covered"].to_numpy()
    rows = _join(intervals[near], "toilet")
    covered = _as_covered(frame, rule, rows)
    failing = split_at_edge(frame, intervals[~near], rule)
    gaps = _as_gaps(frame, rule, _join(failing, "near_edge"))
    shares = measure_shares(frame, rule, checked, rows)
    summary = _summarise(frame, rule, checked.edges, covered, gaps, min_share)
    return Audit(summary, covered, gaps, shares)


def _join(intervals: pd.DataFrame, same: str) -> pd.DataFrame:
    """Join neighbours on an edge that agree in `same`; the worst place gives the toilet."""
    edge, start, stop, toilet, kind = (
        intervals[name].to_numpy() for name in ("edge", "from_mm", "to_mm", "toilet", same)
    )
    worst = np.fmax(intervals["near_mm"].to_numpy(), intervals["far_mm"].to_numpy())
    change = (stop[:-1] != start[1:]) | (edge[1:] != edge[:-1]) | (kind[1:] != kind[:-1])
    first = np.flatnonzero(np.r_[True, change][: len(edge)])
    group = np.repeat(np.arange(len(first)), np.diff(np.r_[first, len(edge)]))
    head = np.lexsort((toilet, -worst, group))[first]
    return intervals.iloc[head].assign(
        from_mm=start[first],
        to_mm=stop[np.r_[first[1:], len(edge)][: len(first)] - 1],
        worst_mm=worst[head],
    )


def _columns(frame: Frame, rule: Rule, rows: pd.DataFrame) -> dict[str, Any]:
    """Make the columns that covered stretches and gaps have in common."""
    edge = rows["edge"].to_numpy(dtype=np.int64)
    supply = frame.supply()["toilet_id"].to_numpy()
    toilet = rows["toilet"].to_numpy(dtype=np.int64)
    ids = np.full(len(rows), None, dtype=object)
    ids[toilet >= 0] = supply[toilet[toilet >= 0]]
    return {
        "rule_id": np.full(len(rows), rule.rule_id, dtype=object),
        "edge_id": frame.streets.rows.to_numpy()[edge],
        "toilet_id": ids,
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
            "facility": [rule.facility],
            "on": [rule.on],
            "limit_m": [rule.limit_m],
            "checked_m": [checked_m],
            "covered_m": [covered_m],
            "checked_n": [np.nan],
            "covered_n": [np.nan],
            "share": [covered_m / checked_m],
            "near_edge_gap_m": [near_edge_m],
            "unconnected_gap_m": [_total(gaps.loc[gaps["worst_m"].isna(), "length_m"])],
            "share_high": [tables.round_mm(covered_m + near_edge_m) / checked_m],
            "met": [covered_m >= tables.round_mm(wanted * checked_m)],
        },
    )


def _total(metres: "pd.Series[float]") -> float:
    return float(tables.round_mm(metres.sum()))
