import os
from pathlib import Path

import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from drawn import box, check_units, compounds_of, line
from survey.frame.compounds import find_compounds, merge_compounds
from survey.frame.streets import build_streets
from survey.frame.tags import parse_features
from survey.sources.area import find_area
from survey.sources.extract import read_extract

HOME = {"landuse": "residential"}
FLATS = {"building": "apartments"}
BOXES = {
    "nanjing": (118.764, 32.035, 118.797, 32.053),
    "nanshan": (113.923, 22.537, 113.968, 22.560),
}


def named(name, **tags):
    return HOME | {"name": name} | tags


def street(name, highway="residential", **tags):
    return {"highway": highway, "name": name} | tags


def areas(found):
    return found["area_m2"].to_dict()


# -- areas ---------------------------------------------------------------------------------------


def test_a_named_carriageway_cuts_an_area():
    """Pieces keep the parent's name and are numbered by size; one under 2,000 m2 is dropped."""
    ways = {
        1: (line((120, -50), (120, 150)), street("科巷")),
        2: (line((185, -50), (185, 150)), street("如意里", "living_street")),
    }
    found, lost, _ = compounds_of({"way/7": (box(0, 0, 200, 100), named("锦绣园"))}, ways)
    assert areas(found) == {"way/7": 12_000, "way/7#2": 6_500}
    assert found["name"].tolist() == ["锦绣园", "锦绣园"]
    assert found["source"].tolist() == ["osm", "osm"]
    assert found["reason"].tolist() == ["landuse=residential"] * 2
    assert lost["compounds_too_small"] == 1


@pytest.mark.parametrize(
    ("tags", "pieces"),
    [
        ({"highway": "secondary"}, 2),
        ({"highway": "tertiary_link"}, 2),
        ({"highway": "motorway"}, 2),
        (street("园路", "service"), 2),
        ({"highway": "residential"}, 1),
        (street("园路", "footway"), 1),
        (street("园路", access="private"), 1),
        (street("隧道", "secondary", tunnel="yes"), 1),
        (street("高架路", "secondary", bridge="yes", layer="1"), 1),
    ],
)
def test_which_streets_cut(tags, pieces):
    """Named public carriageways and tertiary and above cut, but no tunnel or elevated road."""
    ways = {1: (line((100, -50), (100, 150)), tags)}
    found, _, _ = compounds_of({"way/7": (box(0, 0, 200, 100), named("锦绣园"))}, ways)
    assert len(found) == pieces
    assert found["area_m2"].sum() == 20_000


def test_a_short_bridge_carries_its_street_on():
    """A street that crosses a stream by a bridge of 60 m cuts; by one of 61 m it does not."""
    area = {"way/7": (box(0, 0, 200, 100), named("锦绣园"))}
    for bridge_m, pieces in ((60, 2), (61, 1)):
        ways = {
            1: (line((100, -50), (100, 20)), street("科巷")),
            2: (line((100, 20), (100, 20 + bridge_m)), street("科巷", bridge="yes", layer="1")),
            3: (line((100, 20 + bridge_m), (100, 150)), street("科巷")),
        }
        assert len(compounds_of(area, ways)[0]) == pieces


def test_a_dead_end_does_not_cut():
    """A street that ends inside an area, or two that do not meet, leave it whole."""
    ways = {
        1: (line((100, -50), (100, 60)), street("科巷")),
        2: (line((60, 150), (60, 70)), street("如意里")),
    }
    found, _, _ = compounds_of({"relation/9": (box(0, 0, 200, 100), named("锦绣园"))}, ways)
    assert areas(found) == {"relation/9": 20_000}


def test_parts_of_an_area_are_pieces():
    """A relation of two grounds makes two compounds; geometry is always a MultiPolygon."""
    two = shapely.MultiPolygon([shapely.box(0, 0, 100, 100), shapely.box(150, 0, 300, 100)])
    found, _, _ = compounds_of({"relation/9": (two, named("锦绣园"))})
    assert areas(found) == {"relation/9": 15_000, "relation/9#2": 10_000}
    assert set(found.geometry.geom_type) == {"MultiPolygon"}


