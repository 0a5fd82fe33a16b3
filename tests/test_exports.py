import csv
import io
import json
import math
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import LineString, MultiLineString, MultiPolygon, Point, Polygon

from paper_town import CRS, HOSTILE, make_reach, make_town
from survey.errors import OutputError, TableError
from survey.outputs.exports import export_tables, label_points, write_files


def town_tables():
    town = make_town()
    return {"points": town.points, "alleys": town.alleys, "reach": make_reach()}


def read_csv(path):
    """Read a CSV as a script without pandas would."""
    text = path.read_bytes().decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_csv_holds_the_table_and_positions_in_degrees(tmp_path):
    """A CSV begins with a byte-order mark, ends its rows with LF, and ends them in lon and lat."""
    paths = export_tables(town_tables(), tmp_path)
    assert [path.name for path in paths] == ["points.csv", "alleys.csv", "reach.csv"]
    assert paths[0].read_bytes().startswith(b"\xef\xbb\xbfpoint_id,name,")
    assert all(b"\r" not in path.read_bytes() for path in paths)
    rows = read_csv(paths[0])
    assert list(rows[0])[-2:] == ["lon", "lat"]
    assert rows[2]["name"] == "南京市第五中学"
    assert rows[2]["name_en"] == ""
    market = gpd.GeoSeries([Point(float(rows[0]["lon"]), float(rows[0]["lat"]))], crs=4326)
    assert market.to_crs(CRS).iloc[0].distance(make_town().points.geometry.iloc[0]) < 0.02
    assert len(rows[0]["lon"].split(".")[1]) <= 7
    assert list(read_csv(paths[2])[0]) == ["point_id", "layer", "unit_id", "euclid_m", "network_m"]


def test_csv_has_plain_words_for_flags_and_nothing_for_missing_numbers(tmp_path):
    """Flags are True and False, a missing number is empty, metres are as short as they can be."""
    town = make_town()
    tables = {"toilets": town.toilets, "alleys": town.alleys, "reach": make_reach()}
    toilets, alleys, reach = (read_csv(path) for path in export_tables(tables, tmp_path))
    assert {row["inside"] for row in toilets} == {"True"}
    assert [row["length_m"] for row in alleys] == ["400.25", "300.0", "250.0"]
    assert [row["network_m"] for row in reach] == ["5.0", "733.0", "", "412.0"]


numbers = st.floats(allow_nan=False, allow_infinity=False)
metres = st.integers(0, 10**9).map(lambda mm: mm / 1000)


@given(st.lists(numbers | metres, min_size=1))
def test_numbers_read_back_as_they_were(tmp_path_factory, values):
    """Every number in a CSV reads back as the same number, to the last bit."""
    folder = tmp_path_factory.mktemp("csv")
    [path] = export_tables({"reach": pd.DataFrame({"x_m": values})}, folder)
    assert [float(row["x_m"]) for row in read_csv(path)] == values


@pytest.mark.parametrize(
    "text", ["=1+1", "+a", "-a", "@a", 'a"b', "a,b", "a\nb", "a\r\nb", "a\rb", HOSTILE, " a "]
)
def test_texts_read_back_as_they_were(tmp_path, text):
    """Cells are exact, whatever a spreadsheet may make of them."""
    [path] = export_tables({"names": pd.DataFrame({"name": [text, "路"]})}, tmp_path)
    assert [row["name"] for row in read_csv(path)] == [text, "路"]
    again = pd.read_csv(path, keep_default_na=False, lineterminator=None)
    assert again["name"].tolist()[1] == "路"


def test_label_stands_on_the_longest_piece_and_inside_the_area():
    """A line is labelled in the middle of its longest piece, an area inside, a point on itself."""
    pieces = MultiLineString([[(0, 0), (10, 0)], [(100, 0), (100, 40)]])
    horseshoe = Polygon([(0, 0), (30, 0), (30, 30), (20, 30), (20, 5), (10, 5), (10, 30), (0, 30)])
    shapes = gpd.GeoSeries(
        [Point(3, 4), LineString([(0, 0), (0, 8)]), pieces, MultiPolygon([horseshoe])], crs=CRS
    )
    found = label_points(shapes)
    assert found.iloc[:3].tolist() == [Point(3, 4), Point(0, 4), Point(100, 20)]
    assert horseshoe.contains(found.iloc[3])
    assert found.crs == shapes.crs


