"""Which units to mend first, and what that saves in the eyes of the inspectors."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from survey.errors import DesignError, LayerError, TableError
from survey.sampling.conditions import Condition
from survey.tables import check, make

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_KEY = ["layer", "unit_id"]
_SOLVER_S = 10
# Sums of costs as people write them miss each other by rounding: 0.1 + 0.2 is to fit into 0.3.
_ROUNDING = 1e-12
_PROOF = 1e-9
_EXCHANGES = 500


@dataclass(frozen=True, eq=False)
class Priorities:
    """Units by what mending them saves.

    Attributes
    ----------
    table
        The table ``priorities``: the units whose condition is known, by rank.
    expected_failing
        How many failing units a round meets on average, of those whose condition is known: the
        sum of ``risk``, exact by the linearity of expectation.
    expected_low, expected_high
        The same over the band of the odds and over what is not known: the sum of ``risk_low``,
        and that of ``risk_high`` with every unit without a condition taken to fail for certain at
        its ``prob_high``. No law of the radius that the band covers leads outside; but not every
        value inside belongs to one, for each unit's end of the band may come from another law.
    missing
        The units without a condition, as `Condition` lists them; they are not ranked.
    saved
        The sum of ``risk`` of the chosen units; 0 without a budget.
    bound
        What no choice within the budget can exceed.
    proven
        Whether `saved` reaches `bound` to a billionth of it: only then the choice is the best.
    budget, budget_cost
        The budget that was given, in units or in cost; ``None`` for the other.
    notes
        What a reader should know.

    Examples
    --------
    >>> from survey.example import example_town
    >>> from survey.sampling.conditions import as_condition
    >>> town = example_town()
    >>> scores = pd.DataFrame({"unit_id": ["alley/5", "alley/7"], "得分": [60, 75]})
    >>> odds = make("odds", {
    ...     "layer": ["alley"] * 5 + ["compound"] * 3,
    ...     "unit_id": [*town.alleys["alley_id"], *town.compounds["compound_id"]],
    ...     **dict.fromkeys(["prob", "prob_low", "prob_high", "expected_visits"], [0.5] * 8),
    ...     "points": [1] * 8,
    ...     "near_edge": [False] * 8,
    ... })
    >>> ranked = rank_priorities(odds, as_condition(scores, town, greatest=100), budget=1)
    >>> ranked.table[["unit_id", "risk", "chosen"]].to_numpy().tolist()
    [['alley/5', 0.2, True], ['alley/7', 0.125, False]]
    """

    table: pd.DataFrame
    expected_failing: float
    expected_low: float
    expected_high: float
    missing: pd.DataFrame
    saved: float
    bound: float
    proven: bool
    budget: int | None = None
    budget_cost: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def gap(self) -> float:
        """How many failing units a better choice might save beyond `saved`, at most."""
        return self.bound - self.saved


def rank_priorities(
    odds: pd.DataFrame,
    condition: Condition,
    *,
    budget: int | None = None,
    budget_cost: float | None = None,
) -> Priorities:
    """Rank units by risk = prob x (1 - condition), and choose the best set within a budget.

    Mending a unit saves exactly its risk, whatever else is mended: the expected number of failing
    units met is a sum over units, and mending changes no odds, for inspectors draw by place and
    not by condition. So the `budget` units of greatest risk are the best choice: in any other set
    of that size a unit can be exchanged for one of these without loss. The best set within
    `budget_cost` is looked for, and its bound is given beside it.

    Parameters
    ----------
    odds
        The table ``odds`` of the frame.
    condition
        Of the same frame's units.
    budget
        How many units can be mended.
    budget_cost
        What can be spent, in the currency of the condition's ``cost``. Units of no cost are then
        always chosen.

    Returns
    -------
    Priorities
        Equal risks rank by layer and unit_id. Units of no risk are never chosen, and none is
        without a budget.

    Raises
    ------
    TableError
        If `odds` breaks the data contract, or does not hold the units of `condition`.
    DesignError
        If both budgets are given, or one is below 0 or no number.
    LayerError
        If `budget_cost` is given and a unit with risk has no cost; the message lists these.
    """
    _check_budgets(budget, budget_cost)
    known, unknown = _join(check("odds", odds), condition)
    for end in ("", "_low", "_high"):
        known[f"risk{end}"] = known[f"prob{end}"] * (1 - known["condition"])
    known = known.sort_values(["risk", *_KEY], ascending=[False, True, True], ignore_index=True)
    known["rank"] = np.arange(1, len(known) + 1)
    if budget_cost is None:
        known["chosen"] = (known["rank"] <= (budget or 0)) & (known["risk"] > 0)
        bound = 0.0
    else:
        known["chosen"], bound = _choose_by_cost(known, budget_cost)
    return _sum_up(known, unknown, condition, bound, (budget, budget_cost))


def _check_budgets(budget: int | None, budget_cost: float | None) -> None:
    if budget is not None and budget_cost is not None:
        raise DesignError("both a budget of units and one of cost are given; give one of them")
    whole = isinstance(budget, int | np.integer) and not isinstance(budget, bool)
    if budget is not None and not (whole and budget >= 0):
        raise DesignError(f"the budget is {budget!r}; give a whole number of units, 0 or more")
    # The comparison is also false for NaN.
    if budget_cost is not None and not 0 <= budget_cost < math.inf:
        raise DesignError(f"the budget of cost is {budget_cost!r}; give a number, 0 or more")


def _join(odds: pd.DataFrame, condition: Condition) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Give the units with and without a condition their odds."""
    listed = pd.concat([condition.table[_KEY], condition.missing[_KEY]])
    strange = pd.MultiIndex.from_frame(odds[_KEY]).symmetric_difference(
        pd.MultiIndex.from_frame(listed)
    )
    if len(strange):
        layer, unit_id = strange[0]
        raise TableError(
            f"odds and condition are not of one frame: {len(strange)} units stand in only one of"
            f" them, such as {layer} {unit_id!r}; make both from the same frame"
        )
    return condition.table.merge(odds, on=_KEY), condition.missing.merge(odds, on=_KEY)


