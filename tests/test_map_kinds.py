import re

import pypdf
import pytest

from browser import start_browser
from map_pages import BAD_TEXTS, MAP, SHOWN, click_at, list_legend, open_popup, read_popup, tick
from paper_town import at, hostile, make_tables, make_town
from survey.outputs.map_kinds import KINDS
from survey.outputs.maps import name_maps, save_maps
from survey.outputs.offline import check_offline
from survey.tables import TABLES

SIZES = ((1280, 800), (390, 844))
LANDED = f"""(() => {{
    const map = {MAP}, at = map.getCenter(), heads = document.querySelectorAll(".leaflet-popup h2");
    return [at.lat, at.lng, map.getZoom(), heads[heads.length - 1].innerText];
}})()"""


@pytest.fixture(scope="module")
def open_file():
    """Give one browser to all tests of this file."""
    with start_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    """Give the folder of all maps of the town."""
    folder = tmp_path_factory.mktemp("maps")
    save_maps(folder, "town", make_town(), others=["town.gpkg"], **make_tables())
    return folder


@pytest.fixture(scope="module")
def hostile_maps(tmp_path_factory):
    """Give the folder of all maps of a town whose names are markup and scripts."""
    folder = tmp_path_factory.mktemp("hostile")
    tables = make_tables(hostile) | {"left_out": [hostile("旧")]}
    save_maps(folder, "town", make_town(hostile), others=[hostile("x")], **tables)
    return folder


def choose(page, label, value):
    """Choose an option of the panel's choice by its radio, its list or its slider."""
    box = page.locator(".survey-choice", has_text=label)
    if box.locator("select").count():
        box.locator("select").select_option(value)
    elif box.locator("[type=range]").count():
        box.locator("[type=range]").fill(value)
    else:
        box.locator("label").nth(int(value)).click()
    page.wait_for_selector(".leaflet-popup", state="detached")  # it fades away
    return box


def search(page, words):
    """Search and go to the first hit; give what was offered."""
    box = page.locator("input[type=search]")
    box.fill(words)
    offered = page.locator("#survey-found li").all_inner_texts()
    box.press("Enter")
    return offered


def test_all_maps_and_an_index_are_written(tmp_path):
    """Every kind that the tables allow is written, twice the same bytes; the index leads to all."""
    paths = save_maps(tmp_path, "town", make_town(), others=["a b.csv"], **make_tables())
    assert [path.name for path in paths] == name_maps("town")
    assert [path.stem for path in paths[2:]] == [f"town-{kind}" for kind in KINDS]
    text = paths[0].read_text("utf-8")
    links = re.findall(r'<a href="([^"]*)"', text)
    assert links[:-1] == [*(path.name for path in paths[1:]), "a%20b.csv"]
    assert "背街小巷 3" in text
    assert "3 alleys" in text
    check_offline(text)
    assert "Report" not in text
    first = [path.read_bytes() for path in paths]
    again = save_maps(
        tmp_path, "town", make_town(), others=["a b.csv"], replace=True, **make_tables()
    )
    assert [path.read_bytes() for path in again] == first
    few = save_maps(tmp_path / "few", "town", make_town())
    assert [path.name for path in few] == ["index.html", "town.html", "town-frame.html"]


def test_index_says_what_the_other_files_are(tmp_path):
    """The report stands among the maps; the workspace and every table have a line in words."""
    names = ["town-report.html", "town.gpkg", *(f"{name}.csv" for name in TABLES)]
    text = save_maps(tmp_path, "town", make_town(), others=names)[0].read_text("utf-8")
    maps, rest = text.split('<ul class="others">')
    assert '<a href="town-report.html">' in maps
    said = dict(re.findall(r'<a href="([^"]*)">[^<]*</a><span>(.*?)</span></li>', rest))
    assert list(said) == names[1:]
    assert all('lang="zh-CN"' in words and 'lang="en"' in words for words in said.values())
    assert "背街小巷" in said["alleys.csv"]


@pytest.mark.browser
@pytest.mark.parametrize("kind", KINDS)
def test_no_text_is_cut_or_stands_over_another(maps, open_file, kind):
    """At both sizes and in both languages each map has no such text, no request, no complaint."""
    path = maps / f"town-{kind}.html"
    for width, height in SIZES:
        visit = open_file(path, width=width, height=height)
        page = visit.page
        if width < 700:
            assert page.evaluate(BAD_TEXTS)[1] == []
            page.locator("button[aria-expanded]").click()
        for _ in ("zh", "en"):
            count, bad = page.evaluate(BAD_TEXTS)
            assert count > 15
            assert bad == []
            page.locator(".survey-language").click()
        assert visit.requests == [path.as_uri()]
        assert visit.complaints == []


