"""Whole numbers of variable length, as protocol buffers write them, decoded by numpy.

A number takes 7 bits of each byte, the lowest first; the last byte is below 128. See
https://protobuf.dev/programming-guides/encoding/.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Bytes: TypeAlias = npt.NDArray[np.uint8]
Ints: TypeAlias = npt.NDArray[np.signedinteger[Any]]  # of 32 or 64 bits
Words: TypeAlias = npt.NDArray[np.uint64]

_NUMBER, _BYTES = 0, 2  # wire types

# Of eight bytes, the bits that belong to a number whose last byte is the first, the second, ...
_OWN = np.array([0x7F7F7F7F7F7F7F7F >> (56 - 8 * n) for n in [*range(8), 0]], dtype=np.uint64)
_GAPS = np.array(
    [
        (0x007F007F007F007F, 0x7F007F007F007F00, 1),
        (0x00003FFF00003FFF, 0x3FFF00003FFF0000, 2),
        (0x000000000FFFFFFF, 0x0FFFFFFF00000000, 4),
    ],
    dtype=np.uint64,
)


class UnusualError(ValueError):
    """Data may be in order, but are written in a way that only a full reader understands."""


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Read one number; answer it and where the next one begins.

    Raises
    ------
    ValueError
        If it is longer than 64 bits.
    IndexError
        If the data end within it.
    """
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")


def split_message(data: bytes, at: int, stop: int) -> dict[int, tuple[list[int], list[int]]]:
    """Find the fields of a message: by their tag, the places where they begin and end.

    Raises
    ------
    UnusualError
        If a field is of an unknown type.
    ValueError
        If the last field does not end at `stop`.
    IndexError
        If the data end within a field.
    """
    fields: dict[int, tuple[list[int], list[int]]] = {}
    last = -1
    while at < stop:
        tag = data[at]
        at += 1
        if tag > 127:
            tag, at = read_varint(data, at - 1)
        if tag != last:
            last = tag
            starts, stops = fields.setdefault(tag, ([], []))
        size = data[at]
        at += 1
        if size > 127:
            size, at = read_varint(data, at - 1)
        if tag & 7 == _BYTES:
            starts.append(at)
            at += size
        elif tag & 7 == _NUMBER:
            starts.append(size)  # the number itself
        else:
            raise UnusualError(f"a field of type {tag & 7}")
        stops.append(at)
    if at != stop:
        raise ValueError("a field that is longer than its message")
    return fields


def split_strings(data: bytes, at: int, stop: int) -> list[bytes]:
    """Split a message that is nothing but strings, all its field 1.

    Raises
    ------
    UnusualError
        If it holds anything else.
    ValueError
        If the last string does not end at `stop`.
    IndexError
        If the data end within a string.
    """
    strings = []
    while at < stop:
        size = data[at + 1]
        if data[at] != 1 << 3 | _BYTES:
            raise UnusualError("a table of strings with something else in it")
        at += 2
        if size > 127:
            size, at = read_varint(data, at - 1)
        strings.append(data[at : at + size])
        at += size
    if at != stop:
        raise ValueError("a string that is longer than its table")
    return strings


def unpack(data: Bytes) -> Words:
    """Decode all the numbers in some bytes.

    Raises
    ------
    ValueError, OverflowError
        If the last one is cut short, or one is longer than 64 bits.
    """
    if len(data) and data[-1] > 127:
        raise ValueError("a number that is cut short")
    last = np.flatnonzero(data < 128)
    value = data[last].astype(np.uint64)
    more = np.diff(last, prepend=-1) - 1
    rows = np.flatnonzero(more)
    if not len(rows):
        return value
    more = more[rows]
    first = last[rows] - more
    padded = np.zeros(len(data) + 8, dtype=np.uint8)
    padded[:-8] = data
    eights = np.ndarray(len(data), dtype="<u8", buffer=padded, strides=(1,))  # from each place on
    part = eights[first]
    part &= _OWN[np.minimum(more, 8)]
    longest = more.max()
    # Each step closes every other gap: sevens of bits become fourteens, then twenty-eights.
    for low, high, gap in _GAPS:
        if longest < gap:
            break
        upper = part & high
        upper >>= gap
        part &= low
        part |= upper
    if longest > 7:
        for row in np.flatnonzero(more > 7).tolist():
            number = data[first[row] : first[row] + more[row] + 1]
            part[row], _ = read_varint(number.tobytes(), 0)
    value[rows] = part
    return value


def unzigzag(values: Words) -> Ints:
    """Decode numbers with a sign: 0, -1, 1, -2, ... are written as 0, 1, 2, 3, ..."""
    return (values >> np.uint64(1)).astype(np.int64) ^ -(values & np.uint64(1)).astype(np.int64)


def count_up(first: Ints, counts: Ints) -> Ints:
    """Join the ranges of `counts` numbers that begin at `first`."""
    before = np.cumsum(counts) - counts
    return np.repeat(first - before, counts) + np.arange(counts.sum(), dtype=np.int64)


