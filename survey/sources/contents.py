"""What an OpenStreetMap file holds, as flat arrays over one table of strings."""

from collections import defaultdict
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from survey.sources.pbf import read_groups
from survey.sources.pbf_blocks import Flags, Group, Objects, Places
from survey.sources.varints import Ints

_OBJECTS = {
    "ids": np.int64,
    "tag_count": np.int64,
    "keys": np.int32,
    "values": np.int32,
    "ref_count": np.int64,
    "refs": np.int64,
}
_AT_ONCE = 250_000  # ids to look up: their rows take twice the memory while they are


@dataclass(frozen=True, eq=False)
class Contents:
    """What a file holds.

    Attributes
    ----------
    places
        All nodes that have a place, by their ids; of equal ids the last one counts.
    nodes, ways, relations
        The objects with a key that was asked for, and all other ways without their tags, in the
        order of the file.
    strings
        The table that their tags are numbers in.
    newest
        The latest date of an object with a key that was asked for, in seconds; 0 if unknown.
    turns
        Where nodes stand behind ways: the turn of each place, and of each way; else nothing.
    """

    places: Places
    nodes: Objects
    ways: Objects
    relations: Objects
    strings: list[str]
    newest: int
    turns: tuple[Ints, Ints] | None

    @cached_property
    def code(self) -> dict[str, int]:
        """The number of each string."""
        return {string: number for number, string in enumerate(self.strings)}

    def locate(self, ids: Ints, turn: Ints | None = None) -> Ints:
        """Find the rows in `places` of some nodes, -1 for those that have no place.

        With a `turn` for each, a place that stands behind it in the file is none.
        """
        row = find_last(self.places.ids, ids)
        if turn is not None and self.turns is not None:
            known = np.flatnonzero(row >= 0)
            row[known[self.turns[0][row[known]] > turn[known]]] = -1
        return row

    def without_lists(self) -> "Contents":
        """Copy without the ways and relations, which take most of the memory."""
        nothing = self.nodes.take(np.zeros(0, dtype=np.int64))
        return replace(self, ways=nothing, relations=nothing)

    def _flag(self, strings: Collection[str]) -> Flags:
        flags = np.zeros(len(self.strings), dtype=np.bool_)
        flags[[self.code[string] for string in strings if string in self.code]] = True
        return flags

    def find_key(self, objects: Objects, keys: Collection[str]) -> Flags:
        """Tell which objects have one of some keys."""
        return _any_of(objects, self._flag(keys)[objects.keys])

    def find_value(self, objects: Objects, key: str, values: Collection[str]) -> Flags:
        """Tell which objects have one of some values of a key."""
        hit = (objects.keys == self.code.get(key, -1)) & self._flag(values)[objects.values]
        return _any_of(objects, hit)

    def drop_tags(self, objects: Objects, key: str, but: Collection[str] = ()) -> Objects:
        """Copy objects without the tags of a key, but those of some values."""
        hit = (objects.keys == self.code.get(key, -1)) & ~self._flag(but)[objects.values]
        owner = np.repeat(np.arange(len(objects.ids)), objects.tag_count)
        lost = np.bincount(owner[hit], minlength=len(objects.ids))
        return replace(
            objects,
            tag_count=objects.tag_count - lost,
            keys=objects.keys[~hit],
            values=objects.values[~hit],
        )

    def read_value(self, objects: Objects, key: str) -> list[str]:
        """Read each object's value of a key; empty where it has none."""
        hit = objects.keys == self.code.get(key, -1)
        owner = np.repeat(np.arange(len(objects.ids)), objects.tag_count)
        found = np.full(len(objects.ids), -1, dtype=np.int64)
        found[owner[hit]] = objects.values[hit]
        return ["" if number < 0 else self.strings[number] for number in found.tolist()]


def find_last(ids: Ints, wanted: Ints) -> Ints:
    """Find the last row of each wanted id in sorted ids, -1 for those that are not there."""
    found = np.full(len(wanted), -1, dtype=np.int32)

    def find(start: int) -> None:
        part = wanted[start : start + _AT_ONCE]
        row = np.searchsorted(ids, part, side="right") - 1
        row[ids[row] != part] = -1
        found[start : start + _AT_ONCE] = row

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(find, range(0, len(wanted) if len(ids) else 0, _AT_ONCE)))
    return found


