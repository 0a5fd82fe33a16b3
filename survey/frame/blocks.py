"""Street blocks: which streets bound them, areas cut by them, names from the streets around."""

import re
from collections.abc import Mapping
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from survey.frame.cores import share_out, share_rows
from survey.frame.streets import Floats, Ints, Streets
from survey.frame.tags import find_tagged, read_tags

_MOST_STREETS = 3  # that a place is named after

Shapes = npt.NDArray[Any]
Flags = npt.NDArray[np.bool_]


def is_main(highway: "pd.Series[str]") -> Flags:
    """Tell which street classes are tertiary or above, links included."""
    main = [*read_tags()["streets"]["classes"]["main"], "motorway"]
    return is_one_of(highway, [*main, *(f"{name}_link" for name in main)])


def is_one_of(texts: "pd.Series[str]", chosen: list[str]) -> Flags:
    """Tell which texts are among a few, each different text asked once."""
    code, kinds = pd.factorize(texts)
    found: Flags = np.append(kinds.isin(chosen), False)[code]
    return found


def match_texts(texts: "pd.Series[str]", pattern: str) -> Flags:
    """Tell which texts begin with a pattern, each different text asked once."""
    code, kinds = pd.factorize(texts)
    matches = [re.match(pattern, kind) is not None for kind in kinds]
    found: Flags = np.append(np.array(matches, dtype=bool), False)[code]
    return found


def is_bounding(streets: Streets, *, unnamed: bool = False) -> Flags:
    """Tell which edges bound street blocks and cut residential areas.

    Named public carriageways and all streets of class tertiary and above, at street level; a
    tunnel or an elevated road leaves the ground whole, but a short bridge (over a stream) carries
    its street on.

    Parameters
    ----------
    streets
        The streets.
    unnamed
        Take unnamed public carriageways too.

    Returns
    -------
    numpy.ndarray
        One flag per edge, in their order.
    """
    edges = streets.edges
    carriageway = is_one_of(edges["highway"], read_tags()["streets"]["classes"]["carriageway"])
    chosen = carriageway & edges["public"].to_numpy()
    chosen &= edges["name"].notna().to_numpy() | unnamed
    chosen |= is_main(edges["highway"])
    ground = edges["level"].isna().to_numpy()
    u, v = streets.ends
    on_ground = np.zeros(len(streets.nodes), dtype=bool)
    on_ground[np.r_[u[chosen & ground], v[chosen & ground]]] = True
    bridge = match_texts(edges["level"], r"\+?[1-9]")
    short = (edges["length_m"] <= read_tags()["compounds"]["short_bridge_m"]).to_numpy()
    return np.asarray(chosen & (ground | (bridge & short & on_ground[u] & on_ground[v])))


def bounding_lines(streets: Streets, *, unnamed: bool = False) -> Shapes:
    """Lines of the edges that `is_bounding` tells, in the order of their ids."""
    rows = np.flatnonzero(is_bounding(streets, unnamed=unnamed))
    ids = streets.rows.to_numpy(dtype=object)[rows]
    order = rows[np.argsort(ids, kind="stable")]  # quick, since edges come nearly in this order
    return np.asarray(streets.edges.geometry.array, dtype=object)[order]


def find_blocks(lines: Shapes) -> Shapes:
    """Find the faces that lines enclose; a dead end bounds nothing."""
    if not len(lines):
        return np.empty(0, dtype=object)
    # Lines go on in long ones from corner to corner, of which there are fewer to unite.
    long = shapely.get_parts(shapely.line_merge(shapely.multilinestrings(lines)))
    return np.asarray(shapely.get_parts(shapely.polygonize([shapely.union_all(long)])))


