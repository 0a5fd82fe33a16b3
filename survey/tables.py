"""The data contract: the columns, keys, geometry and units of every table.

Keys are text columns, never row numbers. Lengths are metres rounded to the millimetre, areas
square metres; both say so in their names. Geometry is in one projected CRS in metres. A missing
number is NaN, a missing text is missing too (``isna``), and a missing pair is an absent row.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from survey.errors import TableError

CONTRACT = 1
"""The version of this contract; a workspace made by another one is refused."""

KINDS = ("market", "mall", "school", "hospital", "station", "community")
"""The six kinds of fixed point (the six surroundings)."""

LAYERS = ("alley", "compound")
"""The two layers of units that can be drawn."""

KIND_ZH = {
    "market": "农贸市场",
    "mall": "商场超市",
    "school": "学校",
    "hospital": "医院",
    "station": "交通场站",
    "community": "城市社区",
}
"""What the six kinds are called in Chinese."""

_POINT = ("Point",)
_LINE = ("LineString",)
_LINES = ("MultiLineString",)
_AREAS = ("MultiPolygon",)


@dataclass(frozen=True)
class TableSpec:
    """What one table holds; a name that ends in ``?`` may have missing cells."""

    key: tuple[str, ...]
    text: tuple[str, ...] = ()
    number: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()
    flag: tuple[str, ...] = ()
    geometry: tuple[str, ...] | None = None
    allowed: Mapping[str, tuple[str, ...]] | None = None

    @property
    def columns(self) -> dict[str, str]:
        """Each column's type, in the order in which they are written."""
        types = {"text": self.text, "number": self.number, "whole": self.whole, "flag": self.flag}
        found = {name.rstrip("?"): kind for kind, names in types.items() for name in names}
        return {name: found.pop(name) for name in self.key} | found

    @property
    def may_miss(self) -> frozenset[str]:
        """The columns whose cells may be missing."""
        names = (*self.text, *self.number, *self.whole, *self.flag)
        return frozenset(name[:-1] for name in names if name.endswith("?"))


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


