"""The verbs of a round: commit, draw, verify."""

import json
from pathlib import Path
from typing import Any

import click

from survey import cli_options, cli_print


def read_design(workspace: Any, given: dict[str, Any], *, band: bool = False) -> Any:
    """Make the design: what was given over a scheme, or over what the workspace holds.

    With `band`, every radius in its bounds must be one to which distances are measured, whatever
    its law.
    """
    from survey.config import check_radius
    from survey.sampling.design import Design
    from survey.sampling.schemes import find_scheme

    names = {"within": "within_m", "visit": "points"}
    base = workspace.manifest["parameters"].get("design", {})
    if given.get("scheme") is not None:
        scheme = find_scheme(given["scheme"])
        base = scheme.make_design(workspace.read("points")).to_table()
        cli_print.say(f"survey: the scheme {scheme.scheme_id}: {scheme.note}")
    asked = {
        names.get(key, key): value
        for key, value in given.items()
        if value is not None and key != "scheme"
    }
    design = Design.from_table(base | asked, where="the design")
    check_radius(design, band=band)
    cli_print.say(f"survey: the design is {design.to_json()}")
    return design


def warn_outdated(manifest: dict[str, Any], design: Any) -> None:
    """Say if the odds or priorities that a workspace holds are those of another design."""
    from survey.records import find_outdated

    for line in find_outdated(manifest, design):
        cli_print.say(f"survey: {line}")


