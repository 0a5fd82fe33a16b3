"""The page of a map: folium's map, the frame around it, and the choices that it offers.

Python hands over facts in both languages; how they look and behave is up to ``assets/shapes.js``,
``search.js``, ``page.js`` and ``page.css``.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any, cast

import folium
from branca.element import Element, Figure

from survey.outputs.background import Background
from survey.outputs.offline import (
    LEAFLET_CSS,
    LEAFLET_JS,
    OfflineMap,
    Raw,
    read_asset,
    to_script,
)
from survey.outputs.page_layers import PageLayer
from survey.outputs.texts import Pair, Text

COPYRIGHT = "https://www.openstreetmap.org/copyright"
"""Where the licence of the data is told."""


@dataclass(frozen=True)
class Choice:
    """A choice that the page offers, such as the reading of a rule or the round.

    Parameters
    ----------
    group
        The name that layers refer to.
    kind
        radio, slider or select.
    label
        What is chosen.
    options
        What can be chosen, in order.
    start
        The position of the option that is shown first.
    notes
        A text for each option, of one line or several, shown while it is chosen.
    bounds
        West, south, east, north in degrees for each option: where the map then goes.
    """

    group: str
    kind: str
    label: Pair
    options: Sequence[Text]
    start: int = 0
    notes: Sequence[Text] = ()
    bounds: Sequence[tuple[float, float, float, float]] = ()


def new_page(
    title: Pair,
    line: Pair,
    *,
    figures: Iterable[Text] = (),
    foot: Iterable[Text] = (),
    links: Iterable[tuple[str, Pair]] = (),
) -> folium.Map:
    """Make a map without layers.

    Parameters
    ----------
    title
        The heading, and the title of the window.
    line
        What one sees, in one line.
    figures
        The numbers below it.
    foot
        Source, date, seed and hash, after the notice of OpenStreetMap.
    links
        Address (a file beside this one) and label of other pages.

    Returns
    -------
    folium.Map
    """
    page = OfflineMap([0, 0], tiles=None, prefer_canvas=True)
    page.options |= {"max_zoom": 19, "attribution_control": False, "zoom_snap": 0.25}
    # On this map alone: the classes of folium stay as they are.
    page.default_js = [("leaflet", LEAFLET_JS)]
    page.default_css = [("leaflet_css", LEAFLET_CSS)]
    _figure(page).title = escape(" · ".join(dict.fromkeys(title)))
    _Part("header", f"<style>\n{read_asset('page.css').decode()}</style>\n").add_to(page)
    anchors = "".join(f'<a href="{escape(to)}">{write_html(label)}</a>' for to, label in links)
    shown = "".join(f"<span>{write_html(text)}</span>" for text in figures)
    notice = f'<a href="{COPYRIGHT}">© OpenStreetMap contributors, ODbL 1.0</a>'
    told = "".join(f"<span>{part}</span>" for part in [notice, *map(write_html, foot)])
    html = (
        f'<header class="survey-head"><h1>{write_html(title)}</h1><p>{write_html(line)}</p>'
        f'<p class="survey-figures">{shown}</p><nav class="survey-buttons">{anchors}</nav>'
        "</header>\n"
        f'<aside class="survey-panel"></aside>\n<footer class="survey-foot">{told}</footer>\n'
    )
    _Part("html", html).add_to(page)
    for script in ("shapes.js", "search.js", "page.js"):
        _Part("script", read_asset(script).decode()).add_to(page)
    return page


def finish_page(
    page: folium.Map,
    layers: Iterable[PageLayer | None],
    *,
    background: Background,
    bounds: tuple[float, float, float, float],
    choices: Sequence[Choice] = (),
    names: Sequence[tuple[Text, float, float]] = (),
) -> folium.Map:
    """Add layers, from the highest to the lowest, and the panel that speaks of them.

    Parameters
    ----------
    page
        A map of `new_page`; it is changed.
    layers
        What `facts_layer`, `lines_layer` and `outline_layer` made; None is left out.
    background
        What lies below them.
    bounds
        West, south, east, north of the first view, in degrees.
    choices
        The choices that the layers refer to.
    names
        Name, longitude and latitude of what search finds besides the features.

    Returns
    -------
    folium.Map
        The same map.
    """
    background.add_to(page)
    added = [layer for layer in layers if layer is not None]
    for layer in added:
        layer.add_to(page)
    plan = {"bounds": bounds, "choices": [asdict(choice) for choice in choices], "names": names}
    Opening(added, background, plan).add_to(page)
    return page


def write_html(text: Text) -> str:
    """Write a text as HTML, in both languages if it is a pair."""
    if isinstance(text, Pair):
        zh, en = map(escape, text)
        return f'<span class="zh" lang="zh-CN">{zh}</span><span class="en" lang="en">{en}</span>'
    return escape(text or "")


class _Part(Element):
    """A piece of the page that goes into its header, html or script, after folium's own."""

    def __init__(self, place: str, text: str) -> None:
        super().__init__()
        self.place = place
        self.text = text

    def render(self, **_: Any) -> str:
        getattr(_figure(self), self.place).add_child(Raw(self.text), name=self.get_name())
        return ""


class Opening(Element):
    """The call that comes last: the panel, the tools, the first view, the order of the layers."""

    def __init__(self, layers: list[PageLayer], ground: Background, plan: dict[str, Any]) -> None:
        super().__init__()
        self.layers = layers
        self.ground = ground
        self.plan = to_script(plan)

    def render(self, **_: Any) -> str:
        """Add the call to the page's script."""
        page = cast("Element", self._parent).get_name()
        names = ", ".join(layer.get_name() for layer in self.layers)
        code = f"survey.open({page}, [{names}], {self.ground.get_name()}, {self.plan});\n"
        _figure(self).script.add_child(Raw(code), name=self.get_name())
        return ""


def _figure(element: Element) -> Figure:
    return cast("Figure", element.get_root())
