import json
import math
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import click
import pandas as pd
import pytest

import survey.workspace
from commands import Said, edit, run_process, run_survey, write_config, write_town
from survey.cli import cli
from survey.cli_print import list_rows
from survey.errors import NetworkError
from survey.workspace import open_workspace

DESIGN = {"--scheme", "--alleys", "--compounds", "--within", "--min", "--radius", "--metric"}
DESIGN |= {"--visit"}
CONDITION = {"--condition", "--column", "--greatest", "--fails-below"}
FILES = {"--junit", "--markdown", "--geojson", "--csv", "--replace"}
OPTIONS = {
    "run": {"--out", "--replace", "--json"},
    "batch": {"--out", "--workers", "--again", "--json"},
    "fetch": {
        "--extract",
        "--place",
        "--bbox",
        "--polygon",
        "--data-edge",
        "--name",
        "--endpoint",
        "--geocoder",
        "--time-limit",
        "--cache",
        "--refresh",
        "-o",
        "--replace",
        "--json",
    },
    "frame": {
        "--points",
        "--toilets",
        "--alleys",
        "--compounds",
        "--subdistricts",
        "--datum",
        "--json",
    },
    "commit": DESIGN | {"--json"},
    "draw": DESIGN | {"--seed", "--round", "--mock", "--method", "--weights", "--json"},
    "verify": {"--round", "--commitment", "--json"},
    "audit": FILES | {"--rule", "--all", "--rules-file", "--at", "--min-share", "--json"},
    "rules": {"--rules-file", "--json"},
    "site": {
        "--rule",
        "--rules-file",
        "--add",
        "--budget",
        "--open-cost",
        "--build-cost",
        "--time-limit",
        "--json",
    },
    "compare": {"--rule", "--no-worse", "--json"},
    "odds": DESIGN | {"--top", "--json"},
    "simulate": DESIGN
    | CONDITION
    | {"--rounds", "--seed", "--quarters", "--repeats", "-o", "--replace", "--json"},
    "priorities": CONDITION | {"--budget", "--budget-cost", "--rounds", "--top", "--json"},
    "estimate": {
        "--results",
        "--layer",
        "--column",
        "--round",
        "--mock",
        "--measure",
        "--json",
    },
    "schemes": {"--json"},
    "map": {
        "-o",
        "--all",
        "--kind",
        "--tiles",
        "--tiles-datum",
        "--tiles-credit",
        "--token",
        "--store-token",
        "--replace",
    },
    "report": {"-o", "--lang", "--replace"},
    "export": {"--csv", "--geojson", "--replace"},
    "info": {"--json"},
    "quality": {"--json"},
}
MAPS = ("frame", "round", "odds", "toilets", "surroundings")
SILENT = ("map", "report", "export")  # they make files and report nothing


# ---------------------------------------------------------------- help and usage


def test_no_arguments_print_the_help():
    """`survey` alone prints what `survey --help` prints, every verb with a line, and exits 0."""
    alone = run_survey()
    assert alone == run_survey("--help") == run_survey("-h")
    assert (alone.code, alone.err) == (0, "")
    verbs = re.findall(r"^  ([a-z]+)  +\S", alone.out.split("Commands:")[1], re.MULTILINE)
    assert verbs == ["run", "batch", "fetch", "frame", "commit", "draw", "verify", *verbs[7:]]
    assert set(verbs) == set(OPTIONS)


@pytest.mark.parametrize("verb", OPTIONS)
def test_every_option_of_a_verb_has_help(verb):
    """Each verb has the options of the design, all with help, and its help fits a terminal."""
    said = run_survey(verb, "--help")
    assert (said.code, said.err) == (0, "")
    command = cli.commands[verb]
    assert command.help.split(".")[0] in " ".join(said.out.split())
    options = [item for item in command.params if isinstance(item, click.Option)]
    assert {option.opts[0] for option in options} == OPTIONS[verb]
    assert all(option.help and option.opts[0] in said.out for option in options)
    assert ("--json" in OPTIONS[verb]) == (verb not in SILENT)
    assert max(map(len, said.out.splitlines())) <= 100


def test_version_is_one_line():
    """`survey --version` prints name and version."""
    assert re.fullmatch(r"survey \d+\.\d+\.\d+\n", run_survey("--version").out)


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["auditt"], "did you mean 'audit'?"),
        (["gauge"], "the verbs are run, batch, fetch, frame"),
        (["draw"], "CITY.gpkg"),
        (["draw", "x.gpkg"], "--seed"),
        (["draw", "x.gpkg", "--sed", "a"], "--seed"),
        (["draw", "x.gpkg", "--seed", "a", "--alleys", "one"], "'one' is not a range such as 1-2"),
        (["draw", "x.gpkg", "--seed", "a", "--within", "1-2-3"], "not a range such as 500-2000"),
        (["draw", "x.gpkg", "--seed", "a", "--metric", "taxi"], "network"),
        (["audit", "x.gpkg", "--min-share", "much"], "--min-share"),
        (["fetch", "-o", "x.gpkg"], "--extract"),
        (["map", "x.gpkg"], "--output"),
        (["info", "x.gpkg", "y.gpkg"], "y.gpkg"),
    ],
)
def test_wrong_usage_is_one_line_and_exits_2(arguments, hint):
    """Wrong usage is answered with one line on stderr that says where the help is."""
    said = run_survey(*arguments)
    assert (said.code, said.out) == (2, "")
    assert re.fullmatch(r"survey: .*\(see survey( \w+)? --help\)\n", said.err)
    assert hint in said.err


