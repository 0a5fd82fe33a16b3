from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from shapely.geometry import MultiLineString

from browser import start_browser
from map_pages import MAP, list_legend, open_popup
from paper_town import (
    CRS,
    hostile,
    line,
    make_audit,
    make_draw,
    make_odds,
    make_priorities,
    make_reach,
    make_town,
)
from survey.errors import TableError
from survey.outputs.maps import save_map
from survey.outputs.texts import write_percents
from survey.tables import make

# Id (the last line of a popup), colour, dashes and fill of everything that is coloured by odds.
COLOURS = f"""(() => {{
    const found = {{}};
    {MAP}.eachLayer((layer) => {{
        const fact = layer.feature && layer.feature.properties;
        if (!fact || fact.prob === undefined || !layer.setStyle || layer.eachLayer) return;
        const {{color, dashArray, fillColor}} = layer.options;
        found[fact.values.at(-1)] = [color, dashArray !== null, fillColor];
    }});
    return found;
}})()"""
LETTERS = f"""(() => {{
    const letters = [];
    {MAP}.eachLayer((layer) => {{
        const own = layer.options;
        if (layer instanceof L.CircleMarker && own.shift) letters.push(own.letter);
    }});
    return letters;
}})()"""
BACKGROUND = "#f5f4f0"


@pytest.fixture(scope="module")
def open_file():
    """Give one browser to all tests of this file."""
    with start_browser() as opened:
        yield opened


def town_of(probs):
    """Make a town of alleys alone, one for each probability, and its odds."""
    frame = make_town()
    ids = [f"alley/{n}" for n in range(len(probs))]
    columns = {"alley_id": ids, "length_m": [400.0] * len(ids)}
    columns |= dict.fromkeys(("name", "name_en", "highway", "subdistrict_id"), [None] * len(ids))
    columns |= dict.fromkeys(("source", "reason"), ["osm"] * len(ids))
    shapes = [MultiLineString([line((60 * n, 10), (60 * n, 410))]) for n in range(len(ids))]
    frame.alleys = make("alleys", columns | {"geometry": shapes}, crs=CRS)
    frame.compounds = frame.compounds.iloc[:0]
    odds = pd.DataFrame({"layer": "alley", "unit_id": ids, "prob": probs, "near_edge": False})
    for column in ("expected_visits", "prob_low", "prob_high"):
        odds[column] = odds["prob"]
    return frame, odds.assign(points=1)