def cut_polygons(polygons: Shapes, lines: Shapes) -> tuple[Shapes, Ints]:
    """Cut polygons along lines; a line that ends inside a polygon does not cut it.

    Parameters
    ----------
    polygons
        Valid Polygons.
    lines
        LineStrings.

    Returns
    -------
    pieces
        Polygons without overlap that fill `polygons`.
    origin
        Row in `polygons` of each piece.
    """
    row, line = shapely.STRtree(lines).query(polygons, predicate="intersects")
    by = np.lexsort((line, row))
    cut, number = np.unique(row[by], return_inverse=True)
    networks = union_groups(
        np.concatenate([shapely.boundary(polygons[cut]), lines[line[by]]]),
        np.r_[np.arange(len(cut)), number],
    )
    faces, owner = shapely.get_parts(shapely.polygonize(networks[:, None]), return_index=True)
    owner = cut[owner]
    shapely.prepare(polygons)
    inner = shapely.contains(polygons[owner], shapely.point_on_surface(faces))
    whole = np.setdiff1d(np.arange(len(polygons)), cut)
    origin = np.r_[whole, owner[inner]].astype(np.int64)
    order = np.argsort(origin, kind="stable")
    return np.concatenate([polygons[whole], faces[inner]])[order], origin[order]


def union_groups(shapes: Shapes, group: Ints) -> Shapes:
    """Unite the shapes of each group.

    Parameters
    ----------
    shapes
        Any geometries.
    group
        The group of each: every whole number from 0 to the highest.

    Returns
    -------
    numpy.ndarray
        One geometry per group, in the order of their numbers.
    """
    order = np.argsort(group, kind="stable")
    together = shapely.geometrycollections(shapes[order], indices=group[order])
    return share_out(lambda some: shapely.union_all(some[:, None], axis=1), together)


def as_array(shapes: list[Any]) -> Shapes:
    """Put geometries into an array, which numpy would try to unpack."""
    result = np.empty(len(shapes), dtype=object)
    result[:] = shapes
    return result


def find_grounds(features: gpd.GeoDataFrame) -> Shapes:
    """Find the closed grounds (campuses, hospitals, barracks): `tags.toml`, ``grounds``."""
    chosen = are_polygons(features, read_tags()["grounds"], but={"building": ["*"]})
    return np.asarray(shapely.make_valid(features.geometry.to_numpy()[chosen]), dtype=object)


def are_polygons(
    features: gpd.GeoDataFrame,
    rules: Mapping[str, list[str]],
    but: Mapping[str, list[str]] | None = None,
) -> Flags:
    """Tell which features are polygons whose tags match `rules` and do not match `but`."""
    kind = shapely.get_type_id(features.geometry.array)
    return np.asarray(
        (kind == shapely.GeometryType.MULTIPOLYGON) & find_tagged(features, rules, but)
    )


def link_near(shapes: Shapes, keys: npt.ArrayLike, within_m: float) -> Ints:
    """Group shapes that share a key and lie within a distance of each other, link by link.

    Returns
    -------
    numpy.ndarray
        The number of the group of each shape.
    """
    if not len(shapes):
        return np.empty(0, dtype=np.int64)
    west, south, east, north = shapely.bounds(shapes).T
    # The boxes of each key are laid out apart, so that only those of one key come near.
    apart = pd.factorize(np.asarray(keys))[0] * (east.max() - west.min() + 3 * within_m)
    west, east, far = west + apart, east + apart, within_m + 0.01
    around = shapely.box(west - far, south - far, east + far, north + far)
    left, right = shapely.STRtree(shapely.box(west, south, east, north)).query(around)
    left, right = left[left < right], right[left < right]
    near = share_out(lambda *pair: shapely.dwithin(*pair, within_m), shapes[left], shapes[right])
    links = coo_array((np.ones(near.sum()), (left[near], right[near])), shape=(len(shapes),) * 2)
    return np.asarray(connected_components(links, directed=False)[1], dtype=np.int64)


