"""Choosing sites: cover everything at least cost, or the most within a number or a budget.

To cover everything is set covering; to place n sites, or to spend a budget, is maximal covering.
Both are solved alike: what cannot matter is dropped, a greedy choice led by the prices of the
Lagrangian relaxation is improved by taking out neighbouring sites and choosing anew among them
exactly, and a bound says how far from the best the result can be at most.
"""

from dataclasses import dataclass
from time import monotonic
from typing import Any

import numpy as np
from scipy import sparse

from survey.coverage.covering import (
    Flags,
    Problem,
    check_input,
    list_cells,
    pose_problem,
    rank_sites,
    reduce_problem,
)
from survey.frame.lines import Floats, Ints

_STEPS = 600  # of the subgradient; further ones no longer raise the bound by a thousandth
_TAKEN_OUT = 20  # sites chosen anew at once: HiGHS is done with so many in a tenth of a second
_OPTIONS = 300  # sites that they are chosen anew from
_NODES = 50  # of branch and bound for each of these, so that no clock decides
_PATIENCE = 40  # choices anew without a gain, and half as many more as there are sites
_EXACT_CELLS = 100_000  # beyond this size HiGHS overruns its time limit and gives no better bound


@dataclass(frozen=True, eq=False)
class Choice:
    """Which sites were chosen, and how good that is at least.

    Attributes
    ----------
    sites
        Rows of the sites, the greatest gain first.
    gain
        The weight that each adds in that order.
    covered, unreachable
        Weight that the sites cover, and that no site reaches.
    stranded
        Rows of the pieces that no site reaches.
    cost
        What the sites cost together.
    bound
        To cover everything: no choice costs less. Else: no choice covers more weight.
    gap
        How far cost or covered weight is from the bound, as a share of the greater one.
    proven
        Whether they meet, so that no choice is better.
    """

    sites: Ints
    gain: Ints
    covered: int
    unreachable: int
    stranded: Ints
    cost: float
    bound: float
    gap: float
    proven: bool


def choose_sites(
    weight: Ints,
    reach: Any,
    cost: Floats,
    *,
    add: int | None = None,
    budget: float | None = None,
    time_limit_s: float = 30.0,
    seed: int = 0,
) -> Choice:
    """Choose sites that cover all demand at least cost, or as much as a number or budget allows.

    The same input and seed give the same choice, unless the time limit cuts the search short.

    Parameters
    ----------
    weight
        Weight of each piece of demand, whole and not below 0, shape (pieces,).
    reach
        Which pieces each site covers, sparse, shape (sites, pieces).
    cost
        Cost of each site, above 0, shape (sites,).
    add
        Choose at most so many sites, whatever they cost, to cover the most.
    budget
        Spend at most so much to cover the most.
    time_limit_s
        When to stop looking for something better.
    seed
        Of the random order in which the search looks at places.

    Returns
    -------
    Choice

    Raises
    ------
    RuleError
        If shapes do not fit, a weight is below 0 or not whole, a cost, `add`, `budget` or
        `time_limit_s` is not above 0, or both `add` and `budget` are given.

    Examples
    --------
    >>> reach = sparse.csr_array([[1, 1, 0], [0, 1, 1], [0, 0, 1]], dtype=bool)
    >>> choice = choose_sites(np.array([5, 1, 2]), reach, np.array([1.0, 3.0, 1.0]))
    >>> choice.sites.tolist(), choice.cost, choice.proven
    ([0, 2], 2.0, True)
    """
    weight, cells, cost = check_input(weight, reach, cost, add, budget, time_limit_s)
    return _choose(weight, cells, cost, add, budget, monotonic() + time_limit_s, seed)


def _choose(
    weight: Ints,
    cells: Any,
    cost: Floats,
    add: int | None,
    budget: float | None,
    deadline: float,
    seed: int,
) -> Choice:
    reached = np.bincount(cells.indices, minlength=len(weight)) > 0
    wanted = np.flatnonzero(reached & (weight > 0))
    limit = budget if add is None else float(add)
    price = cost if add is None else np.ones(len(cost))
    problem, forced, site = reduce_problem(
        pose_problem(weight[wanted], cells[:, wanted], price, limit)
    )
    found, bound = _solve(problem, deadline, seed)
    chosen = forced.copy()
    chosen[site[found]] = True
    rows, gain = rank_sites(weight, cells, np.flatnonzero(chosen))
    covered, spent = int(gain.sum()), float(cost[rows].sum())
    if limit is None:
        bound = min(bound + float(cost[forced].sum()), spent)
        worse, better = spent, bound
    else:
        bound = max(bound, covered)
        worse, better = bound, covered
    gap = (worse - better) / worse if worse else 0.0
    stranded = np.flatnonzero(~reached)
    lost = int(weight[stranded].sum())
    return Choice(rows, gain, covered, lost, stranded, spent, bound, gap, gap <= 1e-9)


