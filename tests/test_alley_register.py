import pandas as pd
import pytest
import shapely

from drawn import alleys_of, box, by_way, check_units, line
from survey.errors import LayerError
from survey.frame.alleys import merge_alleys

HOME = {"highway": "residential"}


def alley(name):
    return HOME | {"name": name}


TOWN = {
    1: (line((0, 0), (200, 0)), alley("科巷")),
    2: (line((0, 100), (100, 100), (200, 100)), HOME),
    3: (line((0, 200), (200, 200)), {"highway": "tertiary", "name": "长街"}),
    4: (line((0, 300), (200, 300)), alley("如意里")),
    5: (line((100, 100), (100, 170)), HOME),
}


def merge(*rows, ways=None, areas=()):
    drawing, alleys, of_edge, public, _ = alleys_of(ways or TOWN, areas=areas)
    streets = drawing.streets.with_edges(public=public)
    merged, of_edge, notes = merge_alleys(
        alleys, of_edge, drawing.register(list(rows)), streets, drawing.area
    )
    check_units("alleys", merged)
    listed = {measure: set(rows["scope"]) for measure, rows in notes.groupby("measure")}
    return merged.set_index("alley_id"), by_way(drawing, of_edge), listed


def test_a_register_wins_by_name_and_place():
    """The register's id and name go to the alley of that name near its line, or its point."""
    merged, edges, listed = merge(
        ("A1", "科 巷", line((0, 59), (150, 59))),
        (None, "如意里", shapely.Point(100, 690)),
    )
    assert merged.loc["A1", "name"] == "科 巷"
    assert merged.loc["A1", "source"] == "register+osm"
    assert merged.loc["A1", "length_m"] == 200
    assert merged.loc["A1", "reason"] == "in the city's register; residential, named …巷"
    assert merged.loc["register/如意里", "source"] == "register+osm"
    assert edges[1] == ["A1"]
    assert edges[4] == ["register/如意里"]
    assert listed == {"only_in_osm": {"alley/2", "alley/5"}}


def test_one_name_far_away_is_another_alley():
    """A point 401 m from the alley of its name is not that alley, nor is a line 61 m away."""
    merged, _, listed = merge(
        ("A1", "如意里", shapely.Point(100, 701)), ("A2", "科巷", line((0, -61), (200, -61)))
    )
    assert listed["not_on_map"] == {"A1"}
    assert listed["only_in_register"] == {"A1", "A2"}
    assert merged.loc["A2", "source"] == "register"
    assert merged.loc["A2", "length_m"] == 200
    assert "no free street" in merged.loc["A2", "reason"]
    assert pd.isna(merged.loc["A2", "highway"])
    assert "alley/1" in merged.index


def test_a_register_may_list_a_main_street():
    """A street of any class is an alley if the city's register lists it by name."""
    merged, edges, _ = merge(("A3", "长街", shapely.Point(100, 230)))
    assert edges[3] == ["A3"]
    assert merged.loc["A3", "highway"] == "tertiary"
    assert merged.loc["A3", "reason"] == "in the city's register; a street of its name"


def test_a_line_takes_the_unnamed_streets_along_it():
    """Streets along a register's line become its alley; what is left of an old one stays."""
    merged, edges, listed = merge(("A4", "新巷", line((0, 90), (100, 90))))
    assert edges[2] == ["A4", "alley/2"]
    assert edges[5] == ["alley/5"]
    assert merged.loc["A4", "length_m"] == 100
    assert merged.loc["A4", "name"] == "新巷"
    assert merged.loc["alley/2", "length_m"] == 100
    assert "only_in_register" not in listed


def test_a_line_takes_a_lane_in_a_compound():
    """An unnamed lane in a compound is not public, but the city may say that it is an alley."""
    rows = ("A4", "新巷", line((0, 95), (200, 95)))
    merged, edges, _ = merge(rows, areas=[box(-50, 50, 250, 250)])
    assert edges[2] == ["A4", "A4"]
    assert merged.loc["A4", "source"] == "register+osm"


def test_a_line_does_not_take_what_it_crosses_or_another_name():
    """A crossing street, a main street or an alley of another name is not a register's line."""
    merged, edges, listed = merge(
        ("A5", "新巷", line((100, 110), (100, 90))), ("A6", "旧里", line((0, 310), (200, 310)))
    )
    assert edges[2] == ["alley/2", "alley/2"]
    assert edges[4] == ["alley/4"]
    assert merged.loc["A6", "source"] == "register"
    assert listed["only_in_register"] == {"A5", "A6"}


def test_a_point_names_the_nearest_unnamed_alley():
    """A point without a street of its name names the unnamed alley within 60 m."""
    merged, edges, listed = merge(
        ("A7", "新巷", shapely.Point(20, 60)), ("A8", "远巷", shapely.Point(-300, -300))
    )
    assert edges[2] == ["A7", "A7"]
    assert merged.loc["A7", "name"] == "新巷"
    assert listed["not_on_map"] == {"A8"}
    assert "alley/2" not in merged.index


def test_a_register_made_of_our_own_table_finds_its_alleys():
    """An alley's own id is matched whatever its new name, so an edited export can come back."""
    merged, edges, listed = merge(("alley/1", "科学巷", line((0, 0), (200, 0))))
    assert merged.loc["alley/1", "name"] == "科学巷"
    assert edges[1] == ["alley/1"]
    assert listed["only_in_osm"] == {"alley/2", "alley/4", "alley/5"}


def test_segments_of_one_street_are_one_unit():
    """Rows of one name, or of one id and name, are one alley; two places have two ids."""
    merged, edges, _ = merge(
        (None, "科巷", line((0, 5), (100, 5))),
        (None, "科巷", line((100, 5), (200, 5))),
        (None, "科巷", line((600, 600), (700, 600))),
        ("A9", "如意里", line((0, 300), (100, 300))),
        ("A9", "如意里", line((100, 300), (200, 300))),
    )
    assert len(set(edges[1])) == 1
    assert edges[1][0].startswith("register/科巷@")
    assert edges[4] == ["A9"]
    assert merged.index.str.startswith("register/科巷@").sum() == 2


def test_one_id_for_two_names_is_an_error():
    """An id that stands for two alleys is refused, and named."""
    with pytest.raises(LayerError, match="A1"):
        merge(("A1", "科巷", line((0, 0), (9, 0))), ("A1", "如意里", line((0, 300), (9, 300))))


def test_a_register_may_stand_alone():
    """Where OpenStreetMap knows no alley, the register's lines are the alleys."""
    merged, edges, listed = merge(("A1", "新巷", line((0, 5), (80, 5))), ways={3: TOWN[3]})
    assert merged["source"].to_dict() == {"A1": "register"}
    assert edges == {3: ["-"]}
    assert listed == {"only_in_register": {"A1"}}


def test_what_lies_outside_is_noted():
    """A row of the register outside the area is no alley of it, and is listed."""
    merged, _, listed = merge(("A1", "外巷", shapely.Point(3_000, 0)))
    assert listed["outside_area"] == {"A1"}
    assert "A1" not in merged.index
