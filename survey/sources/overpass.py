"""Live OpenStreetMap by the Overpass API: the same `OsmData` as from an extract, or an error.

The requests are made here and not by osmnx, whose public functions take no query: they ask for
each kind of object and each key on its own, with every way of a country whose border passes by;
they point `socket.getaddrinfo` at one address for the rest of the process; and a raw answer is to
be had only as a file that they write in place. No setting mends these. What osmnx does well on its
own, finding a place by its name, is left to it (`area.py`). What comes out goes on to osmnx and
networkx by `to_networkx` as ever.
"""

import dataclasses
import hashlib
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from survey.errors import AreaError, InputError, NetworkError, OutputError
from survey.sources.area import WGS84, Area
from survey.sources.asking import (
    AnswerError,
    Clock,
    Patience,
    ask_in_turn,
    ask_slot,
    check_status,
    list_endpoints,
    name_server,
    read_reply,
)
from survey.sources.extract import MARGIN_M, OsmData, read_extract
from survey.sources.features import FEATURE_KEYS
from survey.sources.overpass_answers import Answer, parse_answer, write_answers

ENDPOINTS = ("https://overpass-api.de/api", "https://overpass.private.coffee/api")
"""Public servers, in the order in which they are asked."""

KEPT_H = 24
"""How long an answer in the cache is used."""

_TILE_M = 5_000
_MOST_TILES = 400
_DEGREE_M = 111_195  # of a great circle
_HEAD = "[out:json][timeout:180][maxsize:536870912]"  # what servers grant unasked
_NAME = "OpenStreetMap (Overpass API)"


def fetch_osm(
    area: Area,
    *,
    endpoints: Sequence[str] | None = None,
    time_limit_s: float = 1_800,
    answer_limit_s: float = 300,
    pause_s: float = 5,
    cache: str | Path | None = None,
    newer_than: str = "",
    report: Callable[[str], None] = print,
) -> OsmData:
    """Fetch the streets and features of an area, and of 2 km around it, as they are now.

    They are asked for in tiles of 5 km. The answers are checked, put together, and read as an
    extract is; the edge of the data is the outline of the tiles, unless the area names one.

    Parameters
    ----------
    area
        What `find_area` answered.
    endpoints
        Overpass servers in the order in which they are asked, such as
        ``https://overpass-api.de/api``; `ENDPOINTS` if absent.
    time_limit_s
        How long all of it may take, every wait included.
    answer_limit_s
        How long one answer may take; then the next server is asked.
    pause_s
        The first wait for a busy server that does not say how long to wait.
    cache
        A folder that keeps whole answers for `KEPT_H` hours, so that a killed run goes on.
    newer_than
        Kept answers that show no newer state of OpenStreetMap (ISO 8601) are not used.
    report
        Told what goes on, one line at a time.

    Returns
    -------
    OsmData
        Its `source` has ``path``, ``sha256`` (over the digests in ``answers``, joined by line
        feeds), ``osm_date`` and ``osm_date_newest`` (the oldest and newest state of the tiles) and
        ``answers`` (the SHA-256 of each raw answer, separated by spaces).

    Raises
    ------
    NetworkError
        If no server gives a whole answer in time; it names each server and what was wrong.
    AreaError
        If the area is too large for public servers, or holds no streets.
    InputError
        If an endpoint is no address.
    OutputError
        If the cache cannot be written.
    """
    asked = list_endpoints([_strip(endpoint) for endpoint in endpoints or ENDPOINTS])
    patience = Patience(Clock(time_limit_s), answer_limit_s, pause_s, report)
    tiles = cut_tiles(area)
    kept = None if cache is None else _Cache(Path(cache), newer_than)
    return _read_answers(area, tiles, _fetch_tiles(tiles, asked, kept, patience))


def _fetch_tiles(
    tiles: Sequence[BaseGeometry], endpoints: list[str], kept: "_Cache | None", patience: Patience
) -> list[Answer]:
    answers = []
    for number, tile in enumerate(tiles, start=1):
        title = f"tile {number} of {len(tiles)}"
        query = write_query(tile)
        answer = None if kept is None else kept.find(query)
        if answer is not None:
            patience.report(f"{title} was fetched before")
        else:
            patience.report(f"{title}: asking {name_server(endpoints[0])}")
            used, body, answer = _ask_tile(endpoints, tile, title, patience)
            endpoints = [used, *(endpoint for endpoint in endpoints if endpoint != used)]
            if kept is not None and not answer.empty:
                kept.store(query, body)
        answers.append(answer)
    return answers


