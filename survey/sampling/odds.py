"""The odds of being drawn: exact probabilities for every alley and compound."""

from dataclasses import replace

import numpy as np
import pandas as pd

from survey.errors import DesignError
from survey.sampling.band import find_band
from survey.sampling.chances import Mixer, count_bounds, visit_chances
from survey.sampling.design import Design
from survey.sampling.draw import DrawFrame
from survey.sampling.joint import miss_both
from survey.sampling.pairs import Floats, Pairs, find_pairs
from survey.tables import LAYERS, make

EDGE_M = 2_000
"""A point nearer than this to the edge of the data may reach units that the data do not hold."""

_SLACK = 1e-9


def visit_odds(frame: DrawFrame, reach: pd.DataFrame, design: Design) -> pd.DataFrame:
    """Work out how likely each alley and compound is to be drawn in a round.

    With M(r) units eligible within r of a point, G the law of the radius and k the number drawn,
    a visit draws a unit at distance d with the probability that is the integral over r >= d of
    E[min(k, M(r))] / M(r) dG(r). M changes only at the units' distances, so this is a finite sum:
    nothing is sampled. Points draw independently; where n of N points of a kind are visited, all
    choices of n are equally likely.

    Parameters
    ----------
    frame
        Points, alleys and compounds.
    reach
        The table `reach`; distances in metres, measured at least as far as ``within_m[1]``.
    design
        The rules of the draw.

    Returns
    -------
    pandas.DataFrame
        The table `odds`, a row for every alley and compound, sorted by key: ``layer, unit_id``;
        ``prob`` of being drawn at least once in a round; ``expected_visits``, how often on average;
        ``points``, how many could draw it; ``prob_low``, ``prob_high``, the least and greatest
        probability over every fixed radius in `within_m` (one for all points), the uniform law and
        the design's own, because the true law is not public; ``near_edge``, touched by a point
        nearer than 2 km to the edge of the data. Its ``attrs`` count the visited points without
        any eligible unit, ``points_without_alley`` and ``points_without_compound``, which draw
        nothing there, and ``points_short_of_alley``, ``points_short_of_compound``, which have
        fewer than may be asked for and draw them all.

    Raises
    ------
    TableError
        If a table breaks the data contract.
    DesignError
        If no round can satisfy the design.
    ArithmeticError
        If the expected visits of all units do not sum to the number of units that a round is
        expected to draw, point by point; that would be a fault of this program.

    Examples
    --------
    >>> import survey
    >>> town = survey.example_town()
    >>> reach = survey.measure_reach(town)
    >>> odds = visit_odds(town, reach, Design(alleys=(1, 1), radius="fixed:500"))
    >>> odds.set_index("unit_id").loc["alley/7", ["prob", "prob_low", "prob_high"]].tolist()
    [0.25, 0.25, 0.762695...]
    """
    pairs = find_pairs(frame, reach, design)
    prob, visits = _mix(pairs, visit_chances(pairs, design))
    _check_identity(pairs, design, visits)
    odds = _tabulate(pairs, design, (prob, visits), _find_bounds(pairs, design, prob))
    odds.attrs |= _count_short(pairs, design)
    return odds


def _find_bounds(pairs: Pairs, design: Design, prob: Floats) -> tuple[Floats, Floats]:
    """Return the least and greatest over the band, the uniform law and the design's own."""
    laws = [prob]
    if design.radius != "uniform":
        laws.append(_mix(pairs, visit_chances(pairs, replace(design, radius="uniform")))[0])
    low, high = find_band(pairs, design)
    return np.minimum.reduce([low, *laws]), np.maximum.reduce([high, *laws])


def _tabulate(
    pairs: Pairs, design: Design, own: tuple[Floats, Floats], bounds: tuple[Floats, Floats]
) -> pd.DataFrame:
    within = pairs.distance_m <= design.greatest_m
    near = (pairs.points["data_edge_m"] < EDGE_M).to_numpy()[pairs.point]
    size = len(pairs.units)
    columns = {
        "layer": pairs.units["layer"],
        "unit_id": pairs.units["unit_id"],
        "prob": own[0],
        "expected_visits": own[1],
        "points": np.bincount(pairs.unit[within], minlength=size),
        "prob_low": bounds[0],
        "prob_high": bounds[1],
        "near_edge": np.bincount(pairs.unit[near], minlength=size) > 0,
    }
    odds: pd.DataFrame = make("odds", columns)[[*columns]]
    return odds


