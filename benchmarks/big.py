"""Cities of any size: tilings of the demo extract, ours stage by stage, and rivals beside us.

``python benchmarks/big.py 20 40`` prints the table of our stages for tilings of that many copies;
``--rivals 20`` adds what others take for the same. `benchmarks/run.py big` does both. A rival that
is not installed is named as such.
"""

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tile import tile_extract

EXTRACT = Path(__file__).resolve().parents[1] / "data" / "monaco.osm.pbf"
COPIES = (20, 40, 320)
RIVAL_COPIES = 40  # what osmnx takes some minutes for
FETCHED = ("read_extract", "build_frame", "audit_coverage")
DRAWN = ("measure_reach", "draw_round")
Stages = dict[str, tuple[float, float]]


class Clock:
    """Wall seconds of each stage, and the peak of memory after it, in MB."""

    def __init__(self) -> None:
        self.stages: Stages = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what runs inside."""
        start = time.perf_counter()
        yield
        spent = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        self.stages[name] = (spent, peak)


def decode_alone(path: Path) -> Stages:
    """Let osmium decode every object of a file, and hand none of them to Python."""
    import osmium

    clock = Clock()
    with clock.stage("decode"):
        for _ in osmium.FileProcessor(str(path)).with_filter(osmium.filter.KeyFilter("-")):
            pass
    return clock.stages


def import_survey() -> Any:
    """Import the package with what the stages call, which it else imports at the first call."""
    package = import_module("survey")
    for name in ("find_area", "Design", "visit_odds", *FETCHED, *DRAWN):
        getattr(package, name)
    return package


def measure_stages(path: Path, folder: Path) -> tuple[Stages, dict[str, int]]:
    """Do the whole job on one file, stage by stage."""
    survey = import_survey()
    workspace = import_module("survey.workspace")
    clock = Clock()
    area = survey.find_area(
        extract=path, bbox=import_module("survey.sources.extract").suggest_box(path)
    )
    with clock.stage("read_extract"):
        osm = survey.read_extract(path, area)
    with clock.stage("build_frame"):
        frame = survey.build_frame(osm)
    with clock.stage("audit_coverage"):
        audit = survey.audit_coverage(frame, rules=["walk-500", "crow-500"])
    with clock.stage("save_workspace"):
        made = workspace.osm_tables(osm) | frame.tables | audit.tables
        manifest = workspace.start_manifest(osm)
        workspace.save_workspace(folder / f"{path.name}.gpkg", made, manifest, replace=True)
    with clock.stage("measure_reach"):
        reach = survey.measure_reach(frame, limit_m=2_000)
    with clock.stage("draw_round"):
        draw = survey.draw_round(frame, reach, survey.Design(), round_id="big", seed="benchmark")
    with clock.stage("visit_odds"):
        survey.visit_odds(frame, reach, survey.Design())
    size = {
        "edges": len(frame.streets.edges),
        "points": len(frame.points),
        "pairs": len(reach),
        "drawn": len(draw.draws),
    }
    return clock.stages, size


def read_box(path: Path) -> Stages:
    """Read a box of 50 km2 out of the middle of a file."""
    survey = import_survey()
    whole = import_module("survey.sources.extract").suggest_box(path)
    east, north = (whole[0] + whole[2]) / 2, (whole[1] + whole[3]) / 2
    half_y = 7_071 / 2 / 111_200  # degrees of latitude; 7,071 m squared are 50 km2
    half_x = half_y / 0.72  # at 44 degrees north
    clock = Clock()
    area = survey.find_area(
        extract=path, bbox=(east - half_x, north - half_y, east + half_x, north + half_y)
    )
    with clock.stage("read a box of 50 km2"):
        survey.read_extract(path, area)
    return clock.stages


def measure_nearest(path: Path) -> Stages:
    """Do with ours what osmnx and networkx do below: from the file to the nearest toilets."""
    import numpy as np

    survey = import_survey()
    extract, streets, tags, places, doors, network = (
        import_module(f"survey.{name}")
        for name in (
            "sources.extract",
            "frame.streets",
            "frame.tags",
            "frame.places",
            "frame.doors",
            "frame.network",
        )
    )
    clock = Clock()
    area = survey.find_area(extract=path, bbox=extract.suggest_box(path))
    with clock.stage("read_extract"):
        osm = survey.read_extract(path, area)
    with clock.stage("build_streets"):
        made = streets.build_streets(osm)
    with clock.stage("find_toilets"):
        toilets = places.find_toilets(tags.parse_features(osm), area)
    with clock.stage("find_doors"):
        found = doors.find_doors(made, toilets, layer="toilet")
        edge = made.rows.get_indexer(found["edge_id"]).astype(np.int64)
        offset, access = (
            np.rint(found[name].to_numpy() * 1000).astype(np.int64)
            for name in ("offset_m", "access_m")
        )
    with clock.stage("search_nearest"):
        cut = network.cut_streets(made, edge, offset)
        starts = network.Sources(len(found), np.arange(len(found)), cut.position_node, access)
        network.search_nearest(cut, starts)
    return clock.stages


def measure_osmnx(path: Path, folder: Path) -> tuple[Stages, dict[str, float]]:
    """Find the nearest toilet of every node with osmnx and networkx, and compare with ours."""
    from run import convert_extract

    clock = Clock()
    convert_extract(path, folder)  # osmnx reads no .osm.pbf; not counted
    with clock.stage("import osmnx"):
        import networkx as nx
        import osmnx as ox
    ox.settings.use_cache = False
    with clock.stage("graph_from_xml"):
        xml = folder / "streets.osm"
        graph = ox.graph_from_xml(xml, bidirectional=True, simplify=False, retain_all=True)
    with clock.stage("features_from_xml"):
        found = ox.features_from_xml(folder / "all.osm", tags={"amenity": "toilets"})
    with clock.stage("simplify_graph"):
        graph = ox.simplify_graph(graph)
    with clock.stage("project_graph"):
        graph = ox.project_graph(graph)
    with clock.stage("nearest_nodes"):
        middle = found.to_crs(graph.graph["crs"]).geometry.centroid
        sources = set(ox.distance.nearest_nodes(graph, middle.x, middle.y))
    with clock.stage("multi_source_dijkstra"):
        nx.multi_source_dijkstra_path_length(graph, sources, weight="length")
    return clock.stages, _compare(graph, sources)


def _compare(graph: Any, sources: set[int]) -> dict[str, float]:
    """Search the same graph from the same nodes with networkx and with ours; lengths in metres."""
    import networkx as nx
    import numpy as np

    import survey

    network = import_module("survey.frame.network")
    at = graph.nodes
    for tail, head, facts in graph.edges(data=True):
        # Along the projected line, as ours are; osmnx's own lengths are on a sphere.
        straight = np.hypot(at[tail]["x"] - at[head]["x"], at[tail]["y"] - at[head]["y"])
        line = facts.get("geometry")
        facts["length"] = round(float(straight) if line is None else line.length, 3)
        # Both sides walk every edge; which of them one may walk is not the question here.
        facts["highway"] = "residential"
        for tag in ("access", "foot", "motorroad"):
            facts.pop(tag, None)
    theirs = nx.multi_source_dijkstra_path_length(graph, sources, weight="length")
    streets = survey.from_networkx(graph)
    ids = streets.nodes["node_id"].str.removeprefix("node/").astype("int64")
    row = dict(zip(ids, range(len(ids)), strict=True))
    nowhere = np.empty(0, dtype=np.int64)
    starts = np.array([row[node] for node in sorted(sources)])
    places = network.Sources(len(starts), np.arange(len(starts)), starts, np.zeros(len(starts)))
    ours = network.search_nearest(network.cut_streets(streets, nowhere, nowhere), places)[0] / 1000
    return {
        "nodes": len(theirs),
        "reached by one side only": int(np.isfinite(ours).sum()) - len(theirs),
        "greatest difference, m": max(abs(ours[row[node]] - m) for node, m in theirs.items()),
    }


def measure_pyrosm(path: Path, _folder: Path) -> tuple[Stages, dict[str, float]]:
    """Read the streets for walking and the buildings with pyrosm."""
    clock = Clock()
    with clock.stage("import pyrosm"):
        import pyrosm
    reader = pyrosm.OSM(str(path))
    with clock.stage("get_network"):
        nodes, _ = reader.get_network("walking", nodes=True)
    with clock.stage("get_buildings"):
        reader.get_buildings()
    return clock.stages, {"nodes": len(nodes)}


def measure_gdal(path: Path, _folder: Path) -> tuple[Stages, dict[str, float]]:
    """Read lines and areas with GDAL's driver for OpenStreetMap."""
    import pyogrio

    clock = Clock()
    rows = {}
    for layer in ("lines", "multipolygons"):
        with clock.stage(f"GDAL {layer}"):
            rows[layer] = len(pyogrio.read_dataframe(path, layer=layer))
    return clock.stages, rows


