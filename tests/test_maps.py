from itertools import groupby

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import LineString

from browser import start_browser
from map_pages import MAP, SHOWN, click_at, list_legend, read_popup, tick
from paper_town import (
    CRS,
    SOUTH,
    WEST,
    at,
    hostile,
    make_audit,
    make_draw,
    make_odds,
    make_reach,
    make_tables,
    make_town,
)
from survey.errors import OutputError, TableError
from survey.outputs.maps import draw_map, save_map
from survey.outputs.page_layers import pack_lines, pack_shapes


@pytest.fixture(scope="module")
def open_file():
    """Give one browser to all tests of this file."""
    with start_browser() as opened:
        yield opened


def save_town(path, text=str, title=None, **options):
    parts = {"draw": make_draw(text), "odds": make_odds(text), "audit": make_audit(text)}
    return save_map(path, make_town(text), **parts, reach=make_reach(text), title=title, **options)


@pytest.mark.browser
def test_page_asks_for_nothing_and_complains_of_nothing(tmp_path, open_file):
    """A map opened from disk without a connection requests itself alone and runs without errors."""
    path = save_town(tmp_path / "town.html")
    visit = open_file(path)
    assert visit.page.title() == "老城南 · 巡查地图 · 老城南 · Survey map"
    assert visit.page.locator("h1").inner_text() == "老城南 · 巡查地图"
    assert "见证人种子" in visit.page.locator("footer").inner_text()
    assert "2026-01-02" in visit.page.locator("footer").inner_text()
    assert visit.requests == [path.as_uri()]
    assert visit.complaints == []
    assert list_legend(visit.page) == {
        "固定点位": True,
        "抽中的小巷和小区": True,
        "备选": False,
        "公共卫生间": True,
        "可开放单位": False,
        "空白段（无公共卫生间）": True,
        "达标路段": True,
        "背街小巷": True,
        "小区": True,
        "街道办辖区": True,
        "底图：街道、建筑、地名": True,
    }
    assert visit.page.evaluate(SHOWN) == {
        "points": 6,
        "draws": 2,
        "toilets": 3,
        "gaps": 2,
        "covered": 1,
        "alleys": 3,
        "compounds": 2,
        "subdistricts": 2,
    }


@pytest.mark.browser
def test_first_view_holds_the_whole_area(tmp_path, open_file):
    """The map opens on the area: all of it is in view, and a closer view would lose some."""
    frame = make_town()
    west, south, east, north = frame.area.polygon.bounds
    visit = open_file(save_map(tmp_path / "town.html", frame))
    holds = f"""([s, w, n, e]) => {{
        const map = {MAP}, area = L.latLngBounds([s, w], [n, e]);
        return [map.getBounds().contains(area), map.getBoundsZoom(area) - map.getZoom()];
    }}"""
    inside, room = visit.page.evaluate(holds, [south, west, north, east])
    assert inside
    assert room <= 1


@pytest.mark.browser
def test_click_on_an_alley_tells_its_facts(tmp_path, open_file):
    """The popup of an alley has its facts, its odds, the points that reach it, what to check."""
    parts = {"odds": make_odds(), "reach": make_reach()}
    page = open_file(save_map(tmp_path / "town.html", make_town(), **parts)).page
    click_at(page, at(128.5, 150))
    title, facts, rows = read_popup(page)
    assert title == "评事街"
    assert facts == {
        "长度": "400 m",
        "等级": "居住区道路",
        "街道办": "秦淮街道",
        "入样概率": "43.2%",
        "概率范围": "25.0% – 75.0%",
        "数据边缘": "数据边缘外的单位未知",
        "期望次数": "0.50",
        "可达点位": "2",
        "依据": "居住区道路，巷",
        "来源": "OpenStreetMap",
        "编号": "alley/201",
    }
    assert rows == [
        ["夫子庙农贸市场", "5 m", "3 m"],
        ["新街口百货", "733 m", "480 m"],
        ["南京市第五中学", "—", "310 m"],
    ]
    page.locator("summary").click()
    assert "路灯齐全、能亮" in page.locator(".survey-facts li").all_inner_texts()


