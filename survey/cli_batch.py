"""The verb that runs many cities."""

import math
from pathlib import Path
from typing import Any

import click

from survey import cli_options, cli_print

_COUNTS = ("points", "alleys", "compounds")


@click.command(short_help="Run many cities, the largest first; again, only what changed.")
@click.argument("config", metavar="CITIES.toml", type=cli_options.PATH)
@click.option(
    "--out", type=cli_options.PATH, metavar="DIR", help="The cities' folders go here, not to `out`."
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="How many cities at a time; as many as there are cores if absent.",
)
@click.option("--again", is_flag=True, help="Run every city, changed or not.")
@cli_options.json_option
def batch(
    config: Path, out: Path | None, workers: int | None, *, again: bool, as_json: bool
) -> int:
    """Run many cities, each as `survey run` does, the one with the largest extract first.

    CITIES.toml holds `cities`, a list of the cities' configs or patterns such as "*.toml", and
    perhaps `out`, the folder of the cities' folders ("maps"), and `workers`. A city whose input
    files did not change since its last run is skipped; one that fails stops no other. The exit
    code is the greatest of the cities': 0 done; 1 a share is below min_share; 2 bad data; 3 the
    network, a bug, or a process that died.
    """
    progress = cli_print.Progress(f"reading {config}")
    from survey.batch import run_batch

    table = run_batch(config, out=out, workers=workers, again=again, report=progress)
    code = int(table["code"].max())
    if as_json:
        cli_print.put_json(cities=[_nest_shares(row) for row in cli_print.list_rows(table)])
    else:
        _put_table(table)
    return code


def _nest_shares(row: dict[str, Any]) -> dict[str, Any]:
    """Put the shares of a row, which stand between the numbers and the message, under one key."""
    names = list(row)
    rules = names[names.index("compounds") + 1 : -1]
    shares = {rule: row[rule] for rule in rules if row[rule] is not None}
    counts = {name: row[name] and int(row[name]) for name in _COUNTS}
    plain = {name: value for name, value in row.items() if name not in rules}
    return plain | counts | {"shares": shares}


def _put_table(table: Any) -> None:
    """Put the table on stdout, its columns as wide as what they hold, the message last."""
    columns = {name: [_show(name, cell) for cell in table[name]] for name in table.columns}
    del columns["code"]
    widths = {name: max(len(name), *map(len, cells)) for name, cells in columns.items()}
    for row in [list(columns), *zip(*columns.values(), strict=True)]:
        cells = [
            cell.ljust(width) if name in {"city", "result", "message"} else cell.rjust(width)
            for cell, (name, width) in zip(row, widths.items(), strict=True)
        ]
        cli_print.put("  ".join(cells).rstrip())
    results = table["result"].value_counts()
    counts = [f"{results.get(name, 0)} {name}" for name in ("done", "skipped", "failed")]
    cli_print.put(", ".join(counts))


def _show(name: str, cell: Any) -> str:
    if isinstance(cell, str):
        return cell
    if math.isnan(cell):
        return "-"
    if name == "seconds":
        return f"{cell:.1f}"
    return f"{cell:.0f}" if name in _COUNTS else f"{cell:.1%}"
