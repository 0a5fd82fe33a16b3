"""Reach: how far each unit is from each fixed point, and the catchments of fixed points."""

from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from survey import tables
from survey.frame.frame import Frame
from survey.frame.lines import Floats, Ints, as_multi, count_up, cut_lines
from survey.frame.network import search_within
from survey.sampling.walks import reached_stretches

CATCHMENT_RADII_M = (500, 1_000, 2_000)
"""The radii of the table `catchments`."""

_BLOCK_M = 100  # size of the blocks in which strips are joined; a matter of speed only
_STRIP_M = 30  # half the depth of a street front: what a walker on the street is beside


def measure_reach(frame: Frame, *, limit_m: float = 2_000) -> pd.DataFrame:
    """Measure the distances from every fixed point to the alleys and compounds around it.

    ``network_m`` is access leg + way along streets + access leg, the least over the doors of
    both; an alley is reached at its nearest position, without an access leg. ``euclid_m`` is
    between the geometries themselves, 0 where they touch.

    Parameters
    ----------
    frame
        What can be drawn.
    limit_m
        How far to look, in metres.

    Returns
    -------
    pandas.DataFrame
        The table `reach`: ``point_id, layer, unit_id, euclid_m, network_m``, one row per pair
        that one of both distances brings within the limit; ``network_m`` is missing where it is
        greater or there is no way. Sorted by key.
    """
    layers = {"alley": frame.alleys, "compound": frame.compounds}
    counts = [len(units) for units in layers.values()]
    shapes = np.concatenate([np.asarray(units.geometry.array) for units in layers.values()])
    places = np.asarray(frame.points.geometry.array)
    # As one whole number each, pairs are sorted and matched fast.
    size = max(1, len(shapes))
    near, euclid = _pairs_by_crow(places, shapes, limit_m)
    walked, network = _pairs_by_network(frame, round(limit_m * 1000))
    pair = np.union1d(near, walked)
    euclid_m, network_m = np.full(len(pair), np.nan), np.full(len(pair), np.nan)
    euclid_m[np.searchsorted(pair, near)] = euclid
    network_m[np.searchsorted(pair, walked)] = network
    distant = np.flatnonzero(np.isnan(euclid_m))
    one, other = pair[distant] // size, pair[distant] % size
    euclid_m[distant] = tables.round_mm(shapely.distance(places[one], shapes[other]))
    point, unit = pair // size, pair % size
    layer = np.repeat(np.arange(len(counts)), counts)
    ids = pd.concat([units[f"{name}_id"] for name, units in layers.items()], ignore_index=True)
    points = frame.points["point_id"]
    rank = [np.argsort(np.argsort(texts.to_numpy(), kind="stable")) for texts in (points, ids)]
    by = np.lexsort((rank[1][unit], layer[unit], rank[0][point]))
    columns = {
        "point_id": points.array[point[by]],
        "layer": pd.Series(tuple(layers), dtype="str").array[layer[unit[by]]],
        "unit_id": ids.array[unit[by]],
        "euclid_m": euclid_m[by],
        "network_m": network_m[by],
    }
    return tables.make("reach", columns)


def _pairs_by_crow(
    places: npt.NDArray[Any], shapes: npt.NDArray[Any], limit_m: float
) -> tuple[Ints, Floats]:
    """Pair places and shapes within the limit, as place * shapes + shape, with the metres."""
    # A little more, because what is rounded down to the limit is within it.
    west, south, east, north = shapely.bounds(places).reshape(-1, 4).T
    more = limit_m + 1
    boxes = shapely.box(west - more, south - more, east + more, north + more)
    place, shape = shapely.STRtree(shapes).query(boxes)
    metres = tables.round_mm(shapely.distance(places[place], shapes[shape]))
    kept = metres <= limit_m
    return place[kept] * max(1, len(shapes)) + shape[kept], metres[kept]


def _pairs_by_network(frame: Frame, limit_mm: int) -> tuple[Ints, Floats]:
    """Pair points and units within a walk, as point * units + unit, with the metres.

    Units are numbered alleys first, then compounds.
    """
    unit, node, access = _unit_nodes(frame)
    size = max(1, len(frame.alleys) + len(frame.compounds))
    by = np.argsort(node, kind="stable")
    unit, access = unit[by], access[by]
    count = np.bincount(node, minlength=frame.network.size)
    first = np.cumsum(count) - count
    pairs, metres = [np.empty(0, dtype=np.int64)], [np.empty(0)]
    sources = frame.sources("point", frame.points["point_id"])
    for point, here, distance in search_within(frame.network, sources, limit_mm):
        column, step = count_up(count[here])
        row = first[here][column] + step
        by = np.argsort(unit[row], kind="stable")
        column, row = column[by], row[by]
        if not len(row):
            continue
        some = unit[row]
        start = np.flatnonzero(np.r_[True, some[1:] != some[:-1]])
        least = np.minimum.reduceat(distance[:, column] + access[row], start, axis=1)
        source, number = np.nonzero(least <= limit_mm)
        pairs.append(point[source] * size + some[start][number])
        metres.append(least[source, number] / 1000)
    pair, found = np.concatenate(pairs), np.concatenate(metres)
    by = np.argsort(pair)
    return pair[by], found[by]


