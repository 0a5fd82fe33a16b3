"""Doors: where objects meet the street, as positions on edges and never as nodes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from survey import tables
from survey.frame.streets import Floats, Ints, Streets

MAX_ACCESS_M = 150
"""What is farther than this from every street has no door."""

GATE_WITHIN_M = 5
"""A mapped gate belongs to an outline within this distance."""


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

    Returns
    -------
    geopandas.GeoDataFrame
        The table `doors`: ``layer, id, n, edge_id, kind, offset_m, access_m``, Point on the
        street. Objects without a door are absent.
    """
    shapes = objects.geometry.array
    gates = np.empty(0, dtype=object) if gates is None else gates
    owners = np.full(len(objects), True)
    parts = []
    for rows, edges in _tiers(streets, objects):
        for find in (_at_gates, _at_crossings, _at_nearest):
            waiting = rows[owners[rows]]
            if len(waiting) and len(edges):
                found = find(streets, shapes, waiting, edges, gates, max_access_m)
                owners[found.owner] = False
                parts.append(found)
    return _as_table(streets, objects.iloc[:, 0].to_numpy(), layer, parts)


def _tiers(streets: Streets, objects: gpd.GeoDataFrame) -> Iterator[tuple[Ints, Ints]]:
    """Yield rows of objects and the rows of the edges that they may open to, best first."""
    walkable = streets.edges["walkable"].to_numpy()
    street_level = streets.edges["level"].isna().to_numpy()
    main = streets.piece == 0
    levels = objects["level"] if "level" in objects else pd.Series(index=objects.index, dtype="str")
    for level in [None, *sorted(levels.dropna().unique())]:
        rows = np.flatnonzero(levels.isna() if level is None else levels == level)
        own = (streets.edges["level"] == level).to_numpy(dtype=bool, na_value=False)
        yield rows, np.flatnonzero(main & (street_level | own))
    everyone = np.arange(len(objects))
    yield everyone, np.flatnonzero(main)
    yield everyone, np.flatnonzero(walkable)


def _at_gates(
    streets: Streets,
    shapes: Any,
    rows: Ints,
    edges: Ints,
    gates: npt.NDArray[Any],
    max_access_m: float,
) -> _Found:
    areas = rows[shapely.get_dimensions(shapes[rows]) == 2]
    outlines = shapely.boundary(shapes[areas])
    tree = shapely.STRtree(gates)
    owner, gate = tree.query(outlines, predicate="dwithin", distance=GATE_WITHIN_M)
    near = _nearest(streets, gates[gate], edges, max_access_m)
    return _Found(areas[owner[near.owner]], near.edge, near.place, near.access_m, "gate")


def _at_crossings(
    streets: Streets,
    shapes: Any,
    rows: Ints,
    edges: Ints,
    _gates: npt.NDArray[Any],
    _max_access_m: float,
) -> _Found:
    areas = rows[shapely.get_dimensions(shapes[rows]) == 2]
    outlines = shapely.boundary(shapes[areas])
    lines = streets.edges.geometry.array[edges]
    owner, line = shapely.STRtree(lines).query(outlines, predicate="intersects")
    met = shapely.intersection(outlines[owner], lines[line])
    spots, of_spot = shapely.get_parts(met, return_index=True)
    lone = shapely.get_dimensions(spots) == 0
    # A shared stretch comes segment by segment; its corners are no doors.
    stretches, of_stretch = shapely.get_parts(shapely.line_merge(met), return_index=True)
    place = np.concatenate([spots[lone], *(shapely.get_point(stretches, at) for at in (0, -1))])
    pair = np.r_[of_spot[lone], of_stretch, of_stretch]
    return _Found(areas[owner[pair]], edges[line[pair]], place, np.zeros(len(pair)), "crossing")


def _at_nearest(
    streets: Streets,
    shapes: Any,
    rows: Ints,
    edges: Ints,
    _gates: npt.NDArray[Any],
    max_access_m: float,
) -> _Found:
    near = _nearest(streets, shapes[rows], edges, max_access_m)
    return _Found(rows[near.owner], near.edge, near.place, near.access_m, "nearest")


def _nearest(streets: Streets, shapes: Any, edges: Ints, max_access_m: float) -> _Found:
    """Nearest position on `edges` of each shape; of equally near edges the one of lowest id."""
    lines = streets.edges.geometry.array[edges]
    (owner, line), distance = shapely.STRtree(lines).query_nearest(
        shapes, max_distance=max_access_m, return_distance=True, all_matches=True
    )
    ids = streets.rows.to_numpy()[edges[line]]
    by = np.lexsort((ids, np.rint(distance * 1000), owner))
    by = by[np.r_[True, owner[by][1:] != owner[by][:-1]][: len(by)]]
    owner, line, distance = owner[by], line[by], distance[by]
    place = shapely.get_point(shapely.shortest_line(lines[line], shapes[owner]), 0)
    return _Found(owner, edges[line], place, distance, "nearest")


def _as_table(
    streets: Streets, ids: npt.NDArray[Any], layer: str, parts: list[_Found]
) -> gpd.GeoDataFrame:
    crs = streets.edges.crs
    if not sum(len(part.owner) for part in parts):
        return tables.empty("doors", crs=crs)
    edge = np.concatenate([part.edge for part in parts])
    place = np.concatenate([part.place for part in parts])
    lines = streets.edges.geometry.array[edge]
    length = streets.length_mm[edge]
    offset = np.rint(shapely.line_locate_point(lines, place, normalized=True) * length)
    doors = pd.DataFrame(
        {
            "layer": layer,
            "id": ids[np.concatenate([part.owner for part in parts])],
            "edge_id": streets.rows.to_numpy()[edge],
            "kind": np.repeat([part.kind for part in parts], [len(part.owner) for part in parts]),
            "offset_m": offset / 1000,
            "access_m": tables.round_mm(np.concatenate([part.access_m for part in parts])),
            "geometry": shapely.line_interpolate_point(
                lines, offset / np.maximum(length, 1), normalized=True
            ),
        }
    ).sort_values(["id", "access_m", "edge_id", "offset_m"], kind="stable")
    # One place is one door, even where several edges meet there.
    spot = pd.DataFrame(np.rint(shapely.get_coordinates(doors["geometry"]) * 1000))
    twice = spot.assign(id=doors["id"].to_numpy()).duplicated().to_numpy()
    doors = doors[~twice].sort_values(["id", "edge_id", "offset_m"], kind="stable")
    return tables.make("doors", {**doors, "n": doors.groupby("id").cumcount().to_numpy()}, crs=crs)
