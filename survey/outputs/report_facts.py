"""What a report tells, worked out from the tables of a workspace."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import Any, Protocol

import pandas as pd

from survey.outputs.reports import rank_stretches
from survey.sampling.draw import hash_frame
from survey.tables import KINDS, LAYERS

CHANCE = 0.1
"""From this probability on a unit has a real chance of a visit: one round in ten."""

WORST = 10
"""How many gaps and units a report lists."""

AROUND_M = 500
"""The surroundings of a point in which the share of street is told, in metres."""

NOWHERE = ""
"""Stands for the id of the subdistrict of what lies in none."""

_NEEDED = ("points", "alleys", "compounds", "toilets", "subdistricts", "reach", "quality")
_MAYBE = ("audit", "shares", "gaps", "odds", "priorities", "sites", "rounds", "draws")
_OF_SITES = ("candidates", "edges")
_TOILET = "toilet"
_STREETS = "streets"


class Holder(Protocol):
    """What a report is made from, such as a `Workspace`."""

    @property
    def manifest(self) -> dict[str, Any]:
        """Inputs, parameters, seeds, versions, the notice."""

    @property
    def names(self) -> frozenset[str]:
        """The tables that it holds."""

    def read(self, name: str) -> Any:
        """Read one table."""


@dataclass(frozen=True, eq=False)
class Findings:
    """What a report is written from.

    Attributes
    ----------
    manifest
        That of the workspace.
    tables
        Those of the workspace that a report reads; what is not there yet is absent.
    frame_hash
        The hash of the frame as it is now.
    offices
        Id to name of the subdistricts, or to the id where there is none.
    """

    manifest: Mapping[str, Any]
    tables: Mapping[str, Any]
    frame_hash: str
    offices: Mapping[str, str]

    @cached_property
    def audit(self) -> list[dict[str, Any]]:
        """The rows of the audit; none without one."""
        rows: list[dict[str, Any]] = (
            self.tables["audit"].to_dict("records") if "audit" in self.tables else []
        )
        return rows

    @cached_property
    def lead(self) -> dict[str, Any] | None:
        """The rule whose gaps are told: the first for toilets on streets, else for toilets."""
        rank = [(row["facility"] != _TOILET, row["on"] != _STREETS) for row in self.audit]
        return self.audit[rank.index(min(rank))] if rank else None

    @cached_property
    def gaps(self) -> pd.DataFrame | None:
        """The gaps of the leading rule; None without a rule that is asked along streets."""
        if self.lead is None or pd.isna(self.lead["checked_m"]):
            return None
        gaps: pd.DataFrame = self.tables["gaps"]
        return gaps[gaps["rule_id"] == self.lead["rule_id"]]

    @property
    def asked(self) -> float | None:
        """The share that was asked of every rule, if one was."""
        share: float | None = self.manifest["parameters"].get("audit", {}).get("min_share")
        return share


def read_findings(workspace: Holder) -> Findings:
    """Read from a workspace what a report needs.

    Raises
    ------
    WorkspaceError
        If it holds no frame yet; the message names the verb that makes it.
    TableError
        If a table cannot be read or breaks the contract.
    """
    names = [*_NEEDED, *(name for name in _MAYBE if name in workspace.names)]
    if "sites" in workspace.names:
        names += _OF_SITES
    tables = {name: workspace.read(name) for name in names}
    frame = SimpleNamespace(**tables)
    table = frame.subdistricts
    ids = table["subdistrict_id"]
    named = dict(zip(ids, table["name"].fillna(ids), strict=True))
    return Findings(workspace.manifest, tables, hash_frame(frame, frame.reach), named)


def list_units(found: Findings) -> pd.DataFrame:
    """List alleys and compounds: ``layer, unit_id, name, subdistrict_id``."""
    parts = [
        found.tables[f"{layer}s"]
        .rename(columns={f"{layer}_id": "unit_id"})[["unit_id", "name", "subdistrict_id"]]
        .assign(layer=layer)
        for layer in LAYERS
    ]
    return pd.concat([pd.DataFrame(part) for part in parts], ignore_index=True)


def count_by_kind(found: Findings) -> pd.DataFrame:
    """Tell of each kind of point that there is what lies around its points.

    Returns
    -------
    pandas.DataFrame
        ``points``; ``alleys``, ``compounds``, the medians of how many can be walked to; and of
        the leading rule's share of street within `AROUND_M` the median ``share`` and the
        ``least``, missing without an audit; on the kind.
    """
    points = found.tables["points"].set_index("point_id")["kind"]
    reach = found.tables["reach"].dropna(subset="network_m")
    around = pd.DataFrame({"kind": points})
    for layer in LAYERS:
        counts = reach[reach["layer"] == layer].groupby("point_id").size()
        around[f"{layer}s"] = counts.reindex(points.index, fill_value=0)
    shares = _select_shares(found, "point")
    near = shares[shares["within_m"] == AROUND_M].set_index("id")["share"]
    around["share"] = near.reindex(points.index)
    table = around.groupby("kind").agg(
        points=("alleys", "size"),
        alleys=("alleys", "median"),
        compounds=("compounds", "median"),
        share=("share", "median"),
        least=("share", "min"),
    )
    return table.loc[[kind for kind in KINDS if kind in table.index]]


def count_by_subdistrict(found: Findings) -> pd.DataFrame:
    """Count what lies in each subdistrict.

    Returns
    -------
    pandas.DataFrame
        ``points``, ``alleys``, ``compounds``; ``checked_m`` and ``gap_m`` of the leading rule,
        missing without an audit; on the subdistrict_id, `NOWHERE` for what lies in no
        subdistrict, if there is any such thing.
    """
    ids = list(found.offices)
    homes = {
        name: found.tables[name]["subdistrict_id"] for name in ("points", "alleys", "compounds")
    }
    table = pd.DataFrame(
        {name: home.value_counts().reindex(ids, fill_value=0) for name, home in homes.items()},
        index=ids,
    )
    outside: dict[str, float] = {name: int(home.isna().sum()) for name, home in homes.items()}
    shares = _select_shares(found, "subdistrict").set_index("id")
    table["checked_m"] = shares["checked_m"].reindex(ids)
    table["gap_m"] = float("nan")
    if found.gaps is not None:
        lengths = found.gaps.groupby("subdistrict_id")["length_m"].sum()
        table["gap_m"] = lengths.reindex(ids, fill_value=0)
        outside["gap_m"] = found.gaps.loc[found.gaps["subdistrict_id"].isna(), "length_m"].sum()
    if any(outside.values()):
        row = pd.DataFrame([outside], index=[NOWHERE], columns=table.columns)
        table = pd.concat([table, row])
    return table


def _select_shares(found: Findings, scope: str) -> pd.DataFrame:
    """Select the leading rule's shares of one scope; no rows without an audit."""
    columns = ["rule_id", "scope", "id", "within_m", "checked_m", "covered_m", "share"]
    if found.lead is None:
        return pd.DataFrame(columns=columns)
    shares: pd.DataFrame = found.tables["shares"]
    return shares[(shares["rule_id"] == found.lead["rule_id"]) & (shares["scope"] == scope)]


