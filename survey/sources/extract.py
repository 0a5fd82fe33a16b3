"""OpenStreetMap files (.osm, .osm.gz, .osm.bz2, .osm.pbf) by pyosmium."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import osmium
import pandas as pd
import shapely
from osmium.filter import IdFilter, KeyFilter
from shapely.geometry.base import BaseGeometry

from survey.errors import AreaError, InputError
from survey.sources.area import WGS84, Area

MARGIN_M = 2_000
"""How far beyond the area streets and features are kept."""

FEATURE_KEYS = (
    "aeroway",
    "amenity",
    "barrier",
    "boundary",
    "building",
    "disused:amenity",
    "entrance",
    "government",
    "healthcare",
    "landuse",
    "leisure",
    "military",
    "natural",
    "office",
    "place",
    "public_transport",
    "railway",
    "residential",
    "shop",
    "tourism",
)
"""The OpenStreetMap keys whose objects are read as features."""

_HULL_RATIO = 0.1  # tight enough to cut off the arms of ways that run out of a clipped file
_FAULTS = (RuntimeError, ValueError, osmium.InvalidLocationError)  # what reading raises
_AREA_KEYS = [key for key in FEATURE_KEYS if key not in {"barrier", "entrance"}]


@dataclass(frozen=True, eq=False)
class OsmData:
    """What was read from OpenStreetMap for one area; geometry in the area's CRS, in metres.

    Attributes
    ----------
    area
        The area that was asked for.
    streets
        One row per way or, where a way lost nodes at the edge of the data, per stretch of it:
        ``way_id`` ("way/123"), ``part`` (whole number from 0), ``nodes`` (the ids of its nodes,
        separated by spaces), ``tags`` (JSON), LineString.
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
    box = _header(path).box()
    if not box.valid():
        return None
    low, high = box.bottom_left, box.top_right
    return (low.lon, low.lat, high.lon, high.lat)


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
    ways, middles = 0, []
    for way in _objects(path, ["highway"], areas=False):
        if way.is_way():
            ways += 1
            middles += [shapely.get_coordinates(_middle([line]))[0] for _, line in _stretches(way)]
    if not middles:
        _refuse_unplaced(path, ways)
        raise AreaError(f"{path} holds no streets (highway=*); is it the right extract?")
    low, high = np.percentile(middles, [1, 99], axis=0)
    return (float(low[0]), float(low[1]), float(high[0]), float(high[1]))


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
    collected = _Collected()
    for item in _objects(path, ["highway", *FEATURE_KEYS], areas=True):
        collected.add(item)
    collected.patch_outlines(path)

    kept_in = area.shape.buffer(MARGIN_M, quad_segs=64)
    streets = _clip(collected.streets_frame().to_crs(area.crs), kept_in)
    if not len(streets) or not streets.intersects(area.shape).any():
        if not collected.streets:
            _refuse_unplaced(path, collected.unplaced)
        west, south, east, north = area.polygon.bounds
        raise AreaError(
            f"{path} holds no streets (highway=*) in the area"
            f" {west:g},{south:g},{east:g},{north:g}; check the box and the file"
        )
    edge = area.project(area.data_edge) if area.data_edge is not None else None
    return OsmData(
        area=area,
        streets=streets,
        features=_clip(collected.features_frame().to_crs(area.crs), kept_in),
        data_edge=edge if edge is not None else _hull(streets, kept_in),
        problems=collected.problems_frame(),
        source={
            "path": Path(path).name,
            "sha256": hash_file(path),
            "osm_date": _date(path) or collected.newest,
        },
    )


