import zipfile
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from geopandas.testing import assert_geodataframe_equal
from hypothesis import given
from hypothesis import strategies as st

from survey.errors import AreaError, InputError
from survey.sources.layer_places import parse_degrees
from survey.sources.layer_words import find_columns, fold, read_words
from survey.sources.layers import read_layer, read_shapes

SQUARE = "POLYGON ((118 32, 118.1 32, 118.1 32.1, 118 32.1, 118 32))"
BOWTIE = "POLYGON ((118 32, 118.2 32.2, 118.2 32, 118 32.2, 118 32))"
TABLE = {
    "编号": ["a1", "a2", "a3"],
    "名称": ["夫子庙小学", "+1+1", "<img src=x>"],
    "类型": ["小学", "菜市场", "Shopping Mall"],
    "经度": [118.788, 118.7625, 118.79],
    "纬度": [32.0205, 32.03, 32.041],
}
POINTS = gpd.GeoDataFrame(
    {
        "id": pd.Series(["a1", "a2", "a3"], dtype="str"),
        "name": pd.Series(["夫子庙小学", "+1+1", "<img src=x>"], dtype="str"),
        "name_en": pd.Series([None] * 3, dtype="str"),
        "kind": pd.Series(["school", "market", "mall"], dtype="str"),
    },
    geometry=gpd.points_from_xy([118.788, 118.7625, 118.79], [32.0205, 32.03, 32.041]),
    crs="EPSG:4326",
)


# --- one table in every format


def vector():
    """Make vector data of the table."""
    plain = pd.DataFrame(TABLE)
    places = gpd.points_from_xy(plain.pop("经度"), plain.pop("纬度"))
    return gpd.GeoDataFrame(plain, geometry=places, crs="EPSG:4326")


def write_csv(path, *, encoding="utf-8", sep=","):
    pd.DataFrame(TABLE).to_csv(path, index=False, encoding=encoding, sep=sep)
    return path


def write_wkt(path):
    vector().to_wkt().to_csv(path, index=False)
    return path


def write_xlsx(path):
    pd.DataFrame(TABLE).to_excel(path, index=False)
    return path


def write_vector(path, *, encoding="utf-8", crs=4326):
    vector().to_crs(crs).to_file(path)
    if encoding != "utf-8":
        path.write_text(path.read_text(encoding="utf-8"), encoding=encoding)
    return path


def write_shapefile(path, *, encoding="UTF-8", cpg=True):
    shp = path.with_suffix(".shp")
    vector().to_file(shp, encoding=encoding)
    if not cpg:
        shp.with_suffix(".cpg").unlink()
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for part in path.parent.glob(f"{path.stem}.[!z]*"):
                archive.write(part, f"资料/点位{part.suffix}")
                part.unlink()
    return path


@pytest.mark.parametrize(
    ("write", "name", "how"),
    [
        (write_csv, "p.csv", {}),
        (write_csv, "p.csv", {"encoding": "utf-8-sig"}),
        (write_csv, "p.csv", {"encoding": "gb18030"}),
        (write_csv, "p.csv", {"sep": ";"}),
        (write_csv, "p.tsv", {"sep": "\t"}),
        (write_csv, "p.txt", {"sep": "\t", "encoding": "utf-16"}),
        (write_wkt, "p.csv", {}),
        (write_xlsx, "p.xlsx", {}),
        (write_vector, "p.geojson", {}),
        (write_vector, "p.geojson", {"encoding": "utf-8-sig"}),
        (write_vector, "p.json", {"encoding": "gb18030"}),
        (write_vector, "p.gpkg", {}),
        (write_vector, "p.gpkg", {"crs": 4547}),
        (write_shapefile, "p.shp", {}),
        (write_shapefile, "p.shp", {"encoding": "GB18030"}),
        (write_shapefile, "p.shp", {"cpg": False}),
        (write_shapefile, "p.shp", {"encoding": "GB18030", "cpg": False}),
        (write_shapefile, "p.zip", {}),
        (write_shapefile, "p.zip", {"encoding": "GB18030", "cpg": False}),
    ],
)
def test_a_table_is_the_same_in_every_format_and_encoding(tmp_path, write, name, how):
    """What is written in any format comes back as the same layer; names are kept as they are."""
    found = read_layer(write(tmp_path / name, **how), "points")
    assert_geodataframe_equal(found, POINTS, check_less_precise="crs" in how)
    if "crs" not in how:
        assert found.geometry.geom_equals(POINTS.geometry).all()


