"""The condition of alleys and compounds, from 0 (bad) to 1 (good), out of a user's own file."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from survey.errors import LayerError
from survey.sampling.draw import DrawFrame
from survey.sources.layer_files import Rows, read_rows
from survey.sources.layer_places import describe_rows
from survey.sources.layer_words import find_columns, fold, read_words
from survey.tables import LAYERS

Floats = npt.NDArray[np.float64]

_MOST = 3
# What columns are called here, besides the ids and names of every layer of a user's own.
_COLUMNS = {
    "unit": ("unit_id", "单元编号"),
    "alley": ("alley_id",),
    "compound": ("compound_id",),
    "name": ("unit_name", "小巷名称", "街巷名称", "小区名称"),
    "layer": ("layer", "图层", "类别", "单元类别"),
    "condition": ("condition", "状况", "score", "得分", "分数", "评分"),
    "cost": ("cost", "费用", "造价", "整治费用"),
}
_IDS = ("unit", "alley", "compound", "id")
_LAYER_WORDS = {
    "alley": ("alley", "alleys", "背街小巷", "小巷", "街巷"),
    "compound": ("compound", "compounds", "小区", "居民小区", "住宅小区"),
}
_UNFOUND = {
    "unknown": "not in the frame: {}; take ids or names from its alleys and compounds",
    "ambiguous": "several units of the frame: {}; give the unit_id, or the layer (alley 背街小巷,"
    " compound 小区)",
    "contradicted": "an id whose name is that of another unit: {}; mend the id or the name",
}


@dataclass(frozen=True, eq=False)
class Condition:
    """What is known of the condition of a frame's units.

    Attributes
    ----------
    table
        ``layer, unit_id, condition, cost``, sorted by layer and unit_id: the units whose condition
        is known. ``condition`` runs from 0 (bad) to 1 (good), and 1 - condition is the chance that
        the unit fails; ``cost`` is in the file's own currency, NaN where it is not known.
    missing
        ``layer, unit_id, name``, sorted alike: the units of the frame without a condition, because
        the cell is blank or the row is absent. Nothing is guessed for them.
    notes
        What a reader should know.
    """

    table: pd.DataFrame
    missing: pd.DataFrame
    notes: tuple[str, ...] = ()


def read_condition(
    path: str | Path,
    frame: DrawFrame,
    *,
    column: str | None = None,
    greatest: float | None = None,
    fails_below: float | None = None,
) -> Condition:
    """Read the condition of a frame's units from a file.

    Parameters
    ----------
    path
        CSV, TSV, TXT, XLSX, GeoJSON, GeoPackage or shapefile; as to encodings see `read_rows`. A
        row is a unit, found by its id (unit_id, alley_id, compound_id, id, 编号) or, where it
        gives none, by its name (name, 名称); a layer (layer, 图层, 类别) is needed only where id
        or name stands in both layers. If not one id of the file is in the frame, names are used
        and a note says so. A cost column (cost, 费用, 造价) may be there.
    frame
        Whose ``alleys`` and ``compounds`` they are.
    column
        Which column holds the condition; by default the one called condition, 状况, score, 得分,
        分数 or 评分.
    greatest
        The greatest score there can be, where the column is a score and not within [0, 1]: the
        condition is score / greatest.
    fails_below
        A unit whose condition (within [0, 1]) is below this fails for certain, any other does not:
        its condition becomes 0 or 1. Without it 1 - condition is the chance that it fails.

    Returns
    -------
    Condition

    Raises
    ------
    InputError
        If the file is missing, broken, or of a kind that cannot be read.
    LayerError
        If the column is not there or not the only one, a cell is no number or outside its range,
        a unit is unknown, ambiguous, contradicted by its name or there twice, a cost is below 0,
        no condition is given at all, or `greatest` or `fails_below` is out of its range. The
        message lists every fault of the file, with its first rows.
    """
    return _settle(read_rows(Path(path)), str(path), frame, column, (greatest, fails_below))


def as_condition(
    table: pd.DataFrame,
    frame: DrawFrame,
    *,
    column: str | None = None,
    greatest: float | None = None,
    fails_below: float | None = None,
) -> Condition:
    """Take the condition of a frame's units from a table, by the rules of `read_condition`.

    Parameters
    ----------
    table
        As the file would be; rows are named by its index in messages.
    frame, column, greatest, fails_below
        As for `read_condition`.

    Returns
    -------
    Condition

    Raises
    ------
    LayerError
        As `read_condition` says.

    Examples
    --------
    >>> from survey.example import example_town
    >>> scores = pd.DataFrame({"名称": ["桂花巷", "东苑"], "得分": [60, 85]})
    >>> condition = as_condition(scores, example_town(), greatest=100)
    >>> condition.table["condition"].to_list(), len(condition.missing)
    ([0.6, 0.85], 6)
    """
    cells = pd.DataFrame(table).drop(columns="geometry", errors="ignore").astype(object)
    rows = Rows(cells.map(_as_text).reset_index(drop=True), None, None, list(table.index))
    return _settle(rows, "the table", frame, column, (greatest, fails_below))


def _as_text(value: Any) -> str:
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return ""
    # A column of whole numbers with a gap in it is one of floats.
    return (
        str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
    )


def _settle(
    rows: Rows,
    source: str,
    frame: DrawFrame,
    column: str | None,
    scale: tuple[float | None, float | None],
) -> Condition:
    """Find every row's unit and number, or raise all that is wrong with them."""
    if not len(rows):
        raise LayerError(f"{source} holds no rows; it should have one for each unit")
    greatest, fails_below = scale
    columns, faults = _pick_columns(rows, column)
    units = _list_units(frame)
    places, notes, unfound = _find_units(rows, columns, units)
    scores, bad_scores = _read_scores(rows, columns.get("condition"), greatest)
    costs, bad_costs = _read_costs(rows, columns.get("cost"))
    faults += [*_check_scale(greatest, fails_below), *unfound, *bad_scores, *bad_costs]
    if faults:
        raise LayerError(f"{source}: " + "; ".join(faults))
    condition, cost = np.full((2, len(units)), np.nan)
    condition[places], cost[places] = scores / (greatest or 1), costs
    known = ~np.isnan(condition)
    if fails_below is not None:
        condition[known] = condition[known] >= fails_below
    name = str(rows.cells.columns[columns["condition"]])
    notes += _say_scale(name, greatest, fails_below)
    notes += _say_missing(len(units), len(rows), int(known.sum()))
    table = units.assign(condition=condition, cost=cost)[known].drop(columns="name")
    missing = units[~known].reset_index(drop=True)
    return Condition(table.reset_index(drop=True), missing, tuple(notes))


