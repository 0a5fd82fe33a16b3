import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import shapely

import survey
from audit_towns import EAST, NORTH, audit_one, fill, make_town, place
from survey import tables
from survey.coverage.audit import audit_coverage
from survey.coverage.rules import Rule, find_rule
from survey.coverage.siting import _find_options, add_sites, plan_sites
from survey.errors import NothingToCheckError, RuleError
from survey.frame.assembly import build_frame
from survey.frame.doors import find_doors
from survey.sources.area import find_area
from survey.sources.extract import read_extract
from survey.workspace import open_workspace

WALK, CROW = find_rule("walk-500"), find_rule("crow-500")
STREET = {"u": "a", "v": "b", "vertices": [(0, 0), (2_000, 0)]}
MODES = [{}, {"add": 1}, {"add": 3}, {"budget": 2.0}, {"budget": 11.0}]


def with_candidates(frame, *places):
    candidates = fill(
        "candidates",
        [
            {"candidate_id": f"node/{row}", "kind": "library", "source": "test", "geometry": shape}
            for row, shape in enumerate(place(shapely.Point(spot)) for spot in places)
        ],
    )
    doors = find_doors(frame.streets, candidates, layer="candidate")
    doors = pd.concat([frame.doors, doors], ignore_index=True)
    return replace(frame, candidates=candidates, doors=doors)


def list_places(plan):
    """Where the sites are, in metres from the town's corner."""
    at = shapely.get_coordinates(plan.sites.geometry.to_numpy()) - (EAST, NORTH)
    return [tuple(spot) for spot in at.round(3).tolist()]


def check_promise(frame, rule, plan):
    """Check that a fresh audit with the sites among the toilets finds what was promised."""
    summary = audit_coverage(add_sites(frame, plan.sites), rules=[rule]).summary.iloc[0]
    assert summary["covered_m"] == pytest.approx(plan.covered_m, abs=1e-6)
    assert summary["checked_m"] == plan.checked_m
    assert summary["share"] == pytest.approx(plan.share_after)
    now = audit_coverage(frame, rules=[rule]).summary["share"].iloc[0]
    assert now == pytest.approx(plan.share_before)
    gained = plan.sites["gain_m"].sum()
    assert gained == pytest.approx((plan.share_after - plan.share_before) * plan.checked_m)
    if len(plan.sites):
        assert plan.sites["total_share"].iloc[-1] == pytest.approx(plan.share_after)
        assert plan.sites["cost"].sum() == pytest.approx(plan.cost)


def test_street_without_toilet():
    """A street of 2,000 m takes two toilets, 500 m from its ends, and no fewer."""
    frame = make_town([STREET])
    for rule in (WALK, CROW):
        plan = plan_sites(frame, rule)
        assert sorted(list_places(plan)) == [(500, 0), (1_500, 0)]
        assert plan.sites["gain_m"].tolist() == [1_000, 1_000]
        assert plan.sites["total_share"].tolist() == [0.5, 1]
        assert plan.sites["action"].tolist() == ["build", "build"]
        assert plan.sites["candidate_id"].isna().all()
        assert (plan.cost, plan.bound, plan.gap, plan.proven) == (10, 10, 0, True)
        assert (plan.share_before, plan.share_after, plan.unreachable_m) == (0, 1, 0)
        assert plan.notes == ("the frame has no candidates to open: every site is to be built",)
        check_promise(frame, rule, plan)


def test_candidate_is_walked_to():
    """A candidate 100 m off the street serves 400 m each way, for the price of opening it."""
    frame = with_candidates(make_town([STREET]), (500, 100))
    opened = plan_sites(frame, WALK, budget=1.0)
    assert opened.sites[["action", "candidate_id"]].to_numpy().tolist() == [["open", "node/0"]]
    assert (opened.sites["gain_m"].item(), opened.bound, opened.proven) == (800, 800, True)
    assert list_places(opened) == [(500, 100)]
    check_promise(frame, WALK, opened)
    built = plan_sites(frame, WALK, add=1)
    assert (built.sites["action"].item(), built.covered_m) == ("build", 1_000)