# --- columns


@pytest.mark.parametrize(
    ("name", "means"),
    [
        ("名称", "name"),
        (" NAME ", "name"),
        ("ＮＡＭＥ", "name"),
        ("英文名", "name_en"),
        ("Name_EN", "name_en"),
        ("name (en)", "name"),
        ("类别", "kind"),
        ("Kind", "kind"),
        ("经度", "lon"),
        ("经度（°）", "lon"),
        ("经 度", "lon"),
        ("Longitude [deg]", "lon"),
        ("LNG", "lon"),
        ("百度经度", "lon"),
        ("lat_gcj02", "lat"),
        ("纬度【WGS84】", "lat"),
        ("POINT_X", "x"),
        ("Y坐标", "y"),
        ("the_geom", "wkt"),
        ("几何", "wkt"),
        ("编号", "id"),
        ("ID", "id"),
        ("开放时间", "opening_hours"),
        ("opening hours", "opening_hours"),
        ("状态", "status"),
        ("是否收费", "fee"),
        ("无障碍", "wheelchair"),
        ("标识", "signed"),
        ("楼层", "level"),
        ("备注", None),
        ("", None),
        ("(备注)", None),
    ],
)
def test_columns_are_known_by_many_names(name, means):
    """Chinese and English, any case and width, with spaces, units and brackets."""
    found = find_columns([name], read_words()["columns"])
    assert found == ({means: [0]} if means else {})


@given(st.text())
def test_folding_twice_is_folding_once(text):
    """What is left of a word has nothing more to lose."""
    assert fold(fold(text)) == fold(text)


def test_toilets_have_all_their_columns(write):
    """Facts are read in Chinese, ways to say yes and no are one, and other words are kept."""
    path = write(
        "名称,状态,使用对象,收费,开放时间,无障碍,标识,楼层,X,Y,备注\n"
        "甲,公共,公众,免费,24小时,有,√,,118.5,32,好\n"
        "乙,对外开放,,2元,06:00-22:00,部分,无,-1,118.6,32.5,\n"
        "丙,停用,,,,,,,118.7,32,\n"
        "丁,,,,,,,,118.8,32,\n"
        "戊,,顾客,,,,,,118.9,32,\n"
    )
    found = read_layer(path, "toilets")
    assert list(found.columns) == [
        *("id", "name", "name_en", "status", "access", "fee", "opening_hours"),
        *("wheelchair", "signed", "level", "geometry"),
    ]
    cells = found.drop(columns=["geometry", "id", "name_en"]).fillna("").to_numpy().tolist()
    assert cells == [
        ["甲", "public", "yes", "no", "24小时", "yes", "yes", ""],
        ["乙", "opened", "", "2元", "06:00-22:00", "limited", "no", "-1"],
        ["丙", "closed", "", "", "", "", "", ""],
        ["丁", "public", "", "", "", "", "", ""],
        ["戊", "closed", "customers", "", "", "", "", ""],
    ]
    assert found["id"].isna().all()
    assert found.geometry.iloc[1] == shapely.Point(118.6, 32.5)


