"""Exact, vectorised work on many lines at once."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def count_up(counts: Ints) -> tuple[Ints, Ints]:
    """Count within consecutive groups: ``[2, 3]`` gives ``[0 0 1 1 1]`` and ``[0 1 0 1 2]``."""
    group = np.repeat(np.arange(len(counts)), counts)
    start = np.cumsum(counts) - counts
    return group, np.arange(len(group)) - start[group]


@dataclass(frozen=True, eq=False)
class Vertices:
    """The vertices of many lines in one array.

    Attributes
    ----------
    places
        Coordinates, shape (n, 2).
    first, count
        Where each line's vertices begin in `places`, and how many they are.
    along
        Distance from the start of its line to each vertex, shape (n,).
    """

    places: Floats
    first: Ints
    count: Ints
    along: Floats


def read_vertices(lines: npt.NDArray[Any]) -> Vertices:
    """Read the vertices of an array of LineStrings."""
    places, line = shapely.get_coordinates(lines, return_index=True)
    count = np.bincount(line, minlength=len(lines)).astype(np.int64)
    first = np.cumsum(count) - count
    steps = np.zeros(len(places))
    steps[1:] = np.hypot(*np.diff(places, axis=0).T)
    steps[first[count > 0]] = 0
    # Summed line by line: one sum over all would let a line's last digits depend on the others.
    along = pd.Series(steps).groupby(line).cumsum().to_numpy()
    return Vertices(places, first, count, along)


def cut_lines(lines: npt.NDArray[Any], start: Floats, end: Floats) -> npt.NDArray[Any]:
    """Cut one stretch out of each line.

    Parameters
    ----------
    lines
        LineStrings.
    start, end
        Where the stretch begins and ends, as fractions of each line's length, start <= end.

    Returns
    -------
    numpy.ndarray
        One LineString per line, with at least two vertices.
    """
    vertices = read_vertices(lines)
    last = vertices.first + vertices.count - 1
    length = vertices.along[last]
    begin, stop = start * length, end * length
    line, step = count_up(vertices.count)
    inner = (vertices.along > begin[line]) & (vertices.along < stop[line])
    ends = [
        shapely.get_coordinates(shapely.line_interpolate_point(lines, at)) for at in (begin, stop)
    ]
    owner = np.r_[np.arange(len(lines)), line[inner], np.arange(len(lines))]
    order = np.r_[np.full(len(lines), -1), step[inner], vertices.count]
    places = np.concatenate([ends[0], vertices.places[inner], ends[1]])
    by = np.lexsort((order, owner))
    return np.asarray(shapely.linestrings(places[by], indices=owner[by]))


def as_multi(shapes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Make every polygon a MultiPolygon of its polygonal parts."""
    parts, owner = shapely.get_parts(shapes, return_index=True)
    flat = shapely.get_type_id(parts) == shapely.GeometryType.POLYGON
    return np.asarray(shapely.multipolygons(parts[flat], indices=owner[flat]))