def measure_pandana(path: Path, _folder: Path) -> tuple[Stages, dict[str, float]]:
    """Build pandana's network of our streets and find the nearest toilet of every node."""
    import numpy as np

    import survey

    clock = Clock()
    with clock.stage("import pandana"):
        import pandana
    suggest_box = import_module("survey.sources.extract").suggest_box
    network = import_module("survey.frame.network")
    area = survey.find_area(extract=path, bbox=suggest_box(path))
    frame = survey.build_frame(survey.read_extract(path, area))
    edges = frame.streets.edges[frame.streets.edges["walkable"]]
    u, v = (end[edges.index] for end in frame.streets.ends)
    place, supply = frame.streets.nodes.geometry, frame.supply().geometry
    with clock.stage("pandana build"):
        net = pandana.Network(place.x, place.y, *map(_series, (u, v)), edges[["length_m"]])
    with clock.stage("pandana nearest"):
        net.set_pois("toilets", 2_000, 1, supply.x, supply.y)
        net.nearest_pois(2_000, "toilets", num_pois=1)
    doors = frame.doors[frame.doors["layer"] == "toilet"]
    edge = frame.streets.rows.get_indexer(doors["edge_id"]).astype(np.int64)
    offset, access = (
        np.rint(doors[name].to_numpy() * 1000).astype(np.int64) for name in ("offset_m", "access_m")
    )
    with clock.stage("ours build, exact positions"):
        cut = network.cut_streets(frame.streets, edge, offset)
    with clock.stage("ours nearest, no limit"):
        count = len(doors)
        starts = network.Sources(count, np.arange(count), cut.position_node, access)
        network.search_nearest(cut, starts)
    return clock.stages, {"nodes": len(place), "toilets": len(supply)}


