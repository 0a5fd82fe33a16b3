import copy
import dataclasses
import json
import math
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import osmium
import pytest
import shapely
from pandas.testing import assert_frame_equal

from commands import DATA, run_survey, write_town
from osmxml import place, write_osm
from overpass_server import DATE, World, copy_settings, serve
from survey.errors import AreaError, InputError, NetworkError, OutputError
from survey.frame.assembly import build_frame
from survey.sources import asking
from survey.sources.area import Area, find_area
from survey.sources.asking import AnswerError, Clock, run_within
from survey.sources.extract import MARGIN_M, read_extract
from survey.sources.overpass import cut_tiles, fetch_osm, write_query
from survey.sources.overpass_answers import parse_answer, write_answers

MONACO = DATA / "monaco.osm.pbf"
MONACO_BOX = (7.409205, 43.723350, 7.448637, 43.751690)
REFUSED = "http://127.0.0.1:9/api"

# What is said of each bad answer, and how often the server is then asked.
BAD = {
    "remark_time": (r"gave a part only, and remarked 'runtime error: Query timed out", 1),
    "remark_memory": (r"gave a part only, and remarked 'runtime error: Query run out of memory", 1),
    "no_elements": (r"answered without elements", 1),
    "empty_undated": (r"answered that nothing is there", 1),
    "fault_with_json": (r"refused \(HTTP 500: ", 1),
    "html": (r"answered with no JSON, or a part of it: 'Log in to the wireless network'", 1),
    "half_json": (r"answered with no JSON, or a part of it", 1),
    "list": (r"answered with JSON that is no map data", 1),
    "deep": (r"answered with no JSON, or a part of it", 1),
    "moved": (r"sends on to http://127.0.0.1:\d+/api/status; name that address", 1),
    "no_gzip": (r"answered with what cannot be unpacked", 1),
    "no_nodes": (r"answered with ways but not with (\d+) of their \1 nodes", 1),
    "lost_nodes": (r"answered with ways but not with \d+ of their \d+ nodes", 1),
    "far_away": (r"answered about another place than was asked for", 1),
    "odd_id": (r"answered with a broken element: .*\"id\": 1180591620717411303424", 1),
    "broken_element": (r"answered with a broken element: .*\"north\"", 1),
    "cut": (r"cut its answer short", 4),
    "busy": (r"is busy \(HTTP 429, too many requests\)", 4),
    "gateway": (r"is busy \(HTTP 504, too busy\)", 4),
    "busy_1h": (r"is busy \(HTTP 429, too many requests\), and asks to wait 3600 s", 1),
    "hang": (r"gave no whole answer within 1 s", 1),
    "drip": (r"gave no whole answer within 1 s", 1),
    "drip_head": (r"gave no whole answer within 1 s", 1),
}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Give a town and its area, which takes four tiles."""
    path = write_town(tmp_path_factory.mktemp("small") / "town.osm")
    return World(path), find_area(extract=path)


@pytest.fixture
def server(small):
    with serve(copy.deepcopy(small[0])) as running:
        yield running


@pytest.fixture
def area(small):
    return small[1]


def fetch(area, *servers, **options):
    """Fetch with short limits."""
    addresses = [server if isinstance(server, str) else server.address for server in servers]
    limits = {"time_limit_s": 20, "answer_limit_s": 1, "pause_s": 0.05, "report": list}
    return fetch_osm(area, endpoints=addresses, **limits | options)


def check_same(found, wanted):
    """Compare two OsmData but for their source."""
    for part in ("streets", "features", "problems"):
        assert_frame_equal(getattr(found, part), getattr(wanted, part))
    assert found.area == wanted.area
    assert found.data_edge.equals_exact(wanted.data_edge, 0)
    assert list(found.street_nodes) == list(wanted.street_nodes)


def list_cache(folder):
    return sorted(path.name for path in folder.iterdir())


# ---------------------------------------------------------------- the same as an extract


def test_live_data_make_the_frame_that_the_extract_makes():
    """Monaco asked of a server is Monaco read from its extract: raw data and frame are the same."""
    area = find_area(bbox=MONACO_BOX, name="Monaco")
    with serve(World(MONACO)) as server:
        live = fetch(area, server, answer_limit_s=20)
        assert server.count() == len(cut_tiles(area)) == 4
    edge = shapely.union_all(cut_tiles(area))
    read = read_extract(MONACO, dataclasses.replace(area, data_edge=edge))
    assert len(live.streets) > 2_000
    check_same(live, read)
    assert live.source["osm_date"] == live.source["osm_date_newest"] == DATE
    frames = build_frame(live), build_frame(read)
    for name, table in frames[0].tables.items():
        assert_frame_equal(table, frames[1].tables[name], obj=name)


def test_a_polygon_is_asked_for_where_it_is(server, tmp_path):
    """Tiles beyond the margin of a slanting polygon are not asked for, and nothing is missed."""
    corners = [place(x, y) for x, y in ((0, 0), (12_000, 12_000), (12_000, 12_100), (0, 100))]
    area = Area(shapely.Polygon(corners))
    live = fetch(area, server)
    edge = shapely.union_all(cut_tiles(area))
    assert server.count() == len(cut_tiles(area)) == 10
    assert edge.area < shapely.box(*edge.bounds).area
    extract = write_town(tmp_path / "town.osm")
    check_same(live, read_extract(extract, dataclasses.replace(area, data_edge=edge)))


@pytest.mark.parametrize(
    "polygon",
    [
        shapely.box(118.764, 32.035, 118.797, 32.053),
        shapely.box(-70.7, -33.5, -70.6, -33.4),
        shapely.box(25.4, 66.4, 25.9, 66.6),
        shapely.box(179.9, -0.05, 180, 0.05),
        shapely.Polygon([(118, 32), (118.3, 32), (118.3, 32.02), (118.02, 32.02), (118, 32.3)]),
    ],
)
def test_tiles_cover_the_area_and_its_margin(polygon):
    """The tiles hold the area and 2 km around it, overlap nowhere, and are 5 km wide at most."""
    area = Area(polygon)
    tiles = cut_tiles(area)
    union = area.project(shapely.union_all(tiles))
    kept = area.shape.buffer(MARGIN_M, quad_segs=64)
    west, south, east, north = polygon.bounds
    world = area.project(shapely.box(west - 1, south - 1, min(east + 1, 180), north + 1))
    assert kept.intersection(world).difference(union).area < 1e-6 * kept.area
    assert shapely.union_all(tiles).area == pytest.approx(sum(tile.area for tile in tiles))
    for tile in tiles:
        west, south, east, north = tile.bounds
        assert (north - south) * 111_195 < 5_050
        assert (east - west) * 111_195 * math.cos(math.radians(south + north) / 2) < 5_050


@pytest.mark.parametrize("box", [(118, 31, 119.5, 32.5), (70, 20, 130, 50)])
def test_a_province_is_not_asked_of_a_public_server(box):
    """An area of more tiles than is polite is refused before anything is asked."""
    with pytest.raises(AreaError, match=r"spans 1\d\d by 1\d\d km|spans \d{4} by \d{4} km"):
        fetch_osm(Area(shapely.box(*box)), endpoints=[REFUSED])


def test_a_border_of_a_country_comes_without_its_far_end(tmp_path):
    """Of a country's border the ways in the box are sent, of a district's every way."""
    nodes = {1: place(0, 0), 2: place(500, 0), 3: place(500, 900_000), 4: place(0, 900_000)}
    ways = {7: ([1, 2], {"highway": "path"}), 8: ([2, 3], {}), 9: ([3, 4], {})}
    members = [("way", 7, "outer"), ("way", 9, "outer")]
    tags = {"type": "boundary", "boundary": "administrative", "place": "state"}
    relations = {5: (members, tags | {"admin_level": "2"})}
    world = World(write_osm(tmp_path / "x.osm", nodes=nodes, ways=ways, relations=relations))
    query = write_query(shapely.box(*place(-100, -100), *place(1_000, 1_000)))
    assert {(item["type"], item["id"]) for item in world.run(query)} == {
        ("node", 1),
        ("node", 2),
        ("way", 7),
        ("relation", 5),
    }
    world.objects["rel"][5]["tags"]["admin_level"] = "6"
    assert ("way", 9) in {(item["type"], item["id"]) for item in world.run(query)}


# ---------------------------------------------------------------- bad answers


@pytest.mark.parametrize("mode", BAD)
def test_a_bad_answer_is_an_error_that_names_it(server, area, tmp_path, mode):
    """Each bad answer ends in one error within the limit, and only whole answers are kept."""
    server.modes = ["good", mode]
    says, times = BAD[mode]
    start = time.monotonic()
    with pytest.raises(NetworkError, match=f"127.0.0.1:[0-9]+ {says}") as fault:
        fetch(area, server, cache=tmp_path)
    assert time.monotonic() - start < 5
    assert "tile 2 of 4" in str(fault.value)
    south = cut_tiles(area)[1].bounds[1]
    assert f"query for south, west, north, east = {south:.4f}," in str(fault.value)
    assert server.count() == 1 + times
    (kept,) = tmp_path.iterdir()
    assert parse_answer(kept.read_bytes()).osm_date == DATE


@pytest.mark.parametrize("mode", BAD)
def test_the_next_server_is_asked(server, small, area, tmp_path, mode):
    """Whatever is wrong with the first server, the second one serves, and is then asked first."""
    wanted = fetch(area, server)
    with serve(small[0]) as bad:
        bad.modes = [mode]
        check_same(fetch(area, bad, server, cache=tmp_path), wanted)
        assert bad.count() == BAD[mode][1]
    assert len(list_cache(tmp_path)) == 4


@pytest.mark.parametrize(
    ("mode", "least_s", "most_s"),
    [
        ("busy", 0.05, 1),
        ("gateway", 0.05, 1),
        ("cut", 0.05, 1),
        ("busy_1s", 1, 3),
        ("busy_date", 1, 3),
    ],
)
def test_a_busy_server_is_asked_again(server, area, mode, least_s, most_s):
    """A server that is busy once is asked again, after the wait that it asks for."""
    wanted = fetch(area, server)
    server.asked.clear()
    server.modes = [mode, "good"]
    told = []
    check_same(fetch(area, server, report=told.append), wanted)
    first, second, *rest = server.times()
    assert least_s <= second - first < most_s
    assert len(rest) == 3
    assert any(re.fullmatch(r"127.0.0.1:\d+ .*; waiting [012] s", line) for line in told)


@pytest.mark.parametrize(
    ("status", "least_s", "asked"),
    [
        ("Rate limit: 2\nSlot available after: 2024-01-01T00:00:00Z, in 1 seconds.\n", 1, 5),
        ("Rate limit: 2\nSlot available after: then, in 4 seconds.\nSlot, in 1 seconds.", 1, 5),
        ("Rate limit: 0\n", 0.05, 5),
        ("Rate limit: 2\nCurrently running queries (pid, space limit):\n", 0.05, 5),
        ("Slot available after: 2034-01-01T00:00:00Z, in 99999 seconds.\n", 0, 1),
    ],
)
def test_the_status_page_says_how_long(server, area, status, least_s, asked):
    """Without a Retry-After the status page is asked once; a page that frees no slot is left."""
    server.status = status
    server.modes = ["busy", "good"]
    if asked == 1:
        with pytest.raises(NetworkError, match="asks to wait 99999 s"):
            fetch(area, server)
    else:
        fetch(area, server)
        first, second = server.times()[:2]
        assert least_s <= second - first < least_s + 1
    assert server.count() == asked
    assert server.count("/api/status") == 1


def test_waiting_grows_and_ends(server, area):
    """A server that is always busy is asked four times, each wait thrice the last."""
    server.modes = ["busy"]
    with pytest.raises(NetworkError):
        fetch(area, server, pause_s=0.1)
    times = server.times()
    waits = [after - before for before, after in pairwise(times)]
    for wait, least in zip(waits, [0.1, 0.3, 0.9], strict=True):
        assert least <= wait < least + 0.5


@pytest.mark.parametrize("mode", ["hang", "drip", "busy", "busy_1s", "busy_date"])
def test_the_time_limit_ends_everything(server, area, mode):
    """However a server dawdles, the limit of it all holds, also over several servers."""
    server.modes = [mode]
    start = time.monotonic()
    with pytest.raises(NetworkError, match=r"within|busy|time limit of 1 s is over"):
        fetch(area, server, server, time_limit_s=1, answer_limit_s=30, pause_s=0.4)
    assert time.monotonic() - start < 2.5


def test_a_name_server_that_hangs_is_left(server, area, monkeypatch):
    """The wait for the address of a server, which no socket limits, ends with the answer's."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: server.closing.wait(20))
    start = time.monotonic()
    with pytest.raises(NetworkError, match=r"gave no whole answer within 1 s"):
        fetch(area, server)
    assert time.monotonic() - start < 3


