import json
import zipfile

import geopandas as gpd
import pandas as pd
import pyogrio
import pytest

from survey.errors import InputError, LayerError
from survey.sources.layers import read_layer

SQUARE = "POLYGON ((118 32, 118.1 32, 118.1 32.1, 118 32.1, 118 32))"
POINTS = gpd.GeoDataFrame(
    {"kind": ["school", "market", "mall"]},
    geometry=gpd.points_from_xy([118.788, 118.7625, 118.79], [32.0205, 32.03, 32.041]),
    crs="EPSG:4326",
)
NO_PAIR = (
    "no column pair holds coordinates; wanted are longitude (lon/lng/long/longitude/经度) and"
    " latitude (lat/latitude/纬度/北纬/纬度坐标),"
    " or WKT (wkt/geometry/几何/geom/几何图形); the columns are '名称', '地址'"
)
KINDS = (
    "allowed are market 农贸市场, mall 商场超市, school 学校, hospital 医院, station 交通场站,"
    " community 城市社区"
)
SWAPPED = "columns '经度' and '纬度': longitude and latitude look swapped in {}; in China longitude"
NO_NUMBERS = "missing, zero or unreadable coordinates in"
MANY = "rows 3, 4, 5, 6, 7 and 2 more"
NO_DEGREES = (
    "are not degrees (row 2); say the CRS (a .prj file or a GeoPackage) or give longitude and"
    " latitude"
)
QUOTES = "put text that holds a ',' or a quotation mark in quotation marks"
HELD_TWICE = "hold the same coordinate; keep the one whose datum is passed"
SUFFIXES = ".csv, .tsv, .txt, .xlsx, .geojson, .json, .gpkg, .shp, .zip"


def fault_of(path, layer):
    """Return what is said of a file, without the path that it starts with."""
    with pytest.raises((LayerError, InputError)) as caught:
        read_layer(path, layer)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message.removeprefix(str(path)).lstrip(": ")


@pytest.mark.parametrize(
    ("text", "layer", "fault"),
    [
        (
            "name,kind,lon,lat\n",
            "points",
            "holds no rows; it should have one for each of the points",
        ),
        ("", "alleys", "holds no rows; it should have one for each of the alleys"),
        ("\n \n,,\n", "alleys", "holds no rows; it should have one for each of the alleys"),
        (
            "名称,地址\na,b\n",
            "toilets",
            NO_PAIR,
        ),
        (
            "name,lon,lat\na,118,32\n",
            "points",
            "no column says the kind (kind, 类型, 类别); the columns are 'name', 'lon', 'lat'",
        ),
        (
            "kind,lon,lat\n网吧,118,32\n小学,118,32\n网吧,118,32\n,118,32\n",
            "points",
            f"the kind '网吧' in rows 2, 4, '' in row 5 is unknown; {KINDS}",
        ),
        (
            "状态,lon,lat\n待定,118,32\n",
            "toilets",
            "the status '待定' in row 2 is unknown; allowed are public, opened, closed",
        ),
        (
            "id,lon,lat\n7,118,32\n8,118,32\n\n7,118,32\n9,118,32\n8,118,32\n7,118,32\n",
            "toilets",
            "ids are not unique: '7' in rows 2, 5, 8, '8' in rows 3, 7",
        ),
        ("编号,lon,lat\n7,118,32\n,118,32\n", "toilets", "the id is empty in row 3"),
        (
            "name,lon,lat\na,118,32\nb,,32\nc,x,32\nd,0,0\ne,nan,32\nf,118,inf\ng,118,\nh,1,0\n",
            "toilets",
            f"columns 'lon' and 'lat': {NO_NUMBERS} {MANY} (the first has '', '32')",
        ),
        (
            "name,经度,纬度\na,32.04,118.78\nb,32.05,118.79\n",
            "toilets",
            SWAPPED.format("rows 2, 3") + " is the number above 70",
        ),
        (
            "name,经度,纬度\na,118.78,32.04\nb,32.05,118.79\n",
            "toilets",
            SWAPPED.format("row 3") + " is the number above 70",
        ),
        (
            "name,经度,纬度\na,39.5,76\nb,43.8,87.6\n",
            "toilets",
            SWAPPED.format("rows 2, 3") + " is the number above 70",
        ),
        (
            "name,X坐标,Y坐标\na,668311.25,3545210\n",
            "toilets",
            f"columns 'X坐标' and 'Y坐标': 668311.25, 3545210 {NO_DEGREES}",
        ),
        (
            "lon,lat,百度经度,百度纬度\n118,32,118,32\n",
            "toilets",
            f"columns 'lon', '百度经度' {HELD_TWICE}",
        ),
        (
            'wkt\n"LINESTRING (118 32, 118 33)"\nPOINT (118 32)\n',
            "compounds",
            "LineString in row 2; compounds may be Polygon, MultiPolygon, Point",
        ),
        (
            "lon,lat\n118,32\n",
            "subdistricts",
            "Point in row 2; subdistricts may be Polygon, MultiPolygon",
        ),
        (
            f'wkt\n"{SQUARE}"\n',
            "alleys",
            "Polygon in row 2; alleys may be LineString, MultiLineString, Point",
        ),
        (
            'wkt\n"MULTIPOINT ((118 32), (118 33))"\n',
            "toilets",
            "MultiPoint in row 2; toilets may be Point, Polygon, MultiPolygon",
        ),
        (
            "wkt\nPOINT (118 32)\nsomewhere\nPOINT EMPTY\n",
            "toilets",
            f"column 'wkt': {NO_NUMBERS} rows 3, 4 (the first has 'somewhere')",
        ),
        (
            'wkt\n"POLYGON ((118 32, 118.1 32, 118.2 32, 118 32))"\n',
            "compounds",
            "a polygon without area in row 2",
        ),
        (
            "name,lon,lat\na,118,32\n路,2号,118,32\n",
            "toilets",
            f"cannot be read as a table: row 3 has 4 cells, the first row 3; {QUOTES}",
        ),
    ],
)
def test_a_fault_is_told_in_one_line(write, text, layer, fault):
    """The line says what was found, in which rows of the spreadsheet, and what is allowed."""
    assert fault_of(write(text), layer) == fault


