"""The map of a city: one HTML file with the frame, a round and the gaps, for any browser."""

from html import escape
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd

from survey.errors import TableError
from survey.outputs.exports import write_files
from survey.outputs.offline import render_offline
from survey.outputs.page import (
    Facts,
    PageLayer,
    facts_layer,
    finish_page,
    new_page,
    outline_layer,
    streets_layer,
)
from survey.outputs.texts import (
    Texts,
    name_offices,
    name_points,
    write_cells,
    write_kinds,
    write_measures,
    write_names,
    write_origin,
)
from survey.outputs.units import (
    Key,
    Unit,
    describe_units,
    list_units,
    priorities_layer,
    repeat_facts,
)
from survey.tables import check

_HEADED = 3  # rules whose share stands in the page's head

_COPYRIGHT = "https://www.openstreetmap.org/copyright"


def save_map(  # noqa: PLR0913 each part of a map is a table of its own
    path: str | Path,
    frame: Any,
    *,
    draw: Any = None,
    odds: pd.DataFrame | None = None,
    audit: Any = None,
    reach: pd.DataFrame | None = None,
    priorities: pd.DataFrame | None = None,
    sites: Any = None,
    after: Any = None,
    title: str | None = None,
    replace: bool = False,
) -> Path:
    """Write the map of a city as one HTML file that needs no internet.

    Parameters
    ----------
    path
        The file; missing parent folders are made.
    frame
        What can be drawn, in a projected CRS.
    draw
        Rounds to show: the tables ``rounds`` and ``draws``; the last round is switched on.
    odds
        The table ``odds``, a row for each unit: alleys and compounds are coloured by ``prob``,
        dashed where ``near_edge``, and their popups tell the rest.
    audit
        Gaps to show: the tables ``summary`` and ``gaps``; the first rule is switched on.
    reach
        Distances in metres; the popup of a unit lists the nearest points.
    priorities
        The table ``priorities``: the chosen units by rank, or the first ones if none is chosen.
    sites, after
        The table ``sites`` (where to open or build toilets), and the audit with these sites.
    title
        The page's heading; the area's name otherwise.
    replace
        Overwrite a file that exists.

    Raises
    ------
    OutputError
        If the file exists and `replace` is false, cannot be written, or would ask for an
        outside address.
    TableError
        If odds or priorities break the data contract or do not fit the frame, or a draw does not.
    """
    name = frame.name or frame.area.name
    heading = title or " · ".join(part for part in (name, "巡查地图", "Survey map") if part)
    page = new_page(heading, html=_head(heading, frame, audit) + _foot(draw))
    facts = describe_units(frame, odds=odds, reach=reach)
    shown = {"draw": draw, "audit": audit, "priorities": priorities}
    layers = _layers(frame, facts, **shown, sites=sites, after=after)
    finish_page(page, layers, bounds=frame.area.polygon.bounds)
    text = render_offline(page).replace("<html>", '<html lang="zh-CN">', 1)
    return write_files({Path(path): text.encode()}, replace=replace)[0]


def _layers(
    frame: Any,
    facts: dict[str, Facts],
    *,
    draw: Any,
    audit: Any,
    priorities: Any,
    sites: Any,
    after: Any,
) -> list[PageLayer]:
    alleys, compounds = facts["alley"], facts["compound"]
    units = list_units(frame, facts)
    layers = [
        _points(frame, draw),
        *_rounds(frame, draw, units),
        priorities_layer(units, priorities, crs=frame.alleys.crs),
        _sites(frame, sites),
        _toilets(frame),
        _candidates(frame),
        *_gaps(frame, audit),
        *_gaps(frame, after, after=True),
        facts_layer("背街小巷 · Alleys", frame.alleys.geometry, alleys, look="alleys"),
        facts_layer("小区 · Compounds", frame.compounds.geometry, compounds, look="compounds"),
        _subdistricts(frame),
        streets_layer(frame.streets.edges),
        outline_layer(frame.area.polygon),
    ]
    return [layer for layer in layers if layer is not None]


