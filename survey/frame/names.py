"""Names of places: when two ways of writing name one place, and when they cannot."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from survey.frame.tags import read_tags

_NUMERALS = {sign: str(value) for value, sign in enumerate("〇一二三四五六七八九")} | {"零": "0"}
_BRACKETS = re.compile(r"[(\[{【〔〈《「『](.*?)[)\]}】〕〉》」』]")


@dataclass(frozen=True)
class Title:
    """What a place is called, in forms that can be compared.

    Attributes
    ----------
    main
        The plain form of its first name; empty if it has none.
    plain
        The plain forms of all its names: one width and case, without brackets, spaces, signs and
        what its kind adds to names (a station's 站).
    forms
        The shortened forms of its first name: 第 and 市 dropped, 中学 as 中, numerals as digits,
        with and without the towns before it. Only for the kinds that are abbreviated like this.
    full
        The one of `forms` that keeps the towns.
    stage
        Primary, secondary or higher, for schools whose name or tags say so; else empty.
    attached
        The name up to 附小, 附中, for schools that are attached to another; else empty.
    numbers
        The numbers in its name.
    """

    main: str = ""
    plain: frozenset[str] = frozenset()
    forms: frozenset[str] = frozenset()
    full: str = ""
    stage: str = ""
    attached: str = ""
    numbers: frozenset[str] = frozenset()


def read_title(names: Iterable[str], kind: str, *, stage: str = "") -> Title:
    """Read a place's names, the first of which it goes by.

    Parameters
    ----------
    names
        All names of one place, as they are written.
    kind
        The kind of fixed point, which decides on suffixes and abbreviations.
    stage
        The stage that a school's tags say, for where its name says none.

    Returns
    -------
    Title
        Without anything but the stage where there is no name.
    """
    plain = [text for text in (_plain(name, kind) for name in names) if text]
    if not plain:
        return Title(stage=stage)
    rules = read_tags()["merge"]
    main = plain[0]
    forms = _shorten(main) if kind in rules["shortened"]["kinds"] else [main]
    digits = _with_digits(main)
    attached = re.search(rules["schools"]["attached"], forms[0]) if kind == "school" else None
    return Title(
        main=main,
        plain=frozenset(plain),
        forms=frozenset(forms),
        full=forms[0],
        stage=(_last_stage(digits, rules["schools"]["stages"]) or stage)
        if kind == "school"
        else "",
        attached=forms[0][: attached.end()] if attached else "",
        numbers=frozenset(re.findall(r"\d+", digits)),
    )


def is_same(first: Title, second: Title) -> bool:
    """Tell whether two titles of one kind are two ways of writing one name."""
    if first.plain & second.plain:
        return True
    return bool(first.full) and (first.full in second.forms or second.full in first.forms)


def is_part(first: Title, second: Title) -> bool:
    """Tell whether one of two names holds the other whole."""
    short, long = sorted((first.main, second.main), key=len)
    return bool(short) and short in long


def contradict(first: Title, second: Title) -> bool:
    """Tell whether two names say that they are not one place.

    They do where their numbers, their stages, or the school to which they are attached differ.
    """
    numbers = first.numbers and second.numbers
    if numbers and not (first.numbers <= second.numbers or second.numbers <= first.numbers):
        return True
    if first.stage and second.stage and first.stage != second.stage:
        return True
    return bool(first.main and second.main) and first.attached != second.attached


def _plain(name: str, kind: str) -> str:
    rules = read_tags()["merge"]
    kept = re.compile(rules["kept_in_brackets"])
    text = unicodedata.normalize("NFKC", name).casefold()
    text = _BRACKETS.sub(lambda found: found[1] if kept.search(found[1]) else "", text)
    text = re.sub(r"[\W_]+", "", text)
    for pattern in (rules["phase"], rules["suffix"].get(kind), rules["prefix"].get(kind)):
        if pattern:
            text = re.sub(pattern, "", text) or text
    # A name of nothing but brackets or a suffix is still a name.
    return text or name.strip().casefold()


def _shorten(text: str) -> list[str]:
    """Shorten a plain name: its form with all towns before it, then with fewer and fewer."""
    rules = read_tags()["merge"]["shortened"]
    towns, rest = [], text
    while (found := re.match(rules["town"], rest)) and found.end() < len(rest):
        towns.append(re.sub(rules["town_mark"], "", found[0]))
        rest = rest[found.end() :]
    for pattern, short in rules["abbreviations"]:
        rest = re.sub(pattern, short, rest)
    return [_with_digits("".join(towns[start:]) + rest) for start in range(len(towns) + 1)]


def _with_digits(text: str) -> str:
    return re.sub("[〇零一二三四五六七八九十]+", lambda found: _number(found[0]), text)


def _number(numeral: str) -> str:
    """Write a Chinese numeral below a hundred in digits, a longer one digit by digit."""
    if numeral.count("十") != 1:
        return "".join(_NUMERALS.get(sign, "10") for sign in numeral)
    tens, ones = numeral.split("十")
    return (_digits(tens) or "1") + (_digits(ones) or "0")


def _digits(text: str) -> str:
    return "".join(_NUMERALS[sign] for sign in text)


def _last_stage(text: str, stages: dict[str, Any]) -> str:
    """Find the stage that a name says last: a university's primary school is a primary school."""
    ends = {
        stage: max((found.end() for found in re.finditer(pattern, text)), default=0)
        for stage, pattern in stages.items()
    }
    best = max(ends, key=lambda stage: ends[stage])
    return best if ends[best] else ""
