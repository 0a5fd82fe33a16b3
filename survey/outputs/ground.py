"""What a map's background shows beside the frame: buildings, water, green, and names."""

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

import geopandas as gpd
import pandas as pd

from survey.frame.tags import find_tagged, map_tags, match_any, parse_tags
from survey.sources.extract import OsmData

COLUMNS = ["kind", "name", "name_en", "geometry"]
"""The columns of what is found."""


@cache
def read_looks() -> dict[str, Any]:
    """Read `background.toml`; treat what it returns as constant."""
    text = (files("survey.outputs") / "background.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def find_ground(features: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Find the areas of a background by the rules of `background.toml`.

    The sea is no area in OpenStreetMap and is not found; nor are rivers mapped as lines alone.

    Parameters
    ----------
    features
        ``tags`` (JSON), geometry in any CRS, as in `OsmData`.

    Returns
    -------
    geopandas.GeoDataFrame
        ``kind`` (building, water, green), ``name, name_en`` (missing where there is none),
        Polygon or MultiPolygon in the CRS given.
    """
    looks = read_looks()
    areas = features[features.geometry.geom_type.isin(["Polygon", "MultiPolygon"])]
    table = parse_tags(areas[["tags", "geometry"]].reset_index(drop=True))

    def ask(tags: Any) -> str | None:
        if match_any(tags, looks["not_ground"]):
            return None
        return next(
            (kind for kind, rules in looks["ground"].items() if match_any(tags, rules)), None
        )

    return _with_names(table.assign(kind=map_tags(table, ask)))


def find_names(osm: OsmData) -> gpd.GeoDataFrame:
    """Find the names of places, and what streets are called in English.

    Parameters
    ----------
    osm
        What was read; its ``features`` and ``streets`` are used.

    Returns
    -------
    geopandas.GeoDataFrame
        ``kind`` (city, suburb, quarter; street), ``name, name_en``, Point: where a place is; on
        the first way of a street's name. Streets without an English name are left out.
    """
    rules = read_looks()["places"]
    spots = osm.features[osm.features.geometry.geom_type == "Point"]
    places = parse_tags(spots[["tags", "geometry"]].reset_index(drop=True))
    kinds = {value: kind for kind, values in rules.items() for value in values}
    places = places[find_tagged(places, {"place": [*kinds]})]
    places = _with_names(places.assign(kind=map_tags(places, lambda tags: kinds[tags["place"]])))
    streets = parse_tags(osm.streets[["tags", "geometry"]].reset_index(drop=True))
    streets = _with_names(streets.assign(kind="street")).dropna(subset=["name", "name_en"])
    streets = streets.drop_duplicates("name")
    streets = streets.set_geometry(streets.geometry.interpolate(0.5, normalized=True))
    return pd.concat([places.dropna(subset=["name"]), streets], ignore_index=True)


def _with_names(table: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    table = table[table["kind"].notna()]
    names = {
        "name": map_tags(table, lambda tags: tags.get("name")),
        "name_en": map_tags(table, lambda tags: tags.get("name:en")),
    }
    return table.assign(**names)[COLUMNS].reset_index(drop=True)