def test_all_faults_of_a_file_are_told_at_once(write):
    """Ids, kinds and coordinates are checked together, so that a file is mended in one go."""
    path = write("id,kind,lon,lat\n1,网吧,118,32\n1,小学,,\n")
    fault = fault_of(path, "points")
    assert fault.count("; ") == 3
    for part in ("'1' in rows 2, 3", "'网吧' in row 2", "coordinates in row 3"):
        assert part in fault


def test_rows_of_a_spreadsheet_keep_their_numbers(tmp_path):
    """Blank rows above the header or between rows are passed over but counted."""
    cells = [[None] * 3, ["名称", "经度", "纬度"], ["a", 118.5, 32], [None] * 3, ["b", 118.5, "?"]]
    pd.DataFrame(cells).to_excel(tmp_path / "t.xlsx", header=False, index=False)
    assert "in row 5 (the first has '118.5', '?')" in fault_of(tmp_path / "t.xlsx", "toilets")


def test_features_are_counted_from_one(tmp_path):
    """A file with geometry has features, not rows."""
    path = tmp_path / "t.geojson"
    features = [
        {"type": "Feature", "properties": {"id": 1}, "geometry": geometry}
        for geometry in ({"type": "Point", "coordinates": [118, 32]}, None)
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), "utf-8")
    assert fault_of(path, "toilets") == (
        "ids are not unique: '1' in features 1, 2; the geometry: missing, zero or unreadable"
        " coordinates in feature 2"
    )


def test_metres_without_a_crs_are_not_degrees(tmp_path):
    """A shapefile that lost its .prj is refused with what it lacks."""
    POINTS.to_crs(4547).to_file(tmp_path / "p.shp", encoding="UTF-8")
    (tmp_path / "p.prj").unlink()
    assert "are not degrees (features 1, 2, 3); say the CRS (a .prj" in fault_of(
        tmp_path / "p.shp", "points"
    )


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("p.xls", b"", "is in the old Excel format; save it as .xlsx and pass that"),
        (
            "p.pdf",
            b"",
            f"is of an unknown kind; what can be read here is {SUFFIXES}",
        ),
        ("p.xlsx", b"no zip", "cannot be read as an Excel file: File is not a zip file"),
        ("p.zip", b"no zip", "cannot be read: File is not a zip file"),
        ("p.csv", b"a,b\xff\xff\n", "is neither UTF-8 nor GB18030 text; save it as CSV UTF-8"),
        ("p.geojson", b'{"type": "FeatureCollection", "features": [', "cannot be read: Failed to"),
        ("p.geojson", b'{"type":', "cannot be read: not recognized as being in a supported file"),
        ("p.gpkg", b"garbage", "cannot be read: "),
        ("p.shp", b"garbage", "cannot be read: "),
    ],
)
def test_a_file_that_cannot_be_read_says_so(write, name, content, fault):
    """Wrong kinds, wrong encodings and broken files are refused with what to do."""
    assert fault_of(write(content, name=name), "alleys").startswith(fault)


def test_a_missing_file_is_an_input_error(tmp_path):
    """The message says which file and to check the path."""
    with pytest.raises(InputError, match=r"no\.csv does not exist or is not a file; check the"):
        read_layer(tmp_path / "no.csv", "points")


def test_an_unknown_layer_is_refused(write):
    """The message lists the five layers."""
    with pytest.raises(LayerError, match="known are points, toilets, alleys, compounds, subdis"):
        read_layer(write("lon,lat\n118,32\n"), "streets")


def test_of_several_layers_none_is_guessed(tmp_path):
    """A GeoPackage with two vector layers is refused by their names; a plain table is no layer."""
    path = tmp_path / "p.gpkg"
    POINTS.to_file(path, layer="学校")
    pyogrio.write_dataframe(pd.DataFrame({"x": [1]}), path, layer="notes")
    assert len(read_layer(path, "points")) == 3
    POINTS.to_file(path, layer="医院")
    assert fault_of(path, "points") == "has 2 vector layers ('学校', '医院'); pass a file with one"


def test_of_several_shapefiles_in_a_zip_none_is_guessed(tmp_path):
    """A zip with two shapefiles, or none, is refused."""
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        archive.writestr("a/x.shp", b"")
        archive.writestr("a/y.SHP", b"")
        archive.writestr("__MACOSX/a/._x.shp", b"")
    assert fault_of(tmp_path / "p.zip", "points") == (
        "has 2 shapefiles ('x.shp', 'y.SHP'); pass a zip with one"
    )
