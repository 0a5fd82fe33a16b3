"""The benchmark of exact odds, beside simulated rounds and a plain Python loop; see `run.py`."""

import re
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

MONACO = Path(__file__).resolve().parents[1] / "data" / "monaco.toml"
POINTS, UNITS, ALLEYS = 3_000, 20_000, 13_333
# Two random places in a square of this side lie within 2 km of each other with a chance of
# 1 in 75, so that 800,000 pairs are expected.
SIDE_M = 29_824
ROUNDS = 10_000
_SLACK = 1e-12  # how far apart the exact ways may be


@dataclass(frozen=True)
class Cost:
    """What one call cost in a process of its own, and what it gave."""

    cpu_s: float
    wall_s: float
    before_mb: float  # the peak of memory before the call: libraries and tables
    peak_mb: float
    answer: Any


def make_city() -> SimpleNamespace:
    """Make points and units at random places, and the reach between them by crow."""
    import numpy as np
    import pandas as pd
    import shapely
    from scipy.spatial import cKDTree

    from survey.tables import KINDS, LAYERS, make, round_mm

    rng = np.random.default_rng(1)
    points, units = rng.random((POINTS, 2)) * SIDE_M, rng.random((UNITS, 2)) * SIDE_M
    point_ids = np.array([f"node/{number}" for number in range(POINTS)])
    unit_ids = np.array([f"way/{number}" for number in range(UNITS)])
    near = cKDTree(points).query_ball_tree(cKDTree(units), 2_000)
    point = np.repeat(np.arange(POINTS), [len(row) for row in near])
    unit = np.array([number for row in near for number in sorted(row)])
    metres = round_mm(np.hypot(*(points[point] - units[unit]).T))
    layer = np.where(unit < ALLEYS, *LAYERS)
    reach = {"point_id": point_ids[point], "layer": layer, "unit_id": unit_ids[unit]}
    # Where a unit lies is of no matter here, what it looks like neither.
    line = shapely.MultiLineString([[(0, 0), (50, 0)]])
    area = shapely.MultiPolygon([shapely.box(0, 0, 50, 50)])
    texts = dict.fromkeys(("name", "name_en", "subdistrict_id", "highway"))
    texts |= {"source": "made", "reason": "made"}

    def fill(name: str, ids: Any, key: str, **columns: Any) -> Any:
        return make(name, pd.DataFrame({key: ids}).assign(**texts, **columns), crs=32650)

    kinds = rng.choice(KINDS, POINTS)
    places = shapely.points(points)
    return SimpleNamespace(
        points=fill("points", point_ids, "point_id", kind=kinds, data_edge_m=5e3, geometry=places),
        alleys=fill("alleys", unit_ids[:ALLEYS], "alley_id", length_m=50.0, geometry=line),
        compounds=fill(
            "compounds", unit_ids[ALLEYS:], "compound_id", area_m2=2_500.0, geometry=area
        ),
        reach=make("reach", reach | {"euclid_m": metres, "network_m": metres}),
    )


def read_monaco() -> SimpleNamespace:
    """Read the demo city, build its frame and measure its reach."""
    job: Any = import_module("survey.city")
    config = import_module("survey.config").read_config(MONACO)
    frame = job.build_frame(job.read_source(config, lambda _: None))
    tables = {name: getattr(frame, name) for name in ("points", "alleys", "compounds")}
    return SimpleNamespace(**tables, reach=job.measure_reach(frame))


def find_odds(city: SimpleNamespace) -> Any:
    """Give the whole table of odds: tables checked, band and identity included."""
    from survey.sampling.design import Design
    from survey.sampling.odds import visit_odds

    return visit_odds(city, city.reach, Design())


def find_prob(city: SimpleNamespace) -> Any:
    """Give the column prob alone, by the steps of `visit_odds` that lead to it."""
    import numpy as np

    from survey.sampling.chances import Mixer, visit_chances
    from survey.sampling.design import Design
    from survey.sampling.pairs import find_pairs

    pairs = find_pairs(city, city.reach, Design())
    chance = visit_chances(pairs, Design())[pairs.by_unit]
    unit = pairs.unit[pairs.by_unit]
    start = np.flatnonzero(np.diff(unit, prepend=-1))
    prob = np.zeros(len(pairs.units))
    prob[unit[start]] = 1 - Mixer(start, pairs.point[pairs.by_unit], pairs.points).miss(chance)
    return prob


def simulate_odds(city: SimpleNamespace) -> Any:
    """Give the units with their simulated odds and standard errors."""
    from survey.sampling.design import Design
    from survey.sampling.simulate import simulate_rounds

    return simulate_rounds(city, city.reach, Design(), seed="benchmark", rounds=ROUNDS).units


