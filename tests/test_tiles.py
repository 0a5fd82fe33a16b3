import json
import re
from base64 import b64encode
from contextlib import contextmanager

import folium
import numpy as np
import pytest

from browser import open_page
from commands import run_survey, write_town
from survey.errors import DatumError, OutputError
from survey.example import example_town
from survey.outputs.maps import save_map
from survey.outputs.offline import render_offline, save_offline
from survey.outputs.texts import Pair
from survey.outputs.tiles import TileSource, add_tiles, choose_tiles
from survey.sources.datum import convert_datum
from tile_server import KIND, paint_tile, serve_tiles, to_degrees, to_pixels

URL = "https://tiles.example.cn/{z}/{x}/{y}.png"
PLACES = {"Nanjing": (118.79, 32.04), "Shenzhen": (113.93, 22.53), "Monaco": (7.42, 43.74)}
MAP = "window[Object.keys(window).find(name => /^map_/.test(name))]"
READY = """() => {
  const tiles = [...document.querySelectorAll("img.leaflet-tile")];
  return tiles.length && tiles.every((one) => one.complete && one.naturalWidth);
}"""


def make_page(source, place=PLACES["Nanjing"], zoom=15):
    """Make a plain map with the tiles and folium's own control of layers."""
    page = folium.Map(place[::-1], zoom_start=zoom, tiles=None, fade_animation=False)
    add_tiles(page, source)
    folium.LayerControl(collapsed=False).add_to(page)
    return page


@pytest.fixture(scope="module")
def server():
    """Serve mock tiles to all tests of this file."""
    with serve_tiles() as tiles:
        yield tiles


@pytest.fixture
def tiles(server):
    """Forget what was asked for."""
    server.asked.clear()
    server.marks.clear()
    server.status = 200
    return server


@contextmanager
def visit_tiles(tmp_path, source, **options):
    """Open a plain map with tiles, online, and switch them on."""
    path = save_offline(make_page(source, **options), tmp_path / "tiles.html", replace=True)
    with open_page(path, offline=False) as visit:
        visit.page.set_default_timeout(10_000)
        yield visit


def switch(page):
    """Click the switch of the tiles."""
    page.locator(".leaflet-control-layers-selector").click()


# The weight and the middle of what lacks green in each box of 20 x 20 pixels of a picture.
FIND = """async ([picture, places]) => {
  const image = new Image();
  image.src = "data:image/png;base64," + picture;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = image.width;
  canvas.height = image.height;
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  return places.map(([x, y]) => {
    const left = Math.round(x) - 10, top = Math.round(y) - 10;
    const colours = context.getImageData(left, top, 20, 20).data;
    let sum = 0, across = 0, down = 0;
    for (let n = 0; n < 400; n++) {
      const lack = 1 - colours[4 * n + 1] / 255;
      sum += lack;
      across += lack * (left + n % 20 + 0.5);
      down += lack * (top + Math.floor(n / 20) + 0.5);
    }
    return [sum, across / sum, down / sum];
  });
}"""
AT = f"""places => places.map(([lon, lat]) => {{
  const at = {MAP}.project([lat, lon]).subtract({MAP}.getPixelOrigin());
  const point = {MAP}.layerPointToContainerPoint(at);
  return [point.x, point.y];
}})"""


def show(page, place, zoom):
    """Move the map, and wait until all tiles are there."""
    move = f"([lon, lat, zoom]) => {MAP}.setView([lat, lon], zoom, {{animate: false}})"
    page.evaluate(move, [*place, zoom])
    page.wait_for_function(READY)


def measure_offs(page, places):
    """Measure how far from its true place each mark in view stands on the screen, in pixels."""
    wanted = np.array(page.evaluate(AT, places))
    wanted = wanted[(wanted > 20).all(axis=1) & (wanted[:, 0] < 1260) & (wanted[:, 1] < 780)]
    blank = page.context.pages[0]  # no policy there forbids to look at a picture
    for _ in range(20):  # a tile that has come is painted a little later on a busy machine
        picture = b64encode(page.screenshot()).decode()
        found = np.array(blank.evaluate(FIND, [picture, wanted.tolist()]))
        if found[:, 0] == pytest.approx(16, abs=0.8):
            break
        page.wait_for_timeout(200)
    assert found[:, 0] == pytest.approx(16, abs=0.8), "each is a square of 4 x 4, there once"
    return np.abs(found[:, 1:] - wanted).max(axis=1)


