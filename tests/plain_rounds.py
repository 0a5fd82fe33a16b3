"""Rounds drawn many at once in plain numpy, or ticket by ticket, and a gate for odds.

Nothing here uses the package's draws, odds or simulation.
"""

import hashlib

import numpy as np
from scipy import stats

from enumeration import exact, find_near, list_counts, list_units, pick_inside, read_law
from survey.tables import LAYERS


def simulate_rounds(frame, reach, design, *, rounds, seed, count=None, chunk=20_000):
    """Simulate rounds by the rules of the tickets, and tell which units are drawn in which.

    Parameters
    ----------
    count
        A twin's way to tell how many of a point's units, nearest first, can be drawn: a function
        of their sorted distances and the radii.

    Yields
    ------
    numpy.ndarray
        Shape (at most `chunk`, units): whether a round draws a unit, in the order of `list_units`.
    """
    rng = np.random.default_rng(seed)
    units = list_units(frame)
    groups = group_pairs(reach, design, units)
    count = count or (lambda metres, radii: np.searchsorted(metres, radii, side="right"))
    for start in range(0, rounds, chunk):
        size = min(chunk, rounds - start)
        drawn = np.zeros((size, len(units) + 1), dtype=bool)
        for name, visited in choose_visits(rng, frame, design, size):
            radii = simulate_radii(rng, design, len(visited))
            for layer, (least, most) in zip(LAYERS, list_counts(design), strict=True):
                rows, metres = groups.get((name, layer), (np.empty(0, dtype=np.int64), ()))
                wanted = rng.integers(least, most + 1, size=len(visited))
                slots = pick_subsets(rng, count(metres, radii), wanted, min(most, len(rows)))
                # The last column takes the empty slots.
                drawn[visited[:, None], np.append(rows, len(units))[slots]] = True
        yield drawn[:, :-1]


def count_hits(frame, reach, design, *, rounds, seed=1, **twin):
    """Count in how many simulated rounds each unit is drawn."""
    chunks = simulate_rounds(frame, reach, design, rounds=rounds, seed=seed, **twin)
    return sum(drawn.sum(axis=0) for drawn in chunks)


def count_both(frame, reach, design, *, rounds, seed=1):
    """Count in how many simulated rounds two units are both drawn."""
    chunks = simulate_rounds(frame, reach, design, rounds=rounds, seed=seed)
    return sum(drawn.T @ drawn for drawn in (drawn.astype(np.float32) for drawn in chunks))


def sweep_radii(frame, reach, design):
    """Give each unit's least and greatest probability over every fixed radius.

    All points of a kind are visited, or one of them.
    """
    units = list_units(frame)
    groups = group_pairs(reach, design, units)
    ends = design.within_m
    steps = np.concatenate([metres for _, metres in groups.values()])
    radii = np.unique(np.r_[ends, steps[(steps >= ends[0]) & (steps <= ends[1])]])
    total = np.ones((len(units), len(radii)))
    for kind, points in frame.points.groupby("kind"):
        one = (design.points or {}).get(kind) == 1
        missed = np.full(total.shape, float(not one))
        for name in points["point_id"]:
            here = np.ones(total.shape)
            for layer, (least, most) in zip(LAYERS, list_counts(design), strict=True):
                rows, metres = groups.get((name, layer), ((), ()))
                there = np.searchsorted(metres, radii, side="right")
                drawn = np.mean([np.minimum(k, there) for k in range(least, most + 1)], axis=0)
                missing = 1 - drawn / np.maximum(there, 1)
                for row, first in zip(rows, np.searchsorted(radii, metres), strict=True):
                    here[row, first:] = missing[first:]
            missed = missed + here / len(points) if one else missed * here
        total *= missed
    return 1 - total.max(axis=1), 1 - total.min(axis=1)