def test_an_answer_without_end_is_cut(server, area, monkeypatch):
    """An answer that is larger than any city is left before it fills the memory."""
    monkeypatch.setattr(asking, "_MOST_BYTES", 1_000)
    with pytest.raises(NetworkError, match="sent more than could be read"):
        fetch(area, server)


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [
        ("http://server.invalid/api", "server.invalid cannot be reached"),
        (REFUSED, "127.0.0.1:9 cannot be reached"),
        ("https://127.0.0.1:{port}/api", r"127.0.0.1:\d+ cannot be trusted \(TLS: "),
    ],
)
def test_no_connection_is_one_line_and_exit_3(server, tmp_path, endpoint, says):
    """A name without address, a closed port and a broken TLS end the verb with 3 and one line."""
    address = endpoint.format(port=server.address.split(":")[2].split("/")[0])
    box = ",".join(map(str, (*place(0, 0), *place(500, 500))))
    path = tmp_path / "x.gpkg"
    said = run_survey("fetch", "--bbox", box, "-o", path, "--endpoint", address)
    assert (said.code, said.out) == (3, "")
    assert re.search(says, said.err)
    assert len([line for line in said.err.splitlines() if line.startswith("survey: ")]) == 1
    assert "Traceback" not in said.err
    assert not path.exists()


