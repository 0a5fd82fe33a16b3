"""What a map shows around one fixed point at a time: catchments, units, gaps."""

from itertools import groupby
from operator import itemgetter
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from survey.outputs.map_layers import gaps_layer, points_layer, subdistricts_layer
from survey.outputs.map_parts import Parts, Story, count_units
from survey.outputs.map_toilets import street_rules
from survey.outputs.page import Choice
from survey.outputs.page_layers import Facts, PageLayer, facts_layer
from survey.outputs.texts import Pair, Text, name_points, write_kinds, write_measures
from survey.outputs.units import repeat_facts

WITHIN_M = 2_000
"""How far around a point units and gaps are shown, in metres."""

MOST_POINTS = 200
"""The most points that one map offers; more would make it too large for an office PC."""

_SIMPLE_M = 3  # so far a catchment's outline may leave its place


def tell_around(parts: Parts) -> Story:
    """Tell what lies around each fixed point, one at a time."""
    frame = parts.frame
    line = Pair(
        "选一个固定点位，看步行和直线 500 米、1 公里、2 公里之内的小巷、小区和空白段",
        "Pick a fixed point to see the alleys, compounds and gaps within 500 m, 1 km and 2 km, on"
        " foot and straight",
    )
    layers = [points_layer(frame), *_layers(parts), subdistricts_layer(frame)]
    title = Pair("点位周边：一个一个看", "Around a fixed point")
    return Story(title, line, count_units(frame), layers, [_choice(parts)])


def _points(frame: Any) -> gpd.GeoDataFrame:
    """Choose the points that the map offers: all, else the first `MOST_POINTS` by kind and name."""
    points = frame.points
    named = points.assign(called=points["name"].fillna(""))
    order = named.sort_values(["kind", "called", "point_id"]).index[:MOST_POINTS]
    return points.loc[order].reset_index(drop=True)


def _choice(parts: Parts) -> Choice:
    """Offer the points; the map moves to the one that is chosen."""
    points = _points(parts.frame)
    names = name_points(parts.frame)
    options: list[Text] = []
    for point, kind in zip(points["point_id"], write_kinds(points), strict=True):
        name = names[point]
        zh, en = name if isinstance(name, Pair) else (str(name), str(name))
        options.append(Pair(f"{kind.zh}：{zh}", f"{kind.en}: {en}"))
    left = len(parts.frame.points) - len(points)
    more = Pair(f"另有 {left:,} 个点位不在此图", f"{left:,} more points are not on this map")
    middle = shapely.centroid(points.geometry.array)
    around = gpd.GeoSeries(shapely.buffer(middle, WITHIN_M), crs=points.crs).to_crs(4326)
    bounds = [tuple(row) for row in around.bounds.round(5).to_numpy().tolist()]
    notes = [more] * len(points) if left else []
    label = Pair("固定点位", "Fixed point")
    return Choice("point", "select", label, options, notes=notes, bounds=bounds)


def _layers(parts: Parts) -> list[PageLayer | None]:
    """Make the layers of gaps, units and catchments of each point that the map offers."""
    points = _points(parts.frame)
    number = {point: n for n, point in enumerate(points["point_id"])}
    reach = parts.get("reach")
    reach = reach[reach["point_id"].isin(number)]
    return [
        _mark(parts, points),
        _gaps(parts, points),
        *(_units(parts, reach, number, layer) for layer in ("alley", "compound")),
        *_catchments(parts.get("catchments"), number),
    ]


def _mark(parts: Parts, points: gpd.GeoDataFrame) -> PageLayer | None:
    """Mark the point that is chosen."""
    names = name_points(parts.frame)
    facts = Facts(
        [names[point] for point in points["point_id"]],
        ["chosen"] * len(points),
        {},
        options=[[n] for n in range(len(points))],
    )
    return facts_layer(
        Pair("所选点位", "The chosen point"),
        points.geometry,
        facts,
        look="chosen",
        badges=True,
        group="point",
        searched=False,
    )


