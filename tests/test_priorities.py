import itertools
import math
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from survey.errors import DesignError, LayerError, TableError
from survey.sampling import priorities
from survey.sampling.conditions import as_condition
from survey.sampling.priorities import rank_priorities
from survey.tables import TABLES, make

LAW = (
    "the law of the radius is not public: under every law that the band of the odds covers, the"
    " expected number of failing units lies between its low and its high"
)
FEW = settings(max_examples=40, deadline=None)  # building tables is slow
SHARES = st.integers(0, 20).map(lambda part: part / 20)


def odds_of(probs, *, low=None, high=None, near_edge=()):
    """Make the odds of alleys a, b, c, ... with a band of their own where given."""
    ids = name_units(len(probs))
    return make(
        "odds",
        {
            "layer": ["alley"] * len(probs),
            "unit_id": ids,
            "prob": probs,
            "expected_visits": probs,
            "prob_low": probs if low is None else low,
            "prob_high": probs if high is None else high,
            "points": [1] * len(probs),
            "near_edge": [name in near_edge for name in ids],
        },
    )


def name_units(number):
    return [f"{place:03}" if number > 26 else chr(97 + place) for place in range(number)]


def condition_of(conditions, costs=None):
    """Make the condition of alleys a, b, c, ...; None is not known."""
    ids = name_units(len(conditions))
    frame = SimpleNamespace(
        alleys=pd.DataFrame({"alley_id": ids, "name": ids}),
        compounds=pd.DataFrame({"compound_id": [], "name": []}),
    )
    table = pd.DataFrame({"unit_id": ids, "condition": conditions})
    return as_condition(table if costs is None else table.assign(cost=costs), frame)


def chosen_of(found):
    """Return the ids of the chosen units, joined."""
    return "".join(sorted(found.table.loc[found.table["chosen"], "unit_id"]))


def twin_saves(odds, condition, budget):
    """Rank by odds alone, which is wrong; return what that saves."""
    both = odds.merge(condition.table).nlargest(budget, "prob")
    return (both["prob"] * (1 - both["condition"])).sum()


# --- ranks and sums


def test_the_table_by_hand():
    """Risk is prob x (1 - condition); ranks go down, equal risks by id, and the band goes along."""
    odds = odds_of(
        [0.5, 0.25, 0.5, 1], low=[0.25, 0, 0.5, 1], high=[0.75, 0.5, 0.5, 1], near_edge="b"
    )
    found = rank_priorities(odds, condition_of([0.5, 0, 0.25, 1]))
    assert list(found.table) == list(TABLES["priorities"].columns)
    shown = found.table[["unit_id", "rank", "risk", "risk_low", "risk_high", "near_edge"]]
    assert shown.to_numpy().tolist() == [
        ["c", 1, 0.375, 0.375, 0.375, False],
        ["a", 2, 0.25, 0.125, 0.375, False],
        ["b", 3, 0.25, 0, 0.5, True],
        ["d", 4, 0, 0, 0, False],
    ]
    assert (found.expected_failing, found.expected_low, found.expected_high) == (0.875, 0.5, 1.25)
    assert not found.table["chosen"].any()
    assert (found.saved, found.bound, found.gap, found.proven) == (0, 0, 0, True)
    assert found.missing.empty
    assert found.notes == (
        LAW,
        "the odds of 1 ranked units are uncertain: the edge of the data is near",
    )


def test_units_without_a_condition_are_not_guessed():
    """An unknown unit counts 0 in the number and its low, and its prob_high in the high."""
    odds = odds_of([0.5, 0.5, 0.25], low=[0.25, 0.25, 0.125], high=[0.75, 0.75, 1])
    found = rank_priorities(odds, condition_of([0.5, None, None]), budget=3)
    assert found.table["unit_id"].tolist() == ["a"]
    assert (found.expected_failing, found.expected_low, found.expected_high) == (
        0.25,
        0.125,
        0.375 + 0.75 + 1,
    )
    assert found.missing["unit_id"].tolist() == ["b", "c"]
    assert found.notes[1] == (
        "2 units have no condition: they are not ranked, count as sound in the expected number and"
        " its low, and as failing in its high (there 1.75)"
    )


