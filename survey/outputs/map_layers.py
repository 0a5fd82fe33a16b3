"""The layers that several maps share: points, toilets, gaps, sites, subdistricts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np

from survey.outputs.forms import read_forms
from survey.outputs.page_layers import Facts, PageLayer, facts_layer, lines_layer
from survey.outputs.terms import write_origin
from survey.outputs.texts import (
    OFFICE,
    Pair,
    Text,
    name_offices,
    write_cells,
    write_kinds,
    write_measures,
    write_names,
)
from survey.tables import KINDS, check

if TYPE_CHECKING:
    import pandas as pd

_SHORT_M, _LONG_M = 50, 200  # so far the styles short, middle and long of gaps reach
_GAPS = Pair("空白段（无公共卫生间）", "Gaps (no toilet within reach)")


def points_layer(
    frame: Any,
    *,
    radii: "pd.Series[float] | None" = None,
    show: bool = True,
) -> PageLayer | None:
    """Make the layer of fixed points.

    Parameters
    ----------
    frame
        What can be drawn.
    radii
        The radius drawn for each point in metres, by ``point_id``.
    show
        Switch the layer on when the page opens.

    Returns
    -------
    PageLayer or None
    """
    table = frame.points
    kinds = write_kinds(table)
    values: dict[Pair, list[Text]] = {
        Pair("类别", "Kind"): [*kinds],
        OFFICE: name_offices(frame, table),
    }
    if radii is not None:
        drawn = write_measures(table["point_id"].map(radii), "m")
        values[Pair("抽查半径", "Radius drawn")] = [*drawn]
    names = write_names(table["name"], table["name_en"], kinds)
    forms = {kind: read_forms()[kind] for kind in KINDS}
    values |= write_origin(table, "point_id")
    facts = Facts(names, list(table["kind"]), values, forms=forms)
    label = Pair("固定点位", "Fixed points")
    return facts_layer(label, table.geometry, facts, look="points", badges=True, show=show)


def toilets_layer(frame: Any, *, show: bool = True) -> PageLayer | None:
    """Make the layer of toilets by status, with their hours."""
    table = frame.toilets
    columns = {
        Pair("状态", "Status"): "status",
        Pair("开放时间", "Hours"): "opening_hours",
        Pair("使用", "Access"): "access",
        Pair("收费", "Fee"): "fee",
        Pair("无障碍", "Wheelchair"): "wheelchair",
        Pair("指示牌", "Signed"): "signed",
    }
    values: dict[Pair, list[Text]] = {
        label: [*write_cells(table[column])] for label, column in columns.items()
    }
    unnamed = [Pair("公共卫生间", "Toilet")] * len(table)
    names = write_names(table["name"], [None] * len(table), unnamed)
    values |= write_origin(table, "toilet_id")
    forms = {status: read_forms()["toilet"] for status in ("public", "opened")}
    facts = Facts(names, list(table["status"]), values, forms=forms)
    label = Pair("公共卫生间", "Toilets")
    return facts_layer(label, table.geometry, facts, look="toilets", show=show)


def candidates_layer(frame: Any) -> PageLayer | None:
    """Make the layer of institutions that could open their toilets; switched off at first."""
    table = frame.candidates
    unnamed = [Pair("可开放单位", "Candidate")] * len(table)
    values: dict[Pair, list[Text]] = {Pair("类别", "Kind"): [*write_cells(table["kind"])]}
    values |= write_origin(table, "candidate_id")
    names = write_names(table["name"], [None] * len(table), unnamed)
    facts = Facts(names, ["candidate"] * len(table), values)
    label = Pair("可开放单位", "Institutions that could open theirs")
    return facts_layer(label, table.geometry, facts, look="candidates", show=False)


def sites_layer(frame: Any, sites: Any) -> PageLayer | None:
    """Make the layer of where to open or build toilets; None without the table `sites`.

    Raises
    ------
    TableError
        If the table breaks the data contract.
    """
    if sites is None:
        return None
    table = check("sites", sites)
    candidates = frame.candidates
    known = dict(zip(candidates["candidate_id"], candidates["name"], strict=True))
    named = [known.get(each) for each in table["candidate_id"]]
    does = {"open": Pair("开放", "Open"), "build": Pair("新建", "Build")}
    values: dict[Pair, list[Text]] = {
        Pair("做法", "Action"): [does[each] for each in table["action"]],
        Pair("标准", "Rule"): [*write_cells(table["rule_id"])],
        Pair("新增覆盖", "Gain"): [*write_measures(table["gain_m"], "m")],
        Pair("累计达标", "Share then"): list(table["total_share"].map("{:.1%}".format)),
        Pair("新增小区", "Compounds served"): [*write_cells(table["compounds"])],
        Pair("新增点位", "Points served"): [*write_cells(table["points"])],
        Pair("费用", "Cost"): list(table["cost"].map("{:g}".format)),
        Pair("编号", "ID"): [*write_cells(table["candidate_id"])],
    }
    unnamed = [Pair(f"补点 {rank}", f"Site {rank}") for rank in table["rank"]]
    titles = write_names(named, [None] * len(named), unnamed)
    letters: list[Text] = list(map(str, table["rank"]))
    facts = Facts(titles, list(table["action"]), values, letters=letters)
    return facts_layer(Pair("补点", "Sites"), table.geometry, facts, look="sites")


def gaps_layer(
    frame: Any,
    gaps: gpd.GeoDataFrame,
    options: Sequence[Sequence[int]] | None = None,
    *,
    group: str | None = None,
) -> PageLayer | None:
    """Make the layer of gaps, the broader the longer.

    Parameters
    ----------
    frame
        What can be drawn.
    gaps
        Rows of the table `gaps`.
    options
        The positions of the options of `group` that show each row.
    group
        The choice that switches between readings.

    Returns
    -------
    PageLayer or None
    """
    unreached = Pair("不连通", "no toilet can be reached")
    beyond = Pair("可能有数据范围外的公厕覆盖", "may be covered by a toilet beyond the data")
    values: dict[Pair, list[Text]] = {
        Pair("标准", "Rule"): [*write_cells(gaps["rule_id"])],
        Pair("长度", "Length"): [*write_measures(gaps["length_m"], "m")],
        Pair("最远", "Farthest"): [
            one or unreached for one in write_measures(gaps["worst_m"], "m")
        ],
        Pair("数据边缘", "Edge"): [beyond if near else None for near in gaps["near_edge"]],
        OFFICE: name_offices(frame, gaps),
        Pair("编号", "ID"): [*write_cells(gaps["gap_id"])],
    }
    unnamed = [Pair("无名路段", "Unnamed street")] * len(gaps)
    names = write_names(gaps["name"], [None] * len(gaps), unnamed)
    length = gaps["length_m"].to_numpy()
    style = np.select(
        [gaps["near_edge"].to_numpy(dtype=bool), length < _SHORT_M, length < _LONG_M],
        ["edge", "short", "middle"],
        "long",
    ).tolist()
    facts = Facts(names, style, values, options=options)
    return facts_layer(_GAPS, gaps.geometry, facts, look="gaps", group=group, searched=False)


def covered_layer(
    parts: Sequence[gpd.GeoSeries], *, group: str | None = None, show: bool = True
) -> PageLayer | None:
    """Make the layer of street that a rule finds covered: a series of lines for each option."""
    label = Pair("达标路段", "Street within reach of a toilet")
    return lines_layer(label, parts, look="covered", group=group, show=show)


def subdistricts_layer(frame: Any) -> PageLayer | None:
    """Make the layer of the subdistricts' outlines."""
    table = frame.subdistricts
    ids = list(table["subdistrict_id"])
    unnamed = [Pair(each, each) for each in ids]
    names = write_names(table["name"], table["name_en"], unnamed)
    facts = Facts(names, ["subdistrict"] * len(table), {})
    return facts_layer(
        Pair("街道办辖区", "Subdistricts"), table.geometry, facts, look="subdistricts"
    )
