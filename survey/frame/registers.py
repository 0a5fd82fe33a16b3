"""The city's own registers, brought into the area's CRS."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import geopandas as gpd
import numpy as np

from survey.errors import InputError
from survey.frame.blocks import are_polygons
from survey.frame.streets import Streets
from survey.frame.tags import find_tagged, read_tags
from survey.sources.area import WGS84, Area
from survey.sources.datum import Reference, settle_datum
from survey.sources.extract import hash_file
from survey.sources.layers import read_layer

Register: TypeAlias = gpd.GeoDataFrame | str | Path
"""A layer as `read_layer` gives it, or the file that it is in."""


def read_registers(
    given: Mapping[str, Register | None],
    *,
    datum: str,
    area: Area,
    streets: Streets,
    features: gpd.GeoDataFrame,
) -> tuple[dict[str, gpd.GeoDataFrame], dict[str, Any]]:
    """Read registers, settle their datum and project them.

    Parameters
    ----------
    given
        Layer name (points, toilets, alleys, compounds, subdistricts) to register or ``None``.
    datum
        wgs84, gcj02, bd09 or detect.
    area, streets, features
        What the positions are compared with to tell their datum.

    Returns
    -------
    registers
        Layer name to table in the area's CRS, of those that were given.
    sources
        Layer name to ``path`` and ``sha256`` (for files), ``datum`` (the one that the positions
        were taken to be in) and ``datum_asked`` (what was given, such as detect), for the
        manifest.

    Raises
    ------
    InputError, LayerError, DatumError
        As `read_layer` and `settle_datum` say.
    """
    registers, sources = {}, {}
    for layer, register in given.items():
        if register is None:
            continue
        source: dict[str, Any] = {}
        if isinstance(register, gpd.GeoDataFrame):
            if register.crs is None:
                raise InputError(f"the {layer} given have no CRS; set it, WGS-84 is EPSG:4326")
            name, table = layer, register.to_crs(WGS84)
        else:
            name, table = str(register), read_layer(register, layer)
            source |= {"path": Path(register).name, "sha256": hash_file(register)}
        reference = Reference(
            streets=np.asarray(streets.edges.geometry.array),
            buildings=_areas(features, {"building": ["*"]}),
            alike=_alike(features, layer),
            crs=area.crs,
        )
        settled, used = settle_datum(table, datum=datum, reference=reference, name=name)
        registers[layer] = settled.to_crs(area.crs)
        sources[layer] = source | {"datum": used, "datum_asked": datum}
    return registers, sources


def _areas(features: gpd.GeoDataFrame, tags: Mapping[str, list[str]]) -> Any:
    return np.asarray(features.geometry.array[are_polygons(features, tags)])


def _alike(features: gpd.GeoDataFrame, layer: str) -> Any:
    rules = read_tags()["datum"].get(layer, {})
    return np.asarray(features.geometry.array[find_tagged(features, rules)])
