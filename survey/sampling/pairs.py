"""Every pair of a fixed point and a unit that a design can draw, as arrays."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from survey.errors import DesignError
from survey.sampling.design import Design
from survey.sampling.draw import DrawFrame
from survey.tables import LAYERS, check, round_mm

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Pairs:
    """The pairs of point and unit that a design can draw at some radius in its `within_m`.

    The distance is `min_m` or more, the point of a kind that is visited, the layer one of which
    some are drawn. Pairs lie in groups: one for each layer and point, alleys first; within a group
    nearest first. So the units within a radius are the first ones of a group. Everything is sorted
    by ids, so that the order of the frame's rows does not change the last digit of any sum.

    Attributes
    ----------
    points
        The frame's points by id: ``point_id``, ``kind``, ``visited`` (how many points of the
        kind a round visits), ``of_kind`` (how many there are), ``data_edge_m``.
    units
        All alleys and compounds, sorted by ``layer``, ``unit_id``.
    start
        Where each group starts, and at last the number of pairs: shape (2 x points + 1,).
    unit
        The row in `units` of each pair.
    distance_m
        Its distance by the design's metric, metres.
    by_unit
        The same pairs sorted by unit, nearest first: an index into the other arrays.
    """

    points: pd.DataFrame
    units: pd.DataFrame
    start: Ints
    unit: Ints
    distance_m: Floats
    by_unit: Ints

    @cached_property
    def group(self) -> Ints:
        """The group of each pair: the layer's number times the number of points, plus the point."""
        return np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))

    @cached_property
    def point(self) -> Ints:
        """The row in `points` of each pair."""
        return self.group % max(1, len(self.points))

    @cached_property
    def rank(self) -> Ints:
        """The number of units of the group up to and with each pair: 1 for the nearest."""
        return np.arange(len(self.unit)) - self.start[self.group] + 1

    def layer_of(self, group: Ints) -> Ints:
        """Return the layer's number (0 alley, 1 compound) of groups."""
        return group // max(1, len(self.points))


def find_pairs(frame: DrawFrame, reach: pd.DataFrame, design: Design) -> Pairs:
    """Find every pair of point and unit that a design can draw at some radius in its `within_m`.

    Parameters
    ----------
    frame
        Points, alleys and compounds; what `reach` holds beyond them is left out, as in a draw.
    reach
        The table `reach`; distances in metres, measured at least as far as ``within_m[1]``.
    design
        The rules of the draw.

    Returns
    -------
    Pairs

    Raises
    ------
    TableError
        If a table breaks the data contract.
    DesignError
        If no round can satisfy the design: every kind is visited 0 times, or no point has any
        unit within its greatest radius.
    """
    check("reach", reach, key=False)
    points = _count_kinds(check("points", frame.points), design)
    units = _list_units(frame)
    point = pd.Index(points["point_id"]).get_indexer(reach["point_id"].array)
    unit, layer = _number_units(units, reach)
    known = (point >= 0) & (unit >= 0)
    group = layer * len(points) + point
    _check_key(reach, (group * len(units) + unit), known)
    distance = round_mm(reach[f"{design.metric}_m"])
    most = np.array([design.alleys[1], design.compounds[1]])
    kept = known & (distance >= design.min_m) & (distance <= design.within_m[1])
    kept &= (most[layer] > 0) & (points["visited"].to_numpy()[point] > 0)
    group, unit, distance = group[kept], unit[kept], distance[kept]
    # As one whole number each, pairs are sorted ten times as fast as by three columns.
    far, many = int(design.within_m[1] * 1000) + 2, max(1, len(units))
    key = np.sort((group * far + np.rint(distance * 1000).astype(np.int64)) * many + unit)
    start = np.searchsorted(key, np.arange(2 * len(points) + 1) * far * many)
    unit, mm = key % many, key // many % far
    pairs = Pairs(points, units, start, unit, mm / 1000, np.argsort(unit * far + mm))
    _check_sense(pairs, design)
    return pairs


def _number_units(units: pd.DataFrame, reach: pd.DataFrame) -> tuple[Ints, Ints]:
    """Return the row in `units`, -1 if it is not there, and the layer's number of each row."""
    layer = pd.Index(LAYERS, dtype="str").get_indexer(reach["layer"].array)
    unit = np.full(len(reach), -1)
    for number, name in enumerate(LAYERS):
        own = np.flatnonzero(units["layer"] == name)
        mine = np.flatnonzero(layer == number)
        found = pd.Index(units["unit_id"].array[own]).get_indexer(reach["unit_id"].array[mine])
        unit[mine] = np.where(found >= 0, found + (own[0] if len(own) else 0), -1)
    return unit, layer


def _check_key(reach: pd.DataFrame, key: Ints, known: npt.NDArray[np.bool_]) -> None:
    ordered = np.sort(key[known])
    if (ordered[1:] == ordered[:-1]).any():
        check("reach", reach[known])


def _count_kinds(points: Any, design: Design) -> pd.DataFrame:
    points = points.sort_values("point_id", ignore_index=True)
    of_kind = points["kind"].map(points["kind"].value_counts()).to_numpy(dtype=np.int64)
    wanted = points["kind"].map(dict(design.points or {})).to_numpy(dtype=np.float64)
    visited = np.where(np.isnan(wanted), of_kind, np.minimum(wanted, of_kind)).astype(np.int64)
    table = pd.DataFrame(points[["point_id", "kind", "data_edge_m"]])
    return table.assign(visited=visited, of_kind=of_kind)


def _list_units(frame: DrawFrame) -> pd.DataFrame:
    parts = []
    for layer, table in zip(LAYERS, (frame.alleys, frame.compounds), strict=True):
        ids = check(f"{layer}s", table)[f"{layer}_id"].sort_values()
        parts.append(pd.DataFrame({"layer": layer, "unit_id": ids}))
    return pd.concat(parts, ignore_index=True).astype("str")


def _check_sense(pairs: Pairs, design: Design) -> None:
    if not len(pairs.points):
        raise DesignError("the frame has no fixed points, so no round can be drawn; add points")
    if not (pairs.points["visited"] > 0).any():
        kinds = ", ".join(sorted(set(pairs.points["kind"])))
        raise DesignError(
            f"the design visits 0 points of every kind that the frame has ({kinds}); no round can"
            " satisfy it: raise a number in points"
        )
    if not (pairs.distance_m <= design.greatest_m).any():
        raise DesignError(
            f"no unit that the design asks for lies {design.min_m:g} to {design.greatest_m:g} m"
            f" ({design.metric}) from any point that it visits; no round can satisfy it: widen"
            " within_m, lower min_m, or look at the frame's points and units"
        )
