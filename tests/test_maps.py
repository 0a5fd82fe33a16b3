from itertools import groupby

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import LineString

from browser import open_page
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
    make_town,
)
from survey.errors import OutputError, TableError
from survey.outputs.maps import save_map
from survey.outputs.page import pack_lines

MAP = "Object.values(window).find((value) => value instanceof L.Map)"
SHOWN = f"""(() => {{
    const looks = [];
    {MAP}.eachLayer((layer) => layer.survey && looks.push(layer.survey.look));
    return looks;
}})()"""


def save_town(path, text=str, title=None, **options):
    parts = {"draw": make_draw(text), "odds": make_odds(text), "audit": make_audit(text)}
    return save_map(path, make_town(text), **parts, reach=make_reach(text), title=title, **options)


def click_at(page, place):
    """Click where the map shows a position."""
    degrees = gpd.GeoSeries([place], crs=CRS).to_crs(4326).iloc[0]
    x, y = page.evaluate(
        f"""([lat, lon]) => {{
            const map = {MAP}, box = map.getContainer().getBoundingClientRect();
            const at = map.latLngToContainerPoint([lat, lon]);
            return [box.x + at.x, box.y + at.y];
        }}""",
        [degrees.y, degrees.x],
    )
    page.mouse.move(x, y)
    page.mouse.click(x, y)


def tick(page, label):
    """Click the layer control's box whose label begins so."""
    page.locator(".leaflet-control-layers label", has_text=label).first.click()


@pytest.mark.browser
def test_page_asks_for_nothing_and_complains_of_nothing(tmp_path):
    """A map opened from disk without a connection requests itself alone and runs without errors."""
    path = save_town(tmp_path / "town.html")
    with open_page(path) as visit:
        labels = visit.page.locator(".leaflet-control-layers label").all_inner_texts()
        shown = visit.page.evaluate(SHOWN)
        assert visit.page.locator("h1").inner_text() == "老城南 · 巡查地图 · Survey map"
        assert "见证人种子" in visit.page.locator("footer").inner_text()
    assert visit.requests == [path.as_uri()]
    assert visit.complaints == []
    assert [label.strip() for label in labels] == [
        "固定点位 · Fixed points",
        "抽中 · Drawn: 2026-Q4",
        "备选 · Replacements: 2026-Q4",
        "抽中 · Drawn: 2026-Q3",
        "公共卫生间 · Toilets",
        "可开放单位 · Candidates",
        "空白段 · Gaps: 沿路步行 500 米 · 500 m on foot",
        "空白段 · Gaps: 直线 500 米 · 500 m straight",
        "背街小巷 · Alleys",
        "小区 · Compounds",
        "街道办辖区 · Subdistricts",
        "街道 · Streets",
    ]
    assert sorted(shown) == [
        "alleys", "compounds", "draws", "gaps", "points", "subdistricts", "toilets",
    ]  # fmt: skip


@pytest.mark.browser
def test_first_view_holds_the_whole_area(tmp_path):
    """The map opens on the area: all of it is in view, and a closer view would lose some."""
    frame = make_town()
    west, south, east, north = frame.area.polygon.bounds
    with open_page(save_map(tmp_path / "town.html", frame)) as visit:
        holds = f"""([s, w, n, e]) => {{
            const map = {MAP}, area = L.latLngBounds([s, w], [n, e]);
            return [map.getBounds().contains(area), map.getBoundsZoom(area) - map.getZoom()];
        }}"""
        inside, room = visit.page.evaluate(holds, [south, west, north, east])
    assert inside
    assert room <= 1


@pytest.mark.browser
def test_click_on_an_alley_tells_its_facts(tmp_path):
    """The popup of an alley names it and holds its facts, its odds and the points that reach it."""
    parts = {"odds": make_odds(), "reach": make_reach()}
    with open_page(save_map(tmp_path / "town.html", make_town(), **parts)) as visit:
        click_at(visit.page, at(128.5, 150))
        text = visit.page.locator(".leaflet-popup").inner_text()
        rows = visit.page.locator(".leaflet-popup tr").all_inner_texts()
    for part in (
        "评事街",
        "alley/201",
        "400 m",
        "秦淮街道",
        "residential, 巷",
        "43.2%",
        "25.0% – 75.0%",
        "数据边缘",
    ):
        assert part in text
    assert [row.split("\t") for row in rows[1:]] == [
        ["夫子庙农贸市场", "5 m", "3 m"],
        ["新街口百货", "733 m", "480 m"],
        ["南京市第五中学", "—", "310 m"],
    ]


@pytest.mark.browser
def test_click_on_a_drawn_unit_tells_its_round(tmp_path):
    """A drawn alley says which round, seed, point, slot and radius drew it; a replacement waits."""
    with open_page(save_town(tmp_path / "town.html")) as visit:
        click_at(visit.page, at(128.5, 150))
        text = visit.page.locator(".leaflet-popup").inner_text()
        rows = visit.page.locator(".leaflet-popup tr").all_inner_texts()
    assert "2026-Q4" in text
    assert "见证人种子" in text
    assert "秦淮街道" in text
    assert [row.split("\t") for row in rows[1:]] == [["夫子庙农贸市场", "1", "1,234 m"]]


