"""What a workspace keeps of rounds, mock rounds and odds, and the map of all that it holds."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd

from survey import tables
from survey.coverage.audit import Audit, audit_coverage
from survey.coverage.rules import Rule
from survey.coverage.siting import add_sites
from survey.errors import TableError, WorkspaceError
from survey.frame.frame import Frame
from survey.outputs.ground import find_ground, find_names
from survey.sampling.design import Design
from survey.sampling.draw import Draw, Verdict, hash_frame, load_draw, verify_round
from survey.sources.extract import hash_file
from survey.staging import refuse_existing
from survey.workspace import Report, Workspace


def add_round(
    workspace: Workspace | None, draw: Draw, manifest: dict[str, Any]
) -> dict[str, pd.DataFrame]:
    """Put a round beside those that a workspace holds; one of the same id is replaced.

    Returns
    -------
    dict
        The tables `rounds` and `draws`. Design and seeds go into `manifest`.
    """
    round_id = draw.round_id
    new = {"rounds": draw.rounds, "draws": draw.draws}
    if workspace is not None and "rounds" in workspace.names:
        for name, table in new.items():
            old = workspace.read(name)
            new[name] = pd.concat([old[old["round_id"] != round_id], table], ignore_index=True)
        new = {name: tables.make(name, table) for name, table in new.items()}
    rounds = new["rounds"]
    manifest["parameters"]["design"] = json.loads(draw.rounds["design"].iloc[0])
    manifest["seeds"] = dict(zip(rounds["round_id"], rounds["seed"], strict=True))
    return new


def add_mock(workspace: Workspace, mocks: pd.DataFrame) -> pd.DataFrame:
    """Put a mock round beside those that a workspace holds; one of the same id is replaced."""
    if "mocks" not in workspace.names:
        return mocks
    old = workspace.read("mocks")
    kept = old[~old["mock_id"].isin(mocks["mock_id"])]
    together: pd.DataFrame = tables.make("mocks", pd.concat([kept, mocks], ignore_index=True))
    return together


def find_mock(workspace: Workspace, mock_id: str) -> pd.DataFrame:
    """Pick one mock round out of a workspace.

    Raises
    ------
    WorkspaceError
        If there is none of that id; the message lists those that there are.
    """
    mocks: pd.DataFrame = workspace.read("mocks")
    found = mocks[mocks["mock_id"] == mock_id]
    if found.empty:
        known = ", ".join(sorted(set(mocks["mock_id"])))
        raise WorkspaceError(f"there is no mock round {mock_id!r}; stored are: {known}")
    return found.reset_index(drop=True)


def find_outdated(manifest: dict[str, Any], design: dict[str, Any] | None) -> list[str]:
    """Say which of odds and priorities are of another design than `design`, a line for each."""
    parameters = manifest["parameters"]
    made_by = {
        "odds": parameters.get("odds"),
        "priorities": parameters.get("priorities", {}).get("design"),
    }
    return [
        f"the {name} stored are of another design; run survey {name} again"
        for name, known in made_by.items()
        if known is not None and known != design
    ]


def note_odds(manifest: dict[str, Any], design: Design) -> dict[str, Any]:
    """Return a manifest that says by which design the odds were worked out."""
    table = design.to_table()
    parameters = manifest["parameters"] | {"design": table, "odds": table}
    return manifest | {"parameters": parameters}


def note_priorities(
    manifest: dict[str, Any], design: Design, condition: Path, asked: dict[str, Any]
) -> dict[str, Any]:
    """Return a manifest that says from which file, and by which design, priorities were ranked."""
    source = {"path": condition.name, "sha256": hash_file(condition)}
    noted = {"design": design.to_table(), "condition": source, **asked}
    return manifest | {"parameters": manifest["parameters"] | {"priorities": noted}}


def verify_rounds(
    workspace: Workspace, *, round_id: str | None = None, commitment: str | None = None
) -> list[Verdict]:
    """Derive the rounds of a workspace again and compare.

    Parameters
    ----------
    workspace
        A workspace with rounds.
    round_id
        One round; all of them if absent.
    commitment
        What `commit_design` gave before the seed was chosen.

    Returns
    -------
    list of Verdict
        One per round, by id; a table that breaks the contract refuses every round.

    Raises
    ------
    WorkspaceError
        If the workspace has no rounds, or none of that id.
    """
    try:
        rounds, draws = workspace.read("rounds"), workspace.read("draws")
    except TableError as fault:
        return [Verdict(accepted=False, reason=str(fault), round_id=round_id or "*")]
    known = sorted({*rounds["round_id"], *draws["round_id"]})
    if not known:
        raise WorkspaceError(f"{workspace.path} holds no round yet; run survey draw on it first")
    chosen = known if round_id is None else [round_id]
    try:
        reach = workspace.read("reach")
        parts = {name: workspace.read(name) for name in ("points", "alleys", "compounds")}
    except TableError as fault:
        return [Verdict(accepted=False, reason=str(fault), round_id=one) for one in chosen]
    frame = SimpleNamespace(**parts)
    lost = "draws has rows of this round, which is not in rounds"
    return [
        verify_round(frame, reach, load_draw(rounds, draws, one), commitment=commitment)
        if one in set(rounds["round_id"]) or one not in known
        else Verdict(accepted=False, reason=lost, round_id=one)
        for one in chosen
    ]


def find_stale(rounds: pd.DataFrame, frame_hash: str, report: Report) -> list[str]:
    """List the rounds that were drawn on another frame, and tell `report`."""
    stale = sorted(rounds.loc[rounds["frame_hash"] != frame_hash, "round_id"])
    if stale:
        report(f"drawn on another frame, so survey verify refuses them: {', '.join(stale)}")
    return stale


def save_workspace_map(
    workspace: Workspace,
    path: str | Path,
    *,
    kind: str | None = None,
    replace: bool = False,
    report: Report = print,
    tiles: Any = None,
) -> Path:
    """Write a map of what a workspace holds; parameters as for `save_map`.

    Rounds that were drawn on another frame are left out, and `report` is told; so it is of odds
    and priorities of another design than the last one.

    Raises
    ------
    WorkspaceError
        If it holds no frame yet.
    OutputError
        If the file exists and `replace` is false, or it cannot be written; or the map needs a
        table that the workspace does not hold.
    """
    from survey.outputs.maps import save_map  # folium takes a second to import

    refuse_existing([Path(path)], replace=replace)
    frame, tables = read_map_tables(workspace, report)
    report(f"drawing {path}")
    return save_map(path, frame, kind=kind, replace=replace, tiles=tiles, **tables)


def save_workspace_maps(
    workspace: Workspace,
    folder: str | Path,
    *,
    replace: bool = False,
    report: Report = print,
    tiles: Any = None,
) -> list[Path]:
    """Write every map that a workspace allows, and an index; as `save_workspace_map` does.

    Returns
    -------
    list of Path
        As from `save_maps`. The index leads to the report and the tables in the folder too.
    """
    from survey.outputs.maps import save_maps  # folium takes a second to import
    from survey.outputs.report import name_report

    home, stem = Path(folder), workspace.path.stem
    refuse_existing([home / "index.html"], replace=replace)
    frame, map_tables = read_map_tables(workspace, report)
    csvs = [f"{table}.csv" for table in tables.TABLES]
    names = [name_report(stem), f"{stem}.gpkg", *csvs]
    others = [name for name in names if (home / name).is_file()]
    report(f"drawing maps into {home}")
    asked = {"replace": replace, "tiles": tiles}
    return save_maps(home, stem, frame, others=others, **asked, **map_tables)


def read_map_tables(workspace: Workspace, report: Report) -> tuple[Frame, Any]:
    """Read the frame, and all that maps show; see `save_workspace_map`."""
    frame, reach = workspace.read_frame(), workspace.read("reach")
    osm = workspace.read_osm()
    shown: dict[str, Any] = {"reach": reach, "catchments": workspace.read("catchments")}
    shown |= {"ground": find_ground(osm.features), "names": find_names(osm)}
    if "rounds" in workspace.names:
        rounds, draws = workspace.read("rounds"), workspace.read("draws")
        shown |= show_rounds(rounds, draws, find_stale(rounds, hash_frame(frame, reach), report))
    held = [name for name in ("odds", "priorities", "sites", "mocks") if name in workspace.names]
    shown |= {name: workspace.read(name) for name in held}
    for line in find_outdated(workspace.manifest, workspace.manifest["parameters"].get("design")):
        report(line)
    if "audit" in workspace.names:
        names = ("audit", "covered", "gaps", "shares", "checks")
        shown["audit"] = Audit(*(workspace.read(name) for name in names))
    if "sites" in shown:
        report("auditing with the sites")
        rule = Rule(**workspace.manifest["parameters"]["sites"]["rule"])
        shown["after"] = audit_coverage(add_sites(frame, shown["sites"]), rules=[rule])
    return frame, shown


def show_rounds(rounds: pd.DataFrame, draws: pd.DataFrame, stale: list[str]) -> dict[str, Any]:
    """Choose the rounds that a map shows: all but those that were drawn on another frame."""
    kept = rounds[~rounds["round_id"].isin(stale)]
    draw = Draw(kept, draws[draws["round_id"].isin(kept["round_id"])]) if len(kept) else None
    return {"draw": draw, "left_out": stale}
