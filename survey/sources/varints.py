"""Whole numbers of variable length, as protocol buffers write them, decoded by numpy.

A number takes 7 bits of each byte, the lowest first; the last byte is below 128. See
https://protobuf.dev/programming-guides/encoding/.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Bytes: TypeAlias = npt.NDArray[np.uint8]
Ints: TypeAlias = npt.NDArray[np.int64]
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


@dataclass(frozen=True, eq=False)
class Varints:
    """The numbers in some bytes, found by the bytes that end them.

    Parameters
    ----------
    data
        The bytes.
    """

    data: Bytes

    @cached_property
    def last(self) -> Ints:
        """Where each number's last byte stands."""
        return np.flatnonzero(self.data < 128)

    @cached_property
    def _upto(self) -> npt.NDArray[np.int32]:
        return np.cumsum(self.data < 128, dtype=np.int32)

    def find(self, at: Ints) -> Ints:
        """Tell which number begins at each of some places.

        Raises
        ------
        ValueError
            If none begins there.
        """
        inner = at[at > 0] - 1
        if len(at) and (at.min() < 0 or at.max() > len(self.data)):
            raise ValueError("a field that ends outside the data")
        if (self.data[inner] > 127).any():
            raise ValueError("a field that ends within a number")
        found = np.zeros(len(at), dtype=np.int64)
        found[at > 0] = self._upto[inner]
        return found

    @cached_property
    def _eights(self) -> Words:
        """The eight bytes from each place on, as one number."""
        padded = np.zeros(len(self.data) + 8, dtype=np.uint8)
        padded[:-8] = self.data
        return np.ndarray(len(self.data), dtype="<u8", buffer=padded, strides=(1,))

    def read(self, number: Ints | None = None) -> Words:
        """Decode some of the numbers, or all.

        Raises
        ------
        ValueError, OverflowError
            If one is longer than 64 bits.
        """
        if number is None:
            last = self.last
            first = np.append(np.zeros(1, dtype=np.int64), last + 1)[: len(last)]
        else:
            last, first = self.last[number], self.last[number - 1] + 1
            first[number == 0] = 0
        size = last - first
        value = self._eights[first] & _OWN[np.minimum(size, 8)]
        # Each step closes every other gap: sevens of bits become fourteens, then twenty-eights.
        for low, high, gap in _GAPS:
            value = (value & low) | ((value & high) >> gap)
        for row in np.flatnonzero(size > 7).tolist():
            value[row], _ = read_varint(self.data[first[row] : last[row] + 1].tobytes(), 0)
        return value


def unpack(data: Bytes) -> Words:
    """Decode all the numbers in some bytes.

    Raises
    ------
    ValueError
        If the last one is cut short, or one is longer than 64 bits.
    """
    if len(data) and data[-1] > 127:
        raise ValueError("a number that is cut short")
    return Varints(data).read()


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
class Messages:
    """Messages of one kind, their fields as numbers of a `Varints`.

    Attributes
    ----------
    varints
        The numbers.
    first, count
        By field: for each message the first number within, and how many there are; a field that
        is a number itself counts 1, one that is missing 0.
    """

    varints: Varints
    first: dict[int, Ints]
    count: dict[int, Ints]

    def value(self, field: int, default: int = 0) -> Words:
        """Read a field that is one number."""
        found = np.full(len(self.first[field]), default, dtype=np.uint64)
        there = np.flatnonzero(self.count[field])
        found[there] = self.varints.read(self.first[field][there])
        return found

    def values(self, field: int) -> Words:
        """Read a field of many numbers, those of all messages behind each other."""
        return self.varints.read(count_up(self.first[field], self.count[field]))


def read_messages(varints: Varints, at: Ints, stop: Ints, fields: dict[int, int]) -> Messages:
    """Find fields in many messages at once, in step: one field of every message at a time.

    Parameters
    ----------
    varints
        The data that hold them.
    at, stop
        Where each message begins and ends.
    fields
        The wire type of each field to find: 0 for a number, 2 for packed numbers or a message.

    Raises
    ------
    UnusualError
        If a field is there twice, or is of another type than told.
    ValueError
        If a message is malformed.
    """
    here, end = varints.find(at), varints.find(stop)
    first = {field: np.zeros(len(at), dtype=np.int64) for field in fields}
    count = {field: np.zeros(len(at), dtype=np.int64) for field in fields}
    live = np.flatnonzero(here < end)
    here, end = here[live], end[live]
    while len(live):
        if (here + 1 >= end).any():
            raise ValueError("a field that is cut short")
        tag, size = varints.read(here), varints.read(here + 1)
        field, kind = tag >> np.uint64(3), tag & np.uint64(7)
        inner = np.where(kind == _BYTES, here + 2, here + 1)
        after = here + 2
        packed = np.flatnonzero(kind == _BYTES)
        if not np.isin(kind, (_NUMBER, _BYTES)).all():
            raise UnusualError("a field of another type")
        if (size[packed] >> np.uint64(31)).any():
            raise ValueError("a field that is longer than any message")
        ends = varints.last[here[packed] + 1] + 1 + size[packed].astype(np.int64)
        after[packed] = varints.find(ends)
        if (after > end).any():
            raise ValueError("a field that is longer than its message")
        for known, wire in fields.items():
            rows = np.flatnonzero(field == known)
            if (kind[rows] != wire).any() or count[known][live[rows]].any():
                raise UnusualError("a field twice, or of another type than it should be")
            first[known][live[rows]] = inner[rows]
            count[known][live[rows]] = (after - inner)[rows]
        on = np.flatnonzero(after < end)
        live, here, end = live[on], after[on], end[on]
    return Messages(varints, first, count)
