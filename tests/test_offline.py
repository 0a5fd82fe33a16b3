import json
import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import folium
import pytest
from branca.colormap import LinearColormap
from folium.plugins import MarkerCluster
from hypothesis import given
from hypothesis import strategies as st

import survey
from browser import open_page
from paper_town import make_town
from survey.errors import OutputError
from survey.outputs import offline
from survey.outputs.maps import save_map


def test_folium_stays_as_it_was(tmp_path):
    """Saving a map changes nothing in folium itself, and rendering nothing in the map given."""
    before = (list(folium.Map.default_js), list(folium.Map.default_css))
    save_map(tmp_path / "town.html", make_town())
    assert (folium.Map.default_js, folium.Map.default_css) == before
    page = folium.Map(tiles=None)
    page.default_js, page.default_css = [("leaflet", offline.LEAFLET_JS)], []
    name = page.get_name()
    assert offline.render_offline(page) == offline.render_offline(page)
    assert page.get_name() == name


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(st.characters()),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    )
)
def test_script_text_is_json_that_cannot_leave_the_script(value):
    """What goes into the script reads back as it was, and holds no sign that could end it."""
    text = offline.to_script(value)
    assert json.loads(text) == value
    assert not re.search("[<>&\u2028\u2029]|//", text)
    text.encode()


@pytest.mark.parametrize(
    "part",
    [
        '<script src="https://cdn.example/x.js"></script>',
        '<link rel="stylesheet" href="//cdn.example/x.css"/>',
        '<img src="marker.png">',
        "<style>@import 'x.css';</style>",
        "<style>p { background: url(https://cdn.example/x.png) }</style>",
        '<p style="background: url(x.png)">',
        "<script>fetch('https://example.org/x')</script>",
        "<script>L.tileLayer('//{s}.tile.example/{z}/{x}/{y}.png')</script>",
        '<meta http-equiv="refresh" content="0; url=x">',
    ],
)
def test_anything_that_asks_outside_is_refused(part):
    """A page that would ask for an address when opened is an error."""
    with pytest.raises(OutputError, match="outside addresses"):
        offline.check_offline(f"<!DOCTYPE html><html><head></head><body>{part}</body></html>")


def test_links_and_texts_are_no_requests():
    """An address in a link, in text or in a data image is let through."""
    offline.check_offline(
        '<a href="https://www.openstreetmap.org/copyright">ODbL</a> see https://example.org'
        '<style>p { background: url("data:image/png;base64,AA") }</style>'
        f"<script>const names = {offline.to_script(['http://example.org', '//x'])};</script>"
    )


def test_namespaces_and_links_in_scripts_are_no_requests():
    """The name of XML's vocabulary and a link that a script will show are let through."""
    for text in (
        "http://www.w3.org/2000/svg",
        '<a href=\\"https://x.example\\">',
        "\\u003ca href=//x>",
    ):
        offline.check_offline(f"<html><head></head><script>const x = `{text}`;</script></html>")


def make_core_map():
    """Use what folium itself offers: markers, popups, tooltips, groups, scales of colour."""
    page = folium.Map([43.7, 7.4], zoom_start=16, tiles=None, control_scale=True)
    group = folium.FeatureGroup("群组 group").add_to(page)
    popup = "<b>弹窗</b> <a href='https://x.example/y'>a link</a>"
    folium.Marker([43.7, 7.4], popup=popup, tooltip="tip").add_to(group)
    folium.Marker([43.701, 7.4], icon=folium.Icon("green", icon="info-sign")).add_to(group)
    folium.Marker([43.7, 7.401], icon=folium.Icon("red", icon="leaf", prefix="fa")).add_to(group)
    line = {"type": "LineString", "coordinates": [[7.4, 43.7], [7.402, 43.702]]}
    feature = {"type": "Feature", "properties": {"name": "巷"}, "geometry": line}
    fields = {"tooltip": folium.GeoJsonTooltip(["name"]), "popup": folium.GeoJsonPopup(["name"])}
    folium.GeoJson({"type": "FeatureCollection", "features": [feature]}, **fields).add_to(page)
    folium.Circle([43.7, 7.4], radius=50).add_to(page)
    LinearColormap(["white", "red"], vmin=0, vmax=1, caption="share").add_to(page)
    folium.LayerControl(collapsed=False).add_to(page)
    return page


