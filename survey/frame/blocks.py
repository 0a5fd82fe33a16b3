"""Street blocks: which streets bound them, areas cut by them, names from the streets around."""

from collections.abc import Mapping
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from shapely.geometry.base import BaseGeometry

from survey.frame.streets import Ints, Streets
from survey.frame.tags import match_any, read_tags

Shapes = npt.NDArray[Any]
Flags = npt.NDArray[np.bool_]


def is_main(highway: "pd.Series[str]") -> Flags:
    """Tell which street classes are tertiary or above, links included."""
    main = [*read_tags()["streets"]["classes"]["main"], "motorway"]
    return np.asarray(highway.str.removesuffix("_link").isin(main))


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
    carriageway = edges["highway"].isin(read_tags()["streets"]["classes"]["carriageway"])
    chosen = carriageway & edges["public"] & (edges["name"].notna() | unnamed)
    chosen = chosen.to_numpy() | is_main(edges["highway"])
    ground = edges["level"].isna().to_numpy()
    u, v = streets.ends
    on_ground = np.zeros(len(streets.nodes), dtype=bool)
    on_ground[np.r_[u[chosen & ground], v[chosen & ground]]] = True
    bridge = edges["level"].str.match(r"\+?[1-9]").fillna(value=False).to_numpy(dtype=bool)
    short = (edges["length_m"] <= read_tags()["compounds"]["short_bridge_m"]).to_numpy()
    return np.asarray(chosen & (ground | (bridge & short & on_ground[u] & on_ground[v])))


def bounding_lines(streets: Streets, *, unnamed: bool = False) -> Shapes:
    """Lines of the edges that `is_bounding` tells, in the order of their ids."""
    edges = streets.edges[is_bounding(streets, unnamed=unnamed)]
    return np.asarray(edges.sort_values("edge_id").geometry.array, dtype=object)


def find_blocks(lines: Shapes) -> Shapes:
    """Find the faces that lines enclose; a dead end bounds nothing."""
    if not len(lines):
        return np.empty(0, dtype=object)
    return np.asarray(shapely.get_parts(shapely.polygonize([shapely.union_all(lines)])))


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
    tree = shapely.STRtree(lines)
    row, line = tree.query(polygons, predicate="intersects")
    pieces: list[Any] = []
    origin: list[int] = []
    for number, polygon in enumerate(polygons):
        cutting = lines[np.sort(line[row == number])]
        found = _cut(polygon, cutting) if len(cutting) else [polygon]
        pieces += found
        origin += [number] * len(found)
    return as_array(pieces), np.array(origin, dtype=np.int64)


def _cut(polygon: BaseGeometry, lines: Shapes) -> list[BaseGeometry]:
    shapely.prepare(polygon)
    network = shapely.union_all([polygon.boundary, *lines])
    faces = shapely.get_parts(shapely.polygonize([network]))
    return list(faces[shapely.contains(polygon, shapely.point_on_surface(faces))])


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
    polygon = (features.geometry.geom_type == "MultiPolygon").to_numpy()
    chosen = [
        match_any(tags, rules) and not match_any(tags, but or {}) for tags in features["tags"]
    ]
    return np.asarray(polygon & np.array(chosen, dtype=bool))


def link_near(shapes: Shapes, keys: npt.ArrayLike, within_m: float) -> Ints:
    """Group shapes that share a key and lie within a distance of each other, link by link.

    Returns
    -------
    numpy.ndarray
        The number of the group of each shape.
    """
    codes = pd.factorize(np.asarray(keys))[0]
    left, right = shapely.STRtree(shapes).query(shapes, predicate="dwithin", distance=within_m)
    same = codes[left] == codes[right]
    links = coo_array((np.ones(same.sum()), (left[same], right[same])), shape=(len(shapes),) * 2)
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
    rules = read_tags()["compounds"]
    edges = streets.edges
    carriageway = edges["highway"].isin(read_tags()["streets"]["classes"]["carriageway"])
    named = edges["name"].notna() & edges["level"].isna()
    named &= (carriageway & edges["public"]) | is_main(edges["highway"])
    lines = np.asarray(edges.geometry.array, dtype=object)[named]
    names = edges["name"].to_numpy(dtype=object)[named]
    row, line = shapely.STRtree(lines).query(
        shapes, predicate="dwithin", distance=rules["streets_within_m"]
    )
    away = shapely.distance(lines[line], shapes[row])
    along = np.zeros(len(row))
    beside = away < rules["beside_street_m"]
    around = shapely.buffer(shapes, rules["beside_street_m"])[row[beside]]
    along[beside] = shapely.length(shapely.intersection(lines[line[beside]], around))
    table = pd.DataFrame({"row": row, "name": names[line], "along": along, "away": away})
    table = table.groupby(["row", "name"], as_index=False).agg({"along": "sum", "away": "min"})
    table = table.round(3).sort_values(["along", "away", "name"], ascending=[False, True, True])
    found = table.groupby("row")["name"].agg(list)
    best = found.map(lambda names: " / ".join(names[:2]))
    # Where two streets do not tell two places apart, a third one may.
    best = best.where(~best.duplicated(keep=False), found.map(lambda names: " / ".join(names[:3])))
    return best.reindex(range(len(shapes))).astype("str")
