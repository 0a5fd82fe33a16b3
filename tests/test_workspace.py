import hashlib
import re
import shutil

import pandas as pd
import pytest

from commands import digest_files, edit, run_survey, town_config, write_config, write_town
from survey import city, example_town, tables, workspace
from survey.errors import TableError, WorkspaceError
from survey.records import verify_rounds
from survey.workspace import open_workspace, save_workspace, update_workspace

# ---------------------------------------------------------------- what a run writes


ASKED = ("mocks", "priorities", "sites")  # tables that only their own verbs make


def test_the_same_inputs_give_the_same_manifest_and_tables(town_run, tmp_path):
    """A second run elsewhere writes the same manifest, and every table row by row."""
    config = shutil.copy(town_run.config, tmp_path)
    shutil.copy(town_run.config.with_name("town.osm"), tmp_path)
    assert run_survey("run", config, "--out", tmp_path / "again").code == 0
    one, other = (
        open_workspace(path / "town.gpkg") for path in (town_run.folder, tmp_path / "again")
    )
    assert one.manifest == other.manifest
    made = [name for name in tables.TABLES if name not in ASKED]
    assert one.names == other.names == {*made, *workspace._RAW}
    for name in sorted(one.names):
        pd.testing.assert_frame_equal(one.read(name), other.read(name))
    csv = {
        name: digest
        for name, digest in digest_files(town_run.folder).items()
        if name.endswith("csv")
    }
    assert len(csv) == len(made)
    assert csv.items() <= digest_files(tmp_path / "again").items()


def test_the_manifest_says_where_everything_comes_from(town_run):
    """Inputs with their hash, the date of the data, parameters, seeds, versions and the notice."""
    manifest = open_workspace(town_run.workspace).manifest
    extract = town_run.config.with_name("town.osm")
    assert manifest["inputs"]["osm"] == {
        "path": "town.osm",
        "sha256": hashlib.sha256(extract.read_bytes()).hexdigest(),
        "osm_date": "2024-05-06T07:08:09Z",
    }
    assert manifest["contract"] == tables.CONTRACT
    assert manifest["seeds"] == {"r1": "dice 4 2"}
    assert manifest["parameters"]["audit"]["rules"] == ["walk-500", "crow-500"]
    assert manifest["parameters"]["design"]["alleys"] == [1, 2]
    assert {"survey", "python", "shapely", "proj"} <= set(manifest["versions"])
    assert "OpenStreetMap contributors" in manifest["notice"]
    made = {path.name for path in town_run.folder.iterdir()} - {"town.gpkg"}
    assert made == set(manifest["files"])


def test_a_run_again_replaces_its_own_files_and_keeps_other_rounds(town_run, tmp_path):
    """Running again needs no --replace, draws its round anew and keeps those of other ids."""
    extract = town_run.config.with_name("town.osm")
    config = town_config(tmp_path, extract=extract, more='[round]\nseed = "one"')
    out = tmp_path / "out"
    assert run_survey("run", config, "--out", out).code == 0
    path = out / "town.gpkg"
    assert run_survey("draw", path, "--round", "r9", "--seed", "nine").code == 0
    assert run_survey("audit", path, "--rule", "crow-500").code == 0
    town_config(tmp_path, extract=extract, more='[round]\nseed = "two"')
    assert run_survey("run", config, "--out", out).code == 0
    stored = open_workspace(path)
    assert stored.manifest["seeds"] == {"r9": "nine", "demo": "two"}
    assert list(stored.read("audit")["rule_id"]) == ["walk-500", "crow-500"]
    assert run_survey("verify", path).code == 0
    assert [one.name for one in out.iterdir() if one.name.startswith(".")] == []


@pytest.mark.parametrize("strange", ["town.gpkg", "town.html", "points.csv"])
def test_a_run_replaces_files_of_others_only_when_told(town_run, tmp_path, strange):
    """A file that no earlier run for this city made stops the run before it begins."""
    config = town_config(tmp_path, extract=town_run.config.with_name("town.osm"))
    out = tmp_path / "out"
    out.mkdir()
    (out / strange).write_text("mine")
    said = run_survey("run", config, "--out", out)
    assert said.code == 2
    assert f"{out / strange} exists" in said.err
    assert "--replace" in said.err
    assert [path.name for path in out.iterdir()] == [strange]
    assert (out / strange).read_text() == "mine"
    if strange == "points.csv":
        assert run_survey("run", config, "--out", out, "--replace").code == 0
        assert (out / strange).read_bytes() == (town_run.folder / strange).read_bytes()


