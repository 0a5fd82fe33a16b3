"""The page of a map: folium's map, the layers that our script makes, and the frame around them.

Python hands over facts; how they look is up to ``assets/map.js`` and ``assets/map.css``.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
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
from survey.outputs.texts import Texts

DECIMALS = 5
"""Decimals of the degrees in a map: a metre on the ground."""

MAJOR = ("motorway", "trunk", "primary", "secondary")
"""Classes of street that are drawn broad."""

MIDDLE = ("tertiary", "unclassified", "residential", "living_street", "pedestrian")
"""Classes of street that are drawn middling; the rest is thin."""


@dataclass(frozen=True)
class Facts:
    """What is said of the features of one layer: columns as long as its shapes.

    Parameters
    ----------
    titles
        What a feature is called.
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
    """

    titles: list[str]
    styles: list[str]
    columns: dict[str, Texts]
    heads: tuple[str, ...] = ()
    rows: list[list[Texts]] | None = None
    letters: Texts | None = None
    probs: list[float] | None = None


def new_page(heading: str, *, html: str) -> folium.Map:
    """Make a map without layers.

    Parameters
    ----------
    heading
        The title of the window; plain text.
    html
        The page's head and foot; HTML.

    Returns
    -------
    folium.Map
    """
    page = folium.Map([0, 0], tiles=None, prefer_canvas=True)
    page.options |= {"max_zoom": 19, "attribution_control": False, "zoom_snap": 0.5}
    # On this map alone: the classes of folium stay as they are.
    page.default_js = [("leaflet", LEAFLET_JS)]
    page.default_css = [("leaflet_css", LEAFLET_CSS)]
    _figure(page).title = escape(heading)
    style, script = (read_asset(name).decode() for name in ("map.css", "map.js"))
    _Part("header", f"<style>\n{style}</style>\n").add_to(page)
    _Part("html", html).add_to(page)
    _Part("script", script).add_to(page)
    return page


def finish_page(
    page: folium.Map,
    layers: Iterable["PageLayer"],
    *,
    bounds: tuple[float, float, float, float],
) -> None:
    """Add layers, from the highest to the lowest, and the controls that speak of them.

    Parameters
    ----------
    page
        A map of `new_page`; it is changed.
    layers
        What `facts_layer`, `streets_layer` and `outline_layer` made.
    bounds
        West, south, east, north of the first view, in degrees.
    """
    added = list(layers)
    for layer in added:
        layer.add_to(page)
    folium.LayerControl(collapsed=False).add_to(page)
    _Finish([layer for layer in added if layer.call == "features"], bounds).add_to(page)


class PageLayer(Layer):
    """A layer that one call of the page's script makes; without a label it cannot be hidden."""

    def __init__(self, label: str, call: str, value: Any, *, show: bool = True) -> None:
        """Keep the call; `value` is whatever JSON can hold."""
        # Leaflet takes the label for HTML, branca for a template, the offline check for script.
        name = re.sub(r"[<>&\"'`{}/\\]", lambda found: f"&#{ord(found[0])};", label)
        super().__init__(name=name, overlay=True, control=bool(label), show=show)
        self._name = "Layer"
        self.call = call
        self.value = to_script(value)

    def render(self, **kwargs: Any) -> Any:
        """Add the call to the page's script."""
        code = f"const {self.get_name()} = survey.{self.call}({self.value});\n"
        _figure(self).script.add_child(Raw(code), name=self.get_name())
        super().render(**kwargs)  # type: ignore[no-untyped-call]  # folium's is untyped


def facts_layer(
    label: str,
    shapes: gpd.GeoSeries,
    facts: Facts,
    *,
    look: str,
    badges: bool = False,
    show: bool = True,
) -> PageLayer | None:
    """Make a layer whose features answer a click with their facts.

    Parameters
    ----------
    label
        The name in the layer control; plain text.
    shapes
        The features' geometry, in any CRS.
    facts
        What is said of them.
    look
        The look of the layer in ``map.js``; it holds a style for each of `facts.styles`.
    badges
        Mark each line or area with a badge too.
    show
        Switch the layer on when the page opens.

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
        "look": look,
        "fields": list(facts.columns),
        "heads": facts.heads,
        "words": words,
        "collection": {"type": "FeatureCollection", "features": features},
    }
    return PageLayer(label, "features", value, show=show)


def streets_layer(edges: gpd.GeoDataFrame) -> PageLayer:
    """Make the background of streets, three widths of line without facts.

    Parameters
    ----------
    edges
        Streets with ``highway``; any CRS.

    Returns
    -------
    PageLayer
    """
    kinds = edges["highway"].str.removesuffix("_link")
    major, middle = kinds.isin(MAJOR), kinds.isin(MIDDLE)
    groups = {"minor": ~major & ~middle, "middle": middle, "major": major}
    packed = [
        {"style": style, "lines": pack_lines(edges.geometry[chosen])}
        for style, chosen in groups.items()
    ]
    return PageLayer("街道 · Streets", "streets", packed)


def outline_layer(area: Any) -> PageLayer:
    """Make the outline of the area, outside which the map recedes.

    Parameters
    ----------
    area
        A polygon in WGS-84.

    Returns
    -------
    PageLayer
    """
    rings = gpd.GeoSeries([area.boundary], crs=4326).explode()
    return PageLayer("", "outline", pack_lines(rings))


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


class _Finish(Element):
    """The call that comes last: the first view, the legend, the scale, the order of the layers."""

    def __init__(self, layers: list[PageLayer], bounds: tuple[float, float, float, float]) -> None:
        super().__init__()
        self.layers = layers
        self.bounds = bounds

    def render(self, **_: Any) -> str:
        page = cast("Element", self._parent).get_name()
        names = ", ".join(layer.get_name() for layer in self.layers)
        code = f"survey.finish({page}, [{names}], {to_script(self.bounds)});\n"
        _figure(self).script.add_child(Raw(code), name=self.get_name())
        return ""


def _figure(element: Element) -> Figure:
    return cast("Figure", element.get_root())


def _pack_facts(facts: Facts) -> tuple[list[dict[str, Any]], Texts]:
    """Make the properties of each feature, and the words that the cells of its rows count into."""
    # The same names and distances come again and again: each stands in the file once.
    cells = (cell for rows in facts.rows or [] for row in rows for cell in row)
    words = {word: n for n, word in enumerate(dict.fromkeys(cells))}
    own: dict[str, Any] = {"title": facts.titles, "style": facts.styles, "letter": facts.letters}
    own["values"] = list(zip(*facts.columns.values(), strict=True)) or [()] * len(facts.titles)
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
