import re
import shutil
import subprocess
import sys

import click
import pandas as pd
import pytest

from commands import list_files, run_survey, see_refusal, write_config, write_town
from osmxml import place, write_osm
from survey.cli import cli
from survey.cli_print import list_rows
from survey.sampling.design import Design
from survey.sampling.odds import visit_odds
from survey.sampling.schemes import read_schemes
from survey.sampling.simulate import simulate_rounds
from survey.workspace import open_workspace

DESIGN = {
    "--scheme",
    "--alleys",
    "--compounds",
    "--within",
    "--min",
    "--radius",
    "--metric",
    "--visit",
}
OPTIONS = {
    "odds": DESIGN | {"--top", "--json"},
    "simulate": DESIGN
    | {"--rounds", "--seed", "--quarters", "--repeats", "--condition", "--column", "--greatest"}
    | {"--fails-below", "-o", "--replace", "--json"},
    "schemes": {"--json"},
    "commit": DESIGN | {"--json"},
    "draw": DESIGN | {"--seed", "--round", "--mock", "--method", "--weights", "--json"},
}
TABLE = ["--radius", "table:500=0.25,1000=0.75"]


def work_out(workspace, **rules):
    """Work out the odds of a workspace's frame by the functions."""
    stored = open_workspace(workspace)
    return visit_odds(stored.read_frame(), stored.read("reach"), Design(**rules))


def read_all(workspace, *, but=()):
    stored = open_workspace(workspace)
    return {name: stored.read(name) for name in sorted(stored.names - set(but))}


def see_same(one, other):
    assert list(one) == list(other)
    for name in one:
        pd.testing.assert_frame_equal(one[name], other[name])


def bare_config(folder):
    """Write a town of a main road, a school and a toilet: nothing in it can be drawn."""
    nodes = {n: (*place(250 * n, 0), {}) for n in range(1, 6)}
    nodes[10] = (*place(600, 60), {"amenity": "school", "name": "小学"})
    nodes[11] = (*place(500, 30), {"amenity": "toilets"})
    road = {100: ([1, 2, 3, 4, 5], {"highway": "primary", "name": "大路"})}
    box = (*place(0, -500), *place(1500, 500))
    write_osm(folder / "bare.osm", nodes=nodes, ways=road, bounds=box)
    return write_config(folder / "bare.toml", 'extract = "bare.osm"', '[round]\nseed = "x"')


# ---------------------------------------------------------------- help


@pytest.mark.parametrize("verb", OPTIONS)
def test_help_names_every_option(verb):
    """Each verb's help names each option with a sentence, and fits a terminal."""
    said = run_survey(verb, "--help")
    assert (said.code, said.err) == (0, "")
    options = [item for item in cli.commands[verb].params if isinstance(item, click.Option)]
    assert {option.opts[0] for option in options} == OPTIONS[verb]
    assert all(re.search(r"[.)]$", option.help) for option in options)
    assert all(option.opts[0] in said.out for option in options)
    assert max(map(len, said.out.splitlines())) <= 100


