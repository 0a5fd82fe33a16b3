"""The command line: each verb parses, calls one public function, and prints."""

import io
import json
import sys
import traceback
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from survey import (
    cli_audit,
    cli_batch,
    cli_compare,
    cli_fetch,
    cli_odds,
    cli_options,
    cli_print,
    cli_report,
    cli_round,
    cli_tiles,
)
from survey.errors import NetworkError, SurveyError


def main() -> None:
    """Run the command line.

    Exit codes: 0 done, and the requirement, if one was asked for, is met; 1 the requirement is
    not met; 2 wrong usage or bad data; 3 a network failure or a bug; 130 interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a GBK console cannot show every name
    sys.exit(_run())


def _run() -> int:
    try:
        code = cli.main(prog_name="survey", standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        cli_print.say("survey: interrupted; nothing on disk is harmed; run the same command again")
        return 130
    except click.ClickException as fault:
        context = getattr(fault, "ctx", None)
        hint = f" (see {context.command_path} --help)" if context else ""
        cli_print.say(f"survey: {' '.join(fault.format_message().split())}{hint}")
        return 2
    except SurveyError as fault:
        cli_print.say(f"survey: {' '.join(str(fault).split())}")
        return 3 if isinstance(fault, NetworkError) else 2
    except SystemExit:  # click's answer to a reader of the help that went away
        return 0
    except Exception:  # noqa: BLE001 - a bug must not look like an unmet requirement (exit 1)
        cli_print.say(traceback.format_exc().rstrip())
        cli_print.say("survey: this is a bug of survey; please report it with the lines above")
        return 3
    return code if isinstance(code, int) else 0


class _Verbs(click.Group):
    """The verbs in the order in which they are used; a misspelt one suggests the close one."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.commands and not args[0].startswith("-"):
            close = get_close_matches(args[0], self.commands, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            verbs = ", ".join(self.commands)
            ctx.fail(f"there is no verb {args[0]!r}; {hint}the verbs are {verbs}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Verbs,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="survey", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Plan field surveys around fixed points: frame, rounds, toilet coverage, maps.

    One workspace (a GeoPackage) per city. `survey run CITY.toml` does all of it at once; the
    other verbs do one step each on a workspace.

    Data go to stdout, talk to stderr. Exit code 0: done; 1: a requirement is not met; 2: wrong
    usage or bad data; 3: a network failure or a bug.
    """
    if context.invoked_subcommand is None:
        cli_print.put(context.get_help())


@cli.command(short_help="Do all of it: workspace, maps, report and tables of one city.")
@click.argument("config", metavar="CITY.toml", type=cli_options.PATH)
@click.option(
    "--out", type=cli_options.PATH, metavar="DIR", help="The folder; maps/<stem> if absent."
)
@click.option("--replace", is_flag=True, help="Overwrite files that this run did not make.")
@cli_options.json_option
def run(config: Path, out: Path | None, *, replace: bool, as_json: bool) -> int:
    """Do all of it: workspace, maps, report and tables of one city; print a summary.

    CITY.toml says where the data are and what is asked; data/monaco.toml shows every key. Running
    again replaces what the last run made; the rounds of other ids in the workspace stay. Exit
    code 1: a share of street is below [audit] min_share.
    """
    progress = cli_print.Progress(f"reading {config}")
    from survey.city import run_city
    from survey.config import read_config

    city = read_config(config)
    if not city.seed_given:
        cli_print.say(
            f"survey: no [round] seed in {config}; the city's name {city.seed!r} serves, which"
            " everybody can guess: choose one before witnesses for a real round"
        )
    folder = out or Path("maps") / city.stem
    result = run_city(city, folder, replace=replace, report=progress)
    audit = result.audit
    if as_json:
        cli_print.put_json(
            name=city.name,
            round=cli_print.describe_round(result.draw),
            odds=None if result.odds is None else cli_print.describe_odds(result.odds),
            audit=cli_print.list_rows(audit.summary),
            met=audit.met,
            min_share=city.min_share,
            files=[str(file) for file in result.files],
        )
    else:
        cli_print.put_round(result.draw)
        if result.odds is not None:
            cli_print.put_odds(result.odds)
        cli_print.put_audit(audit.summary)
        cli_print.put(f"maps: {result.maps[0]}\nreport: {result.report}")
        cli_print.put(f"workspace: {result.workspace}")
        cli_print.put(f"tables: {len(result.tables)} CSV files in {folder}")
    return cli_print.judge_audit(audit, city.min_share)


cli.add_command(cli_batch.batch)
cli.add_command(cli_fetch.fetch)


@cli.command(short_help="Build the frame: points, alleys, compounds, toilets, reach.")
@cli_options.workspace_argument
@click.option("--points", type=cli_options.PATH, help="The city's own fixed points.")
@click.option("--toilets", type=cli_options.PATH, help="The city's own toilets.")
@click.option("--alleys", type=cli_options.PATH, help="The city's alley register.")
@click.option("--compounds", type=cli_options.PATH, help="The city's compound register.")
@click.option("--subdistricts", type=cli_options.PATH, help="The city's subdistricts.")
@click.option(
    "--datum",
    type=click.Choice(["wgs84", "gcj02", "bd09", "detect"]),
    default="detect",
    show_default=True,
    help="What the coordinates of these files are in.",
)
@cli_options.json_option
def frame(workspace: Path, datum: str, *, as_json: bool, **layers: Path | None) -> None:
    """Build the frame: points, alleys, compounds, toilets, reach.

    The city's own files may be CSV, XLSX, GeoJSON, GeoPackage or shapefiles. A new frame drops
    the audit, odds and priorities of the old one; rounds and mock rounds stay, and survey verify
    refuses the rounds that it no longer gives.
    """
    progress = cli_print.Progress(f"reading {workspace}")
    from survey.city import rebuild_frame
    from survey.workspace import open_workspace

    made = rebuild_frame(open_workspace(workspace), layers, datum=datum, report=progress)
    counts = {name: len(table) for name, table in made.items()}
    if as_json:
        cli_print.put_json(tables=counts)
    else:
        cli_print.put_counts(counts)


cli.add_command(cli_round.commit)
cli.add_command(cli_round.draw)
cli.add_command(cli_round.verify)
for verb in (
    cli_audit.audit,
    cli_audit.rules,
    cli_audit.site,
    cli_compare.compare,
    cli_odds.odds,
    cli_odds.simulate,
    cli_odds.priorities,
    cli_odds.estimate,
    cli_odds.schemes,
):
    cli.add_command(verb)


@cli.command("map")
@cli_options.workspace_argument
@click.option(
    "-o",
    "--output",
    type=cli_options.PATH,
    metavar="FILE.html",
    help="The file to write: one map.",
)
@click.option(
    "--kind",
    type=click.Choice(["frame", "round", "odds", "toilets", "surroundings"]),
    help="What this map answers; everything at once if absent.",
)
@click.option(
    "--all",
    "folder",
    type=cli_options.PATH,
    metavar="DIR",
    help="Instead: the folder for every map that the workspace allows, and an index.html.",
)
@cli_tiles.tiles_options
@cli_options.replace_option
def draw_map(
    workspace: Path,
    output: Path | None,
    kind: str | None,
    folder: Path | None,
    *,
    replace: bool,
    **tiles: Any,
) -> None:
    """Write an HTML map that opens without internet, or all of them.

    It shows the frame, and what the workspace holds of rounds, odds, priorities and audit.
    """
    if (output is None) == (folder is None) or (folder is not None and kind is not None):
        raise click.UsageError("give --output FILE.html (and perhaps --kind), or --all DIR")
    shown = cli_tiles.pass_tiles(tiles)
    progress = cli_print.Progress(f"reading {workspace}")
    from survey.records import save_workspace_map, save_workspace_maps
    from survey.workspace import open_workspace

    stored = open_workspace(workspace)
    if folder is not None:
        for path in save_workspace_maps(stored, folder, replace=replace, report=progress, **shown):
            cli_print.put(path)
    elif output is not None:
        cli_options.refuse_inputs(output, workspace)
        cli_print.put(
            save_workspace_map(stored, output, kind=kind, replace=replace, report=progress, **shown)
        )


cli.add_command(cli_report.report)


@cli.command()
@cli_options.workspace_argument
@click.argument("folder", metavar="DIR", type=cli_options.PATH)
@click.option("--csv", is_flag=True, help="CSV of every table (what it does if none is named).")
@click.option("--geojson", is_flag=True, help="GeoJSON of every table with geometry.")
@cli_options.replace_option
def export(workspace: Path, folder: Path, *, csv: bool, geojson: bool, replace: bool) -> None:
    """Write the tables as files for Excel, a GIS or a script."""
    cli_print.say(f"survey: reading {workspace}")
    from survey.outputs.exports import export_tables
    from survey.workspace import open_workspace

    content = open_workspace(workspace).read_all()
    kinds = {"csv": csv or not geojson, "geojson": geojson}
    for path in export_tables(content, folder, **kinds, replace=replace):
        cli_print.put(path)


@cli.command()
@cli_options.workspace_argument
@cli_options.json_option
def info(workspace: Path, *, as_json: bool) -> None:
    """Print the manifest: inputs, parameters, seeds, versions, tables."""
    from survey.workspace import open_workspace

    stored = open_workspace(workspace)
    counts = stored.count_rows()
    if as_json:
        cli_print.put_json(manifest=stored.manifest, tables=counts)
    else:
        cli_print.put(json.dumps(stored.manifest, ensure_ascii=False, indent=2, sort_keys=True))
        cli_print.put_counts(counts)


@cli.command()
@cli_options.workspace_argument
@cli_options.json_option
def quality(workspace: Path, *, as_json: bool) -> None:
    """Print how far the frame can be trusted."""
    from survey.workspace import open_workspace

    table = open_workspace(workspace).read("quality")
    if as_json:
        cli_print.put_json(quality=cli_print.list_rows(table))
    else:
        cli_print.put_quality(table)
