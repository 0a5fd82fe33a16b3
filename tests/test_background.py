import json
import re
from base64 import b64decode
from collections import Counter
from types import SimpleNamespace

import folium
import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely import affinity

from browser import open_page
from paper_town import CRS, SOUTH, WEST, make_town
from survey.outputs import background, ground, labels, offline, packing

UTM = "EPSG:32650"


def read_numbers(data):
    """Read a stream of zigzag numbers, seven bits at a time."""
    numbers, value, shift = [], 0, 0
    for byte in data:
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            numbers.append(value // 2 if value % 2 == 0 else -(value + 1) // 2)
            value = shift = 0
    assert shift == 0
    return numbers


def read_chunks(packed, facts=0):
    """Read packed items: for each chunk its box and its items of (kind, facts, places)."""
    index, data = read_numbers(b64decode(packed["index"])), b64decode(packed["data"])
    chunks, west, south, start = [], 0, 0, 0
    while index:
        west, south = west + index.pop(0), south + index.pop(0)
        east, north, items = west + index.pop(0), south + index.pop(0), []
        for _ in range(index.pop(0)):
            kind, size = index.pop(0), index.pop(0)
            numbers = read_numbers(data[start : start + size])
            start, x, y = start + size, west, south
            while numbers:
                count = numbers.pop(0)
                said = tuple(numbers.pop(0) for _ in range(facts))
                places = []
                for _ in range(count):
                    x, y = x + numbers.pop(0), y + numbers.pop(0)
                    places.append((x, y))
                items.append((kind, said, tuple(places)))
        chunks.append(((west, south, east, north), items))
    assert start == len(data)
    return chunks


places = st.tuples(st.integers(-18_000_000, 18_000_000), st.integers(-8_000_000, 8_000_000))
near = st.tuples(st.integers(0, 3_000), st.integers(0, 3_000))
items = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.tuples(st.integers(-90, 90), st.integers(0, 10**9)),
        st.lists(near, min_size=1, max_size=5) | st.lists(places, min_size=1, max_size=3),
    ),
    max_size=12,
)


def pack(rows):
    """Pack rows of (kind, facts, places)."""
    return packing.pack_items(
        packing.Items(
            np.array([kind for kind, _, _ in rows], dtype=np.int64),
            np.array([len(places) for _, _, places in rows], dtype=np.int64),
            np.array([xy for _, _, places in rows for xy in places], dtype=np.int64).reshape(-1, 2),
            np.array([facts for _, facts, _ in rows], dtype=np.int64).reshape(-1, 2),
        )
    )


@given(items)
def test_packed_items_read_back(rows):
    """Every item comes back once, with its kind, facts and places, within its chunk's box."""
    chunks = read_chunks(pack(rows), facts=2)
    found = Counter(item for _, items in chunks for item in items)
    assert found == Counter((kind, facts, tuple(places)) for kind, facts, places in rows)
    for (west, south, east, north), held in chunks:
        xs, ys = zip(*(xy for _, _, places in held for xy in places), strict=True)
        assert (west, south, east, north) == (min(xs), min(ys), max(xs), max(ys))


@given(items)
def test_the_order_of_rows_changes_nothing_but_equal_places(rows):
    """Rows that start at different places are packed to the same bytes in any order."""
    lows = [tuple(np.min(places, axis=0)) for _, _, places in rows]
    if len(set(lows)) == len(rows):
        assert pack(rows) == pack(rows[::-1])


@given(st.lists(st.integers(-(2**40), 2**40)))
def test_numbers_read_back(numbers):
    """Whole numbers of any size come back, small ones in one byte."""
    data, sizes = packing.pack_numbers(np.array(numbers, dtype=np.int64))
    assert read_numbers(data) == numbers
    assert all(size == 1 for size, n in zip(sizes, numbers, strict=True) if -64 <= n < 64)


def test_chunks_are_small():
    """A street of 300 m lies in a chunk of at most two cells, however big the city."""
    rows = [
        (0, (0, 0), [(x, y), (x + 300, y)])
        for x in range(0, 9_000, 250)
        for y in range(0, 9_000, 250)
    ]
    chunks = read_chunks(pack(rows), facts=2)
    assert len(chunks) > 100
    assert all(max(e - w, n - s) <= 2 * packing.CELL for (w, s, e, n), _ in chunks)


