import os
import shutil
import signal
import subprocess
import sys

import pytest

from commands import digest_files, run_survey, town_config
from survey.errors import OutputError
from survey.records import verify_rounds
from survey.staging import publish_files, refuse_existing, stage_files
from survey.workspace import open_workspace

KILL = """
import os, signal, sys
from unittest import mock
from survey import cli, city, geopackage
name, at = sys.argv.pop(1), int(sys.argv.pop(1))
module = {"city": city, "geopackage": geopackage}[name.split(".")[0]]
real, calls = getattr(module, name.split(".")[1]), []
def killed(*arguments, **options):
    calls.append(1)
    if len(calls) == at:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **options)
with mock.patch.object(module, name.split(".")[1], killed):
    cli.main()
"""


def run_killed(moment, at, *arguments):
    """Run the command line as a process that is killed when it calls `moment` for the nth time."""
    command = [sys.executable, "-c", KILL, moment, str(at), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize(
    ("verb", "moment", "at"),
    [
        ("run", "city.audit_coverage", 1),
        ("run", "geopackage._fill", 9),
        ("run", "city.publish_files", 1),
        ("audit", "geopackage._insert", 2),
    ],
)
def test_a_killed_program_leaves_the_old_files_whole(town_run, tmp_path, verb, moment, at):
    """Killed at any moment, all files are as they were; the next one works and sweeps up."""
    out = tmp_path / "out"
    shutil.copytree(town_run.folder, out)
    shutil.copy(town_run.config.with_name("town.osm"), tmp_path)
    config = tmp_path / "town.toml"
    text = town_run.config.read_text(encoding="utf-8").replace("dice 4 2", "dice 6 6")
    config.write_text(text, encoding="utf-8")
    verb_line = {
        "run": ["run", config, "--out", out],
        "audit": ["audit", out / "town.gpkg", "--rule", "crow-500"],
    }[verb]
    before = digest_files(out)
    run_killed(moment, at, *verb_line)
    assert digest_files(out) == before
    assert [one.accepted for one in verify_rounds(open_workspace(out / "town.gpkg"))] == [True]
    left = [path for path in out.iterdir() if path.is_dir()]
    assert len(left) == 1
    assert left[0].name.startswith(".survey-")
    assert run_survey(*verb_line).code == 0
    assert [path for path in out.iterdir() if path.is_dir()] == []
    assert digest_files(out).keys() == before.keys()
    assert digest_files(out)["town.gpkg"] != before["town.gpkg"]


def test_a_run_that_stops_between_files_can_run_again(town_run, tmp_path, monkeypatch):
    """The workspace is moved first and names the files of the run, so the next run knows them."""
    config = town_config(tmp_path, extract=town_run.config.with_name("town.osm"))

    def stop(folder, home, names):
        publish_files(folder, home, list(names)[:3])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("survey.city.publish_files", stop)
        assert run_survey("run", config, "--out", tmp_path / "out").code == 130
    assert sorted(digest_files(tmp_path / "out")) == ["index.html", "town.gpkg", "town.html"]
    assert run_survey("run", config, "--out", tmp_path / "out").code == 0


def test_a_living_program_keeps_its_folder(tmp_path):
    """Folders of programs that still write are not swept; those of dead ones are."""
    dead = tmp_path / ".survey-dead"
    dead.mkdir()
    (dead / "survey.lock").touch()
    (dead / "half.gpkg").touch()
    other = tmp_path / ".survey-notes"
    other.mkdir()
    with stage_files(tmp_path) as first:
        assert not dead.exists()
        with stage_files(tmp_path) as second:
            assert first.is_dir()
            (second / "a.txt").write_text("x")
            assert publish_files(second, tmp_path, ["a.txt"]) == [tmp_path / "a.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".survey-notes", "a.txt"]


def test_a_failed_write_leaves_no_empty_folder(tmp_path):
    """A folder that was made for files that never came goes away again."""
    with pytest.raises(OutputError, match="no luck"), stage_files(tmp_path / "new" / "folder"):
        raise OutputError("no luck")
    assert not (tmp_path / "new" / "folder").exists()


def test_a_message_names_where_the_file_was_to_go(tmp_path):
    """An error while a file is staged speaks of the folder that people know."""
    with pytest.raises(OutputError) as caught, stage_files(tmp_path) as folder:
        raise OutputError(f"{folder}/edges.csv cannot be written")
    assert str(caught.value) == f"{tmp_path}/edges.csv cannot be written"


def test_existing_files_are_listed_in_short(tmp_path):
    """Three files are named, and how many more there are."""
    paths = [tmp_path / f"{number}.csv" for number in range(5)]
    assert refuse_existing(paths, replace=False) is None
    for path in paths:
        path.touch()
    assert refuse_existing(paths, replace=True) is None
    with pytest.raises(OutputError, match=r"0\.csv, .*2\.csv \(and 2 more\) exists; pass replace"):
        refuse_existing(paths, replace=False)
