"""What libosmium does: it opens, converts and judges files, and puts outlines together."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import osmium
import shapely
from osmium.filter import EntityFilter

from survey.errors import InputError, OutputError
from survey.sources.varints import Ints

_FAULTS = (RuntimeError, ValueError, osmium.InvalidLocationError)  # what reading raises

_CONVERT = """
import os, sys, osmium
try:
    reader = osmium.io.Reader(sys.argv[1])
except (RuntimeError, ValueError) as fault:
    sys.exit(str(fault))
with osmium.SimpleWriter(sys.argv[2]) as writer:
    try:
        osmium.apply(reader, writer)
    except (RuntimeError, ValueError, osmium.InvalidLocationError) as fault:
        print(fault, file=sys.stderr, flush=True)
        os._exit(1)
"""


def check_file(path: str | Path) -> Path:
    """Check that a file is there.

    Raises
    ------
    InputError
        If it is missing.
    """
    try:
        found = Path(path).is_file()
    except OSError as fault:  # such as a folder that may not be entered
        raise InputError(f"{path}: {fault.strerror}; check its name and its folder") from None
    if not found:
        raise InputError(f"{path}: no such file; give an .osm, .osm.gz, .osm.bz2 or .osm.pbf")
    return Path(path)


def read_head(path: str | Path) -> tuple[tuple[float, float, float, float] | None, str]:
    """Read the box (west, south, east, north) and the date in a file's header.

    Raises
    ------
    InputError
        If the file is missing or is not an OpenStreetMap file.
    """
    check_file(path)
    try:
        header = osmium.FileProcessor(str(path)).header
    except _FAULTS as fault:
        raise refuse_file(path, fault) from None
    date = str(header.get("osmosis_replication_timestamp", ""))
    box = header.box()
    if not box.valid():
        return None, date
    low, high = box.bottom_left, box.top_right
    return (low.lon, low.lat, high.lon, high.lat), date


def convert_file(path: Path, folder: Path) -> Path:
    """Convert a file of any kind into an .osm.pbf in its plainest form, and answer its path.

    libosmium works in a process of its own, because it ends its process where the disk is full,
    and at some broken files.

    Raises
    ------
    InputError
        If it is cut short or is not an OpenStreetMap file.
    OutputError
        If there is no room for the converted file.
    """
    target = folder / "plain.osh.pbf"  # a history: only there it says which objects are deleted
    command = [sys.executable, "-I", "-c", _CONVERT, str(path), str(target)]
    try:
        done = subprocess.run(  # noqa: S603 our own lines, in this interpreter
            command, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError:  # this user may not start an interpreter: then here, without that shelter
        return _convert_here(path, target)
    told = done.stderr.strip().splitlines()
    if done.returncode == -signal.SIGABRT:
        raise OutputError(
            f"{target}: a converted copy of {path} cannot be written"
            f" ({told[-1] if told else 'no reason given'}); make room on that disk"
        )
    if done.returncode:
        fault = told[-1] if told else f"reading it ended by signal {-done.returncode}"
        raise refuse_file(path, ValueError(fault)) from None
    return target


def _convert_here(path: Path, target: Path) -> Path:
    try:
        with osmium.SimpleWriter(str(target)) as writer:
            osmium.apply(osmium.io.Reader(str(path)), writer)
    except _FAULTS as fault:
        raise refuse_file(path, fault) from None
    return target


def refuse_file(path: str | Path, fault: Exception) -> InputError:
    """Make the error that says that a file cannot be read."""
    return InputError(
        f"{path}: not an OpenStreetMap file, or cut short ({str(fault).rstrip('.')});"
        " fetch it again, its name should end in .osm, .osm.gz, .osm.bz2 or .osm.pbf"
    )


def assemble_outlines(
    places: npt.NDArray[np.int32], way_count: Ints, members: Ints, member_count: Ints
) -> npt.NDArray[np.object_]:
    """Put the lines of outlines together to polygons with holes.

    Parameters
    ----------
    places
        Longitudes and latitudes of the vertices of all lines, in 1e-7 degrees, shape (n, 2).
    way_count
        How many vertices each line has.
    members, member_count
        The lines of all outlines, as rows of `way_count`, and how many each outline has.

    Returns
    -------
    numpy.ndarray
        A MultiPolygon in WGS-84 degrees for each outline, `None` for those that are broken.
    """
    areas = np.full(len(member_count), None, dtype=object)
    if not len(areas):
        return areas
    text = _write_opl(places, way_count, members, member_count)
    assembler: Any = osmium.FileProcessor(osmium.io.FileBuffer(text, "opl")).with_areas()
    ids, shapes, factory = [], [], osmium.geom.WKBFactory()
    for area in assembler.with_filter(EntityFilter(osmium.osm.AREA)):
        if area.num_rings()[0]:
            ids.append(area.orig_id())
            shapes.append(factory.create_multipolygon(area))
    areas[np.array(ids, dtype=np.int64) - 1] = shapely.from_wkb(shapes)
    return areas


def _write_opl(
    places: npt.NDArray[np.int32], way_count: Ints, members: Ints, member_count: Ints
) -> bytes:
    """Write nodes, ways and relations as text: see https://osmcode.org/opl-file-format/."""
    code = places[:, 0].astype(np.int64) * (1 << 32) + places[:, 1]
    _, first, node = np.unique(code, return_index=True, return_inverse=True)
    spots = np.column_stack([np.arange(1, len(first) + 1), places[first]])
    lines = "n%d x%de-7 y%de-7\n" * len(spots) % tuple(spots.ravel().tolist())
    lines += _write_lists("w%d N", "n%d", node + 1, way_count)
    lines += _write_lists("r%d Ttype=multipolygon M", "w%d@", members + 1, member_count)
    return lines.encode()


def _write_lists(head: str, item: str, numbers: Ints, counts: Ints) -> str:
    """Write a line for each run of numbers: its own number, and those of the run."""
    form = {count: head + ",".join([item] * count) + "\n" for count in set(counts.tolist())}
    starts = np.cumsum(counts) - counts
    flat = np.insert(numbers, starts, np.arange(1, len(counts) + 1))
    return "".join([form[count] for count in counts.tolist()]) % tuple(flat.tolist())
