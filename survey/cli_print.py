"""What the command line prints: data on stdout, talk on stderr."""

import json
import math
import os
import sys
import time
from typing import Any

import click

from survey.errors import OutputError

SCHEMA = 1
"""The version of what ``--json`` prints."""


def say(line: str) -> None:
    """Tell people something on stderr; nobody listening is no reason to stop."""
    try:
        click.echo(line, err=True)
    except OSError:
        _silence(sys.stderr)


def warn_renewed(manifest: dict[str, Any]) -> None:
    """Say that the data were fetched again after the frame was built, if so."""
    if "renewed" in manifest:
        say("survey: newer data were fetched than the frame is of; survey frame builds it anew")


def put(text: object) -> None:
    """Put data on stdout; a reader that went away (``| head``) is no error.

    Raises
    ------
    OutputError
        If stdout cannot be written, such as a file on a full disk.
    """
    try:
        click.echo(text)
    except BrokenPipeError:
        _silence(sys.stdout)
    except OSError as fault:
        _silence(sys.stdout)
        raise OutputError(f"stdout cannot be written: {fault.strerror}; check the disk") from fault


def _silence(stream: Any) -> None:
    # What the stream still holds would fail again when the interpreter ends, with exit code 120.
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def put_json(**content: Any) -> None:
    """Put one JSON object on stdout, strictly: no NaN, and in any encoding the same values.

    Raises
    ------
    OutputError
        If stdout cannot be written.
    """
    plain = not (sys.stdout.encoding or "").lower().startswith("utf")
    text = json.dumps({"schema": SCHEMA, **content}, ensure_ascii=plain, allow_nan=False, indent=2)
    put(text)


def list_rows(table: Any) -> list[dict[str, Any]]:
    """List a table's rows for JSON; a missing cell is None."""
    cells = table.astype(object)
    rows: list[dict[str, Any]] = cells.where(cells.notna(), None).to_dict("records")
    return rows


class Progress:
    """Says on stderr what goes on, with the seconds since the start."""

    def __init__(self, line: str) -> None:
        """Start to count, and say the first line before anything heavy is imported."""
        self._start = time.perf_counter()
        self(line)

    def __call__(self, line: str) -> None:
        """Say one line."""
        say(f"[{time.perf_counter() - self._start:6.1f} s] {line}")


def put_audit(summary: Any) -> None:
    """Put one line per rule on stdout."""
    for row in summary.itertuples():
        high = f" (to {row.share_high:.1%})" if row.share_high > row.share else ""
        put(f"{row.rule_id}: {row.share:.1%}{high} of {_describe_asked(row)}")


def _describe_asked(row: Any) -> str:
    """Say what a rule was asked of, and what was asked."""
    facility = "toilet" if row.facility == "toilet" else row.facility.replace("_", " ")
    if row.on == "streets":
        return f"{row.checked_m / 1000:.1f} km of street within {row.limit_m:g} m of a {facility}"
    if row.on == "main":
        starts = f"{row.checked_m / 1000:.1f} km of starts on main and secondary roads"
        return f"{starts}: walking {row.limit_m:g} m from there, a {facility} is met"
    if row.on == "ground":
        return f"the {row.checked_n:.1f} {facility}s that there should be"
    return f"{row.checked_n:.0f} {row.on}: {row.title.split(' · ')[-1]}"


def judge_audit(audit: Any, min_share: float | None) -> int:
    """Return the exit code of an audit, and say which rules fall short of what was asked."""
    if min_share is None:
        return 0
    for row in audit.summary[~audit.summary["met"]].itertuples():
        say(f"survey: {row.rule_id} is not met: {row.share:.2%} is below {min_share:.2%}")
    return int(not audit.met)


def describe_round(drawn: Any) -> dict[str, Any]:
    """Describe a round for JSON: its id, seed, design, frame hash, summary and notes."""
    row = drawn.rounds.iloc[0]
    return {
        "round_id": drawn.round_id,
        "seed": str(row["seed"]),
        "design": json.loads(row["design"]),
        "frame_hash": str(row["frame_hash"]),
        "summary": drawn.summary(),
        "notes": list(drawn.notes),
    }


