"""The benchmark of mock rounds: time for a draw, and how well it is spread; see `run.py`."""

import time
from multiprocessing import get_context
from statistics import median
from typing import Any

COUNTS = (1_000, 10_000, 100_000)
FULL = 10_000  # as many units as the textbook's way is run to its end for
FIGHTS = 500  # that are timed beyond
SIZE, SAMPLES, CLUSTERS = 60, 50, (25, 60)


def time_draw(count: int) -> float:
    """Give the CPU seconds of one draw by `local_pivotal`."""
    from survey.sampling.balance import local_pivotal

    probs, places, rng = _make_units(count)
    start = time.process_time()
    local_pivotal(probs, places, rng=rng)
    return time.process_time() - start


def time_textbook(count: int) -> float:
    """Give the CPU seconds of one draw by LPM 2 as it is written down, all units searched.

    Beyond `FULL` units only the first fights are run, and their time is multiplied: the array
    that is searched never shrinks, so that each fight costs the same.
    """
    import numpy as np

    left, places, rng = _make_units(count)
    start, fights = time.process_time(), 0
    x, y = np.ascontiguousarray(places.T)
    free = list(range(count))
    while len(free) > 1 and (count <= FULL or fights < FIGHTS):
        i = free[int(rng.integers(len(free)))]
        away = (x - x[i]) ** 2 + (y - y[i]) ** 2
        away[i] = np.inf
        j = int(np.argmin(away))
        p, q = left[i], left[j]
        won, lost, chance = p + q, 0, p / (p + q)
        if p + q >= 1:
            won, lost, chance = 1, p + q - 1, (1 - q) / (2 - p - q)
        left[i], left[j] = (won, lost) if rng.random() < chance else (lost, won)
        for k in (i, j):
            if left[k] in (0, 1):
                free.remove(k)
                x[k] = 1e12  # out of everyone's way
        fights += 1
    seconds = time.process_time() - start
    return seconds if count <= FULL else seconds / fights * (count - 1)


def _make_units(count: int) -> Any:
    import numpy as np

    rng = np.random.default_rng(count)
    # Sums of 64ths are exact, so that the textbook may compare with 0 and 1.
    return np.full(count, 1 / 64), rng.random((count, 2)) * 20_000, rng


def measure_spread(clusters: int) -> dict[str, float]:
    """Give the mean spatial balance of samples from one clustered frame, by method."""
    import geopandas as gpd
    import numpy as np

    from survey.sampling.balance import local_pivotal, simple_random, spatial_balance, systematic

    rng, count = np.random.default_rng(clusters), 3_000
    centres = rng.random((clusters, 2)) * 10_000
    places = rng.normal(centres[rng.integers(clusters, size=count)], 300)
    probs = np.full(count, SIZE / count)
    along = np.argsort(gpd.GeoSeries.from_xy(*places.T).hilbert_distance(), kind="stable")
    draws = {
        "pivotal": lambda: local_pivotal(probs, places, rng=rng),
        "systematic": lambda: systematic(probs, along, rng=rng),
        "simple": lambda: simple_random(count, SIZE, rng=rng),
    }
    return {
        name: float(np.mean([spatial_balance(draw(), probs, places) for _ in range(SAMPLES)]))
        for name, draw in draws.items()
    }


def bench_balance(runs: int) -> list[str]:
    """Time the local pivotal method beside the textbook's, and measure how it spreads."""
    # A new process for each task: nothing is warm.
    with get_context("spawn").Pool(1, maxtasksperchild=1) as processes:
        times = {
            count: [
                [processes.apply(way, (count,)) for way in (time_draw, time_textbook)]
                for _ in range(runs)  # in turn, so that what else the machine does falls on both
            ]
            for count in COUNTS
        }
        spreads = {clusters: processes.apply(measure_spread, (clusters,)) for clusters in CLUSTERS}
    return [*_time_table(times, runs), *_spread_table(spreads)]


def _time_table(times: dict[int, list[list[float]]], runs: int) -> list[str]:
    def row(count: int) -> str:
        ours, textbook = (median(side) for side in zip(*times[count], strict=True))
        about = "" if count <= FULL else "about "
        return f"| {count:,} | {ours:.3f} | {about}{textbook:.2f} | {textbook / ours:.0f} |"

    return [
        f"CPU seconds of one draw, medians of {runs} runs, each in a process of its own.",
        f"Beyond {FULL:,} units the textbook's time is that of {FIGHTS} fights, multiplied.\n",
        "| units | `local_pivotal` | textbook | ratio |\n|--:|--:|--:|--:|",
        *(row(count) for count in times),
    ]


def _spread_table(spreads: dict[int, dict[str, float]]) -> list[str]:
    def row(spread: dict[str, float]) -> str:
        return " | ".join(f"{mean:.3f}: {mean / spread['simple']:.2f}" for mean in spread.values())

    return [
        f"\nSpatial balance of {SIZE} out of 3,000 units, mean of {SAMPLES} samples,",
        "and after the colon its ratio to simple random sampling's.\n",
        "| clusters in the frame | pivotal | systematic | simple |\n|--:|--:|--:|--:|",
        *(f"| {clusters} | {row(spread)} |" for clusters, spread in spreads.items()),
    ]