def _series(values: Any) -> Any:
    import pandas as pd

    return pd.Series(values)


RIVALS: dict[str, Callable[[Path, Path], tuple[Stages, dict[str, float]]]] = {
    "osmnx": measure_osmnx,
    "pyrosm": measure_pyrosm,
    "pandana": measure_pandana,
    "pyogrio": measure_gdal,
}


def bench_big(
    _runs: int, copies: tuple[int, ...] = COPIES, rivals: int = RIVAL_COPIES
) -> list[str]:
    """Measure tilings of several sizes by stage, then the rivals on one of them."""
    # A new process for each task: nothing is warm, and the peak of memory is its own.
    processes = get_context("spawn").Pool(1, maxtasksperchild=1)
    with tempfile.TemporaryDirectory() as name, processes:
        folder = Path(name)
        lines = _measure_sizes(folder, copies, processes)
        return lines + (_measure_rivals(folder, rivals, processes) if rivals else [])


def _tile(folder: Path, copies: int) -> Path:
    path = folder / f"{copies}.osm.pbf"
    if not path.exists():
        print(f"tiling {copies} copies", file=sys.stderr)
        tile_extract(EXTRACT, copies, path)
    return path


def _measure_sizes(folder: Path, copies: tuple[int, ...], processes: Any) -> list[str]:
    head, columns = ["stage"], []
    for count in copies:
        path = _tile(folder, count)
        decode = processes.apply(decode_alone, (path,))
        stages, size = processes.apply(measure_stages, (path, folder))
        columns.append(decode | stages | processes.apply(read_box, (path,)))
        head.append(f"{count} copies, {path.stat().st_size / 1e6:.0f} MB, {size['edges']:,} edges")
        (folder / f"{path.name}.gpkg").unlink()
    rows = [[name, *(_cell(column, name) for column in columns)] for name in columns[0]]
    rows.append(["**" + " + ".join(FETCHED) + "**", *(_sum(one, FETCHED) for one in columns)])
    rows.append(
        [
            "**the same and save_workspace**",
            *(_sum(one, (*FETCHED, "save_workspace")) for one in columns),
        ]
    )
    rows.append(["**" + " + ".join(DRAWN) + "**", *(_sum(one, DRAWN) for one in columns)])
    peaks = (f"{max(peak for _, peak in column.values()) / 1024:.1f} GB" for column in columns)
    rows.append(["peak memory", *peaks])
    return [
        "Wall seconds, and how many times the bare decoding of the file.\n",
        *_table(head, rows),
        "",
    ]


