import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from commands import run_survey, write_config, write_town
from survey.workspace import open_workspace

CHECK_ROUND = Path(__file__).parents[1] / "docs" / "check_round.py"


def test_steps_give_what_run_gives(town_run, tmp_path):
    """fetch, frame, draw, odds and audit one after the other make the tables that run makes."""
    path = tmp_path / "steps.gpkg"
    extract = town_run.config.with_name("town.osm")
    name = open_workspace(town_run.workspace).manifest["name"]
    for arguments in (
        ["fetch", "--extract", extract, "--name", name, "-o", path],
        ["frame", path],
        ["draw", path, "--seed", "dice 4 2", "--round", "r1"],
        ["odds", path],
        ["audit", path],
    ):
        assert run_survey(*arguments).code == 0
    steps, whole = open_workspace(path), open_workspace(town_run.workspace)
    assert steps.names == whole.names
    for table in sorted(steps.names):
        pd.testing.assert_frame_equal(steps.read(table), whole.read(table))
    without = {key: value for key, value in whole.manifest.items() if key != "files"}
    assert steps.manifest == without


def test_draw_adds_a_round_and_keeps_its_design(town):
    """Another id adds a round, the same id replaces it, and the design is that of before."""
    draw = ["draw", town, "--round", "r2", "--json"]
    first = run_survey(*draw, "--seed", "a", "--alleys", "2").json
    assert first["design"]["alleys"] == [2, 2]
    said = run_survey(*draw, "--seed", "b", "--within", "500-900")
    assert "survey: this replaces the round 'r2' that was drawn before\n" in said.err
    again = said.json
    assert again["design"] == {**first["design"], "within_m": [500, 900]}
    stored = open_workspace(town)
    assert dict(stored.read("rounds")[["round_id", "seed"]].to_numpy()) == {
        "r1": "dice 4 2",
        "r2": "b",
    }
    assert stored.manifest["seeds"] == {"r1": "dice 4 2", "r2": "b"}
    assert stored.manifest["parameters"]["design"] == again["design"]
    assert run_survey("verify", town).code == 0


def test_a_published_commitment_binds_the_round(town):
    """Verify accepts the commitment that commit printed, and refuses any other."""
    design = ["--compounds", "1", "--radius", "fixed:1500"]
    digest = run_survey("commit", town, *design).out.strip()
    assert re.fullmatch("[0-9a-f]{64}", digest)
    assert run_survey("draw", town, "--seed", "lots", "--round", "r2").code == 0
    accepted = run_survey("verify", town, "--round", "r2", "--commitment", digest)
    assert (accepted.code, accepted.out) == (
        0,
        "round r2: accepted: every row follows from the seed\n",
    )
    refused = run_survey("verify", town, "--commitment", digest, "--json")
    assert refused.code == 1
    assert [one["accepted"] for one in refused.json["rounds"]] == [False, True]
    assert refused.json["accepted"] is False
    assert "commitment" in refused.json["rounds"][0]["reason"]


def test_a_radius_beyond_what_is_measured_is_refused(town):
    """No unit is left out of a draw without a word because distances end at 2 km."""
    said = run_survey("draw", town, "--seed", "a", "--within", "500-2500")
    assert said.code == 2
    assert "the radius goes to 2500 m, but distances are measured to 2000 m" in said.err
    assert run_survey("draw", town, "--seed", "a", "--within", "500-2000").code == 0


@pytest.mark.parametrize(("min_share", "code"), [(None, 0), ("0.5", 0), ("0.6", 1), ("1", 1)])
def test_min_share_decides_the_exit_code(town, min_share, code):
    """The exit code is 1 if a rule's share is below what was asked, and only then."""
    asked = [] if min_share is None else ["--min-share", min_share]
    said = run_survey("audit", town, "--rule", "walk-500", *asked)
    share = open_workspace(town).read("audit")["share"].iloc[0]
    assert 0.5 < share < 0.6
    assert said.code == code
    assert said.out.startswith(f"walk-500: {share:.1%}")
    assert ("survey: walk-500 is not met" in said.err) == (code == 1)


def test_run_asks_for_its_min_share(town_run, tmp_path):
    """A config that asks for more than there is makes run exit with 1, its results written."""
    config = write_config(
        tmp_path / "town.toml",
        f"extract = '{town_run.config.with_name('town.osm')}'",
        "[audit]\nmin_share = 0.99",
    )
    said = run_survey("run", config, "--out", tmp_path)
    assert said.code == 1
    assert "walk-500 is not met" in said.err
    assert open_workspace(tmp_path / "town.gpkg").manifest["parameters"]["audit"] == {
        "rules": ["walk-500", "crow-500"],
        "min_share": 0.99,
    }


