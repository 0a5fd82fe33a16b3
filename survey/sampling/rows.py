"""The rows that a frame's hash is taken over, as text, in the order in which they are hashed."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from survey.tables import TABLES, check, round_mm

HASHED = {
    "alleys": ("alley_id",),
    "compounds": ("compound_id",),
    "points": ("point_id", "kind"),
    "reach": ("point_id", "layer", "unit_id", "euclid_m", "network_m"),
}
"""The columns of each table that are hashed; the tables are in the order of their rows."""

_NUMBERS = ("euclid_m", "network_m")
_ROWS_AT_ONCE = 100_000


def list_rows(
    name: str, table: pd.DataFrame, check_text: Callable[[object, str], None]
) -> Iterator[list[str]]:
    """List the rows of a table as text, sorted as UTF-8 bytes, a part at a time.

    Each row is led by the table's name, fields are joined by U+001F, metres written as ``%.3f``
    (a missing one empty).

    Parameters
    ----------
    name
        A key of `HASHED`.
    table
        The table; its key is checked here.
    check_text
        Raises DesignError for a text that could be read in two ways, with the place it stands.

    Raises
    ------
    TableError
        If a key stands twice.
    """
    texts = [column for column in HASHED[name] if column not in _NUMBERS]
    codes, values = {}, {}
    for column in texts:
        numbers, unique = pd.factorize(table[column].astype("str"))
        values[column] = unique.to_numpy(dtype=object)
        for text in values[column]:
            check_text(text, f"table {name!r}, column {column!r}")
        # Fields end with U+001F, which no text holds: so sorted fields are sorted rows. Code
        # points sort as their UTF-8 bytes do.
        rank = np.empty(len(unique), dtype=np.int64)
        rank[np.argsort(values[column] + "\x1f")] = np.arange(len(unique))
        codes[column] = (numbers, rank[numbers])
    order = np.lexsort([codes[column][1] for column in reversed(texts)])
    ranks = np.array([codes[column][1][order] for column in TABLES[name].key])
    if (ranks[:, 1:] == ranks[:, :-1]).all(axis=0).any():
        check(name, table)
    for first in range(0, len(order), _ROWS_AT_ONCE):
        part = order[first : first + _ROWS_AT_ONCE]
        cells: list[Any] = [values[column][codes[column][0][part]] for column in texts]
        cells += [_write(table[column].to_numpy()[part]) for column in HASHED[name][len(texts) :]]
        yield ["\x1f".join(row) for row in zip([name] * len(part), *cells, strict=True)]


def _write(metres: Any) -> list[str]:
    texts = map("{:.3f}".format, round_mm(metres).tolist())
    return ["" if text == "nan" else text for text in texts]
