"""The map of a city: one HTML file with the frame, a round and the gaps, for any browser."""

from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import geopandas as gpd
import pandas as pd

from survey.errors import TableError
from survey.outputs.exports import write_files
from survey.outputs.offline import render_offline
from survey.outputs.page import (
    Facts,
    PageLayer,
    Texts,
    facts_layer,
    finish_page,
    new_page,
    outline_layer,
    streets_layer,
)
from survey.tables import KIND_ZH, LAYERS

NEAREST = 5
"""How many points the popup of a unit lists."""

_COPYRIGHT = "https://www.openstreetmap.org/copyright"
_UNNAMED = {"alley": "无名小巷 · Unnamed alley", "compound": "无名小区 · Unnamed compound"}


_Key = tuple[str, str]


class _Unit(NamedTuple):
    """What the map says of an alley or a compound, for the layers that show it again."""

    shape: Any
    title: str
    facts: dict[str, str | None]


def save_map(
    path: str | Path,
    frame: Any,
    *,
    draw: Any = None,
    odds: pd.DataFrame | None = None,
    audit: Any = None,
    reach: pd.DataFrame | None = None,
    title: str | None = None,
    replace: bool = False,
) -> Path:
    """Write the map of a city as one HTML file that needs no internet.

    Parameters
    ----------
    path
        The file; missing parent folders are made.
    frame
        What can be drawn: ``area``, ``name``, ``streets.edges`` and the tables ``points``,
        ``alleys``, ``compounds``, ``toilets``, ``candidates`` and ``subdistricts``, in a
        projected CRS.
    draw
        Rounds to show: the tables ``rounds`` and ``draws``; the last round is switched on.
    odds
        Probabilities (``layer``, ``unit_id``, ``prob``, ``prob_low``, ``prob_high``,
        ``near_edge``), shown in the popups of units.
    audit
        Gaps to show: the tables ``summary`` and ``gaps``; the first rule is switched on.
    reach
        Distances in metres; the popup of a unit lists the nearest points.
    title
        The page's heading; the area's name otherwise.
    replace
        Overwrite a file that exists.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    OutputError
        If the file exists and `replace` is false, cannot be written, or would ask for an
        outside address.
    TableError
        If the draw holds a unit that the frame does not.
    """
    name = frame.name or frame.area.name
    heading = title or " · ".join(part for part in (name, "巡查地图", "Survey map") if part)
    page = new_page(heading, html=_head(heading, frame, audit) + _foot(draw))
    shown = [layer for layer in _layers(frame, draw, odds, audit, reach) if layer is not None]
    finish_page(page, shown, bounds=frame.area.polygon.bounds)
    text = render_offline(page).replace("<html>", '<html lang="zh-CN">', 1)
    return write_files({Path(path): text.encode()}, replace=replace)[0]


def _layers(frame: Any, draw: Any, odds: Any, audit: Any, reach: Any) -> list[PageLayer | None]:
    alleys, compounds = (_unit_facts(frame, layer, odds, reach) for layer in LAYERS)
    return [
        _points(frame, draw),
        *_rounds(frame, draw, {"alley": alleys, "compound": compounds}),
        _toilets(frame),
        _candidates(frame),
        *_gaps(frame, audit),
        facts_layer("背街小巷 · Alleys", frame.alleys.geometry, alleys, look="alleys"),
        facts_layer("小区 · Compounds", frame.compounds.geometry, compounds, look="compounds"),
        _subdistricts(frame),
        streets_layer(frame.streets.edges),
        outline_layer(frame.area.polygon),
    ]


def _head(heading: str, frame: Any, audit: Any) -> str:
    counts = {
        "固定点位 Points": len(frame.points),
        "背街小巷 Alleys": len(frame.alleys),
        "小区 Compounds": len(frame.compounds),
        "公共卫生间 Toilets": int((frame.toilets["status"] != "closed").sum()),
    }
    parts = [f"{label} {count:,}" for label, count in counts.items()]
    if audit is not None:
        rules = audit.summary.itertuples()
        parts += [f"{rule.rule_id} 达标 met {rule.share:.1%}" for rule in rules]
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
        "类别 · Kind": [*_kinds(table)],
        "英文名 · English": _texts(table["name_en"]),
        "街道办 · Subdistrict": _offices(frame, table),
    }
    if draw is not None and len(draw.rounds):
        draws = draw.draws[draw.draws["round_id"] == draw.rounds["round_id"].iloc[-1]]
        radii = table["point_id"].map(draws.groupby("point_id")["radius_m"].first())
        values["抽查半径 · Radius"] = _measures(radii, "m")
    names = _names(table["name"], _kinds(table))
    facts = Facts(names, list(table["kind"]), values | _origin(table, "point_id"))
    label = "固定点位 · Fixed points"
    return facts_layer(label, table.geometry, facts, look="points", badges=True)


