"""Several objects that are one place: found, grouped, and matched between two tables."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from survey.frame.names import Title, contradict, is_part, is_same
from survey.frame.streets import Ints
from survey.frame.tags import read_tags

_TOUCHES = "one is unnamed and touches the other"


@dataclass(frozen=True, order=True)
class _Link:
    """Two rows that are one place; the lower the rank, the surer."""

    rank: int
    distance_m: float
    first: int
    second: int
    reason: str


def group_places(objects: gpd.GeoDataFrame) -> tuple[gpd.GeoDataFrame, pd.DataFrame]:
    """Group objects so that each place stands once.

    Parameters
    ----------
    objects
        ``osm_id, kind, title`` (`Title`), ``name, name_en, names`` (all of them, separated by
        semicolons), ``level``, Point or MultiPolygon, in a CRS in metres.

    Returns
    -------
    places : geopandas.GeoDataFrame
        The columns of `objects`, one row per place, by ``osm_id``: that of the area before the
        node, the named before the unnamed, the larger, the smaller id. The geometry is the union
        of its areas, else the node; ``level`` is missing if any of its objects is at street level.
    merged : pandas.DataFrame
        ``osm_id, into, reason``: the other objects and the place that each went into.
    """
    # By id, so that neither groups nor notes depend on the order of rows.
    rows = objects.sort_values("osm_id", kind="stable").reset_index(drop=True)
    group, reasons = _join(rows)
    host = _find_hosts(rows, group, reasons)
    order = _rank_objects(rows)
    order = order[np.argsort(group[order], kind="stable")]
    labels, start = np.unique(group[order], return_index=True)
    members = dict(zip(labels.tolist(), np.split(order, start[1:]), strict=False))
    kept = [label for label in members if label not in host]
    records = rows.astype(object).where(rows.notna(), None).to_dict("records")
    places = [_describe([records[row] for row in members[label]]) for label in kept]
    table = gpd.GeoDataFrame(
        pd.DataFrame(places, columns=rows.columns),
        geometry="geometry",
        crs=objects.crs,
    )
    stands = {label: members[host.get(label, label)][0] for label in members}
    merged = [
        (rows["osm_id"][row], rows["osm_id"][stands[label]], reasons[row])
        for label, numbers in members.items()
        for row in numbers
        if row != stands[label]
    ]
    return (
        table.sort_values("osm_id", kind="stable", ignore_index=True),
        pd.DataFrame(sorted(merged), columns=["osm_id", "into", "reason"]),
    )


def match_rows(
    register: gpd.GeoDataFrame,
    osm: gpd.GeoDataFrame,
    *,
    max_m: float,
    rank: Callable[[int, int, float], int | None],
) -> tuple[Ints, Ints]:
    """Match the rows of two tables one to one: the surest pairs first, then the nearest.

    Parameters
    ----------
    register, osm
        Tables with geometry in one CRS in metres.
    max_m
        What lies farther apart than this is never matched.
    rank
        Called with the row in `register`, the row in `osm` (by position) and their distance in
        metres: how sure it is that they are one thing (0 is surest), or ``None`` if they are not.

    Returns
    -------
    tuple
        Positions in `register` and in `osm` of the matched pairs, in the order of `register`.
    """
    left, right = register.geometry.array, osm.geometry.array
    first, second = shapely.STRtree(right).query(left, predicate="dwithin", distance=max_m)
    distances = shapely.distance(left[first], right[second])
    # Ties are broken by place, which does not depend on the order of rows.
    places = [shapely.get_coordinates(shapely.centroid(side)).round(3) for side in (left, right)]
    pairs = []
    for i, j, distance in zip(first, second, distances, strict=True):
        sure = rank(int(i), int(j), float(distance))
        if sure is not None:
            where = (*places[0][i], *places[1][j])
            pairs.append((sure, round(float(distance), 3), where, int(i), int(j)))
    taken: dict[int, int] = {}
    free = set(range(len(osm)))
    for *_, i, j in sorted(pairs):
        if i not in taken and j in free:
            taken[i] = j
            free.remove(j)
    rows = sorted(taken)
    return np.array(rows, dtype=np.int64), np.array([taken[i] for i in rows], dtype=np.int64)


def find_contained(shapes: npt.NDArray[np.object_]) -> tuple[Ints, Ints]:
    """Find what lies in the areas among some shapes.

    Parameters
    ----------
    shapes
        Points and areas in one CRS in metres.

    Returns
    -------
    tuple
        Positions of the inner and of the outer shape of each pair: an inner node lies in the
        area, an inner area, no larger than the outer, lies in it by half of its ground.
    """
    areas = np.flatnonzero(shapely.get_dimensions(shapes) == 2)
    inner, outer = shapely.STRtree(shapes[areas]).query(shapes, predicate="intersects")
    outer = areas[outer]
    size = shapely.area(shapes)
    kept = (inner != outer) & (size[inner] <= size[outer])
    inner, outer = inner[kept], outer[kept]
    shared = shapely.area(shapely.intersection(shapes[inner], shapes[outer]))
    share = read_tags()["merge"]["contained_share"]
    kept = (size[inner] == 0) | (shared >= share * size[inner])
    return inner[kept].astype(np.int64), outer[kept].astype(np.int64)


def as_text(table: gpd.GeoDataFrame, columns: list[str]) -> gpd.GeoDataFrame:
    """Keep text columns, by the first of them, with missing cells where there is no text."""
    texts = {name: table[name].astype("str") for name in columns}
    kept = table[["geometry"]].assign(**texts)[[*columns, "geometry"]]
    return kept.sort_values(columns[0], kind="stable", ignore_index=True)


def _join(rows: gpd.GeoDataFrame) -> tuple[Ints, list[str]]:
    """Join linked rows, surest links first, never two whose names contradict each other.

    Returns the lowest row of each row's group, and why each row was joined to another.
    """
    titles = rows["title"].tolist()
    members = {row: [row] for row in range(len(rows))}
    group = np.arange(len(rows))
    reasons = [""] * len(rows)
    for link in sorted(_find_links(rows)):
        a, b = sorted((int(group[link.first]), int(group[link.second])))
        if a != b:
            if not _may_join(
                [titles[i] for i in members[a]], [titles[i] for i in members[b]], link
            ):
                continue
            group[members[b]] = a
            members[a] += members.pop(b)
        for row in (link.first, link.second):
            reasons[row] = reasons[row] or link.reason
    return group, reasons


def _may_join(first: list[Title], second: list[Title], link: _Link) -> bool:
    # What is unnamed belongs to one neighbour; it does not make one place of two.
    named = any(title.main for title in first) and any(title.main for title in second)
    if link.reason == _TOUCHES and named:
        return False
    return not any(contradict(a, b) for a in first for b in second)


def _find_links(rows: gpd.GeoDataFrame) -> list[_Link]:
    shapes = rows.geometry.to_numpy()
    kind, kinds = pd.factorize(rows["kind"])
    titles = rows["title"].tolist()
    contained = set(zip(*(side.tolist() for side in find_contained(shapes)), strict=True))
    first, second = shapely.STRtree(shapes).query(
        shapes, predicate="dwithin", distance=read_tags()["merge"]["within_m"]
    )
    kept = (first < second) & (kind[first] == kind[second])
    first, second = first[kept], second[kept]
    distances = shapely.distance(shapes[first], shapes[second])
    links = []
    for i, j, distance in zip(first.tolist(), second.tolist(), distances.tolist(), strict=True):
        inside = (i, j) in contained or (j, i) in contained
        found = _relate(titles[i], titles[j], kinds[kind[i]], distance, inside=inside)
        if found:
            links.append(_Link(found[0], distance, i, j, found[1]))
    return links


def _relate(
    first: Title, second: Title, kind: str, distance_m: float, *, inside: bool
) -> tuple[int, str] | None:
    """Tell why two objects of one kind are one place, and how surely."""
    rules = read_tags()["merge"]
    if is_same(first, second):
        return 0, f"the same name within {rules['within_m']} m"
    if inside and kind in rules["contained"]:
        return 1, "one lies in the other"
    if distance_m <= rules["touch_m"] and not (first.main and second.main):
        return 1, _TOUCHES
    if kind in rules["part"] and distance_m <= rules["part_m"] and is_part(first, second):
        return 2, f"one name holds the other within {rules['part_m']} m"
    return None


def _find_hosts(rows: gpd.GeoDataFrame, group: Ints, reasons: list[str]) -> dict[int, int]:
    """Find the named group near to each unnamed one, where its kind gives those away.

    Fills in the reason of each row given away.
    """
    kinds = rows["kind"].to_numpy()
    named = np.array([bool(title.main) for title in rows["title"]], dtype=bool)
    named = np.isin(group, group[named])
    shapes = rows.geometry.to_numpy()
    hosts: dict[int, int] = {}
    for kind, within_m in read_tags()["merge"]["unnamed_m"].items():
        targets = np.flatnonzero(named & (kinds == kind))
        lost = np.flatnonzero(~named & np.isin(group, group[~named & (kinds == kind)]))
        (row, near), distance = shapely.STRtree(shapes[targets]).query_nearest(
            shapes[lost], max_distance=within_m, return_distance=True, all_matches=True
        )
        by = np.lexsort((near, distance, group[lost[row]]))
        label, best = np.unique(group[lost[row[by]]], return_index=True)
        hosts.update(zip(label.tolist(), group[targets[near[by[best]]]].tolist(), strict=True))
        for one in lost[np.isin(group[lost], label)]:
            reasons[one] = f"unnamed, within {within_m} m of it"
    return hosts


def _rank_objects(rows: gpd.GeoDataFrame) -> Ints:
    """Order rows: of a group, the one that comes first stands for it."""
    shapes = rows.geometry.to_numpy()
    is_area = shapely.get_dimensions(shapes) == 2
    size = shapely.area(shapes)
    titles, ids = rows["title"].tolist(), rows["osm_id"].tolist()

    def order(row: int) -> tuple[bool, bool, float, str, int]:
        kind, number = ids[row].split("/")
        return (not is_area[row], not titles[row].main, -size[row], kind, int(number))

    return np.array(sorted(range(len(rows)), key=order), dtype=np.int64)


def _describe(group: list[dict[str, Any]]) -> dict[str, Any]:
    """Make one row of the objects of a place, the first of which stands for it."""
    place = dict(group[0])
    named = [one for one in group if one["title"].main]
    if named:
        title = named[0]["title"]
        alike = [one for one in named if is_same(one["title"], title)]
        plainest = [one["name"] for one in alike if one["title"].main == title.main]
        # 德基广场 rather than 德基广场二期, where both are one.
        place |= {"title": title, "name": min(plainest, key=lambda name: (len(name), name))}
        place["name_en"] = next((one["name_en"] for one in alike if one["name_en"]), None)
        names = [name for one in alike for name in one["names"].split(";")]
        place["names"] = ";".join(dict.fromkeys(names))
    if any(one["level"] is None for one in group):
        place["level"] = None
    areas = [one["geometry"] for one in group if shapely.get_dimensions(one["geometry"]) == 2]
    if len(areas) > 1:
        # A buffer of nothing mends what projecting may have bent.
        joined = shapely.union_all(shapely.buffer(areas, 0))
        place["geometry"] = shapely.multipolygons(shapely.get_parts(joined))
    return place
