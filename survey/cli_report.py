"""The verb that writes the printed report."""

from pathlib import Path

import click

from survey import cli_options, cli_print


@click.command(short_help="Write a report to be printed: two pages for leaders, then the details.")
@cli_options.workspace_argument
@click.option(
    "-o",
    "--output",
    required=True,
    type=cli_options.PATH,
    metavar="FILE.html",
    help="The file to write.",
)
@click.option(
    "--lang",
    type=click.Choice(["zh", "en"]),
    default="zh",
    show_default=True,
    help="The language that it opens in and prints; the page can switch.",
)
@cli_options.replace_option
def report(workspace: Path, output: Path, lang: str, *, replace: bool) -> None:
    """Write a report to be printed: two pages for leaders, then the details.

    One HTML file in Chinese and English for A4 paper, that opens without internet: numbers, what
    they mean, figures, tables, quality of the data, method, manifest. What the workspace does not
    hold yet (audit, odds, priorities, sites, rounds) is named with the verb that makes it.
    """
    progress = cli_print.Progress(f"reading {workspace}")
    from survey.outputs.report import save_report
    from survey.staging import refuse_existing
    from survey.workspace import open_workspace

    cli_options.refuse_inputs(output, workspace)
    refuse_existing([output], replace=replace)
    stored = open_workspace(workspace)
    progress(f"writing {output}")
    cli_print.put(save_report(output, stored, lang=lang, replace=replace))
