from collections import Counter
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from scipy.stats import norm

from survey.errors import DesignError
from survey.sampling.balance import (
    _search_on,
    inclusion_probs,
    local_pivotal,
    simple_random,
    spatial_balance,
    systematic,
)

SQUARE = [(0, 0), (1, 0), (0, 1), (1, 1)]
CELLS = st.tuples(st.integers(0, 5), st.integers(0, 5))
WEIGHTS = st.lists(st.floats(0, 1e6), min_size=1, max_size=40)


def scatter(rng, parents, children, spread_m=300):
    """Scatter units around parents that lie at random in a square of 10 km."""
    middles = np.repeat(rng.random((parents, 2)) * 10_000, children, axis=0)
    return middles + rng.normal(size=middles.shape) * spread_m


def bound(checks):
    """Give the |z| that one of so many honest checks exceeds once in a thousand gates."""
    return norm.isf(0.001 / 2 / checks)


def worst_z(counts, chances, draws):
    """Give the largest |z| of counts whose chances lie strictly between 0 and 1."""
    chances = np.asarray(chances)
    spread = np.sqrt(draws * chances * (1 - chances))
    return np.abs((counts - draws * chances) / spread).max()


def passes(draw, probs, draws=2_000):
    """Say whether units are drawn with their inclusion probabilities."""
    rng = np.random.default_rng(2012)
    drawn = np.concatenate([draw(rng) for _ in range(draws)])
    counts = np.bincount(drawn, minlength=len(probs))
    sure = (probs == 0) | (probs == 1)
    assert (counts[sure] == draws * probs[sure]).all()
    return worst_z(counts[~sure], probs[~sure], draws) < bound(np.sum(~sure))


def keeps_law(draw, law, draws=4_000):
    """Say whether whole samples come with the chances of `law`, and no others."""
    rng = np.random.default_rng(1949)
    seen = Counter(tuple(draw(rng).tolist()) for _ in range(draws))
    assert set(seen) <= set(law)
    counts = np.array([seen[sample] for sample in law])
    return worst_z(counts, list(law.values()), draws) < bound(len(law))


def unequal_probs():
    """Make unequal probabilities for 50 units, one of them certain and one never drawn."""
    probs = inclusion_probs(np.append(np.linspace(1, 10, 48), [60, 0]), 24)
    assert (probs == 1).sum() == (probs == 0).sum() == 1
    return probs


PLACES = {
    "clustered": scatter(np.random.default_rng(5), 5, 10),
    "a grid, full of ties": np.stack(np.divmod(np.arange(50), 7), axis=1) * 100.0,
    "one place": np.full((50, 2), 3.5e6),
    "ten places": np.repeat(scatter(np.random.default_rng(6), 10, 1), 5, axis=0),
}


@pytest.mark.parametrize("where", PLACES)
def test_pivotal_keeps_inclusion_probabilities(where):
    """Unequal inclusion probabilities are kept wherever the units lie."""
    probs = unequal_probs()
    assert passes(lambda rng: local_pivotal(probs, PLACES[where], rng=rng), probs)


def test_the_gate_refuses_choice():
    """The draw that seems to follow probabilities, choice without replacement, is refused."""
    probs = unequal_probs()
    open_ = np.flatnonzero(probs < 1)
    share = probs[open_] / probs[open_].sum()

    def draw(rng):
        return np.append(np.flatnonzero(probs == 1), rng.choice(open_, 23, replace=False, p=share))

    assert not passes(draw, probs)


def test_the_gate_refuses_a_biased_fight():
    """A fight whose two chances are swapped is refused."""
    probs = inclusion_probs(np.linspace(1, 3, 20), 4)

    def draw(rng):
        left = probs.copy()
        while len(fighters := np.flatnonzero((left > 1e-9) & (left < 1 - 1e-9))) > 1:
            i, j = rng.choice(fighters, 2, replace=False)
            p, q = left[i], left[j]
            won, lost = (p + q, 0) if p + q < 1 else (1, p + q - 1)
            chance = q / (p + q) if p + q < 1 else (1 - p) / (2 - p - q)
            left[i], left[j] = (won, lost) if rng.random() < chance else (lost, won)
        return np.flatnonzero(left > 0.5)

    assert not passes(draw, probs)


