"""The section of a report that says how far the data can be trusted, and what to bring."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from survey.outputs.report_facts import Findings
from survey.outputs.report_html import (
    NOTHING,
    Say,
    heading,
    paragraph,
    read_words,
    shorten,
    table,
    write_count,
    write_share,
)
from survey.outputs.report_lines import tell_date

_THIN = ("poor", "look")


def write_quality(found: Findings, say: Say) -> list[str]:
    """Write the table of data quality in words, what is thin first."""
    words = read_words()
    verdicts = words["verdicts"]
    order = list(verdicts)
    rows = _list_rows(found.tables["quality"], order)
    rows.sort(key=lambda row: order.index(row["verdict"]))
    thin = sum(row["verdict"] in _THIN for row in rows)
    cells = []
    for row in rows:
        name, bring = _find_words(row["measure"], words)
        text = say(*name) if name else _tell_unknown(row)
        wanted = say(*bring) if bring and row["verdict"] in _THIN else ""
        value = tell_date(found, say) if row["measure"] == "osm_date" else _write_value(row)
        cells.append([text, value, say(*verdicts[row["verdict"]]), wanted])
    heads = [
        say("项目", "Measure"),
        say("数值", "Value"),
        say("判断", "Verdict"),
        say("应补充", "What to bring"),
    ]
    line = say(
        f"{len(rows)} 项中有 {thin} 项不足或需核对，排在前面。逐个对象见 survey quality。",
        f"{thin} of {len(rows)} measures are thin or to be checked, and stand first. survey quality"
        " names each object.",
    )
    title = heading(2, say("3　数据可信程度", "3  How far the data can be trusted"))
    return [title, paragraph(line), table("quality", heads, cells, texts=(0, 2, 3))]


def _list_rows(quality: pd.DataFrame, order: list[str]) -> list[dict[str, Any]]:
    """List the rows of the city, and one for each measure of single objects with their number."""
    city = quality["scope"] == "city"
    rows: list[dict[str, Any]] = quality[city].to_dict("records")
    for measure, group in quality[~city].groupby("measure", sort=True):
        verdict = min(group["verdict"], key=order.index)
        objects = {"measure": measure, "value": len(group), "verdict": verdict}
        rows.append(objects | {"unit": None, "note": None})
    return rows


def _find_words(measure: str, words: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Find what a measure is called, and what to bring where it is thin; empty if unknown."""
    if measure in words["measures"]:
        entry = words["measures"][measure]
        return entry["name"], entry.get("bring", [])
    for ending, entry in words["endings"].items():
        names = words["lists"].get(measure.removesuffix(ending))
        if measure.endswith(ending) and names:
            pairs = zip(entry["name"], names, strict=True)
            return [word.format(name) for word, name in pairs], entry["bring"]
    return [], []


def _tell_unknown(row: dict[str, Any]) -> str:
    note = "" if pd.isna(row["note"]) else f": {row['note']}"
    return shorten(f"{row['measure'].replace('_', ' ')}{note}", 120)


def _write_value(row: dict[str, Any]) -> str:
    if pd.isna(row["value"]):
        return NOTHING
    if row["measure"].endswith("_share"):
        return write_share(row["value"])
    if pd.isna(row["unit"]):
        return write_count(row["value"])
    return f"{row['value']:,.2f} {row['unit'].replace('km2', 'km²')}"
