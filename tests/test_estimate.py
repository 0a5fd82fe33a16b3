import math
from collections import Counter
from fractions import Fraction
from itertools import combinations, pairwise, permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from survey.errors import DesignError, LayerError
from survey.sampling.estimate import Estimate, estimate_mean, estimate_total

TINY = 1e-10


def list_simple(size, count):
    """Give every simple random sample of `count` of `size` units with its probability."""
    samples = list(combinations(range(size), count))
    return {sample: Fraction(1, len(samples)) for sample in samples}


def list_poisson(probs):
    """Give every sample where each unit is drawn by itself, the empty one among them."""
    law = {}
    for flags in product((0, 1), repeat=len(probs)):
        chances = (p if drawn else 1 - p for p, drawn in zip(probs, flags, strict=True))
        law[tuple(np.flatnonzero(flags).tolist())] = math.prod(chances, start=Fraction(1))
    return law


def list_systematic(probs, order):
    """Give every sample of equal steps along `order`, with the length of its starts."""
    ends = [sum((probs[i] for i in order[:n]), Fraction(0)) for n in range(len(order) + 1)]
    law = Counter()
    for start, end in pairwise(sorted({0, 1, *(e % 1 for e in ends)})):
        middle = (start + end) / 2
        law[
            tuple(
                sorted(
                    i
                    for i, (low, high) in zip(order, pairwise(ends), strict=True)
                    if math.ceil(high - middle) > math.ceil(low - middle)
                )
            )
        ] += end - start
    return law


def list_shuffled(probs):
    """Give every sample of equal steps along units in random order."""
    law = Counter()
    orders = list(permutations(range(len(probs))))
    for order in orders:
        for sample, chance in list_systematic(probs, order).items():
            law[sample] += chance / len(orders)
    return law


def list_visits(*reached):
    """Give every round that draws one or two units, equally likely, of those each point reaches."""
    law = {(): Fraction(1)}
    for units in reached:
        after = Counter()
        for before, chance in law.items():
            for k in (1, 2):
                choices = list(combinations(units, min(k, len(units))))
                for drawn in choices:
                    after[tuple(sorted({*before, *drawn}))] += chance / (2 * len(choices))
        law = after
    return law


def count_joint(law, size):
    """Add up the joint probabilities of a law of samples, exactly; probabilities diagonal."""
    joint = [[Fraction(0)] * size for _ in range(size)]
    for sample, chance in law.items():
        for i, j in product(sample, sample):
            joint[i][j] += chance
    return np.array(joint, dtype=np.float64)


def average(law, of):
    """Give the mean of what `of` says of each sample."""
    return sum(float(chance) * of(sample) for sample, chance in law.items())


PROBS = [Fraction(n, 8) for n in (2, 3, 5, 6)]
VALUES = np.array([3.0, -1.5, 8.0, 0.25, 5.0, 2.0])
SHARES = [Fraction(n, 10) for n in (4, 8, 7, 5, 6)]
FIXED = {
    "simple": (list_simple(6, 3), 6),
    "shuffled": (list_shuffled(SHARES), 5),
    "certain": ({(*sample, 5): chance for sample, chance in list_simple(5, 2).items()}, 6),
}
LAWS = FIXED | {
    "poisson": (list_poisson(PROBS), 4),
    "visits": (list_visits((0, 1, 2), (2, 3), (1, 2, 3, 4)), 5),
}


def test_laws_are_laws():
    """The samples that the tests go through add up to 1, and have the odds they should."""
    for law, _ in LAWS.values():
        assert sum(law.values()) == 1
    assert np.diag(count_joint(*LAWS["poisson"])).tolist() == [float(p) for p in PROBS]
    assert np.diag(count_joint(*LAWS["shuffled"])) == pytest.approx([float(p) for p in SHARES])
    assert list_systematic([Fraction(1, 2)] * 4, range(4)) == {(0, 2): 0.5, (1, 3): 0.5}
    assert list_visits((0, 1)) == {(0,): 0.25, (1,): 0.25, (0, 1): 0.5}


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("what", ["total", "mean"])
def test_no_bias_over_all_samples(name, what):
    """Over all samples the estimates average to the truth, and their variances to the variance."""
    law, size = LAWS[name]
    y, joint = VALUES[:size], count_joint(law, size)
    assert (joint > 0).all()

    def estimate(sample, **form):
        rows = list(sample)
        given = {"joint": joint[np.ix_(rows, rows)], **form}
        if what == "total":
            return estimate_total(y[rows], np.diag(joint)[rows], **given)
        return estimate_mean(y[rows], np.diag(joint)[rows], size=size, **given)

    truth = y.sum() if what == "total" else y.mean()
    assert average(law, lambda s: estimate(s).value) == pytest.approx(truth, abs=TINY)
    variance = average(law, lambda s: (estimate(s).value - truth) ** 2)
    found = average(law, lambda s: estimate(s).variance)
    assert found == pytest.approx(variance, abs=TINY)
    if name in FIXED:
        found = average(law, lambda s: estimate(s, fixed_size=True).variance)
        assert found == pytest.approx(variance, abs=TINY)


