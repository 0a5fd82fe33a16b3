"""The page of a map: folium's map, the layers that our scripts make, and the frame around them.

Python hands over facts in both languages; how they look and behave is up to ``assets/shapes.js``,
``search.js``, ``page.js`` and ``page.css``.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from typing import Any, cast

import folium
import geopandas as gpd
import numpy as np
import shapely
from branca.element import Element, Figure
from folium.map import Layer

from survey.outputs.exports import label_points
from survey.outputs.offline import LEAFLET_CSS, LEAFLET_JS, Raw, read_asset, to_script
from survey.outputs.texts import Pair, Text

DECIMALS = 5
"""Decimals of the degrees in a map: a metre on the ground."""

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
        A line for each option, shown while it is chosen.
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


@dataclass(frozen=True)
class Facts:
    """What is said of the features of one layer: columns as long as its shapes.

    Parameters
    ----------
    titles
        What a feature is called; search finds it by both languages.
    styles
        The style within the layer's look.
    columns
        Label to texts: the lines of the popup.
    heads
        The heads of the table below them.
    rows
        That table's rows for each feature.
    letters
        What stands in the badge, if it is not the style's letter.
    probs
        The probabilities that the features are coloured by.
    options
        For each feature the positions of the options of the layer's choice that show it.
    forms
        Style to what inspectors check there.
    """

    titles: Sequence[Text]
    styles: Sequence[str]
    columns: dict[Pair, list[Text]]
    heads: tuple[Pair, ...] = ()
    rows: Sequence[Sequence[Sequence[Text]]] | None = None
    letters: Sequence[Text] | None = None
    probs: Sequence[float] | None = None
    options: Sequence[Sequence[int]] | None = None
    forms: dict[str, list[Pair]] = field(default_factory=dict)


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
    page = folium.Map([0, 0], tiles=None, prefer_canvas=True)
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
    layers: Iterable["PageLayer | None"],
    *,
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
    added = [layer for layer in layers if layer is not None]
    for layer in added:
        layer.add_to(page)
    plan = {"bounds": bounds, "choices": [asdict(choice) for choice in choices], "names": names}
    _Open([layer for layer in added if layer.listed], plan).add_to(page)
    return page


def write_html(text: Text) -> str:
    """Write a text as HTML, in both languages if it is a pair."""
    if isinstance(text, Pair):
        zh, en = map(escape, text)
        return f'<span class="zh" lang="zh-CN">{zh}</span><span class="en" lang="en">{en}</span>'
    return escape(text or "")


class PageLayer(Layer):
    """A layer that one call of the page's script makes; one that is not listed is always on."""

    def __init__(self, call: str, value: Any, *, listed: bool) -> None:
        """Keep the call; `value` is whatever JSON can hold."""
        super().__init__(overlay=True, control=False)
        self._name = "Layer"
        self.listed = listed
        self.call = call
        self.value = to_script(value)

    def render(self, **kwargs: Any) -> Any:
        """Add the call to the page's script."""
        code = f"const {self.get_name()} = survey.{self.call}({self.value});\n"
        _figure(self).script.add_child(Raw(code), name=self.get_name())
        super().render(**kwargs)  # type: ignore[no-untyped-call]  # folium's is untyped


def facts_layer(  # noqa: PLR0913 what a layer can be asked for
    label: Pair,
    shapes: gpd.GeoSeries,
    facts: Facts,
    *,
    look: str,
    badges: bool = False,
    show: bool = True,
    group: str | None = None,
    hollow: bool = False,
    searched: bool = True,
) -> PageLayer | None:
    """Make a layer whose features answer a click with their facts.

    Parameters
    ----------
    label
        The name in the legend.
    shapes
        The features' geometry, in any CRS.
    facts
        What is said of them.
    look
        The look of the layer in ``shapes.js``; it holds a style for each of `facts.styles`.
    badges
        Mark each line or area with a badge too.
    show
        Switch the layer on when the page opens.
    group
        The choice that `facts.options` refers to.
    hollow
        Draw areas as outlines, so that the colour below them stays what it is.
    searched
        Let the search find its features.

    Returns
    -------
    PageLayer or None
        None if there are no features.
    """
    if not len(shapes):
        return None
    if badges:
        shapes = _with_badges(shapes)
    degrees = shapely.transform(
        shapes.to_crs(4326).to_numpy(), lambda places: np.round(places, DECIMALS)
    )
    properties, words = _pack_facts(facts)
    features = [
        {"type": "Feature", "properties": own, "geometry": shapely.geometry.mapping(shape)}
        for own, shape in zip(properties, degrees, strict=True)
    ]
    value = {
        "label": label,
        "look": look,
        "show": show,
        "group": group,
        "hollow": hollow,
        "unsearched": not searched,
        "forms": facts.forms,
        "fields": list(facts.columns),
        "heads": facts.heads,
        "words": words,
        "collection": {"type": "FeatureCollection", "features": features},
    }
    return PageLayer("features", value, listed=True)