def _cell(column: Stages, name: str) -> str:
    spent, _ = column[name]
    return f"{spent:.2f} ({spent / column['decode'][0]:.1f})"


def _sum(column: Stages, names: tuple[str, ...]) -> str:
    spent = sum(column[name][0] for name in names)
    return f"{spent:.2f} ({spent / column['decode'][0]:.1f})"


def _measure_rivals(folder: Path, copies: int, processes: Any) -> list[str]:
    path = _tile(folder, copies)
    stages, _ = processes.apply(measure_stages, (path, folder))
    ours = sum(stages[name][0] for name in FETCHED)
    nearest = processes.apply(measure_nearest, (path,))
    alone = sum(spent for spent, _ in nearest.values())
    rows = []
    for name, measure in RIVALS.items():
        if find_spec(name) is None:
            rows.append([name, "not installed", "", "", ""])
            continue
        theirs, facts = processes.apply(measure, (path, folder))
        spent = {
            stage: s for stage, (s, _) in theirs.items() if not stage.startswith(("import", "ours"))
        }
        parts = " + ".join(
            f"{s:.2f} {stage}" for stage, (s, _) in theirs.items() if not stage.startswith("import")
        )
        told = ", ".join(f"{value:g} {what}" for what, value in facts.items())
        total = sum(spent.values())
        same = f"{total / alone:.1f}" if name == "osmnx" else ""
        rows.append([name, parts, f"{total / ours:.1f}", same, told])
    head = ["rival", "seconds", "ratio to all of ours", "to nearest toilets alone", "its answers"]
    steps = " + ".join(f"{spent:.2f} {stage}" for stage, (spent, _) in nearest.items())
    return [
        f"Rivals on {copies} copies, beside {ours:.2f} s for all of ours ({' + '.join(FETCHED)}),",
        f"and {alone:.2f} s for what osmnx and networkx do, from the file to the nearest toilet of",
        f"every node, with ours ({steps}).\n",
        *_table(head, rows),
    ]


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(head)} |", "|---" + "|--:" * (len(head) - 1) + "|"] + [
        f"| {' | '.join(row)} |" for row in rows
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("copies", nargs="*", type=int, default=COPIES)
    parser.add_argument("--rivals", type=int, default=0, metavar="COPIES")
    given = parser.parse_args()
    print("\n".join(bench_big(1, tuple(given.copies), given.rivals)))
