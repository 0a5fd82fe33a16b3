import re
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.spatial import KDTree

from survey.coverage import choosing
from survey.coverage.choosing import choose_sites
from survey.errors import RuleError


@st.composite
def instances(draw):
    sites, pieces = draw(st.integers(1, 8)), draw(st.integers(1, 14))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    reach = rng.random((sites, pieces)) < draw(st.sampled_from([0.1, 0.25, 0.5]))
    weight = rng.integers(0, 20, pieces)
    cost = rng.choice(draw(st.sampled_from([[1.0, 5.0], [1.0], [0.5, 0.7, 1 / 3]])), sites)
    return weight, reach, cost


def enumerate_choices(weight, reach, cost):
    """Yield number of sites, cost and covered weight of every choice."""
    for size in range(len(cost) + 1):
        for chosen in combinations(range(len(cost)), size):
            rows = list(chosen)
            yield size, cost[rows].sum(), weight[reach[rows].any(axis=0)].sum()


def check_choice(choice, weight, reach, cost):
    """Check that what a choice says of itself is so."""
    covered = np.zeros(len(weight), dtype=bool)
    gains = []
    for site in choice.sites:
        gains.append(weight[reach[site] & ~covered].sum())
        covered |= reach[site]
    assert choice.gain.tolist() == gains == sorted(gains, reverse=True)
    assert all(gain > 0 for gain in gains)
    assert choice.covered == weight[covered].sum()
    assert choice.cost == pytest.approx(cost[choice.sites].sum())
    assert choice.stranded.tolist() == np.flatnonzero(~reach.any(axis=0)).tolist()
    assert choice.unreachable == weight[~reach.any(axis=0)].sum()


@settings(max_examples=150, deadline=None)
@given(instances())
def test_cover_equals_exhaustive_search(instance):
    """Covering everything costs what the cheapest of all choices costs, and the bound says so."""
    weight, reach, cost = instance
    choice = choose_sites(weight, sparse.csr_array(reach), cost)
    check_choice(choice, *instance)
    most = weight[reach.any(axis=0)].sum()
    best = min(spent for _, spent, got in enumerate_choices(*instance) if got == most)
    assert choice.covered == most
    assert choice.cost == pytest.approx(best)
    assert choice.proven
    assert choice.bound == pytest.approx(best)


@settings(max_examples=150, deadline=None)
@given(instances(), st.integers(1, 5))
def test_add_equals_exhaustive_search(instance, add):
    """The best n sites cover what the best of all choices of n covers."""
    weight, reach, cost = instance
    choice = choose_sites(weight, sparse.csr_array(reach), cost, add=add)
    check_choice(choice, *instance)
    best = max(got for size, _, got in enumerate_choices(*instance) if size <= add)
    assert len(choice.sites) <= add
    assert choice.covered == best == choice.bound
    assert choice.proven


@settings(max_examples=150, deadline=None)
@given(instances(), st.sampled_from([0.4, 1.0, 1.2, 2.0, 6.0, 40.0]))
def test_budget_equals_exhaustive_search(instance, budget):
    """A budget covers what the best of all choices within it covers, and is kept."""
    weight, reach, cost = instance
    choice = choose_sites(weight, sparse.csr_array(reach), cost, budget=budget)
    check_choice(choice, *instance)
    best = max(got for _, spent, got in enumerate_choices(*instance) if spent <= budget + 1e-9)
    assert choice.cost <= budget + 1e-9
    assert choice.covered == best == choice.bound
    assert choice.proven


@settings(max_examples=100, deadline=None)
@given(instances(), st.sampled_from([{}, {"add": 2}, {"budget": 2.0}]))
def test_bound_without_solver_is_never_wrong(instance, mode):
    """Without the exact solver the bound is on the right side, and proven means the best."""
    weight, reach, cost = instance
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choosing, "_EXACT_CELLS", -1)
        patch.setattr(choosing, "_solve_exactly", lambda *_, **__: (None, 0.0))
        choice = choose_sites(weight, sparse.csr_array(reach), cost, **mode)
    check_choice(choice, *instance)
    choices = list(enumerate_choices(*instance))
    if not mode:
        most = weight[reach.any(axis=0)].sum()
        best = min(spent for _, spent, got in choices if got == most)
        assert choice.bound <= best + 1e-9 <= choice.cost + 2e-9
        assert not choice.proven or choice.cost == pytest.approx(best)
        return
    add, budget = mode.get("add", np.inf), mode.get("budget", np.inf)
    best = max(got for size, spent, got in choices if size <= add and spent <= budget + 1e-9)
    assert choice.covered <= best <= choice.bound
    assert not choice.proven or choice.covered == best


def draw_plane(pieces, sites, seed):
    """Pieces and sites at random in a square; each site covers 60 to 200 pieces, about."""
    rng = np.random.default_rng(seed)
    places, centres = rng.random((pieces, 2)), rng.random((sites, 2))
    radius = np.sqrt(rng.uniform(60, 200, sites) / pieces / np.pi)
    near = KDTree(places).query_ball_point(centres, radius)
    ends = np.cumsum([0] + [len(found) for found in near])
    cells = (np.ones(ends[-1], dtype=bool), np.concatenate(near).astype(int), ends)
    reach = sparse.csr_array(cells, shape=(sites, pieces))
    return rng.integers(1, 50_000, pieces), reach, rng.choice([1.0, 5.0], sites)


