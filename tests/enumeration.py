"""Tiny frames, and their odds counted out case by case.

Nothing here uses the package's odds. `count_out` follows the definition of a round through every
radius, count, subset of units and choice of points, in exact fractions.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import combinations, pairwise, product
from math import prod
from types import SimpleNamespace

import numpy as np
import pandas as pd
import shapely

from survey.sampling.design import Design
from survey.tables import LAYERS, make

HAIR_M = Fraction(1, 10**6)
DRAWN = ("units", "drawn")  # beside the pairs of a visit: how many units it draws
DISTANCES_M = (0, 120.5, 300, 499.999, 500, 500, 500.001, 800, 800, 1000, 1250.5, 1250.5)
DISTANCES_M += (1999.999, 2000, 2000.001, 2600)


def make_frame(points, alleys=(), compounds=()):
    """Make a frame of (id, kind, data_edge_m) points and unit ids; where they lie is left open."""
    texts = dict.fromkeys(("name", "name_en", "subdistrict_id", "highway"))
    texts |= {"source": "test", "reason": "", "length_m": 50.0, "area_m2": 81.0}
    line = shapely.MultiLineString([[(0, 0), (9, 9)]])
    box = shapely.MultiPolygon([shapely.box(0, 0, 9, 9)])
    rows = pd.DataFrame(points, columns=["point_id", "kind", "data_edge_m"])
    frame = {
        "points": rows.assign(**texts, geometry=shapely.Point(0, 0)),
        "alleys": pd.DataFrame({"alley_id": list(alleys)}).assign(**texts, geometry=line),
        "compounds": pd.DataFrame({"compound_id": list(compounds)}).assign(**texts, geometry=box),
    }
    return SimpleNamespace(**{name: make(name, table, crs=32650) for name, table in frame.items()})


def make_reach(rows):
    """Make reach from (point, layer, unit, euclid, network), or one distance for both."""
    names = ["point_id", "layer", "unit_id", "euclid_m", "network_m"]
    cells = [[*row, row[-1]][:5] for row in rows]
    return make("reach", dict(zip(names, map(list, zip(*cells, strict=True)), strict=True)))


def make_town(*rows, kinds=("school",), edge_m=5e3):
    """Make points 0, 1, ... of `kinds` and what `rows` (point, layer, unit, metres) name."""
    points = [(f"{n}", kind, edge_m) for n, kind in enumerate(kinds)]
    named = [sorted({row[2] for row in rows if row[1] == layer}) for layer in LAYERS]
    return make_frame(points, *named), make_reach([(str(row[0]), *row[1:]) for row in rows])


def near(point, *metres):
    """Give a point alleys a, b, ... at so many metres."""
    return [(point, "alley", name, m) for name, m in zip("abcdefgh", metres, strict=False)]


def make_case(seed):
    """Make a random tiny frame, its reach and a design, the same for the same seed.

    Units of both layers, and points, share their names; rows of reach stand in any order, and
    some name a point or a unit that the frame does not have.
    """
    rng = np.random.default_rng(seed)
    names = [f"单元{n}" for n in range(6)]
    kinds = rng.permutation(["school", "market", "station"])[: rng.integers(1, 3)]
    points = [
        (name, str(rng.choice(kinds)), float(rng.choice([0, 1999.999, 2000, 5000])))
        for name in names[: rng.integers(1, 5)]
    ]
    units = {layer: names[: rng.integers(0, 7)] for layer in LAYERS}
    everywhere = list(product([*names[: len(points)], "elsewhere"], LAYERS))
    chosen = [
        (name, layer, unit, pick_distance(rng), pick_distance(rng))
        for name, layer in everywhere
        for unit in [*units[layer], "nowhere"]
        if rng.random() < 0.75
    ]
    rows = [chosen[n] for n in rng.permutation(len(chosen))] or [("elsewhere", "alley", "x", 9, 9)]
    reach = make_reach(rows)
    reach.loc[rng.random(len(reach)) < 0.15, "network_m"] = np.nan
    return make_frame(points, *units.values()), reach, make_design(rng)


def pick_distance(rng):
    """Give a distance in metres, as likely as not one that others have and that limits touch."""
    spread = round(float(rng.uniform(0, 2500)), 3)
    return float(rng.choice(DISTANCES_M)) if rng.random() < 0.6 else spread


def make_design(rng):
    """Make a random design that is valid by itself."""
    spans = [(500, 2000), (500, 2000), (500, 500), (300, 1250.5), (0, 2000), (800, 3000)]
    counts = [(0, 1), (1, 1), (1, 2), (1, 2), (2, 2), (1, 4), (5, 9)]
    low, high = spans[rng.integers(len(spans))]
    inside = sorted({low, high, *(d for d in DISTANCES_M if low <= d <= high)} - {0})
    most = high
    radius = "uniform"
    if rng.random() < 0.3:
        most = float(rng.choice(inside))
        radius = f"fixed:{most}"
    elif rng.random() < 0.4:
        radii = sorted(rng.choice(inside, size=min(3, len(inside)), replace=False).tolist())
        shares = {1: (1.0,), 2: (0.125, 0.875), 3: (0.25, 0.625, 0.125)}[len(radii)]
        most = radii[-1]
        radius = dict(zip(radii, shares, strict=True))
    visited = {kind: int(rng.choice([0, 1, 1, 2, 3])) for kind in ("school", "market")}
    return Design(
        alleys=counts[rng.integers(len(counts))],
        compounds=counts[rng.integers(len(counts))],
        within_m=(low, high),
        min_m=max(d for d in (0, rng.choice([0, 0, 300, 500, 800])) if d < most),
        radius=radius,
        metric=str(rng.choice(["network", "euclid"])),
        points=visited if rng.random() < 0.6 else None,
    )


def exact(metres):
    """Read metres, to the millimetre, as a fraction."""
    return Fraction(round(float(metres) * 1000), 1000)


def list_units(frame):
    """List every unit as (layer, id), sorted."""
    ids = (frame.alleys["alley_id"], frame.compounds["compound_id"])
    return sorted((layer, name) for layer, each in zip(LAYERS, ids, strict=True) for name in each)


def read_law(design):
    """Read the law of the radius: None for the uniform one, else radii and their weights."""
    word, _, rest = design.radius.partition(":")
    if word == "fixed":
        return {exact(rest): Fraction(1)}
    parts = (part.split("=") for part in rest.split(",")) if word == "table" else ()
    return {exact(metres): Fraction(weight) for metres, weight in parts} or None


@dataclass(frozen=True)
class Counted:
    """Exact odds: by unit, by pair of units, by point and unit; and what goes with them."""

    prob: dict
    visits: dict
    joint: dict
    low: dict
    high: dict
    points: dict
    near_edge: dict
    at_point: dict
    expected: Fraction
    without: dict
    can_draw: bool


def count_out(frame, reach, design, *, with_joint=True):
    """Count out the odds of a tiny frame by going through everything that can happen."""
    units = list_units(frame)
    near = find_near(frame, reach, design, set(units))
    rounds = list_rounds(frame, design)
    own = {f: cross_law(near[f], design, read_law(design)) for f in near}
    prob = join_points(units, rounds, own)
    band = [prob, join_points(units, rounds, {f: cross_law(near[f], design, None) for f in near})]
    band += [join_points(units, rounds, each) for each in list_fixed(near, design)]
    pairs = list(product(units, units)) if with_joint else []
    alive = {f for _, visited in rounds for f in visited}
    greatest = max(read_law(design) or [exact(design.within_m[1])])
    edge_m = frame.points.set_index("point_id")["data_edge_m"]
    within = {f: {i for i, d in near[f].items() if d <= greatest} for f in alive}
    at_edge = {
        i
        for f in alive
        for i, d in near[f].items()
        if edge_m[f] < 2000 and d <= exact(design.within_m[1])
    }
    return Counted(
        prob=prob,
        visits={
            i: sum(w * own[f].get((i, i), 0) for w, visited in rounds for f in visited)
            for i in units
        },
        joint={pair: join_pair(pair, rounds, own) for pair in pairs},
        low={i: min(each[i] for each in band) for i in units},
        high={i: max(each[i] for each in band) for i in units},
        points={i: sum(i in within[f] for f in alive) for i in units},
        near_edge={i: i in at_edge for i in units},
        at_point={(f, *i): p for f in near for (i, j), p in own[f].items() if i == j},
        expected=sum(w * own[f][DRAWN] for w, visited in rounds for f in visited),
        without={
            layer: sum(all(i[0] != layer for i in within[f]) for f in alive) for layer in LAYERS
        },
        can_draw=any(within.values()),
    )


def find_near(frame, reach, design, units):
    """Give each point of the frame its units, at the least distance or more, with distances."""
    near = {name: {} for name in frame.points["point_id"]}
    columns = ["point_id", "layer", "unit_id", f"{design.metric}_m"]
    for point, layer, unit, metres in reach[columns].itertuples(index=False, name=None):
        known = point in near and (layer, unit) in units and not np.isnan(metres)
        if known and exact(metres) >= exact(design.min_m):
            near[point][layer, unit] = exact(metres)
    return near


def list_rounds(frame, design):
    """List every choice of points that a round can visit, with its probability."""
    choices = []
    for kind, rows in frame.points.groupby("kind"):
        ids = rows["point_id"].tolist()
        wanted = (design.points or {}).get(kind, len(ids))
        choices.append(list(combinations(ids, min(wanted, len(ids)))))
    rounds = [[name for chosen in each for name in chosen] for each in product(*choices)]
    return [(Fraction(1, len(rounds)), visited) for visited in rounds]


def cross_law(near, design, law):
    """Average a visit over the law of the radius; the uniform one is cut wherever units begin."""
    low, high = (exact(end) for end in design.within_m)
    if law is None and low == high:
        law = {low: Fraction(1)}
    elif law is None:
        cuts = sorted({low, high, *(d for d in near.values() if low < d < high)})
        law = {(a + b) / 2: (b - a) / (high - low) for a, b in pairwise(cuts)}
    mixed = {DRAWN: Fraction(0)}
    for radius, weight in law.items():
        for key, value in visit_point(pick_inside(near, radius), *list_counts(design)).items():
            mixed[key] = mixed.get(key, 0) + weight * value
    return mixed


def list_counts(design):
    return design.alleys, design.compounds


def pick_inside(near, radius):
    return tuple(sorted(i for i, d in near.items() if d <= radius))


@cache
def visit_point(inside, *counts):
    """Draw from the units inside in every way; (i, j) holds how likely both are drawn."""
    found = {DRAWN: Fraction(0)}
    for layer, (least, most) in zip(LAYERS, counts, strict=True):
        there = [i for i in inside if i[0] == layer]
        for k in range(least, most + 1):
            subsets = list(combinations(there, min(k, len(there))))
            weight = Fraction(1, (most - least + 1) * len(subsets))
            for drawn in subsets:
                found[DRAWN] += weight * len(drawn)
                for pair in product(drawn, drawn):
                    found[pair] = found.get(pair, 0) + weight
    for i, j in product(inside, inside):
        if i[0] != j[0]:
            found[i, j] = found.get((i, i), 0) * found.get((j, j), 0)
    return found


def join_points(units, rounds, odds):
    """Give the probability that a unit is drawn at one of the points visited, or more."""
    return {
        i: 1 - sum(w * prod(1 - odds[f].get((i, i), 0) for f in visited) for w, visited in rounds)
        for i in units
    }


def join_pair(pair, rounds, odds):
    """Give the probability that both units are drawn, going from point to point."""
    i, j = pair
    total = Fraction(0)
    for weight, visited in rounds:
        none, only_i, only_j, both = Fraction(1), Fraction(0), Fraction(0), Fraction(0)
        for f in visited:
            b = odds[f].get((i, j), Fraction(0))
            a, c = odds[f].get((i, i), 0) - b, odds[f].get((j, j), 0) - b
            neither = 1 - a - b - c
            both += only_i * (b + c) + only_j * (a + b) + none * b
            only_i, only_j = only_i * (neither + a) + none * a, only_j * (neither + c) + none * c
            none *= neither
        total += weight * both
    return total


def list_fixed(near, design):
    """List the odds of visits for every fixed radius that can differ, one for all points."""
    low, high = (exact(end) for end in design.within_m)
    steps = {d for each in near.values() for d in each.values() if low <= d <= high}
    radii = {low, high, *steps, *(d - HAIR_M for d in steps if d > low)}
    inside = {tuple((f, pick_inside(near[f], radius)) for f in near) for radius in radii}
    for each in inside:
        yield {f: visit_point(there, *list_counts(design)) for f, there in each}