def _sum_up(
    known: pd.DataFrame,
    unknown: pd.DataFrame,
    condition: Condition,
    bound: float,
    budgets: tuple[int | None, float | None],
) -> Priorities:
    saved = math.fsum(known.loc[known["chosen"], "risk"])
    bound = float(max(bound, saved))
    proven = bool(bound - saved <= _PROOF * bound)
    unseen = math.fsum(unknown["prob_high"])
    law = (
        "the law of the radius is not public: under every law that the band of the odds covers, the"
        " expected number of failing units lies between its low and its high"
    )
    notes = [law]
    if len(unknown):
        notes.append(
            f"{len(unknown)} units have no condition: they are not ranked, count as sound in the"
            f" expected number and its low, and as failing in its high (there {unseen:.3g})"
        )
    edge = int(known["near_edge"].sum())
    if edge:
        notes.append(f"the odds of {edge} ranked units are uncertain: the edge of the data is near")
    if not proven:
        notes.append(
            f"the choice saves {saved:.6g} and is not proven to be the best: none saves more than"
            f" {bound:.6g}"
        )
    return Priorities(
        table=make("priorities", known),
        expected_failing=math.fsum(known["risk"]),
        expected_low=math.fsum(known["risk_low"]),
        expected_high=math.fsum(known["risk_high"]) + unseen,
        missing=condition.missing,
        saved=saved,
        bound=bound,
        proven=proven,
        budget=budgets[0],
        budget_cost=budgets[1],
        notes=tuple(notes),
    )


