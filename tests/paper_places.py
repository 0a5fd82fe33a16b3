"""Hand-made OpenStreetMap features around the middle of a town, and the real extracts."""

import json
import os
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pytest
import shapely
from shapely.geometry import MultiPolygon, Point

from survey.frame.places import find_points
from survey.frame.tags import parse_features, parse_tags
from survey.sources.area import Area, find_area
from survey.sources.extract import read_extract

HERE = Path(__file__).parent
AREA = Area(shapely.box(118.76, 32.03, 118.80, 32.06), "town")
X, Y = shapely.get_coordinates(AREA.shape.centroid)[0]
BOXES = {
    "monaco": None,
    "nanjing": (118.764, 32.035, 118.797, 32.053),
    "nanshan": (113.923, 22.537, 113.968, 22.560),
}


def at(x, y=0):
    """Make a node, metres east and north of the middle of the town."""
    return Point(X + x, Y + y)


def block(x, y, width, height):
    """Make an area by its south-west corner and its size."""
    return MultiPolygon([shapely.box(X + x, Y + y, X + x + width, Y + y + height)])


def features(*rows):
    """Make features of (id, tags, geometry)."""
    ids, tags, shapes = zip(*rows, strict=True) if rows else ((), (), ())
    table = gpd.GeoDataFrame(
        {
            "osm_id": pd.Series(ids, dtype="str"),
            "tags": pd.Series(map(json.dumps, tags), dtype="str"),
        },
        geometry=gpd.GeoSeries(list(shapes), crs=AREA.crs),
    )
    return parse_tags(table)


def points_of(*rows):
    """Find the points among features."""
    return find_points(features(*rows), AREA)[0]


def names_of(*rows):
    """Find the names of the points among features, - for none."""
    return sorted(points_of(*rows)["name"].fillna("-"))


def school(name, **more):
    """Tag a school."""
    return {"amenity": "school", "name": name} | more


def hospital(name, **more):
    """Tag a hospital."""
    return {"amenity": "hospital", "name": name} | more


def station(name, **more):
    """Tag a station."""
    return {"railway": "station", "name": name} | more


def read(name):
    """Read the area, the raw data and the features of a real extract."""
    folder = HERE.parent / "data" if name == "monaco" else os.environ.get("SURVEY_TEST_DATA")
    if folder is None:
        pytest.skip("SURVEY_TEST_DATA is not set: the folder with nanjing and nanshan.osm.pbf")
    path = Path(folder) / f"{name}.osm.pbf"
    area = find_area(extract=path, bbox=BOXES[name])
    osm = read_extract(path, area)
    return area, osm, parse_features(osm)
