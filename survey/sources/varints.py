"""Whole numbers of variable length, as protocol buffers write them, decoded by numpy.

A number takes 7 bits of each byte, the lowest first; the last byte is below 128. See
https://protobuf.dev/programming-guides/encoding/.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Bytes: TypeAlias = npt.NDArray[np.uint8]
Ints: TypeAlias = npt.NDArray[np.signedinteger[Any]]  # of 32 or 64 bits
Words: TypeAlias = npt.NDArray[np.uint64]

_NUMBER, _BYTES = 0, 2  # wire types
_AT_ONCE = 1 << 17  # numbers: what is worked out of them stays in the processor's memory
_LONG = 1_000  # bytes of a range, from which on ranges are better joined one by one

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
            if data[at] < 128:  # nearly always
                size += (data[at] - 1) << 7
                at += 1
            else:
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
    return _unpack(data, np.flatnonzero(data < 128))


def _unpack(data: Bytes, last: Ints) -> Words:
    """Decode all the numbers in some bytes, told where the last byte of each stands."""
    value = data[last].astype(np.uint64)
    if len(last) == len(data):
        return value
    padded = np.zeros(len(data) + 8, dtype=np.uint8)
    padded[:-8] = data
    eights = np.ndarray(len(data), dtype="<u8", buffer=padded, strides=(1,))  # from each place on
    start = 0
    for at in range(0, len(last), _AT_ONCE):
        stop = last[at : at + _AT_ONCE]
        first = np.concatenate([[start], stop[:-1] + 1])
        start = int(stop[-1]) + 1
        rows = np.flatnonzero(stop > first)
        if len(rows):
            first, more = first[rows], (stop - first)[rows]
            value[at + rows] = _join_sevens(eights[first], more, data, first)
    return value


def _join_sevens(part: Words, more: Ints, data: Bytes, first: Ints) -> Words:
    """Put numbers together from eight bytes each, told how many belong to it but the first."""
    longest = more.max()
    part &= _OWN[np.minimum(more, 8) if longest > 8 else more]
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
    return part


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


def join_ranges(data: Bytes, first: Ints, size: Ints) -> Bytes:
    """Join ranges of `size` bytes that begin at `first`; none is empty, and none overlap."""
    if not len(first):
        return data[:0]
    if size.sum() > _LONG * len(first):
        parts = zip(first.tolist(), (first + size).tolist(), strict=True)
        return np.concatenate([data[at:stop] for at, stop in parts])
    turns = np.empty(2 * len(first) - 1, dtype=np.int64)  # a range, a gap, a range, ...
    turns[::2] = size
    turns[1::2] = first[1:] - first[:-1] - size[:-1]
    within = np.repeat(np.arange(len(turns)) % 2 == 0, turns)
    joined: Bytes = data[first[0] : first[0] + len(within)][within]
    return joined


@dataclass(frozen=True, eq=False)
class Messages:
    """Messages of one kind.

    Attributes
    ----------
    data
        The bytes that hold them.
    first, size
        By field: for each message where its content begins and how many bytes it has. The first
        of a field that is a number itself is that number; a field that is missing has size -1.
    """

    data: Bytes
    first: dict[int, Ints]
    size: dict[int, Ints]

    def has(self, field: int) -> npt.NDArray[np.bool_]:
        """Tell which messages have a field."""
        there: npt.NDArray[np.bool_] = self.size[field] >= 0
        return there

    def value(self, field: int, default: int = 0) -> Ints:
        """Read a field that is one number, as one of 64 bits with a sign."""
        found: Ints = np.where(self.has(field), self.first[field], default)
        return found

    def values(self, field: int, rows: Ints | slice = slice(None)) -> tuple[Ints, Words]:
        """Read a field of many numbers: how many each message has, or some do, and the numbers.

        Raises
        ------
        ValueError, OverflowError
            If a field ends within a number, or a number is longer than 64 bits.
        """
        first, size = self.first[field][rows], self.size[field][rows]
        some = np.flatnonzero(size > 0)
        data = join_ranges(self.data, first[some], size[some])
        last = np.cumsum(size[some]) - 1
        if (data[last] > 127).any():
            raise ValueError("a field that ends within a number")
        ends = np.flatnonzero(data < 128)
        count = np.zeros(len(size), dtype=np.int64)
        count[some] = np.diff(np.searchsorted(ends, last), prepend=-1)
        return count, _unpack(data, ends)

    def open(self, field: int, fields: dict[int, int]) -> "Messages":
        """Find fields in the messages that a field of each message is; see `read_messages`."""
        first = self.first[field]
        return read_messages(self.data, first, first + self.size[field], fields)


def read_messages(data: Bytes, at: Ints, stop: Ints, fields: dict[int, int]) -> Messages:
    """Find fields in many messages at once: in step, one field of each at a time.

    Parameters
    ----------
    data
        Bytes that hold the messages.
    at, stop
        Where each message begins and ends, in ascending order.
    fields
        The wire type of each field to find: 0 for a number, 2 for packed numbers or a message.

    Raises
    ------
    UnusualError
        If a field is there twice, or is of another type than told.
    ValueError, IndexError
        If a message is malformed.
    """
    found = Messages(
        data,
        {field: np.zeros(len(at), dtype=np.int64) for field in fields},
        {field: np.full(len(at), -1, dtype=np.int64) for field in fields},
    )
    live = np.flatnonzero(at < stop)
    here, end = at[live], stop[live]
    while len(live):
        tags, here = _read_numbers(data, here)
        numbers, here = _read_numbers(data, here)
        if (here > end).any():
            raise ValueError("a field that is cut short")
        for tag in np.unique(tags).tolist():  # mostly one: all messages have the same field next
            rows = np.flatnonzero(tags == tag)
            size = _tell_size(tag & 7, numbers[rows], end[rows] - here[rows])
            field, mine = tag >> 3, live[rows]
            if field in fields:
                if tag & 7 != fields[field] or found.has(field)[mine].any():
                    raise UnusualError("a field twice, or of another type than it should be")
                found.first[field][mine] = numbers[rows] if tag & 7 == _NUMBER else here[rows]
                found.size[field][mine] = size
            here[rows] += size
        on = np.flatnonzero(here < end)
        live, here, end = live[on], here[on], end[on]
    return found


def _tell_size(wire: int, numbers: Ints, most: Ints) -> Ints:
    """Tell how many bytes come behind the numbers that fields of a type begin with."""
    if wire == _NUMBER:
        return np.zeros_like(numbers)
    if wire != _BYTES:
        raise UnusualError("a field of another type")
    if ((numbers < 0) | (numbers > most)).any():
        raise ValueError("a field that is longer than its message")
    return numbers


def _read_numbers(data: Bytes, at: Ints) -> tuple[Ints, Ints]:
    """Read one number at each of many places; answer them and where the next ones begin."""
    values, after = data[at].astype(np.int64), at + 1
    rows, shift = np.flatnonzero(values > 127), 7
    values[rows] &= 127
    while len(rows):
        byte = data[after[rows]].astype(np.int64)
        if shift > 56 and (byte > 1).any():
            raise ValueError("a number of more than 64 bits")
        values[rows] |= (byte & 127) << shift
        after[rows] += 1
        rows, shift = rows[byte > 127], shift + 7
    return values, after
