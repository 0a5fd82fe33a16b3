"""Places out of OpenStreetMap: fixed points, toilets, candidates, subdistricts."""

from collections.abc import Mapping
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from survey import tables
from survey.frame.cores import share_out
from survey.frame.kinds import find_kind, find_name, list_names, may_be_points, merge_rules
from survey.frame.merging import as_text, find_contained, group_places
from survey.frame.names import is_same, read_title
from survey.frame.streets import Streets, find_level
from survey.frame.tags import find_tagged, map_tags, match_any, read_tags
from survey.sources.area import Area
from survey.sources.extract import MARGIN_M

_TOILET_FACTS = ("access", "fee", "opening_hours", "wheelchair", "signed")
_TITLES = {"neighbourhood": "community"}


def find_points(features: gpd.GeoDataFrame, area: Area) -> tuple[gpd.GeoDataFrame, pd.DataFrame]:
    """Find the fixed points in an area, each real place once.

    What is a point and what is one place are the sections ``kinds`` and ``merge`` of
    `tags.toml`. Committee offices are the communities; only where none is mapped in the area,
    neighbourhoods are.

    Parameters
    ----------
    features
        ``osm_id, tags``, geometry, as `parse_features` gives them; objects beyond the area's
        boundary are merged too before those inside are chosen.
    area
        The area; a point is inside if its node or a position within its ground is.

    Returns
    -------
    points : geopandas.GeoDataFrame
        ``point_id`` (the OpenStreetMap id of the object that stands for the place), ``name,
        name_en, kind, source`` ("osm"), ``level`` (missing at street level), ``names`` (all
        names, separated by semicolons), Point or MultiPolygon, by ``point_id``.
    notes : pandas.DataFrame
        ``scope`` (an object's id), ``measure`` ("merged_into" or "not_a_point"), ``note`` (into
        which and why): objects in the area that look like a point and are no row of `points`.
    """
    objects, left_out = _read_objects(features)
    places, merged = group_places(objects)
    places = places[_is_inside(places, area)]
    spare = places["kind"] == "neighbourhood"
    if (places["kind"] == "community").any():
        left_out += [(row, "committee offices are mapped") for row in places["row"][spare]]
        places = places[~spare]
    else:
        places = places.assign(kind=places["kind"].mask(spare, "community"))
    left_out += _find_lookalikes(features, objects)
    merged = merged[merged["into"].isin(places["osm_id"])]
    names = dict(zip(places["osm_id"], places["name"].fillna("no name"), strict=True))
    doubtful = features.iloc[[row for row, _ in left_out]]
    here, ids = _is_inside(doubtful, area), doubtful["osm_id"]
    notes = [
        (name, "not_a_point", why)
        for name, (_, why), inside in zip(ids, left_out, here, strict=True)
        if inside
    ]
    for gone, into, why in merged.itertuples(index=False):
        notes.append((gone, "merged_into", f"{into} ({names[into]}): {why}"))
    table = places.rename(columns={"osm_id": "point_id"}).assign(source="osm")
    columns = ["point_id", "name", "name_en", "kind", "source", "level", "names"]
    return (
        as_text(table, columns),
        pd.DataFrame(sorted(notes), columns=["scope", "measure", "note"]),
    )


