"""Rules at fixed points and compounds, densities, and what stands in the place of toilets."""

from dataclasses import replace
from datetime import datetime

import numpy as np
import pandas as pd
import pytest
import shapely

from audit_towns import fill, make_town
from survey.coverage.audit import audit_all, audit_coverage
from survey.coverage.rules import Rule, read_rules
from survey.coverage.supply import close_toilets, view_supply
from survey.errors import NothingToCheckError, RuleError
from survey.example import example_town
from survey.workspace import open_workspace

STREET = [{"u": "a", "v": "b", "vertices": [(0, 0), (1000, 0)]}]
STREET += [{"u": "b", "v": "c", "vertices": [(1000, 0), (2000, 0)]}]
SCHOOLS = [
    {"id": "one", "place": (100, 10), "doors": [(0, 100.0, 10.0)]},
    {"id": "two", "place": (1000, 20), "doors": [(1, 0.0, 20.0)]},
    {"id": "far", "place": (500, 900)},
]
YOUTH = read_rules()["youth-200"]


def rule_at(on, limit_m, **more):
    return Rule("r", "规", "A rule", more.pop("metric", "walk"), limit_m, "test", on=on, **more)


def with_facilities(frame, rows):
    """Add facilities (id, kind, row of the edge, offset_m, access_m), and their doors."""
    lines = frame.streets.edges.geometry
    spots = [shapely.line_interpolate_point(lines.iloc[edge], at) for _, _, edge, at, _ in rows]
    made = [
        {"facility_id": name, "kind": kind, "source": "test", "inside": True, "geometry": spot}
        for (name, kind, *_), spot in zip(rows, spots, strict=True)
    ]
    doors = [
        {
            "layer": "facility",
            "id": name,
            "n": 0,
            "edge_id": frame.streets.edges["edge_id"].iloc[edge],
            "kind": "nearest",
            "offset_m": at,
            "access_m": access,
            "geometry": spot,
        }
        for (name, _, edge, at, access), spot in zip(rows, spots, strict=True)
    ]
    together = pd.concat([frame.doors, fill("doors", doors)], ignore_index=True)
    return replace(frame, facilities=fill("facilities", made), doors=together)


def test_no_bar_near_a_school():
    """Door to door: the first school has a bar at 10 + 150 + 5 m, the second at 20 + 300 m."""
    bars = [("bar", "youth_barred", 0, 250.0, 5.0), ("pub", "youth_barred", 1, 300.0, 0.0)]
    frame = with_facilities(make_town(STREET, points=SCHOOLS), bars)
    audit = audit_coverage(frame, rules=[YOUTH], min_share=0.6)
    checks = audit.checks.set_index("id")
    assert checks["distance_m"].to_dict() == pytest.approx(
        {"one": 165, "two": 320, "far": np.nan}, nan_ok=True
    )
    assert checks["facility_id"]["one"] == "bar"
    assert checks["met"].to_dict() == {"one": False, "two": True, "far": True}
    row = audit.summary.iloc[0]
    assert (row["checked_n"], row["covered_n"], row["met"]) == (3, 2, True)
    assert np.isnan(row["checked_m"])
    shares = audit.shares[audit.shares["scope"] == "subdistrict"]
    assert shares[["checked_n", "covered_n"]].to_numpy().tolist() == [[3, 2]]


def test_the_limit_itself_is_within():
    """A facility at exactly the limit serves, one a millimetre farther does not."""
    frame = with_facilities(
        make_town(STREET, points=SCHOOLS[:1]), [("clinic", "clinic", 0, 400.0, 0.0)]
    )
    for limit_m, met in ((310, True), (309.999, False)):
        rule = rule_at("points", limit_m, facility="clinic")
        assert audit_coverage(frame, rules=[rule]).checks["met"].tolist() == [met]


def test_by_crow_at_points():
    """In a straight line the first school's toilet is 90 m away, from shape to shape."""
    toilets = [{"id": "t", "place": (100, 100), "doors": [(0, 100.0, 100.0)]}]
    frame = make_town(STREET, toilets=toilets, points=SCHOOLS)
    rule = rule_at("points", 300, metric="crow", kinds=["school"])
    checks = audit_coverage(frame, rules=[rule]).checks.set_index("id")
    assert checks["distance_m"]["one"] == 90
    assert checks["met"].to_dict() == {"one": True, "two": False, "far": False}


def test_near_the_edge_of_the_data_is_open_both_ways():
    """A school near the edge may have a toilet, or a bar, beyond it: the interval says so."""
    frame = make_town(STREET, points=SCHOOLS[:1], data_edge=(0, -9_000, 9_000, 9_000))
    asked = audit_coverage(frame, rules=[rule_at("points", 300)]).summary.iloc[0]
    assert (asked["share"], asked["share_high"]) == (0, 1)
    barred = audit_coverage(frame, rules=[YOUTH]).summary.iloc[0]
    assert (barred["share"], barred["share_high"]) == (0, 1)
    inland = make_town(STREET, points=SCHOOLS[:1])
    barred = audit_coverage(inland, rules=[YOUTH]).summary.iloc[0]
    assert (barred["share"], barred["share_high"]) == (1, 1)


