"""A folium page as one HTML file that asks nobody for anything.

What folium would fetch from content networks is written into the page from package data, whose
checksums are verified; a Content-Security-Policy makes the browser refuse every request, and
every script but those that were in the page when it was made.
"""

import copy
import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Iterator
from html import escape
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import folium
from branca.element import Element, Figure

from survey.errors import OutputError
from survey.outputs.exports import write_files

LEAFLET_JS = "https://cdn.jsdelivr.net/npm/leaflet@1.9.4/dist/leaflet.js"
"""The address under which a page names the Leaflet script that is written into it."""

LEAFLET_CSS = "https://cdn.jsdelivr.net/npm/leaflet@1.9.4/dist/leaflet.css"
"""The address under which a page names the Leaflet style sheet that is written into it."""

# What a browser fetches without being asked. A link (<a href>) waits for a click.
_ADDRESSES = {
    "src",
    "srcset",
    "href",
    "xlink:href",
    "data",
    "poster",
    "background",
    "action",
    "ping",
}
_CSS_REQUEST = re.compile(r"""@import|url\((?!\s*["']?(?:data:|#))[^)]*""", re.IGNORECASE)
_SCRIPT_REQUEST = re.compile(r"""(?:https?|wss?)://[^\s"'`]*|["'`]//[^\s"'`]+""", re.IGNORECASE)
# Links, and the names of XML's vocabularies, which look like addresses.
_NO_REQUEST = re.compile(
    r"(?:<|\\u003c)a\s[^<>]*?(?:>|\\u003e)|http://www\.w3\.org/[\w./]*", re.IGNORECASE
)
_UNSAFE = re.compile("[<>&\u2028\u2029\ud800-\udfff]|(?<=/)/")


class Raw(Element):
    """A piece of a page that is written as it is.

    branca compiles every text it is given as a template, so that a name such as ``{{ 7 * 7 }}``
    would be run; this element never is.
    """

    def __init__(self, text: str) -> None:
        """Keep the text."""
        super().__init__()
        self.text = text

    def render(self, **_: Any) -> str:
        """Return the text."""
        return self.text


class OfflineMap(folium.Map):
    """A folium map that a notebook shows without internet, as the file shows it."""

    def _repr_html_(self, **options: Any) -> str:
        try:
            text = render_offline(self)
        except OutputError:  # somebody added what is to be fetched: then folium's own way
            return str(super()._repr_html_(**options))
        style = "width:100%;height:640px;border:0"
        return f'<iframe title="map" style="{style}" srcdoc="{escape(text)}"></iframe>'


def save_offline(page: folium.Map, path: str | Path, *, replace: bool = False) -> Path:
    """Write any folium map as one HTML file that needs no internet.

    Parameters
    ----------
    page
        The map, made with ``tiles=None``; it is left as it is.
    path
        The file; missing parent folders are made.
    replace
        Overwrite a file that exists.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OutputError
        If the page would still ask for an outside address, such as tiles or a plugin of folium
        that the package does not carry (all are listed); or if the file exists and `replace` is
        false, or cannot be written.

    Examples
    --------
    >>> import folium
    >>> save_offline(folium.Map(), "map.html")
    Traceback (most recent call last):
    survey.errors.OutputError: the page would ask for outside addresses: https://tile.open...
    """
    return write_files({Path(path): render_offline(page).encode()}, replace=replace)[0]


def render_offline(page: folium.Map) -> str:
    """Render a folium map as one HTML text that asks for nothing outside itself when opened.

    Parameters
    ----------
    page
        The map; it is left as it is. Links to files of the manifest of assets are replaced by
        their contents, or left out where the page does without. An element with a list
        `image_hosts`, such as online tiles, may ask these hosts for images when it is switched on.

    Returns
    -------
    str
        The page. The same map gives the same text: folium's random element ids are numbered.

    Raises
    ------
    OutputError
        If the page would still ask for an outside address (all are listed), or an asset is
        missing or is not the one whose checksum is locked.
    """
    root = copy.deepcopy(page.get_root())
    hosts: set[str] = set()
    for number, element in enumerate(_walk(root)):
        element._id = str(number)  # noqa: SLF001 branca has no other way to name an element
        hosts.update(getattr(element, "image_hosts", ()))
    text = _inline(root.render())
    # A browser reads every line end as LF before it compares a script with its checksum.
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = text.replace(
        "<head>", f'<head>\n{_policy(text, sorted(hosts))}\n<meta charset="utf-8">', 1
    )
    check_offline(text)
    return text


def check_offline(text: str) -> None:
    """Check that a page asks for nothing outside itself when it is opened.

    Parameters
    ----------
    text
        HTML. Links that wait for a click (``<a href>``) are allowed.

    Raises
    ------
    OutputError
        If an attribute, a style or a script names an address; all are listed.
    """
    reader = _read(text)
    known = {_inlined(asset) for asset in _manifest() if asset["file"].endswith(".js")}
    found = list(reader.addresses)
    for style in reader.styles:
        found += _CSS_REQUEST.findall(style)
    for script in reader.scripts:
        if script not in known:
            found += _SCRIPT_REQUEST.findall(_NO_REQUEST.sub("", script))
    if found:
        listed = ", ".join(dict.fromkeys(address[:100] for address in found))
        raise OutputError(
            f"the page would ask for outside addresses: {listed}; leave out what needs them, or"
            " add their contents to the package's assets"
        )


