import json
import os
import re
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyproj
import pytest
import shapely

from survey.errors import DatumError
from survey.sources.area import find_area
from survey.sources.datum import (
    DATUMS,
    Reference,
    convert_datum,
    detect_datum,
    settle_datum,
)
from survey.sources.extract import read_extract

CRS = pyproj.CRS.from_epsg(32650)
CORNER = np.array([668_000.0, 3_546_000.0])
NONE = np.array([], dtype=object)
CORE = {"nanjing": (118.764, 32.035, 118.797, 32.053), "nanshan": (113.923, 22.537, 113.968, 22.56)}


# --- detecting, in a drawn town


@pytest.fixture(scope="module")
def town():
    """Draw 3 km by 3 km of crooked streets with houses along them, at Nanjing."""
    rng = np.random.default_rng(7)
    streets, houses = [], []
    for first in np.cumsum(rng.uniform(60, 220, 21)):
        for upright in (True, False):
            along = np.arange(0, 3001, 150.0)
            across = first + np.cumsum(rng.uniform(-25, 25, len(along)))
            line = np.column_stack([across, along] if upright else [along, across])
            streets.append(shapely.LineString(line + CORNER))
            for x, y in line[1:] + rng.uniform(12, 20, (len(along) - 1, 2)):
                if rng.random() < 0.5:
                    houses.append(shapely.box(x, y, x + 30, y + 15))
    houses = shapely.transform(np.array(houses), lambda xy: xy + CORNER)
    return Reference(np.array(streets), houses, NONE, CRS)


def move(places, rng):
    """Move places by 10 to 20 m in any direction."""
    angle = rng.uniform(0, 2 * np.pi, len(places))
    return places + rng.uniform(10, 20, (len(places), 1)) * np.column_stack(
        [np.cos(angle), np.sin(angle)]
    )


def pick(reference, rows, seed, *, middle=True):
    """Pick places on streets, moved; those of the middle stay in the town under any datum."""
    rng = np.random.default_rng(seed)
    lines = rng.choice(reference.streets, 20 * rows)
    places = shapely.get_coordinates(
        shapely.line_interpolate_point(lines, rng.uniform(0, 1, len(lines)), normalized=True)
    )
    west, south, east, north = shapely.total_bounds(reference.streets)
    if middle:
        x, y = places.T
        places = places[(x > west + 500) & (x < east - 500) & (y > south + 300) & (y < north - 300)]
    return move(places[:rows], rng)


def say(places, datum, crs=CRS):
    """Write places down as longitude and latitude in a datum."""
    lon, lat = pyproj.Transformer.from_crs(crs, 4326, always_xy=True).transform(*places.T)
    return convert_datum(lon, lat, source="wgs84", target=datum)


@pytest.mark.parametrize("datum", DATUMS)
@pytest.mark.parametrize("seed", range(3))
def test_positions_beside_streets_tell_their_datum(town, datum, seed):
    """Fifty positions within 20 m of a street are enough, whichever datum they are written in."""
    fit = detect_datum(*say(pick(town, 50, seed), datum), town)
    assert fit.answer == datum
    assert fit.scores["score"].idxmax() == datum
    assert fit.scores.loc[datum, "street_m"] < 20


@pytest.mark.parametrize("datum", DATUMS)
def test_positions_in_houses_tell_their_datum(town, datum):
    """Positions at houses count for as much as positions beside streets."""
    rng = np.random.default_rng(3)
    houses = rng.choice(town.buildings, 60, replace=False)
    lonlat = say(move(shapely.get_coordinates(shapely.centroid(houses)), rng), datum)
    fit = detect_datum(*lonlat, town)
    assert fit.answer == datum
    assert fit.scores["in_building"].idxmax() == datum
    assert detect_datum(*lonlat, town, offstreet=False).scores["score"].max() < (
        fit.scores["score"].max()
    )


@pytest.mark.parametrize("datum", DATUMS)
def test_like_features_tell_the_datum_of_positions_that_streets_cannot(town, datum):
    """Positions far from any sign but their own kind are told by that alone."""
    rng = np.random.default_rng(4)
    places = rng.uniform([669_000, 3_547_000], [670_000, 3_548_000], (20, 2))
    alike = shapely.points(places[:12])
    lonlat = say(move(places, rng), datum)
    assert detect_datum(*lonlat, town).answer is None
    fit = detect_datum(*lonlat, Reference(town.streets, town.buildings, alike, CRS))
    assert fit.answer == datum
    assert fit.scores.loc[datum, "near_like"] > 0.5


@pytest.mark.parametrize("datum", DATUMS)
@pytest.mark.parametrize("rows", [0, 1, 5, 9])
def test_few_positions_tell_nothing(town, datum, rows):
    """Below ten rows there is no answer, however well they fit."""
    assert detect_datum(*say(pick(town, rows, 0), datum), town).answer is None


@pytest.mark.parametrize("datum", DATUMS)
def test_many_positions_at_one_spot_are_few(town, datum):
    """Sixty shops of one building are no more evidence than a handful of positions."""
    rng = np.random.default_rng(8)
    house = shapely.get_coordinates(shapely.centroid(town.buildings[:1]))
    fit = detect_datum(*say(house + rng.uniform(-15, 15, (60, 2)), datum), town)
    assert fit.answer is None
    assert (fit.scores["rows"] <= 4).all()


