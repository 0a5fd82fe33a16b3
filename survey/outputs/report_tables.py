"""The tables of a report: by subdistrict, by kind of point, the worst gaps, the likeliest units."""

from survey.outputs.report_facts import (
    AROUND_M,
    NOWHERE,
    WORST,
    Findings,
    count_by_kind,
    count_by_subdistrict,
    rank_units,
    worst_stretches,
)
from survey.outputs.report_html import (
    NOTHING,
    Say,
    heading,
    paragraph,
    shorten,
    table,
    write_count,
    write_metres,
    write_name,
    write_share,
)
from survey.outputs.texts import write_bands, write_percents
from survey.tables import KIND_ZH

_PER_TABLE = 7
_LAYERS = {"alley": ("背街小巷", "alley"), "compound": ("小区", "compound")}
KINDS_EN = {
    "market": "markets",
    "mall": "malls, supermarkets",
    "school": "schools",
    "hospital": "hospitals",
    "station": "stations",
    "community": "communities",
}
"""What several of a kind of point are called in English."""


def write_places(found: Findings, say: Say) -> list[str]:
    """Write the tables by subdistrict and by kind of point."""
    title = heading(2, say("1　分街道办、分点位类型", "1  By subdistrict and by kind of point"))
    rule = "" if found.lead is None else f"{found.lead['rule_id']}"
    parts = [title, heading(3, say("分街道办", "By subdistrict"))]
    if found.offices:
        parts += [_write_offices(found, say), *_write_office_shares(found, say)]
    else:
        line = say(
            "没有街道办辖区：用 survey frame 加上本市图层。",
            "There are no subdistricts: survey frame takes the city's own layer.",
        )
        parts.append(paragraph(line, look="none"))
    parts.append(heading(3, say("分点位类型", "By kind of point")))
    heads = [
        say("类型", "Kind"),
        say("点位", "Points"),
        say("步行 2 km 内背街小巷", "Alleys within a 2 km walk"),
        say("步行 2 km 内小区", "Compounds within a 2 km walk"),
        say(f"周边 {AROUND_M} m 达标", f"Share within {AROUND_M} m"),
        say("最差点位", "Worst point"),
    ]
    rows = [
        [
            say(KIND_ZH[str(row.Index)], KINDS_EN[str(row.Index)]),
            *(write_count(value) for value in (row.points, row.alleys, row.compounds)),
            write_share(row.share),
            write_share(row.least),
        ]
        for row in count_by_kind(found).itertuples()
    ]
    if not rows:
        line = say("没有固定点位。", "There are no fixed points.")
        return [*parts, paragraph(line, look="none")]
    note = say(
        f"背街小巷、小区与达标比例为各点位的中位数；达标按 {rule or '尚未检查'}。",
        f"Alleys, compounds and share are medians over points; the share is by"
        f" {rule or 'no rule yet'}.",
    )
    return [*parts, table("kinds", heads, rows), paragraph(note, look="note")]


def _write_offices(found: Findings, say: Say) -> str:
    counts = count_by_subdistrict(found)
    rule = "" if found.lead is None else f" ({found.lead['rule_id']})"
    heads = [
        say("街道办", "Subdistrict"),
        say("点位", "Points"),
        say("背街小巷", "Alleys"),
        say("小区", "Compounds"),
        say("所查街道，m", "Street checked, m"),
        say("空白段，m", "Gaps, m") + rule,
    ]
    rows = [
        [
            say("不在任何街道办", "in no subdistrict")
            if key == NOWHERE
            else shorten(found.offices[str(key)]),
            *(write_count(row[name]) for name in ("points", "alleys", "compounds")),
            *(write_metres(row[name]) for name in ("checked_m", "gap_m")),
        ]
        for key, row in counts.iterrows()
    ]
    tables = found.tables
    rows.append(
        [
            say("全区域", "Whole area"),
            *(write_count(len(tables[name])) for name in ("points", "alleys", "compounds")),
            write_metres(float("nan") if found.lead is None else found.lead["checked_m"]),
            NOTHING if found.gaps is None else write_metres(found.gaps["length_m"].sum()),
        ]
    )
    return table("subdistricts", heads, rows, last=True)