def to_script(value: Any) -> str:
    """Write a value as JSON that is safe inside a ``<script>``.

    Parameters
    ----------
    value
        Whatever `json.dumps` takes; numbers must be finite.

    Returns
    -------
    str
        JSON without ``<``, ``>``, ``&``, ``//`` or line ends, all of them escaped.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return _UNSAFE.sub(lambda found: "\\/" if found[0] == "/" else f"\\u{ord(found[0]):04x}", text)


def read_asset(name: str) -> bytes:
    """Read one of the files that a page carries in itself.

    Parameters
    ----------
    name
        A file of ``survey/outputs/assets``.

    Returns
    -------
    bytes
        Its content.

    Raises
    ------
    OutputError
        If it is missing, or the manifest locks another checksum.
    """
    try:
        content = files("survey.outputs").joinpath("assets", name).read_bytes()
    except OSError as error:
        raise OutputError(f"the package's file {name} is missing; install it again") from error
    locked = {asset["file"]: asset["sha256"] for asset in _manifest()}.get(name)
    if locked is not None and hashlib.sha256(content).hexdigest() != locked:
        raise OutputError(f"the package's file {name} was changed; install the package again")
    return content


def _manifest() -> list[dict[str, Any]]:
    assets: list[dict[str, Any]] = _read_manifest()["assets"]
    return assets


def _read_manifest() -> dict[str, Any]:
    text = files("survey.outputs").joinpath("assets", "manifest.json").read_text("utf-8")
    manifest: dict[str, Any] = json.loads(text)
    return manifest


def _inline(text: str) -> str:
    """Put contents in the place of links; what nothing in the page needs is left out."""
    contents: dict[str, str] = dict.fromkeys(_read_manifest()["left_out"], "")
    for asset in _manifest():
        needed = not asset["needed_by"] or any(word in text for word in asset["needed_by"])
        for address in asset["replaces"]:
            content = contents.get(address, "")
            if needed:
                tag = "script" if asset["file"].endswith(".js") else "style"
                content += f"<{tag}>{_inlined(asset)}</{tag}>"
            contents[address] = content
    for address, content in contents.items():
        text = text.replace(f'<script src="{address}"></script>', content)
        text = text.replace(f'<link rel="stylesheet" href="{address}"/>', content)
    return text


def _inlined(asset: dict[str, Any]) -> str:
    text = read_asset(asset["file"]).decode("utf-8")
    text = re.sub(r"^//# sourceMappingURL=.*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"""url\(["']?(?:\.\./)?\w+/([\w.-]+)["']?\)""", _as_url, text)
    if asset["file"] == "leaflet.js":
        text += _name_icons()
    licence = read_asset(f"LICENSE-{asset['package']}.txt").decode("utf-8")
    return f"/*\n{licence}*/\n{text}".replace("\r\n", "\n")


def _name_icons() -> str:
    # Leaflet looks for its icon beside its style sheet, which is no file here.
    names = {"iconUrl": "marker-icon", "iconRetinaUrl": "marker-icon-2x"}
    icons = {key: _as_data(f"{name}.png") for key, name in names.items()}
    icons["shadowUrl"] = _as_data("marker-shadow.png")
    options = json.dumps(icons)
    return f'\nL.Icon.Default.imagePath = "";\nL.Icon.Default.mergeOptions({options});\n'


def _as_url(found: re.Match[str]) -> str:
    return f"url({_as_data(found[1])})"


def _as_data(name: str) -> str:
    kind = "font/woff2" if name.endswith(".woff2") else "image/png"
    return f"data:{kind};base64,{b64encode(read_asset(name)).decode()}"


def _walk(element: Element) -> Iterator[Element]:
    yield element
    children = list(element._children.values())  # noqa: SLF001 branca has no other way down
    if isinstance(element, Figure):
        children += [element.header, element.html, element.script]
    for child in children:
        yield from _walk(child)


PLAIN_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""What the browser may do with a page of ours that has no script."""


def _policy(text: str, hosts: list[str]) -> str:
    """Name what the browser may do; old ones, which know no checksums, allow all inline scripts."""
    scripts = " ".join(
        f"'sha256-{b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in _read(text).scripts
    )
    rules = (
        "default-src 'none'",
        f"script-src 'unsafe-inline' {scripts}",
        "style-src 'unsafe-inline'",
        " ".join(["img-src data:", *hosts]),
        "font-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    )
    return f'<meta http-equiv="Content-Security-Policy" content="{"; ".join(rules)}">'


def _read(text: str) -> "_PageReader":
    reader = _PageReader()
    reader.feed(text)
    reader.close()
    return reader


class _PageReader(HTMLParser):
    """Collects the scripts, the styles and the addresses of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.addresses: list[str] = []
        self._inside: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "style":
                self.styles.append(value or "")
            elif (
                name in _ADDRESSES
                and (tag, name) != ("a", "href")
                and not (value or "").strip().startswith(("data:", "#"))
            ):
                self.addresses.append(value or "")
        if tag == "meta" and ("http-equiv", "refresh") in attrs:
            self.addresses.append("<meta http-equiv=refresh>")
        self._inside = {"script": self.scripts, "style": self.styles}.get(tag)
        if self._inside is not None:
            self._inside.append("")

    def handle_data(self, data: str) -> None:
        if self._inside is not None:
            self._inside[-1] += data

    def handle_endtag(self, tag: str) -> None:
        del tag
        self._inside = None
