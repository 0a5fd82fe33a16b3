"""The verbs of a round: commit, draw, verify."""

import json
from pathlib import Path
from typing import Any

import click

from survey import cli_options, cli_print


def read_design(workspace: Any, given: dict[str, Any]) -> Any:
    """Make the design: what was given over a scheme, or over what the workspace holds."""
    from survey.config import check_radius
    from survey.sampling.design import Design
    from survey.sampling.schemes import find_scheme

    names = {"within": "within_m", "visit": "points"}
    base = workspace.manifest["parameters"].get("design", {})
    if given.get("scheme") is not None:
        base = find_scheme(given["scheme"]).make_design(workspace.read("points")).to_table()
    asked = {
        names.get(key, key): value
        for key, value in given.items()
        if value is not None and key != "scheme"
    }
    design = Design.from_table(base | asked, where="the design")
    check_radius(design)
    cli_print.say(f"survey: the design is {design.to_json()}")
    return design


def _warn_odds(workspace: Any, design: Any) -> None:
    """Say if the odds that the workspace holds are those of another design."""
    known = workspace.manifest["parameters"].get("odds")
    if known is not None and known != design.to_table():
        cli_print.say("survey: the odds stored are of another design; run survey odds again")


@click.command(short_help="Draw a round by tickets, so that anyone can check it.")
@cli_options.workspace_argument
@click.option("--seed", required=True, help="Any text; for a real round chosen in public.")
@click.option("--round", "round_id", default="demo", show_default=True, help="The round's id.")
@click.option("--mock", is_flag=True, help="A mock round: well spread over the whole city.")
@click.option(
    "--method",
    type=click.Choice(["pivotal", "systematic", "simple"]),
    default="pivotal",
    show_default=True,
    help="How a mock round is drawn.",
)
@click.option(
    "--weights",
    type=click.Choice(["equal", "odds"]),
    default="equal",
    show_default=True,
    help="What the chances of a mock round are proportional to.",
)
@cli_options.design_options
@cli_options.json_option
def draw(
    workspace: Path,
    seed: str,
    round_id: str,
    method: str,
    weights: str,
    *,
    mock: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Draw a round by tickets, so that anyone can check it; or a mock round, to prepare for one.

    What is not given comes from the design that the last run, commit or draw left in the
    workspace, else it is 1-2 alleys and 1-2 compounds within a uniform 500-2000 m along streets.
    A round of the same id is replaced. With --mock, --alleys and --compounds are the numbers in
    the whole city (10 each if absent), and replacements stand ready in order.
    """
    if mock:
        _draw_mock(workspace, seed, round_id, method, weights, as_json=as_json, given=given)
        return
    cli_print.say(f"survey: reading {workspace}")
    from survey.records import add_round
    from survey.sampling.draw import draw_round
    from survey.workspace import open_workspace, update_workspace

    stored = open_workspace(workspace)
    design = read_design(stored, given)
    _warn_odds(stored, design)
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
    method: str,
    weights: str,
    *,
    as_json: bool,
    given: dict[str, Any],
) -> None:
    counts = _count_mock(given)
    cli_print.say(f"survey: reading {workspace}")
    from survey.records import add_mock
    from survey.sampling.mock import draw_mock
    from survey.workspace import open_workspace, update_workspace

    stored = open_workspace(workspace)
    odds = stored.read("odds") if weights == "odds" else None
    frame = stored.read_frame()
    mocks = draw_mock(frame, **counts, seed=seed, mock_id=mock_id, method=method, odds=odds)
    update_workspace(stored, {"mocks": add_mock(stored, mocks)}, stored.manifest)
    if as_json:
        cli_print.put_json(mock=mock_id, method=method, seed=seed, mocks=cli_print.list_rows(mocks))
    else:
        cli_print.put_mock(mocks, frame)


def _count_mock(given: dict[str, Any]) -> dict[str, int]:
    """Read how many units a mock round has in the whole city."""
    counts = {"alleys": [10, 10], "compounds": [10, 10]}
    if given["scheme"] is not None:
        from survey.sampling.schemes import find_scheme

        total = find_scheme(given["scheme"]).alleys_total
        if total is None:
            raise click.UsageError(
                f"the scheme {given['scheme']!r} draws around points, not --mock"
            )
        counts = {"alleys": [total[1]] * 2, "compounds": [0, 0]}
    strange = [
        name for name in given if given[name] is not None and name not in (*counts, "scheme")
    ]
    if strange:
        raise click.UsageError(f"--mock has no points, so leave out {', '.join(strange)}")
    counts |= {name: given[name] for name in counts if given[name] is not None}
    for name, (low, high) in counts.items():
        if low != high or low != int(low):
            raise click.UsageError(f"--mock needs one whole number of {name}, such as --{name} 10")
    return {name: int(low) for name, (low, _) in counts.items()}


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
    _warn_odds(stored, design)
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