@pytest.mark.parametrize(
    "endpoints",
    [["overpass-api.de/api"], ["ftp://x/api"], ["http://"], ["http://x:99999/"], ["http://["]],
)
def test_an_address_must_be_one(area, endpoints):
    """What is no http address is refused before anything is asked."""
    with pytest.raises(InputError, match="is no address of a server"):
        fetch_osm(area, endpoints=endpoints)


def test_an_address_may_name_the_interpreter(server, area):
    """The address may end in a slash or name the interpreter."""
    fetch(area, f"{server.address}/interpreter/")
    assert server.count() == 4


# ---------------------------------------------------------------- empty answers


def test_an_empty_tile_that_streets_run_through_is_refused(server, area, tmp_path):
    """A tile that is said to be empty is no hole in a city: the streets beside it tell."""
    server.modes = ["good", "empty", "good"]
    with pytest.raises(NetworkError, match=r"nothing is in .* but streets run through it"):
        fetch(area, server, cache=tmp_path)
    assert len(list_cache(tmp_path)) == 3
    server.asked.clear()
    fetch(area, server, cache=tmp_path)
    assert server.count() == 1


def test_another_server_knows_what_is_there(server, small, area):
    """An empty answer is believed only if every server gives it."""
    wanted = fetch(area, server)
    with serve(small[0]) as other:
        other.modes = ["empty"]
        check_same(fetch(area, other, server), wanted)