def test_a_run_spares_the_workspace_of_another_city(town_run, tmp_path):
    """A workspace of the same file name but of another city is not replaced unasked."""
    config = town_config(tmp_path, extract=town_run.config.with_name("town.osm"))
    before = shutil.copy(town_run.workspace, tmp_path / "town.gpkg").read_bytes()
    said = run_survey("run", config, "--out", tmp_path)
    assert said.code == 2
    assert "is not of an earlier run for 'town'" in said.err
    assert (tmp_path / "town.gpkg").read_bytes() == before


def test_a_run_never_writes_over_its_inputs(tmp_path):
    """A register called as an output is called is safe, even from --replace."""
    write_town(tmp_path / "town.osm")
    (tmp_path / "points.csv").write_text("name,kind,lon,lat\n")
    config = write_config(tmp_path / "town.toml", more="[layers]\npoints = 'points.csv'")
    said = run_survey("run", config, "--out", tmp_path, "--replace")
    assert said.code == 2
    assert f"{tmp_path / 'points.csv'} is an input of this run" in said.err
    assert (tmp_path / "points.csv").read_text() == "name,kind,lon,lat\n"


def test_a_run_can_start_from_a_fetched_workspace(town_run, tmp_path):
    """A config may name a workspace instead of an extract; the second run knows the first."""
    fetched = tmp_path / "fetched.gpkg"
    extract = town_run.config.with_name("town.osm")
    assert run_survey("fetch", "--extract", extract, "-o", fetched).code == 0
    config = write_config(tmp_path / "x.toml", "workspace = 'fetched.gpkg'")
    config.write_text('name = "小城 𠮷"\n' + config.read_text(), encoding="utf-8")
    for _ in range(2):
        assert run_survey("run", config, "--out", tmp_path / "out").code == 0
    one, other = open_workspace(tmp_path / "out" / "x.gpkg"), open_workspace(town_run.workspace)
    assert one.manifest["name"] == "小城 𠮷"
    for name in ("edges", "alleys", "reach", "covered"):
        pd.testing.assert_frame_equal(one.read(name), other.read(name))
    said = run_survey(
        "run", write_config(config, "workspace = 'fetched.gpkg'\nbbox = [1, 2, 3, 4]")
    )
    assert said.code == 2
    assert "holds its area already" in said.err


# ---------------------------------------------------------------- verbs on a workspace


def test_a_verb_replaces_its_own_tables_only(town):
    """An audit by one rule replaces the audit's tables, and leaves every other as it was."""
    before = open_workspace(town)
    old = {name: before.read(name) for name in sorted(before.names)}
    assert run_survey("audit", town, "--rule", "crow-500").code == 0
    after = open_workspace(town)
    assert after.names == before.names
    for name, table in old.items():
        if name in ("audit", "shares", "covered", "gaps"):
            kept = table[table["rule_id"] == "crow-500"].reset_index(drop=True)
            pd.testing.assert_frame_equal(after.read(name), kept)
        else:
            pd.testing.assert_frame_equal(after.read(name), table)


MAKERS = {
    "nodes": ("draw", "frame"),
    "points": ("audit", "frame"),
    "reach": ("commit", "frame"),
    "rounds": ("verify", "draw"),
    "quality": ("quality", "frame"),
}


@pytest.mark.parametrize("table", MAKERS)
def test_a_missing_table_names_the_verb_that_makes_it(town_run, tmp_path, table):
    """A verb whose table is not there yet says which verb to run first."""
    stored = open_workspace(town_run.workspace)
    kept = {name: stored.read(name) for name in stored.names if name != table}
    save_workspace(tmp_path / "x.gpkg", kept, stored.manifest)
    verb, maker = MAKERS[table]
    seed = ["--seed", "x"] if verb == "draw" else []
    said = run_survey(verb, tmp_path / "x.gpkg", *seed)
    assert said.code == 2
    assert f"holds no table {table!r} yet; run survey {maker} on it first" in said.err


def test_a_fetched_workspace_says_what_is_missing(town_run, tmp_path):
    """Right after fetch there is no frame, and every verb that needs one says so."""
    path = tmp_path / "x.gpkg"
    extract = town_run.config.with_name("town.osm")
    assert run_survey("fetch", "--extract", extract, "-o", path).code == 0
    for arguments in (
        ["draw", path, "--seed", "x"],
        ["audit", path],
        ["map", path, "-o", "x.html"],
    ):
        said = run_survey(*arguments)
        assert (said.code, said.out) == (2, "")
        assert "run survey frame on it first" in said.err
    assert run_survey("info", path, "--json").json["tables"].keys() == set(workspace._RAW)
    again = run_survey("fetch", "--extract", extract, "-o", path)
    assert (again.code, f"{path} exists" in again.err) == (2, True)


