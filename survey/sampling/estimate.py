"""Estimates from the results of a round: the user's own table, checked against what was drawn."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from survey.errors import DesignError, LayerError
from survey.sampling.chances import visit_chances
from survey.sampling.design import Design
from survey.sampling.draw import Draw, DrawFrame, hash_frame
from survey.sampling.odds import joint_odds, visit_odds
from survey.sampling.pairs import find_pairs
from survey.sampling.totals import Estimate, estimate_mean, estimate_total
from survey.sources.layer_files import read_rows
from survey.tables import LAYERS, check

__all__ = ["Estimate", "estimate_mean", "estimate_mock", "estimate_round", "estimate_total"]

Measure = Literal["mean", "total"]

MEASURES: tuple[Measure, ...] = ("mean", "total")
"""What the results of a round can be turned into."""

_SHOWN = 20  # units named in one error
_SLACK = 1e-9  # how far odds may be off by rounding
_APART = (
    "some pairs of units can never be drawn together by this design, so its variance cannot be"
    " estimated without bias"
)
_SAFE = "; if no value is below 0, it is too great on average rather than too small"


def estimate_mock(
    mocks: pd.DataFrame,
    results: pd.DataFrame,
    *,
    frame: DrawFrame,
    layer: str,
    column: str = "value",
    measure: Measure = "mean",
) -> Estimate:
    """Estimate from the results of a mock round, one layer at a time.

    Used is the main sample. Where units of it have no result, exactly as many replacements must
    have one; they stand in with their own probabilities, which are then only approximate, and a
    note says so. A simple random sample has its exact variance; others the local-neighbour one,
    which is approximate (see `survey.sampling.totals`). The mean is Horvitz and Thompson's if all
    units were equally likely, else Hájek's ratio mean; the total is always Horvitz and Thompson's.

    Parameters
    ----------
    mocks
        The table `mocks`, of one mock round.
    results
        ``unit_id`` and `column`: finite numbers, or true and false, which count as 1 and 0. A
        unit without result has no row; if there is a column ``layer``, other layers are left out.
    frame
        The frame that the mock round was drawn from.
    layer, column
        ``"alley"`` or ``"compound"``; the column of `results` that holds the values.
    measure
        ``"mean"`` or ``"total"`` of the values over all units with a chance to be drawn.

    Returns
    -------
    Estimate

    Raises
    ------
    TableError
        If a table breaks the data contract.
    DesignError
        If `layer` or `measure` is unknown, or `mocks` holds several mock rounds, none with a unit
        of the layer, or one that was not drawn from the frame.
    LayerError
        If `results` lacks a column, a cell holds what it may not, or units (which are named) are
        not in the mock round, twice, or missing.
    """
    rows, where = _pick_mock(mocks, layer, measure)
    given = _read_results(results, rows, column, where)
    used, notes = _fill_slots(rows, given, where)
    how, size = _describe_sample(used, check(f"{layer}s", getattr(frame, f"{layer}s")), where)
    sample = given[used["unit_id"]], used["prob"]
    if measure == "total":
        found = estimate_total(*sample, **how)
    else:
        found = estimate_mean(*sample, size=size, **how)
    approximate = found.approximate or bool(notes)
    if size is None:
        notes += ("the odds were unequal: units that had none, if there are any, are not covered",)
    return replace(found, approximate=approximate, notes=found.notes + notes)


def _pick_mock(mocks: pd.DataFrame, layer: str, measure: str) -> tuple[pd.DataFrame, str]:
    _check_words(layer, measure)
    names = sorted(set(check("mocks", mocks)["mock_id"]))
    rows = mocks[mocks["layer"] == layer]
    if len(names) != 1 or rows["replacement"].all():
        raise DesignError(
            f"the mock rounds given are {', '.join(names) or 'none'}, with {len(rows)} {layer}s;"
            f" give the rows of one that has {layer}s"
        )
    return rows, f"mock round {names[0]!r}"


def _check_words(layer: str, measure: str) -> None:
    if layer not in LAYERS:
        raise DesignError(f"the layer {layer!r} is unknown; give {' or '.join(LAYERS)}")
    if measure not in MEASURES:
        raise DesignError(f"the measure {measure!r} is unknown; give {' or '.join(MEASURES)}")


def _describe_sample(
    used: pd.DataFrame, units: gpd.GeoDataFrame, where: str
) -> tuple[dict[str, Any], int | None]:
    """Say where the variance comes from, and the number of all units if all were equally likely."""
    layer = used["layer"].iloc[0]
    row = pd.Index(units[f"{layer}_id"]).get_indexer(pd.Index(used["unit_id"]))
    probs, count, size = used["prob"].to_numpy(), len(used), len(units)
    equal = np.allclose(probs, count / max(1, size), rtol=0, atol=_SLACK)
    simple = bool((used["method"] == "simple").all())
    if (row < 0).any() or (simple and not equal):
        raise DesignError(f"{where} was not drawn from this frame, which has {size} {layer}s")
    if not simple:
        spots = shapely.point_on_surface(units.geometry.array[row])
        return {"places": shapely.get_coordinates(spots)}, size if equal else None
    joint = np.full((count, count), count * (count - 1) / max(1, size * (size - 1)))
    np.fill_diagonal(joint, probs)
    return {"joint": joint, "fixed_size": True}, size


def read_results(path: str | Path, *, column: str = "value") -> pd.DataFrame:
    """Read the results of a round from a file, for `estimate_round` and `estimate_mock`.

    Parameters
    ----------
    path
        CSV, TSV, TXT, XLSX, GeoJSON, GeoPackage or shapefile; as to encodings see `read_rows`.
    column
        The column of the values. Rows where it is blank were not inspected and are left out;
        true and false become 1 and 0.

    Returns
    -------
    pandas.DataFrame
        The file's columns, all text.

    Raises
    ------
    InputError
        If the file is missing, broken, or of a kind that cannot be read.
    LayerError
        If it holds no rows, or not exactly one column ``unit_id`` and one `column`.
    """
    cells = read_rows(Path(path)).cells
    if cells.empty:
        raise LayerError(f"{path} holds no rows; it should have one for each unit inspected")
    names = [str(name) for name in cells]
    for name in ("unit_id", column):
        if names.count(name) != 1:
            found = f"{names.count(name)} columns" if name in names else "no column"
            raise LayerError(
                f"{path} has {found} {name!r}, it should have one; there are {', '.join(names)}"
            )
    values = cells[column]
    flags = values.str.lower().map({"true": "1", "false": "0"})
    return cells.assign(**{column: flags.fillna(values)})[values != ""]


def estimate_round(
    frame: DrawFrame,
    reach: pd.DataFrame,
    draw: Draw,
    results: pd.DataFrame,
    *,
    layer: str,
    column: str = "value",
    measure: Measure = "mean",
) -> Estimate:
    """Estimate from the results of a round drawn by tickets, one layer at a time.

    Used are the units that won at one point or more, each once, with the exact odds and joint
    odds of the round's design; replacements do not count. The number of units is itself a matter
    of chance, so the variance has the form of Horvitz and Thompson. The total is theirs, without
    bias; the mean is Hájek's ratio mean (see `estimate_mean`).

    Parameters
    ----------
    frame, reach
        The tables that the round was drawn from; distances in metres.
    draw
        The round.
    results, layer, column, measure
        As in `estimate_mock`; there must be a result for every winner.

    Returns
    -------
    Estimate
        With notes: the band of the odds, units or pairs that can never be drawn.

    Raises
    ------
    TableError
        If a table breaks the data contract.
    DesignError
        If `layer` or `measure` is unknown, the round was drawn from other tables, it drew no unit
        of the layer, or its design contradicts itself.
    LayerError
        If `results` lacks a column, a cell holds what it may not, or units (which are named) did
        not win in the round, stand twice, or are missing.
    """
    _check_words(layer, measure)
    where = f"round {draw.round_id!r}"
    odds = _find_odds(frame, reach, draw, layer)
    rows = _find_winners(draw, layer, odds)
    odds["value"] = _read_results(results, rows, column, f"{where} that won")
    chosen = odds.loc[rows["unit_id"]]
    missing = rows.loc[chosen["value"].isna().to_numpy(), "unit_id"]
    if len(missing):
        raise LayerError(f"{len(missing)} {layer}s of {where} lack results: {_name_units(missing)}")
    joint = joint_odds(frame, reach, draw.design, rows).to_numpy()
    estimate = estimate_total if measure == "total" else estimate_mean
    found = estimate(chosen["value"], chosen["prob"], joint=joint)
    notes = found.notes + _describe_odds(odds, chosen, measure)
    if _leaves_apart(frame, reach, draw.design, layer):
        found = replace(found, approximate=True)
        notes += (_APART + _SAFE * (measure == "total"),)
    return replace(found, notes=notes)


def _find_odds(frame: DrawFrame, reach: pd.DataFrame, draw: Draw, layer: str) -> pd.DataFrame:
    """Give the odds of the layer's units by unit_id."""
    if draw.rounds["frame_hash"].iloc[0] != hash_frame(frame, reach):
        raise DesignError(
            f"round {draw.round_id!r} was drawn from another frame or reach; draw it again"
        )
    odds = visit_odds(frame, reach, draw.design)
    return odds[odds["layer"] == layer].set_index("unit_id")


