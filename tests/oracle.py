"""Coverage by brute force: a position every metre, each of them a node of a networkx graph.

Nothing here is the package's: it reads plain tables, and works otherwise.
"""

from collections import defaultdict
from itertools import pairwise

import networkx as nx
import numpy as np
import osmium
import pandas as pd
import pyproj
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
    cells = []
    for edge in edges[edges["walkable"]].itertuples():
        middles = np.empty(0)
        if edge.public and edge.inside and edge.length_m > 0:
            count = max(1, round(edge.length_m / step_m))
            middles = (np.arange(count) + 0.5) * edge.length_m / count
            cells += [(edge.edge_id, at, edge.length_m / count) for at in middles]
        _add_chain(graph, edge, middles, doors_of[edge.edge_id])
    found = nx.single_source_dijkstra_path_length(graph, ALL_TOILETS)
    samples = pd.DataFrame(cells, columns=["edge_id", "at_m", "weight_m"])
    return samples.assign(walk_m=[found.get((edge, at), np.inf) for edge, at, _ in cells])


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
    codes = {edge: number for number, edge in enumerate(sorted(set(rows["edge_id"])))}
    order = np.lexsort((rows["from_m"], rows["edge_id"].map(codes)))
    mine = rows.iloc[order]
    # All edges laid end to end on one axis, each with more room than any street is long.
    base_m = 1e7 * mine["edge_id"].map(codes).to_numpy(dtype=float)
    at_m = 1e7 * samples["edge_id"].map(codes).to_numpy(dtype=float) + samples["at_m"].to_numpy()
    row = np.searchsorted(base_m + mine["from_m"].to_numpy(), at_m, side="right") - 1
    ends_m = np.r_[base_m + mine["to_m"].to_numpy(), -np.inf]
    return np.where(at_m <= ends_m[row], np.r_[order, -1][row], -1)


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


def read_segments(path, edges):
    """Read the ways of `edges` from the file itself, every node of them a node of the graph.

    Returns segments in the columns that `sample_walk` reads, lengths on the ellipsoid, and
    ``lon``, ``lat``, ``lon_to``, ``lat_to``, ``level``.
    """
    mine = edges[edges["walkable"]]
    ways = mine.groupby("way_id").agg({"level": "first", "public": "any"})
    rows = []
    for item in osmium.FileProcessor(str(path), osmium.osm.NODE | osmium.osm.WAY).with_locations():
        name = f"way/{item.id}"
        if not item.is_way() or name not in ways.index:
            continue
        for pair in pairwise(item.nodes):
            if all(node.location.valid() for node in pair):
                one, other = ((f"node/{node.ref}", node.lon, node.lat) for node in pair)
                rows.append((name, *one, *other))
    names = ["way_id", "u", "lon", "lat", "v", "lon_to", "lat_to"]
    table = pd.DataFrame(rows, columns=names).join(ways, on="way_id")
    # Segments from one end of an edge to the next are that edge; where the area's boundary cuts
    # it in two, its way decides.
    new = table["u"].isin({*mine["u"], *mine["v"]}) | (table["u"] != table["v"].shift())
    run = table.groupby((new | (table["way_id"] != table["way_id"].shift())).cumsum())
    keys = [table["way_id"], run["u"].transform("first"), run["v"].transform("last")]
    public = mine.groupby(["way_id", "u", "v"])["public"].any()
    found = public.reindex(pd.MultiIndex.from_arrays(keys)).to_numpy(dtype=object)
    table["public"] = np.where(pd.isna(found), table["public"], found).astype(bool)
    geod = pyproj.Geod(ellps="WGS84")
    length = geod.inv(table["lon"], table["lat"], table["lon_to"], table["lat_to"])[2]
    return table.assign(length_m=length, edge_id=table.index.astype(str), walkable=True)


def snap(toilets, segments, *, max_access_m=150):
    """Find the nearest position on an allowed segment: the doors that `sample_walk` reads.

    Allowed are segments of the largest piece at street level, or on the toilet's own level; where
    none is near enough any of that piece, then any at all.
    """
    graph = nx.from_pandas_edgelist(segments, "u", "v", create_using=nx.MultiGraph)
    parts = enumerate(nx.connected_components(graph))
    piece = segments["u"].map({node: number for number, nodes in parts for node in nodes})
    main = piece == segments.groupby(piece)["length_m"].sum().idxmax()
    lon, lat = segments[["lon", "lat"]].mean()
    around = f"+proj=aeqd +lon_0={lon} +lat_0={lat}"
    plane = pyproj.Transformer.from_crs(4326, around, always_xy=True)
    start = np.c_[plane.transform(segments["lon"], segments["lat"])]
    run = np.c_[plane.transform(segments["lon_to"], segments["lat_to"])] - start
    square = np.maximum((run**2).sum(axis=1), 1e-12)
    doors = []
    for toilet in toilets.to_crs(4326).itertuples():
        spot = np.array(plane.transform(toilet.geometry.x, toilet.geometry.y))
        share = np.clip(((spot - start) * run).sum(axis=1) / square, 0, 1)
        away = np.hypot(*(start + run * share[:, None] - spot).T)
        level = segments["level"].isna() | (segments["level"] == toilet.level)
        for allowed in (main & level, main, main | True):
            best = np.where(allowed, away, np.inf).argmin()
            if away[best] <= max_access_m:
                at = share[best] * segments["length_m"].iloc[best]
                doors.append(("toilet", toilet.toilet_id, str(best), at, away[best]))
                break
    return pd.DataFrame(doors, columns=["layer", "id", "edge_id", "offset_m", "access_m"])


def sample_file(path, box, edges, toilets):
    """Do as `sample_walk` does, on what the file itself holds within a box of degrees."""
    west, south, east, north = box
    segments = read_segments(path, edges)
    ends = segments[["lon", "lon_to"]], segments[["lat", "lat_to"]]
    beside = (ends[0].max(axis=1) < west) | (ends[0].min(axis=1) > east)
    beside |= (ends[1].max(axis=1) < south) | (ends[1].min(axis=1) > north)
    segments = segments.assign(inside=~beside)
    doors = snap(toilets, segments)
    samples = sample_walk(segments, doors, toilets)
    table = segments.set_index("edge_id").loc[samples["edge_id"]].reset_index()
    share = samples["at_m"] / table["length_m"]
    lon = table["lon"] + share * (table["lon_to"] - table["lon"])
    lat = table["lat"] + share * (table["lat_to"] - table["lat"])
    return samples[lon.between(west, east) & lat.between(south, north)]
