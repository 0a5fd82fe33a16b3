"""Residential buildings that no mapped compound holds, grouped by street block."""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from survey.frame.blocks import (
    Shapes,
    are_polygons,
    find_grounds,
    link_near,
    union_groups,
)
from survey.frame.cores import do_both, share_out
from survey.frame.kinds import find_name
from survey.frame.streets import Ints
from survey.frame.tags import map_tags, read_tags


def group_buildings(
    features: gpd.GeoDataFrame, compounds: Shapes, blocks: Shapes
) -> tuple[pd.DataFrame, Shapes]:
    """Group residential buildings outside compounds and closed grounds by street block.

    Parameters
    ----------
    features
        What `parse_features` answered.
    compounds
        Polygons of the compounds that are mapped as such.
    blocks
        Polygons of the street blocks.

    Returns
    -------
    groups
        ``compound_id`` (``derived/way/55`` after the lowest building), ``name`` (what more than
        half of the buildings are called, or missing), ``name_en``, ``source``, ``reason``,
        geometry: the buildings and the ground between them, within their block.
    weak
        Shapes of the groups whose footprint is too small.
    """
    rules = read_tags()["compounds"]
    taken = shapely.STRtree(np.concatenate([compounds, find_grounds(features)]))
    buildings = features[are_polygons(features, rules["buildings"], read_tags()["not_in_use"])]
    middles = shapely.point_on_surface(buildings.geometry.to_numpy())
    outside = np.ones(len(buildings), dtype=bool)
    outside[taken.query(middles, predicate="within")[0]] = False
    buildings = buildings.assign(middle=middles)[outside]
    buildings = buildings.sort_values("osm_id", ignore_index=True)

    shapes = shapely.make_valid(buildings.geometry.to_numpy())
    middles = buildings["middle"].to_numpy(dtype=object)
    at, which = shapely.STRtree(blocks).query(middles, predicate="within")
    block = np.full(len(buildings), -1, dtype=np.int64)
    block[at] = which
    group = link_near(shapes, block, rules["link_m"])
    footprint = np.bincount(group, weights=shapely.area(shapes))
    strong = (footprint >= rules["min_footprint_m2"])[group]
    number = _renumber(group[strong])
    ground, groups = do_both(
        partial(_close_up, shapes[strong], number, rules["link_m"]),
        partial(_describe_groups, buildings[strong], number),
    )
    ground = _clip_to_blocks(ground, block[strong][groups["row"]], blocks)
    ground = _take_away(ground, taken)
    weak = union_groups(shapes[~strong], _renumber(group[~strong]))
    return groups.drop(columns="row").assign(geometry=_part(ground)), weak


def _renumber(group: Ints) -> Ints:
    return np.unique(group, return_inverse=True)[1].astype(np.int64)


def _close_up(shapes: Shapes, group: Ints, link_m: float) -> Shapes:
    """Fill the gaps between the buildings of each group."""
    grown = union_groups(share_out(lambda some: _swell(some, link_m), shapes), group)
    shrunk = shapely.simplify(share_out(lambda some: _swell(some, -link_m), grown), 0.5)
    both = np.concatenate([shrunk, shapes])
    return union_groups(both, np.r_[np.arange(len(shrunk)), group])


def _swell(shapes: Shapes, by_m: float) -> Shapes:
    return np.asarray(shapely.buffer(shapes, by_m, join_style="mitre"), dtype=object)


def _clip_to_blocks(shapes: Shapes, block: Ints, blocks: Shapes) -> Shapes:
    """Clip shapes to the block that they stand in, or else (-1) out of all blocks."""
    clipped, inside = shapes.copy(), block >= 0
    clipped[inside] = share_out(shapely.intersection, shapes[inside], blocks[block[inside]])
    clipped[~inside] = _take_away(shapes[~inside], shapely.STRtree(blocks))
    return clipped


def _take_away(shapes: Shapes, others: shapely.STRtree) -> Shapes:
    """Take from each shape the ground of the others that it meets."""
    left = shapes.copy()
    row, other = others.query(shapes, predicate="intersects")
    met, number = np.unique(row, return_inverse=True)
    over = union_groups(others.geometries[other], number)
    left[met] = shapely.difference(shapes[met], over)
    return left


def _part(shapes: Shapes) -> Shapes:
    """Part shapes that overlap: the ground goes to the first."""
    parted = shapes.copy()
    first, second = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    for i, j in zip(first[first < second], second[first < second], strict=True):
        parted[j] = shapely.difference(parted[j], shapes[i])
    return parted


def _describe_groups(buildings: gpd.GeoDataFrame, group: Ints) -> pd.DataFrame:
    """Describe the groups, by their numbers; ``row`` is that of one of their buildings."""
    # Buildings come by id, which among ids of one sort and length is the order of their numbers.
    sort, length = buildings["osm_id"].str[0], buildings["osm_id"].str.len()
    by = np.lexsort((length, pd.factorize(sort, sort=True)[0], group))
    row = by[np.r_[True, np.diff(group[by]) > 0][: len(by)]]
    count = np.bincount(group)
    kinds = map_tags(buildings, lambda tags: tags["building"])
    kind, _ = _find_commonest(group, kinds)
    bare = re.compile(read_tags()["compounds"]["building_number"])
    names, borne = _find_commonest(group, map_tags(buildings, lambda tags: _bare_name(tags, bare)))
    several = np.where(count == 1, " building", " buildings")
    return pd.DataFrame(
        {
            "compound_id": "derived/" + buildings["osm_id"].iloc[row].reset_index(drop=True),
            "name": pd.Series(names).where((names != "") & (2 * borne > count)),
            "name_en": None,
            "source": "derived",
            "reason": pd.Series(count).astype("str") + several + ", building=" + kind,
            "row": row,
        }
    )


def _find_commonest(group: Ints, values: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], Ints]:
    """Find the commonest value of each group, of equally common ones the first by text."""
    code, texts = pd.factorize(values, sort=True)
    table = pd.DataFrame({"group": group, "code": code}).value_counts().reset_index()
    by = np.lexsort((table["code"], -table["count"], table["group"]))
    best = table.iloc[by].drop_duplicates("group")
    return texts[best["code"]], best["count"].to_numpy()


def _bare_name(tags: Mapping[str, str], number: re.Pattern[str]) -> str:
    """Read a building's name without its number; empty if there is none."""
    return number.sub("", find_name(tags) or tags.get("addr:housename") or "").strip()