def test_pairs_that_are_never_drawn_bias_the_variance_as_said():
    """Where pairs are never drawn together the variance is too great by their products."""
    law = list_systematic(SHARES, range(5))
    y, joint = VALUES[:5], count_joint(law, 5)
    never = joint == 0
    assert np.argwhere(never).tolist() == [[0, 4], [4, 0]]

    def estimate(sample):
        rows = list(sample)
        return estimate_total(y[rows], np.diag(joint)[rows], joint=joint[np.ix_(rows, rows)])

    variance = average(law, lambda s: (estimate(s).value - y.sum()) ** 2)
    excess = (np.outer(y, y) * never).sum()
    found = average(law, lambda s: estimate(s).variance)
    assert found == pytest.approx(variance + excess, abs=TINY)


def test_an_estimate_by_hand():
    """Value, variance, interval, method and size of the sample are as worked out by hand."""
    joint = [[1 / 2, 1 / 6], [1 / 6, 1 / 2]]
    found = estimate_total([3, 5], [1 / 2, 1 / 2], joint=joint, fixed_size=True)
    # (1/4 - 1/6) / (1/6) * (10 - 6)^2 = 8; 1.96 * sqrt(8) = 5.5437
    assert (found.value, found.sample, found.approximate, found.notes) == (16, 2, False, ())
    assert (found.variance, found.se) == pytest.approx((8, math.sqrt(8)))
    assert (found.low, found.high) == pytest.approx((16 - 5.5437, 16 + 5.5437), abs=1e-3)
    assert found.method == "Horvitz-Thompson total, Sen-Yates-Grundy variance"
    # 1/2 * (6^2 + 10^2) - 2 * 1/2 * 60
    found = estimate_total([3, 5], [1 / 2, 1 / 2], joint=joint)
    assert found.variance == pytest.approx(8)
    assert found.method == "Horvitz-Thompson total, Horvitz-Thompson variance"


def test_the_ratio_mean_by_hand():
    """The ratio mean and its linearised variance are as worked out by hand."""
    joint = [[1 / 2, 1 / 8], [1 / 8, 1 / 4]]
    found = estimate_mean([1, 4], [1 / 2, 1 / 4], joint=joint)
    # (2 + 16) / (2 + 4) = 3; residuals -2/6 and 1/6, over their odds -2/3 and 2/3; independent.
    assert found.value == 3
    assert found.variance == pytest.approx(1 / 2 * 4 / 9 + 3 / 4 * 4 / 9)
    assert found.approximate
    method = "Hajek ratio mean, linearised Horvitz-Thompson variance (approximate)"
    assert found.method == method


def test_equal_values_have_a_sure_ratio_mean():
    """Where all values are equal the ratio mean is that value, surely; the other mean is not."""
    pi = np.array([0.2, 0.5, 0.9])
    joint = np.outer(pi, pi) + np.diag(pi * (1 - pi))
    sure = estimate_mean([7, 7, 7], pi, joint=joint)
    assert (sure.value, sure.se) == pytest.approx((7, 0))
    other = estimate_mean([7, 7, 7], pi, joint=joint, size=6)
    assert other.value == pytest.approx(7 * (5 + 2 + 1 / 0.9) / 6)
    assert other.se > 3


