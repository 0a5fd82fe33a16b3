"""Outlines of areas: closed ways, and relations of several ways."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyproj
import shapely

from survey.sources.area import WGS84
from survey.sources.contents import Contents, find_last
from survey.sources.grid import Grid
from survey.sources.libosmium import assemble_outlines
from survey.sources.pbf_blocks import Flags, Objects, Places
from survey.sources.varints import Ints
from survey.sources.ways import FAR, Box, Stretches, Ways, find_cut, touch_box, turn_rings

Shapes = npt.NDArray[np.object_]

_AT_ONCE = 20_000  # rings: their shapes take three times the memory while they are made


@dataclass(frozen=True, eq=False)
class Relations:
    """Relations that describe areas, and the ways that they consist of.

    Attributes
    ----------
    objects
        The relations. They refer to rows in `Ways`, -1 for ways that the file lacks.
    """

    objects: Objects

    def take(self, rows: Ints) -> "Relations":
        """Copy some of them, in the order of `rows`."""
        return Relations(self.objects.take(rows))

    @property
    def members(self) -> Ints:
        """The rows of their ways, behind each other."""
        return self.objects.refs

    @property
    def owner(self) -> Ints:
        """The row of the relation of each member."""
        return np.repeat(np.arange(len(self.objects.ids)), self.objects.ref_count)


def find_relations(contents: Contents) -> Objects:
    """Find the relations that describe areas."""
    is_area = contents.find_value(contents.relations, "type", {"multipolygon", "boundary"})
    return contents.relations.take(np.flatnonzero(is_area))


def join_relations(relations: Objects, ways: Ways, box: Box) -> Relations:
    """Find the ways of relations; keep the relations that reach into `box`, or lie nowhere."""
    order = np.argsort(ways.objects.ids, kind="stable").astype(np.int32)
    row = find_last(ways.objects.ids[order], relations.refs)
    row[row >= 0] = order[row[row >= 0]]
    joined = Relations(replace(relations, refs=row))
    known = joined.members >= 0
    owner, boxes = joined.owner[known], ways.boxes[joined.members[known]]
    bound = np.repeat(np.array([[FAR, FAR, -FAR, -FAR]], np.int32), len(relations.ids), axis=0)
    np.minimum.at(bound[:, :2], owner, boxes[:, :2])
    np.maximum.at(bound[:, 2:], owner, boxes[:, 2:])
    nowhere = bound[:, 0] > bound[:, 2]
    return joined.take(np.flatnonzero(nowhere | touch_box(bound, box)))


def find_complete(relations: Relations, ways: Ways) -> Flags:
    """Tell which relations have all their ways, and these all their nodes."""
    lost = np.append(find_cut(ways), [True])[relations.members]  # -1 is the last
    count = len(relations.objects.ids)
    complete: Flags = np.bincount(relations.owner[lost], minlength=count) == 0
    return complete & (relations.objects.ref_count > 0)


def shape_relations(relations: Relations, ways: Ways, places: Places, crs: pyproj.CRS) -> Shapes:
    """Put complete relations together: MultiPolygons in `crs`, `None` where broken."""
    return _assemble(ways, relations.members, relations.objects.ref_count, places, crs)


def shape_rings(
    ways: Ways, stretches: Stretches, places: Places, grid: Grid, crs: pyproj.CRS
) -> Shapes:
    """Make closed ways to areas: MultiPolygons in `crs`, `None` where broken.

    A ring that neither touches nor crosses itself is its own area; libosmium judges the others.

    Parameters
    ----------
    ways
        Closed ways that have all their nodes.
    stretches
        The one stretch of each of them.
    places, grid
        The places of their nodes, in degrees and in metres.
    crs
        The CRS of `grid`.
    """
    size = len(stretches.way)
    parts = [np.arange(at, min(at + _AT_ONCE, size)) for at in range(0, size, _AT_ONCE)]
    shapes = np.full(size, None, dtype=object)
    with ThreadPoolExecutor(2) as pool:
        made = pool.map(lambda rows: _shape_simple(stretches.take(rows), places, grid), parts)
        for rows, part in zip(parts, made, strict=True):
            shapes[rows] = part
    odd = np.flatnonzero(pd.isna(shapes))
    shapes[odd] = _assemble(ways, odd, np.ones(len(odd), dtype=np.int64), places, crs)
    return shapes


def _shape_simple(stretches: Stretches, places: Places, grid: Grid) -> Shapes:
    """Make those rings to areas that neither touch nor cross themselves."""
    x, y = places.x[stretches.spots].astype(np.int64), places.y[stretches.spots].astype(np.int64)
    ring = np.repeat(np.arange(len(stretches.count)), stretches.count)
    stays = (x[1:] == x[:-1]) & (y[1:] == y[:-1]) & (ring[1:] == ring[:-1])
    simple = stretches.count > 3
    simple[ring[1:][stays]] = False
    inner = np.flatnonzero(simple[ring])
    count = stretches.count[simple]
    polygons = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON,
        np.column_stack([x[inner], y[inner]]).astype(float),
        (np.r_[0, np.cumsum(count)], np.arange(len(count) + 1)),
    )
    simple[simple] = shapely.is_valid(polygons)

    shapes = np.full(len(simple), None, dtype=object)
    inner, count = np.flatnonzero(simple[ring]), stretches.count[simple]
    turned = inner[turn_rings(x[inner], y[inner], count)]
    parts = np.arange(len(count) + 1)
    shapes[simple] = shapely.from_ragged_array(
        shapely.GeometryType.MULTIPOLYGON,
        grid.place(stretches.spots[turned]),
        (np.r_[0, np.cumsum(count)], parts, parts),
    )
    return shapes


def _assemble(
    ways: Ways, members: Ints, member_count: Ints, places: Places, crs: pyproj.CRS
) -> Shapes:
    rows, member = np.unique(members, return_inverse=True)
    lines = ways.take(rows)
    spots = np.column_stack([places.x[lines.spots], places.y[lines.spots]])
    shapes = assemble_outlines(spots, lines.objects.ref_count, member, member_count)
    projected: Shapes = gpd.GeoSeries(shapes, crs=WGS84).to_crs(crs).to_numpy()
    return projected