def _any_of(objects: Objects, hit: Flags) -> Flags:
    owner = np.repeat(np.arange(len(objects.ids)), objects.tag_count)
    found = np.zeros(len(objects.ids), dtype=np.bool_)
    found[owner[hit]] = True
    return found


def read_contents(path: Path, keys: Collection[str], *, dated: bool) -> Contents:
    """Read an .osm.pbf.

    Parameters
    ----------
    path
        The file.
    keys
        Objects with one of these keys are wanted with their tags.
    dated
        Whether `Contents.newest` is wanted.

    Raises
    ------
    UnusualError
        If the file is written in a way that only a full reader understands.
    ValueError, IndexError, KeyError, OverflowError, zlib.error, struct.error
        If it is broken (`pbf.FAULTS`).
    OSError
        If it cannot be read.
    """
    code: dict[bytes, int] = defaultdict(count().__next__)  # numbers a new string by itself
    places = _Columns(ids=np.int64, x=np.int32, y=np.int32)
    kinds = {kind: _Columns(**_OBJECTS) for kind in ("node", "way", "relation")}
    turns: dict[str, list[int]] = {kind: [] for kind in kinds}
    sizes: dict[str, list[int]] = {kind: [] for kind in kinds}
    newest = 0
    for turn, group in enumerate(read_groups(path, keys, dated=dated)):
        kinds[group.kind].append(_encode(group, code))
        turns[group.kind].append(turn)
        newest = max(newest, group.newest)
        if group.places is not None:
            places.append(group.places)
        sizes[group.kind].append(len((group.places or group.objects).ids))
    turn_of = None
    if turns["way"] and max(turns["node"], default=-1) > turns["way"][0]:
        turn_of = (
            np.repeat(turns["node"], sizes["node"]),
            np.repeat(turns["way"], sizes["way"]),
        )
    sorted_places, turn_of = _sort(Places(**places.finish()), turn_of)
    return Contents(
        places=sorted_places,
        nodes=Objects(**kinds["node"].finish()),
        ways=Objects(**kinds["way"].finish()),
        relations=Objects(**kinds["relation"].finish()),
        strings=[string.decode() for string in code],
        newest=newest,
        turns=turn_of,
    )


def _encode(group: Group, code: dict[bytes, int]) -> Objects:
    """Bring the strings of a group's tags to numbers in the table of all, a `defaultdict`."""
    objects, strings = group.objects, group.strings
    used = np.zeros(len(strings), dtype=np.bool_)
    used[objects.keys] = used[objects.values] = True
    rows = np.flatnonzero(used)
    number = np.zeros(len(strings), dtype=np.int32)
    number[rows] = [*map(code.__getitem__, map(strings.__getitem__, rows.tolist()))]
    return replace(objects, keys=number[objects.keys], values=number[objects.values])


class _Columns:
    """Arrays that grow in place: joining many small ones would take the memory twice."""

    def __init__(self, **types: type[Any]) -> None:
        self._arrays = {name: np.zeros(0, dtype=kind) for name, kind in types.items()}
        self._sizes = dict.fromkeys(types, 0)

    def append(self, parts: Any) -> None:
        for name, array in self._arrays.items():
            part = getattr(parts, name)
            start = self._sizes[name]
            stop = self._sizes[name] = start + len(part)
            if stop > len(array):
                array.resize(max(stop, len(array) * 5 // 4), refcheck=False)
            array[start:stop] = part

    def finish(self) -> dict[str, Any]:
        for name, array in self._arrays.items():
            array.resize(self._sizes[name], refcheck=False)
        return self._arrays


def _sort(
    places: Places, turns: tuple[Ints, Ints] | None
) -> tuple[Places, tuple[Ints, Ints] | None]:
    if (places.ids[1:] > places.ids[:-1]).all():
        return places, turns
    order = np.argsort(places.ids, kind="stable")
    places = Places(places.ids[order], places.x[order], places.y[order])
    return places, (turns[0][order], turns[1]) if turns is not None else None
