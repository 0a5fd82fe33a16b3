"""Residential compounds: mapped areas cut by streets, and groups of residential buildings."""

from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from survey.frame.blocks import (
    Shapes,
    are_polygons,
    as_array,
    bounding_lines,
    cut_polygons,
    find_blocks,
    name_by_streets,
    union_groups,
)
from survey.frame.buildings import group_buildings
from survey.frame.cores import do_both
from survey.frame.kinds import find_name
from survey.frame.merging import match_rows
from survey.frame.streets import Streets
from survey.frame.tags import read_tags
from survey.frame.units import as_notes, list_units, plain_names, read_unit_register
from survey.sources.area import Area

AFTER_STREETS = "named after its streets"
"""Stands in ``reason`` where nobody has named the compound."""


def find_compounds(
    features: gpd.GeoDataFrame, streets: Streets, area: Area
) -> tuple[gpd.GeoDataFrame, pd.DataFrame]:
    """Find the residential compounds of an area.

    Residential areas of any size are cut by every named carriageway and every street of class
    tertiary and above; residential buildings outside them are grouped by street block. The rules
    are data: `tags.toml`, section ``compounds``.

    Parameters
    ----------
    features
        What `parse_features` answered: ``osm_id``, ``tags``, geometry in metres.
    streets
        The streets.
    area
        Only compounds whose representative point lies in it are kept.

    Returns
    -------
    compounds
        ``compound_id`` (``way/7``, further pieces of it ``way/7#2``; ``derived/way/55`` after the
        lowest of its buildings), ``name``, ``name_en``, ``area_m2``, ``source`` (osm, derived),
        ``reason``, MultiPolygon; sorted by ``compound_id``.
    notes
        ``scope`` ("city"), ``measure``, ``value``, ``note``: how many were left out, and
        why.
    """
    areas, nested = _give_way(_read_areas(features))
    everything = are_polygons(features, {"building": ["*"]})
    middles = shapely.point_on_surface(features.geometry.to_numpy()[everything])
    bounds = bounding_lines(streets), bounding_lines(streets, unnamed=True)
    (pieces, lost), blocks = do_both(
        lambda: _cut_areas(areas, bounds, middles), lambda: _street_blocks(bounds)
    )
    derived, weak = group_buildings(features, _shapes(pieces), blocks)
    weak = _lost("compounds_few_buildings", weak)
    lost = pd.concat([nested, lost, weak], ignore_index=True)
    found = pd.concat([pieces, derived], ignore_index=True)
    found = found[_lie_in(found["geometry"], area)].reset_index(drop=True)
    notes = _count_lost(lost[_lie_in(lost["geometry"], area)])

    unnamed = found["name"].isna().to_numpy()
    after = name_by_streets(_shapes(found)[unnamed], streets)
    after.index = found.index[unnamed]
    found["name"] = found["name"].fillna(after)
    renamed = unnamed & found["name"].notna()
    found.loc[renamed, "reason"] += f", {AFTER_STREETS}"
    return finish_compounds(found, area), notes


def finish_compounds(found: pd.DataFrame, area: Area) -> gpd.GeoDataFrame:
    """Make the table of compounds: area, MultiPolygons, sorted by id."""
    parts, owner = shapely.get_parts(_shapes(found), return_index=True)
    flat = shapely.get_type_id(parts) == shapely.GeometryType.POLYGON
    bare = np.full(len(found), shapely.MultiPolygon())
    shapes = shapely.multipolygons(parts[flat], indices=owner[flat], out=bare)
    shapes = shapely.normalize(shapes)
    columns = ["compound_id", "name", "name_en", "source", "reason"]
    table = found[columns].astype("str").assign(area_m2=np.round(shapely.area(shapes), 1))
    table = gpd.GeoDataFrame(table, geometry=shapes, crs=area.crs)
    return table.sort_values("compound_id").reset_index(drop=True)


