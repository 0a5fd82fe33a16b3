import click
import numpy as np
import pandas as pd
import pytest

from commands import list_files, run_survey, see_refusal
from osmxml import place
from survey.cli import cli
from survey.cli_print import list_rows
from survey.sampling.draw import load_draw
from survey.sampling.estimate import estimate_mock, estimate_round
from survey.sampling.mock import draw_mock
from survey.workspace import open_workspace


@pytest.fixture
def write(tmp_path):
    """Give a function that writes a table beside the workspace and returns its path."""

    def write_table(text, name="table.csv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write_table


def test_help_of_estimate_names_every_option():
    """The help names each option with a sentence, and fits a terminal."""
    said = run_survey("estimate", "--help")
    assert (said.code, said.err) == (0, "")
    options = {
        item.opts[0]: item.help
        for item in cli.commands["estimate"].params
        if isinstance(item, click.Option)
    }
    named = "--results --layer --column --round --mock --measure --json"
    assert set(options) == set(named.split())
    assert all(text.endswith(".") and name in said.out for name, text in options.items())
    assert max(map(len, said.out.splitlines())) <= 100


# ---------------------------------------------------------------- mock rounds

MOCK = ["--seed", "x", "--mock"]


def test_mock_rounds_stand_side_by_side(town):
    """The same id replaces a mock round, another adds one; each is what draw_mock gives."""
    ask = ["draw", town, "--mock", "--compounds", "2", "--alleys"]
    assert run_survey(*ask, "3", "--seed", "a", "--round", "007").code == 0
    assert run_survey(*ask, "2", "--seed", "b", "--round", "m2", "--method", "simple").code == 0
    said = run_survey(*ask, "2", "--seed", "c", "--round", "007", "--weights", "odds", "--json")
    assert "survey: this replaces the mock round '007' that was drawn before\n" in said.err
    stored = open_workspace(town)
    frame, odds = stored.read_frame(), stored.read("odds")
    counts = {"alleys": 2, "compounds": 2}
    first = draw_mock(frame, **counts, seed="c", mock_id="007", odds=odds)
    second = draw_mock(frame, **counts, seed="b", mock_id="m2", method="simple")
    assert list(said.json) == ["schema", "mock", "method", "weights", "seed", "mocks"]
    assert said.json["mocks"] == list_rows(first)
    both = pd.concat([first, second], ignore_index=True)
    keys = ["mock_id", "layer", "slot"]
    found = stored.read("mocks").sort_values(keys, ignore_index=True)
    pd.testing.assert_frame_equal(found, both.sort_values(keys, ignore_index=True))
    assert set(stored.read("rounds")["round_id"]) == {"r1"}


def test_a_mock_round_of_a_whole_city(town):
    """A scheme gives the number of alleys; without numbers it has ten of each, or all there are."""
    ask = ["draw", town, *MOCK, "--json"]
    said = run_survey(*ask, "--scheme", "hygienic-city")
    assert "hygienic-city draws 4-8 alleys out of the whole city" in said.err
    main = [row for row in said.json["mocks"] if not row["replacement"]]
    assert [(row["layer"], row["prob"]) for row in main] == [("alley", 8 / 9)] * 8
    few = run_survey(*ask, "--scheme", "hygienic-city", "--alleys", "4").json["mocks"]
    assert sum(not row["replacement"] for row in few) == 4
    every = run_survey(*ask).json["mocks"]
    assert sorted(row["layer"] for row in every) == ["alley"] * 9 + ["compound"] * 4


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ([*MOCK, "--alleys", "1-2"], "--mock needs one whole number of alleys"),
        ([*MOCK, "--alleys", "10"], "10 alleys are asked for, but the frame has 9"),
        ([*MOCK, "--min", "5", "--visit", "school=1"], "leave out --min, --visit"),
        ([*MOCK, "--scheme", "six-surroundings"], "draws around fixed points; leave out --mock"),
        ([*MOCK, "--alleys", "0", "--compounds", "0"], "ask for one unit at least"),
        ([*MOCK, "--method", "simple", "--weights", "odds"], "cannot follow odds"),
        (["--seed", "x", "--weights", "odds"], "are for a mock round; add --mock"),
        (["--seed", "x", "--method", "simple"], "are for a mock round; add --mock"),
    ],
)
def test_a_mock_round_that_cannot_be_drawn(town, options, hint):
    """What a mock round cannot follow is one clear line, and the workspace is as it was."""
    before = list_files(town.parent)
    see_refusal(hint, "draw", town, *options)
    assert list_files(town.parent) == before


