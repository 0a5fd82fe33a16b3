"""Alleys: which edges are back streets, and which edges are one alley."""

import json
import re
from collections.abc import Mapping

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from survey.frame.blocks import Flags, Shapes, find_grounds, is_main
from survey.frame.chains import (
    describe_alleys,
    find_bigger_nodes,
    group_edges,
    join_lines,
    take_longest,
)
from survey.frame.claims import claim_edges
from survey.frame.streets import Floats, Streets
from survey.frame.tags import match_any, read_tags
from survey.frame.units import (
    as_notes,
    list_units,
    plain_names,
    read_unit_register,
)
from survey.sources.area import Area
from survey.sources.extract import OsmData
from survey.tables import round_mm

MIN_ALLEY_M = 30.0
"""Shorter pieces are corners and stubs, no alleys."""


def find_alleys(
    streets: Streets,
    osm: OsmData,
    features: gpd.GeoDataFrame,
    compounds: gpd.GeoDataFrame,
    area: Area,
    *,
    min_alley_m: float = MIN_ALLEY_M,
) -> tuple[gpd.GeoDataFrame, "pd.Series[str]", Flags, pd.DataFrame]:
    """Find the alleys of an area, and which edges are public streets once compounds are known.

    Edges of alley classes that share a name within 60 m of each other are one alley; unnamed ones
    are chained straight on until a junction with a bigger street. Neither the order of rows nor
    the direction of edges matters. The rules are data: `tags.toml`, section ``alleys``.

    Parameters
    ----------
    streets
        The streets.
    osm
        Where they come from; their tags are read again.
    features
        What `parse_features` answered.
    compounds
        The compounds, registers included.
    area
        An alley lies in it by at least half of its length.
    min_alley_m
        Shorter alleys are left out.

    Returns
    -------
    alleys
        ``alley_id`` (``alley/123`` after the lowest way, with ``#2``, ``#3`` where one way falls
        into several), ``name`` (missing if unnamed), ``name_en``, ``highway``, ``length_m``,
        ``source``, ``reason``, MultiLineString; sorted by ``alley_id``.
    alley_of_edge
        The alley of each edge, in their order; missing where there is none.
    public
        What `find_public` answered.
    notes
        ``scope`` ("city"), ``measure``, ``value``, ``note``: how many were left out, and why.
    """
    public = find_public(streets, osm, compounds)
    ways = _read_ways(osm)
    kind = streets.edges["way_id"].map(ways["kind"])
    wanted = kind.notna().to_numpy() & public & ~_on_grounds(streets, features)
    edges = streets.edges[wanted].assign(
        kind=kind[wanted],
        name_en=streets.edges["way_id"][wanted].map(ways["name_en"]),
        length_mm=streets.length_mm[wanted],
    )
    edges["group"] = group_edges(edges, find_bigger_nodes(streets))
    edges, notes = _choose_groups(edges, streets, min_alley_m)
    alleys = describe_alleys(edges, area)
    alley_of_edge = edges["group"].map(alleys["alley_id"]).reindex(streets.edges.index)
    alleys = alleys.sort_values("alley_id").reset_index(drop=True)
    return alleys, alley_of_edge.astype("str"), public, as_notes(notes)


def _choose_groups(
    edges: gpd.GeoDataFrame, streets: Streets, min_alley_m: float
) -> tuple[gpd.GeoDataFrame, list[tuple[str, str, float, str | None]]]:
    """Keep the groups of edges that lie in the area, are long enough and no side carriageways."""
    rules = read_tags()["alleys"]
    length = edges.groupby("group")["length_mm"].sum()
    inside = edges["length_mm"].where(edges["inside"], 0).groupby(edges["group"]).sum()
    beside = _beside_main(edges, streets).groupby(edges["group"]).sum()
    here = inside >= rules["inside_share"] * length
    long = length >= min_alley_m * 1000
    own = beside * 1000 < rules["beside_main_share"] * length
    short, side = float((here & ~long).sum()), float((here & long & ~own).sum())
    return edges[edges["group"].isin(length.index[here & long & own])], [
        ("city", "alleys_too_short", short, f"pieces shorter than {min_alley_m:g} m"),
        ("city", "alleys_beside_main", side, "side carriageways without a name of their own"),
    ]


