"""The audit of the example town, worked out on paper; its drawing is in `example_town`.

Ways on foot from the nearest toilet, in metres: the toilet of 中山路 (T1 = node/101) stands 10 m
off the street, 100 m east of c, so c 110, d 210, e 510, h 410, i 410, j 510, k 810, m 810.
From the one in the east (T2 = node/102), 100 m off the street and 250 m east of the boundary:
boundary 350, e 650. From the one in the west (T4 = node/104), on the street: boundary 100, c 400.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from audit_towns import make_town
from oracle import find_faults, sample_crow, sample_walk, share_within
from survey.coverage.audit import audit_coverage
from survey.coverage.rules import Rule
from survey.errors import RuleError
from survey.example import example_town

T1, T2, T4 = "node/101", "node/102", "node/104"
NAN = float("nan")

# edge, from_m, to_m, toilet, worst_m
WALK_COVERED = [
    ("way/1:1", 0, 155, T4, 255),  # x + 100 = 400 - x + 10 at x = 155
    ("way/1:1", 155, 300, T1, 255),
    ("way/1:2", 0, 300, T1, 210),  # worst at d
    ("way/1:3", 0, 290, T1, 500),  # 500 - 210
    ("way/1:4", 150, 300, T2, 500),  # 500 - 350 from the boundary
    ("way/2:0", 0, 300, T1, 410),  # against the one-way, from c to h
    ("way/2:1", 0, 300, T1, 410),
    ("way/3:0", 0, 90, T1, 500),  # 500 - 410 from h
    ("way/5:0", 0, 290, T1, 500),  # 500 - 210 from d
    ("way/6:0", 0, 290, T1, 500),
    ("way/7:0", 0, 90, T1, 500),  # 500 - 410 from i
    ("way/8:0", 0, 90, T1, 500),  # the loop, from both its ends
    ("way/8:0", 310, 400, T1, 500),
]
STREET_1, STREET_3, STREET_4 = "way/1:3@290.000", "way/3:0@90.000", "way/4:0@0.000"
STREET_5, STREET_9 = "way/5:0@290.000", "way/9:0@0.000"
# edge, from_m, to_m, toilet, worst_m, stretch, near the edge of the data, subdistrict
WALK_GAPS = [
    ("way/1:3", 290, 300, T1, 510, STREET_1, False, "relation/502"),  # worst at e
    # 510 + t = 350 + 300 - t at t = 70: 580. The data are known 500 m from their edge: x < 1,000
    ("way/1:4", 0, 100, T1, 580, STREET_1, False, "relation/502"),
    ("way/1:4", 100, 150, T2, 550, STREET_1, True, "relation/502"),  # 350 + 200 at t = 100
    ("way/3:0", 90, 300, T1, 610, STREET_3, False, "relation/501"),  # 410 + t = 510 + 300 - t
    ("way/3:1", 0, 300, T1, 810, STREET_3, False, "relation/502"),  # worst at k
    ("way/4:0", 0, 300, T1, 810, STREET_4, False, "relation/502"),
    ("way/4:1", 0, 300, T1, 810, STREET_4, False, "relation/502"),
    ("way/5:0", 290, 300, T1, 510, STREET_5, False, "relation/502"),  # worst at j
    ("way/6:0", 290, 500, T1, 610, STREET_5, False, "relation/502"),  # 210 + t = 510 + 500 - t
    ("way/7:0", 90, 200, T1, 610, "way/7:0@90.000", False, "relation/501"),
    ("way/8:0", 90, 310, T1, 610, "way/8:0@90.000", False, "relation/501"),
    ("way/9:0", 0, 50, None, NAN, STREET_9, False, "relation/502"),  # joined to no toilet
    ("way/9:0", 50, 200, None, NAN, STREET_9, True, "relation/502"),
]
# scope, id, within_m, checked_m, covered_m
WALK_SHARES = [
    # ways 1: 300 + 250; 2: 600; 3: 250; 7: 200; 8: 400 = 2,000
    # covered 300 + 250 + 600 + 90 + 90 + 180 = 1,510
    ("subdistrict", "relation/501", NAN, 2_000, 1_510),
    # ways 1: 50 + 300 + 300; 3: 50 + 300; 4: 600; 5: 300; 6: 500; 9: 200 = 2,600
    # covered 50 + 290 + 150 + 290 + 290 = 1,070
    ("subdistrict", "relation/502", NAN, 2_600, 1_070),
    # 20 m to the street 100 m from c: 2:0 300, 3:0 280, 1:1 300, 2:1 300, 1:2 300; 80 each of
    # 7:0, both ends of 8:0, 1:3, 5:0, 6:0 = 1,480 + 6 x 80; covered: all but 190 of 3:0
    ("point", "node/302", 500, 1_960, 1_770),
    # 10 m to the street, 200 from e, 100 from the boundary: 1:4 300; 290 of 1:3, 4:0, 4:1;
    # covered: [150, 300] of 1:4, [10, 290] of 1:3
    ("point", "node/303", 500, 1_170, 430),
    # e at 210, k and d at 510, j and c at 810: 1:4, 1:3, 4:0, 4:1, 3:1, 5:0, 1:2 300 each; 6:0 500;
    # 190 each of 3:0 from j, 1:1, 2:0, 2:1 = 2,100 + 500 + 760
    # covered: 150 + 290 + 290 + 290 + 300 + 3 x 190; nothing in 3:0, 3:1, ways 4
    ("point", "node/303", 1_000, 3_360, 1_890),
    # 20 m to the street 150 from e: 4:1, 1:3, 1:4, 4:0 300 each; 30 each of 3:1 from k and of
    # 1:2, 5:0, 6:0 from d; covered: 290 + 150 + 3 x 30
    ("point", "node/304", 500, 1_320, 530),
    # 10 m to the street 200 from h: 3:0 300; 2:0 290; 3:1 300; 5:0 300; 90 each of 4:0 from k,
    # 1:2 and 1:3 from d; [0, 90] and [110, 500] of 6:0 = 1,190 + 270 + 480
    # covered: 90 + 290 + 290 + 90 + 90 + ([0, 90] and [110, 290]) 270
    ("point", "node/305", 500, 1_940, 1_120),
    # 20 m to the street 100 from d: 1:3 300; 280 each of 1:4, 4:0, 4:1; 1:2 300; 5:0 300; 80 each
    # of 1:1, 2:0, 2:1, 3:0, 3:1; [0, 380] and [420, 500] of 6:0 = 1,740 + 400 + 460
    # covered: 290 + 130 + 300 + 290 + 3 x 80 + 290
    ("point", "way/301", 500, 2_600, 1_540),
]

# T1 at (400, 510), T2 at (1450, 600), T4 at (-100, 500); 中山路 is y = 500.
CROW_COVERED = [
    ("way/1:1", 0, 150.1, T4, 250.1),  # (x + 100)^2 = (x - 400)^2 + 10^2 at 150.1
    ("way/1:1", 150.1, 300, T1, 250.1),
    ("way/1:2", 0, 300, T1, 200.25),  # d: sqrt(200^2 + 10^2) = 200.2498
    ("way/1:3", 0, 299.9, T1, 500),  # x = 400 + sqrt(500^2 - 10^2) = 899.9000
    ("way/1:4", 60.102, 300, T2, 500),  # x = 1450 - sqrt(500^2 - 100^2) = 960.1021
    ("way/2:0", 0, 300, T1, 306.757),  # h: sqrt(100^2 + 290^2)
    ("way/2:1", 0, 300, T1, 325.73),  # i: sqrt(100^2 + 310^2)
    ("way/3:0", 0, 300, T1, 352.278),  # j: sqrt(200^2 + 290^2)
    ("way/3:1", 0, 207.308, T1, 500),  # x = 400 + sqrt(500^2 - 290^2) = 807.3082
    ("way/5:0", 0, 300, T1, 352.278),  # j
    ("way/6:0", 0, 500, T1, 423.792),  # the bend: sqrt(400^2 + 140^2)
    ("way/7:0", 0, 200, T1, 325.73),  # i and n alike
    ("way/8:0", 0, 400, T1, 456.18),  # (200, 100): sqrt(200^2 + 410^2)
    ("way/9:0", 100, 200, T2, 500),  # x = 1450 - sqrt(500^2 - 300^2) = 1,050
]
CROW_GAPS = [
    ("way/1:3", 299.9, 300, T1, 500.1, "way/1:3@299.900", False),  # e: sqrt(500^2 + 10^2)
    # T1 and T2 alike at (1450^2 + 100^2 - 400^2 - 10^2) / 2100 = 929.714: 529.809 m
    ("way/1:4", 0, 60.102, T1, 529.809, "way/1:3@299.900", False),
    ("way/3:1", 207.308, 300, T1, 578.014, "way/3:1@207.308", False),  # k: sqrt(500^2 + 290^2)
    ("way/4:0", 0, 300, T1, 578.014, "way/4:0@0.000", False),  # touches T1's circle at (900, 510)
    ("way/4:1", 0, 300, T1, 588.303, "way/4:0@0.000", False),  # m: sqrt(500^2 + 310^2)
    ("way/9:0", 0, 50, T2, 583.095, "way/9:0@0.000", False),  # o: sqrt(500^2 + 300^2)
    ("way/9:0", 50, 100, T2, 540.833, "way/9:0@0.000", True),  # sqrt(450^2 + 300^2)
]
CROW_GAP_M = 0.1 + 60.102 + 92.692 + 300 + 300 + 50 + 50  # 852.894


@pytest.fixture(scope="module")
def town():
    return example_town()


@pytest.fixture(scope="module")
def audit(town):
    return audit_coverage(town, rules=["walk-500", "crow-500"])


@pytest.fixture(scope="module")
def samples(town):
    edges = town.streets.edges
    return sample_crow(edges, sample_walk(edges, town.doors, town.toilets), town.toilets)


def as_rows(table, rule, columns):
    mine = table[table["rule_id"] == rule].sort_values(["edge_id", "from_m"])[columns]
    return [tuple(None if pd.isna(cell) else cell for cell in row) for row in mine.to_numpy()]


def without_nan(rows):
    return [tuple(None if pd.isna(cell) else cell for cell in row) for row in rows]


@pytest.mark.parametrize(("rule", "rows"), [("walk-500", WALK_COVERED), ("crow-500", CROW_COVERED)])
def test_covered_stretches(audit, rule, rows):
    """What is covered, by which toilet and how far from it, is what comes out on paper."""
    columns = ["edge_id", "from_m", "to_m", "toilet_id", "worst_m"]
    assert as_rows(audit.covered, rule, columns) == rows


@pytest.mark.parametrize(("rule", "rows"), [("walk-500", WALK_GAPS), ("crow-500", CROW_GAPS)])
def test_gaps(audit, rule, rows):
    """Each gap, its worst distance, its stretch and its doubt are what comes out on paper."""
    columns = ["edge_id", "from_m", "to_m", "toilet_id", "worst_m", "stretch_id", "near_edge"]
    columns += ["subdistrict_id"] if rule == "walk-500" else []
    wanted = [(*row[:5], f"{rule}/{row[5]}", *row[6:]) for row in without_nan(rows)]
    assert as_rows(audit.gaps, rule, columns) == wanted


def test_gap_facts(audit, town):
    """A gap has the name and the geometry of its stretch of street, and an id by its start."""
    gap = audit.gaps.set_index("gap_id").loc["walk-500/way/6:0@290.000"]
    assert (gap["name"], gap["length_m"]) == ("桂花巷", 210)
    # 290 m from d on are 40 m beyond the bend at (800, 650), towards (600, 800)
    west, south, _, _ = town.data_edge.bounds
    places = np.array(gap["geometry"].coords) - [west + 400, south + 500]
    np.testing.assert_allclose(places, [(768, 674), (600, 800)], atol=1e-3)
    nameless = audit.gaps.set_index("gap_id").loc["walk-500/way/8:0@90.000"]
    assert pd.isna(nameless["name"])


def test_summary(audit):
    """The sums are those of the rows on paper."""
    walk, crow = (row._asdict() for row in audit.summary.itertuples(index=False))
    # 1,200 + 600 + 600 + 600 + 300 + 500 + 200 + 400 + 200; the driveway and the motorway are not
    assert walk["checked_m"] == crow["checked_m"] == 4_600
    # 155 + 145 + 300 + 290 + 150 + 300 + 300 + 90 + 290 + 290 + 90 + 180
    assert walk["covered_m"] == 2_580
    assert walk["share"] == 2_580 / 4_600
    assert walk["near_edge_gap_m"] == 50 + 150
    assert walk["unconnected_gap_m"] == 200
    assert walk["share_high"] == 2_780 / 4_600
    assert crow["covered_m"] == round(4_600 - CROW_GAP_M, 3)
    assert crow["near_edge_gap_m"] == 50
    assert crow["unconnected_gap_m"] == 0
    assert crow["share_high"] == round(4_650 - CROW_GAP_M, 3) / 4_600
    assert (walk["met"], crow["met"], audit.met) == (False, False, False)


def test_shares_on_foot(audit):
    """Shares by subdistrict and around each point are what comes out on paper."""
    mine = audit.shares[audit.shares["rule_id"] == "walk-500"]
    found = mine.set_index(["scope", "id", "within_m"])[["checked_m", "covered_m", "share"]]
    for scope, name, within, checked, covered in WALK_SHARES:
        assert tuple(found.loc[(scope, name, within)]) == (checked, covered, covered / checked)
    # within 2 km of every point lies all that is joined
    far = mine[mine["within_m"] == 2_000]
    assert len(far) == 5
    assert (far["checked_m"] == 4_400).all()
    assert (far["covered_m"] == 2_580).all()


def test_shares_by_crow(audit):
    """By crow a point's share is that of the street in the disc around it."""
    mine = audit.shares[audit.shares["rule_id"] == "crow-500"]
    found = mine.set_index(["scope", "id", "within_m"])[["checked_m", "covered_m"]]
    assert tuple(found.loc[("subdistrict", "relation/501", NAN)]) == (2_000, 2_000)
    east = found.loc[("subdistrict", "relation/502", NAN)]
    assert tuple(east) == pytest.approx((2_600, 2_600 - CROW_GAP_M), abs=0.002)
    # The station at (1100, 490): 1:3 from x = 1100 - sqrt(500^2 - 10^2) = 600.1: 299.9; 1:4 300;
    # ways 4 600 (x = 900 is within for 458 m up and down); 9:0 200; 3:1 from
    # x = 1100 - sqrt(500^2 - 310^2) = 707.699: 192.301; 6:0 from 0.127 m after d (s^2 - 788 s +
    # 100 = 0) to 161.289 m beyond the bend (s^2 + 672 s - 134400 = 0): 411.162
    checked = 299.9 + 300 + 600 + 200 + 192.301 + 411.162
    # less the gaps in it: 0.1 of 1:3, 60.102 of 1:4, ways 4, 100 of 9:0, 92.692 of 3:1
    covered = checked - 0.1 - 60.102 - 600 - 100 - 92.692
    # the disc is a polygon of 256 sides, 4 cm short at most, on 3 streets that cross its rim
    assert tuple(found.loc[("point", "node/303", 500)]) == pytest.approx(
        (checked, covered), abs=0.2
    )


