"""Files as rows of text and geometry, whatever their format and encoding."""

import codecs
import io
import re
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyogrio
import shapely

from survey.errors import InputError

TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".xlsx")
VECTOR_SUFFIXES = (".geojson", ".json", ".gpkg", ".shp", ".zip")

# What GDAL, openpyxl (an XML fault is a SyntaxError) and zipfile raise on a broken file.
_BROKEN = (
    EOFError,
    KeyError,
    OSError,
    RuntimeError,
    SyntaxError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True, eq=False)
class Rows:
    """What a file holds.

    Parameters
    ----------
    cells
        Text, stripped, empty where missing; columns as the file names them.
    geometry
        Two-dimensional shapely geometries, ``None`` where missing; ``None`` for a plain table.
    crs
        What the file says its CRS is.
    numbers
        Each row's number as the user sees it: of the spreadsheet's row or of the feature.
    """

    cells: pd.DataFrame
    geometry: npt.NDArray[np.object_] | None
    crs: Any
    numbers: list[int]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.numbers)


def read_rows(path: Path) -> Rows:
    """Read a table or a vector file.

    Parameters
    ----------
    path
        CSV, TSV or TXT (comma, semicolon or tab; UTF-8, UTF-16 with a mark, or GB18030), XLSX (the
        first sheet), or a file for `read_vector`.

    Returns
    -------
    Rows
        The first row that is not blank heads a table; blank rows are left out.

    Raises
    ------
    InputError
        If the file is missing, of another kind, broken, or its encoding is none of these.
    """
    _check_file(path, (*TABLE_SUFFIXES, *VECTOR_SUFFIXES))
    suffix = path.suffix.lower()
    if suffix in VECTOR_SUFFIXES:
        return read_vector(path)
    grid = _read_xlsx(path) if suffix == ".xlsx" else _read_delimited(path)
    grid = grid.map(_as_text).map(str.strip)
    grid = grid[(grid != "").any(axis=1)]
    if grid.empty:
        return Rows(pd.DataFrame(), None, None, [])
    cells = grid.iloc[1:].set_axis(grid.iloc[0].to_list(), axis=1).reset_index(drop=True)
    return Rows(cells, None, None, [int(label) + 1 for label in grid.index[1:]])


def read_vector(path: Path) -> Rows:
    """Read the only vector layer of a GeoJSON, GeoPackage or shapefile (plain or zipped).

    Parameters
    ----------
    path
        The text of a shapefile is read as its .cpg file says, else as UTF-8, else as GB18030; that
        of GeoJSON as UTF-8, else as GB18030.

    Returns
    -------
    Rows

    Raises
    ------
    InputError
        If the file is missing, of another kind, broken, or has no or several vector layers.
    """
    _check_file(path, VECTOR_SUFFIXES)
    try:
        match path.suffix.lower():
            case ".zip":
                return _read_zip(path)
            case ".shp":
                return _read_shapefile(path)
            case ".gpkg":
                rows = _read_features(path, layer=_only_layer(path))
            case _:
                rows = _read_features(_decode(path).encode())
    except InputError:
        raise
    except _BROKEN as fault:
        raise InputError(f"{path} cannot be read: {_first_line(fault)}") from fault
    return replace(rows, cells=rows.cells.map(str.strip))


def _check_file(path: Path, suffixes: tuple[str, ...]) -> None:
    try:
        found = path.is_file()
        if found:
            path.open("rb").close()
    except OSError as fault:  # such as a file or folder without rights
        raise InputError(f"{path} cannot be read: {fault.strerror}") from fault
    if not found:
        raise InputError(f"{path} does not exist or is not a file; check the path")
    if path.suffix.lower() == ".xls":
        raise InputError(f"{path} is in the old Excel format; save it as .xlsx and pass that")
    if path.suffix.lower() not in suffixes:
        raise InputError(
            f"{path} is of an unknown kind; what can be read here is {', '.join(suffixes)}"
        )


def _first_line(fault: BaseException) -> str:
    line = (str(fault).splitlines() or [type(fault).__name__])[0]
    # GDAL names a file in memory that nobody knows, and advises what cannot be done here.
    return re.sub(r"'/vsimem/[^']*' |\.?; It might help.*", "", line)


def _decode(path: Path) -> str:
    raw = path.read_bytes()
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encodings = ["utf-16"]
    else:
        encodings = ["utf-8-sig", "gb18030"]
    for encoding in encodings:
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise InputError(f"{path} is neither UTF-8 nor GB18030 text; save it as CSV UTF-8")