def find_toilets(features: gpd.GeoDataFrame, area: Area) -> gpd.GeoDataFrame:
    """Find toilets in an area and in the 2 km around it.

    Parameters
    ----------
    features
        ``osm_id, tags``, geometry, as `parse_features` gives them.
    area
        The area; ``inside`` says what lies in it.

    Returns
    -------
    geopandas.GeoDataFrame
        The table `toilets`, by ``toilet_id``. ``status`` is closed where the tags say that not
        everyone may use it now, opened where an institution says that everyone may, else
        public. A node within the area of its own toilet, on one level, is that toilet; the halves
        for men and women stay two unless so.
    """
    rules = read_tags()["toilets"]
    objects = _choose(features, {"own": rules["tags"] | rules["former"], "opened": rules["opened"]})
    shapes = objects.geometry.to_numpy()
    levels = map_tags(objects, find_level)
    tags = objects["tags"].tolist()
    own = (objects["kind"] == "own").to_numpy(dtype=bool)
    gone = set()
    for inner, outer in zip(*find_contained(shapes), strict=True):
        same = own[inner] and own[outer] and levels[inner] == levels[outer]
        if same and shapely.get_dimensions(shapes[inner]) == 0:
            gone.add(int(inner))
            tags[outer] = tags[inner] | tags[outer]
    facts = [_read_toilet(one, own=is_own) for one, is_own in zip(tags, own, strict=True)]
    table = gpd.GeoDataFrame(
        pd.DataFrame(facts, columns=["name", "status", *_TOILET_FACTS]),
        geometry=shapely.point_on_surface(shapes),
        crs=features.crs,
    ).assign(toilet_id=objects["osm_id"], level=levels, source="osm")
    table["inside"] = _is_inside(table, area)
    near = shapely.dwithin(area.shape, table.geometry.array, MARGIN_M)
    table = table[near & ~table.index.isin(gone)].sort_values("toilet_id", kind="stable")
    return tables.make("toilets", {**table}, crs=features.crs)


def find_candidates(features: gpd.GeoDataFrame, area: Area) -> gpd.GeoDataFrame:
    """Find institutions that could open their toilet, in an area and in the 2 km around it.

    Parameters
    ----------
    features
        ``osm_id, tags``, geometry, as `parse_features` gives them.
    area
        The area.

    Returns
    -------
    geopandas.GeoDataFrame
        ``candidate_id, name, kind, source`` ("osm"), ``level`` (missing at street level), Point,
        by ``candidate_id``. The kinds are those of `tags.toml`, section ``candidates``; what is
        not in use, private, or already open to all is left out, and so is a node in the area of
        the same institution.
    """
    rules = read_tags()["candidates"]
    objects = _choose(features, rules["kinds"])
    barred = {**rules["shut"], **read_tags()["toilets"]["opened"]}
    bad = find_tagged(objects, barred)
    for kind, key in rules["needs"].items():
        bad |= (objects["kind"] == kind).to_numpy() & ~_bears(objects, key)
    objects = objects[~bad].reset_index(drop=True)
    titles = map_tags(objects, lambda tags: read_title(list_names(tags), ""))
    gone = set()
    for inner, outer in zip(*find_contained(objects.geometry.to_numpy()), strict=True):
        one, other = titles[inner], titles[outer]
        same = is_same(one, other) or not (one.main and other.main)
        if same and objects["kind"][inner] == objects["kind"][outer] and inner not in gone:
            gone.add(int(inner) if int(outer) not in gone else int(outer))
    table = objects.rename(columns={"osm_id": "candidate_id"}).assign(
        name=map_tags(objects, find_name),
        source="osm",
        level=map_tags(objects, find_level),
        geometry=shapely.point_on_surface(objects.geometry.array),
    )
    near = shapely.dwithin(area.shape, table.geometry.array, MARGIN_M)
    table = table[near & ~table.index.isin(gone)]
    return as_text(table, ["candidate_id", "name", "kind", "source", "level"])


