from collections import Counter
from fractions import Fraction
from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
import shapely

from enumeration import count_out, make_case, make_frame, make_town, near
from survey import example_town, measure_reach
from survey.errors import DesignError, LayerError, TableError
from survey.sampling.design import Design
from survey.sampling.draw import Draw, draw_round, hash_frame
from survey.sampling.estimate import _leaves_apart, estimate_mock, estimate_round, estimate_total
from survey.sampling.mock import draw_mock
from survey.sampling.odds import joint_odds, visit_odds
from survey.tables import make

TINY = 1e-10
VALUES = {"a": 3.0, "b": -1.5, "c": 8.0, "d": 0.25, "e": 5.0, "f": 2.0, "g": 4.0}
FIXED = Design(radius="fixed:1000", within_m=(500, 1000), compounds=(0, 0))


def tell(units, **columns):
    """Make results of units, by default with the values above."""
    ids = list(units)
    return pd.DataFrame({"unit_id": ids, "value": [VALUES.get(i, 1.0) for i in ids]} | columns)


def write_round(frame, reach, design, winners, *, point="0", layer="alley"):
    """Write down a round that drew these winners."""
    rows = pd.DataFrame({"unit_id": sorted(winners)})
    rows["slot"] = range(1, len(rows) + 1)
    texts = {"round_id": "r", "point_id": point, "layer": layer, "ticket": "-"}
    draws = make("draws", rows.assign(**texts, radius_m=1000.0, replacement=False))
    rounds = {"round_id": ["r"], "seed": ["s"], "design": [design.to_json()]}
    rounds["frame_hash"] = [hash_frame(frame, reach)]
    return Draw(make("rounds", rounds), draws)


def list_rounds(reached):
    """Give every set of units that one or two draws at each point can give, with its chance."""
    law = {frozenset(): Fraction(1)}
    for units in reached:
        after = Counter()
        for (before, chance), k in product(law.items(), (1, 2)):
            choices = list(combinations(units, min(k, len(units))))
            for drawn in choices:
                after[before | set(drawn)] += chance / (2 * len(choices))
        law = after
    return law


@pytest.fixture(scope="module")
def town():
    """Two points that reach alleys a to c and c to e within 1 km; f lies beyond."""
    rows = [*near(0, 600, 700, 800), (1, "alley", "c", 300.0), (1, "alley", "d", 400.0)]
    rows += [(1, "alley", "e", 1000.0), (1, "alley", "f", 1000.5), (0, "compound", "x", 100.0)]
    return make_town(*rows, kinds=("school", "market"))


def test_no_bias_over_all_rounds(town):
    """Over every round that can happen the total and its variance average to the truth."""
    law = list_rounds(["abc", "cde"])
    assert sum(law.values()) == 1
    value, square, variance = 0.0, 0.0, 0.0
    truth = sum(VALUES[unit] for unit in "abcde")
    for winners, chance in law.items():
        draw = write_round(*town, FIXED, winners)
        found = estimate_round(*town, draw, tell(winners), layer="alley", measure="total")
        assert not found.approximate
        value += float(chance) * found.value
        square += float(chance) * (found.value - truth) ** 2
        variance += float(chance) * found.variance
    assert value == pytest.approx(truth, abs=TINY)
    assert variance == pytest.approx(square, abs=TINY)


def test_a_round_by_hand(town):
    """The mean of a round weighs each unit by its odds, counts it once, and says what it knows."""
    draw = write_round(*town, FIXED, "acd")
    found = estimate_round(*town, draw, tell("acd"), layer="alley")
    # At a point a unit of three is drawn with odds (1/3 + 2/3) / 2; c has two points.
    assert found.value == pytest.approx((3 / 0.5 + 8 / 0.75 + 0.25 / 0.5) / (2 + 4 / 3 + 2))
    assert found.sample == 3
    assert found.approximate
    assert found.method.startswith("Hajek ratio mean, linearised Horvitz-Thompson")
    law, never = found.notes
    assert never == "1 of 6 units can never be drawn, and are not covered"
    assert "0.5 to 0.75 by this design" in law
    # By a fixed 500 m the first point reaches nobody, so a may never be drawn.
    assert "but 0 to 1 by one law or another" in law
    assert "would be unknown (1 of the units would not be drawn at all)" in law