@pytest.mark.parametrize("verb", ["odds", "schemes"])
def test_help_and_wrong_usage_import_nothing_heavy(verb):
    """The help answers at once: no library of tables or geometry is imported for it."""
    script = (
        "import sys\nfrom survey.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print(sorted(set(sys.modules) & {'numpy', 'pandas', 'shapely', 'scipy', 'folium'}))"
    )
    command = [sys.executable, "-c", script, verb, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


# ---------------------------------------------------------------- odds


def test_run_and_odds_store_what_the_function_gives(town):
    """The table odds is visit_odds of the frame, and the verb replaces nothing else."""
    assert open_workspace(town).manifest["parameters"]["odds"] == Design().to_table()
    before = read_all(town)
    pd.testing.assert_frame_equal(before.pop("odds"), work_out(town))
    assert run_survey("odds", town, *TABLE, "--visit", "school=0").code == 0
    rules = {"radius": {500: 0.25, 1000: 0.75}, "points": {"school": 0}}
    after = read_all(town)
    pd.testing.assert_frame_equal(after.pop("odds"), work_out(town, **rules))
    see_same(before, after)
    parameters = open_workspace(town).manifest["parameters"]
    assert parameters["odds"] == parameters["design"] == Design(**rules).to_table()


def test_json_of_odds_has_the_band_on_every_row(town):
    """JSON holds design, summary and every row of the table, each with its band."""
    said = run_survey("odds", town, "--alleys", "2", "--json").json
    assert list(said) == ["schema", "design", "summary", "odds"]
    assert (said["schema"], said["design"]["alleys"]) == (1, [2, 2])
    table = open_workspace(town).read("odds")
    assert said["odds"] == list_rows(table)
    assert all(0 <= row["prob_low"] <= row["prob"] <= row["prob_high"] for row in said["odds"])
    sums = table.groupby("layer")[["prob_low", "prob", "prob_high"]].sum()
    for layer, (low, mean, high) in zip(sums.index, sums.to_numpy(), strict=True):
        found = [said["summary"][f"{layer}s_{end}"] for end in ("low", "expected", "high")]
        assert found == pytest.approx([low, mean, high])


def test_text_of_odds_shows_the_band_beside_each(town):
    """Every line with odds has its band, the likeliest unit first; --top says how many."""
    lines = run_survey("odds", town, "--top", "4").out.splitlines()
    assert re.search(r"\d \(\d+\.\d to \d+\.\d over the band\) of \d+ alleys and \d", lines[0])
    table = open_workspace(town).read("odds").sort_values("prob", ascending=False, kind="stable")
    shown = lines[lines.index("odds    band            unit") + 1 :]
    assert len(shown) == 4
    for line, row in zip(shown, table.head(4).itertuples(), strict=True):
        odds, low, high = re.match(r" *([<>\d.]+)%\* ([<>\d.]+)%-([<>\d.]+)%  ", line).groups()
        found = [float(text.strip("<>")) for text in (odds, low, high)]
        assert found == pytest.approx(
            [100 * row.prob, 100 * row.prob_low, 100 * row.prob_high], abs=0.1
        )
        assert row.unit_id in line
    assert "band  " not in run_survey("odds", town, "--top", "0").out


def test_more_than_there_is_is_no_error(town):
    """Where more units are asked for than are in reach all are drawn, and that is said."""
    said = run_survey("odds", town, "--alleys", "50", "--radius", "fixed:2000")
    assert said.code == 0
    assert "3 points have fewer alleys in reach than may be asked for" in said.out
    odds = open_workspace(town).read("odds")
    assert (odds.loc[odds["layer"] == "alley", "prob"] == 1).all()


def test_the_design_stays_for_later_verbs_and_odds_of_another_are_pointed_out(town, tmp_path):
    """Draw takes the design of odds; a draw by another says that the odds are outdated."""
    assert run_survey("odds", town, *TABLE).code == 0
    hint = "survey: the odds stored are of another design; run survey odds again\n"
    same = run_survey("draw", town, "--seed", "x", "--json")
    assert same.json["design"]["radius"] == "table:500=0.25,1000=0.75"
    assert hint not in same.err
    other = run_survey("draw", town, "--seed", "x", "--alleys", "2")
    assert (other.code, other.err.count(hint)) == (0, 1)
    assert hint in run_survey("commit", town).err
    mock = ["draw", town, "--mock", "--seed", "x", "--alleys", "1", "--compounds", "1"]
    assert hint in run_survey(*mock, "--weights", "odds").err
    assert hint not in run_survey(*mock).err
    said = run_survey("map", town, "-o", tmp_path / "x.html")
    assert hint.removeprefix("survey: ") in said.err
    assert run_survey("odds", town).code == 0
    assert hint not in run_survey("draw", town, "--seed", "x").err


def test_the_map_shows_odds_with_their_band(town, tmp_path):
    """The map of a workspace with odds colours its units and gives the band in each popup."""
    assert run_survey("map", town, "-o", tmp_path / "with.html").code == 0
    assert run_survey("frame", town).code == 0
    assert run_survey("map", town, "-o", tmp_path / "without.html").code == 0
    with_odds, without = (
        (tmp_path / f"{name}.html").read_text(encoding="utf-8") for name in ("with", "without")
    )
    assert "概率范围" in with_odds
    assert "概率范围" not in without


def test_a_new_frame_drops_what_was_made_from_the_old_one(town):
    """A new frame drops odds and audit, each with a line; rounds and mock rounds stay."""
    assert run_survey("draw", town, "--mock", "--seed", "x", "--round", "m").code == 0
    before = read_all(town)
    said = run_survey("frame", town)
    assert said.code == 0
    assert "the odds of the earlier frame are dropped; run survey odds again\n" in said.err
    assert "the audit of the earlier frame is dropped; run survey audit again\n" in said.err
    after = read_all(town)
    assert not after.keys() & {"odds", "audit", "covered", "gaps", "shares"}
    for name in ("rounds", "draws", "mocks"):
        pd.testing.assert_frame_equal(after[name], before[name])
    assert not open_workspace(town).manifest["parameters"].keys() & {"odds", "audit"}


# ---------------------------------------------------------------- run


def test_run_without_anything_to_draw_ends_well(tmp_path):
    """A city where no round can draw a unit gets all but odds, and one line that says why."""
    said = run_survey("run", bare_config(tmp_path), "--out", tmp_path / "out", "--json")
    assert said.code == 0
    assert said.json["odds"] is None
    lines = [line for line in said.err.splitlines() if "odds: " in line]
    assert len(lines) == 1
    assert "no odds: no unit that the design asks for lies 0 to 2000 m (network) from" in lines[0]
    workspace = tmp_path / "out" / "bare.gpkg"
    assert "odds" not in open_workspace(workspace).names
    for verb in ("odds", "simulate"):
        see_refusal("no round can satisfy it", verb, workspace)


def test_a_run_leaves_no_odds_of_an_earlier_one(city):
    """A run whose design gives no odds takes away those of the earlier run, and can run again."""
    assert (city / "out" / "odds.csv").read_bytes().startswith(b"\xef\xbb\xbflayer,unit_id,prob,")
    config = city / "town.toml"
    text = config.read_text(encoding="utf-8")
    config.write_text(text + "[design]\nwithin_m = [1, 2]\n", encoding="utf-8")
    assert "no odds: " in run_survey("run", config, "--out", city / "out").err
    assert not (city / "out" / "odds.csv").exists()
    assert "odds" not in open_workspace(city / "out" / "town.gpkg").names
    config.write_text(text, encoding="utf-8")
    assert run_survey("run", config, "--out", city / "out").code == 0
    assert (city / "out" / "odds.csv").exists()


# ---------------------------------------------------------------- simulate


def test_simulate_gives_what_the_function_gives_and_changes_nothing(town, tmp_path):
    """The CSV and the JSON are simulate_rounds'; the workspace is as it was, byte for byte."""
    before = town.read_bytes()
    path = tmp_path / "units.csv"
    ask = ["simulate", town, "--rounds", "300", "--quarters", "2", "--repeats", "not-in-year"]
    said = run_survey(*ask, "--seed", "a", "--alleys", "2", "-o", path, "--json")
    assert said.code == 0
    assert town.read_bytes() == before
    stored = open_workspace(town)
    made = stored.read_frame(), stored.read("reach"), Design(alleys=(2, 2))
    rules = {"rounds": 300, "quarters": 2, "repeats": "not-in-year"}
    found = simulate_rounds(*made, **rules, seed="a")
    for name in ("units", "numbers", "counts"):
        assert said.json[name] == list_rows(getattr(found, name))
    assert said.json["notes"] == list(found.notes)
    assert path.read_bytes().startswith(b"\xef\xbb\xbflayer,unit_id,prob,prob_se,")
    pd.testing.assert_frame_equal(pd.read_csv(path), found.units, check_dtype=False)
    assert (found.units["prob_low"] <= found.units["prob"]).all()
    assert run_survey(*ask, "--seed", "b", "--alleys", "2", "--json").json != said.json


def test_simulate_agrees_with_the_odds_and_shows_errors_and_band(town):
    """Means lie within five standard errors of the exact ones; the band stands below them."""
    said = run_survey("simulate", town, "--rounds", "4000")
    odds = work_out(town).groupby("layer")[["prob", "prob_low", "prob_high"]].sum()
    for layer, (mean, low, high) in zip(odds.index, odds.to_numpy(), strict=True):
        row = next(line.split() for line in said.out.splitlines() if line.startswith(f"{layer}s"))
        assert abs(float(row[1]) - mean) < 5 * float(row[2])
        assert f"  {layer}s on average over the band: {low:.1f} to {high:.1f}\n" in said.out


def test_one_round_tells_no_standard_error(town):
    """A single round has no standard error, in text and in JSON."""
    said = run_survey("simulate", town, "--rounds", "1")
    assert re.search(r"^alleys +\d\.000 +- +- ", said.out, re.MULTILINE)
    numbers = run_survey("simulate", town, "--rounds", "1", "--json").json["numbers"]
    assert {row["mean_se"] for row in numbers} == {None}


def test_simulate_writes_over_nothing_by_itself(town, tmp_path):
    """A file that exists needs --replace, and an input is never written over."""
    path = tmp_path / "units.csv"
    path.write_text("mine")
    ask = ["simulate", town, "--rounds", "9"]
    before = list_files(tmp_path)
    see_refusal(f"{path} exists", *ask, "-o", path)
    see_refusal("is an input", *ask, "-o", town, "--replace")
    see_refusal("is an input", "map", town, "-o", town, "--replace")
    assert list_files(tmp_path) == before
    assert run_survey(*ask, "-o", path, "--replace").code == 0
    assert len(pd.read_csv(path)) == len(open_workspace(town).read("odds"))


# ---------------------------------------------------------------- schemes


def test_schemes_are_listed_with_their_sources():
    """Text and JSON list every scheme of the package with its source and note."""
    known = read_schemes()
    said = run_survey("schemes")
    rows = run_survey("schemes", "--json").json["schemes"]
    assert [row["scheme_id"] for row in rows] == list(known)
    for scheme in known.values():
        assert f"{scheme.scheme_id}: {scheme.title_zh}\n" in said.out
        assert f"  source: {scheme.source}\n  note: {scheme.note}\n" in said.out


def test_a_scheme_begins_the_design(town):
    """A scheme takes the place of the stored design, options go over it, its note is said."""
    assert run_survey("odds", town, "--metric", "euclid").code == 0
    said = run_survey("odds", town, "--scheme", "jiaozuo-2019", "--alleys", "2", "--json")
    points = {"hospital": 1, "market": 1, "school": 1}
    assert said.json["design"] == Design(alleys=(2, 2), points=points).to_table()
    assert f"survey: the scheme jiaozuo-2019: {read_schemes()['jiaozuo-2019'].note}\n" in said.err


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["odds", "--scheme", "six-suroundings"], "did you mean 'six-surroundings'?"),
        (["odds", "--scheme", "hygienic-city"], "so it makes no design"),
        (["odds", "--visit", "school=x"], "'school=x' is not KIND=N, such as school=3"),
        (["odds", "--visit", "zoo=3"], "unknown kind 'zoo'; the kinds are market"),
        (["odds", "--visit", "school=1", "--visit", "school=2"], "name each kind once"),
        (["odds", "--radius", "table:500=0.5,1000=0.4"], "sum to 0.9; give weights above 0"),
        (["odds", "--radius", "table:500"], "'table:<metres>=<weight>,...'"),
        (["odds", "--within", "1-2"], "no round can satisfy it: widen within_m"),
        (
            ["odds", *(f"--visit={kind}=0" for kind in ("school", "hospital", "market"))],
            "visits 0 points of every kind that the frame has (hospital, market, school)",
        ),
        (["odds", "--within", "500-2500"], "the radius goes to 2500 m"),
        (["odds", "--within", "500-2500", "--radius", "fixed:900"], "every radius to 2500 m"),
        (["odds", "--top", "-1"], "--top"),
        (["simulate", "--rounds", "0"], "rounds is 0; give a whole number"),
        (["simulate", "--quarters", "0"], "quarters is 0; give a whole number"),
        (["simulate", "--repeats", "never"], "not-in-year"),
        (["simulate", "--greatest", "100"], "need --condition"),
        (["simulate", "--condition", "no.csv"], "no.csv does not exist"),
    ],
)
def test_what_cannot_be_done_is_one_line(town, arguments, hint):
    """Bad input is one clear line and exit code 2, and the workspace is as it was."""
    before = list_files(town.parent)
    see_refusal(hint, arguments[0], town, *arguments[1:])
    assert list_files(town.parent) == before


def test_a_workspace_without_a_frame(town_run, tmp_path):
    """What was only fetched has no frame, and every verb says how to make one."""
    path = tmp_path / "x.gpkg"
    extract = shutil.copy(town_run.config.with_name("town.osm"), tmp_path)
    assert run_survey("fetch", "--extract", extract, "-o", path).code == 0
    before = path.read_bytes()
    for verb, more in (("odds", []), ("simulate", []), ("draw", ["--mock", "--seed", "x"])):
        see_refusal("run survey frame on it first", verb, path, *more)
    assert path.read_bytes() == before


def test_an_area_without_fixed_points_has_no_odds(tmp_path):
    """A run in an area without fixed points is refused by one line before any odds."""
    write_town(tmp_path / "town.osm", points=False)
    config = write_config(tmp_path / "town.toml", more='[round]\nseed = "x"')
    see_refusal("there is no fixed point", "run", config, "--out", tmp_path / "out")


def test_any_text_is_a_seed_of_a_simulation(town):
    """A seed of half a character, as a console of another encoding gives it, is text too."""
    said = run_survey("simulate", town, "--rounds", "9", "--seed", "\udcd6\udcd0")
    assert said.code == 0