def test_small_parks_do_not_count():
    """A rule that asks for size passes over smaller parks, and over nodes: theirs is unknown."""
    frame = with_facilities(make_town(STREET, points=SCHOOLS[:1]), [("p", "park", 0, 150.0, 0.0)])
    small = replace(frame, facilities=frame.facilities.assign(area_m2=1_999.0))
    large = replace(frame, facilities=frame.facilities.assign(area_m2=2_000.0))
    rule = rule_at("points", 300, facility="park", least_m2=2_000)
    shares = [
        audit_coverage(each, rules=[rule]).summary["share"][0] for each in (frame, small, large)
    ]
    assert shares == [0, 0, 1]


def test_streets_by_another_facility():
    """A rule on streets about clinics is what the toilets' rule would be, were they toilets."""
    spots = [("k", "clinic", 0, 300.0, 15.0)]
    frame = with_facilities(make_town(STREET), spots)
    rule = rule_at("streets", 500, facility="clinic")
    toilets = [{"id": "k", "place": (300, 15), "doors": [(0, 300.0, 15.0)]}]
    twin = make_town(STREET, toilets=toilets)
    one, other = audit_coverage(frame, rules=[rule]), audit_coverage(twin, rules=["walk-500"])
    assert one.summary["covered_m"][0] == other.summary["covered_m"][0] == 785
    assert one.covered["toilet_id"].unique().tolist() == ["k"]


def test_the_view_leaves_the_frame_alone():
    """What stands in for toilets does so in a copy, and ids that both have do not mix."""
    toilets = [{"id": "k", "place": (900, 0), "doors": [(0, 900.0, 0.0)]}]
    frame = with_facilities(make_town(STREET, toilets=toilets), [("k", "clinic", 0, 100.0, 0.0)])
    before = frame.doors.copy()
    view = view_supply(frame, rule_at("streets", 50, facility="clinic"))
    assert view.doors[view.doors["layer"] == "toilet"]["offset_m"].tolist() == [100]
    pd.testing.assert_frame_equal(frame.doors, before)
    assert frame.toilets["toilet_id"].tolist() == ["k"]


def test_density():
    """Half a km2 within 250 m of a 1 km street, and its round ends: 3 per km2 asks for 2.09."""
    street = [{"u": "a", "v": "b", "vertices": [(0, 500), (1000, 500)]}]
    toilets = [{"id": "t", "place": (500, 505), "doors": [(0, 500.0, 5.0)]}]
    frame = make_town(street, toilets=toilets)
    row = audit_coverage(frame, rules=["density-3"]).summary.iloc[0]
    # The area is the square from 0 to 1,000, so the round ends lie outside of it.
    assert row["checked_n"] == pytest.approx(1.5, abs=0.01)
    assert row["covered_n"] == 1
    assert row["share"] == pytest.approx(1 / 1.5, abs=0.01)


def test_all_rules_that_the_data_can_judge():
    """What the data hold nothing of is named, and the rest is audited."""
    audit = audit_all(example_town())
    judged = set(audit.summary["rule_id"])
    assert {"walk-500", "crow-500", "crow-300", "density-3"} <= judged
    assert "youth-200" not in judged
    assert "youth-200 cannot be judged: the data hold no youth_barred" in audit.notes
    named = {note.split()[0] for note in audit.notes if "cannot be judged" in note}
    assert judged | named == set(read_rules())
    assert not judged & named


def test_a_rule_on_what_the_area_does_not_have():
    """A rule at compounds, in an area without any, is refused in one line."""
    with pytest.raises(NothingToCheckError, match="rule r: the area has no compounds to ask it at"):
        audit_coverage(make_town(STREET), rules=[rule_at("compounds", 300)])
    with pytest.raises(RuleError, match="no rule can be judged"):
        audit_all(make_town(STREET), rules={"r": rule_at("compounds", 300)})


def test_hours_close_toilets():
    """At night the toilet with hours is closed, the one without may be open: both ways count."""
    toilets = [
        {"id": "day", "place": (0, 0), "doors": [(0, 0.0, 0.0)], "opening_hours": "08:00-18:00"},
        {"id": "unknown", "place": (1000, 0), "doors": [(1, 0.0, 0.0)]},
        {"id": "always", "place": (2000, 0), "doors": [(1, 1000.0, 0.0)], "opening_hours": "24/7"},
    ]
    frame = make_town(STREET, toilets=toilets)
    rule = rule_at("streets", 200)

    def ask(moment):
        found = audit_coverage(frame, rules=[rule], moment=moment)
        return found.summary["covered_m"][0], found.summary["share_high"][0] * 2_000

    assert ask(None) == (800, 800)
    assert ask(datetime(2026, 6, 1, 12)) == (400, 800)  # noqa: DTZ001 - local time of the place
    assert ask(datetime(2026, 6, 1, 23)) == (200, 600)  # noqa: DTZ001
    assert close_toilets(frame, ["day"]).supply()["toilet_id"].tolist() == ["always", "unknown"]


def test_facilities_of_monaco(monaco_run):
    """On the demo city every rule is judged or named, and each check is of an object there is."""
    frame = open_workspace(monaco_run.workspace).read_frame()
    audit = audit_all(frame)
    ids = {*frame.points["point_id"], *frame.compounds["compound_id"]}
    assert set(audit.checks["id"]) <= ids
    assert {"spacing-500", "youth-200", "park-500"} <= set(audit.summary["rule_id"])
    assert audit.summary["share"].between(0, 1).all()
    assert (audit.summary["share_high"] >= audit.summary["share"] - 1e-12).all()
    assert audit.gaps.crs == frame.area.crs