@pytest.mark.parametrize(
    ("probs", "law"),
    [
        ([0.3, 0.4], {(0,): 0.3, (1,): 0.4, (): 0.3}),  # 0.7 is left to a coin
        ([0.6, 0.7], {(0,): 0.3, (1,): 0.4, (0, 1): 0.3}),  # so is 0.3, beside a winner
        ([0.25, 0.75], {(0,): 0.25, (1,): 0.75}),
    ],
)
def test_two_units(probs, law):
    """Two units follow the joint law of one fight, and a coin for what it leaves."""
    assert keeps_law(lambda rng: local_pivotal(probs, [(0, 0), (9, 9)], rng=rng), law)


def test_ties_are_broken_at_random():
    """At the corners of a square either axis pairs the units as often: diagonals 1/4, sides 1/8."""
    law = {(0, 3): 1 / 4, (1, 2): 1 / 4} | dict.fromkeys([(0, 1), (2, 3), (0, 2), (1, 3)], 1 / 8)
    assert keeps_law(lambda rng: local_pivotal([0.5] * 4, SQUARE, rng=rng), law)


def test_units_at_one_place_are_alike():
    """Of four units at one place each pair is drawn as often."""
    law = dict.fromkeys(combinations(range(4), 2), 1 / 6)
    assert keeps_law(lambda rng: local_pivotal([0.5] * 4, [(7, 7)] * 4, rng=rng), law)


def test_neighbours_fight():
    """Of 300 pairs 1 m apart, 50 m from each other, with a half each, one of each is drawn."""
    pairs = np.stack(np.divmod(np.arange(300), 20), axis=1) * 50.0
    places = np.concatenate([pairs, pairs + np.array([1, 0])])
    for seed in range(5):
        drawn = local_pivotal(np.full(600, 0.5), places, rng=np.random.default_rng(seed))
        assert sorted(drawn % 300) == list(range(300))


def test_search_goes_on():
    """A unit whose near neighbours are all decided fights the nearest one that is not."""
    places = np.column_stack([np.arange(1_000.0), np.zeros((1_000, 2))])
    left = [0.0] * 1_000
    left[0] = left[700] = left[900] = 0.5
    units = np.arange(1_000)
    assert _search_on(left, 0, units, cKDTree(places), places[0]) == 700


@given(WEIGHTS, st.data())
def test_sizes_are_exact(weights, data):
    """Every method gives exactly the size asked for, certain units in, impossible ones out."""
    size = data.draw(st.integers(0, np.count_nonzero(weights)))
    places = data.draw(st.lists(CELLS, min_size=len(weights), max_size=len(weights)))
    probs = inclusion_probs(weights, size)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    order = rng.permutation(len(probs))
    for drawn in (local_pivotal(probs, places, rng=rng), systematic(probs, order, rng=rng)):
        assert len(drawn) == size
        assert (np.diff(drawn) > 0).all()
        assert (probs[drawn] > 0).all()
        assert set(np.flatnonzero(probs == 1)) <= set(drawn)


def test_a_large_sum_stays_exact():
    """The size is exact although rounding adds up over 20,000 fights."""
    rng = np.random.default_rng(8)
    probs = inclusion_probs(rng.random(20_000), 777)
    assert len(local_pivotal(probs, rng.random((20_000, 2)) * 9_000, rng=rng)) == 777


def test_arguments_stay_as_they_are():
    """What is given is not changed, and the same generator gives the same sample."""
    probs, places = unequal_probs(), PLACES["clustered"]
    before = probs.copy(), places.copy()
    one, two = (local_pivotal(probs, places, rng=np.random.default_rng(4)) for _ in range(2))
    assert one.tolist() == two.tolist()
    np.testing.assert_array_equal(probs, before[0])
    np.testing.assert_array_equal(places, before[1])


