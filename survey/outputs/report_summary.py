"""The part of a report that a leader reads: numbers, sentences, figures, sites."""

from survey.frame.quality import SUPPLY
from survey.outputs.report_facts import (
    CHANCE,
    Findings,
    count_by_kind,
    list_sites,
    share_before,
)
from survey.outputs.report_figures import draw_gaps, draw_odds, draw_shares
from survey.outputs.report_html import (
    Say,
    bullets,
    figure,
    heading,
    paragraph,
    table,
    tiles,
    write_count,
    write_length,
    write_metres,
    write_name,
    write_range,
    write_share,
)
from survey.outputs.report_lines import write_lines
from survey.outputs.report_tables import KINDS_EN
from survey.tables import KIND_ZH

_SITES_SHOWN = 10
_TALL = 4
_ACTIONS = {"open": ("开放", "open"), "build": ("新建", "build")}


def write_summary(found: Findings, say: Say, *, salt: str) -> list[str]:
    """Write what a leader reads: numbers, sentences, figures, sites."""
    parts = [
        tiles(_list_numbers(found, say)),
        heading(2, say("这说明什么，先做什么", "What it means, and what to do first")),
        bullets(write_lines(found, say), look="lines"),
    ]
    shares = _draw_shares(found, say, salt)
    pair = [*_draw_odds(found, say, salt), *_draw_gaps(found, say, salt)]
    beside = [f'<div class="pair">{"".join(pair)}</div>'] if pair else []
    # A tall figure would leave the rest of the first page empty.
    tall = len(found.audit) > _TALL
    parts += [*beside, *shares] if tall else [*shares, *beside]
    return [*parts, *_list_proposed(found, say)]


def _list_numbers(found: Findings, say: Say) -> list[tuple[str, str, str]]:
    """List label, value and note of the numbers that are to be seen first."""
    kinds = count_by_kind(found)["points"]
    counted = [
        say(f"{KIND_ZH[kind]} {count}", f"{count} {KINDS_EN[kind]}")
        for kind, count in kinds.items()
    ]
    tables = found.tables
    toilets = tables["toilets"]
    supply = toilets["inside"] & toilets["status"].isin(SUPPLY)
    alley_m, compound_m2 = tables["alleys"]["length_m"].sum(), tables["compounds"]["area_m2"].sum()
    facts = [
        (
            say("固定点位", "Fixed points"),
            write_count(len(tables["points"])),
            say("，", ", ").join(counted),
        ),
        (
            say("可抽背街小巷", "Alleys to draw from"),
            write_count(len(tables["alleys"])),
            say(f"共 {write_length(alley_m)}", f"{write_length(alley_m)} in all"),
        ),
        (
            say("可抽小区", "Compounds to draw from"),
            write_count(len(tables["compounds"])),
            say(f"共 {compound_m2 / 1e4:,.0f} 公顷", f"{compound_m2 / 1e4:,.0f} ha in all"),
        ),
        (
            say("公众可用的公厕", "Toilets the public may use"),
            write_count(int(supply.sum())),
            say("区域内", "inside the area"),
        ),
    ]
    return facts + _list_coverage(found, say) + _list_chances(found, say)


def _list_coverage(found: Findings, say: Say) -> list[tuple[str, str, str]]:
    lead, gaps = found.lead, found.gaps
    if lead is None:
        return []
    share = write_range(lead["share"], lead["share_high"], found.asked)
    facts = [(say("达标比例", "Share that meets"), share, lead["rule_id"])]
    if gaps is not None:
        near = gaps.loc[gaps["near_edge"], "length_m"].sum()
        note = say(
            f"其中 {write_length(near)} 靠近数据边缘",
            f"{write_length(near)} of them near the edge of the data",
        )
        total = write_length(gaps["length_m"].sum())
        facts.append((say("空白段总长", "Length of gaps"), total, note))
    if "sites" in found.tables and len(found.tables["sites"]):
        sites = list_sites(found)
        before = share_before(found, sites)
        start = "" if before is None else f"{write_share(before)} → "
        note = start + write_share(sites["total_share"].iloc[-1])
        facts.append((say("建议补点", "Sites proposed"), write_count(len(sites)), note))
    return facts


