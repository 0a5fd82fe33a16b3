"""The verbs audit, rules and site on a finished workspace: files, exit codes, what is stored."""

import json
import xml.etree.ElementTree as ET

import geopandas as gpd
import pandas as pd
import pytest

import survey
from browser import open_page
from commands import edit, run_survey
from survey.coverage.rules import read_rules
from survey.workspace import open_workspace

OWN = """[near]
title_zh = "近"
title_en = "A toilet within a 100 m walk"
metric = "walk"
limit_m = 100
source = "the town's own"
"""


def read_json(said):
    assert said.code in (0, 1), said.err
    return json.loads(said.out)


def test_all_rules_at_once(town):
    """Every rule is audited, or named on stderr as one that the data cannot judge."""
    found = read_json(run_survey("audit", town, "--all", "--json"))
    judged = {row["rule_id"] for row in found["audit"]}
    named = {note.split()[0] for note in found["notes"]}
    assert judged | named == set(read_rules())
    assert not judged & named
    stored = open_workspace(town)
    assert set(stored.read("audit")["rule_id"]) == judged
    assert set(stored.read("checks")["rule_id"]) <= judged
    assert stored.manifest["parameters"]["audit"]["rules"] == [
        row["rule_id"] for row in found["audit"]
    ]


def test_files_for_scripts(town, tmp_path):
    """JUnit, Markdown, GeoJSON and CSV say what the tables say; the exit code follows the city."""
    names = {"junit": "a.xml", "markdown": "a.md", "geojson": "a.geojson", "csv": "a.csv"}
    files = {kind: tmp_path / name for kind, name in names.items()}
    options = [text for kind, path in files.items() for text in (f"--{kind}", path)]
    said = run_survey("audit", town, "--min-share", "0.9999", *options)
    stored = open_workspace(town)
    audit, gaps = stored.read("audit"), stored.read("gaps")
    assert said.code == int((audit["share"] < 0.9999).any()) == 1
    suite = ET.parse(files["junit"]).getroot()
    failed = {
        case.get("classname") for case in suite.iter("testcase") if list(case.iter("failure"))
    }
    assert {name for name in failed if name.endswith(".city")} == {
        f"{row.rule_id}.city" for row in audit[~audit["met"]].itertuples()
    }
    assert len(gpd.read_file(files["geojson"])) == len(gaps)
    assert pd.read_csv(files["csv"])["share"].tolist() == pytest.approx(audit["share"].tolist())
    page = files["markdown"].read_text(encoding="utf-8")
    assert all(page.count(title.split(" · ")[1]) >= 1 for title in audit["title"])
    again = run_survey("audit", town, *options)
    assert again.code == 2
    assert "--replace" in again.err
    assert run_survey("audit", town, *options, "--replace").code == 0


def test_own_rules(town, tmp_path):
    """Rules of one's own are listed, audited and stored like those of the package."""
    own = tmp_path / "own.toml"
    own.write_text(OWN, encoding="utf-8")
    assert "near: 近" in run_survey("rules", "--rules-file", own).out
    found = read_json(run_survey("audit", town, "--rule", "near", "--rules-file", own, "--json"))
    assert [row["limit_m"] for row in found["audit"]] == [100]
    unknown = run_survey("audit", town, "--rule", "near")
    assert unknown.code == 2
    assert "there is no rule 'near'" in unknown.err


def test_every_rule_is_listed_with_its_source(town):
    """`survey rules` gives each rule with where it was read, and says which were only recalled."""
    rows = read_json(run_survey("rules", "--json"))["rules"]
    assert {row["rule_id"] for row in rows} == set(read_rules())
    assert all(row["source"] for row in rows)
    said = run_survey("rules").out
    unsure = [row["rule_id"] for row in rows if not row["confirmed"]]
    assert unsure
    assert said.count("(recalled, not confirmed)") == len(unsure)
    assert town.exists()