def test_no_toilet_is_an_answer(tmp_path):
    """Without any toilet every metre fails, which is an answer and no error."""
    write_town(tmp_path / "town.osm", toilets=False)
    said = run_survey("run", write_config(tmp_path / "town.toml"), "--out", tmp_path, "--json")
    assert said.code == 0
    assert [row["share"] for row in said.json["audit"]] == [0, 0]
    assert said.json["met"] is False


def test_export_writes_what_is_asked_for(town, tmp_path):
    """CSV is the default; with --geojson alone, only tables with geometry, and no CSV."""
    assert run_survey("export", town, tmp_path / "csv").code == 0
    names = open_workspace(town).read_all()
    assert {path.name for path in (tmp_path / "csv").iterdir()} == {f"{name}.csv" for name in names}
    said = run_survey("export", town, tmp_path / "geo", "--geojson")
    shapes = {name for name, table in names.items() if hasattr(table, "crs")}
    assert said.out.split() == [
        str(tmp_path / "geo" / f"{name}.geojson") for name in names if name in shapes
    ]
    again = run_survey("export", town, tmp_path / "geo", "--geojson")
    assert (again.code, "--replace" in again.err) == (2, True)
    assert run_survey("export", town, tmp_path / "geo", "--geojson", "--replace").code == 0


def test_quality_shows_every_row(town):
    """Each row of the table is one line, and nothing missing is printed as nan or None."""
    said = run_survey("quality", town)
    assert len(said.out.splitlines()) == len(open_workspace(town).read("quality"))
    assert not re.search(r"\b(nan|None|null)\b", said.out)


# ---------------------------------------------------------------- real cities


def check_round(folder):
    return subprocess.run(
        [sys.executable, CHECK_ROUND, folder], capture_output=True, text=True, check=False
    )


def test_monaco_passes_both_checks(monaco_run):
    """The demo's round is accepted by verify and by the script that needs no package."""
    assert run_survey("verify", monaco_run.workspace).code == 0
    checked = check_round(monaco_run.folder)
    assert (checked.returncode, checked.stdout) == (0, "accepted\n")


BOXES = {
    "nanjing": [118.764, 32.035, 118.797, 32.053],
    "nanshan": [113.923, 22.537, 113.968, 22.560],
}
MAY_BE_EMPTY = {"subdistricts", "osm_problems", "checks"}


@pytest.mark.parametrize("city", BOXES)
@pytest.mark.skipif("SURVEY_TEST_DATA" not in os.environ, reason="SURVEY_TEST_DATA is not set")
def test_a_chinese_city_runs_from_a_small_config(tmp_path, city):
    """Real extracts of Chinese cities give full tables and a round that can be checked."""
    extract = Path(os.environ["SURVEY_TEST_DATA"], f"{city}.osm.pbf")
    source = f"extract = '{extract}'\nbbox = {BOXES[city]}"
    config = write_config(tmp_path / f"{city}.toml", source, '[round]\nseed = "lots"')
    said = run_survey("run", config, "--out", tmp_path)
    assert said.code == 0, said.err
    assert not re.search(r"Warning|Traceback", said.err)
    counts = open_workspace(tmp_path / f"{city}.gpkg").count_rows()
    assert {name for name, count in counts.items() if count == 0} <= MAY_BE_EMPTY
    assert run_survey("verify", tmp_path / f"{city}.gpkg").code == 0
    assert check_round(tmp_path).returncode == 0


def test_run_writes_the_report_of_its_workspace(town_run, tmp_path):
    """What `report` writes from the workspace is what `run` left beside it; its index says so."""
    folder = town_run.workspace.parent
    left = folder / f"{town_run.workspace.stem}-report.html"
    run_survey("report", town_run.workspace, "-o", tmp_path / "again.html")
    assert left.read_bytes() == (tmp_path / "again.html").read_bytes()
    assert f'href="{left.name}"' in (folder / "index.html").read_text(encoding="utf-8")


def test_map_writes_one_kind_or_all_of_them(town, tmp_path):
    """`--kind` writes one map, `--all` a folder of them with an index; both at once are refused."""
    said = run_survey("map", town, "-o", tmp_path / "x.html", "--kind", "round")
    assert (said.code, said.out) == (0, f"{tmp_path / 'x.html'}\n")
    text = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert "抽查轮次" in text
    assert '"look":"gaps"' not in text
    said = run_survey("map", town, "--all", tmp_path / "maps")
    kinds = ("frame", "round", "odds", "toilets", "surroundings")
    names = ["index.html", "town.html", *(f"town-{kind}.html" for kind in kinds)]
    assert said.out.splitlines() == [str(tmp_path / "maps" / name) for name in names]
    said = run_survey("map", town, "--all", tmp_path / "maps", "-o", tmp_path / "y.html")
    assert (said.code, said.out) == (2, "")
    assert run_survey("map", town, "--all", tmp_path / "maps").code == 2
    assert run_survey("map", town, "--all", tmp_path / "maps", "--replace").code == 0
