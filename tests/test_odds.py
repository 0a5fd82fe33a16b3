import time
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from enumeration import count_out, list_units, make_case, make_town, near
from survey.errors import DesignError, TableError
from survey.sampling.design import Design
from survey.sampling.odds import joint_odds, point_odds, visit_odds
from survey.tables import LAYERS, check, empty

ONE = Design(alleys=(1, 1), compounds=(1, 1))
TINY = 1e-12


def tabulate_odds(frame, reach, design):
    """Give the table of odds by (layer, unit_id), after checking its form."""
    odds = check("odds", visit_odds(frame, reach, design))
    names = ["prob", "expected_visits", "points", "prob_low", "prob_high", "near_edge"]
    assert list(odds.columns) == ["layer", "unit_id", *names]
    assert list(zip(odds["layer"], odds["unit_id"], strict=True)) == list_units(frame)
    assert odds.index.equals(pd.RangeIndex(len(odds)))
    return odds.set_index(["layer", "unit_id"])


def as_dict(column):
    """Give a column's numbers by key, as exact as they are."""
    return {key: Fraction(value) for key, value in column.items()}


def assert_equals(found, counted):
    """Assert that what was found is what was counted out, to 1e-12."""
    assert found.keys() == counted.keys()
    worst = max((abs(found[key] - counted[key]), key) for key in found)
    assert worst[0] <= TINY, worst


@pytest.mark.parametrize("seed", range(120))
def test_odds_equal_full_enumeration(seed):
    """Every column of the odds equals what is counted out over all that can happen."""
    frame, reach, design = make_case(seed)
    counted = count_out(frame, reach, design, with_joint=False)
    if not counted.can_draw:
        with pytest.raises(DesignError):
            visit_odds(frame, reach, design)
        return
    table = visit_odds(frame, reach, design)
    odds = tabulate_odds(frame, reach, design)
    assert_equals(as_dict(odds["prob"]), counted.prob)
    assert_equals(as_dict(odds["expected_visits"]), counted.visits)
    assert_equals(as_dict(odds["prob_low"]), counted.low)
    assert_equals(as_dict(odds["prob_high"]), counted.high)
    assert odds["points"].to_dict() == counted.points
    assert odds["near_edge"].to_dict() == counted.near_edge
    assert odds["expected_visits"].sum() == pytest.approx(float(counted.expected), abs=TINY)
    for layer in LAYERS:
        assert table.attrs[f"points_without_{layer}"] == counted.without[layer]


@pytest.mark.parametrize("seed", range(200, 260))
def test_joint_odds_equal_full_enumeration(seed):
    """The joint odds of all pairs, of one layer and across, equal full enumeration."""
    frame, reach, design = make_case(seed)
    counted = count_out(frame, reach, design)
    if not counted.can_draw:
        return
    units = list_units(frame)[::-1]
    joint = joint_odds(frame, reach, design, pd.DataFrame(units, columns=["layer", "unit_id"]))
    assert joint.index.tolist() == joint.columns.tolist() == units
    assert list(joint.index.names) == ["layer", "unit_id"]
    found = {(i, j): Fraction(joint.loc[i, j]) for i in units for j in units}
    assert_equals(found, counted.joint)


@pytest.mark.parametrize("seed", range(300, 340))
def test_point_odds_equal_full_enumeration(seed):
    """The odds of one visit to a point equal full enumeration; absent pairs cannot be drawn."""
    frame, reach, design = make_case(seed)
    counted = count_out(frame, reach, design, with_joint=False)
    if not counted.can_draw:
        return
    pairs = point_odds(frame, reach, design)
    assert list(pairs.columns) == ["point_id", "layer", "unit_id", "prob"]
    assert not pairs.duplicated(["point_id", "layer", "unit_id"]).any()
    found = as_dict(pairs.set_index(["point_id", "layer", "unit_id"])["prob"])
    kinds = frame.points.set_index("point_id")["kind"]
    never = {kind for kind, n in (design.points or {}).items() if n == 0}
    visited = {key: p for key, p in counted.at_point.items() if kinds[key[0]] not in never}
    assert not set(found) - set(counted.at_point) or not any(
        found[key] for key in set(found) - set(counted.at_point)
    )
    assert_equals({key: found.get(key, Fraction(0)) for key in visited}, visited)


