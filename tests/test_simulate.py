import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

import survey.sampling.simulate
from enumeration import make_case, make_town, near
from survey.errors import DesignError
from survey.sampling.design import Design
from survey.sampling.odds import visit_odds
from survey.sampling.pairs import find_pairs
from survey.sampling.sampler import Sampler
from survey.sampling.simulate import simulate_rounds

ONE = Design(alleys=(1, 1), compounds=(0, 0), radius="fixed:1000")
KEY = ["layer", "unit_id"]


def index(simulation):
    """Give what is known of each unit by its id."""
    return simulation.units.set_index("unit_id")


def mean_of(simulation, number):
    """Give the mean of a number per year."""
    return simulation.numbers.set_index("number")["mean"][number]


def find_z(shares, odds, rounds):
    """Give how many standard errors each share lies from its odds; infinite where they are sure."""
    sure = (odds == 0) | (odds == 1)
    error = np.sqrt(np.where(sure, 1, odds * (1 - odds)) / rounds)
    return np.where(sure, np.where(shares == odds, 0, np.inf), (shares - odds) / error)


def simulate_case(seed, design=None, **options):
    """Simulate a random tiny frame; give the shares and the exact odds, or None."""
    frame, reach, own = make_case(seed)
    try:
        odds = visit_odds(frame, reach, own)
    except DesignError:
        return None
    found = simulate_rounds(frame, reach, design or own, seed=str(seed), **options)
    pd.testing.assert_frame_equal(found.units[KEY], odds[KEY])
    return found, odds


def test_shares_are_the_exact_odds():
    """On random tiny frames, no share is farther from its odds than chance allows."""
    rounds, shares, odds = 4_000, [], []
    for seed in range(60):
        case = simulate_case(seed, rounds=rounds)
        if case is not None:
            shares += case[0].units["prob"].tolist()
            odds += case[1]["prob"].tolist()
    z = find_z(np.array(shares), np.array(odds), rounds)
    bound = norm.isf(0.0005 / len(z))
    assert len(z) > 300
    assert np.abs(z).max() < bound


def test_a_design_a_little_off_fails_the_same_gate():
    """The gate sees it if rounds of a wider count are taken for those of the design."""
    frame, reach = make_town(*near(0, 100, 200, 300, 400, 500))
    wide = Design(alleys=(1, 2), compounds=(0, 0), radius="fixed:1000")
    shares = simulate_rounds(frame, reach, wide, seed="x", rounds=4_000).units["prob"]
    odds = visit_odds(frame, reach, ONE)["prob"]
    assert np.abs(find_z(shares, odds, 4_000)).max() > norm.isf(0.0005 / 5)


def test_visits_are_those_expected():
    """The mean number of visits is the exact one, within its standard error."""
    frame, reach = make_town(*near(0, 100, 700, 900), *near(1, 800, 600), kinds=("mall", "mall"))
    design = Design(alleys=(1, 2), compounds=(0, 0))
    odds = visit_odds(frame, reach, design)
    units = simulate_rounds(frame, reach, design, seed="x", rounds=20_000).units
    z = (units["expected_visits"] - odds["expected_visits"]) / units["visits_se"]
    assert np.abs(z).max() < 4.5
    assert units["visits_se"].max() < 0.01


def test_no_unit_twice_in_a_round():
    """Two points that share two alleys draw both of them, each once, whatever the order."""
    frame, reach = make_town(*near(0, 100, 200), *near(1, 100, 200), kinds=("school", "mall"))
    free = simulate_rounds(frame, reach, ONE, seed="x", rounds=2_000)
    apart = simulate_rounds(frame, reach, ONE, seed="x", rounds=2_000, repeats="not-in-round")
    assert index(free)["prob"].tolist() == pytest.approx([0.75, 0.75], abs=0.05)
    assert index(apart)[["prob", "expected_visits"]].to_numpy().tolist() == [[1, 1], [1, 1]]
    assert mean_of(apart, "alleys") == 2


def test_points_choose_in_a_random_order():
    """One point has a and b, the other a: b is drawn in 3 of 4 rounds, not in 1 of 2.

    If the first point chooses first, it takes a or b equally likely; if it comes second, a is
    gone. A fixed order of points would give 1/2 or 1.
    """
    frame, reach = make_town(*near(0, 100, 200), *near(1, 100), kinds=("school", "mall"))
    found = simulate_rounds(frame, reach, ONE, seed="x", rounds=8_000, repeats="not-in-round")
    assert index(found)["prob"]["a"] == 1
    assert abs(index(found)["prob"]["b"] - 0.75) < 4 * np.sqrt(0.75 * 0.25 / 8_000)
    assert abs(mean_of(found, "short") - 0.25) < 4 * np.sqrt(0.75 * 0.25 / 8_000)


def test_no_unit_twice_never_draws_twice():
    """On random tiny frames no round, and no year, holds a unit more than once."""
    for seed in range(30):
        case = simulate_case(seed, rounds=50, quarters=3, repeats="not-in-year")
        if case is not None:
            assert (case[0].units["expected_visits"] == case[0].units["prob"]).all()
            assert (case[0].units["expected_visits"] <= 1).all()


