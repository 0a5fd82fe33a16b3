"""Measure the package beside what it is compared with, on one machine and the same input.

``python benchmarks/run.py [NAME ...] [--runs N] [--write]`` prints one Markdown section per
benchmark; ``--write`` puts it between its markers in RESULTS.md. It needs Linux.
"""

import argparse
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

from balance import bench_balance
from big import bench_big
from odds import bench_odds
from siting import bench_siting

from maps import bench_maps

RESULTS = Path(__file__).resolve().with_name("RESULTS.md")
MONACO = RESULTS.parents[1] / "data" / "monaco.toml"
LIBRARIES = "survey osmnx networkx geopandas shapely scipy numpy pandas osmium pyogrio folium"

# What each side runs to get to the same place; a ratio is taken of each row.
STEPS = {
    "import": (["import survey"], ["import osmnx"]),
    "read the file": (["read_extract"], ["graph_from_xml", "features_from_xml"]),
    "streets and places": (["build_frame"], ["simplify_graph", "project_graph", "nearest_nodes"]),
    "2 km around fixed points": (["measure_reach"], ["single_source_dijkstra"]),
    "500 m around toilets": (["audit walk-500"], ["multi_source_dijkstra", "sum of edges"]),
}
OURS_ALONE = ("draw_round", "visit_odds", "audit crow-500", "measure_catchments")
OURS_ALONE += ("save_map", "save_workspace")

# osmnx's own filter of network_type="walk", which it applies only to what it downloads.
NOT_WALKED = {
    "area": "yes",
    "access": "private",
    "highway": "abandoned|bus_guideway|construction|cycleway|motor|no|planned|platform|proposed"
    "|raceway|razed|rest_area|services",
    "foot": "no",
    "service": "private",
    **dict.fromkeys(("sidewalk", "sidewalk:both", "sidewalk:left", "sidewalk:right"), "separate"),
}
# The tags of toilets and fixed points in survey/frame/tags.toml.
PLACES = {
    "amenity": "toilets marketplace school college university hospital bus_station ferry_terminal",
    "shop": "mall supermarket department_store",
    "healthcare": "hospital",
    "railway": "station halt",
    "public_transport": "station",
    "aeroway": "terminal",
}


