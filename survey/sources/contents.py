"""What an OpenStreetMap file holds, as flat arrays over one table of strings."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from survey.sources.pbf import read_groups
from survey.sources.pbf_blocks import Flags, Group, Objects, Places
from survey.sources.varints import Ints


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
            row[self.turns[0][row] > turn] = -1
        return row

    def find_key(self, objects: Objects, keys: Collection[str]) -> Flags:
        """Tell which objects have one of some keys."""
        codes = [self.code[key] for key in keys if key in self.code]
        return _any_of(objects, np.isin(objects.keys, codes))

    def find_value(self, objects: Objects, key: str, values: Collection[str]) -> Flags:
        """Tell which objects have one of some values of a key."""
        codes = [self.code[value] for value in values if value in self.code]
        hit = (objects.keys == self.code.get(key, -1)) & np.isin(objects.values, codes)
        return _any_of(objects, hit)

    def drop_tags(self, objects: Objects, key: str, but: Collection[str] = ()) -> Objects:
        """Copy objects without the tags of a key, but those of some values."""
        kept = [self.code[value] for value in but if value in self.code]
        hit = (objects.keys == self.code.get(key, -1)) & ~np.isin(objects.values, kept)
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
    row = np.searchsorted(ids, wanted, side="right") - 1
    if len(ids):
        row[ids[row] != wanted] = -1
    return row


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
    code: dict[bytes, int] = {}
    places: list[Places] = []
    objects: dict[str, list[Objects]] = {"node": [], "way": [], "relation": []}
    turns: dict[str, list[int]] = {"node": [], "way": [], "relation": []}
    newest = 0
    for turn, group in enumerate(read_groups(path, keys, dated=dated)):
        objects[group.kind].append(_encode(group, code))
        turns[group.kind].append(turn)
        newest = max(newest, group.newest)
        if group.places is not None:
            places.append(group.places)
    turn_of = None
    if max(turns["node"], default=0) > min(turns["way"], default=len(places)):
        turn_of = (
            np.repeat(turns["node"], [len(part.ids) for part in places]),
            np.repeat(turns["way"], [len(part.ids) for part in objects["way"]]),
        )
    sorted_places, turn_of = _sort(_join_places(places), turn_of)
    joined = {kind: _join(parts) for kind, parts in objects.items()}
    return Contents(
        sorted_places,
        joined["node"],
        joined["way"],
        joined["relation"],
        [string.decode() for string in code],
        newest,
        turn_of,
    )


def _encode(group: Group, code: dict[bytes, int]) -> Objects:
    """Bring the strings of a group's tags to numbers in the table of all."""
    used = np.zeros(len(group.strings), dtype=np.bool_)
    used[group.objects.keys] = used[group.objects.values] = True
    number = np.zeros(len(group.strings), dtype=np.int64)
    for local in np.flatnonzero(used).tolist():
        number[local] = code.setdefault(group.strings[local], len(code))
    return replace(
        group.objects, keys=number[group.objects.keys], values=number[group.objects.values]
    )


def _concatenate(parts: Sequence[npt.NDArray[np.int64]]) -> Ints:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)


def _join(parts: list[Objects]) -> Objects:
    return Objects(
        _concatenate([part.ids for part in parts]),
        _concatenate([part.tag_count for part in parts]),
        _concatenate([part.keys for part in parts]),
        _concatenate([part.values for part in parts]),
        _concatenate([part.ref_count for part in parts]),
        _concatenate([part.refs for part in parts]),
    )


def _join_places(parts: list[Places]) -> Places:
    empty = np.zeros(0, dtype=np.int32)
    return Places(
        _concatenate([part.ids for part in parts]),
        np.concatenate([empty, *(part.x for part in parts)]),
        np.concatenate([empty, *(part.y for part in parts)]),
    )


def _sort(
    places: Places, turns: tuple[Ints, Ints] | None
) -> tuple[Places, tuple[Ints, Ints] | None]:
    if (places.ids[1:] > places.ids[:-1]).all():
        return places, turns
    order = np.argsort(places.ids, kind="stable")
    places = Places(places.ids[order], places.x[order], places.y[order])
    return places, (turns[0][order], turns[1]) if turns is not None else None
