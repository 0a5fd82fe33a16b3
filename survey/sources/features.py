"""Features of a file: nodes, open ways and areas, and what is cut open or broken among them."""

from dataclasses import dataclass
from typing import NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import shapely

from survey.sources.contents import Contents
from survey.sources.grid import Grid, degrees, make_grid, project
from survey.sources.outlines import (
    Relations,
    Shapes,
    find_complete,
    shape_relations,
    shape_rings,
)
from survey.sources.pbf_blocks import Flags, Objects
from survey.sources.tag_texts import write_tags
from survey.sources.varints import Ints
from survey.sources.ways import (
    Box,
    Stretches,
    Ways,
    draw_lines,
    find_closed,
    find_stretches,
    find_whole,
    touch_box,
)

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

_AREA_KEYS = [key for key in FEATURE_KEYS if key not in {"barrier", "entrance"}]
_CUT = "cut at the edge of the data"
_OPEN, _BROKEN = "cut open at the edge", "its outline is broken"


@dataclass(frozen=True, eq=False)
class Scene:
    """What a file holds around an area, before it is made into tables.

    Attributes
    ----------
    contents
        The file.
    crs
        The CRS of the tables.
    box
        West, south, east, north of what is of interest, in 1e-7 degrees.
    ways
        All ways with a key of interest, and those that relations consist of.
    relations
        The relations that describe areas, in the box or nowhere.
    """

    contents: Contents
    crs: pyproj.CRS
    box: Box
    ways: Ways
    relations: Relations


@dataclass(frozen=True, eq=False)
class Near:
    """The ways of a scene that reach into its box.

    Attributes
    ----------
    rows, ways, stretches
        Their rows in ``Scene.ways``, themselves, and their stretches.
    grid
        The places of their nodes in metres.
    """

    rows: Ints
    ways: Ways
    stretches: Stretches
    grid: Grid


class Rows(NamedTuple):
    """Rows of features, in columns."""

    osm_id: Shapes
    tags: Shapes
    geometry: Shapes

    def take(self, rows: Ints) -> "Rows":
        """Copy some of them, in the order of `rows`."""
        return Rows(*(column[rows] for column in self))


class Part(NamedTuple):
    """What came of the ways, or of the relations."""

    lines: Rows  # lines, and the middles of ways that are cut
    areas: Rows
    rank: Ints  # for each area, that of the last of its ways in the file
    middles: Rows  # of areas that are cut or broken
    problems: list[tuple[str, str, str]]


def find_near(scene: Scene) -> Near:
    """Find the ways that reach into the box, and where their nodes are."""
    rows = np.flatnonzero(touch_box(scene.ways.boxes, scene.box))
    ways = scene.ways if len(rows) == len(scene.ways.rank) else scene.ways.take(rows)
    stretches = find_stretches(ways)
    return Near(rows, ways, stretches, make_grid(scene.contents.places, stretches.spots, scene.crs))


def join_features(
    points: Rows, ways: Part, relations: Part, crs: pyproj.CRS
) -> tuple[gpd.GeoDataFrame, pd.DataFrame]:
    """Make the tables of features and problems.

    Returns
    -------
    tuple
        Features: ``osm_id``, ``tags`` (JSON), geometry in `crs`. First nodes, then lines and what
        is left of ways that are cut, then areas in the order in which they are complete in the
        file, then the middles of areas that are not. Problems: ``osm_id``, ``name``, ``problem``,
        sorted.
    """
    parts = [relations, ways]  # a relation goes before its last way
    areas = _join([part.areas for part in parts])
    areas = areas.take(np.argsort(np.concatenate([part.rank for part in parts]), kind="stable"))
    middles = _join([part.middles for part in parts])
    middles = middles.take(np.argsort(middles.osm_id))
    rows = _join([points, *(part.lines for part in parts), areas, middles])
    texts = {name: pd.Series(rows._asdict()[name], dtype="str") for name in ("osm_id", "tags")}
    features = gpd.GeoDataFrame(texts, geometry=rows.geometry, crs=crs)
    problems = sorted(problem for part in parts for problem in part.problems)
    return features, pd.DataFrame(problems, columns=["osm_id", "name", "problem"])


