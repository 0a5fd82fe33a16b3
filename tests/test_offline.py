import json
import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import folium
import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def test_plain_folium_map_is_refused():
    """A map with folium's default libraries and tiles is an error that names what it asks for."""
    with pytest.raises(OutputError, match="jquery"):
        offline.render_offline(folium.Map())


def test_assets_are_what_the_manifest_locks(monkeypatch):
    """Every third-party file is in the manifest with its licence, and a changed one is refused."""
    manifest = offline._manifest()
    for asset in manifest:
        assert offline.read_asset(asset["file"])
        assert asset["licence"] == "BSD-2-Clause"
    folder = Path(offline.__file__).parent / "assets"
    ours = {"README.md", "manifest.json", "map.css", "map.js"}
    assert {path.name for path in folder.iterdir()} - ours == {one["file"] for one in manifest}
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