def point_odds(frame: DrawFrame, reach: pd.DataFrame, design: Design) -> pd.DataFrame:
    """Work out how likely a visit to each point is to draw each unit around it.

    Parameters
    ----------
    frame, reach, design
        As for `visit_odds`.

    Returns
    -------
    pandas.DataFrame
        ``point_id, layer, unit_id, prob``: every pair that the design's own law can draw, sorted
        by them; ``prob`` counts from when the point is visited.

    Raises
    ------
    TableError, DesignError
        As `visit_odds`.
    """
    pairs = find_pairs(frame, reach, design)
    units = pairs.units.iloc[pairs.unit].reset_index(drop=True)
    ids = pairs.points["point_id"].to_numpy()[pairs.point]
    table = units.assign(point_id=ids, prob=visit_chances(pairs, design))
    keys = ["point_id", "layer", "unit_id"]
    table = table.loc[pairs.distance_m <= design.greatest_m, [*keys, "prob"]]
    return table.sort_values(keys, ignore_index=True)


def joint_odds(
    frame: DrawFrame, reach: pd.DataFrame, design: Design, units: pd.DataFrame
) -> pd.DataFrame:
    """Work out how likely each two of some units are to be drawn in the same round.

    Two units at one point share its radius, and those of one layer its number of units:
    P(both) = P(i) + P(j) - 1 + P(neither), where P(neither) is a product over points.

    Parameters
    ----------
    frame, reach, design
        As for `visit_odds`.
    units
        ``layer, unit_id`` of the units asked for, each once. Memory and time grow with their
        number squared, time also with the number of points.

    Returns
    -------
    pandas.DataFrame
        Square; rows and columns are the units, a `MultiIndex` of ``layer, unit_id`` in the order
        given. A cell is the probability that both are drawn at least once, on the diagonal that
        the one is.

    Raises
    ------
    TableError
        As `visit_odds`.
    DesignError
        As `visit_odds`; or if a unit is not in the frame, or is given twice.
    """
    pairs = find_pairs(frame, reach, design)
    names = pd.MultiIndex.from_frame(units[["layer", "unit_id"]])
    rows = pd.MultiIndex.from_frame(pairs.units).get_indexer(names)
    if (rows < 0).any() or names.has_duplicates:
        wrong = names[rows < 0] if (rows < 0).any() else names[names.duplicated()]
        fault = "not in the frame" if (rows < 0).any() else "given twice"
        raise DesignError(f"{len(wrong)} units are {fault}, e.g. {', '.join(wrong[0])}")
    neither = miss_both(pairs, design, rows)
    miss = neither.diagonal()
    both = np.clip(1 - (miss[:, None] + miss) + neither, 0, 1)
    return pd.DataFrame(both, index=names, columns=names)


def _mix(pairs: Pairs, chance: Floats) -> tuple[Floats, Floats]:
    """Return for each unit the probability of being drawn, and its expected visits."""
    order, point = pairs.by_unit, pairs.point
    unit = pairs.unit[order]
    start = np.flatnonzero(np.diff(unit, prepend=-1))
    prob = np.zeros(len(pairs.units))
    prob[unit[start]] = 1 - Mixer(start, point[order], pairs.points).miss(chance[order])
    visited = _visit_share(pairs)[point]
    visits = np.bincount(pairs.unit, weights=visited * chance, minlength=len(pairs.units))
    return prob, visits.astype(np.float64)


def _visit_share(pairs: Pairs) -> Floats:
    share: Floats = (pairs.points["visited"] / pairs.points["of_kind"]).to_numpy()
    return share


def _check_identity(pairs: Pairs, design: Design, visits: Floats) -> None:
    """Check that the expected visits sum to E[min(k, M)] over points, found in another way.

    min(k, M) is the number of t in 1..k with t <= M, and M is t or more where the radius is that
    of the t-th nearest unit or more.
    """
    group, rank = pairs.group, pairs.rank
    for layer, (low, high) in enumerate(count_bounds(design)):
        mine = (pairs.layer_of(group) == layer) & (rank <= high)
        reached = 1 - design.chance_below(pairs.distance_m[mine])
        asked = np.clip((high - rank[mine] + 1) / (high - low + 1), 0, 1)
        drawn = _visit_share(pairs)[pairs.point[mine]] * asked * reached
        units = (pairs.units["layer"] == LAYERS[layer]).to_numpy()
        found, wanted = float(visits[units].sum()), float(drawn.sum())
        if not abs(found - wanted) <= _SLACK * max(1.0, wanted):
            raise ArithmeticError(
                f"the expected visits of {LAYERS[layer]}s sum to {found!r}, but the visits of"
                f" points draw {wanted!r}; the odds are wrong, please report it"
            )


def _count_short(pairs: Pairs, design: Design) -> dict[str, int]:
    """Count the visited points with no eligible unit, or with fewer than may be asked for."""
    visited = np.flatnonzero(pairs.points["visited"] > 0)
    near = np.bincount(
        pairs.group[pairs.distance_m <= design.greatest_m], minlength=2 * len(pairs.points)
    ).reshape(2, -1)[:, visited]
    counts = {}
    for layer, here, (_, most) in zip(LAYERS, near, count_bounds(design), strict=True):
        counts[f"points_without_{layer}"] = int((here == 0).sum()) if most else 0
        counts[f"points_short_of_{layer}"] = int(((here > 0) & (here < most)).sum())
    return counts