@click.command(short_help="Draw a round by tickets, so that anyone can check it.")
@cli_options.workspace_argument
@click.option("--seed", required=True, help="Any text; for a real round chosen in public.")
@click.option(
    "--round",
    "round_id",
    default="demo",
    show_default=True,
    metavar="ID",
    help="The id of the round, or of the mock round.",
)
@click.option("--mock", is_flag=True, help="Draw a mock round: well spread over the whole city.")
@click.option(
    "--method",
    type=click.Choice(["pivotal", "systematic", "simple"]),
    help="How a mock round is drawn: well spread (pivotal, if absent), by equal steps, or purely"
    " at random.",
)
@click.option(
    "--weights",
    type=click.Choice(["equal", "odds"]),
    help="The chances of units in a mock round: equal (if absent), or in proportion to the table"
    " odds.",
)
@cli_options.design_options
@cli_options.json_option
def draw(
    workspace: Path,
    seed: str,
    round_id: str,
    method: str | None,
    weights: str | None,
    *,
    mock: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Draw a round by tickets, so that anyone can check it; or a mock round, to prepare for one.

    What is not given comes from the design that the last run, odds, commit or draw left in the
    workspace, else it is 1-2 alleys and 1-2 compounds within a uniform 500-2000 m along streets.
    A round of the same id is replaced.

    With --mock there are no points and no radius: --alleys and --compounds are the numbers in the
    whole city (10 each if absent, or all if there are fewer), and up to five replacements of each
    stand ready in order. A mock round of the same id is replaced.
    """
    if mock:
        how = {"method": method or "pivotal", "weights": weights or "equal"}
        _draw_mock(workspace, seed, round_id, **how, as_json=as_json, given=given)
        return
    if method is not None or weights is not None:
        raise click.UsageError("--method and --weights are for a mock round; add --mock")
    cli_print.say(f"survey: reading {workspace}")
    from survey.records import add_round
    from survey.sampling.draw import draw_round
    from survey.workspace import open_workspace, update_workspace

    stored = open_workspace(workspace)
    cli_print.warn_renewed(stored.manifest)
    design = read_design(stored, given)
    warn_outdated(stored.manifest, design.to_table())
    reach = stored.read("reach")
    drawn = draw_round(stored.read_frame(), reach, design, round_id=round_id, seed=seed)
    if round_id in stored.manifest["seeds"]:
        cli_print.say(f"survey: this replaces the round {round_id!r} that was drawn before")
    manifest = json.loads(json.dumps(stored.manifest))
    update_workspace(stored, add_round(stored, drawn, manifest), manifest)
    if as_json:
        cli_print.put_json(
            **cli_print.describe_round(drawn), draws=cli_print.list_rows(drawn.draws)
        )
    else:
        cli_print.put_round(drawn)


def _draw_mock(
    workspace: Path,
    seed: str,
    mock_id: str,
    *,
    method: str,
    weights: str,
    as_json: bool,
    given: dict[str, Any],
) -> None:
    wanted = _count_mock(given)
    cli_print.say(f"survey: reading {workspace}")
    from survey.records import add_mock
    from survey.sampling.mock import draw_mock
    from survey.workspace import open_workspace, update_workspace

    stored = open_workspace(workspace)
    odds = None
    if weights == "odds":
        odds = stored.read("odds")
        warn_outdated(stored.manifest, stored.manifest["parameters"].get("design"))
    frame = stored.read_frame()
    there = {"alleys": len(frame.alleys), "compounds": len(frame.compounds)}
    # What was not asked for in so many words is not refused where there are fewer units.
    counts = {
        name: count if given[name] is not None else min(count, there[name])
        for name, count in wanted.items()
    }
    mocks = draw_mock(frame, **counts, seed=seed, mock_id=mock_id, method=method, odds=odds)
    if "mocks" in stored.names and mock_id in set(stored.read("mocks")["mock_id"]):
        cli_print.say(f"survey: this replaces the mock round {mock_id!r} that was drawn before")
    update_workspace(stored, {"mocks": add_mock(stored, mocks)}, stored.manifest)
    if as_json:
        asked = {"method": method, "weights": weights, "seed": seed}
        cli_print.put_json(mock=mock_id, **asked, mocks=cli_print.list_rows(mocks))
    else:
        cli_print.put_mock(mocks, frame)


def _count_mock(given: dict[str, Any]) -> dict[str, int]:
    """Read how many units a mock round has in the whole city."""
    counts: dict[str, list[float]] = {"alleys": [10, 10], "compounds": [10, 10]}
    strange = [
        f"--{name.removesuffix('_m')}"
        for name in given
        if given[name] is not None and name not in (*counts, "scheme")
    ]
    if strange:
        raise click.UsageError(f"--mock has no points, so leave out {', '.join(strange)}")
    if given["scheme"] is not None:
        counts = _read_totals(given["scheme"])
    counts |= {name: given[name] for name in counts if given[name] is not None}
    for name, (low, high) in counts.items():
        if low != high or low != int(low):
            raise click.UsageError(f"--mock needs one whole number of {name}, such as --{name} 10")
    return {name: int(low) for name, (low, _) in counts.items()}


def _read_totals(scheme_id: str) -> dict[str, list[float]]:
    """Read how many units a scheme draws out of the whole city: the most that it allows."""
    from survey.sampling.schemes import find_scheme

    total = find_scheme(scheme_id).alleys_total
    if total is None:
        raise click.UsageError(
            f"the scheme {scheme_id!r} draws around fixed points; leave out --mock or --scheme"
        )
    low, high = total
    cli_print.say(
        f"survey: the scheme {scheme_id} draws {low}-{high} alleys out of the whole city; this mock"
        f" round draws {high} if --alleys is absent, or all if there are fewer"
    )
    return {"alleys": [high, high], "compounds": [0, 0]}


@click.command(short_help="Print the hash of frame and design, to be published before the seed.")
@cli_options.workspace_argument
@cli_options.design_options
@cli_options.json_option
def commit(workspace: Path, *, as_json: bool, **given: Any) -> None:
    """Print the hash of frame and design, to be published before the seed is chosen.

    The design is stored in the workspace, so that survey draw uses it; what is not given is as
    survey draw --help says. Publish the round's id, and how the seed will come about, together
    with the hash.
    """
    cli_print.say(f"survey: reading {workspace}")
    from survey.sampling.draw import commit_design
    from survey.workspace import open_workspace, update_workspace

    stored = open_workspace(workspace)
    design = read_design(stored, given)
    warn_outdated(stored.manifest, design.to_table())
    digest = commit_design(stored.read_frame(), stored.read("reach"), design)
    table = design.to_table()
    parameters = stored.manifest["parameters"] | {"design": table}
    if stored.manifest["parameters"] != parameters:
        update_workspace(stored, {}, stored.manifest | {"parameters": parameters})
    if as_json:
        cli_print.put_json(commitment=digest, design=table)
    else:
        cli_print.put(digest)


@click.command(short_help="Derive rounds again and compare: exit 0 accepted, 1 refused.")
@cli_options.workspace_argument
@click.option("--round", "round_id", help="One round; all of them if absent.")
@click.option("--commitment", metavar="HASH", help="What survey commit printed.")
@cli_options.json_option
def verify(workspace: Path, round_id: str | None, commitment: str | None, *, as_json: bool) -> int:
    """Derive rounds again and compare: exit 0 accepted, 1 refused with the first difference."""
    cli_print.say(f"survey: reading {workspace}")
    from survey.records import verify_rounds
    from survey.workspace import open_workspace

    verdicts = verify_rounds(open_workspace(workspace), round_id=round_id, commitment=commitment)
    accepted = all(one.accepted for one in verdicts)
    if as_json:
        rows = [
            {"round_id": one.round_id, "accepted": one.accepted, "reason": one.reason}
            for one in verdicts
        ]
        cli_print.put_json(accepted=accepted, rounds=rows)
    else:
        for one in verdicts:
            word = "accepted" if one.accepted else "refused"
            cli_print.put(f"round {one.round_id}: {word}: {one.reason}")
    return int(not accepted)
