import math

import numpy as np
import pytest

from survey.sampling.balance import local_pivotal, simple_random
from survey.sampling.estimate import estimate_mean, estimate_total

ROUNDS = 20_000


def score(numbers, truth):
    """Give how many standard errors the mean of many numbers lies from the truth."""
    return (np.mean(numbers) - truth) / (np.std(numbers) / math.sqrt(len(numbers)))


def sum_variance(y, joint):
    """Give the variance of the Horvitz-Thompson total of a whole population."""
    z = y / np.diag(joint)
    return z @ (joint - np.outer(np.diag(joint), np.diag(joint))) @ z


def test_simulated_simple_samples_show_no_bias():
    """Over 20,000 simple random samples, totals and variances average to the truth."""
    rng = np.random.default_rng(11)
    size, count = 40, 8
    y = rng.gamma(2, 3, size)
    joint = np.full((size, size), count * (count - 1) / (size * (size - 1)))
    np.fill_diagonal(joint, count / size)
    part, pi = joint[:count, :count], joint.diagonal()[:count]
    draws = (simple_random(size, count, rng=rng) for _ in range(ROUNDS))
    found = [estimate_total(y[rows], pi, joint=part, fixed_size=True) for rows in draws]
    assert abs(score([each.value for each in found], y.sum())) < 4
    assert abs(score([each.variance for each in found], sum_variance(y, joint))) < 4
    covered = np.mean([each.low <= y.sum() <= each.high for each in found])
    assert 0.85 < covered < 0.96


def miss_all(reached, units):
    """Give how likely it is that a visit draws none of `units`: one or two units of those near."""
    left = len(reached) - len(set(reached) & set(units))
    ways = [(math.comb(left, k), math.comb(len(reached), k)) for k in (1, 2)]
    return sum(a / b for a, b in ways) / 2


@pytest.fixture(scope="module")
def city():
    """Twelve points that reach 3 to 12 of 30 units; the units' values, and their joint odds.

    Likely units have greater values, as in a city that looks after what is inspected.
    """
    rng = np.random.default_rng(5)
    reached = [
        sorted({*range(n, 30, 12), *rng.choice(30, rng.integers(2, 10), replace=False).tolist()})
        for n in range(12)
    ]
    units = range(30)

    def miss(*some):
        return math.prod(miss_all(near, some) for near in reached)

    joint = [[1 - miss(i) - miss(j) + miss(i, j) for j in units] for i in units]
    joint = np.array(joint)
    return reached, 2 + 5 * joint.diagonal() + rng.normal(0, 0.5, 30), joint


def visit_points(reached, rng, rounds):
    """Draw one or two units at each point, round after round; list each unit drawn once."""
    drawn = np.zeros((rounds, 30), dtype=bool)
    for near in reached:
        order = np.array(near)[rng.random((rounds, len(near))).argsort(axis=1)]
        drawn[np.arange(rounds), order[:, 0]] = True
        second = np.flatnonzero(rng.random(rounds) < 0.5)
        drawn[second, order[second, 1]] = True
    return [np.flatnonzero(row) for row in drawn]


def test_simulated_rounds_show_no_bias(city):
    """Over 20,000 rounds, totals and variances average to the truth; naive ones do not."""
    reached, y, joint = city
    rng = np.random.default_rng(12)
    rows = visit_points(reached, rng, ROUNDS)
    pi = joint.diagonal()
    found = [estimate_total(y[s], pi[s], joint=joint[np.ix_(s, s)]) for s in rows]
    assert abs(score([each.value for each in found], y.sum())) < 4
    assert abs(score([each.variance for each in found], sum_variance(y, joint))) < 4
    # The twins: all units taken for equally likely; units taken for drawn independently.
    assert abs(score([30 * y[s].mean() for s in rows], y.sum())) > 4
    alone = [((1 - pi[s]) * (y[s] / pi[s]) ** 2).sum() for s in rows]
    assert abs(score(alone, sum_variance(y, joint))) > 4


def test_the_ratio_mean_of_rounds_is_nearly_unbiased(city):
    """Over 4,000 rounds of some 14 units the ratio mean keeps the bound of its bias.

    It is steadier than the other mean, and its variance is a sixth too small.
    """
    reached, y, joint = city
    rng = np.random.default_rng(13)
    rows = visit_points(reached, rng, 4_000)
    pi = joint.diagonal()
    found = [estimate_mean(y[s], pi[s], joint=joint[np.ix_(s, s)]) for s in rows]
    values = np.array([each.value for each in found])
    # Cauchy and Schwarz: the bias over the deviation is at most that of the weights' sum over 30.
    limit = math.sqrt(sum_variance(np.ones(30), joint)) / 30
    assert limit < 0.25
    assert abs(score(values, y.mean())) < limit * math.sqrt(4_000) + 4
    assert 0.75 < np.mean([each.variance for each in found]) / values.var() < 1
    assert np.mean([len(s) for s in rows]) == pytest.approx(14, abs=0.5)
    assert values.var() < sum_variance(y / 30, joint)


def test_the_local_variance_of_spread_samples_is_near_the_truth():
    """Over 300 local pivotal samples it is half to twice the variance, where the simple one fails.

    So it is on a smooth surface, on one with noise, and on noise alone.
    """
    rng = np.random.default_rng(6)
    size, count = 300, 30
    places = rng.uniform(0, 5_000, (size, 2))
    x, y = places.T / 5_000
    smooth = 3 + np.sin(2 * np.pi * x) + np.cos(2 * np.pi * y)
    noise = rng.normal(0, 0.5, size)
    pi = np.full(size, count / size)
    rows = [local_pivotal(pi, places, rng=rng) for _ in range(300)]
    ratios = []
    for values in (smooth, smooth + noise, 3 + noise):
        found = [estimate_total(values[s], pi[s], places=places[s]) for s in rows]
        assert all(each.approximate for each in found)
        totals = np.array([each.value for each in found])
        assert abs(score(totals, values.sum())) < 4
        ratios.append(np.mean([each.variance for each in found]) / totals.var(ddof=1))
    assert all(0.5 < ratio < 2 for ratio in ratios), ratios
    totals = np.array([smooth[s].sum() * 10 for s in rows])
    assert size**2 * 0.9 * smooth.var(ddof=1) / count > 4 * totals.var(ddof=1)