def _rounds(frame: Any, draw: Any, facts: dict[str, Facts]) -> list[PageLayer | None]:
    layers: list[PageLayer | None] = []
    if draw is None:
        return layers
    points = _point_names(frame)
    units = _units(frame.alleys, "alley", facts) | _units(frame.compounds, "compound", facts)
    for number, one in enumerate(reversed(list(draw.rounds.itertuples()))):
        drawn: dict[_Key, list[Texts]] = {}
        spare: dict[_Key, list[Texts]] = {}
        draws = draw.draws[draw.draws["round_id"] == one.round_id]
        for row in draws.sort_values(["slot", "point_id"]).itertuples():
            cells: Texts = [points.get(row.point_id, row.point_id), str(row.slot)]
            chosen = spare if row.replacement else drawn
            chosen.setdefault((row.layer, row.unit_id), []).append(
                cells + _measures([row.radius_m], "m")
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


def _units(table: gpd.GeoDataFrame, layer: str, facts: dict[str, Facts]) -> dict[_Key, _Unit]:
    said = facts[layer]
    return {
        (layer, unit): _Unit(
            shape, said.titles[n], {label: column[n] for label, column in said.columns.items()}
        )
        for n, (unit, shape) in enumerate(zip(table[f"{layer}_id"], table.geometry, strict=True))
    }


def _drawn(
    units: dict[_Key, _Unit],
    rows: dict[_Key, list[Texts]],
    one: Any,
    *,
    crs: Any,
    look: str,
    show: bool,
) -> PageLayer | None:
    """Show the units that were drawn in one round, or those that could replace them."""
    chosen = [units[key] for key in rows]
    labels = dict.fromkeys(label for unit in chosen for label in unit.facts)
    values: dict[str, Texts] = {"轮次 · Round": [one.round_id] * len(rows)}
    values["种子 · Seed"] = [one.seed] * len(rows)
    values |= {label: [unit.facts.get(label) for unit in chosen] for label in labels}
    facts = Facts(
        [unit.title for unit in chosen],
        [look] * len(rows),
        values,
        heads=("抽自点位 · From", "序号 · Slot", "半径 · Radius"),
        rows=list(rows.values()),
        letters=[str(cells[0][1]) for cells in rows.values()],
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
    values = {label: _texts(table[column]) for label, column in columns.items()}
    names = _names(table["name"], ["公共卫生间 · Toilet"] * len(table))
    facts = Facts(names, list(table["status"]), values | _origin(table, "toilet_id"))
    return facts_layer("公共卫生间 · Toilets", table.geometry, facts, look="toilets")


def _candidates(frame: Any) -> PageLayer | None:
    table = frame.candidates
    names = _names(table["name"], ["可开放单位 · Candidate"] * len(table))
    values = {"类别 · Kind": _texts(table["kind"])} | _origin(table, "candidate_id")
    facts = Facts(names, ["candidate"] * len(table), values)
    label = "可开放单位 · Candidates"
    return facts_layer(label, table.geometry, facts, look="candidates", show=False)


def _gaps(frame: Any, audit: Any) -> list[PageLayer | None]:
    if audit is None:
        return []
    unreached = "不连通 · no toilet can be reached"
    beyond = "可能有数据范围外的公厕覆盖 · may be covered by a toilet beyond the data"
    layers = []
    for number, rule in enumerate(audit.summary.itertuples()):
        table = audit.gaps[audit.gaps["rule_id"] == rule.rule_id]
        values: dict[str, Texts] = {
            "标准 · Rule": [rule.title] * len(table),
            "限值 · Limit": _measures([rule.limit_m] * len(table), "m"),
            "长度 · Length": _measures(table["length_m"], "m"),
            "最远 · Worst": [text or unreached for text in _measures(table["worst_m"], "m")],
            "数据边缘 · Edge": [beyond if near else None for near in table["near_edge"]],
            "街道办 · Subdistrict": _offices(frame, table),
            "编号 · ID": _texts(table["gap_id"]),
        }
        names = _names(table["name"], ["无名路段 · Unnamed street"] * len(table))
        facts = Facts(names, ["edge" if near else "gap" for near in table["near_edge"]], values)
        label = f"空白段 · Gaps: {rule.title}"
        layers.append(facts_layer(label, table.geometry, facts, look="gaps", show=number == 0))
    return layers


def _unit_facts(frame: Any, layer: str, odds: Any, reach: Any) -> Facts:
    table = {"alley": frame.alleys, "compound": frame.compounds}[layer]
    ids = table[f"{layer}_id"]
    values: dict[str, Texts] = {"英文名 · English": _texts(table["name_en"])}
    if layer == "alley":
        values["长度 · Length"] = _measures(table["length_m"], "m")
        values["等级 · Class"] = _texts(table["highway"])
    else:
        values["面积 · Area"] = _measures(table["area_m2"], "m²")
    values["街道办 · Subdistrict"] = _offices(frame, table)
    values |= _odds_values(odds, layer, ids)
    values["依据 · Reason"] = _texts(table["reason"])
    near = _nearest(frame, layer, reach)
    return Facts(
        _names(table["name"], [_UNNAMED[layer]] * len(table)),
        [layer] * len(table),
        values | _origin(table, f"{layer}_id"),
        heads=("最近点位 · Nearest", "路网 · Walk", "直线 · Crow"),
        rows=[near.get(unit, []) for unit in ids],
    )


def _nearest(frame: Any, layer: str, reach: Any) -> dict[str, list[Texts]]:
    """List the points nearest to each unit of a layer: name, walking and straight distance."""
    near: dict[str, list[Texts]] = {}
    if reach is None:
        return near
    points = _point_names(frame)
    rows = reach[reach["layer"] == layer]
    rows = rows.sort_values(["unit_id", "network_m", "euclid_m", "point_id"])
    rows = rows.groupby("unit_id").head(NEAREST)
    for row in rows.itertuples():
        walk, crow = _measures([row.network_m, row.euclid_m], "m")
        cells = [points.get(row.point_id, row.point_id), walk or "—", crow]
        near.setdefault(row.unit_id, []).append(cells)
    return near


def _odds_values(odds: Any, layer: str, ids: Iterable[str]) -> dict[str, Texts]:
    if odds is None:
        return {}
    rows = odds[odds["layer"] == layer].set_index("unit_id").reindex(list(ids))
    known = rows["prob"].notna()
    edge = "数据边缘外的单位未知 · units beyond the edge of the data are unknown"
    prob, low, high = (
        rows[column].map("{:.1%}".format) for column in ("prob", "prob_low", "prob_high")
    )
    return {
        "入样概率 · Odds": _texts(prob.where(known)),
        "概率范围 · Band": _texts((low + " – " + high).where(known)),
        "数据边缘 · Edge": [edge if near is True else None for near in rows["near_edge"]],
    }


def _subdistricts(frame: Any) -> PageLayer | None:
    table = frame.subdistricts
    names = _names(table["name"], list(table["subdistrict_id"]))
    facts = Facts(names, ["subdistrict"] * len(table), {})
    return facts_layer("街道办辖区 · Subdistricts", table.geometry, facts, look="subdistricts")


def _origin(table: Any, key: str) -> dict[str, Texts]:
    return {"来源 · Source": _texts(table["source"]), "编号 · ID": _texts(table[key])}


def _offices(frame: Any, table: Any) -> Texts:
    """Name the subdistrict of each row, or give its id where it has no name."""
    offices = frame.subdistricts.set_index("subdistrict_id")["name"]
    ids = table["subdistrict_id"]
    return _texts(ids.map(offices).astype("str").fillna(ids))


def _point_names(frame: Any) -> dict[str, str]:
    table = frame.points
    return dict(zip(table["point_id"], _names(table["name"], _kinds(table)), strict=True))


def _kinds(points: Any) -> list[str]:
    return [f"{KIND_ZH[kind]} · {kind}" for kind in points["kind"]]


def _names(names: Iterable[Any], unnamed: list[str]) -> list[str]:
    return [name or other for name, other in zip(_texts(names), unnamed, strict=True)]


def _texts(values: Iterable[Any]) -> Texts:
    return [None if pd.isna(value) else str(value) for value in values]


def _measures(values: Iterable[Any], unit: str) -> Texts:
    return [None if pd.isna(value) else f"{value:,.0f} {unit}" for value in values]
