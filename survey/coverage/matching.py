"""Intervals of street on two maps laid over each other, in whole millimetres.

A segment is two consecutive vertices of an edge's line, rounded to the millimetre, whichever comes
first. It is matched where both maps check it as a piece of the same way (``way_id``); edges may be
split elsewhere, drawn the other way round or have another ``edge_id``. Where one map has a vertex
on a straight piece of the other's same way, as a new junction or the boundary of another area
makes, the piece counts as two segments. What is not matched is a change of the map: streets drawn,
erased, moved or given another ``way_id``, and streets that only one map checks.
"""

from dataclasses import dataclass, replace
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from survey.frame.lines import Ints, count_up, read_vertices
from survey.frame.streets import to_mm

CHANGES = ("better", "worse", "new street", "lost street")
"""How a stretch of street may have changed."""

ON_LINE_MM = 20
"""How far a vertex may lie off a straight piece of street and be on it: OpenStreetMap holds places
to 1e-7 degree, so a node put on a straight line lies up to 8 mm beside it."""

_ENDS = ["x0", "y0", "x1", "y1"]
_SEGMENT = ["way_id", "low_x", "low_y", "high_x", "high_y", "occurrence"]
_SIGNS = dict(zip(CHANGES, (1, -1, 1, -1), strict=True))


@dataclass(frozen=True, eq=False)
class StreetMap:
    """The edges of one map end to end on one axis, in whole millimetres, and their segments.

    Attributes
    ----------
    rows
        The row of each edge by its id.
    first, end
        Where each edge begins on the axis, and where the axis ends.
    segments
        In the order of the axis: ``edge`` (row), ``start, stop`` on the axis, ``way_id``, and
        their ends ``x0, y0, x1, y1`` in millimetres.
    """

    rows: "pd.Index[Any]"
    first: Ints
    end: int
    segments: pd.DataFrame

    @classmethod
    def read(cls, edges: gpd.GeoDataFrame) -> "StreetMap":
        """Read the table `edges`."""
        length = to_mm(edges["length_m"])
        first = np.cumsum(length) - length
        vertices = read_vertices(edges.geometry.array)
        line, step = count_up(vertices.count - 1)
        begin = vertices.first[line] + step
        total = vertices.along[vertices.first + vertices.count - 1][line]
        # Vertices' offsets are rounded, not segments' lengths, so that the sum is the edge's.
        scale = length[line] / np.where(total > 0, total, 1)
        start, stop = (
            first[line] + np.rint(vertices.along[at] * scale).astype(np.int64)
            for at in (begin, begin + 1)
        )
        spots = np.rint(vertices.places * 1000).astype(np.int64)
        segments = pd.DataFrame(
            {
                "edge": line,
                "start": start,
                "stop": stop,
                "way_id": edges["way_id"].to_numpy()[line],
                **dict(zip(_ENDS, (*spots[begin].T, *spots[begin + 1].T), strict=True)),
            }
        )
        return cls(pd.Index(edges["edge_id"]), first, int(length.sum()), segments)

    def place(self, intervals: pd.DataFrame) -> pd.DataFrame:
        """Put intervals (``edge_id, from_m, to_m, covered``) on the axis, in its order."""
        base = self.first[self.rows.get_indexer(pd.Index(intervals["edge_id"]))]
        start, stop = (base + to_mm(intervals[name]) for name in ("from_m", "to_m"))
        covered = intervals["covered"].to_numpy(dtype=bool)
        placed = pd.DataFrame({"start": start, "stop": stop, "covered": covered})
        return placed.sort_values("start", ignore_index=True)

    def choose(self, intervals: pd.DataFrame) -> pd.DataFrame:
        """Choose the segments of the edges that have intervals, as `_name_segments` names them."""
        checked = np.zeros(len(self.rows), dtype=bool)
        checked[self.rows.get_indexer(pd.Index(intervals["edge_id"]))] = True
        return _name_segments(self.segments[checked[self.segments["edge"]]])


def align_maps(old: StreetMap, new: StreetMap) -> tuple[StreetMap, StreetMap]:
    """Cut the segments of each map at the vertices that the other's same way has on them."""
    named = [_name_segments(one.segments) for one in (old, new)]
    alone = [
        one.merge(two[_SEGMENT], on=_SEGMENT, how="left", indicator=True)["_merge"] == "left_only"
        for one, two in (named, named[::-1])
    ]
    old_alone = old.segments[alone[0].to_numpy()]
    new_alone = new.segments[alone[1].to_numpy()]
    return (
        replace(old, segments=_cut_segments(old.segments, old_alone, new_alone)),
        replace(new, segments=_cut_segments(new.segments, new_alone, old_alone)),
    )


