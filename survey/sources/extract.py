"""OpenStreetMap files (.osm, .osm.gz, .osm.bz2, .osm.pbf): streets and features of an area."""

import contextlib
import hashlib
import tempfile
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from survey.errors import AreaError, InputError
from survey.memory import large_work
from survey.sources.area import WGS84, Area
from survey.sources.contents import Contents, read_contents
from survey.sources.features import (
    FEATURE_KEYS,
    Near,
    Scene,
    find_near,
    join_features,
    read_points,
    read_relations,
    read_ways,
)
from survey.sources.grid import DEGREE, degrees
from survey.sources.hull import find_hull
from survey.sources.libosmium import check_file, convert_file, read_head, refuse_file
from survey.sources.outlines import find_relations, join_relations
from survey.sources.pbf import FAULTS
from survey.sources.pbf_blocks import Flags
from survey.sources.tag_texts import write_tags
from survey.sources.varints import UnusualError
from survey.sources.ways import Box, Ways, draw_lines, find_stretches, find_ways

MARGIN_M = 2_000
"""How far beyond the area streets and features are kept."""


@dataclass(frozen=True, eq=False)
class OsmData:
    """What was read from OpenStreetMap for one area; geometry in the area's CRS, in metres.

    Attributes
    ----------
    area
        The area that was asked for.
    streets
        One row per way or, where a way lost nodes at the edge of the data, per stretch of it:
        ``way_id`` ("way/123"), ``part`` (whole number from 0), ``tags`` (JSON), LineString.
    street_nodes
        Ids of the nodes of `streets`, as whole numbers: one per vertex, in the order of
        ``shapely.get_coordinates(streets.geometry.array)``.
    features
        ``osm_id`` ("node/5", "way/7", "relation/9"), ``tags`` (JSON), geometry: Point,
        LineString (open ways) or MultiPolygon.
    data_edge
        A polygon: what lies outside it is unknown.
    problems
        ``osm_id``, ``name``, ``problem``: objects that are cut open or broken in the file.
    source
        ``path`` (file name), ``sha256`` and ``osm_date`` (ISO 8601, empty if unknown).
    """

    area: Area
    streets: gpd.GeoDataFrame
    street_nodes: npt.NDArray[np.int64]
    features: gpd.GeoDataFrame
    data_edge: BaseGeometry
    problems: pd.DataFrame
    source: dict[str, str] = field(default_factory=dict)


def read_box(path: str | Path) -> tuple[float, float, float, float] | None:
    """Read the box in a file's header: west, south, east, north; ``None`` if it has none.

    Raises
    ------
    InputError
        If the file is missing or is not an OpenStreetMap file.
    """
    return read_head(path)[0]


def suggest_box(path: str | Path) -> tuple[float, float, float, float]:
    """Suggest the box that a file without one covers: where the middles of 98 % of its ways lie.

    The middles, because whole ways that run far out of a clipped file have most of the vertices
    out there.

    Raises
    ------
    InputError
        If the file is missing or is not an OpenStreetMap file, or its ways come before its nodes.
    AreaError
        If it holds no streets.
    """
    read_head(path)
    contents = _read(path, ["highway"], dated=False)
    ways = find_ways(contents)
    highway = np.flatnonzero(ways.objects.tag_count)
    stretches = find_stretches(ways.take(highway))
    if not len(stretches.way):
        _refuse_unplaced(path, contents, ways)
        raise AreaError(f"{path} holds no streets (highway=*); is it the right extract?")
    places = degrees(contents.places, stretches.spots)
    owner = np.repeat(np.arange(len(stretches.way)), stretches.count)
    sums = [np.bincount(owner, weights=axis) for axis in places.T]
    middles = np.column_stack(sums) / stretches.count[:, None]
    low, high = np.percentile(middles, [1, 99], axis=0)
    return (float(low[0]), float(low[1]), float(high[0]), float(high[1]))


@large_work()
def read_extract(path: str | Path, area: Area) -> OsmData:
    """Read the streets and features of an area and of 2 km around it.

    Parameters
    ----------
    path
        An OpenStreetMap file.
    area
        What `find_area` answered.

    Returns
    -------
    OsmData

    Raises
    ------
    InputError
        If the file is missing, cut short, or not an OpenStreetMap file, or its ways come before
        its nodes.
    AreaError
        If there are no streets in the area.
    """
    kept_in = _add_margin(area)
    date = read_head(path)[1]
    # One thread beside this one; what it does holds Python's lock where this one does not.
    with ThreadPoolExecutor(1) as pool:
        digest = pool.submit(hash_file, path)
        scene, newest = _look_around(path, area, kept_in, dated=not date)
        relations, points = pool.submit(read_relations, scene), pool.submit(read_points, scene)
        near = find_near(scene)
        ways = pool.submit(read_ways, scene, near)
        streets, nodes = _read_streets(scene, near, kept_in)
        if not _reach(streets.geometry.to_numpy(), area.shape).any():
            _refuse_unplaced(path, scene.contents, scene.ways)
            west, south, east, north = area.polygon.bounds
            raise AreaError(
                f"{path} holds no streets (highway=*) in the area"
                f" {west:g},{south:g},{east:g},{north:g}; check the area and the data"
            )
        del scene, near  # large
        edge = _find_edge(area, streets, kept_in)
        features, problems = join_features(
            points.result(), ways.result(), relations.result(), area.crs
        )
        inside = _reach(features.geometry.to_numpy(), kept_in)
        return OsmData(
            area=area,
            streets=streets,
            street_nodes=nodes,
            features=features if inside.all() else features[inside].reset_index(drop=True),
            data_edge=edge,
            problems=problems,
            source={
                "path": Path(path).name,
                "sha256": digest.result(),
                "osm_date": date or _write_date(newest),
            },
        )


