"""Tables as CSV and GeoJSON, and the writing of files that never loses what stood there."""

import json
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from csv import QUOTE_NONNUMERIC
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from survey.errors import OutputError, TableError

DECIMALS = 7
"""Decimals of exported degrees: a centimetre on the ground (RFC 7946, section 11.2, says 6)."""


def export_tables(
    tables: Mapping[str, pd.DataFrame],
    folder: str | Path,
    *,
    csv: bool = True,
    geojson: bool = False,
    replace: bool = False,
) -> list[Path]:
    """Write tables as files that Excel, a GIS or an auditing script can open.

    All files are written beside their targets first and renamed together, so a failed export
    leaves what was there.

    Parameters
    ----------
    tables
        Table name to table; each name becomes a file's name. Geometry in any CRS.
    folder
        Where to write; it is made if it is missing.
    csv
        Write ``<table>.csv`` for every table: UTF-8 with a byte-order mark, missing cells empty,
        numbers so that reading them again gives the same number. Instead of geometry there are
        two last columns, ``lon`` and ``lat`` (WGS-84 degrees, 7 decimals): the point itself, the
        middle of a line's longest piece, or a position inside an area. Cells are exact, so a
        text that begins with ``=``, ``+``, ``-`` or ``@`` is taken for a formula by a
        spreadsheet: import columns of names from strangers as text.
    geojson
        Write ``<table>.geojson`` for every table with geometry (RFC 7946: WGS-84, 7 decimals,
        outer rings anticlockwise; one feature per line, in the table's order).
    replace
        Overwrite files that exist.

    Returns
    -------
    list of Path
        The files written, in the order of `tables`.

    Raises
    ------
    OutputError
        If no kind of file is asked for, a file exists and `replace` is false (all are listed),
        or a file cannot be written.
    TableError
        If a table has geometry without a CRS.
    """
    if not csv and not geojson:
        raise OutputError("nothing to export: choose csv, geojson or both")
    contents = {}
    for name, table in tables.items():
        spatial = isinstance(table, gpd.GeoDataFrame)
        if spatial and table.crs is None:
            raise TableError(f"table {name!r} has no CRS, so it has no place on the globe; set it")
        if csv:
            contents[Path(folder, f"{name}.csv")] = csv_bytes(table)
        if geojson and spatial:
            contents[Path(folder, f"{name}.geojson")] = geojson_bytes(table)
    return write_files(contents, replace=replace)


def write_table(path: str | Path, table: pd.DataFrame, *, replace: bool = False) -> Path:
    """Write one table as a CSV file, as `export_tables` does.

    Raises
    ------
    OutputError
        If the file exists and `replace` is false, or it cannot be written.
    """
    return write_files({Path(path): csv_bytes(table)}, replace=replace)[0]


def label_points(shapes: gpd.GeoSeries) -> gpd.GeoSeries:
    """Find the one position that stands for each geometry.

    Parameters
    ----------
    shapes
        Points, lines or areas in a projected CRS.

    Returns
    -------
    geopandas.GeoSeries
        Points in the same CRS and on the same index: the point itself, the middle of a line's
        longest piece, or a position inside an area.
    """
    whole = np.asarray(shapes.array)
    points = shapely.point_on_surface(whole)
    lines = np.flatnonzero(shapely.get_dimensions(whole) == 1)
    parts, owners = shapely.get_parts(whole[lines], return_index=True)
    order = np.lexsort((-shapely.length(parts), owners))
    longest = parts[order[np.searchsorted(owners, np.arange(len(lines)))]]
    points[lines] = shapely.line_interpolate_point(longest, 0.5, normalized=True)
    return gpd.GeoSeries(points, index=shapes.index, crs=shapes.crs)


def write_files(contents: Mapping[Path, bytes], *, replace: bool = False) -> list[Path]:
    """Write files so that either all of them are new or what stood there is unharmed.

    Parameters
    ----------
    contents
        Path to content. Missing parent folders are made.
    replace
        Overwrite files that exist.

    Returns
    -------
    list of Path
        The paths, in the order given.

    Raises
    ------
    OutputError
        If a file exists and `replace` is false (all are listed), a path is not a plain file, or
        the disk refuses.
    """
    existing = [path for path in contents if _is_there(path)]
    if existing and not replace:
        names = ", ".join(str(path) for path in existing)
        raise OutputError(f"{names} exists; pass replace=True (--replace) to overwrite it")
    mark = secrets.token_hex(6)
    temporary = {path: path.parent / f".survey-{mark}-{n}" for n, path in enumerate(contents)}
    try:
        for path, content in contents.items():
            with _one_line(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                temporary[path].write_bytes(content)
        _rename_all(temporary)
    finally:
        for path in temporary.values():
            _remove(path)
    return list(contents)


def _is_there(path: Path) -> bool:
    with _one_line(path):
        there, plain = path.exists(), path.is_file()
    if there and not plain:
        raise OutputError(f"{path} exists and is not a file; choose another name")
    return there


def _rename_all(temporary: Mapping[Path, Path]) -> None:
    # A later rename may fail (an open file on Windows): copies bring the earlier targets back.
    backups: dict[Path, Path] = {}
    renamed: list[Path] = []
    try:
        for path, source in temporary.items():
            with _one_line(path):
                if len(temporary) > 1 and path.exists():
                    backups[path] = source.with_name(f"{source.name}-old")
                    shutil.copy2(path, backups[path])
                source.replace(path)
            renamed.append(path)
    finally:
        for path in renamed if len(renamed) < len(temporary) else ():
            if path in backups:
                backups[path].replace(path)
            else:
                path.unlink()
        for backup in backups.values():
            _remove(backup)


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"{path} cannot be written: {reason}; check the folder, its rights and free space"
        ) from error


def _remove(path: Path) -> None:
    # What stood in the way of writing may stand in the way of tidying up, and was reported.
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return


def csv_bytes(table: pd.DataFrame) -> bytes:
    """Write a table as CSV in UTF-8 with a mark; a geometry becomes ``lon``, ``lat`` in WGS-84."""
    plain = pd.DataFrame(table)
    if isinstance(table, gpd.GeoDataFrame):
        places = label_points(table.geometry).to_crs(4326)
        plain = plain.drop(columns=table.geometry.name)
        plain = plain.assign(lon=places.x.round(DECIMALS), lat=places.y.round(DECIMALS))
    text: str = plain.to_csv(index=False, lineterminator="\n")
    if "\r" in text:  # which Python's writer leaves bare in a cell, and which ends a row
        text = plain.to_csv(index=False, lineterminator="\n", quoting=QUOTE_NONNUMERIC)
    return text.encode("utf-8-sig")


def geojson_bytes(table: gpd.GeoDataFrame) -> bytes:
    """Write a table as GeoJSON in WGS-84."""
    shapes = shapely.orient_polygons(table.geometry.to_crs(4326).to_numpy())
    shapes = shapely.transform(shapes, lambda degrees: np.round(degrees, DECIMALS))
    plain = pd.DataFrame(table.drop(columns=table.geometry.name)).astype(object)
    rows = plain.where(plain.notna(), None).to_dict("records")
    features = [
        {"type": "Feature", "properties": row, "geometry": shapely.geometry.mapping(shape)}
        for row, shape in zip(rows, shapes, strict=True)
    ]
    lines = ",\n".join(json.dumps(feature, ensure_ascii=False) for feature in features)
    return f'{{"type":"FeatureCollection","features":[\n{lines}\n]}}\n'.encode()
