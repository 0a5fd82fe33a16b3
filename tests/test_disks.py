import contextlib
import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest

from commands import list_files, run_survey, see_refusal, write_config, write_town

resource = pytest.importorskip("resource", reason="Windows does not limit the size of files")


@contextlib.contextmanager
def full_disk(size):
    """Let no file grow beyond so many bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("verb", ["run", "audit", "map", "export"])
def test_a_full_disk(city, verb, share):
    """Where the disk is full, one line says so, and everything is as it was."""
    workspace = city / "out" / "town.gpkg"
    largest = {"map": city / "out" / "town.html", "export": city / "out" / "covered.csv"}
    arguments = {
        "run": ["run", city / "town.toml", "--out", city / "out"],
        "audit": ["audit", workspace, "--rule", "crow-500"],
        "map": ["map", workspace, "-o", city / "out" / "town.html", "--replace"],
        "export": ["export", workspace, city / "out", "--replace"],
    }[verb]
    before = list_files(city)
    with full_disk(int(largest.get(verb, workspace).stat().st_size * share)):
        see_refusal("cannot be written", *arguments)
    assert list_files(city) == before


@contextlib.contextmanager
def rights(folder, mode):
    """Give a folder these rights, and be somebody whom they bind: root is nobody for a while."""
    folder.chmod(mode)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        folder.chmod(0o755)


@pytest.fixture
def open_folder(town_run):
    """Give a folder that everybody may read, unlike pytest's own, with a town in it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copy(town_run.workspace, folder)
        write_town(folder / "town.osm")
        write_config(folder / "town.toml")
        yield folder


def test_a_folder_that_may_not_be_written(open_folder):
    """Where nothing may be written, one line says so; what only reads goes on."""
    folder, workspace = open_folder, open_folder / "town.gpkg"
    before = list_files(folder)
    with rights(folder, 0o555):
        for arguments in (
            ["run", folder / "town.toml", "--out", folder / "out"],
            ["audit", workspace],
            ["draw", workspace, "--seed", "x"],
            ["map", workspace, "-o", folder / "map.html"],
            ["export", workspace, folder / "csv"],
            ["fetch", "--extract", folder / "town.osm", "-o", folder / "new.gpkg"],
        ):
            see_refusal("cannot be written: Permission denied", *arguments)
        assert run_survey("verify", workspace).code == 0
        assert run_survey("info", workspace).code == 0
    assert list_files(folder) == before


def test_files_that_may_not_be_read(open_folder):
    """A workspace, config, extract or register in a closed folder is named."""
    closed = open_folder / "closed"
    closed.mkdir()
    for name in ("town.osm", "town.gpkg", "town.toml"):
        shutil.copy(open_folder / name, closed)
    outside = open_folder / "other.toml"
    workspace = open_folder / "town.gpkg"
    with rights(closed, 0):
        see_refusal("Permission denied", "info", closed / "town.gpkg")
        see_refusal("Permission denied", "run", closed / "town.toml")
        see_refusal("Permission denied", "export", workspace, closed / "csv")
        see_refusal("town.osm", "fetch", "--extract", closed / "town.osm", "-o", "x.gpkg")
        see_refusal("closed/a.csv", "frame", workspace, "--points", closed / "a.csv")
    own = open_folder / "own.csv"
    own.write_text("name,kind,lon,lat\nA,school,118.78,32.04\n")
    own.chmod(0)
    with rights(open_folder, 0o755):
        see_refusal(
            "own.csv cannot be read: Permission denied", "frame", workspace, "--points", own
        )
    for key in ("polygon", "data_edge"):
        write_config(outside, f"extract = 'town.osm'\n{key} = 'closed/p.geojson'")
        with rights(closed, 0):
            see_refusal("closed/p.geojson", "run", outside, "--out", open_folder / "out")


@pytest.mark.parametrize("parent", ["file", "proc"])
def test_a_path_that_cannot_be_a_folder(city, parent):
    """A folder that cannot be made, below a file or where the system allows none, is named."""
    home = {"file": city / "town.osm" / "out", "proc": Path("/proc/survey")}[parent]
    workspace = city / "out" / "town.gpkg"
    before = list_files(city)
    for arguments in (
        ["run", city / "town.toml", "--out", home],
        ["map", workspace, "-o", home / "map.html"],
        ["export", workspace, home],
        ["fetch", "--extract", city / "town.osm", "-o", home / "x.gpkg"],
    ):
        line = see_refusal("cannot be written", *arguments)
        assert str(home) in line
    assert list_files(city) == before


def test_a_name_that_is_too_long(city):
    """A name that no disk takes is one line."""
    long = city / ("x" * 300)
    see_refusal("File name too long", "run", city / "town.toml", "--out", long)
    see_refusal("File name too long", "info", long)
    see_refusal("File name too long", "map", city / "out" / "town.gpkg", "-o", long)


def test_an_output_that_is_a_folder(city):
    """A folder in the place of a file is not replaced."""
    workspace = city / "out" / "town.gpkg"
    see_refusal("exists", "map", workspace, "-o", city / "out", "--replace")
    see_refusal("exists", "fetch", "--extract", city / "town.osm", "-o", city / "out")
