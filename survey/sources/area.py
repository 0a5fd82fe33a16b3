"""The area of a survey: a box, a polygon or a file's own box, in WGS-84 and in metres."""

import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import geopandas as gpd
import pyproj
import shapely
from shapely.geometry.base import BaseGeometry

from survey.errors import AreaError

WGS84 = pyproj.CRS.from_epsg(4326)


@dataclass(frozen=True)
class Area:
    """What is surveyed.

    Parameters
    ----------
    polygon
        A Polygon or MultiPolygon in WGS-84 longitude and latitude.
    name
        What the area is called in titles.
    data_edge
        The edge of the data, a polygon in WGS-84, where it is known (a file of the user's, or
        the box in the extract's header); ``None`` if it is to be read off the streets.

    Raises
    ------
    AreaError
        If the polygon is empty, invalid, has no extent or lies outside the globe.
    """

    polygon: BaseGeometry
    name: str = ""
    data_edge: BaseGeometry | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        """Check the polygon."""
        if self.polygon.geom_type not in {"Polygon", "MultiPolygon"} or self.polygon.area == 0:
            raise AreaError(f"the area is empty: {shapely.to_wkt(self.polygon)[:80]}; give W,S,E,N")
        if not self.polygon.is_valid:
            raise AreaError(
                f"the area's polygon is not valid: {shapely.is_valid_reason(self.polygon)}"
            )
        west, south, east, north = self.polygon.bounds
        if west < -180 or east > 180 or south < -80 or north > 84:
            raise AreaError(
                f"the area {west:g},{south:g},{east:g},{north:g} is not in degrees of longitude"
                " and latitude between 80 S and 84 N; give W,S,E,N in WGS-84"
            )

    @cached_property
    def crs(self) -> pyproj.CRS:
        """The UTM zone of the area's centre, in metres."""
        centre = self.polygon.centroid
        zone = min(math.floor((centre.x + 180) / 6) + 1, 60)
        return pyproj.CRS.from_epsg((32600 if centre.y >= 0 else 32700) + zone)

    @cached_property
    def shape(self) -> BaseGeometry:
        """The polygon in `crs`."""
        return self.project(self.polygon)

    def project(self, geometry: BaseGeometry) -> BaseGeometry:
        """Bring a WGS-84 geometry into `crs`, its long straight sides bent with the globe."""
        return gpd.GeoSeries([geometry.segmentize(0.01)], crs=WGS84).to_crs(self.crs).iloc[0]


def find_area(
    *,
    extract: str | Path | None = None,
    bbox: Any = None,
    polygon: Any = None,
    data_edge: Any = None,
    name: str = "",
) -> Area:
    """Find the area of a survey; give a box, a polygon, or an extract whose header has a box.

    Parameters
    ----------
    extract
        An OpenStreetMap file; the box in its header is the edge of its data, and the area too
        where neither `bbox` nor `polygon` is given.
    bbox
        West, south, east, north in WGS-84 degrees.
    polygon
        A shapely polygon in WGS-84, or a file with one (GeoJSON, GeoPackage, shapefile; any CRS).
    data_edge
        A polygon or file likewise: where the data end. It goes before the header's box.
    name
        What the area is called; the extract's or polygon's file name otherwise.

    Returns
    -------
    Area

    Raises
    ------
    AreaError
        If nothing says where the area is (the message holds the box that the data suggest), or
        the box or polygon is empty, swapped or invalid.
    InputError
        If a file cannot be read.
    """
    from survey.sources.extract import read_box  # extract imports this module

    box = read_box(extract) if extract is not None else None
    if bbox is not None and polygon is not None:
        raise AreaError("both a box and a polygon are given; give one of them")
    if polygon is not None:
        shape = _as_polygon(polygon)
    elif bbox is not None:
        shape = _as_box(bbox)
    elif box is not None:
        shape = shapely.box(*box)
    else:
        raise _ask_for_area(extract)
    edge = shapely.box(*box) if box is not None else None
    if data_edge is not None:
        edge = _as_polygon(data_edge)
    if edge is not None and not edge.intersects(shape):
        raise AreaError(
            f"the area {_text(shape.bounds)} lies outside the data of {extract or 'data_edge'}"
            f" ({_text(edge.bounds)}); check the order W,S,E,N"
        )
    return Area(shape, name or _stem(extract, polygon), edge)


def _ask_for_area(extract: str | Path | None) -> AreaError:
    if extract is None:
        return AreaError("no area is given; give bbox=, polygon= or extract=")
    from survey.sources.extract import suggest_box  # extract imports this module

    return AreaError(
        f"{extract} has no box in its header; say which area to survey, for example"
        f" bbox={_text(suggest_box(extract))} (the box that its data suggest)"
    )


def _text(bounds: Any) -> str:
    return ",".join(f"{value:.4f}" for value in bounds)


def _stem(*sources: Any) -> str:
    for source in sources:
        if isinstance(source, str | Path):
            return Path(source).name.split(".")[0]
    return ""


def _as_box(bbox: Any) -> BaseGeometry:
    try:
        west, south, east, north = (float(value) for value in bbox)
    except (TypeError, ValueError):
        raise AreaError(f"a box is four numbers W,S,E,N in degrees, not {bbox!r}") from None
    if not (west < east and south < north):
        raise AreaError(
            f"the box {west:g},{south:g},{east:g},{north:g} is empty: west must be below east and"
            " south below north; the order is W,S,E,N"
        )
    if max(abs(south), abs(north)) > 90 and max(abs(west), abs(east)) <= 90:
        raise AreaError(
            f"the box {west:g},{south:g},{east:g},{north:g} has its longitudes and latitudes"
            " swapped; the order is W,S,E,N"
        )
    return shapely.box(west, south, east, north)


def _as_polygon(polygon: Any) -> BaseGeometry:
    if isinstance(polygon, BaseGeometry):
        return polygon
    from survey.sources.layers import read_shapes  # heavy only when a file is read

    return read_shapes(polygon)
