"""Writing so that a failed or killed program leaves what stood there."""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from survey.errors import OutputError

_PREFIX = ".survey-"
_LOCK = "survey.lock"


@contextmanager
def stage_files(home: Path) -> Iterator[Path]:
    """Give a hidden folder in `home`, where files are written before `publish_files` moves them.

    The folder goes away at the end. Those that killed programs left in `home` are swept away
    first: a program that lives holds the lock in its own.

    Raises
    ------
    OutputError
        If `home` cannot be made or written.
    """
    with ExitStack() as undo:
        with guard_writing(home):
            if not home.exists():
                undo.callback(_remove_empty, home)
            home.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=home))
            undo.callback(shutil.rmtree, folder, ignore_errors=True)
            undo.callback(_take_lock(folder).close)
            for lock in home.glob(f"{_PREFIX}*/{_LOCK}"):
                _sweep_dead(lock.parent)
        try:
            yield folder
        except OutputError as fault:
            # People know the file by where it was to go.
            raise OutputError(str(fault).replace(str(folder), str(home))) from fault


def publish_files(folder: Path, home: Path, names: Iterable[str]) -> list[Path]:
    """Move finished files from `folder` to `home`, over those of the same names.

    Raises
    ------
    OutputError
        If one cannot be moved, such as onto a file that another program holds open on Windows.
    """
    paths = [home / name for name in names]
    for path in paths:
        with guard_writing(path):
            (folder / path.name).replace(path)
    return paths


def refuse_existing(
    paths: Iterable[Path], *, replace: bool, advice: str = "pass replace=True (--replace)"
) -> None:
    """Refuse to write over files that exist, unless `replace` is true.

    Raises
    ------
    OutputError
        If one exists; the message lists them and ends in `advice`.
    """
    standing = []
    for path in paths:
        with guard_writing(path):
            standing += [str(path)] if path.exists() else []
    if standing and not replace:
        more = f" (and {len(standing) - 3} more)" if len(standing) > 3 else ""
        raise OutputError(f"{', '.join(standing[:3])}{more} exists; {advice} to overwrite it")


@contextmanager
def guard_writing(file: Path) -> Iterator[None]:
    """Turn what the disk, GDAL or SQLite say while `file` is written into one line.

    Raises
    ------
    OutputError
        If writing fails.
    """
    try:
        yield
    except (OSError, RuntimeError, sqlite3.Error) as fault:
        if isinstance(fault, OutputError):
            raise
        reason = getattr(fault, "strerror", None) or str(fault)
        raise OutputError(
            f"{file} cannot be written: {reason}; check the folder, its rights and free space."
            " What stood there is unharmed"
        ) from fault


def _take_lock(folder: Path) -> sqlite3.Connection:
    """Lock a folder until this program ends, by SQLite because it does so on every system."""
    lock = sqlite3.connect(folder / _LOCK, timeout=0, isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    return lock


def _sweep_dead(folder: Path) -> None:
    try:
        with closing(_take_lock(folder)):
            pass
    except sqlite3.Error:
        return  # the program that made it lives
    shutil.rmtree(folder, ignore_errors=True)


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):  # it holds what was made
        folder.rmdir()
