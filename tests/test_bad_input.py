import re

import geopandas as gpd
import pyogrio
import pytest
import shapely

from commands import DATA, edit, list_files, run_survey, see_refusal, write_config, write_town
from osmxml import place
from survey.workspace import open_workspace


def refuse_run(city, hint, source=None, more=""):
    """Run a city whose input is bad, and see that its earlier results are unharmed."""
    head = 'name = "小城 𠮷"\n'
    config = write_config(city / "town.toml", source or 'extract = "town.osm"', more)
    config.write_text(head + config.read_text(encoding="utf-8"), encoding="utf-8")
    before = list_files(city)
    line = see_refusal(hint, "run", config, "--out", city / "out")
    assert list_files(city) == before
    return line


# ---------------------------------------------------------------- OpenStreetMap files and areas


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.osm.pbf", b"no map at all"),
        ("x.osm.pbf", b""),
        ("x.osm.pbf", (DATA / "monaco.osm.pbf").read_bytes()[:200_000]),
        ("x.osm", b"name,lon,lat\nA,7,43\n"),
        ("x.osm", b'<osm version="0.6"><node id="1" lat="43"'),
        ("x.osm.gz", b"\x1f\x8b nothing"),
        ("x.txt", b"no map at all"),
    ],
    ids=["text", "empty", "truncated", "csv", "cut-xml", "cut-gz", "suffix"],
)
def test_a_file_that_is_no_whole_extract(city, name, content):
    """A file that is not OpenStreetMap's, or is cut short, is named together with what to do."""
    (city / name).write_bytes(content)
    box = "bbox = [7.41, 43.72, 7.44, 43.75]"
    line = refuse_run(city, str(city / name), f'extract = "{name}"\n{box}')
    assert "not an OpenStreetMap file, or cut short" in line
    assert ".osm.pbf" in line


def test_a_missing_extract(city):
    """An extract that is not there is named."""
    refuse_run(city, f"{city / 'no.osm.pbf'}: no such file", 'extract = "no.osm.pbf"')


@pytest.mark.parametrize(
    ("box", "hint"),
    [
        ([118.79, 32.03, 118.79, 32.05], "is empty: west must be below east"),
        ([118.80, 32.03, 118.78, 32.05], "is empty: west must be below east"),
        ([32.03, 118.77, 32.05, 118.79], "has its longitudes and latitudes swapped"),
        ([7.41, 43.72, 7.44, 43.75], "lies outside the data"),
        ([500, 3000, 600, 4000], "lies outside the data"),
        ([118.7775, 32.037, 118.779, 32.039], "holds no streets (highway=*) in the area"),
    ],
    ids=["empty", "backwards", "swapped", "elsewhere", "metres", "no-street"],
)
def test_a_box_in_which_nothing_can_be_surveyed(city, box, hint):
    """An area that is empty, swapped, elsewhere or without streets is an error that shows it."""
    refuse_run(city, hint, f'extract = "town.osm"\nbbox = {box}')


def test_an_extract_without_streets(city):
    """A city without streets is an error that names the file."""
    write_town(city / "town.osm", streets=False)
    refuse_run(city, "holds no streets")


def test_an_area_without_fixed_points(city):
    """Without fixed points there is nothing to draw around."""
    write_town(city / "town.osm", points=False)
    refuse_run(city, "there is no fixed point (market, mall, school")


def test_an_extract_without_a_box_suggests_one(city):
    """A file that does not say what it covers needs a box; the one suggested does run."""
    write_town(city / "town.osm", bounds=False)
    line = refuse_run(city, "has no box in its header")
    box = re.search(r"bbox=([\d.,]+)", line)[1]
    said = run_survey("fetch", "--extract", city / "town.osm", "--bbox", box, "-o", city / "x.gpkg")
    assert said.code == 0


@pytest.mark.parametrize("bbox", ["1,2,3", "a,b,c,d", "118.79,32.03,118.79,32.05", ""])
def test_a_wrong_box_on_the_command_line(city, bbox):
    """Fetch answers a wrong --bbox like a config's, and leaves no file."""
    extract = city / "town.osm"
    see_refusal("box", "fetch", "--extract", extract, "--bbox", bbox, "-o", city / "x.gpkg")
    assert not (city / "x.gpkg").exists()


def test_a_polygon_file_that_is_none(city):
    """The area's polygon must be a file that holds a polygon."""
    gpd.GeoSeries([shapely.Point(118.78, 32.04)], crs=4326).to_file(city / "p.geojson")
    refuse_run(city, "p.geojson", 'extract = "town.osm"\npolygon = "p.geojson"')
    refuse_run(city, "no.geojson", 'extract = "town.osm"\npolygon = "no.geojson"')


