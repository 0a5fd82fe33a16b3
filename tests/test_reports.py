import xml.etree.ElementTree as ET

import junitparser
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import survey
from survey import tables
from survey.coverage.audit import audit_coverage
from survey.outputs.exports import write_files
from survey.outputs.reports import write_junit, write_markdown

NASTY = '<img src=x onerror=alert(1)> & "a|b" `code` [l](http://x) *b* @all ]]>'


def make_audit(*rows):
    """Make the table `audit`: a street rule with 788 of 1,000 m, changed by each row."""
    usual = {
        "rule_id": "walk-500",
        "title": "步行 · On foot",
        "metric": "walk",
        "facility": "toilet",
        "on": "streets",
        "limit_m": 500.0,
        "checked_m": 1_000.0,
        "covered_m": 786.0,
        "checked_n": None,
        "covered_n": None,
        "share": 0.786,
        "near_edge_gap_m": 102.0,
        "unconnected_gap_m": 0.0,
        "share_high": 0.888,
        "met": False,
    }
    return pd.DataFrame([usual | row for row in rows])


def make_shares(*rows):
    """Make the table `shares` of rows: scope, id, within_m, checked_m, covered_m."""
    found = pd.DataFrame(rows, columns=["scope", "id", "within_m", "checked_m", "covered_m"])
    share = found["covered_m"] / found["checked_m"].where(found["checked_m"] > 0)
    return found.assign(rule_id="walk-500", share=share, checked_n=None, covered_n=None)


def make_gaps(*rows):
    """Make the rows of `gaps` that matter here."""
    names = ["stretch_id", "name", "subdistrict_id", "length_m", "worst_m", "near_edge"]
    return pd.DataFrame(rows, columns=names).assign(rule_id="walk-500")


SHARES = make_shares(
    ("subdistrict", "a", None, 600.0, 600.0),
    ("subdistrict", "b", None, 400.0, 186.0),
    ("subdistrict", "sea", None, 0.0, 0.0),
    ("point", "p", 500.0, 200.0, 190.0),
    ("point", "p", 1000.0, 400.0, 0.0),
)
NAMES = {"subdistricts": {"a": "甲街道", "b": "Left|Bank", "sea": None}, "points": {"p": "学校"}}


def junit(audit, shares=SHARES, **options):
    options = {"min_share": 0.95, "name": "Town", **NAMES} | options
    return write_junit(audit, shares, **options)


def markdown(audit, shares=SHARES, gaps=None, **options):
    options = {"min_share": 0.95, "name": "Town", "subdistricts": NAMES["subdistricts"]} | options
    return write_markdown(audit, shares, make_gaps() if gaps is None else gaps, **options)


def read_cases(content):
    """Read cases with a standard parser: (class, name) to the failure's message, skipped, None."""
    suites = junitparser.JUnitXml.fromstring(content)
    assert isinstance(suites, junitparser.JUnitXml)
    cases = {}
    for suite in suites:
        for case in suite:
            result = case.result[0] if case.result else None
            skipped = isinstance(result, junitparser.Skipped)
            message = "skipped" if skipped else result.message if result else None
            cases[case.classname, case.name] = message
    return cases


def test_cases_of_a_rule():
    """The city, each subdistrict and the 500 m around each point are cases; short ones fail."""
    assert read_cases(junit(make_audit({}))) == {
        ("walk-500.city", "步行 · On foot"): "78.6 % of 1.0 km within 500 m; 95.0 % asked",
        ("walk-500.subdistrict", "甲街道 [a]"): None,
        ("walk-500.subdistrict", "Left|Bank [b]"): "46.5 % of 400 m within 500 m; 95.0 % asked",
        ("walk-500.subdistrict", "sea"): "skipped",
        ("walk-500.point", "学校 [p]"): None,
    }


def test_kilometres_read_as_asked():
    """A failure of a city says the share, the kilometres, the limit and what was asked."""
    row = {"checked_m": 78_812.345, "covered_m": 61_946.0}
    case = ET.fromstring(junit(make_audit(row))).find("testsuite/testcase")
    assert case.find("failure").get("message") == "78.6 % of 78.8 km within 500 m; 95.0 % asked"
    assert case.find("system-out").text == "78.6 % of 78.8 km within 500 m; 95.0 % asked"


def test_counts_and_properties():
    """Suites count their cases, and properties tell share and share_high of each rule."""
    root = ET.fromstring(junit(make_audit({})))
    for element in (root, root.find("testsuite")):
        counts = [element.get(key) for key in ("tests", "failures", "skipped", "errors")]
        assert counts == ["5", "2", "1", "0"]
    found = {row.get("name"): row.get("value") for row in root.iter("property")}
    assert found == {"walk-500.share": "0.786000", "walk-500.share_high": "0.888000"}
    assert next(iter(root.find("testsuite"))).tag == "properties"
    assert root.find("testsuite").get("name") == "Town"


