"""The workspace: one GeoPackage per city that holds every table and a manifest."""

import json
import platform
import shutil
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pyproj
import shapely

from survey import tables
from survey.errors import TableError, WorkspaceError
from survey.frame.frame import Frame
from survey.frame.streets import Streets
from survey.geopackage import write_layers
from survey.sources.area import Area
from survey.sources.extract import OsmData
from survey.staging import guard_writing, publish_files, refuse_existing, stage_files

NOTICE = "Contains data © OpenStreetMap contributors, available under the ODbL 1.0"
"""The notice that goes with everything made from OpenStreetMap."""

Report = Callable[[str], None]
"""Takes one line that says what goes on."""

_RAW = {"osm_streets": "streets", "osm_features": "features", "osm_problems": "problems"}
_LIBRARIES = ("survey", "geopandas", "shapely", "pyproj", "osmium", "scipy", "numpy", "pandas")
_PLACES = ("points", "alleys", "compounds", "toilets", "candidates", "facilities")
_FRAME = (*_PLACES, "doors", "subdistricts")


@dataclass(frozen=True, eq=False)
class Workspace:
    """A workspace on disk; tables are read when they are asked for.

    Attributes
    ----------
    path
        The GeoPackage.
    manifest
        Inputs with their SHA-256, parameters, seeds, versions, the area and the ODbL notice.
    names
        The tables that it holds.
    """

    path: Path
    manifest: dict[str, Any]
    names: frozenset[str] = field(default_factory=frozenset)

    def read(self, name: str) -> Any:
        """Read one table.

        Raises
        ------
        WorkspaceError
            If the workspace does not hold it; the message names the verb that makes it.
        TableError
            If it cannot be read, breaks the contract, or is in another CRS than the workspace.
        """
        if name not in self.names:
            raise WorkspaceError(
                f"{self.path} holds no table {name!r} yet; run {_maker(name)} on it first"
            )
        try:
            table = pyogrio.read_dataframe(self.path, layer=name)
            spec = tables.TABLES.get(name)
            for column, kind in (spec.columns if spec else {}).items():
                if kind == "text" and column in table:
                    table[column] = table[column].astype("str")
            if spec is not None:
                self._check(name, table)
        except (TableError, RuntimeError, shapely.errors.ShapelyError) as fault:
            raise TableError(f"{self.path}: {fault}; {_maker(name)} makes it anew") from None
        return table

    def _check(self, name: str, table: Any) -> None:
        tables.check(name, table)
        crs = self.manifest["crs"]
        if isinstance(table, gpd.GeoDataFrame) and table.crs != crs:
            raise TableError(f"table {name!r} is in {table.crs.name!r}, the workspace in {crs}")

    def read_all(self) -> dict[str, Any]:
        """Read every table of the data contract that it holds, in the contract's order."""
        return {name: self.read(name) for name in tables.TABLES if name in self.names}

    def count_rows(self) -> dict[str, int]:
        """Count the rows of every table."""
        order = [*tables.TABLES, *_RAW]
        return {
            name: int(
                pyogrio.read_info(self.path, layer=name, force_feature_count=True)["features"]
            )
            for name in order
            if name in self.names
        }

    @property
    def area(self) -> Area:
        """The area that was surveyed."""
        return Area(shapely.from_wkt(self.manifest["area"]), self.manifest["name"])

    def read_osm(self) -> OsmData:
        """Read what was fetched from OpenStreetMap."""
        raw = {part: self.read(name) for name, part in _RAW.items()}
        nodes = np.fromstring(" ".join(raw["streets"].pop("nodes")), dtype=np.int64, sep=" ")
        # What was fetched since the frame was built stands under its own key until the next frame.
        known = {"data_edge": self.manifest["data_edge"], "osm": self.manifest["inputs"]["osm"]}
        latest = self.manifest.get("renewed", known)
        edge, source = shapely.from_wkt(latest["data_edge"]), dict(latest["osm"])
        return OsmData(self.area, **raw, street_nodes=nodes, data_edge=edge, source=source)

    def read_frame(self) -> Frame:
        """Read the frame."""
        streets = Streets(self.read("nodes"), self.read("edges"))
        parts = {name: self.read(name) for name in _FRAME}
        edge = shapely.from_wkt(self.manifest["data_edge"])
        source = dict(self.manifest["inputs"])
        return Frame(
            self.area,
            streets,
            **parts,
            quality=self.read("quality"),
            data_edge=edge,
            source=source,
        )


