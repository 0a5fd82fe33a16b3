import dataclasses
import socket
import time

import pytest
import shapely
from shapely.geometry import MultiPolygon, Point, Polygon, box, mapping

from osmxml import place, write_osm
from overpass_server import World, copy_settings, serve
from survey.errors import AreaError, InputError, NetworkError
from survey.sources.area import Area, find_area, find_place

NANJING = box(118.764, 32.035, 118.797, 32.053)


def write_street(folder, bounds=None, name="town.osm"):
    nodes = {1: place(0, 0), 2: place(500, 0)}
    return write_osm(
        folder / name, nodes=nodes, ways={1: ([1, 2], {"highway": "residential"})}, bounds=bounds
    )


@pytest.mark.parametrize(
    ("bounds", "epsg"),
    [
        ((7.409, 43.723, 7.449, 43.752), 32632),
        ((118.764, 32.035, 118.797, 32.053), 32650),
        ((151.2, -33.9, 151.25, -33.85), 32756),
        ((-70.7, -33.5, -70.6, -33.4), 32719),
        ((179.9, 1, 180, 1.1), 32660),
        ((-180, 1, -179.9, 1.1), 32601),
        ((119.9, 30, 120.2, 30.1), 32651),
    ],
)
def test_crs_is_the_utm_zone_of_the_centre(bounds, epsg):
    """The CRS is the UTM zone of the area's centre, in metres, on either hemisphere."""
    assert Area(box(*bounds)).crs.to_epsg() == epsg


def test_shape_is_in_metres():
    """One minute of latitude is about one nautical mile, also in the area's own CRS."""
    area = Area(box(118.76, 32, 118.77, 32.1))
    low, high = (area.project(Point(118.765, 32 + minute / 60)) for minute in (0, 1))
    assert low.distance(high) == pytest.approx(1852, rel=0.005)


def test_long_sides_are_bent_with_the_globe():
    """A place on the middle of a long side lies on the boundary of the projected shape."""
    area = Area(box(118, 31, 119, 32))
    middle = area.project(Point(118.5, 32))
    assert area.shape.boundary.distance(middle) < 0.5


@pytest.mark.parametrize(
    ("polygon", "says"),
    [
        (Polygon(), "empty"),
        (Point(118, 32), "empty"),
        (box(118, 32, 118, 33), "empty"),
        (MultiPolygon(), "empty"),
        (Polygon([(0, 0), (1, 1), (1, 0), (0, 1.5)]), "not valid"),
        (box(668_000, 3_546_000, 669_000, 3_547_000), "not in degrees"),
        (box(10, 84, 11, 85), "not in degrees"),
        (box(10, -81, 11, -79), "not in degrees"),
    ],
)
def test_area_checks_its_polygon(polygon, says):
    """An empty or invalid polygon, or one outside the globe, is refused in one line."""
    with pytest.raises(AreaError, match=says) as fault:
        Area(polygon)
    assert "\n" not in str(fault.value)


def test_area_is_a_frozen_value():
    """Two areas of one polygon and name are equal, wherever their data end."""
    assert Area(NANJING, "a") == Area(NANJING, "a", box(118, 32, 119, 33))
    with pytest.raises(dataclasses.FrozenInstanceError):
        Area(NANJING).name = "b"


def test_box_is_taken_as_given():
    """A box W,S,E,N becomes a rectangle with these bounds; the edge of the data is not known."""
    area = find_area(bbox=(118.764, 32.035, 118.797, 32.053), name="Nanjing")
    assert area.polygon.bounds == (118.764, 32.035, 118.797, 32.053)
    assert (area.name, area.data_edge) == ("Nanjing", None)


@pytest.mark.parametrize(
    ("bbox", "says"),
    [
        ((32.035, 118.764, 32.053, 118.797), "swapped"),
        ((118.797, 32.035, 118.764, 32.053), "west must be below east"),
        ((118.764, 32.053, 118.797, 32.035), "west must be below east"),
        ((118.764, 32.035, 118.764, 32.053), "west must be below east"),
        ((118.764, 32.035, 118.797), "four numbers"),
        ((118.764, 32.035, 118.797, "north"), "four numbers"),
        ("118.764,32.035,118.797,32.053", "four numbers"),
        ((float("nan"), 32, 118.797, 33), "west must be below east"),
        ((float("-inf"), 32, 118.797, 33), "."),
        (7, "four numbers"),
    ],
)
def test_bad_box_is_refused(bbox, says):
    """A swapped, empty or unreadable box is an AreaError of one line that says what is wrong."""
    with pytest.raises(AreaError, match=says) as fault:
        find_area(bbox=bbox)
    assert "\n" not in str(fault.value)


