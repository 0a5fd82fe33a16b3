"""The area of a survey: a place, box, polygon or a file's own box, in WGS-84 and in metres."""

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import geopandas as gpd
import pyproj
import shapely
from shapely.geometry.base import BaseGeometry

from survey.errors import AreaError, NetworkError

WGS84 = pyproj.CRS.from_epsg(4326)

GEOCODER = "https://nominatim.openstreetmap.org"
"""The public server that knows where places are."""


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
    place: str | None = None,
    bbox: Any = None,
    polygon: Any = None,
    data_edge: Any = None,
    name: str = "",
) -> Area:
    """Find the area of a survey; give a place, a box, a polygon, or an extract that has a box.

    Parameters
    ----------
    extract
        An OpenStreetMap file; the box in its header is the edge of its data, and the area too
        where neither `place`, `bbox` nor `polygon` is given.
    place
        The name of a place that OpenStreetMap knows, such as "秦淮区, 南京"; see `find_place`.
    bbox
        West, south, east, north in WGS-84 degrees.
    polygon
        A shapely polygon in WGS-84, or a file with one (GeoJSON, GeoPackage, shapefile; any CRS).
    data_edge
        A polygon or file likewise: where the data end. It goes before the header's box.
    name
        What the area is called; else the place, or the extract's or polygon's file name.

    Returns
    -------
    Area

    Raises
    ------
    AreaError
        If nothing says where the area is (the message holds the box that the data suggest), or
        the box or polygon is empty, swapped or invalid, or no one place is called `place`.
    InputError
        If a file cannot be read.
    NetworkError
        If the place cannot be asked for.
    """
    from survey.sources.extract import read_box  # extract imports this module

    box = read_box(extract) if extract is not None else None
    shape = _find_shape(place, bbox, polygon)
    if shape is None:
        if box is None:
            raise _ask_for_area(extract)
        shape = shapely.box(*box)
    edge = shapely.box(*box) if box is not None else None
    if data_edge is not None:
        edge = _as_polygon(data_edge)
    if edge is not None and not edge.intersects(shape):
        raise AreaError(
            f"the area {_text(shape.bounds)} lies outside the data of {extract or 'data_edge'}"
            f" ({_text(edge.bounds)}); check the order W,S,E,N"
        )
    return Area(shape, name or place or _stem(extract, polygon), edge)


def _find_shape(place: str | None, bbox: Any, polygon: Any) -> BaseGeometry | None:
    areas = {"place": place, "box": bbox, "polygon": polygon}
    given = [kind for kind, value in areas.items() if value is not None]
    if len(given) > 1:
        raise AreaError(f"both a {given[0]} and a {given[1]} are given; give one of them")
    if place is not None:
        return find_place(place)
    if polygon is not None:
        return _as_polygon(polygon)
    return None if bbox is None else _as_box(bbox)


def find_place(
    place: str,
    *,
    geocoder: str = GEOCODER,
    time_limit_s: float = 120,
    pause_s: float = 5,
    report: Callable[[str], None] = print,
) -> BaseGeometry:
    """Find the outline of a place by its name, through osmnx.

    Parameters
    ----------
    place
        Its name in any language, with the names of what it lies in, such as "秦淮区, 南京".
    geocoder
        The address of a Nominatim server.
    time_limit_s
        How long it may take, every wait included.
    pause_s
        The first wait for a busy server that does not say how long to wait.
    report
        Told what goes on, one line at a time.

    Returns
    -------
    shapely.Polygon or shapely.MultiPolygon
        In WGS-84; of several areas of the name the most important one.

    Raises
    ------
    NetworkError
        If the server gives no answer that can be used in time.
    AreaError
        If there is no such place, it is a point or line only, or the name means several places of
        one rank that lie apart.
    InputError
        If `geocoder` is no address.
    """
    if not place.strip():
        raise AreaError('the name of the place is empty; give one such as "秦淮区, 南京"')
    import osmnx  # takes 3 s, which do not count

    from survey.sources import asking

    clock = asking.Clock(time_limit_s)
    servers = asking.list_endpoints([geocoder])
    report(f"asking {asking.name_server(servers[0])} where {place!r} is")
    patience = asking.Patience(clock, time_limit_s, pause_s, report)
    try:
        with _asking(osmnx, place, servers[0], clock) as send:
            return asking.ask_in_turn(servers, send, _mend, patience)[1]
    except NetworkError as fault:
        raise NetworkError(
            f"the place {place!r} could not be asked for: {fault}. Try again later, name another"
            " server (--geocoder), or give a box (--bbox)"
        ) from None