def spread_marks(place, zoom, *, datum):
    """Put marks over a screen around a place; gives them in the tiles' datum and in WGS-84."""
    middle = convert_datum(*place, source="wgs84", target=datum)
    x, y = (np.rint(at) for at in to_pixels(*middle, zoom))
    dx, dy = np.meshgrid([-560, -200, 150, 430], [-330, 10, 350])
    own = to_degrees(x + dx.ravel(), y + dy.ravel(), zoom)
    true = convert_datum(*own, source=datum, target="wgs84")
    return [(float(lon), float(lat)) for lon, lat in zip(*own, strict=True)], list(
        zip(*true, strict=True)
    )


# ---------------------------------------------------------------- where tiles land


@pytest.mark.browser
@pytest.mark.parametrize(
    ("name", "datum", "zooms", "within"),
    [
        ("Nanjing", "gcj02", range(12, 19), 1),
        ("Shenzhen", "gcj02", range(12, 19), 1),
        ("Monaco", "gcj02", (13, 18), 0.6),
        ("Nanjing", "wgs84", (13, 18), 0.6),  # Leaflet's own rounding
    ],
)
def test_marks_on_tiles_stand_at_their_true_place(tmp_path, tiles, name, datum, zooms, within):
    """A mark that tiles show stands within a pixel of its place in WGS-84, all over the screen."""
    offs = []
    first = min(zooms) - 1  # a tile asked for before the marks stand is never one that is measured
    with visit_tiles(tmp_path, choose_tiles(tiles.address, datum=datum), zoom=first) as visit:
        switch(visit.page)
        for zoom in zooms:
            tiles.marks[:], true = spread_marks(PLACES[name], zoom, datum=datum)
            show(visit.page, PLACES[name], zoom)
            offs.append(measure_offs(visit.page, true))
        assert visit.complaints == []
    offs = np.concatenate(offs)
    assert len(offs) == len(zooms) * 12
    assert offs.max() < within


@pytest.mark.browser
def test_moving_the_map_keeps_the_shift(tmp_path, tiles):
    """After dragging and zooming by hand a mark is still where it belongs, and no tile is blank."""
    place, zoom = PLACES["Shenzhen"], 16
    tiles.marks[:], true = spread_marks(place, zoom, datum="gcj02")
    with visit_tiles(tmp_path, choose_tiles(tiles.address, datum="gcj02")) as visit:
        page = visit.page
        switch(page)
        show(page, place, zoom)
        page.mouse.move(640, 400)
        page.mouse.down()
        page.mouse.move(840, 300, steps=8)
        page.mouse.up()
        page.locator(".leaflet-control-zoom-in").click()
        page.wait_for_timeout(400)
        page.locator(".leaflet-control-zoom-out").click()
        page.wait_for_timeout(600)
        page.wait_for_function(READY)
        offs = measure_offs(page, true)
        assert len(offs) >= 6
        assert offs.max() < 1
        blank = page.evaluate("""() => {
          let blank = 0;
          for (let x = 5; x < 1280; x += 15) for (let y = 5; y < 800; y += 15) {
            const hit = [...document.querySelectorAll(".leaflet-tile-loaded")].some((one) => {
              const box = one.getBoundingClientRect();
              return box.left <= x && x <= box.right && box.top <= y && y <= box.bottom;
            });
            if (!hit) blank += 1;
          }
          return blank;
        }""")
        assert blank == 0