def group_pairs(reach, design, units):
    """Give each point and layer its units (places in `units`) and distances, nearest first."""
    place = {unit: n for n, unit in enumerate(units)}
    metres = reach[f"{design.metric}_m"]
    pairs = reach.assign(metres=metres)[metres >= design.min_m]
    known = [key in place for key in zip(pairs["layer"], pairs["unit_id"], strict=True)]
    pairs = pairs[known].sort_values("metres")
    return {
        key: (
            np.array([place[key[1], unit] for unit in rows["unit_id"]]),
            rows["metres"].to_numpy(),
        )
        for key, rows in pairs.groupby(["point_id", "layer"])
    }


def choose_visits(rng, frame, design, size):
    """Give each point the rounds that visit it: the smallest of equal tickets, kind by kind."""
    for kind, rows in frame.points.groupby("kind"):
        wanted = (design.points or {}).get(kind, len(rows))
        rank = rng.random((size, len(rows))).argsort(axis=1).argsort(axis=1)
        for n, name in enumerate(rows["point_id"]):
            yield name, np.flatnonzero(rank[:, n] < wanted)


def simulate_radii(rng, design, size):
    law = read_law(design)
    if law is None:
        return rng.uniform(*design.within_m, size=size)
    radii = np.array([float(metres) for metres in law])
    bounds = np.cumsum([float(weight) for weight in law.values()])
    return radii[np.minimum(np.searchsorted(bounds, rng.random(size), "right"), len(radii) - 1)]


def pick_subsets(rng, there, wanted, most):
    """Pick `wanted` of the places 0 to `there` - 1, all subsets alike; -1 fills the rest."""
    chosen = np.full((len(there), most), np.iinfo(np.int64).max)
    for slot in range(most):
        place = np.floor(rng.random(len(there)) * (there - slot)).astype(np.int64)
        for taken in range(slot):
            place += place >= chosen[:, taken]
        chosen[:, slot] = np.where(slot < np.minimum(wanted, there), place, chosen[:, slot])
        chosen.sort(axis=1)
    return np.where(chosen < np.iinfo(np.int64).max, chosen, -1)


def draw_by_tickets(frame, reach, design, *, rounds):
    """Draw rounds by hashing every ticket; count in how many each unit is drawn."""
    units = list_units(frame)
    near = find_near(frame, reach, design, set(units))
    kinds = frame.points.groupby("kind")["point_id"].agg(list)
    total = dict.fromkeys(units, 0)
    for number in range(rounds):
        lead = ("seed", f"round {number}")
        drawn = set()
        for kind, ids in kinds.items():
            wanted = (design.points or {}).get(kind, len(ids))
            first = sorted(ids, key=lambda f: hash_text(*lead, "points", kind, f))[:wanted]
            drawn |= {i for f in first for i in draw_at_point((*lead, f), near[f], design)}
        for unit in drawn:
            total[unit] += 1
    return np.array(list(total.values()))


def draw_at_point(lead, near, design):
    radius = exact(design.radius_for(to_number(*lead, "radius")))
    drawn = []
    for layer, (least, most) in zip(LAYERS, list_counts(design), strict=True):
        k = least + int((most - least + 1) * to_number(*lead, layer, "count"))
        inside = [i for i in pick_inside(near, radius) if i[0] == layer]
        drawn += sorted(inside, key=lambda i: hash_text(*lead, *i))[:k]
    return drawn


def hash_text(*fields):
    return hashlib.sha256("\x1f".join(fields).encode()).hexdigest()


def to_number(*fields):
    return int(hash_text(*fields)[:16], 16) / 2**64


def find_worst(hits, prob, rounds):
    """Give the largest deviation of `hits` from the odds as a z, and the bound for so many.

    The z is that of the exact binomial tail, which the plain (phat - p) / sqrt(p (1 - p) / B)
    approaches where many hits are expected; so it holds for rare units too, and a unit of
    probability 0 that is drawn, or of 1 that is missed, is infinitely far off. The bound is that
    of Bonferroni: one gate of a thousand goes beyond it though the odds are right.
    """
    p = np.where(prob > 1 - 1e-12, 1.0, np.where(prob < 1e-15, 0.0, prob))
    tail = np.minimum(stats.binom.sf(hits - 1, rounds, p), stats.binom.cdf(hits, rounds, p))
    return stats.norm.isf(tail).max(), stats.norm.isf(1e-3 / (2 * len(p)))
