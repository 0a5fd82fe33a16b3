import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from commands import list_files, run_survey, see_refusal, write_config, write_town
from survey import batch
from survey.batch import RECORD, run_batch
from survey.errors import ConfigError, InputError
from survey.workspace import open_workspace

# A stand-in for `survey run`, which does what the first word of the extract says. It starts in a
# tenth of the time, so that a batch may have many cities.
STAND_IN = """
import json, os, signal, sys, time
from pathlib import Path
config, folder = Path(sys.argv[2]), Path(sys.argv[4])
assert sys.argv == ["-c", "run", str(config), "--out", str(folder), "--json"]
extract = config.with_suffix(".osm")
word = extract.read_text().split()[0]
with config.with_name("starts.txt").open("a") as starts:
    starts.write(config.stem + "\\n")
print("[   0.0 s] reading", extract, file=sys.stderr, flush=True)
if word == "broken":
    print("survey:", extract, "is broken", file=sys.stderr)
    sys.exit(2)
if word == "bug":
    print("Traceback:", "ZeroDivisionError: by nought", sep="\\n", file=sys.stderr)
    print("survey: this is a bug of survey; please report it", file=sys.stderr)
    sys.exit(3)
if word == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
folder.mkdir(parents=True, exist_ok=True)
if word == "slow":
    try:
        print("[   0.1 s] being slow", file=sys.stderr, flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        (folder / "tidied.txt").touch()
        sys.exit(130)
if word == "stubborn":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print("[   0.1 s] being slow", file=sys.stderr, flush=True)
    time.sleep(60)
(folder / f"{config.stem}.gpkg").touch()
met = word != "unmet"
audit = [{"rule_id": "walk-500", "share": 0.5, "met": met}]
counts = {"points": 3, "alleys": 10, "compounds": 4}
files = [str(folder / f"{config.stem}.gpkg")]
report = {"round": {"summary": counts}, "audit": audit, "min_share": 0.5, "files": files}
print(json.dumps(report))
sys.exit(0 if met else 1)
"""

# The program itself, but killed while it builds the frame of the city `weak`.
KILLED = """
import os, signal, sys
from unittest import mock
from survey import city, cli
real = city.build_frame
def build(osm, **options):
    if osm.area.name == "weak":
        os.kill(os.getpid(), signal.SIGKILL)
    return real(osm, **options)
with mock.patch.object(city, "build_frame", build):
    cli.main()
"""

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")


def write_batch(folder, words, more=""):
    """Write cities whose extracts hold these words, and the batch of them all; give its path."""
    for stem, word in words.items():
        (folder / f"{stem}.osm").write_text(word)
        write_config(folder / f"{stem}.toml", f"extract = '{stem}.osm'")
    path = folder / "cities.toml"
    path.write_text(f"cities = ['*.toml']\n{more}\n", encoding="utf-8")
    return path


def list_starts(folder):
    """List the cities whose processes were started since this was last asked."""
    log = folder / "starts.txt"
    starts = log.read_text().split() if log.exists() else []
    log.unlink(missing_ok=True)
    return starts


@pytest.fixture
def stand_in(monkeypatch):
    monkeypatch.setattr(batch, "_PROGRAM", STAND_IN)


