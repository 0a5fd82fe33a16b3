"""A city's own registers of points and toilets, joined with what OpenStreetMap knows."""

from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from survey import tables
from survey.errors import LayerError
from survey.frame.merging import as_text, match_rows
from survey.frame.names import Title, contradict, is_same, read_title
from survey.frame.tags import read_tags
from survey.sources.area import Area
from survey.sources.extract import MARGIN_M

_Notes = list[tuple[str, str, str]]
_POINT_TEXTS = ["point_id", "name", "name_en", "kind", "source", "level", "names"]
_TOILET_FACTS = ["name", "access", "fee", "opening_hours", "wheelchair", "signed"]


def merge_points(
    points: gpd.GeoDataFrame, register: gpd.GeoDataFrame, area: Area
) -> tuple[gpd.GeoDataFrame, pd.DataFrame]:
    """Join a city's register of fixed points with the points of OpenStreetMap.

    One place in both: the same kind, and a matching name within 400 m or, where one of them has
    no name, the register's position in the area of the other or within 50 m of its node.

    Parameters
    ----------
    points
        What `find_points` found.
    register
        ``name, kind``, Point or area in the area's CRS; ``id``, ``name_en`` where it has them. A
        row without ``id`` is called ``register/<kind>/<name>``, with its place where that is not
        unique.
    area
        The area.

    Returns
    -------
    points : geopandas.GeoDataFrame
        The columns of `points`, by ``point_id``. ``source`` is "register+osm" (the register's id,
        name and kind; the area of OpenStreetMap where the register has but a position),
        "register" or "osm".
    notes : pandas.DataFrame
        ``scope, measure, note``: "only_in_register", "only_in_osm", "outside_area",
        "merged_into" (a row that the register has twice).

    Raises
    ------
    LayerError
        If an id stands twice in the register.
    """
    rows, notes = _read_register(register, "points")
    inside = _is_near(rows, area, 0)
    notes += _list_rows(rows[~inside], "outside_area")
    rows = rows[inside].reset_index(drop=True)
    left, right = match_rows(
        rows, points, max_m=read_tags()["merge"]["within_m"], rank=_point_rank(rows, points)
    )
    found = points.iloc[right].reset_index(drop=True)
    merged = rows.iloc[left].reset_index(drop=True)
    shapes = merged.geometry.to_numpy()
    only_place = shapely.get_dimensions(shapes) < shapely.get_dimensions(found.geometry.array)
    merged["geometry"] = np.where(only_place, found.geometry.to_numpy(), shapes)
    merged = merged.assign(
        name=merged["name"].fillna(found["name"]),
        name_en=merged["name_en"].fillna(found["name_en"]),
        level=found["level"],
        source="register+osm",
    )
    new = rows.drop(index=left).assign(source="register")
    rest = points[~np.isin(np.arange(len(points)), right)].rename(columns={"point_id": "id"})
    rest = rest[~rest["id"].isin(rows["id"])]
    notes += _list_rows(new, "only_in_register") + _list_rows(rest, "only_in_osm")
    own = pd.concat([merged, new], ignore_index=True)
    table = pd.concat([own.assign(names=own["name"].fillna("")), rest], ignore_index=True)
    return as_text(table.rename(columns={"id": "point_id"}), _POINT_TEXTS), _as_notes(notes)


def merge_toilets(
    toilets: gpd.GeoDataFrame, register: gpd.GeoDataFrame, area: Area
) -> tuple[gpd.GeoDataFrame, pd.DataFrame]:
    """Join a city's register of toilets with the toilets of OpenStreetMap.

    One toilet in both: within 30 m on one level; the nearest pairs first, each toilet once.

    Parameters
    ----------
    toilets
        What `find_toilets` found.
    register
        Points or areas in the area's CRS, in it and in the 2 km around it; where it has them,
        ``id`` and the columns of the table `toilets`. ``status`` is public where it says none.
    area
        The area.

    Returns
    -------
    toilets : geopandas.GeoDataFrame
        The table `toilets`, by ``toilet_id``; ``source`` as in `merge_points`. The register's id,
        position and status go first; what it does not say comes from OpenStreetMap.
    notes : pandas.DataFrame
        As those of `merge_points`, for toilets in the area.

    Raises
    ------
    LayerError
        If an id stands twice in the register.
    TableError
        If a status is none of public, opened, closed.
    """
    rows, notes = _read_register(register, "toilets")
    rows["geometry"] = shapely.point_on_surface(rows.geometry.array)
    near = _is_near(rows, area, MARGIN_M)
    notes += _list_rows(rows[~near], "outside_area")
    rows = rows[near].reset_index(drop=True)
    rows["status"] = rows["status"].fillna("public")
    ids, levels = (rows[name].fillna("").tolist() for name in ("id", "level"))
    known, floors = (toilets[name].fillna("").tolist() for name in ("toilet_id", "level"))

    def rank(i: int, j: int, _distance_m: float) -> int | None:
        if ids[i] == known[j]:
            return 0
        return 1 if levels[i] == floors[j] else None

    max_m = read_tags()["toilets"]["same_level_m"]
    left, right = match_rows(rows, toilets, max_m=max_m, rank=rank)
    found = toilets.iloc[right].set_index(left)
    source = pd.Series("register", index=rows.index)
    source.iloc[left] = "register+osm"
    facts = {name: rows[name].fillna(found[name]) for name in [*_TOILET_FACTS, "level"]}
    rows = rows.assign(source=source, inside=_is_near(rows, area, 0), **facts)
    rest = toilets[~np.isin(np.arange(len(toilets)), right)].rename(columns={"toilet_id": "id"})
    rest = rest[~rest["id"].isin(rows["id"])]
    notes += _list_rows(rows[rows["inside"] & (source == "register")], "only_in_register")
    notes += _list_rows(rest[rest["inside"]], "only_in_osm")
    table = pd.concat([rows, rest], ignore_index=True).rename(columns={"id": "toilet_id"})
    table = table.sort_values("toilet_id", kind="stable")
    return tables.make("toilets", {**table}, crs=toilets.crs), _as_notes(notes)


