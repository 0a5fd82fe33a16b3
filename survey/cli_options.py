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


design_options = add_options(
    click.option("--alleys", callback=_range, metavar="1-2", help="How many alleys per point."),
    click.option(
        "--compounds", callback=_range, metavar="1-2", help="How many compounds per point."
    ),
    click.option("--within", callback=_range, metavar="500-2000", help="Bounds of the radius, m."),
    click.option("--min", "min_m", type=float, help="Least distance of a unit, m."),
    click.option("--radius", metavar="LAW", help="uniform, or fixed:R with R in metres."),
    click.option(
        "--metric",
        type=click.Choice(["network", "euclid"]),
        help="Distance along streets, or in a straight line.",
    ),
)