def test_help_imports_nothing_heavy():
    """The help answers at once: no library of tables, geometry, files or maps is imported."""
    heavy = "numpy pandas geopandas shapely pyogrio pyproj scipy osmium osmnx networkx folium"
    script = (
        "import sys\nfrom survey.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        f"print(sorted(set(sys.modules) & set({heavy!r}.split())))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "run", "--help"], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[0].startswith("Usage: survey run")
    assert done.stdout.splitlines()[-1] == "[]"


# ---------------------------------------------------------------- exit codes and streams


def test_a_bug_keeps_its_traceback_and_exits_3(town, monkeypatch):
    """What nobody foresaw is no bad input: the traceback is kept, and the exit code is 3."""

    def fail(*_arguments, **_options):
        raise ZeroDivisionError("seven by nought")

    monkeypatch.setattr(survey.workspace, "open_workspace", fail)
    said = run_survey("info", town)
    assert (said.code, said.out) == (3, "")
    assert "Traceback (most recent call last)" in said.err
    assert "ZeroDivisionError: seven by nought" in said.err
    assert said.err.splitlines()[-1].startswith("survey: this is a bug")


def test_a_network_failure_exits_3_without_traceback(town, monkeypatch):
    """A server that does not answer is one line and exit code 3."""

    def fail(*_arguments, **_options):
        raise NetworkError("no answer from\nthe server")

    monkeypatch.setattr(survey.workspace, "open_workspace", fail)
    said = run_survey("info", town)
    assert said == Said(3, "", "survey: no answer from the server\n")


