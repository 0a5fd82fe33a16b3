"""Cutting: ways become pieces, between junctions and where they cross the area's boundary."""

from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from survey.frame.lines import Floats, Ints, Shapes, as_text, count_up
from survey.sources.extract import OsmData

_CUT = np.iinfo(np.int64).min  # far below the ids of nodes, also of those not yet uploaded

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Pieces:
    """Ways cut into pieces, and the nodes between which they run.

    Attributes
    ----------
    ways
        The ways that were cut, sorted by the text of their ids.
    way
        The row in `ways` of each piece.
    lines, inside
        The LineString of each piece, and whether it lies in the area.
    u, v
        The nodes at which each piece begins and ends.
    node_id, places
        The id of each node, and its place, shape (n, 2).
    """

    ways: gpd.GeoDataFrame
    way: Ints
    lines: Shapes
    inside: Flags
    u: Ints
    v: Ints
    node_id: npt.NDArray[Any]
    places: Floats


def cut_ways(osm: OsmData) -> Pieces:
    """Cut ways at the nodes that they share, and where they cross the boundary of the area.

    Parameters
    ----------
    osm
        What `read_extract` read.

    Returns
    -------
    Pieces
        In the order of their ways and along them; nodes are ``node/5``, and ``cut/123:<i>`` where
        the boundary cuts way 123.
    """
    ways, way, node, places = _read_ways(osm)
    near = _find_near(ways, osm.area.shape)
    way, node, places, labels = _add_cuts(ways, near, (way, node, places), osm.area.shape)
    same = way[1:] == way[:-1]
    cut = np.r_[True, ~same] | np.r_[~same, True]
    cut |= pd.Series(node).duplicated(keep=False).to_numpy()
    # The boundary may also be crossed at a vertex of the way, and touched without crossing.
    inside = _find_inside(places, way, near, osm.area.shape)
    cut[1:-1] |= inside[1:] != inside[:-1]

    stops = np.flatnonzero(cut)
    begin = np.flatnonzero(same[stops[:-1]])
    code, ids = pd.factorize(node[stops])
    where = np.empty(len(ids), dtype=np.int64)
    where[code[::-1]] = stops[::-1]  # the first vertex of each node stays
    return Pieces(
        ways=ways,
        way=way[stops[begin]],
        lines=_make_lines(places, stops[begin], stops[begin + 1]),
        inside=inside[stops[begin]],
        u=code[begin],
        v=code[begin + 1],
        node_id=_name_nodes(ids, labels),
        places=places[where],
    )


def _read_ways(osm: OsmData) -> tuple[gpd.GeoDataFrame, Ints, Ints, Floats]:
    """Sort the ways by the text of their ids; row of the way, node and place of each vertex."""
    order = np.lexsort((osm.streets["part"].to_numpy(), as_text(osm.streets["way_id"])))
    ways = osm.streets.iloc[order].reset_index(drop=True)
    counts = shapely.get_num_coordinates(osm.streets.geometry.to_numpy()).astype(np.int64)
    way, step = count_up(counts[order])
    node = osm.street_nodes[(np.cumsum(counts) - counts)[order][way] + step]
    return ways, way, node, shapely.get_coordinates(ways.geometry.to_numpy())


def _find_near(ways: gpd.GeoDataFrame, shape: BaseGeometry) -> Flags:
    """Tell which ways may come within a centimetre of the area's boundary."""
    places, ring = shapely.get_coordinates(shapely.get_parts(shape.boundary), return_index=True)
    side = np.flatnonzero(ring[1:] == ring[:-1])
    low = np.minimum(places[side], places[side + 1]) - 0.01
    high = np.maximum(places[side], places[side + 1]) + 0.01
    sides = shapely.STRtree(shapely.box(*low.T, *high.T))
    near = np.zeros(len(ways), dtype=bool)
    near[sides.query(ways.geometry.to_numpy())[0]] = True
    return near


def _add_cuts(
    ways: gpd.GeoDataFrame, near: Flags, vertices: tuple[Ints, Ints, Floats], shape: BaseGeometry
) -> tuple[Ints, Ints, Floats, list[str]]:
    """Add vertices where ways cross the boundary strictly between two vertices of theirs.

    The new nodes are numbered from `_CUT` on; their texts are answered too.
    """
    way, node, places = vertices
    boundary = shape.boundary
    shapely.prepare(boundary)
    start = np.flatnonzero(near[way[:-1]] & (way[1:] == way[:-1]))
    segments = shapely.linestrings(np.stack([places[start], places[start + 1]], axis=1))
    crossing = shapely.intersects(boundary, segments)
    start, segments = start[crossing], segments[crossing]
    met, row = shapely.get_coordinates(shapely.intersection(segments, boundary), return_index=True)
    along = np.hypot(*(met - places[start[row]]).T)
    by = np.lexsort((along, row))
    met, row, along = met[by], row[by], along[by]
    # What is met twice, at a corner of a boundary that runs along, is one place.
    step = np.where(np.diff(row, prepend=-1) > 0, along, np.diff(along, prepend=0))
    inner = (step > 0.001) & (along < shapely.length(segments)[row] - 0.001)
    before = start[row[inner]]
    return (
        np.insert(way, before + 1, way[before]),
        np.insert(node, before + 1, _CUT + np.arange(len(before))),
        np.insert(places, before + 1, met[inner], axis=0),
        _label_cuts(ways, way[before]),
    )


def _label_cuts(ways: gpd.GeoDataFrame, row: Ints) -> list[str]:
    """Write the ids of the nodes at which the ways of these rows are cut."""
    way_id, part = ways["way_id"].iloc[row], ways["part"].iloc[row]
    _, number = count_up(np.unique(row, return_counts=True)[1])
    return [
        f"cut/{one.removeprefix('way/')}{f'.{two}' if two else ''}:{three}"
        for one, two, three in zip(way_id, part, number, strict=True)
    ]


def _name_nodes(ids: Ints, labels: list[str]) -> npt.NDArray[Any]:
    """Write the ids of nodes as text."""
    names = np.array([f"node/{number}" for number in ids.tolist()], dtype=object)
    new = ids < _CUT + len(labels)
    names[new] = np.array(labels, dtype=object)[ids[new] - _CUT]
    return names


def _make_lines(places: Floats, first: Ints, last: Ints) -> Shapes:
    line, step = count_up(last - first + 1)
    return np.asarray(shapely.linestrings(places[first[line] + step], indices=line))


def _find_inside(places: Floats, way: Ints, near: Flags, shape: BaseGeometry) -> Flags:
    """Tell which segments, from each vertex but the last to the next, lie in the area."""
    # A street that runs along the boundary is inside as a whole, whatever the last digits say.
    shape = shape.buffer(0.001)
    shapely.prepare(shape)
    begin = np.flatnonzero(np.diff(way, prepend=-1))
    inside: Flags = shapely.intersects_xy(shape, places[begin])[way[:-1]]
    close = np.flatnonzero(near[way[:-1]])  # elsewhere a way lies on one side as a whole
    inside[close] = shapely.intersects_xy(shape, (places[close] + places[close + 1]) / 2)
    return inside
