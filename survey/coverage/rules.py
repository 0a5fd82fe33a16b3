"""Distance rules, read from `rules.toml`."""

import tomllib
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files

from survey.errors import RuleError


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
        ``walk`` along streets or ``crow`` in a straight line.
    limit_m
        How far a toilet may be, in metres.
    source
        Where the reading was read.

    Raises
    ------
    RuleError
        If the limit is not above 0 or the metric is unknown.
    """

    rule_id: str
    title_zh: str
    title_en: str
    metric: str
    limit_m: float
    source: str

    def __post_init__(self) -> None:
        """Check metric and limit."""
        if self.metric not in {"walk", "crow"}:
            raise RuleError(f"rule {self.rule_id}: metric {self.metric!r} is neither walk nor crow")
        if not self.limit_m > 0:
            raise RuleError(f"rule {self.rule_id}: limit_m is {self.limit_m}, it must be above 0")

    @property
    def title(self) -> str:
        """The title in both languages."""
        return f"{self.title_zh} · {self.title_en}"


def read_rules() -> dict[str, Rule]:
    """Read the rules that the package knows, by id."""
    text = (files("survey.coverage") / "rules.toml").read_text(encoding="utf-8")
    return {name: Rule(name, **row) for name, row in tomllib.loads(text).items()}


def find_rule(rule_id: str) -> Rule:
    """Find a rule by its id.

    Raises
    ------
    RuleError
        If there is none of that id; the message lists those there are.
    """
    rules = read_rules()
    if rule_id not in rules:
        close = get_close_matches(rule_id, rules, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise RuleError(f"there is no rule {rule_id!r}; {hint}there are: {', '.join(rules)}")
    return rules[rule_id]