def _name_segments(segments: pd.DataFrame) -> pd.DataFrame:
    """Add the columns `_SEGMENT`, the smaller end first, and ``turned``: drawn from the other.

    ``occurrence`` counts segments that a way passes several times.
    """
    x0, y0, x1, y1 = (segments[name].to_numpy() for name in _ENDS)
    turned = (x0 > x1) | ((x0 == x1) & (y0 > y1))
    named = segments.assign(
        turned=turned,
        low_x=np.where(turned, x1, x0),
        low_y=np.where(turned, y1, y0),
        high_x=np.where(turned, x0, x1),
        high_y=np.where(turned, y0, y1),
    )
    return named.assign(occurrence=named.groupby(_SEGMENT[:-1]).cumcount())


def _cut_segments(segments: pd.DataFrame, alone: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Cut those of `segments` that are `alone` at the vertices of `other` that lie on them."""
    ends = [other[["way_id", *names]].to_numpy() for names in (_ENDS[:2], _ENDS[2:])]
    spots = pd.DataFrame(np.concatenate(ends), columns=["way_id", "x", "y"]).drop_duplicates()
    lines = shapely.linestrings(alone[_ENDS].to_numpy(dtype=float).reshape(-1, 2, 2))
    points = shapely.points(spots[["x", "y"]].to_numpy(dtype=float))
    spot, row = shapely.STRtree(lines).query(points, predicate="dwithin", distance=ON_LINE_MM)
    along, total = shapely.line_locate_point(lines[row], points[spot]), shapely.length(lines[row])
    on = (along > ON_LINE_MM) & (along < total - ON_LINE_MM)
    on &= spots["way_id"].to_numpy()[spot] == alone["way_id"].to_numpy()[row]
    spot, row, share = spot[on], row[on], along[on] / total[on]
    # Each row begins a segment: at its own start, or at a cut; it ends where the next one begins.
    begins = alone.iloc[row].assign(
        x0=spots["x"].to_numpy(dtype=np.int64)[spot], y0=spots["y"].to_numpy(dtype=np.int64)[spot]
    )
    length = (begins["stop"] - begins["start"]).to_numpy()
    begins["start"] += np.rint(share * length).astype(np.int64)
    parts = pd.concat([segments.assign(share=0.0), begins.assign(share=share)])
    parts = parts.assign(number=parts.index).sort_values(["number", "share"], ignore_index=True)
    inner = (parts["number"] == parts["number"].shift(-1)).to_numpy()
    for end, begin in (("stop", "start"), ("x1", "x0"), ("y1", "y0")):
        following = parts[begin].shift(-1, fill_value=0)
        parts[end] = np.where(inner, following, parts[end])
    return parts.drop(columns=["number", "share"])


def compare_intervals(
    old_rows: pd.DataFrame,
    new_rows: pd.DataFrame,
    *,
    old_map: StreetMap,
    new_map: StreetMap,
    least_mm: int,
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Compare the checked intervals of two maps.

    Parameters
    ----------
    old_rows, new_rows
        ``edge_id, from_m, to_m, covered`` (bool): whole edges in intervals that do not overlap.
    old_map, new_map
        The maps on which they lie.
    least_mm
        Changes shorter than this are counted as rounding.

    Returns
    -------
    tuple
        Changed stretches: ``edge`` (row of the new map's edges followed by the old map's),
        ``from_mm, to_mm, change`` (one of `CHANGES`), ``covered`` (whether it is now; for a lost
        street whether it was); and ``before, after, rounding`` in millimetres: what is covered,
        and what of the difference is rounding.

    Raises
    ------
    ArithmeticError
        If the changes do not add up to the difference, which is a bug.
    """
    before, after = old_map.place(old_rows), new_map.place(new_rows)
    # The axis is that of the new map and, behind it for what is not matched, that of the old one.
    moved = _move(before, old_map.choose(old_rows), new_map.choose(new_rows), new_map.end)
    first = np.r_[new_map.first, new_map.end + old_map.first]
    changes = _overlay(moved, after, first)
    length = changes["stop"] - changes["start"]
    counted = changes["covered"] | (changes["change"] == "worse")
    gain = length * changes["change"].map(_SIGNS).astype(np.int64) * counted
    small = length < least_mm
    sums = {"before": _sum_covered(before), "after": _sum_covered(after)}
    sums["rounding"] = int(gain[small].sum()) + _sum_covered(moved) - sums["before"]
    found = int(gain[~small].sum()) + sums["rounding"]
    if found != sums["after"] - sums["before"]:
        raise ArithmeticError(f"changes add up to {found} mm, not as the totals {sums}")
    base = first[changes["edge"]]
    changes = changes.assign(from_mm=changes["start"] - base, to_mm=changes["stop"] - base)
    return changes.loc[~small, ["edge", "from_mm", "to_mm", "change", "covered"]], sums


def _move(before: pd.DataFrame, old: pd.DataFrame, new: pd.DataFrame, behind: int) -> pd.DataFrame:
    """Bring old intervals to the new axis, segment by segment; unmatched ones behind its end."""
    start, stop = before["start"].to_numpy(), before["stop"].to_numpy()
    begins = old["start"].to_numpy()
    head = np.searchsorted(begins, start, side="right") - 1
    tail = np.searchsorted(begins, stop, side="left") - 1
    row, step = count_up(tail - head + 1)
    pairs = old.merge(new, on=_SEGMENT, how="left", suffixes=("", "_new"))
    matched = pairs["start_new"].notna().to_numpy()
    turned = (pairs["turned"] != pairs["turned_new"]).to_numpy()
    # An unmatched segment is brought to itself, behind.
    for name in ("start", "stop"):
        home = pairs[name] + behind
        pairs[f"{name}_new"] = pairs[f"{name}_new"].where(matched, home).astype(np.int64)
    at = pairs.iloc[head[row] + step]
    origin, goal = at["start"].to_numpy(), at["start_new"].to_numpy()
    # A segment may be a millimetre longer in one map, where offsets on its edge round otherwise.
    length = np.maximum(at["stop"].to_numpy() - origin, 1)
    length_new = at["stop_new"].to_numpy() - goal
    near = np.maximum(start[row], origin) - origin
    far = np.minimum(stop[row], at["stop"].to_numpy()) - origin
    near, far = ((2 * spot * length_new + length) // (2 * length) for spot in (near, far))
    back = (matched & turned)[head[row] + step]
    moved = pd.DataFrame(
        {
            "start": goal + np.where(back, length_new - far, near),
            "stop": goal + np.where(back, length_new - near, far),
            "covered": before["covered"].to_numpy()[row],
        }
    )
    return moved[moved["stop"] > moved["start"]].sort_values("start", ignore_index=True)


def _overlay(before: pd.DataFrame, after: pd.DataFrame, first: Ints) -> pd.DataFrame:
    """Find what changed on an axis on which edges begin at `first`.

    Returns
    -------
    pandas.DataFrame
        ``edge, start, stop, change, covered``; what touches on an edge and changed alike is joined.
    """
    ends = [part[name].to_numpy() for part in (before, after) for name in ("start", "stop")]
    cuts = np.unique(np.concatenate([first, *ends]))
    start, stop = cuts[:-1], cuts[1:]
    was, now = _state_at(before, start), _state_at(after, start)
    kinds = [(was == 0) & (now == 1), (was == 1) & (now == 0)]
    kinds += [(was < 0) & (now >= 0), (was >= 0) & (now < 0)]
    change = np.select(kinds, CHANGES, default="")
    pieces = pd.DataFrame(
        {
            "edge": np.searchsorted(first, start, side="right") - 1,
            "start": start,
            "stop": stop,
            "change": change,
            "covered": np.where(now < 0, was, now) == 1,
        }
    )
    pieces = pieces[change != ""]
    same = ["edge", "change", "covered"]
    unlike = (pieces[same] != pieces[same].shift()).any(axis=1)
    grouped = pieces.groupby((unlike | (pieces["start"] != pieces["stop"].shift())).cumsum())
    return grouped.first().assign(stop=grouped["stop"].last()).reset_index(drop=True)


def _state_at(intervals: pd.DataFrame, at: Ints) -> Ints:
    """Tell whether places on the axis are covered (1), fail (0) or are not checked (-1)."""
    state = np.full(len(at), -1)
    if len(intervals):
        row = np.searchsorted(intervals["start"].to_numpy(), at, side="right") - 1
        inside = (row >= 0) & (at < intervals["stop"].to_numpy()[row])
        state[inside] = intervals["covered"].to_numpy()[row[inside]]
    return state


def _sum_covered(intervals: pd.DataFrame) -> int:
    length = intervals["stop"] - intervals["start"]
    return int(length[intervals["covered"].astype(bool)].sum())
