"""What distance rules other than the toilets' ask for: parks, clinics, chargers and so on."""

from collections.abc import Mapping

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from survey import tables
from survey.frame.kinds import find_name
from survey.frame.lines import as_multi
from survey.frame.streets import find_level
from survey.frame.tags import match_any, read_tags
from survey.sources.area import Area
from survey.sources.extract import MARGIN_M


def find_facilities(features: gpd.GeoDataFrame, area: Area) -> gpd.GeoDataFrame:
    """Find facilities in an area and in the 2 km around it.

    Parameters
    ----------
    features
        ``osm_id, tags``, geometry, as `parse_features` gives them.
    area
        The area.

    Returns
    -------
    geopandas.GeoDataFrame
        The table `facilities`, by ``facility_id``, ``kind``: the kinds are those of `tags.toml`,
        section ``facilities``, and an object of two kinds has two rows. What is not in use or
        private is left out; ``area_m2`` is missing for what is mapped as a node.
    """
    rules = read_tags()["facilities"]
    barred = {**rules["shut"], **read_tags()["not_in_use"]}
    near = shapely.dwithin(area.shape, features.geometry.array, MARGIN_M)
    parts = [_choose(features[near], kind, tags, barred) for kind, tags in rules["kinds"].items()]
    found = pd.concat(parts, ignore_index=True)
    shapes = found.geometry.array
    line = shapely.get_dimensions(shapes) == 1
    shapes[line] = shapely.point_on_surface(shapes[line])
    ground = shapely.get_dimensions(shapes) == 2
    shapes[ground] = as_multi(np.asarray(shapes[ground]))
    inside = shapely.intersects(area.shape, shapely.point_on_surface(shapes))
    table = pd.DataFrame(
        {
            "facility_id": found["osm_id"],
            "kind": found["kind"],
            "name": [find_name(tags) for tags in found["tags"]],
            "opening_hours": [tags.get("opening_hours") for tags in found["tags"]],
            "level": [find_level(tags) for tags in found["tags"]],
            "source": "osm",
            "area_m2": np.where(ground, np.round(shapely.area(shapes), 1), np.nan),
            "inside": inside,
            "geometry": np.asarray(shapes, dtype=object),
        }
    ).sort_values(["facility_id", "kind"], ignore_index=True)
    made: gpd.GeoDataFrame = tables.make("facilities", table, crs=features.crs)
    return made


def _choose(
    features: gpd.GeoDataFrame,
    kind: str,
    tags: Mapping[str, list[str]],
    barred: Mapping[str, list[str]],
) -> gpd.GeoDataFrame:
    mine = [match_any(own, tags) and not match_any(own, barred) for own in features["tags"]]
    return features[np.array(mine, dtype=bool)].assign(kind=kind)
