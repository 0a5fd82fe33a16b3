"""The edge of the data, where the file does not tell it: a hull of its streets."""

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from survey.sources.varints import Ints

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_RATIO = 0.1  # tight enough to cut off the arms of ways that run out of a clipped file
_MANY = 50_000  # vertices from which on it takes seconds
_MAX_SQUARES = 20_000_000


def find_hull(streets: gpd.GeoDataFrame, within: BaseGeometry) -> BaseGeometry:
    """Draw the concave hull of the vertices of streets that lie within a polygon."""
    places = shapely.get_coordinates(streets.geometry.array)
    shapely.prepare(within)
    places = places[shapely.intersects_xy(within, *places.T)]
    if len(places) > _MANY:
        places = thin_places(places)
    places = np.unique(places, axis=0)
    hull = shapely.concave_hull(shapely.multipoints(places), ratio=_RATIO)
    return hull if hull.area > 0 else hull.buffer(1)


def thin_places(places: Floats) -> Floats:
    """Leave out places that have hardly a say in the concave hull.

    The hull is what remains of the places' triangulation when triangles with an outer side longer
    than a limit are taken off its edge; the limit is at least a tenth of the longest side of the
    convex hull. Of the places in a square a 128th of the limit wide one is kept. Of these, in a
    square an eighth of the limit wide that has places all around it, again one is kept, and the
    outermost ones in 8 directions in any other. So gaps between places hardly grow, and the hull
    moves, as a rule, by less than a tenth of the limit.

    Parameters
    ----------
    places
        East and north in metres, shape (n, 2).

    Returns
    -------
    numpy.ndarray
        Some of them; all, where the limit is so small that squares would be too many.
    """
    corners = shapely.get_coordinates(shapely.convex_hull(shapely.linestrings(places)))
    limit = _RATIO * np.hypot(*np.diff(corners, axis=0).T).max()
    if np.prod([np.ptp(axis) / limit * 128 + 3 for axis in places.T]) > _MAX_SQUARES:
        return places
    one, _, _ = _choose_one(places, limit / 128)
    places = places[one[one >= 0]]
    one, code, shape = _choose_one(places, limit / 8)
    rim = np.flatnonzero(~_surrounded(one >= 0, shape)[code])
    rim = rim[np.argsort(code[rim], kind="stable")]
    first = np.flatnonzero(np.diff(code[rim], prepend=-1))
    count = np.diff(np.r_[first, len(rim)])

    outermost = np.zeros(len(rim), dtype=np.bool_)
    middle = places.mean(axis=0)
    for angle in np.arange(4) * np.pi / 4:
        along = (places[rim] - middle) @ [np.cos(angle), np.sin(angle)]
        for end in (np.minimum, np.maximum):
            outermost |= along == np.repeat(end.reduceat(along, first), count)
    kept: Floats = places[np.r_[one[one >= 0], rim[outermost]]]
    return kept


def _choose_one(places: Floats, width: float) -> tuple[Ints, Ints, tuple[int, int]]:
    """Put places into squares: one of each (-1 for none), the square of each, columns and rows."""
    # Axis by axis: numpy is slow at finding the least of many short rows.
    column, row = (((axis - axis.min()) / width).astype(np.int32) + 1 for axis in places.T)
    shape = (int(column.max()) + 2, int(row.max()) + 2)
    code = column * shape[1] + row
    one = np.full(shape[0] * shape[1], -1, dtype=np.int32)
    one[code] = np.arange(len(code), dtype=np.int32)
    return one, code, shape


def _surrounded(occupied: Flags, shape: tuple[int, int]) -> Flags:
    """Tell of all cells of a grid whether they and their eight neighbours are occupied."""
    full = occupied.reshape(shape)
    width, height = shape
    around = np.zeros(shape, dtype=np.bool_)
    around[1:-1, 1:-1] = np.logical_and.reduce(
        [full[x : width - 2 + x, y : height - 2 + y] for x in range(3) for y in range(3)]
    )
    return around.ravel()