def _check_scale(greatest: float | None, fails_below: float | None) -> list[str]:
    faults = []
    if greatest is not None and not 0 < greatest < np.inf:
        faults.append(f"the greatest score is {greatest}; give a number above 0")
    if fails_below is not None and not 0 <= fails_below <= 1:
        faults.append(
            f"fails_below is {fails_below}; it is compared with the condition, so give a number"
            " within [0, 1], such as 0.6 for 60 of 100"
        )
    return faults


def _say_scale(name: str, greatest: float | None, fails_below: float | None) -> list[str]:
    score = f"column {name!r}" + (f" divided by {greatest:g}" if greatest is not None else "")
    if fails_below is None:
        return [f"the condition is {score}; 1 - condition is taken as the chance that a unit fails"]
    return [f"a unit fails for certain where {score} is below {fails_below:g}, else it does not"]


def _say_missing(units: int, rows: int, known: int) -> list[str]:
    note = (
        f"{units - known} of {units} units have no condition ({rows - known} blank,"
        f" {units - rows} without a row); they are listed as missing, and nothing is guessed"
    )
    return [note] if known < units else []


def _pick_columns(rows: Rows, column: str | None) -> tuple[dict[str, int], list[str]]:
    """Find the one column of each meaning, and say what is missing or double."""
    names = [str(name) for name in rows.cells.columns]
    words = {fold(word): meaning for meaning, several in _COLUMNS.items() for word in several}
    shared = read_words()["columns"].items()
    words |= {word: meaning for word, meaning in shared if meaning in ("id", "name")}
    found = find_columns(names, words)
    wanted = f"says the condition ({', '.join(_COLUMNS['condition'])})"
    if column is not None:
        wanted = f"is called {column!r}"
        exact = [place for place, name in enumerate(names) if name == column]
        found["condition"] = exact or find_columns(names, {fold(column): "it"}).get("it", [])
    listed = ", ".join(map(repr, names))
    faults = []
    if not found.get("condition"):
        faults.append(f"no column {wanted}; name the one to take: the columns are {listed}")
    if not found.keys() & {*_IDS, "name"}:
        known = ", ".join(_COLUMNS[meaning][0] for meaning in _IDS[:3])
        faults.append(
            f"no column says the unit ({known}, 编号, name, 名称); the columns are {listed}"
        )
    for meaning, places in found.items():
        if len(places) > 1 and meaning in ("condition", "cost"):
            double = ", ".join(repr(names[place]) for place in places)
            advice = "name the one to take" if meaning == "condition" else "keep one of them"
            faults.append(f"columns {double} all hold the {meaning}; {advice}")
    return {meaning: places[0] for meaning, places in found.items() if places}, faults


