"""Intervals of street by their nearest toilet, exact on edges, along streets and by crow."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
from scipy.spatial import cKDTree

from survey.coverage.rules import Rule
from survey.frame.frame import Frame
from survey.frame.lines import Floats, Ints, count_up, read_vertices
from survey.frame.network import Network, search_nearest

COLUMNS = ("edge", "from_mm", "to_mm", "toilet", "near_mm", "far_mm", "covered")
"""Interval columns: row of the edge, whole millimetres from u, row of the toilet (-1: none can be
reached), distance at both ends in millimetres, whether it is within the limit."""

_AT_ONCE = 100_000  # pieces or segments: what is worked out of each takes some hundred bytes


def measure_by_walk(
    frame: Frame, checked: npt.NDArray[np.bool_], limit_m: float
) -> Iterator[pd.DataFrame]:
    """Cut the checked edges where the nearest toilet on foot, or its being in reach, changes.

    On a piece of length L between nodes at distances a and b the distance at offset t is
    min(a + t, b + L - t), since no door lies inside a piece; both halves are straight lines.

    Parameters
    ----------
    frame
        What can be drawn.
    checked
        Which rows of the edges to measure; all walkable.
    limit_m
        The rule's limit.

    Yields
    ------
    pandas.DataFrame
        `COLUMNS`, sorted by ``edge`` and ``from_mm``, part by part; no edge is in two of them.
        Toilets are rows of ``frame.supply()``.
    """
    network = frame.network
    distance, toilet = search_nearest(network, frame.sources("toilet", frame.supply()["toilet_id"]))
    mine = np.flatnonzero(checked[network.edge])
    for some in _part_edges(network.edge[mine]):
        yield _cut_by_walk(network, mine[some], distance, toilet, round(limit_m * 1000))


def _cut_by_walk(
    network: Network, mine: Ints, distance: Floats, toilet: Ints, limit: int
) -> pd.DataFrame:
    edge, start = network.edge[mine], network.from_mm[mine]
    length = network.to_mm[mine] - start
    u, v = network.u[mine], network.v[mine]
    joined = np.isfinite(distance[u])
    a, b = (np.where(joined, distance[end], 0).astype(np.int64) for end in (u, v))
    turn = np.where(joined, (b + length - a) // 2, length)
    # The four stretches from u: covered, gap, gap, covered; empty ones are dropped.
    in_reach = np.where(joined, np.clip(limit - a, 0, turn), 0)
    back_in_reach = np.where(joined, np.clip(length - (limit - b), turn, length), length)
    stops = [np.zeros_like(length), in_reach, turn, back_in_reach, length]
    parts = []
    for number, (left, right) in enumerate(pairwise(stops)):
        some = np.flatnonzero(right > left)
        near, far = left[some], right[some]
        rising, end = number < 2, (u if number < 2 else v)[some]
        columns = {"edge": edge[some], "from_mm": start[some] + near, "to_mm": start[some] + far}
        way = [a[some] + at if rising else (b + length)[some] - at for at in (near, far)]
        near_mm, far_mm = (np.where(joined[some], at, np.nan) for at in way)
        columns |= {"toilet": np.where(joined[some], toilet[end], -1)}
        columns |= {"near_mm": near_mm, "far_mm": far_mm, "covered": number in {0, 3}}
        parts.append(pd.DataFrame(columns))
    return _tidy(pd.concat(parts))


def _part_edges(edge: Ints) -> Iterator[slice]:
    """Part rows, sorted by their edges, between edges."""
    first = np.unique(np.r_[0, np.searchsorted(edge, edge[_AT_ONCE::_AT_ONCE])])
    return (slice(start, stop) for start, stop in pairwise([*first, len(edge)]))


def measure_by_crow(frame: Frame, segments: "Segments", limit_m: float) -> Iterator[pd.DataFrame]:
    """Cut the checked edges where the nearest toilet by crow, or its being in reach, changes.

    On a straight segment the squared distance to toilet i at offset s is s^2 + m_i s + c_i. The
    square is common to all, so the nearest toilets are the lower envelope of straight lines, and
    the reach of one is the interval between the roots of s^2 + m_i s + c_i = limit^2.

    Parameters and what is yielded are those of `measure_by_walk`, but that the checked edges are
    given as `read_segments` reads them.
    """
    supply = np.asarray(frame.supply().geometry.array)
    for some in _part_edges(segments.edge):
        yield _cut_by_crow(segments.pick(some), supply, limit_m)


def _cut_by_crow(segments: "Segments", supply: npt.NDArray[Any], limit_m: float) -> pd.DataFrame:
    if not len(supply):
        alone = pd.DataFrame({"edge": segments.edge, "start": 0.0, "end": segments.length})
        alone = alone.assign(segment=np.arange(len(alone)), toilet=-1, near_mm=np.nan)
        return _tidy(place_offsets(segments, alone.assign(far_mm=np.nan, covered=False)))
    pieces = _lower_envelope(segments.length, *_candidates(segments, supply))
    root = np.sqrt(np.maximum(pieces.m**2 / 4 - pieces.c + limit_m**2, 0))
    meets = pieces.m**2 / 4 - pieces.c + limit_m**2 >= 0
    enter = np.where(meets, np.clip(-pieces.m / 2 - root, pieces.start, pieces.end), pieces.end)
    leave = np.where(meets, np.clip(-pieces.m / 2 + root, pieces.start, pieces.end), pieces.end)
    stops = [pieces.start, enter, leave, pieces.end]
    parts = []
    for number, (left, right) in enumerate(pairwise(stops)):
        some = np.flatnonzero(right > left)
        segment, toilet, m, c = (
            part[some] for part in (pieces.segment, pieces.toilet, pieces.m, pieces.c)
        )
        start, end = left[some], right[some]
        near, far = (np.sqrt(np.maximum(at**2 + m * at + c, 0)) * 1000 for at in (start, end))
        columns = {"segment": segment, "start": start, "end": end, "toilet": toilet}
        part = pd.DataFrame(columns | {"near_mm": near, "far_mm": far, "covered": number == 1})
        parts.append(place_offsets(segments, part))
    return _tidy(pd.concat(parts))


def split_at_edge(frame: Frame, intervals: pd.DataFrame, rule: Rule) -> pd.DataFrame:
    """Cut intervals where they come nearer to the edge of the data than the rule's limit.

    Returns
    -------
    pandas.DataFrame
        The intervals with ``near_edge`` (bool).
    """
    known = shapely.buffer(frame.data_edge, -rule.reach_m, quad_segs=64)
    lines, length = np.asarray(frame.streets.edges.geometry.array), frame.streets.length_mm
    boundary = known.boundary
    shapely.prepare([known, boundary])
    edges = np.unique(intervals["edge"])
    edges = edges[shapely.intersects(boundary, lines[edges])]
    met, owner = shapely.get_coordinates(
        shapely.intersection(lines[edges], boundary), return_index=True
    )
    at = shapely.line_locate_point(lines[edges][owner], shapely.points(met), normalized=True)
    # All edges laid end to end make one axis, on which a cut falls into at most one interval.
    base = np.cumsum(length) - length
    cut = np.unique(base[edges[owner]] + np.rint(at * length[edges[owner]]).astype(np.int64))
    start = base[intervals["edge"]] + intervals["from_mm"].to_numpy()
    stop = base[intervals["edge"]] + intervals["to_mm"].to_numpy()
    row = np.searchsorted(start, cut, side="right") - 1
    inner = (row >= 0) & (cut > start[row]) & (cut < stop[row])
    row, at_mm = row[inner], cut[inner] - base[intervals["edge"].to_numpy()[row[inner]]]

    old = np.arange(len(intervals))
    first = intervals.iloc[np.sort(np.r_[old, row])].reset_index(drop=True)
    begins = np.r_[np.full(len(old), -1), at_mm]
    new = begins[np.lexsort((begins, np.r_[old, row]))]
    is_cut = np.flatnonzero(new >= 0)
    at_mm = new[is_cut]
    distance = _distance_at(frame, first.iloc[is_cut], at_mm, rule)
    first.loc[is_cut, "from_mm"], first.loc[is_cut, "near_mm"] = at_mm, distance
    first.loc[is_cut - 1, "to_mm"], first.loc[is_cut - 1, "far_mm"] = at_mm, distance
    middle = (first["from_mm"] + first["to_mm"]).to_numpy() / 2
    places = _find_places(frame, first["edge"].to_numpy(), middle)
    return first.assign(near_edge=~shapely.intersects_xy(known, places))


def _distance_at(frame: Frame, intervals: pd.DataFrame, at_mm: Ints, rule: Rule) -> Floats:
    """Distance to the interval's toilet at an offset of its edge, in millimetres."""
    start, end = intervals["from_mm"].to_numpy(), intervals["to_mm"].to_numpy()
    near, far = intervals["near_mm"].to_numpy(), intervals["far_mm"].to_numpy()
    if rule.metric == "walk":
        return np.asarray(near + (far - near) * (at_mm - start) / (end - start))
    distance = np.full(len(intervals), np.nan)
    toilet = intervals["toilet"].to_numpy()
    known = toilet >= 0
    supply = shapely.get_coordinates(frame.supply().geometry.array)
    away = _find_places(frame, intervals["edge"].to_numpy()[known], at_mm[known].astype(float))
    distance[known] = np.hypot(*(away - supply[toilet[known]]).T) * 1000
    return distance


