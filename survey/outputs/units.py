"""What a map says of the alleys and compounds: facts, odds, the points near them, priorities."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import geopandas as gpd
import pandas as pd

from survey.errors import TableError
from survey.outputs.forms import read_forms
from survey.outputs.page_layers import Facts, PageLayer, facts_layer
from survey.outputs.terms import write_classes, write_origin, write_reasons
from survey.outputs.texts import (
    OFFICE,
    Pair,
    Text,
    name_offices,
    name_points,
    write_bands,
    write_cells,
    write_measures,
    write_names,
    write_numbers,
    write_percents,
)
from survey.tables import LAYERS, check

NEAREST = 12
"""How many points the popup of a unit lists."""

FIRST = 20
"""How many priorities the map shows where none was chosen."""

Key = tuple[str, str]
"""Layer and id of a unit."""

_UNNAMED = {
    "alley": Pair("无名小巷", "Unnamed alley"),
    "compound": Pair("无名小区", "Unnamed compound"),
}


class Unit(NamedTuple):
    """What the map says of an alley or a compound, for the layers that show it again."""

    shape: Any
    title: Text
    facts: dict[Pair, Text]


def describe_units(
    frame: Any, *, odds: pd.DataFrame | None, reach: pd.DataFrame | None
) -> dict[str, Facts]:
    """Say what is known of the units of each layer.

    Parameters
    ----------
    frame
        The tables ``points``, ``alleys``, ``compounds`` and ``subdistricts``.
    odds
        The table ``odds``, or None.
    reach
        The table ``reach``, or None.

    Returns
    -------
    dict of str to Facts
        Layer to facts, in the order of the frame's table.

    Raises
    ------
    TableError
        If the odds break the data contract or lack a unit of the frame.
    """
    if odds is not None:
        check("odds", odds)
    return {layer: _describe_layer(frame, layer, odds, reach) for layer in LAYERS}


def list_units(frame: Any, facts: dict[str, Facts]) -> dict[Key, Unit]:
    """List all units with their shapes and what `describe_units` says of them."""
    return {
        (layer, unit): Unit(
            shape, said.titles[n], {label: column[n] for label, column in said.columns.items()}
        )
        for layer, said in facts.items()
        for n, (unit, shape) in enumerate(_shapes(frame, layer))
    }


def unit_forms() -> dict[str, list[Pair]]:
    """Give what inspectors check at an alley and at a compound, by layer."""
    return {layer: read_forms()[layer] for layer in LAYERS}


def repeat_facts(units: Iterable[Unit]) -> dict[Pair, list[Text]]:
    """Say of some units once more what is said of them in their own layers."""
    chosen = list(units)
    labels = dict.fromkeys(label for unit in chosen for label in unit.facts)
    return {label: [unit.facts.get(label) for unit in chosen] for label in labels}


def priorities_layer(
    units: dict[Key, Unit], priorities: pd.DataFrame | None, *, crs: Any
) -> PageLayer | None:
    """Make the layer of what to mend first, each unit with a badge that holds its rank.

    Parameters
    ----------
    units
        All units of the frame, from `list_units`.
    priorities
        The table ``priorities``, or None.
    crs
        The CRS of the units' shapes.

    Returns
    -------
    PageLayer or None
        The chosen units; where none was chosen, the first `FIRST` with a risk. None if there
        are none.

    Raises
    ------
    TableError
        If the table breaks the data contract, or one of these units is not in the frame.
    """
    if priorities is None:
        return None
    ranked = check("priorities", priorities).sort_values("rank")
    table = ranked[ranked["chosen"]]
    if table.empty:
        table = ranked[ranked["risk"] > 0].head(FIRST)
    keys: list[Key] = list(zip(table["layer"], table["unit_id"], strict=True))
    strange = [key[1] for key in keys if key not in units]
    if strange:
        raise TableError(
            f"the priorities hold {len(strange)} units that the frame does not, e.g. {strange[0]};"
            " rank them again on this frame"
        )
    values: dict[Pair, list[Text]] = {
        Pair("整治次序", "Rank"): [*write_cells(table["rank"])],
        Pair("状况", "Condition"): [*write_numbers(table["condition"])],
        Pair("不合格风险", "Risk"): [*write_percents(table["risk"])],
        Pair("风险范围", "Risk band"): [*write_bands(table["risk_low"], table["risk_high"])],
        Pair("费用", "Cost"): [
            text and text.removesuffix(".00") for text in write_numbers(table["cost"])
        ],
    }
    values |= _write_odds(table)
    chosen = [units[key] for key in keys]
    facts = Facts(
        [unit.title for unit in chosen],
        ["mend"] * len(chosen),
        # First, and last too: the odds are those that the risk was made from.
        values | repeat_facts(chosen) | values,
        letters=write_cells(table["rank"]),
        forms=unit_forms(),
        kinds=[layer for layer, _ in keys],
    )
    shapes = gpd.GeoSeries([unit.shape for unit in chosen], crs=crs)
    return facts_layer(Pair("先整治", "Mend first"), shapes, facts, look="priorities", badges=True)


def _describe_layer(frame: Any, layer: str, odds: Any, reach: Any) -> Facts:
    table = _table(frame, layer)
    values: dict[Pair, list[Text]] = {}
    if layer == "alley":
        values[Pair("长度", "Length")] = [*write_measures(table["length_m"], "m")]
        values[Pair("等级", "Class")] = write_classes(table["highway"])
    else:
        values[Pair("面积", "Area")] = [*write_measures(table["area_m2"], "m²")]
    values[OFFICE] = name_offices(frame, table)
    styles, probs = [layer] * len(table), None
    known = _odds_of(odds, layer, table[f"{layer}_id"])
    if known is not None:
        values |= _write_odds(known)
        values[Pair("期望次数", "Expected visits")] = [*write_numbers(known["expected_visits"])]
        reaching = Pair("可达点位", "Points that can draw it")
        values[reaching] = [*write_cells(known["points"])]
        styles = ["edge" if near else layer for near in known["near_edge"]]
        probs = list(known["prob"])
    values[Pair("依据", "Reason")] = write_reasons(table["reason"])
    near = _list_nearest(frame, layer, known, reach)
    return Facts(
        write_names(table["name"], table["name_en"], [_UNNAMED[layer]] * len(table)),
        styles,
        values | write_origin(table, f"{layer}_id"),
        heads=(Pair("最近点位", "Nearest"), Pair("路网", "Walk"), Pair("直线", "Crow")),
        rows=[near.get(unit, []) for unit in table[f"{layer}_id"]],
        probs=probs,
        forms={layer: read_forms()[layer], "edge": read_forms()[layer]},
    )


def _odds_of(odds: Any, layer: str, ids: Any) -> Any:
    """Find the odds of some units, on their ids and in their order."""
    if odds is None:
        return None
    rows = odds[odds["layer"] == layer].set_index("unit_id")
    missing = ids[~ids.isin(rows.index)]
    if len(missing):
        raise TableError(
            f"the odds lack {len(missing)} units of the frame, e.g. {missing.iloc[0]}; compute them"
            " again on this frame"
        )
    return rows.loc[ids]


def _write_odds(table: Any) -> dict[Pair, list[Text]]:
    edge = Pair("数据边缘外的单位未知", "units beyond the edge of the data are unknown")
    return {
        Pair("入样概率", "Odds"): [*write_percents(table["prob"])],
        Pair("概率范围", "Band"): [*write_bands(table["prob_low"], table["prob_high"])],
        Pair("数据边缘", "Edge"): [edge if near else None for near in table["near_edge"]],
    }


def _list_nearest(frame: Any, layer: str, odds: Any, reach: Any) -> dict[str, list[list[Text]]]:
    """List the points nearest to each unit of a layer: name, walking and straight distance."""
    near: dict[str, list[list[Text]]] = {}
    if reach is None:
        return near
    rows = reach[reach["layer"] == layer]
    rows = rows.sort_values(["unit_id", "network_m", "euclid_m", "point_id"])
    names = name_points(frame)
    listed = rows.groupby("unit_id").head(NEAREST)
    points = [names.get(point, point) for point in listed["point_id"]]
    walks = [walk or "—" for walk in write_measures(listed["network_m"], "m")]
    crows = write_measures(listed["euclid_m"], "m")
    for unit, *cells in zip(listed["unit_id"], points, walks, crows, strict=True):
        near.setdefault(unit, []).append(cells)
    counts = rows.groupby("unit_id").size()
    if odds is not None:
        counts = counts.clip(lower=odds["points"].reindex(counts.index))
    for unit, count in counts.items():
        if count > len(near[unit]):
            more = count - len(near[unit])
            near[unit].append([Pair(f"另有 {more} 个", f"{more} more")])
    return near


def _shapes(frame: Any, layer: str) -> Iterable[tuple[str, Any]]:
    table = _table(frame, layer)
    return zip(table[f"{layer}_id"], table.geometry, strict=True)


def _table(frame: Any, layer: str) -> gpd.GeoDataFrame:
    table: gpd.GeoDataFrame = {"alley": frame.alleys, "compound": frame.compounds}[layer]
    return table
