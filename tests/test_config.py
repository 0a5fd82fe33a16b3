import re
import tomllib
from dataclasses import asdict
from pathlib import Path

import pytest

from commands import DATA
from survey.config import _KEYS, REACH_M, CityConfig, check_radius, read_config
from survey.errors import ConfigError, DesignError, InputError
from survey.sampling.design import Design
from survey.sources.extract import MARGIN_M

SOURCE = '[source]\nextract = "a.osm.pbf"\n'


def write(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "city.toml"
    path.write_text(text, encoding=encoding)
    return path


def read_fault(tmp_path, text):
    """Read a config that is wrong; return the message, which names the file and is one line."""
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(str(path))


def test_every_key_but_source_has_its_default(tmp_path):
    """The least config is a source; everything else has the default of the design."""
    config = read_config(write(tmp_path, SOURCE))
    assert config == CityConfig(
        name="city",
        stem="city",
        extract=tmp_path / "a.osm.pbf",
        workspace=None,
        bbox=None,
        polygon=None,
        data_edge=None,
        layers={},
        datum="detect",
        design=Design(),
        round_id="demo",
        seed="city",
        seed_given=False,
        rules=("walk-500", "crow-500"),
        min_share=None,
    )
    assert config.design.to_json() == (
        '{"alleys":[1,2],"compounds":[1,2],"metric":"network","min_m":0,"radius":"uniform",'
        '"within_m":[500,2000]}'
    )


def test_every_value_is_read(tmp_path):
    """What the file says is what the config holds; paths are relative to the file."""
    text = """
    name = "南京"
    [source]
    workspace = "osm/nanjing.gpkg"
    [layers]
    points = "points.csv"
    subdistricts = "/srv/offices.gpkg"
    datum = "gcj02"
    [design]
    alleys = [2, 2]
    compounds = [0, 1]
    within_m = [600, 900]
    min_m = 50
    radius = "fixed:800"
    metric = "euclid"
    points = { school = 3 }
    [round]
    id = "2026-Q4"
    seed = " 03 11 "
    [audit]
    rules = ["crow-500"]
    min_share = 1
    """
    config = read_config(write(tmp_path, text))
    design = Design((2, 2), (0, 1), (600, 900), 50, "fixed:800", "euclid", {"school": 3})
    assert config == CityConfig(
        name="南京",
        stem="city",
        workspace=tmp_path / "osm/nanjing.gpkg",
        layers={"points": tmp_path / "points.csv", "subdistricts": Path("/srv/offices.gpkg")},
        datum="gcj02",
        design=design,
        round_id="2026-Q4",
        seed=" 03 11 ",
        seed_given=True,
        rules=("crow-500",),
        min_share=1,
    )


def test_area_by_polygon_or_box(tmp_path):
    """The area is a box of four numbers or a polygon file, and the data may end at another one."""
    box = read_config(write(tmp_path, SOURCE + "bbox = [7, 43.5, 7.5, 44]"))
    assert box.bbox == (7, 43.5, 7.5, 44)
    shape = read_config(write(tmp_path, SOURCE + 'polygon = "p.geojson"\ndata_edge = "e.shp"'))
    assert (shape.polygon, shape.data_edge) == (tmp_path / "p.geojson", tmp_path / "e.shp")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_byte_order_mark_does_no_harm(tmp_path, encoding):
    """Editors on Windows put a byte-order mark at the head of a file."""
    config = read_config(write(tmp_path, 'name = "南京"\n' + SOURCE, encoding))
    assert config.name == "南京"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("nmae = 'x'\n" + SOURCE, "unknown key 'nmae' in the top level; did you mean 'name'?"),
        (SOURCE + "[desing]", "unknown key 'desing' in the top level; did you mean 'design'?"),
        (SOURCE + "extrct = 'x'", "unknown key 'extrct' in [source]; did you mean 'extract'?"),
        (SOURCE + "[layers]\npoint = 'x'", "in [layers]; did you mean 'points'?"),
        (SOURCE + "[round]\nzzz = 1", "unknown key 'zzz' in [round]; allowed: id, seed"),
        (SOURCE + "[audit]\nrule = []", "in [audit]; did you mean 'rules'?"),
        (SOURCE + "[design]\nwithin = [1, 2]", "unknown key 'within' in [design]"),
        (SOURCE + "[design.points]\nshool = 3", "unknown kind 'shool'; the kinds are market, mall"),
    ],
)
def test_an_unknown_key_is_named_with_what_is_allowed(tmp_path, text, hint):
    """A misspelt key anywhere is an error that names it, its place, and what may stand there."""
    assert hint in read_fault(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "the table [source] is missing"),
        ("name = 3\n" + SOURCE, "name is 3, it must be a text in quotes"),
        ("name = ''\n" + SOURCE, "name is '', it must be a text"),
        ('name = "a\\nb"\n' + SOURCE, "on one line"),
        ("source = 'a.pbf'", "'source' must be a table [source]"),
        ("audit = 3\n" + SOURCE, "'audit' must be a table [audit]"),
        ("[source]", "[source] must have one of extract and workspace"),
        (SOURCE + "workspace = 'a.gpkg'", "one of extract and workspace"),
        ("[source]\nextract = 3", "source.extract is 3, it must be a text"),
        ("[source]\nplace = 3", "source.place is 3, it must be a text"),
        (SOURCE + "place = 'x'\nbbox = [1, 2, 3, 4]", "has both place and bbox; keep one"),
        (SOURCE + "endpoints = 'x'", "source.endpoints is 'x', it must be a list of texts"),
        (SOURCE + "time_limit_s = 0", "source.time_limit_s is 0, it must be a number of seconds"),
        ("[source]\nendpoints = ['https://x/api']", "for live data one of place, bbox and polygon"),
        (SOURCE + "bbox = [1, 2, 3]", "source.bbox is [1, 2, 3], it must be a list of 4 numbers"),
        (SOURCE + "bbox = '1,2,3,4'", "source.bbox is '1,2,3,4', it must be a list of 4 numbers"),
        (SOURCE + "bbox = [1, 2, 3, 'x']", "'x', it must be a list of 4 numbers"),
        (SOURCE + "bbox = [1, 2, 3, true]", "True, it must be a list of 4 numbers"),
        (SOURCE + "bbox = [1, 2, 3, nan]", "nan, it must be a list of 4 numbers"),
        (SOURCE + "bbox = [1, 2, 3, inf]", "inf, it must be a list of 4 numbers"),
        (SOURCE + "bbox = [1, 2, 3, 4]\npolygon = 'x'", "both bbox and polygon"),
        (SOURCE + "[layers]\npoints = ['a']", "layers.points is ['a'], it must be a text"),
        (SOURCE + "[layers]\ndatum = 'wgs'", "must be wgs84 or gcj02 or bd09 or detect"),
        (SOURCE + "[layers]\ndatum = ['wgs84']", "layers.datum is ['wgs84']"),
        (SOURCE + "[design]\nalleys = 2", "alleys is 2; give two numbers"),
        (SOURCE + "[design]\nalleys = [2, 1]", "runs backwards"),
        (SOURCE + "[design]\nalleys = [0.5, 1]", "give a whole number"),
        (
            SOURCE + "[design]\nradius = 'fixed'",
            "radius is 'fixed'; give 'uniform', 'fixed:<metres>', or 'table:",
        ),
        (SOURCE + "[design]\nmetric = 'taxi'", "metric is 'taxi'; give 'network' or 'euclid'"),
        (SOURCE + "[design]\npoints = { school = -1 }", "points.school is -1"),
        (SOURCE + "[design]\nwithin_m = [500, 2500]", "the radius goes to 2500 m"),
        (SOURCE + "[round]\nid = 4", "round.id is 4, it must be a text in quotes"),
        (SOURCE + "[round]\nseed = 2026-11-30", "round.seed is datetime.date(2026, 11, 30)"),
        (SOURCE + '[round]\nseed = "a\\u001fb"', "on one line"),
        (SOURCE + "[audit]\nrules = 'walk-500'", "audit.rules is 'walk-500', it must be a list"),
        (SOURCE + "[audit]\nrules = []", "audit.rules is []"),
        (
            SOURCE + "[audit]\nrules = ['walk-50']",
            "'walk-50', it must be a list of some of walk-500",
        ),
        (SOURCE + "[audit]\nrules = [['walk-500']]", "it must be a list of some of walk-500"),
        (SOURCE + "[audit]\nrules = ['crow-500', 'crow-500']", "each once"),
        (SOURCE + "[audit]\nmin_share = 95", "min_share is 95, it must be a number from 0 to 1"),
        (SOURCE + "[audit]\nmin_share = nan", "min_share is nan, it must be a number from 0 to 1"),
        (SOURCE + "[audit]\nmin_share = '1'", "it must be a number from 0 to 1"),
        (SOURCE + "[audit]\nmin_share = true", "it must be a number from 0 to 1"),
        ("[source\n", "is not valid TOML in UTF-8"),
        ('[source]\nextract = "C:\\data\\x.pbf"', "is not valid TOML in UTF-8"),
        (SOURCE + "extract = 'b'", "is not valid TOML in UTF-8"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(tmp_path, text, hint):
    """A value of the wrong type or beyond its bounds is an error that says what it must be."""
    assert hint in read_fault(tmp_path, text)


def test_a_file_in_another_encoding_is_named(tmp_path):
    """A config saved in GBK or UTF-16 is an error about the file, not a broken name."""
    for encoding in ("gbk", "utf-16"):
        path = write(tmp_path, 'name = "南京"\n' + SOURCE, encoding)
        with pytest.raises(ConfigError, match=r"city\.toml is not valid TOML in UTF-8"):
            read_config(path)


def test_a_missing_file_is_named(tmp_path):
    """A config that is not there, or is a folder, is an error that names it."""
    for path in (tmp_path / "no.toml", tmp_path):
        with pytest.raises(InputError, match=re.escape(str(path))):
            read_config(path)


def test_the_example_shows_every_key():
    """data/monaco.toml is valid, and every key that is allowed stands in it, used or commented."""
    path = DATA / "monaco.toml"
    text = path.read_text(encoding="utf-8")
    assert read_config(path).name == "Monaco"
    sections = dict(
        zip(*[iter(re.split(r"^\[(\w+)\]", text, flags=re.MULTILINE)[1:])] * 2, strict=True)
    )
    assert list(sections) == list(_KEYS)
    for section, keys in _KEYS.items():
        shown = re.findall(r"^(?:# )?(\w+) = ", sections[section], re.MULTILINE)
        assert sorted(shown) == sorted(keys)


def test_the_example_documents_the_defaults():
    """The values that data/monaco.toml shows as defaults are the defaults."""
    config = asdict(read_config(DATA / "monaco.toml"))
    default = asdict(CityConfig(name="x", stem="x"))
    for key in ("datum", "design", "rules", "min_share"):
        assert config[key] == default[key]
    text = (DATA / "monaco.toml").read_text(encoding="utf-8")
    switched = re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE)
    assert tomllib.loads(switched)["design"]["points"] == {"school": 3}


@pytest.mark.parametrize(
    ("design", "fits"),
    [
        (Design(), True),
        (Design(within_m=(500, 2000.001)), False),
        (Design(within_m=(500, 9000), radius="fixed:2000"), True),
        (Design(within_m=(500, 9000), radius="fixed:2001"), False),
    ],
)
def test_no_radius_goes_beyond_the_distances_measured(design, fits):
    """A design is refused if a radius could be greater than the 2 km that are measured."""
    assert REACH_M == MARGIN_M
    if fits:
        assert check_radius(design) is None
    else:
        with pytest.raises(DesignError, match="distances are measured to 2000 m"):
            check_radius(design)