# ---------------------------------------------------------------- the city's own files


def csv_text(*rows, header="id,name,kind,lon,lat"):
    return "\n".join([header, *rows]) + "\n"


HERE = "{:.6f},{:.6f}".format(*place(300, 300))
THERE = "{:.6f},{:.6f}".format(*place(600, 600))
SWAPPED = ",".join(HERE.split(",")[::-1])


@pytest.mark.parametrize(
    ("text", "hints"),
    [
        (csv_text("1,A,school", header="id,name,kind"), ["lon"]),
        (csv_text(f"1,A,school,{SWAPPED}"), ["swapped"]),
        (csv_text(f"1,A,castle,{HERE}"), ["'castle'", "allowed are market"]),
        (csv_text(f"1,A,school,{HERE}", f"1,B,school,{THERE}"), ["not unique", "'1'"]),
        (csv_text("1,A,school,668000,3546000"), ["degrees"]),
        (csv_text("1,A,school,,"), ["row 2"]),
        (csv_text("1,A,school,east,north"), ["east"]),
        (csv_text(f"1,A,,{HERE}"), ["kind"]),
        (csv_text(), ["holds no rows"]),
        ("", ["points.csv"]),
    ],
    ids=[
        "no-coordinates",
        "swapped",
        "unknown-kind",
        "id-twice",
        "projected",
        "no-place",
        "no-number",
        "no-kind",
        "no-rows",
        "empty",
    ],
)
def test_a_register_that_cannot_be_used(city, text, hints):
    """A city's own file with a fault is refused by a line that names the file and the fault."""
    (city / "points.csv").write_text(text, encoding="utf-8")
    more = "[layers]\npoints = 'points.csv'\ndatum = 'wgs84'"
    for hint in ["points.csv", *hints]:
        refuse_run(city, hint, more=more)


def test_a_layer_in_metres_without_a_crs(city):
    """A layer whose numbers are metres and that does not say in which CRS is refused."""
    square = shapely.box(668_000, 3_546_000, 669_000, 3_547_000)
    with pytest.warns(UserWarning, match="'crs' was not provided"):
        gpd.GeoDataFrame({"name": ["A"]}, geometry=[square]).to_file(city / "compounds.shp")
    refuse_run(city, "compounds.shp", more="[layers]\ncompounds = 'compounds.shp'\ndatum = 'wgs84'")


def test_a_missing_register(city):
    """A register that is not there is named."""
    refuse_run(city, str(city / "no.csv"), more="[layers]\ntoilets = 'no.csv'")


def test_a_register_of_a_frame_on_the_command_line(city):
    """Frame answers a wrong register as run does, and leaves the workspace as it was."""
    (city / "points.csv").write_text(csv_text(f"1,A,castle,{HERE}"))
    before = list_files(city)
    workspace = city / "out" / "town.gpkg"
    see_refusal("castle", "frame", workspace, "--points", city / "points.csv", "--datum", "wgs84")
    assert list_files(city) == before


def test_a_misspelt_key_in_the_config(city):
    """A config with an unknown key stops before anything is read."""
    refuse_run(city, "did you mean 'min_share'?", more="[audit]\nmin_shar = 1")


# ---------------------------------------------------------------- workspaces


VERBS = {
    "frame": [],
    "commit": [],
    "draw": ["--seed", "x"],
    "verify": [],
    "audit": [],
    "map": ["-o", "map.html"],
    "export": ["csv"],
    "info": [],
    "quality": [],
}


def spoil(kind, path):
    """Put something that is no usable workspace in the place of a workspace."""
    if kind == "older":
        edit(path, """UPDATE manifest SET json = replace(json, '"contract": 1', '"contract": 0')""")
    elif kind == "text":
        path.write_text("no workspace")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    elif kind == "other":
        path.unlink()
        gpd.GeoDataFrame(geometry=[shapely.Point(0, 0)], crs=4326).to_file(path)
    elif kind == "manifest":
        edit(path, "UPDATE manifest SET json = '[]'")
    elif kind == "missing":
        path.unlink()
    elif kind == "folder":
        path.unlink()
        path.mkdir()