def _find_places(frame: Frame, edge: Ints, at_mm: Floats) -> Floats:
    length = np.maximum(frame.streets.length_mm[edge], 1)
    lines = frame.streets.edges.geometry.array[edge]
    return np.asarray(
        shapely.get_coordinates(
            shapely.line_interpolate_point(lines, at_mm / length, normalized=True)
        )
    )


@dataclass(frozen=True, eq=False)
class Segments:
    """Straight segments of edges.

    Attributes
    ----------
    edge
        Row of the edge.
    along, stop
        Where the segment begins and ends on the line of its edge, in metres.
    length
        Its length in metres.
    start, finish, direction
        Its first place, its last and its direction, shape (n, 2).
    scale
        Millimetres of the edge for each metre of its line; nearly 1,000.
    """

    edge: Ints
    along: Floats
    stop: Floats
    length: Floats
    start: Floats
    finish: Floats
    direction: Floats
    scale: Floats

    def pick(self, rows: Any) -> "Segments":
        """Pick some of the segments."""
        return Segments(*(getattr(self, part.name)[rows] for part in fields(self)))


def read_segments(frame: Frame, checked: npt.NDArray[np.bool_]) -> Segments:
    """Cut the chosen edges into their straight segments; what has no length is left out."""
    rows = np.flatnonzero(checked)
    lines = np.asarray(frame.streets.edges.geometry.array)[rows]
    segments = cut_segments(lines)
    line = segments.edge
    scale = frame.streets.length_mm[rows] / np.maximum(shapely.length(lines), 1e-9)
    return replace(segments, edge=rows[line], scale=scale[line])


