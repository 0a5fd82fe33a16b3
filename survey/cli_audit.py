"""The verbs of coverage: audit, site, rules."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from survey import cli_options, cli_print

_RULE = click.option(
    "--rule",
    "rules",
    multiple=True,
    metavar="ID",
    help="A rule; may be repeated; walk-500 and crow-500 if absent.",
)
_RULES_FILE = click.option(
    "--rules-file",
    type=cli_options.PATH,
    metavar="FILE.toml",
    help="Rules of your own; they add to those known, or replace them.",
)


@click.command(short_help="Measure where the toilet rules, or other distance rules, fail.")
@cli_options.workspace_argument
@_RULE
@click.option("--all", "everything", is_flag=True, help="Every rule that the data can judge.")
@_RULES_FILE
@click.option("--at", metavar="TIME", help='When toilets are to be open: "Sun 21:00", or a date.')
@click.option(
    "--min-share", type=float, metavar="0-1", help="Exit with 1 if a rule's share is below it."
)
@click.option("--junit", type=cli_options.PATH, metavar="FILE.xml", help="Results as JUnit XML.")
@click.option("--markdown", type=cli_options.PATH, metavar="FILE.md", help="A summary for people.")
@click.option("--geojson", type=cli_options.PATH, metavar="FILE.geojson", help="The gaps.")
@click.option("--csv", type=cli_options.PATH, metavar="FILE.csv", help="The rules' results.")
@cli_options.replace_option
@cli_options.json_option
def audit(
    workspace: Path,
    rules: tuple[str, ...],
    rules_file: Path | None,
    at: str | None,
    min_share: float | None,
    *,
    everything: bool,
    replace: bool,
    as_json: bool,
    **files: Path | None,
) -> int:
    """Measure where the toilet rules, or other distance rules, fail.

    On streets to the metre; at points and compounds door to door. A share is followed by what it
    may be at most, if toilets beyond the edge of the data, or those whose hours are not known,
    served. survey rules lists the rules.
    """
    progress = cli_print.Progress(f"reading {workspace}")
    from survey.coverage.audit import DEFAULT_RULES, audit_all, audit_coverage
    from survey.coverage.hours import parse_moment
    from survey.coverage.rules import find_rule, read_rules
    from survey.outputs.audit_files import write_audit_files
    from survey.staging import refuse_existing
    from survey.workspace import open_workspace, update_workspace

    if everything and rules:
        raise click.UsageError("give --all or --rule, not both")
    asked = {kind: file for kind, file in files.items() if file is not None}
    refuse_existing(list(asked.values()), replace=replace)
    known = read_rules(rules_file)
    chosen = [find_rule(name, known) for name in (rules or DEFAULT_RULES)]
    options: dict[str, Any] = {"min_share": min_share, "moment": parse_moment(at) if at else None}
    stored = open_workspace(workspace)
    cli_print.warn_renewed(stored.manifest)
    built = stored.read_frame()
    if everything:
        progress("auditing every rule that the data can judge")
        found = audit_all(built, rules=known, **options)
    else:
        progress(f"auditing {', '.join(rule.rule_id for rule in chosen)}")
        found = audit_coverage(built, rules=chosen, **options)
    names = found.summary["rule_id"].tolist()
    parameters = {"audit": {"rules": names, "min_share": min_share} | ({"at": at} if at else {})}
    manifest = stored.manifest | {"parameters": stored.manifest["parameters"] | parameters}
    update_workspace(stored, found.tables, manifest)
    write_audit_files(asked, found, built, min_share=min_share, replace=replace)
    for note in found.notes:
        cli_print.say(f"survey: {note}")
    if as_json:
        rows, shares = (cli_print.list_rows(table) for table in (found.summary, found.shares))
        more = {"at": at, "notes": list(found.notes), "shares": shares}
        cli_print.put_json(audit=rows, met=found.met, min_share=min_share, **more)
    else:
        cli_print.put_audit(found.summary)
    return cli_print.judge_audit(found, min_share)


@click.command(short_help="Choose where to open or build toilets: the fewest that mend a rule.")
@cli_options.workspace_argument
@click.option("--rule", "rule_id", default="walk-500", show_default=True, help="The rule.")
@_RULES_FILE
@click.option("--add", type=int, metavar="N", help="The best N sites, instead of mending all.")
@click.option("--budget", type=float, metavar="COST", help="The best sites within this cost.")
@click.option("--open-cost", type=float, default=1.0, show_default=True, help="Of opening one.")
@click.option("--build-cost", type=float, default=5.0, show_default=True, help="Of building one.")
@click.option("--time-limit", type=float, default=30.0, show_default=True, help="Seconds.")
@cli_options.json_option
def site(
    workspace: Path,
    rule_id: str,
    rules_file: Path | None,
    time_limit: float,
    *,
    as_json: bool,
    **options: Any,
) -> None:
    """Choose where to open or build toilets, so that a rule is met at least cost.

    The toilets there are stay. Candidates (institutions) can be opened, and toilets built on any
    public street. Cost and the bound that no choice can beat are printed; the table sites goes
    into the workspace, and survey map shows the gaps before and after.
    """
    progress = cli_print.Progress(f"reading {workspace}")
    from survey.coverage.rules import find_rule, read_rules
    from survey.coverage.siting import plan_sites
    from survey.workspace import open_workspace, update_workspace

    rule = find_rule(rule_id, read_rules(rules_file))
    stored = open_workspace(workspace)
    cli_print.warn_renewed(stored.manifest)
    frame = stored.read_frame()
    progress(f"looking for sites, for {time_limit:g} s at most")
    plan = plan_sites(frame, rule, time_limit_s=time_limit, **options)
    parameters = stored.manifest["parameters"] | {"sites": {"rule": asdict(rule), **options}}
    update_workspace(stored, {"sites": plan.sites}, stored.manifest | {"parameters": parameters})
    for note in plan.notes:
        cli_print.say(f"survey: {note}")
    if as_json:
        names = ("cost", "bound", "gap", "proven", "share_before", "share_after", "unreachable_m")
        facts = {name: getattr(plan, name) for name in names}
        rows = cli_print.list_rows(plan.sites.drop(columns="geometry"))
        cli_print.put_json(rule=rule_id, **facts, notes=list(plan.notes), sites=rows)
        return
    _put_plan(plan, frame, rule_id, mending=options["add"] is None and options["budget"] is None)


def _put_plan(plan: Any, frame: Any, rule_id: str, *, mending: bool) -> None:
    proof = "proven best" if plan.proven else f"{plan.gap:.1%} from the bound"
    bound = f"cost {plan.cost:g}, bound {plan.bound:g}" if mending else f"cost {plan.cost:g}"
    cli_print.put(
        f"{rule_id}: {plan.share_before:.1%} -> {plan.share_after:.1%} with {len(plan.sites)}"
        f" sites; {bound}, {proof}"
    )
    edges = frame.streets.edges[frame.streets.edges["public"]]
    near = edges.sindex.nearest(plan.sites.geometry, return_all=False)[1]
    streets = edges["name"].fillna(edges["way_id"]).iloc[near]
    candidates = frame.candidates.set_index("candidate_id")["name"]
    for row, street in zip(plan.sites.itertuples(), streets, strict=True):
        name = str(street)
        if isinstance(row.candidate_id, str):
            known = candidates.get(row.candidate_id)
            name = f"{known} ({row.candidate_id})" if isinstance(known, str) else row.candidate_id
        served = f"{row.compounds} compounds, {row.points} points"
        cli_print.put(
            f"{row.rank:4} {row.action:6} +{row.gain_m:6.0f} m -> {row.total_share:.1%}"
            f"  {served:26} {name}"
        )


@click.command()
@_RULES_FILE
@cli_options.json_option
def rules(rules_file: Path | None, *, as_json: bool) -> None:
    """List the rules that can be audited, each with its source."""
    from survey.coverage.rules import read_rules

    known = read_rules(rules_file)
    if as_json:
        cli_print.put_json(rules=[asdict(rule) for rule in known.values()])
        return
    for rule in known.values():
        cli_print.put_source(rule.rule_id, rule.title_en, rule)
