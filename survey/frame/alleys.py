"""Alleys: which edges are back streets, and which edges are one alley."""

import re
from collections.abc import Mapping
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from survey.frame.blocks import (
    Flags,
    Shapes,
    find_grounds,
    is_main,
    is_one_of,
    match_texts,
    union_groups,
)
from survey.frame.chains import (
    describe_alleys,
    find_bigger_nodes,
    group_edges,
    join_lines,
    take_longest,
)
from survey.frame.claims import claim_edges
from survey.frame.cores import share_out
from survey.frame.enclosure import are_enclosed, most_within
from survey.frame.streets import Floats, Ints, Streets
from survey.frame.tags import map_tags, match_any, parse_tags, read_tags
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
    kind, name_en = _read_kinds(streets, osm)
    wanted = np.flatnonzero(pd.notna(kind) & public)
    wanted = wanted[~_on_grounds(streets, features, wanted)]
    edges = streets.edges.iloc[wanted].assign(
        kind=kind[wanted],
        name_en=name_en[wanted],
        length_mm=streets.length_mm[wanted],
        group=group_edges(streets, wanted, find_bigger_nodes(streets)),
    )
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
    group, numbers = pd.factorize(edges["group"])
    count, length_mm = len(numbers), edges["length_mm"].to_numpy()
    length = np.bincount(group, weights=length_mm, minlength=count)
    inside = np.bincount(group, weights=length_mm * edges["inside"], minlength=count)
    here = inside >= rules["inside_share"] * length
    long = length >= min_alley_m * 1000
    chosen = (here & long)[group]
    edges, group = edges[chosen], group[chosen]
    beside = _find_beside_main(edges, group, count, streets)
    short, side = float((here & ~long).sum()), float(beside.sum())
    return edges[~beside[group]], [
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
    asked = edges["public"].to_numpy() & unnamed
    way, ids = pd.factorize(edges["way_id"])
    whole = np.flatnonzero((np.bincount(way, weights=asked) > 0)[way])
    inside, shapes = np.zeros(len(edges), dtype=bool), compounds.geometry.to_numpy()
    inside[whole] = are_enclosed(
        edges.geometry.to_numpy()[whole],
        edges["length_m"].to_numpy()[whole],
        way[whole],
        share_out(lambda some: shapely.buffer(some, -rules["outline_m"]), shapes),
        share=rules["enclosed_share"],
    )
    count = shapely.get_num_coordinates(osm.streets.geometry.array)
    last = np.cumsum(count) - 1
    nodes = osm.street_nodes
    closed = osm.streets["way_id"][(nodes[last - count + 1] == nodes[last]) & (count > 3)]
    outline = ids.isin(closed)[way] & is_one_of(edges["highway"], rules["outlines"]["highway"])
    return np.asarray(edges["public"].to_numpy() & ~(unnamed & (inside | outline)))


def _on_grounds(streets: Streets, features: gpd.GeoDataFrame, rows: Ints) -> Flags:
    """Tell which edges are the paths of a closed ground: unnamed, service and foot ways in it."""
    rules, edges = read_tags()["alleys"], streets.edges
    unnamed = edges["name"].isna().to_numpy()[rows]
    path = is_one_of(edges["highway"].iloc[rows], [*rules["foot"], "service"])
    own = np.arange(len(rows))
    inner = are_enclosed(
        edges.geometry.to_numpy()[rows],
        edges["length_m"].to_numpy()[rows],
        own,
        find_grounds(features),
        share=rules["enclosed_share"],
    )
    return np.asarray(inner & (unnamed | path))


def _find_beside_main(edges: gpd.GeoDataFrame, group: Ints, count: int, streets: Streets) -> Flags:
    """Tell which groups run close beside streets of tertiary and above, without an own name."""
    rules = read_tags()["alleys"]
    within_m, share = rules["beside_main_m"], rules["beside_main_share"]
    length = np.bincount(group, weights=edges["length_mm"] / 1000, minlength=count)

    def reach(beside: Floats, least: float) -> Flags:
        found = np.bincount(group, weights=beside, minlength=count)
        return np.asarray((found >= least * length) & (length > 0))

    lines = edges.geometry.to_numpy()
    row, main, shapes = _pair_with_main(edges, streets, within_m)
    # Only where it may decide is the length beside a street measured: that is slow.
    decides = reach(most_within(lines, row, shapes[main], within_m=within_m), share - 0.001)
    decides = decides[group[row]]
    row, main = row[decides], main[decides]
    near = shapely.dwithin(lines[row], shapes[main], within_m)
    row, main = row[near], main[near]
    # United before they are met with the line, so that what lies beside two streets counts once.
    used, of = np.unique(main, return_inverse=True)
    around = shapely.buffer(shapes[used], within_m)[of]
    found, number = np.unique(row, return_inverse=True)
    beside = np.zeros(len(edges))
    met = shapely.intersection(lines[found], union_groups(around, number))
    beside[found] = shapely.length(met)
    return reach(beside, share)


def _pair_with_main(
    edges: gpd.GeoDataFrame, streets: Streets, within_m: float
) -> tuple[Ints, Ints, Shapes]:
    """Pair edges that have no own name with the main streets whose boxes come near theirs."""
    table = streets.edges
    above = match_texts(table["level"], "-|tunnel")
    main = np.flatnonzero(is_main(table["highway"]) & ~above)
    shapes = table.geometry.to_numpy()[main]
    west, south, east, north = shapely.bounds(edges.geometry.to_numpy()).T
    around = shapely.box(west - within_m, south - within_m, east + within_m, north + within_m)
    row, street = shapely.STRtree(shapes).query(around)
    names = pd.concat([edges["name"], table["name"].iloc[main]])
    code = pd.factorize(plain_names(names))[0]
    own, theirs = code[: len(edges)], code[len(edges) :]
    same = (own[row] < 0) | (own[row] == theirs[street])
    return row[same], street[same], shapes


# -- which ways ----------------------------------------------------------------------------------


def _read_kinds(streets: Streets, osm: OsmData) -> tuple[Any, Any]:
    """Kind (missing where it is no alley) and English name of the way of each edge."""
    ways = parse_tags(osm.streets[~osm.streets["way_id"].duplicated()])
    way, ids = pd.factorize(streets.edges["way_id"])
    row = pd.Index(ways["way_id"]).get_indexer(ids)[way]
    asked = (tell_kind, lambda tags: tags.get("name:en"))
    kind, name_en = (np.append(map_tags(ways, ask), np.array([None]))[row] for ask in asked)
    return kind, name_en


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
