import sqlite3
from contextlib import closing

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from survey.geopackage import _CELLS, _fill_index, write_layers

CRS = "EPSG:32632"


def ask(file, statement):
    with closing(sqlite3.connect(file)) as database:
        return database.execute(statement).fetchall()


def write_by_gdal(file, tables, types):
    for name, table in tables.items():
        pyogrio.write_dataframe(
            table, file, layer=name, driver="GPKG", geometry_type=types.get(name)
        )


@pytest.fixture
def tables():
    """Give tables of every kind of column and geometry, some longer than a batch of rows."""
    rng = np.random.default_rng(1)
    spots = rng.uniform(0, 9_000, (130, 2)).round(3)
    points = shapely.points(spots)
    lines = shapely.linestrings(np.stack([spots, spots + np.array([30, 4])], axis=1))
    columns = {
        "id": [f"way/{n}" for n in range(130)],
        "名": ["𠮷 'quoted' \"twice\"", None] * 65,
        "length_m": [0.1, float("nan")] * 65,
        "n": range(2**53, 2**53 + 130),
        "flag": [True, False] * 65,
        "tags": pd.Categorical(['{"a": "b"}', "{}"] * 65),
    }
    table = pd.DataFrame(columns)
    mixed = np.where(np.arange(130) % 2, points, shapely.multipolygons(shapely.box(*spots.T, 1, 2)))
    return {
        "plain": table,
        "points": gpd.GeoDataFrame(table, geometry=points, crs=CRS),
        "lines": gpd.GeoDataFrame(table, geometry=lines, crs=CRS),
        "mixed": gpd.GeoDataFrame(table, geometry=mixed, crs=CRS),
        "one": gpd.GeoDataFrame(table.head(1), geometry=lines[:1], crs=CRS),
        "none": gpd.GeoDataFrame(table.head(0), geometry=lines[:0], crs=CRS),
    }


TYPES = {
    "points": "Point",
    "lines": "LineString",
    "mixed": "Unknown",
    "one": "LineString",
    "none": "LineString",
}


def test_a_file_is_as_gdal_writes_it(tables, tmp_path):
    """Rows, schema, extents, counts and triggers are those that GDAL writes row by row."""
    ours, theirs = tmp_path / "ours.gpkg", tmp_path / "theirs.gpkg"
    write_layers(ours, tables, TYPES)
    write_by_gdal(theirs, {n: t.astype({"tags": "str"}) for n, t in tables.items()}, TYPES)
    for name in tables:
        one, other = (pyogrio.read_dataframe(file, layer=name) for file in (ours, theirs))
        pd.testing.assert_frame_equal(one, other)
    for statement in (
        "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name",
        "SELECT * FROM gpkg_geometry_columns",
        "SELECT * FROM gpkg_extensions",
        "SELECT * FROM gpkg_ogr_contents",
        "SELECT * FROM gpkg_spatial_ref_sys",
        "SELECT table_name, data_type, srs_id FROM gpkg_contents",
        "SELECT geom FROM points",
        "SELECT geom FROM lines",
    ):
        assert ask(ours, statement) == ask(theirs, statement), statement
    extent = "SELECT min_x, min_y, max_x, max_y FROM gpkg_contents WHERE table_name IN"
    extent += " ('lines', 'mixed')"
    np.testing.assert_allclose(ask(ours, extent), ask(theirs, extent), rtol=1e-15)
    assert ask(ours, "PRAGMA integrity_check") == [("ok",)]


def test_an_index_finds_what_gdal_finds(tables, tmp_path):
    """A box asked of a layer gives the rows that truly touch it, by the index of the file."""
    file = tmp_path / "a.gpkg"
    write_layers(file, tables, TYPES)
    box = (1_000, 2_000, 5_000, 6_000)
    for name in TYPES:
        touching = tables[name][tables[name].intersects(shapely.box(*box))]
        found = pyogrio.read_dataframe(file, layer=name, bbox=box)
        assert sorted(found["id"]) == sorted(touching["id"]), name
        assert ask(file, f"SELECT rtreecheck('rtree_{name}_geom')") == [("ok",)]


def test_a_layer_is_replaced_and_the_others_stay(tables, tmp_path):
    """Writing into a file that stands replaces the layers given, their index and their count."""
    file = tmp_path / "a.gpkg"
    write_layers(file, tables, TYPES)
    write_layers(file, {"lines": tables["lines"].tail(3)}, TYPES)
    assert len(pyogrio.read_dataframe(file, layer="lines")) == 3
    assert pyogrio.read_info(file, layer="lines")["features"] == 3
    assert ask(file, "SELECT count(*) FROM rtree_lines_geom") == [(3,)]
    assert len(pyogrio.read_dataframe(file, layer="points")) == 130
    assert ask(file, "PRAGMA integrity_check") == [("ok",)]


def test_gdal_can_go_on_with_a_file(tables, tmp_path):
    """What a GIS adds later is counted and indexed: the triggers are in their place."""
    file = tmp_path / "a.gpkg"
    write_layers(file, tables, TYPES)
    far = tables["lines"].head(2).astype({"tags": "str"}).translate(1e6)
    more = tables["lines"].head(2).astype({"tags": "str"}).set_geometry(far)
    pyogrio.write_dataframe(more, file, layer="lines", append=True)
    assert pyogrio.read_info(file, layer="lines")["features"] == 132
    found = pyogrio.read_dataframe(file, layer="lines", bbox=(9e5, 0, 2e6, 9_000))
    assert len(found) == 2
    assert ask(file, "SELECT rtreecheck('rtree_lines_geom')") == [("ok",)]


@settings(max_examples=20)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 2, _CELLS, _CELLS + 1, 7 * _CELLS, _CELLS**2, _CELLS**2 + 1]),
    st.sampled_from([0, 50, 1e6]),
)
def test_an_index_of_any_boxes_is_sound(seed, count, size_m):
    """SQLite's own check passes, and each box of the index holds the box that it stands for."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(-2e7, 2e7, (2, count)).round(3)
    ends = corners + rng.uniform(0, size_m, (2, count))
    boxes = np.stack([corners[0], ends[0], corners[1], ends[1]], axis=1)
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("CREATE VIRTUAL TABLE i USING rtree(id, minx, maxx, miny, maxy)")
        _fill_index(database, "i", boxes)
        assert database.execute("SELECT rtreecheck('i')").fetchone() == ("ok",)
        found = np.array(database.execute("SELECT * FROM i ORDER BY id").fetchall())
    assert found[:, 0].tolist() == list(range(1, count + 1))
    assert (found[:, [1, 3]] <= boxes[:, [0, 2]]).all()
    assert (found[:, [2, 4]] >= boxes[:, [1, 3]]).all()
    np.testing.assert_allclose(found[:, 1:], boxes, rtol=3e-7)