def test_mock_rounds_by_odds_need_odds(town):
    """A workspace without the table odds is told which verb makes it."""
    assert run_survey("frame", town).code == 0
    see_refusal("holds no table 'odds' yet; run survey odds", "draw", town, *MOCK, "--weights=odds")


# ---------------------------------------------------------------- estimate


def write_results(write, units, *, head="unit_id,value", more=""):
    """Write the results 1, 2, 3, ... of some units."""
    rows = "".join(f"{unit},{number}\n" for number, unit in enumerate(sorted(set(units)), 1))
    return write(f"{head}\n{rows}{more}", "results.csv")


def list_winners(town, layer="alley"):
    draws = open_workspace(town).read("draws")
    return draws.loc[(draws["layer"] == layer) & ~draws["replacement"], "unit_id"]


def see_estimate(said, found):
    assert said["schema"] == 1
    assert list(said) == ["schema", "layer", "column", "measure", "round", "mock", "estimate"]
    numbers = {name: getattr(found, name) for name in ("value", "se", "variance", "low", "high")}
    told = {
        name: np.nan if said["estimate"][name] is None else said["estimate"][name]
        for name in numbers
    }
    assert told == pytest.approx(numbers, nan_ok=True)
    assert said["estimate"]["notes"] == list(found.notes)


@pytest.mark.parametrize("measure", ["mean", "total"])
def test_an_estimate_from_a_round(town, write, measure):
    """It is estimate_round's, from a file in which a row of another unit is blank."""
    winners = list_winners(town)
    path = write_results(write, winners, head="unit_id,分数", more="alley/0,\n")
    ask = ["estimate", town, "--results", path, "--layer", "alley", "--round", "r1"]
    said = run_survey(*ask, "--column", "分数", "--measure", measure, "--json").json
    stored = open_workspace(town)
    drawn = load_draw(stored.read("rounds"), stored.read("draws"), "r1")
    results = pd.DataFrame({"unit_id": sorted(set(winners))})
    results["value"] = np.arange(len(results)) + 1
    tables = stored.read_frame(), stored.read("reach")
    found = estimate_round(*tables, drawn, results, layer="alley", measure=measure)
    see_estimate(said, found)
    text = run_survey(*ask, "--column", "分数", "--measure", measure).out
    assert text.startswith(f"{measure} of 分数 over all alleys: {found.value:.6g} +- ")
    assert "the law of the radius is not public" in text