def _solve(problem: Problem, deadline: float, seed: int) -> tuple[Flags, float]:
    """Find a good choice, and a bound on every choice."""
    nothing = np.full(len(problem.cost), False)
    if not len(problem.weight):
        return nothing, 0.0
    if problem.budget is not None and problem.cost.min() > problem.budget:
        return nothing, 0.0
    chosen = _fill(problem, problem.weight)
    if problem.budget is None:
        chosen = max(chosen, _fill(problem, np.ones(len(problem.weight))), key=problem.value)
    prices, bound = _find_prices(problem, problem.value(chosen), deadline)
    chosen = max(chosen, _fill(problem, prices), key=problem.value)
    small = problem.reach.nnz <= _EXACT_CELLS
    stop = deadline - (0.3 * (deadline - monotonic()) if small else 0)
    chosen = _improve(problem, chosen, bound, stop, np.random.default_rng(seed))
    left = deadline - monotonic()
    if _is_best(problem, chosen, bound) or not small or left < 0.1:
        return chosen, bound
    exact, exact_bound = _solve_exactly(problem, time_limit=left)
    tighter = max if problem.budget is None else min
    bound = tighter(bound, exact_bound)
    return (chosen if exact is None else max(chosen, exact, key=problem.value)), bound


def _is_best(problem: Problem, chosen: Flags, bound: float) -> bool:
    value = problem.value(chosen)
    return abs(value) <= bound if problem.budget is None else value >= bound


def _fill(problem: Problem, worth: Ints | Floats, chosen: Flags | None = None) -> Flags:
    """Add sites greedily, the most worth per cost first, and drop those that became needless."""
    chosen = np.full(len(problem.cost), False) if chosen is None else chosen.copy()
    count = problem.count(chosen)
    # What is worth nothing has to be covered too.
    worth = worth + 1e-6 * worth.mean()
    gain = problem.reach @ (worth * (count == 0))
    left = np.inf if problem.budget is None else problem.budget - problem.cost[chosen].sum()
    while not (count > 0).all():
        score = np.where(chosen | (problem.cost > left + 1e-9), 0, gain / problem.cost)
        best = int(np.argmax(score))
        if score[best] <= 0:
            break
        chosen[best] = True
        left -= problem.cost[best]
        pieces, _ = list_cells(problem.reach, np.array([best]))
        new = pieces[count[pieces] == 0]
        count[pieces] += 1
        sites, owner = list_cells(problem.by_piece, new)
        gain -= np.bincount(sites, weights=worth[new][owner], minlength=len(gain))
    for site in sorted(np.flatnonzero(chosen), key=lambda row: (-problem.cost[row], row)):
        pieces, _ = list_cells(problem.reach, np.array([site]))
        if (count[pieces] > 1).all():
            chosen[site] = False
            count[pieces] -= 1
    return chosen


def _find_prices(problem: Problem, value: float, deadline: float) -> tuple[Floats, float]:
    """Price the pieces so that no choice can be better than they say; returns prices and bound.

    A piece's price is what leaving it uncovered costs: any price from 0 up to its weight (up to
    anything, where all must be covered) gives a valid bound, the best prices that of the linear
    relaxation. They are found by a smoothed subgradient (Barahona and Anbil, The volume algorithm,
    Mathematical Programming 87, 2000).
    """
    covers_all = problem.budget is None
    share = problem.cost / np.diff(problem.reach.indptr)
    top = np.inf if covers_all else problem.weight.astype(np.float64)
    first = np.minimum.reduceat(share[problem.by_piece.indices], problem.by_piece.indptr[:-1])
    price = first if covers_all else problem.weight / 2
    total = int(problem.weight.sum())
    target = -value if covers_all else total - value
    best, best_price, step, stall = -np.inf, price, 1.0, 0
    way = np.zeros(len(price))
    for _ in range(_STEPS):
        saved = problem.reach @ price
        used, spent = _relax(problem, saved)
        low = float(price.sum() + spent)
        if low - best > 1e-6 * abs(low):
            best, best_price, stall = low, price, 0
        else:
            stall += 1
        if _round_bound(problem, low) >= target or monotonic() > deadline:
            break
        if stall == 15:
            step, stall, price, way = step / 1.5, 0, best_price, np.zeros(len(price))
            continue
        way = 0.9 * way + 0.1 * (1 - problem.by_piece @ used)
        move = np.where(((price <= 0) & (way < 0)) | ((price >= top) & (way > 0)), 0, way)
        norm = float((move**2).sum())  # a dot product's last digits depend on threads
        if norm == 0:
            way = np.zeros(len(price))
            continue
        price = np.clip(price + step * (1.01 * target - low + 1e-9) / norm * move, 0, top)
    bound = _round_bound(problem, best)
    return best_price, (bound if covers_all else total - bound)


def _relax(problem: Problem, saved: Floats) -> tuple[Floats, float]:
    """Choose sites by what they save at the present prices alone, in parts if need be."""
    if problem.budget is None:
        pays = saved > problem.cost
        return pays.astype(np.float64), float((problem.cost - saved)[pays].sum())
    order = np.argsort(-saved / problem.cost, kind="stable")
    before = np.cumsum(problem.cost[order]) - problem.cost[order]
    used = np.empty(len(saved))
    used[order] = np.clip((problem.budget - before) / problem.cost[order], 0, 1)
    return used, -float((used * saved).sum())