@pytest.mark.browser
def test_click_on_a_drawn_unit_tells_its_round(tmp_path, open_file):
    """A drawn alley says which point, slot and radius drew it; the panel says round and seed."""
    page = open_file(save_town(tmp_path / "town.html")).page
    click_at(page, at(128.5, 150))
    title, facts, rows = read_popup(page)
    assert title == "评事街"
    assert facts["街道办"] == "秦淮街道"
    assert rows == [["夫子庙农贸市场", "1", "1,234 m"]]
    page.locator(".leaflet-popup summary").click()
    assert page.locator(".leaflet-popup li").first.inner_text() == "路面硬化，无坑洼积水"
    panel = page.locator(".survey-choice").first.inner_text()
    assert "2026-Q4" in panel
    assert "种子 见证人种子\n责任街道，抽中单元数：\n2\t秦淮街道" in panel


@pytest.mark.browser
def test_gaps_can_be_switched_and_say_what_is_uncertain(tmp_path, open_file):
    """The legend hides and shows gaps, a list changes the rule; one near the edge says so."""
    page = open_file(save_map(tmp_path / "town.html", make_town(), audit=make_audit())).page
    click_at(page, at(1087.5, 250))
    _, facts, _ = read_popup(page)
    counts = [page.evaluate(SHOWN).get("gaps", 0)]
    for _ in range(2):
        tick(page, "空白段")
        counts.append(page.evaluate(SHOWN).get("gaps", 0))
    page.locator("select").select_option("1")
    counts.append(page.evaluate(SHOWN)["gaps"])
    assert counts == [2, 0, 2, 1]
    assert facts["数据边缘"] == "可能有数据范围外的公厕覆盖"
    assert facts["最远"] == "不连通"
    assert facts["长度"] == "300 m"


@pytest.mark.browser
def test_hover_names_what_is_under_the_mouse(tmp_path, open_file):
    """A point's Chinese name appears beside the mouse."""
    page = open_file(save_map(tmp_path / "town.html", make_town())).page
    click_at(page, at(860, 860))
    assert "鼓楼医院" in page.locator(".leaflet-tooltip-pane").inner_text()


@pytest.mark.browser
def test_hostile_names_do_nothing(tmp_path, open_file):
    """Texts full of markup, script and template signs are shown as they are and never run."""
    census = "document.querySelectorAll('img, script, iframe, link, object, base, form').length"
    all_on = "document.querySelectorAll('input:not(:checked)').forEach((box) => box.click())"
    open_all = f"""(() => {{
        const texts = [];
        {MAP}.eachLayer((layer) => {{
            if (!layer.getPopup || !layer.getPopup()) return;
            layer.openPopup();
            texts.push(layer.getPopup().getElement().querySelector('h2').textContent);
        }});
        return texts;
    }})()"""
    counts, texts = [], []
    for text in (str, hostile):
        parts = make_tables(text) | {"title": text("标题"), "left_out": [text("旧轮次")]}
        path = save_map(tmp_path / "town.html", make_town(text), **parts, replace=True)
        visit = open_file(path)
        visit.page.evaluate(all_on)
        texts.append("\n".join(visit.page.evaluate(open_all)))
        counts.append(visit.page.evaluate(census))
        visit.page.locator("input[type=search]").type("<img")
        assert visit.page.title() == text("标题")
        assert visit.page.locator("h1 .zh").text_content() == text("标题")
        assert visit.page.evaluate("window.__pwned") is None
        assert visit.requests == [path.as_uri()]
        assert visit.complaints == []
    assert visit.page.locator("#survey-found li").count() > 5
    assert counts[0] == counts[1]
    assert hostile("评事街") in texts[1]
    assert hostile("金陵小区") in texts[1]


@pytest.mark.browser
def test_empty_town_opens(tmp_path, open_file):
    """A frame without a single point, unit or toilet gives a page that works, with streets only."""
    frame = make_town()
    for name in ("points", "alleys", "compounds", "toilets", "candidates", "subdistricts"):
        setattr(frame, name, getattr(frame, name).iloc[:0])
    visit = open_file(save_map(tmp_path / "town.html", frame, reach=make_reach().iloc[:0]))
    assert list_legend(visit.page) == {"底图：街道、建筑、地名": True}
    assert visit.complaints == []


def test_same_input_gives_the_same_bytes(tmp_path):
    """Two maps of one frame are the same file, byte for byte."""
    first = save_town(tmp_path / "a.html").read_bytes()
    assert save_town(tmp_path / "b.html").read_bytes() == first