def test_limit_of_the_requirement(town):
    """A share that is reached exactly meets the requirement, a millimetre more does not."""
    for wanted, met in ((2_580 / 4_600, True), (2_580.001 / 4_600, False), (0, True)):
        assert audit_coverage(town, rules=["walk-500"], min_share=wanted).met is met


def test_all_covered():
    """Where every metre is covered there is no gap, and the rule is met without a given share."""
    frame = make_town(
        [{"u": "a", "v": "b", "vertices": [(0, 0), (600, 0)]}],
        [{"id": "t", "place": (300, 5), "doors": [(0, 300, 5)]}],
    )
    audit = audit_coverage(frame)
    assert audit.met
    assert (audit.summary["share"] == 1).all()
    assert (audit.summary["share_high"] == 1).all()
    assert audit.gaps.empty


@pytest.mark.parametrize("how", ["none", "closed"])
def test_no_toilet(town, how):
    """Without a toilet that is open every metre fails, and that is no error."""
    toilets = town.toilets.assign(status="closed") if how == "closed" else town.toilets.iloc[:0]
    doors = town.doors[(town.doors["layer"] != "toilet") | (how == "closed")]
    frame = replace(town, toilets=toilets, doors=doors.reset_index(drop=True))
    audit = audit_coverage(frame, min_share=0.5)
    assert (audit.summary["share"] == 0).all()
    assert (audit.summary["unconnected_gap_m"] == 4_600).all()
    assert not audit.met
    assert audit.covered.empty
    assert audit.gaps["worst_m"].isna().all()
    assert audit.gaps["toilet_id"].isna().all()
    assert audit.gaps.groupby("rule_id")["length_m"].sum().to_list() == [4_600, 4_600]
    assert (audit.shares["share"] == 0).all()
    # known for 100 < x < 1,000: 100 of 1:1, 200 of 1:4, 150 of 9:0 might have one beyond the data
    assert (audit.summary["share_high"] == 450 / 4_600).all()


