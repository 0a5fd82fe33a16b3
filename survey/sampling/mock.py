"""Mock rounds: a few alleys and compounds for the whole city, well spread over it.

Each layer is drawn by itself, with a stream of random numbers of its own whose seed is the SHA-256
over seed, mock_id and layer, joined by U+001F; the order of rows does not count. A unit lies where
a representative point of its geometry does: for an alley on it, for a compound within it.

The replacements, five at most, are drawn from the units left over, by the same method and with the
same weights. The first is one of them at random, and each next one is the farthest from those
before it, so that any first few are well spread too.
"""

from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd

from survey.errors import DesignError
from survey.sampling.balance import (
    Floats,
    Ints,
    inclusion_probs,
    local_pivotal,
    simple_random,
    systematic,
)
from survey.sampling.draw import REPLACEMENTS, DrawFrame, check_text, make_ticket
from survey.tables import LAYERS, check, make

METHODS = ("pivotal", "systematic", "simple")
"""The ways in which a mock round can be drawn."""


def draw_mock(
    frame: DrawFrame,
    *,
    alleys: int = 10,
    compounds: int = 10,
    seed: str,
    mock_id: str = "mock",
    method: str = "pivotal",
    odds: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Draw a mock round: alleys and compounds of the whole city, with replacements in order.

    Parameters
    ----------
    frame
        Alleys and compounds, in a CRS in metres.
    alleys, compounds
        How many are drawn in all; 0 leaves a layer out.
    seed, mock_id
        Plain text on one line; other text gives other draws, character by character.
    method
        ``"pivotal"``: well spread, by the local pivotal method; ``"systematic"``: by equal steps
        along a Hilbert curve over the city; ``"simple"``: every set with the same chance.
    odds
        The table `odds`, to draw units in proportion to ``prob``, those that would exceed 1 for
        certain; ``None`` for equal chances.

    Returns
    -------
    pandas.DataFrame
        The table `mocks`: ``mock_id, layer, slot, unit_id, method, seed, prob, replacement``,
        sorted by its key. In each layer slots count from 1, first the sample by ``unit_id``, then
        the replacements. ``prob`` is the chance to be in the sample, replacements not counted.

    Raises
    ------
    DesignError
        If no unit is asked for, more than there are, or more than have odds above 0; the method
        is unknown, or is ``"simple"`` with odds; the odds lack a unit; the seed or the id is
        empty or holds U+001F or a line break.
    TableError
        If a table breaks the data contract.

    Examples
    --------
    >>> from survey import example_town
    >>> mock = draw_mock(example_town(), alleys=2, compounds=1, seed="demo")
    >>> mock.groupby("layer")["replacement"].sum().to_dict()
    {'alley': 3, 'compound': 2}
    """
    _check_rules(seed, mock_id, method, odds)
    counts = dict(zip(LAYERS, (alleys, compounds), strict=True))
    units = {layer: _sort_units(frame, layer) for layer in LAYERS}
    _check_counts(counts, units)
    lead = {"mock_id": mock_id, "method": method, "seed": seed}
    drawn = [_draw_layer(units[layer], odds, layer, counts[layer], lead) for layer in LAYERS]
    table = pd.concat([rows for rows in drawn if len(rows)], ignore_index=True).assign(**lead)
    return make("mocks", {name: table[name] for name in table})


def _check_rules(seed: object, mock_id: object, method: str, odds: pd.DataFrame | None) -> None:
    check_text(seed, "seed")
    check_text(mock_id, "mock_id")
    if method not in METHODS:
        raise DesignError(f"method is {method!r}; the methods are {', '.join(METHODS)}")
    if method == "simple" and odds is not None:
        raise DesignError(
            "method 'simple' gives every unit the same chance and cannot follow odds;"
            " draw by 'pivotal' or 'systematic', or without odds"
        )


def _check_counts(counts: dict[str, Any], units: dict[str, pd.DataFrame]) -> None:
    for layer, size in counts.items():
        if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 0:
            raise DesignError(f"{layer}s is {size!r}; give a whole number from 0 up")
        if size > len(units[layer]):
            raise DesignError(
                f"{size} {layer}s are asked for, but the frame has {len(units[layer])};"
                f" ask for {len(units[layer])} at most"
            )
    if not any(counts.values()):
        raise DesignError("alleys and compounds are both 0; ask for one unit at least")


def _sort_units(frame: DrawFrame, layer: str) -> pd.DataFrame:
    """Return where units lie (x, y) by id, sorted, so that the order of rows does not count."""
    table = check(f"{layer}s", getattr(frame, f"{layer}s"))
    places = table.set_index(f"{layer}_id").geometry.representative_point()
    return places.get_coordinates().sort_index()


def _draw_layer(
    units: pd.DataFrame, odds: pd.DataFrame | None, layer: str, size: int, lead: dict[str, str]
) -> pd.DataFrame:
    if not size:
        return pd.DataFrame()
    weights = _find_weights(odds, layer, units.index, size)
    rng = np.random.default_rng(int(make_ticket(lead["seed"], lead["mock_id"], layer), 16))
    probs = inclusion_probs(weights, size)
    rows = _draw_rows(probs, weights, units.to_numpy(), lead["method"], rng)
    columns = {"layer": layer, "unit_id": units.index[rows], "prob": probs[rows]}
    slot = np.arange(1, len(rows) + 1)
    return pd.DataFrame(columns | {"slot": slot, "replacement": slot > size})


def _find_weights(
    odds: pd.DataFrame | None, layer: str, unit_ids: "pd.Index[str]", size: int
) -> Floats:
    if odds is None:
        return np.ones(len(unit_ids))
    table = check("odds", odds)
    found = table.loc[table["layer"] == layer].set_index("unit_id")["prob"].reindex(unit_ids)
    lacking = unit_ids[found.isna()]
    if len(lacking):
        raise DesignError(
            f"the odds lack {len(lacking)} of the frame's {len(unit_ids)} {layer}s, such as"
            f" {lacking[0]!r}; work them out again for this frame"
        )
    able = int((found > 0).sum())
    if size > able:
        raise DesignError(
            f"{size} {layer}s are asked for, but {able} of {len(unit_ids)} have odds above 0;"
            " ask for fewer, or draw without odds"
        )
    weights: Floats = found.to_numpy(dtype=np.float64)
    return weights


def _draw_rows(
    probs: Floats, weights: Floats, places: Floats, method: str, rng: np.random.Generator
) -> Ints:
    """Draw row numbers, the sample first and then its replacements."""
    sample = _draw_once(probs, places, method, rng)
    left = np.setdiff1d(np.flatnonzero(weights > 0), sample)
    again = inclusion_probs(weights[left], min(REPLACEMENTS, len(left)))
    spare = left[_draw_once(again, places[left], method, rng)]
    return np.append(sample, spare[_spread_out(places[spare], rng)])


def _draw_once(probs: Floats, places: Floats, method: str, rng: np.random.Generator) -> Ints:
    if method == "simple":
        return simple_random(len(probs), round(probs.sum()), rng=rng)
    if method == "systematic":
        along = gpd.GeoSeries.from_xy(*places.T).hilbert_distance()
        return systematic(probs, np.argsort(along, kind="stable"), rng=rng)
    return local_pivotal(probs, places, rng=rng)


def _spread_out(places: Floats, rng: np.random.Generator) -> list[int]:
    """Order places: one at random, then always the one farthest from those before it."""
    order: list[int] = []
    away_m = np.zeros(len(places))
    while len(order) < len(places):
        row = int(np.argmax(away_m) if order else rng.integers(len(places)))
        order.append(row)
        away_m = np.hypot(*(places - places[order][:, None]).T).min(axis=1)
        away_m[order] = -1
    return order