def test_geojson_is_wgs84_with_outer_rings_anticlockwise(tmp_path):
    """A GeoJSON file follows RFC 7946 and keeps Chinese as it is; plain tables get none."""
    paths = export_tables(town_tables(), tmp_path, csv=False, geojson=True)
    assert [path.name for path in paths] == ["points.geojson", "alleys.geojson"]
    text = paths[0].read_bytes().decode("utf-8")
    assert "南京市第五中学" in text
    data = json.loads(text)
    assert set(data) == {"type", "features"}
    school = data["features"][2]
    assert school["type"] == "Feature"
    assert school["properties"] == {
        "point_id": "node/2", "name": "南京市第五中学", "name_en": None, "kind": "school",
        "subdistrict_id": "relation/1", "source": "osm", "data_edge_m": 900.0,
    }  # fmt: skip
    shape = shapely.geometry.shape(school["geometry"])
    assert all(part.exterior.is_ccw for part in shape.geoms)
    degrees = shapely.get_coordinates(shape)
    assert np.array_equal(degrees, np.round(degrees, 7))
    back = gpd.GeoSeries([shape], crs=4326).to_crs(CRS).iloc[0]
    assert back.hausdorff_distance(make_town().points.geometry.iloc[2]) < 0.02


def test_geojson_has_null_for_a_missing_number(tmp_path):
    """NaN, which JSON does not know, becomes null."""
    table = gpd.GeoDataFrame({"worst_m": [math.nan, 2.5], "n": [1, 2]}, geometry=[Point(0, 0)] * 2)
    [path] = export_tables({"gaps": table.set_crs(CRS)}, tmp_path, csv=False, geojson=True)
    rows = [feature["properties"] for feature in json.loads(path.read_text("utf-8"))["features"]]
    assert rows == [{"worst_m": None, "n": 1}, {"worst_m": 2.5, "n": 2}]


def test_same_tables_give_the_same_bytes(tmp_path):
    """Two exports of the same tables are the same files."""
    first = export_tables(town_tables(), tmp_path / "a", geojson=True)
    second = export_tables(town_tables(), tmp_path / "b", geojson=True)
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_export_leaves_its_tables_alone(tmp_path):
    """The tables given are unchanged."""
    tables = town_tables()
    before = {name: table.copy() for name, table in tables.items()}
    export_tables(tables, tmp_path, geojson=True)
    assert all(tables[name].equals(table) for name, table in before.items())


def test_existing_files_are_listed_and_left(tmp_path):
    """If any file exists, the error lists all that do, and nothing is written."""
    for name in ("alleys.csv", "points.csv"):
        (tmp_path / name).write_text("old")
    with pytest.raises(OutputError, match=r"points\.csv.*alleys\.csv.*--replace"):
        export_tables(town_tables(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alleys.csv", "points.csv"]
    export_tables(town_tables(), tmp_path, replace=True)
    assert (tmp_path / "points.csv").stat().st_size > 100


def test_nothing_asked_for_is_an_error(tmp_path):
    """An export of no kind of file says which kinds there are."""
    with pytest.raises(OutputError, match="csv, geojson"):
        export_tables(town_tables(), tmp_path, csv=False)


def test_geometry_without_crs_is_an_error(tmp_path):
    """A table whose geometry is nowhere on the globe is named."""
    table = gpd.GeoDataFrame(geometry=[Point(0, 0)])
    with pytest.raises(TableError, match="'points' has no CRS"):
        export_tables({"points": table}, tmp_path)


def test_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    """If the disk fills at the second file, the first is not replaced and nothing is left over."""
    old, new = tmp_path / "a.csv", tmp_path / "b.csv"
    old.write_bytes(b"old")
    write = Path.write_bytes

    def fill(path, content):
        if content == b"2":
            write(path, b"")
            raise OSError(28, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", fill)
    with pytest.raises(OutputError, match=r"b\.csv cannot be written: No space left on device"):
        write_files({old: b"1", new: b"2"}, replace=True)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.csv", b"old")]


def test_failed_rename_brings_everything_back(tmp_path, monkeypatch):
    """If the last rename fails, replaced files come back and new ones go."""
    paths = [tmp_path / name for name in ("a.csv", "b.csv", "c.csv")]
    paths[0].write_bytes(b"old a")
    paths[2].write_bytes(b"old c")
    rename = Path.replace

    def locked(source, target):
        if target == paths[2]:
            raise PermissionError(13, "Permission denied")
        return rename(source, target)

    monkeypatch.setattr(Path, "replace", locked)
    with pytest.raises(OutputError, match=r"c\.csv cannot be written: Permission denied"):
        write_files(dict.fromkeys(paths, b"new"), replace=True)
    left = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert left == {"a.csv": b"old a", "c.csv": b"old c"}


def test_folder_in_the_way_is_an_error(tmp_path):
    """A target that is a folder, or lies below a file, is one clear error."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="is not a file"):
        write_files({tmp_path / "folder": b"x"}, replace=True)
    with pytest.raises(OutputError, match="cannot be written"):
        write_files({tmp_path / "file" / "below.csv": b"x"})
