"""Enclosure: which lines lie within polygons, and how much of a line can lie near shapes."""

import numpy as np
import shapely
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from survey.frame.blocks import Flags, union_groups
from survey.frame.cores import share_out, share_rows
from survey.frame.lines import Floats, Ints, Shapes


def most_within(lines: Shapes, row: Ints, shapes: Shapes, *, within_m: float = 0.0) -> Floats:
    """Bound from above the length of each line that lies within a distance of some shapes.

    What leads from an end of a line to the nearest of its shapes does not.

    Parameters
    ----------
    lines
        LineStrings.
    row, shapes
        Shapes, and the row in `lines` of the line that each is asked about.
    within_m
        The distance, in metres.

    Returns
    -------
    numpy.ndarray
        Metres, shape (len(lines),); 0 for a line without shapes.
    """
    away = np.full((2, len(lines)), np.inf)
    for nearest, at in zip(away, (0, -1), strict=True):
        ends = shapely.get_point(lines[row], at)
        np.minimum.at(nearest, row, share_out(shapely.distance, ends, shapes))
    outside = np.maximum(away - within_m, 0).sum(axis=0)
    return np.asarray(np.maximum(shapely.length(lines) - outside, 0))


def are_enclosed(
    lines: Shapes, length_m: Floats, group: Ints, polygons: Shapes, *, share: float
) -> Flags:
    """Tell which lines lie within polygons by a share of their length, or of their group's.

    Parameters
    ----------
    lines
        LineStrings.
    length_m
        Their lengths, of which the share is taken.
    group
        Number of the group of each line, from 0.
    polygons
        Polygons or MultiPolygons, which may overlap.
    share
        Between 0 and 1.

    Returns
    -------
    numpy.ndarray
        One flag per line; false for a line of which nothing lies within.
    """
    grounds, tree = join_overlapping(polygons), shapely.STRtree(lines)
    pairs = share_rows(lambda rows: _meet(grounds, tree, rows), np.arange(len(grounds)))
    ground, line, whole = (np.concatenate(each) for each in zip(*pairs, strict=True))
    inner = np.zeros(len(lines))
    inner[line[whole]] = shapely.length(lines[line[whole]])
    ground, line = ground[~whole], line[~whole]

    def reach(inner: Floats, least: float) -> Flags:
        own, theirs = (np.bincount(group, weights=each)[group] for each in (inner, length_m))
        return (inner > 0) & ((inner >= least * length_m) | (own >= least * theirs))

    # Only where it may decide is a line's length within polygons measured: that is slow.
    most = np.maximum(inner, most_within(lines, line, grounds[ground]))
    decides = reach(most, share - 0.001)[line]
    ground, line = ground[decides], line[decides]
    shared = shapely.length(share_out(shapely.intersection, lines[line], grounds[ground]))
    return reach(inner + np.bincount(line, weights=shared, minlength=len(lines)), share)


def _meet(grounds: Shapes, tree: shapely.STRtree, rows: Ints) -> tuple[Ints, Ints, Flags]:
    """Find the lines that meet some grounds: ground, line, and whether all of it lies within."""
    own = grounds[rows]
    shapely.prepare(own)
    ground, line = tree.query(own, predicate="intersects")
    return rows[ground], line, shapely.contains_properly(own[ground], tree.geometries[line])


def join_overlapping(polygons: Shapes) -> Shapes:
    """Join polygons that overlap or touch, and list the parts of all that there are then."""
    polygons = polygons[~shapely.is_empty(polygons)]
    left, right = shapely.STRtree(polygons).query(polygons, predicate="intersects")
    links = coo_array((np.ones(len(left)), (left, right)), shape=(len(polygons),) * 2)
    group = connected_components(links, directed=False)[1]
    alone = np.bincount(group)[group] == 1
    number = np.unique(group[~alone], return_inverse=True)[1]
    joined = union_groups(polygons[~alone], number)
    return np.asarray(shapely.get_parts(np.concatenate([polygons[alone], joined])))