def find_subdistricts(features: gpd.GeoDataFrame, streets: Streets) -> gpd.GeoDataFrame:
    """Find the admin areas of the finest level that covers most of the area.

    Cover is the share of the length of inside streets whose middle lies in an area of that level:
    the area itself may be half sea, and areas that the file cuts open are missing. Where no level
    covers most, it is the finest that covers some (`tags.toml`, section ``subdistricts``).

    Parameters
    ----------
    features
        ``osm_id, tags``, geometry, as `parse_features` gives them.
    streets
        The streets, in the same CRS.

    Returns
    -------
    geopandas.GeoDataFrame
        ``subdistrict_id, name, name_en, source`` ("osm"), MultiPolygon, by ``subdistrict_id``;
        without rows where no level will do.
    """
    rules = read_tags()["subdistricts"]
    admin = features[find_tagged(features, {"boundary": ["administrative"]})]
    admin = admin[shapely.get_dimensions(admin.geometry.array) == 2]
    level_of = map_tags(admin, _read_admin_level)
    inside = streets.edges["inside"].to_numpy()
    edges = np.asarray(streets.edges.geometry.array)[inside]
    middles = shapely.STRtree(share_out(_find_middles, edges))
    length = streets.length_mm[inside]
    covers, touched = {}, {}
    for level in np.unique(level_of[level_of >= 0]):
        rows = np.flatnonzero(level_of == level)
        area, street = middles.query(admin.geometry.array[rows], predicate="intersects")
        covers[level] = length[np.unique(street)].sum() / max(length.sum(), 1)
        touched[level] = rows[np.unique(area)]
    for share in (rules["most"], rules["some"]):
        good = [level for level, cover in covers.items() if cover > share]
        if good:
            chosen = admin.iloc[touched[max(good)]]
            break
    else:
        chosen = admin.iloc[:0]
    table = chosen.rename(columns={"osm_id": "subdistrict_id"}).assign(
        name=[find_name(tags) for tags in chosen["tags"]],
        name_en=[tags.get("name:en") for tags in chosen["tags"]],
        source="osm",
    )
    return as_text(table, ["subdistrict_id", "name", "name_en", "source"])


def join_subdistrict(table: gpd.GeoDataFrame, subdistricts: gpd.GeoDataFrame) -> "pd.Series[str]":
    """Find the subdistrict of each row, by a position in its area or the middle of its line.

    Parameters
    ----------
    table
        Any geometry, in the CRS of `subdistricts`.
    subdistricts
        ``subdistrict_id``, MultiPolygon.

    Returns
    -------
    pandas.Series
        ``subdistrict_id`` on the index of `table`, missing where there is none; the lowest id
        where several areas hold the position.
    """
    shapes = np.asarray(table.geometry.array, dtype=object)
    is_line = shapely.get_dimensions(shapes) == 1
    places = np.empty_like(shapes)
    places[~is_line] = shapely.point_on_surface(shapes[~is_line])
    places[is_line] = _find_middles(shapes[is_line])
    order = subdistricts["subdistrict_id"].argsort().to_numpy()
    areas = subdistricts.geometry.array[order]
    # An area is prepared once for all places in it, a place would be for every area around it.
    rank, row = shapely.STRtree(places).query(areas, predicate="intersects")
    lowest = np.full(len(table), len(order))
    np.minimum.at(lowest, row, rank)
    ids = np.array([*subdistricts["subdistrict_id"].iloc[order], None], dtype=object)
    return pd.Series(ids[lowest], index=table.index, name="subdistrict_id", dtype="str")