def make_ground():
    """Make buildings, one with a yard, a lake, a park and what is no ground."""
    tags = {
        "building": {"building": "yes", "name": "楼"},
        "yard": {"building": "house"},
        "lake": {"natural": "water", "name": "玄武湖", "name:en": "Xuanwu Lake"},
        "park": {"leisure": "park"},
        "site": {"building": "construction"},
        "land": {"landuse": "residential"},
        "bench": {"leisure": "park"},
    }
    yard = shapely.box(0, 0, 40, 40) - shapely.box(10, 10, 20, 20)
    shapes = [shapely.box(100, 100, 130, 140), yard, shapely.box(200, 200, 600, 500)]
    shapes += [shapely.box(0, 600, 90, 700)] * 3 + [shapely.Point(5, 5)]
    texts = [json.dumps(one, ensure_ascii=False) for one in tags.values()]
    shapes = gpd.GeoSeries(shapes, crs=CRS).translate(WEST, SOUTH)
    return gpd.GeoDataFrame({"tags": texts}, geometry=shapes)


def test_ground_is_found_by_its_tags():
    """Buildings, water and green are areas with such tags; sites, points and other land are not."""
    found = ground.find_ground(make_ground())
    assert list(found["kind"]) == ["building", "building", "water", "green"]
    assert list(found["name"].fillna("")) == ["楼", "", "玄武湖", ""]
    assert list(found["name_en"].fillna("")) == ["", "", "Xuanwu Lake", ""]
    assert len(ground.find_ground(make_ground().iloc[:0])) == 0


def shapes_of(layer):
    """Read the packed value of a background."""
    value = json.loads(layer.value)
    return value, [item for _, items in read_chunks(value["shapes"]) for item in items]


def test_background_holds_every_street_and_ring_to_a_unit():
    """Streets and rings come back at their places, rounded to 1e-5 degree, each once."""
    town = make_town()
    found = ground.find_ground(make_ground())
    value, items = shapes_of(background.make_background(town, ground=found))
    kinds = value["shapes"]["kinds"]
    streets = Counter(places for kind, _, places in items if kinds[kind] not in background.AREAS)
    lines = town.streets.edges.geometry.to_crs(4326)
    asked = [
        tuple(map(tuple, np.rint(shapely.get_coordinates(x) * 1e5).astype(int))) for x in lines
    ]
    assert streets == Counter(asked)
    rings = [places for kind, _, places in items if kinds[kind] == "building"]
    assert sorted(map(len, rings)) == [4, 4, 4]
    asked = shapely.MultiPolygon([*found.to_crs(4326).geometry[:2]])
    turned = [shapely.Polygon(np.array(ring) / 1e5) for ring in rings]
    outer = [one for one in turned if one.exterior.is_ccw]
    inner = [one for one in turned if not one.exterior.is_ccw]
    assert (len(outer), len(inner)) == (2, 1)  # what is filled by winding leaves the yard open
    painted = shapely.union_all(outer) - shapely.union_all(inner)
    assert painted.hausdorff_distance(asked) < 1e-5


def test_same_input_gives_the_same_bytes():
    """A background of the same frame is the same text, whatever the order of its streets."""
    town, found = make_town(), ground.find_ground(make_ground())
    first = background.make_background(town, ground=found).value
    assert first == background.make_background(town, ground=found.iloc[::-1]).value


def street(points, name="中山路", kind="primary"):
    """Make one street."""
    return {"name": name, "kind": kind, "geometry": shapely.LineString(points)}


def test_names_stand_on_straight_stretches():
    """A street is named in the middle of its longest straight stretch, along it, left to right."""
    rows = [
        street([(0, 0), (100, 0)]),
        street([(100, 0), (300, 0)]),
        street([(300, 0), (300, -90)]),
    ]
    table = labels.label_streets(gpd.GeoDataFrame(rows, crs=UTM))
    nearest = table[table["kind"] == "primary"].sort_values("run_m", ascending=False)
    assert list(nearest["run_m"]) == [300, 90]
    assert list(nearest["angle"]) == [0, 90]
    assert nearest.geometry.iloc[0] == shapely.Point(150, 0)
    back = labels.label_streets(gpd.GeoDataFrame([street([(300, 300), (0, 0)])], crs=UTM))
    assert set(back["angle"]) == {45}
    assert set(back["kind"]) == {"primary", "primary-far"}


