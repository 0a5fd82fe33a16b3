"""The share of street that meets a rule, by subdistrict and around each fixed point."""

from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd

from survey import tables
from survey.coverage.around import Around, SegmentGrid
from survey.coverage.checked import Checked
from survey.coverage.cuts import Stretches
from survey.coverage.intervals import Segments, cut_segments
from survey.coverage.rules import Rule
from survey.frame.frame import Frame
from survey.frame.lines import Floats, Ints
from survey.frame.network import Network
from survey.sampling.reach import CATCHMENT_RADII_M
from survey.sampling.walks import Walks, walk_pieces

_SPAN = ("edge", "from_mm", "to_mm")
_PIECES_AT_ONCE = 200_000


def measure_shares(frame: Frame, rule: Rule, checked: Checked, rows: pd.DataFrame) -> pd.DataFrame:
    """Measure shares of checked street that meets a rule.

    Around a point the street is that within 500, 1,000 and 2,000 m by the rule's own metric: on
    foot along streets from its doors, or by crow from its shape.

    Parameters
    ----------
    frame
        What can be drawn.
    rule
        The rule.
    checked
        The streets that are checked.
    rows
        Covered intervals: ``edge, from_mm, to_mm``.

    Returns
    -------
    pandas.DataFrame
        The table `shares`; ``within_m`` is missing for a subdistrict, ``share`` where there is
        no checked street.
    """
    covered = _Covered.of(frame.streets.length_mm, rows)
    # The walks come first: meanwhile another thread makes what both need.
    by_point = _by_walk(frame, checked.edges, covered) if rule.metric == "walk" else None
    street = _Street.of(checked.grid, covered)
    by_area = street.measure(checked.by_area)
    if by_point is None:
        by_point = _by_crow(street, np.asarray(frame.points.geometry.array))
    ids = frame.points["point_id"].to_numpy()
    radii = np.array(CATCHMENT_RADII_M, dtype=np.float64)
    count = len(radii) * len(ids)
    checked_m, covered_m = (
        tables.round_mm(np.r_[area, point.ravel()])
        for area, point in zip(by_area, by_point, strict=True)
    )
    some = checked_m > 0
    share = np.full(len(some), np.nan)
    share[some] = np.minimum(covered_m[some] / checked_m[some], 1)
    table = pd.DataFrame(
        {
            "rule_id": rule.rule_id,
            "scope": np.repeat(["subdistrict", "point"], [len(frame.subdistricts), count]),
            "id": np.r_[frame.subdistricts["subdistrict_id"].to_numpy(), np.tile(ids, len(radii))],
            "within_m": np.r_[np.full(len(frame.subdistricts), np.nan), np.repeat(radii, len(ids))],
            "checked_m": checked_m,
            "covered_m": covered_m,
            "checked_n": np.nan,
            "covered_n": np.nan,
            "share": share,
        }
    )
    return tables.make("shares", table.sort_values(["scope", "id", "within_m"], kind="stable"))


def share_lengths(frame: Frame, rule: Rule, lines: Any, gaps: gpd.GeoDataFrame) -> pd.DataFrame:
    """Measure, by subdistrict, the share of the length of `lines` that lies outside `gaps`.

    Returns
    -------
    pandas.DataFrame
        The table `shares`.
    """
    shapes = np.asarray(frame.subdistricts.geometry.array)
    total, failing = (_lengths_inside(part, shapes) for part in (lines, gaps.geometry.array))
    covered = np.maximum(total - failing, 0)
    empty = np.full(len(shapes), np.nan)
    share = np.divide(covered, total, out=empty.copy(), where=total > 0)
    made: pd.DataFrame = tables.make(
        "shares",
        {
            "rule_id": [rule.rule_id] * len(shapes),
            "scope": ["subdistrict"] * len(shapes),
            "id": frame.subdistricts["subdistrict_id"],
            "within_m": empty,
            "checked_m": total,
            "covered_m": tables.round_mm(covered),
            "checked_n": empty,
            "covered_n": empty,
            "share": share,
        },
    )
    return made


def _lengths_inside(lines: Any, shapes: npt.NDArray[Any]) -> Floats:
    """Total length of lines inside each of some shapes, to the millimetre."""
    grid = SegmentGrid.of(cut_segments(np.asarray(lines)))
    nothing = _Covered.of(np.zeros(len(lines), dtype=np.int64), pd.DataFrame(columns=_SPAN))
    return tables.round_mm(_Street.of(grid, nothing).measure(grid.find_inside(shapes))[0])


