import pytest
import shapely

from drawn import box, check_units, compounds_of, line
from survey.errors import LayerError
from survey.frame.compounds import merge_compounds

HOME = {"landuse": "residential"}
FLATS = {"building": "apartments"}
ESTATES = {
    "way/1": (box(0, 0, 100, 100), HOME | {"name": "锦绣园"}),
    "way/2": (box(200, 0, 400, 100), HOME),
    "way/3": (box(500, 0, 540, 40), FLATS),
    "way/4": (box(0, 300, 100, 400), HOME | {"name": "西苑"}),
}
AROUND = {1: (line((200, -10), (400, -10)), {"highway": "residential", "name": "科巷"})}


def merge(*rows):
    found, _, drawing = compounds_of(ESTATES, AROUND)
    merged, notes = merge_compounds(found.reset_index(), drawing.register(list(rows)), drawing.area)
    check_units("compounds", merged)
    listed = {measure: set(rows["scope"]) for measure, rows in notes.groupby("measure")}
    return merged.set_index("compound_id"), listed


def test_a_polygon_of_the_register_replaces_a_compound_of_its_name():
    """Where one holds more than half of the other and the names agree, the register wins."""
    merged, listed = merge(("C1", "锦 绣园", shapely.box(0, 0, 100, 60)))
    assert merged.loc["C1", ["name", "area_m2", "source"]].tolist() == [
        "锦 绣园",
        6_000,
        "register+osm",
    ]
    assert "way/1" not in merged.index
    assert listed == {"only_in_osm": {"way/2", "derived/way/3", "way/4"}}


def test_the_same_ground_is_the_same_compound():
    """Two areas that share more than half of both are one, whatever they are called."""
    merged, _ = merge(("C1", "东苑", shapely.box(0, 0, 100, 90)))
    assert "way/1" not in merged.index
    merged, listed = merge(("C1", "东苑", shapely.box(0, 0, 100, 40)))
    assert merged.loc["way/1", "area_m2"] == 10_000
    assert merged.loc["C1", "source"] == "register"
    assert listed["only_in_register"] == {"C1"}


def test_a_nameless_compound_yields_its_ground():
    """The register's estates take their ground out of it; it goes when most of it is gone."""
    merged, _ = merge(("C1", "东苑", shapely.box(200, 0, 260, 100)))
    assert merged.loc["way/2", "area_m2"] == 14_000
    assert merged.loc["C1", "source"] == "register+osm"
    merged, listed = merge(
        ("C1", "东苑", shapely.box(200, 0, 260, 100)), ("C2", "南苑", shapely.box(260, 0, 310, 100))
    )
    assert "way/2" not in merged.index
    assert "only_in_register" not in listed


def test_a_point_of_the_register_names_a_compound():
    """A point names the compound of its name within 400 m, else the one that it lies in."""
    merged, listed = merge(
        ("C1", "西苑", shapely.Point(-290, 350)),
        ("C2", "东苑", shapely.Point(300, 50)),
        (None, "南苑", shapely.Point(520, -29)),
        ("C4", "北苑", shapely.Point(0, 800)),
    )
    assert merged.loc["C1", ["name", "area_m2"]].tolist() == ["西苑", 10_000]
    assert merged.loc["C2", "name"] == "东苑"
    assert merged.loc["C2", "reason"].startswith("in the city's register; landuse=residential")
    assert "named after" not in merged.loc["C2", "reason"]
    assert merged.loc["register/南苑", "source"] == "register+osm"
    assert listed["not_on_map"] == {"C4"}
    assert listed["only_in_osm"] == {"way/1"}


def test_one_compound_goes_to_one_point():
    """Of two points in one compound the one of its name, or the first found, gets it."""
    merged, listed = merge(
        ("C1", "旧名", shapely.Point(50, 50)), ("C2", "锦绣园", shapely.Point(90, 90))
    )
    assert merged.loc["C2", "area_m2"] == 10_000
    assert listed["not_on_map"] == {"C1"}


def test_the_register_may_leave_things_unsaid():
    """Without a name the register's polygon keeps that of the compound it replaces."""
    merged, listed = merge(
        ("C1", None, shapely.box(0, 0, 100, 95)), ("C9", "外", shapely.Point(5_000, 0))
    )
    assert merged.loc["C1", "name"] == "锦绣园"
    assert listed["outside_area"] == {"C9"}


def test_one_id_for_two_compounds_is_an_error():
    """An id that stands for two compounds is refused, and named."""
    with pytest.raises(LayerError, match="C1"):
        merge(("C1", "东苑", shapely.Point(0, 0)), ("C1", "西苑", shapely.Point(0, 0)))
