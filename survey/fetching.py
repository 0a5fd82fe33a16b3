"""OpenStreetMap into a workspace: from an extract or live, and again when it has changed."""

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import pandas as pd
import shapely

from survey.config import CityConfig
from survey.errors import WorkspaceError
from survey.frame.kinds import find_kind, find_name
from survey.frame.tags import match_any, read_tags
from survey.sources.area import GEOCODER, Area, find_area, find_place
from survey.sources.extract import OsmData, read_extract
from survey.workspace import (
    Report,
    Workspace,
    open_workspace,
    osm_tables,
    save_workspace,
    start_manifest,
    update_workspace,
)

_PLACE_S = 120  # an answer of a few hundred kilobytes


def read_source(config: CityConfig, report: Report, *, cache: Path | None = None) -> OsmData:
    """Read the OpenStreetMap data that a config names: a workspace, an extract, or live data.

    Parameters
    ----------
    config
        What `read_config` read.
    report
        Told what goes on, one line at a time.
    cache
        Where whole answers of servers are kept, if the config does not say.

    Returns
    -------
    OsmData

    Raises
    ------
    SurveyError
        If the source cannot be read, no server answers, or the area is not in it.
    """
    if config.workspace is not None:
        if config.place or config.bbox or config.polygon or config.data_edge:
            raise WorkspaceError(
                f"{config.workspace} holds its area already; leave out place, bbox, polygon,"
                " data_edge"
            )
        report(f"reading {config.workspace}")
        osm = open_workspace(config.workspace).read_osm()
        return dataclasses.replace(osm, area=dataclasses.replace(osm.area, name=config.name))
    start = time.monotonic()
    polygon: Any = config.polygon
    if config.place is not None:
        polygon = find_place(
            config.place,
            geocoder=config.geocoder or GEOCODER,
            time_limit_s=min(config.time_limit_s, _PLACE_S),
            report=report,
        )
    area = find_area(
        extract=config.extract,
        bbox=config.bbox,
        polygon=polygon,
        data_edge=config.data_edge,
        name=config.name or config.place or "",
    )
    left_s = max(config.time_limit_s - (time.monotonic() - start), 0)
    return _read_area(area, dataclasses.replace(config, time_limit_s=left_s), report, cache=cache)


def _read_area(
    area: Area, config: CityConfig, report: Report, *, cache: Path | None, newer_than: str = ""
) -> OsmData:
    if config.extract is not None:
        report(f"reading {config.extract}")
        return read_extract(config.extract, area)
    from survey.sources.overpass import fetch_osm  # what asks servers is not needed for files

    return fetch_osm(
        area,
        endpoints=config.endpoints or None,
        time_limit_s=config.time_limit_s,
        cache=config.cache or cache,
        newer_than=newer_than,
        report=report,
    )


def refresh_workspace(
    workspace: Workspace, config: CityConfig, report: Report, *, cache: Path | None = None
) -> pd.DataFrame:
    """Fetch a workspace's area again, and store the new data beside what was made of the old.

    Frame, audit, rounds and all else stay as they are until `rebuild_frame` builds on the new
    data; the manifest says under ``renewed`` that there are some. Where nothing has changed, the
    workspace is not touched.

    Parameters
    ----------
    workspace
        What `open_workspace` opened.
    config
        The extract, where it is not live data, and how to ask servers; its area is not read.
    report
        Told what goes on, and what is stale.
    cache
        Where whole answers of servers are kept, if the config does not say. Answers that are no
        newer than the workspace are not used.

    Returns
    -------
    pandas.DataFrame
        What `compare_osm` found.

    Raises
    ------
    WorkspaceError
        If the workspace was made from an extract and the config names none.
    SurveyError
        If the source cannot be read or the workspace cannot be written; it is unharmed then.
    """
    old = workspace.read_osm()
    if config.extract is None and "answers" not in old.source:
        raise WorkspaceError(
            f"{workspace.path} was read from {old.source['path']}; name the file to read again"
            " with --extract"
        )
    area = find_area(
        extract=config.extract,
        polygon=workspace.area.polygon,
        data_edge=config.data_edge,
        name=workspace.area.name,
    )
    known = old.source.get("osm_date_newest", "")
    osm = _read_area(area, config, report, cache=cache, newer_than=known)
    changes = compare_osm(old, osm)
    date = old.source.get("osm_date") or "it was fetched"
    if changes.empty:
        report(f"nothing has changed since {date}; {workspace.path} stays as it is")
        return changes
    _store_fresh(workspace, osm)
    if "points" in workspace.names:
        date = workspace.manifest["inputs"]["osm"].get("osm_date") or "an earlier date"
        report(
            f"the frame in {workspace.path}, and all that was made from it, is stale: it still"
            f" shows OpenStreetMap of {date}; run survey frame to build it on the new data"
        )
    return changes


def _store_fresh(workspace: Workspace, osm: OsmData) -> None:
    if "points" not in workspace.names:
        save_workspace(workspace.path, osm_tables(osm), start_manifest(osm), replace=True)
        return
    edge = shapely.to_wkt(osm.data_edge, rounding_precision=-1)
    renewed = {"osm": dict(osm.source), "data_edge": edge}
    update_workspace(workspace, osm_tables(osm), workspace.manifest | {"renewed": renewed})


def compare_osm(old: OsmData, new: OsmData) -> pd.DataFrame:
    """Compare what was fetched of one area at two times, by the ids of OpenStreetMap.

    Returns
    -------
    pandas.DataFrame
        One row per object that differs in tags or geometry: ``layer`` (street, feature), ``id``,
        ``change`` (added, removed, changed), ``name`` (may be missing) and ``kind`` (toilet, a
        kind of fixed point, or missing), by layer and id.
    """
    parts = (("street", "streets", "way_id"), ("feature", "features", "osm_id"))
    tables = []
    for layer, part, key in parts:
        before, after = (_list_rows(getattr(osm, part), key) for osm in (old, new))
        tables.append(_compare_tables(before, after, layer))
    return pd.concat(tables, ignore_index=True)


def _list_rows(table: Any, key: str) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": table[key].astype("str").to_numpy(),
            "tags": table["tags"].astype("str").to_numpy(),
            "shape": shapely.to_wkb(table.geometry.array),
        }
    )


def _compare_tables(old: pd.DataFrame, new: pd.DataFrame, layer: str) -> pd.DataFrame:
    both = old.merge(new, how="outer", on=["id", "tags", "shape"], indicator="side")
    differ = both[both["side"] != "both"]
    rows = []
    for key, group in differ.groupby("id", sort=True):
        before, after = (
            [json.loads(text) for text in group.loc[group["side"] == side, "tags"]]
            for side in ("left_only", "right_only")
        )
        tags = [*after, *before]
        kinds = [_name_kind(each) if layer == "feature" else None for each in tags]
        names = [find_name(each) for each in tags]
        rows.append((layer, key, next(filter(None, names), None), next(filter(None, kinds), None)))
    found = pd.DataFrame(rows, columns=["layer", "id", "name", "kind"], dtype="str")
    change = pd.Series("changed", index=found.index, dtype="str")
    change[~found["id"].isin(old["id"])] = "added"
    change[~found["id"].isin(new["id"])] = "removed"
    found.insert(2, "change", change)
    return found


def _name_kind(tags: dict[str, str]) -> str | None:
    if match_any(tags, read_tags()["toilets"]["tags"]):
        return "toilet"
    return find_kind(tags)[0]
