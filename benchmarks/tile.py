"""Tile an OpenStreetMap extract into a big one: shifted copies side by side, with ids of their own.

    python benchmarks/tile.py data/monaco.osm.pbf 186 big.osm.pbf

makes 186 copies on a square grid. Nothing is cut or changed but ids and positions, so every copy
is a whole city, and the big file is sorted as real extracts are.
"""

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np
import osmium
from osmium.osm import mutable

GAP = 0.01
"""Degrees between the middles of two copies, about 1 km, beyond 98 % of a copy's nodes."""

_LACKING = 1_000_000_000_000  # numbers beyond those of all copies
_LISTS = {"n": "nodes", "w": "ways", "r": "relations"}


def tile_extract(source: Path, copies: int, target: Path) -> None:
    """Write `copies` shifted copies of an extract into one file."""
    things = _read(source)
    places = np.array([node.location for node in things["n"]])
    refs = {"w": [way.nodes for way in things["w"]], "r": [one.members for one in things["r"]]}
    # Not the box of all nodes: a single ferry or border would leave a sea between two copies.
    low, high = np.percentile(places, [1, 99], axis=0)
    columns = math.ceil(math.sqrt(copies))
    row = {kind: {one.id: n for n, one in enumerate(listed)} for kind, listed in things.items()}
    target.unlink(missing_ok=True)
    with osmium.SimpleWriter(str(target)) as writer:
        for kind, listed in things.items():
            add = getattr(writer, f"add_{_LISTS[kind][:-1]}")
            for copy in range(copies):
                shift = np.array([copy % columns, copy // columns]) * (high - low + GAP)
                moved = (places + shift).tolist() if kind == "n" else None
                for number, one in enumerate(listed):
                    one.id = copy * len(listed) + number + 1
                    if moved is not None:
                        one.location = moved[number]
                    elif kind == "w":
                        one.nodes = [_renumber(row, "n", copy, ref) for ref in refs["w"][number]]
                    else:
                        one.members = [
                            (of, _renumber(row, of, copy, ref), role)
                            for of, ref, role in refs["r"][number]
                        ]
                    add(one)


def _read(source: Path) -> dict[str, list[Any]]:
    """Read all objects in the order of the file, so that each can be changed and written again."""
    things: dict[str, list[Any]] = {"n": [], "w": [], "r": []}
    for item in osmium.FileProcessor(str(source)):
        facts = {"tags": dict(item.tags), "version": item.version, "timestamp": item.timestamp}
        if item.is_node():
            one = mutable.Node(id=item.id, location=(item.lon, item.lat), **facts)
        elif item.is_way():
            one = mutable.Way(id=item.id, nodes=[node.ref for node in item.nodes], **facts)
        else:
            members = [(member.type, member.ref, member.role) for member in item.members]
            one = mutable.Relation(id=item.id, members=members, **facts)
        things[item.type_str()].append(one)
    return things


def _renumber(row: dict[str, dict[int, int]], kind: str, copy: int, ref: int) -> int:
    known = row[kind].get(ref)
    # An object that the extract lacks stays lacking.
    return _LACKING + ref if known is None else copy * len(row[kind]) + known + 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("copies", type=int)
    parser.add_argument("target", type=Path)
    given = parser.parse_args()
    tile_extract(given.source, given.copies, given.target)
