import geopandas as gpd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from paper_places import AREA, X, at, block, features, read
from survey import tables
from survey.frame.places import find_candidates, find_subdistricts, find_toilets, join_subdistrict
from survey.frame.streets import Streets, build_streets


@pytest.fixture(scope="module")
def monaco():
    return read("monaco")


@pytest.mark.parametrize(
    ("tags", "status"),
    [
        ({"amenity": "toilets"}, "public"),
        ({"amenity": "toilets", "access": "yes"}, "public"),
        ({"amenity": "toilets", "access": "permissive", "fee": "yes"}, "public"),
        ({"amenity": "toilets", "opening_hours": "24/7"}, "public"),
        ({"amenity": "toilets", "access": "customers"}, "closed"),
        ({"amenity": "toilets", "access": "private"}, "closed"),
        ({"amenity": "toilets", "access": "no"}, "closed"),
        ({"amenity": "toilets", "access": "permit"}, "closed"),
        ({"amenity": "toilets", "disused": "yes"}, "closed"),
        ({"amenity": "toilets", "construction": "yes"}, "closed"),
        ({"amenity": "toilets", "opening_hours": "closed"}, "closed"),
        ({"amenity": "toilets", "opening_hours": "off"}, "closed"),
        ({"building": "yes", "disused:amenity": "toilets"}, "closed"),
        ({"amenity": "library", "toilets": "yes", "toilets:access": "yes"}, "opened"),
        ({"amenity": "fuel", "toilets:access": "public", "access": "customers"}, "opened"),
        ({"amenity": "library", "toilets": "yes", "toilets:access": "customers"}, None),
        ({"amenity": "restaurant", "toilets": "yes"}, None),
        ({"building": "yes", "was:amenity": "toilets"}, None),
    ],
)
def test_status_of_a_toilet(tags, status):
    """The tags decide whether anyone may use a toilet, and whose it is."""
    found = find_toilets(features(("node/1", tags, at(0))), AREA)
    assert found["status"].tolist() == ([status] if status else [])


def test_facts_of_a_toilet():
    """A museum's fee is not its toilet's; what the tags do not say is missing."""
    found = find_toilets(
        features(
            ("node/1", {"amenity": "toilets", "fee": "no", "wheelchair": "yes"}, at(0)),
            (
                "way/2",
                {
                    "amenity": "library",
                    "name": "图书馆",
                    "fee": "yes",
                    "opening_hours": "08:00-20:00",
                    "toilets:access": "yes",
                    "toilets:wheelchair": "no",
                    "level": "2",
                },
                block(0, 100, 20, 20),
            ),
        ),
        AREA,
    )
    assert found["fee"].fillna("-").tolist() == ["no", "-"]
    assert found["wheelchair"].tolist() == ["yes", "no"]
    assert found["opening_hours"].fillna("-").tolist() == ["-", "08:00-20:00"]
    assert found["level"].fillna("-").tolist() == ["-", "2"]
    assert found["name"].fillna("-").tolist() == ["-", "图书馆"]
    assert found["source"].tolist() == ["osm", "osm"]
    assert found.geometry[1].within(block(0, 100, 20, 20))


def test_a_toilet_mapped_twice_is_one():
    """A node in its own area on one level is that toilet; other levels and halves are not."""
    tags = {"amenity": "toilets"}
    house = ("way/1", tags | {"building": "yes"}, block(0, 0, 10, 10))
    rows = [
        house,
        ("node/2", tags | {"fee": "no", "access": "customers"}, at(5, 5)),
        ("node/3", tags | {"level": "-1"}, at(5, 5)),
        ("node/4", tags | {"male": "yes"}, at(30, 0)),
        ("node/5", tags | {"female": "yes"}, at(35, 0)),
    ]
    found = find_toilets(features(*rows), AREA).set_index("toilet_id")
    assert found.index.tolist() == ["node/3", "node/4", "node/5", "way/1"]
    assert found.loc["way/1", ["fee", "access", "status"]].tolist() == ["no", "customers", "closed"]


def test_toilets_of_the_margin():
    """Toilets up to 2 km outside the area are kept, and are not inside."""
    east = AREA.shape.bounds[2] - X
    tags = {"amenity": "toilets"}
    found = find_toilets(
        features(
            ("node/1", tags, at(0)), ("node/2", tags, at(east + 1900)), ("node/3", tags, at(9000))
        ),
        AREA,
    )
    assert found["toilet_id"].tolist() == ["node/1", "node/2"]
    assert found["inside"].tolist() == [True, False]


def test_monaco_toilets(monaco):
    """All 29 toilets of the file are found, three of them closed by their tags."""
    area, _, found = monaco
    toilets = find_toilets(found, area)
    closed = toilets["toilet_id"][toilets["status"] == "closed"].tolist()
    assert len(toilets) == 29
    assert closed == ["node/3039828758", "node/6434049256", "node/6434050203"]


def test_candidates():
    """Institutions are candidates by their tags, once each, unless private or opened already."""
    rows = [
        ("way/1", {"amenity": "library", "name": "金陵图书馆"}, block(0, 0, 50, 50)),
        ("node/2", {"amenity": "library", "name": "金陵图书馆"}, at(20, 20)),
        ("node/3", {"amenity": "library", "name": "少儿馆"}, at(20, 20)),
        ("node/4", {"amenity": "bank", "access": "private"}, at(100)),
        ("node/5", {"amenity": "bank", "level": "3"}, at(110)),
        ("node/6", {"amenity": "fuel", "toilets:access": "yes"}, at(120)),
        ("node/7", {"amenity": "fast_food"}, at(130)),
        ("node/8", {"amenity": "fast_food", "brand": "KFC"}, at(140)),
        ("node/9", {"office": "government", "amenity": "bank"}, at(150)),
        ("node/10", {"amenity": "restaurant"}, at(160)),
    ]
    found = find_candidates(features(*rows), AREA).set_index("candidate_id")
    assert found["kind"].to_dict() == {
        "node/3": "library",
        "node/5": "bank",
        "node/8": "fast_food",
        "node/9": "government",
        "way/1": "library",
    }
    assert found["level"].fillna("-").to_dict()["node/5"] == "3"
    assert set(found.geom_type) == {"Point"}


