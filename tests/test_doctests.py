import doctest
from importlib import import_module
from pathlib import Path

import pytest

import survey

HOME = Path(survey.__file__).parent
NAMES = sorted(
    ".".join(path.relative_to(HOME.parent).with_suffix("").parts)
    for path in HOME.rglob("*.py")
    if ">>>" in path.read_text(encoding="utf-8")
)


def test_there_are_examples():
    """Examples in docstrings are found."""
    assert len(NAMES) > 5


@pytest.mark.parametrize("name", NAMES)
def test_examples_give_what_they_show(name):
    """Every example in a docstring gives the answer that stands below it."""
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    result = doctest.testmod(import_module(name), optionflags=flags)
    assert result.attempted > 0
    assert result.failed == 0
