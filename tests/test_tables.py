import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import LineString, MultiPolygon, Point, box

from survey.errors import TableError
from survey.tables import TABLES, check, empty, make, round_mm

CRS = "EPSG:32650"
POINTS = {
    "point_id": ["node/1", "way/2"],
    "name": ["一小", None],
    "name_en": [None, None],
    "kind": ["school", "market"],
    "subdistrict_id": [None, "relation/3"],
    "source": ["osm", "osm"],
    "data_edge_m": [10.0, 0.0],
    "geometry": [Point(0, 0), MultiPolygon([box(0, 0, 1, 1)])],
}
DRAWS = {
    "round_id": ["r"],
    "point_id": ["node/1"],
    "layer": ["alley"],
    "unit_id": ["alley/1"],
    "ticket": ["00ff"],
    "radius_m": [500.0],
    "slot": [1],
    "replacement": [False],
}


def faults(columns, name="points", crs=CRS):
    """Make a table that is refused; give the message."""
    with pytest.raises(TableError) as fault:
        make(name, columns, crs=crs)
    message = str(fault.value)
    assert repr(name) in message
    assert "\n" not in message
    return message


def test_make_keeps_order_and_types():
    """A made table has the contract's columns in its order, text, numbers, and a plain index."""
    table = make("points", dict(reversed(POINTS.items())), crs=CRS)
    assert list(table) == [*TABLES["points"].columns, "geometry"]
    assert table["point_id"].dtype == "str"
    assert table["data_edge_m"].dtype == "float64"
    assert isinstance(table.index, pd.RangeIndex)
    assert table.crs == CRS
    assert table["name"].isna().tolist() == [False, True]


def test_make_casts():
    """Whole numbers become floats where lengths are wanted, numbers text where text is."""
    draws = make("draws", DRAWS | {"radius_m": [500], "unit_id": [7], "slot": [1.0]})
    assert draws["radius_m"].dtype == "float64"
    assert draws["unit_id"].tolist() == ["7"]
    assert draws["slot"].dtype == "int64"
    assert draws["replacement"].dtype == "bool"


def test_make_takes_any_kind_of_column():
    """Arrays, series with an index of their own, tuples and generators of the keys alike."""
    series = pd.Series([10.0, 0.0], index=[7, 3])
    shapes = gpd.GeoSeries(POINTS["geometry"], index=[5, 1])
    columns = POINTS | {"data_edge_m": series, "geometry": shapes, "kind": ("school", "market")}
    pd.testing.assert_frame_equal(make("points", columns, crs=CRS), make("points", POINTS, crs=CRS))


def test_make_leaves_out_what_the_contract_does_not_know():
    """Columns that are not in the contract are left out."""
    assert "extra" not in make("points", POINTS | {"extra": [1, 2]}, crs=CRS)


def test_make_does_not_change_its_input():
    """What was given stays as it was."""
    series = pd.Series([7, 8], dtype=object)
    make("points", POINTS | {"source": series}, crs=CRS)
    assert series.tolist() == [7, 8]


@pytest.mark.parametrize("column", [*TABLES["points"].columns, "geometry"])
def test_a_missing_column_is_named(column):
    """Each column that is not given is named in a TableError."""
    message = faults({name: cells for name, cells in POINTS.items() if name != column})
    assert column in message


def test_all_faults_at_once():
    """One message lists every fault: types, missing cells, values, keys, geometry and CRS."""
    message = faults(
        {
            "point_id": ["node/1", "node/1"],
            "name": ["a", "b"],
            "name_en": [None, None],
            "kind": ["school", "pub"],
            "subdistrict_id": [None, None],
            "source": ["osm", None],
            "data_edge_m": [-1.0, float("inf")],
            "geometry": [None, LineString([(0, 0), (1, 1)])],
        },
        crs=4326,
    )
    for part in (
        "point_id is not unique (1 rows too many, e.g. node/1)",
        "'kind' holds ['pub'], allowed are ['market', 'mall',",
        "'source' has 1 missing cells",
        "'data_edge_m' holds infinite numbers",
        "'data_edge_m' holds lengths below 0",
        "1 rows have no geometry",
        "geometry is ['LineString'], allowed are ['Point', 'MultiPolygon']",
        "CRS 'WGS 84' is not in metres",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("column", "cells", "says"),
    [
        ("replacement", [None], "'replacement' should hold flag"),
        ("replacement", [np.nan], "'replacement' should hold flag"),
        ("replacement", ["False"], "'replacement' should hold flag"),
        ("replacement", [2], "'replacement' should hold flag"),
        ("slot", [1.5], "'slot' should hold whole"),
        ("slot", [np.nan], "'slot' should hold whole"),
        ("slot", [None], "'slot' should hold whole"),
        ("slot", ["one"], "'slot' should hold whole"),
        ("radius_m", ["wide"], "'radius_m' should hold number"),
        ("radius_m", [[500.0]], "'radius_m' should hold number"),
        ("radius_m", [None], "'radius_m' has 1 missing"),
        ("unit_id", [["a", "b"]], "'unit_id' should hold text"),
        ("unit_id", [{"a": 1}], "'unit_id' should hold text"),
        ("unit_id", [None], "'unit_id' has 1 missing"),
        ("layer", ["street"], "'layer' holds ['street']"),
        ("radius_m", [-0.001], "'radius_m' holds lengths below 0"),
        ("radius_m", [500.0, 600.0], "unlike length"),
    ],
)
def test_nothing_is_bent_in_silence(column, cells, says):
    """What a cast would change or lose is a TableError that names the column, not a guess."""
    assert says in faults(DRAWS | {column: cells}, "draws")


