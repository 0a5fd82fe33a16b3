"""Exact, vectorised work on many lines at once."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Shapes = npt.NDArray[Any]


def count_up(counts: Ints) -> tuple[Ints, Ints]:
    """Count within consecutive groups: ``[2, 3]`` gives ``[0 0 1 1 1]`` and ``[0 1 0 1 2]``."""
    group = np.repeat(np.arange(len(counts)), counts)
    start = np.cumsum(counts) - counts
    return group, np.arange(len(group)) - start[group]


def as_text(values: Any) -> npt.NDArray[np.str_]:
    """Copy texts, none of which is missing, to an array that numpy can sort."""
    return np.asarray(np.asarray(values, dtype=object), dtype=np.str_)


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


def cut_lines(lines: Shapes, start: npt.ArrayLike, end: npt.ArrayLike) -> Shapes:
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
        One LineString per line, with at least two vertices; a line of which all is asked for
        stays as it is.
    """
    found = np.array(lines, dtype=object)
    start, end = np.asarray(start), np.asarray(end)
    part = (start > 0) | (end < 1)
    found[part] = _cut_out(found[part], start[part], end[part])
    return found


def _cut_out(lines: Shapes, start: Floats, end: Floats) -> Shapes:
    vertices = read_vertices(lines)
    length = vertices.along[vertices.first + vertices.count - 1]
    begin, stop = start * length, end * length
    line, _ = count_up(vertices.count)
    inner = (vertices.along > begin[line]) & (vertices.along < stop[line])
    count = np.bincount(line[inner], minlength=len(lines)) + 2
    last = np.cumsum(count) - 1
    places = np.empty((count.sum(), 2))
    middle = np.ones(len(places), dtype=bool)
    for vertex, at in ((last - count + 1, begin), (last, stop)):
        middle[vertex] = False
        places[vertex] = shapely.get_coordinates(shapely.line_interpolate_point(lines, at))
    places[middle] = vertices.places[inner]
    return np.asarray(shapely.linestrings(places, indices=count_up(count)[0]))


def as_multi(shapes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Make every polygon a MultiPolygon of its polygonal parts."""
    parts, owner = shapely.get_parts(shapes, return_index=True)
    flat = shapely.get_type_id(parts) == shapely.GeometryType.POLYGON
    return np.asarray(shapely.multipolygons(parts[flat], indices=owner[flat]))
