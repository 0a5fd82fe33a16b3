"""The sections of a report for those who check it: method, rounds, manifest."""

import json
from collections.abc import Mapping
from typing import Any

from survey.coverage.rules import read_rules
from survey.outputs.report_facts import Findings
from survey.outputs.report_html import (
    NOTHING,
    Say,
    bullets,
    heading,
    paragraph,
    read_words,
    shorten,
    table,
    terms,
    write_count,
)
from survey.outputs.report_lines import name_rule, tell_date

HASH_SHOWN = 12
"""Hex digits of a hash that stand in a line of text."""


def write_method(found: Findings, say: Say) -> list[str]:
    """Write how it was measured, by which rules, what is not known, and the rounds."""
    words = read_words()
    meant = [(say(*term["word"]), say(term["zh"], term["en"])) for term in words["terms"]]
    parts = [
        heading(2, say("4　方法", "4  Method")),
        terms(meant),
        heading(3, say("不知道的", "What is not known")),
        bullets([say(line["zh"], line["en"]) for line in words["unknown"]]),
        heading(3, say("标准及出处", "Rules and their sources")),
        *_write_rules(found, say),
        heading(3, say("轮次与核验", "Rounds, and how to check them")),
    ]
    return [*parts, *_write_rounds(found, say)]


def _write_rules(found: Findings, say: Say) -> list[str]:
    if not found.audit:
        line = say(
            "尚未检查标准：运行 survey audit。", "No rule was audited yet: run survey audit."
        )
        return [paragraph(line, look="none")]
    known = read_rules()
    rows = []
    for row in found.audit:
        rule = known.get(row["rule_id"])
        if rule is None or rule.title != row["title"]:
            source = say("本市自定标准", "a rule of the city's own")
        else:
            unsure = (
                "" if rule.confirmed else say("（凭记忆，未核实）", " (recalled, not confirmed)")
            )
            source = rule.source + unsure
        rows.append([row["rule_id"], say(*name_rule(row)), shorten(source, 300)])
    heads = [say("代号", "Rule"), say("含义", "What it asks"), say("出处", "Source")]
    parts = [table("rules", heads, rows, texts=(0, 1, 2))]
    moment = found.manifest["parameters"].get("audit", {}).get("at")
    if moment:
        line = say(f"公厕按此时是否开放计：{moment}。", f"Toilets as they are open at: {moment}.")
        parts.append(paragraph(line, look="note"))
    return parts


def _write_rounds(found: Findings, say: Say) -> list[str]:
    if "rounds" not in found.tables or found.tables["rounds"].empty:
        line = say("尚未抽取：运行 survey draw。", "No round was drawn yet: run survey draw.")
        return [paragraph(line, look="none")]
    heads = [
        say("轮次", "Round"),
        say("种子", "Seed"),
        say("点位", "Points"),
        say("背街小巷", "Alleys"),
        say("小区", "Compounds"),
        say("备用", "Replacements"),
        say("名单摘要", "Frame hash"),
    ]
    draws = found.tables["draws"]
    rows, stale = [], False
    for row in found.tables["rounds"].itertuples(index=False):
        mine = draws[draws["round_id"] == row.round_id]
        drawn = mine[~mine["replacement"]]
        other = row.frame_hash != found.frame_hash
        stale = stale or other
        rows.append(
            [
                shorten(row.round_id),
                shorten(row.seed, 120),
                write_count(drawn["point_id"].nunique()),
                *(
                    write_count(drawn.loc[drawn["layer"] == layer, "unit_id"].nunique())
                    for layer in ("alley", "compound")
                ),
                write_count(len(mine) - len(drawn)),
                row.frame_hash[:HASH_SHOWN] + (" *" if other else ""),
            ]
        )
    line = say(
        "每次抽取都由种子与编号的 SHA-256 决定，任何人可重算：survey verify CITY.gpkg，"
        "或用不依赖本程序的一页脚本 docs/check_round.py。点位数为抽到单元的点位。",
        "Every draw follows from the SHA-256 of seed and ids, and anyone can derive it again:"
        " survey verify CITY.gpkg, or docs/check_round.py, one page that needs no other program."
        " Points are those that drew a unit.",
    )
    if stale:
        line += say(
            "* 在另一份名单上抽取，核验将不予承认。",
            " * Drawn on another frame, so that survey verify refuses it.",
        )
    return [table("rounds", heads, rows, texts=(0, 1, 6)), paragraph(line, look="note")]


def write_manifest(found: Findings, say: Say) -> list[str]:
    """Write from what and by what the report was made."""
    manifest = found.manifest
    heads = [say("输入", "Input"), say("文件", "File"), "SHA-256"]
    rows = [
        [name, shorten(str(source.get("path", NOTHING))), source.get("sha256") or NOTHING]
        for name, source in _list_inputs(manifest["inputs"])
    ]
    versions = ", ".join(f"{name} {text}" for name, text in sorted(manifest["versions"].items()))
    parameters = manifest["parameters"]
    lines = [
        (say("名单摘要", "Frame hash"), found.frame_hash),
        (say("数据日期", "Date of the data"), tell_date(found, say)),
        (say("坐标系", "CRS"), str(manifest["crs"])),
        *((name, _write_json(parameters[name])) for name in sorted(parameters)),
        (say("版本", "Versions"), versions),
    ]
    notes = _list_outdated(parameters, say)
    return [
        heading(2, say("5　来源清单", "5  Manifest")),
        table("inputs", heads, [[*row[:2], _space(row[2])] for row in rows], texts=(0, 1, 2)),
        terms([(name, text) for name, text in lines]),
        *(paragraph(note, look="note") for note in notes),
        paragraph(str(manifest["notice"]), look="notice"),
    ]


def _list_inputs(inputs: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """List the sources of a manifest, those of the city's own layers after OpenStreetMap's."""
    layers = inputs.get("layers", {})
    return [("OpenStreetMap", inputs.get("osm", {})), *sorted(layers.items())]


def _list_outdated(parameters: Mapping[str, Any], say: Say) -> list[str]:
    made_by = {
        "odds": parameters.get("odds"),
        "priorities": parameters.get("priorities", {}).get("design"),
    }
    return [
        say(
            f"{name} 按另一方案算出，请重新运行 survey {name}。",
            f"The {name} are of another design; run survey {name} again.",
        )
        for name, design in made_by.items()
        if design is not None and design != parameters.get("design")
    ]


def _write_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _space(digits: str) -> str:
    """Put a space into a long hash, so that its start can be compared at a glance."""
    return f"{digits[:HASH_SHOWN]} {digits[HASH_SHOWN:]}" if len(digits) > HASH_SHOWN else digits
