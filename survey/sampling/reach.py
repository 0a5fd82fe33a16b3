"""Reach: how far each unit is from each fixed point, and the catchments of fixed points."""

from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from survey import tables
from survey.frame.frame import Frame
from survey.frame.lines import Ints, as_multi, cut_lines
from survey.frame.network import search_within

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
    parts = []
    for layer, units in (("alley", frame.alleys), ("compound", frame.compounds)):
        near = _pairs_by_crow(frame, units, limit_m)
        walked = _pairs_by_network(frame, layer, units, round(limit_m * 1000))
        pairs = near.merge(walked, on=["point", "unit"], how="outer")
        distant = pairs["euclid_m"].isna().to_numpy()
        pairs.loc[distant, "euclid_m"] = tables.round_mm(
            shapely.distance(
                frame.points.geometry.array[pairs["point"][distant]],
                units.geometry.array[pairs["unit"][distant]],
            )
        )
        parts.append(
            pd.DataFrame(
                {
                    "point_id": frame.points["point_id"].to_numpy()[pairs["point"]],
                    "layer": layer,
                    "unit_id": units[f"{layer}_id"].to_numpy()[pairs["unit"]],
                    "euclid_m": pairs["euclid_m"],
                    "network_m": pairs["network_m"],
                }
            )
        )
    reach = pd.concat(parts).sort_values(["point_id", "layer", "unit_id"], kind="stable")
    return tables.make("reach", reach.reset_index(drop=True))


def _pairs_by_crow(frame: Frame, units: gpd.GeoDataFrame, limit_m: float) -> pd.DataFrame:
    points = frame.points.geometry.array
    shapes = units.geometry.array
    # A little more, because what is rounded down to the limit is within it.
    point, unit = shapely.STRtree(shapes).query(points, predicate="dwithin", distance=limit_m + 1)
    metres = tables.round_mm(shapely.distance(points[point], shapes[unit]))
    pairs = pd.DataFrame({"point": point, "unit": unit, "euclid_m": metres})
    return pairs[metres <= limit_m]


def _pairs_by_network(
    frame: Frame, layer: str, units: gpd.GeoDataFrame, limit_mm: int
) -> pd.DataFrame:
    if layer == "alley":
        unit, node, access = _alley_nodes(frame, units)
    else:
        doors = frame.sources("compound", units["compound_id"])
        unit, node, access = doors.number, doors.node, doors.start_mm.astype(np.int64)
    by = np.argsort(unit, kind="stable")
    unit, node, access = unit[by], node[by], access[by]
    parts = [pd.DataFrame({"point": [], "unit": [], "network_m": []}, dtype="float64")]
    sources = frame.sources("point", frame.points["point_id"])
    for point, here, distance in search_within(frame.network, sources, limit_mm):
        column = np.searchsorted(here, node)
        found = (column < len(here)) & (here[np.minimum(column, len(here) - 1)] == node)
        if not found.any():
            continue
        some = unit[found]
        first = np.flatnonzero(np.r_[True, some[1:] != some[:-1]])
        least = np.minimum.reduceat(distance[:, column[found]] + access[found], first, axis=1)
        row, number = np.nonzero(least <= limit_mm)
        parts.append(
            pd.DataFrame(
                {
                    "point": point[row],
                    "unit": some[first][number],
                    "network_m": least[row, number] / 1000,
                }
            )
        )
    return pd.concat(parts).astype({"point": "int64", "unit": "int64"})


def _alley_nodes(frame: Frame, units: gpd.GeoDataFrame) -> tuple[Ints, Ints, Ints]:
    """Nodes of each alley, the doors that were cut into its edges among them."""
    network = frame.network
    of_edge = pd.Index(units["alley_id"]).get_indexer(pd.Index(frame.streets.edges["alley_id"]))
    unit = of_edge[network.edge].astype(np.int64)
    on = unit >= 0
    pairs = np.unique(np.c_[np.r_[unit[on], unit[on]], np.r_[network.u[on], network.v[on]]], axis=0)
    pairs = pairs.reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1], np.zeros(len(pairs), dtype=np.int64)


def reached_stretches(frame: Frame, limit_m: float) -> pd.DataFrame:
    """Find which stretches of street lie within a walk of each fixed point.

    Returns
    -------
    pandas.DataFrame
        ``point`` (row in `frame.points`), ``edge`` (row in the edges), ``from_mm``, ``to_mm``:
        stretches that do not overlap each other for one point.
    """
    network = frame.network
    limit_mm = round(limit_m * 1000)
    length = network.length_mm
    parts = [pd.DataFrame({"point": [], "edge": [], "from_mm": [], "to_mm": []}, dtype="int64")]
    sources = frame.sources("point", frame.points["point_id"])
    everywhere = np.full(network.size, np.inf)
    for points, node, distances in search_within(network, sources, limit_mm):
        for point, distance in zip(points, distances, strict=True):
            everywhere[node] = distance
            left = np.clip(limit_mm - everywhere[network.u], 0, length)
            right = np.clip(limit_mm - everywhere[network.v], 0, length)
            everywhere[node] = np.inf
            whole = left + right >= length
            left = np.where(whole, length, left).astype(np.int64)
            right = np.where(whole, 0, right).astype(np.int64)
            for reached, start, end in (
                (left > 0, network.from_mm, network.from_mm + left),
                (right > 0, network.to_mm - right, network.to_mm),
            ):
                parts.append(
                    pd.DataFrame(
                        {
                            "point": point,
                            "edge": network.edge[reached],
                            "from_mm": start[reached],
                            "to_mm": end[reached],
                        }
                    )
                )
    return pd.concat(parts, ignore_index=True)


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
        block = np.unique(tile, axis=0, return_inverse=True)[1].ravel()
        # Islands would keep a block from ever being reached whole.
        self._block = np.where(frame.streets.piece == 0, block, -1)
        self._joined: dict[int, Any] = {}

    def join(self, reached: pd.DataFrame) -> Any:
        """Join the strips of some stretches of street."""
        edge = reached["edge"].to_numpy()
        block = self._block[edge]
        length = reached["to_mm"].to_numpy() - reached["from_mm"].to_numpy()
        total = np.bincount(self._block + 1, weights=self._length)[1:]
        mine = np.bincount(block + 1, weights=length, minlength=len(total) + 1)[1:]
        whole = np.flatnonzero((mine > 0) & (mine >= total))
        for number in map(int, whole):
            if number not in self._joined:
                rows = reached[block == number]
                self._joined[number] = shapely.union_all(self._strips(rows))
        rest = self._strips(reached[~np.isin(block, whole)])
        return shapely.union_all([*(self._joined[int(number)] for number in whole), *rest])

    def _strips(self, reached: pd.DataFrame) -> npt.NDArray[Any]:
        edge = reached["edge"].to_numpy()
        if not len(edge):
            return np.empty(0, dtype=object)
        length = np.maximum(self._length[edge], 1)
        start, end = reached["from_mm"].to_numpy() / length, reached["to_mm"].to_numpy() / length
        lines = shapely.multilinestrings(cut_lines(self._lines[edge], start, end))
        merged = shapely.simplify(shapely.get_parts(shapely.line_merge(lines)), 1)
        return np.asarray(shapely.buffer(merged, _STRIP_M, cap_style="flat", quad_segs=2))
