"""The frame: everything that can be drawn in one area, as tables."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
from shapely.geometry.base import BaseGeometry

from survey import tables
from survey.frame.network import Network, Sources, cut_streets
from survey.frame.quality import SUPPLY
from survey.frame.streets import Ints, Streets, to_mm
from survey.frame.summary import summarise_frame
from survey.sources.area import Area


@dataclass(frozen=True, eq=False)
class Frame:
    """What can be drawn in an area, as tables of the data contract.

    Attributes
    ----------
    area
        The area; every table is in its CRS, in metres.
    streets
        `nodes` and `edges`.
    points, alleys, compounds, toilets, candidates, doors, subdistricts, quality
        The tables of these names.
    data_edge
        A polygon: what lies outside it is unknown.
    source
        Where the data come from, for the manifest.
    facilities
        The table of this name; empty if absent.

    Raises
    ------
    TableError
        If a table breaks the contract.
    """

    area: Area
    streets: Streets
    points: gpd.GeoDataFrame
    alleys: gpd.GeoDataFrame
    compounds: gpd.GeoDataFrame
    toilets: gpd.GeoDataFrame
    candidates: gpd.GeoDataFrame
    doors: gpd.GeoDataFrame
    subdistricts: gpd.GeoDataFrame
    quality: pd.DataFrame
    data_edge: BaseGeometry
    source: dict[str, Any] = field(default_factory=dict)
    facilities: gpd.GeoDataFrame = None  # an empty table below

    def __post_init__(self) -> None:
        """Check every table but those of `streets`, which checks its own."""
        if self.facilities is None:
            empty = tables.empty("facilities", crs=self.area.crs)
            object.__setattr__(self, "facilities", empty)
        for name, table in self.tables.items():
            if name not in {"nodes", "edges"}:
                tables.check(name, table)

    @property
    def name(self) -> str:
        """What the area is called."""
        return self.area.name

    @property
    def tables(self) -> dict[str, Any]:
        """The frame's tables by name, in the order in which they are written."""
        names = ("points", "alleys", "compounds", "toilets", "candidates", "facilities", "doors")
        return {
            "nodes": self.streets.nodes,
            "edges": self.streets.edges,
            **{name: getattr(self, name) for name in names},
            "subdistricts": self.subdistricts,
            "quality": self.quality,
        }

    @cached_property
    def network(self) -> Network:
        """The walkable streets, cut at every door."""
        edge = self.streets.rows.get_indexer(pd.Index(self.doors["edge_id"])).astype(np.int64)
        return cut_streets(self.streets, edge, to_mm(self.doors["offset_m"]))

    def sources(self, layer: str, ids: "pd.Series[str]") -> Sources:
        """Where searches from the objects of a layer start, numbered in the order of `ids`."""
        number: Ints = pd.Index(ids).get_indexer(pd.Index(self.doors["id"])).astype(np.int64)
        mine = (self.doors["layer"] == layer).to_numpy() & (number >= 0)
        return Sources(
            len(ids),
            number[mine],
            self.network.position_node[mine],
            to_mm(self.doors["access_m"])[mine],
        )

    def supply(self) -> gpd.GeoDataFrame:
        """Select the toilets that the public may use now, by id: of equally near ones the first."""
        supply = self.toilets[self.toilets["status"].isin(SUPPLY)]
        return supply.sort_values("toilet_id").reset_index(drop=True)

    def _repr_html_(self) -> str:
        return summarise_frame(self)