def _gaps(parts: Parts, points: gpd.GeoDataFrame) -> PageLayer | None:
    rules = street_rules(parts)
    if not rules:
        return None
    gaps = parts.get("audit").gaps
    first = gaps[gaps["rule_id"] == rules[0].rule_id]
    first = first.reset_index(drop=True)
    row, point = shapely.STRtree(points.geometry.array).query(
        first.geometry.array, predicate="dwithin", distance=WITHIN_M
    )
    near = pd.Series(point).groupby(row).agg(sorted)
    return gaps_layer(parts.frame, first.loc[near.index], list(near), group="point")


def _units(
    parts: Parts, reach: pd.DataFrame, number: dict[str, int], layer: str
) -> PageLayer | None:
    """Show the units of a layer that a point reaches on foot or by crow."""
    rows = reach[(reach["layer"] == layer) & (reach["euclid_m"] <= WITHIN_M)]
    of = rows["point_id"].map(number).groupby(rows["unit_id"]).agg(sorted)
    chosen = [parts.units[layer, unit] for unit in of.index]
    facts = parts.plain_facts[layer]
    said = Facts(
        [unit.title for unit in chosen],
        [layer] * len(chosen),
        repeat_facts(chosen),
        heads=(Pair("距此点位", "From this point"), Pair("步行", "Walk"), Pair("直线", "Crow")),
        rows=_say_distances(rows, number, name_points(parts.frame)),
        turning=True,
        options=list(of),
        forms=facts.forms,
    )
    labels = {
        "alley": Pair("周边的背街小巷", "Alleys around it"),
        "compound": Pair("周边的小区", "Compounds around it"),
    }
    shapes = gpd.GeoSeries([unit.shape for unit in chosen], crs=parts.frame.alleys.crs)
    return facts_layer(labels[layer], shapes, said, look=f"{layer}s", group="point")


def _catchments(catchments: gpd.GeoDataFrame, number: dict[str, int]) -> list[PageLayer | None]:
    mine = catchments[catchments["point_id"].isin(number)]
    layers = []
    for metric, way, label in (
        ("network", "walk", Pair("步行可达范围", "Within reach on foot")),
        ("euclid", "crow", Pair("直线范围", "Within reach in a straight line")),
    ):
        rows = mine[mine["metric"] == metric].sort_values("radius_m", ascending=False)
        radius = rows["radius_m"].astype(int)
        pairs = [Pair(f"{label.zh} {metres} 米", f"{label.en}: {metres} m") for metres in radius]
        facts = Facts(
            pairs,
            [f"{way}{metres}" for metres in radius],
            {Pair("面积", "Area"): [*write_measures(rows["area_m2"], "m²")]},
            options=[[number[point]] for point in rows["point_id"]],
        )
        shapes = gpd.GeoSeries(
            shapely.simplify(np.asarray(rows.geometry.array), _SIMPLE_M), crs=catchments.crs
        )
        layers.append(
            facts_layer(
                label,
                shapes,
                facts,
                look="catchments",
                show=metric == "network",
                group="point",
                searched=False,
            )
        )
    return layers


def _say_distances(
    rows: pd.DataFrame, number: dict[str, int], names: dict[str, Text]
) -> list[list[list[Text]]]:
    """Say how far each unit is from each point that reaches it, in the order of the points."""
    rows = rows.assign(number=rows["point_id"].map(number)).sort_values(["unit_id", "number"])
    walks = [walk or "—" for walk in write_measures(rows["network_m"], "m")]
    crows = write_measures(rows["euclid_m"], "m")
    cells = zip(rows["unit_id"], rows["point_id"], walks, crows, strict=True)
    by_unit = groupby(cells, key=itemgetter(0))
    return [[[names[point], walk, crow] for _, point, walk, crow in own] for _, own in by_unit]
