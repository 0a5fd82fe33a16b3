"""Where the rows of a user's file are: coordinates out of cells, checked to be degrees."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pyproj
import shapely

from survey.sources.layer_files import Rows
from survey.sources.layer_words import read_words

Shapes = npt.NDArray[np.object_]

_MOST = 5
_LETTERS = re.compile(r"[en]|东经|北纬", re.IGNORECASE)
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?")
_NUMBER = r"(\d+(?:\.\d*)?)"
_DEGREES = re.compile(
    rf"([+-]?){_NUMBER}[°度]?(?:{_NUMBER}['′’分](?:{_NUMBER}(?:\"|''|″|′′|”|秒))?)?"
)


def describe_rows(rows: Rows, places: Iterable[int]) -> str:
    """Say which rows (or features, of a file with geometry) stand at `places`, the first five."""
    numbers = [str(rows.numbers[place]) for place in places]
    noun = ("row" if rows.geometry is None else "feature") + "s" * (len(numbers) > 1)
    more = f" and {len(numbers) - _MOST} more" if len(numbers) > _MOST else ""
    return f"{noun} {', '.join(numbers[:_MOST])}{more}"


def place_rows(rows: Rows, columns: Mapping[str, Sequence[int]]) -> tuple[Shapes, str, list[str]]:
    """Make each row's geometry out of what the file has: its own geometry, WKT or two numbers.

    Parameters
    ----------
    rows
        The file's rows.
    columns
        Where its columns are, as `find_columns` finds them.

    Returns
    -------
    shapes
        Two-dimensional, in the CRS of the file; ``None`` where there is no usable one.
    named
        What the coordinates are called in the file, for messages.
    faults
        What is wrong: columns that are missing or double, and rows without usable coordinates.
    """
    if rows.geometry is not None:
        shapes, named, told = rows.geometry, "the geometry", None
    elif "wkt" in columns:
        shapes, named, told = _read_wkt(rows, columns["wkt"][0])
    else:
        pair = ("lon", "lat") if columns.keys() & {"lon", "lat"} else ("x", "y")
        fault = _find_column_fault(rows, columns, pair)
        if fault:
            return np.full(len(rows), None), "", [fault]
        shapes, named, told = _read_numbers(rows, *(columns[axis][0] for axis in pair))
    bounds = shapely.bounds(shapes)
    points = (bounds[:, :2] == bounds[:, 2:]).all(axis=1)
    bad = ~np.isfinite(bounds).all(axis=1) | (points & (bounds == 0).any(axis=1))
    usable = _unpack(shapes)
    if not bad.any():
        return usable, named, []
    usable[bad] = None
    where = np.flatnonzero(bad)
    example = f" (the first has {told[where[0]]})" if told is not None else ""
    fault = f"missing, zero or unreadable coordinates in {describe_rows(rows, where)}{example}"
    return usable, named, [f"{named}: {fault}"]


def _read_wkt(rows: Rows, place: int) -> tuple[Shapes, str, list[str]]:
    cells = rows.cells.iloc[:, place]
    shapes = shapely.force_2d(shapely.from_wkt(cells.to_numpy(object), on_invalid="ignore"))
    return shapes, f"column {cells.name!r}", [repr(cell[:40]) for cell in cells]


def _read_numbers(rows: Rows, x: int, y: int) -> tuple[Shapes, str, list[str]]:
    pair = rows.cells.iloc[:, [x, y]]
    told = [f"{one!r}, {other!r}" for one, other in pair.itertuples(index=False)]
    named = "columns {!r} and {!r}".format(*pair.columns)
    return shapely.points(pair.map(parse_degrees).to_numpy(np.float64)), named, told


def _find_column_fault(
    rows: Rows, columns: Mapping[str, Sequence[int]], pair: tuple[str, str]
) -> str:
    """Say what hinders taking coordinates from two columns, or nothing."""
    names = [str(name) for name in rows.cells.columns]
    words = read_words()["columns"]
    if not set(pair) <= columns.keys():
        lon, lat, wkt = (
            "/".join([word for word, means in words.items() if means == column][:5])
            for column in ("lon", "lat", "wkt")
        )
        return (
            f"no column pair holds coordinates; wanted are longitude ({lon}) and latitude ({lat}),"
            f" or WKT ({wkt}); the columns are {', '.join(map(repr, names)) or 'none'}"
        )
    for axis in pair:
        if len(columns[axis]) > 1:
            double = ", ".join(repr(names[place]) for place in columns[axis])
            return f"columns {double} hold the same coordinate; keep the one whose datum is passed"
    return ""


def parse_degrees(text: str) -> float:
    """Read degrees written as a number or as degrees, minutes and seconds; NaN if they are not.

    Full-width digits, spaces, degree signs, E and N, 东经 and 北纬, and commas between thousands
    are understood; a decimal comma is not.
    """
    plain = re.sub(r"\s", "", unicodedata.normalize("NFKC", text))
    try:
        return float(plain)
    except ValueError:
        plain = _LETTERS.sub("", plain)
    if _THOUSANDS.fullmatch(plain):
        plain = plain.replace(",", "")
    found = _DEGREES.fullmatch(plain)
    if found is None:
        return np.nan
    sign, degrees, minutes, seconds = found.groups()
    size = float(degrees) + float(minutes or 0) / 60 + float(seconds or 0) / 3600
    return -size if sign == "-" else size


def check_degrees(rows: Rows, shapes: Shapes, named: str) -> tuple[Shapes, list[str]]:
    """Bring geometries to EPSG:4326 if the file says its CRS, and check that they are degrees.

    Parameters
    ----------
    rows
        The file's rows, for its CRS and for messages.
    shapes
        In the CRS of the file, ``None`` where missing.
    named
        What the coordinates are called in the file.

    Returns
    -------
    shapes
        In degrees of longitude and latitude.
    faults
        Coordinates that are no degrees, or whose longitude and latitude look swapped.
    """
    if rows.crs is None or rows.crs.is_geographic:
        faults = _find_degree_faults(rows, shapes, named)
        if faults or rows.crs is None:
            return shapes, faults
    try:
        return gpd.GeoSeries(shapes, crs=rows.crs).to_crs("EPSG:4326").to_numpy(), []
    except pyproj.exceptions.ProjError as fault:
        return shapes, [f"its CRS cannot be used ({fault}); give WGS-84"]


def _find_degree_faults(rows: Rows, shapes: Shapes, named: str) -> list[str]:
    here = ~shapely.is_missing(shapes)
    bounds = shapely.bounds(shapes)
    lon, lat = np.abs(bounds[:, [0, 2]]).max(axis=1), np.abs(bounds[:, [1, 3]]).max(axis=1)
    swapped = (lon <= 90) & (lat > 90) & (lat <= 180)
    west, south, east, north = shapely.total_bounds(shapes)
    if west >= 0 and east <= 60 and south >= 70 and north <= 140:
        swapped = here
    strange = here & ~swapped & ((lon > 180) | (lat > 90))
    faults = []
    if swapped.any():
        where = describe_rows(rows, np.flatnonzero(swapped))
        faults.append(
            f"{named}: longitude and latitude look swapped in {where}; in China longitude is the"
            " number above 70"
        )
    if strange.any():
        first = np.flatnonzero(strange)
        faults.append(
            f"{named}: {bounds[first[0], 0]:.10g}, {bounds[first[0], 1]:.10g} are not degrees"
            f" ({describe_rows(rows, first)}); say the CRS (a .prj file or a GeoPackage) or give"
            " longitude and latitude"
        )
    return faults


def _unpack(shapes: Shapes) -> Shapes:
    """Take the point out of what some programs write as a collection of one."""
    lone = (shapely.get_type_id(shapes) == shapely.GeometryType.MULTIPOINT) & (
        shapely.get_num_geometries(shapes) == 1
    )
    return np.where(lone, shapely.get_geometry(shapes, 0), shapes)