def test_nothing_given():
    """Without box, polygon and extract the error says what to give."""
    with pytest.raises(AreaError, match="bbox=, polygon= or extract="):
        find_area()


def test_box_and_polygon_given():
    """A box and a polygon together contradict each other."""
    with pytest.raises(AreaError, match="both"):
        find_area(bbox=NANJING.bounds, polygon=NANJING)


def test_polygon_is_taken_as_given():
    """A shapely polygon is the area."""
    triangle = Polygon([(118.7, 32), (118.8, 32), (118.8, 32.1)])
    assert find_area(polygon=triangle).polygon.equals(triangle)


def test_polygon_file_is_read_and_names_the_area(tmp_path):
    """A polygon may come from a file, whose name the area then bears."""
    path = tmp_path / "old town.geojson"
    path.write_text(shapely.to_geojson(NANJING), encoding="utf-8")
    area = find_area(polygon=path)
    assert area.polygon.equals(NANJING)
    assert area.name == "old town"


def test_header_box_is_area_and_edge(tmp_path):
    """The box in an extract's header is the area, and the edge of the data."""
    bounds = (118.77, 32.03, 118.79, 32.05)
    area = find_area(extract=write_street(tmp_path, bounds))
    assert area.polygon.bounds == pytest.approx(bounds, abs=1e-7)
    assert area.data_edge.equals(area.polygon)
    assert area.name == "town"


def test_header_box_is_only_the_edge_beside_a_box(tmp_path):
    """Where a box is given too, the header's box is the edge of the data and no more."""
    path = write_street(tmp_path, (118.77, 32.03, 118.79, 32.05))
    area = find_area(extract=path, bbox=(118.775, 32.035, 118.795, 32.045), name="x")
    assert area.polygon.bounds == (118.775, 32.035, 118.795, 32.045)
    assert area.data_edge.bounds == pytest.approx((118.77, 32.03, 118.79, 32.05), abs=1e-7)


def test_data_edge_goes_before_the_header(tmp_path):
    """A user's own edge of the data goes before the header's box."""
    edge = box(118.7, 32, 118.9, 32.1)
    path = write_street(tmp_path, (118.77, 32.03, 118.79, 32.05))
    assert find_area(extract=path, data_edge=edge).data_edge.equals(edge)


def test_area_outside_the_data(tmp_path):
    """A box that the header's box does not touch is refused; the message has both boxes."""
    path = write_street(tmp_path, (118.77, 32.03, 118.79, 32.05))
    with pytest.raises(AreaError, match=r"7\.4090.*118\.7700") as fault:
        find_area(extract=path, bbox=(7.409, 43.723, 7.449, 43.752))
    assert "W,S,E,N" in str(fault.value)


def test_no_header_box_suggests_one(tmp_path):
    """Without a box in the header the error shows the box that the data suggest: 1 % to 99 %."""
    nodes = {1: (118.7, 32.0), 2: (118.72, 32.02), 3: (118.8, 32.1), 4: (118.82, 32.12)}
    street = {"highway": "residential"}
    path = write_osm(
        tmp_path / "town.osm", nodes=nodes, ways={1: ([1, 2], street), 2: ([3, 4], street)}
    )
    with pytest.raises(AreaError, match="no box in its header") as fault:
        find_area(extract=path)
    assert "bbox=118.7110,32.0110,118.8090,32.1090 " in str(fault.value)
    assert "\n" not in str(fault.value)


def test_missing_extract(tmp_path):
    """A missing extract is an InputError, even where a box is given."""
    with pytest.raises(InputError, match="no such file"):
        find_area(extract=tmp_path / "none.osm.pbf", bbox=NANJING.bounds)


# ---------------------------------------------------------------- places


@pytest.fixture
def geocoder(tmp_path):
    """Give a server that knows a few places."""
    gulou = box(118.7, 32, 118.8, 32.1)
    far = box(117.1, 34.2, 117.2, 34.3)
    with serve(World(write_street(tmp_path))) as server:
        server.places = {
            "秦淮区, 南京": [
                found("秦淮区, 南京市", NANJING, 0.5),
                found("秦淮区政府", Point(1, 2), 0.6),
            ],
            "鼓楼区": [found("鼓楼区, 南京市", gulou, 0.5), found("鼓楼区, 徐州市", far, 0.4)],
            "鼓楼区 x": [
                found("鼓楼区, 南京市", gulou, 0.5),
                found("鼓楼区, 徐州市", far, 0.4, rank=30),
            ],
            "鼓楼区 y": [found("鼓楼区, 徐州市", gulou, 0.5), found("鼓楼区, 南京市", gulou, 0.9)],
            "夫子庙": [found("夫子庙, 秦淮区", Point(118.784, 32.02), 0.3)],
        }
        yield server


