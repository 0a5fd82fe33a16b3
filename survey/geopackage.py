"""Layers of a GeoPackage, written in bulk: GDAL makes the schema, SQLite takes the rows.

Through GDAL, one by one, the rows take three times as long. What the blob of a geometry looks like
is said by the GeoPackage standard (OGC 12-128r19, 2.1.3), what stands in a spatial index by SQLite
(https://www.sqlite.org/rtree.html).
"""

import math
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import chain, islice
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyogrio
import shapely

_ROWS = 50  # of one statement, which share what a statement costs
_CHUNK = 400 * _ROWS  # rows that are Python objects at a time
_CELLS = 51  # in a node of a spatial index at most

_HEAD = np.dtype([("magic", "S2"), ("version", "u1"), ("flags", "u1"), ("srs_id", "<i4")])
_HEAD_BOX = np.dtype([*_HEAD.descr, ("box", "<f8", (4,))])
_CELL = np.dtype([("id", ">i8"), ("box", ">f4", (4,))])
_NODE = np.dtype([("depth", ">u2"), ("count", ">u2"), ("cells", _CELL, (_CELLS,))])

_Boxes = npt.NDArray[np.float64]  # one row per geometry: x from, x to, y from, y to


def write_layers(
    file: Path, tables: Mapping[str, pd.DataFrame], geometry_types: Mapping[str, str]
) -> None:
    """Write tables as layers of a GeoPackage, over the layers of these names if there are any.

    A program that is stopped here leaves a broken file: give one that is moved to its place when
    it is whole.

    Parameters
    ----------
    file
        The GeoPackage; it is made if it is missing.
    tables
        Layer name to rows; a missing cell is NULL. Geometry in any CRS, none missing or empty,
        gets a spatial index.
    geometry_types
        Name of a layer with geometry to what all of it is, such as ``Point``, or ``Unknown``.

    Raises
    ------
    RuntimeError
        If GDAL cannot write it.
    sqlite3.Error
        If SQLite cannot.
    """
    for name, table in tables.items():
        texts = {column: "str" for column, dtype in table.dtypes.items() if dtype == "category"}
        pyogrio.write_dataframe(
            table.iloc[:0].astype(texts),
            file,
            layer=name,
            driver="GPKG",
            geometry_type=geometry_types.get(name),
        )
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = OFF")
        database.execute("PRAGMA synchronous = OFF")
        database.execute("BEGIN")
        ask = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
        triggers = database.execute(ask).fetchall()
        # They keep up, row by row, what is set here for all rows at once.
        for name, _ in triggers:
            database.execute(f'DROP TRIGGER "{name}"')
        for name, table in tables.items():
            _fill(database, name, table)
        for _, statement in triggers:
            database.execute(statement)
        database.execute("COMMIT")


def _fill(database: sqlite3.Connection, name: str, table: pd.DataFrame) -> None:
    """Fill an empty layer."""
    plain, shapes = pd.DataFrame(table), None
    fields = list(table.columns)
    if isinstance(table, gpd.GeoDataFrame):
        plain = plain.drop(columns=table.geometry.name)
        shapes = np.asarray(table.geometry.array)
        boxes = shapely.bounds(shapes)[:, [0, 2, 1, 3]]
        ask = "SELECT column_name, srs_id FROM gpkg_geometry_columns WHERE table_name = ?"
        field, srs_id = database.execute(ask, [name]).fetchone()
        fields = [*plain.columns, field]
    for start in range(0, len(table), _CHUNK):
        part = slice(start, start + _CHUNK)
        cells = [_list_cells(plain[column].iloc[part]) for column in plain.columns]
        if shapes is not None:
            cells.append(_list_blobs(shapes[part], boxes[part], srs_id))
        _insert(database, name, fields, cells)
    found = "UPDATE gpkg_ogr_contents SET feature_count = ? WHERE table_name = ?"
    database.execute(found, [len(table), name])
    if shapes is not None and len(table):
        ends = [*boxes.min(axis=0)[[0, 2]].tolist(), *boxes.max(axis=0)[[1, 3]].tolist()]
        extent = "UPDATE gpkg_contents SET (min_x, min_y, max_x, max_y) = (?, ?, ?, ?)"
        database.execute(f"{extent} WHERE table_name = ?", [*ends, name])
        _fill_index(database, f"rtree_{name}_{field}", boxes)


def _list_cells(column: "pd.Series[Any]") -> list[Any]:
    """List a column as what SQLite takes; it takes NaN for NULL."""
    if column.dtype == bool:
        column = column.astype("int64")
    cells: list[Any] = column.to_numpy(dtype=object).tolist()
    return cells