@pytest.mark.browser
def test_gaps_can_be_switched_and_say_what_is_uncertain(tmp_path):
    """The layer control hides and shows each rule's gaps; one near the edge of the data says so."""
    with open_page(save_map(tmp_path / "town.html", make_town(), audit=make_audit())) as visit:
        click_at(visit.page, at(1087.5, 250))
        text = visit.page.locator(".leaflet-popup").inner_text()
        counts = [visit.page.evaluate(SHOWN).count("gaps")]
        for label in ("Gaps: 沿路", "Gaps: 直线", "Gaps: 沿路"):
            tick(visit.page, label)
            counts.append(visit.page.evaluate(SHOWN).count("gaps"))
    assert counts == [1, 0, 1, 2]
    assert "可能有数据范围外的公厕覆盖" in text
    assert "no toilet can be reached" in text
    assert "300 m" in text


@pytest.mark.browser
def test_hover_names_what_is_under_the_mouse(tmp_path):
    """A point's Chinese name appears beside the mouse."""
    with open_page(save_map(tmp_path / "town.html", make_town())) as visit:
        click_at(visit.page, at(860, 860))
        assert "鼓楼医院" in visit.page.locator(".leaflet-tooltip-pane").inner_text()


@pytest.mark.browser
def test_hostile_names_do_nothing(tmp_path):
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
        path = save_town(tmp_path / "town.html", text, text("标题"), replace=True)
        with open_page(path) as visit:
            visit.page.evaluate(all_on)
            texts.append(visit.page.evaluate(open_all))
            counts.append(visit.page.evaluate(census))
            assert visit.page.title() == text("标题")
            assert visit.page.locator("h1").text_content() == text("标题")
            assert visit.page.evaluate("window.__pwned") is None
        assert visit.requests == [path.as_uri()]
        assert visit.complaints == []
    assert counts[0] == counts[1]
    assert hostile("评事街") in texts[1]
    assert hostile("金陵小区") in texts[1]


@pytest.mark.browser
def test_empty_town_opens(tmp_path):
    """A frame without a single point, unit or toilet gives a page that works, with streets only."""
    frame = make_town()
    for name in ("points", "alleys", "compounds", "toilets", "candidates", "subdistricts"):
        setattr(frame, name, getattr(frame, name).iloc[:0])
    with open_page(save_map(tmp_path / "town.html", frame, reach=make_reach().iloc[:0])) as visit:
        labels = visit.page.locator(".leaflet-control-layers label").all_inner_texts()
    assert [label.strip() for label in labels] == ["街道 · Streets"]
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
    assert "<h1>甲</h1>" in path.read_text("utf-8")
    save_map(path, make_town(), title="乙", replace=True)
    assert "<h1>乙</h1>" in path.read_text("utf-8")


def test_draw_of_another_frame_is_refused(tmp_path):
    """A round that holds a unit which the frame does not is an error that names it."""
    frame = make_town()
    frame.alleys = frame.alleys.iloc[1:]
    with pytest.raises(TableError, match="alley/201"):
        save_map(tmp_path / "town.html", frame, draw=make_draw())
    assert list(tmp_path.iterdir()) == []


def test_twenty_thousand_streets_stay_small(tmp_path):
    """A city of 20,000 segments with six vertices each makes a file below 3 MB."""
    frame = make_town()
    random = np.random.default_rng(7)
    places = np.cumsum(random.uniform(-20, 40, (20_000, 6, 2)), axis=1)
    places += random.uniform(0, 20_000, (20_000, 1, 2)) + np.array([WEST, SOUTH])
    shapes = shapely.linestrings(places)
    frame.streets.edges = gpd.GeoDataFrame(
        {"highway": ["residential"] * 20_000}, geometry=shapes, crs=CRS
    )
    assert save_map(tmp_path / "city.html", frame).stat().st_size < 3_000_000


places = st.tuples(st.integers(-18_000_000, 18_000_000), st.integers(-8_000_000, 8_000_000))


@given(st.lists(st.lists(places, min_size=2, max_size=6), max_size=4))
def test_packed_lines_can_be_unpacked(lines):
    """Summing up the steps gives each line's vertices, without those that repeat the last."""
    shapes = [LineString([(x / 1e5, y / 1e5) for x, y in line]) for line in lines]
    packed = pack_lines(gpd.GeoSeries(shapes, crs=4326))
    unpacked = [np.cumsum(np.reshape(steps, (-1, 2)), axis=0).tolist() for steps in packed]
    assert unpacked == [[list(place) for place, _ in groupby(line)] for line in lines]