def sum_up(differences: Ints, counts: Ints) -> Ints:
    """Sum up runs of differences: each number is the sum of those of its run up to it."""
    total: Ints = np.cumsum(differences)
    before = np.r_[0, total][np.cumsum(counts) - counts]
    runs: Ints = total - np.repeat(before, counts)
    return runs


@dataclass(frozen=True, eq=False)
class Numbers:
    """Bytes that hold nothing but numbers.

    Parameters
    ----------
    data
        The bytes.
    """

    data: Bytes

    @cached_property
    def values(self) -> Words:
        """All the numbers."""
        return unpack(self.data)

    @cached_property
    def last(self) -> Ints:
        """Where the last byte of each stands."""
        return np.flatnonzero(self.data < 128)

    @cached_property
    def upto(self) -> npt.NDArray[np.int32]:
        """How many end before each place, the end of the data included."""
        return np.cumsum(np.append(np.False_, self.data < 128), dtype=np.int32)


@dataclass(frozen=True, eq=False)
class Messages:
    """Messages of one kind.

    Attributes
    ----------
    numbers
        The numbers that they consist of.
    first, count
        By field: for each message the first number within, and how many there are; a field that
        is a number itself counts 1, one that is missing 0.
    """

    numbers: Numbers
    first: dict[int, Ints]
    count: dict[int, Ints]

    def value(self, field: int, default: int = 0) -> Words:
        """Read a field that is one number."""
        found = np.full(len(self.first[field]), default, dtype=np.uint64)
        there = np.flatnonzero(self.count[field])
        found[there] = self.numbers.values[self.first[field][there]]
        return found

    def values(self, field: int, rows: Ints | slice = slice(None)) -> Words:
        """Read a field of many numbers, those of all messages, or some, behind each other."""
        return self.numbers.values[count_up(self.first[field][rows], self.count[field][rows])]

    def open(self, field: int, fields: dict[int, int]) -> "Messages":
        """Find fields in the messages that a field of each message is; see `read_messages`."""
        first = self.first[field]
        return _find_fields(self.numbers, first, first + self.count[field], fields)


def read_messages(data: Bytes, at: Ints, stop: Ints, fields: dict[int, int]) -> Messages:
    """Find fields in many messages at once.

    Parameters
    ----------
    data
        Bytes that hold the messages, and nothing but numbers.
    at, stop
        Where each message begins and ends.
    fields
        The wire type of each field to find: 0 for a number, 2 for packed numbers or a message.

    Raises
    ------
    UnusualError
        If a field is there twice, or is of another type than told.
    ValueError, OverflowError
        If a message is malformed.
    """
    if (data[stop[stop > at] - 1] > 127).any():
        raise ValueError("a message that ends within a number")
    numbers = Numbers(data)
    return _find_fields(numbers, numbers.upto[at], numbers.upto[stop], fields)


def _find_fields(numbers: Numbers, here: Ints, end: Ints, fields: dict[int, int]) -> Messages:
    """Walk through messages in step, one field of each at a time, told as ranges of numbers."""
    first = {field: np.zeros(len(here), dtype=np.int64) for field in fields}
    count = {field: np.zeros(len(here), dtype=np.int64) for field in fields}
    live = np.flatnonzero(here < end)
    here, end = here[live], end[live]
    while len(live):
        if (here + 1 >= end).any():
            raise ValueError("a field that is cut short")
        tags = numbers.values[here]
        after = np.zeros_like(here)
        rest = np.arange(len(live))
        while len(rest):  # mostly all messages have the same field next
            same = tags[rest] == tags[rest[0]]
            rows, rest, tag = rest[same], rest[~same], int(tags[rest[0]])
            inner, after[rows] = _skip_field(numbers, here[rows], tag & 7)
            field, mine = tag >> 3, live[rows]
            if field in fields:
                if tag & 7 != fields[field] or count[field][mine].any():
                    raise UnusualError("a field twice, or of another type than it should be")
                first[field][mine], count[field][mine] = inner, after[rows] - inner
        if (after > end).any():
            raise ValueError("a field that is longer than its message")
        on = np.flatnonzero(after < end)
        live, here, end = live[on], after[on], end[on]
    return Messages(numbers, first, count)


def _skip_field(numbers: Numbers, here: Ints, wire: int) -> tuple[Ints, Ints]:
    """Find where the contents of fields begin, and what comes after them."""
    if wire == _NUMBER:
        return here + 1, here + 2
    if wire != _BYTES:
        raise UnusualError("a field of another type")
    size = np.minimum(numbers.values[here + 1], np.uint64(len(numbers.data))).astype(np.int64)
    stop = numbers.last[here + 1] + 1 + size
    if (stop > len(numbers.data)).any() or (numbers.data[stop - 1] > 127).any():
        raise ValueError("a field that ends within a number")
    return here + 2, numbers.upto[stop]