def put_round(drawn: Any) -> None:
    """Put on stdout how much of the frame a round visits."""
    facts = drawn.summary()
    put(
        f"round {drawn.round_id}: {facts['points_visited']} of {facts['points']} points,"
        f" {facts['alleys_drawn']} of {facts['alleys']} alleys,"
        f" {facts['compounds_drawn']} of {facts['compounds']} compounds"
        f" ({facts['share']:.0%} of all units), {facts['replacements']} replacements"
    )
    for layer in ("alley", "compound"):
        if lacking := facts[f"points_without_{layer}"]:
            put(f"  {_count(lacking, 'point has', 'points have')} no {layer} in reach")
    for note in drawn.notes:
        put(f"  {note}")


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def put_counts(counts: dict[str, int]) -> None:
    """Put the number of rows of each table on stdout."""
    for name, count in counts.items():
        put(f"{name:14}{count:>9,}")


def put_quality(table: Any) -> None:
    """Put the rows of the table `quality` on stdout."""
    for row in list_rows(table):
        value = "" if row["value"] is None else f"{row['value']:g} {row['unit'] or ''}".rstrip()
        note = row["note"] or ""
        put(
            f"{row['verdict']:5} {row['scope']:24} {row['measure']:28} {value:>18}  {note}".rstrip()
        )


def describe_odds(table: Any) -> dict[str, Any]:
    """Describe odds: how much of the frame a round is expected to visit, with its band."""
    facts: dict[str, Any] = {}
    for layer in ("alley", "compound"):
        rows = table[table["layer"] == layer]
        facts[f"{layer}s"] = len(rows)
        for end, name in (("expected", "prob"), ("low", "prob_low"), ("high", "prob_high")):
            facts[f"{layer}s_{end}"] = float(rows[name].sum())
        facts[f"{layer}s_never"] = int((rows["prob_high"] == 0).sum())
    facts["near_edge"] = int(table["near_edge"].sum())
    facts |= table.attrs
    return facts


def put_odds(table: Any) -> None:
    """Put on stdout what `describe_odds` tells."""
    facts = describe_odds(table)
    means = [
        f"{facts[f'{units}_expected']:.1f} ({facts[f'{units}_low']:.1f} to"
        f" {facts[f'{units}_high']:.1f} over the band) of {facts[units]} {units}"
        for units in ("alleys", "compounds")
    ]
    put(f"a round draws {' and '.join(means)} on average")
    for layer in ("alley", "compound"):
        if lacking := facts[f"points_without_{layer}"]:
            put(f"  {_count(lacking, 'point has', 'points have')} no {layer} in reach")
        if facts[f"points_short_of_{layer}"]:
            put(
                f"  {_count(facts[f'points_short_of_{layer}'], 'point has', 'points have')} fewer"
                f" {layer}s in reach than may be asked for; all of these are drawn then"
            )
        if facts[f"{layer}s_never"]:
            put(f"  {_count(facts[f'{layer}s_never'], layer, f'{layer}s')} can never be drawn")
    if facts["near_edge"]:
        put(
            f"  {_count(facts['near_edge'], 'unit (*) is', 'units (*) are')} touched by a point"
            " nearer than 2 km to the edge of the data, beyond which units are unknown"
        )


def put_units(table: Any, frame: Any, top: int) -> None:
    """Put the first units of `odds` or `priorities` on stdout, each with its band."""
    from survey.outputs.texts import write_percents

    if not top or table.empty:
        return
    table = table.head(top)
    shares = [write_percents(table[name]) for name in ("prob", "prob_low", "prob_high")]
    names = {
        (layer, unit_id): name
        for layer, units in (("alley", frame.alleys), ("compound", frame.compounds))
        for unit_id, name in zip(units[f"{layer}_id"], units["name"], strict=True)
    }
    ranked = "risk" in table
    put(f"{'risk  ' if ranked else ''}odds    band            unit")
    for row, prob, low, high in zip(table.itertuples(), *shares, strict=True):
        name = names[row.layer, row.unit_id]
        risk = f"{row.risk:.3f} " if ranked else ""
        edge = "*" if row.near_edge else " "
        chosen = "  (chosen)" if ranked and row.chosen else ""
        label = _label(row.unit_id, name)
        put(f"{risk}{prob:>6}{edge} {f'{low}-{high}':15} {row.layer} {label}{chosen}")


def put_numbers(found: Any) -> None:
    """Put on stdout how many units the simulated rounds met."""
    of = "rounds" if found.quarters == 1 else f"years of {found.quarters} rounds"
    put(f"{found.rounds:,} {of}, repeats {found.repeats}")
    put(f"{'':10} {'mean':>9} {'+-se':>8} {'sd':>8} {'5%':>6} {'50%':>6} {'95%':>6}")
    for row in found.numbers.itertuples():
        quantiles = f"{row.q05:6g} {row.q50:6g} {row.q95:6g}"
        spread = f"{row.mean_se:8.3f} {row.sd:8.3f}".replace("nan", "  -")
        put(f"{row.number:10} {row.mean:9.3f} {spread} {quantiles}")
    for layer, rows in found.units.groupby("layer"):
        low, high = rows["prob_low"].sum(), rows["prob_high"].sum()
        put(f"  {layer}s on average over the band: {low:.1f} to {high:.1f}")