@given(st.integers(2, 30), st.integers(1, 30), st.integers(0, 99))
def test_means_agree_where_odds_are_equal(count, more, seed):
    """In a simple random sample both means are the plain one, with the textbook's variance."""
    size = count + more
    y = np.random.default_rng(seed).normal(5, 2, count)
    joint = np.full((count, count), count * (count - 1) / (size * (size - 1)))
    np.fill_diagonal(joint, count / size)
    pi = np.full(count, count / size)
    wanted = (1 - count / size) * y.var(ddof=1) / count
    for known in (size, None):
        found = estimate_mean(y, pi, joint=joint, size=known, fixed_size=True)
        assert (found.value, found.variance) == pytest.approx((y.mean(), wanted))


def test_a_sample_without_units_is_a_result():
    """A round that happens to draw nobody estimates a total of 0; its ratio mean is an error."""
    found = estimate_total([], [], joint=np.empty((0, 0)))
    assert (found.value, found.se, found.sample) == (0, 0, 0)
    assert estimate_mean([], [], size=4, joint=np.empty((0, 0))).value == 0
    with pytest.raises(DesignError, match="0 units were drawn and the size is None"):
        estimate_mean([], [], joint=np.empty((0, 0)))


@pytest.mark.parametrize("form", [{"joint": [[0.5]], "fixed_size": True}, {"places": [[3, 4]]}])
def test_one_unit_does_not_tell_its_variance(form):
    """A single unit left to chance gives an estimate without standard error, and says why."""
    found = estimate_total([3], [0.5], **form)
    assert found.value == 6
    assert math.isnan(found.se)
    assert math.isnan(found.low)
    assert "only one unit was left to chance" in found.notes[0]


def test_a_census_has_no_error():
    """Where all units are drawn for certain, the variance is 0 in every form."""
    forms = ({"joint": np.ones((2, 2))}, {"joint": np.ones((2, 2)), "fixed_size": True})
    for form in (*forms, {"places": [[0, 0], [1, 1]]}):
        found = estimate_total([3, 4], [1, 1], **form)
        assert (found.value, found.variance, found.notes) == (7, 0, ())


def test_a_variance_below_zero_is_said():
    """An unbiased variance below 0 is kept, gives no standard error, and is explained."""
    joint = [[0.5, 0.4], [0.4, 0.5]]
    found = estimate_total([1, 2], [0.5, 0.5], joint=joint, fixed_size=True)
    assert found.variance == pytest.approx(-(0.15 / 0.4) * 4)
    assert math.isnan(found.se)
    assert "below 0" in found.notes[0]


def test_the_local_variance_by_hand():
    """Each unit is compared with its three nearest, as worked out by hand."""
    places = [[0, 0], [1, 0], [0, 1], [1, 1], [1000, 0], [1000, 3]]
    y, half = np.array([1.0, 2, 3, 6, 5, 9]), np.full(6, 0.5)
    z = y / 0.5
    # The fifth and sixth see each other, (1, 0) and (1, 1): distances 999 and less than 1001.
    far = [z[[4, 5, 1, 3]], z[[5, 4, 3, 1]]]
    near = [z[:4]] * 4
    spread = [(z[n] - each.mean()) ** 2 for n, each in enumerate([*near, *far])]
    found = estimate_total(y, half, places=places)
    assert found.variance == pytest.approx(0.5 * 4 / 3 * sum(spread))
    assert found.approximate
    assert found.method == "Horvitz-Thompson total, local-neighbour variance (approximate)"


def test_neighbours_at_one_distance_all_count():
    """Ties are all taken in, so that the order of units does not change the variance."""
    places = np.array([[0, 0], [5, 0], [-5, 0], [0, 5], [0, -5], [3, 4]], dtype=float)
    y, pi = np.array([1.0, 4, 2, 8, 5, 7]), np.full(6, 0.25)
    away = np.hypot(*(places[:, None] - places).transpose(2, 0, 1))
    near = away <= np.sort(away, axis=1)[:, [3]] + 1e-9
    assert near.sum(axis=1).tolist() == [6, 5, 4, 5, 4, 4]
    sizes = near.sum(axis=1)
    z = y / 0.25
    wanted = (0.75 * sizes / (sizes - 1) * (z - near @ z / sizes) ** 2).sum()
    for order in (range(6), [5, 4, 3, 2, 1, 0], [3, 0, 5, 1, 4, 2]):
        rows = list(order)
        found = estimate_total(y[rows], pi, places=places[rows])
        assert found.variance == pytest.approx(wanted)


