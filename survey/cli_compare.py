"""The verb that compares two audits."""

import math
from pathlib import Path
from typing import Any

import click

from survey import cli_options, cli_print


@click.command(short_help="Compare two audits: what got better or worse, and what the map did.")
@click.argument("old", metavar="OLD.gpkg", type=cli_options.PATH)
@click.argument("new", metavar="NEW.gpkg", type=cli_options.PATH)
@click.option(
    "--rule",
    "rules",
    multiple=True,
    metavar="ID",
    help="A rule; may be repeated; all that both audited if absent.",
)
@click.option("--no-worse", is_flag=True, help="Exit with 1 if street that matches got worse.")
@cli_options.json_option
def compare(old: Path, new: Path, rules: tuple[str, ...], *, no_worse: bool, as_json: bool) -> int:
    """Compare two audits: what got better or worse, and what changed only because the map did.

    Streets match metre by metre where both maps draw the same piece of the same OpenStreetMap way;
    all other street is told as a change of the map. A rule that is not asked on all streets has
    only shares, and does not count for --no-worse.
    """
    progress = cli_print.Progress(f"reading {old} and {new}")
    from survey.coverage.compare import NEEDED, compare_audits
    from survey.workspace import open_workspace

    stored = [open_workspace(path) for path in (old, new)]
    sides = [{name: one.read(name) for name in NEEDED} | {"area": one.area} for one in stored]
    progress("comparing")
    found = compare_audits(*sides, rules=rules or None)
    notes = [*found.notes, *_compare_questions(*(one.manifest for one in stored))]
    if as_json:
        cli_print.put_json(
            rules=cli_print.list_rows(found.rules),
            subdistricts=cli_print.list_rows(found.subdistricts),
            toilets=cli_print.list_rows(found.toilets),
            stretches=cli_print.list_rows(found.stretches.drop(columns="geometry")),
            only_old=list(found.only_old),
            only_new=list(found.only_new),
            worse=found.is_worse,
            notes=notes,
        )
    else:
        _put_comparison(found, notes)
    return _judge(found) if no_worse else 0


def _compare_questions(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Note what was asked of one audit and not of the other, apart from rules and shares."""
    asked = [
        {
            name: value
            for name, value in manifest["parameters"].get("audit", {}).items()
            if name not in {"rules", "min_share"}
        }
        for manifest in (old, new)
    ]
    differ = sorted(
        name for name in {**asked[0], **asked[1]} if asked[0].get(name) != asked[1].get(name)
    )
    return [
        f"the audits differ in {name}: {asked[0].get(name)} -> {asked[1].get(name)}"
        for name in differ
    ]


def _put_comparison(found: Any, notes: list[str]) -> None:
    for row in found.rules.itertuples():
        shares = f"{row.rule_id}: {row.share_before:.1%} -> {row.share_after:.1%}"
        lengths = "shares only" if math.isnan(row.rounding_m) else _describe(row)
        cli_print.put(f"{shares}; {lengths}")
    for row in found.subdistricts.itertuples():
        label = _label(row.name, row.subdistrict_id)
        cli_print.put(f"  {row.rule_id}, {label}: {_describe(row)}")
    for row in found.toilets.itertuples():
        label = _label(row.name, row.toilet_id)
        status = [word for word in (row.status_before, row.status_after) if isinstance(word, str)]
        detail = f"; {row.detail}" if isinstance(row.detail, str) else ""
        words = " -> ".join(dict.fromkeys(status))
        cli_print.put(f"toilet {row.change}: {label}, {words}{detail}")
    for note in notes:
        cli_print.put(f"  {note}")


def _label(name: Any, key: Any) -> str:
    if not isinstance(key, str):
        return "in no subdistrict"
    return f"{name} ({key})" if isinstance(name, str) else key


def _describe(row: Any) -> str:
    """Say what the lengths of a row of `rules` or `subdistricts` are."""
    street = f"worse {_length(row.worse_m)}, better {_length(row.better_m)}"
    parts = [
        f"{sign}{_length(metres)} ({_length(covered)} covered)"
        for sign, metres, covered in (
            ("+", row.new_m, row.new_covered_m),
            ("-", row.lost_m, row.lost_covered_m),
        )
        if metres
    ]
    return f"{street}; map: {', '.join(parts) or 'no change'}"


def _length(metres: float) -> str:
    if metres >= 1000:
        return f"{metres / 1000:,.1f} km"
    return f"{metres:.0f} m" if metres >= 10 else f"{metres:.3g} m"


def _judge(found: Any) -> int:
    """Return the exit code of --no-worse, and say which rules got worse."""
    for row in found.rules[found.rules["worse_m"] > 0].itertuples():
        cli_print.say(f"survey: {row.rule_id} got worse on {_length(row.worse_m)} of street")
    return int(found.is_worse)