@pytest.mark.browser
def test_the_check_of_texts_sees_what_is_wrong(maps, open_file):
    """Texts that are pushed over others, cut by their box or out of the window are found."""
    page = open_file(maps / "town-frame.html").page
    spoil = {
        "over": ".survey-legend h2 {margin-bottom: -20px}",
        "cut": ".survey-head h1 {height: 9px; overflow: hidden}",
        "outside": ".survey-foot {margin-left: -200px}",
    }
    for word, style in spoil.items():
        tag = page.add_style_tag(content=style)
        assert any(found.startswith(word) for found in page.evaluate(BAD_TEXTS)[1]), word
        tag.evaluate("(tag) => tag.remove()")


@pytest.mark.browser
def test_legend_switches_layers_and_the_background(maps, open_file):
    """A box of the legend takes its layer, and the background, off the map and puts it back."""
    page = open_file(maps / "town-frame.html").page
    before = page.evaluate(SHOWN)
    assert (before["alleys"], before["lacks"]) == (3, 6)
    tick(page, "背街小巷")
    assert "alleys" not in page.evaluate(SHOWN)
    assert not list_legend(page)["背街小巷"]
    tick(page, "背街小巷")
    assert page.evaluate(SHOWN) == before
    tiles = page.locator(".leaflet-tile-pane .leaflet-tile-container")
    assert tiles.count() > 0
    tick(page, "底图")
    assert tiles.count() == 0


@pytest.mark.browser
def test_search_lands_on_a_chinese_and_an_english_name(maps, open_file):
    """A name in either language finds its feature, and a street, and the map goes there."""
    page = open_file(maps / "town-frame.html").page
    assert search(page, "评事街")[0].startswith("评事街")
    _, lon, zoom, title = page.evaluate(LANDED)
    assert title == "评事街"
    assert zoom >= 16
    offered = search(page, "fuzimiao")
    assert offered == ["夫子庙农贸市场固定点位"]
    *_, title = page.evaluate(LANDED)
    assert title == "夫子庙农贸市场"
    search(page, "中山205路")
    there = page.evaluate(LANDED)
    assert there[2] == 17
    assert abs(there[1] - lon) > 0.001


@pytest.mark.browser
def test_slider_goes_through_the_rounds(maps, open_file):
    """The last round comes first; the slider shows the others, mock rounds too."""
    page = open_file(maps / "town-round.html").page
    assert "2026-Q4 抽中 1 条背街小巷和 1 个小区" in page.locator(".survey-head").inner_text()
    assert page.evaluate(SHOWN)["draws"] == 2
    box = choose(page, "轮次", "0")
    assert "2026-Q3" in box.inner_text()
    assert "种子 上月种子\n责任街道，抽中单元数：\n1\t不详" in box.inner_text()
    assert page.evaluate(SHOWN)["draws"] == 1
    title, facts, rows = open_popup(page, "drawn", "alley/206")
    assert (title, facts["长度"], rows) == ("绫庄巷", "300 m", [["夫子庙农贸市场", "1", "900 m"]])
    box = choose(page, "轮次", "2")
    assert "模拟 2026-M1" in box.inner_text()
    *_, rows = open_popup(page, "drawn", "alley/206")
    assert rows == [["模拟，概率 40.0%", "1", "—"]]
    tick(page, "备选")
    assert page.evaluate(SHOWN)["spares"] == 1


@pytest.mark.browser
def test_readings_switch_gaps_and_covered_street(maps, open_file):
    """Each reading has its own gaps and covered street, and the sites' effect is one more."""
    page = open_file(maps / "town-toilets.html").page
    assert page.locator(".survey-choice label").all_inner_texts() == [
        "沿路步行 500 米",
        "沿路步行 500 米（补点之后）",
        "直线 500 米",
    ]
    seen = []
    for number in "012":
        box = choose(page, "口径", number)
        looks = page.evaluate(SHOWN)
        seen.append((looks["gaps"], looks["sites"], box.locator(".survey-note").inner_text()))
    assert seen == [
        (2, 2, "达标 90.9%（至多 91.8%），空白 2.0 公里"),
        (1, 2, "达标 95.5%，空白 1.0 公里"),
        (1, 2, "达标 97.7%，空白 0.5 公里"),
    ]
    *_, facts, _ = open_popup(page, "open", "way/70")
    assert (facts["做法"], facts["新增覆盖"]) == ("开放", "800 m")