def _list_units(frame: DrawFrame) -> pd.DataFrame:
    """List the frame's units: layer, unit_id, name, sorted by key."""
    parts = [
        pd.DataFrame({"layer": layer, "unit_id": table[f"{layer}_id"], "name": table["name"]})
        for layer, table in zip(LAYERS, (frame.alleys, frame.compounds), strict=True)
    ]
    return pd.concat(parts).sort_values(["layer", "unit_id"], ignore_index=True)


def _find_units(
    rows: Rows, columns: Mapping[str, int], units: pd.DataFrame
) -> tuple[npt.NDArray[np.int64], list[str], list[str]]:
    """Find each row's unit as its place in `units`; notes and faults beside it."""
    ids, layers, names, faults = _read_keys(rows, columns)
    notes = []
    if any(names) and any(ids) and not set(ids) & set(units["unit_id"]):
        notes.append("none of the file's ids is in the frame, so units were found by their names")
        ids = [""] * len(rows)
    places = defaultdict(set)
    for place, (layer, unit_id, name) in enumerate(units.itertuples(index=False, name=None)):
        places[layer, "id", unit_id].add(place)
        if _plain(name):
            places[layer, "name", _plain(name)].add(place)
    found, unfound = np.full(len(rows), -1), defaultdict(list)
    for row, (unit_id, layer, name) in enumerate(zip(ids, layers, names, strict=True)):
        within = [layer] if layer else LAYERS
        named = set().union(*(places[one, "name", _plain(name)] for one in within))
        fits = set().union(*(places[one, "id", unit_id] for one in within)) if unit_id else named
        if len(fits) == 1 and (fits <= named or not named):
            found[row] = min(fits)
            continue
        why = "contradicted" if len(fits) == 1 else "ambiguous" if fits else "unknown"
        unfound[why if unit_id or name else ""].append(row)
    if unfound[""] and columns.keys() & {*_IDS, "name"}:
        where = describe_rows(rows, unfound[""])
        faults.append(f"neither id nor name in {where}; say which units these are")
    keys = [unit_id or name for unit_id, name in zip(ids, names, strict=True)]
    faults += [
        text.format(_show(rows, keys, unfound[why]))
        for why, text in _UNFOUND.items()
        if unfound[why]
    ]
    told = [" ".join(key) for key in units[["layer", "unit_id"]].itertuples(index=False)]
    again = {place for place, count in Counter(found[found >= 0]).items() if count > 1}
    twice = [row for row, place in enumerate(found) if place in again]
    if twice:
        shown = _show(rows, [told[place] for place in found], twice)
        faults.append(f"units that stand there more than once: {shown}; keep one row of each")
    return found, notes, faults


