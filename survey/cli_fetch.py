"""The verb that reads OpenStreetMap, from a file or live, into a workspace."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from survey import cli_options, cli_print

if TYPE_CHECKING:
    import pandas as pd

_EXAMPLES = 3

_source_options = cli_options.add_options(
    click.option(
        "--extract", type=cli_options.PATH, help="An .osm, .osm.gz or .osm.pbf file; else live."
    ),
    click.option("--place", metavar="NAME", help="The area: a place that OpenStreetMap knows."),
    click.option("--bbox", metavar="W,S,E,N", help="The area: a box in degrees, WGS-84."),
    click.option(
        "--polygon", type=cli_options.PATH, help="The area: a polygon file, instead of a box."
    ),
    click.option("--data-edge", type=cli_options.PATH, help="A polygon file: where the data end."),
    click.option(
        "--name", default="", help="What the area is called; the place or file if absent."
    ),
)


def _seconds(_context: Any, parameter: Any, value: float) -> float:
    if not math.isfinite(value):
        raise click.BadParameter(f"{value} is no number of seconds", param=parameter)
    return value


_server_options = cli_options.add_options(
    click.option(
        "--endpoint",
        "endpoints",
        multiple=True,
        metavar="URL",
        help="An Overpass server to ask; may be repeated, the first that answers serves.",
    ),
    click.option("--geocoder", metavar="URL", help="The Nominatim server that knows places."),
    click.option(
        "--time-limit",
        "time_limit_s",
        type=click.FloatRange(min=0, min_open=True),
        callback=_seconds,
        default=1_800,
        show_default=True,
        metavar="S",
        help="Seconds that live data may take, every wait included.",
    ),
    click.option(
        "--cache",
        type=cli_options.PATH,
        metavar="DIR",
        help="Where whole answers are kept for a day; CITY.answers beside the workspace if absent.",
    ),
)


@click.command(short_help="Read an area of OpenStreetMap, from a file or live, into a workspace.")
@_source_options
@_server_options
@click.option(
    "--refresh", is_flag=True, help="Fetch the area of CITY.gpkg again; say what changed."
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=cli_options.PATH,
    metavar="CITY.gpkg",
    help="The new workspace, or with --refresh an old one.",
)
@cli_options.replace_option
@cli_options.json_option
def fetch(output: Path, *, refresh: bool, replace: bool, as_json: bool, **asked: Any) -> None:
    """Read an area of OpenStreetMap, from a file or live, into a workspace.

    With --extract the data come from a file; without --place, --bbox and --polygon the area is
    then the box in its header. Without --extract they are fetched from Overpass servers, and a
    run that was stopped goes on where it was. Exit code 3: no server gave a whole answer.

    With --refresh the frame in the workspace stays, and is stale until survey frame runs again.
    """
    files = [asked["extract"], asked["polygon"], asked["data_edge"]]
    cli_options.refuse_inputs(output, *files)
    areas = [name for name in ("place", "bbox", "polygon") if asked[name] is not None]
    if len(areas) > 1:
        raise click.UsageError(f"--{areas[0]} and --{areas[1]} are both given; keep one")
    if refresh and (areas or asked["name"] or replace):
        raise click.UsageError(
            "--refresh keeps area and name; leave the other options for them out"
        )
    if asked["extract"] is not None and (asked["endpoints"] or asked["geocoder"]):
        raise click.UsageError("--extract asks no server; leave --endpoint and --geocoder out")
    if not refresh and asked["extract"] is None and not areas:
        raise click.UsageError("nothing says what to read; give --place, --bbox or --extract")
    progress = cli_print.Progress(f"reading {asked['extract'] or 'OpenStreetMap'}")
    from survey.config import CityConfig
    from survey.fetching import read_source, refresh_workspace
    from survey.staging import refuse_existing
    from survey.workspace import open_workspace, osm_tables, save_workspace, start_manifest

    box = None if asked["bbox"] is None else tuple(asked["bbox"].split(","))
    config = CityConfig(stem=output.stem, **asked | {"bbox": box})
    cache = output.with_suffix(".answers")
    if refresh:
        changes = refresh_workspace(open_workspace(output), config, progress, cache=cache)
        if as_json:
            cli_print.put_json(changes=cli_print.list_rows(changes))
        else:
            _put_changes(changes)
        return
    refuse_existing([output], replace=replace)
    osm = read_source(config, progress, cache=cache)
    tables = osm_tables(osm)
    save_workspace(output, tables, start_manifest(osm), replace=replace)
    progress(f"{len(osm.streets)} streets and {len(osm.features)} features in {output}")
    if as_json:
        cli_print.put_json(tables={name: len(table) for name, table in tables.items()})


def _put_changes(changes: "pd.DataFrame") -> None:
    for layer in ("street", "feature"):
        for change in ("added", "removed", "changed"):
            rows = changes[(changes["layer"] == layer) & (changes["change"] == change)]
            cli_print.put(f"{layer}s {change}: {len(rows)}{_show_examples(rows)}")
    for row in changes[changes["kind"].notna()].itertuples():
        cli_print.put(f"{row.kind} {row.change}: {_show(row)}")


def _show_examples(rows: "pd.DataFrame") -> str:
    shown = [_show(row) for row in rows.head(_EXAMPLES).itertuples()]
    return f" ({', '.join(shown)}{', ...' if len(rows) > _EXAMPLES else ''})" if shown else ""


def _show(row: Any) -> str:
    return f"{row.id} {row.name}" if isinstance(row.name, str) else str(row.id)