TABLES: dict[str, TableSpec] = {
    "nodes": TableSpec(("node_id",), _words("node_id"), geometry=_POINT),
    "edges": TableSpec(
        ("edge_id",),
        _words("edge_id u v way_id name? highway level? alley_id?"),
        _words("length_m"),
        flag=_words("walkable public inside"),
        geometry=_LINE,
    ),
    "points": TableSpec(
        ("point_id",),
        _words("point_id name? name_en? kind subdistrict_id? source"),
        _words("data_edge_m"),
        geometry=_POINT + _AREAS,
        allowed={"kind": KINDS},
    ),
    "alleys": TableSpec(
        ("alley_id",),
        _words("alley_id name? name_en? highway? subdistrict_id? source reason"),
        _words("length_m"),
        geometry=_LINES,
    ),
    "compounds": TableSpec(
        ("compound_id",),
        _words("compound_id name? name_en? subdistrict_id? source reason"),
        _words("area_m2"),
        geometry=_AREAS,
    ),
    "toilets": TableSpec(
        ("toilet_id",),
        _words("toilet_id name? status access? fee? opening_hours? wheelchair? signed? level?")
        + _words("source"),
        flag=_words("inside"),
        geometry=_POINT,
        allowed={"status": ("public", "opened", "closed")},
    ),
    "candidates": TableSpec(
        ("candidate_id",), _words("candidate_id name? kind source"), geometry=_POINT
    ),
    "facilities": TableSpec(
        ("facility_id", "kind"),
        _words("facility_id kind name? opening_hours? level? source"),
        _words("area_m2?"),
        flag=_words("inside"),
        geometry=_POINT + _AREAS,
    ),
    "doors": TableSpec(
        ("layer", "id", "n"),
        _words("layer id edge_id kind"),
        _words("offset_m access_m"),
        _words("n"),
        geometry=_POINT,
        allowed={
            "layer": ("point", "compound", "toilet", "candidate", "facility"),
            "kind": ("gate", "crossing", "nearest"),
        },
    ),
    "subdistricts": TableSpec(
        ("subdistrict_id",), _words("subdistrict_id name? name_en? source"), geometry=_AREAS
    ),
    "reach": TableSpec(
        ("point_id", "layer", "unit_id"),
        _words("point_id layer unit_id"),
        _words("euclid_m network_m?"),
        allowed={"layer": LAYERS},
    ),
    "catchments": TableSpec(
        ("point_id", "metric", "radius_m"),
        _words("point_id metric"),
        _words("radius_m area_m2"),
        geometry=_AREAS,
        allowed={"metric": ("network", "euclid")},
    ),
    "rounds": TableSpec(("round_id",), _words("round_id seed design frame_hash")),
    "draws": TableSpec(
        ("round_id", "point_id", "layer", "slot"),
        _words("round_id point_id layer unit_id ticket"),
        _words("radius_m"),
        _words("slot"),
        flag=_words("replacement"),
        allowed={"layer": LAYERS},
    ),
    "odds": TableSpec(
        ("layer", "unit_id"),
        _words("layer unit_id"),
        _words("prob expected_visits prob_low prob_high"),
        _words("points"),
        flag=_words("near_edge"),
        allowed={"layer": LAYERS},
    ),
    "priorities": TableSpec(
        ("layer", "unit_id"),
        _words("layer unit_id"),
        _words("condition prob prob_low prob_high risk risk_low risk_high cost?"),
        _words("rank"),
        flag=_words("near_edge chosen"),
        allowed={"layer": LAYERS},
    ),
    "mocks": TableSpec(
        ("mock_id", "layer", "slot"),
        _words("mock_id layer unit_id method seed"),
        _words("prob"),
        _words("slot"),
        flag=_words("replacement"),
        allowed={"layer": LAYERS},
    ),
    "audit": TableSpec(
        ("rule_id",),
        _words("rule_id title metric facility on"),
        _words("limit_m? checked_m? covered_m? checked_n? covered_n? share near_edge_gap_m?")
        + _words("unconnected_gap_m? share_high"),
        flag=_words("met"),
    ),
    "shares": TableSpec(
        ("rule_id", "scope", "id", "within_m"),
        _words("rule_id scope id"),
        _words("within_m? checked_m? covered_m? checked_n? covered_n? share?"),
        allowed={"scope": ("subdistrict", "point")},
    ),
    "checks": TableSpec(
        ("rule_id", "layer", "id"),
        _words("rule_id layer id facility_id?"),
        _words("distance_m?"),
        flag=_words("met near_edge"),
        allowed={"layer": ("point", "compound")},
    ),
    "covered": TableSpec(
        ("rule_id", "edge_id", "from_m"),
        _words("rule_id edge_id toilet_id"),
        _words("from_m to_m length_m worst_m"),
        geometry=_LINE,
    ),
    "gaps": TableSpec(
        ("gap_id",),
        _words("gap_id rule_id stretch_id edge_id toilet_id? name? subdistrict_id?"),
        _words("from_m to_m length_m worst_m?"),
        flag=_words("near_edge"),
        geometry=_LINE,
    ),
    "sites": TableSpec(
        ("rule_id", "rank"),
        _words("rule_id action candidate_id?"),
        _words("gain_m total_share cost"),
        _words("rank compounds points"),
        geometry=_POINT,
        allowed={"action": ("open", "build")},
    ),
    "quality": TableSpec(
        ("scope", "measure"),
        _words("scope measure unit? verdict note?"),
        _words("value?"),
        allowed={"verdict": ("good", "look", "poor", "info")},
    ),
}
"""Every table of the contract by its name."""

_DTYPES = {"text": "str", "number": "float64", "whole": "int64", "flag": "bool"}