def test_geometry_of_another_length():
    """More shapes than rows are refused, and not dropped."""
    columns = {"node_id": ["node/1"], "geometry": [Point(0, 0), Point(1, 1)]}
    assert "unlike length" in faults(columns, "nodes")


@pytest.mark.parametrize(
    ("crs", "says"),
    [(4326, "not in metres"), (4490, "not in metres"), (2263, "not in metres"), (None, "missing")],
)
def test_crs_must_be_in_metres(crs, says):
    """Degrees and feet are refused, and so is a table without a CRS."""
    columns = {"node_id": ["node/1"], "geometry": [Point(0, 0)]}
    assert says in faults(columns, "nodes", crs)


@pytest.mark.parametrize("crs", [32650, 32756, 4547, 2154])
def test_any_projected_crs_in_metres_will_do(crs):
    """UTM zones and national grids in metres are accepted."""
    table = make("nodes", {"node_id": ["node/1"], "geometry": [Point(0, 0)]}, crs=crs)
    assert table.crs.to_epsg() == crs


def test_empty_shapes_are_no_shapes():
    """An empty geometry counts as none."""
    columns = {"node_id": ["a", "b"], "geometry": [Point(), shapely.Point(1, 1)]}
    assert "1 rows have no geometry" in faults(columns, "nodes")


def test_keys_of_several_columns():
    """A key of several columns is unique as a whole; its parts may repeat."""
    two = {name: cells * 2 for name, cells in DRAWS.items()}
    assert len(make("draws", two | {"slot": [1, 2]})) == 2
    message = faults(two, "draws")
    assert "key round_id + point_id + layer + slot is not unique" in message
    assert "r, node/1, alley, 1" in message


@pytest.mark.parametrize("name", TABLES)
def test_empty_tables(name):
    """Every table can be empty, with all its columns, types and geometry."""
    table = empty(name, crs=CRS)
    assert len(table) == 0
    spec = TABLES[name]
    assert list(table)[: len(spec.columns)] == list(spec.columns)
    assert isinstance(table, gpd.GeoDataFrame) == (spec.geometry is not None)
    for column, kind in spec.columns.items():
        expected = {"text": "str", "number": "float64", "whole": "int64", "flag": "bool"}[kind]
        assert table[column].dtype == expected
    assert check(name, table) is table


@pytest.mark.parametrize("name", TABLES)
def test_the_contract_fits_together(name):
    """Keys are columns that may not be missing; allowed values belong to columns of the table."""
    spec = TABLES[name]
    assert set(spec.key) <= set(spec.columns)
    assert not set(spec.key) - {"within_m"} & spec.may_miss
    assert set(spec.allowed or {}) <= set(spec.columns)
    assert spec.may_miss <= set(spec.columns)


def test_check_returns_the_table_itself():
    """A table that keeps the contract comes back as the same object, extra columns and all."""
    table = make("points", POINTS, crs=CRS).assign(note="x")
    assert check("points", table) is table


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"data_edge_m": ["10", "0"]}, "'data_edge_m' should hold number"),
        ({"data_edge_m": [10, 0]}, "'data_edge_m' should hold number"),
        ({"source": [1, 2]}, "'source' should hold text"),
        ({"source": pd.Series([["a"], ["b"]], dtype=object)}, "'source' should hold text"),
        ({"point_id": pd.Series([["a"], ["b"]], dtype=object)}, "'point_id' should hold text"),
    ],
)
def test_check_sees_wrong_types(change, says):
    """A column of a wrong type is named, also where it is part of the key."""
    table = make("points", POINTS, crs=CRS).assign(**change)
    with pytest.raises(TableError) as fault:
        check("points", table)
    assert says in str(fault.value)


def test_check_sees_a_table_without_geometry():
    """A plain table, or one whose shapes stand in another column, is refused."""
    table = make("points", POINTS, crs=CRS)
    for other in (pd.DataFrame(table), table.rename_geometry("shape")):
        with pytest.raises(TableError, match="no geometry column"):
            check("points", other)


def test_check_of_some_columns_sees_these_alone():
    """Of a table with two faults the one in the columns asked for is told."""
    table = make("points", POINTS, crs=CRS).assign(kind="pub", data_edge_m=[-1.0, 0.0])
    with pytest.raises(TableError, match="'kind' holds") as fault:
        check("points", table, only=["kind", "name"])
    assert "data_edge_m" not in str(fault.value)
    assert check("points", table, only=["source"]) is table


def test_columns_of_missing_text_only():
    """A column of missing text is text, whatever type it came as."""
    for missing in ([None, None], [np.nan, np.nan], [pd.NA, pd.NA]):
        table = make("points", POINTS | {"name": missing}, crs=CRS)
        assert table["name"].isna().all()
        assert table["name"].dtype == "str"


@given(st.floats(0, 1e6))
def test_rounding_to_the_millimetre(metres):
    """Rounding moves by half a millimetre at most, twice is once, and a CSV keeps the number."""
    rounded = round_mm([metres])[0]
    assert abs(rounded - metres) <= 0.000501
    assert round_mm([rounded])[0] == rounded
    assert float(f"{rounded:.3f}") == rounded