@dataclass(frozen=True, eq=False)
class _Covered:
    """How much of any stretch of an edge is covered, in millimetres.

    Attributes
    ----------
    length_mm, covered_mm
        Of each edge.
    base
        Where each edge begins on an axis of all edges end to end.
    at, total
        Places on that axis, and how much is covered up to there; on edges covered in part only.
    """

    length_mm: Ints
    covered_mm: Floats
    base: Ints
    at: Floats
    total: Floats

    @classmethod
    def of(cls, length_mm: Ints, rows: pd.DataFrame) -> "_Covered":
        edge, start, end = (rows[name].to_numpy(dtype=np.int64) for name in _SPAN)
        covered = np.bincount(edge, weights=end - start, minlength=len(length_mm)).astype(float)
        base = np.cumsum(length_mm) - length_mm
        part = covered[edge] < length_mm[edge]
        at = np.c_[base[edge] + start, base[edge] + end][part].ravel()
        total = np.repeat(np.cumsum(np.r_[0, (end - start)[part]]), 2)[1:-1]
        return cls(length_mm, covered, base, np.r_[-1.0, at], np.r_[0.0, total])

    def between(self, edge: Ints, start_mm: Any, end_mm: Any) -> Floats:
        """Measure how much of stretches of edges is covered."""
        found = np.where(self.covered_mm[edge] > 0, end_mm - start_mm, 0.0)
        part = np.flatnonzero((found > 0) & (self.covered_mm[edge] < self.length_mm[edge]))
        first, last = (self.base[edge[part]] + at[part] for at in (start_mm, end_mm))
        found[part] = np.interp(last, self.at, self.total) - np.interp(first, self.at, self.total)
        return found


@dataclass(frozen=True, eq=False)
class _Street:
    """Checked street in a grid, with running totals of metres checked and covered."""

    grid: SegmentGrid
    covered: _Covered
    totals: Floats

    @classmethod
    def of(cls, grid: SegmentGrid, covered: _Covered) -> "_Street":
        size = len(grid.middle)
        metres = np.zeros((2, size + 1))
        for start in range(0, size, _PIECES_AT_ONCE):
            some = slice(start, min(start + _PIECES_AT_ONCE, size))
            metres[:, 1 + some.start : 1 + some.stop] = _measure(
                grid.segments, covered, grid.pieces.pick(some)
            )
        return cls(grid, covered, np.cumsum(metres, axis=1, out=metres))

    def measure(self, found: Around) -> Floats:
        """Measure the metres checked and covered of each shape, shape (2, shapes)."""
        runs = self.totals[:, found.run_stop] - self.totals[:, found.run_start]
        cuts = _measure(self.grid.segments, self.covered, found.cut)
        size = len(found.shapes)
        return np.array(
            [
                np.bincount(found.run_number, weights=run, minlength=size)
                + np.bincount(found.cut_number, weights=cut, minlength=size)
                for run, cut in zip(runs, cuts, strict=True)
            ]
        )


def _measure(segments: Segments, covered: _Covered, stretches: Stretches) -> Floats:
    """Measure the metres of stretches, and of what is covered of them, shape (2, stretches)."""
    row = stretches.segment
    along, scale = segments.along[row], segments.scale[row]
    ends = [(along + at) * scale for at in (stretches.start, stretches.end)]
    inside = covered.between(segments.edge[row], *ends)
    # An edge shorter than half a millimetre has no scale, and nothing of it is covered.
    np.divide(inside, scale, out=inside, where=scale > 0)
    return np.stack([stretches.end - stretches.start, inside])


def _by_walk(frame: Frame, checked: npt.NDArray[np.bool_], covered: _Covered) -> Floats:
    """Measure the metres checked and covered around points, shape (2, radii, points)."""
    network = frame.network
    edge, length = network.edge, network.length_mm
    limits = np.array(CATCHMENT_RADII_M) * 1000
    inside = covered.between(edge, network.from_mm, network.to_mm)
    weights = length.astype(np.float64), inside
    sums = np.zeros((2, len(limits), len(frame.points)))
    for walks in walk_pieces(frame, np.flatnonzero(checked[edge]), int(limits[-1])):
        size = len(walks.points)
        # All of a piece is reached where the walks from both of its ends meet.
        ways = walks.to_u_mm + walks.to_v_mm + weights[0][walks.piece]
        near = np.minimum(walks.to_u_mm, walks.to_v_mm)
        rank = sum((ways > 2 * limit).astype(np.int64) for limit in limits)
        place = rank * size + walks.number
        for one, weight in zip(sums, weights, strict=True):
            found = np.bincount(place, weight[walks.piece], minlength=size * (len(limits) + 1))
            one[:, walks.points] = np.cumsum(found.reshape(-1, size), axis=0)[:-1]
        for number, limit in enumerate(limits):
            cut = walks.pick(np.flatnonzero((near < limit) & (rank > number)))
            parts = _measure_ends(network, covered, cut, int(limit))
            for one, part in zip(sums, parts, strict=True):
                found = np.bincount(cut.number, weights=part, minlength=size)
                one[number, walks.points] += found
    return sums / 1000


def _measure_ends(network: Network, covered: _Covered, walks: Walks, limit_mm: int) -> Floats:
    """Measure what is reached from the ends of pieces, and what is covered of it."""
    piece = walks.piece
    edge, start, stop = network.edge[piece], network.from_mm[piece], network.to_mm[piece]
    left, right = walks.reach_in(stop - start, limit_mm)
    inside = covered.between(edge, start, start + left) + covered.between(edge, stop - right, stop)
    return np.stack([left + right, inside])


def _by_crow(street: _Street, shapes: npt.NDArray[Any]) -> Floats:
    """Measure the metres checked and covered around points, shape (2, radii, points)."""
    sums = np.zeros((2, len(CATCHMENT_RADII_M), len(shapes)))
    for number, radius in enumerate(CATCHMENT_RADII_M):
        for found in street.grid.find_around(shapes, radius):
            sums[:, number, found.shapes] = street.measure(found)
    return sums
