"""The verbs of a round: commit, draw, verify."""

import json
from pathlib import Path
from typing import Any

import click

from survey import cli_options, cli_print


def _read_design(workspace: Any, given: dict[str, Any]) -> Any:
    """Make the design: what was given over what the workspace holds."""
    from survey.config import check_radius
    from survey.sampling.design import Design

    names = {"within": "within_m"}
    stored = workspace.manifest["parameters"].get("design", {})
    asked = {names.get(key, key): value for key, value in given.items() if value is not None}
    design = Design.from_table(stored | asked, where="the design")
    check_radius(design)
    cli_print.say(f"survey: the design is {design.to_json()}")
    return design


@click.command(short_help="Draw a round by tickets, so that anyone can check it.")
@cli_options.workspace_argument
@click.option("--seed", required=True, help="Any text; for a real round chosen in public.")
@click.option("--round", "round_id", default="demo", show_default=True, help="The round's id.")
@cli_options.design_options
@cli_options.json_option
def draw(workspace: Path, seed: str, round_id: str, *, as_json: bool, **given: Any) -> None:
    """Draw a round by tickets, so that anyone can check it.

    What is not given comes from the design that the last run, commit or draw left in the
    workspace, else it is 1-2 alleys and 1-2 compounds within a uniform 500-2000 m along streets.
    A round of the same id is replaced.
    """
    cli_print.say(f"survey: reading {workspace}")
    from survey.sampling.draw import draw_round
    from survey.workspace import add_round, open_workspace, update_workspace

    stored = open_workspace(workspace)
    design = _read_design(stored, given)
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
    design = _read_design(stored, given)
    digest = commit_design(stored.read_frame(), stored.read("reach"), design)
    table = json.loads(design.to_json())
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
    from survey.workspace import open_workspace, verify_rounds

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