def _join(parts: list[Rows]) -> Rows:
    return Rows(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _strip(contents: Contents, objects: Objects) -> tuple[Objects, Flags]:
    """Drop boundaries that are not administrative; tell what is a feature still."""
    objects = contents.drop_tags(objects, "boundary", but={"administrative"})
    return objects, contents.find_key(objects, FEATURE_KEYS)


def _label(kind: str, objects: Objects) -> Shapes:
    return np.array([f"{kind}/{number}" for number in objects.ids.tolist()], dtype=object)


def read_points(scene: Scene) -> Rows:
    """Read the nodes that are features."""
    contents, places = scene.contents, scene.contents.places
    spots = contents.locate(contents.nodes.ids)
    x, y = places.x[spots], places.y[spots]
    near = (spots >= 0) & touch_box(np.column_stack([x, y, x, y]), scene.box)
    objects, kept = _strip(contents, contents.nodes)
    rows = np.flatnonzero(near & kept)
    points = shapely.points(project(degrees(places, spots[rows]), scene.crs))
    return _write_rows(contents, "node", objects.take_tags(rows), points)


def read_ways(scene: Scene, around: Near) -> Part:
    """Read the ways that are features."""
    contents, near, stretches = scene.contents, around.ways, around.stretches
    objects, kept = _strip(contents, near.objects)
    wanted = contents.find_key(near.objects, FEATURE_KEYS)
    whole = find_whole(near, stretches)
    area = wanted & whole & find_closed(near, contents.places)
    area &= contents.find_key(near.objects, _AREA_KEYS)
    area &= ~contents.find_value(near.objects, "area", {"no"})
    cut = wanted & ~whole & (np.bincount(stretches.way, minlength=len(whole)) > 0)

    shapes = np.full(len(kept), None, dtype=object)
    line = kept & whole & ~area
    mine = stretches.take(np.flatnonzero(line[stretches.way]))
    shapes[line] = draw_lines(mine, around.grid)
    ring = np.flatnonzero(kept & area)
    mine = stretches.take(np.flatnonzero((kept & area)[stretches.way]))
    shapes[ring] = shape_rings(near.take(ring), mine, contents.places, around.grid, scene.crs)
    broken = kept & area & pd.isna(shapes)
    public, place = _tell_boundaries(contents, near.objects)
    left = np.flatnonzero(kept & (cut | (broken & place)))
    shapes[left] = _find_middles(scene, around.rows[left], np.arange(len(left)), len(left))

    def write(flags: Flags) -> Rows:
        rows = np.flatnonzero(flags)
        return _write_rows(contents, "way", objects.take_tags(rows), shapes[rows])

    return Part(
        write(kept & (line | cut)),
        write(kept & area & ~broken),
        near.rank[kept & area & ~broken],
        write(kept & broken & place),
        [
            *_list_problems(contents, "way", near.objects, cut, _CUT),
            *_list_problems(contents, "way", near.objects, broken & public, _BROKEN),
        ],
    )


def read_relations(scene: Scene) -> Part:
    """Read the relations that are features."""
    contents, relations, ways = scene.contents, scene.relations, scene.ways
    objects, kept = _strip(contents, relations.objects)
    area = kept & contents.find_key(relations.objects, _AREA_KEYS)
    area &= find_complete(relations, ways)
    shapes = np.full(len(kept), None, dtype=object)
    whole = relations.take(np.flatnonzero(area))
    shapes[area] = shape_relations(whole, ways, contents.places, scene.crs)
    broken = area & pd.isna(shapes)
    public, place = _tell_boundaries(contents, relations.objects)
    left = np.flatnonzero(kept & place & (broken | ~area))
    parts = relations.take(left)
    there = parts.members >= 0
    shapes[left] = _find_middles(scene, parts.members[there], parts.owner[there], len(left))
    done = np.flatnonzero(area & ~broken)
    areas = contents.drop_tags(objects.take_tags(done), "type")  # it speaks of the relation alone
    left = left[~pd.isna(shapes[left])]
    last = np.zeros(len(kept), dtype=np.int64)
    np.maximum.at(last, np.flatnonzero(area)[whole.owner], ways.rank[whole.members])
    return Part(
        _write_rows(contents, "relation", objects.take_tags(done[:0]), shapes[:0]),
        _write_rows(contents, "relation", areas, shapes[done]),
        last[done],
        _write_rows(contents, "relation", objects.take_tags(left), shapes[left]),
        [
            *_list_problems(contents, "relation", relations.objects, broken & public, _BROKEN),
            *_list_problems(contents, "relation", relations.objects, ~area & public, _OPEN),
        ],
    )


def _tell_boundaries(contents: Contents, objects: Objects) -> tuple[Flags, Flags]:
    """Tell which are no boundaries but administrative ones, and which are none at all."""
    place = ~contents.find_key(objects, {"boundary"})
    return place | contents.find_value(objects, "boundary", {"administrative"}), place


def _find_middles(scene: Scene, members: Ints, owner: Ints, size: int) -> Shapes:
    """Find the middles of what is left of ways, `None` for owners that nothing is left of."""
    stretches = find_stretches(scene.ways.take(members))
    of_vertex = np.repeat(owner[stretches.way], stretches.count)
    places = degrees(scene.contents.places, stretches.spots)
    counts = np.bincount(of_vertex, minlength=size)
    sums = [np.bincount(of_vertex, weights=axis, minlength=size) for axis in places.T]
    middles = np.full(size, None, dtype=object)
    there = counts > 0
    means = np.column_stack(sums)[there] / counts[there, None]
    middles[there] = shapely.points(project(means, scene.crs))
    return middles


def _write_rows(contents: Contents, kind: str, objects: Objects, shapes: Shapes) -> Rows:
    return Rows(_label(kind, objects), write_tags(objects, contents.strings), shapes)


def _list_problems(
    contents: Contents, kind: str, objects: Objects, rows: Flags, problem: str
) -> list[tuple[str, str, str]]:
    objects = objects.take_tags(np.flatnonzero(rows))
    names = contents.read_value(objects, "name")
    return [(key, name, problem) for key, name in zip(_label(kind, objects), names, strict=True)]