def test_candidate_by_crow_needs_no_door():
    """A candidate 300 m off has no door, but its circle cuts 800 m out of the street."""
    frame = with_candidates(make_town([STREET]), (500, 300))
    plan = plan_sites(frame, CROW, budget=1.0)
    assert (plan.sites["candidate_id"].item(), plan.sites["gain_m"].item()) == ("node/0", 800)
    check_promise(frame, CROW, plan)
    on_foot = plan_sites(frame, WALK, budget=1.0)
    assert on_foot.sites.empty
    assert "1 of 1 candidates are too far from any street" in on_foot.notes


def test_existing_toilet_stays():
    """With a toilet at 500 m only the other 1,000 m are demand, and one site mends them."""
    toilet = {"id": "node/1", "place": (500, 0), "doors": [(0, 500.0, 0.0)]}
    plan = plan_sites(make_town([STREET], [toilet]), WALK)
    assert (list_places(plan), plan.cost, plan.share_before) == ([(1_500, 0)], 5, 0.5)


def test_positions_every_so_many_metres():
    """Sites lie at equal steps of at most every_m and at the ends of gaps, once each."""
    toilet = {"id": "node/1", "place": (0, 0), "doors": [(0, 0.0, 0.0)]}
    frame = make_town([STREET], [toilet])
    failing = pd.DataFrame({"edge": [0], "from_mm": [510_000], "to_mm": [2_000_000]})
    options = _find_options(frame, failing, np.array([True]), 300, WALK)
    along = np.round(options.geometry.x - EAST, 3).tolist()
    assert along == [0, 285.714, 571.429, 857.143, 1_142.857, 1_428.571, 1_714.286, 2_000, 510]


def test_island_that_no_site_reaches():
    """A door goes to the longest piece of street, so an island beside it stays unreachable."""
    island = {"u": "c", "v": "d", "vertices": [(100, 50), (200, 50)]}
    plan = plan_sites(make_town([STREET, island]), WALK)
    assert (plan.unreachable_m, plan.share_after) == (100, 2_000 / 2_100)
    assert plan.unreachable.to_numpy().tolist() == [["way/1:0", 0, 100, 100]]
    assert any("100 m of failing street are within reach of no" in note for note in plan.notes)


def test_nothing_to_mend():
    """Where every metre meets the rule the plan is empty, costs nothing, and says so."""
    edge = {"u": "a", "v": "b", "vertices": [(0, 0), (400, 0)]}
    toilet = {"id": "node/1", "place": (0, 0), "doors": [(0, 0.0, 0.0)]}
    frame = make_town([edge], [toilet])
    for mode in MODES:
        plan = plan_sites(frame, WALK, **mode)
        assert plan.sites.empty
        assert (plan.cost, plan.share_before, plan.share_after, plan.proven) == (0, 1, 1, True)
        assert "nothing to mend" in plan.notes[0]
        assert add_sites(frame, plan.sites) is frame
        tables.check("sites", plan.sites)


def test_town_on_paper():
    """The best place of the town is 东风路's north end, worth 1,370 m; cost 16 mends all.

    Within 500 m of it lie 500 of the 600 m of 东风路, 500 of the 510 failing metres of 北街, 210 of
    the 220 of 桂花巷 and 160 m of 中山路. It is the first within 500 m of one compound and of two
    points.
    """
    town = survey.example_town()
    best = plan_sites(town, WALK, add=1)
    assert list_places(best) == [(900, 800)]
    facts = best.sites[["gain_m", "compounds", "points"]].to_numpy().tolist()
    assert facts == [[1_370, 1, 2]]
    assert (best.bound, best.proven) == (1_370, True)
    everything = plan_sites(town, WALK)
    assert (everything.cost, everything.bound, everything.proven) == (16, 16, True)
    assert everything.sites["candidate_id"].dropna().tolist() == ["node/401"]


@pytest.mark.parametrize("rule", [WALK, CROW])
def test_best_site_equals_trying_each(rule):
    """Auditing the town with each possible site in turn finds no better one than the plan's."""
    town = survey.example_town()
    checked = (town.streets.edges["public"] & town.streets.edges["inside"]).to_numpy()
    everywhere = pd.DataFrame({"edge": np.flatnonzero(checked)})
    everywhere = everywhere.assign(from_mm=0, to_mm=town.streets.length_mm[checked])
    options = _find_options(town, everywhere, checked, 1_000, rule)
    found = []
    for row in range(len(options)):
        one = options.iloc[[row]].assign(rank=1)
        audit = audit_coverage(add_sites(town, one), rules=[rule])
        found.append(audit.summary["covered_m"].item())
    assert plan_sites(town, rule, add=1, every_m=1_000).covered_m >= max(found)