def _strip(endpoint: str) -> str:
    return endpoint.rstrip("/").removesuffix("/interpreter")


def cut_tiles(area: Area) -> list[BaseGeometry]:
    """Cut an area and the 2 km around it into boxes of 5 km at most.

    Returns
    -------
    list of shapely.Polygon
        In WGS-84, rounded to 4 decimals; boxes that the margin does not touch are left out.

    Raises
    ------
    AreaError
        If there are more than can be asked of a public server.
    """
    margin_m = MARGIN_M * 1.01  # metres of the grid are up to 0.1 % off
    west, south, east, north = area.polygon.bounds
    rise = margin_m / _DEGREE_M
    run = rise / math.cos(math.radians(min(max(abs(south), abs(north)) + rise, 89)))
    low = np.floor(np.maximum([west - run, south - rise], [-180, -90]) * 1e4) / 1e4
    high = np.ceil(np.minimum([east + run, north + rise], [180, 90]) * 1e4) / 1e4
    widest = math.cos(math.radians(min(abs(low[1]), abs(high[1])) if low[1] * high[1] > 0 else 0))
    size_m = (high - low) * _DEGREE_M * [widest, 1]
    columns, rows = (int(count) for count in np.ceil(size_m / _TILE_M))
    tiles = np.empty(0, dtype=object)
    if columns * rows <= 10 * _MOST_TILES:
        x = np.round(np.linspace(low[0], high[0], columns + 1), 4)
        y = np.round(np.linspace(low[1], high[1], rows + 1), 4)
        left, bottom = (grid.ravel() for grid in np.meshgrid(x[:-1], y[:-1]))
        right, top = (grid.ravel() for grid in np.meshgrid(x[1:], y[1:]))
        boxes = gpd.GeoSeries(shapely.box(left, bottom, right, top), crs=WGS84)
        tiles = boxes[boxes.to_crs(area.crs).intersects(area.shape.buffer(margin_m))].to_numpy()
    if not 0 < len(tiles) <= _MOST_TILES:
        raise AreaError(
            f"the area spans {size_m[0] / 1000:.0f} by {size_m[1] / 1000:.0f} km, too much to ask"
            f" of a public server ({_MOST_TILES} tiles of 5 km at most); take an extract"
            " (--extract), or a smaller area"
        )
    return list(tiles)


def write_query(tile: BaseGeometry) -> str:
    """Write the query, in Overpass QL, for all that `read_extract` keeps of a box.

    Ways and areas are asked for with all their nodes. Of borders of countries and provinces only
    the ways in the box are: their areas run to tens of megabytes and are of no use here.
    """
    wanted = [f'node["{key}"];way["{key}"];' for key in FEATURE_KEYS]
    wanted += [f'rel.area["{key}"];' for key in ("highway", *FEATURE_KEYS) if key != "boundary"]
    of_area = 'rel["type"~"^(multipolygon|boundary)$"]["boundary"'
    border = f'{of_area}="administrative"]["admin_level"'
    return (
        f"{_HEAD}[bbox:{_text_box(tile)}];"
        f'{of_area}!="administrative"]->.area;'
        f'(way["highway"];{"".join(wanted)}{border}!~"^[1-4]$"];)->.whole;'
        f'{border}~"^[1-4]$"]->.wide;way(r.wide)->.border;'
        "(.whole;.whole>;.wide;.border;.border>;);out body qt;"
    )


def _text_box(tile: BaseGeometry) -> str:
    west, south, east, north = tile.bounds
    return f"{south:.4f},{west:.4f},{north:.4f},{east:.4f}"