@pytest.mark.browser
def test_shifted_tiles_leave_no_seam(tmp_path, tiles):
    """The edge of each shifted tile is its neighbour's: no gap and no overlap."""
    with visit_tiles(tmp_path, choose_tiles(tiles.address, datum="gcj02")) as visit:
        switch(visit.page)
        for zoom in (12, 15, 18):
            show(visit.page, PLACES["Nanjing"], zoom)
            boxes = visit.page.evaluate("""() => Object.fromEntries(
              [...document.querySelectorAll(".leaflet-tile")].map((one) => {
                const box = one.getBoundingClientRect();
                const edges = [box.left, box.top, box.right, box.bottom];
                return [one.src.match(/\\d+\\/\\d+\\/\\d+(?=\\.svg)/)[0], edges];
              }))""")
            joints = 0
            for key, (_, _, right, bottom) in boxes.items():
                z, x, y = map(int, key.split("/"))
                for other, edge, side in (
                    (f"{z}/{x + 1}/{y}", right, 0),
                    (f"{z}/{x}/{y + 1}", bottom, 1),
                ):
                    if other in boxes:
                        assert boxes[other][side] == edge
                        joints += 1
            assert joints > 20


@pytest.mark.browser
def test_the_script_and_python_agree_on_the_datum(tmp_path):
    """The page's GCJ-02 is Python's, also at the border of the box and outside it."""
    rng = np.random.default_rng(5)
    lon = np.concatenate([rng.uniform(72.1, 137.7, 400), rng.uniform(-180, 180, 200)])
    lat = np.concatenate([rng.uniform(0.9, 55.7, 400), rng.uniform(-84, 84, 200)])
    edges = [
        (72.004, 30),
        (72.0039, 30),
        (137.8347, 40),
        (137.8348, 40),
        (110, 0.8293),
        (110, 55.8272),
    ]
    lon, lat = (
        np.concatenate([old, new])
        for old, new in zip((lon, lat), zip(*edges, strict=True), strict=True)
    )
    pixel = 360 / (256 * 2**18)
    with visit_tiles(tmp_path, choose_tiles(URL, datum="gcj02")) as visit:
        for script, source, target in (("toGcj", "wgs84", "gcj02"), ("fromGcj", "gcj02", "wgs84")):
            given = [list(map(float, each)) for each in zip(lon, lat, strict=True)]
            answers = visit.page.evaluate(
                f"all => all.map(([x, y]) => surveyTiles.{script}(x, y))", given
            )
            expected = np.stack(convert_datum(lon, lat, source=source, target=target), axis=1)
            assert np.abs(np.array(answers) - expected).max() < pixel / 1000
            moved = np.abs(expected - np.array(given)).max(axis=1) > 100 * pixel
            assert 350 < moved.sum() < 500


# ---------------------------------------------------------------- what a page asks for


@pytest.mark.browser
def test_nothing_is_asked_until_the_switch_is_used(tmp_path, tiles):
    """A page with tiles asks for nothing when opened, and stops asking when switched off."""
    with visit_tiles(tmp_path, choose_tiles(tiles.address)) as visit:
        page = visit.page
        page.mouse.wheel(0, -300)
        page.wait_for_timeout(300)
        assert len(visit.requests) == 1
        assert page.locator(".leaflet-control-attribution").inner_text().count(tiles.host) == 0
        switch(page)
        page.wait_for_function(READY)
        assert len(tiles.asked) > 8
        assert tiles.host in page.locator(".leaflet-control-attribution").inner_text()
        switch(page)
        count = len(tiles.asked)
        page.locator(".leaflet-control-zoom-out").click()
        page.wait_for_timeout(500)
        assert len(tiles.asked) == count
        assert page.locator(".leaflet-tile").count() == 0
        assert tiles.host not in page.locator(".leaflet-control-attribution").inner_text()
        assert visit.complaints == []


@pytest.mark.browser
def test_only_the_hosts_of_the_source_may_answer(tmp_path, tiles):
    """The browser refuses images of any other host, and any request that is no image."""
    with visit_tiles(tmp_path, choose_tiles(URL)) as visit:
        load = """address => new Promise((done) => {
          const image = new Image();
          image.onload = () => done("loaded");
          image.onerror = () => done("refused");
          image.src = address;
        })"""
        address = tiles.address.format(z=1, x=0, y=0)
        assert visit.page.evaluate(load, address) == "refused"
        fetch = "address => fetch(address).then(() => 'loaded', () => 'refused')"
        assert visit.page.evaluate(fetch, address) == "refused"
        assert tiles.asked == []
        assert any("Content Security Policy" in line for line in visit.complaints)


