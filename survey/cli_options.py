"""Options and arguments that several verbs of the command line share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Command = Callable[..., Any]


def add_options(*options: Any) -> Callable[[Command], Command]:
    """Make one decorator of several, which show in the help in this order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


PATH = click.Path(path_type=Path)
workspace_argument = click.argument("workspace", metavar="CITY.gpkg", type=PATH)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
replace_option = click.option("--replace", is_flag=True, help="Overwrite files that exist.")


def _range(_context: Any, parameter: Any, value: str | None) -> list[float] | None:
    if value is None:
        return None
    try:
        bounds = [float(part) for part in value.split("-")]
    except ValueError:
        bounds = []
    if len(bounds) not in {1, 2}:
        raise click.BadParameter(
            f"{value!r} is not a range such as {parameter.metavar}, nor one number",
            param=parameter,
        )
    return [int(bound) if bound.is_integer() else bound for bound in (bounds[0], bounds[-1])]


def _visits(_context: Any, parameter: Any, values: tuple[str, ...]) -> dict[str, int] | None:
    counts = {}
    for value in values:
        kind, _, number = value.partition("=")
        if not number.isdecimal():
            raise click.BadParameter(f"{value!r} is not KIND=N, such as school=3", param=parameter)
        if kind in counts:
            raise click.BadParameter(
                f"{kind!r} is there twice; name each kind once", param=parameter
            )
        counts[kind] = int(number)
    return counts or None


design_options = add_options(
    click.option(
        "--scheme", metavar="ID", help="Begin with this scheme; survey schemes lists them."
    ),
    click.option("--alleys", callback=_range, metavar="1-2", help="How many alleys per point."),
    click.option(
        "--compounds", callback=_range, metavar="1-2", help="How many compounds per point."
    ),
    click.option("--within", callback=_range, metavar="500-2000", help="Bounds of the radius, m."),
    click.option("--min", "min_m", type=float, metavar="M", help="Least distance of a unit, m."),
    click.option(
        "--radius",
        metavar="LAW",
        help="The radius: uniform, fixed:800 (m), or table:500=0.25,1000=0.75 (m=weight).",
    ),
    click.option(
        "--metric",
        type=click.Choice(["network", "euclid"]),
        help="Distance along streets, or in a straight line.",
    ),
    click.option(
        "--visit",
        multiple=True,
        callback=_visits,
        metavar="KIND=N",
        help="Visit only N points of a kind, and all of the kinds not named; may be repeated.",
    ),
)
condition_options = add_options(
    click.option(
        "--column", metavar="NAME", help="The column of the condition; recognised if absent."
    ),
    click.option(
        "--greatest",
        type=float,
        metavar="SCORE",
        help="The greatest score there can be, such as 100; 1 if absent.",
    ),
    click.option(
        "--fails-below",
        type=float,
        metavar="0-1",
        help="A unit fails for certain below this condition, else never; if absent, with the"
        " probability 1 - condition.",
    ),
)


def refuse_inputs(output: Path, *inputs: Path | None) -> None:
    """Refuse an output that is a file which the verb reads.

    Raises
    ------
    click.UsageError
        If it is one.
    """
    if output.resolve() in {path.resolve() for path in inputs if path is not None}:
        raise click.UsageError(f"{output} is an input; choose another file to write")
