"""Residential buildings that no mapped compound holds, grouped by street block."""

import re
from collections import Counter
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from survey.frame.blocks import (
    Shapes,
    are_polygons,
    as_array,
    bounding_lines,
    cut_polygons,
    find_blocks,
    find_grounds,
    link_near,
)
from survey.frame.kinds import find_name
from survey.frame.streets import Streets
from survey.frame.tags import read_tags


def group_buildings(
    features: gpd.GeoDataFrame, compounds: Shapes, streets: Streets
) -> tuple[pd.DataFrame, Shapes]:
    """Group residential buildings outside compounds and closed grounds by street block.

    Parameters
    ----------
    features
        What `parse_features` answered.
    compounds
        Polygons of the compounds that are mapped as such.
    streets
        The streets.

    Returns
    -------
    groups
        ``compound_id`` (``derived/way/55`` after the lowest building), ``name`` (what more than
        half of the buildings are called, or missing), ``name_en``, ``source``, ``reason``,
        geometry: the buildings and the ground between them, within their block.
    weak
        Shapes of the groups whose footprint is too small.
    """
    rules, grounds = read_tags()["compounds"], find_grounds(features)
    unfinished = read_tags()["not_in_use"]
    buildings = features[are_polygons(features, rules["buildings"], unfinished)]
    buildings = buildings.sort_values("osm_id").reset_index(drop=True)
    taken = np.concatenate([compounds, grounds])
    ground = shapely.STRtree(taken)
    middles = shapely.point_on_surface(buildings.geometry.to_numpy())
    outside = np.ones(len(buildings), dtype=bool)
    outside[ground.query(middles, predicate="within")[0]] = False
    buildings, middles = buildings[outside].reset_index(drop=True), middles[outside]

    shapes = shapely.make_valid(buildings.geometry.to_numpy())
    blocks = shapely.STRtree(_street_blocks(streets))
    block = np.full(len(buildings), -1, dtype=np.int64)
    at, which = blocks.query(middles, predicate="within")
    block[at] = which
    group = link_near(shapes, block, rules["link_m"])
    footprint = np.bincount(group, weights=shapely.area(shapes))
    strong = footprint >= rules["min_footprint_m2"]
    rows, weak = [], []
    for number, members in pd.Series(range(len(group))).groupby(group):
        chosen = members.to_numpy()
        if not strong[number]:
            weak.append(shapely.union_all(shapes[chosen]))
            continue
        shape = _close_up(shapes[chosen], rules["link_m"])
        shape = _clip_to_block(shape, blocks, block[chosen[0]])
        over = taken[ground.query(shape, predicate="intersects")]
        shape = shapely.difference(shape, shapely.union_all(over))
        rows.append(_describe_group(buildings.iloc[chosen], shape))
    columns = ["compound_id", "name", "name_en", "source", "reason", "geometry"]
    groups = pd.DataFrame(rows, columns=columns)
    return groups.assign(geometry=_part(as_array(list(groups["geometry"])))), as_array(weak)


def _street_blocks(streets: Streets) -> Shapes:
    """Street blocks; one too large for a single estate is cut by unnamed streets as well."""
    blocks = find_blocks(bounding_lines(streets))
    large = shapely.area(blocks) > read_tags()["compounds"]["max_unnamed_m2"]
    finer, _ = cut_polygons(blocks[large], bounding_lines(streets, unnamed=True))
    return np.concatenate([blocks[~large], finer])


def _close_up(shapes: Shapes, link_m: float) -> BaseGeometry:
    """Fill the gaps between buildings that are linked."""
    grown = shapely.union_all(shapely.buffer(shapes, link_m, join_style="mitre"))
    shrunk = shapely.buffer(grown, -link_m, join_style="mitre")
    return shapely.union_all([shapely.simplify(shrunk, 0.5), *shapes])


def _part(shapes: Shapes) -> Shapes:
    """Part shapes that overlap: the ground goes to the first."""
    parted = shapes.copy()
    first, second = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    for i, j in zip(first[first < second], second[first < second], strict=True):
        parted[j] = shapely.difference(parted[j], shapes[i])
    return parted


def _clip_to_block(shape: BaseGeometry, blocks: shapely.STRtree, block: int) -> BaseGeometry:
    if block >= 0:
        return shapely.intersection(shape, blocks.geometries[block])
    met = blocks.geometries[blocks.query(shape, predicate="intersects")]
    return shapely.difference(shape, shapely.union_all(met))


def _describe_group(buildings: gpd.GeoDataFrame, shape: BaseGeometry) -> dict[str, Any]:
    first = min(buildings["osm_id"], key=lambda key: (*key.split("/")[:1], len(key), key))
    kinds = Counter(tags["building"] for tags in buildings["tags"])
    kind = min(kinds, key=lambda each: (-kinds[each], each))
    several = f"{len(buildings)} buildings" if len(buildings) > 1 else "1 building"
    return {
        "compound_id": f"derived/{first}",
        "name": _common_name(list(buildings["tags"])),
        "name_en": None,
        "source": "derived",
        "reason": f"{several}, building={kind}",
        "geometry": shape,
    }


def _common_name(buildings: list[dict[str, str]]) -> str | None:
    """Find the name that more than half of the buildings bear, without their numbers."""
    number = re.compile(read_tags()["compounds"]["building_number"])
    names = [find_name(tags) or tags.get("addr:housename") or "" for tags in buildings]
    counts = Counter(filter(None, (number.sub("", name).strip() for name in names)))
    return next((name for name, n in sorted(counts.items()) if 2 * n > len(buildings)), None)
