"""Places out of OpenStreetMap: fixed points, toilets, candidates, subdistricts."""

from collections.abc import Mapping

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from survey import tables
from survey.frame.kinds import find_kind, find_name, list_names
from survey.frame.merging import as_text, find_contained, group_places
from survey.frame.names import is_same, read_title
from survey.frame.streets import Streets, find_level
from survey.frame.tags import match_any, read_tags
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
        left_out += [(name, "committee offices are mapped") for name in places["osm_id"][spare]]
        places = places[~spare]
    else:
        places = places.assign(kind=places["kind"].mask(spare, "community"))
    left_out += _find_lookalikes(features, objects)
    merged = merged[merged["into"].isin(places["osm_id"])]
    names = dict(zip(places["osm_id"], places["name"].fillna("no name"), strict=True))
    doubtful = features[features["osm_id"].isin([name for name, _ in left_out])]
    here = set(doubtful["osm_id"][_is_inside(doubtful, area)])
    notes = [(name, "not_a_point", why) for name, why in left_out if name in here]
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
    levels = [find_level(tags) for tags in objects["tags"]]
    tags = [dict(one) for one in objects["tags"]]
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
    good = [
        not match_any(tags, barred) and (kind not in rules["needs"] or rules["needs"][kind] in tags)
        for kind, tags in zip(objects["kind"], objects["tags"], strict=True)
    ]
    objects = objects[np.array(good, dtype=bool)].reset_index(drop=True)
    titles = [read_title(list_names(tags), "") for tags in objects["tags"]]
    gone = set()
    for inner, outer in zip(*find_contained(objects.geometry.to_numpy()), strict=True):
        one, other = titles[inner], titles[outer]
        same = is_same(one, other) or not (one.main and other.main)
        if same and objects["kind"][inner] == objects["kind"][outer] and inner not in gone:
            gone.add(int(inner) if int(outer) not in gone else int(outer))
    table = objects.rename(columns={"osm_id": "candidate_id"}).assign(
        name=[find_name(tags) for tags in objects["tags"]],
        source="osm",
        level=[find_level(tags) for tags in objects["tags"]],
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
    is_area = shapely.get_dimensions(features.geometry.array) == 2
    levels = [
        int(tags["admin_level"])
        if tags.get("boundary") == "administrative" and tags.get("admin_level", "").isdigit()
        else -1
        for tags in features["tags"]
    ]
    edges = streets.edges[streets.edges["inside"]]
    middles = shapely.line_interpolate_point(edges.geometry.array, 0.5, normalized=True)
    length = edges["length_m"].to_numpy()
    covers, touched = {}, {}
    for level in sorted({level for level in levels if level >= 0}):
        rows = np.flatnonzero(is_area & (np.array(levels) == level))
        area, street = shapely.STRtree(middles).query(
            features.geometry.array[rows], predicate="intersects"
        )
        covers[level] = length[np.unique(street)].sum() / max(length.sum(), 1)
        touched[level] = rows[np.unique(area)]
    for share in (rules["most"], rules["some"]):
        good = [level for level, cover in covers.items() if cover > share]
        if good:
            chosen = features.iloc[touched[max(good)]]
            break
    else:
        chosen = features.iloc[:0]
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
    shapes = table.geometry.array
    is_line = shapely.get_dimensions(shapes) == 1
    places = shapely.point_on_surface(shapes)
    places[is_line] = shapely.line_interpolate_point(shapes[is_line], 0.5, normalized=True)
    row, area = shapely.STRtree(subdistricts.geometry.array).query(places, predicate="intersects")
    found = pd.Series(subdistricts["subdistrict_id"].to_numpy()[area], dtype="str")
    lowest = found.groupby(row).min().reindex(np.arange(len(table)))
    return pd.Series(lowest.to_numpy(), index=table.index, name="subdistrict_id", dtype="str")


def _read_objects(
    features: gpd.GeoDataFrame,
) -> tuple[gpd.GeoDataFrame, list[tuple[str, str]]]:
    """Read what is tagged as a point: the objects to group, and what is left out and why."""
    rows, left_out = [], []
    shapes = features.geometry.array
    for row, (osm_id, tags) in enumerate(zip(features["osm_id"], features["tags"], strict=True)):
        kind, fault = find_kind(tags)
        if kind is not None and fault is not None:
            left_out.append((osm_id, fault))
        elif kind is not None:
            names = list_names(tags)
            stage = read_tags()["merge"]["schools"]["stage_of_amenity"].get(tags.get("amenity"), "")
            rows.append(
                {
                    "osm_id": osm_id,
                    "kind": kind,
                    "title": read_title(names, _TITLES.get(kind, kind), stage=stage),
                    "name": find_name(tags),
                    "name_en": tags.get("name:en"),
                    "names": ";".join(names),
                    "level": find_level(tags),
                    "geometry": _as_place(shapes[row]),
                }
            )
    columns = ["osm_id", "kind", "title", "name", "name_en", "names", "level", "geometry"]
    objects = gpd.GeoDataFrame(
        pd.DataFrame(rows, columns=columns), geometry="geometry", crs=features.crs
    )
    return objects, left_out


def _find_lookalikes(
    features: gpd.GeoDataFrame, objects: gpd.GeoDataFrame
) -> list[tuple[str, str]]:
    """Find named buildings of a kind that are no part of any point of it."""
    rules = read_tags()
    found = []
    for kind, buildings in rules["looks_like"].items():
        known = objects.geometry.array[objects["kind"] == kind]
        rows = [
            row
            for row, tags in enumerate(features["tags"])
            if tags.get("building") in buildings and find_name(tags) and find_kind(tags)[0] is None
        ]
        shapes = features.geometry.array[rows]
        near = shapely.STRtree(known).query(
            shapes, predicate="dwithin", distance=rules["merge"]["part_m"]
        )[0]
        for place in sorted(set(range(len(rows))) - set(near.tolist())):
            tags = features["tags"].iloc[rows[place]]
            why = f"{find_name(tags)}: building={tags['building']} and no tag of a {kind}"
            found.append((features["osm_id"].iloc[rows[place]], why))
    return found


def _choose(
    features: gpd.GeoDataFrame, kinds: Mapping[str, Mapping[str, list[str]]]
) -> gpd.GeoDataFrame:
    """Choose the features of some kinds, the first of them that claims each."""
    kind = [
        next((name for name, rules in kinds.items() if match_any(tags, rules)), None)
        for tags in features["tags"]
    ]
    chosen = features.assign(kind=pd.Series(kind, index=features.index, dtype="str"))
    return chosen[chosen["kind"].notna()].reset_index(drop=True)


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


def _as_place(shape: BaseGeometry) -> BaseGeometry:
    return shapely.point_on_surface(shape) if shapely.get_dimensions(shape) == 1 else shape


def _is_inside(table: gpd.GeoDataFrame, area: Area) -> npt.NDArray[np.bool_]:
    shapely.prepare(area.shape)
    places = shapely.point_on_surface(table.geometry.array)
    return np.asarray(shapely.intersects(area.shape, places))
