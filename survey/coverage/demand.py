"""Failing street in pieces, each of which a new site covers wholly or not at all."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
from scipy import sparse

from survey.coverage.checked import Checked
from survey.coverage.intervals import place_offsets, read_segments
from survey.coverage.rules import Rule
from survey.frame.frame import Frame
from survey.frame.lines import Ints, count_up
from survey.frame.network import Network, Sources, cut_streets, search_within
from survey.frame.streets import Streets, to_mm

_SITES_AT_ONCE = 200


@dataclass(frozen=True, eq=False)
class Demand:
    """Pieces of failing street, and which sites cover them.

    Attributes
    ----------
    edge
        Row of the edge of each piece.
    from_mm, to_mm
        Where it begins and ends, in millimetres from u.
    reach
        Which pieces each site covers, sparse, shape (sites, pieces).
    """

    edge: Ints
    from_mm: Ints
    to_mm: Ints
    reach: Any

    @property
    def length_mm(self) -> Ints:
        """Length of each piece."""
        return self.to_mm - self.from_mm


def find_failing(frame: Frame, checked: npt.NDArray[np.bool_], rule: Rule) -> pd.DataFrame:
    """Find the stretches of checked street that fail a rule now.

    Returns
    -------
    pandas.DataFrame
        ``edge, from_mm, to_mm``, sorted; stretches of one edge do not touch.
    """
    intervals = pd.concat(Checked(frame, checked).cut(frame, rule), ignore_index=True)
    rows = intervals.loc[~intervals["covered"], ["edge", "from_mm", "to_mm"]]
    apart = (rows["edge"] != rows["edge"].shift()) | (rows["from_mm"] != rows["to_mm"].shift())
    grouped = rows.groupby(apart.cumsum().to_numpy())
    return grouped.agg({"edge": "first", "from_mm": "first", "to_mm": "last"}).reset_index(
        drop=True
    )


def cut_demand(
    frame: Frame, failing: pd.DataFrame, sites: npt.NDArray[Any], doors: Any, rule: Rule
) -> Demand:
    """Cut failing street wherever what one of the sites would cover begins or ends.

    What a site covers is measured by the arithmetic of the audit, so that an audit with the site
    among the toilets covers just these pieces.

    Parameters
    ----------
    frame
        What can be drawn.
    failing
        What `find_failing` found.
    sites
        Points.
    doors
        The table `doors` of the sites, ``id`` being their row as text.
    rule
        The rule, of metric walk or crow.

    Returns
    -------
    Demand
    """
    length = frame.streets.length_mm
    base = np.cumsum(length) - length
    edges = np.unique(failing["edge"].to_numpy())
    if rule.metric == "walk":
        spans = _spans_by_walk(frame.streets, edges, doors, rule.reach_m)
    else:
        spans = _spans_by_crow(frame, edges, sites, rule.reach_m)
    site, start, end = _merge([*spans], int(length.sum()) + 1)
    # All edges laid end to end make one axis, on which a cut falls into at most one stretch.
    begin = base[failing["edge"]] + failing["from_mm"].to_numpy()
    stop = base[failing["edge"]] + failing["to_mm"].to_numpy()
    cuts = np.unique(np.r_[start, end])
    row = np.searchsorted(begin, cuts, side="right") - 1
    inner = cuts[(row >= 0) & (cuts > begin[row]) & (cuts < stop[row])] if len(begin) else cuts[:0]
    left, right = np.sort(np.r_[begin, inner]), np.sort(np.r_[stop, inner])
    first = np.searchsorted(left, start)
    count = np.searchsorted(right, end, side="right") - first
    span, step = count_up(np.maximum(count, 0))
    cells = (np.ones(len(span), dtype=bool), (site[span], first[span] + step))
    edge = failing["edge"].to_numpy()[np.searchsorted(begin, left, side="right") - 1]
    return Demand(
        edge,
        left - base[edge],
        right - base[edge],
        sparse.csr_array(sparse.coo_array(cells, shape=(len(sites), len(left)))),
    )


def _spans_by_walk(streets: Streets, edges: Ints, doors: Any, limit_m: float) -> Any:
    """Yield sites and what each covers from the two ends of pieces of street, on the axis."""
    limit = round(limit_m * 1000)
    at = streets.rows.get_indexer(pd.Index(doors["edge_id"])).astype(np.int64)
    network = cut_streets(streets, at, to_mm(doors["offset_m"]))
    number, codes = np.unique(doors["id"].to_numpy(dtype=np.int64), return_inverse=True)
    sources = Sources(len(number), codes, network.position_node, to_mm(doors["access_m"]))
    halves = _Halves.of(network, edges)
    for numbers, nodes, distance in search_within(network, sources, limit):
        row, column = np.nonzero(distance <= limit)
        way = distance[row, column].astype(np.int64)
        met, step = count_up(halves.count[nodes[column]])
        half = halves.first[nodes[column[met]]] + step
        reach = np.minimum(limit - way[met], halves.length[half])
        place = halves.place[half]
        start = np.where(halves.back[half], place - reach, place)
        some = reach > 0
        yield number[numbers[row[met]]][some], start[some], (start + reach)[some]


@dataclass(frozen=True, eq=False)
class _Halves:
    """Pieces of a network as seen from each end; those of one node stand together."""

    first: Ints
    count: Ints
    place: Ints
    length: Ints
    back: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, network: Network, edges: Ints) -> "_Halves":
        length = network.streets.length_mm
        base = (np.cumsum(length) - length)[network.edge]
        mine = np.isin(network.edge, edges)
        node = np.r_[network.u[mine], network.v[mine]]
        by = np.argsort(node, kind="stable")
        count = np.bincount(node, minlength=network.size)
        return cls(
            np.cumsum(count) - count,
            count,
            np.r_[(base + network.from_mm)[mine], (base + network.to_mm)[mine]][by],
            np.tile(network.length_mm[mine], 2)[by],
            np.repeat([False, True], mine.sum())[by],
        )


def _spans_by_crow(frame: Frame, edges: Ints, sites: npt.NDArray[Any], limit_m: float) -> Any:
    """Yield sites and what the circle around each cuts out of straight segments, on the axis."""
    length = frame.streets.length_mm
    base = np.cumsum(length) - length
    chosen = np.full(len(length), False)
    chosen[edges] = True
    segments = read_segments(frame, chosen)
    ends = segments.start + segments.direction * segments.length[:, None]
    lines = shapely.linestrings(np.stack([segments.start, ends], axis=1))
    tree = shapely.STRtree(lines)
    for first in range(0, len(sites), _SITES_AT_ONCE):
        some = sites[first : first + _SITES_AT_ONCE]
        site, segment = tree.query(some, predicate="dwithin", distance=limit_m + 0.001)
        away = segments.start[segment] - shapely.get_coordinates(some)[site]
        m = 2 * np.sum(segments.direction[segment] * away, axis=1)
        # The same expressions as in the audit: so its last digits are met too.
        square = m**2 / 4 - np.sum(away**2, axis=1) + limit_m**2
        root = np.sqrt(np.maximum(square, 0))
        whole = segments.length[segment]
        enter, leave = (np.clip(-m / 2 + side, 0, whole) for side in (-root, root))
        met = (square >= 0) & (leave > enter)
        parts = {"segment": segment[met], "start": enter[met], "end": leave[met]}
        placed = place_offsets(segments, pd.DataFrame(parts))
        shift = base[placed["edge"]]
        yield first + site[met], shift + placed["from_mm"], shift + placed["to_mm"]


def _merge(spans: list[Any], size: int) -> tuple[Ints, Ints, Ints]:
    """Join the spans of each site that touch or overlap."""
    if not spans:
        none = np.empty(0, dtype=np.int64)
        return none, none, none
    site, start, end = (np.concatenate(part).astype(np.int64) for part in zip(*spans, strict=True))
    # Each site gets an axis of its own behind that of the one before.
    start, end = start + site * size, end + site * size
    by = np.lexsort((end, start))
    start, end = start[by], end[by]
    far = np.maximum.accumulate(end)
    head = np.flatnonzero(np.r_[True, start[1:] > far[:-1]][: len(start)])
    tail = np.r_[head[1:], len(start)][: len(head)] - 1
    owner = start[head] // size
    return owner, start[head] - owner * size, far[tail] - owner * size