def test_columns_that_a_shapefile_cut_in_two_are_known(tmp_path):
    """Ten bytes hold three Chinese characters and a third of one, and part of opening_hours."""
    table = gpd.GeoDataFrame(
        {"名称": ["公厕"], "开放时间": ["全天"]}, geometry=gpd.points_from_xy([118], [32]), crs=4326
    )
    with pytest.warns(RuntimeWarning, match="Could not decode error message"):  # of the cut
        table.to_file(tmp_path / "t.shp", encoding="UTF-8")
    assert read_layer(tmp_path / "t.shp", "toilets")["opening_hours"].tolist() == ["全天"]


def test_other_columns_are_dropped_and_rows_stay_in_order(write):
    """An alley is a line or a position with a name; whatever else the file says is left out."""
    path = write(
        '宽度,名称,wkt\n6,乙巷,"LINESTRING Z (118 32 5, 118.01 32 6)"\n\n4,=1+1,POINT (118 32)\n'
    )
    found = read_layer(path, "alleys")
    assert list(found.columns) == ["id", "name", "name_en", "geometry"]
    assert found["name"].tolist() == ["乙巷", "=1+1"]
    assert found.geometry.iloc[0].wkt == "LINESTRING (118 32, 118.01 32)"
    assert found.index.tolist() == [0, 1]


def test_the_name_of_a_subdistrict_may_be_called_subdistrict(write):
    """In a layer of subdistricts that column is the name; in others it is none of ours."""
    path = write(f'街道,wkt\n秦淮街道,"{SQUARE}"\n')
    assert read_layer(path, "subdistricts")["name"].tolist() == ["秦淮街道"]
    assert read_layer(path, "compounds")["name"].isna().all()


def test_numbers_in_cells_stay_what_they_look_like(tmp_path):
    """A whole number in a spreadsheet or database is text without a decimal point."""
    table = pd.DataFrame({"id": [1.0, 22.0], "name": [7, "007"], "lon": [118, "118.5"], "lat": 32})
    table.to_excel(tmp_path / "t.xlsx", index=False)
    found = read_layer(tmp_path / "t.xlsx", "toilets")
    assert found["id"].tolist() == ["1", "22"]
    assert found["name"].tolist() == ["7", "007"]
    assert found.geometry.x.tolist() == [118.0, 118.5]


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        *[(word, "market") for word in ("农贸市场", "菜市场", "市场", "Marketplace")],
        *[
            (word, "mall")
            for word in ("商场", "超市", "商场、超市", "商场超市", "购物中心", "Mall")
        ],
        *[(word, "school") for word in ("学校", "中学", "小学", "大学", "school")],
        *[(word, "hospital") for word in ("医院", " hospital ")],
        *[(word, "station") for word in ("车站", "交通场站", "地铁站", "客运站", "火车站")],
        *[(word, "community") for word in ("社区", "居委会", "城市社区", "社区（村）")],
    ],
)
def test_kinds_are_known_in_chinese_and_english(write, word, kind):
    """Each way to name one of the six kinds is that kind."""
    path = write(f"name,类型,lon,lat\na,{word},118,32\n")
    assert read_layer(path, "points")["kind"].tolist() == [kind]


# --- geometry


def test_toilets_drawn_as_areas_are_positions(write):
    """An area is a toilet at a position within it."""
    found = read_layer(write(f'name,wkt\na,"{SQUARE}"\n'), "toilets")
    assert found.geom_type.tolist() == ["Point"]
    assert shapely.from_wkt(SQUARE).contains(found.geometry.iloc[0])


def test_a_broken_polygon_is_mended(write):
    """A bow tie is its two triangles: half the area of its box."""
    found = read_layer(write(f'name,wkt\na,"{BOWTIE}"\n'), "compounds")
    assert found.geom_type.tolist() == ["MultiPolygon"]
    assert shapely.area(found.geometry.iloc[0]) == pytest.approx(0.2 * 0.2 / 2)


def test_a_collection_of_one_point_is_that_point(write):
    """Some programs write every point as a collection."""
    found = read_layer(write("name,wkt\na,MULTIPOINT ((118 32))\n"), "toilets")
    assert found.geometry.iloc[0] == shapely.Point(118, 32)


