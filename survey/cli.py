"""The command line: each verb parses, calls one public function, and prints."""

import io
import json
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from survey.errors import NetworkError, SurveyError

SCHEMA = 1
"""The version of what ``--json`` prints."""

Command = Callable[..., Any]


def main() -> None:
    """Run the command line.

    Exit codes: 0 done, and the requirement, if one was asked for, is met; 1 the requirement is
    not met; 2 wrong usage or bad data; 3 a network failure or a bug; 130 interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a GBK console cannot show every name
    try:
        code = cli.main(prog_name="survey", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("survey: interrupted; what stood on disk is unharmed", err=True)
        code = 130
    except click.ClickException as fault:
        fault.show()
        code = 2
    except NetworkError as fault:
        click.echo(f"survey: {fault}", err=True)
        code = 3
    except SurveyError as fault:
        click.echo(f"survey: {fault}", err=True)
        code = 2
    except BrokenPipeError:
        code = 0
    except Exception:  # noqa: BLE001 - a bug must not look like an unmet requirement (exit 1)
        traceback.print_exc()
        code = 3
    sys.exit(code if isinstance(code, int) else 0)


class _Progress:
    """Says on stderr what goes on, with the seconds since the start."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    def __call__(self, line: str) -> None:
        click.echo(f"[{time.perf_counter() - self._start:6.1f} s] {line}", err=True)


def _print_json(**content: Any) -> None:
    click.echo(json.dumps({"schema": SCHEMA, **content}, ensure_ascii=False, indent=2))


def _options(*options: Any) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_workspace = click.argument("workspace", metavar="CITY.gpkg", type=click.Path(path_type=Path))
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
_replace_option = click.option("--replace", is_flag=True, help="Overwrite files that exist.")


def _range(_context: Any, parameter: Any, value: str | None) -> list[float] | None:
    if value is None:
        return None
    try:
        bounds = [float(part) for part in value.split("-")]
    except ValueError:
        bounds = []
    if len(bounds) not in {1, 2}:
        raise click.BadParameter(f"{value!r} is not a range such as 1-2", param=parameter)
    return [int(bound) if bound.is_integer() else bound for bound in (bounds[0], bounds[-1])]


_design_options = _options(
    click.option("--alleys", callback=_range, metavar="1-2", help="How many alleys per point."),
    click.option("--compounds", callback=_range, metavar="1-2", help="How many compounds."),
    click.option("--within", callback=_range, metavar="500-2000", help="Bounds of the radius, m."),
    click.option("--min", "min_m", type=float, help="Least distance of a unit, m."),
    click.option("--radius", metavar="LAW", help="uniform, or fixed:R with R in metres."),
    click.option("--metric", type=click.Choice(["network", "euclid"]), help="How to measure."),
)


def _read_design(workspace: Any, given: dict[str, Any]) -> Any:
    """Make the design: what was given over what the workspace holds."""
    from survey.sampling.design import Design

    names = {"within": "within_m"}
    stored = workspace.manifest["parameters"].get("design", {})
    asked = {names.get(key, key): value for key, value in given.items() if value is not None}
    return Design.from_table(stored | asked, where="the design")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="survey")
def cli() -> None:
    """Plan field surveys around fixed points: frame, rounds, toilet coverage, maps.

    One workspace (a GeoPackage) per city; `survey run CITY.toml` does all of it at once. Data go
    to stdout, talk to stderr. Exit code 0: done; 1: a requirement is not met; 2: wrong usage or
    bad data; 3: a network failure or a bug.
    """