@pytest.mark.browser
def test_tiles_that_do_not_come_do_no_harm(tmp_path, tiles):
    """Where tiles fail the page says so once, goes on working, and only the browser complains."""
    tiles.status = 500
    with visit_tiles(tmp_path, choose_tiles(tiles.address)) as visit:
        page = visit.page
        switch(page)
        page.wait_for_selector(".survey-tiles")
        assert page.locator(".survey-tiles").count() == 1
        assert "No tile came" in page.locator(".survey-tiles").inner_text()
        assert all(line.startswith("Failed to load resource") for line in visit.complaints)
        tiles.status = 200
        switch(page)
        assert page.locator(".survey-tiles").count() == 0
        switch(page)
        page.wait_for_function(READY)
        assert page.locator(".survey-tiles").count() == 0


@pytest.mark.browser
def test_the_page_asks_for_the_token(tmp_path):
    """Without a token in the file the page asks for it, uses it, and stores it nowhere."""
    source = choose_tiles("tianditu")
    asked = []
    with visit_tiles(tmp_path, source) as visit:
        page = visit.page
        body = paint_tile(1, 0, 0)

        def answer(route):
            asked.append(route.request.url)
            route.fulfill(body=body, content_type=KIND)

        page.route("https://t0.tianditu.gov.cn/**", answer)
        switch(page)
        assert "stays in memory" in page.locator(".survey-tiles").inner_text()
        assert page.locator(".survey-tiles input").get_attribute("type") == "password"
        page.get_by_label("Token").fill("a b&c")
        assert asked == []
        page.get_by_role("button", name="Use").click()
        page.wait_for_function(READY)
        assert page.locator(".survey-tiles").count() == 0
        assert {re.search("LAYER=(...)", url)[1] for url in asked} == {"vec", "cva"}
        assert all(url.endswith("&tk=a%20b%26c") for url in asked)
        assert (
            page.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie])")
            == '[{},{},""]'
        )
        assert "天地图" in page.locator(".leaflet-control-attribution").inner_text()
        switch(page)
        switch(page)
        page.wait_for_function(READY)
        assert page.locator(".survey-tiles").count() == 0
        assert visit.complaints == []


@pytest.mark.browser
def test_a_page_from_disk_does_not_ask_openstreetmap(tmp_path):
    """The servers of OpenStreetMap refuse pages from disk: such a page says so and asks nothing."""
    with visit_tiles(tmp_path, choose_tiles("osm")) as visit:
        switch(visit.page)
        assert "opened from disk" in visit.page.locator(".survey-tiles").inner_text()
        assert len(visit.requests) == 1


