import json

import pytest

from paper_places import AREA, at, features, hospital, read, school, station
from survey import tables
from survey.frame.kinds import find_kind, may_be_points
from survey.frame.places import find_points
from survey.frame.tags import read_tags


@pytest.mark.parametrize(
    ("tags", "kind"),
    [
        ({"amenity": "marketplace"}, "market"),
        ({"shop": "mall"}, "mall"),
        ({"shop": "supermarket"}, "mall"),
        ({"shop": "department_store"}, "mall"),
        ({"amenity": "school"}, "school"),
        ({"amenity": "college"}, "school"),
        ({"amenity": "university"}, "school"),
        ({"amenity": "hospital"}, "hospital"),
        ({"building": "yes", "healthcare": "hospital"}, "hospital"),
        ({"railway": "station", "station": "subway"}, "station"),
        ({"railway": "station", "station": "funicular"}, "station"),
        ({"railway": "halt"}, "station"),
        ({"amenity": "bus_station"}, "station"),
        ({"amenity": "ferry_terminal"}, "station"),
        ({"public_transport": "station"}, "station"),
        ({"aeroway": "terminal"}, "station"),
        ({"office": "government", "name": "五老村社区居委会"}, "community"),
        ({"amenity": "community_centre", "name": "大冲社区党群服务中心"}, "community"),
        ({"building": "yes", "name": "淮海路社区居民委员会"}, "community"),
        ({"amenity": "townhall", "name": "石鼓路社区"}, "community"),
        ({"office": "government", "name": "洪武路街道五老村社区服务站"}, "community"),
        ({"place": "neighbourhood", "name": "大冲"}, "neighbourhood"),
    ],
)
def test_tags_make_a_point(tags, kind):
    """Each tag of the six kinds makes a point of that kind, without a doubt."""
    assert find_kind(tags) == (kind, None)


@pytest.mark.parametrize(
    "tags",
    [
        {"railway": "stop", "public_transport": "stop_position", "name": "新街口"},
        {"railway": "platform", "public_transport": "platform"},
        {"railway": "subway_entrance", "name": "新街口#1"},
        {"disused:railway": "station", "name": "旧站"},
        {"was:shop": "department_store"},
        {"amenity": "clinic", "healthcare": "clinic"},
        {"amenity": "veterinary", "name": "宠物医院"},
        {"amenity": "kindergarten", "name": "五老村幼儿园"},
        {"amenity": "driving_school"},
        {"building": "school", "name": "创新学校"},
        {"building": "hospital"},
        {"building": "train_station"},
        {"shop": "convenience"},
        {"amenity": "townhall", "name": "秦淮区政府"},
        {"office": "government", "name": "洪武路街道办事处"},
        {"office": "government", "name": "洪武路街道党群服务中心"},
        {"building": "apartments", "name": "阳光社区"},
        {"amenity": "clinic", "name": "五老村社区卫生服务中心"},
        {"amenity": "community_centre", "name": "老年活动中心"},
        {"place": "quarter", "name": "城南"},
    ],
)
def test_other_tags_make_none(tags):
    """What only resembles a fixed point is of no kind at all."""
    assert find_kind(tags) == (None, None)


@pytest.mark.parametrize(
    ("tags", "why"),
    [
        (school("五老村幼儿园"), "a kindergarten"),
        (school("Sunny", **{"name:zh": "阳光托儿所"}), "a kindergarten"),
        (school("École maternelle du Port"), "a kindergarten"),
        (school("秦淮区委党校"), "a party school"),
        (school("蓝天驾校"), "a driving school"),
        (school("新东方培训学校"), "a training firm"),
        (hospital("爱心宠物医院"), "an animal hospital"),
        (hospital("Farmacy des Anglais"), "a pharmacy"),
        (hospital("王氏诊所"), "a practice"),
        (station("南京东货运站"), "a goods station"),
        (school("老学校", disused="yes"), "not in use"),
        (hospital("新医院", building="construction"), "not in use"),
    ],
)
def test_a_name_or_state_may_unmake_a_point(tags, why):
    """What its name or state says is no point is left out, and the note says why."""
    points, notes = find_points(features(("node/1", tags, at(0))), AREA)
    assert len(points) == 0
    assert notes[["scope", "measure"]].to_numpy().tolist() == [["node/1", "not_a_point"]]
    assert why in notes["note"][0]


@pytest.mark.parametrize("name", ["南京幼儿高等师范学校", "实验学校（含幼儿园）", "教师进修学校"])
def test_names_that_only_sound_like_it_stay(name):
    """A teachers' college and a school with a kindergarten in brackets are schools."""
    assert find_kind(school(name)) == ("school", None)


def test_kindergartens_can_be_counted(monkeypatch):
    """With the option on, kindergartens are schools, by their tag and by their name."""
    monkeypatch.setitem(read_tags()["kinds"]["school"], "kindergartens", True)
    assert find_kind({"amenity": "kindergarten"}) == ("school", None)
    assert find_kind(school("五老村幼儿园")) == ("school", None)
    assert find_kind(school("秦淮区委党校"))[1] is not None


def test_a_kind_without_doubt_goes_before_a_doubtful_one():
    """A hospital that also runs a driving school's office is a hospital."""
    assert find_kind({"amenity": "school", "name": "驾校", "shop": "mall"}) == ("mall", None)
    assert find_kind({"amenity": "school", "name": "驾校", "healthcare": "hospital"}) == (
        "hospital",
        None,
    )


def test_rules_are_readable():
    """Every pattern of the rules compiles, and every kind has tags."""
    rules = read_tags()
    assert set(rules["kinds"]) == set(tables.KINDS)
    assert all(rules["kinds"][kind]["tags"] for kind in tables.KINDS)
    assert json.dumps(rules["gates"], ensure_ascii=False).count("subway_entrance") == 1


@pytest.mark.parametrize("city", ["monaco", "nanjing"])
def test_nothing_that_is_a_point_is_passed_over(city):
    """Every object with a kind is one of those that are asked, and most objects are not asked."""
    _, _, everything = read(city)
    asked = may_be_points(everything)
    kinds = [find_kind(tags)[0] is not None for tags in everything["tags"]]
    assert asked[kinds].all()
    assert sum(kinds) > 10
    assert asked.sum() < len(everything) / 5


def test_a_building_is_asked_only_by_its_name():
    """A committee office may be any building, but never one without a name."""
    names = {}, {"name": "锁金村居委会"}, {"name:en": "Residents Committee"}, {"ref": "1"}
    rows = [(f"way/{n}", {"building": "yes"} | name, at(n)) for n, name in enumerate(names)]
    assert may_be_points(features(*rows)).tolist() == [False, True, True, False]
