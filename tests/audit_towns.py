"""Frames drawn in a few lines, and copies of frames that must be audited alike."""

from dataclasses import replace

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import shapely
from shapely.affinity import translate

from survey import tables
from survey.coverage.audit import audit_coverage
from survey.coverage.rules import Rule
from survey.frame.frame import Frame
from survey.frame.streets import Streets
from survey.sources.area import WGS84, Area

CRS = pyproj.CRS.from_epsg(32650)
EAST, NORTH = 500_000, 3_550_000


def place(shape):
    """Bring a shape in metres from the town's corner to its place on the globe."""
    return translate(shape, EAST, NORTH)


def fill(name, rows):
    """Make a table in which what is not given is missing."""
    columns = [*tables.TABLES[name].columns, "geometry"]
    table = pd.DataFrame(rows, columns=None if len(rows) else columns).reindex(columns=columns)
    return tables.make(name, {column: table[column] for column in columns}, crs=CRS)


def make_town(edges, toilets=(), points=(), *, data_edge=(-9_000, -9_000, 9_000, 9_000)):
    """Make a frame.

    `edges`: dicts of u, v, vertices and, where they differ from a named public street inside the
    area, name, walkable, public, inside. `toilets` and `points`: dicts of id, place and doors
    (row of the edge, offset_m, access_m), toilets with status. One subdistrict holds everything.
    """
    rows, nodes = [], {}
    for number, edge in enumerate(edges):
        line = place(shapely.LineString(edge["vertices"]))
        nodes |= {edge["u"]: shapely.get_point(line, 0), edge["v"]: shapely.get_point(line, -1)}
        usual = {"name": "街", "walkable": True, "public": True, "inside": True}
        ids = {"edge_id": f"way/{number}:0", "way_id": f"way/{number}", "highway": "residential"}
        length = float(tables.round_mm(line.length))
        rows.append(usual | edge | ids | {"length_m": length, "geometry": line})
    streets = Streets(
        fill("nodes", [{"node_id": name, "geometry": spot} for name, spot in nodes.items()]),
        fill("edges", rows),
    )
    everything = {"subdistrict_id": "all", "source": "test"}
    ground = shapely.MultiPolygon([place(shapely.box(-9_000, -9_000, 9_000, 9_000))])
    square = gpd.GeoSeries([place(shapely.box(0, 0, 1_000, 1_000))], crs=CRS)
    return Frame(
        Area(square.to_crs(WGS84).iloc[0], "drawn"),
        streets,
        points=_objects("point", points, {**everything, "kind": "school", "data_edge_m": 1.0}),
        alleys=tables.empty("alleys", crs=CRS),
        compounds=tables.empty("compounds", crs=CRS),
        toilets=_objects("toilet", toilets, {"source": "test", "inside": True, "status": "public"}),
        candidates=tables.empty("candidates", crs=CRS),
        doors=_doors(streets, {"toilet": toilets, "point": points}),
        subdistricts=fill("subdistricts", [{**everything, "geometry": ground}]),
        quality=tables.empty("quality"),
        data_edge=place(shapely.box(*data_edge)),
    )


def _objects(layer, rows, usual):
    made = [
        {**usual, **row, f"{layer}_id": row["id"], "geometry": place(shapely.Point(row["place"]))}
        for row in rows
    ]
    return fill(f"{layer}s", made)


def _doors(streets, layers):
    ids, lines = streets.edges["edge_id"], streets.edges.geometry
    rows = [
        {
            "layer": layer,
            "id": row["id"],
            "n": n,
            "edge_id": ids.iloc[edge],
            "kind": "nearest",
            "offset_m": offset,
            "access_m": access,
            "geometry": shapely.line_interpolate_point(lines.iloc[edge], offset),
        }
        for layer, objects in layers.items()
        for row in objects
        for n, (edge, offset, access) in enumerate(row.get("doors", ()))
    ]
    return fill("doors", rows)


def audit_one(frame, metric, limit_m):
    """Audit a frame by a rule of any limit."""
    return audit_coverage(frame, rules=[Rule("r", "", "", metric, limit_m, "")])


def merge_rows(rows):
    """Join the intervals of each edge that touch: a sorted list of (edge_id, from_m, to_m)."""
    joined = []
    for edge, start, end in sorted(zip(rows["edge_id"], rows["from_m"], rows["to_m"], strict=True)):
        if joined and joined[-1][0] == edge and joined[-1][2] == start:
            joined[-1] = (edge, joined[-1][1], end)
        else:
            joined.append((edge, start, end))
    return joined


def shuffle(frame, seed):
    """Copy a frame with the rows of every table in another order."""
    rng = np.random.default_rng(seed)

    def mix(table):
        return table.iloc[rng.permutation(len(table))].reset_index(drop=True)

    names = ("points", "alleys", "compounds", "toilets", "candidates", "doors", "subdistricts")
    streets = Streets(mix(frame.streets.nodes), mix(frame.streets.edges))
    return replace(frame, streets=streets, **{name: mix(getattr(frame, name)) for name in names})


def reverse(frame, which):
    """Copy a frame with some edges (a mask) drawn the other way round."""
    edges, doors = frame.streets.edges.copy(), frame.doors.copy()
    u, v = edges["u"].to_numpy(), edges["v"].to_numpy()
    edges["u"], edges["v"] = np.where(which, v, u), np.where(which, u, v)
    lines = edges.geometry.to_numpy()
    edges["geometry"] = np.where(which, shapely.reverse(lines), lines)
    turned = doors["edge_id"].isin(edges["edge_id"][which])
    length = doors["edge_id"].map(edges.set_index("edge_id")["length_m"]).astype(float)
    from_v = tables.round_mm(length - doors["offset_m"])
    doors["offset_m"] = np.where(turned, from_v, doors["offset_m"])
    return replace(frame, streets=Streets(frame.streets.nodes, edges), doors=doors)