def test_two_alleys_by_hand():
    """A near alley is alone for half of the radii, and then shares the draw with the far one.

    Alleys a at 500 m and b at 1250 m, R uniform on [500, 2000], one or two drawn. Below 1250 m
    (half of the radii) a is drawn for certain; above, one of two when k = 1, both when k = 2.
    a: 1/2 + 1/2 (1/2 + 1) / 2 = 7/8; b: 1/2 (1/2 + 1) / 2 = 3/8. A fixed radius gives a 1 or
    3/4, b 0 or 3/4. The sum is 5/4 = E min(k, M) = 1/2 * 1 + 1/2 * 3/2.
    """
    odds = tabulate_odds(*make_town(*near(0, 500, 1250)), Design())
    assert odds["prob"].tolist() == pytest.approx([7 / 8, 3 / 8], abs=TINY)
    assert odds["expected_visits"].tolist() == pytest.approx([7 / 8, 3 / 8], abs=TINY)
    assert odds["prob_low"].tolist() == pytest.approx([3 / 4, 0], abs=TINY)
    assert odds["prob_high"].tolist() == pytest.approx([1, 3 / 4], abs=TINY)
    assert odds["points"].tolist() == [1, 1]


def test_ring_by_hand():
    """What lies nearer than the ring neither is drawn nor takes a place; its inner edge is in.

    Of alleys at 299.999, 300 and 400 m, with k = 1 and R = 500 m, two share the draw.
    """
    town = make_town(*near(0, 299.999, 300, 400))
    odds = tabulate_odds(*town, replace(ONE, min_m=300, radius="fixed:500"))
    assert odds["prob"].tolist() == pytest.approx([0, 1 / 2, 1 / 2], abs=TINY)
    assert odds["points"].tolist() == [0, 1, 1]


def test_radius_is_closed():
    """A unit at the very radius is in; at the greatest one of a uniform law its odds are 0.

    Alleys at 500 and 2000 m: R = 2000 m has probability 0 under the uniform law, so b is never
    drawn, but one half of the time if the radius is 2000 m.
    """
    odds = tabulate_odds(*make_town(*near(0, 500, 2000)), ONE)
    assert odds["prob"].tolist() == pytest.approx([1, 0], abs=TINY)
    assert odds["prob_low"].tolist() == pytest.approx([1 / 2, 0], abs=TINY)
    assert odds["prob_high"].tolist() == pytest.approx([1, 1 / 2], abs=TINY)
    assert odds["points"].tolist() == [1, 1]
    fixed = tabulate_odds(*make_town(*near(0, 500, 2000)), replace(ONE, radius="fixed:2000"))
    assert fixed["prob"].tolist() == pytest.approx([1 / 2, 1 / 2], abs=TINY)


def test_distances_count_to_the_millimetre():
    """Distances are compared as draws compare them: rounded to the millimetre."""
    frame, reach = make_town(*near(0, 600.0004, 600.0006))
    odds = tabulate_odds(frame, reach, replace(ONE, radius="fixed:600"))
    assert odds["prob"].tolist() == [1, 0]


def test_table_by_hand():
    """A table of radii mixes what each radius gives.

    Alleys at 400 and 900 m, k = 1; R = 500 m with 1/4, 1000 m with 3/4: a is drawn with
    1/4 + 3/4 * 1/2 = 5/8, b with 3/8. Two radii mean the band's ends, 1 and 1/2 or 0 and 1/2.
    """
    design = replace(ONE, radius={500: 0.25, 1000: 0.75})
    odds = tabulate_odds(*make_town(*near(0, 400, 900)), design)
    assert odds["prob"].tolist() == pytest.approx([5 / 8, 3 / 8], abs=TINY)
    assert odds["prob_low"].tolist() == pytest.approx([1 / 2, 0], abs=TINY)
    assert odds["prob_high"].tolist() == pytest.approx([1, 1 / 2], abs=TINY)


