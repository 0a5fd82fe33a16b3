"""The audit: how many metres of street meet a distance rule, and where the gaps are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from survey import tables
from survey.coverage.checked import Checked
from survey.coverage.hours import select_supply
from survey.coverage.intervals import split_at_edge
from survey.coverage.main_roads import audit_main_roads
from survey.coverage.objects import check_density, check_objects
from survey.coverage.rules import Rule, find_rule, read_rules
from survey.coverage.shares import measure_shares
from survey.coverage.stretches import as_covered, as_gaps, join_intervals
from survey.coverage.supply import close_toilets, find_facilities, view_supply
from survey.errors import NothingToCheckError, RuleError
from survey.frame.cores import count_cores, open_threads
from survey.frame.frame import Frame
from survey.memory import give_back, large_work
from survey.summaries import write_summary

DEFAULT_RULES = ("walk-500", "crow-500")
"""The rules that are audited when none are named."""

_MOST_TOGETHER = 500_000  # edges; of more, two metrics at once take half a gigabyte more
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


@large_work()
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
    return _put_together(_audit_apart(frame, chosen, checked, min_share, moment))


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


def _audit_apart(
    frame: Frame,
    rules: Sequence[Rule],
    checked: npt.NDArray[np.bool_],
    min_share: float | None,
    moment: datetime | None,
) -> list[Audit]:
    """Audit rules of several metrics at the same time, where there are cores for it."""
    if moment is not None or any(rule.facility != "toilet" for rule in rules):
        _ = frame.network  # views of the frame share it
    # A shape works out its box when it is first asked; two threads must not ask for it at once.
    shapely.bounds(np.append(np.asarray(frame.subdistricts.geometry.array), frame.data_edge))
    streets = Checked(frame, checked)

    def audit(metric: str) -> list[Audit]:
        mine = [rule for rule in rules if rule.metric == metric]
        return [_audit_at(frame, rule, streets, min_share, moment) for rule in mine]

    # Rules of one metric build the same, so that they go through one thread.
    metrics = list(dict.fromkeys(rule.metric for rule in rules))
    cores = 1 if checked.sum() > _MOST_TOGETHER else count_cores()
    with open_threads(min(len(metrics), cores)) as pool:
        parts = {
            metric: iter(done)
            for metric, done in zip(metrics, pool.map(audit, metrics), strict=True)
        }
    return [next(parts[rule.metric]) for rule in rules]


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
    within, beyond = _cut_streets(frame, rule, checked)
    give_back()
    covered = as_covered(frame, rule, within)
    within = within[["edge", "from_mm", "to_mm"]]
    gaps = as_gaps(frame, rule, beyond)
    give_back()
    shares = measure_shares(frame, rule, checked, within)
    summary = _summarise(frame, rule, checked.edges, covered, gaps, min_share)
    give_back()
    return Audit(summary, covered, gaps, shares)


def _cut_streets(frame: Frame, rule: Rule, checked: Checked) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cut the checked streets into joined intervals within and beyond the limit."""
    within, beyond = [], []
    for part in checked.cut(frame, rule):
        within.append(join_intervals(part[part["covered"]], "toilet"))
        beyond.append(part[~part["covered"]])
    failing = split_at_edge(frame, pd.concat(beyond, ignore_index=True), rule)
    return pd.concat(within, ignore_index=True), join_intervals(failing, "near_edge")


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
