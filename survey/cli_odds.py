"""The verbs of odds: odds, simulate, priorities, estimate, schemes."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from survey import cli_options, cli_print
from survey.cli_round import read_design, warn_outdated

_TOP = click.option(
    "--top",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    metavar="N",
    help="How many units are shown; --json lists all.",
)


@click.command(short_help="Work out how likely each alley and compound is to be drawn.")
@cli_options.workspace_argument
@cli_options.design_options
@_TOP
@cli_options.json_option
def odds(workspace: Path, top: int, *, as_json: bool, **given: Any) -> None:
    """Work out how likely each alley and compound is to be drawn, exactly.

    The odds of a unit are the probability that a round draws it at least once. Beside them stands
    their band: the least and greatest over every fixed radius, the uniform law and the design's
    own, because the inspectors' law is not public. A * marks units near the edge of the data.

    The table odds goes into the workspace, for survey map and export, and so does the design, for
    the verbs that follow. What is not given of it comes from there, as survey draw --help says.
    """
    progress = cli_print.Progress(f"reading {workspace}")
    from survey.records import note_odds
    from survey.sampling.odds import visit_odds
    from survey.workspace import open_workspace, update_workspace

    stored = open_workspace(workspace)
    cli_print.warn_renewed(stored.manifest)
    design = read_design(stored, given, band=True)
    frame = stored.read_frame()
    progress("working out the odds")
    table = visit_odds(frame, stored.read("reach"), design)
    manifest = note_odds(stored.manifest, design)
    update_workspace(stored, {"odds": table}, manifest)
    warn_outdated(manifest, design.to_table())
    if as_json:
        cli_print.put_json(
            design=design.to_table(),
            summary=cli_print.describe_odds(table),
            odds=cli_print.list_rows(table),
        )
    else:
        cli_print.put_odds(table)
        cli_print.put_units(table.sort_values("prob", ascending=False, kind="stable"), frame, top)


@click.command(short_help="Simulate many rounds: distributions, quarters, no unit twice.")
@cli_options.workspace_argument
@click.option(
    "--rounds",
    type=int,
    default=10_000,
    show_default=True,
    metavar="N",
    help="How many rounds, or years of rounds, are simulated.",
)
@click.option(
    "--seed",
    default="survey",
    show_default=True,
    help="Any text; the same seed gives the same numbers.",
)
@click.option(
    "--quarters", type=int, default=1, show_default=True, metavar="N", help="Rounds in a year."
)
@click.option(
    "--repeats",
    type=click.Choice(["allowed", "not-in-round", "not-in-year"]),
    default="allowed",
    show_default=True,
    help="Whether a unit may be drawn twice.",
)
@click.option(
    "--condition",
    type=cli_options.PATH,
    metavar="FILE",
    help="The condition of units, to count failing ones; as for survey priorities.",
)
@cli_options.condition_options
@cli_options.design_options
@click.option(
    "-o",
    "--output",
    type=cli_options.PATH,
    metavar="FILE.csv",
    help="Write the units to this file.",
)
@cli_options.replace_option
@cli_options.json_option
def simulate(
    workspace: Path,
    condition: Path | None,
    output: Path | None,
    *,
    replace: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Simulate many rounds, for what has no closed form; every mean with its standard error.

    Prints how many alleys, compounds and failing units a year of rounds meets, and at how many
    visits (short) fewer units were left than were asked for. The workspace is not changed; -o
    writes the share of years in which each unit was drawn, with its band. What is not given of
    the design comes from the workspace, as survey draw --help says.
    """
    progress = cli_print.Progress(f"reading {workspace}")
    from survey.outputs.exports import write_table
    from survey.sampling.conditions import read_condition
    from survey.sampling.simulate import simulate_rounds
    from survey.staging import refuse_existing
    from survey.workspace import open_workspace

    asked = {name: given.pop(name) for name in ("rounds", "seed", "quarters", "repeats")}
    scale = {name: given.pop(name) for name in ("column", "greatest", "fails_below")}
    if condition is None and any(value is not None for value in scale.values()):
        raise click.UsageError("--column, --greatest and --fails-below need --condition FILE")
    if output is not None:
        cli_options.refuse_inputs(output, workspace, condition)
        refuse_existing([output], replace=replace)
    stored = open_workspace(workspace)
    design = read_design(stored, given, band=True)
    frame = stored.read_frame()
    known = read_condition(condition, frame, **scale) if condition else None
    found = simulate_rounds(
        frame,
        stored.read("reach"),
        design,
        condition=None if known is None else known.table,
        report=progress,
        **asked,
    )
    notes = [*found.notes, *(known.notes if known else ())]
    for note in notes:
        cli_print.say(f"survey: {note}")
    if output is not None:
        write_table(output, found.units, replace=replace)
    if as_json:
        parts = {name: cli_print.list_rows(getattr(found, name)) for name in _SIMULATED}
        cli_print.put_json(**asked, design=design.to_table(), notes=notes, **parts)
    else:
        cli_print.put_numbers(found)


_SIMULATED = ("numbers", "counts", "units")