def cut_segments(lines: npt.NDArray[Any]) -> Segments:
    """Cut lines into their straight segments; what has no length is left out."""
    vertices = read_vertices(lines)
    line, step = count_up(vertices.count - 1)
    first = vertices.first[line] + step
    run = vertices.places[first + 1] - vertices.places[first]
    length = np.hypot(*run.T)
    kept = length > 0
    first, run, length = first[kept], run[kept], length[kept]
    return Segments(
        line[kept],
        vertices.along[first],
        vertices.along[first + 1],
        length,
        vertices.places[first],
        vertices.places[first + 1],
        run / length[:, None],
        np.full(len(first), 1000.0),
    )


def _candidates(segments: Segments, supply: npt.NDArray[Any]) -> tuple[Ints, Ints, Floats, Floats]:
    """Pair each segment with every toilet that can be nearest somewhere on it."""
    middle = segments.start + segments.direction * segments.length[:, None] / 2
    places = shapely.get_coordinates(supply)
    away, nearest = cKDTree(places).query(middle, k=2)
    # On the segment the nearest is at most nearest + L/2 away, so at most nearest + L from here.
    around = (away[:, 0] + segments.length) * (1 + 1e-9) + 1e-6
    several = np.flatnonzero(away[:, 1] <= around)
    single = np.flatnonzero(away[:, 1] > around)
    near, toilet = shapely.STRtree(supply).query(
        shapely.points(middle[several]), predicate="dwithin", distance=around[several]
    )
    segment = np.r_[single, several[near]]
    toilet = np.r_[nearest[single, 0], toilet]
    by = np.lexsort((toilet, segment))
    segment, toilet = segment[by], toilet[by]
    off = segments.start[segment] - places[toilet]
    m = 2 * np.sum(segments.direction[segment] * off, axis=1)
    return segment, toilet, m, np.sum(off**2, axis=1)