def _find_winners(draw: Draw, layer: str, odds: pd.DataFrame) -> pd.DataFrame:
    """Give ``layer, unit_id`` of each unit that won at some point."""
    rows = check("draws", draw.draws)
    rows = rows.loc[(rows["layer"] == layer) & ~rows["replacement"], ["layer", "unit_id"]]
    if rows.empty:
        raise DesignError(
            f"round {draw.round_id!r} drew no {layer}, so there is nothing to estimate from"
        )
    if not rows["unit_id"].isin(odds.index[odds["prob"] > 0]).all():
        raise DesignError(
            f"round {draw.round_id!r} holds {layer}s that its design cannot draw; verify the round"
        )
    return rows.drop_duplicates().sort_values("unit_id")


def _describe_odds(odds: pd.DataFrame, chosen: pd.DataFrame, measure: str) -> tuple[str, ...]:
    """Say what the estimate takes for granted about the odds."""
    low, high = (_weigh(chosen, name, measure) for name in ("prob_low", "prob_high"))
    law = (
        "the law of the radius is not public; the odds of the units used are"
        f" {_range(chosen['prob'], chosen['prob'])} by this design, but"
        f" {_range(chosen['prob_low'], chosen['prob_high'])} by one law or another: with the least"
        f" odds of each the estimate would be {low}, with the greatest {high}"
    )
    notes = [law]
    never, edge = int((odds["prob"] == 0).sum()), int(chosen["near_edge"].sum())
    if never:
        notes.append(f"{never} of {len(odds)} units can never be drawn, and are not covered")
    if edge:
        notes.append(
            f"{edge} of the units used have uncertain odds, as the data end near a point that"
            " reaches them"
        )
    return tuple(notes)


