import json

import pytest
import shapely

from commands import list_files, run_survey, see_refusal, write_town
from overpass_server import World, serve
from survey.sources.area import find_area
from survey.sources.extract import read_extract
from survey.workspace import open_workspace

LATER = "2024-02-01T00:00:00Z"


@pytest.fixture
def given(tmp_path):
    (tmp_path / "given").mkdir()
    return tmp_path / "given" / "town.osm"


@pytest.fixture
def server(given):
    """Give a server that holds the town and knows it by name."""
    write_town(given)
    shape = find_area(extract=given).polygon
    west, south, east, north = map(str, shape.bounds)
    with serve(World(given)) as running:
        running.places["小城, 南京"] = [
            {
                "place_id": 1,
                "osm_type": "relation",
                "osm_id": 2,
                "lat": south,
                "lon": west,
                "importance": 0.4,
                "display_name": "小城, 南京市, 江苏省, 中国",
                "boundingbox": [south, north, west, east],
                "geojson": shapely.geometry.mapping(shape),
            }
        ]
        yield running


def ask(server, *more):
    return run_survey("fetch", "--endpoint", server.address, "--geocoder", server.address, *more)


def read_manifest(path):
    return json.loads(run_survey("info", path, "--json").out)["manifest"]


def test_a_place_becomes_a_workspace(server, given, tmp_path):
    """A Chinese place name gives the workspace that the extract gives, and says what goes on."""
    path = tmp_path / "live.gpkg"
    said = ask(server, "--place", "小城, 南京", "-o", path)
    assert (said.code, said.out) == (0, "")
    assert "where '小城, 南京' is" in said.err
    assert "tile 4 of 4: asking 127.0.0.1:" in said.err
    live, read = open_workspace(path).read_osm(), read_extract(given, find_area(extract=given))
    assert live.area.name == "小城, 南京"
    assert live.streets.equals(read.streets)
    assert live.features.equals(read.features)
    osm = read_manifest(path)["inputs"]["osm"]
    assert osm["path"] == "OpenStreetMap (Overpass API)"
    assert len(osm["answers"].split()) == 4
    assert len(list((tmp_path / "live.answers").iterdir())) == 4


def test_a_box_and_a_name_suffice(server, tmp_path):
    """A box is fetched without asking for a place, under the name given."""
    box = ",".join(map(repr, shapely.box(118.78, 32.04, 118.785, 32.045).bounds))
    said = ask(server, "--bbox", box, "--name", "盒子", "-o", tmp_path / "x.gpkg")
    assert said.code == 0, said.err
    assert server.count("/api/search") == 0
    assert read_manifest(tmp_path / "x.gpkg")["name"] == "盒子"


def test_no_server_no_file(server, tmp_path):
    """When every server fails the verb ends with 3 and one line, and leaves nothing behind."""
    server.modes = ["html"]
    before = list_files(tmp_path)
    said = ask(server, "--place", "小城, 南京", "-o", tmp_path / "x.gpkg")
    assert (said.code, said.out) == (3, "")
    (line,) = [line for line in said.err.splitlines() if line.startswith("survey: ")]
    assert "answered with no JSON" in line
    assert list_files(tmp_path) == before


def test_an_unknown_place_is_bad_input(server, tmp_path):
    """A place that does not exist is the user's to mend: exit code 2."""
    said = ask(server, "--place", "大城", "-o", tmp_path / "x.gpkg")
    assert said.code == 2
    assert "knows no place '大城'" in said.err


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ((), "give --place, --bbox or --extract"),
        (("--place", "x", "--bbox", "1,2,3,4"), "--place and --bbox are both given"),
        (("--refresh", "--place", "x"), "--refresh keeps area and name"),
        (("--place", "x", "--time-limit", "0"), "--time-limit"),
        (("--place", "x", "--time-limit", "nan"), "nan is no number of seconds"),
        (("--bbox", "1,2,3,4", "--endpoint", "here"), "'here' is no address of a server"),
        (("--place", "x", "--geocoder", "here"), "'here' is no address of a server"),
        (("--extract", "x.pbf", "--endpoint", "http://127.0.0.1"), "--extract asks no server"),
    ],
)
def test_wrong_usage_of_fetch_is_one_line(tmp_path, arguments, hint):
    """Options that contradict each other, and addresses that are none, are refused."""
    see_refusal(hint, "fetch", *arguments, "-o", tmp_path / "x.gpkg")


# ---------------------------------------------------------------- again


@pytest.fixture
def city(server, tmp_path):
    """Give a workspace with a frame that was fetched live."""
    path = tmp_path / "city.gpkg"
    assert ask(server, "--place", "小城, 南京", "-o", path).code == 0
    assert run_survey("frame", path).code == 0
    server.asked.clear()
    return path


def change_town(server):
    """Close a toilet, open another, rename a street, lose a compound."""
    nodes, ways = server.world.objects["node"], server.world.objects["way"]
    first, second = (key for key, node in nodes.items() if "toilets" in node["tags"].values())
    del nodes[first]
    nodes[90_001] = nodes[second] | {"id": 90_001, "tags": {"amenity": "toilets", "name": "新厕"}}
    street = next(key for key, way in ways.items() if "highway" in way["tags"])
    ways[street]["tags"]["name"] = "新街"
    lost = next(key for key, way in ways.items() if way["tags"].get("name") == "一村")
    del ways[lost]
    school = next(key for key, way in ways.items() if way["tags"].get("amenity") == "school")
    ways[school]["tags"]["name"] = "新小学"
    server.date = LATER
    return first, street, lost, school


