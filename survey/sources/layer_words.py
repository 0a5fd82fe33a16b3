"""What the words in users' files mean, read from `layer_words.toml`."""

import re
import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def read_words() -> dict[str, Any]:
    """Read `layer_words.toml`; treat what it returns as constant.

    Returns
    -------
    dict
        The sections, each a dictionary of folded word to what it means, in the file's order;
        ``cell`` holds such a dictionary by column.
    """
    text = (files("survey.sources") / "layer_words.toml").read_text(encoding="utf-8")
    found = tomllib.loads(text)
    cells = {column: _turn(words) for column, words in found.pop("cell").items()}
    return {name: _turn(words) for name, words in found.items()} | {"cell": cells}


def _turn(words: Mapping[str, Sequence[str]]) -> dict[str, str]:
    return {fold(word): meaning for meaning, several in words.items() for word in several}


def fold(text: str) -> str:
    """Leave out what does not tell words apart: case, width, brackets, spaces, punctuation."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    bare = re.sub(r"\(.*?\)|\[.*?\]|【.*?】", "", plain)
    return re.sub(r"[^\w√✓×✗]|_", "", bare) or re.sub(r"[^\w√✓×✗]|_", "", plain)


def find_columns(names: Sequence[str], words: Mapping[str, str]) -> dict[str, list[int]]:
    """Find which columns of a file hold what.

    Parameters
    ----------
    names
        The columns as the file names them.
    words
        Folded word to meaning, the preferred words first.

    Returns
    -------
    dict
        Meaning to positions in `names`, the preferred first; meanings that no column has are
        absent.
    """
    folded = [fold(name) for name in names]
    found: dict[str, list[int]] = {}
    for word, meaning in words.items():
        places = [place for place, name in enumerate(folded) if name == word]
        if places:
            found.setdefault(meaning, []).extend(places)
    return found
