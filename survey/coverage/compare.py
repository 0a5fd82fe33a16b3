"""Two audits compared: what got better or worse, metre by metre, and what only the map did."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from survey import tables
from survey.coverage.matching import CHANGES, StreetMap, align_maps, compare_intervals
from survey.errors import AreaError, RuleError, TableError
from survey.frame.lines import cut_lines
from survey.frame.places import join_subdistrict
from survey.frame.streets import to_mm

NEEDED = ("edges", "covered", "gaps", "audit", "shares", "toilets", "subdistricts")
"""The tables that a comparison takes of each workspace."""

ROUNDING_MM = 10
"""A new junction moves every distance behind it by up to 1 mm, as the length of each edge is
rounded; between maps whose edges differ, changes shorter than this are told as rounding."""

_TOTALS = ("better_m", "worse_m", "new_m", "new_covered_m", "lost_m", "lost_covered_m")
_DETAILS = ("access", "fee", "opening_hours")


@dataclass(frozen=True, eq=False)
class Comparison:
    """What changed between two audits.

    Attributes
    ----------
    rules
        One row per rule: ``rule_id, title, metric, limit_m``; ``share_before, share_after,
        covered_before_m, covered_after_m``; on street that matches ``better_m, worse_m``; of
        street that only one map checks ``new_m, lost_m`` and how much of it is covered there,
        ``new_covered_m, lost_covered_m``; and ``rounding_m``, 0 where the edges are the same, so
        that covered_after - covered_before = better - worse + new_covered - lost_covered +
        rounding. For a rule that is not asked on all streets the lengths are missing.
    subdistricts
        One row per rule and subdistrict where something changed: ``rule_id, subdistrict_id,
        name, share_before, share_after`` and the six lengths from ``better_m`` on, each stretch
        counted whole where its middle lies; ``subdistrict_id`` is missing outside all of them.
    toilets
        ``toilet_id, name``; ``change``: added, lost or changed; ``status_before, status_after``;
        ``detail``: what else differs.
    stretches
        ``rule_id``; ``change``, one of `matching.CHANGES`; ``covered``: whether it is now, for a
        lost street whether it was; ``edge_id, from_m, to_m, length_m, name, subdistrict_id``,
        LineString. Edge and offsets are the new map's, for a lost street the old map's.
    only_old, only_new
        Ids of rules that only one side audited; they are not compared.
    notes
        What a reader should know.
    """

    rules: pd.DataFrame
    subdistricts: pd.DataFrame
    toilets: pd.DataFrame
    stretches: gpd.GeoDataFrame
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def is_worse(self) -> bool:
        """Whether street that matches fails a rule now and did not before."""
        return bool((self.rules["worse_m"] > 0).any())

    def _repr_html_(self) -> str:
        lines = []
        for row in self.rules.itertuples():
            metres = f"worse {row.worse_m:,.0f} m, better {row.better_m:,.0f} m"
            lines.append(
                f"<tr><td>{escape(row.title)}</td><td>{row.share_before:.1%} to"
                f" {row.share_after:.1%}</td><td>{'' if pd.isna(row.worse_m) else metres}</td></tr>"
            )
        return f"<table>{''.join(lines)}</table>"


def compare_audits(
    old: Mapping[str, Any], new: Mapping[str, Any], *, rules: Sequence[str] | None = None
) -> Comparison:
    """Compare two audits, metre by metre where their streets match.

    How streets are matched is said in `survey.coverage.matching`.

    Parameters
    ----------
    old, new
        The tables `NEEDED` by name; and, for a note where they differ, the `Area` as ``area``.
    rules
        Ids of rules that both audited; all of those if absent.

    Returns
    -------
    Comparison

    Raises
    ------
    RuleError
        If a rule has another facility, metric or limit on the two sides, one that is named was not
        audited on both, or the two have no rule in common.
    AreaError
        If the two are in different projections.
    TableError
        If the stretches of a rule do not add up to its audit, or lie on unknown edges.
    ArithmeticError
        If the changes do not add up to the difference of the audits, which is a bug.
    """
    edges = old["edges"], new["edges"]
    if edges[0].crs != edges[1].crs:
        raise AreaError(
            f"the old map is in {edges[0].crs.name!r}, the new one in {edges[1].crs.name!r}; build"
            " both with the same area, which sets the projection"
        )
    before, after = (side["audit"].set_index("rule_id") for side in (old, new))
    least_mm = 0 if _have_same_edges(*edges) else ROUNDING_MM
    rows, parts = _compare_rules(old, new, _choose_rules(before, after, rules), least_mm)
    stretches = _as_stretches(parts, old, new)
    compared = _as_rules(rows, stretches)
    only = before.index.difference(after.index), after.index.difference(before.index)
    return Comparison(
        compared,
        _by_subdistrict(stretches, old, new),
        _compare_toilets(old["toilets"], new["toilets"]),
        stretches,
        tuple(only[0]),
        tuple(only[1]),
        tuple(_write_notes(old, new, compared, least_mm)),
    )


def _compare_rules(
    old: Mapping[str, Any], new: Mapping[str, Any], chosen: Sequence[str], least_mm: int
) -> tuple[list[dict[str, Any]], list[pd.DataFrame]]:
    """Compare rule by rule: rows of the table `rules`, and the stretches that changed."""
    old_map, new_map = align_maps(*(StreetMap.read(side["edges"]) for side in (old, new)))
    before, after = (side["audit"].set_index("rule_id") for side in (old, new))
    rows, parts = [], []
    for rule_id in chosen:
        row = {"rule_id": rule_id, **after.loc[rule_id, ["title", "metric", "limit_m"]]}
        row |= {"share_before": before.loc[rule_id, "share"]}
        row |= {"share_after": after.loc[rule_id, "share"]}
        if after.loc[rule_id, "on"] == "streets":
            found = [_read_intervals(*side, rule_id) for side in ((old, "old"), (new, "new"))]
            changes, sums = compare_intervals(
                *found, old_map=old_map, new_map=new_map, least_mm=least_mm
            )
            parts.append(changes.assign(rule_id=rule_id))
            row |= {f"covered_{when}_m": sums[when] / 1000 for when in ("before", "after")}
            row |= {"rounding_m": sums["rounding"] / 1000}
        rows.append(row)
    return rows, parts


def _choose_rules(
    before: pd.DataFrame, after: pd.DataFrame, rules: Sequence[str] | None
) -> list[str]:
    sides = {"old": before, "new": after}
    audited = {side: ", ".join(audit.index) or "none" for side, audit in sides.items()}
    for rule_id in rules or ():
        for side, audit in sides.items():
            if rule_id not in audit.index:
                raise RuleError(
                    f"rule {rule_id!r} is not audited in the {side} workspace (audited are:"
                    f" {audited[side]}); run survey audit --rule {rule_id} on it first"
                )
    chosen = list(dict.fromkeys(rules or after.index[after.index.isin(before.index)]))
    if not chosen:
        raise RuleError(
            f"no rule is audited in both workspaces (old: {audited['old']}; new:"
            f" {audited['new']}); run survey audit on both with the same rules"
        )
    for rule_id in chosen:
        then, now = (_describe_rule(audit.loc[rule_id]) for audit in (before, after))
        if then != now:
            raise RuleError(
                f"rule {rule_id!r} is {then} in the old audit and {now} in the new one; run survey"
                " audit on both with the same rule"
            )
    return chosen


def _describe_rule(row: Any) -> str:
    limit = "" if pd.isna(row["limit_m"]) else f" within {row['limit_m']:g} m"
    return f"{row['facility']}{limit} ({row['metric']}, {row['on']})"


def _have_same_edges(old: gpd.GeoDataFrame, new: gpd.GeoDataFrame) -> bool:
    """Tell whether two maps have the same edges, so that distances along them round alike."""
    one, two = (edges.sort_values("edge_id", ignore_index=True) for edges in (old, new))
    names = ["edge_id", "u", "v", "way_id", "length_m", "walkable"]
    return one[names].equals(two[names]) and bool(
        shapely.equals_exact(one.geometry.array, two.geometry.array, tolerance=0).all()
    )


def _read_intervals(side: Mapping[str, Any], name: str, rule_id: str) -> pd.DataFrame:
    """Read the checked intervals of a rule: ``edge_id, from_m, to_m, covered``."""
    parts = [table[table["rule_id"] == rule_id] for table in (side["covered"], side["gaps"])]
    intervals = pd.concat(
        [part[["edge_id", "from_m", "to_m"]] for part in parts], ignore_index=True
    )
    intervals["covered"] = np.repeat([True, False], [len(part) for part in parts])
    audit = side["audit"][side["audit"]["rule_id"] == rule_id]
    length = to_mm(intervals["to_m"]) - to_mm(intervals["from_m"])
    checked, covered = (to_mm(audit[name])[0] for name in ("checked_m", "covered_m"))
    fits = length.sum() == checked and length[intervals["covered"]].sum() == covered
    known = intervals["edge_id"].isin(side["edges"]["edge_id"]).all()
    if not (fits and known):
        raise TableError(
            f"the stretches of rule {rule_id!r} in the {name} workspace do not add up to its row of"
            " the table 'audit', or lie on unknown edges; run survey audit on it again"
        )
    return intervals


def _as_stretches(
    parts: list[pd.DataFrame], old: Mapping[str, Any], new: Mapping[str, Any]
) -> gpd.GeoDataFrame:
    none = {"rule_id": "", "edge": 0, "from_mm": 0, "to_mm": 0, "change": "", "covered": False}
    changes = pd.concat(parts or [pd.DataFrame([none]).iloc[:0]], ignore_index=True)
    row = changes["edge"].to_numpy(dtype=np.int64)
    edges = pd.concat([side["edges"] for side in (new, old)], ignore_index=True).iloc[row]
    start, stop = (changes[name].to_numpy(dtype=float) / 1000 for name in ("from_mm", "to_mm"))
    length_m = edges["length_m"].to_numpy()
    table = gpd.GeoDataFrame(
        {
            "rule_id": changes["rule_id"].astype("str"),
            "change": changes["change"].astype("str"),
            "covered": changes["covered"].astype("bool"),
            "edge_id": edges["edge_id"].to_numpy(),
            "from_m": start,
            "to_m": stop,
            "length_m": tables.round_mm(stop - start),
            "name": edges["name"].to_numpy(),
        },
        geometry=cut_lines(edges.geometry.array, start / length_m, stop / length_m),
        crs=new["edges"].crs,
    )
    now, then = (join_subdistrict(table, side["subdistricts"]) for side in (new, old))
    table.insert(table.columns.get_loc("geometry"), "subdistrict_id", now.fillna(then))
    return table.sort_values(["rule_id", "edge_id", "from_m", "change"], ignore_index=True)


def _sum_changes(stretches: gpd.GeoDataFrame, by: list[str]) -> pd.DataFrame:
    """Sum the lengths of changed stretches: the columns `_TOTALS` on the index `by`."""
    lengths = {}
    for label, change in zip(("better", "worse", "new", "lost"), CHANGES, strict=True):
        metres = stretches["length_m"].where(stretches["change"] == change, 0.0)
        lengths[f"{label}_m"] = metres
        lengths[f"{label}_covered_m"] = metres.where(stretches["covered"], 0.0)
    keys = [stretches[name] for name in by]
    return pd.DataFrame(lengths)[[*_TOTALS]].groupby(keys, dropna=False).sum().round(3)


def _as_rules(rows: list[dict[str, Any]], stretches: gpd.GeoDataFrame) -> pd.DataFrame:
    first = ["rule_id", "title", "metric", "limit_m", "share_before", "share_after"]
    first += ["covered_before_m", "covered_after_m"]
    table = pd.DataFrame(rows).reindex(columns=[*first, *_TOTALS, "rounding_m"])
    totals = _sum_changes(stretches, ["rule_id"]).reindex(table["rule_id"], fill_value=0.0)
    measured = table["rounding_m"].notna()
    for name in _TOTALS:
        table[name] = totals[name].set_axis(table.index).where(measured)
    return table


def _by_subdistrict(
    stretches: gpd.GeoDataFrame, old: Mapping[str, Any], new: Mapping[str, Any]
) -> pd.DataFrame:
    totals = _sum_changes(stretches, ["rule_id", "subdistrict_id"]).reset_index()
    names = pd.concat([side["subdistricts"] for side in (new, old)])
    names = names[["subdistrict_id", "name"]].drop_duplicates("subdistrict_id")
    key = ["rule_id", "subdistrict_id"]
    table = totals[key].merge(names, on="subdistrict_id", how="left")
    for when, side in (("before", old), ("after", new)):
        shares = side["shares"][side["shares"]["scope"] == "subdistrict"]
        shares = shares[["rule_id", "id", "share"]].set_axis([*key, f"share_{when}"], axis=1)
        table = table.merge(shares, on=key, how="left")
    return table.join(totals[[*_TOTALS]])


def _compare_toilets(old: gpd.GeoDataFrame, new: gpd.GeoDataFrame) -> pd.DataFrame:
    one, two = (side.set_index("toilet_id") for side in (old, new))
    rows = []
    for toilet_id in one.index.union(two.index).sort_values():
        then = one.loc[toilet_id] if toilet_id in one.index else None
        now = two.loc[toilet_id] if toilet_id in two.index else None
        status = [None if side is None else side["status"] for side in (then, now)]
        details = _list_details(then, now)
        if status[0] == status[1] and not details:
            continue
        change = "added" if then is None else "lost" if now is None else "changed"
        name = (one if now is None else two).loc[toilet_id, "name"]
        rows.append((toilet_id, name, change, *status, "; ".join(details) or None))
    columns = ["toilet_id", "name", "change", "status_before", "status_after", "detail"]
    return pd.DataFrame(rows, columns=columns, dtype="str")


def _list_details(then: Any, now: Any) -> list[str]:
    """List in what a toilet that both have differs, apart from its status."""
    if then is None or now is None:
        return []
    words = [
        ["none" if pd.isna(side[name]) else side[name] for side in (then, now)] for name in _DETAILS
    ]
    moved_m = float(tables.round_mm(then["geometry"].distance(now["geometry"])))
    details = [f"moved {moved_m:g} m"] if moved_m > 0 else []
    return details + [
        f"{name}: {before} -> {after}"
        for name, (before, after) in zip(_DETAILS, words, strict=True)
        if before != after
    ]


def _write_notes(
    old: Mapping[str, Any], new: Mapping[str, Any], compared: pd.DataFrame, least_mm: int
) -> Iterator[str]:
    both = "area" in old and "area" in new
    if both and not old["area"].polygon.equals(new["area"].polygon):
        yield (
            "the two cover different areas: street that only one of them holds is counted as a"
            " change of the map"
        )
    if least_mm:
        yield f"the streets differ: changes shorter than {least_mm} mm are told as rounding"
    for rule_id in compared.loc[compared["rounding_m"].isna(), "rule_id"]:
        yield f"rule {rule_id} is not asked on all streets: only its shares are compared"
    for side, one, two in (("old", old, new), ("new", new, old)):
        for rule_id in one["audit"]["rule_id"]:
            if rule_id not in set(two["audit"]["rule_id"]):
                yield f"rule {rule_id} is audited in the {side} workspace only: not compared"