@pytest.mark.parametrize("crs", ["EPSG:4490", "EPSG:4547", "EPSG:32650"])
def test_files_of_any_crs_become_degrees(tmp_path, crs):
    """A file that says its CRS is brought to longitude and latitude."""
    layer = POINTS.rename(columns={"id": "编号"}).to_crs(crs)
    layer.to_file(tmp_path / "p.gpkg")
    found = read_layer(tmp_path / "p.gpkg", "points")
    assert found.crs == "EPSG:4326"
    assert np.allclose(found.geometry.x, POINTS.geometry.x, rtol=0, atol=1e-7)
    assert np.allclose(found.geometry.y, POINTS.geometry.y, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("text", "degrees"),
    [
        ("118.5", 118.5),
        (" １１８．５ ", 118.5),
        ("118.5°", 118.5),
        ("东经118.5度", 118.5),
        ("118.5E", 118.5),
        ("N 32.25°", 32.25),
        ("118°30'", 118.5),
        ("118°30′36″", 118.51),
        ("北纬32度15分0秒", 32.25),
        ("1,118.5", 1118.5),
        ("-1.5", -1.5),
        ("1.185e2", 118.5),
        ("118,5", None),
        ("118.5.1", None),
        ("abc", None),
        ("", None),
        ("118°75x", None),
    ],
)
def test_degrees_are_read_as_people_write_them(text, degrees):
    """Signs, full width, minutes and seconds are understood; what is not is no number."""
    assert parse_degrees(text) == pytest.approx(np.nan if degrees is None else degrees, nan_ok=True)


@given(st.floats(-180, 180))
def test_a_number_is_read_to_the_last_digit(value):
    """What Python writes for a number is read as that number."""
    assert parse_degrees(repr(value)) == value


# --- areas


def test_the_polygons_of_a_file_are_one_shape(tmp_path):
    """The union in WGS-84 of all polygons, whatever their CRS; other geometry is passed over."""
    parts = gpd.GeoSeries(
        [
            shapely.box(118, 32, 118.1, 32.1),
            shapely.box(118.1, 32, 118.2, 32.1),
            shapely.Point(0, 0),
        ],
        crs="EPSG:4326",
    )
    parts.to_file(tmp_path / "a.geojson")
    found = read_shapes(tmp_path / "a.geojson")
    assert found.equals(shapely.box(118, 32, 118.2, 32.1))
    parts[:2].to_crs("EPSG:32650").to_file(tmp_path / "b.gpkg")
    far = read_shapes(str(tmp_path / "b.gpkg"))
    assert far.symmetric_difference(found).area < 1e-5 * found.area


def test_polygons_apart_are_one_multipolygon(tmp_path):
    """Two islands are one area; a bow tie is mended."""
    shapes = [shapely.box(120, 32, 120.1, 32.1), shapely.from_wkt(BOWTIE)]
    gpd.GeoSeries(shapes, crs="EPSG:4326").to_file(tmp_path / "a.shp")
    found = read_shapes(tmp_path / "a.shp")
    assert found.geom_type == "MultiPolygon"
    assert found.is_valid
    assert found.area == pytest.approx(0.1 * 0.1 + 0.2 * 0.2 / 2)


def test_a_file_without_polygons_is_no_area(tmp_path):
    """Points make no area."""
    POINTS.to_file(tmp_path / "p.geojson")
    with pytest.raises(AreaError, match=r"p\.geojson holds no polygon; draw the area as one"):
        read_shapes(tmp_path / "p.geojson")


@pytest.mark.parametrize("name", ["missing.geojson", "table.csv", "broken.gpkg"])
def test_an_area_file_that_cannot_be_read_is_an_input_error(tmp_path, name):
    """Missing files, tables and broken files are refused by their name."""
    if not name.startswith("missing"):
        Path(tmp_path, name).write_bytes(b"lon,lat\n118,32\n")
    with pytest.raises(InputError, match=name):
        read_shapes(tmp_path / name)
