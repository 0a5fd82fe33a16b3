"""The map of the frame: what can be drawn, and where the frame is thin."""

from typing import Any

import geopandas as gpd

from survey.outputs.map_layers import points_layer, subdistricts_layer, toilets_layer
from survey.outputs.map_parts import Parts, Story, count_units, unit_layers
from survey.outputs.page_layers import Facts, PageLayer, facts_layer
from survey.outputs.texts import Pair, Text, write_kinds, write_names

_MEASURES = {
    "few_alleys": Pair("500 米内背街小巷不足两条", "fewer than two alleys within 500 m"),
    "few_compounds": Pair("500 米内小区不足两个", "fewer than two compounds within 500 m"),
    "without_door": Pair("150 米内没有街道可达", "no street within 150 m"),
    "cut_open": Pair("在数据边缘被切断", "cut open at the edge of the data"),
}


def tell_frame(parts: Parts) -> Story:
    """Tell what can be drawn, and where that should be checked."""
    frame = parts.frame
    weak = {
        "alley": frame.alleys["name"].isna(),
        "compound": frame.compounds["name"].isna() | (frame.compounds["source"] == "derived"),
    }
    facts = {
        layer: said.restyled(["thin" if each else layer for each in weak[layer]])
        for layer, said in parts.plain_facts.items()
    }
    alleys, compounds = int(weak["alley"].sum()), int(weak["compound"].sum())
    lacks, count = _lacks(parts)
    line = Pair(
        f"点线要核对：{alleys:,} 条小巷无名，{compounds:,} 个小区无名或由建筑推断"
        + (f"；问号处数据不足：{count:,} 处" if count else ""),
        f"Check what is dotted: {alleys:,} alleys without a name, {compounds:,} compounds unnamed"
        " or derived from buildings"
        + (f"; and {count:,} places where data are lacking" if count else ""),
    )
    layers = [
        points_layer(frame),
        lacks,
        toilets_layer(frame, show=False),
        *unit_layers(parts, facts),
        subdistricts_layer(frame),
    ]
    title = Pair("抽样框：能抽到什么", "What can be drawn")
    return Story(title, line, count_units(frame), layers)


def _lacks(parts: Parts) -> tuple[PageLayer | None, int]:
    """Mark what the quality table finds fault with, and points that reach no unit at all."""
    things = _list_things(parts)
    look = parts.frame.quality[parts.frame.quality["verdict"] == "look"]
    faults: dict[str, dict[str, Text]] = {}
    for one, measure in zip(look["scope"], look["measure"], strict=True):
        if one in things and measure in _MEASURES:
            faults.setdefault(one, {})[measure] = _MEASURES[measure]
    reach = parts.get("reach")
    if reach is not None:
        for layer, name in (("alley", "few_alleys"), ("compound", "few_compounds")):
            none = Pair(
                f"2 公里内没有{'背街小巷' if layer == 'alley' else '小区'}",
                f"no {layer} within 2 km",
            )
            near = set(reach.loc[reach["layer"] == layer, "point_id"])
            for one in parts.frame.points["point_id"]:
                if one not in near:
                    faults.setdefault(one, {})[name] = none
    label = Pair("缺什么", "What is lacking")
    several = [list(said.values()) for said in faults.values()]
    columns: dict[Pair, list[Text]] = {label: [said[0] for said in several]}
    if any(len(said) > 1 for said in several):
        columns[Pair("另外", "And")] = [said[1] if len(said) > 1 else None for said in several]
    titles = [things[one][0] for one in faults]
    facts = Facts(titles, ["lack"] * len(faults), columns)
    shapes = gpd.GeoSeries([things[one][1] for one in faults], crs=parts.frame.alleys.crs)
    heading = Pair("数据不足处", "Where data are lacking")
    return facts_layer(heading, shapes, facts, look="lacks", searched=False), len(faults)


def _list_things(parts: Parts) -> dict[str, tuple[Text, Any]]:
    """List what has a place on the map, by its id: what it is called, and a point of it."""
    frame = parts.frame
    points, toilets = frame.points, frame.toilets
    unnamed = [Pair("公共卫生间", "Toilet")] * len(toilets)
    titles = {
        "point": (points, write_names(points["name"], points["name_en"], write_kinds(points))),
        "alley": (frame.alleys, parts.plain_facts["alley"].titles),
        "compound": (frame.compounds, parts.plain_facts["compound"].titles),
        "toilet": (toilets, write_names(toilets["name"], [None] * len(toilets), unnamed)),
    }
    return {
        one: (title, place)
        for layer, (table, called) in titles.items()
        for one, title, place in zip(
            table[f"{layer}_id"], called, table.geometry.representative_point(), strict=True
        )
    }