def test_a_bend_that_shows_parts_a_name():
    """A street that leaves its line by 20 m has one stretch from far out and two from near."""
    bent = gpd.GeoDataFrame([street([(0, 0), (400, 20), (800, 0)])], crs=UTM)
    table = labels.label_streets(bent)
    assert len(table[table["kind"] == "primary-far"]) == 1
    assert table["run_m"][table["kind"] == "primary-far"].iloc[0] == pytest.approx(800)
    longest = table[table["kind"] == "primary"].sort_values("run_m").tail(2)
    assert list(longest["run_m"].round()) == [400, 400]
    assert sorted(longest["angle"]) == [-3, 3]


HOSTILE = "<img src=x onerror=alert(1)></script><b>{{ 7 * 7 }}"


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """Open a page with nothing but the background of the town; tests leave it for one another."""
    frame = make_town()
    found = ground.find_ground(make_ground())
    found.loc[found["kind"] == "green", "name"] = HOSTILE
    layer = background.make_background(frame, ground=found)
    page = folium.Map(tiles=None)
    layer.add_to(page)
    text = offline.render_offline(page)
    path = tmp_path_factory.mktemp("background") / "page.html"
    path.write_text(text, encoding="utf-8")
    name = re.search(r"var (background_\d+) = surveyBackground", text)[1]
    with open_page(path) as visit:
        yield visit, name
        assert visit.requests == [path.as_uri()]
        assert visit.complaints == []


def show(opened, zoom, x=550, y=550):
    """Go to a place of the town, in metres from its corner, and wait until all is painted."""
    visit, name = opened
    place = gpd.GeoSeries([shapely.Point(WEST + x, SOUTH + y)], crs=CRS).to_crs(4326)[0]
    view = f"[{place.y}, {place.x}], {zoom}, {{animate: false}}"
    visit.page.evaluate(f"{name}._map.setView({view})")
    visit.page.wait_for_function(f"() => !{name}.isLoading()")
    return visit, name


def boxes(visit, name):
    """Read the names that stand, as polygons."""
    rows = visit.page.evaluate(f"{name}.labels()")
    shapes = [
        affinity.rotate(
            shapely.box(
                one["x"] - one["width"] / 2,
                one["y"] - one["height"] / 2,
                one["x"] + one["width"] / 2,
                one["y"] + one["height"] / 2,
            ),
            one["angle"],
            use_radians=True,
        )
        for one in rows
    ]
    return [one["text"] for one in rows], shapes


PIXELS = """name => {
  const layer = window[name], seen = {};
  for (const {el} of Object.values(layer._tiles)) {
    const data = el.getContext("2d").getImageData(0, 0, el.width, el.height).data;
    for (let i = 0; i < data.length; i += 4) {
      const key = [data[i], data[i + 1], data[i + 2]].join();
      seen[key] = (seen[key] || 0) + 1;
    }
  }
  return seen;
}"""
WHITE, WATER, BUILDING, LAND = "255,255,255", "200,220,230", "228,224,215", "245,244,240"


@pytest.mark.browser
def test_canvas_paints_streets_water_and_buildings(opened):
    """The tiles hold the colours of land, streets, water and buildings; far out no buildings."""
    visit, name = show(opened, 17, x=200, y=200)
    seen = visit.page.evaluate(PIXELS, name)
    assert min(seen.get(color, 0) for color in (LAND, WHITE, WATER, BUILDING)) > 500
    show(opened, 13)
    seen = visit.page.evaluate(PIXELS, name)
    assert BUILDING not in seen
    assert seen[WATER] > 100


@pytest.mark.browser
def test_names_neither_overlap_nor_are_cut(opened):
    """At every zoom, on a screen and a phone, no two names overlap and none is cut by the rim."""
    for width, height in ((390, 844), (1280, 800)):
        opened[0].page.set_viewport_size({"width": width, "height": height})
        rim = shapely.box(0, 0, width, height).boundary
        most = 0
        for zoom in (14, 15, 16, 17, 18):
            texts, shapes = boxes(*show(opened, zoom))
            pairs = shapely.STRtree(shapes).query(shapes, predicate="overlaps")
            assert pairs.size == 0, [texts[n] for n in pairs[:, 0]]
            assert not shapely.intersects(np.array(shapes), rim).any()
            most = max(most, len(texts))
        assert most >= 6