def test_a_small_area_stays_if_it_is_named_and_whole():
    """Below 2,000 m2 a named area that no street cuts is a compound, an unnamed one is not."""
    features = {
        "way/7": (box(0, 0, 30, 50), named("小院")),
        "way/8": (box(100, 0, 130, 50), HOME),
    }
    found, lost, _ = compounds_of(features)
    assert areas(found) == {"way/7": 1_500}
    assert lost["compounds_too_small"] == 1


def test_what_is_no_residential_area():
    """Buildings, quarters and land of another use are no areas, whatever residential=* says."""
    tags = [
        {"building": "apartments", "residential": "apartments", "landuse": "residential"},
        {"place": "neighbourhood", "landuse": "residential"},
        {"place": "quarter"},
        {"landuse": "construction", "residential": "urban"},
    ]
    features = {
        f"way/{n}": (box(n * 150, 0, n * 150 + 20, 100), each) for n, each in enumerate(tags)
    }
    found, _, _ = compounds_of(features)
    assert set(found["source"]) == {"derived"}
    only = compounds_of({"way/7": (box(0, 0, 100, 100), {"residential": "urban", "name": "里"})})[0]
    assert only["reason"].tolist() == ["residential=urban"]


def test_unnamed_areas_give_way():
    """An unnamed area in another is dropped, and yields the ground of a named one in it."""
    features = {
        "way/1": (box(0, 0, 200, 100), HOME),
        "way/2": (box(0, 0, 100, 50), named("锦绣园")),
        "way/3": (box(150, 0, 200, 100), HOME),
        "way/4": (box(10, 10, 90, 40), HOME),
        "way/5": (box(0, 0, 50, 50), named("锦绣园一期")),
    }
    found, lost, _ = compounds_of(features)
    assert areas(found) == {"way/1": 15_000, "way/2": 5_000, "way/5": 2_500}
    assert lost["compounds_nested"] == 2


def test_a_land_use_zone_is_no_estate():
    """An unnamed area over 35 ha is cut by unnamed streets too, and dropped if still too large."""
    zone = {"way/7": (box(-400, -400, 400, 400), HOME)}
    found, lost, _ = compounds_of(zone)
    assert not len(found)
    assert lost["compounds_too_large"] == 1
    ways = {1: (line((0, -500), (0, 500)), {"highway": "residential"})}
    found, lost, _ = compounds_of(zone, ways)
    assert areas(found) == {"way/7": 320_000, "way/7#2": 320_000}
    assert areas(compounds_of({"way/7": (zone["way/7"][0], named("大院"))})[0]) == {
        "way/7": 640_000
    }


def test_a_square_is_no_compound():
    """A small unnamed piece without a building is dropped where the rest of its area is built."""
    ways = {1: (line((90, -50), (90, 150)), street("科巷"))}
    built = {"way/8": (box(20, 20, 40, 40), {"building": "yes"})}
    area = {"way/7": (box(0, 0, 180, 100), HOME)}
    assert areas(compounds_of(area, ways)[0]) == {"way/7": 9_000, "way/7#2": 9_000}
    found, lost, _ = compounds_of(area | built, ways)
    assert areas(found) == {"way/7": 9_000}
    assert lost["compounds_empty"] == 1
    assert "no building mapped" not in found["reason"].iloc[0]
    assert "no building mapped" in compounds_of(area, ways)[0]["reason"].iloc[0]


def test_a_compound_lies_in_the_area():
    """Only compounds with a position of theirs in the area are kept, and whole."""
    features = {
        "way/7": (box(900, 0, 1_090, 100), named("里")),
        "way/8": (box(920, 200, 1_120, 300), named("外")),
    }
    assert areas(compounds_of(features)[0]) == {"way/7": 19_000}


def test_an_area_may_have_no_compounds():
    """Without residential areas or buildings the table is empty, and so are the counts."""
    found, lost, drawing = compounds_of({"node/1": (shapely.Point(0, 0), {"amenity": "school"})})
    assert not len(found)
    assert not lost.any()
    register = drawing.register([("C1", "东苑", shapely.box(0, 0, 50, 50))])
    merged, _ = merge_compounds(found.reset_index(), register, drawing.area)
    assert merged["compound_id"].tolist() == ["C1"]