def find_public(streets: Streets, osm: OsmData, compounds: gpd.GeoDataFrame) -> Flags:
    """Tell which edges count as public streets, once the compounds are known.

    Public edges but for unnamed ways inside a compound, by nine tenths of the edge or of its way,
    and unnamed closed ways on foot, which are the outline of something.

    Parameters
    ----------
    streets
        The streets, ``public`` by their own tags.
    osm
        Where they come from.
    compounds
        The compounds.

    Returns
    -------
    numpy.ndarray
        One flag per edge, in their order.
    """
    rules = read_tags()["alleys"]
    edges = streets.edges
    unnamed = edges["name"].isna().to_numpy()
    shrunk = shapely.buffer(compounds.geometry.to_numpy(), -rules["outline_m"])
    inner = np.zeros(len(edges))
    inner[unnamed] = _length_inside(edges.geometry.to_numpy()[unnamed], shrunk)
    length = edges["length_m"].to_numpy()
    way = pd.DataFrame({"inner": inner, "length": length}).groupby(edges["way_id"].to_numpy())
    totals = way.transform("sum")
    share = rules["enclosed_share"]
    inside = (inner > 0) & (
        (inner >= share * length) | (totals["inner"] >= share * totals["length"]).to_numpy()
    )

    nodes = osm.streets["nodes"].str.split()
    closed = osm.streets["way_id"][(nodes.str[0] == nodes.str[-1]) & (nodes.str.len() > 3)]
    outline = edges["way_id"].isin(closed) & edges["highway"].isin(rules["outlines"]["highway"])
    return np.asarray(edges["public"].to_numpy() & ~(unnamed & (inside | outline.to_numpy())))


def _length_inside(lines: Shapes, polygons: Shapes) -> Floats:
    """Length of each line within polygons that may overlap."""
    grounds = shapely.get_parts(shapely.union_all(polygons))
    line, ground = shapely.STRtree(grounds).query(lines, predicate="intersects")
    shared = shapely.length(shapely.intersection(lines[line], grounds[ground]))
    return np.bincount(line, weights=shared, minlength=len(lines)).astype(np.float64)


def _on_grounds(streets: Streets, features: gpd.GeoDataFrame) -> Flags:
    """Tell which edges are the paths of a closed ground: unnamed, service and foot ways in it."""
    rules, edges = read_tags()["alleys"], streets.edges
    may_be = edges["name"].isna() | edges["highway"].isin([*rules["foot"], "service"])
    inner = _length_inside(edges.geometry.to_numpy(), find_grounds(features))
    return np.asarray(may_be & (inner >= rules["enclosed_share"] * edges["length_m"]) & (inner > 0))


def _beside_main(edges: gpd.GeoDataFrame, streets: Streets) -> "pd.Series[float]":
    """Length of each edge close beside streets of tertiary and above, if it has no own name."""
    within_m = read_tags()["alleys"]["beside_main_m"]
    above = ~streets.edges["level"].str.match("-|tunnel").fillna(value=False).astype(bool)
    main = streets.edges[is_main(streets.edges["highway"]) & above]
    lines, shapes = edges.geometry.to_numpy(), main.geometry.to_numpy()
    row, street = shapely.STRtree(shapes).query(lines, predicate="dwithin", distance=within_m)
    names, theirs = plain_names(edges["name"]).to_numpy(), plain_names(main["name"]).to_numpy()
    same = pd.isna(names[row]) | (names[row] == theirs[street])
    row, street = row[same], street[same]
    beside = shapely.intersection(lines[row], shapely.buffer(shapes[street], within_m))
    length = pd.Series(beside).groupby(row).agg(lambda parts: shapely.union_all(parts).length)
    return length.reindex(range(len(edges)), fill_value=0.0).set_axis(edges.index)


# -- which ways ----------------------------------------------------------------------------------


def _read_ways(osm: OsmData) -> pd.DataFrame:
    """Kind (missing where it is no alley) and English name of each way, by its id."""
    ways = osm.streets.drop_duplicates("way_id").set_index("way_id")
    tags = [json.loads(text) for text in ways["tags"]]
    columns = {
        "kind": [tell_kind(each) for each in tags],
        "name_en": [each.get("name:en") for each in tags],
    }
    return pd.DataFrame(columns, index=ways.index)


def tell_kind(tags: Mapping[str, str]) -> str | None:
    """Tell what makes a way an alley by its tags: its class or ``service=alley``; else ``None``."""
    rules = read_tags()["alleys"]
    highway, name = tags["highway"], tags.get("name") or tags.get("name:zh")
    on_foot = highway in [*rules["foot"], "service"]
    if match_any(tags, rules["not_alley"]) or (name and re.search(rules["names_out"], name)):
        return None
    if on_foot and match_any(tags, rules["not_on_foot"]):
        return None
    lanes = [int(number) for number in re.findall(r"\d+", tags.get("lanes", ""))]
    if lanes and max(lanes) > rules["max_lanes"]:
        return None
    if highway == "service" and match_any(tags, rules["service_tags"]):
        return f"service={tags['service']}"
    if highway in rules["classes"] or (name and highway in rules["named_classes"]):
        return highway
    return None