def town_streets(*spans):
    """Streets along y = 0, each from one x to another; the third says whether it is inside."""
    ends = sorted({x for start, end, _ in spans for x in (start, end)})
    nodes = {"node_id": [f"node/{x}" for x in ends], "geometry": [at(x) for x in ends]}
    lines = [shapely.LineString([at(start), at(end)]) for start, end, _ in spans]
    count = len(spans)
    return Streets(
        tables.make("nodes", nodes, crs=AREA.crs),
        tables.make(
            "edges",
            {
                "edge_id": [f"way/{n}:0" for n in range(count)],
                "u": [f"node/{start}" for start, _, _ in spans],
                "v": [f"node/{end}" for _, end, _ in spans],
                "way_id": [f"way/{n}" for n in range(count)],
                "name": [None] * count,
                "highway": ["residential"] * count,
                "level": [None] * count,
                "alley_id": [None] * count,
                "length_m": [float(end - start) for start, end, _ in spans],
                "walkable": [True] * count,
                "public": [True] * count,
                "inside": [inside for _, _, inside in spans],
                "geometry": lines,
            },
            crs=AREA.crs,
        ),
    )


def admin(level, name):
    return {"boundary": "administrative", "admin_level": level, "name": name}


def test_the_finest_level_that_covers_most():
    """Level 9 covers 6 of 10 inside streets and is taken before 6; level 10 covers too little."""
    streets = town_streets(
        *[(n * 100, n * 100 + 100, True) for n in range(10)], (1000, 3000, False)
    )
    rows = [
        ("relation/6", admin("6", "区"), block(-100, -100, 5000, 200)),
        ("relation/8", admin("9", "东街道"), block(300, -100, 300, 200)),
        ("relation/9", admin("9", "西街道"), block(0, -100, 300, 200)),
        ("relation/10", admin("10", "社区"), block(0, -100, 200, 200)),
        ("relation/11", admin("9", "外街道"), block(1000, -100, 4000, 200)),
        ("relation/12", {"boundary": "administrative"}, block(0, -100, 1000, 200)),
        ("way/13", admin("11", "线"), shapely.LineString([at(0), at(1000)])),
    ]
    found = find_subdistricts(features(*rows), streets)
    assert found["subdistrict_id"].tolist() == ["relation/8", "relation/9"]
    assert found["name"].tolist() == ["东街道", "西街道"]
    some = find_subdistricts(features(rows[3]), streets)
    assert some["subdistrict_id"].tolist() == ["relation/10"]
    none = find_subdistricts(
        features(("relation/1", admin("8", "角"), block(0, -10, 90, 20))), streets
    )
    assert len(none) == 0
    assert list(none) == ["subdistrict_id", "name", "name_en", "source", "geometry"]


def test_monaco_wards(monaco):
    """Monaco's six whole wards are its subdistricts, although half of the box is sea."""
    _, osm, found = monaco
    wards = find_subdistricts(found, build_streets(osm))
    assert wards["name"].tolist() == [
        "Fontvieille",
        "Monaco-Ville",
        "La Condamine",
        "La Rousse",
        "Larvotto",
        "Monte-Carlo",
    ]


def test_joining_a_subdistrict():
    """Rows get the area of their position, a line that of its middle, and ties the lowest id."""
    areas = gpd.GeoDataFrame(
        {"subdistrict_id": ["b", "a"]},
        geometry=[block(0, 0, 100, 100), block(100, 0, 100, 100)],
        crs=AREA.crs,
    )
    line = shapely.LineString([at(90, 50), at(180, 50)])
    shapes = [at(10, 10), at(100, 50), at(500, 0), line, block(60, 0, 50, 10)]
    rows = gpd.GeoDataFrame({"n": range(5)}, geometry=shapes, crs=AREA.crs, index=list("vwxyz"))
    found = join_subdistrict(rows, areas)
    assert found.index.tolist() == list("vwxyz")
    assert found.fillna("-").tolist() == ["b", "a", "-", "a", "b"]
    assert join_subdistrict(rows, areas[:0]).isna().all()
    multi = gpd.GeoDataFrame({"n": [0]}, geometry=[shapely.MultiLineString([line])], crs=AREA.crs)
    assert join_subdistrict(multi, areas).tolist() == ["a"]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(*[st.integers(0, 12)] * 4), max_size=5),
    st.lists(st.tuples(st.integers(-2, 26), st.integers(-2, 26)), min_size=1, max_size=20),
)
def test_joined_subdistricts_are_those_found_one_by_one(boxes, spots):
    """Many rows at once get the lowest id of the areas that hold each, edges included."""
    ids = [f"s{(7 * number) % 5}" for number in range(len(boxes))]
    shapes = [block(x, y, width + 1, height + 1) for x, y, width, height in boxes]
    areas = gpd.GeoDataFrame({"subdistrict_id": ids}, geometry=shapes, crs=AREA.crs)
    rows = gpd.GeoDataFrame(geometry=[at(*spot) for spot in spots], crs=AREA.crs)
    expected = [
        min(
            (name for name, area in zip(ids, shapes, strict=True) if area.intersects(place)),
            default="-",
        )
        for place in rows.geometry
    ]
    assert (
        join_subdistrict(rows, areas.astype({"subdistrict_id": "str"})).fillna("-").tolist()
        == expected
    )
