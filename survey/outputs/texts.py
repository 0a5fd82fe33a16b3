"""Cells of tables as texts for people; None where there is nothing to say."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import pandas as pd

from survey.tables import KIND_ZH


class Pair(NamedTuple):
    """A text in both languages, of which a page shows one."""

    zh: str
    en: str


OFFICE = Pair("街道办", "Subdistrict")
"""What the subdistrict of a thing is called in its popup: who answers for it."""

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


def write_names(
    names: Iterable[Any], names_en: Iterable[Any], unnamed: Iterable[Pair]
) -> list[Text]:
    """Write names in both languages, or what else to call what has none."""
    both = zip(write_cells(names), write_cells(names_en), unnamed, strict=True)
    return [Pair(name, english or name) if name else other for name, english, other in both]


def write_kinds(points: Any) -> list[Pair]:
    """Write the kind of each point."""
    return [Pair(KIND_ZH[kind], kind.capitalize()) for kind in points["kind"]]


def name_offices(frame: Any, table: Any) -> list[Text]:
    """Name the subdistrict of each row, or give its id where it has no name."""
    offices = frame.subdistricts
    ids = list(offices["subdistrict_id"])
    unnamed = [Pair(each, each) for each in ids]
    names = dict(zip(ids, write_names(offices["name"], offices["name_en"], unnamed), strict=True))
    return [names.get(each, each) for each in write_cells(table["subdistrict_id"])]


def name_points(frame: Any) -> dict[str, Text]:
    """Name each point by its id, or by its kind where it has no name."""
    table = frame.points
    names = write_names(table["name"], table["name_en"], write_kinds(table))
    return dict(zip(table["point_id"], names, strict=True))


def _percent(value: float) -> str:
    text = f"{value:.1%}"
    if text == "0.0%" and value > 0:
        return "<0.1%"
    return ">99.9%" if text == "100.0%" and value < 1 else text
