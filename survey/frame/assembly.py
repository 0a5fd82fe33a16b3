"""Building the frame: all steps from raw OpenStreetMap data to tables that are joined up."""

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from survey import tables
from survey.errors import AreaError
from survey.frame.alleys import find_alleys, merge_alleys
from survey.frame.compounds import find_compounds, merge_compounds
from survey.frame.doors import Frontage, find_doors
from survey.frame.facilities import find_facilities
from survey.frame.frame import Frame
from survey.frame.joining import merge_points, merge_toilets
from survey.frame.lines import as_multi
from survey.frame.places import (
    find_candidates,
    find_points,
    find_subdistricts,
    find_toilets,
    join_subdistrict,
)
from survey.frame.quality import measure_quality
from survey.frame.registers import Register, read_registers
from survey.frame.streets import Streets, build_streets
from survey.frame.tags import find_tagged, parse_features, read_tags
from survey.sources.area import Area
from survey.sources.extract import OsmData


def build_frame(
    osm: OsmData,
    *,
    points: Register | None = None,
    toilets: Register | None = None,
    alleys: Register | None = None,
    compounds: Register | None = None,
    subdistricts: Register | None = None,
    datum: str = "detect",
) -> Frame:
    """Build the frame of an area from OpenStreetMap and the city's own registers.

    Parameters
    ----------
    osm
        What `read_extract` read.
    points, toilets, alleys, compounds, subdistricts
        The city's own layers: files, or tables as `read_layer` gives them. A register goes before
        OpenStreetMap where both know a thing, and what only one of them knows is listed in
        `quality`; `subdistricts` replaces OpenStreetMap's.
    datum
        What the coordinates of these layers are in: wgs84, gcj02, bd09, or detect.

    Returns
    -------
    Frame

    Raises
    ------
    AreaError
        If there is no fixed point in the area.
    InputError, LayerError
        If a register cannot be read or used.
    DatumError
        If its datum cannot be told, or contradicts what was said.
    """
    area, features = osm.area, parse_features(osm)
    streets = build_streets(osm)
    registers, sources = read_registers(
        {
            "points": points,
            "toilets": toilets,
            "alleys": alleys,
            "compounds": compounds,
            "subdistricts": subdistricts,
        },
        datum=datum,
        area=area,
        streets=streets,
        features=features,
    )
    streets, units, notes = _find_units(osm, streets, features, registers)
    places, more = _find_places(area, features, registers)
    notes += more
    districts = _find_districts(area, features, streets, registers)
    made = _join(osm, streets, units | places, districts, features)
    quality = measure_quality(osm, streets, made, pd.concat(notes, ignore_index=True))
    source = {"osm": osm.source, "layers": sources}
    return Frame(area, streets, **made, quality=quality, data_edge=osm.data_edge, source=source)


def _join(
    osm: OsmData,
    streets: Streets,
    found: dict[str, gpd.GeoDataFrame],
    districts: gpd.GeoDataFrame,
    features: gpd.GeoDataFrame,
) -> dict[str, gpd.GeoDataFrame]:
    """Give what was found its subdistrict, its distance to the edge of the data, and its doors."""
    crs = osm.area.crs
    doors = _find_all_doors(streets, found, features)
    found = {
        name: table.assign(subdistrict_id=join_subdistrict(table, districts))
        if name in {"points", "alleys", "compounds"}
        else table
        for name, table in found.items()
    }
    found["points"]["data_edge_m"] = tables.round_mm(
        shapely.distance(found["points"].geometry.array, osm.data_edge.boundary)
    )
    made = {name: tables.make(name, table, crs=crs) for name, table in found.items()}
    return made | {"doors": doors, "subdistricts": tables.make("subdistricts", districts, crs=crs)}


def _find_units(
    osm: OsmData,
    streets: Streets,
    features: gpd.GeoDataFrame,
    registers: dict[str, gpd.GeoDataFrame],
) -> tuple[Streets, dict[str, gpd.GeoDataFrame], list[pd.DataFrame]]:
    area = osm.area
    compounds, notes = find_compounds(features, streets, area)
    parts = [notes]
    if "compounds" in registers:
        compounds, notes = merge_compounds(compounds, registers["compounds"], area)
        parts.append(notes)
    alleys, alley_of_edge, public, notes = find_alleys(streets, osm, features, compounds, area)
    parts.append(notes)
    streets = streets.with_edges(public=public)
    if "alleys" in registers:
        alleys, alley_of_edge, notes = merge_alleys(
            alleys, alley_of_edge, registers["alleys"], streets, area
        )
        parts.append(notes)
        # A lane inside a compound is a street once the city lists it.
        listed = alley_of_edge.notna() & streets.edges["walkable"]
        streets = streets.with_edges(public=streets.edges["public"] | listed)
    streets = streets.with_edges(alley_id=alley_of_edge.astype("str"))
    return streets, {"alleys": alleys, "compounds": compounds}, parts


def _find_places(
    area: Area, features: gpd.GeoDataFrame, registers: dict[str, gpd.GeoDataFrame]
) -> tuple[dict[str, gpd.GeoDataFrame], list[pd.DataFrame]]:
    points, notes = find_points(features, area)
    parts = [notes]
    if "points" in registers:
        points, notes = merge_points(points, registers["points"], area)
        parts.append(notes)
    if not len(points):
        raise AreaError(
            f"there is no fixed point (market, mall, school, hospital, station, community) in the"
            f" area {area.name!r}; check the box, or give the city's own points"
        )
    toilets = find_toilets(features, area)
    if "toilets" in registers:
        toilets, notes = merge_toilets(toilets, registers["toilets"], area)
        parts.append(notes)
    found = {"points": points, "toilets": toilets}
    found["candidates"] = find_candidates(features, area)
    found["facilities"] = find_facilities(features, area)
    return found, parts


def _find_districts(
    area: Area,
    features: gpd.GeoDataFrame,
    streets: Streets,
    registers: dict[str, gpd.GeoDataFrame],
) -> gpd.GeoDataFrame:
    if "subdistricts" not in registers:
        return find_subdistricts(features, streets)
    given = registers["subdistricts"]
    unnamed = "register/" + pd.Series(given["name"], dtype="str")
    return gpd.GeoDataFrame(
        {
            "subdistrict_id": given["id"].fillna(unnamed).astype("str"),
            "name": given["name"],
            "name_en": given["name_en"],
            "source": "register",
        },
        geometry=as_multi(given.geometry.array),
        crs=area.crs,
    )


def _find_all_doors(
    streets: Streets, found: dict[str, gpd.GeoDataFrame], features: gpd.GeoDataFrame
) -> gpd.GeoDataFrame:
    rules = read_tags()["gates"]
    nodes = features[shapely.get_type_id(features.geometry.array) == shapely.GeometryType.POINT]
    gates, entrances = (
        np.asarray(nodes.geometry.array[find_tagged(nodes, rules[name])])
        for name in ("gate", "entrance")
    )
    openings = {"point": np.concatenate([gates, entrances]), "compound": gates}
    openings["facility"] = openings["point"]
    # What is of two kinds has one set of doors.
    facilities = found["facilities"].drop_duplicates("facility_id", ignore_index=True)
    objects = {layer: found[f"{layer}s"] for layer in ("point", "compound", "toilet", "candidate")}
    frontage = Frontage(streets)
    parts = [
        find_doors(streets, table, layer=layer, gates=openings.get(layer), frontage=frontage)
        for layer, table in (objects | {"facility": facilities}).items()
    ]
    return pd.concat(parts, ignore_index=True)
