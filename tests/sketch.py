"""Sketch small streets and frames by hand, in metres."""

import numpy as np
import pandas as pd
import shapely
from shapely.geometry import LineString, MultiLineString, MultiPolygon, Point

from survey.frame.doors import find_doors
from survey.frame.frame import Frame
from survey.frame.streets import Streets
from survey.sources.area import Area
from survey.tables import empty, make, round_mm

CRS = "EPSG:32650"


def draw_streets(lines, *, ends=None, **columns):
    """Draw streets from {edge id: coordinates}; ends at one place are one node.

    `ends` gives an edge ends of other names, so that two nodes may share a place. The other
    columns are {edge id: value}; by default an edge is a public street inside the area.
    """
    ends = ends or {}
    nodes, rows = {}, []
    for key, places in lines.items():
        names = ends.get(key, [f"node/{x:g},{y:g}" for x, y in (places[0], places[-1])])
        nodes |= dict(zip(names, (places[0], places[-1]), strict=True))
        rows.append((key, *names, key, LineString(places)))
    edges = pd.DataFrame(rows, columns=["edge_id", "u", "v", "way_id", "geometry"])
    plain = {"name": None, "highway": "residential", "level": None, "alley_id": None}
    plain |= {"walkable": True, "public": True, "inside": True}
    for column, value in plain.items():
        given = columns.pop(column, {})
        edges[column] = pd.Series([given.get(key, value) for key in lines], dtype=object)
    assert not columns, f"unknown columns {list(columns)}"
    edges["length_m"] = round_mm(shapely.length(edges["geometry"].to_numpy()))
    shapes = [Point(place) for place in nodes.values()]
    return Streets(
        make("nodes", {"node_id": list(nodes), "geometry": shapes}, crs=CRS),
        make("edges", edges, crs=CRS),
    )


def row_of(streets, *keys):
    """Look up rows of edges by their ids."""
    return streets.rows.get_indexer(pd.Index(keys)).astype(np.int64)


def draw_frame(lines, *, points=None, compounds=None, toilets=None, gates=None, **columns):
    """Draw a frame: streets as above, {id: shape} of points and compounds, and their doors.

    Alleys are what the column ``alley_id`` says.
    """
    streets = draw_streets(lines, **columns)
    crs = streets.edges.crs
    found = {
        "points": _points(points or {}),
        "alleys": _alleys(streets.edges),
        "compounds": _compounds(compounds or {}),
        "toilets": _toilets(toilets or {}),
    }
    made = {name: make(name, table, crs=crs) for name, table in found.items()}
    made |= {name: empty(name, crs=crs) for name in ("candidates", "subdistricts", "quality")}
    doors = [
        find_doors(streets, made[f"{layer}s"], layer=layer, gates=gates)
        for layer in ("point", "compound", "toilet")
    ]
    area = Area(shapely.box(118.7, 32.0, 118.8, 32.1), "sketch")
    edge = shapely.box(-5_000, -5_000, 10_000, 10_000)
    return Frame(
        area,
        streets,
        **made,
        doors=make("doors", pd.concat(doors), crs=crs),
        data_edge=edge,
    )


def _multi(shape):
    return shape if shape.geom_type in ("Point", "MultiPolygon") else MultiPolygon([shape])


def _points(points):
    shapes = [_multi(shape) for shape in points.values()]
    text = dict.fromkeys(("name", "name_en", "subdistrict_id"), [None] * len(points))
    text |= {"point_id": list(points), "kind": ["school"] * len(points)}
    return text | {
        "source": ["sketch"] * len(points),
        "data_edge_m": [5_000.0] * len(points),
        "geometry": shapes,
    }


def _alleys(edges):
    groups = edges.dropna(subset="alley_id").groupby("alley_id")
    names = sorted(groups.groups)
    parts = [groups.get_group(name) for name in names]
    text = dict.fromkeys(("name", "name_en", "highway", "subdistrict_id"), [None] * len(names))
    return text | {
        "alley_id": names,
        "source": ["sketch"] * len(names),
        "reason": ["drawn"] * len(names),
        "length_m": [round(part["length_m"].sum(), 3) for part in parts],
        "geometry": [MultiLineString(list(part.geometry)) for part in parts],
    }


def _compounds(compounds):
    shapes = [_multi(shape) for shape in compounds.values()]
    text = dict.fromkeys(("name", "name_en", "subdistrict_id"), [None] * len(compounds))
    return text | {
        "compound_id": list(compounds),
        "source": ["sketch"] * len(compounds),
        "reason": ["drawn"] * len(compounds),
        "area_m2": [shape.area for shape in shapes],
        "geometry": shapes,
    }


def _toilets(toilets):
    count = len(toilets)
    names = ("name", "access", "fee", "opening_hours", "wheelchair", "signed", "level")
    return dict.fromkeys(names, [None] * count) | {
        "toilet_id": list(toilets),
        "status": ["public"] * count,
        "source": ["sketch"] * count,
        "inside": [True] * count,
        "geometry": list(toilets.values()),
    }
