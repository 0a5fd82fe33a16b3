"""What the numbers of a report mean, and what to do first, in a few plain sentences."""

import pandas as pd

from survey.frame.quality import SUPPLY
from survey.outputs.report_facts import (
    CHANCE,
    NOWHERE,
    Findings,
    count_by_subdistrict,
    list_sites,
    share_before,
    worst_stretches,
)
from survey.outputs.report_html import Say, shorten, write_count, write_length, write_share

_APART = 0.05  # readings that differ by less are not worth a leader's sentence
_MOST = 0.5
_OWN = {"alleys": ("背街小巷", "alleys"), "compounds": ("小区", "compounds")}


def write_lines(found: Findings, say: Say) -> list[str]:
    """Write three to five sentences from the numbers, each with what it does not know."""
    makers = (_tell_frame, _tell_coverage, _tell_readings, _tell_first, _tell_odds)
    return [line for line in (maker(found, say) for maker in makers) if line]


def _tell_frame(found: Findings, say: Say) -> str:
    points, alleys, compounds = (
        write_count(len(found.tables[name])) for name in ("points", "alleys", "compounds")
    )
    line = say(
        f"{points} 个固定点位周围，可抽的有 {alleys} 条背街小巷、{compounds} 个小区。",
        f"Around {points} fixed points, {alleys} alleys and {compounds} compounds can be drawn.",
    )
    layers = found.manifest["inputs"].get("layers", {})
    bare = [name for name in _OWN if name not in layers]
    if not bare:
        return line
    zh, en = ("、".join(_OWN[name][0] for name in bare), " and ".join(_OWN[n][1] for n in bare))
    return line + say(
        f"{zh}名单只来自开放街图（OpenStreetMap），未与本市名册核对，可能有缺漏；先补上名册再作结论。",
        f" The list of {en} comes from OpenStreetMap alone and may lack some: add the city's"
        " register before concluding from it.",
    )


def _tell_coverage(found: Findings, say: Say) -> str:
    rule = found.lead
    if rule is None:
        return say(
            "公厕覆盖尚未检查：请运行 survey audit。",
            "Coverage by toilets has not been measured: run survey audit.",
        )
    name = say(*name_rule(rule))
    toilets = found.tables["toilets"]
    if rule["facility"] == "toilet" and not toilets["status"].isin(SUPPLY).any():
        return say(
            "数据里没有一座公众可用的公共卫生间，所以没有一处能算达标：先补上本市的公厕清单，再作结论。",
            "The data hold no toilet that the public may use, so nothing counts as met: add the"
            " city's list of toilets before concluding anything.",
        )
    share, high = (write_share(rule[end], found.asked) for end in ("share", "share_high"))
    line = say(
        f"按“{name}”（{rule['rule_id']}），确定达标的占 {share}。",
        f"By the reading “{name}” ({rule['rule_id']}), {share} certainly meets the rule.",
    )
    if found.gaps is not None:
        checked, gap = (write_length(m) for m in (rule["checked_m"], found.gaps["length_m"].sum()))
        line = say(
            f"按“{name}”（{rule['rule_id']}），所查 {checked} 街道中确定达标的占 {share}；"
            f"空白段共 {gap}。",
            f"By the reading “{name}” ({rule['rule_id']}), {share} of {checked} of street certainly"
            f" meets the rule; the gaps add up to {gap}.",
        )
    if rule["share_high"] > rule["share"]:
        timed = "at" in found.manifest["parameters"].get("audit", {})
        zh, en = ("或开放时间不明", ", or of unknown hours,") if timed else ("", "")
        line += say(
            f"数据范围之外{zh}的公厕若算在内，最高可到 {high}：真值在两者之间。",
            f" Toilets beyond the edge of the data{en} could raise it to {high}: the truth lies"
            " between.",
        )
    return line + _tell_asked(found, say)


def name_rule(rule: dict[str, str]) -> tuple[str, str]:
    """Split a rule's title into Chinese and English."""
    parts = rule["title"].split(" · ")
    return shorten(parts[0], 80), shorten(parts[-1], 120)


def tell_date(found: Findings, say: Say) -> str:
    """Tell of when the OpenStreetMap data are."""
    date = found.manifest["inputs"].get("osm", {}).get("osm_date")
    return str(date)[:10] if date else say("未注明", "not stated")


def _tell_asked(found: Findings, say: Say) -> str:
    rule, asked = found.lead, found.asked
    if asked is None or rule is None:
        return ""
    wanted = write_share(asked)
    if rule["met"]:
        return say(f"要求 {wanted}，已达到。", f" {wanted} was asked: met.")
    if rule["share_high"] >= asked:
        return say(
            f"要求 {wanted}：以现有数据不能证明达到，也不能断定未达到。",
            f" {wanted} was asked: these data can neither show that it is met nor that it is not.",
        )
    return say(f"要求 {wanted}，未达到。", f" {wanted} was asked: not met.")


