import pytest

from survey.coverage.audit import audit_coverage
from survey.coverage.rules import Rule, find_rule, read_rules
from survey.errors import RuleError
from survey.example import example_town
from survey.frame.tags import read_tags

OWN = """
[{name}]
title_zh = "标准"
title_en = "A rule"
metric = "walk"
limit_m = 400
source = "the city's own"
"""


def write_rules(folder, text):
    path = folder / "rules.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_rule_has_a_source_and_a_facility_that_the_frame_knows():
    """Each rule says in both languages what it asks, of what, and where that was read."""
    rules = read_rules()
    kinds = {"toilet", *read_tags()["facilities"]["kinds"]}
    assert len(rules) >= 20
    assert {rule.facility for rule in rules.values()} == kinds
    assert {rule.metric for rule in rules.values()} == {"walk", "crow", "spacing", "density"}
    for name, rule in rules.items():
        assert rule.rule_id == name
        assert min(len(rule.source), len(rule.title_zh), len(rule.title_en)) > 8
        assert "Recalled" in rule.source or rule.confirmed


def test_own_rules_add_and_override(tmp_path):
    """A file of one's own adds rules, and replaces those of the same id."""
    path = write_rules(tmp_path, OWN.format(name="ours") + OWN.format(name="crow-500"))
    rules = read_rules(path)
    assert set(rules) == {*read_rules(), "ours"}
    assert rules["crow-500"].metric == "walk"
    assert read_rules()["crow-500"].metric == "crow"
    town = example_town()
    found = audit_coverage(town, rules=[find_rule("ours", rules), "walk-500"]).summary
    assert found["rule_id"].tolist() == ["ours", "walk-500"]
    assert found["covered_m"][0] < found["covered_m"][1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("limit_m = 400", "limit_m = 0"), "rule ours: limit_m is 0; it must be a number above 0"),
        (("limit_m = 400", "limit_m = -5"), "limit_m is -5; it must be a number above 0"),
        (("limit_m = 400", "limit_m = nan"), "limit_m is nan"),
        (("limit_m = 400", 'limit_m = "400"'), "limit_m is '400'"),
        (("limit_m = 400", ""), "limit_m is None"),
        (('"walk"', '"fly"'), "metric is 'fly'; give one of walk, crow, spacing, density"),
        (('"walk"', '"spacing"'), "on is 'streets'; with metric spacing give main"),
        (('"walk"', '"density"'), "on is 'streets'; with metric density give ground"),
        (("limit_m", "limit"), "unknown key 'limit'; the closest is 'limit_m'"),
        (('source = "the city\'s own"', ""), "source is missing; give a text"),
        (("[ours]", "ours = 5\n[x]"), "'ours' in .*rules.toml is no rule; write a table"),
        (("[ours]", "[ours"), "is not valid TOML in UTF-8"),
        (("limit_m = 400", 'limit_m = 400\nfacility = "pool"'), "facility is 'pool'; give one of"),
        (("limit_m = 400", 'limit_m = 400\nkinds = ["school"]'), "it is for on = .points."),
        (("limit_m = 400", "limit_m = 400\nnegative = true"), "negative rules are asked at points"),
        (("limit_m = 400", "limit_m = 400\nper_km2 = 3"), "density rules have per_km2"),
    ],
)
def test_bad_rules_are_one_clear_line(tmp_path, change, said):
    """What is wrong with a file of rules is said in one line that names file and rule."""
    path = write_rules(tmp_path, OWN.format(name="ours").replace(*change))
    with pytest.raises(RuleError, match=said) as caught:
        read_rules(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1 or "TOML" in said


def test_a_file_of_rules_that_is_not_there(tmp_path):
    """A missing file is one clear line."""
    with pytest.raises(RuleError, match="No such file or directory; give a TOML file of rules"):
        read_rules(tmp_path / "none.toml")


def test_an_unknown_rule_suggests_the_close_one():
    """A misspelt rule is refused with the one that was probably meant."""
    with pytest.raises(RuleError, match="there is no rule 'youth-20'; did you mean 'youth-200'"):
        find_rule("youth-20")


def test_a_rule_made_by_hand():
    """A rule can be made in a notebook, and is checked as one from a file."""
    rule = Rule("near", "近", "Near", "walk", 100, "mine", on="points", kinds=["school"])
    assert rule.kinds == ("school",)
    with pytest.raises(RuleError, match="rule near: on is 'sea'"):
        Rule("near", "近", "Near", "walk", 100, "mine", on="sea")