def _read_keys(
    rows: Rows, columns: Mapping[str, int]
) -> tuple[list[str], list[str], list[str], list[str]]:
    """Read each row's id, layer and name, empty where there is none, and say what is wrong."""
    cells = {meaning: rows.cells.iloc[:, place].to_list() for meaning, place in columns.items()}
    blank = [""] * len(rows)
    words = {fold(word): layer for layer, several in _LAYER_WORDS.items() for word in several}
    said = cells.get("layer", blank)
    layers = [words.get(fold(cell), "") for cell in said]
    strange = [row for row, cell in enumerate(said) if cell and not layers[row]]
    ids = list(blank)
    for meaning in _IDS:
        for row, cell in enumerate(cells.get(meaning, blank)):
            if cell and not ids[row]:
                ids[row] = cell
                layers[row] = layers[row] or (meaning if meaning in LAYERS else "")
    faults = []
    if strange:
        shown = _show(rows, said, strange)
        faults.append(f"the layer {shown} is unknown; allowed are alley 背街小巷, compound 小区")
    return ids, layers, cells.get("name", blank), faults


def _plain(name: Any) -> str:
    """Bring a name into a form without width, case and spaces; empty where it is missing."""
    text = unicodedata.normalize("NFKC", name).casefold() if isinstance(name, str) else ""
    return re.sub(r"\s", "", text)


def _show(rows: Rows, texts: Sequence[str], places: Iterable[int]) -> str:
    """Say what stands in which rows, the first few."""
    groups = defaultdict(list)
    for place in places:
        groups[texts[place]].append(place)
    shown = [f"{text!r} in {describe_rows(rows, group)}" for text, group in groups.items()]
    more = len(shown) - _MOST
    return ", ".join(shown[:_MOST]) + (f" and {more} more" if more > 0 else "")


def _read_scores(rows: Rows, place: int | None, greatest: float | None) -> tuple[Floats, list[str]]:
    """Read the condition column, NaN where it is blank, and say what is wrong with it."""
    if place is None:
        return np.full(len(rows), np.nan), []
    scores, faults = _read_numbers(rows, place)
    texts = rows.cells.iloc[:, place]
    named = f"column {texts.name!r}"
    outside = (scores < 0) | (scores > (greatest or 1))
    if (texts == "").all():
        faults.append(f"{named} is blank in every row; give the condition of one unit at least")
    if outside.any():
        shown = _show(rows, texts.to_list(), np.flatnonzero(outside))
        advice = "mend these cells"
        if greatest is None and (scores > 1).any():
            advice = "where it is a score, pass the greatest score there can be (greatest=100)"
        faults.append(f"{named}: {shown} lies outside [0, {greatest or 1:g}]; {advice}")
    return scores, faults


def _read_costs(rows: Rows, place: int | None) -> tuple[Floats, list[str]]:
    """Read the cost column, NaN where there is none, and say what is wrong with it."""
    if place is None:
        return np.full(len(rows), np.nan), []
    costs, faults = _read_numbers(rows, place)
    texts = rows.cells.iloc[:, place]
    if (costs < 0).any():
        shown = _show(rows, texts.to_list(), np.flatnonzero(costs < 0))
        faults.append(f"column {texts.name!r}: the cost {shown} is below 0; mend these cells")
    return costs, faults


def _read_numbers(rows: Rows, place: int) -> tuple[Floats, list[str]]:
    texts = rows.cells.iloc[:, place]
    numbers = np.array([_as_number(text) for text in texts])
    bad = np.flatnonzero((texts != "") & ~np.isfinite(numbers))
    if not len(bad):
        return numbers, []
    numbers[bad] = np.nan
    shown = _show(rows, texts.to_list(), bad)
    return numbers, [f"column {texts.name!r}: {shown} is no number; leave blank what is not known"]


def _as_number(text: str) -> float:
    try:
        return float(unicodedata.normalize("NFKC", text))
    except ValueError:
        return np.nan