def test_no_point_and_no_subdistrict(town):
    """Without fixed points and subdistricts there are no shares, and the rest stands."""
    doors = town.doors[town.doors["layer"] != "point"].reset_index(drop=True)
    bare = replace(
        town, points=town.points.iloc[:0], subdistricts=town.subdistricts.iloc[:0], doors=doors
    )
    audit = audit_coverage(bare, rules=["walk-500"])
    assert audit.shares.empty
    assert audit.summary["covered_m"].to_list() == [2_580]
    assert audit.gaps["subdistrict_id"].isna().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rules": ["walk-5000"]}, "there is no rule 'walk-5000'; did you mean 'walk-500'"),
        ({"rules": []}, "name each rule once"),
        ({"rules": ["walk-500", "walk-500"]}, "name each rule once"),
        ({"min_share": 1.01}, "min_share is 1.01"),
        ({"min_share": -0.01}, "min_share is -0.01"),
        ({"min_share": float("nan")}, "min_share is nan"),
    ],
)
def test_wrong_questions(town, options, message):
    """An unknown or repeated rule and a share that is none are refused, in words that help."""
    with pytest.raises(RuleError, match=message):
        audit_coverage(town, **options)


def test_no_street_to_check(town):
    """An area without public streets is refused."""
    edges = town.streets.with_edges(inside=False)
    with pytest.raises(RuleError, match="no public street"):
        audit_coverage(replace(town, streets=edges))