def test_a_refresh_says_what_changed(server, city):
    """What was added, removed and changed is counted by id, toilets and points named."""
    toilet, street, lost, school = change_town(server)
    said = ask(server, "--refresh", "-o", city)
    assert said.code == 0, said.err
    assert said.out.splitlines() == [
        "streets added: 0",
        "streets removed: 0",
        f"streets changed: 1 (way/{street} 新街)",
        "features added: 1 (node/90001 新厕)",
        f"features removed: 2 (node/{toilet}, way/{lost} 一村)",
        f"features changed: 1 (way/{school} 新小学)",
        f"toilet removed: node/{toilet}",
        "toilet added: node/90001 新厕",
        f"school changed: way/{school} 新小学",
    ]
    assert server.count("/api/search") == 0
    assert "is stale: it still shows OpenStreetMap of 2023-12-26T21:21:22Z" in said.err


def test_what_changed_is_json_too(server, city):
    """A script reads the same changes, one object each."""
    toilet, *_ = change_town(server)
    changes = json.loads(ask(server, "--refresh", "-o", city, "--json").out)
    assert changes["schema"] == 1
    gone, *_ = (row for row in changes["changes"] if row["kind"] == "toilet")
    assert (gone["layer"], gone["change"], gone["id"]) == ("feature", "removed", f"node/{toilet}")
    again = json.loads(ask(server, "--refresh", "-o", city, "--json").out)
    assert again == {"schema": 1, "changes": []}
    new = ask(server, "--place", "小城, 南京", "-o", city.with_name("new.gpkg"), "--json")
    assert json.loads(new.out)["tables"]["osm_streets"] > 0


def test_a_refresh_keeps_the_frame_until_it_is_built_again(server, city):
    """Frame and manifest stay of the old data, then survey frame builds on the new ones."""
    change_town(server)
    old = read_manifest(city)
    before = open_workspace(city)
    toilets, frame = before.read("toilets"), before.read_frame()
    assert ask(server, "--refresh", "-o", city).code == 0
    stored = open_workspace(city)
    assert stored.read("toilets").equals(toilets)
    assert stored.read_frame().source == frame.source
    assert stored.manifest["inputs"] == old["inputs"]
    assert stored.read_osm().source["osm_date"] == LATER
    assert ask(server, "--refresh", "-o", city).out.splitlines()[2] == "streets changed: 0"
    stale = "newer data were fetched than the frame is of"
    assert stale in run_survey("audit", city).err
    assert run_survey("frame", city).code == 0
    assert stale not in run_survey("audit", city).err
    new = read_manifest(city)
    assert "renewed" not in new
    assert new["inputs"]["osm"]["osm_date"] == LATER
    assert new["data_edge"] == old["data_edge"]
    assert "node/90001" in set(open_workspace(city).read("toilets")["toilet_id"])


def test_a_refresh_that_finds_nothing_leaves_the_file_alone(server, city):
    """Without a change the workspace stays byte for byte, although everything was asked again."""
    before = city.read_bytes()
    said = ask(server, "--refresh", "-o", city)
    assert said.code == 0
    assert "nothing has changed since 2023-12-26T21:21:22Z" in said.err
    assert {line.split(": ")[1] for line in said.out.splitlines()} == {"0"}
    assert server.count() == 4
    assert city.read_bytes() == before


def test_a_refresh_that_fails_harms_nothing(server, city):
    """When no server answers, the workspace stays as it was."""
    before = city.read_bytes()
    server.modes = ["remark_memory"]
    assert ask(server, "--refresh", "-o", city).code == 3
    assert city.read_bytes() == before


def test_an_extract_is_read_again(given, tmp_path):
    """A workspace from a file needs the new file, and is then compared likewise."""
    write_town(given)
    path = tmp_path / "x.gpkg"
    assert run_survey("fetch", "--extract", given, "-o", path).code == 0
    see_refusal("name the file to read again", "fetch", "--refresh", "-o", path)
    text = given.read_text(encoding="utf-8").replace("平安巷", "太平巷")
    given.write_text(text, encoding="utf-8")
    said = run_survey("fetch", "--refresh", "--extract", given, "-o", path)
    assert said.code == 0, said.err
    assert "streets changed: 1 (way/" in said.out
    assert "太平巷)" in said.out
    assert "renewed" not in read_manifest(path)


# ---------------------------------------------------------------- by a config


def test_a_config_may_name_a_place(server, tmp_path):
    """`survey run` takes a place, and a second run within the day asks for no tile again."""
    config = tmp_path / "小城.toml"
    config.write_text(
        f'[source]\nplace = "小城, 南京"\nendpoints = ["{server.address}"]\n'
        f'geocoder = "{server.address}"\ntime_limit_s = 60\n[round]\nseed = "dice"\n',
        encoding="utf-8",
    )
    out = tmp_path / "out"
    first = run_survey("run", config, "--out", out)
    assert first.code == 0, first.err
    assert server.count() == 4
    manifest = read_manifest(out / "小城.gpkg")
    second = run_survey("run", config, "--out", out)
    assert second.code == 0, second.err
    assert server.count() == 4
    assert read_manifest(out / "小城.gpkg") == manifest