def _shapes(table: pd.DataFrame) -> Shapes:
    return np.array(table["geometry"], dtype=object)


def _lie_in(shapes: "pd.Series[Any]", area: Area) -> Any:
    return shapely.intersects(area.shape, shapely.point_on_surface(shapes.to_numpy(dtype=object)))


def _lost(measure: str, shapes: Any) -> pd.DataFrame:
    return pd.DataFrame({"measure": measure, "geometry": list(shapes)}, dtype=object)


_WHY_LOST = {
    "compounds_nested": "unnamed residential areas that lie in others",
    "compounds_too_small": "pieces of residential areas that streets cut off too small",
    "compounds_empty": "small unnamed pieces without a building, where others of their area have"
    " some: squares and roundabouts",
    "compounds_too_large": "unnamed residential areas too large for one estate; their buildings"
    " are grouped instead",
    "compounds_few_buildings": "groups of residential buildings too small for an estate",
}


def _count_lost(lost: pd.DataFrame) -> pd.DataFrame:
    counts = lost["measure"].value_counts()
    return as_notes(
        [("city", what, float(counts.get(what, 0)), why) for what, why in _WHY_LOST.items()]
    )


# -- areas --------------------------------------------------------------------------------------


def _read_areas(features: gpd.GeoDataFrame) -> pd.DataFrame:
    rules = read_tags()["compounds"]
    not_areas = {**read_tags()["not_in_use"], **rules["not_areas"]}
    rows = features[are_polygons(features, rules["areas"], not_areas)]
    other_use = [tags.get("landuse", "residential") != "residential" for tags in rows["tags"]]
    rows = rows[~np.array(other_use, dtype=bool)]
    tags = rows["tags"]
    texts = {
        "osm_id": rows["osm_id"].to_list(),
        "name": [find_name(each) for each in tags],
        "name_en": [each.get("name:en") for each in tags],
        "reason": [
            "landuse=residential" if "landuse" in each else f"residential={each['residential']}"
            for each in tags
        ],
    }
    areas = pd.DataFrame(texts, dtype="str")
    areas["geometry"] = as_array(list(shapely.make_valid(rows.geometry.to_numpy())))
    return areas.sort_values("osm_id").reset_index(drop=True)