def test_pivotal_is_balanced():
    """On a clustered frame of 3,000 units the balance is at most a third of simple sampling's."""
    rng = np.random.default_rng(60)
    places = scatter(rng, 60, 50)
    probs = np.full(3_000, 60 / 3_000)
    pivotal, simple = (
        np.mean([spatial_balance(draw(), probs, places) for _ in range(40)])
        for draw in (
            lambda: local_pivotal(probs, places, rng=rng),
            lambda: simple_random(3_000, 60, rng=rng),
        )
    )
    assert pivotal <= simple / 3


@pytest.mark.parametrize(
    ("weights", "size", "probs"),
    [
        ([1, 1, 1, 1], 2, [0.5, 0.5, 0.5, 0.5]),
        ([10, 4, 1, 1, 0], 3, [1, 1, 0.5, 0.5, 0]),  # 30/16, then 8/6 of what is left
        ([1e300, 1e-300], 1, [1, 0]),
        ([0.1, 0.1, 0.1], 3, [1, 1, 1]),
        ([2, 0], 0, [0, 0]),
    ],
)
def test_inclusion_probs(weights, size, probs):
    """Probabilities are those worked out by hand."""
    np.testing.assert_allclose(inclusion_probs(weights, size), probs, rtol=0, atol=1e-15)


@given(WEIGHTS, st.data())
def test_inclusion_probs_laws(weights, data):
    """They add up to the size, none exceeds 1, and below 1 they are proportional."""
    weights = np.array(weights)
    size = data.draw(st.integers(0, np.count_nonzero(weights)))
    probs = inclusion_probs(weights, size)
    assert probs.sum() == pytest.approx(size, abs=1e-9)
    assert ((probs >= 0) & (probs <= 1)).all()
    assert (probs[weights == 0] == 0).all()
    below = (probs < 1) & (weights > 0)
    if below.any():
        expected = weights[below] / weights[below].sum() * probs[below].sum()
        np.testing.assert_allclose(probs[below], expected, rtol=1e-9, atol=1e-300)
    if below.any() and (probs == 1).any():
        assert weights[probs == 1].min() >= weights[below].max()


@pytest.mark.parametrize(
    ("order", "starts"),
    [
        (None, {(0, 2): 50, (1, 3): 25, (2, 3): 25}),
        ([0, 3, 1, 2], {(0, 1): 25, (0, 2): 25, (2, 3): 50}),
    ],
)
def test_systematic_joint_law(order, starts):
    """Stepping the start through [0, 1) gives each sample on the stretch worked out by hand."""
    probs = [0.5, 0.25, 0.75, 0.5]
    seen = Counter()
    for n in range(100):
        rng = SimpleNamespace(random=lambda n=n: n / 100)
        seen[tuple(systematic(probs, order, rng=rng).tolist())] += 1
    assert seen == starts


def test_systematic_keeps_inclusion_probabilities():
    """Stepping the start counts each unit in proportion, certain and impossible ones as well."""
    probs = unequal_probs()
    order = np.random.default_rng(1).permutation(50)
    drawn = [
        systematic(probs, order, rng=SimpleNamespace(random=lambda n=n: n / 5_000))
        for n in range(5_000)
    ]
    assert {len(rows) for rows in drawn} == {24}
    shares = np.bincount(np.concatenate(drawn), minlength=50) / 5_000
    np.testing.assert_allclose(shares, probs, rtol=0, atol=1 / 5_000 + 1e-9)


def test_simple_random_law():
    """Every pair of four units is drawn as often."""
    law = dict.fromkeys(combinations(range(4), 2), 1 / 6)
    assert keeps_law(lambda rng: simple_random(4, 2, rng=rng), law)


def test_balance_on_paper():
    """The balance of a drawn layout is the one worked out by hand, a unit between two shared."""
    places = [(0, 0), (10, 0), (1, 1), (9, 0), (5, 7)]
    # cells: 0.4 + 0.2 + 0.4 / 2 = 0.8 and 0.4 + 0.6 + 0.4 / 2 = 1.2
    assert spatial_balance([0, 1], [0.4, 0.4, 0.2, 0.6, 0.4], places) == pytest.approx(0.04)