@dataclass(frozen=True, eq=False)
class _Envelope:
    """Stretches of segments with their nearest toilet, at squared distance s^2 + m s + c."""

    segment: Ints
    toilet: Ints
    m: Floats
    c: Floats
    start: Floats
    end: Floats


def _lower_envelope(length: Floats, segment: Ints, toilet: Ints, m: Floats, c: Floats) -> _Envelope:
    """Walk along the lower envelope of the lines c + m s of each segment, s from 0 to its length.

    `segment` rises from 0 and leaves out none.
    """
    order = np.lexsort((toilet, m, c, segment))
    now = order[np.r_[True, segment[order][1:] != segment[order][:-1]]]
    row, at = np.arange(len(length)), np.zeros(len(length))
    parts = []
    while len(row):
        # `segment` counts the rows that go on; the lines of the others are dropped on the way.
        slope, height = m[now][segment], c[now][segment]
        steeper = m < slope
        gain = np.where(steeper, slope - m, 1)
        meet = np.where(steeper, (c - height) / gain, np.inf)
        meet = np.maximum(meet, at[segment])
        soonest = np.minimum.reduceat(meet, np.flatnonzero(np.diff(segment, prepend=-1)))
        end = np.minimum(soonest, length[row])
        parts.append((row, toilet[now], m[now], c[now], at, end))
        going = soonest < length[row]
        # Of the lines that meet here the steepest goes lowest.
        ties = np.flatnonzero((meet == soonest[segment]) & steeper & going[segment])
        ties = ties[np.lexsort((toilet[ties], m[ties], segment[ties]))]
        now = ties[np.r_[True, segment[ties][1:] != segment[ties][:-1]][: len(ties)]]
        kept = np.flatnonzero(going[segment])
        now = np.searchsorted(kept, now)
        segment, toilet, m, c = np.cumsum(going)[segment[kept]] - 1, toilet[kept], m[kept], c[kept]
        row, at = row[going], soonest[going]
    return _Envelope(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def place_offsets(segments: Segments, parts: pd.DataFrame) -> pd.DataFrame:
    """Turn offsets on segments into millimetres on edges."""
    segment, start, end = (parts[name].to_numpy() for name in ("segment", "start", "end"))
    along, scale = segments.along[segment], segments.scale[segment]
    # A segment stops at the very number at which the next one starts, so that both round alike.
    whole = end >= segments.length[segment]
    begin, stop = along + start, np.where(whole, segments.stop[segment], along + end)
    return parts.assign(
        edge=segments.edge[segment],
        from_mm=np.rint(begin * scale).astype(np.int64),
        to_mm=np.rint(stop * scale).astype(np.int64),
    )


def _tidy(parts: pd.DataFrame) -> pd.DataFrame:
    parts = parts.loc[parts["to_mm"] > parts["from_mm"], list(COLUMNS)]
    return parts.sort_values(["edge", "from_mm"], kind="stable").reset_index(drop=True)
