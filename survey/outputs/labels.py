"""Where on a map's background names can stand: along streets, in areas, at places."""

from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

_NEXT_M = 250  # along a long straight street a name comes again


@dataclass(frozen=True)
class Bends:
    """How the stretches are chosen that a name may stand on.

    Parameters
    ----------
    off_m
        So far the street may leave the straight line of the name, in metres.
    least_m
        Shorter stretches are left out, in metres.
    apart_m
        Of one name's stretches in a square of such a side the longest is kept, in metres.
    """

    off_m: float
    least_m: float
    apart_m: float


# From far out a bend of 30 m is a few pixels.
_VIEWS = {"": Bends(6, 20, 150), "-far": Bends(30, 120, 800)}


def label_streets(streets: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Find straight stretches of streets, on which their names can be written.

    Parameters
    ----------
    streets
        ``kind``, ``name`` (not missing), LineStrings in a CRS in metres. Pieces of one kind and
        name that touch are one street.

    Returns
    -------
    geopandas.GeoDataFrame
        ``kind`` (with ``-far`` behind it for views from far out), ``name``, ``angle`` (whole
        degrees against the clock from east, above -90 and up to 90), ``run_m`` (how long the
        street is straight around the place), Point.
    """
    tables = [
        table.assign(kind=table["kind"] + view)
        for view, bends in _VIEWS.items()
        for table in [_label(streets, bends)]
    ]
    return pd.concat(tables, ignore_index=True)


def _label(streets: gpd.GeoDataFrame, bends: Bends) -> gpd.GeoDataFrame:
    named = pd.DataFrame(streets[["kind", "name"]])
    keys = named.drop_duplicates().sort_values(["kind", "name"]).reset_index(drop=True)
    code = named.groupby(["kind", "name"]).ngroup().to_numpy()
    order = np.argsort(code, kind="stable")
    lines = streets.geometry.to_numpy()[order]
    merged = shapely.line_merge(shapely.multilinestrings(lines, indices=code[order]))
    parts, row = shapely.get_parts(shapely.simplify(merged, bends.off_m), return_index=True)
    ends, line = shapely.get_coordinates(parts, return_index=True)
    same = line[1:] == line[:-1]
    start, step = ends[:-1][same], np.diff(ends, axis=0)[same]
    key = row[line[:-1][same]]
    length = np.hypot(*step.T)
    place, share, run = _spread(length, bends.least_m)
    at = start[place] + step[place] * share[:, None]
    angle = np.degrees(np.arctan2(step[place, 1], step[place, 0]))
    table = keys.iloc[key[place]].reset_index(drop=True)
    table = table.assign(angle=_upright(angle), run_m=run, x=np.rint(at[:, 0]), y=np.rint(at[:, 1]))
    return _thin(table, bends.apart_m, streets.crs)


def _spread(
    length: npt.NDArray[np.float64], least_m: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Spread places over stretches from their middles; what is left to both ends is their run."""
    each = np.maximum((length / 2 - least_m / 2) // _NEXT_M, 0).astype(np.int64)
    row = np.repeat(np.arange(len(length)), 2 * each + 1)
    first = np.repeat(np.cumsum(2 * each + 1) - (2 * each + 1), 2 * each + 1)
    off = (np.arange(len(row)) - first - each[row]) * _NEXT_M
    run = length[row] - 2 * np.abs(off)
    kept = run >= least_m
    return row[kept], 0.5 + off[kept] / length[row][kept], run[kept]


def _upright(angle: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    whole = np.rint(angle).astype(np.int64)
    return np.where(whole > 90, whole - 180, np.where(whole <= -90, whole + 180, whole))


def _thin(table: pd.DataFrame, apart_m: float, crs: object) -> gpd.GeoDataFrame:
    by = ["kind", "name", "run_m", "x", "y"]
    table = table.sort_values(by, ascending=[True, True, False, True, True])
    cell = [table[axis] // apart_m for axis in ("x", "y")]
    twice = pd.concat([table[["kind", "name"]], *cell], axis=1).duplicated()
    table = table[~twice.to_numpy()].reset_index(drop=True)
    points = gpd.points_from_xy(table["x"], table["y"], crs=crs)
    return gpd.GeoDataFrame(table.drop(columns=["x", "y"]), geometry=points)


def label_areas(areas: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Find where in areas, or beside places, their names can be written.

    Parameters
    ----------
    areas
        ``kind, name, name_en``, polygons or points in a CRS in metres; those without a name are
        left out.

    Returns
    -------
    geopandas.GeoDataFrame
        ``kind, name, name_en, angle`` (0), ``run_m`` (1.5 times the root of the area), Point.
    """
    named = areas[areas["name"].notna()]
    run = 1.5 * np.sqrt(named.geometry.area)
    table = named[["kind", "name", "name_en"]].assign(angle=0, run_m=run)
    return table.set_geometry(named.geometry.representative_point()).reset_index(drop=True)
