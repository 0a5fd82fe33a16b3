"""The whole job for one city, from its config to its workspace, maps, report and tables."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pandas as pd

from survey.config import REACH_M, CityConfig, check_radius
from survey.coverage.audit import Audit, audit_coverage
from survey.errors import DesignError, OutputError, WorkspaceError
from survey.fetching import read_source
from survey.frame.assembly import build_frame
from survey.frame.frame import Frame
from survey.outputs.exports import export_tables
from survey.outputs.ground import find_ground, find_names
from survey.outputs.maps import name_maps, save_maps
from survey.outputs.report import name_report, save_report
from survey.records import add_round, find_stale, note_odds, show_rounds
from survey.sampling.draw import Draw, draw_round, hash_frame
from survey.sampling.odds import visit_odds
from survey.sampling.reach import measure_catchments, measure_reach
from survey.sources.extract import OsmData
from survey.staging import guard_writing, publish_files, refuse_existing, stage_files
from survey.tables import TABLES, empty
from survey.workspace import (
    Report,
    Workspace,
    open_workspace,
    osm_tables,
    save_workspace,
    start_manifest,
)

MOST_CATCHMENTS = 500
"""How many points at most have their catchments drawn."""

_RECORDS = ("rounds", "draws", "mocks")
_OF_FRAME = {"audit": "audit", "odds": "odds", "priorities": "priorities", "sites": "site"}


@dataclass(frozen=True, eq=False)
class CityResult:
    """What `run_city` made: the tables that it is about, and where the files are.

    `odds` is None if no round can satisfy the design.
    """

    frame: Frame
    draw: Draw
    odds: pd.DataFrame | None
    audit: Audit
    workspace: Path
    maps: list[Path]
    report: Path
    tables: list[Path]

    @property
    def files(self) -> list[Path]:
        """All files."""
        return [self.workspace, *self.maps, self.report, *self.tables]

    @property
    def map(self) -> Path:
        """The map of everything; ``index.html``, which leads to all of them, is `maps`' first."""
        return self.maps[1]


