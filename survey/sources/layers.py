"""The user's own layers: points, toilets, alleys, compounds and subdistricts out of files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyproj
import shapely
from shapely.geometry.base import BaseGeometry

from survey.errors import AreaError, InputError, LayerError
from survey.sources.layer_files import Rows, read_rows, read_vector
from survey.sources.layer_places import check_degrees, describe_rows, place_rows
from survey.sources.layer_words import find_columns, fold, read_words
from survey.tables import KIND_ZH

_AREAS = ("Polygon", "MultiPolygon")
_SHAPES = {
    "points": ("Point", *_AREAS),
    "toilets": ("Point", *_AREAS),
    "alleys": ("LineString", "MultiLineString", "Point"),
    "compounds": (*_AREAS, "Point"),
    "subdistricts": _AREAS,
}
_EXTRA = {
    "points": ("kind",),
    "toilets": ("status", "access", "fee", "opening_hours", "wheelchair", "signed", "level"),
}


def read_layer(path: str | Path, layer: str) -> gpd.GeoDataFrame:
    """Read a layer of the user's own and check every cell of it.

    Parameters
    ----------
    path
        CSV, TSV, TXT, XLSX, GeoJSON, GeoPackage or shapefile (plain or zipped); as to encodings
        see `read_rows`. Columns may be named in Chinese or English (`layer_words.toml`); a table
        holds longitude and latitude in degrees, or WKT in a column of that name.
    layer
        points, toilets, alleys, compounds or subdistricts.

    Returns
    -------
    geopandas.GeoDataFrame
        ``id, name, name_en``, for points ``kind``, for toilets ``status, access, fee,
        opening_hours, wheelchair, signed, level``, and ``geometry`` as EPSG:4326 numbers in the
        datum of the file, in the file's order. Text is missing where the file has none, but
        ``status`` is then "closed" where ``access`` says no, private or customers, and else
        "public". Toilets drawn as areas are points within them; invalid polygons are mended.

    Raises
    ------
    InputError
        If the file is missing, broken, or of a kind that cannot be read.
    LayerError
        If a column lacks or a cell holds what it may not; the message lists every fault of the
        file, with its first rows as a spreadsheet numbers them (the header is row 1), or features.
    """
    path = Path(path)
    if layer not in _SHAPES:
        raise LayerError(f"the layer {layer!r} is unknown; known are {', '.join(_SHAPES)}")
    rows = read_rows(path)
    if not len(rows):
        raise LayerError(f"{path} holds no rows; it should have one for each of the {layer}")
    words = dict(read_words()["columns"])
    if layer == "subdistricts":
        words |= read_words()["subdistrict"]
    columns = find_columns([str(name) for name in rows.cells.columns], words)
    texts, faults = _read_texts(rows, columns, layer)
    shapes, more = _read_shapes(rows, columns, layer)
    if faults or more:
        raise LayerError(f"{path}: " + "; ".join([*faults, *more]))
    if layer == "toilets":
        shapes = shapely.point_on_surface(shapes)
    data = {name: pd.Series(cells, dtype="str") for name, cells in texts.items()}
    return gpd.GeoDataFrame(data, geometry=shapes, crs="EPSG:4326")


def _read_texts(
    rows: Rows, columns: dict[str, list[int]], layer: str
) -> tuple[dict[str, list[str | None]], list[str]]:
    """Return each column's cells, and what is wrong with them."""
    texts: dict[str, list[str | None]] = {}
    for column in ("id", "name", "name_en", *_EXTRA.get(layer, ())):
        cells = rows.cells.iloc[:, columns[column][0]] if column in columns else [""] * len(rows)
        means = read_words()["cell"].get(column, {})
        texts[column] = [means.get(fold(cell), cell) or None for cell in cells]
    faults = _check_ids(rows, texts["id"])
    if layer == "points":
        texts["kind"], more = _translate(rows, texts["kind"], "kind")
        faults += _name_columns(rows, "kind") if "kind" not in columns else more
    if layer == "toilets":
        shut = [access in {"no", "private", "customers"} for access in texts["access"]]
        texts["status"] = [
            status or ("closed" if closed else "public")
            for status, closed in zip(texts["status"], shut, strict=True)
        ]
        texts["status"], more = _translate(rows, texts["status"], "status")
        faults += more
    return texts, faults


