import itertools
import os
import re
import sys

import click
import numpy as np
import pandas as pd
import pytest

from commands import list_files, run_survey, see_refusal
from survey.cli import cli
from survey.cli_print import list_rows
from survey.sampling.design import Design
from survey.sampling.odds import visit_odds
from survey.workspace import open_workspace

OPTIONS = (
    "--condition --column --greatest --fails-below --budget --budget-cost --rounds --top --json"
)
QUICK = ["--rounds", "200"]

# Names, scores and costs of five of the town's thirteen units; the name of one is beyond GBK.
SCORES = {"𠮷祥巷": (40, 2), "安居里": (90, 1), "一村": (60, 3), "二村": (100, 5), "四村": (20, 4)}
CHINESE = "".join(f"{name},{score},{cost}\n" for name, (score, cost) in SCORES.items())


@pytest.fixture
def write(tmp_path):
    """Give a function that writes a table beside the workspace and returns its path."""

    def write_table(text, name="table.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(text.encode(encoding))
        return path

    return write_table


@pytest.fixture
def scores(write):
    """Give the scores as a city writes them: GB18030, Chinese headers, units by name."""
    return write(f"名称,得分,整治费用\n{CHINESE}", encoding="gb18030")


def work_out(workspace, **rules):
    """Work out the odds of a workspace, by name of the unit (all of the town's differ)."""
    stored = open_workspace(workspace)
    frame = stored.read_frame()
    names = pd.concat(
        [
            frame.alleys.set_index("alley_id")["name"],
            frame.compounds.set_index("compound_id")["name"],
        ]
    )
    odds = visit_odds(frame, stored.read("reach"), Design(**rules))
    return odds.assign(name=odds["unit_id"].map(names)).set_index("name")


def rank(workspace, path, *options):
    """Run the verb; give what it said and the table that it left, by name."""
    said = run_survey("priorities", workspace, "--condition", path, *QUICK, *options)
    assert said.code == 0, said.err
    stored = open_workspace(workspace)
    ids = work_out(workspace).reset_index().set_index("unit_id")["name"]
    table = stored.read("priorities").sort_values("rank")
    return said, table.set_index(table["unit_id"].map(ids))


def test_help_names_every_option():
    """The help names each option with a sentence, and fits a terminal."""
    said = run_survey("priorities", "--help")
    assert (said.code, said.err) == (0, "")
    options = {
        item.opts[0]: item.help
        for item in cli.commands["priorities"].params
        if isinstance(item, click.Option)
    }
    assert set(options) == set(OPTIONS.split())
    assert all(text.endswith((".", ")")) for text in options.values())
    assert all(name in said.out for name in options)
    assert max(map(len, said.out.splitlines())) <= 100


def test_risk_of_a_score_by_name(town, scores):
    """Risk is odds x (1 - score / 100), worked out by hand, its band alike, greatest first."""
    _, table = rank(town, scores, "--greatest", "100")
    odds = work_out(town).loc[list(SCORES)]
    bad = 1 - np.array([score for score, _ in SCORES.values()]) / 100
    risk = (odds["prob"] * bad).sort_values(ascending=False)
    assert table.index.to_list() == risk.index.to_list()
    assert table["rank"].to_list() == [1, 2, 3, 4, 5]
    assert table["risk"].to_numpy() == pytest.approx(risk.to_numpy(), abs=1e-12)
    for end in ("low", "high"):
        wanted = (odds[f"prob_{end}"] * bad)[table.index]
        assert table[f"risk_{end}"].to_numpy() == pytest.approx(wanted.to_numpy(), abs=1e-12)
    assert not table["chosen"].any()
    pd.testing.assert_frame_equal(
        open_workspace(town).read("odds"), work_out(town).reset_index(drop=True)
    )


def test_risk_by_id_with_a_threshold(town, write):
    """With --fails-below a unit fails for certain below it, and at it or above it never."""
    odds = work_out(town)
    ids = odds.loc[["安居里", "平安巷", "一村"]]
    rows = zip(ids["unit_id"], (0.59, 0.6, 0.1), strict=True)
    text = "unit_id,condition\n" + "".join(f"{unit},{value}\n" for unit, value in rows)
    _, table = rank(town, write(text), "--fails-below", "0.6")
    wanted = dict(zip(ids.index, ids["prob"] * [1, 0, 1], strict=True))
    assert table["risk"].to_dict() == pytest.approx(wanted, abs=1e-12)


def test_the_best_n_are_the_greatest_risks(town, scores):
    """--budget N chooses the N greatest risks and says what they save; none without a risk."""
    said, table = rank(town, scores, "--greatest", "100", "--budget", "2", "--json")
    assert table["chosen"].to_list() == [True, True, False, False, False]
    assert said.json["saved"] == pytest.approx(table["risk"].head(2).sum(), abs=1e-12)
    assert said.json["proven"] is True
    said, table = rank(town, scores, "--greatest", "100", "--budget", "99", "--top", "5")
    assert not table.loc["二村", "chosen"]
    assert said.out.count("(chosen)") == table["chosen"].sum() == 4
    assert "mending the 4 chosen saves" in said.out
    said, _ = rank(town, scores, "--greatest", "100", "--budget", "0")
    assert "within the budget there is nothing to mend" in said.out


@pytest.mark.parametrize("budget", [3, 5, 6.5, 9])
def test_the_best_set_within_a_cost(town, scores, budget):
    """--budget-cost chooses a set that no other within the cost beats, tried one by one."""
    said, table = rank(town, scores, "--greatest", "100", "--budget-cost", budget, "--json")
    risks = table["risk"].to_dict()
    sets = itertools.chain.from_iterable(itertools.combinations(SCORES, n) for n in range(6))
    best = max(
        sum(risks[name] for name in some)
        for some in sets
        if sum(SCORES[name][1] for name in some) <= budget
    )
    assert said.json["saved"] == pytest.approx(best, abs=1e-12)
    chosen = table.loc[table["chosen"]]
    assert chosen["cost"].sum() <= budget
    shown = rank(town, scores, "--greatest", "100", "--budget-cost", budget)[0].out.splitlines()
    first = shown[shown.index("risk  odds    band            unit") + 1 :][: len(chosen)]
    for line, unit in zip(first, chosen["unit_id"], strict=True):
        assert line.endswith(f"({unit})  (chosen)")
    assert said.json["proven"] is True


def test_what_is_not_known_is_listed_and_not_guessed(town, scores):
    """Units without a condition: one line on stderr with the first ten, all of them in JSON."""
    said, table = rank(town, scores, "--greatest", "100", "--json")
    odds = work_out(town)
    missing = odds.drop(index=list(SCORES))
    assert {row["name"] for row in said.json["missing"]} == set(missing.index)
    lines = [line for line in said.err.splitlines() if "without a condition: " in line]
    assert len(lines) == 1
    assert all(f"{row.Index} ({row.unit_id})" in lines[0] for row in missing.itertuples())
    assert len(table) == len(SCORES)
    assert said.json["expected_high"] == pytest.approx(
        table["risk_high"].sum() + missing["prob_high"].sum(), abs=1e-9
    )


def test_many_that_are_not_known_are_cut_short(town, write):
    """Beyond ten, stderr says how many more there are, and JSON has them all."""
    said, _ = rank(town, write("名称,得分\n一村,0.5\n"), "--json")
    assert " and 2 more (--json lists all)\n" in said.err
    assert len(said.json["missing"]) == 12


def test_expected_failing_units_are_exact_and_simulated(town, scores):
    """The mean is the sum of risks, with its band; the simulated one lies within five errors."""
    said, table = rank(town, scores, "--greatest", "100", "--rounds", "4000", "--json")
    facts = said.json
    assert facts["expected_failing"] == pytest.approx(table["risk"].sum(), abs=1e-12)
    assert facts["expected_low"] == pytest.approx(table["risk_low"].sum(), abs=1e-12)
    failing = facts["failing"]
    assert abs(failing["mean"] - facts["expected_failing"]) < 5 * failing["mean_se"]
    assert sum(row["share"] for row in facts["failing_counts"]) == pytest.approx(1)
    text = rank(town, scores, "--greatest", "100")[0].out
    band = f"({facts['expected_low']:.2f} to {facts['expected_high']:.2f} over the band"
    assert f"meets {facts['expected_failing']:.2f} failing units on average {band}" in text


def test_json_and_text_of_priorities_have_the_band(town, scores):
    """JSON has stable keys and the band on every row; each line of text has it too."""
    said, table = rank(town, scores, "--greatest", "100", "--json")
    assert list(said.json) == [
        *("schema", "design", "budget", "budget_cost", "rounds", "seed", "expected_failing"),
        *("expected_low", "expected_high", "saved", "bound", "proven", "failing"),
        *("failing_counts", "missing", "priorities", "notes"),
    ]
    assert said.json["priorities"] == list_rows(table)
    assert all(row["prob_low"] <= row["prob"] <= row["prob_high"] for row in list_rows(table))
    assert any("得分" in note for note in said.json["notes"])
    shown = rank(town, scores, "--greatest", "100", "--top", "3")[0].out.splitlines()[-3:]
    for line, row in zip(shown, table.head(3).itertuples(), strict=True):
        assert re.match(rf"{row.risk:.3f} +[\d.]+%\* [<>\d.]+%-[<>\d.]+% +{row.layer} ", line)
        assert row.unit_id in line


def test_priorities_are_stored_noted_and_shown(town, scores, tmp_path):
    """The verb replaces odds and priorities alone, notes its file, and the map shows the rank."""
    before = {name: open_workspace(town).read(name) for name in open_workspace(town).names}
    rank(town, scores, "--greatest", "100", "--budget", "2")
    rank(town, scores, "--greatest", "100", "--budget", "3")
    stored = open_workspace(town)
    assert stored.names == before.keys() | {"priorities"}
    for name in before.keys() - {"odds"}:
        pd.testing.assert_frame_equal(stored.read(name), before[name])
    noted = stored.manifest["parameters"]["priorities"]
    assert (noted["condition"]["path"], noted["greatest"], noted["budget"]) == ("table.csv", 100, 3)
    assert len(noted["condition"]["sha256"]) == 64
    assert run_survey("map", town, "-o", tmp_path / "x.html").code == 0
    assert "整治次序" in (tmp_path / "x.html").read_text(encoding="utf-8")
    hint = "survey: the priorities stored are of another design; run survey priorities again\n"
    assert hint in run_survey("odds", town, "--alleys", "2").err
    said = run_survey("frame", town)
    assert "the priorities of the earlier frame are dropped" in said.err
    assert "priorities" not in open_workspace(town).names


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux only")
def test_a_file_name_in_another_encoding(town, write, tmp_path):
    """A file whose name is not UTF-8, as from an old archive, is read like any other."""
    path = tmp_path / os.fsdecode(b"\xd6\xd0.csv")
    write("名称,得分\n一村,0.5\n").rename(path)
    rank(town, path)
    assert (
        open_workspace(town).manifest["parameters"]["priorities"]["condition"]["path"] == "??.csv"
    )


FILE = "unit_id,condition\n"


@pytest.mark.parametrize(
    ("text", "options", "hint"),
    [
        (None, [], "table.csv does not exist"),
        ("", [], "holds no rows"),
        ("unit_id,lamps\nway/40,1\n", [], "no column says the condition"),
        (f"{FILE}way/40,1\n", ["--column", "lamps"], "no column is called 'lamps'"),
        (f"{FILE}way/1,1\n", [], "not in the frame: 'way/1' in row 2"),
        (f"{FILE}way/40,60\n", [], "'60' in row 2 lies outside [0, 1]; where it is a score"),
        (f"{FILE}way/40,101\n", ["--greatest", "100"], "lies outside [0, 100]"),
        (f"{FILE}way/40,good\n", [], "'good' in row 2 is no number"),
        (f"{FILE}way/40,1\nway/40,0\n", [], "more than once: 'compound way/40' in rows 2, 3"),
        ("unit_id,condition,cost\nway/40,0,-3\n", [], "the cost '-3' in row 2 is below 0"),
        (f"{FILE}way/40,0\n", ["--budget-cost", "5"], "needs the cost of every unit with a risk"),
        (f"{FILE}way/40,0\n", ["--budget-cost", "nan"], "the budget of cost is nan"),
        (f"{FILE}way/40,0\n", ["--budget", "-1"], "the budget is -1"),
        (f"{FILE}way/40,0\n", ["--budget", "1.5"], "--budget"),
        (f"{FILE}way/40,0\n", ["--budget", "1", "--budget-cost", "5"], "give one of them"),
        (f"{FILE}way/40,0\n", ["--greatest", "0"], "the greatest score is 0.0"),
        (f"{FILE}way/40,0\n", ["--fails-below", "60"], "fails_below is 60.0"),
        (f"{FILE}way/40,0\n", ["--rounds", "0"], "rounds is 0"),
    ],
)
def test_a_condition_that_cannot_be_used(town, write, text, options, hint):
    """A bad file or budget is one clear line, and the workspace is as it was."""
    path = town.with_name("table.csv") if text is None else write(text)
    before = list_files(town.parent)
    see_refusal(hint, "priorities", town, "--condition", path, *options)
    assert list_files(town.parent) == before
