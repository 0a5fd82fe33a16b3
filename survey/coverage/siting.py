"""Siting: where to open or build toilets so that a distance rule on streets is met."""

from dataclasses import dataclass, replace
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from survey import tables
from survey.coverage.choosing import Choice, choose_sites
from survey.coverage.demand import Demand, cut_demand, find_failing
from survey.coverage.rules import Rule
from survey.errors import NothingToCheckError, RuleError
from survey.frame.doors import find_doors
from survey.frame.frame import Frame
from survey.frame.lines import Floats, Ints, count_up
from survey.frame.network import search_nearest, search_within
from survey.summaries import write_summary


@dataclass(frozen=True, eq=False)
class SitePlan:
    """Where toilets are to be opened or built, and how good that choice is at least.

    Attributes
    ----------
    sites
        The table `sites`.
    cost
        What they cost together.
    bound
        To cover everything: no choice of these sites costs less. Else: none gains more metres.
    gap
        How far cost or gain is from the bound, as a share of the greater one.
    proven
        Whether they meet, so that no choice is better.
    checked_m
        Length of street that the rule is asked of.
    share_before, share_after
        The share of it that meets the rule now, and with the sites.
    covered_m
        Its length that meets the rule with the sites.
    unreachable_m
        Its length that none of the possible sites can bring within the limit.
    unreachable
        The same by stretch: ``edge_id, from_m, to_m, length_m``.
    notes
        What a reader should know.
    """

    sites: gpd.GeoDataFrame
    cost: float
    bound: float
    gap: float
    proven: bool
    checked_m: float
    share_before: float
    share_after: float
    covered_m: float
    unreachable_m: float
    unreachable: pd.DataFrame
    notes: tuple[str, ...]

    @property
    def tables(self) -> dict[str, Any]:
        """The tables by name."""
        return {"sites": self.sites}

    def _repr_html_(self) -> str:
        actions = self.sites["action"].value_counts()
        rows = [
            ("sites", ", ".join(f"{actions.get(name, 0)} to {name}" for name in ("open", "build"))),
            ("share", f"{self.share_before:.1%} before, {self.share_after:.1%} after"),
            ("cost", f"{self.cost:,g}"),
            ("proven best", "yes" if self.proven else f"no, {self.gap:.1%} off at most"),
            ("beyond any site", f"{self.unreachable_m:,.0f} m"),
        ]
        return write_summary("Site plan", rows, notes=self.notes)


def plan_sites(
    frame: Frame,
    rule: Rule,
    *,
    add: int | None = None,
    budget: float | None = None,
    open_cost: float = 1.0,
    build_cost: float = 5.0,
    every_m: float = 50,
    time_limit_s: float = 30.0,
) -> SitePlan:
    """Choose which candidates to open and where to build so that the street meets a rule.

    Without `add` and `budget`, all failing street that any site can reach is covered at least
    cost. What the plan promises is what an audit of ``add_sites(frame, plan.sites)`` finds.

    Parameters
    ----------
    frame
        What `build_frame` made.
    rule
        A rule for toilets on streets, of metric walk or crow.
    add, budget
        Add at most so many sites, or spend at most so much, to gain the most metres.
    open_cost, build_cost
        Of opening a candidate's toilet, and of building one.
    every_m
        Building is possible on public streets this often, at junctions and at ends of gaps.
    time_limit_s
        How long the choice may take, without measuring what sites cover.

    Returns
    -------
    SitePlan

    Raises
    ------
    RuleError
        If the rule is another one, a number is not above 0, or both `add` and `budget` are given.
    NothingToCheckError
        If the area has no public street.

    Examples
    --------
    >>> import survey
    >>> from survey.coverage.rules import find_rule
    >>> plan = plan_sites(survey.example_town(), find_rule("walk-500"), add=1)
    >>> plan.sites[["action", "gain_m"]].values.tolist(), plan.proven
    ([['build', 1370.0]], True)
    """
    _check(rule, open_cost, build_cost, every_m)
    options, demand = _find_demand(frame, rule, every_m)
    cost = np.where(options["action"] == "open", open_cost, build_cost).astype(np.float64)
    choice = choose_sites(
        demand.length_mm, demand.reach, cost, add=add, budget=budget, time_limit_s=time_limit_s
    )
    chosen = options.assign(cost=cost).iloc[choice.sites]
    unit = 1 if add is None and budget is None else 1_000
    return _as_plan(frame, rule, chosen, demand, replace(choice, bound=choice.bound / unit))


