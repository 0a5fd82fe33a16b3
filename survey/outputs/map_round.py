"""The map of the rounds: the units drawn and their replacements, round by round."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import geopandas as gpd
import pandas as pd

from survey.errors import TableError
from survey.outputs.map_layers import points_layer, subdistricts_layer
from survey.outputs.map_parts import Parts, Story, count_units, unit_layers
from survey.outputs.page import Choice
from survey.outputs.page_layers import Facts, PageLayer, facts_layer
from survey.outputs.texts import (
    OFFICE,
    Pair,
    Text,
    name_points,
    write_measures,
    write_percents,
)
from survey.outputs.units import Key, repeat_facts, unit_forms

_FROM = (Pair("抽自", "From"), Pair("序号", "Slot"), Pair("半径", "Radius"))
_LABELS = {
    "draws": Pair("抽中的小巷和小区", "Drawn alleys and compounds"),
    "spares": Pair("备选", "Replacements"),
}
_STYLES = {"draws": "drawn", "spares": "spare"}


class _Turn(NamedTuple):
    """A round or a mock round: what it is called, its seed, and its rows."""

    label: Text
    seed: str
    rows: pd.DataFrame
    mock: bool


def tell_round(parts: Parts) -> Story:
    """Tell which units the last round drew; the slider shows the others."""
    frame = parts.frame
    choice = round_choice(parts)
    turn = _list_turns(parts)[choice.start]
    drawn = turn.rows[~turn.rows["replacement"]].drop_duplicates(["layer", "unit_id"])
    count = drawn["layer"].value_counts()
    alleys, compounds = int(count.get("alley", 0)), int(count.get("compound", 0))
    round_id = Pair(f"轮次 {turn.label}", f"Round {turn.label}")
    called = turn.label if isinstance(turn.label, Pair) else round_id
    line = Pair(
        f"{called.zh} 抽中 {alleys:,} 条背街小巷和 {compounds:,} 个小区；数字是序号，滑块换轮次",
        f"{called.en} drew {alleys:,} alleys and {compounds:,} compounds; badges hold the slot, the"
        " slider changes the round",
    )
    layers = [
        points_layer(frame, radii=last_radii(parts)),
        *round_layers(parts),
        *unit_layers(parts, parts.plain_facts, show=False),
        subdistricts_layer(frame),
    ]
    title = Pair("抽查轮次：去哪里", "The round: where to go")
    return Story(title, line, count_units(frame), layers, [choice])


def last_radii(parts: Parts) -> "pd.Series[float] | None":
    """Find the radius that the last round drew for each point, in metres by ``point_id``."""
    if parts.rounds is None:
        return None
    draws = parts.rounds.draws
    last = draws[draws["round_id"] == parts.rounds.rounds["round_id"].iloc[-1]]
    return last.groupby("point_id")["radius_m"].first()


def round_choice(parts: Parts) -> Choice:
    """Offer the rounds, the last one first; notes tell the seed and who answers for how many."""
    turns = _list_turns(parts)
    left = "、".join(parts.get("left_out") or ())
    more = Pair(
        f"；抽自另一抽样框，未显示：{left}" if left else "",
        f"; drawn on another frame and not shown: {left}" if left else "",
    )
    notes: list[Text] = []
    for turn in turns:
        offices = _count_offices(parts, turn.rows)
        lost = sum(key not in parts.units for key in _keys(turn.rows))
        gone = Pair(f"；{lost} 个单位已不在抽样框中", f"; {lost} units are no longer in the frame")
        ends = [(gone[lang] if lost else "") + more[lang] for lang in (0, 1)]
        notes.append(
            Pair(
                f"种子 {turn.seed}{ends[0]}\n责任街道，抽中单元数：{_list(offices, 0)}",
                f"Seed {turn.seed}{ends[1]}\nWho answers, for how many units: {_list(offices, 1)}",
            )
        )
    last = sum(not turn.mock for turn in turns) or len(turns)
    labels = [turn.label for turn in turns]
    return Choice("round", "slider", Pair("轮次", "Round"), labels, start=last - 1, notes=notes)


def round_layers(parts: Parts, *, hollow: bool = False) -> list[PageLayer | None]:
    """Make the layers of the drawn units and of those that could replace them.

    Parameters
    ----------
    parts
        What there is to show, with rounds or mock rounds.
    hollow
        Draw compounds as outlines.

    Raises
    ------
    TableError
        If a round holds a unit that the frame does not.
    """
    points = name_points(parts.frame)
    rows: dict[str, list[tuple[int, Key, list[list[Text]]]]] = {"draws": [], "spares": []}
    for number, turn in enumerate(_list_turns(parts)):
        said: dict[str, dict[Key, list[list[Text]]]] = {"draws": {}, "spares": {}}
        for row in turn.rows.itertuples():
            key = (str(row.layer), str(row.unit_id))
            if key in parts.units:
                chosen = said["spares" if row.replacement else "draws"]
                chosen.setdefault(key, []).append(_say_from(row, points, mock=turn.mock))
        # A unit that one point drew is no replacement, though another point holds it in reserve.
        spare = {key: one for key, one in said["spares"].items() if key not in said["draws"]}
        for look, units in (("draws", said["draws"]), ("spares", spare)):
            rows[look] += [(number, key, one) for key, one in units.items()]
    return [_layer(parts, look, rows[look], hollow=hollow) for look in _LABELS]


def _list_turns(parts: Parts) -> list[_Turn]:
    turns = []
    if parts.rounds is not None:
        draws = parts.rounds.draws.sort_values(["slot", "point_id"])
        for one in parts.rounds.rounds.itertuples():
            rows = draws[draws["round_id"] == one.round_id]
            strange = [key[1] for key in _keys(rows) if key not in parts.units]
            if strange:
                raise TableError(
                    f"round {one.round_id!r} holds {len(strange)} units that the frame does not,"
                    f" e.g. {strange[0]}; draw it again on this frame"
                )
            turns.append(_Turn(str(one.round_id), str(one.seed), rows, mock=False))
    mocks = parts.get("mocks")
    if mocks is not None:
        for mock, rows in mocks.sort_values("slot").groupby("mock_id"):
            label = Pair(f"模拟 {mock}", f"Mock {mock}")
            turns.append(_Turn(label, str(rows["seed"].iloc[0]), rows, mock=True))
    return turns


def _say_from(row: Any, points: dict[str, Text], *, mock: bool) -> list[Text]:
    if mock:
        chance = write_percents([row.prob])[0]
        return [Pair(f"模拟，概率 {chance}", f"mock, odds {chance}"), str(row.slot), "—"]
    from_point = points.get(row.point_id, row.point_id)
    return [from_point, str(row.slot), *write_measures([row.radius_m], "m")]


def _layer(
    parts: Parts, look: str, rows: Sequence[tuple[int, Key, list[list[Text]]]], *, hollow: bool
) -> PageLayer | None:
    chosen = [parts.units[key] for _, key, _ in rows]
    facts = Facts(
        [unit.title for unit in chosen],
        [_STYLES[look]] * len(rows),
        repeat_facts(chosen),
        heads=_FROM,
        rows=[said for *_, said in rows],
        letters=[said[0][1] for *_, said in rows],
        options=[[number] for number, *_ in rows],
        forms=unit_forms(),
        kinds=[layer for _, (layer, _), _ in rows],
    )
    shapes = gpd.GeoSeries([unit.shape for unit in chosen], crs=parts.frame.alleys.crs)
    return facts_layer(
        _LABELS[look],
        shapes,
        facts,
        look=look,
        badges=True,
        show=look == "draws",
        group="round",
        hollow=hollow,
    )


def _keys(rows: pd.DataFrame) -> list[Key]:
    return list(dict.fromkeys(zip(rows["layer"], rows["unit_id"], strict=True)))


def _count_offices(parts: Parts, rows: pd.DataFrame) -> list[tuple[Text, int]]:
    nobody = Pair("不详", "unknown")
    keys = [key for key in _keys(rows[~rows["replacement"]]) if key in parts.units]
    counts = Counter(parts.units[key].facts.get(OFFICE) or nobody for key in keys)
    return sorted(counts.items(), key=lambda pair: (-pair[1], str(pair[0])))


def _list(offices: list[tuple[Text, int]], lang: int) -> str:
    """List offices, a line for each."""
    return "".join(
        f"\n{count}\t{name[lang] if isinstance(name, Pair) else name}" for name, count in offices
    )