@pytest.mark.browser
def test_any_map_of_folium_s_core_works_without_internet(tmp_path):
    """A plain folium map with folium's own features is one file that asks for nothing and works."""
    page = make_core_map()
    path = survey.save_offline(page, tmp_path / "core.html")
    assert path.read_text("utf-8") == offline.render_offline(page)
    with open_page(path) as visit:
        assert visit.page.locator(".leaflet-marker-pane > *").count() == 3
        icon = visit.page.locator("img.leaflet-marker-icon")
        assert icon.evaluate("one => one.naturalWidth") == 25
        icon.click()
        assert visit.page.locator(".leaflet-popup b").inner_text() == "弹窗"
        for family in ("Font Awesome 6 Free", "Glyphicons Halflings"):
            check = "name => document.fonts.load(`900 14px '${name}'`).then(all => all.length)"
            assert visit.page.evaluate(check, family) == 1
        assert visit.page.locator("text=share").count() == 1
        visit.page.get_by_label("群组 group").uncheck()
        assert visit.page.locator(".leaflet-marker-pane > *").count() == 0
        assert visit.requests == [path.as_uri()]
        assert visit.complaints == []


def test_a_page_carries_only_what_it_needs():
    """A map without popups and icons carries Leaflet alone; each feature brings its own files."""
    bare = folium.Map(tiles=None)
    text = offline.render_offline(bare)
    assert len(text) < 250_000
    assert "jQuery" not in text
    folium.Marker([0, 0], popup="x").add_to(bare)
    assert "jQuery" in offline.render_offline(bare)
    assert "Font Awesome" not in offline.render_offline(bare)


def test_online_tiles_and_unknown_plugins_are_refused(tmp_path):
    """A map with folium's default tiles or a plugin is an error that names what it asks for."""
    with pytest.raises(OutputError, match=r"tile\.openstreetmap\.org"):
        survey.save_offline(folium.Map(), tmp_path / "x.html")
    with pytest.raises(OutputError, match=r"leaflet\.markercluster\.js, .*MarkerCluster\.css"):
        offline.render_offline(folium.Map(tiles=None).add_child(MarkerCluster()))
    assert not list(tmp_path.iterdir())


def test_assets_are_what_the_manifest_locks(monkeypatch):
    """Every third-party file is in the manifest with its licence, and a changed one is refused."""
    manifest = offline._manifest()
    folder = Path(offline.__file__).parent / "assets"
    for asset in manifest:
        assert offline.read_asset(asset["file"])
        assert (folder / f"LICENSE-{asset['package']}.txt").is_file()
    assert {asset["licence"] for asset in manifest} == {
        "BSD-2-Clause",
        "BSD-3-Clause",
        "MIT",
        "MIT AND CC-BY-4.0 AND OFL-1.1",
    }
    ours = set(
        re.findall(r"`([\w.-]+)`", (folder / "README.md").read_text("utf-8").split("\n\n")[2])
    )
    assert {path.name for path in folder.iterdir()} == ours | {one["file"] for one in manifest}
    wrong = [asset | {"sha256": "0" * 64} for asset in manifest]
    monkeypatch.setattr(offline, "_manifest", lambda: wrong)
    with pytest.raises(OutputError, match=r"leaflet\.js was changed"):
        offline.read_asset("leaflet.js")


def test_policy_lets_only_the_page_s_own_scripts_run(tmp_path):
    """The security policy comes first and names the checksum of every script in the page."""
    text = save_map(tmp_path / "town.html", make_town()).read_text("utf-8")
    policy = re.search(
        r"<head>\s*<meta http-equiv=\"Content-Security-Policy\" content=\"(.*?)\">", text
    )
    assert "default-src 'none'" in policy[1]
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    sums = [b64encode(sha256(script.encode()).digest()).decode() for script in scripts]
    assert re.findall(r"'sha256-(.*?)'", policy[1]) == sums
    assert "sourceMappingURL" not in text
