"""One block of OpenStreetMap's binary format, as flat arrays.

Field numbers and units: https://wiki.openstreetmap.org/wiki/PBF_Format.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

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
    unpack,
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
        tags = count_up((np.cumsum(self.tag_count) - self.tag_count)[rows], self.tag_count[rows])
        refs = count_up((np.cumsum(self.ref_count) - self.ref_count)[rows], self.ref_count[rows])
        return Objects(
            self.ids[rows],
            self.tag_count[rows],
            self.keys[tags],
            self.values[tags],
            self.ref_count[rows],
            self.refs[refs],
        )


@dataclass(frozen=True, eq=False)
class Places:
    """Where nodes are: ids, longitudes and latitudes in units of 1e-7 degrees."""

    ids: Ints
    x: npt.NDArray[np.int32]
    y: npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Group:
    """What one group of a block holds: objects of one kind.

    Attributes
    ----------
    kind
        ``node``, ``way`` or ``relation``.
    objects
        Nodes and relations with a key that was asked for; all ways.
    strings
        The block's strings.
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


@dataclass(frozen=True, eq=False)
class _Block:
    data: bytes
    array: Bytes
    strings: list[bytes]
    spoken: Flags  # which strings are keys asked for
    units: dict[str, int]
    dated: bool
    history: bool


def decode_block(
    data: bytes, keys: Collection[bytes], *, dated: bool, history: bool
) -> Iterator[Group]:
    """Decode a block, group by group.

    Parameters
    ----------
    data
        The block, unpacked.
    keys
        Objects with one of these keys are wanted with their tags.
    dated
        Whether `Group.newest` is wanted.
    history
        Whether the file may hold objects that are deleted; they are left out.

    Raises
    ------
    UnusualError
        If it is written in a way that only a full reader understands.
    ValueError, IndexError, KeyError, OverflowError
        If it is broken.
    """
    fields = split_message(data, 0, len(data))
    ((start,), (stop,)) = fields[0x0A]
    strings = split_strings(data, start, stop)
    block = _Block(
        data,
        np.frombuffer(data, dtype=np.uint8),
        strings,
        np.array([string in keys for string in strings], dtype=bool),
        {
            "place": _number(fields, 17, 100),
            "date": _number(fields, 18, 1000),
            "south": _number(fields, 19, 0),
            "west": _number(fields, 20, 0),
        },
        dated,
        history,
    )
    for start, stop in zip(*fields.get(0x12, ((), ())), strict=True):
        parts = split_message(data, start, stop)
        if len(parts) > 1 or not parts.keys() <= {0x0A, 0x12, 0x1A, 0x22}:
            raise UnusualError("a group of several kinds, or of an unknown one")
        for tag, (at, end) in parts.items():
            if tag == 0x12:
                yield from (_dense(block, *each) for each in zip(at, end, strict=True))
            else:
                read = {0x0A: _nodes, 0x1A: _ways, 0x22: _relations}[tag]
                yield read(block, np.array(at), np.array(end))


def _number(fields: dict[int, Any], field: int, default: int) -> int:
    if field << 3 not in fields:
        return default
    value: int = fields[field << 3][0][-1]
    return value - (1 << 64) if value >> 63 else value


def _dense(block: _Block, start: int, stop: int) -> Group:
    fields = split_message(block.data, start, stop)
    if not fields.keys() <= {0x0A, 0x2A, 0x42, 0x4A, 0x52}:
        raise UnusualError("nodes with an unknown field")
    ids, y, x = (np.cumsum(unzigzag(_packed(block, fields, tag))) for tag in (0x0A, 0x42, 0x4A))
    infos = [split_message(block.data, *each) for each in zip(*fields.get(0x2A, ()), strict=True)]
    seconds, visible = np.zeros(len(ids), dtype=np.int64), np.ones(len(ids), dtype=bool)
    for info in infos:
        if 0x12 in info and block.dated:
            seconds = np.cumsum(unzigzag(_packed(block, info, 0x12)))
        if 0x32 in info:
            visible = _packed(block, info, 0x32) != 0
    tags = _split_dense(_packed(block, fields, 0x52), len(ids))
    if not len(ids) == len(x) == len(y) == len(seconds) == len(visible):
        raise ValueError("nodes without an id or a place")
    return _gather_nodes(block, ids, (x, y), tags, (seconds, visible))


def _packed(block: _Block, fields: dict[int, Any], tag: int) -> Words:
    parts = [block.array[at:end] for at, end in zip(*fields.get(tag, ()), strict=True)]
    return unpack(np.concatenate(parts)) if parts else np.zeros(0, dtype=np.uint64)


