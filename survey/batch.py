"""Many cities: each in a process of its own, the largest first, and again only what changed."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from survey.config import CityConfig, read_batch, read_config
from survey.errors import OutputError, SurveyError
from survey.outputs.exports import write_files
from survey.staging import stage_files
from survey.workspace import Report

RECORD = ".survey-batch.json"
"""In a city's folder: the hash of its inputs, the files made of them, and its row of the table."""

_SCHEMA = 1
_PROGRAM = "from survey.cli import main; main()"
_LOOK_S = 0.05  # between two looks at the processes
_PATIENCE_S = 10  # with a process that was asked to stop, and tidies up
_SECONDS = re.compile(r"^\[ *\d+\.\d s\] ")
_SHAPEFILE = (".shp", ".shx", ".dbf", ".prj", ".cpg")
_FACTS = ("points", "alleys", "compounds")

_Row = dict[str, Any]


def run_batch(
    path: str | Path,
    *,
    out: str | Path | None = None,
    workers: int | None = None,
    again: bool = False,
    report: Report = print,
) -> pd.DataFrame:
    """Run many cities, each by `survey run` in a process of its own, the largest extract first.

    A city that fails, or whose process is killed, stops no other. A city whose inputs are those
    of its last run, and whose files are there, is skipped: so a batch that was stopped goes on
    where it was when it is run again. Live OpenStreetMap is no such input: a city that is fetched
    from there is fetched again by `again`, or when its config changes.

    Parameters
    ----------
    path
        The config of the batch; `survey.config.read_batch` says what it holds.
    out
        The folder of the cities' folders, instead of the config's.
    workers
        How many cities are worked on at a time, instead of the config's.
    again
        Skip no city.
    report
        Told what goes on, one line at a time.

    Returns
    -------
    pandas.DataFrame
        One row per city in the config's order: city (the stem), result (done, skipped, failed),
        code (0; 1: a share is below the city's min_share; 2: bad data; 3: the network, a bug, or
        a process that died), seconds (0 if skipped), points, alleys, compounds (how many), the
        share by each rule in a column of the rule's id, message. What a city has not is NaN.

    Raises
    ------
    InputError
        If the config of the batch cannot be read.
    ConfigError
        If it is wrong.
    """
    batch = read_batch(path)
    home = batch.out if out is None else Path(out)
    cities = [_look_up(file, home / file.stem) for file in batch.cities]
    rows = _work(
        sorted(cities, key=lambda city: (-city.size, city.stem)),
        workers or batch.workers or os.cpu_count() or 1,
        again=again,
        report=report,
    )
    return _tabulate([rows[city.stem] for city in cities])


@dataclass(frozen=True)
class _City:
    """A city of a batch; one whose config is wrong has a fault instead of it."""

    file: Path
    folder: Path
    config: CityConfig | None = None
    fault: str = ""

    @property
    def stem(self) -> str:
        return self.file.stem

    @property
    def size(self) -> int:
        """The bytes of what it is read from: how long it takes goes with them."""
        source = self.config and (self.config.extract or self.config.workspace)
        return source.stat().st_size if source and source.is_file() else 0


@dataclass
class _Job:
    """A city that is being worked on."""

    city: _City
    digest: str
    process: "subprocess.Popen[bytes]"
    log: Path
    start: float
    heard: int = 0
    lines: list[str] = field(default_factory=list)


def _look_up(file: Path, folder: Path) -> _City:
    try:
        return _City(file, folder, read_config(file))
    except SurveyError as fault:
        return _City(file, folder, fault=" ".join(str(fault).split()))


def _work(cities: Sequence[_City], workers: int, *, again: bool, report: Report) -> dict[str, _Row]:
    """Work on the cities in this order; give the row of each by its stem."""
    rows: dict[str, _Row] = {}
    waiting, running = list(cities), list[_Job]()

    def close(row: _Row) -> None:
        rows[row["city"]] = row
        said = f": {row['message']}" if row["message"] else ""
        report(f"{row['city']}: {row['result']}, {len(rows)} of {len(cities)}{said}")

    with tempfile.TemporaryDirectory() as logs:
        try:
            while waiting or running:
                while waiting and len(running) < workers:
                    city = waiting.pop(0)
                    digest = _hash_inputs(city)
                    row = _find_row(city, digest, again=again)
                    if row is None:
                        running.append(_start(city, digest, Path(logs)))
                    else:
                        close(row)
                over = [job for job in running if job.process.poll() is not None]
                for job in running:
                    _listen(job, report)
                running = [job for job in running if job not in over]
                for job in over:
                    close(_finish(job))
                time.sleep(_LOOK_S)
        except KeyboardInterrupt:
            kept = sum(row["result"] != "failed" for row in rows.values())
            report(f"stopping; {kept} of {len(cities)} cities are done and stay so")
            raise
        finally:
            _stop(running)
    return rows


def _hash_inputs(city: _City) -> str:
    """Hash what a city is made from; nothing, if a part of it cannot be read."""
    if city.config is None:
        return ""
    files = [city.file]
    for file in city.config.inputs:
        parts = [file.with_suffix(suffix) for suffix in _SHAPEFILE]
        files += [part for part in parts if part.exists()] if file.suffix == ".shp" else [file]
    digest = hashlib.sha256(version("survey").encode())
    try:
        for file in files:
            with file.open("rb") as content:
                digest.update(hashlib.file_digest(content, "sha256").digest())
    except OSError:
        return ""
    return digest.hexdigest()


