"""Distance rules, read from `rules.toml` and from a user's own file."""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any

from survey.errors import RuleError
from survey.frame.tags import read_tags
from survey.tables import KINDS

_METRICS = {
    "walk": ("streets", "points", "compounds"),
    "crow": ("streets", "points", "compounds"),
    "spacing": ("main",),
    "density": ("ground",),
}


@dataclass(frozen=True)
class Rule:
    """One reading of a distance rule.

    Attributes
    ----------
    rule_id
        Its name in tables and on the command line.
    title_zh, title_en
        What people call it.
    metric
        ``walk`` along streets, ``crow`` in a straight line, ``spacing`` while walking along a
        road, ``density`` per km2 of ground.
    limit_m
        How far the facility may be, in metres; ``None`` for density.
    source
        Where the reading was read.
    facility
        ``toilet``, or a kind of the table `facilities`.
    on
        Where it is asked for: ``streets`` (public ones), ``main`` (main and secondary roads),
        ``points``, ``compounds``, ``ground``.
    kinds
        The kinds of fixed points, where `on` is points; all if empty.
    beside_m
        How far off the road a facility is still met, in metres; for spacing.
    per_km2
        How many there should be; for density.
    least_m2
        Facilities smaller than this do not count.
    negative
        Whether there may be none within the limit.
    confirmed
        Whether the source was read; else it is recalled.

    Raises
    ------
    RuleError
        If a value is missing, has the wrong form, or contradicts another.
    """

    rule_id: str
    title_zh: str
    title_en: str
    metric: str
    limit_m: float | None
    source: str
    facility: str = "toilet"
    on: str = "streets"
    kinds: tuple[str, ...] = ()
    beside_m: float = 50
    per_km2: float | None = None
    least_m2: float = 0
    negative: bool = False
    confirmed: bool = True

    def __post_init__(self) -> None:
        """Check every value."""
        object.__setattr__(self, "kinds", tuple(self.kinds))
        if self.metric not in _METRICS:
            raise self._fault(f"metric is {self.metric!r}; give one of {', '.join(_METRICS)}")
        if self.on not in _METRICS[self.metric]:
            places = " or ".join(_METRICS[self.metric])
            raise self._fault(f"on is {self.on!r}; with metric {self.metric} give {places}")
        kinds = ["toilet", *read_tags()["facilities"]["kinds"]]
        if self.facility not in kinds:
            raise self._fault(f"facility is {self.facility!r}; give one of {', '.join(kinds)}")
        strange = [kind for kind in self.kinds if kind not in KINDS]
        if strange or (self.kinds and self.on != "points"):
            raise self._fault(
                f'kinds is {list(self.kinds)}; it is for on = "points", some of {", ".join(KINDS)}'
            )
        if self.negative and self.on not in ("points", "compounds"):
            raise self._fault("negative rules are asked at points or compounds only")
        self._check_numbers()

    def _check_numbers(self) -> None:
        density = self.metric == "density"
        for name in ("per_km2",) if density else ("limit_m", "beside_m"):
            value = getattr(self, name)
            if not _is_number(value) or not value > 0:
                raise self._fault(f"{name} is {value!r}; it must be a number above 0")
        if (self.limit_m if density else self.per_km2) is not None:
            raise self._fault("density rules have per_km2 and no limit_m, others limit_m only")
        if not _is_number(self.least_m2) or self.least_m2 < 0:
            raise self._fault(f"least_m2 is {self.least_m2!r}; it must be a number from 0 up")

    def _fault(self, what: str) -> RuleError:
        return RuleError(f"rule {self.rule_id}: {what}")

    @property
    def title(self) -> str:
        """The title in both languages."""
        return f"{self.title_zh} · {self.title_en}"

    @property
    def reach_m(self) -> float:
        """The limit in metres; 0 for density, which has none."""
        return self.limit_m or 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def read_rules(path: str | Path | None = None) -> dict[str, Rule]:
    """Read the rules that the package knows, by id, and those of a file of the user's own.

    Parameters
    ----------
    path
        A TOML file in the form of ``survey/coverage/rules.toml``; a rule in it replaces the
        package's of the same id.

    Raises
    ------
    RuleError
        If the file is missing, is not TOML, or a rule in it is no rule; the message names it.
    """
    text = (files("survey.coverage") / "rules.toml").read_text(encoding="utf-8")
    rules = _parse(tomllib.loads(text), "rules.toml")
    if path is None:
        return rules
    try:
        own = tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as fault:
        raise RuleError(f"{path}: {fault.strerror}; give a TOML file of rules") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise RuleError(f"{path} is not valid TOML in UTF-8: {fault}") from None
    try:
        return rules | _parse(own, str(path))
    except RuleError as fault:
        raise RuleError(f"{path}: {fault}") from None


def _parse(tables: Mapping[str, Any], where: str) -> dict[str, Rule]:
    known = [field.name for field in fields(Rule) if field.name != "rule_id"]
    rules = {}
    for name, row in tables.items():
        if not isinstance(row, Mapping):
            raise RuleError(f"{name!r} in {where} is no rule; write a table [{name}]")
        for key in row:
            if key not in known:
                close = get_close_matches(key, known, n=1, cutoff=0)[0]
                raise RuleError(f"rule {name}: unknown key {key!r}; the closest is {close!r}")
        for key in ("title_zh", "title_en", "source"):
            if not isinstance(row.get(key), str) or not row[key].strip():
                raise RuleError(f"rule {name}: {key} is missing; give a text")
        values: dict[str, Any] = {"metric": "", "limit_m": None}
        rules[name] = Rule(name, **values | dict(row))
    return rules


def find_rule(rule_id: str, rules: Mapping[str, Rule] | None = None) -> Rule:
    """Find a rule by its id, among `rules` or those that the package knows.

    Raises
    ------
    RuleError
        If there is none of that id; the message lists those there are.
    """
    known = read_rules() if rules is None else rules
    if rule_id not in known:
        close = get_close_matches(rule_id, known)
        close.sort(key=lambda one: not one.startswith(rule_id))  # half typed before mistyped
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise RuleError(f"there is no rule {rule_id!r}; {hint}there are: {', '.join(known)}")
    return known[rule_id]