def _find_middles(lines: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.asarray(shapely.line_interpolate_point(lines, 0.5, normalized=True))


def _read_admin_level(tags: Mapping[str, str]) -> int:
    level = tags.get("admin_level", "")
    return int(level) if level.isdecimal() else -1


def _bears(objects: gpd.GeoDataFrame, key: str) -> npt.NDArray[np.bool_]:
    return map_tags(objects, lambda tags: key in tags).astype(np.bool_)


def _read_objects(
    features: gpd.GeoDataFrame,
) -> tuple[gpd.GeoDataFrame, list[tuple[int, str]]]:
    """Read what is tagged as a point: the objects to group, and what is left out and why.

    Both say which row of `features` they come from.
    """
    rows = np.flatnonzero(may_be_points(features))
    hopeful = features.iloc[rows].assign(row=rows)
    found = map_tags(hopeful, find_kind)
    left_out = [
        (int(row), fault)
        for row, (kind, fault) in zip(rows, found, strict=True)
        if kind is not None and fault is not None
    ]
    good = [kind is not None and fault is None for kind, fault in found]
    objects = hopeful[np.array(good, dtype=bool)]
    facts = map_tags(objects, _read_point)
    columns = ["kind", "title", "name", "name_en", "names", "level"]
    texts = pd.DataFrame(list(facts), columns=columns, index=objects.index)
    shapes = np.array(objects.geometry.array, dtype=object)
    is_line = shapely.get_dimensions(shapes) == 1
    shapes[is_line] = shapely.point_on_surface(shapes[is_line])
    table = texts.assign(osm_id=objects["osm_id"], row=objects["row"])
    table = gpd.GeoDataFrame(table, geometry=shapes, crs=features.crs)
    return table.reset_index(drop=True), left_out


def _read_point(tags: Mapping[str, str]) -> tuple[Any, ...]:
    """Read the kind, title, names and level of what is tagged as a point."""
    kind, _ = find_kind(tags)
    names = list_names(tags)
    stage = read_tags()["merge"]["schools"]["stage_of_amenity"].get(tags.get("amenity"), "")
    title = read_title(names, _TITLES.get(str(kind), str(kind)), stage=stage)
    english = tags.get("name:en")
    return kind, title, find_name(tags), english, ";".join(names), find_level(tags)


def _find_lookalikes(
    features: gpd.GeoDataFrame, objects: gpd.GeoDataFrame
) -> list[tuple[int, str]]:
    """Find named buildings of a kind that are no part of any point of it: rows, and why."""
    rules = read_tags()
    found = []
    for kind, buildings in rules["looks_like"].items():
        known = objects.geometry.array[objects["kind"] == kind]
        rows = np.flatnonzero(find_tagged(features, {"building": buildings}))
        own = features.iloc[rows]
        plain = map_tags(own, lambda tags: bool(find_name(tags)) and find_kind(tags)[0] is None)
        rows, own = rows[plain.astype(bool)], own[plain.astype(bool)]
        near = shapely.STRtree(known).query(
            own.geometry.array, predicate="dwithin", distance=rules["merge"]["part_m"]
        )[0]
        for place in np.setdiff1d(np.arange(len(rows)), near):
            tags = own["tags"].iloc[place]
            why = f"{find_name(tags)}: building={tags['building']} and no tag of a {kind}"
            found.append((int(rows[place]), why))
    return found


def _choose(
    features: gpd.GeoDataFrame, kinds: Mapping[str, Mapping[str, list[str]]]
) -> gpd.GeoDataFrame:
    """Choose the features of some kinds, the first of them that claims each."""
    chosen = features[find_tagged(features, merge_rules(kinds.values()))].reset_index(drop=True)
    kind = map_tags(
        chosen,
        lambda tags: next(name for name, rules in kinds.items() if match_any(tags, rules)),
    )
    return chosen.assign(kind=pd.Series(kind, dtype="str"))


def _read_toilet(tags: Mapping[str, str], *, own: bool) -> dict[str, str | None]:
    """Read what the tags say of a toilet that is mapped itself, or of an institution's."""
    rules = read_tags()["toilets"]
    about = {key: value for key, value in tags.items() if own or key != "access"}
    shut = match_any(about, {**rules["shut"], **rules["former"]})
    if shut or match_any(tags, read_tags()["not_in_use"]):
        status = "closed"
    else:
        status = "public" if own else "opened"
    facts = {"name": find_name(tags), "status": status}
    for fact in _TOILET_FACTS:
        # An institution's own fee or access is not that of its toilet; its hours are.
        plain = tags.get(fact) if own or fact == "opening_hours" else None
        facts[fact] = tags.get(f"toilets:{fact}") or plain
    return facts


def _is_inside(table: gpd.GeoDataFrame, area: Area) -> npt.NDArray[np.bool_]:
    shapely.prepare(area.shape)
    places = shapely.point_on_surface(table.geometry.array)
    return np.asarray(shapely.intersects(area.shape, places))