def test_the_band_is_worked_into_the_estimate():
    """Where every law can draw the units, the note says what their least and greatest odds give."""
    frame, reach = make_town(*near(0, 100, 200, 900), edge_m=1999.0)
    design = Design(alleys=(1, 1), radius="fixed:1000", within_m=(500, 1000))
    found = estimate_round(
        frame, reach, write_round(frame, reach, design, "a"), tell("a"), layer="alley",
        measure="total",
    )  # fmt: skip
    # One of three within 1 km, one of two within 500 m.
    assert found.value == pytest.approx(9)
    assert "0.333 to 0.333 by this design, but 0.333 to 0.5 by one law" in found.notes[0]
    assert (
        "with the least odds of each the estimate would be 9, with the greatest 6"
        in (found.notes[0])
    )
    assert found.notes[1].startswith("1 of the units used have uncertain odds")
    assert found.notes[2].startswith("some pairs of units can never be drawn together")
    assert found.approximate


def test_a_real_round_is_estimated_from_its_winners():
    """A round drawn by tickets is estimated from its distinct winners' odds and joint odds."""
    frame = example_town()
    reach, design = measure_reach(frame), Design()
    draw = draw_round(frame, reach, design, seed="dice")
    for layer in ("alley", "compound"):
        rows = draw.draws[(draw.draws["layer"] == layer) & ~draw.draws["replacement"]]
        units = sorted(set(rows["unit_id"]))
        assert len(units) > 1
        results = pd.DataFrame({"unit_id": units[::-1], "ok": [n > 0 for n in range(len(units))]})
        mixed = pd.concat([results.assign(layer=layer), tell(["z"], layer="compound")])
        given = mixed if layer == "alley" else results
        found = estimate_round(frame, reach, draw, given, layer=layer, column="ok", measure="total")
        odds = visit_odds(frame, reach, design).set_index(["layer", "unit_id"])["prob"]
        pairs = pd.DataFrame({"layer": layer, "unit_id": units})
        joint = joint_odds(frame, reach, design, pairs)
        wanted = estimate_total([1] * (len(units) - 1) + [0], odds[layer][units], joint=joint)
        assert (found.value, found.variance) == pytest.approx((wanted.value, wanted.variance))


@pytest.mark.parametrize("seed", range(80))
def test_pairs_that_are_never_together_are_found(seed):
    """A design is said to keep units apart exactly where some joint probability is 0."""
    frame, reach, design = make_case(seed)
    counted = count_out(frame, reach, design)
    if not counted.can_draw:
        return
    for layer in ("alley", "compound"):
        units = [unit for unit, prob in counted.prob.items() if unit[0] == layer and prob > 0]
        apart = any(counted.joint[pair] == 0 for pair in combinations(units, 2))
        assert _leaves_apart(frame, reach, design, layer) == apart


def test_one_point_of_a_kind_keeps_units_apart():
    """Units that need different points of a kind of which one is visited are never together."""
    rows = [(0, "alley", "a", 100.0), (1, "alley", "b", 100.0), (2, "alley", "c", 100.0)]
    apart = make_town(*rows, kinds=("school", "school", "market"))
    design = Design(points={"school": 1})
    assert _leaves_apart(*apart, design, "alley")
    assert not _leaves_apart(*apart, Design(points={"school": 2}), "alley")
    joined = make_town(*rows, (2, "alley", "a", 100.0), kinds=("school", "school", "market"))
    assert not _leaves_apart(*joined, design, "alley")


ROUND_FAULTS = [
    (tell("ac"), LayerError, "1 alleys of round 'r' lack results: d"),
    (tell(""), LayerError, "3 alleys of round 'r' lack results: a, c, d"),
    (tell("acd", layer="compound"), LayerError, "3 alleys of round 'r' lack results"),
    (tell("acd", unit_id=[1, 2, 3]), LayerError, "1, 2, 3 are not among the alleys"),
    (tell("acdb"), LayerError, "b are not among the alleys of round 'r' that won"),
    (tell("acdc"), LayerError, "c have more than one row"),
    (tell("acd", value=[1, np.nan, 2]), LayerError, "c have no finite number in 'value'; leave"),
    (tell("acd", value=["1", "good", "inf"]), LayerError, "c, d have no finite number"),
    (tell("acd").drop(columns="unit_id"), LayerError, "no column 'unit_id'; they have value"),
    (tell("acd").drop(columns="value"), LayerError, "no column 'value'; they have unit_id"),
    (tell("acd", layer=["alley", "alley", "巷"]), LayerError, "the layer '巷' is unknown; give al"),
    (tell("acd", unit_id=["a", None, "d"]), LayerError, "1 rows have no unit_id"),
    (tell("xyx"), LayerError, "x, y are not among .*; x have more than one row"),
]