class _Collected:
    """The rows that one pass over a file yields."""

    def __init__(self) -> None:
        self.streets: list[tuple[str, int, str, str, BaseGeometry]] = []
        self.features: list[tuple[str, str, BaseGeometry]] = []
        self.problems: list[tuple[str, str, str]] = []
        self.unplaced = 0
        self.newest = ""
        self._outlines: dict[str, tuple[dict[str, str], list[int]]] = {}
        self._made: set[str] = set()
        self._broken: set[str] = set()
        self._wkb = osmium.geom.WKBFactory()

    def add(self, item: Any) -> None:
        tags = {tag.k: tag.v for tag in item.tags}
        if item.timestamp.year > 1970:
            self.newest = max(self.newest, item.timestamp.strftime("%Y-%m-%dT%H:%M:%SZ"))
        if item.is_node():
            if item.location.valid():
                point = shapely.Point(item.location.lon, item.location.lat)
                self._add_feature(f"node/{item.id}", tags, point)
        elif item.is_way():
            self._add_way(item, tags)
        elif item.is_relation():
            if tags.get("type") in {"multipolygon", "boundary"}:
                members = [member.ref for member in item.members if member.type == "w"]
                self._outlines[f"relation/{item.id}"] = (tags, members)
        else:
            self._add_area(item, tags)

    def _add_way(self, way: Any, tags: dict[str, str]) -> None:
        key = f"way/{way.id}"
        stretches = list(_stretches(way))
        whole = len(stretches) == 1 and all(node.location.valid() for node in way.nodes)
        if "highway" in tags:
            text = _json(tags)
            self.unplaced += not stretches
            for part, (nodes, line) in enumerate(stretches):
                self.streets.append((key, part, " ".join(map(str, nodes)), text, line))
        if not any(name in tags for name in FEATURE_KEYS):
            return
        ring = whole and way.is_closed() and len(way.nodes) > 3 and tags.get("area") != "no"
        if ring and any(name in tags for name in _AREA_KEYS):
            return  # its area follows
        if whole:
            self._add_feature(key, tags, stretches[0][1])
        elif stretches:
            self.problems.append((key, tags.get("name", ""), "cut at the edge of the data"))
            self._add_feature(key, tags, _middle([line for _, line in stretches]))

    def _add_area(self, area: Any, tags: dict[str, str]) -> None:
        if not any(name in tags for name in _AREA_KEYS):
            return  # a closed wall or street: the way itself was read
        key = f"{'way' if area.from_way() else 'relation'}/{area.orig_id()}"
        rings, _ = area.num_rings()
        if rings:
            self._made.add(key)
            self._add_feature(key, tags, shapely.from_wkb(self._wkb.create_multipolygon(area)))
            return
        self._broken.add(key)
        if area.from_way():
            self._outlines[key] = (tags, [area.orig_id()])

    def _add_feature(self, key: str, tags: dict[str, str], shape: BaseGeometry) -> None:
        if "boundary" in tags and tags["boundary"] != "administrative":
            tags = {name: value for name, value in tags.items() if name != "boundary"}
        if any(name in tags for name in FEATURE_KEYS):
            self.features.append((key, _json(tags), shape))

    def patch_outlines(self, path: str | Path) -> None:
        """Name the outlines that no area came of; keep a position of those that are places."""
        wanted = {}
        for key, (tags, members) in sorted(self._outlines.items()):
            if key in self._made or tags.get("boundary", "administrative") != "administrative":
                continue
            problem = "its outline is broken" if key in self._broken else "cut open at the edge"
            self.problems.append((key, tags.get("name", ""), problem))
            if "boundary" not in tags:
                wanted[key] = (tags, members)
        ids = {member for _, members in wanted.values() for member in members}
        lines: dict[int, list[BaseGeometry]] = {}
        if ids:
            for way in _ways_by_id(path, sorted(ids)):
                lines[way.id] = [line for _, line in _stretches(way)]
        for key, (tags, members) in wanted.items():
            parts = [line for member in members for line in lines.get(member, [])]
            if parts:
                self._add_feature(key, tags, _middle(parts))

    def streets_frame(self) -> gpd.GeoDataFrame:
        names = ["way_id", "part", "nodes", "tags", "geometry"]
        return gpd.GeoDataFrame(
            pd.DataFrame(self.streets, columns=names), geometry="geometry", crs=WGS84
        )

    def features_frame(self) -> gpd.GeoDataFrame:
        names = ["osm_id", "tags", "geometry"]
        return gpd.GeoDataFrame(
            pd.DataFrame(self.features, columns=names), geometry="geometry", crs=WGS84
        )

    def problems_frame(self) -> pd.DataFrame:
        return pd.DataFrame(sorted(self.problems), columns=["osm_id", "name", "problem"])