@pytest.mark.browser
def test_names_follow_language_and_obstacles(opened):
    """The language of the names switches, and no name stands where the page has no room."""
    visit, name = show(opened, 17, x=400, y=350)
    assert "玄武湖" in boxes(visit, name)[0]
    visit.page.evaluate(f"{name}.setLanguage('en')")
    texts, shapes = boxes(visit, name)
    assert "Xuanwu Lake" in texts
    assert "玄武湖" not in texts
    box = list(shapes[texts.index("Xuanwu Lake")].bounds)
    visit.page.evaluate(f"{name}.setObstacles(() => [{box}])")
    assert "Xuanwu Lake" not in boxes(visit, name)[0]
    visit.page.evaluate(f"{name}.setObstacles(() => []).setLanguage('zh')")
    assert "玄武湖" in boxes(visit, name)[0]


@pytest.mark.browser
def test_a_hostile_name_is_only_drawn(opened):
    """A name with markup, script and template signs is drawn as it is and becomes no element."""
    visit, name = show(opened, 19, x=45, y=650)
    assert HOSTILE in boxes(visit, name)[0]
    assert visit.page.locator("img, b").count() == 0


@pytest.mark.browser
def test_paper_gets_finer_tiles_at_once(opened):
    """When printing begins every tile is painted again, three times as fine, before it goes on.

    What a canvas clears while a page is printed becomes a white sheet over what lies below it.
    """
    visit, name = show(opened, 16)
    visit.page.evaluate(
        """() => { window.cleared = 0;
        CanvasRenderingContext2D.prototype.clearRect = () => { window.cleared += 1; }; }"""
    )
    state = f"""() => Object.values({name}._tiles).map(({{el}}) => [el.width, el.className,
        el.getContext("2d").getImageData(9, 9, 1, 1).data[3]])"""
    assert {width for width, _, _ in visit.page.evaluate(state)} == {256}
    tiles = visit.page.evaluate(
        f"() => {{ window.dispatchEvent(new Event('beforeprint')); return ({state})(); }}"
    )
    assert {(width, solid) for width, _, solid in tiles} == {(768, 255)}
    assert all("leaflet-tile-loaded" in names for _, names, _ in tiles)
    assert visit.page.evaluate("cleared") == 0
    visit.page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    visit.page.wait_for_function(f"() => !{name}.isLoading()")
    assert {width for width, _, _ in visit.page.evaluate(state)} == {256}


def test_english_names_of_streets_come_from_their_tags():
    """Places and streets are found with both names; a street without an English name is not."""
    osm = pd.Series(dtype=object)
    osm.features = gpd.GeoDataFrame(
        {"tags": ['{"place": "suburb", "name": "鼓楼", "name:en": "Gulou"}', '{"place": "city"}']},
        geometry=[shapely.Point(1, 2), shapely.Point(3, 4)],
        crs=UTM,
    )
    osm.streets = gpd.GeoDataFrame(
        {"tags": ['{"name": "中山路", "name:en": "Zhongshan Road"}', '{"name": "小巷"}']},
        geometry=[shapely.LineString([(0, 0), (2, 0)]), shapely.LineString([(0, 0), (0, 2)])],
        crs=UTM,
    )
    found = ground.find_names(osm)
    assert found[["kind", "name", "name_en"]].to_numpy().tolist() == [
        ["suburb", "鼓楼", "Gulou"],
        ["street", "中山路", "Zhongshan Road"],
    ]
    assert list(found.geometry) == [shapely.Point(1, 2), shapely.Point(1, 0)]


def test_streets_without_names_have_no_labels():
    """A frame without names and compounds is painted all the same, with nothing to write."""
    town = make_town()
    bare = SimpleNamespace(
        streets=SimpleNamespace(edges=town.streets.edges.assign(name=None)),
        compounds=town.compounds.iloc[:0],
        alleys=town.alleys.iloc[:0],
    )
    value, items = shapes_of(background.make_background(bare))
    assert len(items) == len(town.streets.edges)
    assert value["words"] == []
    assert read_chunks(value["labels"], facts=4) == []


def test_what_is_called_after_its_streets_is_not_named():
    """A compound's own name is written; one that was made up from its streets is not."""
    town = make_town()
    reasons = ["landuse=residential, named after its streets", "landuse=residential"]
    two = town.compounds.iloc[[0, 0]].assign(name=["甲路 / 乙路", "和平里"], reason=reasons)
    some = SimpleNamespace(streets=town.streets, compounds=two, alleys=town.alleys)
    words = json.loads(background.make_background(some).value)["words"]
    assert "和平里" in words
    assert "甲路 / 乙路" not in words