@cli.command()
@click.argument("config", metavar="CITY.toml", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder; maps/<stem> if absent.")
@_replace_option
@_json_option
def run(config: Path, out: Path | None, *, replace: bool, as_json: bool) -> int:
    """Do all of it: workspace, map and tables of one city; print a summary."""
    progress = _Progress()
    from survey.city import run_city
    from survey.config import read_config

    city = read_config(config)
    if not city.seed_given:
        click.echo(
            f"survey: no [round] seed in {config}; the city's name {city.seed!r} serves, which"
            " everybody can guess: choose one before witnesses for a real round",
            err=True,
        )
    folder = out or Path("maps") / city.stem
    result = run_city(city, folder, replace=replace, report=progress)
    files = [result.workspace, result.map, *result.tables]
    if as_json:
        _print_json(
            name=city.name,
            draw=result.draw.summary(),
            audit=_audit_rows(result.audit.summary),
            files=[str(file) for file in files],
        )
    else:
        _print_draw(result.draw)
        _print_audit(result.audit.summary)
        click.echo(f"map: {result.map}\nworkspace: {result.workspace}")
        click.echo(f"tables: {len(result.tables)} CSV files in {folder}")
    return int(city.min_share is not None and not result.audit.met)


@cli.command()
@click.option("--extract", required=True, type=click.Path(path_type=Path), help="An OSM file.")
@click.option("--bbox", metavar="W,S,E,N", help="The area: degrees in WGS-84.")
@click.option("--polygon", type=click.Path(path_type=Path), help="The area: a polygon file.")
@click.option("--data-edge", type=click.Path(path_type=Path), help="Where the data end.")
@click.option("--name", default="", help="What the area is called.")
@click.option("-o", "output", required=True, type=click.Path(path_type=Path), metavar="CITY.gpkg")
@_replace_option
def fetch(
    extract: Path,
    bbox: str | None,
    polygon: Path | None,
    data_edge: Path | None,
    name: str,
    output: Path,
    *,
    replace: bool,
) -> None:
    """Read an area out of an OpenStreetMap file into a new workspace."""
    progress = _Progress()
    from survey.sources.area import find_area
    from survey.sources.extract import read_extract
    from survey.workspace import osm_tables, save_workspace, start_manifest

    box = bbox.split(",") if bbox is not None else None
    area = find_area(extract=extract, bbox=box, polygon=polygon, data_edge=data_edge, name=name)
    progress(f"reading {extract}")
    osm = read_extract(extract, area)
    save_workspace(output, osm_tables(osm), start_manifest(osm), replace=replace)
    progress(f"{len(osm.streets)} streets and {len(osm.features)} features in {output}")


@cli.command()
@_workspace
@click.option("--points", type=click.Path(path_type=Path), help="The city's own fixed points.")
@click.option("--toilets", type=click.Path(path_type=Path), help="The city's own toilets.")
@click.option("--alleys", type=click.Path(path_type=Path), help="The city's alley register.")
@click.option("--compounds", type=click.Path(path_type=Path), help="Its compound register.")
@click.option("--subdistricts", type=click.Path(path_type=Path), help="Its subdistricts.")
@click.option(
    "--datum",
    type=click.Choice(["wgs84", "gcj02", "bd09", "detect"]),
    default="detect",
    show_default=True,
    help="What the coordinates of these files are in.",
)
@_json_option
def frame(workspace: Path, datum: str, *, as_json: bool, **layers: Path | None) -> None:
    """Build the frame: points, alleys, compounds, toilets, reach. Files: CSV, XLSX, GIS."""
    progress = _Progress()
    from survey.city import frame_tables
    from survey.frame.assembly import build_frame
    from survey.workspace import open_workspace, update_workspace

    stored = open_workspace(workspace)
    progress("building the frame")
    built = build_frame(stored.read_osm(), datum=datum, **layers)
    content, _ = frame_tables(built, progress)
    inputs = stored.manifest["inputs"] | {"layers": built.source.get("layers", {})}
    update_workspace(stored, content, stored.manifest | {"inputs": inputs})
    counts = {name: len(table) for name, table in content.items()}
    if as_json:
        _print_json(tables=counts)
    else:
        for name, count in counts.items():
            click.echo(f"{name:14}{count:>9,}")


@cli.command()
@_workspace
@click.option("--seed", required=True, help="Any text; for a real round chosen in public.")
@click.option("--round", "round_id", default="demo", show_default=True, help="The round's id.")
@_design_options
@_json_option
def draw(workspace: Path, seed: str, round_id: str, *, as_json: bool, **given: Any) -> None:
    """Draw a round by tickets, so that anyone can check it."""
    from survey.sampling.draw import draw_round
    from survey.workspace import add_round, open_workspace, update_workspace

    stored = open_workspace(workspace)
    design = _read_design(stored, given)
    drawn = draw_round(
        stored.read_frame(), stored.read("reach"), design, round_id=round_id, seed=seed
    )
    manifest = json.loads(json.dumps(stored.manifest))
    update_workspace(stored, add_round(stored, drawn, manifest), manifest)
    if as_json:
        rows = drawn.draws.to_dict("records")
        _print_json(round_id=round_id, summary=drawn.summary(), draws=rows)
    else:
        _print_draw(drawn)


@cli.command()
@_workspace
@_design_options
@_json_option
def commit(workspace: Path, *, as_json: bool, **given: Any) -> None:
    """Print the hash of frame and design, to be published before the seed is chosen."""
    from survey.sampling.draw import commit_design
    from survey.workspace import open_workspace, update_workspace

    stored = open_workspace(workspace)
    design = _read_design(stored, given)
    digest = commit_design(stored.read_frame(), stored.read("reach"), design)
    table = json.loads(design.to_json())
    parameters = stored.manifest["parameters"] | {"design": table}
    if stored.manifest["parameters"] != parameters:
        update_workspace(stored, {}, stored.manifest | {"parameters": parameters})
    if as_json:
        _print_json(commitment=digest, design=table)
    else:
        click.echo(digest)


@cli.command()
@_workspace
@click.option("--round", "round_id", help="One round; all of them if absent.")
@click.option("--commitment", metavar="HASH", help="What survey commit printed.")
@_json_option
def verify(workspace: Path, round_id: str | None, commitment: str | None, *, as_json: bool) -> int:
    """Derive rounds again and compare: exit 0 accepted, 1 refused."""
    from survey.workspace import open_workspace, verify_rounds

    verdicts = verify_rounds(open_workspace(workspace), round_id=round_id, commitment=commitment)
    if as_json:
        rows = [
            {"round_id": one.round_id, "accepted": one.accepted, "reason": one.reason}
            for one in verdicts
        ]
        _print_json(rounds=rows)
    else:
        for one in verdicts:
            word = "accepted" if one.accepted else "refused"
            click.echo(f"round {one.round_id}: {word}: {one.reason}")
    return int(not all(one.accepted for one in verdicts))


@cli.command()
@_workspace
@click.option("--rule", "rules", multiple=True, metavar="ID", help="A rule; may be repeated.")
@click.option("--min-share", type=float, help="Exit with 1 if a rule's share is below it.")
@_json_option
def audit(
    workspace: Path, rules: tuple[str, ...], min_share: float | None, *, as_json: bool
) -> int:
    """Measure on which metres of street the toilet rules fail."""
    progress = _Progress()
    from survey.coverage.audit import DEFAULT_RULES, audit_coverage
    from survey.workspace import open_workspace, update_workspace

    stored = open_workspace(workspace)
    chosen = rules or DEFAULT_RULES
    progress(f"auditing {', '.join(chosen)}")
    found = audit_coverage(stored.read_frame(), rules=chosen, min_share=min_share)
    asked = {"audit": {"rules": list(chosen), "min_share": min_share}}
    parameters = stored.manifest["parameters"] | asked
    update_workspace(stored, found.tables, stored.manifest | {"parameters": parameters})
    if as_json:
        _print_json(rules=_audit_rows(found.summary), met=found.met, min_share=min_share)
    else:
        _print_audit(found.summary)
    return int(min_share is not None and not found.met)


@cli.command("map")
@_workspace
@click.option("-o", "output", required=True, type=click.Path(path_type=Path), metavar="FILE.html")
@_replace_option
def draw_map(workspace: Path, output: Path, *, replace: bool) -> None:
    """Write an HTML map that opens without internet."""
    from survey.workspace import open_workspace, save_workspace_map

    click.echo(save_workspace_map(open_workspace(workspace), output, replace=replace))


@cli.command()
@_workspace
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--csv", is_flag=True, help="CSV of every table (what it does if none is named).")
@click.option("--geojson", is_flag=True, help="GeoJSON of every table with geometry.")
@_replace_option
def export(workspace: Path, folder: Path, *, csv: bool, geojson: bool, replace: bool) -> None:
    """Write the tables as files for Excel, a GIS or a script."""
    from survey.outputs.exports import export_tables
    from survey.workspace import open_workspace

    content = open_workspace(workspace).read_all()
    kinds = {"csv": csv or not geojson, "geojson": geojson}
    for path in export_tables(content, folder, **kinds, replace=replace):
        click.echo(path)


@cli.command()
@_workspace
@_json_option
def info(workspace: Path, *, as_json: bool) -> None:
    """Print the manifest: inputs, parameters, seeds, versions, tables."""
    from survey.workspace import open_workspace

    stored = open_workspace(workspace)
    counts = stored.count_rows()
    if as_json:
        _print_json(manifest=stored.manifest, tables=counts)
        return
    click.echo(json.dumps(stored.manifest, ensure_ascii=False, indent=2, sort_keys=True))
    for name, count in counts.items():
        click.echo(f"{name:14}{count:>9,}")


@cli.command()
@_workspace
@_json_option
def quality(workspace: Path, *, as_json: bool) -> None:
    """Print how far the frame can be trusted."""
    from survey.workspace import open_workspace

    table = open_workspace(workspace).read("quality")
    if as_json:
        _print_json(quality=json.loads(table.to_json(orient="records", force_ascii=False)))
        return
    for row in table.fillna("").itertuples():
        value = f"{row.value:g} {row.unit}" if row.value != "" else ""
        click.echo(f"{row.verdict:5} {row.scope:24} {row.measure:28} {value:>18}  {row.note}")


def _audit_rows(summary: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(summary.to_json(orient="records", double_precision=15))
    return rows


def _print_audit(summary: Any) -> None:
    for row in summary.itertuples():
        high = f" (to {row.share_high:.1%})" if row.share_high > row.share else ""
        click.echo(
            f"{row.rule_id}: {row.share:.1%}{high} of {row.checked_m / 1000:.1f} km of street"
            f" within {row.limit_m:g} m of a toilet"
        )


def _print_draw(drawn: Any) -> None:
    facts = drawn.summary()
    click.echo(
        f"round {drawn.round_id}: {facts['points_visited']} of {facts['points']} points,"
        f" {facts['alleys_drawn']} of {facts['alleys']} alleys,"
        f" {facts['compounds_drawn']} of {facts['compounds']} compounds"
        f" ({facts['share']:.0%} of all units), {facts['replacements']} replacements"
    )
    for layer in ("alley", "compound"):
        if facts[f"points_without_{layer}"]:
            click.echo(f"  {facts[f'points_without_{layer}']} points have no {layer} in reach")
    for note in drawn.notes:
        click.echo(f"  {note}")