def test_inputs_stay_as_they_are():
    """Neither the odds nor the condition is changed."""
    odds, condition = odds_of([0.5, 0.25]), condition_of([0.5, None])
    copies = odds.copy(), condition.table.copy(), condition.missing.copy()
    rank_priorities(odds, condition, budget=1)
    for left, right in zip((odds, condition.table, condition.missing), copies, strict=True):
        pd.testing.assert_frame_equal(left, right)


@FEW
@given(st.lists(st.tuples(st.integers(1, 9), st.sets(st.integers(0, 3))), min_size=1), st.data())
def test_the_expected_number_is_the_mean_of_the_law(rounds, data):
    """Over all rounds of a law and all patterns of failing, the mean number met is the sum of risk.

    A round is a set of drawn units with a weight; units are drawn as dependently as the law says,
    and a unit that is drawn fails by a chance of its own.
    """
    total = sum(weight for weight, _ in rounds)
    conditions = [Fraction(data.draw(st.integers(0, 4)), 4) for _ in range(4)]
    mean = Fraction(0)
    for weight, drawn in rounds:
        for failing in itertools.product([False, True], repeat=4):
            chances = [
                1 - good if bad else good for good, bad in zip(conditions, failing, strict=True)
            ]
            met = sum(failing[unit] for unit in drawn)
            mean += Fraction(weight, total) * math.prod(chances) * met
    probs = [sum(weight for weight, drawn in rounds if unit in drawn) / total for unit in range(4)]
    found = rank_priorities(odds_of(probs), condition_of([float(good) for good in conditions]))
    assert found.expected_failing == pytest.approx(float(mean), abs=1e-12)


# --- a budget of units


def test_the_best_units_of_a_budget():
    """The units of greatest risk are chosen, as many as can be, and proven to be the best."""
    odds, condition = odds_of([0.9, 0.5, 0.25, 0.5]), condition_of([1, 0.5, 0, 0])
    found = rank_priorities(odds, condition, budget=2)
    assert chosen_of(found) == "bd"
    assert (found.saved, found.bound, found.proven, found.budget) == (0.75, 0.75, True, 2)
    assert chosen_of(rank_priorities(odds, condition, budget=0)) == ""
    # Unit a is drawn nearly always, but there is nothing to mend.
    assert chosen_of(rank_priorities(odds, condition, budget=9)) == "bcd"


def test_ranking_by_odds_alone_saves_less():
    """The wrong twin mends what is likely seen though it is sound, and saves 0.045 not 0.3."""
    odds, condition = odds_of([0.9, 0.3]), condition_of([0.95, 0])
    assert rank_priorities(odds, condition, budget=1).saved == pytest.approx(0.3, abs=1e-12)
    assert twin_saves(odds, condition, 1) == pytest.approx(0.045, abs=1e-12)


@FEW
@given(st.lists(st.tuples(SHARES, SHARES), min_size=1, max_size=7), st.integers(0, 8))
def test_no_set_of_that_size_saves_more(units, budget):
    """Of all sets of at most so many units none saves more, nor does the wrong twin."""
    probs, conditions = zip(*units, strict=True)
    odds, condition = odds_of(list(probs)), condition_of(list(conditions))
    found = rank_priorities(odds, condition, budget=budget)
    risk = [prob * (1 - good) for prob, good in units]
    best = max(
        math.fsum(some)
        for size in range(min(budget, len(risk)) + 1)
        for some in itertools.combinations(risk, size)
    )
    assert found.saved == pytest.approx(best, abs=1e-12)
    assert found.table["chosen"].sum() <= budget
    assert (found.table.loc[found.table["chosen"], "risk"] > 0).all()
    assert found.proven
    if budget:
        assert twin_saves(odds, condition, budget) <= found.saved + 1e-12


