"""The walkable streets as a sparse graph, cut at positions, and the searches on it.

Weights are whole millimetres in double precision: their sums are exact, so that no result depends
on the order of rows, and a distance re-derived elsewhere is the same number.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp
import shapely
from scipy.sparse.csgraph import dijkstra
from shapely.geometry.base import BaseGeometry

from survey.frame.grid import Grid
from survey.frame.lines import Floats, Ints, count_up, cut_lines
from survey.frame.streets import Streets

_CELLS_AT_ONCE = 4_000_000
_NODE_CELL_M = 250
_SLACK_MM = 5_000  # lengths are rounded edge by edge, so the crow may be longer by a few mm each


@dataclass(frozen=True, eq=False)
class Network:
    """Walkable edges cut at positions, so that no position lies inside a piece.

    Attributes
    ----------
    streets
        The streets that were cut.
    edge
        Row in `streets.edges` of each piece; pieces are sorted by edge and offset.
    from_mm, to_mm
        Where each piece begins and ends on its edge, in millimetres from u.
    u, v
        Nodes at both ends of each piece; the nodes of `streets` come first, then the cuts.
    position_node
        Node of each position that the network was cut at.
    places
        Coordinates of the nodes in metres, shape (n, 2).
    """

    streets: Streets
    edge: Ints
    from_mm: Ints
    to_mm: Ints
    u: Ints
    v: Ints
    position_node: Ints
    places: Floats

    @property
    def size(self) -> int:
        """How many nodes there are."""
        return len(self.places)

    @property
    def length_mm(self) -> Ints:
        """Length of each piece."""
        return self.to_mm - self.from_mm

    @cached_property
    def arcs(self) -> Any:
        """The pieces as a symmetric sparse matrix; of parallel pieces the shortest."""
        tail, head = np.r_[self.u, self.v], np.r_[self.v, self.u]
        return _shortest(tail, head, np.r_[self.length_mm, self.length_mm], (self.size, self.size))

    @cached_property
    def grid(self) -> Grid:
        """The nodes by place."""
        return Grid.of(self.places, _NODE_CELL_M)


@dataclass(frozen=True, eq=False)
class Sources:
    """Where searches start: any number of places for each of `count` sources.

    Attributes
    ----------
    count
        How many sources there are; one without a place reaches nothing.
    number
        The source, 0 to `count` - 1, of each place.
    node, start_mm
        The node of each place, and the way already gone there.
    """

    count: int
    number: Ints
    node: Ints
    start_mm: Ints | Floats


def cut_streets(streets: Streets, edge: Ints, offset_mm: Ints) -> Network:
    """Cut the walkable edges at positions.

    Parameters
    ----------
    streets
        The streets.
    edge, offset_mm
        The positions: row in `streets.edges` (walkable) and millimetres from u.

    Returns
    -------
    Network
    """
    length = streets.length_mm
    walkable = np.flatnonzero(streets.edges["walkable"].to_numpy())
    inner = (offset_mm > 0) & (offset_mm < length[edge])
    wide = int(length.max(initial=0)) + 1
    # As one whole number each, positions are sorted and looked up fast.
    position = edge[inner] * wide + offset_mm[inner]
    cut = np.unique(position)
    new = np.stack([cut // wide, cut % wide], axis=1)
    size = len(streets.nodes)
    u, v = streets.ends

    # Every edge is one piece, and each cut makes one more, which begins there.
    owner = np.searchsorted(walkable, new[:, 0])
    begun = owner + np.arange(len(new)) + 1
    pieces = np.repeat(walkable, 1 + np.bincount(owner, minlength=len(walkable)))
    from_mm, to_mm, head, tail = np.zeros_like(pieces), length[pieces], u[pieces], v[pieces]
    from_mm[begun] = to_mm[begun - 1] = new[:, 1]
    head[begun] = tail[begun - 1] = size + np.arange(len(new))

    position_node = np.where(offset_mm <= 0, u[edge], v[edge])
    position_node[inner] = size + np.searchsorted(cut, position)
    lines = streets.edges.geometry.array[new[:, 0]]
    cuts = shapely.line_interpolate_point(lines, new[:, 1] / length[new[:, 0]], normalized=True)
    return Network(
        streets,
        edge=pieces,
        from_mm=from_mm,
        to_mm=to_mm,
        u=head,
        v=tail,
        position_node=position_node,
        places=np.concatenate(
            [shapely.get_coordinates(streets.nodes.geometry.array), shapely.get_coordinates(cuts)]
        ),
    )


def search_nearest(network: Network, sources: Sources) -> tuple[Floats, Ints]:
    """Find the nearest source of every node in one search.

    Returns
    -------
    distance_mm
        Way to the nearest source, infinite where none is reached, shape (nodes,).
    source
        Number of that source, -1 where none is reached; the lowest where several are as near.
    """
    if not len(sources.node):
        return np.full(network.size, np.inf), np.full(network.size, -1)
    # A source's number rides along as a fraction of a millimetre: of equally near sources the
    # first then wins whatever the order of rows, and double precision keeps both parts exact.
    fraction = 0.5 ** sources.count.bit_length()
    numbered = replace(sources, start_mm=sources.start_mm + sources.number * fraction)
    graph, starts = _with_sources(network.arcs, numbered)
    tagged = dijkstra(graph, directed=True, indices=starts, min_only=True)[: network.size]
    reached = np.isfinite(tagged)
    distance = np.floor(tagged)
    source = np.full(network.size, -1)
    source[reached] = (tagged[reached] - distance[reached]) / fraction
    return distance, source


def search_within(
    network: Network, sources: Sources, limit_mm: int
) -> Iterator[tuple[Ints, Ints, Floats]]:
    """Measure the way from each source to every node within a limit.

    Sources that lie near each other are searched together on the part of the network around
    them, so that time and memory grow with the number of sources and not with the network.

    Yields
    ------
    number
        The sources of this part, shape (s,).
    node
        The nodes of this part, ascending, shape (n,).
    distance_mm
        The way, infinite beyond the limit, shape (s, n).
    """
    reach = (limit_mm + _SLACK_MM) / 1000
    by = np.argsort(sources.number, kind="stable")
    own = Sources(sources.count, sources.number[by], sources.node[by], sources.start_mm[by])
    number, first, count = np.unique(own.number, return_index=True, return_counts=True)
    home = np.floor(network.places[own.node[first]] / max(reach, 1)).astype(np.int64)
    local = np.full(network.size, -1)
    for part in _group_rows(home):
        group, step = count_up(count[part])
        mine = first[part][group] + step
        places = network.places[own.node[mine]]
        node = network.grid.find_box(places.min(axis=0) - reach, places.max(axis=0) + reach)
        local[node] = np.arange(len(node))
        arcs = _cut_out(network.arcs, node, local)
        place_node, start_mm = local[own.node[mine]], own.start_mm[mine]
        local[node] = -1
        parts = len(part) * len(node) // _CELLS_AT_ONCE
        for some in np.array_split(np.arange(len(part)), np.clip(parts, 1, len(part))):
            chosen = (group >= some[0]) & (group <= some[-1])
            subset = Sources(
                len(some), group[chosen] - some[0], place_node[chosen], start_mm[chosen]
            )
            graph, starts = _with_sources(arcs, subset)
            distance = dijkstra(graph, directed=True, indices=starts, limit=limit_mm)
            yield number[part[some]], node, distance[:, : len(node)]


def _group_rows(keys: Ints) -> list[Ints]:
    """Group the rows of an array, shape (n, 2), that are equal; each group in rising order."""
    if not len(keys):
        return []
    by = np.lexsort((keys[:, 1], keys[:, 0]))
    change = np.any(keys[by][1:] != keys[by][:-1], axis=1)
    return np.split(by, np.flatnonzero(change) + 1)


def _cut_out(arcs: Any, node: Ints, local: Ints) -> Any:
    """Cut the arcs between some nodes out of all; `local` numbers these nodes, -1 is any other."""
    begin = arcs.indptr[node]
    row, step = count_up(arcs.indptr[node + 1] - begin)
    at = begin[row] + step
    head = local[arcs.indices[at]]
    kept = head >= 0
    count = np.bincount(row[kept], minlength=len(node))
    return _as_rows(arcs.data[at[kept]], head[kept], count, (len(node), len(node)))


def find_path(
    network: Network, start: Ints, end: Ints, start_mm: Ints, end_mm: Ints
) -> tuple[float, BaseGeometry]:
    """Find the shortest way between the nearest pair of two sets of positions.

    Parameters
    ----------
    network
        A network that was cut at the positions.
    start, end
        Numbers of positions (rows of `network.position_node`).
    start_mm, end_mm
        The access legs of these positions.

    Returns
    -------
    length_m
        Length with both access legs; infinite if there is no way.
    line
        The way along streets, a LineString; an empty one where there is none or it has no length.
    """
    node = network.position_node
    sources = Sources(1, np.zeros(len(start), dtype=np.int64), node[start], start_mm)
    graph, starts = _with_sources(network.arcs, sources)
    distance, before = dijkstra(graph, directed=True, indices=starts[0], return_predecessors=True)
    total = distance[node[end]] + end_mm
    best = int(np.argmin(total))
    if not np.isfinite(total[best]):
        return float("inf"), shapely.LineString()
    steps = [int(node[end[best]])]
    while before[steps[-1]] < network.size and before[steps[-1]] >= 0:
        steps.append(int(before[steps[-1]]))
    return float(total[best]) / 1000, _draw_path(network, steps[::-1])


def _draw_path(network: Network, steps: list[int]) -> BaseGeometry:
    ends = pd.DataFrame(
        {
            "tail": np.r_[network.u, network.v],
            "head": np.r_[network.v, network.u],
            "piece": np.tile(np.arange(len(network.u)), 2),
            "back": np.repeat([False, True], len(network.u)),
            "length": np.tile(network.length_mm, 2),
        }
    ).sort_values(["length", "piece"], kind="stable")
    pairs = ends.drop_duplicates(["tail", "head"]).set_index(["tail", "head"])
    if len(steps) < 2:
        return shapely.LineString()
    used = pairs.loc[list(pairwise(steps))]
    piece = used["piece"].to_numpy()
    edge = network.edge[piece]
    whole = np.maximum(network.streets.length_mm[edge], 1)
    lines = cut_lines(
        network.streets.edges.geometry.array[edge],
        network.from_mm[piece] / whole,
        network.to_mm[piece] / whole,
    )
    lines = np.where(used["back"], shapely.reverse(lines), lines)
    return shapely.LineString(np.concatenate([shapely.get_coordinates(line) for line in lines]))


def _shortest(tail: Ints, head: Ints, weight: npt.NDArray[Any], shape: tuple[int, int]) -> Any:
    """Build a sparse matrix that keeps the least of parallel arcs, zeros too."""
    cell = tail.astype(np.int64) * shape[1] + head
    by = np.argsort(cell, kind="stable")
    cell = cell[by]
    first = np.flatnonzero(np.diff(cell, prepend=-1))
    least = np.minimum.reduceat(weight[by], first) if len(first) else weight
    row, column = np.divmod(cell[first], shape[1])
    return _as_rows(least.astype(np.float64), column, np.bincount(row, minlength=shape[0]), shape)


def _as_rows(data: Floats, column: Ints, count: Ints, shape: tuple[int, int]) -> Any:
    """Make a sparse matrix of its cells row by row, and how many stand in each row."""
    # Searches take narrow numbers, and would turn wide ones into them each time.
    ends = np.r_[0, np.cumsum(count)].astype(np.int32)
    return sp.csr_array((data, column.astype(np.int32), ends), shape=shape)


def _with_sources(arcs: Any, sources: Sources) -> tuple[Any, Ints]:
    """Add one node per source, from which an arc leads to each of its places."""
    size = arcs.shape[0]
    starts = _shortest(
        sources.number, sources.node, sources.start_mm, (sources.count, size + sources.count)
    )
    wide = sp.csr_array((arcs.data, arcs.indices, arcs.indptr), shape=(size, size + sources.count))
    graph = sp.vstack([wide, starts], format="csr")
    return graph, size + np.arange(sources.count)
