"""Shapes as text: whole steps of 1e-5 degree, in few bytes, by pieces of the map.

A stream holds whole numbers, each as zigzag (0, -1, 1, -2 become 0, 1, 2, 3) in groups of seven
bits, the lowest first, the eighth bit set where more follow. Chunks are pieces of the map:

- ``index``, for each chunk: west, south (steps from those of the chunk before), width, height of
  what it holds; how many groups; for each its kind and its bytes in ``data``.
- ``data``, for each item of a group: how many places, the item's own facts, then x and y of each
  place as steps from the place before, the first of a group from the chunk's west and south.
"""

from base64 import b64encode
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

SCALE = 100_000
"""Units in a degree: a metre on the ground."""

CELL = 800
"""Units across a chunk of the finest grid; items that are wider go to grids four times as wide."""


@dataclass(frozen=True)
class Items:
    """Lines, rings or places of some kinds.

    Parameters
    ----------
    kind
        The kind of each item, a whole number.
    count
        The number of its places, at least 1.
    places
        Their x and y, item after item, in units of 1e-5 degree.
    facts
        Whole numbers said of each item, a column each.
    """

    kind: Ints
    count: Ints
    places: Ints
    facts: Ints


def pack_items(items: Items) -> dict[str, str]:
    """Pack items into chunks.

    Parameters
    ----------
    items
        Any number of them.

    Returns
    -------
    dict
        ``index`` and ``data``, both base64. Equal items give equal text.
    """
    if not len(items.kind):
        return {"index": "", "data": ""}
    starts = np.cumsum(items.count) - items.count
    low = np.minimum.reduceat(items.places, starts)
    high = np.maximum.reduceat(items.places, starts)
    wide = np.maximum((high - low).max(axis=1), 1)
    level = np.maximum(np.ceil(np.log(wide / CELL) / np.log(4)), 0).astype(np.int64)
    cell = ((low + high) // 2) // (CELL * 4**level)[:, None]
    order = np.lexsort((_curve(low), items.kind, cell[:, 0], cell[:, 1], level))
    chunk = np.stack([level, cell[:, 1], cell[:, 0]], axis=1)[order]
    kind = items.kind[order]
    new_chunk = _changes(chunk)
    new_group = new_chunk | _changes(kind[:, None])
    first = np.flatnonzero(new_chunk)
    corner = np.minimum.reduceat(low[order], first)
    size = np.maximum.reduceat(high[order], first) - corner

    count = items.count[order]
    rows = np.repeat(starts[order] - (np.cumsum(count) - count), count) + np.arange(count.sum())
    steps = np.diff(items.places[rows], axis=0, prepend=0)
    begin = (np.cumsum(count) - count)[new_group]
    own = (np.cumsum(new_chunk) - 1)[new_group]
    steps[begin] = items.places[rows][begin] - corner[own]
    values, length = _join(count, items.facts[order], steps)

    data, sizes = pack_numbers(values)
    by_item = np.add.reduceat(sizes, np.cumsum(length) - length)
    group = np.flatnonzero(new_group)
    groups = np.stack([kind[group], np.add.reduceat(by_item, group)], axis=1)
    index = _write_index(corner, size, groups, np.bincount(own))
    return {"index": b64encode(index).decode(), "data": b64encode(data).decode()}


def pack_numbers(values: Ints) -> tuple[bytes, Ints]:
    """Pack whole numbers; returns the bytes, and how many of them each number takes."""
    zigzag = (values << 1) ^ (values >> 63)
    sizes = np.ones(len(values), dtype=np.int64)
    for most in range(7, 63, 7):
        sizes += zigzag >= 1 << most
    at = np.cumsum(sizes) - sizes
    packed = np.zeros(int(sizes.sum()), dtype=np.uint8)
    for n in range(int(sizes.max(initial=0))):
        more = sizes > n
        bits = (zigzag[more] >> (7 * n)) & 127
        packed[at[more] + n] = bits | np.where(sizes[more] > n + 1, 128, 0)
    return packed.tobytes(), sizes


def _write_index(corner: Ints, size: Ints, groups: Ints, many: Ints) -> bytes:
    heads = np.hstack([np.diff(corner, axis=0, prepend=0), size, many[:, None]])
    parts = np.split(groups, np.cumsum(many)[:-1])
    numbers = [np.append(head, part.ravel()) for head, part in zip(heads, parts, strict=True)]
    return pack_numbers(np.concatenate(numbers))[0]


def _join(count: Ints, facts: Ints, steps: Ints) -> tuple[Ints, Ints]:
    """Put the numbers of each item behind one another: count, facts, steps."""
    heads = np.hstack([count[:, None], facts])
    length = heads.shape[1] + 2 * count
    values = np.empty(int(length.sum()), dtype=np.int64)
    at = np.cumsum(length) - length
    is_head = np.zeros(len(values), dtype=bool)
    is_head[(at[:, None] + np.arange(heads.shape[1])).ravel()] = True
    values[is_head] = heads.ravel()
    values[~is_head] = steps.ravel()
    return values, length


def _changes(rows: Ints) -> npt.NDArray[np.bool_]:
    return np.append(True, (rows[1:] != rows[:-1]).any(axis=1))


def _curve(places: Ints) -> Ints:
    """Order places along Morton's curve, on which near ones stay near: short steps."""
    number = np.zeros(len(places), dtype=np.int64)
    for bit in range(26):
        for axis in (0, 1):
            number |= ((places[:, axis] >> bit) & 1) << (2 * bit + axis)
    return number