def add_sites(frame: Frame, sites: gpd.GeoDataFrame) -> Frame:
    """Copy a frame with planned sites among its public toilets.

    Parameters
    ----------
    frame
        What `build_frame` made.
    sites
        The table `sites` of one rule.

    Returns
    -------
    Frame
        With a toilet ``site/<rank>`` of source ``site`` for each, and its door on the street.

    Raises
    ------
    TableError
        If there are toilets of these ids already.
    """
    if sites.empty:
        return frame
    made = pd.DataFrame({name: [None] * len(sites) for name in tables.TABLES["toilets"].columns})
    made["toilet_id"] = "site/" + sites["rank"].astype("str").to_numpy()
    made["status"], made["source"] = "public", "site"
    made["inside"] = shapely.intersects(frame.area.shape, sites.geometry.to_numpy())
    made["geometry"] = sites.geometry.to_numpy()
    crs = frame.area.crs
    new = tables.make("toilets", made, crs=crs)
    doors = find_doors(frame.streets, new, layer="toilet")
    return replace(
        frame,
        toilets=pd.concat([frame.toilets, new], ignore_index=True),
        doors=pd.concat([frame.doors, doors], ignore_index=True),
    )


def _find_demand(frame: Frame, rule: Rule, every_m: float) -> tuple[gpd.GeoDataFrame, Demand]:
    """Find where toilets could be, and the failing street by which of them cover it."""
    checked = _find_checked(frame)
    if not frame.streets.length_mm[checked].sum():
        raise NothingToCheckError(
            "there is no public street in the area to check; look at the frame first"
        )
    failing = find_failing(frame, checked, rule)
    options = _find_options(frame, failing, checked, every_m, rule)
    doors = find_doors(frame.streets, options[["id", "geometry"]], layer="toilet")
    return options, cut_demand(frame, failing, options.geometry.to_numpy(), doors, rule)


def _find_checked(frame: Frame) -> npt.NDArray[np.bool_]:
    edges = frame.streets.edges
    return np.asarray(edges["public"] & edges["inside"], dtype=bool)


def _as_plan(
    frame: Frame, rule: Rule, chosen: gpd.GeoDataFrame, demand: Demand, choice: Choice
) -> SitePlan:
    checked_mm = int(frame.streets.length_mm[_find_checked(frame)].sum())
    before_mm = checked_mm - int(demand.length_mm.sum())
    return SitePlan(
        sites=_as_sites(frame, rule, chosen, choice, before_mm, checked_mm),
        cost=choice.cost,
        bound=choice.bound,
        gap=choice.gap,
        proven=choice.proven,
        checked_m=checked_mm / 1000,
        share_before=before_mm / checked_mm,
        share_after=(before_mm + choice.covered) / checked_mm,
        covered_m=(before_mm + choice.covered) / 1000,
        unreachable_m=choice.unreachable / 1000,
        unreachable=_list_stranded(frame, demand, choice.stranded),
        notes=_write_notes(frame, demand, choice),
    )


def _check(rule: Rule, open_cost: float, build_cost: float, every_m: float) -> None:
    if rule.metric not in {"walk", "crow"} or rule.on != "streets" or rule.facility != "toilet":
        raise RuleError(
            f"rule {rule.rule_id} asks for {rule.facility} on {rule.on} by {rule.metric}; sites can"
            " be planned for toilets on streets by walk or crow only, such as walk-500"
        )
    for name, value in (
        ("open_cost", open_cost),
        ("build_cost", build_cost),
        ("every_m", every_m),
    ):
        if not (np.isfinite(value) and value > 0):
            raise RuleError(f"{name} is {value}; it must be a number above 0")


def _find_options(
    frame: Frame,
    failing: pd.DataFrame,
    checked: npt.NDArray[np.bool_],
    every_m: float,
    rule: Rule,
) -> gpd.GeoDataFrame:
    """Find where toilets could be opened or built: ``id, action, candidate_id``, Point."""
    length = frame.streets.length_mm
    edges = np.flatnonzero(checked & (length > 0))
    steps = np.ceil(length[edges] / (every_m * 1000)).astype(np.int64)
    row, step = count_up(steps + 1)
    ends = failing[["from_mm", "to_mm"]].to_numpy().ravel()
    edge = np.r_[edges[row], np.repeat(failing["edge"].to_numpy(), 2)]
    at = np.r_[np.rint(step * length[edges[row]] / steps[row]).astype(np.int64), ends]
    lines = frame.streets.edges.geometry.array
    built = np.asarray(
        shapely.line_interpolate_point(lines[edge], at / length[edge], normalized=True)
    )
    place = pd.DataFrame(np.rint(shapely.get_coordinates(built) * 1000))
    built = built[~place.duplicated().to_numpy()]
    opened = frame.candidates.sort_values("candidate_id")
    options = gpd.GeoDataFrame(
        {
            "action": np.repeat(["open", "build"], [len(opened), len(built)]),
            "candidate_id": np.r_[
                opened["candidate_id"].to_numpy(dtype=object), np.full(len(built), None)
            ],
        },
        geometry=np.r_[opened.geometry.to_numpy(), built],
        crs=frame.area.crs,
    )
    # No way is shorter than the crow; lengths in whole millimetres may be so by a little.
    failed = lines[np.unique(failing["edge"].to_numpy())]
    tree = shapely.STRtree(failed)
    near, _ = tree.query(options.geometry.to_numpy(), "dwithin", distance=rule.reach_m * 1.001 + 1)
    options = options.iloc[np.unique(near)].reset_index(drop=True)
    options.insert(0, "id", np.arange(len(options)).astype(str))
    return options


