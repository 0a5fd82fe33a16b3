"""Tile an OpenStreetMap extract into a big one: shifted copies side by side, with ids of their own.

    python benchmarks/tile.py data/monaco.osm.pbf 186 big.osm.pbf

makes 186 copies on a square grid. Nothing is cut or changed but ids and positions, so every copy
is a whole city, and the big file is sorted as real extracts are.
"""

import argparse
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import osmium

GAP = 0.01
"""Degrees between the middles of two copies, about 1 km, beyond 98 % of a copy's nodes."""


def tile_extract(source: Path, copies: int, target: Path) -> None:
    """Write `copies` shifted copies of an extract into one file."""
    rank, step = _survey(source)
    columns = math.ceil(math.sqrt(copies))
    count = {kind: len(ids) for kind, ids in rank.items()}
    target.unlink(missing_ok=True)
    with osmium.SimpleWriter(str(target)) as writer:
        for kind in ("n", "w", "r"):
            for copy in range(copies):
                shift = np.array([copy % columns, copy // columns]) * step
                base = {name: copy * size + 1 for name, size in count.items()}
                for item in _read(source, kind):
                    _add(writer, item, kind, rank, base, shift)


def _survey(source: Path) -> tuple[dict[str, dict[int, int]], Any]:
    """Number the objects of each kind; find how far apart two copies have to stand."""
    rank: dict[str, dict[int, int]] = {"n": {}, "w": {}, "r": {}}
    places = []
    for item in osmium.FileProcessor(str(source)):
        kind = item.type_str()
        rank[kind][item.id] = len(rank[kind])
        if kind == "n":
            places.append((item.lon, item.lat))
    # Not the box of all nodes: a single ferry or border would leave a sea between two copies.
    low, high = np.percentile(places, [1, 99], axis=0)
    return rank, high - low + GAP


def _read(source: Path, kind: str) -> Iterator[Any]:
    entity = {"n": osmium.osm.NODE, "w": osmium.osm.WAY, "r": osmium.osm.RELATION}[kind]
    return iter(osmium.FileProcessor(str(source), entity))


def _add(writer: Any, item: Any, kind: str, rank: Any, base: Any, shift: Any) -> None:
    def new(name: str, ref: int) -> int:
        # An object that the extract lacks stays lacking: its number is beyond those of all copies.
        known = rank[name].get(ref)
        return base[name] + known if known is not None else 1_000_000_000_000 + ref

    if kind == "n":
        place = (item.lon + shift[0], item.lat + shift[1])
        writer.add_node(item.replace(id=new("n", item.id), location=place))
    elif kind == "w":
        nodes = [new("n", node.ref) for node in item.nodes]
        writer.add_way(item.replace(id=new("w", item.id), nodes=nodes))
    else:
        members = [(one.type, new(one.type, one.ref), one.role) for one in item.members]
        writer.add_relation(item.replace(id=new("r", item.id), members=members))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("copies", type=int)
    parser.add_argument("target", type=Path)
    given = parser.parse_args()
    tile_extract(given.source, given.copies, given.target)