def test_positions_anywhere_hardly_ever_tell_anything(town):
    """Positions strewn at random get no answer in at least 95 % of cases, as the test promises."""
    rng = np.random.default_rng(5)
    answers = [
        detect_datum(
            *say(rng.uniform([668_800, 3_546_800], [670_200, 3_548_200], (30, 2)), "wgs84"),
            town,
            seed=seed,
        ).answer
        for seed in range(20)
    ]
    assert sum(answer is not None for answer in answers) <= 3  # P(more) < 2 % at 5 % each


def test_rows_beyond_the_data_are_left_out(town):
    """Rows more than 250 m from any street do not count, and alone they tell nothing."""
    near, far = pick(town, 40, 1), CORNER - 100.0 * np.arange(20, 80)[:, None]
    fit = detect_datum(*say(np.concatenate([near, far]), "bd09"), town)
    assert fit.answer == "bd09"
    alone = detect_datum(*say(near, "bd09"), town)
    assert fit.scores.loc["bd09", "rows"] == alone.scores.loc["bd09", "rows"] > 30
    gone = detect_datum(*say(far, "bd09"), town)
    assert gone.answer is None
    assert "no row within 250 m of a street" in str(gone)


def test_an_answer_depends_on_neither_order_nor_missing_rows(town):
    """The rows may come in any order, with rows without coordinates among them."""
    lon, lat = say(pick(town, 50, 2), "gcj02")
    fit = detect_datum(lon, lat, town)
    turned = detect_datum(np.append(lon[::-1], np.nan), np.append(lat[::-1], 32.0), town)
    assert turned.scores.equals(fit.scores)
    assert turned.doubt == fit.doubt


def test_more_than_four_hundred_rows_are_judged_by_four_hundred(town):
    """A long file costs no more than a sample of it."""
    fit = detect_datum(*say(pick(town, 900, 3, middle=False), "wgs84"), town)
    assert fit.answer == "wgs84"
    assert fit.scores.loc["wgs84", "rows"] == 400


def test_outside_china_the_datums_are_one():
    """Where no datum moves anything, rows are WGS-84 without any evidence."""
    monaco = Reference(
        np.array([shapely.LineString([(372_000, 4_843_000), (374_000, 4_845_000)])]),
        NONE,
        NONE,
        pyproj.CRS.from_epsg(32632),
    )
    assert detect_datum([7.42] * 3, [43.73, 43.74, 43.75], monaco).answer == "wgs84"
    assert detect_datum([118.78], [32.04], monaco).answer == "wgs84"


def test_no_reference_tells_nothing():
    """Without a street there is nothing to compare with."""
    fit = detect_datum([118.78] * 20, np.linspace(32, 33, 20), Reference(NONE, NONE, NONE, CRS))
    assert fit.answer is None
    assert fit.scores["rows"].sum() == 0


def test_a_fit_shows_the_three_datums_in_one_line(town):
    """The line names each datum with its rows, distance to a street, shares and score."""
    line = str(detect_datum(*say(pick(town, 50, 0), "bd09"), town))
    assert "\n" not in line
    assert [part.split(":")[0] for part in line.split("; ")] == list(DATUMS)
    shown = r"bd09: \d+ rows, 7 m from a street, \d% in buildings, score \d\.\d$"
    assert re.search(shown, line)


# --- settling


def layer_of(places, datum, **columns):
    lon, lat = say(places, datum)
    return gpd.GeoDataFrame(columns, geometry=shapely.points(lon, lat), crs="EPSG:4326")


@pytest.mark.parametrize("datum", DATUMS)
@pytest.mark.parametrize("said", ["stated", "detect"])
def test_a_settled_layer_lies_where_it_is(town, datum, said):
    """Stated or detected, the datum is taken out; rows, columns and the argument stay."""
    places = pick(town, 50, 6)
    layer = layer_of(places, datum, id=[f"t{n}" for n in range(50)]).iloc[::-1]
    before = layer.copy()
    word = datum if said == "stated" else "detect"
    settled, used = settle_datum(layer, datum=word, reference=town, name="toilets.csv")
    assert used == datum
    assert settled.crs == layer.crs
    assert (settled["id"] == before["id"]).all()
    assert (settled.index == before.index).all()
    assert layer.geometry.geom_equals(before.geometry).all()
    off = settled.to_crs(CRS).distance(
        gpd.GeoSeries(shapely.points(places[::-1]), before.index, CRS)
    )
    assert off.max() < 0.001


def test_a_datum_that_is_plainly_wrong_is_refused(town):
    """A stated datum that fifty rows contradict is an error that shows the three fits."""
    layer = layer_of(pick(town, 50, 6), "gcj02")
    with pytest.raises(DatumError) as caught:
        settle_datum(layer, datum="wgs84", reference=town, name="toilets.csv")
    message = str(caught.value)
    assert message.startswith("toilets.csv: said to be wgs84, but its 50 rows fit gcj02 (wgs84: ")
    assert message.endswith("pass --datum gcj02")
    assert "bd09: " in message
    assert "\n" not in message


