"""What kind of fixed point an object is, and what it is called, by its tags."""

import re
import unicodedata
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from survey import tables
from survey.frame.tags import find_tagged, match_any, read_tags

_TEXTS = ("name", "name:zh", "name:en")
_NAMES = ("name", "name:zh", "official_name", "short_name", "alt_name")


def merge_rules(several: Iterable[Mapping[str, list[str]]]) -> dict[str, list[str]]:
    """Make one rule that matches what any of several rules matches."""
    merged: dict[str, list[str]] = {}
    for rules in several:
        for key, values in rules.items():
            merged[key] = merged.get(key, []) + values
    return merged


def may_be_points(features: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Tell quickly which features `find_kind` need be asked about: it finds no kind for others."""
    rules = read_tags()["kinds"]
    community, fallback = rules["community"], rules["community"]["fallback"]
    plain = [rules[kind]["tags"] for kind in tables.KINDS if kind != "community"]
    sure = find_tagged(
        features, merge_rules([*plain, rules["school"]["kindergarten_tags"], fallback])
    )
    # A committee office is known by its name: millions of buildings have none.
    named = find_tagged(features, {key: ["*", "no"] for key in _TEXTS})
    offices = merge_rules([community["tags"], community["office_tags"]])
    sure[named] |= find_tagged(features[named], offices)
    return sure


def find_kind(tags: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Tell what kind of fixed point an object is by its tags.

    Returns
    -------
    tuple
        The kind, "neighbourhood" for what stands in for a community, or ``None``; and why it is
        no point although it is tagged as that kind, or ``None`` if it is one.
    """
    doubt: tuple[str | None, str | None] = (None, None)
    for kind in tables.KINDS:
        if _is_tagged(tags, kind):
            why = _find_fault(tags, kind)
            if why is None:
                return kind, None
            doubt = (kind, why) if doubt[0] is None else doubt
    if doubt[0] is None and match_any(tags, read_tags()["kinds"]["community"]["fallback"]):
        return "neighbourhood", None
    return doubt


def _is_tagged(tags: Mapping[str, str], kind: str) -> bool:
    rules = read_tags()["kinds"][kind]
    if kind == "community":
        return any(
            re.search(rules[pattern], text) and match_any(tags, rules[where])
            for text in _list_texts(tags)
            for where, pattern in (("tags", "named"), ("office_tags", "office_named"))
        )
    if kind == "school" and rules["kindergartens"]:
        return match_any(tags, rules["tags"]) or match_any(tags, rules["kindergarten_tags"])
    return match_any(tags, rules["tags"])


def _find_fault(tags: Mapping[str, str], kind: str) -> str | None:
    """Find what in an object's tags or name says that it is no point of its kind."""
    if match_any(tags, read_tags()["not_in_use"]):
        return f"a {kind} by its tags, but not in use"
    rules = read_tags()["kinds"][kind]
    patterns = dict(rules.get("not_named", {}))
    if kind == "school" and not rules["kindergartens"]:
        patterns["a kindergarten"] = rules["kindergarten_names"]
    for what, pattern in patterns.items():
        if any(re.search(pattern, text) for text in _list_texts(tags)):
            return f"a {kind} by its tags, {what} by its name {find_name(tags)}"
    return None


def _list_texts(tags: Mapping[str, str]) -> list[str]:
    """List the names that patterns are tried on: one width and case, without brackets."""
    keys = ("name", "name:zh") if "name" in tags or "name:zh" in tags else ("name:en",)
    names = [tags[key] for key in keys if key in tags]
    plain = [unicodedata.normalize("NFKC", name).casefold() for name in names]
    return [re.sub(r"\(.*?\)", "", name).strip() or name for name in plain]


def list_names(tags: Mapping[str, str]) -> list[str]:
    """List all names of an object, the one that it goes by first; else the English one."""
    for keys in (_NAMES, ("name:en",)):
        parts = [part.strip() for key in keys for part in tags.get(key, "").split(";")]
        names = [name for name in dict.fromkeys(parts) if name]
        if names:
            return names
    return []


def find_name(tags: Mapping[str, str]) -> str | None:
    """Find the name that an object goes by."""
    return tags.get("name") or tags.get("name:zh") or next(iter(list_names(tags)), None)