def test_nothing_asked_nothing_fails():
    """Without a share that was asked no case fails, though nobody meets all of it."""
    content = junit(make_audit({}), min_share=None)
    assert set(read_cases(content).values()) == {None, "skipped"}
    assert "78.6 % of 1.0 km within 500 m<" in content.decode()


@pytest.mark.parametrize(("covered_m", "fails"), [(380.0, False), (379.999, True)])
def test_parts_are_judged_to_the_millimetre(covered_m, fails):
    """A subdistrict with 95 % to the millimetre passes; a millimetre less fails and says so."""
    shares = make_shares(("subdistrict", "a", None, 400.0, covered_m))
    message = read_cases(junit(make_audit({}), shares))["walk-500.subdistrict", "甲街道 [a]"]
    assert message == ("94.9998 % of 400 m within 500 m; 95.0000 % asked" if fails else None)


def test_the_city_is_judged_as_the_audit_did():
    """The city's case fails exactly if its row is not met, which decides the exit code too."""
    for met in (True, False):
        message = read_cases(junit(make_audit({"met": met})))["walk-500.city", "步行 · On foot"]
        assert (message is None) == met


COUNTED = [
    ({"on": "points", "limit_m": 300.0}, "60.0 % of 20 points meet the rule; 95.0 % asked"),
    ({"on": "compounds", "limit_m": 300.0}, "60.0 % of 20 compounds meet the rule; 95.0 % asked"),
    (
        {"on": "ground", "limit_m": None, "checked_n": 12.4, "covered_n": 7.44},
        "60.0 % of 12.4 facilities wanted meet the rule; 95.0 % asked",
    ),
    (
        {"on": "main", "checked_m": 5_000.0, "checked_n": None},
        "60.0 % of 5.0 km walks along main roads meet the rule; 95.0 % asked",
    ),
]


@pytest.mark.parametrize(("facts", "message"), COUNTED)
def test_rules_that_count_places(facts, message):
    """Rules asked of places, ground or main roads say what they count."""
    usual = {"checked_m": None, "covered_m": None, "checked_n": 20.0, "covered_n": 12.0}
    audit = make_audit(usual | {"share": 0.6, "share_high": 0.6, "near_edge_gap_m": None} | facts)
    shares = SHARES.iloc[:1].assign(checked_m=None, covered_m=None, checked_n=5.0, share=0.8)
    cases = read_cases(junit(audit, shares))
    assert cases["walk-500.city", "步行 · On foot"] == message
    assert cases["walk-500.subdistrict", "甲街道 [a]"].startswith("80.0 % of 5 ")
    what = message.removeprefix("60.0 % of ").split(" meet")[0]
    assert what.split(" ", 1)[0] in markdown(audit, shares)


def test_names_are_only_names_in_xml():
    """Names from strangers come back from both parsers as they are, and make no element."""
    names = {"subdistricts": {"a": NASTY}, "points": {}}
    content = junit(make_audit({"title": NASTY}), name=NASTY, **names)
    assert ("walk-500.city", NASTY) in read_cases(content)
    assert ("walk-500.subdistrict", f"{NASTY} [a]") in read_cases(content)
    root = ET.fromstring(content)
    known = {"testsuites", "testsuite", "properties", "property", "testcase", "failure"}
    assert {element.tag for element in root.iter()} <= known | {"skipped", "system-out"}


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_name_is_parsed(city, street):
    """Whatever the names, parsers read the XML, and no other line or column comes of them."""
    names = {"subdistricts": {"b": street}, "points": {}}
    root = ET.fromstring(junit(make_audit({}), name=city, **names))
    assert len(root.findall("testsuite/testcase")) == 5
    gaps = make_gaps(("s", street, "b", 10.0, 510.0, False))
    text = markdown(make_audit({}), gaps=gaps, name=city, subdistricts={"b": street})
    text.encode()
    plain = markdown(make_audit({}), gaps=gaps.assign(name="x"), subdistricts={"b": "x"})
    assert text.count("|") == plain.count("|")
    assert len(text.splitlines()) == len(plain.splitlines())


def test_control_characters_are_left_out():
    """Characters that XML forbids are left out; line breaks and astral characters stay."""
    name = "\x00A\x0b\ud800B\uffff\n𠮷\x1b"
    root = ET.fromstring(junit(make_audit({}), name=name))
    assert root.find("testsuite").get("name") == "AB\n𠮷"