def _round_bound(problem: Problem, low: float) -> float:
    """Round a lower bound up to what sums of costs, or weights in whole millimetres, can be."""
    unit = 1.0
    if problem.budget is None:
        thousandths = np.rint(problem.cost * 1000)
        if not np.array_equal(thousandths / 1000, problem.cost):
            return max(low, 0.0)
        unit = float(np.gcd.reduce(thousandths.astype(np.int64))) / 1000
    slack = 1e-6 + 1e-9 * abs(low) / unit
    return max(float(np.ceil(low / unit - slack)) * unit, 0.0)


def _improve(
    problem: Problem, chosen: Flags, bound: float, deadline: float, rng: np.random.Generator
) -> Flags:
    """Take out neighbouring sites and choose anew among them, while that gains something.

    A large neighbourhood search (Shaw, Principles and Practice of Constraint Programming, 1998).
    """
    stale = 0
    while stale < _PATIENCE + chosen.sum() // 2:
        if monotonic() > deadline or _is_best(problem, chosen, bound):
            break
        out = _pick_neighbours(problem, chosen, rng)
        trial = _choose_anew(problem, chosen & ~out, out, deadline)
        gain = problem.value(trial) - problem.value(chosen)
        stale = 0 if gain > 1e-9 else stale + 1
        chosen = trial if gain >= 0 else chosen
        if problem.budget is not None and chosen.sum() <= _TAKEN_OUT and gain <= 0:
            break  # everything was chosen anew at once; another time would be the same
    return chosen


def _pick_neighbours(problem: Problem, chosen: Flags, rng: np.random.Generator) -> Flags:
    """Pick chosen sites around a random piece, by steps from site to site over shared pieces."""
    out = np.full(len(chosen), False)
    front = rng.integers(len(problem.weight), size=1)
    seen = 0
    while out.sum() < _TAKEN_OUT:
        sites = np.unique(list_cells(problem.by_piece, front)[0])
        new = sites[chosen[sites] & ~out[sites]]
        out[rng.permutation(new)[: _TAKEN_OUT - out.sum()]] = True
        front = np.unique(list_cells(problem.reach, sites)[0])
        if len(front) == seen:
            # The rest is out of reach from here: go on elsewhere.
            others = np.flatnonzero(chosen & ~out)
            out[rng.permutation(others)[: _TAKEN_OUT - out.sum()]] = True
            break
        seen = len(front)
    return out


def _choose_anew(problem: Problem, kept: Flags, out: Flags, deadline: float) -> Flags:
    """Add to the kept sites the best of those that were taken out and of their rivals."""
    open_pieces = problem.count(kept) == 0
    gain = problem.reach @ (open_pieces * (problem.weight if problem.budget is not None else 1.0))
    score = np.where(kept, 0, gain / problem.cost)
    options = np.argsort(-score, kind="stable")[:_OPTIONS]
    options = np.union1d(options[score[options] > 0], np.flatnonzero(out))
    reach = problem.reach[options][:, np.flatnonzero(open_pieces)]
    reached = np.unique(reach.indices)
    left = None if problem.budget is None else problem.budget - problem.cost[kept].sum()
    weight = problem.weight[open_pieces][reached]
    part = pose_problem(weight, reach[:, reached], problem.cost[options], left)
    time_limit = max(deadline - monotonic(), 0.1)
    found, _ = _solve_exactly(part, time_limit=time_limit, node_limit=_NODES)
    trial = kept | out
    if found is not None:
        trial = kept.copy()
        trial[options[found]] = True
    return trial


def _solve_exactly(problem: Problem, **limits: float) -> tuple[Flags | None, float]:
    """Solve by HiGHS; returns its choice, if it found one, and its bound."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    sites, pieces = problem.reach.shape
    rules = {"mip_rel_gap": 0.0, **limits}
    if problem.budget is None:
        told = milp(
            problem.cost,
            constraints=LinearConstraint(problem.by_piece, 1, np.inf),
            integrality=1,
            bounds=Bounds(0, 1),
            options=rules,
        )
        low = told.mip_dual_bound  # missing where HiGHS had no time for one
        bound = _round_bound(problem, 0.0 if low is None or not np.isfinite(low) else low)
    else:
        # In metres, because the solver's tolerances are made for numbers about 1.
        spend = np.r_[problem.cost, np.zeros(pieces)][None]
        told = milp(
            np.r_[np.zeros(sites), -problem.weight / 1000],
            constraints=[
                LinearConstraint(sparse.hstack([problem.by_piece, -sparse.eye_array(pieces)]), 0),
                LinearConstraint(sparse.csr_array(spend), -np.inf, problem.budget),
            ],
            integrality=np.r_[np.ones(sites), np.zeros(pieces)],
            bounds=Bounds(0, 1),
            options=rules,
        )
        total, low = float(problem.weight.sum()), told.mip_dual_bound
        if low is None or not np.isfinite(low):
            low = -total / 1000
        bound = total - _round_bound(problem, total + low * 1000)
    if told.x is None:
        return None, bound
    chosen = np.asarray(told.x[:sites] > 0.5)
    return (chosen if problem.allows(chosen) else None), bound