@pytest.mark.parametrize("mode", [{}, {"add": 6}, {"budget": 9.0}])
def test_choice_is_the_same_again(mode):
    """The same input and seed give the same choice, and dense and sparse input the same."""
    weight, reach, cost = draw_plane(1_500, 200, 3)
    one = choose_sites(weight, reach, cost, **mode, seed=4)
    two = choose_sites(weight, reach.tocoo(), cost, **mode, seed=4)
    assert one.sites.tolist() == two.sites.tolist()
    assert (one.bound, one.gap) == (two.bound, two.gap)


def test_no_worse_than_solver_alone():
    """On a plane of 3,000 pieces and 450 sites the cost is the least that HiGHS proves."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    weight, reach, cost = draw_plane(3_000, 450, 5)
    cover = reach.T.astype(float)[np.diff(reach.tocsc().indptr) > 0]
    alone = milp(
        cost,
        constraints=LinearConstraint(cover, 1, np.inf),
        integrality=1,
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": 0},
    )
    choice = choose_sites(weight, reach, cost)
    assert choice.cost == pytest.approx(alone.fun)
    assert choice.proven


def test_time_limit_is_kept():
    """A limit of a second gives a whole cover and a bound soon after it, and claims no proof."""
    weight, reach, cost = draw_plane(6_000, 900, 6)
    choice = choose_sites(weight, reach, cost, time_limit_s=1)
    assert choice.covered + choice.unreachable == weight.sum()
    assert 0 < choice.bound <= choice.cost
    assert choice.proven == (choice.cost - choice.bound <= 1e-9 * choice.cost)
    assert choice.gap <= 0.2


def test_worked_by_hand():
    """Two sites of cost 1 beat the one of cost 3 that greedy takes; the greater gain comes first.

    Site 0 covers all four pieces for 3; sites 1 and 2 cover two each for 1. The fifth piece is
    reached by none.
    """
    reach = np.array([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0], [0, 0, 1, 1, 0]], dtype=bool)
    weight, cost = np.array([1, 1, 3, 3, 7]), np.array([3.0, 1.0, 1.0])
    choice = choose_sites(weight, sparse.csr_array(reach), cost)
    assert choice.sites.tolist() == [2, 1]
    assert choice.gain.tolist() == [6, 2]
    assert (choice.covered, choice.unreachable, choice.cost, choice.bound) == (8, 7, 2, 2)
    one = choose_sites(weight, sparse.csr_array(reach), cost, add=1)
    assert (one.sites.tolist(), one.covered, one.bound, one.cost) == ([0], 8, 8, 3)
    spent = choose_sites(weight, sparse.csr_array(reach), cost, budget=1)
    assert (spent.sites.tolist(), spent.covered, spent.bound) == ([2], 6, 6)


@pytest.mark.parametrize(("sites", "pieces"), [(0, 0), (0, 3), (3, 0), (2, 3)])
def test_nothing_to_choose(sites, pieces):
    """Without sites, pieces or reach nothing is chosen, at no cost, and that is proven."""
    reach = sparse.csr_array((sites, pieces), dtype=bool)
    for mode in ({}, {"add": 1}, {"budget": 1.0}):
        choice = choose_sites(np.ones(pieces, dtype=int), reach, np.ones(sites), **mode)
        assert (choice.sites.tolist(), choice.covered, choice.unreachable) == ([], 0, pieces)
        assert (choice.cost, choice.bound, choice.gap, choice.proven) == (0, 0, 0, True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"add": 0}, "add is 0; give how many sites to add, 1 or more"),
        ({"add": -2}, "add is -2"),
        ({"budget": 0.0}, "budget is 0.0; it must be above 0"),
        ({"add": 1, "budget": 2.0}, "both add (1) and budget (2.0) are given; give one of them"),
        ({"cost": [1.0, 0.0]}, "every cost must be above 0"),
        ({"cost": [1.0, np.nan]}, "every cost must be above 0"),
        ({"cost": [1.0]}, "one row per site"),
        ({"weight": [1, -1, 1]}, "a weight of demand is below 0"),
        ({"weight": [1, 0.5, 1]}, "not whole"),
        ({"time_limit_s": 0}, "time_limit_s is 0"),
    ],
)
def test_bad_input(change, message):
    """Bad input is refused in one clear line."""
    given = {"weight": [1, 1, 1], "reach": sparse.csr_array(np.ones((2, 3))), "cost": [1.0, 2.0]}
    given |= change
    weight, reach, cost = (given.pop(name) for name in ("weight", "reach", "cost"))
    with pytest.raises(RuleError, match=re.escape(message)) as caught:
        choose_sites(np.array(weight), reach, np.array(cost), **given)
    assert "\n" not in str(caught.value)