def test_a_new_frame_drops_the_audit_and_keeps_rounds_as_a_record(town, tmp_path):
    """After a new frame the old audit is gone; old rounds stay, refused and not shown."""
    stored = open_workspace(town)
    streets = stored.read("osm_streets")
    fewer = streets[~streets["tags"].str.contains("后街")].reset_index(drop=True)
    update_workspace(stored, {"osm_streets": fewer}, stored.manifest)

    said = run_survey("frame", town)
    assert said.code == 0
    assert "the audit of the earlier frame is dropped" in said.err
    assert "drawn on another frame, so survey verify refuses them: r1" in said.err
    after = open_workspace(town)
    assert not {"audit", "covered", "gaps", "shares"} & after.names
    assert "audit" not in after.manifest["parameters"]
    assert list(after.read("rounds")["round_id"]) == ["r1"]
    gone = set(after.read("draws")["unit_id"]) - {*after.read("alleys")["alley_id"]}
    assert gone - {*after.read("compounds")["compound_id"]}  # a drawn alley no longer exists

    assert run_survey("draw", town, "--round", "r2", "--seed", "x").code == 0
    verdicts = {one.round_id: one for one in verify_rounds(open_workspace(town))}
    assert (verdicts["r1"].accepted, verdicts["r2"].accepted) == (False, True)
    assert verdicts["r1"].reason.startswith("the frame's hash is")
    assert run_survey("verify", town).code == 1

    page = tmp_path / "map.html"
    said = run_survey("map", town, "-o", page)
    assert (said.code, said.out) == (0, f"{page}\n")
    assert "refuses them: r1" in said.err
    shown = page.read_text(encoding="utf-8")
    assert "轮次 r2" in shown
    assert "轮次 r1" not in shown
    assert "抽自另一抽样框，未显示：r1" in shown


def test_the_same_frame_again_keeps_rounds_valid(town):
    """Building the frame again from the same data changes no table and no verdict."""
    before = open_workspace(town).read_all()
    assert run_survey("frame", town).code == 0
    after = open_workspace(town)
    for name in after.read_all():
        pd.testing.assert_frame_equal(after.read(name), before[name])
    assert run_survey("verify", town).code == 0


# ---------------------------------------------------------------- verify


DRAWS = "round_id, point_id, layer, unit_id, ticket, radius_m, replacement"
ROUNDS = "round_id, seed, design, frame_hash"
TAMPERED = {
    "unit": (
        "UPDATE draws SET unit_id = 'alley/way/1' WHERE slot = 1 AND layer = 'alley'",
        "unit_id is 'alley/way/1', but the tickets give",
    ),
    "ticket": ("UPDATE draws SET ticket = 'ff' WHERE slot = 2", "ticket is 'ff'"),
    "radius": ("UPDATE draws SET radius_m = radius_m + 0.001", "radius_m is"),
    "replacement": ("UPDATE draws SET replacement = 0", "replacement is False"),
    "row lost": ("DELETE FROM draws WHERE slot = 1", "a row is missing"),
    "row added": (
        f"INSERT INTO draws ({DRAWS}, slot) SELECT {DRAWS}, 99 FROM draws LIMIT 1",
        "a row too many",
    ),
    "seed": ("UPDATE rounds SET seed = 'dice 4 3'", "but the tickets give"),
    "seed of two lines": ("UPDATE rounds SET seed = 'a' || char(10) || 'b'", "seed"),
    "design": (
        "UPDATE rounds SET design = replace(design, '2000', '1999')",
        "but the tickets give",
    ),
    "no design": ("UPDATE rounds SET design = 'any'", "is not JSON"),
    "claimed hash": ("UPDATE rounds SET frame_hash = 'ff'", "the frame's hash is"),
    "point": ("UPDATE points SET kind = 'mall' WHERE kind = 'hospital'", "the frame's hash is"),
    "alley": ("DELETE FROM alleys WHERE name = '后街'", "the frame's hash is"),
    "compound": (
        "UPDATE compounds SET compound_id = 'way/0' WHERE name = '一村'",
        "the frame's hash is",
    ),
    "distance": (
        "UPDATE reach SET network_m = network_m + 0.001 WHERE rowid = 3",
        "the frame's hash is",
    ),
    "distance lost": (
        "UPDATE reach SET network_m = NULL WHERE rowid = 3",
        "the frame's hash is",
    ),
    "round lost": ("DELETE FROM rounds", "draws has rows of this round"),
    "round called otherwise": ("UPDATE rounds SET round_id = 'r3'", "draws has rows of this round"),
    "kind unknown": ("UPDATE points SET kind = 'castle'", "allowed are ['market'"),
    "id twice": ("UPDATE draws SET slot = 1", "is not unique"),
    "round twice": (
        f"INSERT INTO rounds ({ROUNDS}) SELECT {ROUNDS} FROM rounds",
        "is not unique",
    ),
    "round without id": ("UPDATE rounds SET round_id = NULL", "missing cells"),
    "cell lost": ("UPDATE draws SET slot = NULL WHERE slot = 1", "whole values"),
    "column lost": ("ALTER TABLE draws DROP COLUMN ticket", "column 'ticket' is missing"),
    "round_id lost": ("ALTER TABLE rounds DROP COLUMN round_id", "column 'round_id' is missing"),
    "distance below 0": ("UPDATE reach SET euclid_m = -1", "below 0"),
}


