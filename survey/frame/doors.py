"""Doors: where objects meet the street, as positions on edges and never as nodes."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from survey import tables
from survey.frame.cores import share_rows
from survey.frame.lines import count_up
from survey.frame.streets import Floats, Ints, Streets

MAX_ACCESS_M = 150
"""What is farther than this from every street has no door."""

GATE_WITHIN_M = 5
"""A mapped gate belongs to an outline within this distance."""


@dataclass(frozen=True, eq=False)
class Frontage:
    """The walkable edges of a street network, in trees that are built once for many searches.

    Parameters
    ----------
    streets
        The streets.
    """

    streets: Streets

    @cached_property
    def ground(self) -> "_Part":
        """Street-level edges of the longest connected piece."""
        return self._part((self.streets.piece == 0) & (self._level[0] < 0))

    @cached_property
    def raised(self) -> "_Part":
        """Edges of the longest piece on any other level."""
        return self._part((self.streets.piece == 0) & (self._level[0] >= 0))

    @cached_property
    def islands(self) -> "_Part":
        """Edges of all other pieces."""
        return self._part(self.streets.piece > 0)

    @cached_property
    def rank(self) -> Ints:
        """Place of each edge in the order of their ids."""
        ids = self.streets.rows.to_numpy(dtype=object)
        rank = np.empty(len(ids), dtype=np.int64)
        rank[np.argsort(ids, kind="stable")] = np.arange(len(ids))
        return rank

    @cached_property
    def _level(self) -> tuple[Ints, pd.Index]:
        code, levels = pd.factorize(self.streets.edges["level"])
        return code.astype(np.int64), levels

    def on_level(self, level: str) -> "_Part":
        """Edges of the longest piece on one level off the street."""
        code, levels = self._level
        return self._part((self.streets.piece == 0) & (code == levels.get_indexer([level])[0]))

    def _part(self, chosen: npt.NDArray[np.bool_]) -> "_Part":
        rows = np.flatnonzero(chosen)
        return _Part(rows, shapely.STRtree(self.streets.edges.geometry.array[rows]))


@dataclass(frozen=True, eq=False)
class _Part:
    """Some edges: their rows, and their lines in this order in a tree."""

    rows: Ints
    tree: shapely.STRtree


@dataclass(frozen=True, eq=False)
class _Search:
    """Objects and the edges that they may open to."""

    frontage: Frontage
    parts: tuple[_Part, ...]
    shapes: npt.NDArray[Any]
    outlines: npt.NDArray[Any]
    gates: shapely.STRtree
    max_access_m: float


@dataclass(frozen=True, eq=False)
class _Found:
    """Positions on edges for some objects: row of the object, row of the edge, place, access."""

    owner: Ints
    edge: Ints
    place: npt.NDArray[Any]
    access_m: Floats
    kind: str


def find_doors(
    streets: Streets,
    objects: gpd.GeoDataFrame,
    *,
    layer: str,
    gates: npt.NDArray[Any] | None = None,
    max_access_m: float = MAX_ACCESS_M,
    frontage: Frontage | None = None,
) -> gpd.GeoDataFrame:
    """Find where objects meet the street.

    An area's doors are its mapped gates, else every crossing of its outline by a walkable way
    (both ends of a shared stretch), else the nearest position; a node has only the nearest. They
    are looked for on the street-level edges of the longest connected piece of street (and on the
    object's own level), then on any level of that piece, then on any street.

    Parameters
    ----------
    streets
        The streets.
    objects
        Points or areas in the streets' CRS; the first column holds their ids, ``level``, where
        there is such a column, their level off the street (missing at street level).
    layer
        point, compound, toilet or candidate.
    gates
        Points: mapped gates and, for fixed points, entrances.
    max_access_m
        How far off the street a door may be, in metres.
    frontage
        That of `streets`, where it is used for several layers.

    Returns
    -------
    geopandas.GeoDataFrame
        The table `doors`: ``layer, id, n, edge_id, kind, offset_m, access_m``, Point on the
        street. Objects without a door are absent.
    """
    shapes = np.asarray(objects.geometry.array, dtype=object)
    outlines = np.full(len(shapes), None)
    is_area = shapely.get_dimensions(shapes) == 2
    outlines[is_area] = shapely.boundary(shapes[is_area])
    gate_tree = shapely.STRtree([] if gates is None else gates)
    frontage = frontage or Frontage(streets)
    waiting = np.full(len(objects), True)
    found = []
    for rows, edges in _tiers(frontage, objects):
        search = _Search(frontage, edges, shapes, outlines, gate_tree, max_access_m)
        for find, able in ((_at_gates, is_area), (_at_crossings, is_area), (_at_nearest, waiting)):
            chosen = rows[waiting[rows] & able[rows]]
            if not len(chosen):
                continue
            parts = share_rows(partial(find, search), chosen)
            found += parts
            for part in parts:
                waiting[part.owner] = False
    return _as_table(frontage, objects.iloc[:, 0], layer, found)


def _tiers(
    frontage: Frontage, objects: gpd.GeoDataFrame
) -> Iterator[tuple[Ints, tuple[_Part, ...]]]:
    """Yield rows of objects and the edges that they may open to, best first.

    Whoever still waits has been asked about all edges before, and need not be again.
    """
    code, levels = np.full(len(objects), -1), []
    if "level" in objects:
        code, levels = pd.factorize(objects["level"])
    yield np.flatnonzero(code < 0), (frontage.ground,)
    for number, level in enumerate(levels):
        yield np.flatnonzero(code == number), (frontage.ground, frontage.on_level(level))
    everyone = np.arange(len(objects))
    yield everyone, (frontage.raised,)
    yield everyone, (frontage.islands,)


def _at_gates(search: _Search, areas: Ints) -> _Found:
    owner, gate = search.gates.query(
        search.outlines[areas], predicate="dwithin", distance=GATE_WITHIN_M
    )
    near = _nearest(search, search.gates.geometries[gate])
    return _Found(areas[owner[near.owner]], near.edge, near.place, near.access_m, "gate")


def _at_crossings(search: _Search, areas: Ints) -> _Found:
    outlines = search.outlines[areas]
    pairs = [part.tree.query(outlines, predicate="intersects") for part in search.parts]
    owner = np.concatenate([owner for owner, _ in pairs])
    edge = np.concatenate(
        [part.rows[line] for part, (_, line) in zip(search.parts, pairs, strict=True)]
    )
    lines = search.frontage.streets.edges.geometry.array[edge]
    met = shapely.intersection(outlines[owner], np.asarray(lines))
    spots, of_spot = shapely.get_parts(met, return_index=True)
    lone = shapely.get_dimensions(spots) == 0
    # A shared stretch comes segment by segment; its corners are no doors.
    shared = np.flatnonzero(shapely.get_dimensions(met) == 1)
    stretches, of_stretch = shapely.get_parts(shapely.line_merge(met[shared]), return_index=True)
    place = np.concatenate([spots[lone], *(shapely.get_point(stretches, at) for at in (0, -1))])
    pair = np.r_[of_spot[lone], shared[of_stretch], shared[of_stretch]]
    return _Found(areas[owner[pair]], edge[pair], place, np.zeros(len(pair)), "crossing")


def _at_nearest(search: _Search, rows: Ints) -> _Found:
    near = _nearest(search, search.shapes[rows])
    return _Found(rows[near.owner], near.edge, near.place, near.access_m, "nearest")


def _nearest(search: _Search, shapes: npt.NDArray[Any]) -> _Found:
    """Nearest position on edges of each shape; of equally near edges the one of lowest id."""
    owners, edges, distances = [], [], []
    for part in search.parts:
        (owner, line), distance = part.tree.query_nearest(
            shapes, max_distance=search.max_access_m, return_distance=True, all_matches=True
        )
        owners.append(owner)
        edges.append(part.rows[line])
        distances.append(distance)
    owner, edge, distance = (np.concatenate(each) for each in (owners, edges, distances))
    by = np.lexsort((search.frontage.rank[edge], distance, owner))
    by = by[np.r_[True, np.diff(owner[by]) > 0][: len(by)]]
    owner, edge, distance = owner[by], edge[by], distance[by]
    lines = search.frontage.streets.edges.geometry.array[edge]
    place = shapely.get_point(shapely.shortest_line(lines, shapes[owner]), 0)
    return _Found(owner, edge, place, distance, "nearest")


def _as_table(
    frontage: Frontage, ids: "pd.Series[str]", layer: str, found: list[_Found]
) -> gpd.GeoDataFrame:
    streets = frontage.streets
    crs = streets.edges.crs
    if not sum(len(each.owner) for each in found):
        return tables.empty("doors", crs=crs)
    code, names = pd.factorize(ids, sort=True)
    owner = code[np.concatenate([each.owner for each in found])]
    edge = np.concatenate([each.edge for each in found])
    access_m = tables.round_mm(np.concatenate([each.access_m for each in found]))
    kind = np.repeat([each.kind for each in found], [len(each.owner) for each in found])
    lines, length = streets.edges.geometry.array[edge], streets.length_mm[edge]
    place = np.concatenate([each.place for each in found])
    offset = np.rint(shapely.line_locate_point(lines, place, normalized=True) * length)
    place = shapely.line_interpolate_point(lines, offset / np.maximum(length, 1), normalized=True)
    # One place is one door, even where several edges meet there.
    by = np.lexsort((offset, frontage.rank[edge], access_m, owner))
    x, y = np.rint(shapely.get_coordinates(place[by]) * 1000).T
    twice = pd.DataFrame({"owner": owner[by], "x": x, "y": y}).duplicated().to_numpy()
    by = by[~twice]
    by = by[np.lexsort((offset[by], frontage.rank[edge[by]], owner[by]))]
    return tables.make(
        "doors",
        {
            "layer": np.full(len(by), layer),
            "id": names[owner[by]],
            "edge_id": streets.rows[edge[by]],
            "kind": kind[by],
            "offset_m": offset[by] / 1000,
            "access_m": access_m[by],
            "n": count_up(np.bincount(owner[by]))[1],
            "geometry": place[by],
        },
        crs=crs,
    )
