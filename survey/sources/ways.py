"""Ways as runs of vertices: where they lie, and the stretches of them that the file holds."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import shapely

from survey.sources.contents import Contents
from survey.sources.grid import Grid
from survey.sources.pbf_blocks import Flags, Objects, Places
from survey.sources.varints import Ints, count_up

Box = tuple[float, float, float, float]
Boxes = npt.NDArray[np.int32]

FAR = (1 << 31) - 1
"""Beyond any place."""

_AT_ONCE = 100_000  # ways: what is worked out of them takes several times their memory


@dataclass(frozen=True, eq=False)
class Ways:
    """Some ways of a file.

    Attributes
    ----------
    objects
        The ways. They refer to rows in ``Contents.places``, -1 for nodes that have no place.
    rank
        Their places in the order of the file.
    boxes
        West, south, east, north in 1e-7 degrees; turned inside out where no node has a place.
    """

    objects: Objects
    rank: Ints
    boxes: Boxes

    @property
    def spots(self) -> Ints:
        """The rows of their nodes' places."""
        return self.objects.refs

    def take(self, rows: Ints) -> "Ways":
        """Copy some of them, in the order of `rows`."""
        return Ways(self.objects.take(rows), self.rank[rows], self.boxes[rows])


@dataclass(frozen=True, eq=False)
class Stretches:
    """Runs of nodes that have places, of some `Ways`, at least two each.

    Attributes
    ----------
    way
        The row of the way of each.
    part
        Which run of its way it is, from 0.
    count, spots
        How many vertices each has; the rows in ``Contents.places`` of all.
    """

    way: Ints
    part: Ints
    count: Ints
    spots: Ints

    @property
    def ends(self) -> Ints:
        """Where the vertices of each begin, and behind them where the last ones end."""
        return np.concatenate([[0], np.cumsum(self.count)])

    def take(self, rows: Ints) -> "Stretches":
        """Copy some of them, in the order of `rows`."""
        inner = count_up((np.cumsum(self.count) - self.count)[rows], self.count[rows])
        return Stretches(self.way[rows], self.part[rows], self.count[rows], self.spots[inner])


def find_ways(contents: Contents) -> Ways:
    """Find where the ways of a file lie."""
    objects, turn = contents.ways, None
    if contents.turns is not None:
        turn = np.repeat(contents.turns[1], objects.ref_count)
    spots = contents.locate(objects.refs, turn)
    spots[objects.refs < 0] = -1  # an editor's drafts, which are not in OpenStreetMap
    boxes = _bound(contents, objects, spots)
    return Ways(replace(objects, refs=spots), np.arange(len(objects.ids), dtype=np.int32), boxes)


def _bound(contents: Contents, objects: Objects, spots: Ints) -> Boxes:
    boxes = np.repeat(np.array([[FAR, FAR, -FAR, -FAR]], np.int32), len(objects.ids), axis=0)
    rows = np.flatnonzero(objects.ref_count if len(contents.places.ids) else [])
    ends = np.concatenate([[0], np.cumsum(objects.ref_count[rows])])
    for at in range(0, len(rows), _AT_ONCE):
        some, part = rows[at : at + _AT_ONCE], ends[at : at + _AT_ONCE + 1]
        mine, first = spots[part[0] : part[-1]], part[:-1] - part[0]
        lost = np.flatnonzero(mine < 0)
        for side, places in enumerate((contents.places.x, contents.places.y)):
            values = places[mine]
            values[lost] = FAR
            boxes[some, side] = np.minimum.reduceat(values, first)
            values[lost] = -FAR
            boxes[some, side + 2] = np.maximum.reduceat(values, first)
    return boxes


def touch_box(boxes: Boxes, box: Box) -> Flags:
    """Tell which boxes reach into `box` (west, south, east, north)."""
    west, south, east, north = box
    touching: Flags = (
        (boxes[:, 0] <= east)
        & (boxes[:, 1] <= north)
        & (boxes[:, 2] >= west)
        & (boxes[:, 3] >= south)
    )
    return touching