@pytest.mark.parametrize("verb", VERBS)
def test_a_workspace_of_an_older_contract(town, monkeypatch, verb):
    """Every verb refuses a workspace of another contract and says how to make it anew."""
    monkeypatch.chdir(town.parent)
    spoil("older", town)
    before = list_files(town.parent)
    hint = "was made by version 0 of the data contract, this is version 1; make the workspace anew"
    see_refusal(hint, verb, town, *VERBS[verb])
    assert list_files(town.parent) == before


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        ("text", "is no workspace of survey, or is damaged"),
        ("empty", "is no workspace of survey, or is damaged"),
        ("cut", "is no workspace of survey, or is damaged"),
        ("other", "is no workspace of survey, or is damaged"),
        ("manifest", "is no workspace of survey, or is damaged"),
        ("missing", "No such file or directory"),
        ("folder", "Is a directory"),
    ],
)
def test_what_is_no_workspace(town, kind, hint):
    """A file that is no workspace is refused by a line that names it and the verbs to run."""
    spoil(kind, town)
    line = see_refusal(hint, "draw", town, "--seed", "x")
    assert line.startswith(f"survey: {town}")
    assert "survey fetch" in line


def rewrite(path, name, table):
    """Put a table into a workspace as a GIS would: without looking at the contract."""
    pyogrio.write_dataframe(table, path, layer=name, driver="GPKG")


@pytest.mark.parametrize(
    ("crs", "hint"),
    [(4326, "is not in metres; project it first"), (32651, "the workspace in EPSG:32650")],
)
def test_a_table_in_another_crs(town, crs, hint):
    """A table saved in degrees, or in another zone, is refused where distances are measured."""
    rewrite(town, "alleys", open_workspace(town).read("alleys").to_crs(crs))
    before = town.read_bytes()
    for verb in ("draw", "audit", "commit"):
        line = see_refusal(hint, verb, town, *VERBS[verb])
        assert "table 'alleys'" in line
        assert "survey frame makes it anew" in line
    assert town.read_bytes() == before
    said = run_survey("verify", town)
    assert (said.code, hint in said.out) == (1, True)


def test_an_id_twice_in_a_table(town):
    """An id that stands twice in a table is named together with the table."""
    edit(town, "UPDATE points SET point_id = 'node/1'")
    line = see_refusal("key point_id is not unique (2 rows too many, e.g. node/1)", "audit", town)
    assert f"{town}: table 'points' breaks the data contract" in line


def test_a_table_whose_shapes_are_garbage(town):
    """A table with shapes that cannot be read is refused, and refuses its rounds."""
    edit(town, "UPDATE compounds SET geom = x'4750000300000000ff'")
    see_refusal("table 'compounds' breaks the data contract", "draw", town, "--seed", "x")
    said = run_survey("verify", town)
    assert (said.code, "table 'compounds'" in said.out) == (1, True)


@pytest.mark.filterwarnings("ignore:Table/view draws is referenced")
def test_a_table_that_was_taken_out(town):
    """A table that is listed in the file and no longer in it is refused, and refuses its rounds."""
    edit(town, "DROP TABLE draws")
    said = run_survey("verify", town)
    assert (said.code, "draws" in said.out + said.err) == (2, True)
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        (["--seed", ""], "seed: found ''"),
        (["--seed", "a\nb"], "holds a line break"),
        (["--seed", "a", "--round", " "], "round_id: found ' '"),
        (["--seed", "a", "--alleys", "2-1"], "runs backwards"),
        (["--seed", "a", "--alleys", "0", "--compounds", "0"], "ask for none"),
        (["--seed", "a", "--radius", "fixed:50"], "lies outside within_m"),
        (["--seed", "a", "--radius", "far"], "give 'uniform', 'fixed:<metres>', or 'table:"),
        (["--seed", "a", "--min", "2000"], "nothing could be drawn"),
        (["--seed", "a", "--min", "nan"], "min_m is nan"),
    ],
)
def test_a_round_that_cannot_be_drawn(town, options, hint):
    """A seed or a design that makes no sense is refused, and no round is stored."""
    before = town.read_bytes()
    see_refusal(hint, "draw", town, *options)
    assert town.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        (["--rule", "youth-20"], "there is no rule 'youth-20'; did you mean 'youth-200'?"),
        (["--rule", "walk-50"], "there is no rule 'walk-50'; did you mean 'walk-500'?"),
        (["--rule", "walk-500", "--rule", "walk-500"], "name each rule once"),
        (["--min-share", "95"], "min_share is 95.0; give a share from 0 to 1"),
        (["--min-share", "nan"], "min_share is nan"),
    ],
)
def test_an_audit_that_cannot_be_made(town, options, hint):
    """A rule or share that makes no sense is refused, and the workspace is as it was."""
    before = town.read_bytes()
    see_refusal(hint, "audit", town, *options)
    assert town.read_bytes() == before
