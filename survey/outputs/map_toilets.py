"""The map of the toilets: where which reading of the rule fails, before and after mending."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from survey.errors import OutputError
from survey.outputs.map_layers import (
    candidates_layer,
    covered_layer,
    gaps_layer,
    points_layer,
    sites_layer,
    subdistricts_layer,
    toilets_layer,
)
from survey.outputs.map_parts import Layers, Parts, Story
from survey.outputs.page import Choice
from survey.outputs.texts import Pair, Text

_SHOWN = 2  # rules whose share stands in the page's head


def tell_toilets(parts: Parts) -> Story:
    """Tell on which metres of street the rule fails.

    Raises
    ------
    OutputError
        If no rule of the audit is asked on streets.
    """
    frame = parts.frame
    rules = street_rules(parts)
    if not rules:
        raise OutputError("the audit has no rule that is asked on streets; audit walk-500 too")
    choice, shown = reading_layers(parts)
    title = title_rule(rules[0])
    gap_km = float(rules[0].checked_m - rules[0].covered_m) / 1000
    line = Pair(
        f"红色是不达标的街道，越粗越长：按“{title.zh}”共 {gap_km:,.1f} 公里",
        f"Red is street where the rule fails, the broader the longer: {gap_km:,.1f} km by"
        f" “{title.en}”",
    )
    layers = [
        points_layer(frame, show=False),
        sites_layer(frame, parts.get("sites")),
        toilets_layer(frame),
        candidates_layer(frame),
        *shown,
        subdistricts_layer(frame),
    ]
    heading = Pair("公共卫生间：哪里不达标", "Toilets: where the rule fails")
    return Story(heading, line, say_shares(rules), layers, [choice])


def street_rules(parts: Parts) -> list[Any]:
    """List the rules of the audit that have gaps to show, in their order."""
    audit = parts.get("audit")
    if audit is None:
        return []
    return list(audit.summary[audit.summary["on"].isin(["streets", "main"])].itertuples())


def title_rule(rule: Any) -> Pair:
    """Part the title of a rule into its two languages."""
    halves = str(rule.title).split(" · ", 1)
    return Pair(halves[0], halves[-1])


def say_shares(rules: Sequence[Any]) -> list[Text]:
    """Say what share of street meets the first rules."""
    return [_say_share(rule) for rule in rules[:_SHOWN]]


def _say_share(rule: Any) -> Pair:
    title, share = title_rule(rule), f"{rule.share:.1%}"
    return Pair(f"{title.zh}：{share}", f"{title.en}: {share}")


def reading_layers(parts: Parts, *, kind: str = "radio") -> tuple[Choice, Layers]:
    """Offer the readings of the rule; one that sites mend comes once more, with the sites."""
    mended = parts.get("after")
    later = {} if mended is None else {rule.rule_id: rule for rule in mended.summary.itertuples()}
    shown: list[tuple[Any, Any, bool]] = []
    for rule in street_rules(parts):
        shown.append((rule, parts.get("audit"), False))
        if rule.rule_id in later:
            shown.append((later.pop(rule.rule_id), mended, True))
    shown += [(rule, mended, True) for rule in later.values()]
    tables, options, covered, labels = [], [], [], []
    for number, (rule, audit, then) in enumerate(shown):
        mine = audit.gaps[audit.gaps["rule_id"] == rule.rule_id]
        tables.append(mine)
        options += [[number]] * len(mine)
        covered.append(audit.covered.geometry[audit.covered["rule_id"] == rule.rule_id])
        title = title_rule(rule)
        after = Pair(f"{title.zh}（补点之后）", f"{title.en} (with the sites)")
        labels.append(after if then else title)
    choice = Choice(
        "reading",
        kind,
        Pair("按哪种口径", "By which reading"),
        labels,
        notes=[_say_length(rule) for rule, *_ in shown],
    )
    gaps = pd.concat(tables, ignore_index=True)
    return choice, [
        gaps_layer(parts.frame, gaps, options, group="reading"),
        covered_layer(covered, group="reading"),
    ]


def _say_length(rule: Any) -> Pair:
    gap_km = (rule.checked_m - rule.covered_m) / 1000
    share, high = f"{rule.share:.1%}", f"{rule.share_high:.1%}"
    up_to = Pair("", "") if share == high else Pair(f"（至多 {high}）", f" (up to {high})")
    return Pair(
        f"达标 {share}{up_to.zh}，空白 {gap_km:,.1f} 公里",
        f"{share} met{up_to.en}, {gap_km:,.1f} km of gaps",
    )
