"""Fixtures that several test files share: finished runs of Monaco and of a small town."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from commands import DATA, Said, run_survey, write_town


@dataclass(frozen=True)
class Run:
    """A finished `survey run`."""

    folder: Path
    config: Path
    workspace: Path
    map: Path
    said: Said


def finish_run(config, folder):
    said = run_survey("run", config, "--out", folder)
    assert said.code == 0, said.err
    return Run(folder, config, folder / f"{config.stem}.gpkg", folder / f"{config.stem}.html", said)


@pytest.fixture(scope="session")
def monaco_run(tmp_path_factory):
    """Run `survey run data/monaco.toml` once; tests read its files and change none of them."""
    return finish_run(DATA / "monaco.toml", tmp_path_factory.mktemp("monaco"))


@pytest.fixture(scope="session")
def town_run(tmp_path_factory):
    """Run a small town once; tests read its files and change none of them."""
    folder = tmp_path_factory.mktemp("town")
    write_town(folder / "town.osm")
    config = folder / "town.toml"
    config.write_text(
        'name = "小城 𠮷"\n[source]\nextract = "town.osm"\n[round]\nid = "r1"\nseed = "dice 4 2"\n',
        encoding="utf-8",
    )
    return finish_run(config, folder / "out")


@pytest.fixture
def town(town_run, tmp_path):
    """Give a copy of the town's workspace that a test may change."""
    return Path(shutil.copy(town_run.workspace, tmp_path / "town.gpkg"))


@pytest.fixture
def city(town_run, tmp_path):
    """Give the folder of a finished city, its config and extract in it, its results in out."""
    shutil.copytree(town_run.folder, tmp_path / "out")
    shutil.copy(town_run.config, tmp_path)
    shutil.copy(town_run.config.with_name("town.osm"), tmp_path)
    return tmp_path


@pytest.fixture
def write(tmp_path):
    """Write text to a file and return its path."""

    def write(text, *, name="file.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
        return path

    return write