def find_stretches(ways: Ways) -> Stretches:
    """Cut ways where nodes have no place; a node that is named twice in a row is one vertex."""
    size = len(ways.objects.ids)
    ends = np.concatenate([[0], np.cumsum(ways.objects.ref_count)])
    parts = []
    for at in range(0, max(size, 1), _AT_ONCE):
        stop = min(at + _AT_ONCE, size)
        parts.append(_cut(at, ways.objects.ref_count[at:stop], ways.spots[ends[at] : ends[stop]]))
    return Stretches(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _cut(row: int, count: Ints, spots: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Cut the ways from a row on: the columns of `Stretches`."""
    owner = np.repeat(np.arange(row, row + len(count), dtype=np.int32), count)
    known = spots >= 0
    fresh = np.r_[True, (spots[1:] != spots[:-1]) | (owner[1:] != owner[:-1])][: len(spots)]
    vertex = np.flatnonzero(known & fresh)
    way, gap = owner[vertex], np.cumsum(~known, dtype=np.int32)[vertex]
    new = np.r_[True, (way[1:] != way[:-1]) | (gap[1:] != gap[:-1])][: len(way)]
    count = np.diff(np.r_[np.flatnonzero(new), len(new)])
    long = count > 1
    vertex, way = vertex[np.repeat(long, count)], way[new][long]
    part = np.arange(len(way)) - np.searchsorted(way, way)
    return way, part, count[long], spots[vertex]


def draw_lines(stretches: Stretches, grid: Grid) -> npt.NDArray[np.object_]:
    """Make each stretch a LineString in the CRS of `grid`."""
    places = grid.place(stretches.spots)
    lines: npt.NDArray[np.object_] = shapely.from_ragged_array(
        shapely.GeometryType.LINESTRING, places, (stretches.ends,)
    )
    return lines


def find_cut(ways: Ways) -> Flags:
    """Tell which ways have nodes without a place."""
    cut = np.zeros(len(ways.objects.ids), dtype=np.bool_)
    lost = np.flatnonzero(ways.spots < 0)
    cut[np.searchsorted(np.cumsum(ways.objects.ref_count), lost, side="right")] = True
    return cut


def find_whole(ways: Ways, stretches: Stretches) -> Flags:
    """Tell which ways have all their nodes, and at least two."""
    size = len(ways.objects.ids)
    whole: Flags = (np.bincount(stretches.way, minlength=size) == 1) & ~find_cut(ways)
    return whole


def find_closed(ways: Ways, places: Places) -> Flags:
    """Tell which ways of at least four nodes end where they begin."""
    closed = np.zeros(len(ways.objects.ids), dtype=np.bool_)
    rows = np.flatnonzero(ways.objects.ref_count > 3)
    last = np.cumsum(ways.objects.ref_count)[rows] - 1
    first, last = ways.spots[last - ways.objects.ref_count[rows] + 1], ways.spots[last]
    same = (places.x[first] == places.x[last]) & (places.y[first] == places.y[last])
    closed[rows] = same & (first >= 0) & (last >= 0)
    return closed


def turn_rings(x: Ints, y: Ints, count: Ints) -> Ints:
    """Turn closed rings as libosmium does: from the westernmost vertex, against the clock.

    Parameters
    ----------
    x, y
        The vertices of all rings; each ring's last one is its first.
    count
        How many vertices each ring has, at least 4.

    Returns
    -------
    numpy.ndarray
        The vertices to take, as rows of `x` and `y`.
    """
    first = np.cumsum(count) - count
    size = count - 1
    ring = np.repeat(np.arange(len(count)), size)
    rows = count_up(first, size)
    code = x[rows] * (1 << 32) + y[rows]
    inner = np.cumsum(size) - size
    lowest = np.flatnonzero(code == np.minimum.reduceat(code, inner)[ring])
    at = np.zeros(len(count), dtype=np.int64)
    at[ring[lowest][::-1]] = (lowest - inner[ring[lowest]])[::-1]
    east, north = x[rows] - x[first][ring], y[rows] - y[first][ring]
    cross = east * (y[rows + 1] - y[first][ring]) - (x[rows + 1] - x[first][ring]) * north
    clockwise = np.add.reduceat(cross.astype(np.float64), inner) < 0
    step: Ints = 1 - 2 * clockwise.astype(np.int64)
    within = count_up(np.zeros_like(count), count)
    turned: Ints = np.repeat(at, count) + np.repeat(step, count) * within
    vertices: Ints = np.repeat(first, count) + np.remainder(turned, np.repeat(size, count))
    return vertices