@contextmanager
def _asking(
    osmnx: Any, place: str, server: str, clock: Any
) -> Iterator[Callable[[str, float], BaseGeometry]]:
    """Give what asks through osmnx, whose settings are others as long as the block lasts.

    A hook sees each answer before osmnx does, which would wait and ask again for ever.
    """
    import requests

    from survey.sources import asking

    def check(response: requests.Response, **_: Any) -> None:
        if response.is_redirect:
            return
        asking.check_status(response, response.content)
        _check_places(place, response.content)
        if not clock.left_s:  # whoever asked has gone, and osmnx has its settings back
            raise asking.AnswerError("answered too late")

    def send(_server: str, limit_s: float) -> BaseGeometry:
        if limit_s < 2:  # osmnx waits a second first, as the policy of the public server asks
            raise asking.AnswerError("was not asked: too little of the time limit is left")
        try:
            return osmnx.geocode_to_gdf(place).geometry.iloc[0]
        except requests.RequestException as fault:
            raise asking.explain_failure(fault) from None

    changes = {
        "nominatim_url": server,
        "use_cache": False,
        "requests_timeout": clock.limit_s + 1,  # whoever waits gives up first
        "requests_kwargs": {"hooks": {"response": check}},
        "http_user_agent": asking.identify(),
    }
    before = {name: getattr(osmnx.settings, name) for name in changes}
    try:
        for name, value in changes.items():
            setattr(osmnx.settings, name, value)
        yield send
    finally:
        for name, value in before.items():
            setattr(osmnx.settings, name, value)


def _check_places(place: str, body: bytes) -> None:
    """Check what the server found, so that osmnx can only take the one place that was meant.

    Raises
    ------
    AnswerError
        If the answer is not a list of places.
    AreaError
        If the list is empty, has no area, or has several areas of that name and rank.
    """
    from survey.sources.asking import AnswerError, quote

    try:
        found = sorted(json.loads(body), key=lambda item: -float(item["importance"]))
        shapes = [shapely.geometry.shape(item["geojson"]) for item in found]
        names = [str(item["display_name"]) for item in found]
        [float(edge) for item in found for edge in (*item["boundingbox"], item["lat"], item["lon"])]
    except (
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        RecursionError,
        shapely.errors.ShapelyError,
    ):
        raise AnswerError(f"answered with no list of places: {quote(body)!r}") from None
    if not found:
        raise AreaError(
            f"OpenStreetMap knows no place {place!r}; check its spelling, add the city or province"
            " that it is in, or give --bbox W,S,E,N"
        )
    areas = [row for row, shape in enumerate(shapes) if shape.geom_type.endswith("Polygon")]
    if not areas:
        raise AreaError(
            f"OpenStreetMap knows {place!r} as a {shapes[0].geom_type} only ({names[0]}, at"
            f" {found[0]['lon']}, {found[0]['lat']}), not as an area; give --bbox W,S,E,N around it"
        )
    best, *rest = areas
    ranks = [_rank(item) for item in found]
    rivals = [
        row for row in rest if ranks[row] == ranks[best] and shapes[row].disjoint(shapes[best])
    ]
    if rivals:
        listed = "; ".join(names[row] for row in (best, *rivals[:3]))
        raise AreaError(
            f"{place!r} may be any of {len(rivals) + 1} places: {listed}; add the city or province"
            " that is meant"
        )


def _rank(found: dict[str, Any]) -> tuple[Any, ...]:
    name = found.get("name") or found["display_name"].partition(",")[0]
    return name, found.get("class"), found.get("type"), found.get("place_rank")


def _mend(shape: BaseGeometry) -> BaseGeometry:
    return shape if shape.is_valid else shapely.make_valid(shape, method="structure")


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