def _tell_readings(found: Findings, say: Say) -> str:
    lead = found.lead
    if lead is None:
        return ""
    rows = [
        row
        for row in found.audit
        if row["facility"] == lead["facility"]
        and row["limit_m"] == lead["limit_m"]
        and not pd.isna(row["share"])
    ]
    if len(rows) < 2:
        return ""
    least, most = (pick(rows, key=lambda row: row["share"]) for pick in (min, max))
    low, high = (write_share(row["share"], found.asked) for row in (least, most))
    if most["share"] - least["share"] < _APART:
        return say(
            f"同为 {lead['limit_m']:g} 米的 {len(rows)} 种口径结论相近：{low} 至 {high}。",
            f"The {len(rows)} readings of {lead['limit_m']:g} m agree: {low} to {high}.",
        )
    return say(
        f"口径决定结果：同为 {lead['limit_m']:g} 米，{least['rule_id']} 只有 {low}，"
        f"{most['rule_id']} 有 {high}；花钱之前先与上级确认按哪一种口径检查。",
        f"The reading decides: for the same {lead['limit_m']:g} m, {least['rule_id']} finds {low}"
        f" and {most['rule_id']} {high}; settle which one is inspected before money is spent.",
    )


def _tell_first(found: Findings, say: Say) -> str:
    gaps, lead = found.gaps, found.lead
    if gaps is None or lead is None:
        return ""
    total = gaps["length_m"].sum()
    if total == 0:
        return say("按此口径没有发现空白段。", "By this reading no gap was found.")
    near = gaps.loc[gaps["near_edge"], "length_m"].sum()
    if near / total >= _MOST:
        return say(
            f"先补数据：空白段长度的 {write_share(near / total)} 靠近数据边缘，是否真空白尚不可知；"
            "请换用四周多出 2 km 的数据再查。",
            f"Data first: {write_share(near / total)} of the gaps' length is near the edge of the"
            " data, so whether it is a gap is not known; take an extract with 2 km more all round.",
        )
    sites = _tell_sites(found, say)
    if sites:
        return sites
    longest = worst_stretches(found)["length_m"]
    line = say(
        f"先看最长的 {len(longest)} 处空白段：共 {write_length(longest.sum())}，占空白段总长的"
        f" {write_share(longest.sum() / total)}；survey site 会提出开放或新建的补点。",
        f"Begin with the {len(longest)} longest gaps: {write_length(longest.sum())},"
        f" {write_share(longest.sum() / total)} of all; survey site proposes where to open or"
        " build.",
    )
    by_office = count_by_subdistrict(found)["gap_m"].drop(labels=[NOWHERE], errors="ignore")
    if by_office.empty or not by_office.max() > 0:
        return line
    worst, length = found.offices[by_office.idxmax()], write_length(by_office.max())
    return line + say(
        f"空白最多的街道办是 {shorten(worst)}（{length}）。",
        f" The subdistrict with most of them is {shorten(worst)} ({length}).",
    )


def _tell_sites(found: Findings, say: Say) -> str:
    if "sites" not in found.tables or found.tables["sites"].empty:
        return ""
    sites = list_sites(found)
    before, after = share_before(found, sites), write_share(sites["total_share"].iloc[-1])
    opened = int((sites["action"] == "open").sum())
    start = (
        "" if before is None else say(f"从 {write_share(before)} ", f"from {write_share(before)} ")
    )
    return say(
        f"先补点：建议的 {len(sites)} 处补点（开放 {opened} 处、新建 {len(sites) - opened} 处）"
        f"可把 {sites['rule_id'].iloc[0]} 的达标比例{start}提高到 {after}，"
        f"第一处单独可补 {write_length(sites['gain_m'].iloc[0])}。",
        f"Begin with the sites: the {len(sites)} proposed ({opened} to open,"
        f" {len(sites) - opened} to build) would raise {sites['rule_id'].iloc[0]} {start}to"
        f" {after}; the first alone mends {write_length(sites['gain_m'].iloc[0])}.",
    )


def _tell_odds(found: Findings, say: Say) -> str:
    if "odds" not in found.tables:
        return say(
            "各单元被抽到的概率尚未计算：请运行 survey odds。",
            "How likely each unit is to be drawn has not been worked out: run survey odds.",
        )
    odds = found.tables["odds"]
    counts = [int((odds[name] >= CHANCE).sum()) for name in ("prob", "prob_low", "prob_high")]
    chance = f"{CHANCE:.0%}"
    share = write_share(counts[0] / len(odds)) if len(odds) else "0.0%"
    line = say(
        f"{len(odds)} 个单元中有 {counts[0]} 个（{share}）在一轮中被抽到的概率不低于 {chance}；"
        f"抽取半径的规则未公开，换作固定半径或均匀半径，在 {counts[1]} 至 {counts[2]} 个之间。",
        f"{counts[0]} of {len(odds)} units ({share}) have a chance of {chance} or more to be drawn"
        f" in a round; the inspectors' law of the radius is not public, and under any fixed radius"
        f" or the uniform law it lies between {counts[1]} and {counts[2]}.",
    )
    near = int(odds["near_edge"].sum())
    if near > _MOST * len(odds):
        line += say(
            f"其中 {near} 个靠近数据边缘，概率只作参考。",
            f" The odds of {near} are touched by the edge of the data: take them as a guide.",
        )
    if "priorities" not in found.tables:
        line += say(
            "未提供单元现状，故不知其中哪些薄弱：用 survey priorities 加上本市评分。",
            " Conditions were not given, so which of them are weak is not known: survey priorities"
            " takes the city's scores.",
        )
    return line