@pytest.mark.parametrize(("metric", "limit_m"), [("tram", 500), ("walk", 0), ("crow", NAN)])
def test_impossible_rule(metric, limit_m):
    """A rule with an unknown metric or a limit that is not above 0 is refused."""
    with pytest.raises(RuleError, match="rule r"):
        Rule("r", "", "", metric, limit_m, "")


@pytest.mark.parametrize("rule", ["walk-500", "crow-500"])
def test_brute_force_agrees(audit, samples, rule):
    """A position every metre, each measured by itself, says the same as the exact intervals."""
    metric = rule[:4]
    mine = audit.covered[audit.covered["rule_id"] == rule]
    assert find_faults(samples, mine, metric, 500).empty
    share = audit.summary.set_index("rule_id")["share"][rule]
    # every end of an interval falls into a cell of 1 m: half a metre for each of 14 rows' ends
    assert share_within(samples, metric, 500) == pytest.approx(share, abs=14 / 4_600)


def snapped_to_nodes(town):
    """Move every door of a toilet to the nearer end of its edge, as node snapping does."""
    doors = town.doors.copy()
    length = doors["edge_id"].map(town.streets.edges.set_index("edge_id")["length_m"])
    ends = length.where(doors["offset_m"] > length / 2, 0)
    doors["offset_m"] = ends.where(doors["layer"] == "toilet", doors["offset_m"])
    return replace(town, doors=doors)


def without_access(town):
    """Let toilets stand on the street."""
    toilet = town.doors["layer"] == "toilet"
    return replace(town, doors=town.doors.assign(access_m=town.doors["access_m"].mask(toilet, 0.0)))


def with_closed_ones(town):
    """Count closed toilets."""
    return replace(town, toilets=town.toilets.assign(status="public"))


@pytest.mark.parametrize("twin", [snapped_to_nodes, without_access, with_closed_ones])
def test_wrong_twins_fail(town, samples, twin):
    """An audit with a known mistake in it does not get through the gate of brute force."""
    audit = audit_coverage(twin(town), rules=["walk-500"])
    assert len(find_faults(samples, audit.covered, "walk", 500)) > 5
