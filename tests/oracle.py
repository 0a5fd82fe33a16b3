"""Coverage by brute force: a position every metre, each of them a node of a networkx graph.

Nothing here is the package's: it reads plain tables, and works otherwise.
"""

from collections import defaultdict
from itertools import pairwise

import networkx as nx
import numpy as np
import pandas as pd
import shapely
from scipy.spatial import cKDTree

SUPPLY = ["public", "opened"]
ALL_TOILETS = "all toilets"


def sample_walk(edges, doors, toilets, *, step_m=1.0):
    """Measure the walk to the nearest toilet at positions on every checked edge.

    Each edge is a chain of nodes: its ends, its doors and, where it is checked, the middles of
    its cells of about `step_m`. Returns ``edge_id, at_m, weight_m, walk_m`` (infinite where
    there is no way); the weights of an edge add up to its length.
    """
    supply = toilets.loc[toilets["status"].isin(SUPPLY), "toilet_id"]
    mine = doors[(doors["layer"] == "toilet") & doors["id"].isin(supply)]
    doors_of = defaultdict(list)
    for door in mine.itertuples():
        doors_of[door.edge_id].append((door.offset_m, door.access_m))
    graph = nx.Graph()
    graph.add_node(ALL_TOILETS)
    parts = []
    for edge in edges[edges["walkable"]].itertuples():
        middles = np.empty(0)
        if edge.public and edge.inside and edge.length_m > 0:
            cells = max(1, round(edge.length_m / step_m))
            middles = (np.arange(cells) + 0.5) * edge.length_m / cells
            facts = {"edge_id": edge.edge_id, "at_m": middles, "weight_m": edge.length_m / cells}
            parts.append(pd.DataFrame(facts))
        _add_chain(graph, edge, middles, doors_of[edge.edge_id])
    found = nx.single_source_dijkstra_path_length(graph, ALL_TOILETS)
    samples = pd.concat(parts, ignore_index=True)
    keys = zip(samples["edge_id"], samples["at_m"], strict=True)
    return samples.assign(walk_m=[found.get(key, np.inf) for key in keys])


def _add_chain(graph, edge, middles, doors):
    stops = [(0.0, ("node", edge.u)), (edge.length_m, ("node", edge.v))]
    stops += [(at, (edge.edge_id, at)) for at in {*middles, *(at for at, _ in doors)}]
    stops.sort(key=lambda stop: stop[0])
    for (start, one), (end, other) in pairwise(stops):
        _link(graph, one, other, end - start)
    for at, access_m in doors:
        _link(graph, ALL_TOILETS, (edge.edge_id, at), access_m)


def _link(graph, one, other, length):
    """Join two nodes; of parallel joins the shortest counts."""
    if not graph.has_edge(one, other) or graph[one][other]["weight"] > length:
        graph.add_edge(one, other, weight=length)


def sample_crow(edges, samples, toilets):
    """Measure the straight line to the nearest toilet at the positions of `sample_walk`.

    Adds ``crow_m`` (infinite without a toilet), ``x`` and ``y``.
    """
    table = edges.set_index("edge_id").loc[samples["edge_id"]]
    at = samples["at_m"].to_numpy() / table["length_m"].to_numpy()
    lines = table.geometry.to_numpy()
    places = shapely.get_coordinates(shapely.line_interpolate_point(lines, at, normalized=True))
    supply = toilets[toilets["status"].isin(SUPPLY)]
    crow = np.full(len(samples), np.inf)
    if len(supply):
        crow = cKDTree(shapely.get_coordinates(supply.geometry.to_numpy())).query(places)[0]
    return samples.assign(crow_m=crow, x=places[:, 0], y=places[:, 1])


def find_rows(samples, rows):
    """Find the row of `rows` (``edge_id, from_m, to_m``) that each sample lies in, -1 if none."""
    found = np.full(len(samples), -1)
    groups = dict(list(rows.reset_index(drop=True).groupby("edge_id")))
    for edge, group in samples.reset_index(drop=True).groupby("edge_id"):
        if edge in groups:
            mine = groups[edge].sort_values("from_m")
            row = np.searchsorted(mine["from_m"], group["at_m"], side="right") - 1
            inside = (row >= 0) & (group["at_m"].to_numpy() <= mine["to_m"].to_numpy()[row])
            found[group.index] = np.where(inside, mine.index.to_numpy()[row], -1)
    return found


def find_faults(samples, covered, metric, limit_m, *, slack_m=0.002):
    """Find the samples that an audit's `covered` rows and brute force tell apart.

    A sample within `slack_m` of the limit proves nothing: offsets are rounded to the millimetre.
    """
    distance = samples[f"{metric}_m"]
    said = find_rows(samples, covered) >= 0
    clear = (distance - limit_m).abs() > slack_m
    return samples[clear & (said != (distance <= limit_m))]


def share_within(samples, metric, limit_m):
    """Share of the sampled length within a limit."""
    near = samples[f"{metric}_m"] <= limit_m
    return samples.loc[near, "weight_m"].sum() / samples["weight_m"].sum()