@pytest.mark.parametrize(("results", "error", "message"), ROUND_FAULTS)
def test_faults_of_results_are_named(town, results, error, message):
    """Whatever is wrong with the results is said at once, with the units."""
    draw = write_round(*town, FIXED, "acd")
    with pytest.raises(error, match=message):
        estimate_round(*town, draw, results, layer="alley")


def test_many_units_are_not_all_named(town):
    """An error names twenty units and counts the others."""
    with pytest.raises(LayerError, match="u19 and 5 more are not among"):
        estimate_round(
            *town,
            write_round(*town, FIXED, "a"),
            tell(f"u{n:02}" for n in range(25)),
            layer="alley",
        )


def test_what_is_no_round_of_the_tables_is_refused(town):
    """Another frame, forged draws, a layer without draws, unknown words are refused."""
    draw = write_round(*town, FIXED, "acd")
    other = (town[0], town[1].iloc[1:].reset_index(drop=True))
    with pytest.raises(DesignError, match="round 'r' was drawn from another frame or reach"):
        estimate_round(*other, draw, tell("acd"), layer="alley")
    for forged in ("f", "q"):
        with pytest.raises(DesignError, match="holds alleys that its design cannot draw; verify"):
            estimate_round(*town, write_round(*town, FIXED, forged), tell(forged), layer="alley")
    with pytest.raises(DesignError, match="round 'r' drew no compound"):
        estimate_round(*town, draw, tell("acd"), layer="compound")
    with pytest.raises(DesignError, match="the layer 'street' is unknown; give alley or compound"):
        estimate_round(*town, draw, tell("acd"), layer="street")
    with pytest.raises(DesignError, match="the measure 'median' is unknown; give mean or total"):
        estimate_round(*town, draw, tell("acd"), layer="alley", measure="median")


def place_frame(**places):
    """Make a frame of alleys, short lines at places (x, y)."""
    frame = make_frame([("0", "school", 5e3)], sorted(places), ["x"])
    lines = [
        shapely.MultiLineString([[(x - 1, y), (x, y), (x + 1, y)]])
        for _, (x, y) in sorted(places.items())
    ]
    frame.alleys = frame.alleys.set_geometry(lines, crs=32650)
    return frame


PLACES = {"a": (0, 0), "b": (9, 0), "c": (0, 90), "d": (50, 50), "e": (90, 9), "f": (70, 70)}
FRAME = place_frame(**PLACES)


def write_mock(units, *, replacements="", method="simple", prob=None, layer="alley"):
    """Write down a mock round of FRAME's alleys."""
    ids = [*units, *replacements]
    columns = {"mock_id": "m", "layer": layer, "unit_id": ids, "method": method, "seed": "s"}
    columns |= {"prob": len(units) / 6 if prob is None else prob}
    columns |= {"slot": range(1, len(ids) + 1), "replacement": [i in replacements for i in ids]}
    return make("mocks", dict(pd.DataFrame(columns)))


@pytest.mark.parametrize("measure", ["total", "mean"])
def test_no_bias_over_all_mock_rounds(measure):
    """Over all simple mock rounds estimates and variances average to the truth."""
    values = np.array([VALUES[unit] for unit in "abcdef"])
    truth = values.sum() if measure == "total" else values.mean()
    found = [
        estimate_mock(
            write_mock(units), tell(units[::-1]), frame=FRAME, layer="alley", measure=measure
        )
        for units in combinations("abcdef", 3)
    ]
    numbers = np.array([each.value for each in found])
    assert numbers.mean() == pytest.approx(truth, abs=TINY)
    variance = np.mean([each.variance for each in found])
    assert variance == pytest.approx(((numbers - truth) ** 2).mean(), abs=TINY)
    assert found[0].method == f"Horvitz-Thompson {measure}, Sen-Yates-Grundy variance"
    assert not found[0].approximate
    assert found[0].notes == ()


@pytest.mark.parametrize("method", ["pivotal", "systematic"])
def test_spread_mock_rounds_have_a_local_variance(method):
    """A mock round that is spread out is estimated from where its units lie, approximately."""
    mocks = write_mock("abde", method=method)
    found = estimate_mock(mocks, tell("abde"), frame=FRAME, layer="alley")
    wanted = estimate_total(
        [VALUES[unit] / 6 for unit in "abde"],
        [4 / 6] * 4,
        places=[PLACES[unit] for unit in "abde"],
    )
    assert (found.value, found.variance) == pytest.approx((wanted.value, wanted.variance))
    assert found.method == "Horvitz-Thompson mean, local-neighbour variance (approximate)"
    assert found.approximate