def _give_way(areas: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Let unnamed areas give way to named ones, and to larger ones that they lie in."""
    shapes, named = _shapes(areas), areas["name"].notna().to_numpy()
    size = shapely.area(shapes)
    inner, outer = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    over = ~named[inner] & named[outer]
    # Of two unnamed areas the larger stays; of two equal ones the first by id.
    larger = (size[outer] > size[inner]) | ((size[outer] == size[inner]) & (outer < inner))
    counts = over | (~named[inner] & ~named[outer] & larger)
    shared = shapely.area(shapely.intersection(shapes[inner], shapes[outer]))
    nested = np.zeros(len(areas), dtype=bool)
    nested[inner[counts & (shared >= read_tags()["compounds"]["nested_share"] * size[inner])]] = (
        True
    )
    row, number = np.unique(inner[over], return_inverse=True)
    shapes[row] = shapely.difference(shapes[row], union_groups(shapes[outer[over]], number))
    return (
        areas.assign(geometry=shapes)[~nested].reset_index(drop=True),
        _lost("compounds_nested", areas["geometry"][nested]),
    )


def _street_blocks(bounds: tuple[Shapes, Shapes]) -> Shapes:
    """Street blocks; one too large for a single estate is cut by unnamed streets as well."""
    blocks = find_blocks(bounds[0])
    large = shapely.area(blocks) > read_tags()["compounds"]["max_unnamed_m2"]
    finer, _ = cut_polygons(blocks[large], bounds[1])
    return np.concatenate([blocks[~large], finer])


def _cut_areas(
    areas: pd.DataFrame, bounds: tuple[Shapes, Shapes], buildings: Shapes
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cut areas by streets; number the pieces of each, largest first."""
    rules = read_tags()["compounds"]
    named = areas["name"].notna().to_numpy()
    parts, part_of = shapely.get_parts(_shapes(areas), return_index=True)
    is_polygon = shapely.get_type_id(parts) == shapely.GeometryType.POLYGON
    pieces, row = cut_polygons(parts[is_polygon], bounds[0])
    row = part_of[is_polygon][row]
    large = ~named[row] & (shapely.area(pieces) > rules["max_unnamed_m2"])
    finer, of = cut_polygons(pieces[large], bounds[1])
    pieces = np.concatenate([pieces[~large], finer])
    row = np.concatenate([row[~large], row[large][of]])

    size, named = shapely.area(pieces), named[row]
    built = np.zeros(len(pieces), dtype=bool)
    built[shapely.STRtree(buildings).query(pieces, predicate="intersects")[0]] = True
    # What a mapper named is a compound however small, unless a street has cut it up.
    whole = named & (size >= rules["nested_share"] * shapely.area(_shapes(areas))[row])
    faults = {
        "compounds_too_small": (size < rules["min_piece_m2"]) & ~whole,
        "compounds_too_large": ~named & (size > rules["max_unnamed_m2"]),
        "compounds_empty": ~named
        & ~built
        & (size < rules["min_empty_m2"])
        & np.isin(row, row[built]),
    }
    measure = np.select(list(faults.values()), list(faults), default="")
    table = areas.iloc[row].assign(geometry=pieces, measure=measure, source="osm")
    table.loc[~named & ~built, "reason"] += ", no building mapped"
    kept = measure == ""
    return _number_pieces(table[kept]), table[~kept]


def _number_pieces(pieces: pd.DataFrame) -> pd.DataFrame:
    shapes = _shapes(pieces)
    places = shapely.get_coordinates(shapely.point_on_surface(shapes)).round(2)
    order = {"size": -shapely.area(shapes).round(1), "x": places[:, 0], "y": places[:, 1]}
    table = pieces.assign(**order).sort_values(["osm_id", *order]).reset_index(drop=True)
    number = table.groupby("osm_id").cumcount() + 1
    suffix = ("#" + number.astype("str")).where(number > 1, "")
    return table.assign(compound_id=table["osm_id"] + suffix)


# -- registers -----------------------------------------------------------------------------------


def merge_compounds(
    compounds: gpd.GeoDataFrame, register: gpd.GeoDataFrame, area: Area
) -> tuple[gpd.GeoDataFrame, pd.DataFrame]:
    """Join a city's register of compounds with the compounds of OpenStreetMap.

    The register wins by name and place. Its polygon replaces a compound that has its id; that
    shares more than half of the ground of both; or that shares more than half of the ground of
    either and has the same name. A compound that nobody has named yields its ground to the
    register's polygons, and is replaced when more than half of it is gone. A point of the register
    gives its id and name to the compound of that name within 400 m, or else to the one that it
    lies in or within 30 m of.

    Parameters
    ----------
    compounds
        What `find_compounds` answered.
    register
        ``name``, polygons or points in the area's CRS; ``id``, ``name_en`` where it has them.
    area
        The area.

    Returns
    -------
    compounds
        As from `find_compounds`; ``source`` is osm, derived, register+osm or register.
    notes
        ``scope`` (an id), ``measure`` (only_in_register, only_in_osm, not_on_map, outside_area),
        ``value`` (missing), ``note`` (the name).

    Raises
    ------
    LayerError
        If one id stands for compounds of different names.
    """
    rules = read_tags()["compounds"]
    rows, outside = read_unit_register(register, area, within_m=rules["link_m"])
    rows["reason"] = "in the city's register"
    is_area = shapely.get_dimensions(rows.geometry.to_numpy()) == 2
    areas, points = (rows[which].reset_index(drop=True) for which in (is_area, ~is_area))
    known = compounds.rename(columns={"compound_id": "id"})
    rest, areas = _replace_compounds(known, areas)
    rest, missed = _name_compounds(rest, points)
    notes = list_units(areas[areas["source"] == "register"], "only_in_register")
    notes += list_units(rest[rest["source"].isin(["osm", "derived"])], "only_in_osm")
    notes += list_units(missed, "only_in_register") + list_units(missed, "not_on_map")
    notes += list_units(outside, "outside_area")
    found = pd.concat([rest, areas], ignore_index=True).rename(columns={"id": "compound_id"})
    return finish_compounds(found, area), as_notes(notes)


def _replace_compounds(
    compounds: gpd.GeoDataFrame, areas: gpd.GeoDataFrame
) -> tuple[gpd.GeoDataFrame, gpd.GeoDataFrame]:
    """Let the register's areas take the ground of compounds: those left, and the areas."""
    rules = read_tags()["compounds"]
    theirs, shapes = _shapes(compounds), _shapes(areas)
    mine, other = shapely.STRtree(theirs).query(shapes, predicate="intersects")
    shared = shapely.area(shapely.intersection(shapes[mine], theirs[other]))
    of_mine = shared / shapely.area(shapes)[mine] > rules["same_share"]
    of_other = shared / shapely.area(theirs)[other] > rules["same_share"]
    nameless = compounds["reason"].str.contains(AFTER_STREETS) | (compounds["source"] == "derived")
    nameless = nameless.to_numpy(dtype=bool)
    names = plain_names(compounds["name"]).to_numpy()
    alike = areas["plain"].to_numpy()[mine] == names[other]
    own = areas["id"].to_numpy()[mine] == compounds["id"].to_numpy()[other]
    same = own | (of_mine & of_other) | (alike & (of_mine | of_other))
    gone = np.zeros(len(compounds), dtype=bool)
    gone[other[same]] = True
    for row, takers in pd.Series(mine).groupby(other):
        if nameless[row] and not gone[row]:
            left = shapely.difference(theirs[row], shapely.union_all(shapes[takers]))
            gone[row] = left.area < (1 - rules["same_share"]) * theirs[row].area
            theirs[row] = left
    met = same | (nameless[other] & (of_mine | of_other))
    areas = areas.assign(source="register")
    areas.loc[np.unique(mine[met]), "source"] = "register+osm"
    # What the register leaves unsaid, the name above all, comes from the compound it replaces.
    first = pd.Series(other[same]).groupby(mine[same]).first()
    for column in ("name", "name_en"):
        theirs_say = first.map(compounds[column].reset_index(drop=True))
        areas[column] = areas[column].fillna(theirs_say)
    return compounds.assign(geometry=theirs)[~gone].reset_index(drop=True), areas


def _name_compounds(
    compounds: gpd.GeoDataFrame, points: gpd.GeoDataFrame
) -> tuple[gpd.GeoDataFrame, gpd.GeoDataFrame]:
    """Give compounds the ids and names of the register's points; return the points left over."""
    rules = read_tags()["compounds"]
    names = plain_names(compounds["name"]).tolist()
    ids, theirs = compounds["id"].tolist(), points["id"].tolist()
    plain = points["plain"].tolist()

    def rank(point: int, compound: int, distance_m: float) -> int | None:
        if theirs[point] == ids[compound]:
            return 0
        if plain[point] == names[compound]:
            return 1
        return 2 if distance_m <= rules["register_point_m"] else None

    point, compound = match_rows(points, compounds, max_m=rules["register_name_m"], rank=rank)
    given = points.iloc[point].set_axis(compound)
    compounds = compounds.copy()
    compounds.loc[compound, "id"] = given["id"]
    for column in ("name", "name_en"):
        compounds.loc[compound, column] = given[column].fillna(compounds[column])
    compounds.loc[compound, "source"] = "register+osm"
    named = compounds["reason"].str.replace(f", {AFTER_STREETS}", "")
    compounds.loc[compound, "reason"] = "in the city's register; " + named
    return compounds, points.drop(index=point)