def _range(low: "pd.Series[float]", high: "pd.Series[float]") -> str:
    return f"{low.min():.3g} to {high.max():.3g}"


def _weigh(chosen: pd.DataFrame, odds: str, measure: str) -> str:
    """Estimate with other odds."""
    impossible = int((chosen[odds] == 0).sum())
    if impossible:
        return f"unknown ({impossible} of the units would not be drawn at all)"
    weights = 1 / chosen[odds]
    total = (weights * chosen["value"]).sum()
    return f"{total if measure == 'total' else total / weights.sum():.4g}"


def _leaves_apart(frame: DrawFrame, reach: pd.DataFrame, design: Design, layer: str) -> bool:
    """Tell whether there are two units that no round can draw together.

    They must depend on one stop: one point, or one visit to a kind of which a round visits one
    point. There they are never together if one unit at most is drawn, or no point reaches both.
    """
    pairs = find_pairs(frame, reach, design)
    can = visit_chances(pairs, design) > 0
    can &= pairs.layer_of(pairs.group) == LAYERS.index(layer)
    points = pairs.points
    one_of_kind = (points["visited"] == 1) & (points["of_kind"] > 1)
    stop = np.where(one_of_kind, -1 - pd.factorize(points["kind"])[0], np.arange(len(points)))
    point = pairs.point[can]
    table = pd.DataFrame({"unit": pairs.unit[can], "point": point, "stop": stop[point]})
    table = table[table.groupby("unit")["stop"].transform("nunique") == 1]
    most = {"alley": design.alleys, "compound": design.compounds}[layer][1]
    for _, rows in table.groupby("stop"):
        reached = rows.groupby("unit")["point"].agg(frozenset)
        apart = (a.isdisjoint(b) for a, b in itertools.combinations(set(reached), 2))
        if len(reached) > 1 and (most == 1 or any(apart)):
            return True
    return False


