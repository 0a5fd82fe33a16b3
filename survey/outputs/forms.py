"""What inspectors check at each kind of place, read from `forms.toml`."""

import tomllib
from functools import cache
from importlib.resources import files

from survey.outputs.texts import Pair


@cache
def read_forms() -> dict[str, list[Pair]]:
    """Read the form items by kind of place; treat what it returns as constant.

    Returns
    -------
    dict of str to list of Pair
        Kind (``alley``, ``compound``, ``toilet`` and the kinds of points) to its items.
    """
    text = files("survey.outputs").joinpath("forms.toml").read_text(encoding="utf-8")
    return {
        kind: [Pair(*item) for item in items]
        for kind, items in tomllib.loads(text).items()
        if isinstance(items, list)
    }