def name_by_streets(shapes: Shapes, streets: Streets) -> "pd.Series[str]":
    """Name places after the two streets that run longest along or in them.

    Parameters
    ----------
    shapes
        Polygons.
    streets
        The streets; named public carriageways at street level give names.

    Returns
    -------
    pandas.Series
        ``A / B``; ``A / B / C`` where that is not unique; ``A`` where there is one street;
        missing where there is none within ``streets_within_m`` (`tags.toml`).
    """
    lines, code, names = _named_streets(streets)
    tree = shapely.STRtree(lines)
    place, line, along = _measure_along(shapes, tree)
    # What lies farther off has a say only where too few streets run along.
    beside = along >= 0.001
    told = np.unique(place[beside] * len(names) + code[line[beside]]) // len(names)
    few = np.flatnonzero(np.bincount(told, minlength=len(shapes)) < _MOST_STREETS)
    row, far = tree.query(
        shapes[few], predicate="dwithin", distance=read_tags()["compounds"]["streets_within_m"]
    )
    place, line = np.r_[place, few[row]], np.r_[line, far]
    along = np.r_[along, np.zeros(len(far))]
    both, pair = np.unique(place * len(names) + code[line], return_inverse=True)
    of, name = np.divmod(both, len(names))
    metres = np.round(np.bincount(pair, weights=along, minlength=len(both)), 3)
    # Only where streets run along equally far it matters how near they are.
    alike = pd.DataFrame({"of": of, "metres": metres}).duplicated(keep=False).to_numpy()[pair]
    away = np.full(len(both), np.inf)
    distance = shapely.distance(lines[line[alike]], shapes[place[alike]])
    np.minimum.at(away, pair[alike], np.round(distance, 3))
    by = np.lexsort((name, away, -metres, of))
    return _join_names(of[by], names[name[by]], len(shapes))


def _named_streets(streets: Streets) -> tuple[Shapes, Ints, npt.NDArray[Any]]:
    """Find the streets that give names: their lines, the code of the name of each, the names."""
    edges = streets.edges
    carriageway = edges["highway"].isin(read_tags()["streets"]["classes"]["carriageway"])
    named = edges["name"].notna() & edges["level"].isna()
    named &= (carriageway & edges["public"]) | is_main(edges["highway"])
    code, names = pd.factorize(edges["name"][named], sort=True)
    lines = np.asarray(edges.geometry.array, dtype=object)[named]
    return lines, code, np.asarray(names, dtype=object)


def _measure_along(shapes: Shapes, tree: shapely.STRtree) -> tuple[Ints, Ints, Floats]:
    """Measure how far lines run beside or in shapes: shape, line and metres of each pair."""
    parts = share_rows(lambda rows: _measure_some(shapes, tree, rows), np.arange(len(shapes)))
    place, line, along = (np.concatenate(each) for each in zip(*parts, strict=True))
    return place, line, along


def _measure_some(shapes: Shapes, tree: shapely.STRtree, rows: Ints) -> tuple[Ints, Ints, Floats]:
    beside_m = read_tags()["compounds"]["beside_street_m"]
    around = shapely.buffer(shapes[rows], beside_m)
    place, line = tree.query(around, predicate="intersects")
    lines = tree.geometries[line]
    along = shapely.length(lines)
    shapely.prepare(around)
    part = np.flatnonzero(~shapely.contains_properly(around[place], lines))
    part_of = place[part]
    inner = shapely.length(shapely.intersection(lines[part], around[part_of]))
    beside = shapely.distance(lines[part], shapes[rows[part_of]]) < beside_m
    along[part] = np.where(beside, inner, 0)
    return rows[place], line, along


def _join_names(place: Ints, names: npt.NDArray[Any], count: int) -> "pd.Series[str]":
    """Join the first names of each place, which come in its order; three where two are shared."""
    table = pd.DataFrame({"place": place, "name": names})
    rank = table.groupby("place").cumcount()
    first, second, third = (
        table[rank == number].set_index("place")["name"].reindex(range(count)).astype("str")
        for number in range(_MOST_STREETS)
    )
    best = first.where(second.isna(), first + " / " + second)
    shared = best.duplicated(keep=False) & third.notna()
    return best.mask(shared, best + " / " + third)