def luminance(colour):
    """Find the relative luminance of #rrggbb, 0 to 1, as WCAG 2 defines it."""
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def contrast(one, other):
    """Find the contrast of two colours, 1 to 21, as WCAG 2 defines it."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.browser
def test_colours_are_classes_of_probability_that_darken(tmp_path, open_file):
    """Each class, its upper bound included, has one colour, the likelier the darker; 0 is grey."""
    probs = [0, 1e-9, 0.02, 0.0201, 0.1, 0.101, 0.25, 0.251, 0.5, 0.501, 0.75, 0.751, 1 + 1e-15]
    frame, odds = town_of(probs)
    visit = open_file(save_map(tmp_path / "town.html", frame, odds=odds))
    found = visit.page.evaluate(COLOURS)
    colours = [found[f"alley/{n}"][0] for n in range(len(probs))]
    classes = [colours[0], *colours[1::2]]
    assert colours[2::2] == classes[1:]
    assert len(set(classes)) == 7
    red, green, blue = (int(classes[0][n : n + 2], 16) for n in (1, 3, 5))
    assert max(red, green, blue) - min(red, green, blue) < 24
    # Who sees no hue at all still sees the order: each class is clearly darker than the last.
    shades = [luminance(colour) for colour in classes[1:]]
    assert all(light > 1.25 * dark for light, dark in pairwise(shades))
    assert all(contrast(colour, BACKGROUND) > 1.6 for colour in classes)


@pytest.mark.browser
def test_units_touched_by_the_edge_are_dashed(tmp_path, open_file):
    """Near the edge of the data an alley is a dashed line and a compound has a dashed outline."""
    visit = open_file(save_map(tmp_path / "town.html", make_town(), odds=make_odds()))
    found = visit.page.evaluate(COLOURS)
    assert {unit: dashed for unit, (_, dashed, _) in found.items()} == {
        "alley/104": False,
        "alley/201": True,
        "alley/206": False,
        "way/900": False,
        "way/901": True,
    }
    assert all(fill == colour for colour, _, fill in found.values())


@pytest.mark.browser
def test_legend_lists_the_classes_once(tmp_path, open_file):
    """The legend names the classes, what the colour stands for, and where the band is."""
    parts = {"draw": make_draw(), "odds": make_odds(), "priorities": make_priorities()}
    visit = open_file(save_map(tmp_path / "town.html", make_town(), **parts))
    legend = visit.page.locator(".survey-legend")
    classes = legend.locator("ol li").all_inner_texts()
    text = legend.inner_text()
    inside = legend.evaluate("(box) => box.scrollWidth <= box.clientWidth")
    assert classes == ["0", "≤2%", "≤10%", "≤25%", "≤50%", "≤75%", "≤100%"]
    for part in ("颜色：入样概率", "虚线近数据边缘", "先整治（数字为次序）"):
        assert text.count(part) == 1
    assert [line for line in text.splitlines() if "小巷" in line][-1] == "背街小巷"
    assert legend.locator(".survey-entry", has_text="背街小巷").locator("li").count() == 0
    assert inside


@pytest.mark.browser
def test_without_odds_nothing_speaks_of_them(tmp_path, open_file):
    """A map without odds has the plain colours of alleys and compounds, in the legend too."""
    visit = open_file(save_map(tmp_path / "town.html", make_town(), reach=make_reach()))
    assert visit.page.evaluate(COLOURS) == {}
    legend = visit.page.locator(".survey-legend").inner_text()
    _, facts, rows = open_popup(visit.page, "alley", "alley/201")
    assert legend.count("背街小巷") == legend.count("小区") == 2
    assert "概率" not in legend
    assert not [label for label in facts if "概率" in label or "点位" in label]
    assert len(rows) == 3


@pytest.mark.browser
@pytest.mark.parametrize(("points", "more"), [(2, 3), (20, 8)])
def test_popup_tells_odds_with_their_band_and_the_nearest_points(tmp_path, open_file, points, more):
    """A popup has odds, band, visits, points; of 15 points 12, the nearest first, then a count."""
    odds = make_odds()
    odds.loc[odds["unit_id"] == "alley/201", "points"] = points
    near = {
        "point_id": [f"node/{n}" for n in range(15)],
        "layer": ["alley"] * 15,
        "unit_id": ["alley/201"] * 15,
        "euclid_m": [1_000.0 - 50 * n for n in range(15)],
        "network_m": [1_500.0 - 100 * n for n in range(15)],
    }
    parts = {"odds": odds, "reach": make("reach", near)}
    visit = open_file(save_map(tmp_path / "town.html", make_town(), **parts))
    _, facts, rows = open_popup(visit.page, "edge", "alley/201")
    assert facts["入样概率"] == "43.2%"
    assert facts["概率范围"] == "25.0% – 75.0%"
    assert facts["期望次数"] == "0.50"
    assert facts["可达点位"] == str(points)
    assert "数据边缘" in facts
    assert rows[0] == ["node/14", "100 m", "300 m"]
    assert rows[11] == ["鼓楼医院", "1,200 m", "850 m"]
    assert rows[12:] == [[f"另有 {more} 个"]]


@pytest.mark.browser
def test_drawn_unit_keeps_its_odds_and_their_colour(tmp_path, open_file):
    """A drawn unit's popup holds odds and band; a drawn area does not hide the colour below it."""
    parts = {"draw": make_draw(), "odds": make_odds(), "reach": make_reach()}
    fills = f"""(() => {{
        const fills = [];
        {MAP}.eachLayer((group) => {{
            if (!group.feature || group.feature.properties.style !== 'drawn') return;
            group.eachLayer((layer) => {{
                if (layer instanceof L.Polygon) fills.push(layer.options.fillOpacity);
            }});
        }});
        return fills;
    }})()"""
    visit = open_file(save_map(tmp_path / "town.html", make_town(), **parts))
    _, facts, _ = open_popup(visit.page, "drawn", "way/900")
    assert visit.page.evaluate(fills) == [0]
    assert facts["入样概率"] == "10.0%"
    assert facts["概率范围"] == "5.0% – 20.0%"