def test_a_datum_that_cannot_be_told_must_be_stated(town):
    """Five rows cannot be detected; stated, any datum is believed."""
    layer = layer_of(pick(town, 5, 6), "gcj02")
    with pytest.raises(DatumError) as caught:
        settle_datum(layer, datum="detect", reference=town, name="toilets.csv")
    message = str(caught.value)
    assert message.startswith("toilets.csv: cannot tell the datum of its 5 rows (wgs84: ")
    assert message.endswith("pass --datum wgs84|gcj02|bd09")
    assert "\n" not in message
    for datum in DATUMS:
        assert len(settle_datum(layer, datum=datum, reference=town, name="toilets.csv")[0]) == 5


def test_an_unknown_word_for_the_datum_is_refused(town):
    """The message lists the words that are known."""
    with pytest.raises(DatumError, match="'auto' is unknown; known are wgs84, gcj02, bd09, detect"):
        settle_datum(layer_of(pick(town, 5, 6), "gcj02"), datum="auto", reference=town, name="x")


def test_every_vertex_of_every_type_is_moved(town):
    """Lines and areas are brought to WGS-84 vertex by vertex."""
    lon, lat = say(pick(town, 4, 6), "bd09")
    vertices = np.column_stack([lon, lat])
    shapes = [
        shapely.LineString(vertices),
        shapely.MultiLineString([vertices[:2], vertices[2:]]),
        shapely.convex_hull(shapely.multipoints(vertices)),
    ]
    layer = gpd.GeoDataFrame(geometry=shapes, crs="EPSG:4326")
    settled, _ = settle_datum(layer, datum="bd09", reference=town, name="x")
    assert settled.geom_type.tolist() == ["LineString", "MultiLineString", "Polygon"]
    for shape, given_shape in zip(settled.geometry, shapes, strict=True):
        expected = convert_datum(
            *shapely.get_coordinates(given_shape).T, source="bd09", target="wgs84"
        )
        assert np.allclose(shapely.get_coordinates(shape).T, expected, rtol=0, atol=1e-11)


def test_lines_are_told_by_streets_alone(town):
    """Alleys drawn as lines lie on streets, and houses near them prove nothing."""
    lines = [
        shapely.LineString(np.column_stack(say(shapely.get_coordinates(street)[4:16], "gcj02")))
        for street in town.streets
    ]
    layer = gpd.GeoDataFrame(geometry=lines, crs="EPSG:4326")
    settled, used = settle_datum(layer, datum="detect", reference=town, name="alleys.shp")
    assert used == "gcj02"
    settled = settled.to_crs(CRS)
    assert settled.distance(gpd.GeoSeries(town.streets, crs=CRS)).max() < 0.001


# --- detecting, in real cities


@pytest.fixture(scope="module")
def cities():
    """Read what stands in Nanjing and Nanshan: streets, buildings and places of business."""
    if "SURVEY_TEST_DATA" not in os.environ:
        pytest.skip("SURVEY_TEST_DATA is unset: the extracts of Nanjing and Nanshan are not here")
    found = {}
    for city, box in CORE.items():
        path = Path(os.environ["SURVEY_TEST_DATA"], f"{city}.osm.pbf")
        osm = read_extract(path, find_area(extract=path, bbox=box))
        tags = osm.features["tags"].map(json.loads)
        flat = osm.features.geom_type == "MultiPolygon"
        houses = osm.features.geometry[flat & tags.map(lambda one: "building" in one)]
        trade = tags.map(lambda one: "amenity" in one or "shop" in one)
        nodes = osm.features.geometry[~flat & trade & osm.features.intersects(osm.area.shape)]
        reference = Reference(
            np.asarray(osm.streets.geometry.array), np.asarray(houses.array), NONE, osm.area.crs
        )
        found[city] = reference, shapely.get_coordinates(nodes)
    return found


@pytest.mark.parametrize("datum", DATUMS)
@pytest.mark.parametrize("city", CORE)
def test_fifty_places_of_business_tell_their_datum(cities, city, datum):
    """Fifty true positions moved by 10 to 20 m give the right answer nearly always, never wrong."""
    reference, places = cities[city]
    rng = np.random.default_rng(11)
    answers = []
    for _ in range(4):
        some = move(rng.choice(places, 50, replace=False), rng)
        answers.append(detect_datum(*say(some, datum, reference.crs), reference).answer)
    assert set(answers) <= {datum, None}
    assert answers.count(datum) >= 3


@pytest.mark.parametrize("datum", DATUMS)
@pytest.mark.parametrize("city", CORE)
def test_five_places_of_business_never_tell_a_wrong_datum(cities, city, datum):
    """Five positions get no answer rather than a wrong one."""
    reference, places = cities[city]
    rng = np.random.default_rng(12)
    for _ in range(10):
        some = move(rng.choice(places, 5, replace=False), rng)
        assert detect_datum(*say(some, datum, reference.crs), reference).answer is None
