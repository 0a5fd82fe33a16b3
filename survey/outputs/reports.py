"""What an audit found, for machines that read JUnit and for people who read Markdown."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any

import pandas as pd

from survey.tables import round_mm

AROUND_M = 500
"""The surroundings of a fixed point that are a test case, in metres."""

WORST = 10
"""How many stretches and subdistricts of each rule a summary lists."""

# What XML 1.0 forbids (https://www.w3.org/TR/xml/#charsets), escaped or not.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# What makes tables, code, links, emphasis, HTML, formulas, mentions or emoji in Markdown.
_MARKUP = re.compile(r"[\\`*_\[\]<>|~&@:$#!]")

_STREETS = "streets"
# What the number of a rule counts, by the column `on` of the table `audit`.
_COUNTED = {
    _STREETS: ("街道", "street"),
    "main": ("沿主次干道的步行", "walks along main roads"),
    "points": ("固定点位", "points"),
    "compounds": ("小区", "compounds"),
    "ground": ("应有设施", "facilities wanted"),
}
_SLACK = 1e-9  # numbers of facilities wanted are no whole numbers


def write_junit(
    audit: pd.DataFrame,
    shares: pd.DataFrame,
    *,
    min_share: float | None,
    name: str,
    subdistricts: Mapping[str, Any],
    points: Mapping[str, Any],
) -> bytes:
    """Write an audit as JUnit XML: one suite, and a case for each rule and each of its parts.

    A rule has a case for the city, for each subdistrict, and for the 500 m around each fixed
    point. A case fails where the requirement is not met there (for the city where ``met`` is
    false); where there is no street to check it is skipped. Without `min_share` nothing is
    asked, so nothing fails. The suite's properties tell each rule's ``share`` and
    ``share_high``. The same tables give the same bytes.

    Parameters
    ----------
    audit, shares
        The tables of these names, made with the same `min_share`. Rules that count places have
        ``checked_n`` instead of ``checked_m``.
    min_share
        The share that was asked of every rule, 0 to 1.
    name
        What the city is called.
    subdistricts, points
        Id to name; what has none is called by its id.

    Returns
    -------
    bytes
        UTF-8, with an XML declaration; characters that XML forbids are left out.
    """
    called = {"subdistrict": subdistricts, "point": points}
    suite = ET.Element("testsuite", name=_clean(name))
    properties = ET.SubElement(suite, "properties")
    rules = {str(row["rule_id"]): row for row in audit.to_dict("records")}
    for rule_id, rule in rules.items():
        for fact in ("share", "share_high"):
            if not pd.isna(rule[fact]):
                label = f"{_clean(rule_id)}.{fact}"
                ET.SubElement(properties, "property", name=label, value=f"{rule[fact]:.6f}")
        _add_case(suite, f"{rule_id}.city", str(rule["title"]), rule, rule, min_share)
    for row in shares.to_dict("records"):
        if row["scope"] == "subdistrict" or row["within_m"] == AROUND_M:
            found = _find_name(called[row["scope"]], row["id"])
            label = row["id"] if found == row["id"] else f"{found} [{row['id']}]"
            case = f"{row['rule_id']}.{row['scope']}"
            _add_case(suite, case, label, row, rules[row["rule_id"]], min_share)
    counts = {"tests": "testcase", "failures": "testcase/failure", "skipped": "testcase/skipped"}
    totals = {key: str(len(suite.findall(path))) for key, path in counts.items()}
    root = ET.Element("testsuites", totals | {"errors": "0", "time": "0", "name": "survey audit"})
    suite.attrib.update(totals | {"errors": "0", "time": "0"})
    root.append(suite)
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _add_case(
    suite: ET.Element,
    classname: str,
    label: str,
    row: Mapping[str, Any],
    rule: Mapping[str, Any],
    min_share: float | None,
) -> None:
    case = ET.SubElement(
        suite, "testcase", classname=_clean(classname), name=_clean(label), time="0"
    )
    if pd.isna(row["share"]):
        ET.SubElement(case, "skipped", message="there is nothing to check here")
        return
    asked, digits = "", 1
    if min_share is not None:
        digits = tell_apart(row["share"], min_share)
        asked = f"; {_percent(min_share, digits)} asked"
    found = f"{_percent(row['share'], digits)} of {_tell_checked(row, rule)}{asked}"
    if min_share is not None and not _is_met(row, min_share):
        ET.SubElement(case, "failure", message=_clean(found), type="share")
    ET.SubElement(case, "system-out").text = _clean(found)


def _is_met(row: Mapping[str, Any], min_share: float) -> bool:
    if "met" in row:
        return bool(row["met"])
    if _has(row, "checked_m"):  # as the audit compares, in whole millimetres
        return bool(row["covered_m"] >= round_mm(min_share * row["checked_m"]))
    return bool(row["share"] >= min_share - _SLACK)


def _tell_checked(row: Mapping[str, Any], rule: Mapping[str, Any]) -> str:
    if rule["on"] == _STREETS:
        return f"{_measure(row)} within {rule['limit_m']:g} m"
    return f"{_measure(row)} {_COUNTED[rule['on']][1]} meet the rule"


def write_markdown(
    audit: pd.DataFrame,
    shares: pd.DataFrame,
    gaps: pd.DataFrame,
    *,
    min_share: float | None,
    name: str,
    subdistricts: Mapping[str, Any],
) -> str:
    """Write an audit as a page of Markdown, Chinese and English side by side.

    A table of all rules; then, for each rule with gaps, its ten longest stretches of street
    (rows of ``gaps`` with one ``stretch_id`` are one stretch) and the ten subdistricts with the
    least share.

    Parameters
    ----------
    audit, shares, gaps
        The tables of these names; rules that count places have ``checked_n`` instead of
        ``checked_m``.
    min_share
        The share that was asked of every rule, 0 to 1; absent if none was.
    name
        What the city is called.
    subdistricts
        Id to name; what has none is called by its id.

    Returns
    -------
    str
        Tables as GitHub, GitLab and Gitea read them; names are escaped.
    """
    asked = "–" if min_share is None else _percent(min_share, 1)
    head = ["标准 · Rule", "达标比例 · Share", "要求 · Asked", "达标 · Met", "检查 · Checked"]
    rules = audit.to_dict("records")
    rows = [
        [
            _escape(rule["title"]),
            _tell_share(rule, min_share),
            asked,
            "–" if min_share is None else "是 · yes" if rule["met"] else "**否 · no**",
            f"{_measure(rule)} {' · '.join(_COUNTED[rule['on']])}",
        ]
        for rule in rules
    ]
    parts = [f"# {_escape(name)}: 覆盖检查 · Coverage audit", _table(head, rows)]
    for rule in rules:
        parts += _describe_rule(
            rule,
            shares[(shares["rule_id"] == rule["rule_id"]) & (shares["scope"] == "subdistrict")],
            gaps[gaps["rule_id"] == rule["rule_id"]],
            subdistricts,
        )
    return "\n\n".join(parts) + "\n"


def _describe_rule(
    rule: Mapping[str, Any],
    shares: pd.DataFrame,
    gaps: pd.DataFrame,
    subdistricts: Mapping[str, Any],
) -> list[str]:
    parts = []
    if len(gaps):
        head = ["街道 · Street", "街道办 · Subdistrict", "长度 · Length", "最远 · Worst"]
        unknown = "不可达 · none reached" if rule["on"] == _STREETS else "–"
        rows, edge = _list_stretches(gaps, subdistricts, unknown)
        parts += ["最长空白段 · Longest gaps", _table(head, rows)]
        if edge:
            parts.append(
                "\\* 靠近数据边缘，边缘外的设施未知 · near the edge of the data: what lies beyond"
                " is unknown"
            )
    worst = shares[shares["share"] < 1].sort_values(["share", "id"], kind="stable").head(WORST)
    if len(worst):
        head = ["街道办 · Subdistrict", "达标比例 · Share", "检查 · Checked"]
        rows = [
            [_escape(_find_name(subdistricts, row["id"])), _percent(row["share"], 1), _measure(row)]
            for row in worst.to_dict("records")
        ]
        parts += ["最差街道办 · Worst subdistricts", _table(head, rows)]
    return [f"## {_escape(rule['title'])}", *parts] if parts else []


def rank_stretches(gaps: pd.DataFrame) -> pd.DataFrame:
    """Put together the gaps that touch on one street, the longest stretch first.

    Parameters
    ----------
    gaps
        Rows of the table ``gaps``, of one rule.

    Returns
    -------
    pandas.DataFrame
        ``name``, ``subdistrict_id``, ``length_m``, ``worst_m``, ``unreached`` (a part of it
        reaches nothing) and ``near_edge`` (a part of it), on the stretch_id.
    """
    found: pd.DataFrame = gaps.groupby("stretch_id", sort=True).agg(
        name=("name", "first"),
        subdistrict_id=("subdistrict_id", "first"),
        length_m=("length_m", "sum"),
        worst_m=("worst_m", "max"),
        unreached=("worst_m", lambda worst: bool(worst.isna().any())),
        near_edge=("near_edge", "any"),
    )
    return found.sort_values("length_m", ascending=False, kind="stable")


def _list_stretches(
    gaps: pd.DataFrame, subdistricts: Mapping[str, Any], unknown: str
) -> tuple[list[list[str]], bool]:
    """List the longest stretches as cells, and tell whether one is near the edge of the data."""
    longest = rank_stretches(gaps).head(WORST)
    rows = [
        [
            _escape(_find_name({}, row.name)) + (" \\*" if row.near_edge else ""),
            _escape(_find_name(subdistricts, row.subdistrict_id)),
            _write_metres(row.length_m),
            unknown if row.unreached else _write_metres(row.worst_m),
        ]
        for row in longest.itertuples()
    ]
    return rows, bool(longest["near_edge"].any())


def _find_name(names: Mapping[str, Any], key: Any) -> str:
    """Find the name of an id, else the id; a dash where there is neither."""
    name = names.get(key)
    return next((text for text in (name, key) if isinstance(text, str) and text.strip()), "–")


def _tell_share(rule: Mapping[str, Any], min_share: float | None) -> str:
    if pd.isna(rule["share"]):
        return "–"
    digits = 1 if min_share is None else tell_apart(rule["share"], min_share)
    ends = dict.fromkeys(_percent(rule[end], digits) for end in ("share", "share_high"))
    return " – ".join(ends)


def tell_apart(share: float, asked: float) -> int:
    """Tell how many decimals a share needs so as not to read as what was asked, or as all."""
    others = [other for other in (asked, 1.0, 0.0) if other != share]
    clashes = (n for n in range(1, 7) if _percent(share, n) not in {_percent(o, n) for o in others})
    return next(clashes, 7)


def _percent(share: float, digits: int) -> str:
    return f"{100 * share:.{digits}f} %"


def _measure(row: Mapping[str, Any]) -> str:
    if _has(row, "checked_m"):
        return _write_metres(row["checked_m"])
    return f"{row['checked_n']:.1f}".removesuffix(".0") if _has(row, "checked_n") else "–"


def _write_metres(metres: float) -> str:
    return f"{metres / 1000:,.1f} km" if metres >= 1000 else f"{metres:.0f} m"


def _has(row: Mapping[str, Any], column: str) -> bool:
    return column in row and not pd.isna(row[column])


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _clean(text: Any) -> str:
    return _FORBIDDEN.sub("", str(text))


def _escape(text: Any) -> str:
    """Write a name so that Markdown shows it as it is, on one line."""
    line = " ".join(_clean(text).split())
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};", line)
