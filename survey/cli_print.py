"""What the command line prints: data on stdout, talk on stderr."""

import json
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
        put(
            f"{row.rule_id}: {row.share:.1%}{high} of {row.checked_m / 1000:.1f} km of street"
            f" within {row.limit_m:g} m of a toilet"
        )


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
        if facts[f"points_without_{layer}"]:
            put(f"  {facts[f'points_without_{layer}']} points have no {layer} in reach")
    for note in drawn.notes:
        put(f"  {note}")


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
