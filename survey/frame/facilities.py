"""What distance rules other than the toilets' ask for: parks, clinics, chargers and so on."""

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from survey import tables
from survey.frame.kinds import find_name, merge_rules
from survey.frame.lines import as_multi
from survey.frame.streets import find_level
from survey.frame.tags import find_tagged, map_tags, read_tags
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
    objects = features[find_tagged(features, merge_rules(rules["kinds"].values()), barred)]
    objects = objects[shapely.dwithin(area.shape, objects.geometry.array, MARGIN_M)]
    found = pd.concat(
        [
            objects[find_tagged(objects, tags)].assign(kind=kind)
            for kind, tags in rules["kinds"].items()
        ],
        ignore_index=True,
    )
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
            "name": map_tags(found, find_name),
            "opening_hours": map_tags(found, lambda tags: tags.get("opening_hours")),
            "level": map_tags(found, find_level),
            "source": "osm",
            "area_m2": np.where(ground, np.round(shapely.area(shapes), 1), np.nan),
            "inside": inside,
            "geometry": np.asarray(shapes, dtype=object),
        }
    ).sort_values(["facility_id", "kind"], ignore_index=True)
    made: gpd.GeoDataFrame = tables.make("facilities", table, crs=features.crs)
    return made