@click.command(short_help="Rank what to mend first: likely to be drawn, and in bad condition.")
@cli_options.workspace_argument
@click.option(
    "--condition",
    required=True,
    type=cli_options.PATH,
    metavar="FILE",
    help="A table (CSV, XLSX, ...) of units by unit_id or name, with their condition from 0 (bad)"
    " to 1 (good) or a score, and perhaps their cost.",
)
@cli_options.condition_options
@click.option("--budget", type=int, metavar="N", help="Choose the best N units.")
@click.option(
    "--budget-cost",
    type=float,
    metavar="SUM",
    help="Choose the best set within this cost; the file needs a cost column (cost, 费用).",
)
@click.option(
    "--rounds",
    type=int,
    default=10_000,
    show_default=True,
    metavar="N",
    help="How many rounds are simulated.",
)
@_TOP
@cli_options.json_option
def priorities(
    workspace: Path,
    condition: Path,
    budget: int | None,
    budget_cost: float | None,
    rounds: int,
    top: int,
    *,
    as_json: bool,
    **scale: Any,
) -> None:
    """Rank what to mend first: risk = odds x (1 - condition), which is what mending a unit saves.

    The odds are those of survey odds, worked out anew by the design in the workspace (survey odds
    or draw with other options changes it). The tables odds and priorities go into the workspace,
    for survey map and export. How many failing units a round meets is exact on average; its
    distribution is simulated, with the city's name as the seed. Units without a condition are
    listed, and nothing is guessed for them. Within a budget, the units chosen are shown first.
    """
    progress = cli_print.Progress(f"reading {workspace}")
    from survey.records import note_odds, note_priorities
    from survey.sampling.conditions import read_condition
    from survey.sampling.odds import visit_odds
    from survey.sampling.priorities import rank_priorities
    from survey.sampling.simulate import simulate_rounds
    from survey.workspace import open_workspace, update_workspace

    stored = open_workspace(workspace)
    design = read_design(stored, {}, band=True)
    frame, reach = stored.read_frame(), stored.read("reach")
    known = read_condition(condition, frame, **scale)
    progress("working out the odds")
    table = visit_odds(frame, reach, design)
    ranked = rank_priorities(table, known, budget=budget, budget_cost=budget_cost)
    options = {"seed": stored.manifest["name"], "condition": known.table, "report": progress}
    found = simulate_rounds(frame, reach, design, rounds=rounds, **options)
    made = {"odds": table, "priorities": ranked.table}
    asked = scale | {"budget": budget, "budget_cost": budget_cost}
    manifest = note_priorities(note_odds(stored.manifest, design), design, condition, asked)
    update_workspace(stored, made, manifest)
    notes = [*known.notes, *ranked.notes]
    for note in notes:
        cli_print.say(f"survey: {note}")
    cli_print.say_missing(ranked.missing)
    if as_json:
        facts = cli_print.describe_priorities(ranked, found)
        cli_print.put_json(design=design.to_table(), **facts, notes=notes)
    else:
        cli_print.put_priorities(ranked, found)
        first = ranked.table.sort_values("chosen", ascending=False, kind="stable")
        cli_print.put_units(first, frame, top)


@click.command(short_help="Estimate a mean or total of all units from a round's results.")
@cli_options.workspace_argument
@click.option(
    "--results",
    required=True,
    type=cli_options.PATH,
    metavar="FILE",
    help="A table (CSV, XLSX, ...) with the columns unit_id, the values (numbers, or true and"
    " false), and layer if it holds alleys and compounds; blank where not inspected.",
)
@click.option(
    "--layer",
    required=True,
    type=click.Choice(["alley", "compound"]),
    help="What the estimate is about.",
)
@click.option(
    "--column",
    default="value",
    show_default=True,
    metavar="NAME",
    help="The column of the values.",
)
@click.option("--round", "round_id", metavar="ID", help="The round that was inspected.")
@click.option("--mock", "mock_id", metavar="ID", help="Or the mock round that was inspected.")
@click.option(
    "--measure",
    type=click.Choice(["mean", "total"]),
    default="mean",
    show_default=True,
    help="What is estimated of the values over all units.",
)
@cli_options.json_option
def estimate(
    workspace: Path,
    results: Path,
    round_id: str | None,
    mock_id: str | None,
    *,
    as_json: bool,
    **asked: Any,
) -> None:
    """Estimate the mean or total over all alleys or compounds from the results of a round.

    Give --round or --mock, and the results of every unit that it drew; replacements count only in
    a mock round. By Horvitz and Thompson, from the exact odds of the round's design or the
    probabilities of the mock round; with a standard error, and a word on what it rests on.
    """
    cli_print.say(f"survey: reading {workspace}")
    if (round_id is None) == (mock_id is None):
        raise click.UsageError("give one of --round ID and --mock ID")
    from survey.records import find_mock
    from survey.sampling.draw import load_draw
    from survey.sampling.estimate import estimate_mock, estimate_round, read_results
    from survey.workspace import open_workspace

    stored = open_workspace(workspace)
    values = read_results(results, column=asked["column"])
    frame = stored.read_frame()
    if mock_id is not None:
        found = estimate_mock(find_mock(stored, mock_id), values, frame=frame, **asked)
    else:
        drawn = load_draw(stored.read("rounds"), stored.read("draws"), str(round_id))
        found = estimate_round(frame, stored.read("reach"), drawn, values, **asked)
    if as_json:
        # Click gives options in the order in which they were typed.
        what = {name: asked[name] for name in ("layer", "column", "measure")}
        facts = cli_print.fill_none(asdict(found))
        cli_print.put_json(**what, round=round_id, mock=mock_id, estimate=facts)
    else:
        cli_print.put_estimate(found, asked)


@click.command()
@cli_options.json_option
def schemes(*, as_json: bool) -> None:
    """List the sampling schemes that were published, each with its source."""
    from survey.sampling.schemes import read_schemes

    known = read_schemes()
    if as_json:
        cli_print.put_json(schemes=[asdict(scheme) for scheme in known.values()])
        return
    for scheme in known.values():
        cli_print.put_source(scheme.scheme_id, scheme.title, scheme)
        cli_print.put(f"  note: {scheme.note}")