def round_mm(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Round metres to the millimetre, so that a value re-read from a CSV is the same number."""
    return np.rint(np.asarray(values, dtype=np.float64) * 1000) / 1000


def make(name: str, columns: Mapping[str, Any], *, crs: Any = None, key: bool = True) -> Any:
    """Make a table from its columns, in the contract's order and types, and check it.

    Parameters
    ----------
    name
        The table's name, a key of `TABLES`.
    columns
        Column name to values of one length; ``geometry`` among them where the table has one.
    crs
        The projected CRS in metres; needed for tables with geometry.
    key
        As for `check`.

    Returns
    -------
    geopandas.GeoDataFrame or pandas.DataFrame
        The table, sorted as given, with a plain `RangeIndex`.

    Raises
    ------
    TableError
        If the columns break the contract; every fault is listed.
    """
    spec = TABLES[name]
    types = {column: kind for column, kind in spec.columns.items() if column in columns}
    data = {column: _cast(columns[column], kind) for column, kind in types.items()}
    if spec.geometry is not None and "geometry" in columns:
        data["geometry"] = gpd.GeoSeries(np.asarray(columns["geometry"], dtype=object), crs=crs)
    rows = {column: len(cells) for column, cells in data.items()}
    if len(set(rows.values())) > 1:
        raise TableError(f"table {name!r} has columns of unlike length: {rows}")
    table = pd.DataFrame(data)
    return check(name, gpd.GeoDataFrame(table, crs=crs) if "geometry" in data else table, key=key)


def empty(name: str, *, crs: Any = None) -> Any:
    """Make a table without rows."""
    return make(name, dict.fromkeys((*TABLES[name].columns, "geometry"), ()), crs=crs)


def _cast(values: Any, kind: str) -> "pd.Series[Any]":
    series = pd.Series(values, dtype=object if len(values) == 0 else None).reset_index(drop=True)
    try:
        # What a cast would bend in silence is left as it is, and `check` names it.
        return series.astype(_DTYPES[kind]) if _fits(series, kind) else series
    except (TypeError, ValueError):
        return series


def _fits(series: "pd.Series[Any]", kind: str) -> bool:
    if len(series) and _holds(series, kind):
        return True
    if kind == "text":
        return series.dtype != object or bool(series.map(pd.api.types.is_scalar).all())
    if kind == "flag":
        return bool(series.isin([True, False]).all())
    return kind == "number" or bool((series.astype("float64") % 1 == 0).all())


def check(name: str, table: Any, *, key: bool = True, only: Collection[str] | None = None) -> Any:
    """Return `table` unchanged if it keeps the contract of `name`.

    Without `key` it is left to the caller, who has a quicker way, whether the key is unique. With
    `only`, these columns alone are checked, of a table that was checked before they changed.

    Raises
    ------
    TableError
        If it does not: the message lists every fault found, with an example row of each.
    """
    spec = TABLES[name]
    found = {
        column: _column_faults(table[column], kind, spec)
        if column in table
        else [f"column {column!r} is missing"]
        for column, kind in spec.columns.items()
        if only is None or column in only
    }
    faults = [fault for column in found for fault in found[column]]
    if key and only is None and not any(found[column] for column in spec.key):
        faults += _key_faults(table, spec.key)
    if spec.geometry is not None and only is None:
        faults += _geometry_faults(table, spec.geometry)
    if faults:
        raise TableError(f"table {name!r} breaks the data contract: " + "; ".join(faults))
    return table


def _column_faults(column: "pd.Series[Any]", kind: str, spec: TableSpec) -> list[str]:
    name = str(column.name)
    faults = []
    missing = column.isna()
    good = _holds(column, kind) or (kind == "text" and missing.all())
    if len(column) and not good:
        return [f"column {name!r} should hold {kind} values, not {column.dtype}"]
    if missing.any() and name not in spec.may_miss:
        faults.append(f"column {name!r} has {missing.sum()} missing cells")
    present = column[~missing] if missing.any() else column
    if kind == "number" and len(present) and not np.isfinite(present.to_numpy()).all():
        faults.append(f"column {name!r} holds infinite numbers")
    if kind == "number" and name.endswith(("_m", "_m2")) and (present < 0).any():
        faults.append(f"column {name!r} holds lengths below 0")
    allowed = (spec.allowed or {}).get(name)
    if allowed is not None:
        strange = sorted(set(present.unique()) - set(allowed))
        if strange:
            faults.append(f"column {name!r} holds {strange[:3]}, allowed are {list(allowed)}")
    return faults


def _holds(column: "pd.Series[Any]", kind: str) -> bool:
    if kind == "text":
        # A column of this type holds nothing else, and need not be gone through.
        plain = isinstance(column.dtype, pd.StringDtype)
        return plain or pd.api.types.infer_dtype(column) == "string"
    tests = {
        "number": pd.api.types.is_float_dtype,
        "whole": pd.api.types.is_integer_dtype,
        "flag": pd.api.types.is_bool_dtype,
    }
    return bool(tests[kind](column.dtype))


def _key_faults(table: Any, key: tuple[str, ...]) -> list[str]:
    twice = table.duplicated(list(key))
    if not twice.any():
        return []
    example = ", ".join(str(value) for value in table.loc[twice, list(key)].iloc[0])
    return [f"key {' + '.join(key)} is not unique ({twice.sum()} rows too many, e.g. {example})"]


def _geometry_faults(table: Any, types: tuple[str, ...]) -> list[str]:
    if not isinstance(table, gpd.GeoDataFrame) or table.active_geometry_name != "geometry":
        return ["it has no geometry column"]
    faults = []
    if table.crs is None:
        faults.append("its CRS is missing; give the projected CRS in metres")
    elif not table.crs.is_projected or table.crs.axis_info[0].unit_name != "metre":
        faults.append(f"its CRS {table.crs.name!r} is not in metres; project it first")
    shapes = table.geometry.array
    kind = shapely.get_type_id(shapes)
    absent = (kind < 0) | shapely.is_empty(shapes)
    if absent.any():
        faults.append(f"{absent.sum()} rows have no geometry")
    allowed = [shapely.GeometryType[name.upper()] for name in types]
    strange = ~absent & ~np.isin(kind, allowed)
    if strange.any():
        names = sorted(set(table.geometry[strange].geom_type))
        faults.append(f"geometry is {names}, allowed are {list(types)}")
    return faults