def _find_row(city: _City, digest: str, *, again: bool) -> _Row | None:
    """Find the row of a city that need not be worked on."""
    if city.config is None:
        return _make_row(city, "failed", 2, message=city.fault)
    try:
        record = json.loads((city.folder / RECORD).read_text(encoding="utf-8"))
        fits = record["schema"] == _SCHEMA and record["inputs"] == digest != ""
        if again or not fits or not all((city.folder / file).exists() for file in record["files"]):
            return None
        row: _Row = record["row"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return row | {"result": "skipped", "seconds": 0.0}


def _start(city: _City, digest: str, logs: Path) -> _Job:
    with suppress(OSError):  # what stands in the way will stand in the way of the city too
        (city.folder / RECORD).unlink(missing_ok=True)
    log = logs / city.stem
    log.mkdir()
    run = ["run", str(city.file), "--out", str(city.folder), "--json"]
    with (log / "out").open("wb") as out, (log / "err").open("wb") as err:
        process = subprocess.Popen(  # noqa: S603 - this program itself
            [sys.executable, "-P", "-c", _PROGRAM, *run],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=os.environ | {"PYTHONIOENCODING": "utf-8"},
            start_new_session=True,  # Ctrl-C is for this process, which asks the others to stop
        )
    return _Job(city, digest, process, log, time.perf_counter())


def _listen(job: _Job, report: Report) -> None:
    """Pass on the lines that a city's process said since the last time."""
    with (job.log / "err").open("rb") as err:
        err.seek(job.heard)
        *lines, _ = err.read().split(b"\n")
    job.heard += sum(len(line) + 1 for line in lines)
    for line in lines:
        text = _SECONDS.sub("", line.decode("utf-8", "replace").rstrip())
        job.lines.append(text)
        report(f"{job.city.stem}: {text}")


def _finish(job: _Job) -> _Row:
    """Judge a process that ended, and note that its city is done."""
    code = job.process.returncode
    seconds = time.perf_counter() - job.start
    content = {}
    with suppress(ValueError):
        content = json.loads((job.log / "out").read_text(encoding="utf-8"))
    if code not in {0, 1} or not content:
        _sweep(job.city.folder)
        message = _find_reason(code, [line for line in job.lines if line])
        return _make_row(job.city, "failed", 2 if code == 2 else 3, seconds, message)
    asked = [] if content["min_share"] is None else content["audit"]
    unmet = [row["rule_id"] for row in asked if not row["met"]]
    row = _make_row(job.city, "done", code, seconds, f"not met: {', '.join(unmet)}" * bool(unmet))
    row |= {name: content["round"]["summary"][name] for name in _FACTS}
    row["shares"] = {rule["rule_id"]: rule["share"] for rule in content["audit"]}
    files = [Path(file).name for file in content["files"]]
    record = {"schema": _SCHEMA, "inputs": job.digest, "files": files, "row": row}
    try:
        write_files({job.city.folder / RECORD: json.dumps(record).encode()}, replace=True)
    except OutputError as fault:
        return _make_row(job.city, "failed", 2, seconds, str(fault))
    return row


def _find_reason(code: int, lines: Sequence[str]) -> str:
    last = lines[-1] if lines else "nothing"
    if code not in {2, 3}:
        how = f"signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"exit code {code}"
        return f"its process ended by {how}; the last that it said: {last}"
    if "this is a bug" in last and len(lines) > 1:
        last = lines[-2]  # the last line of the traceback
    return last.removeprefix("survey: ")


def _make_row(city: _City, result: str, code: int, seconds: float = 0.0, message: str = "") -> _Row:
    facts = dict.fromkeys(_FACTS)
    row = {"city": city.stem, "result": result, "code": code, "seconds": round(seconds, 1)}
    return row | facts | {"shares": {}, "message": message}


def _stop(jobs: Sequence[_Job]) -> None:
    """Ask processes to stop as Ctrl-C does, and end those that do not."""
    for job in jobs:
        if os.name == "nt":
            job.process.terminate()
        else:
            job.process.send_signal(signal.SIGINT)
    for job in jobs:
        try:
            job.process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            job.process.kill()
            job.process.wait()
        _sweep(job.city.folder)


def _sweep(folder: Path) -> None:
    """Remove what a process left that was killed."""
    if folder.is_dir():
        with suppress(OutputError), stage_files(folder):
            pass
        with suppress(OSError):  # it holds what an earlier run made
            folder.rmdir()


def _tabulate(rows: Sequence[_Row]) -> pd.DataFrame:
    rules = list(dict.fromkeys(rule for row in rows for rule in row["shares"]))
    cells = {name: [row[name] for row in rows] for name in ("city", "result", "code", "seconds")}
    numbers = {name: [row[name] for row in rows] for name in _FACTS}
    shares = {rule: [row["shares"].get(rule) for row in rows] for rule in rules}
    table = pd.DataFrame(cells | numbers | shares)
    table = table.astype(dict.fromkeys((*numbers, *shares), "float64"))
    return table.assign(message=pd.Series([row["message"] for row in rows], dtype="str"))