def say_missing(missing: Any) -> None:
    """List on stderr the units without a condition, the first of them by name."""
    if len(missing):
        first = ", ".join(
            _label(row.unit_id, row.name) for row in missing.head(10).itertuples(index=False)
        )
        more = f" and {len(missing) - 10} more (--json lists all)" if len(missing) > 10 else ""
        say(f"survey: without a condition: {first}{more}")


def _label(unit_id: str, name: Any) -> str:
    return f"{name} ({unit_id})" if isinstance(name, str) else unit_id


def describe_priorities(ranked: Any, found: Any) -> dict[str, Any]:
    """Describe priorities and the simulated number of failing units for JSON."""
    failing = found.numbers[found.numbers["number"] == "failing"]
    counts = found.counts[found.counts["number"] == "failing"]
    return {
        "budget": ranked.budget,
        "budget_cost": ranked.budget_cost,
        "rounds": found.rounds,
        "seed": found.seed,
        "expected_failing": ranked.expected_failing,
        "expected_low": ranked.expected_low,
        "expected_high": ranked.expected_high,
        "saved": ranked.saved,
        "bound": ranked.bound,
        "proven": ranked.proven,
        "failing": list_rows(failing)[0],
        "failing_counts": list_rows(counts),
        "missing": list_rows(ranked.missing),
        "priorities": list_rows(ranked.table),
    }


def put_priorities(ranked: Any, found: Any) -> None:
    """Put on stdout how many failing units a round meets, and what the chosen ones save."""
    put(
        f"a round meets {ranked.expected_failing:.2f} failing units on average"
        f" ({ranked.expected_low:.2f} to {ranked.expected_high:.2f} over the band and the units"
        " without a condition)"
    )
    row = found.numbers.set_index("number").loc["failing"]
    put(
        f"  simulated: {row['mean']:.2f} +- {row['mean_se']:.2f}, nine rounds in ten meet"
        f" {row['q05']:g} to {row['q95']:g} ({found.rounds:,} rounds)"
    )
    chosen = int(ranked.table["chosen"].sum())
    if chosen:
        proof = "the best choice" if ranked.proven else f"no choice saves over {ranked.bound:.3f}"
        put(f"  mending the {chosen} chosen saves {ranked.saved:.3f} of them; {proof}")
    elif (ranked.budget, ranked.budget_cost) != (None, None):
        put("  within the budget there is nothing to mend that would save any of them")


def put_mock(mocks: Any, frame: Any) -> None:
    """Put a mock round on stdout: its units in order, and those that stand by."""
    names = dict(zip(frame.alleys["alley_id"], frame.alleys["name"], strict=True))
    names |= dict(zip(frame.compounds["compound_id"], frame.compounds["name"], strict=True))
    row = mocks.iloc[0]
    put(f"mock round {row['mock_id']}, {row['method']}, seed {row['seed']}")
    for row in mocks.itertuples():
        name = names[row.unit_id]
        label = _label(row.unit_id, name)
        stand_by = "  (replacement)" if row.replacement else ""
        put(f"{row.layer:9}{row.slot:4}  {label}{stand_by}")


def put_estimate(found: Any, asked: dict[str, Any]) -> None:
    """Put an estimate on stdout, and on what it rests."""
    put(
        f"{asked['measure']} of {asked['column']} over all {asked['layer']}s: {found.value:.6g}"
        f" +- {found.se:.4g} (95 %: {found.low:.6g} to {found.high:.6g}, {found.sample} units)"
    )
    put(f"  {found.method}")
    for note in found.notes:
        put(f"  {note}")


def fill_none(values: dict[str, Any]) -> dict[str, Any]:
    """Make numbers that are missing None, for JSON."""
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in values.items()
    }


def put_source(name: str, title_en: str, item: Any) -> None:
    """Put on stdout what a rule or scheme is called and where it was read."""
    sure = "" if item.confirmed else " (recalled, not confirmed)"
    put(f"{name}: {item.title_zh}\n  {title_en}{sure}\n  source: {item.source}")
