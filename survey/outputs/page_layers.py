"""Layers of a map, packed in Python and drawn by ``assets/shapes.js``."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import shapely
from folium.map import Layer

from survey.outputs.exports import label_points
from survey.outputs.offline import Raw, to_script
from survey.outputs.texts import Pair, Text

DECIMALS = 5
"""Decimals of the degrees in a map: a metre on the ground."""


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
    turning
        Each feature has a row for each of its `options`, shown while that one is chosen.
    letters
        What stands in the badge, if it is not the style's letter.
    probs
        The probabilities that the features are coloured by.
    options
        For each feature the positions of the options of the layer's choice that show it.
    forms
        Style to what inspectors check there.
    kinds
        The key of each feature in `forms`, if it is not the style.
    """

    titles: Sequence[Text]
    styles: Sequence[str]
    columns: dict[Pair, list[Text]]
    heads: tuple[Pair, ...] = ()
    rows: Sequence[Sequence[Sequence[Text]]] | None = None
    turning: bool = False
    letters: Sequence[Text] | None = None
    probs: Sequence[float] | None = None
    options: Sequence[Sequence[int]] | None = None
    forms: dict[str, list[Pair]] = field(default_factory=dict)
    kinds: Sequence[str] | None = None

    def restyled(self, styles: Sequence[str]) -> "Facts":
        """Copy with other styles; what is checked at a place stays."""
        forms = {new: self.forms[old] for old, new in zip(self.styles, styles, strict=True)}
        return replace(self, styles=styles, forms=forms)


class PageLayer(Layer):
    """A layer that one call of the page's script makes; the page's last call puts it on the map."""

    def __init__(self, call: str, value: Any) -> None:
        """Keep the call; `value` is whatever JSON can hold."""
        super().__init__(overlay=True, control=False, show=False)
        self._name = "Layer"
        self.call = call
        self.value = to_script(value)

    def render(self, **kwargs: Any) -> Any:
        """Add the call to the page's script."""
        code = f"const {self.get_name()} = survey.{self.call}({self.value});\n"
        cast("Any", self.get_root()).script.add_child(Raw(code), name=self.get_name())
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
        "turning": facts.turning,
        **_pack_features(shapes, facts, badges=badges),
    }
    return PageLayer("features", value)


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
    return PageLayer("lines", value)


def outline_layer(area: Any) -> PageLayer:
    """Make the outline of the area (a polygon in WGS-84), outside which the map recedes."""
    rings = gpd.GeoSeries([area.boundary], crs=4326).explode()
    return PageLayer("outline", pack_lines(rings))


def pack_lines(lines: gpd.GeoSeries) -> list[list[int]]:
    """Turn lines, rings or points into integers.

    Parameters
    ----------
    lines
        LineStrings, LinearRings or Points in any CRS.

    Returns
    -------
    list of list of int
        For each line: longitude and latitude of its start, then the steps to each next place,
        in units of 1e-5 degree; steps that stay on the spot are left out.
    """
    return _pack(lines.to_crs(4326).to_numpy())


def pack_shapes(shapes: gpd.GeoSeries) -> list[list[Any]]:
    """Turn shapes into lists of integers.

    Parameters
    ----------
    shapes
        Points, lines and areas, of one part or of many, in any CRS.

    Returns
    -------
    list of list
        For each shape the parts as `pack_lines` packs them: of a point one; of a line its lines;
        of an area, for each of its polygons a list of rings.
    """
    degrees = shapes.to_crs(4326).to_numpy()
    parts, owner = shapely.get_parts(degrees, return_index=True)
    is_area = shapely.get_dimensions(parts) == 2
    rings, of = shapely.get_rings(parts[is_area], return_index=True)
    area = _gather(_pack(rings), of, int(is_area.sum()))
    packed: list[list[Any]] = [[] for _ in parts]
    for places, rows in (
        (area, np.flatnonzero(is_area)),
        (_pack(parts[~is_area]), np.flatnonzero(~is_area)),
    ):
        for row, each in zip(rows, places, strict=True):
            packed[row] = each
    return _gather(packed, owner, len(degrees))


def _pack(degrees: npt.NDArray[Any]) -> list[list[int]]:
    if not len(degrees):
        return []
    places, rows = shapely.get_coordinates(degrees, return_index=True)
    places = np.rint(places * 10**DECIMALS).astype(np.int64)
    steps = np.diff(places, axis=0, prepend=0)
    starts = np.diff(rows, prepend=-1) != 0
    steps[starts] = places[starts]
    kept = starts | steps.any(axis=1)
    ends = np.flatnonzero(starts[kept])[1:]
    return [part.ravel().tolist() for part in np.split(steps[kept], ends)]


def _gather(parts: Sequence[Any], owner: npt.NDArray[np.intp], count: int) -> list[list[Any]]:
    gathered: list[list[Any]] = [[] for _ in range(count)]
    for one, part in zip(owner, parts, strict=True):
        gathered[one].append(part)
    return gathered


def _pack_features(shapes: gpd.GeoSeries, facts: Facts, *, badges: bool) -> dict[str, Any]:
    features, words = _pack_facts(facts)
    for feature, shape in zip(features, pack_shapes(shapes), strict=True):
        feature["shape"] = shape
    if badges:
        for feature, place in zip(features, pack_lines(label_points(shapes)), strict=True):
            feature["badge"] = place
    return {"words": words, "features": features}


def _pack_facts(facts: Facts) -> tuple[list[dict[str, Any]], list[Text]]:
    """Make what is said of each feature, and the words that its cells count into."""
    # The same names and distances come again and again: each stands in the file once.
    words: dict[Text, int] = {}

    def count(cells: Iterable[Text]) -> list[int]:
        return [words.setdefault(cell, len(words)) for cell in cells]

    own: dict[str, Any] = {"style": facts.styles, "letter": facts.letters, "of": facts.options}
    own["kind"] = facts.kinds
    own["title"] = count(facts.titles)
    own["values"] = list(zip(*map(count, facts.columns.values()), strict=True))
    if facts.rows is not None:
        own["rows"] = [[count(row) for row in rows] for rows in facts.rows]
    if facts.probs is not None:
        # Shorter in the file; what is not 0 stays so.
        own["prob"] = [float(f"{prob:.4g}") for prob in facts.probs]
    columns = {name: column for name, column in own.items() if column}
    rows = zip(*columns.values(), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows], list(words)