def draw_blocks(seed):
    """Draw a crooked grid of streets, some missing, with toilets and candidates at random."""
    rng = np.random.default_rng(seed)
    at = {
        (x, y): rng.uniform(-20, 20, 2) + np.array([x * 110, y * 90])
        for x in range(4)
        for y in range(4)
    }
    edges = []
    for (x, y), start in at.items():
        for end in ((x + 1, y), (x, y + 1)):
            if end in at and rng.random() < 0.8:
                bend = (start + at[end]) / 2 + rng.uniform(-15, 15, 2)
                vertices = [start, bend, at[end]]
                more = {"public": bool(rng.random() < 0.9), "inside": bool(rng.random() < 0.9)}
                edges.append({"u": f"{x}.{y}", "v": f"{end[0]}.{end[1]}", "vertices": vertices})
                edges[-1] |= more
    frame = with_candidates(make_town(edges), *rng.uniform(0, 350, (4, 2)))
    spots = [place(shapely.Point(spot)) for spot in rng.uniform(0, 350, (2, 2))]
    more = {"status": "public", "source": "test", "inside": True}
    rows = [{"toilet_id": f"node/{row}", "geometry": spot} for row, spot in enumerate(spots)]
    toilets = fill("toilets", [row | more for row in rows])
    doors = find_doors(frame.streets, toilets, layer="toilet")
    doors = pd.concat([frame.doors, doors], ignore_index=True)
    return replace(frame, toilets=toilets, doors=doors)


@pytest.mark.parametrize("metric", ["walk", "crow"])
@pytest.mark.parametrize("seed", range(4))
def test_promise_is_kept_on_crooked_blocks(seed, metric):
    """On random blocks a fresh audit finds what was promised, in every mode."""
    frame = draw_blocks(seed)
    rule = Rule("r", "近", "near", metric, 80.5, "test")
    for mode in MODES:
        plan = plan_sites(frame, rule, **mode, every_m=30)
        check_promise(frame, rule, plan)
        assert len(plan.sites) <= mode.get("add", np.inf)
        assert plan.cost <= mode.get("budget", np.inf)


def build_nanjing():
    if not os.environ.get("SURVEY_TEST_DATA"):
        pytest.skip("SURVEY_TEST_DATA names no folder with more extracts")
    path = Path(os.environ["SURVEY_TEST_DATA"]) / "nanjing.osm.pbf"
    area = find_area(extract=path, bbox=(118.764, 32.035, 118.797, 32.053))
    return build_frame(read_extract(path, area))


@pytest.mark.parametrize("city", ["monaco", "nanjing"])
def test_promise_is_kept_in_cities(city, request):
    """On real streets a fresh audit finds what was promised, for three sites and for all."""
    if city == "monaco":
        frame = open_workspace(request.getfixturevalue("monaco_run").workspace).read_frame()
    else:
        frame = build_nanjing()
    for rule in (WALK, CROW):
        three, everything = plan_sites(frame, rule, add=3), plan_sites(frame, rule)
        for plan in (three, everything):
            check_promise(frame, rule, plan)
            assert 0 <= plan.gap < 0.1
        assert len(three.sites) <= 3
        assert everything.bound <= everything.cost
        failing = everything.checked_m * (1 - everything.share_after)
        assert failing == pytest.approx(everything.unreachable_m, abs=1e-6)


