"""Blocks of OpenStreetMap's binary format, as flat arrays.

Field numbers and units: https://wiki.openstreetmap.org/wiki/PBF_Format.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from survey.sources.varints import (
    Bytes,
    Ints,
    Messages,
    UnusualError,
    Words,
    count_up,
    read_messages,
    split_message,
    split_strings,
    sum_up,
    unzigzag,
)

Flags = npt.NDArray[np.bool_]

_MAX_X, _MAX_Y = 1_800_000_000, 900_000_000  # 180 and 90 degrees
_WAY = 1  # the kind of a relation's member


@dataclass(frozen=True, eq=False)
class Objects:
    """Nodes, ways or relations, what belongs to each behind each other.

    Attributes
    ----------
    ids
        Their ids.
    tag_count, keys, values
        How many tags each has, and the tags of all: numbers in a table of strings. Objects
        without a key that was asked for have none.
    ref_count, refs
        How many nodes each way has, or ways each relation, and the ids of all.
    """

    ids: Ints
    tag_count: Ints
    keys: Ints
    values: Ints
    ref_count: Ints
    refs: Ints

    def take(self, rows: Ints) -> "Objects":
        """Copy some of them, in the order of `rows`."""
        refs = count_up((np.cumsum(self.ref_count) - self.ref_count)[rows], self.ref_count[rows])
        taken = self.take_tags(rows)
        return replace(taken, ref_count=self.ref_count[rows], refs=self.refs[refs])

    def take_tags(self, rows: Ints) -> "Objects":
        """Copy some of them, in the order of `rows`, without what they refer to."""
        tags = count_up((np.cumsum(self.tag_count) - self.tag_count)[rows], self.tag_count[rows])
        return Objects(
            self.ids[rows],
            self.tag_count[rows],
            self.keys[tags],
            self.values[tags],
            np.zeros_like(self.ref_count[rows]),
            self.refs[:0],
        )


@dataclass(frozen=True, eq=False)
class Places:
    """Where nodes are: ids, longitudes and latitudes in units of 1e-7 degrees."""

    ids: Ints
    x: npt.NDArray[np.int32]
    y: npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Group:
    """Some objects of one kind that follow each other in a file.

    Attributes
    ----------
    kind
        ``node``, ``way`` or ``relation``.
    objects
        Nodes and relations with a key that was asked for; all ways.
    strings
        The strings that their tags are numbers in; equal ones may be there several times.
    places
        For nodes, all that have a place.
    newest
        The latest date of an object with a key that was asked for, in seconds; 0 if unknown.
    """

    kind: str
    objects: Objects
    strings: list[bytes]
    places: Places | None
    newest: int


class _Units(NamedTuple):
    place: int
    date: int
    south: int
    west: int


@dataclass(frozen=True, eq=False)
class _Run:
    """Messages of one kind that follow each other: where they begin and end, their blocks."""

    tag: int
    units: _Units
    at: list[int] = field(default_factory=list)
    stop: list[int] = field(default_factory=list)
    block: list[int] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class _Batch:
    array: Bytes
    strings: list[bytes]  # of all blocks behind each other
    spoken: Flags  # which strings are keys asked for
    first: Ints  # the first string of each block, and behind the last
    dated: bool
    history: bool


def decode_blocks(
    blocks: Sequence[bytes], keys: Collection[bytes], *, dated: bool, history: bool
) -> Iterator[Group]:
    """Decode blocks that follow each other in a file, all of a kind in a row at once.

    At once, because a thread that works on short arrays hinders the others more than it helps.

    Parameters
    ----------
    blocks
        The blocks, unpacked.
    keys
        Objects with one of these keys are wanted with their tags.
    dated
        Whether `Group.newest` is wanted.
    history
        Whether the file may hold objects that are deleted; they are left out.

    Raises
    ------
    UnusualError
        If they are written in a way that only a full reader understands.
    ValueError, IndexError, KeyError, OverflowError
        If they are broken.
    """
    data = b"".join(blocks)
    strings: list[bytes] = []
    runs: list[_Run] = []
    first, stop = [0], 0
    for block in blocks:
        at, stop = stop, stop + len(block)
        fields = split_message(data, at, stop)
        ((start,), (end,)) = fields[0x0A]
        strings += split_strings(data, start, end)
        _add_runs(runs, data, fields, len(first) - 1)
        first.append(len(strings))
    batch = _Batch(
        np.frombuffer(data, dtype=np.uint8),
        strings,
        np.array([string in keys for string in strings], dtype=bool),
        np.array(first),
        dated,
        history,
    )
    read = {0x0A: _nodes, 0x12: _dense, 0x1A: _ways, 0x22: _relations}
    for run in runs:
        yield read[run.tag](batch, run)


def _add_runs(runs: list[_Run], data: bytes, fields: dict[int, Any], block: int) -> None:
    """Add the messages of a block to the last run, where they are like it, or to new ones."""
    units = _Units(*(_number(fields, *each) for each in ((17, 100), (18, 1000), (19, 0), (20, 0))))
    for start, end in zip(*fields.get(0x12, ((), ())), strict=True):
        parts = split_message(data, start, end)
        if len(parts) > 1 or not parts.keys() <= {0x0A, 0x12, 0x1A, 0x22}:
            raise UnusualError("a group of several kinds, or of an unknown one")
        for tag, (at, stop) in parts.items():
            if not runs or (runs[-1].tag, runs[-1].units) != (tag, units):
                runs.append(_Run(tag, units))
            runs[-1].at.extend(at)
            runs[-1].stop.extend(stop)
            runs[-1].block.extend([block] * len(at))


def _number(fields: dict[int, Any], number: int, default: int) -> int:
    if number << 3 not in fields:
        return default
    value: int = fields[number << 3][0][-1]
    return value - (1 << 64) if value >> 63 else value


def _read(batch: _Batch, run: _Run, fields: dict[int, int]) -> Messages:
    return read_messages(batch.array, np.array(run.at), np.array(run.stop), fields)


def _dense(batch: _Batch, run: _Run) -> Group:
    found = _read(batch, run, {1: 2, 5: 2, 8: 2, 9: 2, 10: 2})
    count, differences = found.values(1)
    ids = sum_up(unzigzag(differences), count)
    where = []
    for number in (9, 8):
        several, differences = found.values(number)
        _match(several, count)
        where.append(sum_up(unzigzag(differences), several))
    info = found.open(5, {2: 2, 6: 2})
    seconds, visible = np.zeros(len(ids), dtype=np.int64), np.ones(len(ids), dtype=bool)
    several, values = info.values(6)
    visible[_match(several, count, several > 0)] = values != 0
    if batch.dated:
        several, values = info.values(2)
        seconds[_match(several, count, several > 0)] = sum_up(unzigzag(values), several)
    tags = _split_dense(*found.values(10), count)
    blocks = np.repeat(run.block, count)
    return _gather_nodes(batch, run.units, (ids, *where), (blocks, *tags), (seconds, visible))


def _match(several: Ints, count: Ints, there: Flags | None = None) -> Flags:
    """Check that lists of dense nodes have one value for each; tell which nodes have lists."""
    there = np.ones(len(count), dtype=np.bool_) if there is None else there
    if (several[there] != count[there]).any():
        raise ValueError("nodes without an id or a place")
    return np.repeat(there, count)


def _split_dense(several: Ints, pairs: Words, count: Ints) -> tuple[Ints, Words, Words]:
    """Split the tags of dense nodes (key, value, ..., 0 for each): counts, keys, values."""
    ends = np.flatnonzero(pairs == 0)
    owner = np.searchsorted(np.cumsum(several), ends, side="right")
    there = _match(np.bincount(owner, minlength=len(count)), count, several > 0)
    length = np.diff(ends, prepend=-1) - 1
    if (length % 2).any() or pairs[-1:].any():
        raise ValueError("nodes whose tags do not come in pairs")
    counts = np.zeros(len(there), dtype=np.int64)
    counts[there] = length // 2
    inner = pairs[pairs != 0]
    return counts, inner[::2], inner[1::2]


def _nodes(batch: _Batch, run: _Run) -> Group:
    found = _read(batch, run, {1: 0, 2: 2, 3: 2, 4: 2, 8: 0, 9: 0})
    if not all(found.has(number).all() for number in (1, 8, 9)):
        raise ValueError("nodes without an id or a place")
    what = tuple(unzigzag(found.value(number).view(np.uint64)) for number in (1, 9, 8))
    return _gather_nodes(batch, run.units, what, _tags(run, found), _info(batch, found))


def _gather_nodes(
    batch: _Batch,
    units: _Units,
    what: tuple[Ints, ...],
    tags: tuple[Ints, Ints, Words, Words],
    info: tuple[Ints, Flags],
) -> Group:
    ids, x, y = what
    objects, wanted = _gather(batch, ids, tags)
    seconds, visible = info
    x, y = _to_units(x, units.place, units.west), _to_units(y, units.place, units.south)
    there = (np.abs(x) <= _MAX_X) & (np.abs(y) <= _MAX_Y) & visible
    places = Places(ids[there], x[there].astype(np.int32), y[there].astype(np.int32))
    wanted &= visible
    newest = _newest(units, seconds[wanted])
    return Group("node", objects.take(np.flatnonzero(wanted)), batch.strings, places, newest)


def _to_units(values: Ints, granularity: int, offset: int) -> Ints:
    """Bring places to 1e-7 degrees, towards zero; they are told in 1e-9."""
    if granularity == 100 and offset == 0:
        return values
    nano: Ints = values * granularity + offset
    units: Ints = np.sign(nano) * (np.abs(nano) // 100)
    return units


def _ways(batch: _Batch, run: _Run) -> Group:
    found = _read(batch, run, {1: 0, 2: 2, 3: 2, 4: 2, 8: 2})
    objects, wanted = _gather(batch, _ids(found), _tags(run, found))
    count, differences = found.values(8)
    objects = replace(objects, ref_count=count, refs=sum_up(unzigzag(differences), count))
    seconds, visible = _info(batch, found)
    newest = _newest(run.units, seconds[wanted & visible])
    there = objects if visible.all() else objects.take(np.flatnonzero(visible))
    return Group("way", there, batch.strings, None, newest)


def _relations(batch: _Batch, run: _Run) -> Group:
    found = _read(batch, run, {1: 0, 2: 2, 3: 2, 4: 2, 9: 2, 10: 2})
    objects, wanted = _gather(batch, _ids(found), _tags(run, found))
    seconds, visible = _info(batch, found)
    rows = np.flatnonzero(wanted & visible)
    (count, differences), (kinds, kind) = found.values(9, rows), found.values(10, rows)
    if (count != kinds).any():
        raise ValueError("relations with members of no kind")
    is_way = kind == _WAY
    owner = np.repeat(np.arange(len(rows)), count)
    there = replace(
        objects.take(rows),
        ref_count=np.bincount(owner[is_way], minlength=len(rows)),
        refs=sum_up(unzigzag(differences), count)[is_way],
    )
    return Group("relation", there, batch.strings, None, _newest(run.units, seconds[rows]))


def _ids(found: Messages) -> Ints:
    if not found.has(1).all():
        raise ValueError("an object without an id")
    return found.value(1)


def _tags(run: _Run, found: Messages) -> tuple[Ints, Ints, Words, Words]:
    (count, keys), (others, values) = found.values(2), found.values(3)
    if (count != others).any():
        raise ValueError("keys without values")
    return np.array(run.block), count, keys, values


def _info(batch: _Batch, found: Messages) -> tuple[Ints, Flags]:
    """Read dates and whether objects are there still, as far as that is asked for."""
    if not batch.dated and not batch.history:
        size = len(found.size[4])
        return np.zeros(size, dtype=np.int64), np.ones(size, dtype=bool)
    info = found.open(4, {2: 0, 6: 0})
    return info.value(2), info.value(6, 1) != 0


def _newest(units: _Units, seconds: Ints) -> int:
    newest = int(seconds.max(initial=0)) * units.date // 1000
    return newest if newest < 1 << 32 else 0  # as libosmium, which has 32 bits for it


def _gather(
    batch: _Batch, ids: Ints, tags: tuple[Ints, Ints, Words, Words]
) -> tuple[Objects, Flags]:
    """Put objects together; tell which have a key that is asked for: the others lose their tags.

    The tags are told by the block of each object, how many it has, and the keys and values of all.
    """
    blocks, counts, keys, values = tags
    size = np.repeat(np.diff(batch.first).astype(np.uint64)[blocks], counts)
    if (keys >= size).any() or (values >= size).any():
        raise ValueError("a tag that is not in the table of strings")
    first = np.repeat(batch.first.astype(np.int32)[blocks], counts)
    owner = np.repeat(np.arange(len(ids), dtype=np.int32), counts)
    own = first + keys.astype(np.int32)
    wanted = np.zeros(len(ids), dtype=bool)
    wanted[owner[batch.spoken[own]]] = True
    kept = wanted[owner]
    nothing = np.zeros(len(ids), dtype=np.int64)
    objects = Objects(
        ids,
        np.where(wanted, counts, 0),
        own[kept],
        first[kept] + values[kept].astype(np.int32),
        nothing,
        nothing[:0],
    )
    return objects, wanted