def test_unequal_odds_give_the_ratio_mean():
    """A mock round by odds weighs units by them, and says whom it does not cover."""
    mocks = write_mock("ade", method="pivotal", prob=[0.25, 0.5, 1.0])
    found = estimate_mock(mocks, tell("ade"), frame=FRAME, layer="alley")
    assert found.value == pytest.approx((4 * 3 + 2 * 0.25 + 5) / 7)
    assert found.method.startswith("Hajek ratio mean")
    assert "units that had none, if there are any, are not covered" in found.notes[-1]
    total = estimate_mock(mocks, tell("ade"), frame=FRAME, layer="alley", measure="total")
    assert total.value == pytest.approx(17.5)


def test_a_replacement_takes_the_place_of_a_unit_without_result():
    """Replacements with results stand in for units without, and the estimate says so."""
    mocks = write_mock("ace", replacements="bf")
    found = estimate_mock(mocks, tell("bce"), frame=FRAME, layer="alley")
    assert found.value == pytest.approx((VALUES["b"] + VALUES["c"] + VALUES["e"]) / 3)
    assert found.approximate
    assert found.notes[0].startswith("1 units without result were replaced (a by b)")
    plain = estimate_mock(mocks, tell("ace"), frame=FRAME, layer="alley")
    assert not plain.approximate


MOCK_FAULTS = [
    ("ae", "1 units of the main sample of mock round 'm' have no result: c; inspect"),
    ("ef", "2 units .* have no result: a, c; 1 replacements have one; inspect them or the next"),
    ("aceb", "1 replacements of mock round 'm' have a result .b., but 0 units .* the last 1"),
    ("aced", "d are not among the alleys of mock round 'm'"),
]


@pytest.mark.parametrize(("units", "message"), MOCK_FAULTS)
def test_faults_of_mock_results_are_named(units, message):
    """Missing, superfluous and strange units of a mock round are named."""
    mocks = write_mock("ace", replacements="bf")
    with pytest.raises(LayerError, match=message):
        estimate_mock(mocks, tell(units), frame=FRAME, layer="alley")


def test_what_is_no_mock_round_of_the_frame_is_refused():
    """Several mock rounds, none of the layer, another frame, a broken table are refused."""
    mocks = write_mock("ace")
    both = pd.concat([mocks, mocks.assign(mock_id="n")], ignore_index=True)
    with pytest.raises(DesignError, match="the mock rounds given are m, n, with 6 alleys; give"):
        estimate_mock(both, tell("ace"), frame=FRAME, layer="alley")
    with pytest.raises(DesignError, match="given are m, with 0 compounds"):
        estimate_mock(mocks, tell("ace"), frame=FRAME, layer="compound")
    with pytest.raises(DesignError, match="given are none, with 0 alleys"):
        estimate_mock(mocks.iloc[:0], tell("ace"), frame=FRAME, layer="alley")
    for other in (place_frame(a=(0, 0), b=(1, 1), c=(2, 2)), place_frame(**PLACES, g=(5, 5))):
        with pytest.raises(DesignError, match="mock round 'm' was not drawn from this frame, whi"):
            estimate_mock(mocks, tell("ace"), frame=other, layer="alley")
    with pytest.raises(TableError, match="'prob'"):
        estimate_mock(mocks.drop(columns="prob"), tell("ace"), frame=FRAME, layer="alley")
    with pytest.raises(DesignError, match="the layer 'lane' is unknown"):
        estimate_mock(mocks, tell("ace"), frame=FRAME, layer="lane")


@pytest.mark.parametrize("method", ["simple", "systematic", "pivotal"])
def test_drawn_mock_rounds_are_estimated(method):
    """Over mock rounds of every method the mean of all units is met without bias.

    The variance is near the truth too, but for systematic rounds: there are five of them only.
    """
    rng = np.random.default_rng(3)
    frame = place_frame(**{f"u{n:02}": tuple(rng.integers(0, 2000, 2)) for n in range(30)})
    values = dict(zip(frame.alleys["alley_id"], rng.gamma(2, 2, 30), strict=True))
    found = []
    for seed in range(60):
        mocks = draw_mock(frame, alleys=6, compounds=0, seed=str(seed), method=method)
        main = mocks.loc[~mocks["replacement"], "unit_id"]
        results = pd.DataFrame({"unit_id": main, "score": main.map(values)})
        found.append(estimate_mock(mocks, results, frame=frame, layer="alley", column="score"))
    numbers = np.array([each.value for each in found])
    truth = np.mean(list(values.values()))
    assert abs(numbers.mean() - truth) < 4 * numbers.std() / np.sqrt(60)
    if method != "systematic":
        assert 0.5 < np.mean([each.variance for each in found]) / numbers.var() < 2
    assert all(each.approximate == (method != "simple") for each in found)