def test_the_sea_is_empty(server):
    """A tile without anything is believed, and a city beside the sea is whole."""
    area = Area(shapely.box(*place(0, 0), *place(1_000, 9_000)))
    live = fetch(area, server)
    assert server.count() > 4
    assert len(live.streets) == 10


def test_nothing_at_all_is_an_error_and_not_kept(server, area, tmp_path):
    """Where every tile is empty there is no city, and nothing of that is kept."""
    server.modes = ["empty"]
    with pytest.raises(AreaError, match=r"^OpenStreetMap \(Overpass API\) holds no streets"):
        fetch(area, server, cache=tmp_path)
    assert list_cache(tmp_path) == []


# ---------------------------------------------------------------- what is kept


def test_whole_answers_are_not_asked_for_again(server, area, tmp_path):
    """The next run takes kept answers of the last day, whichever server gave them."""
    first = fetch(area, server, cache=tmp_path)
    again = fetch(area, REFUSED, cache=tmp_path)
    check_same(again, first)
    assert again.source == first.source
    assert server.count() == 4
    for path in tmp_path.iterdir():
        assert parse_answer(path.read_bytes()).sha256 in first.source["answers"].split()


def test_old_and_damaged_answers_are_fetched_again(server, area, tmp_path):
    """An answer of yesterday, a damaged one and a half one are not used."""
    wanted = fetch(area, server, cache=tmp_path)
    old, cut, bad, _ = sorted(tmp_path.iterdir())
    yesterday = time.time() - 25 * 3600
    os.utime(old, (yesterday, yesterday))
    cut.write_bytes(cut.read_bytes()[:-50])
    bad.write_text('{"remark": "runtime error", "elements": []}')
    part = tmp_path / "overpass-x.1.part"
    part.write_text("{")
    os.utime(part, (yesterday, yesterday))
    server.asked.clear()
    check_same(fetch(area, server, cache=tmp_path), wanted)
    assert server.count() == 3
    assert len(list_cache(tmp_path)) == 4