def _unit_nodes(frame: Frame) -> tuple[Ints, Ints, Ints]:
    """List unit, node and access leg of all places where a unit is reached.

    An alley is reached at all its nodes, the doors that were cut into its edges among them.
    """
    network, count = frame.network, len(frame.alleys)
    of_edge = pd.Index(frame.alleys["alley_id"]).get_indexer(
        pd.Index(frame.streets.edges["alley_id"])
    )
    alley = of_edge[network.edge].astype(np.int64)
    on = np.flatnonzero(alley >= 0)
    pairs = np.unique(np.r_[network.u[on], network.v[on]] + np.tile(alley[on], 2) * network.size)
    doors = frame.sources("compound", frame.compounds["compound_id"])
    return (
        np.r_[pairs // network.size, count + doors.number],
        np.r_[pairs % network.size, doors.node],
        np.r_[np.zeros(len(pairs), dtype=np.int64), doors.start_mm.astype(np.int64)],
    )


def measure_catchments(
    frame: Frame, *, radii_m: tuple[float, ...] = CATCHMENT_RADII_M
) -> gpd.GeoDataFrame:
    """Draw the ground around each fixed point, by crow and on foot.

    By crow (``euclid``) it is the point's own shape grown by the radius. On foot (``network``) it
    is a strip of 30 m either side of every stretch of street within the radius by network
    distance; it ends where the walk ends, so that it never claims ground that nobody reaches.

    Parameters
    ----------
    frame
        What can be drawn.
    radii_m
        The radii in metres.

    Returns
    -------
    geopandas.GeoDataFrame
        The table `catchments`: ``point_id, metric, radius_m, area_m2``, MultiPolygon. A point
        without a door has no catchment on foot.
    """
    ids = frame.points["point_id"].to_numpy()
    blocks = _Blocks(frame)
    parts: list[tuple[str, str, float, Any]] = []
    for radius in radii_m:
        discs = shapely.buffer(frame.points.geometry.array, radius, quad_segs=32)
        parts += [(name, "euclid", radius, disc) for name, disc in zip(ids, discs, strict=True)]
        reached = reached_stretches(frame, radius)
        for point, rows in reached.groupby("point"):
            parts.append((ids[point], "network", radius, blocks.join(rows)))
    table = pd.DataFrame(parts, columns=["point_id", "metric", "radius_m", "geometry"])
    table["geometry"] = as_multi(table["geometry"].to_numpy())
    table["area_m2"] = np.round(shapely.area(table["geometry"].to_numpy()), 1)
    table = table.sort_values(["point_id", "metric", "radius_m"], kind="stable")
    return tables.make("catchments", table, crs=frame.points.crs)


class _Blocks:
    """Strips of street joined block by block, so that what many points reach is joined once."""

    def __init__(self, frame: Frame) -> None:
        self._lines = frame.streets.edges.geometry.array
        self._length = frame.streets.length_mm
        middle = shapely.line_interpolate_point(self._lines, 0.5, normalized=True)
        tile = np.floor(shapely.get_coordinates(middle) / _BLOCK_M).astype(np.int64)
        # Streets that do not hang together would keep a block from ever being reached whole.
        piece = frame.streets.piece
        block = np.unique(np.c_[tile, piece], axis=0, return_inverse=True)[1].ravel()
        self._block = np.where(piece >= 0, block, -1)
        self._total = np.bincount(self._block + 1, weights=self._length)[1:]
        self._joined: dict[int, Any] = {}

    def join(self, reached: pd.DataFrame) -> Any:
        """Join the strips of some stretches of street."""
        edge = reached["edge"].to_numpy()
        found, block = np.unique(self._block[edge], return_inverse=True)
        length = reached["to_mm"].to_numpy() - reached["from_mm"].to_numpy()
        mine = np.bincount(block, weights=length)
        is_whole = (found >= 0) & (mine > 0) & (mine >= self._total[found])
        rows = np.flatnonzero(is_whole[block])
        rows = rows[np.argsort(block[rows], kind="stable")]
        whole = found[is_whole].tolist()
        stops = np.flatnonzero(np.diff(block[rows])) + 1
        for number, own in zip(whole, np.split(rows, stops), strict=False):
            if number not in self._joined:
                self._joined[number] = shapely.union_all(self._strips(reached.iloc[own]))
        rest = self._strips(reached[~is_whole[block]])
        return shapely.union_all([*(self._joined[number] for number in whole), *rest])

    def _strips(self, reached: pd.DataFrame) -> npt.NDArray[Any]:
        edge = reached["edge"].to_numpy()
        if not len(edge):
            return np.empty(0, dtype=object)
        length = np.maximum(self._length[edge], 1)
        start, end = reached["from_mm"].to_numpy() / length, reached["to_mm"].to_numpy() / length
        lines = shapely.multilinestrings(cut_lines(self._lines[edge], start, end))
        merged = shapely.simplify(shapely.get_parts(shapely.line_merge(lines)), 1)
        return np.asarray(shapely.buffer(merged, _STRIP_M, cap_style="flat", quad_segs=2))
