"""The quiet background of a map: streets, buildings, water, green, compounds and names.

Python packs them, ``assets/background.js`` paints them on canvas tiles; nothing is asked of a
tile server.
"""

from typing import Any, cast

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from folium.map import Layer

from survey.frame.compounds import AFTER_STREETS
from survey.outputs.ground import COLUMNS, read_looks
from survey.outputs.labels import label_areas, label_streets
from survey.outputs.offline import Raw, read_asset, to_script
from survey.outputs.packing import SCALE, Items, pack_items

AREAS = ("green", "water", "compound", "building")
"""The kinds of areas, in the order in which they are painted."""

STREETS = ("path", "service", "minor", "tertiary", "primary", "trunk")
"""The kinds of streets that are named, from the thinnest."""

SHAPES = (*AREAS, "side", *STREETS)
"""All kinds of shapes, in the order in which they are painted."""

_WEIGHTS = """
    city suburb trunk-far primary-far quarter trunk primary tertiary-far tertiary water green
    minor-far minor compound service path
"""
LABELS = (*_WEIGHTS.split(),)
"""The kinds of names, the weightiest first; ``-far`` is for views from far out."""


class Background(Layer):
    """A layer of canvas tiles with names above them; `make_background` makes it.

    In the page it is a `L.GridLayer` of the name that ``get_name()`` tells, with
    ``setLanguage("zh" or "en")``, ``setObstacles(ask)`` and ``labels()``; see ``background.js``.
    """

    def __init__(self, packed: dict[str, Any], *, label: str = "底图 · Background") -> None:
        """Keep what was packed; `label` is the name in the layer control."""
        super().__init__(name=label, overlay=True, control=True, show=True)
        self._name = "Background"
        self.value = to_script(packed)

    def render(self, **kwargs: Any) -> Any:
        """Add the script, once for all backgrounds of a page, and the call."""
        script = cast("Any", self.get_root()).script
        script.add_child(Raw(read_asset("background.js").decode()), name="survey_background")
        code = f"var {self.get_name()} = surveyBackground({self.value});\n"
        script.add_child(Raw(code), name=self.get_name())
        super().render(**kwargs)  # type: ignore[no-untyped-call]  # folium's is untyped


def make_background(
    frame: Any,
    *,
    ground: gpd.GeoDataFrame | None = None,
    names: gpd.GeoDataFrame | None = None,
) -> Background:
    """Make the background of a frame's maps.

    Parameters
    ----------
    frame
        What can be drawn, in a projected CRS in metres: its streets and compounds are painted.
    ground
        Buildings, water and green: ``kind, name, name_en``, polygons in any CRS, as `find_ground`
        finds them in ``osm.features``.
    names
        Names of places, and English names of streets, as `find_names` finds them.

    Returns
    -------
    Background
        A layer for any folium map.

    Examples
    --------
    >>> from survey import example_town
    >>> make_background(example_town()).get_name()[:10]
    'background'
    """
    edges = _name_kinds(frame.streets.edges)
    # What is called after its streets has no name that anyone would look for.
    unnamed = frame.compounds["reason"].str.contains(AFTER_STREETS, regex=False)
    names_of = frame.compounds["name"].mask(unnamed)
    areas = [frame.compounds.assign(kind="compound", name=names_of)]
    areas += [table.to_crs(edges.crs) for table in (ground, names) if table is not None]
    found = pd.concat([table[COLUMNS] for table in areas], ignore_index=True)
    shapes = pack_items(_trace(found[found["kind"].isin(AREAS)], edges))
    words, labels = _write_labels(edges, found, _list_english(frame, found))
    return Background(
        {
            "shapes": {"kinds": SHAPES, **shapes},
            "labels": {"kinds": LABELS, **pack_items(labels)},
            "words": words,
        }
    )


def _name_kinds(edges: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    kinds = {name: kind for kind, names in read_looks()["streets"].items() for name in names}
    kind = edges["highway"].str.removesuffix("_link").map(kinds).fillna("path")
    kind = kind.mask((kind == "path") & ~edges["public"], "side")
    table = edges[["name", "geometry"]].assign(kind=kind)
    return table[table["kind"] != "left_out"]


def _list_english(frame: Any, found: gpd.GeoDataFrame) -> dict[str, str]:
    tables = [frame.alleys, found[found["kind"] == "street"]]
    both = pd.concat([table[["name", "name_en"]] for table in tables]).dropna()
    return dict(zip(both["name"], both["name_en"], strict=True))


def _trace(areas: gpd.GeoDataFrame, edges: gpd.GeoDataFrame) -> Items:
    """Turn areas into rings, outer ones against the clock and holes with it, and add the lines."""
    degrees = shapely.orient_polygons(areas.geometry.to_crs(4326).to_numpy())
    polygons, row = shapely.get_parts(degrees, return_index=True)
    rings, part = shapely.get_rings(polygons, return_index=True)
    shapes = np.concatenate([rings, edges.geometry.to_crs(4326).to_numpy()])
    is_ring = np.arange(len(shapes)) < len(rings)
    kinds = pd.concat([areas["kind"].iloc[row[part]], edges["kind"]])
    places, item = shapely.get_coordinates(shapes, return_index=True)
    whole = np.rint(places * SCALE).astype(np.int64)
    is_first = np.diff(item, prepend=-1) > 0
    is_last = np.diff(item, append=len(shapes)) > 0
    moved = np.diff(whole, axis=0, prepend=0).any(axis=1)
    kept = (is_first | moved) & ~(is_last & is_ring[item])  # a ring ends where it began
    count = np.bincount(item[kept], minlength=len(shapes))
    good = count >= np.where(is_ring, 3, 2)  # the rest is smaller than a unit
    kept &= good[item]
    code = kinds.map(SHAPES.index).to_numpy(dtype=np.int64)[good]
    return Items(code, count[good], whole[kept], np.empty((len(code), 0), dtype=np.int64))


def _write_labels(
    edges: gpd.GeoDataFrame,
    areas: gpd.GeoDataFrame,
    english: dict[str, str],
) -> tuple[list[str], Items]:
    """List the words, and where which of them can stand."""
    streets = label_streets(edges[edges["name"].notna() & edges["kind"].isin(STREETS)])
    streets["name_en"] = streets["name"].map(english)
    table = pd.concat([streets, label_areas(areas)])
    table = table[table["kind"].isin(LABELS)]
    second = table["name_en"].fillna(table["name"])
    words = sorted({*table["name"], *second})
    number = {word: n for n, word in enumerate(words)}
    numbers = [
        table["angle"],
        table["run_m"].round(),
        table["name"].map(number),
        second.map(number),
    ]
    places = table.geometry.to_crs(4326).get_coordinates().to_numpy()
    return words, Items(
        table["kind"].map(LABELS.index).to_numpy(dtype=np.int64),
        np.ones(len(table), dtype=np.int64),
        np.rint(places * SCALE).astype(np.int64),
        np.stack([each.to_numpy(dtype=np.int64) for each in numbers], axis=1),
    )
