"""Cells of tables as texts for people; None where there is nothing to say."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import pandas as pd

from survey.tables import KIND_ZH


class Pair(NamedTuple):
    """A text in both languages, of which a page shows one."""

    zh: str
    en: str


Text = Pair | str | None
"""A text for people: the same in both languages if it is plain; None where nothing is to say."""

Texts = list[str | None]
"""A column of facts; None where there is nothing to say."""


def write_cells(values: Iterable[Any]) -> Texts:
    """Write each value as it is."""
    return [None if pd.isna(value) else str(value) for value in values]


def write_measures(values: Iterable[Any], unit: str) -> Texts:
    """Write whole numbers with their unit."""
    return [None if pd.isna(value) else f"{value:,.0f} {unit}" for value in values]


def write_numbers(values: Iterable[float]) -> Texts:
    """Write numbers with two decimals."""
    return [None if pd.isna(value) else f"{value:,.2f}" for value in values]


def write_percents(values: Iterable[float]) -> list[str]:
    """Write probabilities so that only 0 reads as never and only 1 as always."""
    return [_percent(value) for value in values]


def write_bands(low: Iterable[float], high: Iterable[float]) -> list[str]:
    """Write intervals of probability."""
    ends = zip(write_percents(low), write_percents(high), strict=True)
    return [f"{least} – {most}" for least, most in ends]


def write_names(names: Iterable[Any], unnamed: list[str]) -> list[str]:
    """Write names, or what else to call what has none."""
    return [name or other for name, other in zip(write_cells(names), unnamed, strict=True)]


def write_kinds(points: Any) -> list[str]:
    """Write the kind of each point in both languages."""
    return [f"{KIND_ZH[kind]} · {kind}" for kind in points["kind"]]


def write_origin(table: Any, key: str) -> dict[str, Texts]:
    """Write where each row comes from and its id."""
    return {"来源 · Source": write_cells(table["source"]), "编号 · ID": write_cells(table[key])}


def name_offices(frame: Any, table: Any) -> Texts:
    """Name the subdistrict of each row, or give its id where it has no name."""
    offices = frame.subdistricts.set_index("subdistrict_id")["name"]
    ids = table["subdistrict_id"]
    return write_cells(ids.map(offices).astype("str").fillna(ids))


def name_points(frame: Any) -> dict[str, str]:
    """Name each point by its id, or by its kind where it has no name."""
    table = frame.points
    return dict(zip(table["point_id"], write_names(table["name"], write_kinds(table)), strict=True))


def _percent(value: float) -> str:
    text = f"{value:.1%}"
    if text == "0.0%" and value > 0:
        return "<0.1%"
    return ">99.9%" if text == "100.0%" and value < 1 else text