# --- a budget of cost


def test_the_best_set_of_a_cost_is_not_the_greedy_one():
    """By risk per cost unit a comes first, 0.66 for 6; but b and c save 1 for 10 together."""
    odds, condition = odds_of([0.66, 0.5, 0.5]), condition_of([0, 0, 0], [6, 5, 5])
    found = rank_priorities(odds, condition, budget_cost=10)
    assert chosen_of(found) == "bc"
    assert (found.saved, found.bound, found.proven) == (1, 1, True)
    assert (found.budget, found.budget_cost) == (None, 10)


def test_what_costs_nothing_is_always_chosen():
    """Units of no cost are chosen even without money, units of no risk never."""
    odds = odds_of([0.5, 0.5, 0, 0.25])
    condition = condition_of([0, 1, 0, 0], [0, 0, 0, 3])
    found = rank_priorities(odds, condition, budget_cost=0)
    assert chosen_of(found) == "a"
    assert (found.saved, found.proven) == (0.5, True)
    assert chosen_of(rank_priorities(odds, condition, budget_cost=3)) == "ad"


def test_decimal_costs_fill_their_budget():
    """Costs of 0.1 and 0.2 fit into 0.3, though their floats add up to more."""
    odds, condition = odds_of([0.5, 0.5]), condition_of([0, 0], [0.1, 0.2])
    assert chosen_of(rank_priorities(odds, condition, budget_cost=0.3)) == "ab"


COSTS = st.sampled_from(
    [
        st.integers(0, 12).map(float),
        st.integers(1, 40).map(lambda part: part / 10),
        st.floats(0.01, 9, allow_subnormal=False),
    ]
)


@FEW
@given(st.data())
def test_no_set_of_that_cost_saves_more(data):
    """Of all sets within a cost none saves more than the bound, and none beats a proven choice."""
    size = data.draw(st.integers(1, 8))
    lists = {"min_size": size, "max_size": size}
    probs = data.draw(st.lists(SHARES, **lists))
    conditions = data.draw(st.lists(SHARES, **lists))
    costs = data.draw(st.lists(data.draw(COSTS), **lists))
    some = data.draw(st.lists(st.booleans(), **lists))
    # Often a budget that a set fills to the last cent, where rounding matters.
    budget = data.draw(
        st.sampled_from([math.fsum(itertools.compress(costs, some)), sum(costs) / 3, 0.5])
    )
    condition = condition_of(conditions, costs)
    found = rank_priorities(odds_of(probs), condition, budget_cost=budget)
    risk = np.array(probs) * (1 - np.array(conditions))
    sets = np.array([*itertools.product([False, True], repeat=size)])
    within = sets[sets @ np.array(costs) <= budget * (1 + 1e-12)]
    best = (within @ risk).max()
    assert found.saved == pytest.approx(best, abs=1e-9)
    assert found.bound >= best - 1e-9
    assert found.proven
    chosen = found.table[found.table["chosen"]]
    assert chosen["cost"].sum() <= budget * (1 + 1e-11)
    assert (chosen["risk"] > 0).all()


def test_a_city_of_units_is_proven():
    """For 300 units the choice reaches its bound, and the sum of any greedy start lies below."""
    rng = np.random.default_rng(7)
    probs, costs = rng.random(300) / 20, rng.integers(1, 500, 300)
    found = rank_priorities(
        odds_of(probs), condition_of(rng.random(300).round(2), costs), budget_cost=10_000
    )
    chosen = found.table[found.table["chosen"]]
    assert found.proven
    assert chosen["cost"].sum() <= 10_000
    assert found.saved == pytest.approx(chosen["risk"].sum(), abs=1e-12)
    by_price = found.table.assign(price=found.table["risk"] / found.table["cost"])
    by_price = by_price.sort_values("price", ascending=False)
    greedy = by_price.loc[by_price["cost"].cumsum() <= 10_000, "risk"].sum()
    assert greedy < found.saved