# -- names ---------------------------------------------------------------------------------------


def test_a_compound_without_a_name_is_called_by_its_streets():
    """The two streets that run longest beside it name it; the reason says so."""
    ways = {
        1: (line((-100, 110), (300, 110)), street("汉口路", "tertiary")),
        2: (line((-20, -300), (-20, 300)), street("中山路", "primary")),
        3: (line((0, -10), (150, -10)), street("园路", "footway")),
    }
    found, _, _ = compounds_of({"way/7": (box(0, 0, 200, 100), HOME)}, ways)
    assert found["name"].tolist() == ["汉口路 / 中山路"]
    assert found["reason"].str.endswith("named after its streets").all()
    assert found["name_en"].isna().all()


# -- buildings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("apart_m", "count"), [(60, 1), (61, 2)])
def test_buildings_of_a_block_within_60_m_are_one_compound(apart_m, count):
    """Buildings up to 60 m apart are one compound, called by the lowest of their ids."""
    features = {
        "way/55": (box(0, 0, 30, 40), FLATS),
        "way/123": (box(30 + apart_m, 0, 60 + apart_m, 40), {"building": "dormitory"}),
    }
    found, _, _ = compounds_of(features)
    ids = ["derived/way/55"] if count == 1 else ["derived/way/123", "derived/way/55"]
    assert found.index.tolist() == ids
    assert found["source"].eq("derived").all()
    if count == 1:
        assert found["area_m2"].iloc[0] == pytest.approx(120 * 40, rel=0.01)
        assert found["reason"].iloc[0] == "2 buildings, building=apartments"


def test_a_street_parts_buildings():
    """Buildings on two sides of a named street are two compounds, neither of which crosses it."""
    ways = {
        1: (line((50, -200), (50, 200)), street("科巷")),
        2: (line((50, 200), (-200, 200), (-200, -200), (50, -200)), street("环路")),
    }
    features = {
        "way/1": (box(10, 0, 40, 40), FLATS),
        "way/2": (box(60, 0, 90, 40), FLATS),
        "way/3": (box(60, 80, 90, 120), FLATS),
    }
    found, _, drawing = compounds_of(features, ways)
    assert areas(found) == {"derived/way/1": 1_200, "derived/way/2": pytest.approx(3_600, rel=0.01)}
    middle = drawing.shape(line((50, -200), (50, 200)))
    assert not found.geometry.crosses(middle).any()


def test_small_groups_are_dropped():
    """Buildings of a group with a footprint below 800 m2 together make no compound."""
    features = {
        "way/1": (box(0, 0, 20, 20), FLATS),
        "way/2": (box(30, 0, 50, 19.9), FLATS),
        "way/3": (box(300, 0, 320, 20), FLATS),
        "way/4": (box(330, 0, 350, 20), FLATS),
    }
    found, lost, _ = compounds_of(features)
    assert found.index.tolist() == ["derived/way/3"]
    assert lost["compounds_few_buildings"] == 1


def test_buildings_that_belong_elsewhere_are_not_grouped():
    """Houses, and flats in a compound, on a campus or under construction, are not grouped."""
    features = {
        "way/1": (box(0, 0, 100, 100), named("锦绣园")),
        "way/2": (box(10, 10, 50, 50), FLATS),
        "way/3": (box(200, 0, 300, 100), {"amenity": "university"}),
        "way/4": (box(210, 10, 250, 50), {"building": "dormitory"}),
        "way/5": (box(400, 0, 440, 40), {"building": "house"}),
        "way/6": (box(500, 0, 540, 40), FLATS | {"construction": "yes"}),
        "way/7": (box(105, 0, 145, 40), FLATS),
    }
    assert areas(compounds_of(features)[0]) == {"way/1": 10_000, "derived/way/7": 1_600}