def _read_register(register: gpd.GeoDataFrame, layer: str) -> tuple[gpd.GeoDataFrame, _Notes]:
    """Give every row an id and every column that may be missing, and drop repeated rows."""
    columns = {"points": _POINT_TEXTS[1:], "toilets": [*_TOILET_FACTS, "status", "level"]}[layer]
    columns = ["id", *columns]
    texts = {
        name: (register[name] if name in register else pd.Series(index=register.index)).astype(
            "str"
        )
        for name in columns
    }
    shapes = [
        shapely.multipolygons([shape]) if shape.geom_type == "Polygon" else shape
        for shape in register.geometry
    ]
    rows = gpd.GeoDataFrame(pd.DataFrame(texts), geometry=shapes, crs=register.crs)
    rows = rows.reset_index(drop=True)
    given = rows["id"].dropna()
    twice = sorted(set(given[given.duplicated()]))
    if twice:
        raise LayerError(
            f"the register of {layer} has {len(twice)} ids more than once, for example {twice[:3]};"
            " give every row an id of its own, or none"
        )
    rows["id"] = rows["id"].fillna(_make_ids(rows, layer))
    repeated = rows["id"].duplicated()
    notes = [
        (str(name), "merged_into", "the register has this row more than once")
        for name in rows["id"][repeated].unique()
    ]
    return rows[~repeated].reset_index(drop=True), notes


def _make_ids(rows: gpd.GeoDataFrame, layer: str) -> "pd.Series[str]":
    """Make ids of kind and name, and of the place too where these are not enough."""
    kind = rows["kind"] if layer == "points" else pd.Series("toilet", index=rows.index)
    plain = "register/" + kind.astype("str") + "/" + rows["name"].fillna("")
    places = shapely.get_coordinates(shapely.point_on_surface(rows.geometry.array))
    where = pd.Series([f"@{x:.1f},{y:.1f}" for x, y in places], index=rows.index, dtype="str")
    unclear = rows["name"].isna() | plain.duplicated(keep=False) | plain.isin(rows["id"])
    return plain.where(~unclear, plain + where)


def _point_rank(rows: gpd.GeoDataFrame, points: gpd.GeoDataFrame) -> Any:
    """Rank pairs of a register's row and a point of OpenStreetMap, for `match_rows`."""
    kinds, theirs = rows["kind"].tolist(), points["kind"].tolist()
    ids, known = rows["id"].tolist(), points["point_id"].tolist()
    titles = _titles(rows["name"], kinds)
    others = _titles(points["names"], theirs)
    is_area = shapely.get_dimensions(points.geometry.array) == 2
    node_m = read_tags()["merge"]["part_m"]

    def rank(i: int, j: int, distance_m: float) -> int | None:
        if kinds[i] != theirs[j]:
            return None
        if ids[i] == known[j]:
            return 0
        if is_same(titles[i], others[j]) and not contradict(titles[i], others[j]):
            return 1
        unnamed = not (titles[i].main and others[j].main)
        return 2 if unnamed and distance_m <= (0 if is_area[j] else node_m) else None

    return rank


def _titles(names: "pd.Series[str]", kinds: list[str]) -> list[Title]:
    return [
        read_title([name for name in text.split(";") if name], kind)
        for text, kind in zip(names.fillna(""), kinds, strict=True)
    ]


def _is_near(rows: gpd.GeoDataFrame, area: Area, within_m: float) -> npt.NDArray[np.bool_]:
    places = shapely.point_on_surface(rows.geometry.array)
    return np.asarray(shapely.dwithin(area.shape, places, within_m))


def _list_rows(rows: gpd.GeoDataFrame, measure: str) -> _Notes:
    kinds = rows["kind"] if "kind" in rows else pd.Series("toilet", index=rows.index)
    names = rows["name"].fillna("no name")
    return [
        (str(scope), measure, f"{kind} {name}")
        for scope, kind, name in zip(rows["id"], kinds, names, strict=True)
    ]


def _as_notes(notes: _Notes) -> pd.DataFrame:
    return pd.DataFrame(sorted(notes), columns=["scope", "measure", "note"])