def _head(heading: str, frame: Any, audit: Any) -> str:
    counts = {
        "固定点位 Points": len(frame.points),
        "背街小巷 Alleys": len(frame.alleys),
        "小区 Compounds": len(frame.compounds),
        "公共卫生间 Toilets": int((frame.toilets["status"] != "closed").sum()),
    }
    parts = [f"{label} {count:,}" for label, count in counts.items()]
    if audit is not None:
        rules = list(audit.summary.itertuples())
        parts += [f"{rule.rule_id} 达标 met {rule.share:.1%}" for rule in rules[:_HEADED]]
        if len(rules) > _HEADED:
            parts.append(f"另有 {len(rules) - _HEADED} 项标准 more rules")
    spans = "".join(f"<span>{escape(part)}</span>" for part in parts)
    return f'<header class="survey-head"><h1>{escape(heading)}</h1><p>{spans}</p></header>\n'


def _foot(draw: Any) -> str:
    parts = [f'<a href="{_COPYRIGHT}">© OpenStreetMap contributors, ODbL 1.0</a>']
    if draw is not None:
        parts += [
            f"轮次 Round <b>{escape(row.round_id)}</b> · 种子 Seed <b>{escape(row.seed)}</b>"
            f" · 抽样框 Frame hash {escape(row.frame_hash)}"
            for row in draw.rounds.itertuples()
        ]
    spans = "".join(f"<span>{part}</span>" for part in parts)
    return f'<footer class="survey-foot">{spans}</footer>\n'


def _points(frame: Any, draw: Any) -> PageLayer | None:
    table = frame.points
    values: dict[str, Texts] = {
        "类别 · Kind": [*write_kinds(table)],
        "英文名 · English": write_cells(table["name_en"]),
        "街道办 · Subdistrict": name_offices(frame, table),
    }
    if draw is not None and len(draw.rounds):
        draws = draw.draws[draw.draws["round_id"] == draw.rounds["round_id"].iloc[-1]]
        radii = table["point_id"].map(draws.groupby("point_id")["radius_m"].first())
        values["抽查半径 · Radius"] = write_measures(radii, "m")
    names = write_names(table["name"], write_kinds(table))
    facts = Facts(names, list(table["kind"]), values | write_origin(table, "point_id"))
    label = "固定点位 · Fixed points"
    return facts_layer(label, table.geometry, facts, look="points", badges=True)


def _rounds(frame: Any, draw: Any, units: dict[Key, Unit]) -> list[PageLayer | None]:
    layers: list[PageLayer | None] = []
    if draw is None:
        return layers
    points = name_points(frame)
    for number, one in enumerate(reversed(list(draw.rounds.itertuples()))):
        drawn: dict[Key, list[Texts]] = {}
        spare: dict[Key, list[Texts]] = {}
        draws = draw.draws[draw.draws["round_id"] == one.round_id]
        for row in draws.sort_values(["slot", "point_id"]).itertuples():
            cells: Texts = [points.get(row.point_id, row.point_id), str(row.slot)]
            chosen = spare if row.replacement else drawn
            chosen.setdefault((row.layer, row.unit_id), []).append(
                cells + write_measures([row.radius_m], "m")
            )
        strange = [key[1] for key in drawn | spare if key not in units]
        if strange:
            raise TableError(
                f"round {one.round_id!r} holds {len(strange)} units that the frame does not, e.g."
                f" {strange[0]}; draw it again on this frame"
            )
        # A unit that one point drew is no replacement, though another point holds it in reserve.
        spare = {key: rows for key, rows in spare.items() if key not in drawn}
        layers += [
            _drawn(units, drawn, one, crs=frame.alleys.crs, look="drawn", show=number == 0),
            _drawn(units, spare, one, crs=frame.alleys.crs, look="spare", show=False),
        ]
    return layers


def _drawn(
    units: dict[Key, Unit],
    rows: dict[Key, list[Texts]],
    one: Any,
    *,
    crs: Any,
    look: str,
    show: bool,
) -> PageLayer | None:
    """Show the units that were drawn in one round, or those that could replace them."""
    chosen = [units[key] for key in rows]
    values: dict[str, Texts] = {"轮次 · Round": [one.round_id] * len(rows)}
    values["种子 · Seed"] = [one.seed] * len(rows)
    values |= repeat_facts(chosen)
    facts = Facts(
        [unit.title for unit in chosen],
        [look] * len(rows),
        values,
        heads=("抽自点位 · From", "序号 · Slot", "半径 · Radius"),
        rows=list(rows.values()),
        letters=[cells[0][1] for cells in rows.values()],
    )
    label = {"drawn": "抽中 · Drawn", "spare": "备选 · Replacements"}[look]
    shapes = gpd.GeoSeries([unit.shape for unit in chosen], crs=crs)
    return facts_layer(
        f"{label}: {one.round_id}", shapes, facts, look="draws", badges=True, show=show
    )