@pytest.mark.parametrize("case", TAMPERED)
def test_verify_refuses_what_was_altered(town, case):
    """Whatever is altered in a round or in what it was drawn from, verify exits 1 and says what."""
    statement, reason = TAMPERED[case]
    edit(town, statement)
    said = run_survey("verify", town)
    assert said.code == 1
    assert "Traceback" not in said.err
    assert re.match(r"round \S+: refused: ", said.out)
    assert reason in said.out
    rows = run_survey("verify", town, "--json").json
    assert rows["accepted"] is False
    assert all("\n" not in row["reason"] for row in rows["rounds"])


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE alleys SET name = 'otherwise'",
        "UPDATE rounds SET seed = seed",
        "DELETE FROM covered",
    ],
)
def test_verify_accepts_what_a_draw_does_not_depend_on(town, statement):
    """The spelling of a name, or another stage's table, changes no draw."""
    edit(town, statement)
    assert run_survey("verify", town).code == 0


def test_verify_names_a_round_that_is_not_there(town):
    """Asking for a round that does not exist is wrong usage, no refusal."""
    said = run_survey("verify", town, "--round", "r7")
    assert (said.code, said.out) == (2, "")
    assert "there is no round 'r7'; stored are: r1" in said.err


def test_a_table_that_breaks_the_contract_is_never_written(town):
    """Neither a new workspace nor an update takes a table with faults."""
    stored = open_workspace(town)
    before = town.read_bytes()
    bad = stored.read("points").assign(kind="castle")
    with pytest.raises(TableError, match="castle"):
        update_workspace(stored, {"points": bad}, stored.manifest)
    with pytest.raises(TableError, match="castle"):
        save_workspace(town.with_name("new.gpkg"), {"points": bad}, stored.manifest)
    assert town.read_bytes() == before
    assert [path.name for path in town.parent.iterdir()] == [town.name]


def test_equal_content_makes_equal_bytes(town, tmp_path):
    """No date of writing gets into a workspace: the same tables are the same file."""
    stored = open_workspace(town)
    content = {name: stored.read(name) for name in sorted(stored.names)}
    one, other = (
        save_workspace(tmp_path / name / "x.gpkg", content, stored.manifest) for name in "ab"
    )
    assert one.path.read_bytes() == other.path.read_bytes()


def test_a_workspace_reads_back_what_was_written(town_run, tmp_path):
    """Every table comes back equal: types, missing cells, geometry and CRS."""
    stored = open_workspace(town_run.workspace)
    content = {name: stored.read(name) for name in sorted(stored.names)}
    again = save_workspace(tmp_path / "x.gpkg", content, stored.manifest)
    assert again.manifest == stored.manifest
    for name, table in content.items():
        pd.testing.assert_frame_equal(again.read(name), table)
        if hasattr(table, "crs"):
            assert again.read(name).crs == table.crs == stored.area.crs
    assert again.count_rows() == {
        name: len(content[name]) for name in [*tables.TABLES, *workspace._RAW] if name not in ASKED
    }


def test_an_unknown_table_is_an_error(town):
    """A name that no verb makes is an error and not a silent nothing."""
    with pytest.raises(WorkspaceError, match="holds no table 'sites' yet; run survey site"):
        open_workspace(town).read("sites")


def test_a_frame_of_very_many_points_has_no_catchments_and_says_so(monkeypatch):
    """Beyond the limit the table of catchments is empty, and a line says how to draw them."""
    frame, told = example_town(), []
    whole, _ = city.frame_tables(frame, told.append)
    assert len(whole["catchments"]) == 6 * len(frame.points)
    monkeypatch.setattr(city, "MOST_CATCHMENTS", len(frame.points) - 1)
    less, _ = city.frame_tables(frame, told.append)
    assert len(less["catchments"]) == 0
    assert "survey.measure_catchments draws them" in told[-1]
    assert less["reach"].equals(whole["reach"])