def test_an_estimate_from_a_mock_round(town, write):
    """It is estimate_mock's, by ids and round ids such as 007, which stay as they are."""
    x, y = 500, 250
    here = "{:.6f},{:.6f}".format(*place(x, y))
    register = write(f"id,name,lon,lat\n007,安居里,{here}\n", "alleys.csv")
    assert run_survey("frame", town, "--alleys", register, "--datum", "wgs84").code == 0
    assert run_survey("odds", town, "--json").json["odds"][0]["unit_id"] == "007"
    draw = ["draw", town, *MOCK, "--round", "007", "--method", "simple", "--json"]
    rows = run_survey(*draw, "--alleys", "8", "--compounds", "2").json["mocks"]
    units = [row["unit_id"] for row in rows if row["layer"] == "alley" and not row["replacement"]]
    assert "007" in units
    path = write_results(write, units)
    said = run_survey(
        *("estimate", town, "--results", path, "--layer", "alley", "--mock", "007", "--json")
    ).json
    stored = open_workspace(town)
    results = pd.DataFrame({"unit_id": sorted(units), "value": range(1, 9)})
    found = estimate_mock(stored.read("mocks"), results, frame=stored.read_frame(), layer="alley")
    see_estimate(said, found)
    # A simple sample of 8 out of 9: the plain mean, with the variance (1 - 8/9) s2 / 8.
    assert said["estimate"]["value"] == pytest.approx(4.5)
    assert said["estimate"]["variance"] == pytest.approx((1 - 8 / 9) * 6 / 8)
    path = write("编号,得分\n007,0.25\n")
    assert run_survey("priorities", town, "--condition", path, "--rounds", "9").code == 0
    odds, ranked = (open_workspace(town).read(name) for name in ("odds", "priorities"))
    known = odds.set_index("unit_id").loc["007", "prob"]
    assert ranked.set_index("unit_id").loc["007", "risk"] == pytest.approx(0.75 * known, abs=1e-12)


def test_true_and_false_are_one_and_nought(town, write):
    """What a spreadsheet writes as TRUE and FALSE is a share; all true is a mean of exactly 1."""
    winners = sorted(set(list_winners(town)))
    path = write("unit_id,value,layer\n" + "".join(f"{unit},TRUE,alley\n" for unit in winners))
    ask = ["--results", path, "--layer", "alley", "--round", "r1", "--json"]
    assert run_survey("estimate", town, *ask).json["estimate"]["value"] == pytest.approx(1)


ALLEY = ["--layer", "alley"]


@pytest.mark.parametrize(
    ("text", "options", "hint"),
    [
        (None, [*ALLEY, "--round", "r1"], "results.csv does not exist"),
        ("", [*ALLEY, "--round", "r1"], "holds no rows"),
        ("unit_id,value,value\na,1,2\n", [*ALLEY, "--round", "r1"], "has 2 columns 'value'"),
        ("name,value\na,1\n", [*ALLEY, "--round", "r1"], "has no column 'unit_id'"),
        ("unit_id,value\na,1\n", [*ALLEY, "--round", "r1", "--column", "x"], "no column 'x'"),
        ("unit_id,value\nalley/0,1\n", [*ALLEY, "--round", "r1"], "alley/0 are not among"),
        (
            "unit_id,value\nalley/0,\n",
            [*ALLEY, "--round", "r1"],
            "alleys of round 'r1' lack results",
        ),
        ("unit_id,value\na,1\n", [*ALLEY, "--round", "r9"], "no round 'r9'; stored are: r1"),
        ("unit_id,value\na,1\n", [*ALLEY, "--mock", "m"], "run survey draw --mock on it first"),
        ("unit_id,value\na,1\n", ALLEY, "give one of --round ID and --mock ID"),
        ("unit_id,value\na,1\n", [*ALLEY, "--round", "r1", "--mock", "m"], "give one of --round"),
        ("unit_id,value\na,1\n", ["--round", "r1"], "--layer"),
    ],
)
def test_results_that_cannot_be_used(town, write, text, options, hint):
    """Results that do not fit the round are one clear line, and nothing is changed."""
    path = town.with_name("results.csv") if text is None else write(text, "results.csv")
    before = list_files(town.parent)
    see_refusal(hint, "estimate", town, "--results", path, *options)
    assert list_files(town.parent) == before


def test_an_unknown_mock_round(town, write):
    """A mock round that is not there is answered with those that are."""
    assert run_survey("draw", town, *MOCK, "--round", "m1").code == 0
    ask = ["--results", write("unit_id,value\na,1\n"), "--layer", "alley", "--mock", "m2"]
    see_refusal("there is no mock round 'm2'; stored are: m1", "estimate", town, *ask)
