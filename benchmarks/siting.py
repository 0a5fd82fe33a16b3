"""Choosing sites on made instances beside an exact solver alone."""

import time
from statistics import median
from typing import Any

import numpy as np

TIME_LIMIT_S = 120
SIZES = ((10_000, 1_500), (40_000, 6_000))


def make_instance(pieces: int, sites: int, *, seed: int = 1) -> tuple[Any, Any, Any]:
    """Scatter pieces and sites over a square; each site covers about 60 to 200, for 1 or 5."""
    from scipy import sparse
    from scipy.spatial import KDTree

    rng = np.random.default_rng(seed)
    places, centres = rng.random((pieces, 2)), rng.random((sites, 2))
    radius = np.sqrt(rng.uniform(60, 200, sites) / pieces / np.pi)
    near = KDTree(places).query_ball_point(centres, radius)
    ends = np.cumsum([0, *map(len, near)])
    cells = (np.ones(ends[-1], dtype=bool), np.concatenate(near).astype(int), ends)
    reach = sparse.csr_array(cells, shape=(sites, pieces))
    return rng.integers(1_000, 50_000, pieces), reach, rng.choice([1.0, 5.0], sites)


def solve_alone(reach: Any, cost: Any) -> tuple[float, float, float]:
    """Cover everything by HiGHS alone; returns seconds, cost and bound."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    cover = reach.T.tocsr().astype(float)
    start = time.perf_counter()
    told = milp(
        cost,
        constraints=LinearConstraint(cover[np.diff(cover.indptr) > 0], 1, np.inf),
        integrality=1,
        bounds=Bounds(0, 1),
        options={"time_limit": TIME_LIMIT_S},
    )
    found = np.inf if told.fun is None else told.fun
    return time.perf_counter() - start, found, told.mip_dual_bound or 0.0


def bench_siting(runs: int) -> list[str]:
    """Time covering everything at least cost beside HiGHS alone, which runs once."""
    from survey.coverage.choosing import choose_sites

    said = f"medians of {runs} run(s), HiGHS alone once, for {TIME_LIMIT_S} s."
    lines = [
        f"Cover everything at least cost; {said} Wall-clock seconds.\n",
        "| pieces x sites | s | cost | bound | HiGHS s | HiGHS cost | HiGHS bound | cost ratio |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for pieces, sites in SIZES:
        weight, reach, cost = make_instance(pieces, sites)
        spent, found = [], []
        for _ in range(runs):
            start = time.perf_counter()
            found.append(choose_sites(weight, reach, cost))
            spent.append(time.perf_counter() - start)
        worst = max(found, key=lambda choice: choice.cost)
        alone_s, alone, bound = solve_alone(reach, cost)
        lines.append(
            f"| {pieces:,} x {sites:,} | {median(spent):.1f} | {worst.cost:g} | {worst.bound:g} |"
            f" {alone_s:.1f} | {alone:g} | {bound:g} | {worst.cost / alone:.3f} |"
        )
    return lines
