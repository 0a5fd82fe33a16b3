"""The command line as tests use it, and a small town to use it on."""

import contextlib
import hashlib
import io
import json
import re
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from itertools import count, product
from pathlib import Path
from unittest import mock

import pytest

from osmxml import place, write_osm
from survey.cli import main

DATA = Path(__file__).parents[1] / "data"

# Streets of a grid of five by five, 250 m apart; the first name is beyond GBK.
ROWS = ("𠮷祥巷", "安居里", "中山路", "平安巷", "幸福街")
COLUMNS = ("东门弄", "西门弄", "南门弄", "北门弄", "后街")
STEP_M = 250


@dataclass(frozen=True)
class Said:
    """What the command line answered: its exit code, stdout and stderr."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        """What stands on stdout, read by a strict parser."""
        return json.loads(self.out, parse_constant=pytest.fail)


def run_survey(*arguments, encoding="utf-8"):
    """Run the command line within this process, on a console of the encoding given."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n") for _ in "12")
    with (
        mock.patch.object(sys, "argv", ["survey", *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as end,
    ):
        main()
    for stream in (out, err):
        stream.flush()
    said = (stream.buffer.getvalue().decode(encoding) for stream in (out, err))
    return Said(end.value.code, *said)


def write_town(path, *, streets=True, points=True, toilets=True, bounds=True):
    """Write a town: ten streets, four compounds and, if wanted, three points and two toilets."""
    numbers = count(1)
    nodes, ways = {}, {}

    def add(x, y, **tags):
        number = next(numbers)
        nodes[number] = (*place(x * STEP_M, y * STEP_M), tags)
        return number

    def add_square(x, y, **tags):
        corners = [add(x + dx, y + dy) for dx, dy in ((0, 0), (0.5, 0), (0.5, 0.5), (0, 0.5))]
        ways[next(numbers)] = ([*corners, corners[0]], tags)

    cross = {(x, y): add(x, y) for x, y in product(range(5), range(5))}
    for line in range(5) if streets else ():
        kind = "tertiary" if ROWS[line].endswith("路") else "residential"
        row = {"highway": kind, "name": ROWS[line]}
        ways[next(numbers)] = ([cross[x, line] for x in range(5)], row)
        column = {"highway": "living_street", "name": COLUMNS[line]}
        ways[next(numbers)] = ([cross[line, y] for y in range(5)], column)
    for x, y, name in (
        (0.2, 0.2, "一村"),
        (2.2, 0.2, "二村"),
        (0.2, 3.2, "三村"),
        (3.2, 3.2, "四村"),
    ):
        add_square(x, y, landuse="residential", name=name)
    if points:
        add_square(1.2, 1.2, amenity="school", name="实验小学")
        add(3.5, 1.1, amenity="hospital", name="人民医院 한")
        add(1.5, 3.9, amenity="marketplace", name="菜市场")
    if toilets:
        add(0.1, 0.5, amenity="toilets", access="yes")
        add(2.1, 2.05, amenity="toilets", fee="no")
    box = (*place(-STEP_M, -STEP_M), *place(5 * STEP_M, 5 * STEP_M)) if bounds else None
    return write_osm(path, nodes=nodes, ways=ways, bounds=box)


def run_process(*arguments, **options):
    """Run the command line as a process of its own; gives a CompletedProcess of bytes."""
    command = [sys.executable, "-c", "from survey.cli import main; main()", *map(str, arguments)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "timeout": 120} | options
    return subprocess.run(command, check=False, **options)


def edit(workspace, *statements):
    """Change a workspace behind the program's back, as someone who tampers would."""
    with contextlib.closing(sqlite3.connect(workspace)) as database:
        for name in ("ST_IsEmpty", "ST_MinX", "ST_MaxX", "ST_MinY", "ST_MaxY"):
            database.create_function(name, 1, lambda _shape: 0)  # for GDAL's triggers
        for statement in statements:
            database.execute(statement)
        database.commit()


def write_config(path, text='extract = "town.osm"', more=""):
    """Write a config with the lines of [source], and other lines after them."""
    path.write_text(f"[source]\n{text}\n{more}\n", encoding="utf-8")
    return path


TALK = re.compile(r"\[ *\d+\.\d s\] .*|survey: reading .*|survey: the design is .*|.* serves, .*")


def see_refusal(hint, *arguments):
    """Run what must be refused: exit code 2, nothing on stdout, one clear line on stderr."""
    said = run_survey(*arguments)
    assert (said.code, said.out) == (2, ""), said
    lines = [line for line in said.err.splitlines() if not TALK.fullmatch(line)]
    assert len(lines) == 1, said.err
    assert lines[0].startswith("survey: ")
    assert hint in lines[0]
    assert "Traceback" not in said.err
    return lines[0]


def list_files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def digest_files(folder):
    """Hash the files of a folder by name."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.is_file()
    }


def town_config(folder, *, extract, more=""):
    """Write the config of a town whose extract stands elsewhere."""
    return write_config(folder / "town.toml", f"extract = '{extract}'", more)