def _toilets(frame: Any) -> PageLayer | None:
    table = frame.toilets
    columns = {
        "状态 · Status": "status",
        "开放时间 · Hours": "opening_hours",
        "使用 · Access": "access",
        "收费 · Fee": "fee",
        "无障碍 · Wheelchair": "wheelchair",
        "指示牌 · Signed": "signed",
    }
    values = {label: write_cells(table[column]) for label, column in columns.items()}
    names = write_names(table["name"], ["公共卫生间 · Toilet"] * len(table))
    facts = Facts(names, list(table["status"]), values | write_origin(table, "toilet_id"))
    return facts_layer("公共卫生间 · Toilets", table.geometry, facts, look="toilets")


def _candidates(frame: Any) -> PageLayer | None:
    table = frame.candidates
    names = write_names(table["name"], ["可开放单位 · Candidate"] * len(table))
    values = {"类别 · Kind": write_cells(table["kind"])} | write_origin(table, "candidate_id")
    facts = Facts(names, ["candidate"] * len(table), values)
    label = "可开放单位 · Candidates"
    return facts_layer(label, table.geometry, facts, look="candidates", show=False)


def _sites(frame: Any, sites: Any) -> PageLayer | None:
    if sites is None:
        return None
    table = check("sites", sites)
    names = dict(zip(frame.candidates["candidate_id"], frame.candidates["name"], strict=True))
    named = [names.get(each) for each in table["candidate_id"]]
    does = {"open": "开放 · Open", "build": "新建 · Build"}
    values: dict[str, Texts] = {
        "做法 · Action": list(table["action"].map(does)),
        "标准 · Rule": write_cells(table["rule_id"]),
        "新增覆盖 · Gain": write_measures(table["gain_m"], "m"),
        "累计达标 · Share then": list(table["total_share"].map("{:.1%}".format)),
        "新增小区 · Compounds served": write_cells(table["compounds"]),
        "新增点位 · Points served": write_cells(table["points"]),
        "费用 · Cost": list(table["cost"].map("{:g}".format)),
        "编号 · ID": write_cells(table["candidate_id"]),
    }
    titles = write_names(named, [f"补点 {rank} · Site {rank}" for rank in table["rank"]])
    letters: Texts = list(map(str, table["rank"]))
    facts = Facts(titles, list(table["action"]), values, letters=letters)
    return facts_layer("补点 · Sites", table.geometry, facts, look="sites")


def _gaps(frame: Any, audit: Any, *, after: bool = False) -> list[PageLayer | None]:
    if audit is None:
        return []
    unreached = "不连通 · no toilet can be reached"
    beyond = "可能有数据范围外的公厕覆盖 · may be covered by a toilet beyond the data"
    layers = []
    for number, rule in enumerate(audit.summary.itertuples()):
        table = audit.gaps[audit.gaps["rule_id"] == rule.rule_id]
        values: dict[str, Texts] = {
            "标准 · Rule": [rule.title] * len(table),
            "限值 · Limit": write_measures([rule.limit_m] * len(table), "m"),
            "长度 · Length": write_measures(table["length_m"], "m"),
            "最远 · Worst": [text or unreached for text in write_measures(table["worst_m"], "m")],
            "数据边缘 · Edge": [beyond if near else None for near in table["near_edge"]],
            "街道办 · Subdistrict": name_offices(frame, table),
            "编号 · ID": write_cells(table["gap_id"]),
        }
        names = write_names(table["name"], ["无名路段 · Unnamed street"] * len(table))
        facts = Facts(names, ["edge" if near else "gap" for near in table["near_edge"]], values)
        label = f"{'补点后空白段 · Gaps after' if after else '空白段 · Gaps'}: {rule.title}"
        show = number == 0 and not after
        layers.append(facts_layer(label, table.geometry, facts, look="gaps", show=show))
    return layers


def _subdistricts(frame: Any) -> PageLayer | None:
    table = frame.subdistricts
    names = write_names(table["name"], list(table["subdistrict_id"]))
    facts = Facts(names, ["subdistrict"] * len(table), {})
    return facts_layer("街道办辖区 · Subdistricts", table.geometry, facts, look="subdistricts")