def _write_office_shares(found: Findings, say: Say) -> list[str]:
    if not found.audit:
        line = say(
            "尚未检查标准：运行 survey audit。", "No rule was audited yet: run survey audit."
        )
        return [paragraph(line, look="none")]
    shares = found.tables["shares"]
    shares = shares[shares["scope"] == "subdistrict"].set_index(["id", "rule_id"])["share"]
    parts = [heading(3, say("各标准达标比例", "Share that meets each rule"))]
    for start in range(0, len(found.audit), _PER_TABLE):
        rules = found.audit[start : start + _PER_TABLE]
        heads = [say("街道办", "Subdistrict"), *(rule["rule_id"] for rule in rules)]
        rows = [
            [
                shorten(name),
                *(write_share(shares.get((key, rule["rule_id"]), float("nan"))) for rule in rules),
            ]
            for key, name in found.offices.items()
        ]
        rows.append([say("全区域", "Whole area"), *(write_share(rule["share"]) for rule in rules)])
        parts.append(table("shares", heads, rows, last=True))
    return parts


def write_worst(found: Findings, say: Say) -> list[str]:
    """Write the worst gaps and the likeliest units."""
    title = heading(2, say("2　最长空白段、最可能被抽到的单元", "2  Worst gaps, likeliest units"))
    parts = [title, *_write_gaps(found, say)]
    parts.append(heading(3, say("最可能被抽到的薄弱单元", "The likeliest weak units")))
    if "priorities" not in found.tables and "odds" not in found.tables:
        line = say("尚未计算概率：运行 survey odds。", "Odds were not worked out: run survey odds.")
        return [*parts, paragraph(line, look="none")]
    return [*parts, *_write_units(found, say)]


def _write_gaps(found: Findings, say: Say) -> list[str]:
    lead, gaps = found.lead, found.gaps
    rule = "" if lead is None else f" ({lead['rule_id']})"
    title = heading(3, say(f"最长的 {WORST} 处空白段", f"The {WORST} longest gaps") + rule)
    if gaps is None:
        line = say(
            "尚未按街道检查：运行 survey audit。",
            "No rule was audited along streets yet: run survey audit.",
        )
        return [title, paragraph(line, look="none")]
    if gaps.empty:
        return [title, paragraph(say("没有空白段。", "There are no gaps."), look="none")]
    heads = [
        say("次序", "Rank"),
        say("街道", "Street"),
        say("街道办", "Subdistrict"),
        say("长度，m", "Length, m"),
        say("最远处，m", "Worst distance, m"),
    ]
    longest = worst_stretches(found)
    rows = [
        [
            str(rank),
            write_name(row.name, say("无名路段", "unnamed street"))
            + (" *" if row.near_edge else ""),
            shorten(found.offices.get(row.subdistrict_id, NOTHING)),
            write_metres(row.length_m),
            say("不可达", "none reached") if row.unreached else write_metres(row.worst_m),
        ]
        for rank, row in enumerate(longest.itertuples(), 1)
    ]
    note = say(
        "相连且同名的空白段合为一处。* 靠近数据边缘，范围外或有公厕。",
        "Gaps that touch on one street are one. * Near the edge of the data: a toilet beyond may"
        " serve.",
    )
    return [title, table("gaps", heads, rows, texts=(0, 1, 2)), paragraph(note, look="note")]


def _write_units(found: Findings, say: Say) -> list[str]:
    units = rank_units(found)
    ranked = "priorities" in found.tables
    heads = [
        say("次序", "Rank"),
        say("单元", "Unit"),
        say("类型", "Layer"),
        say("街道办", "Subdistrict"),
        say("概率", "Chance"),
        say("概率范围", "Band"),
    ]
    heads += [say("状况", "Condition"), say("风险", "Risk")] if ranked else [say("点位", "Points")]
    bands = write_bands(units["prob_low"], units["prob_high"])
    rows = []
    for rank, row in enumerate(units.itertuples(), 1):
        cells = [
            str(rank),
            write_name(row.name, say("无名", "unnamed")) + (" *" if row.near_edge else ""),
            say(*_LAYERS[row.layer]),
            shorten(found.offices.get(row.subdistrict_id, NOTHING)),
            write_percents([row.prob])[0],
            bands[rank - 1],
        ]
        last = (
            [f"{row.condition:.2f}", write_percents([row.risk])[0]] if ranked else [str(row.points)]
        )
        rows.append([*cells, *last])
    note = say("* 靠近数据边缘，概率只作参考。", "* Touched by the edge of the data.")
    if not ranked:
        note = (
            say(
                "未提供单元现状，故只按概率排列，不说明薄弱与否：survey priorities 可加本市评分。",
                "Conditions were not given, so these are the likeliest, weak or not: survey"
                " priorities takes the city's scores. ",
            )
            + note
        )
    return [table("units", heads, rows, texts=(0, 1, 2, 3)), paragraph(note, look="note")]