def test_ctrl_c_exits_130(town, monkeypatch):
    """An interruption is one line and exit code 130, and the workspace is as it was."""
    before = town.read_bytes()

    def interrupt(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(survey.workspace, "_settle", interrupt)
    said = run_survey("draw", town, "--seed", "x")
    assert said.code == 130
    assert (
        said.err.splitlines()[-1]
        == "survey: interrupted; nothing on disk is harmed; run the same command again"
    )
    assert "Traceback" not in said.err
    assert town.read_bytes() == before
    assert [path.name for path in town.parent.iterdir()] == [town.name]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_ctrl_c_ends_a_process_with_130(tmp_path):
    """A real interruption in the middle of a run leaves nothing behind."""
    write_town(tmp_path / "town.osm")
    config = write_config(tmp_path / "town.toml")
    # A shell that runs the tests in the background lets its children ignore SIGINT.
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    command = [sys.executable, "-c", f"{heed}; from survey.cli import main; main()"]
    with subprocess.Popen(
        [*command, "run", config, "--out", tmp_path / "out"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as process:
        for line in process.stderr:
            if "measuring reach" in line:
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
    assert process.returncode == 130
    assert "interrupted" in rest
    assert "Traceback" not in rest
    assert not (tmp_path / "out").exists()


def test_a_reader_that_goes_away_is_no_error(town):
    """`| head` neither prints anything nor changes the exit code that says what was found."""
    edit(town, "UPDATE rounds SET seed = 'another'")
    for arguments, code in ((["verify", town], 1), (["--help"], 0)):
        reader, writer = os.pipe()
        os.close(reader)
        done = run_process(*arguments, stdout=writer, stderr=subprocess.PIPE)
        os.close(writer)
        assert done.returncode == code
        assert done.stderr.decode().replace(f"survey: reading {town}\n", "") == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_stdout_on_a_full_disk_is_one_line(town):
    """Data that cannot be written are bad luck, no bug: exit code 2 and one line."""
    with Path("/dev/full").open("w") as full:
        done = run_process("info", town, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert re.fullmatch(rb"survey: stdout cannot be written: .*\n", done.stderr)


@pytest.mark.parametrize("verb", ["quality", "info"])
def test_names_beyond_gbk_do_not_break_a_gbk_console(town, verb):
    """A console that cannot show a name shows a question mark; its JSON keeps every name."""
    edit(town, "UPDATE quality SET note = '𠮷' WHERE measure = 'area'")
    said = run_survey(verb, town, encoding="gbk")
    assert (said.code, said.err) == (0, "")
    assert {"quality": "  ?\n", "info": '"name": "小城 ?"'}[verb] in said.out
    said = run_survey(verb, town, "--json", encoding="gbk")
    assert said.out.isascii()
    assert "𠮷" in str(said.json)


def test_a_run_on_a_gbk_console_does_not_break(town_run, tmp_path):
    """A process whose streams are GBK finishes a city with names beyond GBK."""
    config = write_config(
        tmp_path / "𠮷.toml", f"extract = '{town_run.config.with_name('town.osm')}'"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "gbk"}
    done = run_process("run", config, "--out", tmp_path, env=environment)
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
    assert f"workspace: {tmp_path}/?.gpkg" in done.stdout.decode("gbk")
    assert "the city's name '?' serves" in done.stderr.decode("gbk")


def test_progress_is_on_stderr_with_seconds(town_run):
    """A run says each step on stderr, with the seconds since its start, and data on stdout."""
    lines = town_run.said.err.splitlines()
    times = [float(re.fullmatch(r"\[ *(\d+\.\d) s\] \S.*", line)[1]) for line in lines]
    assert times == sorted(times)
    steps = ["reading", "building", "measuring", "drawing", "auditing", "writing"]
    assert [step for step in steps if any(f"] {step}" in line for line in lines)] == steps
    assert town_run.said.out.startswith("round r1: 3 of 3 points")


@pytest.mark.parametrize("arguments", [["map", "-o", "x.html"], ["export", "x"], ["verify"]])
def test_verbs_that_take_a_while_say_what_they_do(town, monkeypatch, arguments):
    """Before anything heavy is imported, a verb says on stderr what it reads."""
    monkeypatch.chdir(town.parent)
    verb, *rest = arguments
    said = run_survey(verb, town, *rest)
    assert said.code == 0
    assert f"reading {town}" in said.err.splitlines()[0]


def test_a_run_without_a_seed_warns(tmp_path):
    """A seed that everybody can guess is pointed out on stderr."""
    write_town(tmp_path / "town.osm")
    config = write_config(tmp_path / "town.toml")
    said = run_survey("run", config, "--out", tmp_path / "out")
    assert said.code == 0
    assert "the city's name 'town' serves, which everybody can guess" in said.err
    assert open_workspace(tmp_path / "out" / "town.gpkg").manifest["seeds"] == {"demo": "town"}


# ---------------------------------------------------------------- JSON


def test_a_missing_cell_is_null_in_json():
    """JSON has no NaN: what is missing is null, numbers and flags are plain."""
    table = pd.DataFrame({"a": ["x", None], "b": [math.nan, 1.5], "c": [1, 2], "d": [True, False]})
    rows = list_rows(table)
    assert rows == [
        {"a": "x", "b": None, "c": 1, "d": True},
        {"a": None, "b": 1.5, "c": 2, "d": False},
    ]
    assert json.dumps(rows, allow_nan=False)


def test_run_prints_json(town_run, tmp_path):
    """`run --json` prints the round, the audit and the files, and nothing else on stdout."""
    said = run_survey("run", town_run.config, "--out", tmp_path, "--json").json
    assert list(said) == ["schema", "name", "round", "odds", "audit", "met", "min_share", "files"]
    assert (said["schema"], said["name"], said["min_share"]) == (1, "小城 𠮷", None)
    assert said["round"]["round_id"] == "r1"
    assert said["round"]["seed"] == "dice 4 2"
    assert [Path(file).name for file in said["files"][:10]] == [
        "town.gpkg",
        "index.html",
        "town.html",
        *(f"town-{kind}.html" for kind in MAPS),
        "town-report.html",
        "nodes.csv",
    ]
    assert all(Path(file).is_file() for file in said["files"])


def test_package_runs_as_a_module():
    """`python -m survey` is the same command line, and calls itself survey."""
    said = subprocess.run(
        [sys.executable, "-m", "survey", "--help"], capture_output=True, text=True, check=True
    )
    assert said.stdout == run_survey("--help").out
    assert said.stdout.startswith("Usage: survey ")


KEYS = {
    "frame": ["schema", "tables"],
    "commit": ["schema", "commitment", "design"],
    "draw": [
        "schema",
        "round_id",
        "seed",
        "design",
        "frame_hash",
        "summary",
        "notes",
        "draws",
    ],
    "verify": ["schema", "accepted", "rounds"],
    "audit": ["schema", "audit", "met", "min_share", "at", "notes", "shares"],
    "info": ["schema", "manifest", "tables"],
    "quality": ["schema", "quality"],
}


@pytest.mark.parametrize("verb", KEYS)
def test_json_has_stable_keys(town, verb):
    """Every verb that reports prints one strict JSON object with a schema number."""
    more = {"draw": ["--seed", "x"], "audit": ["--min-share", "0.1"]}.get(verb, [])
    said = run_survey(verb, town, *more, "--json")
    assert said.code == 0
    assert list(said.json) == KEYS[verb]
    assert said.json["schema"] == 1


def test_json_holds_what_the_tables_hold(town):
    """JSON of draw, audit and quality are the rows of the tables of the workspace."""
    drawn = run_survey("draw", town, "--seed", "x", "--round", "r2", "--json").json
    audit = run_survey("audit", town, "--json").json
    quality = run_survey("quality", town, "--json").json
    stored = open_workspace(town)
    draws = stored.read("draws")
    assert drawn["draws"] == list_rows(draws[draws["round_id"] == "r2"])
    assert audit["audit"] == list_rows(stored.read("audit"))
    assert quality["quality"] == list_rows(stored.read("quality"))
    assert any(row["value"] is None for row in quality["quality"])
