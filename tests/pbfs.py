"""Write OpenStreetMap's binary format by hand, also in ways that no program writes it."""

import struct
import zlib
from pathlib import Path


def varint(number):
    """Encode one number; a negative one as 64 bits."""
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def zigzag(number):
    """Encode one number with a sign."""
    return varint(number << 1 if number >= 0 else (-number << 1) - 1)


def deltas(numbers):
    """Encode numbers as packed differences with a sign."""
    return b"".join(
        zigzag(one - before) for before, one in zip([0, *numbers], numbers, strict=False)
    )


def field(number, content):
    """Encode a field: a number, or bytes with their length before them."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def block(strings, *groups, **units):
    """Encode a block; `units`: granularity, date_granularity, lat_offset, lon_offset."""
    numbers = {"granularity": 17, "date_granularity": 18, "lat_offset": 19, "lon_offset": 20}
    table = b"".join(field(1, string.encode()) for string in ["", *strings])
    return (
        field(1, table)
        + b"".join(field(2, group) for group in groups)
        + b"".join(field(numbers[name], value) for name, value in units.items())
    )


def dense(ids, lats, lons, *, tags=None, **info):
    """Encode a group of dense nodes; `tags` as string numbers, `info`: timestamps, visible."""
    content = field(1, deltas(ids)) + field(8, deltas(lats)) + field(9, deltas(lons))
    if info:
        parts = {"timestamps": (2, deltas), "visible": (6, bytes)}
        content += field(5, b"".join(field(parts[k][0], parts[k][1](v)) for k, v in info.items()))
    if tags is not None:
        content += field(10, b"".join(map(varint, tags)))
    return field(2, content)


def way(number, refs, keys=(), values=(), info=b""):
    """Encode a group of one way; tags as string numbers."""
    tags = [field(2, bytes(keys)), field(3, bytes(values))] if keys else []
    parts = [field(1, number), *tags, field(4, info) if info else b"", field(8, deltas(refs))]
    return field(3, b"".join(parts))


def blob(kind, content, pack=zlib.compress, **lies):
    """Encode a part of a file, packed or (`pack=None`) not; `lies` are said instead of sizes."""
    body = field(1, content)
    if pack is not None:
        body = field(2, lies.get("raw_size", len(content))) + field(3, pack(content))
    head = field(1, kind.encode()) + field(3, lies.get("size", len(body)))
    return struct.pack(">I", lies.get("head_size", len(head))) + head + body


def write_pbf(path, *blocks, needs=("OsmSchema-V0.6", "DenseNodes"), pack=zlib.compress):
    """Write a file of some blocks and return its path."""
    header = b"".join(field(4, need.encode()) for need in needs)
    parts = [blob("OSMHeader", header), *(blob("OSMData", each, pack) for each in blocks)]
    Path(path).write_bytes(b"".join(parts))
    return Path(path)
