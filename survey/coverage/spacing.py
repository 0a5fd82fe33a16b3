"""The along-the-road reading: whether a walk along the main roads meets a toilet.

Roads
    Public edges inside the area of `classes`, links never. A road is the touching pieces of
    one name or, unnamed, of straight continuation. Pieces of one name that run alongside each
    other within 50 m are carriageways of one road: its length counts once, along the
    longer. A road is laid out as routes, each a way or a loop (`find_roads`).
Met
    A toilet is met on a route if it lies at most `beside_m` from either carriageway in a
    straight line; it is met once, at the nearest position of the route. At a corner it may be
    met on two roads.
Walks
    A walk begins anywhere on a route and goes `limit_m` on along it: on a route of length L
    it begins in [0, L - limit], on a loop in [0, L). It fails if it meets no toilet. Between
    two toilets, or a toilet and the end of the route, g apart along it, max(0, g - limit)
    metres of starts fail; a loop without toilets fails throughout. Routes shorter than the
    limit hold no walk and are not judged.
Edge of the data
    A toilet beyond it is unknown, and would be met only where a route comes near it: a
    stretch that comes within `beside_m` + 50 m of that edge is ``near_edge``, for such a
    toilet may stand beside the second carriageway. Where the road itself leaves the area,
    walks end: what lies beyond is not judged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from survey import tables
from survey.coverage.roads import Roads, find_roads
from survey.errors import NothingToCheckError
from survey.frame.frame import Frame
from survey.frame.lines import cut_lines

MAIN_CLASSES = ("trunk", "primary", "secondary")
"""The classes of main and secondary roads; links, which are ramps, are never among them."""

_PAIR_M = 50.0  # between the middle lines of two carriageways of one road


@dataclass(frozen=True, eq=False)
class Spacing:
    """Where walks along the main roads meet no toilet.

    Attributes
    ----------
    routes
        One row per route: ``route_id, name, length_m, loop`` (bool), ``walks_m`` (metres of
        possible starts), ``failing_m`` (of those, where the walk meets none), ``facilities``
        (how many are met), ``geometry`` (LineString).
    gaps
        Stretches longer than the limit, one row per piece of edge: ``stretch`` (a number),
        ``route_id``, ``edge`` (row of the edges), ``from_mm, to_mm`` (on the edge, from u),
        ``stretch_m`` (of the whole stretch), ``failing_m`` (of the whole stretch), ``near_edge``
        (of the whole stretch), ``facility`` (row of the supply of the nearer end; -1: there is
        none at either end).
    """

    routes: gpd.GeoDataFrame
    gaps: pd.DataFrame

    @property
    def checked_m(self) -> float:
        """Metres of possible starts."""
        return float(tables.round_mm(self.routes["walks_m"].sum()))

    @property
    def failing_m(self) -> float:
        """Metres of starts whose walk meets none."""
        return float(tables.round_mm(self.routes["failing_m"].sum()))

    @property
    def short_m(self) -> float:
        """Metres of route too short to hold one walk."""
        short = self.routes["walks_m"] == 0
        return float(tables.round_mm(self.routes.loc[short, "length_m"].sum()))

    @property
    def share(self) -> float:
        """The share of walks that meet a toilet; NaN if no route holds a walk."""
        return self._share(self.failing_m)

    @property
    def share_high(self) -> float:
        """The share if every stretch with ``near_edge`` were met throughout."""
        stretches = self.gaps.drop_duplicates("stretch")
        open_m = stretches.loc[stretches["near_edge"], "failing_m"].sum()
        return self._share(float(tables.round_mm(self.failing_m - open_m)))

    def _share(self, failing_m: float) -> float:
        return 1 - failing_m / self.checked_m if self.checked_m else float("nan")


def measure_spacing(
    frame: Frame,
    supply: gpd.GeoDataFrame,
    *,
    limit_m: float = 500,
    beside_m: float = 50,
    classes: Sequence[str] = MAIN_CLASSES,
) -> Spacing:
    """Measure who walks `limit_m` along a main road and meets no toilet, exactly.

    What counts as a road, as met and as a failing walk stands at the head of this module.

    Parameters
    ----------
    frame
        What can be drawn.
    supply
        The toilets that count: ``facility_id`` (text), Point in the frame's CRS.
    limit_m
        How far one walks, in metres.
    beside_m
        How far from the road a toilet may lie, in metres.
    classes
        Values of ``highway`` without links.

    Returns
    -------
    Spacing

    Raises
    ------
    NothingToCheckError
        If the area has no road of these classes.
    """
    edges = frame.streets.edges
    main = edges["highway"].isin(list(classes)) & ~edges["highway"].str.endswith("_link")
    chosen = (main & edges["public"] & edges["inside"]).to_numpy()
    if not (frame.streets.length_mm[chosen] > 1).any():
        raise NothingToCheckError(
            f"the area has no road of class {', '.join(classes)} to walk along; "
            "widen the area or leave out the rules on spacing"
        )
    roads = find_roads(frame.streets, chosen, pair_m=_PAIR_M)
    met = _meet(frame, roads, supply, beside_m)
    stretches = _find_stretches(roads, met, round(limit_m * 1000))
    gaps = _place(roads, stretches[stretches["failing_mm"] > 0])
    gaps["near_edge"] = _find_near_edge(frame, gaps, beside_m + _PAIR_M)
    return Spacing(
        _as_routes(frame, roads, met, stretches, round(limit_m * 1000)), _as_gaps(roads, gaps)
    )


def _lines(frame: Frame, pieces: pd.DataFrame) -> npt.NDArray[Any]:
    edge = pieces["edge"].to_numpy()
    length = frame.streets.length_mm[edge]
    lines = np.asarray(frame.streets.edges.geometry.array)[edge]
    return cut_lines(lines, pieces["from_mm"].to_numpy() / length, pieces["to_mm"] / length)


def _meet(frame: Frame, roads: Roads, supply: gpd.GeoDataFrame, beside_m: float) -> pd.DataFrame:
    """Find where on which route each toilet is met.

    Returns
    -------
    pandas.DataFrame
        ``route, at_mm, facility`` by route and position; of several at one place the first by id.
    """
    places = np.asarray(supply.geometry.array)
    axis = _lines(frame, roads.pieces)
    lines = np.concatenate([axis, _lines(frame, roads.beside)])
    owner = np.r_[roads.pieces["route"], roads.beside["route"]]
    facility, line = shapely.STRtree(lines).query(
        places, predicate="dwithin", distance=beside_m + 0.001
    )
    # A toilet 50 m off on paper is so in the last digits too.
    near = tables.round_mm(shapely.distance(places[facility], lines[line])) <= beside_m
    pairs = pd.DataFrame({"route": owner[line[near]], "facility": facility[near]})
    pieces = roads.pieces.assign(piece=np.arange(len(axis)))
    all_ = pairs.drop_duplicates().merge(pieces, on="route")
    place, line = places[all_["facility"]], axis[all_["piece"]]
    length = all_["to_mm"] - all_["from_mm"]
    along = np.rint(shapely.line_locate_point(line, place, normalized=True) * length)
    at = all_["start_mm"] + along.where(~all_["back"], length - along).astype(np.int64)
    routes = roads.routes.iloc[all_["route"]].reset_index(drop=True)
    found = all_[["route", "facility"]].assign(
        # The end of a loop is its start.
        at_mm=np.where(routes["loop"], at % routes["length_mm"], at),
        away=shapely.distance(line, place).round(6),
        rank=supply["facility_id"].rank(method="first").to_numpy()[all_["facility"]],
    )
    found = found.sort_values(["route", "facility", "away", "at_mm"])
    found = found.drop_duplicates(["route", "facility"]).sort_values(["route", "at_mm", "rank"])
    return found[["route", "at_mm", "facility"]].reset_index(drop=True)


def _find_stretches(roads: Roads, met: pd.DataFrame, limit_mm: int) -> pd.DataFrame:
    """Cut routes at the toilets that are met: ``route, from_mm, to_mm, left, right, failing_mm``.

    `left` and `right` are the toilets at both ends, -1 at a route's end. On a loop the last
    stretch runs on beyond the loop's length.
    """
    by_route = dict(list(met.drop_duplicates(["route", "at_mm"]).groupby("route")))
    rows = []
    for route, (length, loop) in enumerate(
        zip(roads.routes["length_mm"], roads.routes["loop"], strict=True)
    ):
        own = by_route.get(route)
        stops = [] if own is None else list(zip(own["at_mm"], own["facility"], strict=True))
        if loop and stops:
            stops = [*stops, (stops[0][0] + length, stops[0][1])]
        else:
            stops = [(0, -1), *stops, (length, -1)]
        for (start, left), (stop, right) in pairwise(stops):
            rows.append((route, start, stop, left, right))
    table = pd.DataFrame(rows, columns=["route", "from_mm", "to_mm", "left", "right"])
    length = roads.routes["length_mm"].to_numpy()[table["route"]]
    failing = np.maximum(table["to_mm"] - table["from_mm"] - limit_mm, 0)
    endless = roads.routes["loop"].to_numpy()[table["route"]] & (table["left"] < 0)
    return table.assign(failing_mm=failing.where(~endless | (length < limit_mm), length))


def _place(roads: Roads, stretches: pd.DataFrame) -> pd.DataFrame:
    """Lay stretches on edges: their columns, ``stretch, edge, facility``, positions on the edge."""
    stretches = stretches.assign(
        stretch=np.arange(len(stretches)), stretch_mm=stretches["to_mm"] - stretches["from_mm"]
    )
    left = stretches["left"].where(stretches["left"] >= 0, stretches["right"])
    right = stretches["right"].where(stretches["right"] >= 0, stretches["left"])
    middle = (stretches["from_mm"] + stretches["to_mm"]) // 2
    middle = middle.where(left != right, stretches["to_mm"])
    halves = pd.concat(
        [
            stretches.assign(to_mm=middle, facility=left),
            stretches.assign(from_mm=middle, facility=right),
        ]
    )
    length = roads.routes["length_mm"].to_numpy()[halves["route"]]
    again = halves.assign(from_mm=halves["from_mm"] - length, to_mm=halves["to_mm"] - length)
    parts = pd.concat([halves, again]).rename(columns={"from_mm": "begin", "to_mm": "stop"})
    rows = parts.merge(roads.pieces, on="route")
    size = rows["to_mm"] - rows["from_mm"]
    begin = np.maximum(rows["begin"] - rows["start_mm"], 0)
    stop = np.minimum(rows["stop"] - rows["start_mm"], size)
    rows = rows.assign(
        from_mm=np.where(rows["back"], rows["to_mm"] - stop, rows["from_mm"] + begin),
        to_mm=np.where(rows["back"], rows["to_mm"] - begin, rows["from_mm"] + stop),
    )
    rows = rows[begin < stop].sort_values(["stretch", "begin", "start_mm"])
    return rows.reset_index(drop=True)


def _find_near_edge(frame: Frame, gaps: pd.DataFrame, within_m: float) -> "pd.Series[bool]":
    known = shapely.buffer(frame.data_edge, -within_m, quad_segs=64)
    shapely.prepare(known)
    beyond = pd.Series(~shapely.covers(known, _lines(frame, gaps)), index=gaps.index)
    return beyond.groupby(gaps["stretch"]).transform("any")


def _as_routes(
    frame: Frame, roads: Roads, met: pd.DataFrame, stretches: pd.DataFrame, limit_mm: int
) -> gpd.GeoDataFrame:
    routes = roads.routes
    length = routes["length_mm"]
    walks = length.where(routes["loop"], length - limit_mm).where(length >= limit_mm, 0)
    table = pd.DataFrame(
        {
            "route_id": routes["route_id"],
            "name": routes["name"],
            "length_m": length / 1000,
            "loop": routes["loop"],
            "walks_m": walks / 1000,
            "failing_m": stretches.groupby("route")["failing_mm"].sum() / 1000,
            "facilities": met.groupby("route").size().reindex(routes.index, fill_value=0),
        }
    )
    return gpd.GeoDataFrame(table, geometry=routes["geometry"].to_numpy(), crs=frame.area.crs)


def _as_gaps(roads: Roads, gaps: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "stretch": gaps["stretch"],
            "route_id": roads.routes["route_id"].to_numpy()[gaps["route"]],
            "edge": gaps["edge"],
            "from_mm": gaps["from_mm"],
            "to_mm": gaps["to_mm"],
            "stretch_m": gaps["stretch_mm"] / 1000,
            "failing_m": gaps["failing_mm"] / 1000,
            "near_edge": gaps["near_edge"],
            "facility": gaps["facility"],
        }
    )
