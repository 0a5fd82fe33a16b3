import shutil

import pytest

from commands import edit, run_survey, see_refusal
from survey.coverage.compare import compare_audits
from survey.workspace import open_workspace

KEYS = "schema rules subdistricts toilets stretches only_old only_new worse notes"


@pytest.fixture
def closed(town, tmp_path):
    """Give the town, and a copy of it in which one of the two toilets has closed."""
    toilet = open_workspace(town).read("toilets")["toilet_id"].iloc[0]
    path = tmp_path / "closed.gpkg"
    shutil.copy(town, path)
    edit(path, f"UPDATE toilets SET status = 'closed' WHERE toilet_id = '{toilet}'")
    assert run_survey("audit", path).code == 0
    return town, path, toilet


def test_a_workspace_is_itself(town):
    """One line per rule says that nothing changed, and --no-worse is content."""
    said = run_survey("compare", town, town, "--no-worse")
    audit = open_workspace(town).read("audit")
    assert said.code == 0
    assert said.out.splitlines() == [
        f"{row.rule_id}: {row.share:.1%} -> {row.share:.1%}; worse 0 m, better 0 m; map: no change"
        for row in audit.itertuples()
    ]


def test_a_closed_toilet_makes_it_worse(closed):
    """The lines tell what got worse by rule, and which toilet closed; only --no-worse gives 1."""
    old, new, toilet = closed
    before, after = (open_workspace(path).read("audit").set_index("rule_id") for path in (old, new))
    said = run_survey("compare", old, new)
    assert said.code == 0
    lines = said.out.splitlines()
    worse_m = before["covered_m"] - after["covered_m"]
    for line, (rule, metres) in zip(lines, worse_m.items(), strict=False):
        length = f"{metres / 1000:,.1f} km" if metres >= 1000 else f"{metres:.0f} m"
        shares = f"{before['share'][rule]:.1%} -> {after['share'][rule]:.1%}"
        assert line == f"{rule}: {shares}; worse {length}, better 0 m; map: no change"
    assert worse_m.max() > 10
    assert f"toilet changed: {toilet}, public -> closed" in lines
    asked = run_survey("compare", old, new, "--no-worse")
    assert (asked.code, asked.out) == (1, said.out)
    assert "survey: walk-500 got worse on" in asked.err
    assert run_survey("compare", new, old, "--no-worse").code == 0


def test_json_holds_every_table(closed):
    """The JSON has the rows of the tables that the function gives, for the rules asked."""
    old, new, toilet = closed
    found = run_survey("compare", old, new, "--rule", "crow-500", "--json").json
    assert list(found) == KEYS.split()
    stored = [open_workspace(path).read_all() for path in (old, new)]
    expected = compare_audits(*stored, rules=["crow-500"])
    assert [row["rule_id"] for row in found["rules"]] == ["crow-500"]
    for name in ("rules", "stretches"):
        table = getattr(expected, name).drop(columns="geometry", errors="ignore")
        assert [list(row) for row in found[name]] == [list(table.columns)] * len(table)
        lengths = [name for name in table.columns if name.endswith("_m")]
        assert [[row[name] for name in lengths] for row in found[name]] == table[
            lengths
        ].to_numpy().tolist()
    assert [row["toilet_id"] for row in found["toilets"]] == [toilet]
    assert found["worse"] is True


def test_audits_for_unlike_moments_are_noted(closed):
    """What only one of the audits was asked for, apart from rules and shares, is said."""
    old, new, _ = closed
    assert run_survey("audit", new, "--at", "Sun 21:00").code == 0
    lines = run_survey("compare", old, new).out.splitlines()
    assert "  the audits differ in at: None -> Sun 21:00" in lines


def test_rules_asked_elsewhere_have_shares_only(town):
    """A spacing or compound rule has one line with its shares and never fails --no-worse."""
    assert run_survey("audit", town, "--rule", "density-3").code == 0
    said = run_survey("compare", town, town, "--no-worse")
    share = open_workspace(town).read("audit")["share"].iloc[0]
    assert said.code == 0
    assert said.out.splitlines() == [
        f"density-3: {share:.1%} -> {share:.1%}; shares only",
        "  rule density-3 is not asked on all streets: only its shares are compared",
    ]


def test_what_cannot_be_compared_is_one_line(town, tmp_path):
    """An unknown rule, a missing file and a workspace without an audit are refused."""
    hint = "rule 'walk-9' is not audited in the old workspace"
    see_refusal(hint, "compare", town, town, "--rule", "walk-9")
    see_refusal("No such file", "compare", town, tmp_path / "none.gpkg")
    bare = tmp_path / "bare.gpkg"
    shutil.copy(town, bare)
    edit(bare, "DELETE FROM gpkg_contents WHERE table_name = 'covered'")
    see_refusal("holds no table 'covered' yet; run survey audit", "compare", town, bare)