def _check_ids(rows: Rows, ids: Sequence[str | None]) -> list[str]:
    if not any(ids):
        return []
    faults = []
    empty = [row for row, name in enumerate(ids) if name is None]
    if empty:
        faults.append(f"the id is empty in {describe_rows(rows, empty)}")
    found = pd.Series(ids, dtype=object).dropna()
    twice = found[found.duplicated(keep=False)]
    same = [
        f"{name!r} in {describe_rows(rows, group.index)}"
        for name, group in twice.groupby(twice, sort=False)
    ]
    if same:
        faults.append(f"ids are not unique: {_shorten(same)}")
    return faults


def _translate(
    rows: Rows, cells: Sequence[str | None], column: str
) -> tuple[list[str | None], list[str]]:
    """Return the contract's word for each cell, and which cells hold none of them."""
    words = read_words()[column]
    means = [words.get(fold(cell or "")) for cell in cells]
    bad = pd.Series(["" if cell is None else cell for cell in cells], dtype=object)
    bad = bad[[mean is None for mean in means]]
    if bad.empty:
        return means, []
    shown = [
        f"{cell!r} in {describe_rows(rows, group.index)}"
        for cell, group in bad.groupby(bad, sort=False)
    ]
    allowed = [f"{mean} {KIND_ZH.get(mean, '')}".strip() for mean in dict.fromkeys(words.values())]
    return means, [f"the {column} {_shorten(shown)} is unknown; allowed are {', '.join(allowed)}"]


def _shorten(shown: Sequence[str], *, most: int = 3) -> str:
    more = len(shown) - most
    return ", ".join(shown[:most]) + (f" and {more} more" if more > 0 else "")


def _name_columns(rows: Rows, wanted: str) -> list[str]:
    found = ", ".join(repr(str(name)) for name in rows.cells.columns) or "none"
    words = [word for word, mean in read_words()["columns"].items() if mean == wanted][:3]
    return [f"no column says the {wanted} ({', '.join(words)}); the columns are {found}"]


def _read_shapes(
    rows: Rows, columns: dict[str, list[int]], layer: str
) -> tuple[npt.NDArray[np.object_], list[str]]:
    """Return each row's geometry in degrees, of a type that the layer allows, and the faults."""
    placed, named, faults = place_rows(rows, columns)
    shapes, more = check_degrees(rows, placed, named)
    faults += more
    types = [None if shape is None else shape.geom_type for shape in shapes]
    strange = [row for row, kind in enumerate(types) if kind not in (None, *_SHAPES[layer])]
    if strange:
        shown = sorted({shapes[row].geom_type for row in strange})
        where = describe_rows(rows, strange)
        allowed = ", ".join(_SHAPES[layer])
        faults.append(f"{', '.join(shown)} in {where}; {layer} may be {allowed}")
    mended = _mend(shapes)
    flat = np.flatnonzero(shapely.is_empty(mended))
    if len(flat):
        faults.append(f"a polygon without area in {describe_rows(rows, flat)}")
    return mended, faults


def _mend(shapes: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
    broken = (shapely.get_dimensions(shapes) == 2) & ~shapely.is_valid(shapes)
    mended = shapes.copy()
    mended[broken] = shapely.make_valid(shapes[broken], method="structure", keep_collapsed=False)
    return mended


def read_shapes(path: str | Path) -> BaseGeometry:
    """Read the union of all polygons in a polygon file.

    Parameters
    ----------
    path
        GeoJSON, GeoPackage or shapefile (plain or zipped) in any CRS; without one, WGS-84.

    Returns
    -------
    shapely.Polygon or shapely.MultiPolygon
        In WGS-84 longitude and latitude.

    Raises
    ------
    InputError
        If the file cannot be read.
    AreaError
        If it holds no polygon.
    """
    path = Path(path)
    rows = read_vector(path)
    shapes: Any = [] if rows.geometry is None else rows.geometry
    parts = gpd.GeoSeries(shapely.get_parts(shapely.get_parts(shapes)), crs=rows.crs)
    parts = parts[parts.geom_type == "Polygon"]
    if rows.crs is not None:
        try:
            parts = parts.to_crs("EPSG:4326")
        except pyproj.exceptions.ProjError as fault:
            raise InputError(f"{path}: its CRS cannot be used ({fault}); give WGS-84") from fault
    union = shapely.union_all(_mend(parts.to_numpy()))
    if union.area == 0:
        raise AreaError(f"{path} holds no polygon; draw the area as one")
    return union