def _read_results(
    results: pd.DataFrame, rows: pd.DataFrame, column: str, where: str
) -> "pd.Series[float]":
    """Take the results of the units in `rows`, all of one layer, by unit_id."""
    absent = [name for name in ("unit_id", column) if name not in results]
    if absent:
        raise LayerError(
            f"the results have no column {absent[0]!r}; they have {', '.join(map(str, results))}"
        )
    faults = []
    layer = rows["layer"].iloc[0]
    if "layer" in results:
        strange = results.loc[~results["layer"].isin(LAYERS), "layer"]
        if len(strange):
            faults.append(f"the layer {strange.iloc[0]!r} is unknown; give {' or '.join(LAYERS)}")
        results = results[results["layer"] == layer]
    unnamed = int(results["unit_id"].isna().sum())
    if unnamed:
        faults.append(f"{unnamed} rows have no unit_id")
    results = results[results["unit_id"].notna()]
    ids = results["unit_id"].astype("str")
    numbers = pd.to_numeric(results[column], errors="coerce").astype("float64")
    wrong = {
        f"are not among the {layer}s of {where}": ~ids.isin(rows["unit_id"]),
        "have more than one row": ids.duplicated(),
        f"have no finite number in {column!r}; leave out what was not inspected": (
            ~np.isfinite(numbers)
        ),
    }
    faults += [f"{_name_units(ids[bad])} {fault}" for fault, bad in wrong.items() if bad.any()]
    if faults:
        raise LayerError("the results cannot be used: " + "; ".join(faults))
    return pd.Series(numbers.to_numpy(), index=ids.to_numpy())


def _name_units(ids: "pd.Series[str]") -> str:
    """Name units in an error, not too many of them."""
    names = ids.drop_duplicates().tolist()
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _fill_slots(
    rows: pd.DataFrame, given: "pd.Series[float]", where: str
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Choose the rows of a mock round that count: the main sample, or who stands in for it."""
    rows = rows.sort_values("slot")
    there, spare = rows["unit_id"].isin(given.index), rows["replacement"]
    missing, stand_in = rows.loc[~spare & ~there, "unit_id"], rows.loc[spare & there, "unit_id"]
    if len(stand_in) < len(missing):
        have = f"; {len(stand_in)} replacements have one" if len(stand_in) else ""
        raise LayerError(
            f"{len(missing)} units of the main sample of {where} have no result:"
            f" {_name_units(missing)}{have}; inspect them or the next replacements"
        )
    if len(stand_in) > len(missing):
        raise LayerError(
            f"{len(stand_in)} replacements of {where} have a result ({_name_units(stand_in)}), but"
            f" {len(missing)} units of the main sample have none; leave out the last"
            f" {len(stand_in) - len(missing)}"
        )
    if missing.empty:
        return rows[there], ()
    note = (
        f"{len(missing)} units without result were replaced ({_name_units(missing)} by"
        f" {_name_units(stand_in)}): the probabilities are the design's, so only approximate"
    )
    return rows[there], (note,)
