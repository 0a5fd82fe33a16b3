"""What the city's registers of alleys and of compounds have in common."""

import re
import unicodedata
from collections.abc import Sequence

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from survey.errors import LayerError
from survey.frame.blocks import Shapes, link_near
from survey.sources.area import Area

Notes = list[tuple[str, str, float, str | None]]
"""Rows of ``scope, measure, value, note``."""


def plain_name(name: str) -> str:
    """Write a name in one width and without spaces, so that it can be compared."""
    return re.sub(r"\s+", "", unicodedata.normalize("NFKC", name))


def plain_names(names: "pd.Series[str]") -> "pd.Series[str]":
    """Apply `plain_name` to each name; a missing one stays missing."""
    code, kinds = pd.factorize(names)
    plain = pd.array([*map(plain_name, kinds), None], dtype="str")
    return pd.Series(plain.take(code), index=names.index)


def as_notes(notes: Sequence[tuple[str, str, float, str | None]]) -> pd.DataFrame:
    """Make the table of notes: ``scope, measure, value, note``."""
    return pd.DataFrame(sorted(notes), columns=["scope", "measure", "value", "note"])


def list_units(units: pd.DataFrame, measure: str) -> Notes:
    """List units, by ``id`` and ``name``, under a measure."""
    names = units["name"].fillna("no name")
    return [(one, measure, np.nan, name) for one, name in zip(units["id"], names, strict=True)]


def read_unit_register(
    register: gpd.GeoDataFrame, area: Area, *, within_m: float
) -> tuple[gpd.GeoDataFrame, pd.DataFrame]:
    """Read a register of alleys or compounds: one row per unit, with an id.

    Parameters
    ----------
    register
        ``name``, any geometry in the area's CRS; ``id``, ``name_en`` where it has them.
    area
        The area.
    within_m
        Rows of one name and without ids, this near to each other, are parts of one unit, as are
        rows of one name and one id.

    Returns
    -------
    units
        ``id`` (``register/<name>`` where the register gives none, with the place where that is
        not unique), ``name``, ``name_en``, ``plain`` (the name to compare), geometry; by ``id``.
    outside
        ``id, name`` of the units that lie outside the area.

    Raises
    ------
    LayerError
        If one id stands for units of different names.
    """
    register = register.reset_index(drop=True)
    rows = pd.DataFrame(
        {
            name: register[name].astype("str") if name in register else None
            for name in ("id", "name", "name_en")
        },
        index=register.index,
        dtype="str",
    )
    rows["plain"] = plain_names(rows["name"])
    rows["geometry"] = register.geometry.to_numpy()
    rows = rows.sort_values(["id", "name", "name_en"])  # which of two spellings stands, by text
    rows["unit"] = _find_units(rows, within_m)
    shapes = rows.groupby("unit")["geometry"].agg(lambda parts: _join(parts.to_numpy()))
    units = rows.drop(columns="geometry").groupby("unit").first()
    units = gpd.GeoDataFrame(units, geometry=shapes, crs=register.crs)
    given = units["id"].dropna()
    twice = sorted(set(given[given.duplicated()]))
    if twice:
        raise LayerError(
            f"the register has {len(twice)} ids for units of different names, for example"
            f" {twice[:3]}; give every unit an id of its own, or none"
        )
    units["id"] = units["id"].fillna(_make_ids(units))
    units = units.sort_values("id").reset_index(drop=True)
    inside = shapely.intersects(area.shape, shapely.point_on_surface(units.geometry.to_numpy()))
    return units[inside].reset_index(drop=True), units[~inside]


def _find_units(rows: pd.DataFrame, within_m: float) -> "pd.Series[int]":
    """Find the unit of each row; a row with neither id nor name is one of its own."""
    place = pd.Series(np.arange(len(rows)).astype("str"), index=rows.index)
    name = rows["plain"].fillna("")
    key = ("name " + name).where(rows["plain"].notna(), "row " + place)
    near = link_near(rows["geometry"].to_numpy(dtype=object), key, within_m)
    key = ("near " + pd.Series(near, index=rows.index).astype("str")).where(
        rows["id"].isna(), "id " + rows["id"].fillna("") + " " + name
    )
    return pd.Series(pd.factorize(key)[0], index=rows.index)


def _join(parts: Shapes) -> BaseGeometry:
    """Join shapes; of points, lines and areas only the highest sort is kept."""
    sort = shapely.get_dimensions(parts)
    joined = shapely.union_all(parts[sort == sort.max()])
    return shapely.line_merge(joined) if sort.max() == 1 else joined


def _make_ids(units: gpd.GeoDataFrame) -> "pd.Series[str]":
    plain = "register/" + units["plain"].fillna("")
    places = shapely.get_coordinates(shapely.point_on_surface(units.geometry.to_numpy()))
    where = pd.Series([f"@{x:.1f},{y:.1f}" for x, y in places], index=units.index, dtype="str")
    without = plain.where(units["id"].isna())
    unclear = units["plain"].isna() | without.duplicated(keep=False) | plain.isin(units["id"])
    return plain.where(~unclear, plain + where)