def open_workspace(path: str | Path) -> Workspace:
    """Open a workspace.

    Raises
    ------
    WorkspaceError
        If the file is missing, is no workspace, or was made by another version of the contract.
    """
    file = Path(path)
    try:
        with file.open("rb"):
            pass
    except OSError as fault:
        raise WorkspaceError(
            f"{file}: {fault.strerror}; give a workspace that survey fetch or survey run made"
        ) from None
    try:
        names = {str(name) for name in pyogrio.list_layers(file)[:, 0]}
        text = pyogrio.read_dataframe(file, layer="manifest")["json"].iloc[0]
        manifest = json.loads(text)
        contract = manifest["contract"]
    except (RuntimeError, ValueError, LookupError, TypeError):
        raise WorkspaceError(
            f"{file} is no workspace of survey, or is damaged; make it with survey fetch or run"
        ) from None
    if contract != tables.CONTRACT:
        raise WorkspaceError(
            f"{file} was made by version {contract} of the data contract, this"
            f" is version {tables.CONTRACT}; make the workspace anew with survey fetch or run"
        )
    return Workspace(file, manifest, frozenset(names - {"manifest"}))


def start_manifest(osm: OsmData) -> dict[str, Any]:
    """Make the manifest of a new workspace."""
    return {
        "contract": tables.CONTRACT,
        "name": osm.area.name,
        "area": shapely.to_wkt(osm.area.polygon, rounding_precision=-1),
        "data_edge": shapely.to_wkt(osm.data_edge, rounding_precision=-1),
        "crs": osm.area.crs.to_string(),
        "inputs": {"osm": dict(osm.source)},
        "parameters": {},
        "seeds": {},
        "notice": NOTICE,
    }


def osm_tables(osm: OsmData) -> dict[str, Any]:
    """Name the raw tables of a workspace."""
    raw = {name: getattr(osm, part) for name, part in _RAW.items()}
    counts = shapely.get_num_coordinates(osm.streets.geometry.array)
    between = np.full(len(osm.street_nodes), " ")
    between[np.cumsum(counts) - 1] = "\n"
    pairs = zip(map(str, osm.street_nodes.tolist()), between.tolist(), strict=True)
    nodes = "".join(chain.from_iterable(pairs)).splitlines()
    streets = osm.streets.copy()
    streets.insert(2, "nodes", pd.Series(nodes, index=streets.index, dtype="str"))
    return raw | {"osm_streets": streets}


def save_workspace(
    path: str | Path,
    content: Mapping[str, Any],
    manifest: Mapping[str, Any],
    *,
    replace: bool = False,
) -> Workspace:
    """Write a new workspace; a killed or failed run leaves what stood there.

    Raises
    ------
    OutputError
        If the file exists and `replace` is false, or it cannot be written.
    TableError
        If a table breaks the contract.
    """
    file = Path(path)
    refuse_existing([file], replace=replace)
    return _write(file, content, manifest, keep=False)


def update_workspace(
    workspace: Workspace, content: Mapping[str, Any], manifest: Mapping[str, Any]
) -> Workspace:
    """Replace some tables and the manifest; a killed or failed run leaves the old file whole.

    Raises
    ------
    OutputError
        If the file cannot be written.
    TableError
        If a table breaks the contract.
    """
    return _write(workspace.path, content, manifest, keep=True)


def _write(
    file: Path, content: Mapping[str, Any], manifest: Mapping[str, Any], *, keep: bool
) -> Workspace:
    for name, table in content.items():
        if name in tables.TABLES:
            tables.check(name, table)
    versions = {name: version(name) for name in _LIBRARIES}
    versions |= {"python": platform.python_version(), "proj": pyproj.proj_version_str}
    text = json.dumps({**manifest, "versions": versions}, ensure_ascii=False, sort_keys=True)
    text = text.encode("utf-8", "replace").decode()  # a file name may be in another encoding
    types = {
        name: _geometry_type(name, table)
        for name, table in content.items()
        if isinstance(table, gpd.GeoDataFrame)
    }
    with stage_files(file.parent) as folder:
        with guard_writing(file):
            new = folder / file.name
            if keep:
                shutil.copyfile(file, new)
            write_layers(new, {**content, "manifest": pd.DataFrame({"json": [text]})}, types)
            _settle(new)
        publish_files(folder, file.parent, [file.name])
    return open_workspace(file)


def _geometry_type(name: str, table: gpd.GeoDataFrame) -> str:
    spec = tables.TABLES.get(name)
    if spec and spec.geometry:
        allowed = spec.geometry
    else:
        kinds = shapely.get_type_id(table.geometry.array)
        one_each = np.unique(kinds, return_index=True)[1]
        allowed = tuple(table.geometry.iloc[one_each].geom_type)
    return allowed[0] if len(allowed) == 1 else "Unknown"


def _settle(file: Path) -> None:
    """Give every layer the same date, so that equal inputs make equal files."""
    with sqlite3.connect(file) as database:
        database.execute("UPDATE gpkg_contents SET last_change = '2000-01-01T00:00:00.000Z'")
    database.close()


def _maker(name: str) -> str:
    if name in _RAW:
        return "survey fetch"
    makers = {"rounds": "survey draw", "draws": "survey draw", "mocks": "survey draw --mock"}
    makers |= {name: f"survey {name}" for name in ("odds", "priorities")}
    audits = dict.fromkeys(("audit", "covered", "gaps", "shares", "checks"), "survey audit")
    makers["sites"] = "survey site"
    return (makers | audits).get(name, "survey frame")