def test_balance_with_two_at_one_place():
    """Two sampled units at one place share its cell, and three ways a unit halfway to a third."""
    places = [(0, 0), (0, 0), (10, 0), (5, 3), (1, 0)]
    # cells: (0.5 + 0.5 + 0.6) / 2 + 0.9 / 3 = 1.1 twice, and 0.5 + 0.9 / 3 = 0.8
    found = spatial_balance([0, 1, 2], [0.5, 0.5, 0.5, 0.9, 0.6], places)
    assert found == pytest.approx((0.01 + 0.01 + 0.04) / 3)


def test_balance_shares_among_many():
    """A unit in the middle of twelve sampled ones is shared among all of them."""
    ring = [(5, 0), (-5, 0), (0, 5), (0, -5)]
    ring += [(x, y) for x, y in [(3, 4), (4, 3)] for x in (x, -x) for y in (y, -y)]
    assert len(ring) == 12
    found = spatial_balance(range(12), [0.95] * 12 + [0.6], [*ring, (0, 0)])
    assert found == pytest.approx(0, abs=1e-20)


@given(st.lists(CELLS, min_size=1, max_size=30), st.data())
def test_balance_is_that_of_all_distances(places, data):
    """On a grid full of ties the balance is that of the full table of distances."""
    rows = st.integers(0, len(places) - 1)
    sample = data.draw(st.lists(rows, min_size=1, unique=True))
    probs = np.linspace(0.1, 0.9, len(places))
    spots = np.array(places)
    squares = ((spots[:, None] - spots[sample]) ** 2).sum(axis=2)
    nearest = squares == squares.min(axis=1, keepdims=True)
    cells = (nearest / nearest.sum(axis=1, keepdims=True) * probs[:, None]).sum(axis=0)
    expected = np.mean((cells - 1) ** 2)
    assert spatial_balance(sample, probs, places) == pytest.approx(expected, abs=1e-12)


RNG = np.random.default_rng(0)
FAULTS = {
    "2 weights cannot be used, the first is -1.0 in row 1": lambda: inclusion_probs(
        [1, -1, float("nan")], 1
    ),
    "the first is inf in row 0": lambda: inclusion_probs([float("inf")], 1),
    "3 units are asked for, but 2 have a weight above 0": lambda: inclusion_probs([1, 0, 2], 3),
    "-1 units are asked for": lambda: inclusion_probs([1], -1),
    "one weight per unit, not an array of \\(1, 2\\)": lambda: inclusion_probs([[1, 2]], 1),
    "5 units are asked for, but there are 4": lambda: simple_random(4, 5, rng=RNG),
    "1 probabilities lie outside \\[0, 1\\], the first is 1.5 in row 1": lambda: systematic(
        [0.5, 1.5], rng=RNG
    ),
    "the first is nan in row 0": lambda: local_pivotal([float("nan")], [(0, 0)], rng=RNG),
    "each of the 2 rows once": lambda: systematic([0.5, 0.5], [0, 0], rng=RNG),
    "for each of the 2 units, not an array of \\(1, 2\\)": lambda: local_pivotal(
        [0.5, 0.5], [(0, 0)], rng=RNG
    ),
    "with 1 missing or infinite": lambda: local_pivotal([1], [(0, float("nan"))], rng=RNG),
    "one row at least of 0 to 3": lambda: spatial_balance([], [0.5] * 4, SQUARE),
    "none twice": lambda: spatial_balance([1, 1], [0.5] * 4, SQUARE),
    "of 0 to 3, none": lambda: spatial_balance([4], [0.5] * 4, SQUARE),
}


@pytest.mark.parametrize("message", FAULTS)
def test_bad_arrays_are_refused(message):
    """Each fault of the arrays has one line that says what was found."""
    with pytest.raises(DesignError, match=message) as fault:
        FAULTS[message]()
    assert "\n" not in str(fault.value)
