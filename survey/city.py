"""The whole job for one city, from its config to its workspace, map and tables."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from survey.config import CityConfig
from survey.coverage.audit import Audit, audit_coverage
from survey.errors import ConfigError, OutputError, WorkspaceError
from survey.frame.assembly import build_frame
from survey.frame.frame import Frame
from survey.outputs.exports import export_tables
from survey.outputs.maps import save_map
from survey.sampling.draw import Draw, draw_round
from survey.sampling.reach import measure_catchments, measure_reach
from survey.sources.area import find_area
from survey.sources.extract import OsmData, read_extract
from survey.workspace import (
    Workspace,
    add_round,
    open_workspace,
    osm_tables,
    save_workspace,
    start_manifest,
)

Report = Callable[[str], None]
"""Takes one line that says what goes on."""


@dataclass(frozen=True, eq=False)
class CityResult:
    """What `run_city` made: the tables that it is about, and where the files are."""

    frame: Frame
    draw: Draw
    audit: Audit
    workspace: Path
    map: Path
    tables: list[Path]


def run_city(
    config: CityConfig, folder: str | Path, *, replace: bool = False, report: Report = print
) -> CityResult:
    """Do the whole job for one city.

    Parameters
    ----------
    config
        What `read_config` read.
    folder
        Where to write ``<stem>.gpkg``, ``<stem>.html`` and a CSV of every table. What an earlier
        run for the same city left there is replaced, its rounds of other ids kept.
    replace
        Replace files of these names even if they are another city's.
    report
        Told what goes on, one line at a time.

    Returns
    -------
    CityResult

    Raises
    ------
    SurveyError
        If an input cannot be used or an output cannot be written; nothing of an earlier run is
        harmed then.
    """
    home = Path(folder)
    path = home / f"{config.stem}.gpkg"
    earlier = _find_earlier(path, config, replace=replace)
    osm = read_source(config, report)
    report("building the frame")
    frame = build_frame(osm, **config.layers, datum=config.datum)
    content, reach = frame_tables(frame, report)
    report("drawing")
    draw = draw_round(frame, reach, config.design, round_id=config.round_id, seed=config.seed)
    report("auditing coverage")
    audit = audit_coverage(frame, rules=config.rules, min_share=config.min_share)
    manifest = start_manifest(osm)
    manifest["inputs"]["layers"] = frame.source.get("layers", {})
    manifest["parameters"]["audit"] = {
        "rules": list(config.rules),
        "min_share": config.min_share,
    }
    rounds = add_round(earlier, draw, manifest)
    report(f"writing {home}")
    tables = content | rounds | audit.tables
    files = export_tables(tables, home, replace=True)
    map_path = save_map(
        home / f"{config.stem}.html", frame, draw=draw, audit=audit, reach=reach, replace=True
    )
    save_workspace(path, osm_tables(osm) | tables, manifest, replace=True)
    return CityResult(frame, draw, audit, path, map_path, files)


def read_source(config: CityConfig, report: Report) -> OsmData:
    """Read the OpenStreetMap data that a config names.

    Raises
    ------
    SurveyError
        If the extract or workspace cannot be read, or the area is not in it.
    """
    if config.workspace is not None:
        if config.bbox or config.polygon or config.data_edge:
            raise WorkspaceError(
                f"{config.workspace} holds its area already; leave out bbox, polygon, data_edge"
            )
        report(f"reading {config.workspace}")
        return open_workspace(config.workspace).read_osm()
    if config.extract is None:
        raise ConfigError(f"the config of {config.name!r} names no extract")
    area = find_area(
        extract=config.extract,
        bbox=config.bbox,
        polygon=config.polygon,
        data_edge=config.data_edge,
        name=config.name,
    )
    report(f"reading {config.extract}")
    return read_extract(config.extract, area)


def frame_tables(frame: Frame, report: Report) -> tuple[dict[str, Any], Any]:
    """Measure reach and catchments; return all tables of the frame by name, and the reach."""
    report("measuring reach")
    reach = measure_reach(frame)
    report("drawing catchments")
    catchments = measure_catchments(frame)
    return frame.tables | {"reach": reach, "catchments": catchments}, reach


def _find_earlier(path: Path, config: CityConfig, *, replace: bool) -> Workspace | None:
    """Find what an earlier run for the same city left; refuse to write over anything else."""
    ours = [path, path.with_suffix(".html")]
    standing = [file for file in ours if file.exists()]
    if not standing:
        return None
    try:
        earlier = open_workspace(path)
    except WorkspaceError:
        earlier = None
    if earlier is not None and earlier.manifest["name"] == config.name:
        return earlier
    if not replace:
        names = ", ".join(str(file) for file in standing)
        raise OutputError(
            f"{names} exists and is not an earlier result for {config.name!r}; choose another"
            " folder with --out, or pass --replace"
        )
    return None