def _json(tags: dict[str, str]) -> str:
    return json.dumps(tags, ensure_ascii=False, sort_keys=True)


def _stretches(way: Any) -> Iterator[tuple[list[int], BaseGeometry]]:
    """Yield node ids and line of each run of a way's nodes that are present in the file."""
    nodes: list[int] = []
    places: list[tuple[float, float]] = []
    for node in [*way.nodes, None]:
        if node is not None and node.location.valid():
            if not nodes or node.ref != nodes[-1]:
                nodes.append(node.ref)
                places.append((node.location.lon, node.location.lat))
            continue
        if len(nodes) > 1:
            yield nodes, shapely.LineString(places)
        nodes, places = [], []


def _middle(lines: list[BaseGeometry]) -> BaseGeometry:
    return shapely.MultiPoint(np.concatenate([shapely.get_coordinates(x) for x in lines])).centroid


def _clip(rows: gpd.GeoDataFrame, shape: BaseGeometry) -> gpd.GeoDataFrame:
    shapely.prepare(shape)
    return rows[rows.geometry.intersects(shape)].reset_index(drop=True)


def _hull(streets: gpd.GeoDataFrame, within: BaseGeometry) -> BaseGeometry:
    places = shapely.points(np.unique(shapely.get_coordinates(streets.geometry.array), axis=0))
    kept = places[shapely.intersects(within, places)]
    hull = shapely.concave_hull(shapely.multipoints(kept), ratio=_HULL_RATIO)
    return hull if hull.area > 0 else hull.buffer(1)


def _open(path: str | Path) -> Any:
    try:
        found = Path(path).is_file()
    except OSError as fault:  # such as a folder that may not be entered
        raise InputError(f"{path}: {fault.strerror}; check its name and its folder") from None
    if not found:
        raise InputError(f"{path}: no such file; give an .osm, .osm.gz, .osm.bz2 or .osm.pbf")
    try:
        return osmium.FileProcessor(str(path))
    except _FAULTS as fault:
        raise _unreadable(path, fault) from None


def _header(path: str | Path) -> Any:
    processor = _open(path)
    try:
        return processor.header  # only now is the file opened
    except _FAULTS as fault:
        raise _unreadable(path, fault) from None


def _objects(path: str | Path, keys: list[str], *, areas: bool) -> Iterator[Any]:
    """Yield the objects of a file that have one of `keys`, ways with the places of their nodes."""
    processor = _open(path)
    if areas:
        processor = processor.with_areas(KeyFilter(*_AREA_KEYS))
    else:
        processor = processor.with_locations()
    yield from _guarded(path, processor.with_filter(KeyFilter(*keys)))


def _ways_by_id(path: str | Path, ids: list[int]) -> Iterator[Any]:
    chosen = IdFilter(ids)
    chosen.enable_for(osmium.osm.WAY)
    everything = _open(path).with_locations().with_filter(chosen)
    return (item for item in _guarded(path, everything) if item.is_way())


def _guarded(path: str | Path, processor: Any) -> Iterator[Any]:
    """Iterate so that only a fault of the reading itself becomes an error about the file."""
    try:
        iterator = iter(processor)
    except _FAULTS as fault:
        raise _unreadable(path, fault) from None
    while True:
        try:
            item = next(iterator)
        except StopIteration:
            return
        except _FAULTS as fault:
            raise _unreadable(path, fault) from None
        yield item


def _unreadable(path: str | Path, fault: Exception) -> InputError:
    return InputError(
        f"{path}: not an OpenStreetMap file, or cut short ({str(fault).rstrip('.')});"
        " fetch it again, its name should end in .osm, .osm.gz, .osm.bz2 or .osm.pbf"
    )


def _refuse_unplaced(path: str | Path, ways: int) -> None:
    if ways:
        raise InputError(
            f"{path}: none of its {ways} streets has a place, because their nodes are missing or"
            " stand behind them; put nodes first (osmium sort), or fetch it again whole"
        )


def _date(path: str | Path) -> str:
    return str(_header(path).get("osmosis_replication_timestamp", ""))


def hash_file(path: str | Path) -> str:
    """Hash a file: SHA-256 in hex digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
