"""OpenStreetMap's binary format, decoded by numpy into flat arrays.

A decoder of our own, because the libraries hand out one Python object per node, way and tag: a
city of half a million nodes and 100 000 ways takes them thirty times as long as libosmium's own
decoding of the file, in C++, and this decoder twice. What it does not understand it refuses
(`UnusualError`), so that libosmium can be asked to convert the file. The format:
https://wiki.openstreetmap.org/wiki/PBF_Format.
"""

import struct
import zlib
from collections import deque
from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from survey.sources.pbf_blocks import Group, decode_blocks
from survey.sources.varints import UnusualError, split_message

FAULTS = (ValueError, IndexError, KeyError, OverflowError, zlib.error, struct.error)
"""What decoding a broken file raises; `UnusualError` is one of them."""

_KNOWN = {b"OsmSchema-V0.6", b"DenseNodes", b"HistoricalInformation"}
_MAX_HEADER, _MAX_BLOB = 64 * 1024, 32 * 1024 * 1024  # the format's own limits, in bytes
_BATCH = 4_000_000  # bytes, unpacked, that are decoded at once
_AHEAD = 3  # batches that are decoded ahead of what is done with them


def read_groups(path: Path, keys: Collection[str], *, dated: bool) -> Iterator[Group]:
    """Decode a file, group by group in its order.

    Parameters
    ----------
    path
        An .osm.pbf.
    keys
        Objects with one of these keys are wanted with their tags.
    dated
        Whether `Group.newest` is wanted.

    Raises
    ------
    UnusualError
        If the file is written in a way that only a full reader understands.
    ValueError, IndexError, KeyError, OverflowError, zlib.error, struct.error
        If it is broken (`FAULTS`).
    OSError
        If it cannot be read.
    """
    wanted = frozenset(key.encode() for key in keys)
    with path.open("rb") as file, ThreadPoolExecutor(2) as pool:
        blobs = _blobs(file)
        kind, head = next(blobs, ("", b""))
        if kind != "OSMHeader":
            raise ValueError("the file does not begin as one of OpenStreetMap")
        history = _read_header(_inflate(head))

        def decode(blobs: list[bytes]) -> list[Group]:
            blocks = [_inflate(blob) for blob in blobs]
            return list(decode_blocks(blocks, wanted, dated=dated, history=history))

        waiting: deque[Future[list[Group]]] = deque()
        for batch in _join_batches(blobs):
            waiting.append(pool.submit(decode, batch))
            if len(waiting) > _AHEAD:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def _join_batches(blobs: Iterator[tuple[str, bytes]]) -> Iterator[list[bytes]]:
    """Join parts that follow each other, so that there is much to do at once.

    Threads hand over Python's lock at each step: work on short arrays takes them longer than one.
    """
    batch: list[bytes] = []
    size = 0
    for kind, blob in blobs:
        if kind != "OSMData":
            raise UnusualError(f"a part of the kind {kind!r}")
        told, _ = split_message(blob, 0, len(blob)).get(0x10, ([len(blob)], []))  # unpacked
        batch.append(blob)
        size += told[0]
        if size > _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _blobs(file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    while size := file.read(4):
        (length,) = struct.unpack(">I", size)
        if length > _MAX_HEADER:
            raise ValueError("the header of a part is too long")
        header = file.read(length)
        fields = split_message(header, 0, length)
        ((start,), (stop,)), ((length,), _) = fields[0x0A], fields[0x18]
        if length > _MAX_BLOB:
            raise ValueError("a part is too long")
        blob = file.read(length)
        if len(blob) < length:
            raise ValueError("the file is cut short")
        yield header[start:stop].decode(), blob


def _inflate(blob: bytes) -> bytes:
    fields = split_message(blob, 0, len(blob))
    if 0x0A in fields:
        ((start,), (stop,)) = fields[0x0A]
        return blob[start:stop]
    if 0x1A not in fields:
        raise UnusualError("a part that is packed in another way than by zlib")
    ((size,), _), ((start,), (stop,)) = fields[0x10], fields[0x1A]
    if size > _MAX_BLOB:
        raise ValueError("a part is too long")
    inflater = zlib.decompressobj()
    data = inflater.decompress(blob[start:stop], size + 1)
    if len(data) != size or not inflater.eof:
        raise ValueError("a part is not as long as it says")
    return data


def _read_header(data: bytes) -> bool:
    """Check that nothing strange is needed to read the file; tell whether it has history."""
    starts, stops = split_message(data, 0, len(data)).get(0x22, ([], []))
    needed = {data[start:stop] for start, stop in zip(starts, stops, strict=True)}
    if needed - _KNOWN:
        raise UnusualError(f"the file needs {sorted(needed - _KNOWN)}")
    return b"HistoricalInformation" in needed
