"""Streets and places drawn by hand, in metres east and north of the middle of a 2 km square."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import shapely

from survey import tables
from survey.frame.alleys import find_alleys
from survey.frame.compounds import find_compounds
from survey.frame.streets import Streets, build_streets
from survey.frame.tags import parse_features
from survey.sources.area import Area
from survey.sources.extract import OsmData

# On the middle meridian of its UTM zone, so that the square's sides run north and east.
_CRS = pyproj.CRS.from_epsg(32650)
_X, _Y = 500_000.0, 3_550_000.0


@dataclass(frozen=True)
class Drawing:
    """What was drawn, as it would be read from a file."""

    area: Area
    osm: OsmData
    streets: Streets
    features: gpd.GeoDataFrame

    def shape(self, shape: Any) -> Any:
        """Bring a shape to its place on the globe, in metres."""
        return _place(shape)

    def register(self, rows: list[tuple[Any, ...]]) -> gpd.GeoDataFrame:
        """Make a register of ``id, name, shape``."""
        table = pd.DataFrame(rows, columns=["id", "name", "geometry"])
        table["geometry"] = [self.shape(shape) for shape in table["geometry"]]
        return gpd.GeoDataFrame(table, geometry="geometry", crs=_CRS)


def line(*places: tuple[float, float]) -> Any:
    return shapely.LineString(places)


def box(west: float, south: float, east: float, north: float) -> Any:
    return shapely.MultiPolygon([shapely.box(west, south, east, north)])


def draw(
    ways: dict[int, tuple[Any, dict[str, str]]], features: dict[str, tuple[Any, dict[str, str]]]
) -> Drawing:
    """Draw ways (id to line and tags) and features (id to shape and tags).

    Ways meet where they share a vertex.
    """
    to_degrees = pyproj.Transformer.from_crs(_CRS, 4326, always_xy=True)
    corners = [to_degrees.transform(_X + side, _Y + side) for side in (-1_000, 1_000)]
    area = Area(shapely.box(*corners[0], *corners[1]), "drawn")
    assert area.crs == _CRS
    rows = [
        {
            "way_id": f"way/{number}",
            "part": 0,
            "tags": json.dumps(tags, ensure_ascii=False),
            "geometry": _place(shape),
        }
        for number, (shape, tags) in ways.items()
    ]
    streets = gpd.GeoDataFrame(pd.DataFrame(rows), geometry="geometry", crs=_CRS)
    things = [
        {
            "osm_id": key,
            "tags": json.dumps(tags, ensure_ascii=False),
            "geometry": _place(shape),
        }
        for key, (shape, tags) in features.items()
    ]
    columns = ["osm_id", "tags", "geometry"]
    table = gpd.GeoDataFrame(pd.DataFrame(things, columns=columns), geometry="geometry", crs=_CRS)
    problems = pd.DataFrame(columns=["osm_id", "name", "problem"])
    spots = shapely.get_coordinates([shape for shape, _ in ways.values()])
    nodes = np.array([_node(spot) for spot in spots], dtype=np.int64)
    osm = OsmData(area, streets, nodes, table, area.shape.buffer(3_000), problems)
    return Drawing(area, osm, build_streets(osm), parse_features(osm))


def draw_compounds(drawing: Drawing, *shapes: Any) -> gpd.GeoDataFrame:
    """Draw a table of compounds."""
    return gpd.GeoDataFrame(
        {"compound_id": [f"way/{n}" for n in range(len(shapes))]},
        geometry=[drawing.shape(shape) for shape in shapes],
        crs=drawing.area.crs,
    )


def alleys_of(ways: Any, features: Any = None, *, areas: Any = (), **options: Any) -> Any:
    """Draw ways, features and the areas of compounds, and find the alleys."""
    drawing = draw(ways, features or {})
    found = find_alleys(
        drawing.streets,
        drawing.osm,
        drawing.features,
        draw_compounds(drawing, *areas),
        drawing.area,
        **options,
    )
    return (drawing, *found)


def by_way(drawing: Drawing, of_edge: "pd.Series[str]") -> dict[int, list[str]]:
    """Alleys of each way, in the order of its edges; ``-`` for none."""
    ways = drawing.streets.edges["way_id"].str.removeprefix("way/").astype(int)
    return {way: ids.fillna("-").tolist() for way, ids in of_edge.groupby(ways)}


def compounds_of(features: Any, ways: Any = None) -> Any:
    """Draw features and ways, beside a street far away, and find the compounds by id."""
    far = {99: (line((-900, -900), (-800, -900)), {"highway": "tertiary", "name": "远街"})}
    drawing = draw(far | (ways or {}), features)
    found, notes = find_compounds(drawing.features, drawing.streets, drawing.area)
    check_units("compounds", found)
    return found.set_index("compound_id"), notes.set_index("measure")["value"], drawing


def check_units(name: str, table: gpd.GeoDataFrame) -> None:
    """Check alleys or compounds, which have no subdistrict yet, against the data contract."""
    columns = {column: table[column] for column in table}
    tables.make(name, columns | {"subdistrict_id": [None] * len(table)}, crs=table.crs)


def _place(shape: Any) -> Any:
    return shapely.transform(shape, lambda places: places + np.array([_X, _Y]))


def _node(place: Any) -> int:
    text = f"{place[0]:.3f},{place[1]:.3f}"
    return int(hashlib.sha256(text.encode()).hexdigest()[:12], 16)