def test_file_is_replaced_only_on_demand(tmp_path):
    """A map that exists stays, and the error says how to replace it; missing folders are made."""
    path = save_map(tmp_path / "new" / "folder" / "town.html", make_town(), title="甲")
    with pytest.raises(OutputError, match="--replace"):
        save_map(path, make_town(), title="乙")
    assert "<title>甲</title>" in path.read_text("utf-8")
    save_map(path, make_town(), title="乙", replace=True)
    assert "<title>乙</title>" in path.read_text("utf-8")


def test_draw_of_another_frame_is_refused(tmp_path):
    """A round that holds a unit which the frame does not is an error that names it."""
    frame = make_town()
    frame.alleys = frame.alleys.iloc[1:]
    with pytest.raises(TableError, match="alley/201"):
        save_map(tmp_path / "town.html", frame, draw=make_draw())
    assert list(tmp_path.iterdir()) == []


def test_kind_that_is_unknown_or_lacks_its_table_is_refused(tmp_path):
    """A kind that there is not, or whose table is missing, is an error that says what to do."""
    with pytest.raises(OutputError, match="the maps are frame, round, odds, toilets"):
        save_map(tmp_path / "town.html", make_town(), kind="traffic")
    for kind, lack in (("round", "draw"), ("odds", "odds"), ("toilets", "audit")):
        with pytest.raises(OutputError, match=f"needs {lack}, which survey"):
            draw_map(make_town(), kind=kind)
    assert list(tmp_path.iterdir()) == []


def test_twenty_thousand_streets_stay_small(tmp_path):
    """A city of 20,000 segments with six vertices each makes a file below 2 MB."""
    frame = make_town()
    random = np.random.default_rng(7)
    places = np.cumsum(random.uniform(-20, 40, (20_000, 6, 2)), axis=1)
    places += random.uniform(0, 20_000, (20_000, 1, 2)) + np.array([WEST, SOUTH])
    shapes = shapely.linestrings(places)
    edges = gpd.GeoDataFrame(
        {"edge_id": [f"e{n}" for n in range(20_000)], "highway": "residential", "name": None},
        geometry=shapes,
        crs=CRS,
    )
    flags = {"public": True, "inside": True, "length_m": edges.length}
    frame.streets.edges = edges.assign(**flags)
    assert save_map(tmp_path / "city.html", frame).stat().st_size < 2_000_000


places = st.tuples(st.integers(-18_000_000, 18_000_000), st.integers(-8_000_000, 8_000_000))


def unpack(steps):
    """Sum up the steps of a packed line."""
    return np.cumsum(np.reshape(steps, (-1, 2)), axis=0).tolist()


@given(st.lists(st.lists(places, min_size=2, max_size=6), max_size=4))
def test_packed_lines_can_be_unpacked(lines):
    """Summing up the steps gives each line's vertices, without those that repeat the last."""
    shapes = [LineString([(x / 1e5, y / 1e5) for x, y in line]) for line in lines]
    packed = pack_lines(gpd.GeoSeries(shapes, crs=4326))
    assert [unpack(steps) for steps in packed] == [
        [list(place) for place, _ in groupby(line)] for line in lines
    ]


def test_packed_shapes_keep_parts_and_holes():
    """A point is one place, a line its pieces, an area its polygons with their holes."""
    hole = shapely.Polygon([(0, 0), (4, 0), (4, 4), (0, 0)], [[(2, 1), (3, 1), (3, 2), (2, 1)]])
    shapes = [
        shapely.Point(1, 2),
        shapely.MultiLineString([[(0, 0), (1, 0)], [(5, 5), (5, 6)]]),
        shapely.MultiPolygon([hole, shapely.box(9, 9, 10, 10)]),
        LineString([(3, 3), (4, 4)]),
    ]
    scaled = [shapely.transform(shape, lambda at: at / 1e5) for shape in shapes]
    packed = pack_shapes(gpd.GeoSeries(scaled, crs=4326))
    assert packed[0] == [[1, 2]]
    assert [unpack(line) for line in packed[1]] == [[[0, 0], [1, 0]], [[5, 5], [5, 6]]]
    assert [[len(unpack(ring)) for ring in rings] for rings in packed[2]] == [[4, 4], [5]]
    assert unpack(packed[2][0][1])[0] == [2, 1]
    assert packed[3] == [[3, 3, 1, 1]]
