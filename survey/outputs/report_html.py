"""Pieces of a report's page; every text that enters is escaped here, and nowhere else."""

import tomllib
from collections.abc import Callable, Sequence
from html import escape
from importlib.resources import files
from typing import Any

import pandas as pd

from survey.outputs.reports import tell_apart
from survey.outputs.texts import write_percents

Say = Callable[[str, str], str]
"""Takes a text in Chinese and in English, and gives the one of the report's language."""

NOTHING = "–"
"""What stands in a cell where there is no value."""

SHORT = 16
"""Rows of a table that is not to be torn between pages."""

LONGEST = 60
"""Characters of a name before it is cut, so that a row never outgrows a page."""


def say_zh(zh: str, _en: str) -> str:
    """Give the Chinese text."""
    return zh


def say_en(_zh: str, en: str) -> str:
    """Give the English text."""
    return en


def read_words() -> dict[str, Any]:
    """Read ``report_words.toml``: what the report says that does not depend on the numbers."""
    text = (files("survey.outputs") / "report_words.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def heading(level: int, text: str) -> str:
    """Write a heading."""
    return f"<h{level}>{escape(text)}</h{level}>"


def paragraph(text: str, *, look: str = "") -> str:
    """Write a paragraph; `look` is a class of the style sheet."""
    return f"<p{_name_class(look)}>{escape(text)}</p>"


def bullets(texts: Sequence[str], *, look: str = "") -> str:
    """Write a list."""
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f"<ul{_name_class(look)}>{items}</ul>"


def terms(pairs: Sequence[tuple[str, str]]) -> str:
    """Write terms, each with what it means."""
    items = (f"<div><dt>{escape(word)}</dt><dd>{escape(text)}</dd></div>" for word, text in pairs)
    return f"<dl>{''.join(items)}</dl>"


def tiles(facts: Sequence[tuple[str, str, str]]) -> str:
    """Write the numbers that are to be seen first: label, value, and what is to be said of it."""
    items = (
        f"<li><span>{escape(label)}</span><b>{escape(value)}</b><small>{escape(note)}</small></li>"
        for label, value, note in facts
    )
    return f'<ul class="tiles">{"".join(items)}</ul>'


def table(
    name: str,
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    texts: Sequence[int] = (0,),
    last: bool = False,
) -> str:
    """Write a table.

    Parameters
    ----------
    name
        Its ``data-table``, by which scripts find it.
    heads, rows
        Plain texts.
    texts
        The columns that hold text; those that hold numbers are aligned by their digits.
    last
        Whether the last row is a total.

    Returns
    -------
    str
        HTML; its head is repeated on every page that the table goes on to.
    """
    looks = ["" if column in texts else ' class="n"' for column in range(len(heads))]
    head = "".join(
        f'<th scope="col"{look}>{escape(text)}</th>'
        for text, look in zip(heads, looks, strict=True)
    )
    body = []
    for number, row in enumerate(rows, 1):
        cells = "".join(
            f"<td{look}>{escape(text)}</td>" for text, look in zip(row, looks, strict=True)
        )
        total = _name_class("total" if last and number == len(rows) else "")
        body.append(f"<tr{total}>{cells}</tr>\n")
    whole = _name_class("whole" if len(rows) <= SHORT else "")
    return (
        f'<table data-table="{escape(name)}"{whole}><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{''.join(body)}</tbody></table>"
    )


def figure(svg: str, caption: str) -> str:
    """Write a drawing of `report_figures` with what it shows."""
    return f"<figure><figcaption>{escape(caption)}</figcaption>{svg}</figure>"


def shorten(text: str, longest: int = LONGEST) -> str:
    """Cut a text that is too long, so that an ellipsis says so."""
    line = " ".join(text.split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def write_name(name: Any, unnamed: str) -> str:
    """Write a name, cut if it is too long, or what to call what has none."""
    return unnamed if pd.isna(name) else shorten(str(name))


def write_count(value: float) -> str:
    """Write a number with thousands separators, at most one decimal and no needless one."""
    return NOTHING if pd.isna(value) else f"{value:,.1f}".removesuffix(".0")


def write_metres(metres: float) -> str:
    """Write whole metres without their unit, for a column whose head has it."""
    return NOTHING if pd.isna(metres) else f"{metres:,.0f}"


def write_length(metres: float) -> str:
    """Write a length with its unit, for a sentence."""
    return f"{metres / 1000:,.1f} km" if metres >= 1000 else f"{metres:,.0f} m"


def write_share(share: float, asked: float | None = None) -> str:
    """Write a share so that it never reads as all, as nothing, or as what was asked, if it is not.

    A missing one is a dash.
    """
    if pd.isna(share):
        return NOTHING
    if asked is None or share == asked:
        return write_percents([share])[0]
    return f"{share:.{tell_apart(share, asked)}%}"


def write_range(low: float, high: float, asked: float | None = None) -> str:
    """Write a share with what it may be at most, once where they are the same."""
    return " – ".join(dict.fromkeys([write_share(low, asked), write_share(high, asked)]))


def _name_class(look: str) -> str:
    return f' class="{look}"' if look else ""