def run_city(
    config: CityConfig, folder: str | Path, *, replace: bool = False, report: Report = print
) -> CityResult:
    """Do the whole job for one city.

    Parameters
    ----------
    config
        What `read_config` read.
    folder
        Where to write ``<stem>.gpkg``, the maps, the report, an index that leads to all of them,
        and a CSV of every table. What an earlier run for the same city left is replaced, its
        rounds of other ids kept.
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
    workspace, printed = f"{config.stem}.gpkg", name_report(config.stem)
    pages = [*name_maps(config.stem), printed]
    earlier = _find_earlier(home, config, [workspace, *pages], replace=replace)
    osm = read_source(config, report, cache=home / f"{config.stem}.answers")
    with stage_files(home) as stage:
        report("building the frame")
        frame = build_frame(osm, **config.layers, datum=config.datum)
        content, reach = frame_tables(frame, report)
        report("drawing")
        draw = draw_round(frame, reach, config.design, round_id=config.round_id, seed=config.seed)
        odds = _work_out_odds(frame, reach, config, report)
        report("auditing coverage")
        audit = audit_coverage(frame, rules=config.rules, min_share=config.min_share)
        manifest = _begin_manifest(osm, frame, config, odds)
        rounds = add_round(earlier, draw, manifest)
        report(f"writing {home}")
        made = content | rounds | audit.tables | ({} if odds is None else {"odds": odds})
        made |= _keep_mocks(earlier, report)
        tables = [path.name for path in export_tables(made, stage)]
        others = [printed, workspace, *tables]
        maps = _draw_maps(stage, config.stem, frame, osm, made, audit, others, report)
        manifest["files"] = [*(path.name for path in maps), printed, *tables]
        save_workspace(stage / workspace, osm_tables(osm) | made, manifest)
        save_report(stage / printed, open_workspace(stage / workspace))
        # The workspace goes first: it names the others as files of this run.
        paths = publish_files(stage, home, [workspace, *manifest["files"]])
        _remove_left(home, config.stem, earlier, manifest["files"])
    end = len(maps) + 1
    return CityResult(
        frame, draw, odds, audit, paths[0], paths[1:end], paths[end], paths[end + 1 :]
    )


def _begin_manifest(
    osm: OsmData, frame: Frame, config: CityConfig, odds: pd.DataFrame | None
) -> dict[str, Any]:
    manifest = start_manifest(osm)
    manifest["inputs"]["layers"] = frame.source.get("layers", {})
    asked = {"rules": list(config.rules), "min_share": config.min_share}
    manifest["parameters"]["audit"] = asked
    return manifest if odds is None else note_odds(manifest, config.design)


def _draw_maps(
    folder: Path,
    stem: str,
    frame: Frame,
    osm: OsmData,
    made: Mapping[str, Any],
    audit: Audit,
    others: list[str],
    report: Report,
) -> list[Path]:
    rounds = made["rounds"]
    stale = find_stale(rounds, rounds["frame_hash"].iloc[-1], report)
    shown = {name: made.get(name) for name in ("odds", "reach", "catchments", "mocks")}
    shown |= show_rounds(rounds, made["draws"], stale)
    shown |= {"ground": find_ground(osm.features), "names": find_names(osm), "audit": audit}
    return save_maps(folder, stem, frame, others=others, **cast("Any", shown))


def _keep_mocks(earlier: Workspace | None, report: Report) -> dict[str, pd.DataFrame]:
    """Keep the mock rounds of an earlier run; its priorities are of another frame."""
    names = frozenset() if earlier is None else earlier.names
    if "priorities" in names:
        report("the priorities of the earlier run are dropped; run survey priorities again")
    return {name: earlier.read(name) for name in ("mocks",) if earlier and name in names}


def _remove_left(home: Path, stem: str, earlier: Workspace | None, files: list[str]) -> None:
    """Remove what an earlier run left and this one does not make, such as a table of odds."""
    made = set() if earlier is None else set(earlier.manifest.get("files", []))
    # Nothing else, whatever the manifest says.
    ours = {f"{name}.csv" for name in TABLES} | {*name_maps(stem), name_report(stem)}
    for path in (home / name for name in sorted(made & ours - set(files))):
        with guard_writing(path):
            path.unlink(missing_ok=True)


def _work_out_odds(
    frame: Frame, reach: Any, config: CityConfig, report: Report
) -> pd.DataFrame | None:
    """Work out the odds; a city without anything to draw is told so, and gets none."""
    report("working out the odds")
    try:
        check_radius(config.design, band=True)
        return visit_odds(frame, reach, config.design)
    except DesignError as fault:
        report(f"no odds: {fault}")
        return None


def frame_tables(frame: Frame, report: Report) -> tuple[dict[str, Any], Any]:
    """Measure reach and catchments; return all tables of the frame by name, and the reach.

    A catchment takes a tenth of a second, for maps that show some hundred points at most; a frame
    of more than `MOST_CATCHMENTS` points has an empty table of them.
    """
    report("measuring reach")
    reach = measure_reach(frame, limit_m=REACH_M)
    if len(frame.points) > MOST_CATCHMENTS:
        report(
            f"no catchments: {len(frame.points):,} points are more than {MOST_CATCHMENTS:,};"
            " survey.measure_catchments draws them"
        )
        catchments = empty("catchments", crs=frame.area.crs)
    else:
        report("drawing catchments")
        catchments = measure_catchments(frame)
    return frame.tables | {"reach": reach, "catchments": catchments}, reach


def rebuild_frame(
    workspace: Workspace,
    layers: Mapping[str, Any],
    *,
    datum: str = "detect",
    report: Report = print,
) -> dict[str, Any]:
    """Build the frame of a workspace from what was fetched into it, and store it there.

    Audit, odds and priorities of the earlier frame are dropped; rounds and mock rounds stay, as a
    record.

    Parameters
    ----------
    workspace
        What `open_workspace` opened.
    layers
        Layer name to the city's own file, or ``None``.
    datum
        wgs84, gcj02, bd09 or detect: what the coordinates of `layers` are in.
    report
        Told what goes on, one line at a time.

    Returns
    -------
    dict
        The tables made, by name.

    Raises
    ------
    SurveyError
        If an input cannot be used or the workspace cannot be written; it is unharmed then.
    """
    osm = workspace.read_osm()
    report("building the frame")
    frame = build_frame(osm, datum=datum, **layers)
    made, reach = frame_tables(frame, report)
    start = start_manifest(osm)
    manifest = workspace.manifest | {
        "data_edge": start["data_edge"],
        "inputs": start["inputs"] | {"layers": frame.source.get("layers", {})},
        "parameters": {
            name: value
            for name, value in workspace.manifest["parameters"].items()
            if name not in _OF_FRAME
        },
    }
    manifest.pop("renewed", None)
    kept = {name: workspace.read(name) for name in _RECORDS if name in workspace.names}
    if "rounds" in kept:
        find_stale(kept["rounds"], hash_frame(frame, reach), report)
    for name, maker in _OF_FRAME.items():
        if name in workspace.names:
            verb = "is" if name == "audit" else "are"
            report(f"the {name} of the earlier frame {verb} dropped; run survey {maker} again")
    report(f"writing {workspace.path}")
    save_workspace(workspace.path, osm_tables(osm) | made | kept, manifest, replace=True)
    return made


def _find_earlier(
    home: Path, config: CityConfig, names: list[str], *, replace: bool
) -> Workspace | None:
    """Find what an earlier run for the same city left; refuse to write over anything else."""
    names = [*names, *(f"{table}.csv" for table in TABLES)]
    inputs = [config.extract, config.polygon, config.data_edge, *config.layers.values()]
    given = {file.resolve() for file in inputs if file is not None}
    for path in (home / name for name in names):
        if path.resolve() in given:
            raise OutputError(f"{path} is an input of this run; choose another folder with --out")
    earlier = None
    with suppress(WorkspaceError):
        earlier = open_workspace(home / names[0])
    if earlier is not None and earlier.manifest["name"] != config.name:
        earlier = None
    ours = [] if earlier is None else [names[0], *earlier.manifest.get("files", [])]
    refuse_existing(
        [home / name for name in names if name not in ours],
        replace=replace,
        advice=f"it is not of an earlier run for {config.name!r}: choose another folder with"
        " --out, or pass --replace",
    )
    return earlier