@pytest.mark.browser
def test_a_page_from_a_web_server_tells_openstreetmap_who_asks(tmp_path):
    """Served by a web server, the page asks for OpenStreetMap's tiles and names its own origin."""
    text = save_offline(make_page(choose_tiles("osm")), tmp_path / "osm.html").read_text("utf-8")
    blank = tmp_path / "blank.html"
    blank.write_text("<!DOCTYPE html><title>x</title>", encoding="utf-8")
    asked = []
    with open_page(blank, offline=False) as visit:
        page = visit.page

        def answer(route):
            asked.append((route.request.url, route.request.all_headers().get("referer")))
            route.fulfill(body=paint_tile(1, 0, 0), content_type=KIND)

        page.route(
            "https://maps.example.cn/",
            lambda route: route.fulfill(body=text, content_type="text/html"),
        )
        page.route("https://tile.openstreetmap.org/**", answer)
        page.goto("https://maps.example.cn/")
        switch(page)
        page.wait_for_function(READY)
        x, y = (int(at // 256) for at in to_pixels(*PLACES["Nanjing"], 15))
        assert f"https://tile.openstreetmap.org/15/{x}/{y}.png" in dict(asked)
        assert {referer for _, referer in asked} == {"https://maps.example.cn/"}
        credit = page.locator(".leaflet-control-attribution a", has_text="OpenStreetMap")
        assert credit.get_attribute("href") == "https://www.openstreetmap.org/copyright"
        assert visit.complaints == []


@pytest.mark.browser
def test_the_legend_of_a_map_switches_the_tiles(tmp_path, tiles):
    """On a map of a city the legend lists the tiles last and off; the foot names their maker."""
    path = tmp_path / "town.html"
    source = choose_tiles(tiles.address, datum="gcj02", credit="某公司")
    save_map(path, example_town(), tiles=source)
    with open_page(path, offline=False) as visit:
        page = visit.page
        page.set_default_timeout(10_000)
        entry = page.locator(".survey-entry", has_text=tiles.host)
        assert not entry.locator("input").is_checked()
        assert visit.requests == [path.as_uri()]
        entry.locator("input").check()
        page.wait_for_function(READY)
        assert page.locator(".survey-foot", has_text="某公司").is_visible()
        names = page.locator(".leaflet-surveyNames-pane")
        assert not names.is_visible()
        below = page.evaluate("""() => {
          const order = (one) => Number(getComputedStyle(one).zIndex);
          const tiles = document.querySelector("img.leaflet-tile").closest(".leaflet-layer");
          const others = [...tiles.parentElement.children].filter((one) => one !== tiles);
          return others.map((one) => [one.tagName, order(one) - order(tiles)]);
        }""")
        assert ["DIV", -1] in below, "the background is below the tiles"
        assert all(higher > 0 for tag, higher in below if tag == "CANVAS")
        entry.locator("input").uncheck()
        assert page.locator("img.leaflet-tile").count() == 0
        assert page.locator(".survey-foot", has_text="某公司").count() == 0
        assert names.evaluate("one => one.style.display") == ""
        assert visit.complaints == []


@pytest.mark.browser
def test_a_map_with_tiles_works_without_a_network(tmp_path):
    """Offline the switch does no harm: the page says that no tile came, its background stays."""
    path = tmp_path / "town.html"
    save_map(path, example_town(), tiles=choose_tiles(URL))
    with open_page(path, width=390, height=844) as visit:
        page = visit.page
        page.set_default_timeout(10_000)
        page.locator(".survey-buttons button").last.click()
        page.locator(".survey-entry", has_text="tiles.example.cn").locator("input").check()
        page.locator(".survey-tiles").wait_for()
        assert page.locator(".leaflet-surveyNames-pane").evaluate("one => one.style.display") == ""
        box = page.locator(".survey-tiles").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
        assert all(line.startswith("Failed to load resource") for line in visit.complaints)


# ---------------------------------------------------------------- what stands in the file


def test_a_map_without_tiles_may_ask_nobody():
    """The policy of a page names the hosts of its tiles exactly, and none without tiles."""
    plain = folium.Map(tiles=None)
    assert "img-src data:;" in render_offline(plain)
    page = make_page(choose_tiles("tianditu"))
    assert "img-src data: https://t0.tianditu.gov.cn;" in render_offline(page)
    add_tiles(page, choose_tiles("http://127.0.0.1:8123/{z}/{x}/{y}"))
    add_tiles(page, choose_tiles("osm"))
    hosts = "http://127.0.0.1:8123 https://t0.tianditu.gov.cn https://tile.openstreetmap.org"
    assert f"img-src data: {hosts};" in render_offline(page)
    assert render_offline(page).count("connect-src") == 0


def test_the_token_is_in_the_page_only_if_given(tmp_path):
    """A source without a token writes none; with one it stands in the page as it was given."""
    bare = save_offline(make_page(choose_tiles("tianditu")), tmp_path / "bare.html")
    assert '"token":null' in bare.read_text("utf-8")
    mine = save_offline(
        make_page(choose_tiles("tianditu", token="0123abc")), tmp_path / "mine.html"
    )
    assert '"token":"0123abc"' in mine.read_text("utf-8")


def test_the_switch_s_name_is_no_markup():
    """Markup in the label or the credit of a source reaches the page as text."""
    bad = "<img src=x onerror=alert(1)>"
    text = render_offline(make_page(TileSource(Pair(bad, bad), (URL,), bad)))
    assert bad not in text
    assert json.loads(re.search(r"surveyTiles\((\{.*\})\);", text)[1])["credit"] == bad


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("google", "'google' are unknown: give osm, tianditu or an address"),
        ("ftp://x.example/{z}/{x}/{y}", "are unknown"),
        ("https://{s}.x.example/{z}/{x}/{y}", "are unknown"),
        ("https://u:p@x.example/{z}/{x}/{y}", "are unknown"),
        ("https://x.example;script-src/{z}/{x}/{y}", "are unknown"),
        ("https://x.example/{z}/{x}", r"lacks \{y\}"),
        ("https://x.example/{z}/{x}/{y}/{r}", r"has \{r\}"),
        ("https://x.example/{z}/{x}/{y}?tk=12", r"has a token in tk=; write \{token\}"),
    ],
)
def test_a_bad_address_is_refused(address, said):
    """An address that is none, lacks a number, or holds a token is an error of one line."""
    with pytest.raises(OutputError, match=said) as fault:
        choose_tiles(address)
    assert "\n" not in str(fault.value)