def lines_layer(
    label: Pair,
    lines: Sequence[gpd.GeoSeries],
    *,
    look: str,
    show: bool = True,
    group: str | None = None,
) -> PageLayer | None:
    """Make a layer of lines without facts.

    Parameters
    ----------
    label
        The name in the legend.
    lines
        LineStrings in any CRS: one series for each option of `group`, or one in all.
    look
        The look of the layer in ``shapes.js``, whose only style has its name.
    show
        Switch the layer on when the page opens.
    group
        The choice that `lines` refers to.

    Returns
    -------
    PageLayer or None
        None if there are no lines.
    """
    if not any(map(len, lines)):
        return None
    packed = [pack_lines(each) for each in lines]
    value = {"label": label, "look": look, "show": show, "group": group, "lines": packed}
    return PageLayer("lines", value, listed=True)


def outline_layer(area: Any) -> PageLayer:
    """Make the outline of the area (a polygon in WGS-84), outside which the map recedes."""
    rings = gpd.GeoSeries([area.boundary], crs=4326).explode()
    return PageLayer("outline", pack_lines(rings), listed=False)


def pack_lines(lines: gpd.GeoSeries) -> list[list[int]]:
    """Turn lines into integers.

    Parameters
    ----------
    lines
        LineStrings in any CRS.

    Returns
    -------
    list of list of int
        For each line: longitude and latitude of its start, then the steps to each next place,
        in units of 1e-5 degree; steps that stay on the spot are left out.
    """
    if not len(lines):
        return []
    degrees, rows = shapely.get_coordinates(lines.to_crs(4326).to_numpy(), return_index=True)
    places = np.rint(degrees * 10**DECIMALS).astype(np.int64)
    steps = np.diff(places, axis=0, prepend=0)
    starts = np.diff(rows, prepend=-1) != 0
    steps[starts] = places[starts]
    kept = starts | steps.any(axis=1)
    ends = np.flatnonzero(starts[kept])[1:]
    return [part.ravel().tolist() for part in np.split(steps[kept], ends)]


class _Part(Element):
    """A piece of the page that goes into its header, html or script, after folium's own."""

    def __init__(self, place: str, text: str) -> None:
        super().__init__()
        self.place = place
        self.text = text

    def render(self, **_: Any) -> str:
        getattr(_figure(self), self.place).add_child(Raw(self.text), name=self.get_name())
        return ""


class _Open(Element):
    """The call that comes last: the panel, the tools, the first view, the order of the layers."""

    def __init__(self, layers: list[PageLayer], plan: dict[str, Any]) -> None:
        super().__init__()
        self.layers = layers
        self.plan = to_script(plan)

    def render(self, **_: Any) -> str:
        page = cast("Element", self._parent).get_name()
        names = ", ".join(layer.get_name() for layer in self.layers)
        code = f"survey.open({page}, [{names}], {self.plan});\n"
        _figure(self).script.add_child(Raw(code), name=self.get_name())
        return ""


def _figure(element: Element) -> Figure:
    return cast("Figure", element.get_root())


def _pack_facts(facts: Facts) -> tuple[list[dict[str, Any]], list[Text]]:
    """Make the properties of each feature, and the words that the cells of its rows count into."""
    # The same names and distances come again and again: each stands in the file once.
    cells = (cell for rows in facts.rows or [] for row in rows for cell in row)
    words = {word: n for n, word in enumerate(dict.fromkeys(cells))}
    own: dict[str, Any] = {"title": facts.titles, "style": facts.styles, "letter": facts.letters}
    own["values"] = list(zip(*facts.columns.values(), strict=True)) or [()] * len(facts.titles)
    own["of"] = facts.options
    if facts.rows is not None:
        own["rows"] = [[[words[cell] for cell in row] for row in rows] for rows in facts.rows]
    if facts.probs is not None:
        # Shorter in the file; what is not 0 stays so.
        own["prob"] = [float(f"{prob:.4g}") for prob in facts.probs]
    columns = {name: column for name, column in own.items() if column}
    rows = zip(*columns.values(), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows], list(words)


def _with_badges(shapes: gpd.GeoSeries) -> gpd.GeoSeries:
    joined = [
        shape if shape.geom_type == "Point" else shapely.GeometryCollection([shape, badge])
        for shape, badge in zip(shapes, label_points(shapes), strict=True)
    ]
    return gpd.GeoSeries(joined, index=shapes.index, crs=shapes.crs)