def test_some_points_of_a_kind_by_hand():
    """Where two of three schools are visited, their visits depend on each other.

    Alley a shares the draw with b at schools 0 and 1 (p = 1/2 each), school 2 has only b.
    The pairs 01, 02, 12 are equally likely: P(a not drawn) = (1/4 + 1/2 + 1/2) / 3 = 5/12.
    Expected visits: 2/3 (1/2 + 1/2) = 2/3. Independent visits would give 1 - (2/3)^2 = 5/9.
    """
    rows = [*near(0, 100, 100), *near(1, 100, 100), (2, "alley", "b", 100)]
    town = make_town(*rows, kinds=("school",) * 3)
    odds = tabulate_odds(*town, replace(ONE, radius="fixed:500", points={"school": 2}))
    assert odds.loc[("alley", "a"), "prob"] == pytest.approx(7 / 12, abs=TINY)
    assert odds.loc[("alley", "a"), "expected_visits"] == pytest.approx(2 / 3, abs=TINY)
    assert odds.loc[("alley", "a"), "points"] == 2


def test_layers_share_the_radius_by_hand():
    """An alley and a compound at one distance are drawn together, because R is the same.

    Both at 1250 m, alone, R uniform on [500, 2000]: each is drawn when R >= 1250 m, with 1/2,
    and then so is the other: 1/2 again, not 1/4.
    """
    frame, reach = make_town((0, "alley", "x", 1250), (0, "compound", "x", 1250))
    units = pd.DataFrame({"layer": LAYERS, "unit_id": "x"})
    joint = joint_odds(frame, reach, ONE, units)
    assert joint.to_numpy() == pytest.approx(np.full((2, 2), 1 / 2), abs=TINY)


def test_pair_of_three_by_hand():
    """Two of three alleys, two drawn: each pair is one of three."""
    frame, reach = make_town(*near(0, 10, 20, 30))
    units = pd.DataFrame({"layer": "alley", "unit_id": ["c", "a"]})
    design = Design(alleys=(2, 2), radius="fixed:500")
    joint = joint_odds(frame, reach, design, units)
    assert joint.index.tolist() == [("alley", "c"), ("alley", "a")]
    assert joint.to_numpy().tolist() == [
        pytest.approx([2 / 3, 1 / 3]),
        pytest.approx([1 / 3, 2 / 3]),
    ]


def test_band_has_one_radius_for_all_points():
    """The ends of the band are reached by one radius for all points, not by the worst of each.

    Alley a, k = 1. Point 0: a at 500 m, b and c at 1000 m, so p = 1, from 1000 m on 1/3.
    Point 1: b at 500 m, a at 1000 m: p = 0, from 1000 m on 1/2. Together 1, from 1000 m on
    1 - 2/3 * 1/2 = 2/3; the worst of each point, 1/3 and 0, would say 1/3.
    """
    rows = [*near(0, 500, 1000, 1000), (1, "alley", "b", 500), (1, "alley", "a", 1000)]
    odds = tabulate_odds(*make_town(*rows, kinds=("school", "market")), ONE)
    a = odds.loc[("alley", "a")]
    assert a["prob_low"] == pytest.approx(2 / 3, abs=TINY)
    assert a["prob_high"] == pytest.approx(1, abs=TINY)
    # p at point 0 is 1/3 + 2/3 * 1/3 = 5/9, at point 1 it is 2/3 * 1/2 = 1/3
    assert a["prob"] == pytest.approx(1 - 4 / 9 * 2 / 3, abs=TINY)


def test_band_finds_a_window_of_a_millimetre():
    """The worst radius may be one that lies between two distances a millimetre apart.

    Alley a, k = 1: certain at point 0 until b joins it at 900 m, then 1/2; from 900.001 m on
    certain at point 1. Compound x, k = 1: alone at point 0 from 700 m, y beside it at 700.001 m.
    """
    rows = [*near(0, 500, 900), (1, "alley", "a", 900.001)]
    rows += [(0, "compound", "x", 700), (0, "compound", "y", 700.001)]
    odds = tabulate_odds(*make_town(*rows, kinds=("school", "market")), ONE)
    assert odds["prob_low"].tolist() == pytest.approx([1 / 2, 0, 0, 0], abs=TINY)
    assert odds["prob_high"].tolist() == pytest.approx([1, 1 / 2, 1, 1 / 2], abs=TINY)