def _list_chances(found: Findings, say: Say) -> list[tuple[str, str, str]]:
    if "odds" not in found.tables or found.tables["odds"].empty:
        return []
    real = found.tables["odds"]["prob"] >= CHANCE
    note = say(
        f"{real.sum()} / {len(real)} 个单元，概率 ≥ {CHANCE:.0%}",
        f"{real.sum()} of {len(real)} units, chance of {CHANCE:.0%} or more",
    )
    return [(say("真有可能被抽到", "Real chance of a visit"), write_share(real.mean()), note)]


def _draw_shares(found: Findings, say: Say, salt: str) -> list[str]:
    if not found.audit:
        return []
    caption = say(
        "各口径的达标比例。斜线部分数据不能判定。",
        "Share that meets each reading. What is hatched, the data cannot tell.",
    )
    if found.asked is not None:
        caption += say("虚线为要求。", " The dashed line is what was asked.")
    return [figure(draw_shares(found, say, salt=f"{salt}-shares"), caption)]


def _draw_odds(found: Findings, say: Say, salt: str) -> list[str]:
    if "odds" not in found.tables or found.tables["odds"].empty:
        return []
    caption = say(
        f"单元数按被抽到的概率分布。虚线右侧不低于 {CHANCE:.0%}。",
        f"Number of units by chance to be drawn; right of the line {CHANCE:.0%} or more.",
    )
    return [figure(draw_odds(found, say, salt=f"{salt}-odds"), caption)]


def _draw_gaps(found: Findings, say: Say, salt: str) -> list[str]:
    if found.lead is None or found.gaps is None:
        return []
    if not found.offices:
        line = say(
            "没有街道办辖区，故空白段未分街道办：用 survey frame 加上本市图层。",
            "There are no subdistricts to tell the gaps apart by: survey frame takes"
            " the city's own layer.",
        )
        return [f"<figure>{paragraph(line, look='none')}</figure>"]
    rule = found.lead["rule_id"]
    caption = say(f"各街道办空白段长度（{rule}）。", f"Length of gaps by subdistrict ({rule}).")
    return [figure(draw_gaps(found, say, salt=f"{salt}-gaps"), caption)]


def _list_proposed(found: Findings, say: Say) -> list[str]:
    if "sites" not in found.tables:
        line = say(
            "尚未提出补点：运行 survey site。", "No sites are proposed yet: run survey site."
        )
        return [paragraph(line, look="none")]
    sites = list_sites(found)
    if sites.empty:
        line = say("没有可补或需补的点。", "There is no site to propose.")
        return [paragraph(line, look="none")]
    heads = [
        say("次序", "Rank"),
        say("办法", "Action"),
        say("单位或最近的街道", "Institution or nearest street"),
        say("可补街道，m", "Street it mends, m"),
        say("累计达标", "Share with it"),
    ]
    rows = [
        [
            str(row.rank),
            say(*_ACTIONS[row.action]),
            write_name(row.name, say("无名街道", "unnamed street")),
            write_metres(row.gain_m),
            write_share(row.total_share),
        ]
        for row in sites.head(_SITES_SHOWN).itertuples(index=False)
    ]
    before = share_before(found, sites)
    rule, after = sites["rule_id"].iloc[0], write_share(sites["total_share"].iloc[-1])
    start = (
        "" if before is None else say(f"由 {write_share(before)} ", f"from {write_share(before)} ")
    )
    title = say(
        f"建议补点：{rule} {start}提高到 {after}", f"Sites proposed: {rule} {start}to {after}"
    )
    more = len(sites) - len(rows)
    rest = [paragraph(say(f"另有 {more} 处。", f"And {more} more."), look="none")] if more else []
    listed = table("sites", heads, rows, texts=(0, 1, 2))
    return [f'<section class="whole">{heading(2, title)}{listed}{"".join(rest)}</section>']