@given(st.integers(2, 4), st.integers(0, 99))
def test_local_variance_of_few_units_is_that_of_a_simple_sample(count, seed):
    """Up to four units all are neighbours, and the variance is that of a simple random sample."""
    rng = np.random.default_rng(seed)
    y, places = rng.normal(size=count), rng.normal(size=(count, 2))
    found = estimate_total(y, np.full(count, 0.25), places=places)
    size = count * 4
    assert found.variance == pytest.approx(size**2 * 0.75 * y.var(ddof=1) / count)


def test_certain_units_take_no_part_in_the_local_variance():
    """A unit drawn in any case adds to the total, and nothing to its variance."""
    places = [[0, 0], [4, 0], [0, 4], [1, 1]]
    without = estimate_total([1, 2, 4], [0.5] * 3, places=places[:3])
    found = estimate_total([1, 2, 4, 100], [0.5] * 3 + [1], places=places)
    assert (found.value, found.variance) == (without.value + 100, without.variance)


def test_estimates_show_themselves_safely():
    """An estimate shows its numbers, its method and its notes as HTML, names escaped."""
    shown = Estimate(5, 1, 1, 3.04, 6.96, 4, "by <hand>", False, ("<img onerror=x>",))._repr_html_()
    assert "3.04 to 6.96" in shown
    assert "by &lt;hand&gt;" in shown
    assert "<img" not in shown


HALF = [0.5, 0.5]
GOOD = np.array([[0.5, 0.2], [0.2, 0.5]])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (([1, 2, 3], HALF, {}), r"values have shape \(3,\), probs \(2,\)"),
        (([[1, 2]], [HALF], {}), r"values have shape \(1, 2\)"),
        (([1, 2], [0.5, 0.0], {}), r"probs\[1\] is 0.0; a unit that was drawn"),
        (([1, 2], [0.5, 1.5], {}), r"probs\[1\] is 1.5"),
        (([1, 2], [math.nan, 1], {}), r"probs\[0\] is nan"),
        (([1, 2], HALF, {}), "give joint .* or places"),
        (([1, 2], HALF, {"joint": GOOD, "places": np.zeros((2, 2))}), "one of the two"),
        (([1, 2], HALF, {"joint": np.eye(3)}), r"joint has shape \(3, 3\)"),
        (([1, 2], HALF, {"joint": GOOD * np.eye(2)}), r"joint\[0, 1\] is 0: both were drawn"),
        (([1, 2], HALF, {"joint": [[0.5, math.nan]] * 2}), r"joint\[0, 1\] is nan"),
        (([1, 2], HALF, {"joint": [[0.5, 0.2], [0.3, 0.5]]}), "mirror image"),
        (([1, 2], HALF, {"joint": [[0.5, 0.2], [0.2, 0.4]]}), r"joint\[1, 1\] is 0.4: it should"),
        (([1, 2], HALF, {"joint": [[0.5, 0.6], [0.6, 0.5]]}), "one of the two has a smaller"),
        (([1, 2], [0.8, 0.8], {"joint": [[0.8, 0.5], [0.5, 0.8]]}), "together force more"),
        (([1, 2], HALF, {"places": [[0, 0]]}), r"places of shape \(1, 2\)"),
        (([1, 2], HALF, {"places": [[0, 0], [0, math.inf]]}), "finite x and y"),
    ],
)
def test_contradictions_are_named(given, message):
    """Probabilities, pairs and places that cannot be are refused by both functions, by name."""
    values, probs, form = given
    for estimate in (estimate_total, estimate_mean):
        with pytest.raises(DesignError, match=message):
            estimate(values, probs, **form)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_values_are_finite(bad):
    """A value that is no finite number is named by its place."""
    with pytest.raises(LayerError, match=r"values\[1\] is (nan|inf); every unit needs"):
        estimate_total([1, bad], HALF, joint=GOOD)


@pytest.mark.parametrize("size", [1, 0, -3, math.inf, math.nan])
def test_the_size_is_that_of_all_units(size):
    """A size that is less than the sample, or no number, is refused."""
    with pytest.raises(DesignError, match="2 units were drawn and the size is"):
        estimate_mean([1, 2], HALF, joint=GOOD, size=size)