def test_band_holds_the_whole_of_within_m_whatever_the_law():
    """A fixed law has the band of every radius that the inspectors could choose."""
    odds = tabulate_odds(*make_town(*near(0, 500, 1250)), replace(ONE, radius="fixed:500"))
    assert odds["prob"].tolist() == [1, 0]
    assert odds["prob_low"].tolist() == pytest.approx([1 / 2, 0], abs=TINY)
    assert odds["prob_high"].tolist() == pytest.approx([1, 1 / 2], abs=TINY)


def test_near_edge_by_hand():
    """A unit is marked when a point nearer than 2 km to the data's edge touches its odds."""
    rows = [*near(0, 100, 900, 1900), (1, "alley", "b", 100), (1, "alley", "d", 100)]
    frame, reach = make_town(*rows, kinds=("school", "market"))
    frame.points["data_edge_m"] = [1999.0, 2000.0]
    odds = tabulate_odds(frame, reach, Design(min_m=100, within_m=(500, 1500)))
    assert odds["near_edge"].tolist() == [True, True, False, False]
    odds = tabulate_odds(frame, reach, Design(min_m=101, within_m=(500, 1500)))
    assert odds["near_edge"].tolist() == [False, True, False, False]


def test_wide_counts_take_no_time():
    """A count of 1 to a million over two alleys: only k = 1 leaves one out, half of the time."""
    start = time.perf_counter()
    odds = tabulate_odds(*make_town(*near(0, 10, 20)), Design(alleys=(1, 1_000_000)))
    assert time.perf_counter() - start < 1
    assert odds["prob"].tolist() == pytest.approx([1 - 0.5e-6] * 2, abs=TINY)


def test_more_wanted_than_there_is():
    """Where no more units lie within the least radius than are wanted, they are certain."""
    frame, reach = make_town(*near(0, 10, 500, 500), (0, "compound", "x", 0))
    odds = tabulate_odds(frame, reach, Design(alleys=(3, 9), compounds=(2, 2)))
    assert odds["prob"].tolist() == pytest.approx([1] * 4, abs=TINY)
    assert odds["prob"].max() <= 1


def test_layer_of_which_none_is_drawn():
    """Where no alley is asked for, alleys have odds 0 and compounds theirs."""
    frame, reach = make_town(*near(0, 10), (0, "compound", "x", 0))
    odds = tabulate_odds(frame, reach, Design(alleys=(0, 0)))
    columns = ["prob", "expected_visits", "prob_low", "prob_high"]
    assert odds.loc[("alley", "a"), columns].tolist() == [0, 0, 0, 0]
    assert odds.loc[("compound", "x"), columns].tolist() == pytest.approx([1] * 4, abs=TINY)


def test_points_without_units_are_counted():
    """A point with nothing within the greatest radius is kept and counted, layer by layer."""
    rows = [*near(0, 100), (1, "alley", "a", 1000.001), (2, "compound", "x", 50)]
    frame, reach = make_town(*rows, kinds=("school", "market", "station", "mall"))
    odds = visit_odds(frame, reach, Design(within_m=(500, 1000), points={"mall": 0}))
    assert odds.attrs["points_without_alley"] == 2
    assert odds.attrs["points_without_compound"] == 2


def test_units_out_of_reach_have_a_row():
    """Every unit of the frame has a row; one that nothing reaches has odds 0 in every column."""
    frame, reach = make_town(*near(0, 100, 3000))
    far = tabulate_odds(frame, reach, Design()).loc[("alley", "b")]
    assert (far == 0).all()


def test_one_layer_alone():
    """A frame without any compound has the odds of its alleys."""
    frame, reach = make_town(*near(0, 100, 200))
    frame.compounds = empty("compounds", crs=32650)
    assert tabulate_odds(frame, reach, replace(ONE, points={}))["prob"].tolist() == [1 / 2, 1 / 2]


