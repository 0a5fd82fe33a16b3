"""Intervals of street by their nearest toilet, exact on edges, along streets and by crow."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from survey.coverage.rules import Rule
from survey.frame.frame import Frame
from survey.frame.lines import Floats, Ints, count_up, read_vertices
from survey.frame.network import search_nearest

COLUMNS = ("edge", "from_mm", "to_mm", "toilet", "near_mm", "far_mm", "covered")
"""Interval columns: row of the edge, whole millimetres from u, row of the toilet (-1: none can be
reached), distance at both ends in millimetres, whether it is within the limit."""


def measure_by_walk(frame: Frame, checked: npt.NDArray[np.bool_], limit_m: float) -> pd.DataFrame:
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

    Returns
    -------
    pandas.DataFrame
        `COLUMNS`; toilets are rows of ``frame.supply()``.
    """
    network = frame.network
    distance, toilet = search_nearest(network, frame.sources("toilet", frame.supply()["toilet_id"]))
    mine = checked[network.edge]
    edge, start, length = network.edge[mine], network.from_mm[mine], network.length_mm[mine]
    u, v = network.u[mine], network.v[mine]
    joined = np.isfinite(distance[u])
    a, b = (np.where(joined, distance[end], 0).astype(np.int64) for end in (u, v))
    limit = round(limit_m * 1000)
    turn = np.where(joined, (b + length - a) // 2, length)
    # The four stretches from u: covered, gap, gap, covered; empty ones are dropped.
    in_reach = np.where(joined, np.clip(limit - a, 0, turn), 0)
    back_in_reach = np.where(joined, np.clip(length - (limit - b), turn, length), length)
    stops = [np.zeros_like(length), in_reach, turn, back_in_reach, length]
    parts = []
    for number, (left, right) in enumerate(pairwise(stops)):
        rising = number < 2
        parts.append(
            pd.DataFrame(
                {
                    "edge": edge,
                    "from_mm": start + left,
                    "to_mm": start + right,
                    "toilet": np.where(joined, toilet[u if rising else v], -1),
                    "near_mm": np.where(joined, a + left if rising else b + length - left, np.nan),
                    "far_mm": np.where(joined, a + right if rising else b + length - right, np.nan),
                    "covered": number in {0, 3},
                }
            )
        )
    return _tidy(pd.concat(parts))


def measure_by_crow(frame: Frame, checked: npt.NDArray[np.bool_], limit_m: float) -> pd.DataFrame:
    """Cut the checked edges where the nearest toilet by crow, or its being in reach, changes.

    On a straight segment the squared distance to toilet i at offset s is s^2 + m_i s + c_i. The
    square is common to all, so the nearest toilets are the lower envelope of straight lines, and
    the reach of one is the interval between the roots of s^2 + m_i s + c_i = limit^2.

    Parameters and returned columns are those of `measure_by_walk`.
    """
    segments = read_segments(frame, checked)
    supply = np.asarray(frame.supply().geometry.array)
    if not len(supply):
        alone = pd.DataFrame({"edge": segments.edge, "start": 0.0, "end": segments.length})
        alone = alone.assign(segment=np.arange(len(alone)), toilet=-1, near_mm=np.nan)
        return _tidy(place_offsets(frame, segments, alone.assign(far_mm=np.nan, covered=False)))
    segment, toilet, m, c = _candidates(segments, supply)
    pieces = _lower_envelope(segments.length, segment, toilet, m, c)
    root = np.sqrt(np.maximum(pieces.m**2 / 4 - pieces.c + limit_m**2, 0))
    meets = pieces.m**2 / 4 - pieces.c + limit_m**2 >= 0
    enter = np.where(meets, np.clip(-pieces.m / 2 - root, pieces.start, pieces.end), pieces.end)
    leave = np.where(meets, np.clip(-pieces.m / 2 + root, pieces.start, pieces.end), pieces.end)
    stops = [pieces.start, enter, leave, pieces.end]
    parts = []
    for number, (left, right) in enumerate(pairwise(stops)):
        near, far = (
            np.sqrt(np.maximum(at**2 + pieces.m * at + pieces.c, 0)) * 1000 for at in (left, right)
        )
        part = pieces.assign(start=left, end=right, near_mm=near, far_mm=far, covered=number == 1)
        parts.append(part)
    return _tidy(place_offsets(frame, segments, pd.concat(parts)))


def split_at_edge(frame: Frame, intervals: pd.DataFrame, rule: Rule) -> pd.DataFrame:
    """Cut intervals where they come nearer to the edge of the data than the rule's limit.

    Returns
    -------
    pandas.DataFrame
        The intervals with ``near_edge`` (bool).
    """
    known = shapely.buffer(frame.data_edge, -rule.reach_m, quad_segs=64)
    lines, length = frame.streets.edges.geometry.array, frame.streets.length_mm
    edges = np.unique(intervals["edge"])
    edges = edges[shapely.intersects(lines[edges], known.boundary)]
    met, owner = shapely.get_coordinates(
        shapely.intersection(lines[edges], known.boundary), return_index=True
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
    distance = _distance_at(frame, first, np.maximum(new, 0), rule)
    is_cut = new >= 0
    first.loc[is_cut, "from_mm"], first.loc[is_cut, "near_mm"] = new[is_cut], distance[is_cut]
    before = np.flatnonzero(is_cut) - 1
    first.loc[before, "to_mm"], first.loc[before, "far_mm"] = new[is_cut], distance[is_cut]
    middle = (first["from_mm"] + first["to_mm"]).to_numpy() / 2
    places = _find_places(frame, first["edge"].to_numpy(), middle)
    shapely.prepare(known)
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
    """Straight segments: row of the edge, start and stop on it, length, start place, direction."""

    edge: Ints
    along: Floats
    stop: Floats
    length: Floats
    start: Floats
    direction: Floats


def read_segments(frame: Frame, checked: npt.NDArray[np.bool_]) -> Segments:
    """Cut the chosen edges into their straight segments; what has no length is left out."""
    rows = np.flatnonzero(checked)
    vertices = read_vertices(frame.streets.edges.geometry.array[rows])
    line, step = count_up(vertices.count - 1)
    first = vertices.first[line] + step
    run = vertices.places[first + 1] - vertices.places[first]
    length = np.hypot(*run.T)
    kept = length > 0
    first, run, length = first[kept], run[kept], length[kept]
    return Segments(
        rows[line[kept]],
        vertices.along[first],
        vertices.along[first + 1],
        length,
        vertices.places[first],
        run / length[:, None],
    )


def _candidates(segments: Segments, supply: npt.NDArray[Any]) -> tuple[Ints, Ints, Floats, Floats]:
    """Pair each segment with every toilet that can be nearest somewhere on it."""
    middle = segments.start + segments.direction * segments.length[:, None] / 2
    middles = shapely.points(middle)
    tree = shapely.STRtree(supply)
    (_, toilet), nearest = tree.query_nearest(middles, return_distance=True, all_matches=False)
    # On the segment the nearest is at most nearest + L/2 away, so at most nearest + L from here.
    around = (nearest + segments.length) * (1 + 1e-9) + 1e-6
    segment, toilet = tree.query(middles, predicate="dwithin", distance=around)
    by = np.lexsort((toilet, segment))
    segment, toilet = segment[by], toilet[by]
    away = segments.start[segment] - shapely.get_coordinates(supply)[toilet]
    m = 2 * np.sum(segments.direction[segment] * away, axis=1)
    return segment, toilet, m, np.sum(away**2, axis=1)


def _lower_envelope(
    length: Floats, segment: Ints, toilet: Ints, m: Floats, c: Floats
) -> pd.DataFrame:
    """Walk along the lower envelope of the lines c + m s of each segment, s from 0 to its length.

    Returns ``segment, toilet, m, c, start, end``.
    """
    order = np.lexsort((toilet, m, c, segment))
    now = order[np.r_[True, segment[order][1:] != segment[order][:-1]]]
    at = np.zeros(len(length))
    first = np.flatnonzero(np.r_[True, segment[1:] != segment[:-1]])
    parts = []
    waiting = np.full(len(length), True)
    while waiting.any():
        steeper = m < m[now][segment]
        gain = np.where(steeper, m[now][segment] - m, 1)
        meet = np.where(steeper, (c - c[now][segment]) / gain, np.inf)
        meet = np.maximum(meet, at[segment])
        soonest = np.minimum.reduceat(meet, first)
        end = np.minimum(soonest, length)
        done = waiting.copy()
        parts.append(
            pd.DataFrame(
                {
                    "segment": np.flatnonzero(done),
                    "toilet": toilet[now][done],
                    "m": m[now][done],
                    "c": c[now][done],
                    "start": at[done],
                    "end": end[done],
                }
            )
        )
        waiting &= soonest < length
        # Of the lines that meet here the steepest goes lowest.
        ties = np.flatnonzero((meet == soonest[segment]) & steeper & waiting[segment])
        ties = ties[np.lexsort((toilet[ties], m[ties], segment[ties]))]
        chosen = ties[np.r_[True, segment[ties][1:] != segment[ties][:-1]][: len(ties)]]
        now = now.copy()
        now[segment[chosen]] = chosen
        at = np.where(waiting, soonest, length)
    return pd.concat(parts, ignore_index=True)


def place_offsets(frame: Frame, segments: Segments, parts: pd.DataFrame) -> pd.DataFrame:
    """Turn offsets on segments into millimetres on edges."""
    segment = parts["segment"].to_numpy()
    edge = segments.edge[segment]
    lines = frame.streets.edges.geometry.array[edge]
    scale = frame.streets.length_mm[edge] / shapely.length(lines)
    start = np.rint((segments.along[segment] + parts["start"]) * scale)
    # A segment stops at the very number at which the next one starts, so that both round alike.
    whole = parts["end"] >= segments.length[segment]
    end = np.where(whole, segments.stop[segment], segments.along[segment] + parts["end"])
    end = np.rint(end * scale)
    return parts.assign(edge=edge, from_mm=start.astype(np.int64), to_mm=end.astype(np.int64))


def _tidy(parts: pd.DataFrame) -> pd.DataFrame:
    parts = parts.loc[parts["to_mm"] > parts["from_mm"], list(COLUMNS)]
    return parts.sort_values(["edge", "from_mm"], kind="stable").reset_index(drop=True)
