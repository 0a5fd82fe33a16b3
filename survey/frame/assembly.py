"""Building the frame: all steps from raw OpenStreetMap data to tables that are joined up."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from survey import tables
from survey.errors import AreaError
from survey.frame.alleys import find_alleys, merge_alleys
from survey.frame.compounds import find_compounds, merge_compounds
from survey.frame.cores import do_both
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
from survey.memory import large_work
from survey.sources.extract import OsmData

_Tables = dict[str, gpd.GeoDataFrame]
_Notes = list[pd.DataFrame]
_LAYERS = ("point", "compound", "toilet", "candidate", "facility")  # in the order of the doors


@dataclass(frozen=True, eq=False)
class _Start:
    """What the steps of the frame start from."""

    osm: OsmData
    streets: Streets
    features: gpd.GeoDataFrame
    registers: Mapping[str, gpd.GeoDataFrame]

    @cached_property
    def frontage(self) -> Frontage:
        return Frontage(self.streets)

    @cached_property
    def openings(self) -> dict[str, Any]:
        """Mapped gates and entrances that are doors, of the layers that have such."""
        shapes = self.features.geometry.array
        nodes = self.features[shapely.get_type_id(shapes) == shapely.GeometryType.POINT]
        rules = read_tags()["gates"]
        gates, entrances = (
            np.asarray(nodes.geometry.array[find_tagged(nodes, rules[name])])
            for name in ("gate", "entrance")
        )
        both = np.concatenate([gates, entrances])
        return {"point": both, "compound": gates, "facility": both}


@large_work()
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
    streets, (features, mapped, unlike) = do_both(
        partial(build_streets, osm), partial(_read_places, osm)
    )
    given, sources = read_registers(
        {
            "points": points,
            "toilets": toilets,
            "alleys": alleys,
            "compounds": compounds,
            "subdistricts": subdistricts,
        },
        datum=datum,
        area=osm.area,
        streets=streets,
        features=features,
    )
    start = _Start(osm, streets, features, given)
    return _assemble(start, mapped, unlike, {"osm": osm.source, "layers": sources})


def _assemble(
    start: _Start, mapped: _Tables, unlike: pd.DataFrame, source: dict[str, Any]
) -> Frame:
    """Find the units, and make the frame of them and of the places that are mapped.

    What does not depend on each other is found at the same time.
    """
    osm = start.osm
    (estates, notes), (made, doors, of_places) = do_both(
        partial(_find_compounds, start), partial(_find_places, start, mapped)
    )
    districts = made["subdistricts"]
    (streets, made["alleys"], of_alleys), (made["compounds"], doors["compound"]) = do_both(
        partial(_find_alleys, start, estates, districts),
        partial(_finish_compounds, start, estates, districts),
    )
    made["doors"] = pd.concat([doors[layer] for layer in _LAYERS], ignore_index=True)
    told = pd.concat([*notes, *of_alleys, unlike, *of_places], ignore_index=True)
    quality = measure_quality(osm, streets, made, told)
    return Frame(osm.area, streets, **made, quality=quality, data_edge=osm.data_edge, source=source)


def _read_places(osm: OsmData) -> tuple[gpd.GeoDataFrame, _Tables, pd.DataFrame]:
    """Read the features, the places among them, and notes on what is no point."""
    features, area = parse_features(osm), osm.area
    points, notes = find_points(features, area)
    places = {
        "points": points,
        "toilets": find_toilets(features, area),
        "candidates": find_candidates(features, area),
        "facilities": find_facilities(features, area),
    }
    return features, places, notes


def _find_places(start: _Start, mapped: _Tables) -> tuple[_Tables, _Tables, _Notes]:
    """Join the places with the registers: the tables made of them, their doors, and notes."""
    places, notes = _join_registers(start, mapped)
    districts = _find_districts(start)
    made = {name: _make(start, name, table, districts) for name, table in places.items()}
    made["subdistricts"] = _make(start, "subdistricts", districts, districts)
    # What is of two kinds has one set of doors.
    places["facilities"] = places["facilities"].drop_duplicates("facility_id", ignore_index=True)
    names = {"point": "points", "toilet": "toilets", "candidate": "candidates"}
    names["facility"] = "facilities"
    doors = {layer: _find_doors(start, layer, places[name]) for layer, name in names.items()}
    return made, doors, notes


def _join_registers(start: _Start, mapped: _Tables) -> tuple[_Tables, _Notes]:
    places, notes, area = dict(mapped), [], start.osm.area
    for name, merge in (("points", merge_points), ("toilets", merge_toilets)):
        if name in start.registers:
            places[name], more = merge(places[name], start.registers[name], area)
            notes.append(more)
    if not len(places["points"]):
        raise AreaError(
            f"there is no fixed point (market, mall, school, hospital, station, community) in the"
            f" area {area.name!r}; check the box, or give the city's own points"
        )
    return places, notes


def _make(
    start: _Start, name: str, table: gpd.GeoDataFrame, districts: gpd.GeoDataFrame
) -> gpd.GeoDataFrame:
    """Make a table, with the subdistrict of each row and its distance to the edge of the data."""
    columns = {**table}
    if name in {"points", "alleys", "compounds"}:
        columns["subdistrict_id"] = join_subdistrict(table, districts)
    if name == "points":
        edge = start.osm.data_edge.boundary
        columns["data_edge_m"] = tables.round_mm(shapely.distance(table.geometry.array, edge))
    made: gpd.GeoDataFrame = tables.make(name, columns, crs=start.osm.area.crs)
    return made


def _find_compounds(start: _Start) -> tuple[gpd.GeoDataFrame, _Notes]:
    area, registers = start.osm.area, start.registers
    compounds, notes = find_compounds(start.features, start.streets, area)
    if "compounds" not in registers:
        return compounds, [notes]
    compounds, more = merge_compounds(compounds, registers["compounds"], area)
    return compounds, [notes, more]


def _finish_compounds(
    start: _Start, compounds: gpd.GeoDataFrame, districts: gpd.GeoDataFrame
) -> tuple[gpd.GeoDataFrame, gpd.GeoDataFrame]:
    """Make the table of compounds, and find their doors."""
    made = _make(start, "compounds", compounds, districts)
    return made, _find_doors(start, "compound", compounds)


def _find_alleys(
    start: _Start, compounds: gpd.GeoDataFrame, districts: gpd.GeoDataFrame
) -> tuple[Streets, gpd.GeoDataFrame, _Notes]:
    """Find the alleys, and copy the streets with what is public and which alley is where."""
    osm, streets, registers = start.osm, start.streets, start.registers
    area = osm.area
    alleys, alley_of_edge, public, notes = find_alleys(
        streets, osm, start.features, compounds, area
    )
    parts = [notes]
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
    return streets, _make(start, "alleys", alleys, districts), parts


def _find_districts(start: _Start) -> gpd.GeoDataFrame:
    if "subdistricts" not in start.registers:
        return find_subdistricts(start.features, start.streets)
    given = start.registers["subdistricts"]
    unnamed = "register/" + pd.Series(given["name"], dtype="str")
    return gpd.GeoDataFrame(
        {
            "subdistrict_id": given["id"].fillna(unnamed).astype("str"),
            "name": given["name"],
            "name_en": given["name_en"],
            "source": "register",
        },
        geometry=as_multi(given.geometry.array),
        crs=start.osm.area.crs,
    )


def _find_doors(start: _Start, layer: str, table: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    gates = start.openings.get(layer)
    return find_doors(start.streets, table, layer=layer, gates=gates, frontage=start.frontage)