def test_quarters_that_know_of_each_other():
    """Four quarters of one alley each go through all four; independent ones repeat themselves."""
    frame, reach = make_town(*near(0, 100, 200, 300, 400))
    years = {"rounds": 4_000, "quarters": 4, "seed": "x"}
    together = simulate_rounds(frame, reach, ONE, repeats="not-in-year", **years)
    assert together.counts.query("number == 'units'")["count"].tolist() == [4]
    assert mean_of(together, "short") == 0
    alone = simulate_rounds(frame, reach, ONE, **years)
    assert index(alone)["prob"].tolist() == pytest.approx([1 - 0.75**4] * 4, abs=0.04)
    assert index(alone)["prob_low"].tolist() == pytest.approx([1 - 0.75**4] * 4)
    five = simulate_rounds(frame, reach, ONE, **years | {"quarters": 5}, repeats="not-in-year")
    assert mean_of(five, "short") == 1


def test_a_round_apart_alone_is_the_same_as_free():
    """With one point there is nobody to repeat, so the odds are the exact ones."""
    frame, reach = make_town(*near(0, 100, 600, 900))
    design = Design(alleys=(1, 2), compounds=(0, 0))
    odds = visit_odds(frame, reach, design)["prob"]
    apart = simulate_rounds(frame, reach, design, seed="x", rounds=6_000, repeats="not-in-round")
    assert np.abs(find_z(apart.units["prob"], odds, 6_000)).max() < norm.isf(0.0005 / 3)


@pytest.mark.parametrize("repeats", ["allowed", "not-in-round", "not-in-year"])
def test_parts_play_no_part(repeats, monkeypatch):
    """However many rounds are held at one time, the result is the same to the last digit."""
    frame, reach, design = make_case(7)
    condition = visit_odds(frame, reach, design)[KEY].assign(condition=0.4)
    options = {"seed": "x", "rounds": 101, "quarters": 2, "condition": condition}
    whole = simulate_rounds(frame, reach, design, repeats=repeats, **options)
    for cells in (1, 700):
        monkeypatch.setattr(survey.sampling.simulate, "_CELLS", cells)
        parts = simulate_rounds(frame, reach, design, repeats=repeats, **options)
        for name in ("units", "numbers", "counts"):
            pd.testing.assert_frame_equal(
                getattr(whole, name), getattr(parts, name), check_exact=True
            )


def test_seeds():
    """The same seed gives the same rounds, another one others; a longer run begins alike."""
    frame, reach = make_town(*near(0, 100, 200, 300))
    sampler = Sampler(find_pairs(frame, reach, ONE), ONE)
    numbers = np.random.default_rng(5).random((90, sampler.width))
    few, many = sampler.draw(numbers[:40]).drawn, sampler.draw(numbers).drawn
    assert (few == many[:40]).all()
    one, same, other = (
        simulate_rounds(frame, reach, ONE, seed=seed, rounds=500).units for seed in "aab"
    )
    pd.testing.assert_frame_equal(one, same)
    assert (one["prob"] != other["prob"]).any()


def test_failing_units():
    """Sure failures fail whenever drawn, half of the others half the time, good ones never."""
    frame, reach = make_town(*near(0, 100, 200, 300))
    condition = pd.DataFrame({"layer": "alley", "unit_id": ["a", "b"], "condition": [0.0, 0.5]})
    found = simulate_rounds(frame, reach, ONE, seed="x", rounds=9_000, condition=condition)
    assert abs(mean_of(found, "failing") - (1 + 0.5) / 3) < 4 * np.sqrt(0.25 / 9_000)
    assert found.notes == ("1 units without a condition are not counted as failing",)
    counts = found.counts.query("number == 'failing'")
    assert counts["count"].tolist() == [0, 1]
    assert counts["share"].sum() == pytest.approx(1)


def test_standard_errors_are_never_nothing():
    """A unit that was never or always drawn still has a standard error above 0."""
    frame, reach = make_town(*near(0, 100), (0, "alley", "far", 1900))
    units = index(simulate_rounds(frame, reach, ONE, seed="x", rounds=100))
    assert units["prob"].to_dict() == {"a": 1, "far": 0}
    assert (units["prob_se"] > 0).all()


def test_band_of_rounds_apart_is_labelled():
    """Without a closed form the band is simulated at some radii, which a note lists."""
    frame, reach = make_town(*near(0, 100, 700), *near(1, 100), kinds=("school", "mall"))
    found = simulate_rounds(frame, reach, ONE, seed="x", rounds=400, repeats="not-in-round")
    far = index(found).loc["b"]
    assert far["prob_low"] == 0
    assert far["prob_low"] <= far["prob"] <= far["prob_high"]
    assert "uniform, fixed:500.0, fixed:1000.0, fixed:1500.0, fixed:2000.0 only" in found.notes[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rounds": 0}, "rounds is 0; give a whole number of 1 or more"),
        ({"quarters": 1.5}, "quarters is 1.5; give a whole number of 1 or more"),
        ({"repeats": "never"}, "repeats is 'never'; give one of allowed, not-in-round"),
    ],
)
def test_wrong_values_are_one_clear_line(options, said):
    """A value that makes no sense is refused with what was found and what to give."""
    frame, reach = make_town(*near(0, 100))
    with pytest.raises(DesignError, match=said):
        simulate_rounds(frame, reach, ONE, seed="x", **options)


def test_a_condition_of_a_strange_unit_is_refused():
    """A condition may only speak of units of the frame."""
    frame, reach = make_town(*near(0, 100))
    condition = pd.DataFrame({"layer": ["alley"], "unit_id": ["z"], "condition": [0.0]})
    with pytest.raises(DesignError, match=r"1 units are not in the frame, e\.g\. alley, z"):
        simulate_rounds(frame, reach, ONE, seed="x", condition=condition)
