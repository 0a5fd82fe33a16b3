"""How likely two units are to be drawn in the same round."""

import numpy as np

from survey.sampling.chances import draw_shares, visit_chances
from survey.sampling.design import Design
from survey.sampling.pairs import Floats, Ints, Pairs


def miss_both(pairs: Pairs, design: Design, units: Ints) -> Floats:
    """Return the probability that a round draws neither of two units.

    At one point P(neither) = 1 - P(i) - P(j) + P(both). Over points it is a product where all of a
    kind are visited; where n of N are, the points are gone through one by one, as in `Mixer`.

    Parameters
    ----------
    pairs
        What the design can draw.
    design
        The rules of the draw.
    units
        Rows of `pairs.units`, each once.

    Returns
    -------
    numpy.ndarray
        Shape (units, units); on the diagonal the probability that the one is not drawn.
    """
    place = np.full(len(pairs.units), -1)
    place[units] = np.arange(len(units))
    chance = visit_chances(pairs, design)
    neither = np.ones((len(units), len(units)))
    reached = set(pairs.point[place[pairs.unit] >= 0].tolist())
    for _, points in pairs.points[pairs.points["visited"] > 0].groupby("kind"):
        visited, of_kind = (int(points[name].iloc[0]) for name in ("visited", "of_kind"))
        # Points that reach none of the units change nothing, visited or not.
        near = [point for point in points.index if point in reached]
        at_points = (_miss_at(pairs, design, place, chance, point) for point in near)
        if visited == of_kind:
            for miss in at_points:
                neither *= miss
            continue
        state = np.zeros((min(visited, len(near)) + 1, *neither.shape))
        state[0] = 1
        among = np.arange(len(state))[:, None, None]
        for turn, miss in enumerate(at_points):
            chosen = state * ((visited - among) / (of_kind - turn))
            state -= chosen
            state[1:] += chosen[:-1] * miss
        neither *= np.minimum(state.sum(axis=0), 1)
    return neither


def _miss_at(pairs: Pairs, design: Design, place: Ints, chance: Floats, point: int) -> Floats:
    """Return the probability that a visit to one point draws neither of two units."""
    many = len(pairs.points)
    rows = [np.arange(pairs.start[g], pairs.start[g + 1]) for g in (point, many + point)]
    row = np.concatenate(rows)
    row = row[np.argsort(pairs.distance_m[row], kind="stable")]
    asked = np.flatnonzero(place[pairs.unit[row]] >= 0)
    here = place[pairs.unit[row[asked]]]
    alone = np.zeros(int(place.max(initial=-1)) + 1)
    alone[here] = chance[row[asked]]
    miss = 1 - (alone[:, None] + alone)  # the same either way round, to the last digit
    layer = (row >= pairs.start[many]).astype(np.int64)
    both = _draw_both(design, pairs.distance_m[row], layer)
    kind = layer[asked][:, None] + layer[asked]
    miss[np.ix_(here, here)] += both[kind, np.maximum(asked[:, None], asked)]
    np.fill_diagonal(miss, 1 - alone)
    return miss


def _draw_both(design: Design, distance_m: Floats, layer: Ints) -> Floats:
    """Return the chance that a visit draws two units, by the farther one's place in the order.

    Rows: both alleys, one of each, both compounds.
    """
    mass = np.diff(design.chance_below(np.r_[distance_m, np.inf]))
    alleys, compounds = np.cumsum(layer == 0), np.cumsum(layer == 1)
    one = draw_shares(design, len(layer))
    two = draw_shares(design, len(layer), order=2)
    shares = two[0, alleys], one[0, alleys] * one[1, compounds], two[1, compounds]
    parts = mass * np.array(shares)
    suffix: Floats = np.cumsum(parts[:, ::-1], axis=1)[:, ::-1]
    return suffix