def test_a_time_of_day(town):
    """Toilets with hours are closed at night; those without count both ways."""
    before = read_json(run_survey("audit", town, "--rule", "walk-500", "--json"))["audit"][0]
    edit(town, "UPDATE toilets SET opening_hours = '08:00-18:00'")
    asked = ["audit", town, "--rule", "walk-500", "--json", "--at"]
    day = read_json(run_survey(*asked, "Mon 10:00"))["audit"][0]
    night = read_json(run_survey(*asked, "Mon 21:00"))["audit"][0]
    assert day["covered_m"] == before["covered_m"] > 0
    assert (night["covered_m"], night["share"]) == (0, 0)
    edit(town, "UPDATE toilets SET opening_hours = 'when the keeper is there'")
    unsure = read_json(run_survey(*asked, "周一 21:00"))
    assert unsure["audit"][0]["covered_m"] == 0
    assert unsure["audit"][0]["share_high"] >= before["share"]
    assert any("when the keeper is there" in note for note in unsure["notes"])
    wrong = run_survey("audit", town, "--at", "some day")
    assert wrong.code == 2
    assert len(wrong.err.splitlines()) <= 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--all", "--rule", "walk-500"], "give --all or --rule, not both"),
        (["--rule", "walk-5"], "there is no rule 'walk-5'"),
        (["--rules-file", "none.toml"], "none.toml: No such file or directory"),
        (["--rule", "walk-500", "--rule", "walk-500"], "name each rule once"),
        (["--min-share", "2"], "min_share is 2.0"),
    ],
)
def test_wrong_questions(town, options, said):
    """A wrong question is one line and exit code 2, and the workspace is as it was."""
    before = town.read_bytes()
    found = run_survey("audit", town, *options)
    assert found.code == 2
    assert said in found.err.splitlines()[-1]
    assert town.read_bytes() == before


def test_sites_are_kept_and_mapped(town, tmp_path):
    """The chosen sites keep what they promise in a fresh audit, and stand on the map."""
    edit(town, "UPDATE toilets SET status = 'closed' WHERE toilet_id = 'node/30'")
    found = read_json(run_survey("site", town, "--rule", "walk-500", "--add", "2", "--json"))
    stored = open_workspace(town)
    sites = stored.read("sites")
    assert sites["rank"].tolist() == [row["rank"] for row in found["sites"]]
    again = survey.audit_coverage(survey.add_sites(stored.read_frame(), sites), rules=["walk-500"])
    assert again.summary["share"][0] == pytest.approx(found["share_after"], abs=1e-9)
    assert stored.manifest["parameters"]["sites"]["add"] == 2
    path = tmp_path / "sites.html"
    assert run_survey("map", town, "-o", path).code == 0
    text = path.read_text(encoding="utf-8")
    assert len(sites) == 2
    assert ('"look":"sites"' in text.replace(" ", "")) is True


@pytest.mark.browser
def test_sites_on_the_map_in_a_browser(tmp_path):
    """Sites stand on the map, and a list switches between the gaps before and after."""
    town = survey.example_town()
    rule = survey.find_rule("walk-500")
    plan = survey.plan_sites(town, rule, add=2)
    audits = [
        survey.audit_coverage(frame, rules=["walk-500"])
        for frame in (town, survey.add_sites(town, plan.sites))
    ]
    path = survey.save_map(
        tmp_path / "town.html", town, audit=audits[0], sites=plan.sites, after=audits[1]
    )
    with open_page(path) as visit:
        legend = visit.page.locator(".survey-legend").text_content()
        readings = visit.page.locator("select option").all_text_contents()
    assert "补点：新建（数字为次序）" in legend
    first = "A public toilet within a 500 m walk along streets"
    assert readings == [first, f"{first} (with the sites)"]
    assert audits[1].summary["share"][0] == pytest.approx(plan.share_after)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--add", "0"], "add"),
        (["--add", "2", "--budget", "5"], "add"),
        (["--open-cost", "-1"], "cost"),
        (["--rule", "youth-200"], "youth-200"),
    ],
)
def test_wrong_wishes_for_sites(town, options, said):
    """What cannot be planned is one line and exit code 2."""
    found = run_survey("site", town, *options)
    assert (found.code, found.out) == (2, "")
    assert said in found.err.splitlines()[-1]