@dataclass
class Sample:
    """What one process measured: CPU seconds by stage, and its answers."""

    cpu_s: dict[str, float] = field(default_factory=dict)
    peak_mb: float = 0
    answers: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what runs inside."""
        start = time.process_time()
        yield
        self.cpu_s[name] = time.process_time() - start
        self.peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure_ours(folder: Path) -> Sample:
    """Do the whole job for the demo city, stage by stage as `run_city` does it."""
    sample = Sample()
    with sample.stage("import survey"):
        job: Any = import_module("survey.city")
        config = import_module("survey.config").read_config(MONACO)
    with sample.stage("read_extract"):
        osm = job.read_source(config, lambda _: None)
    with sample.stage("build_frame"):
        frame = job.build_frame(osm)
    with sample.stage("measure_reach"):
        reach = job.measure_reach(frame)
    with sample.stage("audit walk-500"):
        walk = job.audit_coverage(frame, rules=["walk-500"])
    with sample.stage("draw_round"):
        draw = job.draw_round(frame, reach, config.design, seed=config.seed)
    with sample.stage("visit_odds"):
        odds = job.visit_odds(frame, reach, config.design)
    with sample.stage("audit crow-500"):
        job.audit_coverage(frame, rules=["crow-500"])
    with sample.stage("measure_catchments"):
        catchments = job.measure_catchments(frame)
    with sample.stage("save_map"):
        shown = {"draw": draw, "odds": odds, "audit": walk, "reach": reach}
        job.save_map(folder / "map.html", frame, **shown, replace=True)
    with sample.stage("save_workspace"):
        manifest = job.start_manifest(osm)
        tables = frame.tables | {"reach": reach, "catchments": catchments, "odds": odds}
        tables |= walk.tables
        tables |= job.osm_tables(osm) | job.add_round(None, draw, manifest)
        job.save_workspace(folder / "city.gpkg", tables, manifest, replace=True)
    sample.answers = _judge_by_nodes(frame, walk)
    return sample


def _judge_by_nodes(frame: Any, walk: Any) -> dict[str, Any]:
    """Answer by nearest nodes and whole edges on our own streets, so that only these differ."""
    import networkx as nx

    edges = frame.streets.edges.set_index("edge_id")
    walkable = edges[edges["walkable"]]
    graph = nx.from_pandas_edgelist(walkable, "u", "v", "length_m", create_using=nx.MultiGraph)
    nodes = frame.streets.nodes.set_index("node_id").geometry[list(graph)]
    supply = frame.supply()
    nearest = nodes.iloc[nodes.sindex.nearest(supply.geometry, return_all=False)[1]]
    near = nx.multi_source_dijkstra_path_length(graph, set(nearest.index), 500, weight="length_m")
    checked = edges[edges["public"] & edges["inside"]]
    length, total = checked["length_m"], checked["length_m"].sum()
    ends = checked["u"].isin(near).astype(int) + checked["v"].isin(near)
    whole, half = length.where(ends == 2, 0), length * ends / 2
    exact = walk.covered.groupby("edge_id")["length_m"].sum().reindex(length.index, fill_value=0)
    doors = frame.doors[frame.doors["layer"] == "toilet"].drop_duplicates("id").set_index("id")
    moved = doors.geometry.reindex(supply["toilet_id"]).distance(nearest, align=False)
    size = (len(supply), len(frame.points), total)
    return {
        "survey: exact positions, the part of each edge within": (*size, exact.sum() / total),
        "same streets, nearest nodes, edges with both ends within": (*size, whole.sum() / total),
        "same streets, nearest nodes, half an edge for each end": (*size, half.sum() / total),
        "misjudged": (whole - exact).abs().sum() / total,
        "moved_m": (moved.median(), moved.max()),
    }


def convert_extract(source: Path, folder: Path) -> None:
    """Write an extract as XML, and its walkable streets as XML of their own."""
    import osmium

    with osmium.SimpleWriter(str(folder / "all.osm")) as everything:
        for item in osmium.FileProcessor(str(source)):
            everything.add(item)
    with osmium.BackReferenceWriter(str(folder / "streets.osm"), str(source)) as streets:
        for way in osmium.FileProcessor(str(source), osmium.osm.WAY):
            barred = (re.search(no, way.tags.get(key) or "") for key, no in NOT_WALKED.items())
            if "highway" in way.tags and not any(barred):
                streets.add(way)


def measure_rival(folder: Path, bbox: Sequence[float]) -> Sample:
    """Do the shared steps as they are usually done with osmnx and networkx."""
    sample = Sample()
    with sample.stage("import osmnx"):
        import_module("scipy.spatial")  # else osmnx loads it in the first nearest_nodes
        import networkx as nx
        import osmnx as ox
        import shapely
    ox.settings.use_cache = False
    xml, box = folder / "streets.osm", shapely.box(*bbox)
    tags: Any = {key: values.split() for key, values in PLACES.items()}
    with sample.stage("graph_from_xml"):
        graph = ox.graph_from_xml(xml, bidirectional=True, simplify=False, retain_all=True)
    with sample.stage("features_from_xml"):
        places = ox.features_from_xml(folder / "all.osm", tags=tags)
    with sample.stage("simplify_graph"):
        graph = ox.simplify_graph(graph)
    inside = {n for n, at in graph.nodes.items() if shapely.intersects_xy(box, at["x"], at["y"])}
    with sample.stage("project_graph"):
        graph = ox.project_graph(graph)
        middle = places.to_crs(graph.graph["crs"]).geometry.centroid
    with sample.stage("nearest_nodes"):
        is_toilet = places["amenity"] == "toilets"
        toilets = middle[is_toilet & ~places["access"].isin(["private", "no", "customers"])]
        points = middle[~is_toilet & places.intersects(box)]
        sources = set(ox.distance.nearest_nodes(graph, toilets.x, toilets.y))
        starts = ox.distance.nearest_nodes(graph, points.x, points.y)
    with sample.stage("single_source_dijkstra"):
        for start in starts:
            nx.single_source_dijkstra_path_length(graph, start, cutoff=2_000, weight="length")
    with sample.stage("multi_source_dijkstra"):
        near = nx.multi_source_dijkstra_path_length(graph, sources, cutoff=500, weight="length")
    with sample.stage("sum of edges"):  # each street stands in the graph in both directions
        edges = [edge for edge in graph.edges(data="length") if inside.issuperset(edge[:2])]
        total = sum(metres for *_, metres in edges)
        whole = sum(metres for u, v, metres in edges if u in near and v in near) / total
    answer = (len(toilets), len(points), total / 2, whole)
    sample.answers = {"osmnx's streets, nearest nodes, edges with both ends within": answer}
    return sample


def bench_monaco(runs: int) -> list[str]:
    """Time the demo city by stage beside osmnx and networkx."""
    source = tomllib.loads(MONACO.read_text(encoding="utf-8"))["source"]
    ours, rival = [], []
    # A new process for each task: nothing is warm, and the peak of memory is its own.
    processes = get_context("spawn").Pool(1, maxtasksperchild=1)
    with tempfile.TemporaryDirectory() as name, processes:
        folder = Path(name)
        processes.apply(convert_extract, (MONACO.parent / source["extract"], folder))
        for _ in range(runs):  # in turn, so that what else the machine does falls on both
            ours.append(processes.apply(measure_ours, (folder,)))
            rival.append(processes.apply(measure_rival, (folder, source["bbox"])))
    return [*_time_table(ours, rival), *_answer_table(ours[0].answers | rival[0].answers)]


def _time_table(ours: list[Sample], rival: list[Sample]) -> list[str]:
    def cost(side: list[Sample], stages: Sequence[str]) -> float:
        return sum(median(sample.cpu_s[stage] for sample in side) for stage in stages)

    def row(step: str, left: Sequence[str], right: Sequence[str]) -> str:
        parts = (
            [f"{cost(side, [stage]):.2f} {stage}" for stage in stages]
            for side, stages in ((ours, left), (rival, right))
        )
        ratio = f"{cost(rival, right) / cost(ours, left):.1f}" if right else ""
        return f"| {step} | {' + '.join(next(parts))} | {' + '.join(next(parts))} | {ratio} |"

    left, right = ([stage for step in [*STEPS.values()][1:] for stage in step[i]] for i in (0, 1))
    mine, theirs = cost(ours, left), cost(rival, right)
    peaks = [f"{median(sample.peak_mb for sample in side):.0f} MB" for side in (ours, rival)]
    sums = sorted(sum(sample.cpu_s.values()) for sample in ours)
    return [
        f"CPU seconds, medians of {len(ours)} runs, each in a process of its own.\n",
        "| step | survey | osmnx + networkx | ratio |\n|---|---|---|--:|",
        *(row(step, *stages) for step, stages in STEPS.items()),
        f"| **these steps without import** | {mine:.2f} | {theirs:.2f} | **{theirs / mine:.1f}** |",
        *(row("ours alone", [stage], []) for stage in OURS_ALONE),
        f"| peak memory of the process | {peaks[0]} | {peaks[1]} | |\n",
        f"All stages of ours together took {sums[0]:.1f} to {sums[-1]:.1f} CPU seconds.\n",
    ]


def _answer_table(answers: dict[str, Any]) -> list[str]:
    wrong, (middle, most) = answers.pop("misjudged"), answers.pop("moved_m")
    return [
        "| street within 500 m on foot | toilets | fixed points | street, km | within |",
        "|---|--:|--:|--:|--:|",
        *(
            f"| {how} | {toilets} | {points} | {metres / 1000:.1f} | {share:.1%} |"
            for how, (toilets, points, metres, share) in answers.items()
        ),
        f"\nOn the same streets, nodes and whole edges misjudge {wrong:.1%} of the street;",
        f"toilets are moved {middle:.0f} m (median) and up to {most:.0f} m off their place.",
    ]


def bench_start(runs: int) -> list[str]:
    """Measure what `survey --help` costs beside importing osmnx."""
    commands = {
        "survey --help": [str(Path(sys.executable).with_name("survey")), "--help"],
        'python -c "import osmnx"': [sys.executable, "-c", "import osmnx"],
    }
    spent: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(runs + 1):
        for name, command in commands.items():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            spent[name].append(sum(after[:2]) - sum(before[:2]))  # user and system time
    cost = {name: median(seconds[1:]) for name, seconds in spent.items()}  # the first warms disks
    return [
        f"CPU seconds, medians of {runs} runs.\n",
        "| command | s | ratio |\n|---|--:|--:|",
        *(f"| `{name}` | {s:.2f} | {s / cost['survey --help']:.1f} |" for name, s in cost.items()),
    ]


def _describe_run() -> str:
    found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    versions = ", ".join(f"{name} {version(name)}" for name in LIBRARIES.split())
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores of"
        f" {found[1] if found else platform.machine()}, load {os.getloadavg()[0]:.1f} at the start."
        f" Python {platform.python_version()}, {versions}.\n"
    )


def main() -> None:
    """Run the benchmarks that are named, or all of them."""
    benchmarks = {
        "monaco": bench_monaco,
        "start": bench_start,
        "big": bench_big,
        "odds": bench_odds,
        "balance": bench_balance,
        "siting": bench_siting,
        "maps": bench_maps,
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(benchmarks)}")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="put the result into RESULTS.md")
    options = parser.parse_args()
    for name in options.names or benchmarks:
        text = "\n".join([_describe_run(), *benchmarks[name](options.runs)])
        print(f"## {name}\n\n{text}\n")
        if options.write:
            head, rest = RESULTS.read_text(encoding="utf-8").split(start := f"<!-- {name} -->\n")
            tail = rest.split(end := f"<!-- end of {name} -->\n")[1]
            RESULTS.write_text(f"{head}{start}{text}\n{end}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