def test_only_newer_answers_serve_a_refresh(server, area, tmp_path):
    """Kept answers that show no newer state than is known are fetched again."""
    fetch(area, server, cache=tmp_path)
    fetch(area, server, cache=tmp_path, newer_than="2023-12-26T21:21:21Z")
    assert server.count() == 4
    fetch(area, server, cache=tmp_path, newer_than=DATE)
    assert server.count() == 8


def test_a_killed_run_goes_on_where_it_was(server, area, tmp_path):
    """After a kill the whole answers are there and no others, and only the rest is asked for."""
    server.modes = ["good", "good", "hang"]
    path = tmp_path / "x.gpkg"
    box = ",".join(map(repr, area.polygon.bounds))
    verb = ["fetch", "--bbox", box, "-o", path, "--endpoint", server.address, "--name", "x"]
    code = "from survey.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, verb)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    clock = Clock(30)
    while server.count() < 3 and clock.left_s:
        time.sleep(0.02)
    process.kill()
    process.communicate()
    kept = tmp_path / "x.answers"
    assert len(list_cache(kept)) == 2
    assert not path.exists()
    server.asked.clear()
    server.modes = ["good"]
    said = run_survey(*verb)
    assert said.code == 0, said.err
    assert server.count() == 2
    assert "tile 1 of 4 was fetched before" in said.err
    shutil.rmtree(kept)
    whole = fetch(area, server)
    info = json.loads(run_survey("info", path, "--json").out)
    assert info["manifest"]["inputs"]["osm"] == whole.source
    assert info["tables"]["osm_streets"] == len(whole.streets)


def test_a_cache_that_cannot_be_written_is_said(server, area, tmp_path):
    """A file where the cache should be is an error about the cache."""
    path = tmp_path / "file"
    path.write_text("x")
    with pytest.raises(OutputError, match="folder of the cache"):
        fetch(area, server, cache=path)


# ---------------------------------------------------------------- the answers themselves