@pytest.fixture
def heed():
    """Let SIGINT interrupt, also where a shell that runs the tests in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


# ---------------------------------------------------------------- what is run


@posix
@pytest.mark.usefixtures("stand_in")
def test_twenty_cities_one_broken_one_killed(tmp_path):
    """Largest first; the broken and the killed stop no other; again, only these two are tried."""
    words = {f"c{n:02}": "good" + " " * ((n * 7) % 20) for n in range(20)}
    words |= {"c05": "broken" + " " * 40, "c11": "killed" + " " * 50}
    path = write_batch(tmp_path, words)
    said = []
    table = run_batch(path, workers=1, report=said.append)
    assert list_starts(tmp_path) == sorted(words, key=lambda stem: -len(words[stem]))
    assert list(table["city"]) == sorted(words)
    rows = table.set_index("city")
    assert rows["result"].value_counts().to_dict() == {"done": 18, "failed": 2}
    assert rows["code"].loc[["c04", "c05", "c11"]].tolist() == [0, 2, 3]
    assert rows["message"]["c05"] == f"{tmp_path / 'c05.osm'} is broken"
    assert re.fullmatch(
        r"its process ended by signal 9 \(Killed\); the last that it said: reading .*c11\.osm",
        rows["message"]["c11"],
    )
    assert said[0] == f"c11: reading {tmp_path / 'c11.osm'}"
    assert re.fullmatch(r"c\d\d: done, 20 of 20", said[-1])

    (tmp_path / "c11.osm").write_text("good now")
    files = list_files(tmp_path / "maps")
    times = {file: file.stat().st_mtime_ns for file in files}
    table = run_batch(path, report=said.append)
    assert sorted(list_starts(tmp_path)) == ["c05", "c11"]
    rows = table.set_index("city")
    assert rows["result"].value_counts().to_dict() == {"skipped": 18, "failed": 1, "done": 1}
    assert rows.loc["c04", ["points", "alleys", "compounds", "walk-500"]].tolist() == [
        3,
        10,
        4,
        0.5,
    ]
    assert rows.loc["c05", ["points", "walk-500"]].isna().all()
    assert {file: file.stat().st_mtime_ns for file in files} == times


@pytest.mark.usefixtures("stand_in")
def test_only_what_changed_is_run_again(tmp_path):
    """An extract, a config, a part of a register, or a lost file: each runs its own city alone."""
    path = write_batch(tmp_path, dict.fromkeys("abcd", "good"))
    write_config(tmp_path / "d.toml", "extract = 'd.osm'", "[layers]\npoints = 'own.shp'")
    for suffix in ("shp", "dbf"):
        (tmp_path / f"own.{suffix}").touch()
    assert set(run_batch(path, report=len)["result"]) == {"done"}
    assert sorted(list_starts(tmp_path)) == ["a", "b", "c", "d"]
    changes = {
        "a": lambda: (tmp_path / "a.osm").write_text("good too"),
        "b": (tmp_path / "maps" / "b" / "b.gpkg").unlink,
        "c": lambda: write_config(tmp_path / "c.toml", "extract = 'c.osm'", "[round]\nid = 'x'"),
        "d": lambda: (tmp_path / "own.dbf").write_text("x"),
    }
    for stem, change in changes.items():
        change()
        table = run_batch(path, report=len).set_index("city")
        assert list_starts(tmp_path) == [stem]
        assert (table["result"] == "done").to_dict() == {name: name == stem for name in changes}
    run_batch(path, again=True, report=len)
    assert sorted(list_starts(tmp_path)) == ["a", "b", "c", "d"]
    (tmp_path / "maps" / "a" / RECORD).write_text("{}")
    run_batch(path, report=len)
    assert list_starts(tmp_path) == ["a"]


@pytest.mark.usefixtures("stand_in")
def test_a_city_that_failed_after_a_change_is_not_taken_for_done(tmp_path):
    """What an earlier run left is no result of inputs that were there only in between."""
    path = write_batch(tmp_path, {"a": "good"})
    run_batch(path, report=len)
    for word, results in (("broken", ["failed"]), ("good", ["done"])):
        (tmp_path / "a.osm").write_text(word)
        assert list(run_batch(path, report=len)["result"]) == results


@pytest.mark.usefixtures("stand_in")
def test_the_exit_code_is_the_greatest(tmp_path):
    """0 all met; 1 one not met; 2 one broken, or its config; 3 a bug, whose last line is told."""
    path = write_batch(tmp_path, {"a": "good"})
    for stem, word, code in (("b", "unmet", 1), ("c", "broken", 2), ("d", "bug", 3)):
        write_batch(tmp_path, {stem: word})
        said = run_survey("batch", path, "--json")
        assert said.code == code, said.err
        row = said.json["cities"][-1]
        assert (row["city"], row["code"]) == (stem, code)
    rows = said.json["cities"]
    assert list(said.json) == ["schema", "cities"]
    assert [row["result"] for row in rows] == ["skipped", "skipped", "failed", "failed"]
    assert rows[1] == {
        "city": "b",
        "result": "skipped",
        "code": 1,
        "seconds": 0.0,
        "points": 3,
        "alleys": 10,
        "compounds": 4,
        "message": "not met: walk-500",
        "shares": {"walk-500": 0.5},
    }
    assert rows[3]["message"] == "ZeroDivisionError: by nought"
    assert (rows[3]["points"], rows[3]["shares"]) == (None, {})
    for stem in "cd":
        (tmp_path / f"{stem}.osm").write_text("good")
    (tmp_path / "c.toml").write_text("[sauce]")
    said = run_survey("batch", path, "--out", tmp_path / "elsewhere", "--workers", 2)
    assert said.code == 2
    lines = said.out.splitlines()
    head = "city  result  seconds  points  alleys  compounds  walk-500  message"
    assert lines[0].split() == head.split()
    assert re.fullmatch(
        r"b     done     +\d\.\d       3      10          4     50\.0%  not .*", lines[2]
    )
    assert re.fullmatch(r"c     failed  +0\.0 +- +- +- +-  .*unknown key 'sauce'.*", lines[3])
    assert lines[5] == "3 done, 0 skipped, 1 failed"
    assert (tmp_path / "elsewhere" / "a" / "a.gpkg").exists()


def test_real_cities_in_real_processes(tmp_path, monkeypatch):
    """A city is what `survey run` makes; a killed one leaves nothing and is made the next time."""
    write_town(tmp_path / "town.osm")
    (tmp_path / "cut.osm").write_bytes((tmp_path / "town.osm").read_bytes()[:2_000])
    for stem, extract, more in (
        ("good", "town.osm", "[audit]\nmin_share = 0.99"),
        ("cut", "cut.osm", ""),
        ("weak", "town.osm", ""),
    ):
        write_config(tmp_path / f"{stem}.toml", f"extract = '{extract}'", more)
    path = tmp_path / "cities.toml"
    path.write_text("cities = ['good.toml', 'cut.toml', 'weak.toml', 'gone.toml']\nworkers = 2\n")
    if os.name != "nt":
        with monkeypatch.context() as patch:
            patch.setattr(batch, "_PROGRAM", KILLED)
            rows = run_batch(path, report=len).set_index("city")
        assert rows["code"].tolist() == [1, 2, 3, 2]
        assert rows["message"]["good"] == "not met: walk-500, crow-500"
        assert rows["message"]["weak"].endswith("the last that it said: building the frame")
        assert "give a city's TOML config" in rows["message"]["gone"]
        assert not (tmp_path / "maps" / "weak").exists()
    rows = run_batch(path, report=len).set_index("city")
    assert rows["result"].tolist() == ["skipped", "failed", "done", "failed"]
    assert rows["code"].tolist() == [1, 2, 0, 2]
    for stem in ("good", "weak"):
        stored = open_workspace(tmp_path / "maps" / stem / f"{stem}.gpkg")
        assert len(stored.read("alleys")) == rows["alleys"][stem] > 0
        assert (
            stored.read("audit")["share"].tolist()
            == rows.loc[stem, ["walk-500", "crow-500"]].tolist()
        )


# ---------------------------------------------------------------- interruption


@posix
@pytest.mark.usefixtures("stand_in", "heed")
@pytest.mark.parametrize("word", ["slow", "stubborn"])
def test_ctrl_c_stops_the_processes_and_keeps_what_is_done(tmp_path, monkeypatch, word):
    """Processes are asked to tidy up, or ended if they do not; the next batch goes on."""
    monkeypatch.setattr(batch, "_PATIENCE_S", 5 if word == "slow" else 0.2)
    path = write_batch(tmp_path, {"a": "good" + " " * 9, "b": word, "c": "good"})
    said = []

    def report(line):
        said.append(line)
        if line == "b: being slow":
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_batch(path, workers=1, report=report)
    assert said[-1] == "stopping; 1 of 3 cities are done and stay so"
    assert list_starts(tmp_path) == ["a", "b"]
    assert (tmp_path / "maps" / "b" / "tidied.txt").exists() == (word == "slow")
    (tmp_path / "b.osm").write_text("good")
    table = run_batch(path, report=said.append)
    assert table["result"].tolist() == ["skipped", "done", "done"]


@posix
def test_ctrl_c_on_a_terminal(tmp_path):
    """The command line exits with 130, says how to go on, and leaves no process of its own."""
    path = write_batch(tmp_path, {"a": "slow"})
    heeding = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    program = f"{heeding}from survey import batch, cli\nbatch._PROGRAM = {STAND_IN!r}\ncli.main()"
    with subprocess.Popen(
        [sys.executable, "-c", program, "batch", path], stderr=subprocess.PIPE, text=True
    ) as process:
        for line in process.stderr:
            if "being slow" in line:
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
    assert process.returncode == 130
    assert rest.splitlines()[-1] == (
        "survey: interrupted; nothing on disk is harmed; run the same command again"
    )
    assert "stopping; 0 of 1 cities are done" in rest
    assert (tmp_path / "maps" / "a" / "tidied.txt").exists()


# ---------------------------------------------------------------- the config


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("citys = []", "unknown key 'citys' in the top level; did you mean 'cities'?"),
        ("", "cities is None, it must be a list of texts in quotes"),
        ("cities = []", "must be a list of texts"),
        ("cities = [1]", "must be a list of texts"),
        ("cities = ['*.tml']", "no file fits '*.tml'"),
        ("cities = ['a.toml', 'other/A.toml']", "would both be written to 'A'"),
        ("cities = ['a.toml']\nworkers = 0", "workers is 0, it must be a whole number from 1"),
        ("cities = ['a.toml']\nworkers = true", "workers is True"),
        ("cities = ['a.toml']\nout = 3", "out is 3, it must be a text in quotes"),
        ("cities = [", "is not valid TOML"),
    ],
)
def test_a_wrong_batch_is_refused(tmp_path, text, hint):
    """Whatever is wrong with the list itself is said before any city is begun."""
    write_config(tmp_path / "a.toml")
    path = tmp_path / "cities.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(hint)):
        run_batch(path, report=len)
    assert hint in see_refusal(hint, "batch", path)


def test_a_batch_that_is_missing_is_refused(tmp_path):
    """A list that is not there is one line that says what to give."""
    with pytest.raises(InputError, match="give a TOML file that lists the cities' configs"):
        run_batch(tmp_path / "cities.toml")
    see_refusal("No such file", "batch", tmp_path / "cities.toml")


@pytest.mark.usefixtures("stand_in")
def test_cities_are_named_or_fit_a_pattern(tmp_path):
    """A city that is named and fits a pattern too is run once, and the list is no city."""
    (tmp_path / "south").mkdir()
    write_batch(tmp_path / "south", {"c": "good"})
    path = write_batch(tmp_path, {"b": "good", "a": "good"})
    path.write_text(f"cities = ['b.toml', '*.toml', '{tmp_path}/south/c*.toml']\nout = 'all'\n")
    (tmp_path / "south" / "cities.toml").unlink()
    table = run_batch(path, report=len)
    assert list(table["city"]) == ["b", "a", "c"]
    assert (tmp_path / "all" / "c" / "c.gpkg").exists()
    assert isinstance(table, pd.DataFrame)
    assert json.loads(Path(tmp_path, "all", "a", RECORD).read_text())["files"] == ["a.gpkg"]
