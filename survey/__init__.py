"""Field-survey planner: what inspectors can draw, checkable rounds, and the 500 m toilet rule."""

from importlib import import_module
from typing import Any

_HOMES = {
    "Area": "survey.sources.area",
    "find_area": "survey.sources.area",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: start-up counts."""
    if name not in _HOMES:
        raise AttributeError(f"module 'survey' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(_HOMES)
