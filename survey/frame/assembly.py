"""The frame: everything that can be drawn in one area, joined up."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from survey import tables
from survey.frame.alleys import find_alleys, merge_alleys
from survey.frame.compounds import find_compounds, merge_compounds
from survey.frame.doors import MAX_ACCESS_M, find_doors
from survey.frame.network import Network, Sources, cut_streets
from survey.frame.places import (
    find_candidates,
    find_points,
    find_subdistricts,
    find_toilets,
    join_subdistrict,
    merge_points,
    merge_toilets,
)
from survey.frame.quality import measure_quality
from survey.frame.streets import Ints, Streets, build_streets, to_mm
from survey.frame.tags import match_any, parse_features, read_tags
from survey.sources.area import Area
from survey.sources.extract import OsmData

def build_frame(
    osm: OsmData,
    *,
    points: gpd.GeoDataFrame | None = None,
    toilets: gpd.GeoDataFrame | None = None,
    alleys: gpd.GeoDataFrame | None = None,
    compounds: gpd.GeoDataFrame | None = None,
    subdistricts: gpd.GeoDataFrame | None = None,
) -> Frame:
    """Build the frame of an area from OpenStreetMap and the city's own registers.

    Parameters
    ----------
    osm
        What `read_extract` read.
    points, toilets, alleys, compounds, subdistricts
        The city's own layers as `read_layer` and `settle_datum` give them, in WGS-84. A register
        goes before OpenStreetMap where both know a thing; `subdistricts` replaces it.

    Returns
    -------
    Frame

    Raises
    ------
    AreaError
        If there is no fixed point in the area.
    """
    area, features = osm.area, parse_features(osm)
    streets = build_streets(osm)
    found, notes = _find_units(osm, streets, features, alleys, compounds)
    streets = found["streets"]
    districts = (
        find_subdistricts(features, streets)
        if subdistricts is None
        else _own_subdistricts(subdistricts.to_crs(area.crs))
    )
    found |= _find_places(osm, features, points, toilets, notes)
    doors = _find_all_doors(streets, found, _find_gates(features))
    edge = osm.data_edge.boundary
    layers = {name: found[name] for name in ("points", "alleys", "compounds")}
    for name, table in layers.items():
        layers[name] = table.assign(subdistrict_id=join_subdistrict(table, districts))
    layers["points"]["data_edge_m"] = tables.round_mm(
        shapely.distance(layers["points"].geometry.array, edge)
    )
    layers |= {"toilets": found["toilets"], "candidates": found["candidates"]}
    made = {name: _make(name, table) for name, table in layers.items()}
    made |= {"doors": doors, "subdistricts": _make("subdistricts", districts)}
    quality = measure_quality(osm, streets, made, pd.concat(notes, ignore_index=True))
    return Frame(area, streets, **made, quality=quality, data_edge=osm.data_edge, source=osm.source)