def test_what_contradicts_itself_is_refused():
    """A token where none is taken, and a datum that cannot be, are errors."""
    with pytest.raises(OutputError, match=r"takes no token.*\{token\}"):
        choose_tiles(URL, token="x")
    with pytest.raises(OutputError, match="OpenStreetMap takes no token"):
        choose_tiles("osm", token="x")
    with pytest.raises(DatumError, match="tianditu are in wgs84, not in gcj02"):
        choose_tiles("tianditu", datum="gcj02")
    with pytest.raises(DatumError, match="BD-09"):
        choose_tiles(URL, datum="bd09")
    assert choose_tiles(URL + "?key={token}").takes_token
    assert choose_tiles(URL).credit == "tiles.example.cn"
    assert choose_tiles(URL, credit="某公司").credit == "某公司"


# ---------------------------------------------------------------- the command line


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--token", "x"], "are about --tiles"),
        (["--tiles-datum", "gcj02"], "are about --tiles"),
        (["--tiles", "tianditu", "--token", "secret"], "the token would stand in the file"),
        (["--tiles", "tianditu", "--store-token"], "--store-token needs --token TOKEN"),
        (["--tiles", "google"], "'google' are unknown"),
        (["--tiles", URL, "--tiles-datum", "bd09"], "bd09"),
        (["--tiles", "osm", "--tiles-datum", "gcj02"], "osm are in wgs84, not in gcj02"),
        (["--tiles", "https://x.example/{z}/{x}"], "lacks {y}"),
    ],
)
def test_wrong_options_are_one_line_and_write_nothing(tmp_path, options, said):
    """What contradicts itself, or would store a token unasked, is refused with exit code 2."""
    path = tmp_path / "map.html"
    answer = run_survey("map", tmp_path / "town.gpkg", "-o", path, *options)
    assert (answer.code, answer.out) == (2, "")
    assert re.fullmatch(r"survey: .*\n", answer.err)
    assert said in answer.err
    assert "secret" not in answer.err
    assert not path.exists()


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """Make the workspace of a small town."""
    folder = tmp_path_factory.mktemp("town")
    path = folder / "town.gpkg"
    extract = write_town(folder / "town.osm")
    assert run_survey("fetch", "--extract", extract, "-o", path).code == 0
    assert run_survey("frame", path).code == 0
    return path


def test_the_verb_writes_tiles_into_one_map_or_all(workspace, tmp_path):
    """With --tiles each page may ask the tiles' host; a token stands in it only with the option."""
    one, mine = tmp_path / "one.html", tmp_path / "mine.html"
    assert run_survey("map", workspace, "-o", one, "--tiles", "tianditu").code == 0
    assert "img-src data: https://t0.tianditu.gov.cn;" in one.read_text("utf-8")
    token = ["--token", "0123abc", "--store-token"]
    answer = run_survey("map", workspace, "-o", mine, "--tiles", "tianditu", *token)
    assert answer.code == 0
    assert "whoever gets the file gets the token" in answer.err
    assert ("0123abc" in mine.read_text("utf-8"), "0123abc" in one.read_text("utf-8")) == (
        True,
        False,
    )
    assert run_survey("map", workspace, "--all", tmp_path / "all", "--tiles", URL).code == 0
    pages = [path for path in (tmp_path / "all").glob("*.html") if path.name != "index.html"]
    assert len(pages) > 1
    for path in pages:
        assert "img-src data: https://tiles.example.cn;" in path.read_text("utf-8")
