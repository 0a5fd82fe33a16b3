"""Tags of many objects as JSON texts, each different text made once."""

import json

import numpy as np
import numpy.typing as npt
import pandas as pd

from survey.sources.pbf_blocks import Objects
from survey.sources.varints import Ints, count_up

_PRIMES = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)  # odd, to mix 64 bits


def write_tags(objects: Objects, strings: list[str]) -> npt.NDArray[np.object_]:
    """Write the tags of each object as JSON, its keys sorted.

    Parameters
    ----------
    objects
        The objects.
    strings
        The table that their tags are numbers in.

    Returns
    -------
    numpy.ndarray
        One text per object; equal texts are one object in memory.
    """
    counts, keys, values = _sort(objects, strings)
    start = np.cumsum(counts) - counts
    group, member = _group(counts, start, keys, values)
    first, size = start[member], counts[member]
    rows = count_up(first, size)
    pairs = keys[rows].astype(np.int64) * len(strings) + values[rows]
    kind, different = pd.factorize(pairs)
    encode = json.JSONEncoder(ensure_ascii=False).encode
    written = [
        f"{encode(strings[key])}: {encode(strings[value])}"
        for key, value in zip(*np.divmod(different, max(len(strings), 1)), strict=True)
    ]
    pieces = [written[number] for number in kind.tolist()]
    stops = np.cumsum(size)
    texts = np.empty(len(member), dtype=object)
    texts[:] = [
        f"{{{', '.join(pieces[at:stop])}}}"
        for at, stop in zip((stops - size).tolist(), stops.tolist(), strict=True)
    ]
    return texts[group]


def _sort(objects: Objects, strings: list[str]) -> tuple[Ints, Ints, Ints]:
    """Sort each object's tags by key; of tags with one key keep the last. Counts, keys, values."""
    used = np.unique(objects.keys)
    rank = np.zeros(len(strings), dtype=np.int64)
    rank[sorted(used.tolist(), key=strings.__getitem__)] = np.arange(len(used))
    owner = np.repeat(np.arange(len(objects.ids)), objects.tag_count)
    place = owner * max(len(used), 1) + rank[objects.keys]
    keys, values = objects.keys, objects.values  # noqa: PD011 - no table
    if (place[1:] <= place[:-1]).any():
        order = np.argsort(place, kind="stable")
        last = np.r_[place[order][1:] != place[order][:-1], True]
        order = order[last]
        keys, values, owner = keys[order], values[order], owner[order]
    return np.bincount(owner, minlength=len(objects.ids)), keys, values


def _group(counts: Ints, start: Ints, keys: Ints, values: Ints) -> tuple[Ints, Ints]:
    """Group objects with equal tags: the group of each, and a member of each group."""
    within = np.arange(len(keys)) - np.repeat(start, counts)
    mixed = np.zeros(len(keys), dtype=np.uint64)
    for part, prime in zip((keys, values, within + 1), _PRIMES, strict=True):
        mixed = (mixed ^ part.astype(np.uint64)) * np.uint64(prime)
        mixed ^= mixed >> np.uint64(29)
    total = np.r_[np.uint64(0), np.cumsum(mixed)]
    group, different = pd.factorize(total[start + counts] - total[start])
    member = np.zeros(len(different), dtype=np.int64)
    member[group[::-1]] = np.arange(len(group))[::-1]
    like = member[group]
    alike = counts == counts[like]
    rows = count_up(start[alike], counts[alike])
    twins = count_up(start[like][alike], counts[alike])
    owner = np.repeat(np.flatnonzero(alike), counts[alike])
    alike[owner[(keys[rows] != keys[twins]) | (values[rows] != values[twins])]] = False
    # Two sets of tags may have one sum, though hardly ever: then each object is its own group.
    lone = np.flatnonzero(~alike)
    group = group.astype(np.int64)
    group[lone] = len(member) + np.arange(len(lone))
    return group, np.r_[member, lone]
