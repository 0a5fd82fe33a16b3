"""The kinds of maps: the question that each answers, and what it needs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from survey.errors import OutputError
from survey.outputs.map_around import tell_around
from survey.outputs.map_frame import tell_frame
from survey.outputs.map_layers import (
    candidates_layer,
    points_layer,
    sites_layer,
    subdistricts_layer,
    toilets_layer,
)
from survey.outputs.map_odds import tell_odds
from survey.outputs.map_parts import Parts, Story, count_units, unit_layers
from survey.outputs.map_round import last_radii, round_choice, round_layers, tell_round
from survey.outputs.map_toilets import reading_layers, say_shares, street_rules, tell_toilets
from survey.outputs.texts import Pair
from survey.outputs.units import priorities_layer

if TYPE_CHECKING:
    from survey.outputs.page import Choice
    from survey.outputs.page_layers import PageLayer


@dataclass(frozen=True)
class Kind:
    """A kind of map: who tells it, the tables that it needs, and the verbs that make them."""

    tell: Callable[[Parts], Story]
    needs: tuple[str, ...] = ()
    verb: str = ""


KINDS = {
    "frame": Kind(tell_frame),
    "round": Kind(tell_round, ("draw",), "survey draw"),
    "odds": Kind(tell_odds, ("odds",), "survey odds"),
    "toilets": Kind(tell_toilets, ("audit",), "survey audit"),
    "surroundings": Kind(tell_around, ("reach", "catchments"), "survey frame"),
}
"""The kinds of maps, in the order in which they answer the questions of a city."""


def list_kinds(parts: Parts) -> list[str]:
    """List the kinds that the tables allow."""
    return [kind for kind in KINDS if not _find_lacking(parts, kind)]


def tell_story(parts: Parts, kind: str | None) -> Story:
    """Tell what a map of some kind shows; everything that is given if `kind` is None.

    Raises
    ------
    OutputError
        If the kind is unknown, or a table that it needs is missing.
    TableError
        If a table breaks the data contract or does not fit the frame.
    """
    if kind is None:
        return _tell_all(parts)
    if kind not in KINDS:
        raise OutputError(f"there is no map {kind!r}; the maps are {', '.join(KINDS)}")
    lacking = _find_lacking(parts, kind)
    if lacking:
        raise OutputError(
            f"the map {kind!r} needs {', '.join(lacking)}, which {KINDS[kind].verb} makes"
        )
    return KINDS[kind].tell(parts)


def _find_lacking(parts: Parts, kind: str) -> list[str]:
    if kind == "round" and parts.rounds is None:
        return ["draw"] if parts.get("mocks") is None else []
    if kind == "toilets" and parts.get("audit") is not None and not street_rules(parts):
        return ["a rule that is asked on streets"]
    return [name for name in KINDS[kind].needs if parts.get(name) is None]


def _tell_all(parts: Parts) -> Story:
    frame, units = parts.frame, parts.units
    choices: list[Choice] = []
    layers: list[PageLayer | None] = [points_layer(frame, radii=last_radii(parts))]
    if parts.rounds is not None or parts.get("mocks") is not None:
        choices.append(round_choice(parts))
        layers += round_layers(parts, hollow=parts.get("odds") is not None)
    layers.append(priorities_layer(units, parts.get("priorities"), crs=frame.alleys.crs))
    layers += [
        sites_layer(frame, parts.get("sites")),
        toilets_layer(frame),
        candidates_layer(frame),
    ]
    figures = count_units(frame)
    rules = street_rules(parts)
    if rules:
        choice, shown = reading_layers(parts, kind="select")
        choices.append(choice)
        layers += shown
        figures = [*figures, *say_shares(rules)]
    layers += [*unit_layers(parts, parts.facts), subdistricts_layer(frame)]
    line = Pair(
        "抽样框、轮次和空白段都在这张图上，图例可以开关",
        "Frame, rounds and gaps on one map; the legend switches them",
    )
    return Story(Pair("巡查地图", "Survey map"), line, figures, layers, choices)