def test_answers_are_written_as_they_are(tmp_path):
    """Tags with markup, quotes, line breaks and Chinese come through; what XML bans is left out."""
    tags = {"name": "<b>\"东门\" & 'x'</b>\n𠮷\t", "note": "a\u0000b\ud800c", "building": "yes"}
    node = {"type": "node", "id": 3, "lat": -1e-7, "lon": 179.1234567, "tags": tags}
    way = {"type": "way", "id": 2, "nodes": [3, 3]}
    member = {"type": "node", "ref": 3, "role": 'a"b'}
    relation = {"type": "relation", "id": 1, "members": [member], "tags": {"type": "site"}}
    path = tmp_path / "x.osm"
    write_answers(path, [parse_answer(json.dumps({"elements": [node, way, relation]}).encode())])
    found = {}
    for item in osmium.FileProcessor(str(path)):
        found[item.type_str()] = {tag.k: tag.v for tag in item.tags}
        if item.is_node():
            assert (item.location.lon, item.location.lat) == (179.1234567, -1e-7)
        elif item.is_way():
            assert [node.ref for node in item.nodes] == [3, 3]
        else:
            assert [(part.type, part.ref, part.role) for part in item.members] == [("n", 3, 'a"b')]
    assert found == {"n": tags | {"note": "abc"}, "w": {}, "r": {"type": "site"}}


def test_members_outside_the_box_are_no_other_place():
    """A border along a road may bring the whole road, though it lies in another tile."""
    nodes = [{"type": "node", "id": number, "lat": 1, "lon": number} for number in (1, 2)]
    road = {"type": "way", "id": 1, "nodes": [1, 2], "tags": {"highway": "primary"}}
    member = {"type": "way", "ref": 1, "role": "outer"}
    border = {"type": "relation", "id": 1, "members": [member]}

    def parse(*elements, box):
        return parse_answer(json.dumps({"elements": elements}).encode(), box)

    assert parse(*nodes, road, box=(1.5, 0, 1.6, 2)).elements["way"]
    assert parse(*nodes, road, border, box=(5, 0, 6, 2)).elements["way"]
    with pytest.raises(AnswerError, match="another place"):
        parse(*nodes, road, box=(5, 0, 6, 2))


def parse_dated(date, lat=1):
    """Parse an answer of one node that shows the state of a date."""
    node = {"type": "node", "id": 1, "lat": lat, "lon": 1}
    content = {"osm3s": {"timestamp_osm_base": date}, "elements": [node]}
    return parse_answer(json.dumps(content).encode())


def test_a_date_that_is_none_is_unknown():
    """What a server says instead of a date is not handed on as one."""
    assert parse_dated("2024-01-01T00:00:00Z").osm_date == "2024-01-01T00:00:00Z"
    for date in ("yesterday", "", None, 7, ["2024-01-01T00:00:00Z"]):
        assert parse_dated(date).osm_date == ""


def test_the_newest_answer_wins(tmp_path):
    """An object that several tiles hold is taken from the newest answer, whatever the order."""
    old, new = parse_dated("2024-01-01T00:00:00Z", 1), parse_dated("2024-01-02T00:00:00Z", 2)
    for name, order in {"a": [old, new], "b": [new, old]}.items():
        write_answers(tmp_path / name, order)
        assert 'lat="2.0000000"' in (tmp_path / name).read_text()


def test_a_thread_that_hangs_is_left_behind():
    """Work that does not end is left in time, and its errors are the caller's otherwise."""
    start = time.monotonic()
    with pytest.raises(NetworkError, match=r"no whole answer within 0\.2 s"):
        run_within(0.2, lambda: time.sleep(5))
    assert time.monotonic() - start < 2
    with pytest.raises(ZeroDivisionError):
        run_within(5, lambda: 1 / 0)
    assert run_within(5, lambda: 7) == 7


def test_nothing_global_is_changed(server, area):
    """Settings of osmnx and the resolver of names are what they were after a call, or an error."""
    import osmnx

    before = copy_settings(osmnx.settings)
    resolver = socket.getaddrinfo
    fetch(area, server)
    server.modes = ["remark_time"]
    with pytest.raises(NetworkError):
        fetch(area, server)
    assert copy_settings(osmnx.settings) == before
    assert socket.getaddrinfo is resolver
    assert not Path("cache").exists()