def count_near(frame, layer, metric):
    """How many objects the toilets serve, from the reading that shares nothing with the counts."""
    ids = frame.tables[f"{layer}s"][f"{layer}_id"]
    if metric == "crow":
        supply = shapely.union_all(frame.supply().geometry.to_numpy())
        shapes = frame.tables[f"{layer}s"].geometry.to_numpy()
        return int((shapely.distance(shapes, supply) <= 500).sum())
    import networkx as nx

    edges = frame.streets.edges
    graph = nx.Graph()
    doors = frame.doors[frame.doors["layer"].isin(["toilet", layer])]
    for row in edges[edges["walkable"]].itertuples():
        stops = doors[doors["edge_id"] == row.edge_id]
        names = [(row.edge_id, offset) for offset in sorted(set(stops["offset_m"]))]
        chain = [row.u, *names, row.v]
        at = [0, *(offset for _, offset in names), row.length_m]
        for one, two, length in zip(chain[:-1], chain[1:], np.diff(at), strict=True):
            # Two lanes of the town share both ends.
            known = graph.get_edge_data(one, two, {"weight": np.inf})["weight"]
            graph.add_edge(one, two, weight=min(length, known))
    for row in doors.itertuples():
        graph.add_edge((row.layer, row.id), (row.edge_id, row.offset_m), weight=row.access_m)
    starts = {("toilet", name) for name in frame.supply()["toilet_id"]} & set(graph)
    ways = nx.multi_source_dijkstra_path_length(graph, starts, weight="weight")
    return sum(ways.get((layer, name), np.inf) <= 500 + 1e-6 for name in ids)


@pytest.mark.parametrize("rule", [WALK, CROW])
def test_objects_served(rule):
    """Compounds and points are counted once each, by the first site that brings them near."""
    town = survey.example_town()
    town = replace(town, toilets=town.toilets.iloc[:0])
    plan = plan_sites(town, rule, every_m=100)
    for rank in range(1, len(plan.sites) + 1):
        served = add_sites(town, plan.sites.iloc[:rank])
        for layer in ("compound", "point"):
            total = plan.sites[f"{layer}s"].iloc[:rank].sum()
            assert total == count_near(served, layer, rule.metric)


def test_sites_as_toilets():
    """A site becomes a public toilet of its own id, with a door, and the frame stays as it was."""
    town = survey.example_town()
    plan = plan_sites(town, WALK, add=2)
    served = add_sites(town, plan.sites)
    new = served.toilets.iloc[len(town.toilets) :]
    assert new["toilet_id"].tolist() == ["site/1", "site/2"]
    assert new["status"].tolist() == ["public", "public"]
    assert new["source"].tolist() == ["site", "site"]
    doors = served.doors[served.doors["id"].isin(["site/1", "site/2"])]
    assert doors["layer"].tolist() == ["toilet", "toilet"]
    assert len(town.toilets) == 4


@pytest.mark.parametrize(
    ("rule", "change", "message"),
    [
        (WALK, {"add": 0}, "add is 0"),
        (WALK, {"add": 2, "budget": 3.0}, "both add (2) and budget (3.0)"),
        (WALK, {"budget": -1.0}, "budget is -1.0"),
        (WALK, {"open_cost": 0}, "open_cost is 0; it must be a number above 0"),
        (WALK, {"build_cost": -2.0}, "build_cost is -2.0"),
        (WALK, {"every_m": 0}, "every_m is 0"),
        (WALK, {"time_limit_s": 0}, "time_limit_s is 0"),
        (find_rule("spacing-500"), {}, "rule spacing-500 asks for toilet on main by spacing"),
        (Rule("r", "近", "near", "walk", 500, "test", on="points"), {}, "on points by walk"),
    ],
)
def test_bad_input(rule, change, message):
    """Bad input is refused in one clear line."""
    with pytest.raises(RuleError, match=re.escape(message)) as caught:
        plan_sites(survey.example_town(), rule, **change)
    assert "\n" not in str(caught.value)


def test_no_street():
    """An area without a public street has nothing to plan for."""
    with pytest.raises(NothingToCheckError, match="no public street"):
        plan_sites(make_town([STREET | {"public": False}]), WALK)


def test_audit_one_agrees():
    """The share before is that of the audit for a limit that cuts inside an edge."""
    toilet = {"id": "node/1", "place": (700, 0), "doors": [(0, 700.0, 20.0)]}
    frame = make_town([STREET], [toilet])
    plan = plan_sites(frame, Rule("r", "近", "near", "walk", 123.456, "test"), add=1)
    audit = audit_one(frame, "walk", 123.456)
    assert plan.share_before == audit.summary["share"].item() == 0.103456
    assert plan.sites["gain_m"].item() == 246.912