def _ask_tile(
    endpoints: Sequence[str], tile: BaseGeometry, title: str, patience: Patience
) -> tuple[str, bytes, Answer]:
    """Return the server that answered, its answer as sent, and as parsed.

    An empty answer is believed only if every server says the same.
    """
    query = write_query(tile)
    empty: list[tuple[bytes, Answer]] = []

    def judge(body: bytes) -> tuple[bytes, Answer]:
        answer = parse_answer(body, tile.bounds)
        if answer.empty:
            empty.extend([(body, answer)] if answer.osm_date else [])
            raise AnswerError("answered that nothing is there")
        return body, answer

    try:
        used, (body, answer) = ask_in_turn(
            endpoints, lambda endpoint, limit_s: _send(endpoint, query, limit_s), judge, patience
        )
    except NetworkError as fault:
        if len(empty) == len(endpoints):
            return endpoints[0], *empty[0]
        raise NetworkError(
            f"{title} of OpenStreetMap could not be fetched (query for south, west, north, east ="
            f" {_text_box(tile)}): {fault}. Try again later, name other servers (--endpoint), or"
            " take an extract (--extract)"
        ) from None
    return used, body, answer


def _send(endpoint: str, query: str, limit_s: float) -> bytes:
    clock = Clock(limit_s)
    url = f"{endpoint}/interpreter"
    response, body = read_reply("POST", url, limit_s=limit_s, data={"data": query})
    if response.request.method != "POST":  # an old kind of redirect, which drops the query
        raise AnswerError(f"sends on to {response.url.partition('?')[0]}; name that address")
    try:
        check_status(response, body)
    except AnswerError as fault:
        if fault.again and fault.wait_s is None:
            fault.wait_s = ask_slot(endpoint, clock.left_s)
        raise
    return body


class _Cache:
    """A folder of whole answers, each under the hash of its query."""

    def __init__(self, folder: Path, newer_than: str) -> None:
        """Remove what is too old, and what a killed program left half."""
        self._folder = folder
        self._newer_than = newer_than
        with _guard(folder):
            for path in folder.glob("overpass-*"):
                with suppress(FileNotFoundError):  # another program has just renamed its part
                    if time.time() - path.stat().st_mtime > KEPT_H * 3600:
                        path.unlink()

    def _path(self, query: str) -> Path:
        return self._folder / f"overpass-{hashlib.sha256(query.encode()).hexdigest()}.json"

    def find(self, query: str) -> Answer | None:
        path = self._path(query)
        with _guard(path):
            body = path.read_bytes() if path.exists() else b""
        try:
            answer = parse_answer(body)
        except AnswerError:  # not there, or damaged
            return None
        return None if self._newer_than and answer.osm_date <= self._newer_than else answer

    def store(self, query: str, body: bytes) -> None:
        path = self._path(query)
        part = path.with_suffix(f".{os.getpid()}.part")
        with _guard(path):
            self._folder.mkdir(parents=True, exist_ok=True)
            part.write_bytes(body)
            part.replace(path)


@contextmanager
def _guard(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as fault:
        raise OutputError(
            f"{path} cannot be written: {fault.strerror}; check the folder of the cache, its"
            " rights and free space"
        ) from fault


def _read_answers(area: Area, tiles: Sequence[BaseGeometry], answers: Sequence[Answer]) -> OsmData:
    edge = shapely.union_all(tiles) if area.data_edge is None else area.data_edge
    with tempfile.TemporaryDirectory(prefix="survey-") as folder:
        path = Path(folder) / "answers.osm"
        with _guard(path):
            write_answers(path, answers)
        try:
            osm = read_extract(path, dataclasses.replace(area, data_edge=edge))
        except (AreaError, InputError) as fault:
            raise type(fault)(str(fault).replace(str(path), _NAME)) from None
    _refuse_holes(osm, tiles, answers)
    digests = [answer.sha256 for answer in answers]
    dates = sorted(answer.osm_date for answer in answers if answer.osm_date)
    source = {
        "path": _NAME,
        "sha256": hashlib.sha256("\n".join(digests).encode()).hexdigest(),
        "osm_date": dates[0] if dates else "",
        "osm_date_newest": dates[-1] if dates else "",
        "answers": " ".join(digests),
    }
    return dataclasses.replace(osm, source=source)


def _refuse_holes(osm: OsmData, tiles: Sequence[BaseGeometry], answers: Sequence[Answer]) -> None:
    """Refuse an empty tile that a street of the tiles beside it runs through."""
    for tile, answer in zip(tiles, answers, strict=True):
        within = osm.area.project(tile).buffer(-1)
        if answer.empty and osm.streets.intersects(within).any():
            raise NetworkError(
                f"the servers answered that nothing is in {_text_box(tile)} (south, west, north,"
                " east), but streets run through it; try again, or name other servers (--endpoint)"
            )