def rank_units(found: Findings) -> pd.DataFrame:
    """List the units to look at first, with ``name`` and ``subdistrict_id``.

    Returns
    -------
    pandas.DataFrame
        The first `WORST` rows of ``priorities`` by rank, else of ``odds`` by probability.
    """
    if "priorities" in found.tables:
        rows = found.tables["priorities"].sort_values("rank")
    else:
        by = ["prob", "expected_visits", "layer", "unit_id"]
        rows = found.tables["odds"].sort_values(by, ascending=[False, False, True, True])
    return rows.head(WORST).merge(list_units(found), on=["layer", "unit_id"], how="left")


def worst_stretches(found: Findings) -> pd.DataFrame:
    """List the longest stretches of gaps of the leading rule, as `rank_stretches` does."""
    gaps = found.gaps
    return pd.DataFrame() if gaps is None or gaps.empty else rank_stretches(gaps).head(WORST)


def list_sites(found: Findings) -> pd.DataFrame:
    """List the sites by rank, with the ``name`` of the candidate or of the nearest named street."""
    sites = found.tables["sites"].sort_values("rank").reset_index(drop=True)
    edges = found.tables["edges"]
    edges = edges[edges["public"] & edges["inside"] & edges["name"].notna()]
    row, nearest = edges.sindex.nearest(sites.geometry, return_all=False)
    streets = edges["name"].iloc[nearest].set_axis(sites.index[row]).reindex(sites.index)
    known = found.tables["candidates"].set_index("candidate_id")["name"]
    named = sites["candidate_id"].map(known)
    candidate = sites["candidate_id"].notna()
    return sites.assign(name=streets.where(~candidate, named))


def share_before(found: Findings, sites: pd.DataFrame) -> float | None:
    """Find the share of the sites' rule before them; None if the audit did not measure it so."""
    timed = "at" in found.manifest["parameters"].get("audit", {})  # sites are for any hour
    rule_ids = set(sites["rule_id"])
    rows = [row for row in found.audit if row["rule_id"] in rule_ids and not timed]
    return float(rows[0]["share"]) if rows else None