def test_markdown_of_a_town():
    """The page has a table of rules, the longest gaps and the worst subdistricts."""
    gaps = make_gaps(
        ("s1", "解放路", "b", 60.0, 640.0, False),
        ("s1", None, "b", 50.0, 700.4, True),
        ("s2", None, None, 90.0, None, False),
        ("s3", "Rue <b>", "sea", 1_500.0, 1_204.0, False),
    )
    assert (
        markdown(make_audit({}, {"rule_id": "r2", "met": True}), gaps=gaps)
        == """\
# Town: 覆盖检查 · Coverage audit

| 标准 · Rule | 达标比例 · Share | 要求 · Asked | 达标 · Met | 检查 · Checked |
| --- | --- | --- | --- | --- |
| 步行 · On foot | 78.6 % – 88.8 % | 95.0 % | **否 · no** | 1.0 km 街道 · street |
| 步行 · On foot | 78.6 % – 88.8 % | 95.0 % | 是 · yes | 1.0 km 街道 · street |

## 步行 · On foot

最长空白段 · Longest gaps

| 街道 · Street | 街道办 · Subdistrict | 长度 · Length | 最远 · Worst |
| --- | --- | --- | --- |
| Rue &#60;b&#62; | sea | 1.5 km | 1.2 km |
| 解放路 \\* | Left&#124;Bank | 110 m | 700 m |
| – | – | 90 m | 不可达 · none reached |

\\* 靠近数据边缘，边缘外的设施未知 · near the edge of the data: what lies beyond is unknown

最差街道办 · Worst subdistricts

| 街道办 · Subdistrict | 达标比例 · Share | 检查 · Checked |
| --- | --- | --- |
| Left&#124;Bank | 46.5 % | 400 m |
"""
    )


def test_markdown_lists_ten():
    """Of many stretches and subdistricts the ten worst are listed, the worst first."""
    gaps = make_gaps(*[(f"s{n:02}", f"路{n:02}", "a", 100.0 + n, 600.0, False) for n in range(15)])
    rows = [("subdistrict", f"d{n:02}", None, 100.0, 10.0 * (n % 10)) for n in range(15)]
    text = markdown(make_audit({}), make_shares(*rows), gaps)
    assert [n for n in range(15) if f"路{n:02}" in text] == list(range(5, 15))
    assert text.index("路14") < text.index("路13")
    first = ["d00", "d10", "d01", "d11", "d02", "d12", "d03", "d13", "d04", "d14"]
    assert [line[2:5] for line in text.splitlines() if line.startswith("| d")] == first


def test_markdown_without_gaps():
    """A rule that is met everywhere is a row of the table and nothing more."""
    audit = make_audit({"share": 1.0, "share_high": 1.0, "met": True})
    text = markdown(audit, SHARES.iloc[:1], min_share=None)
    assert "| 步行 · On foot | 100.0 % | – | – | 1.0 km 街道 · street |" in text
    assert "##" not in text


def test_markup_in_names_is_escaped():
    """No character of a name can begin code, a cell, a link, emphasis or HTML."""
    gaps = make_gaps(("s", NASTY, NASTY, 10.0, 510.0, False))
    text = markdown(make_audit({"title": "t\n# x"}), gaps=gaps, name=NASTY)
    for character in "`[]<>@":
        assert character not in text
    assert "t &#35; x" in text
    assert '&#38; "a&#124;b" &#96;code&#96;' in text


def test_shares_that_nearly_meet_do_not_read_as_met():
    """A share just below what was asked, or below all, is written so that it can be told."""
    audit = make_audit({"share": 0.94996, "share_high": 0.99999})
    assert "94.996 % – 99.999 %" in markdown(audit)


def test_a_town_from_frame_to_files(tmp_path):
    """An audit of the example town fails, in XML, exactly where the tables fall short."""
    frame = survey.example_town()
    for min_share in (None, 0.0, 0.5, 0.561, 0.8, 1.0):
        audit = audit_coverage(frame, rules=["walk-500", "crow-500"], min_share=min_share)
        names = {
            "subdistricts": dict(frame.subdistricts[["subdistrict_id", "name"]].to_numpy()),
            "points": dict(frame.points[["point_id", "name"]].to_numpy()),
        }
        content = write_junit(
            audit.summary, audit.shares, min_share=min_share, name="小城", **names
        )
        cases = read_cases(content)
        around = audit.shares[
            audit.shares["within_m"].isin([500]) | audit.shares["within_m"].isna()
        ]
        assert len(cases) == len(audit.summary) + len(around)
        failed = {key for key, message in cases.items() if message not in {None, "skipped"}}
        cities = {key for key in failed if key[0].endswith(".city")}
        assert len(cities) == (0 if min_share is None else (~audit.summary["met"]).sum())
        wanted = -1.0 if min_share is None else min_share
        short = around["covered_m"] < tables.round_mm(wanted * around["checked_m"])
        assert len(failed - cities) == (short & (around["checked_m"] > 0)).sum()
        del names["points"]
        text = write_markdown(
            audit.summary, audit.shares, audit.gaps, min_share=min_share, name="小城", **names
        )
        assert text.count("最长空白段") == audit.gaps["rule_id"].nunique()
    path = tmp_path / "audit.xml"
    write_files({path: content})
    assert junitparser.JUnitXml.fromfile(str(path)).failures == len(failed)
