"""The options for online tiles of the verb that writes maps."""

from typing import TYPE_CHECKING, Any

import click

from survey import cli_print
from survey.cli_options import add_options

if TYPE_CHECKING:
    from survey.outputs.tiles import TileSource

tiles_options = add_options(
    click.option(
        "--tiles",
        metavar="SOURCE",
        help="Online tiles, off when the map opens: osm, tianditu or https://HOST/{z}/{x}/{y}.png.",
    ),
    click.option(
        "--tiles-datum",
        type=click.Choice(["wgs84", "gcj02"]),
        help="What tiles at an address are in; wgs84 if absent.",
    ),
    click.option(
        "--tiles-credit",
        metavar="TEXT",
        help="Who made the tiles at an address; its host if absent.",
    ),
    click.option(
        "--token",
        metavar="TOKEN",
        help="Your token for the tiles; needs --store-token. If absent, the page asks for it.",
    ),
    click.option(
        "--store-token",
        is_flag=True,
        help="Let the token stand in the file, where whoever gets the file can read it.",
    ),
)


def read_tiles(
    *,
    tiles: str | None,
    tiles_datum: str | None,
    tiles_credit: str | None,
    token: str | None,
    store_token: bool,
) -> "TileSource | None":
    """Find the tiles that the options ask for, or None.

    Raises
    ------
    click.UsageError
        If the options contradict each other, or would store a token unasked.
    OutputError, DatumError
        As for `choose_tiles`.
    """
    if tiles is None:
        if tiles_datum or tiles_credit or token or store_token:
            raise click.UsageError(
                "--tiles-datum, --tiles-credit, --token and --store-token are about --tiles"
            )
        return None
    if token and not store_token:
        raise click.UsageError(
            "the token would stand in the file, for everyone who gets it to read: give"
            " --store-token too if that is wanted, or leave out --token, and the page asks for it"
        )
    if store_token and not token:
        raise click.UsageError("--store-token needs --token TOKEN")
    from survey.outputs.tiles import choose_tiles  # folium takes a second to import

    found = choose_tiles(tiles, datum=tiles_datum or "wgs84", credit=tiles_credit, token=token)
    if token:
        cli_print.say("survey: the token stands in the file: whoever gets the file gets the token")
    return found


def pass_tiles(options: dict[str, Any]) -> dict[str, Any]:
    """Turn the options into what `save_map` takes: nothing without ``--tiles``."""
    source = read_tiles(**options)
    return {} if source is None else {"tiles": source}
