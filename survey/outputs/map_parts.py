"""What a map can show, and what several maps show alike."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypedDict

import geopandas as gpd
import pandas as pd
import shapely

from survey.outputs.background import Background, make_background
from survey.outputs.page import Choice
from survey.outputs.page_layers import Facts, PageLayer, facts_layer
from survey.outputs.texts import Pair, Text
from survey.outputs.tiles import TileSource
from survey.outputs.units import Key, Unit, describe_units, list_units
from survey.tables import LAYERS

Layers = Sequence[PageLayer | None]

_LABELS = {"alley": Pair("背街小巷", "Alleys"), "compound": Pair("小区", "Compounds")}


class MapTables(TypedDict, total=False):
    """What a map may show beside the frame, each optional.

    Parameters
    ----------
    draw
        The tables ``rounds`` and ``draws``; the last round is shown first.
    mocks
        The table ``mocks``: mock rounds, shown as rounds are.
    left_out
        Ids of rounds that are not in `draw`, which the map says.
    odds
        The table ``odds``, a row for each unit: alleys and compounds are coloured by ``prob``,
        dashed where ``near_edge``, and their popups tell the rest.
    priorities
        The table ``priorities``: the chosen units by rank, or the first if none is chosen.
    audit
        The tables ``summary``, ``covered`` and ``gaps``.
    sites, after
        The table ``sites`` (where to open or build toilets), and the audit with these sites.
    reach
        Distances in metres: the popup of a unit lists the nearest points.
    catchments
        The table ``catchments``, for surroundings.
    ground, names
        What `find_ground` and `find_names` found in OpenStreetMap, for the background.
    tiles
        Online tiles, from `choose_tiles`: the only thing for which a map may use a network,
        and only while its reader has switched them on.
    """

    draw: Any
    odds: pd.DataFrame | None
    audit: Any
    reach: pd.DataFrame | None
    catchments: Any
    priorities: pd.DataFrame | None
    sites: Any
    after: Any
    mocks: pd.DataFrame | None
    left_out: Sequence[str]
    ground: Any
    names: Any
    tiles: TileSource | None


@dataclass(frozen=True, eq=False)
class Parts:
    """What there is to show; parameters as for `save_map`. What maps share is worked out once."""

    frame: Any
    tables: MapTables = field(default_factory=MapTables)

    def get(self, name: str) -> Any:
        """Get a table, or None."""
        found: Any = dict(self.tables).get(name)
        return found

    @property
    def rounds(self) -> Any:
        """The tables ``rounds`` and ``draws``, or None if there is no round."""
        draw = self.get("draw")
        return draw if draw is not None and len(draw.rounds) else None

    @cached_property
    def plain_facts(self) -> dict[str, Facts]:
        """What is known of the units of each layer but their odds."""
        return describe_units(self.frame, odds=None, reach=self.get("reach"))

    @cached_property
    def facts(self) -> dict[str, Facts]:
        """What is known of the units of each layer."""
        if self.get("odds") is None:
            return self.plain_facts
        return describe_units(self.frame, odds=self.get("odds"), reach=self.get("reach"))

    @cached_property
    def units(self) -> dict[Key, Unit]:
        """All units with their shapes and facts."""
        return list_units(self.frame, self.facts)

    @cached_property
    def _background(self) -> Background:
        return make_background(self.frame, ground=self.get("ground"), names=self._names())

    def background(self) -> Background:
        """Make the quiet background, as an element that no other map holds."""
        return copy.copy(self._background)

    def _names(self) -> gpd.GeoDataFrame:
        """Let the background write the names of the subdistricts beside those of places."""
        offices = self.frame.subdistricts
        columns = ["kind", "name", "name_en", "geometry"]
        named = offices.assign(kind="suburb")[columns].dropna(subset=["name"])
        names = self.get("names")
        if names is None:
            return named
        others = names[~((names["kind"] != "street") & names["name"].isin(named["name"]))]
        return pd.concat([named, others[columns].to_crs(named.crs)], ignore_index=True)

    @cached_property
    def streets(self) -> list[tuple[Text, float, float]]:
        """Each named street inside the area once, with a place on its longest piece."""
        edges = self.frame.streets.edges
        named = edges[edges["name"].notna() & edges["inside"] & edges["public"]]
        longest = named.sort_values(["length_m", "edge_id"]).drop_duplicates("name", keep="last")
        longest = longest.sort_values("name")
        places = shapely.line_interpolate_point(longest.geometry.array, 0.5, normalized=True)
        degrees = gpd.GeoSeries(places, crs=edges.crs).to_crs(4326)
        titles = [self._street(name) for name in longest["name"]]
        return list(zip(titles, degrees.x.round(5), degrees.y.round(5), strict=True))

    @cached_property
    def _english(self) -> Mapping[str, str]:
        names = self.get("names")
        if names is None:
            return {}
        streets = names[names["kind"] == "street"].dropna(subset=["name", "name_en"])
        return dict(zip(streets["name"], streets["name_en"], strict=True))

    def _street(self, name: str) -> Text:
        english = self._english.get(name)
        return Pair(name, english) if english and english != name else name


@dataclass(frozen=True, eq=False)
class Story:
    """What one map shows.

    Parameters
    ----------
    title
        The question.
    line
        What one sees, in one line.
    figures
        Numbers for the page's head.
    layers
        From the highest to the lowest.
    choices
        What the reader can switch.
    """

    title: Pair
    line: Pair
    figures: Sequence[Text]
    layers: Layers
    choices: Sequence[Choice] = ()


def unit_layers(parts: Parts, facts: dict[str, Facts], *, show: bool = True) -> Layers:
    """Make the layers of alleys and compounds, which say `facts`."""
    tables = {"alley": parts.frame.alleys, "compound": parts.frame.compounds}
    return [
        facts_layer(
            _LABELS[layer], tables[layer].geometry, facts[layer], look=f"{layer}s", show=show
        )
        for layer in LAYERS
    ]


def count_units(frame: Any) -> list[Text]:
    """Say how many points, alleys and compounds there are."""
    return [
        Pair(f"固定点位 {len(frame.points):,}", f"{len(frame.points):,} fixed points"),
        Pair(f"背街小巷 {len(frame.alleys):,}", f"{len(frame.alleys):,} alleys"),
        Pair(f"小区 {len(frame.compounds):,}", f"{len(frame.compounds):,} compounds"),
    ]