def _list_blobs(shapes: Any, boxes: _Boxes, srs_id: int) -> list[bytearray]:
    points = bool((shapely.get_type_id(shapes) == shapely.GeometryType.POINT).all())
    heads = np.zeros(len(shapes), _HEAD if points else _HEAD_BOX)
    heads["magic"] = b"GP"
    heads["srs_id"] = srs_id
    heads["flags"] = 1 if points else 3  # little-endian; a box after the head
    if not points:
        heads["box"] = boxes
    texts = heads.view(f"V{heads.itemsize}").tolist()
    # Python's SQLite asks of all but a few types, bytes not among them, how to adapt them.
    return [bytearray(head + wkb) for head, wkb in zip(texts, shapely.to_wkb(shapes), strict=True)]


def _insert(
    database: sqlite3.Connection, table: str, fields: Sequence[str], cells: Sequence[list[Any]]
) -> None:
    """Insert rows that are given by column."""
    names = ", ".join(f'"{field}"' for field in fields)
    row = f"({', '.join('?' * len(fields))})"
    into = f'INSERT INTO "{table}" ({names}) VALUES '  # noqa: S608 - names of our own tables
    rows = zip(*cells, strict=True)
    flat = chain.from_iterable(rows)
    many = (tuple(islice(flat, _ROWS * len(fields))) for _ in range(len(cells[0]) // _ROWS))
    database.executemany(into + ", ".join([row] * _ROWS), many)
    database.executemany(into + row, rows)


def _fill_index(database: sqlite3.Connection, index: str, boxes: _Boxes) -> None:
    """Fill an empty spatial index from its leaves up; SQLite would take the boxes one by one."""
    order = _tile(boxes)
    ids, extents = order + 1, _widen(boxes[order])
    tables = [(f"{index}_rowid", "rowid", "nodeno"), (f"{index}_parent", "nodeno", "parentnode")]
    database.execute(f'DELETE FROM "{index}_node"')  # noqa: S608 - a name of our own table
    first, depth, top = 2, 0, False  # the root is node 1
    while not top:
        starts = np.arange(0, len(ids), _CELLS)
        top = len(starts) == 1
        nodes = np.arange(first, first + len(starts)) if not top else np.ones(1, np.int64)
        owners = np.repeat(nodes, _CELLS)[: len(ids)]
        rising = np.argsort(ids)
        table, *fields = tables[min(depth, 1)]
        _insert(database, table, fields, [ids[rising].tolist(), owners[rising].tolist()])
        blobs = _pack_nodes(ids, extents, depth if top else 0)
        _insert(database, f"{index}_node", ["nodeno", "data"], [nodes.tolist(), blobs])
        low, high = (ends.reduceat(extents, starts) for ends in (np.minimum, np.maximum))
        extents = np.where([True, False, True, False], low, high)
        ids, first, depth = nodes, first + len(nodes), depth + 1


def _tile(boxes: _Boxes) -> npt.NDArray[np.int64]:
    """Order boxes so that those of one node are neighbours: by strips of x, and in these by y.

    After Leutenegger, Lopez and Edgington, "STR: a simple and efficient algorithm for R-tree
    packing" (1997).
    """
    middle_x, middle_y = boxes[:, 0] + boxes[:, 1], boxes[:, 2] + boxes[:, 3]
    strips = math.ceil(math.sqrt(len(boxes) / _CELLS))
    rank = np.empty(len(boxes), np.int64)
    rank[np.argsort(middle_x, kind="stable")] = np.arange(len(boxes))
    return np.lexsort((middle_y, rank // (strips * _CELLS)))


def _widen(boxes: _Boxes) -> npt.NDArray[np.float32]:
    """Round boxes to what an index holds, so that they still hold their geometries."""
    near = boxes.astype(np.float32)
    outward = np.array([-np.inf, np.inf, -np.inf, np.inf], np.float32)
    inside = np.where(outward < 0, near > boxes, near < boxes)
    return np.where(inside, np.nextafter(near, outward), near)


def _pack_nodes(
    ids: npt.NDArray[np.int64], extents: npt.NDArray[np.float32], depth: int
) -> list[bytes]:
    nodes = np.zeros(-(-len(ids) // _CELLS), _NODE)
    cells = np.zeros(len(nodes) * _CELLS, _CELL)
    cells["id"][: len(ids)] = ids
    cells["box"][: len(ids)] = extents
    nodes["cells"] = cells.reshape(len(nodes), _CELLS)
    nodes["count"] = _CELLS
    nodes["count"][-1] = len(ids) - _CELLS * (len(nodes) - 1)
    nodes["depth"] = depth
    blobs: list[bytes] = nodes.view(f"V{nodes.itemsize}").tolist()
    return blobs