def _add_margin(area: Area) -> BaseGeometry:
    return area.shape.buffer(MARGIN_M, quad_segs=64)


def _find_edge(area: Area, streets: gpd.GeoDataFrame, kept_in: BaseGeometry) -> BaseGeometry:
    if area.data_edge is not None:
        return area.project(area.data_edge)
    return find_hull(streets, kept_in)


def _read(path: str | Path, keys: Collection[str], *, dated: bool) -> Contents:
    """Read a file; what is no plain .osm.pbf is converted by libosmium first."""
    file = check_file(path)
    try:
        if file.name.endswith(".pbf"):
            with contextlib.suppress(UnusualError):
                return read_contents(file, keys, dated=dated)
        with tempfile.TemporaryDirectory() as folder:
            return read_contents(convert_file(file, Path(folder)), keys, dated=dated)
    except InputError:
        raise
    except FAULTS as fault:
        raise refuse_file(path, fault) from None


def _look_around(
    path: str | Path, area: Area, kept_in: BaseGeometry, *, dated: bool
) -> tuple[Scene, int]:
    """Read a file and find what reaches into the area or its margin, roughly; and its date."""
    edge = gpd.GeoSeries([kept_in.segmentize(1000)], crs=area.crs).to_crs(WGS84)
    slack = np.array([-0.001, -0.001, 0.001, 0.001])  # degrees: the edge bends between vertices
    west, south, east, north = ((edge.total_bounds + slack) * DEGREE).tolist()
    box: Box = (west, south, east, north)
    contents = _read(path, ["highway", *FEATURE_KEYS], dated=dated)
    relations = find_relations(contents)
    ways = find_ways(contents)
    contents = contents.without_lists()
    scene = Scene(contents, area.crs, box, ways, join_relations(relations, ways, box))
    return scene, contents.newest


def _read_streets(
    scene: Scene, around: Near, kept_in: BaseGeometry
) -> tuple[gpd.GeoDataFrame, npt.NDArray[np.int64]]:
    """Make the table of streets, and the node ids of their vertices."""
    highway = scene.contents.find_key(around.ways.objects, {"highway"})
    stretches = around.stretches.take(np.flatnonzero(highway[around.stretches.way]))
    lines = draw_lines(stretches, around.grid)
    near = _reach(lines, kept_in)
    if not near.all():
        stretches, lines = stretches.take(np.flatnonzero(near)), lines[near]
    objects = around.ways.objects.take_tags(stretches.way)
    nodes = scene.contents.places.ids[stretches.spots]
    columns = {
        "way_id": pd.Series([f"way/{way}" for way in objects.ids.tolist()], dtype="str"),
        "part": stretches.part,
        "tags": pd.Series(write_tags(objects, scene.contents.strings), dtype="str"),
    }
    return gpd.GeoDataFrame(columns, geometry=lines, crs=scene.crs), nodes


def _reach(shapes: npt.NDArray[np.object_], into: BaseGeometry) -> Flags:
    """Tell which shapes intersect another one."""
    shapely.prepare(into)
    return np.asarray(shapely.intersects(into, shapes))


def _refuse_unplaced(path: str | Path, contents: Contents, ways: Ways) -> None:
    """Refuse a file that has streets, and none of them has a place."""
    highway = contents.find_key(ways.objects, {"highway"})
    if highway.any() and not highway[find_stretches(ways).way].any():
        raise InputError(
            f"{path}: none of its {int(highway.sum())} streets has a place, because their nodes"
            " are missing or stand behind them; put nodes first (osmium sort), or fetch it again"
            " whole"
        )


def _write_date(seconds: int) -> str:
    date = datetime.fromtimestamp(seconds, tz=UTC)
    return date.strftime("%Y-%m-%dT%H:%M:%SZ") if date.year > 1970 else ""


def hash_file(path: str | Path) -> str:
    """Hash a file: SHA-256 in hex digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