def found(name, shape, importance, rank=12):
    """Write what Nominatim says of a place."""
    west, south, east, north = map(str, shape.bounds)
    return {
        "place_id": 1,
        "osm_type": "relation",
        "osm_id": 2,
        "lat": south,
        "lon": west,
        "class": "boundary",
        "type": "administrative",
        "place_rank": rank,
        "importance": importance,
        "display_name": name,
        "boundingbox": [south, north, west, east],
        "geojson": mapping(shape),
    }


def ask_place(server, name, **limits):
    limits = {"time_limit_s": 10, "pause_s": 0.1, "report": list} | limits
    return find_place(name, geocoder=server.address, **limits)


@pytest.mark.parametrize("name", ["秦淮区, 南京", "鼓楼区 x", "鼓楼区 y"])
def test_a_place_is_found_by_its_name(geocoder, name):
    """A name gives the most important area that bears it; points and lesser places do not count."""
    wanted = NANJING if name.startswith("秦") else box(118.7, 32, 118.8, 32.1)
    assert ask_place(geocoder, name).equals(wanted)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("秦准区", "knows no place '秦准区'; check its spelling"),
        (
            "夫子庙",
            "knows '夫子庙' as a Point only (夫子庙, 秦淮区, at 118.784, 32.02), not as an area",
        ),
        ("鼓楼区", "may be any of 2 places: 鼓楼区, 南京市; 鼓楼区, 徐州市; add the city"),
    ],
)
def test_a_place_that_is_not_clear_is_one_line(geocoder, name, says):
    """No such place, a point, and a name of several places are told apart."""
    with pytest.raises(AreaError) as fault:
        ask_place(geocoder, name)
    assert says in str(fault.value)
    assert "\n" not in str(fault.value)
    assert geocoder.count("/api/search") == 1


def test_an_empty_name_is_not_asked_for(geocoder):
    """No name is the user's to mend, and no server's."""
    with pytest.raises(AreaError, match="the name of the place is empty"):
        ask_place(geocoder, "  ")
    assert geocoder.count("/api/search") == 0


@pytest.mark.parametrize(
    ("mode", "says", "asked"),
    [
        ("html", "answered with no list of places: 'Log in", 1),
        ("deep", "answered with no list of places", 1),
        ("no_elements", "answered with no list of places", 1),
        ("fault_with_json", "refused (HTTP 500", 1),
        ("gateway", "is busy (HTTP 504, too busy)", 4),
        ("busy_1h", "asks to wait 3600 s", 1),
        ("hang", "gave no whole answer within", 1),
        ("drip", "gave no whole answer within", 1),
    ],
)
def test_a_server_of_places_that_fails_is_named(geocoder, mode, says, asked):
    """Each bad answer is an error within the limit, and osmnx keeps its settings."""
    import osmnx

    before, resolver = copy_settings(osmnx.settings), socket.getaddrinfo
    geocoder.place_modes = [mode]
    start = time.monotonic()
    with pytest.raises(
        NetworkError, match=r"the place '秦淮区, 南京' could not be asked for"
    ) as fault:
        ask_place(geocoder, "秦淮区, 南京", time_limit_s=9 if asked == 4 else 2.5)
    assert time.monotonic() - start < 9.5
    assert says in str(fault.value)
    assert geocoder.count("/api/search") == asked
    assert copy_settings(osmnx.settings) == before
    assert socket.getaddrinfo is resolver


def test_a_busy_server_of_places_is_asked_again(geocoder):
    """A Retry-After is kept, and the place is found."""
    geocoder.place_modes = ["busy_1s", "good"]
    assert ask_place(geocoder, "秦淮区, 南京").equals(NANJING)
    first, second = geocoder.times("/api/search")
    assert 1 <= second - first < 3.5


def test_only_one_thing_says_where():
    """A place beside a box is refused before anybody is asked."""
    with pytest.raises(AreaError, match="both a place and a box are given"):
        find_area(place="Monaco", bbox=(1, 2, 3, 4))
