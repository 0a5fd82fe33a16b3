import importlib
import shutil
import signal

import pytest

from commands import list_files, run_survey

LAST = "survey: interrupted; nothing on disk is harmed; run the same command again"


@pytest.fixture
def interrupt(monkeypatch):
    """Give a function that makes SIGINT arrive when something is called for the nth time."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def arrange(name, nth):
        module, attribute = name.rsplit(".", 1)
        home = importlib.import_module(module)
        real, calls = getattr(home, attribute), []

        def interrupted(*arguments, **options):
            calls.append(1)
            if len(calls) == nth:
                signal.raise_signal(signal.SIGINT)
            return real(*arguments, **options)

        monkeypatch.setattr(home, attribute, interrupted)

    yield arrange
    signal.signal(signal.SIGINT, before)


LINES = {
    "run": ["run", "town.toml", "--out", "out"],
    "fetch": ["fetch", "--extract", "town.osm", "-o", "out/town.gpkg", "--replace"],
    "frame": ["frame", "out/town.gpkg"],
    "draw": ["draw", "out/town.gpkg", "--seed", "x"],
    "audit": ["audit", "out/town.gpkg", "--csv", "out/audit.csv", "--replace"],
    "map": ["map", "out/town.gpkg", "-o", "out/town.html", "--replace"],
    "export": ["export", "out/town.gpkg", "out", "--replace"],
}


@pytest.mark.parametrize(
    ("verb", "moment", "nth"),
    [
        ("run", "survey.city.read_source", 1),
        ("run", "survey.city.build_frame", 1),
        ("run", "survey.geopackage._fill", 9),
        ("run", "survey.city.publish_files", 1),
        ("fetch", "survey.geopackage._insert", 1),
        ("frame", "survey.geopackage._fill_index", 3),
        ("frame", "survey.workspace.publish_files", 1),
        ("draw", "shutil.copyfile", 1),
        ("draw", "survey.workspace._settle", 1),
        ("audit", "secrets.token_hex", 1),
        ("map", "survey.outputs.exports._rename_all", 1),
        ("export", "shutil.copy2", 5),
    ],
)
def test_ctrl_c_at_any_moment_harms_nothing(city, monkeypatch, interrupt, verb, moment, nth):
    """The exit code is 130, the last line says how to go on, no file is half-written or left."""
    monkeypatch.chdir(city)
    export = run_survey("export", "out/town.gpkg", "out", "--replace")
    assert export.code == 0
    before = list_files(city)
    interrupt(moment, nth)
    said = run_survey(*LINES[verb])
    assert (said.code, said.err.splitlines()[-1]) == (130, LAST)
    assert "Traceback" not in said.err
    after = list_files(city)
    if verb == "audit":
        # The audit stands in the workspace before its files are written.
        after |= {path: before[path] for path in before if path.suffix == ".gpkg"}
    assert after.keys() == before.keys()
    assert [path.name for path in before if after[path] != before[path]] == []


def test_an_interrupted_run_goes_on(city, monkeypatch, interrupt):
    """The same command again finishes what was interrupted, also where there was nothing yet."""
    monkeypatch.chdir(city)
    shutil.rmtree("out")
    interrupt("survey.geopackage._fill", 4)
    assert run_survey(*LINES["run"]).code == 130
    assert not (city / "out").exists()
    assert run_survey(*LINES["run"]).code == 0
    assert (city / "out" / "town.gpkg").exists()