@pytest.mark.browser
def test_surroundings_of_one_point_at_a_time(maps, open_file):
    """The chosen point has its catchments, gaps, and units with both distances."""
    page = open_file(maps / "town-surroundings.html").page
    names = page.locator("select option").all_inner_texts()
    assert len(names) == 6
    choose(page, "固定点位", str(names.index("商场超市：新街口百货")))
    looks = page.evaluate(SHOWN)
    assert (looks["chosen"], looks["alleys"], looks["catchments"], looks["gaps"]) == (1, 1, 3, 2)
    *_, rows = open_popup(page, "alley", "alley/201")
    assert rows == [["新街口百货", "733 m", "480 m"]]
    choose(page, "固定点位", str(names.index("医院：鼓楼医院")))
    looks = page.evaluate(SHOWN)
    assert looks["chosen"] == 1
    assert not looks.get("alleys")
    tick(page, "直线范围")
    click_at(page, at(860, 860))
    assert read_popup(page)[0] == "鼓楼医院"


@pytest.mark.browser
def test_language_switches_every_text(maps, open_file):
    """The button turns the page, its labels, popups and the background's names into the other."""
    page = open_file(maps / "town-frame.html", zh=False).page
    assert page.locator("h1").inner_text() == "老城南 · What can be drawn"
    assert page.get_attribute("html", "lang") == "en"
    page.locator(".survey-language").click()
    assert page.locator("h1").inner_text() == "老城南 · 抽样框：能抽到什么"
    assert page.get_attribute("html", "lang") == "zh-CN"
    assert page.get_attribute("input[type=search]", "placeholder") == "搜索名称"
    assert next(iter(list_legend(page))) == "固定点位"
    page.locator(".survey-language").click()
    assert next(iter(list_legend(page))) == "Fixed points"
    title, facts, _ = open_popup(page, "alley", "alley/206")
    assert (title, facts["Length"]) == ("Lingzhuang Alley", "300 m")
    assert page.locator(".leaflet-popup summary").inner_text() == "What to check"


@pytest.mark.browser
@pytest.mark.parametrize("kind", [*KINDS, None])
@pytest.mark.parametrize("width", [1280, 390])
def test_a_map_prints_on_one_sheet(maps, open_file, tmp_path, kind, width):
    """On paper a map is one landscape A4 page with title, source and every line of the legend."""
    page = open_file(maps / (f"town-{kind}.html" if kind else "town.html"), width=width).page
    page.pdf(path=tmp_path / "a.pdf", prefer_css_page_size=True, print_background=True)
    pages = pypdf.PdfReader(tmp_path / "a.pdf").pages
    assert len(pages) == 1
    across, up = map(float, pages[0].mediabox[2:])
    assert (round(across * 25.4 / 72), round(up * 25.4 / 72)) == (297, 210)
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    shown = page.evaluate(
        """() => [...document.querySelectorAll("h1, .survey-foot a, .survey-entry *, .folium-map")]
            .map((node) => [node.innerText, node.getBoundingClientRect()])
            .filter(([, {width}]) => width)
            .map(([text, {left, top, right, bottom}]) => [text, left, top, right, bottom])"""
    )
    assert len(shown) > 8
    outside = [one for one in shown if one[1] < -1 or one[2] < -1 or one[3] > 1063 or one[4] > 726]
    assert outside == []


@pytest.mark.browser
@pytest.mark.parametrize("kind", [*KINDS, "index"])
def test_hostile_names_do_nothing_on_any_map(hostile_maps, open_file, kind):
    """Markup and scripts in names are text, in every layer, choice and hit of the search."""
    path = hostile_maps / ("index.html" if kind == "index" else f"town-{kind}.html")
    visit = open_file(path)
    if kind != "index":
        boxes = "document.querySelectorAll('input:not(:checked)')"
        visit.page.evaluate(f"{boxes}.forEach((box) => box.click())")
        assert len(search(visit.page, "<img")) > 3
        popups = "(one) => one.getPopup && one.getPopup() && one.openPopup()"
        visit.page.evaluate(f"{MAP}.eachLayer({popups})")
    assert hostile("老城南") in visit.page.locator("h1").text_content()
    assert visit.page.evaluate("window.__pwned") is None
    assert visit.page.locator("img, iframe, object, form").count() == 0
    assert visit.requests == [path.as_uri()]
    assert visit.complaints == []


def test_toilets_map_of_monaco_is_small(monaco_run):
    """With background, all gaps and Leaflet the toilets map of Monaco is at most 1.5 MB."""
    size = (monaco_run.folder / "monaco-toilets.html").stat().st_size
    assert 200_000 < size <= 1_500_000