def sum_plainly(city: SimpleNamespace) -> dict[tuple[str, str], float]:
    """Give the probability of each unit in reach by the same exact sums in plain Python.

    By the default design: 1 or 2 of each layer, a uniform radius of 500 to 2000 m, all points.
    """
    names = ("point_id", "layer", "unit_id", "network_m")
    around = defaultdict(list)
    for point, layer, unit, metres in zip(*(city.reach[n].tolist() for n in names), strict=True):
        if metres <= 2_000:
            around[point, layer].append((metres, unit))
    miss: dict[tuple[str, str], float] = {}
    for (_, layer), near in sorted(around.items()):
        near.sort()
        chance, below_next = 0.0, 1.0
        for count in range(len(near), 0, -1):  # farthest first, since the sum is over what follows
            metres, unit = near[count - 1]
            below = min(max((metres - 500) / 1_500, 0), 1)
            share = (min(1, count) + min(2, count)) / 2 / count
            chance += (below_next - below) * share
            below_next = below
            miss[layer, unit] = miss.get((layer, unit), 1.0) * (1 - chance)
    return {unit: 1 - left for unit, left in miss.items()}


WAYS: dict[str, Callable[[SimpleNamespace], Any]] = {
    "`visit_odds`, whole: checks, odds, band, identity": find_odds,
    "of that, what leads to `prob`, without band and identity": find_prob,
    f"`simulate_rounds`, {ROUNDS:,} rounds": simulate_odds,
    "plain Python, `prob` alone": sum_plainly,
}


def measure_cost(way: Callable[[SimpleNamespace], Any], city: SimpleNamespace) -> Cost:
    """Go one way for a city and measure it; what it imports is imported before."""
    import_module("survey.sampling.simulate")
    before_mb, wall_s, cpu_s = _read_peak_mb(), time.perf_counter(), time.process_time()
    answer = way(city)
    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    return Cost(cpu_s, wall_s, before_mb, _read_peak_mb(), answer)


def _read_peak_mb() -> float:
    # Not getrusage's ru_maxrss: that begins with the size of the process that started this one.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) / 1024


def bench_odds(runs: int) -> list[str]:
    """Measure exact odds beside simulated rounds and a plain Python loop, for two cities."""
    lines = [f"Medians of {runs} runs, each in a process of its own; rounds are simulated once."]
    # A new process for each task: nothing is warm, and the peak of memory is its own.
    with get_context("spawn").Pool(1, maxtasksperchild=1) as processes:
        for title, source in (("A made city", make_city), ("Monaco", read_monaco)):
            city = processes.apply(source)
            costs: dict[str, list[Cost]] = {name: [] for name in WAYS}
            for run in range(runs):  # in turn, so that what else the machine does falls on all
                for name, way in WAYS.items():
                    if run == 0 or way is not simulate_odds:
                        costs[name].append(processes.apply(measure_cost, (way, city)))
            lines += ["", _describe_city(title, city), *_cost_table(costs), *_compare(costs)]
    return lines


def _describe_city(title: str, city: SimpleNamespace) -> str:
    units = len(city.alleys) + len(city.compounds)
    pairs = f"{len(city.reach):,} pairs within 2 km"
    return f"**{title}**: {len(city.points):,} points, {units:,} units, {pairs}.\n"


def _cost_table(costs: dict[str, list[Cost]]) -> list[str]:
    def middle(name: str, figure: str) -> float:
        return median(getattr(cost, figure) for cost in costs[name])

    whole = middle(next(iter(WAYS)), "cpu_s")
    return [
        "| | CPU, s | ratio | wall, s | peak memory, MB | before the call |",
        "|---|--:|--:|--:|--:|--:|",
        *(
            f"| {name} | {middle(name, 'cpu_s'):.3f} | {middle(name, 'cpu_s') / whole:.2f}"
            f" | {middle(name, 'wall_s'):.3f} | {middle(name, 'peak_mb'):.0f}"
            f" | {middle(name, 'before_mb'):.0f} |"
            for name in WAYS
        ),
    ]


def _compare(costs: dict[str, list[Cost]]) -> list[str]:
    odds, prob, simulated, plain = (side[0].answer for side in costs.values())
    units = zip(odds["layer"], odds["unit_id"], strict=True)
    same = [plain.get(unit, 0.0) for unit in units]
    apart = max(abs(odds["prob"] - prob).max(), abs(odds["prob"] - same).max())
    if not apart <= _SLACK:
        raise ArithmeticError(f"the exact ways to the odds are {apart} apart")
    off = abs(odds["prob"] - simulated["prob"]).max()
    return [
        f"\nThe exact ways are at most {apart:.0e} apart.",
        f"{ROUNDS:,} rounds leave standard errors of up to {simulated['prob_se'].max():.4f};",
        f"the worst of their odds is {off:.4f} off.",
    ]