def _choose_by_cost(known: pd.DataFrame, budget_cost: float) -> tuple[Flags, float]:
    """Choose units within a cost; return which, and what no choice can exceed.

    It is the 0/1 knapsack problem. Dantzig (1957) gives the greedy choice, by risk per cost, and a
    bound; exchanges improve the one, and `scipy.optimize.milp` solves what the other leaves open.
    """
    risk, cost = known["risk"].to_numpy(), known["cost"].to_numpy()
    unpriced = known.loc[(risk > 0) & np.isnan(cost), _KEY].itertuples(index=False, name=None)
    shown = sorted(map(" ".join, unpriced))
    if shown:
        more = f" and {len(shown) - 10} more" if len(shown) > 10 else ""
        raise LayerError(
            f"a budget of cost needs the cost of every unit with a risk; {len(shown)} have none:"
            f" {', '.join(shown[:10])}{more}; fill in the cost column"
        )
    room = budget_cost * (1 + _ROUNDING)
    chosen = (risk > 0) & (cost == 0)
    free = math.fsum(risk[chosen])
    open_to = np.flatnonzero((risk > 0) & (cost > 0) & (cost <= room))
    taken, bound = _pack(risk[open_to], cost[open_to], room)
    chosen[open_to[taken]] = True
    return chosen, free + bound


def _pack(gain: Floats, cost: Floats, room: float) -> tuple[Flags, float]:
    """Solve the knapsack problem: gains and costs above 0, each cost at most `room`."""
    order = np.argsort(-gain / cost, kind="stable")
    spent = np.cumsum(cost[order])
    fit = int(np.searchsorted(spent, room, side="right"))
    taken = np.zeros(len(gain), dtype=np.bool_)
    taken[order[:fit]] = True
    if fit == len(gain):
        return taken, math.fsum(gain)
    # Dantzig's bound: the first item that does not fit is taken in part.
    price = gain[order[fit]] / cost[order[fit]]
    left = room - (spent[fit - 1] if fit else 0)
    bound = math.fsum(gain[taken]) + left * price
    greedy = _exchange(taken, gain, cost, room)
    saved = math.fsum(gain[greedy])
    # An item whose change alone brings the bound below what is saved stays as greedy began.
    fixed = bound - np.abs(gain - price * cost) < saved
    sure = fixed & taken
    left = room - math.fsum(cost[sure])
    fixed |= cost > left
    rest, proof = _solve(gain[~fixed], cost[~fixed], left)
    solved = sure.copy()
    solved[~fixed] = rest
    bound = min(bound, max(saved, math.fsum(gain[sure]) + proof))
    within = math.fsum(cost[solved]) <= room
    return (solved if within and math.fsum(gain[solved]) > saved else greedy), bound


def _exchange(start: Flags, gain: Floats, cost: Floats, room: float) -> Flags:
    """Put one item in, for one that is taken or for none: the best such step, again and again."""
    taken = start.copy()
    for _ in range(_EXCHANGES):
        inside = np.append(np.flatnonzero(taken), -1)  # the last is no item
        outside = np.flatnonzero(~taken)
        outside = outside[np.argsort(cost[outside], kind="stable")]
        best = np.maximum.accumulate(np.append(-np.inf, gain[outside]))
        left = room - math.fsum(cost[taken])
        given = np.where(inside >= 0, gain[inside], 0)
        freed = left + np.where(inside >= 0, cost[inside], 0)
        reach = np.searchsorted(cost[outside], freed, side="right")
        profit = best[reach] - given
        swap = int(np.argmax(profit))
        # Rounding alone is no profit.
        if not profit[swap] > _ROUNDING * math.fsum(gain[taken]):
            break
        taken[outside[np.argmax(gain[outside[: reach[swap]]])]] = True
        if inside[swap] >= 0:
            taken[inside[swap]] = False
    return taken


def _solve(gain: Floats, cost: Floats, room: float) -> tuple[Flags, float]:
    """Solve what is left open; return the choice and a bound, infinite where there is none."""
    from scipy import optimize

    if not len(gain):
        return np.zeros(0, dtype=np.bool_), 0.0
    # The solver's tolerances are absolute. Costs stay as they are: it knows whole numbers.
    scale = 1e6 / gain.max()
    found = optimize.milp(
        -gain * scale,
        integrality=np.ones(len(gain)),
        bounds=optimize.Bounds(0, 1),
        constraints=optimize.LinearConstraint(cost[np.newaxis], ub=room),
        options={"time_limit": _SOLVER_S, "mip_rel_gap": 0},
    )
    rest = np.zeros(len(gain), dtype=np.bool_) if found.x is None else found.x > 0.5
    proof = getattr(found, "mip_dual_bound", None)
    return rest, math.inf if proof is None else -proof / scale