@pytest.mark.parametrize("visited", [1, 300, 1199, 1200])
def test_many_points_of_a_kind(visited):
    """Odds hold where the numbers of ways to choose the points have hundreds of digits.

    Of 1,200 schools 400 reach alley x, each together with some of 40 others. The points are
    gone through in turn: each is visited with (left to visit) / (left over).
    """
    rng = np.random.default_rng(7)
    beside = np.where(np.arange(1200) < 400, rng.integers(0, 41, size=1200), -1)
    rows = [
        (point, "alley", name, 300.0)
        for point, others in enumerate(beside)
        if others >= 0
        for name in ["x", *(f"y{n}" for n in range(others))]
    ]
    frame, reach = make_town(*rows, kinds=("school",) * 1200)
    missed = np.zeros(visited + 2)
    missed[0] = 1
    for n, others in enumerate(beside):
        chosen = np.clip((visited - np.arange(visited + 2)) / (1200 - n), 0, 1)
        drawn = 1 / (1 + others) if others >= 0 else 0
        moved = missed * chosen * (1 - drawn)
        missed = missed * (1 - chosen)
        missed[1:] += moved[:-1]
    design = replace(ONE, radius="fixed:500", points={"school": visited})
    x = tabulate_odds(frame, reach, design).loc[("alley", "x")]
    assert x["prob"] == pytest.approx(1 - missed.sum(), abs=TINY)
    mean = (visited / 1200) * (1 / (1 + beside[beside >= 0])).sum()
    assert x["expected_visits"] == pytest.approx(mean, rel=TINY)
    assert x["points"] == 400


@pytest.mark.parametrize(
    ("radius", "said"),
    [
        ({500: 0.25, 1000: 0.7}, "sum"),
        ({500: 0.5, 1000: 0.75}, "sum"),
        ({500: -0.5, 1000: 1.5}, "weight"),
        ({500: float("nan"), 1000: 1}, "weight"),
        ({400: 0.5, 1000: 0.5}, "within_m"),
        ({500: 0.5, 2000.001: 0.5}, "within_m"),
        ({}, "table"),
        ("table:500=0.5,1000=0.6", "sum"),
        ("table:500,1000", "table"),
        ("table:", "table"),
        ("about 800", "uniform"),
        ("fixed:", "uniform"),
    ],
)
def test_laws_that_make_no_sense_are_refused(radius, said):
    """A law of the radius that is unknown, or no law of probability, is one clear line."""
    with pytest.raises(DesignError, match=said) as caught:
        Design(radius=radius)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("design", "rows"),
    [
        (Design(points={"school": 0, "market": 0}), near(0, 100)),
        (Design(within_m=(500, 800)), near(0, 800.001)),
        (Design(radius="fixed:500"), near(0, 600)),
        (Design(min_m=300), near(0, 299.999)),
    ],
    ids=["no visit", "too far", "beyond the fixed radius", "inside the ring"],
)
def test_designs_that_no_round_can_satisfy_are_refused(design, rows):
    """Where no visit can draw anything, the design is refused in one line."""
    frame, reach = make_town(*rows, kinds=("school", "market"))
    for run in (visit_odds, point_odds):
        with pytest.raises(DesignError) as caught:
            run(frame, reach, design)
        assert "\n" not in str(caught.value)


def test_reach_that_breaks_the_contract_is_refused():
    """A pair that stands twice in reach would be counted twice; it is refused."""
    frame, reach = make_town(*near(0, 100, 200))
    twice = pd.concat([reach, reach], ignore_index=True)
    with pytest.raises(TableError, match="unique"):
        visit_odds(frame, twice, Design())
    with pytest.raises(TableError, match="network_m"):
        visit_odds(frame, reach.drop(columns="network_m"), Design())


@pytest.mark.parametrize("unit_ids", [["a", "nowhere"], ["a", "b", "a"]], ids=["strange", "twice"])
def test_joint_odds_of_wrong_units_are_refused(unit_ids):
    """Joint odds name a unit that the frame does not have, or that is asked for twice."""
    frame, reach = make_town(*near(0, 100, 200))
    units = pd.DataFrame({"layer": "alley", "unit_id": unit_ids})
    with pytest.raises(DesignError, match=f"alley, {unit_ids[-1]}"):
        joint_odds(frame, reach, Design(), units)