# -- registers -----------------------------------------------------------------------------------


def merge_alleys(
    alleys: gpd.GeoDataFrame,
    alley_of_edge: "pd.Series[str]",
    register: gpd.GeoDataFrame,
    streets: Streets,
    area: Area,
) -> tuple[gpd.GeoDataFrame, "pd.Series[str]", pd.DataFrame]:
    """Join a city's register of alleys with the alleys of OpenStreetMap.

    The register wins by name and place. A row of it is, in this order: the alley with its id, or
    with its name within 60 m of its line (400 m of its point); public edges of that name there;
    public edges, or lanes in a compound, without another alley's name that run along its line; its
    line alone, without edges; for a point, the nearest unnamed alley within 60 m.

    Parameters
    ----------
    alleys, alley_of_edge
        What `find_alleys` answered.
    register
        ``name``, lines or points in the area's CRS; ``id``, ``name_en`` where it has them.
    streets
        The streets, with the ``public`` that `find_alleys` answered.
    area
        The area.

    Returns
    -------
    alleys
        As from `find_alleys`; ``source`` is osm, register+osm or register.
    alley_of_edge
        The alley of each edge.
    notes
        ``scope`` (an id), ``measure`` (only_in_register, only_in_osm, not_on_map, outside_area),
        ``value`` (missing), ``note`` (the name).

    Raises
    ------
    LayerError
        If one id stands for alleys of different names.
    """
    rules = read_tags()["alleys"]
    rows, outside = read_unit_register(register, area, within_m=rules["one_name_m"])
    areas = shapely.get_dimensions(rows.geometry.to_numpy()) == 2
    rows.loc[areas, "geometry"] = rows.geometry[areas].representative_point()
    claim, why = claim_edges(rows, alleys, alley_of_edge, streets)
    found = np.isin(np.arange(len(rows)), claim)
    rows = rows.assign(reason=why, source=np.where(found, "register+osm", "register"))
    ids = rows["id"].to_numpy(dtype=object)
    group = alley_of_edge.copy()
    group[claim >= 0] = ids[claim[claim >= 0]]
    table = _rebuild_alleys(alleys, alley_of_edge, rows[found], group, streets)
    group = group.where(group.isin(table["alley_id"]))

    line = shapely.get_dimensions(rows.geometry.to_numpy()) == 1
    table = pd.concat([table, _own_lines(rows[line & ~found])], ignore_index=True)
    rest = table[table["source"] == "osm"].rename(columns={"alley_id": "id"})
    notes = list_units(rows[~found], "only_in_register") + list_units(rest, "only_in_osm")
    notes += list_units(rows[~line & ~found], "not_on_map") + list_units(outside, "outside_area")
    table = gpd.GeoDataFrame(table[list(alleys)], geometry="geometry", crs=area.crs)
    return table.sort_values("alley_id").reset_index(drop=True), group, as_notes(notes)


def _rebuild_alleys(
    alleys: gpd.GeoDataFrame,
    alley_of_edge: "pd.Series[str]",
    rows: gpd.GeoDataFrame,
    group: "pd.Series[str]",
    streets: Streets,
) -> pd.DataFrame:
    """Describe the alleys anew after edges went to the register's `rows`."""
    old = alleys.set_index("alley_id")
    edges = streets.edges.assign(
        group=group.to_numpy(),
        length_mm=streets.length_mm,
        name_en=pd.Series(alley_of_edge.to_numpy()).map(old["name_en"]).to_numpy(),
    )
    edges = edges[edges["group"].notna()]
    lines = join_lines(edges)
    table = pd.DataFrame({"length_m": edges.groupby("group")["length_mm"].sum() / 1000})
    table["highway"] = take_longest(edges, "highway")
    table["geometry"] = lines
    facts = pd.concat([rows.set_index("id"), old[~old.index.isin(rows["id"])]])
    for column in ("name", "name_en"):
        facts[column] = facts[column].fillna(take_longest(edges, column))
    table = table.join(facts[["name", "name_en", "source", "reason"]])
    left_over = table.index.map(old["length_m"]) > table["length_m"]
    stub = (table["source"] == "osm") & left_over & (table["length_m"] < MIN_ALLEY_M)
    return table[~stub].rename_axis("alley_id").reset_index()


def _own_lines(rows: gpd.GeoDataFrame) -> pd.DataFrame:
    lines = [shapely.multilinestrings(shapely.get_parts(line)) for line in rows.geometry]
    length = round_mm(shapely.length(rows.geometry.to_numpy()))
    return pd.DataFrame(rows.assign(length_m=length, geometry=lines, highway=None)).rename(
        columns={"id": "alley_id"}
    )
