"""How far along each piece of street one comes on a walk from each fixed point."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from survey.frame.frame import Frame
from survey.frame.lines import Floats, Ints, count_up
from survey.frame.network import search_within


@dataclass(frozen=True, eq=False)
class Walks:
    """Pairs of a point and a piece of street that is reached from at least one of its ends.

    Attributes
    ----------
    points
        Rows in `frame.points` that are walked from.
    number
        The place in `points` of each pair.
    piece
        The row in the pieces of `frame.network` of each pair.
    to_u_mm, to_v_mm
        The walk to both ends of the piece, infinite beyond the limit.
    """

    points: Ints
    number: Ints
    piece: Ints
    to_u_mm: Floats
    to_v_mm: Floats

    def reach_in(self, length_mm: Ints, limit_mm: int) -> tuple[Ints, Ints]:
        """Measure how much of pieces of this length is reached from u, and how much from v.

        Where a piece is reached throughout, all of it counts from u.
        """
        left, right = (
            np.clip(limit_mm - way, 0, length_mm).astype(np.int64)
            for way in (self.to_u_mm, self.to_v_mm)
        )
        whole = left + right >= length_mm
        return np.where(whole, length_mm, left), np.where(whole, 0, right)

    def pick(self, rows: Ints) -> "Walks":
        """Pick some of the pairs."""
        ways = self.to_u_mm[rows], self.to_v_mm[rows]
        return Walks(self.points, self.number[rows], self.piece[rows], *ways)


def walk_pieces(frame: Frame, pieces: Ints, limit_mm: int) -> Iterator[Walks]:
    """Walk from every fixed point to some pieces of street, neighbouring points together.

    Parameters
    ----------
    frame
        What can be drawn.
    pieces
        Rows in the pieces of `frame.network`, each once.
    limit_mm
        How far to walk, in millimetres.

    Yields
    ------
    Walks
        The pairs of some of the points; no pair twice, and no point in two of them.
    """
    network = frame.network
    u, v = network.u[pieces], network.v[pieces]
    from_u, from_v = _Rows.of(u, network.size), _Rows.of(v, network.size)
    local = np.full(network.size, -1)
    sources = frame.sources("point", frame.points["point_id"])
    for point, node, distance in search_within(network, sources, limit_mm):
        local[node] = np.arange(len(node))
        row, other = from_u.at(node), from_v.at(node)
        row = np.r_[row, other[local[u[other]] < 0]]
        # The last column stands for all nodes that are not of this part.
        wide = np.pad(distance, ((0, 0), (0, 1)), constant_values=np.inf)
        to_u, to_v = (wide.take(local[end[row]], axis=1) for end in (u, v))
        local[node] = -1
        met = np.minimum(to_u, to_v) < limit_mm
        number, column = np.nonzero(met)
        yield Walks(point, number, pieces[row[column]], to_u[met], to_v[met])


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows grouped by a number that each of them has."""

    order: Ints
    first: Ints
    count: Ints

    @classmethod
    def of(cls, number: Ints, size: int) -> "_Rows":
        count = np.bincount(number, minlength=size)
        return cls(np.argsort(number, kind="stable"), np.cumsum(count) - count, count)

    def at(self, numbers: Ints) -> Ints:
        group, step = count_up(self.count[numbers])
        rows: Ints = self.order[self.first[numbers][group] + step]
        return rows


def reached_stretches(frame: Frame, limit_m: float) -> pd.DataFrame:
    """Find which stretches of street lie within a walk of each fixed point.

    Returns
    -------
    pandas.DataFrame
        ``point`` (row in `frame.points`), ``edge`` (row in the edges), ``from_mm``, ``to_mm``:
        stretches that do not overlap each other for one point; by point.
    """
    network = frame.network
    limit_mm = round(limit_m * 1000)
    parts = [pd.DataFrame({"point": [], "edge": [], "from_mm": [], "to_mm": []}, dtype="int64")]
    for walks in walk_pieces(frame, np.arange(len(network.u)), limit_mm):
        left, right = walks.reach_in(network.length_mm[walks.piece], limit_mm)
        piece = np.r_[walks.piece, walks.piece]
        start, end = network.from_mm[piece], network.to_mm[piece]
        start[len(left) :] = end[len(left) :] - right
        end[: len(left)] = start[: len(left)] + left
        point = np.tile(walks.points[walks.number], 2)
        by = np.lexsort((piece, np.repeat([0, 1], len(left)), point))
        by = by[start[by] < end[by]]
        rows = {"point": point, "edge": network.edge[piece], "from_mm": start, "to_mm": end}
        parts.append(pd.DataFrame({name: cells[by] for name, cells in rows.items()}))
    return pd.concat(parts, ignore_index=True)