def test_what_buildings_are_called():
    """The name that more than half of the buildings share, without their numbers, is the name."""
    features = {
        "way/1": (box(0, 0, 30, 40), FLATS | {"name": "凯润金城6栋"}),
        "way/2": (box(40, 0, 70, 40), FLATS | {"name": "凯润金城 7栋"}),
        "way/3": (box(80, 0, 110, 40), FLATS | {"name": "C"}),
        "way/4": (box(400, 0, 430, 40), FLATS | {"addr:housename": "紫竹苑"}),
        "way/5": (box(440, 0, 470, 40), FLATS),
    }
    found, _, _ = compounds_of(features)
    assert found["name"].fillna("-").to_dict() == {
        "derived/way/1": "凯润金城",
        "derived/way/4": "-",
    }


def test_the_lowest_id_is_the_lowest_number():
    """Ids are compared as numbers: way 99 is lower than way 1000."""
    features = {
        "way/1000": (box(0, 0, 30, 40), FLATS),
        "way/99": (box(40, 0, 70, 40), FLATS),
    }
    assert compounds_of(features)[0].index.tolist() == ["derived/way/99"]


# -- laws ----------------------------------------------------------------------------------------

CITY = {
    "way/1": (box(0, 0, 300, 300), HOME),
    "way/2": (box(50, 50, 120, 120), named("锦绣园")),
    "way/3": (box(-300, 0, -10, 300), named("西苑")),
    "way/4": (box(400, 0, 430, 40), FLATS),
    "way/5": (box(450, 0, 480, 40), FLATS | {"name": "紫竹苑1栋"}),
    "way/6": (box(450, 100, 480, 140), FLATS | {"name": "紫竹苑2栋"}),
    "relation/7": (box(400, 60, 430, 140), FLATS),
}
STREETS = {
    11: (line((-500, 150), (-150, 150), (150, 150), (500, 150)), street("东西街", "tertiary")),
    12: (line((-150, -100), (-150, 150), (-150, 400)), street("科巷")),
    13: (line((150, -100), (150, 150), (150, 400)), street("如意里")),
    14: (line((220, 150), (220, 240)), street("断头巷")),
}


@settings(max_examples=10, deadline=None)
@given(st.permutations(sorted(CITY)), st.permutations(sorted(STREETS)), st.booleans())
def test_the_order_of_rows_does_not_matter(order, streets, reverse):
    """Shuffled features and streets, and reversed streets, give the same compounds."""
    expected = compounds_of(CITY, STREETS)[0]
    ways = {
        key: (STREETS[key][0].reverse() if reverse else STREETS[key][0], STREETS[key][1])
        for key in streets
    }
    found = compounds_of({key: CITY[key] for key in order}, ways)[0]
    assert found.drop(columns="geometry").equals(expected.drop(columns="geometry"))
    assert shapely.equals_exact(
        found.geometry.array, expected.geometry.array, 0.001, normalize=True
    ).all()


# -- real extracts -------------------------------------------------------------------------------


@pytest.mark.parametrize("city", ["monaco", "nanjing", "nanshan"])
def test_compounds_of_a_real_city(city):
    """Compounds lie in the area, have names, are no zone, and the named ones do not lose ground."""
    if city == "monaco":
        path, sides = Path(__file__).parent.parent / "data" / "monaco.osm.pbf", None
    elif "SURVEY_TEST_DATA" in os.environ:
        path, sides = Path(os.environ["SURVEY_TEST_DATA"]) / f"{city}.osm.pbf", BOXES[city]
    else:
        pytest.skip("SURVEY_TEST_DATA is not set")
    area = find_area(extract=path, bbox=sides)
    osm = read_extract(path, area)
    features = parse_features(osm)
    found, _ = find_compounds(features, build_streets(osm), area)
    check_units("compounds", found)
    assert found["name"].notna().all()
    assert area.shape.contains(found.geometry.array.representative_point()).all()
    assert found.geometry.is_valid.all()
    unnamed = found["reason"].str.contains("named after its streets")
    assert (found["area_m2"][unnamed] <= 350_000).all()
    derived = found[found["source"] == "derived"].geometry.array
    mapped = shapely.union_all(found[found["source"] == "osm"].geometry.array)
    assert shapely.area(shapely.intersection(derived, mapped)).max() < 1
    assert shapely.area(shapely.union_all(derived)) == pytest.approx(shapely.area(derived).sum())