def test_what_is_not_proven_is_not_called_best(monkeypatch):
    """Where the solver gives up, the greedy choice stands, with a bound, a gap and a note."""
    monkeypatch.setattr(
        priorities, "_solve", lambda gain, *_: (np.zeros(len(gain), dtype=bool), math.inf)
    )
    monkeypatch.setattr(priorities, "_EXCHANGES", 0)
    odds, condition = odds_of([0.66, 0.5, 0.5]), condition_of([0, 0, 0], [6, 5, 5])
    found = rank_priorities(odds, condition, budget_cost=10)
    assert chosen_of(found) == "a"
    assert found.saved == 0.66
    assert found.bound == pytest.approx(0.66 + 4 / 5 * 0.5)
    assert found.gap == pytest.approx(0.4)
    assert not found.proven
    assert found.notes[-1] == (
        "the choice saves 0.66 and is not proven to be the best: none saves more than 1.06"
    )


def test_a_worse_answer_of_the_solver_is_not_taken(monkeypatch):
    """If the solver returns less than exchanges found, or what does not fit, theirs is kept."""
    for answer in (False, True):
        monkeypatch.setattr(
            priorities, "_solve", lambda gain, *_, a=answer: (np.full(len(gain), a), math.inf)
        )
        odds, condition = odds_of([0.66, 0.5, 0.6]), condition_of([0, 0, 0], [6, 5, 5.5])
        found = rank_priorities(odds, condition, budget_cost=11)
        assert chosen_of(found) == "ab"
        assert not found.proven


# --- what is refused


def fault_of(error, *tables, **budgets):
    with pytest.raises(error) as fault:
        rank_priorities(*tables, **budgets)
    assert "\n" not in str(fault.value)
    return str(fault.value)


@pytest.mark.parametrize(
    ("budgets", "says"),
    [
        ({"budget": -1}, "the budget is -1; give a whole number of units, 0 or more"),
        ({"budget": 1.5}, "the budget is 1.5; give a whole number of units, 0 or more"),
        ({"budget": True}, "the budget is True; give a whole number of units, 0 or more"),
        ({"budget_cost": -1}, "the budget of cost is -1; give a number, 0 or more"),
        ({"budget_cost": math.nan}, "the budget of cost is nan; give a number, 0 or more"),
        ({"budget_cost": math.inf}, "the budget of cost is inf; give a number, 0 or more"),
        (
            {"budget": 1, "budget_cost": 1},
            "both a budget of units and one of cost are given; give one of them",
        ),
    ],
)
def test_budgets_that_are_none(budgets, says):
    """A budget is one number, of units or of cost, 0 or more."""
    assert fault_of(DesignError, odds_of([1]), condition_of([0]), **budgets) == says


def test_missing_costs_are_listed():
    """Under a budget of cost every unit with a risk needs one; the message lists the first ten."""
    odds = odds_of([0.5] * 13)
    condition = condition_of([0] * 12 + [1], [None, 1] + [None] * 11)
    message = fault_of(LayerError, odds, condition, budget_cost=1)
    shown = ", ".join(f"alley {name}" for name in "acdefghijk")
    assert message == (
        "a budget of cost needs the cost of every unit with a risk; 11 have none:"
        f" {shown} and 1 more; fill in the cost column"
    )
    assert rank_priorities(odds, condition, budget=1).saved == 0.5


def test_tables_of_two_frames():
    """Odds and condition of unlike frames are refused with an example."""
    message = fault_of(TableError, odds_of([0.5, 0.5]), condition_of([0.5]))
    assert message == (
        "odds and condition are not of one frame: 1 units stand in only one of them, such as alley"
        " 'b'; make both from the same frame"
    )


def test_odds_are_checked():
    """A table that is not of odds is refused as every table is."""
    message = fault_of(TableError, pd.DataFrame({"unit_id": ["a"]}), condition_of([0.5]))
    assert message.startswith("table 'odds' breaks the data contract: ")