@pytest.mark.browser
@pytest.mark.parametrize(
    ("chosen", "letters"), [((), ["1", "2", "3"]), ((2, 4), ["2", "4"])], ids=["none", "two"]
)
def test_priorities_are_badges_with_ranks(tmp_path, open_file, chosen, letters):
    """The chosen units carry their rank; where none was chosen, those that have a risk do."""
    parts = {"odds": make_odds(), "priorities": make_priorities(chosen=chosen)}
    visit = open_file(save_map(tmp_path / "town.html", make_town(), **parts))
    assert sorted(visit.page.evaluate(LETTERS)) == letters
    _, facts, _ = open_popup(visit.page, "mend", "way/900")
    assert list_legend(visit.page)["先整治"]
    expected = {
        "整治次序": "2",
        "状况": "0.40",
        "不合格风险": "6.0%",
        "风险范围": "3.0% – 12.0%",
        "费用": "12.50",
        "入样概率": "10.0%",
        "概率范围": "5.0% – 20.0%",
        "街道办": "秦淮街道",
    }
    assert {label: facts[label] for label in expected} == expected


@pytest.mark.browser
def test_badges_of_a_drawn_and_a_mended_unit_stand_apart(tmp_path, open_file):
    """Where a unit is drawn and to be mended, a click on either badge tells of that one."""
    parts = {"draw": make_draw(), "priorities": make_priorities()}
    middles = f"""(() => {{
        const box = {MAP}.getContainer().getBoundingClientRect(), found = {{}};
        {MAP}.eachLayer((layer) => {{
            const {{title, style}} = layer.feature ? layer.feature.properties : {{}};
            if (String(title) !== "金陵小区,金陵小区" || !layer.eachLayer) return;
            layer.eachLayer((part) => {{
                if (!(part instanceof L.CircleMarker)) return;
                const at = {MAP}.layerPointToContainerPoint(part._point);
                found[style] = [box.x + at.x, box.y + at.y];
            }});
        }});
        return found;
    }})()"""
    visit = open_file(save_map(tmp_path / "town.html", make_town(), **parts))
    heads = {}
    for style in ("drawn", "mend"):
        place = visit.page.evaluate(middles)[style]
        visit.page.mouse.move(*place)
        visit.page.mouse.click(*place)
        heads[style] = visit.page.locator(".leaflet-popup dt").first.inner_text()
        visit.page.evaluate(f"{MAP}.closePopup()")
        visit.page.wait_for_selector(".leaflet-popup", state="detached")
    assert heads == {"drawn": "街道办", "mend": "整治次序"}


@pytest.mark.browser
def test_map_with_everything_asks_for_nothing(tmp_path, open_file):
    """With odds, priorities and hostile texts the page asks only for itself and has no errors."""
    parts = {"draw": make_draw(hostile), "odds": make_odds(hostile), "audit": make_audit(hostile)}
    parts |= {"reach": make_reach(hostile), "priorities": make_priorities(hostile)}
    path = save_map(tmp_path / "town.html", make_town(hostile), **parts)
    for width in (1280, 390):
        visit = open_file(path, width=width)
        for style, unit in (("mend", "alley/206"), ("edge", "alley/201")):
            _, facts, _ = open_popup(visit.page, style, hostile(unit))
            assert facts["编号"] == hostile(unit)
        assert visit.page.evaluate("window.__pwned") is None
        assert visit.requests == [path.as_uri()]
        assert visit.complaints == []


@pytest.mark.browser
def test_phone_sees_the_map_first(tmp_path, open_file):
    """On a narrow screen legend and search wait behind a button and can be opened."""
    path = save_map(tmp_path / "town.html", make_town(), odds=make_odds())
    visit = open_file(path, width=390)
    panel = visit.page.locator(".survey-panel")
    hidden = not panel.is_visible()
    visit.page.locator("button[aria-expanded]").click()
    assert (hidden, panel.is_visible()) == (True, True)
    visit.page.locator("label", has_text="小区").click()
    assert sorted(visit.page.evaluate(COLOURS)) == ["alley/104", "alley/201", "alley/206"]


def test_tables_of_another_frame_are_refused(tmp_path):
    """Odds that lack a unit of the frame, and priorities of one it has not, are errors."""
    with pytest.raises(TableError, match=r"lack 1 units.*alley/104"):
        save_map(tmp_path / "town.html", make_town(), odds=make_odds().iloc[1:])
    frame = make_town()
    frame.alleys = frame.alleys.iloc[1:]
    with pytest.raises(TableError, match="alley/201"):
        save_map(tmp_path / "town.html", frame, priorities=make_priorities())
    assert list(tmp_path.iterdir()) == []


def test_only_never_reads_as_never():
    """Odds close to 0 or to 1 do not read as 0 or 1."""
    probs = [0.0, 1e-9, 0.0004, 0.0005, 0.5, 0.9996, 1.0]
    said = ["0.0%", "<0.1%", "<0.1%", "0.1%", "50.0%", ">99.9%", "100.0%"]
    assert write_percents(probs) == said