def _read_delimited(path: Path) -> pd.DataFrame:
    text = _decode(path)
    header = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(",;\t", key=header.count)
    try:
        return pd.read_csv(
            io.StringIO(text),
            sep=delimiter,
            header=None,
            dtype=str,
            na_filter=False,
            skip_blank_lines=False,
        )
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
    except pd.errors.ParserError as fault:
        ragged = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(fault))
        why = _first_line(fault)
        if ragged is not None:
            width, row, cells = ragged.groups()
            why = f"row {row} has {cells} cells, the first row {width}"
        raise InputError(
            f"{path} cannot be read as a table: {why}; put text that holds a {delimiter!r} or a"
            " quotation mark in quotation marks"
        ) from fault


def _read_xlsx(path: Path) -> pd.DataFrame:
    try:
        with warnings.catch_warnings():
            # openpyxl warns of the drop-down lists and styles that it does not keep
            warnings.simplefilter("ignore", UserWarning)
            return pd.read_excel(
                path, header=None, dtype=object, na_filter=False, engine="openpyxl"
            )
    except _BROKEN as fault:
        raise InputError(f"{path} cannot be read as an Excel file: {_first_line(fault)}") from fault


def _as_text(value: Any) -> str:
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _read_features(source: Path | bytes, **options: str) -> Rows:
    with warnings.catch_warnings():
        # GDAL warns of what it does to feature numbers and columns that are not used here
        warnings.simplefilter("ignore", (RuntimeWarning, UserWarning))
        frame = pyogrio.read_dataframe(source, **options)
    if "geometry" not in frame:
        return Rows(pd.DataFrame(), None, None, [])
    cells = pd.DataFrame(frame.drop(columns="geometry")).map(_as_text)
    crs = None if frame.crs is None else frame.crs.to_2d()
    shapes = shapely.force_2d(frame["geometry"].to_numpy())
    return Rows(cells, shapes, crs, list(range(1, len(frame) + 1)))


def _only_layer(path: Path) -> str:
    layers = [name for name, kind in pyogrio.list_layers(path) if kind is not None]
    if len(layers) != 1:
        raise InputError(
            f"{path} has {len(layers)} vector layers ({', '.join(map(repr, layers))}); pass a file"
            " with one"
        )
    return str(layers[0])


def _read_zip(path: Path) -> Rows:
    """Read a zipped shapefile from a copy with plain names, whatever the archive's encoding."""
    with zipfile.ZipFile(path) as archive:
        names = [Path(name) for name in archive.namelist() if "__MACOSX" not in name]
        found = [name for name in names if name.suffix.lower() == ".shp"]
        if len(found) != 1:
            shown = ", ".join(repr(name.name) for name in found)
            raise InputError(f"{path} has {len(found)} shapefiles ({shown}); pass a zip with one")
        with tempfile.TemporaryDirectory() as folder:
            for name in names:
                if name.with_suffix("") == found[0].with_suffix(""):
                    copy = Path(folder, "layer").with_suffix(name.suffix.lower())
                    copy.write_bytes(archive.read(str(name)))
            return _read_shapefile(Path(folder, "layer.shp"))


def _read_shapefile(path: Path) -> Rows:
    # As Latin-1, every byte of the attribute file arrives as it is, to be decoded here: a missing
    # .cpg and names that were cut within a character defeat the usual way.
    rows = _read_features(path, encoding="ISO-8859-1")
    texts = [*rows.cells.columns, *rows.cells.to_numpy().ravel()]
    encodings = ["utf-8", "gb18030"]
    for said in path.parent.glob(f"{path.stem}.[cC][pP][gG]"):
        encodings.insert(0, said.read_text(encoding="latin-1").strip())
    for encoding in encodings:
        try:
            known = _decode_all(texts, encoding)
        except (UnicodeDecodeError, LookupError):
            continue
        cells = rows.cells.rename(columns=known).map(known.__getitem__)
        return replace(rows, cells=cells)
    raise InputError(f"{path} has text in none of {', '.join(encodings)}; add a .cpg file")


def _decode_all(texts: Iterable[str], encoding: str) -> dict[str, str]:
    decoder = codecs.getincrementaldecoder(encoding)
    # final=False lets go of half a character at the end, where the field was too short for it
    return {text: decoder().decode(text.encode("latin-1"), False).strip() for text in set(texts)}