def _split_dense(pairs: Words, size: int) -> tuple[Ints, Words, Words]:
    """Split the tags of dense nodes (key, value, ..., 0 for each): counts, keys, values."""
    if not len(pairs):
        return np.zeros(size, dtype=np.int64), pairs, pairs
    ends = np.flatnonzero(pairs == 0)
    length = np.diff(ends, prepend=-1) - 1
    if len(ends) != size or ends[-1] != len(pairs) - 1 or (length % 2).any():
        raise ValueError("nodes whose tags do not come in pairs")
    inner = pairs[pairs != 0]
    return length // 2, inner[::2], inner[1::2]


def _nodes(block: _Block, at: Ints, stop: Ints) -> Group:
    found = read_messages(block.array, at, stop, {1: 0, 2: 2, 3: 2, 4: 2, 8: 0, 9: 0})
    if not all(found.has(field).all() for field in (1, 8, 9)):
        raise ValueError("nodes without an id or a place")
    ids, y, x = (unzigzag(found.value(field).view(np.uint64)) for field in (1, 8, 9))
    return _gather_nodes(block, ids, (x, y), _tags(found), _info(block, found))


def _gather_nodes(
    block: _Block,
    ids: Ints,
    where: tuple[Ints, Ints],
    tags: tuple[Ints, Words, Words],
    info: tuple[Ints, Flags],
) -> Group:
    objects, wanted = _gather(block, ids, tags)
    seconds, visible = info
    x = _to_units(where[0], block.units["place"], block.units["west"])
    y = _to_units(where[1], block.units["place"], block.units["south"])
    there = (np.abs(x) <= _MAX_X) & (np.abs(y) <= _MAX_Y) & visible
    places = Places(ids[there], x[there].astype(np.int32), y[there].astype(np.int32))
    wanted &= visible
    newest = _newest(block, seconds[wanted])
    return Group("node", objects.take(np.flatnonzero(wanted)), block.strings, places, newest)


def _to_units(values: Ints, granularity: int, offset: int) -> Ints:
    """Bring places to 1e-7 degrees, towards zero; they are told in 1e-9."""
    if granularity == 100 and offset == 0:
        return values
    nano: Ints = values * granularity + offset
    units: Ints = np.sign(nano) * (np.abs(nano) // 100)
    return units


def _ways(block: _Block, at: Ints, stop: Ints) -> Group:
    found = read_messages(block.array, at, stop, {1: 0, 2: 2, 3: 2, 4: 2, 8: 2})
    objects, wanted = _gather(block, _ids(found), _tags(found))
    count, differences = found.values(8)
    objects = replace(objects, ref_count=count, refs=sum_up(unzigzag(differences), count))
    seconds, visible = _info(block, found)
    newest = _newest(block, seconds[wanted & visible])
    there = objects if visible.all() else objects.take(np.flatnonzero(visible))
    return Group("way", there, block.strings, None, newest)


def _relations(block: _Block, at: Ints, stop: Ints) -> Group:
    found = read_messages(block.array, at, stop, {1: 0, 2: 2, 3: 2, 4: 2, 9: 2, 10: 2})
    objects, wanted = _gather(block, _ids(found), _tags(found))
    seconds, visible = _info(block, found)
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
    return Group("relation", there, block.strings, None, _newest(block, seconds[rows]))


def _ids(found: Messages) -> Ints:
    if not found.has(1).all():
        raise ValueError("an object without an id")
    return found.value(1)


def _tags(found: Messages) -> tuple[Ints, Words, Words]:
    (count, keys), (others, values) = found.values(2), found.values(3)
    if (count != others).any():
        raise ValueError("keys without values")
    return count, keys, values


def _info(block: _Block, found: Messages) -> tuple[Ints, Flags]:
    """Read dates and whether objects are there still, as far as that is asked for."""
    if not block.dated and not block.history:
        size = len(found.size[4])
        return np.zeros(size, dtype=np.int64), np.ones(size, dtype=bool)
    info = found.open(4, {2: 0, 6: 0})
    return info.value(2), info.value(6, 1) != 0


def _newest(block: _Block, seconds: Ints) -> int:
    newest = int(seconds.max(initial=0)) * block.units["date"] // 1000
    return newest if newest < 1 << 32 else 0  # as libosmium, which has 32 bits for it


def _gather(block: _Block, ids: Ints, tags: tuple[Ints, Words, Words]) -> tuple[Objects, Flags]:
    """Put objects together; tell which have a key that is asked for: the others lose their tags."""
    counts, keys, values = tags
    if len(keys) and max(keys.max(), values.max()) >= len(block.strings):
        raise ValueError("a tag that is not in the table of strings")
    owner = np.repeat(np.arange(len(ids)), counts)
    wanted = np.zeros(len(ids), dtype=bool)
    wanted[owner[block.spoken[keys.astype(np.int32)]]] = True
    kept = wanted[owner]
    nothing = np.zeros(len(ids), dtype=np.int64)
    objects = Objects(
        ids,
        np.where(wanted, counts, 0),
        keys[kept].astype(np.int32),
        values[kept].astype(np.int32),
        nothing,
        nothing[:0],
    )
    return objects, wanted