def _as_sites(
    frame: Frame,
    rule: Rule,
    chosen: gpd.GeoDataFrame,
    choice: Choice,
    before_mm: int,
    checked_mm: int,
) -> gpd.GeoDataFrame:
    crs = frame.area.crs
    if chosen.empty:
        return tables.empty("sites", crs=crs)
    table = chosen.assign(
        rule_id=rule.rule_id,
        rank=np.arange(1, len(chosen) + 1),
        gain_m=choice.gain / 1000,
        total_share=(before_mm + np.cumsum(choice.gain)) / checked_mm,
    )
    count = _count_by_walk if rule.metric == "walk" else _count_by_crow
    served = add_sites(frame, table)
    for layer in ("compound", "point"):
        table[f"{layer}s"] = count(served, layer, len(table), rule.reach_m)
    return tables.make("sites", table, crs=crs)


def _count_by_walk(served: Frame, layer: str, sites: int, limit_m: float) -> Ints:
    """Count the objects that each site, in its turn, is the first to bring within the limit."""
    limit, network = round(limit_m * 1000), served.network
    ids = served.tables[f"{layer}s"][f"{layer}_id"]
    objects = served.sources(layer, ids)
    old = served.supply()["toilet_id"]
    old = old[~old.isin(_site_ids(sites))].reset_index(drop=True)
    distance, _ = search_nearest(network, served.sources("toilet", old))
    first = np.full(len(ids), sites)
    near = distance[objects.node] + objects.start_mm <= limit
    first[objects.number[near]] = -1
    new = served.sources("toilet", _site_ids(sites))
    for numbers, nodes, ways in search_within(network, new, limit):
        column = np.searchsorted(nodes, objects.node)
        known = np.flatnonzero(nodes[np.minimum(column, len(nodes) - 1)] == objects.node)
        total = ways[:, column[known]] + objects.start_mm[known]
        site, door = np.nonzero(total <= limit)
        np.minimum.at(first, objects.number[known[door]], numbers[site])
    return np.bincount(first[(first >= 0) & (first < sites)], minlength=sites)


def _count_by_crow(served: Frame, layer: str, sites: int, limit_m: float) -> Ints:
    """Count the objects that each site, in its turn, is the first to bring within the limit."""
    shapes = served.tables[f"{layer}s"].geometry.to_numpy()
    supply = served.supply()
    is_new = supply["toilet_id"].isin(_site_ids(sites)).to_numpy()
    first = np.full(len(shapes), sites)
    old, _ = shapely.STRtree(shapes).query(
        supply.geometry.to_numpy()[~is_new], "dwithin", distance=limit_m
    )[::-1]
    first[old] = -1
    places = served.toilets.set_index("toilet_id").geometry[_site_ids(sites)].to_numpy()
    site, met = shapely.STRtree(shapes).query(places, "dwithin", distance=limit_m)
    np.minimum.at(first, met, site)
    return np.bincount(first[(first >= 0) & (first < sites)], minlength=sites)


def _site_ids(sites: int) -> "pd.Series[str]":
    return "site/" + pd.Series(np.arange(1, sites + 1)).astype("str")


def _list_stranded(frame: Frame, demand: Demand, rows: Ints) -> pd.DataFrame:
    """List the stretches that no site reaches; pieces that touch are one stretch."""
    pieces = pd.DataFrame(
        {
            "edge_id": frame.streets.rows.to_numpy()[demand.edge[rows]],
            "from_m": demand.from_mm[rows] / 1000,
            "to_m": demand.to_mm[rows] / 1000,
        }
    )
    apart = (pieces["edge_id"] != pieces["edge_id"].shift()) | (
        pieces["from_m"] != pieces["to_m"].shift()
    )
    joined = pieces.groupby(apart.cumsum().to_numpy()).agg(
        {"edge_id": "first", "from_m": "first", "to_m": "last"}
    )
    length: Floats = tables.round_mm(joined["to_m"] - joined["from_m"])
    return joined.assign(length_m=length).reset_index(drop=True)


def _write_notes(frame: Frame, demand: Demand, choice: Choice) -> tuple[str, ...]:
    notes = []
    if not len(demand.edge):
        return ("every metre of street meets the rule already: there is nothing to mend",)
    if choice.unreachable:
        notes.append(
            f"{choice.unreachable / 1000:.0f} m of failing street are within reach of no possible"
            " site, so no choice can mend them"
        )
    doors = frame.doors.loc[frame.doors["layer"] == "candidate", "id"]
    lost = len(frame.candidates) - doors.nunique()
    if frame.candidates.empty:
        notes.append("the frame has no candidates to open: every site is to be built")
    elif lost:
        notes.append(f"{lost} of {len(frame.candidates)} candidates are too far from any street")
    if not choice.proven:
        notes.append(f"a better choice may exist, better by {choice.gap:.1%} at most")
    return tuple(notes)
