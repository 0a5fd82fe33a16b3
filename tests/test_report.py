import html
import re
import unicodedata
from dataclasses import dataclass, field
from html.parser import HTMLParser
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pypdf
import pytest

import survey
from browser import open_page
from commands import edit, run_survey, see_refusal, write_town
from survey.errors import OutputError, WorkspaceError
from survey.outputs.report_facts import CHANCE, read_findings
from survey.outputs.report_html import say_en, say_zh, write_share
from survey.outputs.report_lines import write_lines
from survey.sampling.draw import hash_frame
from survey.workspace import open_workspace

LANGS = ("zh", "en")
EVIL = '<img src=x onerror="alert(1)"></style></title><script>alert(2)</script>{{7*7}} $x_1$ & "'


# ---------------------------------------------------------------- reading a report


@dataclass
class Part:
    """What one language of a report says: its tables by name, and all its text."""

    tables: dict = field(default_factory=dict)
    text: str = ""
    figures: list = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.parts, self.part, self.rows, self.cell = {}, None, None, None

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "main":
            self.part = self.parts[attrs["class"]] = Part()
        elif tag == "table":
            self.rows = self.part.tables.setdefault(attrs["data-table"], [])
        elif tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            self.cell = ""
        elif tag == "svg":
            self.part.figures.append(attrs["aria-label"])

    def handle_data(self, data):
        if self.part is not None:
            self.part.text += data
        if self.cell is not None:
            self.cell += data

    def handle_endtag(self, tag):
        if tag in {"td", "th"}:
            self.rows[-1].append(self.cell)
            self.cell = None


def read_report(path):
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    assert list(reader.parts) == list(LANGS)
    return reader.parts


def hold(workspace, *, drop=(), manifest=None, **changed):
    """Stand in for a workspace: its tables, some of them changed or not there."""
    stored = open_workspace(workspace)
    names = (stored.names | set(changed)) - set(drop)

    def read(name):
        return changed[name] if name in changed else stored.read(name)

    return SimpleNamespace(manifest=stored.manifest | (manifest or {}), names=names, read=read)


def number(cell):
    """Read a number as the report writes it: 12,345 or 78.6%; a dash is missing."""
    if cell == "–":
        return np.nan
    percent = cell.endswith("%")
    value = float(re.sub("[,%<>]", "", cell))
    return value / 100 if percent else value


def see_numbers(cells, values):
    """Compare cells with values, to the last digit that is shown."""
    for cell, value in zip(cells, values, strict=True):
        if pd.isna(value):
            assert cell == "–"
        elif cell in {"<0.1%", ">99.9%"}:
            assert 0 < value < 0.001 or 0.999 < value < 1
        else:
            last = 0.0005 if cell.endswith("%") else 0.5 * 10.0 ** -len(cell.partition(".")[2])
            assert number(cell) == pytest.approx(value, rel=0, abs=last + 1e-9)


@pytest.fixture(scope="session", params=["town", "monaco"])
def city_report(request, tmp_path_factory):
    """Give a finished workspace and the two languages of its report."""
    workspace = request.getfixturevalue(f"{request.param}_run").workspace
    path = tmp_path_factory.mktemp("report") / "report.html"
    survey.save_report(path, open_workspace(workspace))
    return open_workspace(workspace), read_report(path)


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize("lang", LANGS)
def test_subdistricts_are_those_of_the_tables(city_report, lang):
    """Each subdistrict has the points, units, street, gaps and shares that the tables hold."""
    stored, parts = city_report
    offices = stored.read("subdistricts")
    if offices.empty:
        assert "subdistricts" not in parts[lang].tables
        return
    gaps, shares, audit = (stored.read(name) for name in ("gaps", "shares", "audit"))
    gaps = gaps[gaps["rule_id"] == "walk-500"]
    _, *rows, nowhere, total = parts[lang].tables["subdistricts"]
    walk = shares[(shares["rule_id"] == "walk-500") & (shares["scope"] == "subdistrict")]
    for row, (key, name) in zip(
        rows, offices[["subdistrict_id", "name"]].itertuples(index=False), strict=True
    ):
        assert row[0] == name
        counts = [
            (stored.read(table)["subdistrict_id"] == key).sum()
            for table in ("points", "alleys", "compounds")
        ]
        checked = walk.loc[walk["id"] == key, "checked_m"].item()
        gap = gaps.loc[gaps["subdistrict_id"] == key, "length_m"].sum()
        see_numbers(row[1:], [*counts, checked, gap])
    lost = gaps.loc[gaps["subdistrict_id"].isna(), "length_m"].sum()
    assert number(nowhere[5]) == pytest.approx(lost, abs=0.5)
    counts = [len(stored.read(table)) for table in ("points", "alleys", "compounds")]
    checked = audit.loc[audit["rule_id"] == "walk-500", "checked_m"].item()
    see_numbers(total[1:], [*counts, checked, gaps["length_m"].sum()])
    head, *rows, total = parts[lang].tables["shares"]
    assert head[1:] == audit["rule_id"].tolist()
    cells = shares[shares["scope"] == "subdistrict"].pivot_table(
        index="id", columns="rule_id", values="share"
    )
    for row, key in zip(rows, offices["subdistrict_id"], strict=True):
        see_numbers(row[1:], cells.loc[key, head[1:]])
    see_numbers(total[1:], audit["share"])


@pytest.mark.parametrize("lang", LANGS)
def test_kinds_are_those_of_the_tables(city_report, lang):
    """Each kind of point has its number of points, and medians over them."""
    stored, parts = city_report
    points, reach, shares = (stored.read(name) for name in ("points", "reach", "shares"))
    near = shares[(shares["rule_id"] == "walk-500") & (shares["within_m"] == 500)]
    kinds = [kind for kind in survey.tables.KINDS if kind in set(points["kind"])]
    for row, kind in zip(parts[lang].tables["kinds"][1:], kinds, strict=True):
        ids = points.loc[points["kind"] == kind, "point_id"]
        walked = reach[reach["network_m"].notna() & reach["point_id"].isin(ids)]
        medians = [
            np.median(
                [((walked["point_id"] == one) & (walked["layer"] == layer)).sum() for one in ids]
            )
            for layer in ("alley", "compound")
        ]
        around = near.loc[near["id"].isin(ids), "share"].dropna()
        see_numbers(row[1:], [len(ids), *medians, np.median(around), around.min()])


@pytest.mark.parametrize("lang", LANGS)
def test_the_worst_gaps_are_the_longest_stretches(city_report, lang):
    """Gaps that touch on one street are one row; the ten longest stand in order."""
    stored, parts = city_report
    gaps = stored.read("gaps")
    gaps = gaps[gaps["rule_id"] == "walk-500"]
    lengths = gaps.groupby("stretch_id")["length_m"].sum().sort_values(ascending=False).head(10)
    rows = parts[lang].tables["gaps"][1:]
    assert len(rows) == len(lengths)
    assert [row[0] for row in rows] == [str(n) for n in range(1, len(rows) + 1)]
    see_numbers([row[3] for row in rows], lengths)
    for row in rows:
        metres, marked = number(row[3]), row[1].endswith(" *")
        alike = [
            group
            for _, group in gaps.groupby("stretch_id")
            if abs(group["length_m"].sum() - metres) <= 0.5
            and (
                group["name"].iloc[0] == row[1].removesuffix(" *") or pd.isna(group["name"].iloc[0])
            )
            and group["near_edge"].any() == marked
        ]
        worst = [group["worst_m"].max(skipna=False) for group in alike]
        if row[4] in {"不可达", "none reached"}:
            assert any(map(np.isnan, worst))
        else:
            assert any(abs(one - number(row[4])) <= 0.5 for one in worst)


@pytest.mark.parametrize("lang", LANGS)
def test_the_likeliest_units_are_those_of_the_odds(city_report, lang):
    """Without conditions the ten units of the greatest odds are listed, and that is said."""
    stored, parts = city_report
    odds = stored.read("odds").sort_values("prob", ascending=False).head(10)
    rows = parts[lang].tables["units"][1:]
    see_numbers([row[4] for row in rows], odds["prob"])
    known = stored.read("odds")
    for row in rows:
        low, high = row[5].split(" – ")
        ends = (known["prob_low"].map(write_share) == low) & (
            known["prob_high"].map(write_share) == high
        )
        assert ends.any()
    said = {"zh": "未提供单元现状，故只按概率排列", "en": "Conditions were not given, so these are"}
    assert said[lang] in parts[lang].text


@pytest.mark.parametrize("lang", LANGS)
def test_the_first_numbers_are_those_of_the_tables(city_report, lang):
    """Points, units, toilets, share, gaps and real chances are what the tables say."""
    stored, parts = city_report
    text = parts[lang].text
    toilets, odds, audit = (stored.read(name) for name in ("toilets", "odds", "audit"))
    walk = audit.set_index("rule_id").loc["walk-500"]
    supply = toilets[toilets["status"].isin(["public", "opened"]) & toilets["inside"]]
    real = (odds["prob"] >= CHANCE).sum()
    gap = walk["checked_m"] - walk["covered_m"]
    labels = {
        "固定点位 · Fixed points": f"{len(stored.read('points')):,}",
        "可抽背街小巷 · Alleys to draw from": f"{len(stored.read('alleys')):,}",
        "可抽小区 · Compounds to draw from": f"{len(stored.read('compounds')):,}",
        "公众可用的公厕 · Toilets the public may use": f"{len(supply):,}",
        "空白段总长 · Length of gaps": f"{gap / 1000:,.1f} km" if gap >= 1000 else f"{gap:,.0f} m",
        "真有可能被抽到 · Real chance of a visit": write_share(real / len(odds)),
    }
    for label, value in labels.items():
        assert label.split(" · ")[lang == "en"] + value in text
    assert f"{real} / {len(odds)}" in text or f"{real} of {len(odds)} units" in text
    low, high = ((odds[name] >= CHANCE).sum() for name in ("prob_low", "prob_high"))
    assert {"zh": f"在 {low} 至 {high} 个之间", "en": f"between {low} and {high}"}[lang] in text
    assert write_share(walk["share_high"]) in text


@pytest.mark.parametrize("lang", LANGS)
def test_quality_rounds_and_inputs_are_those_of_the_workspace(city_report, lang):
    """Every measure has its row and value; rounds, hashes and checksums are there in full."""
    stored, parts = city_report
    quality, draws = stored.read("quality"), stored.read("draws")
    city = quality["scope"] == "city"
    rows = parts[lang].tables["quality"][1:]
    assert len(rows) == city.sum() + quality.loc[~city, "measure"].nunique()
    unknown = {row[0] for row in rows if "_" in row[0] or "{" in row[0]}
    assert not unknown
    words = {"poor": ("不足", "thin"), "look": ("需核对", "to check")}
    for verdict, names in words.items():
        named = [row for row in rows if row[2] == names[lang == "en"]]
        same = quality["verdict"] == verdict
        assert len(named) == (city & same).sum() + quality.loc[~city & same, "measure"].nunique()
        assert all(row[3] for row in named), "what is thin says what to bring"
    head = {"zh": "公厕密度", "en": "Density of toilets"}[lang]
    density = quality.set_index("measure").loc["toilets_per_km2", "value"]
    assert next(row[1] for row in rows if row[0].startswith(head)) == f"{density:.2f} 1/km²"
    row = parts[lang].tables["rounds"][1]
    drawn = draws[~draws["replacement"]]
    units = drawn.drop_duplicates(["layer", "unit_id"])["layer"].value_counts()
    counts = [drawn["point_id"].nunique(), units["alley"], units["compound"]]
    see_numbers(row[2:6], [*counts, draws["replacement"].sum()])
    frame = stored.read_frame()
    digest = hash_frame(frame, stored.read("reach"))
    assert row[6] == digest[:12]
    assert digest in parts[lang].text
    assert row[1] == stored.manifest["seeds"][row[0]]
    given = stored.manifest["inputs"]["osm"]["sha256"]
    assert parts[lang].tables["inputs"][1][2].replace(" ", "") == given
    assert "© OpenStreetMap contributors" in parts[lang].text


def test_bars_are_as_long_as_their_shares(monaco_run, tmp_path):
    """In the figure of shares a bar's length over that of the axis is the share."""
    path = survey.save_report(tmp_path / "a.html", open_workspace(monaco_run.workspace))
    figure = re.search(r"<svg.*?</svg>", path.read_text(encoding="utf-8"), re.DOTALL)[0]
    boxes = re.findall(r'd="M ([\d.]+) [\d.]+ \nL ([\d.]+) [^"]*"[^>]*fill: ([^";]*)', figure)
    axis = next(float(x1) - float(x0) for x0, x1, fill in boxes[1:] if fill == "#ffffff")
    sure = [(float(x1) - float(x0)) / axis for x0, x1, fill in boxes if fill == "#0072b2"]
    audit = open_workspace(monaco_run.workspace).read("audit")
    assert sure[: len(audit)] == pytest.approx(audit["share"].tolist(), abs=1e-4)
    hatched = [(float(x1) - float(x0)) / axis for x0, x1, fill in boxes if fill.startswith("url")]
    unsure = (audit["share_high"] - audit["share"]).tolist()
    assert hatched[: len(audit)] == pytest.approx(unsure, abs=1e-4)


def test_priorities_come_before_odds(town, tmp_path):
    """With conditions the units are ranked by risk, and stand with condition and risk."""
    scores = tmp_path / "scores.csv"
    alleys = open_workspace(town).read("alleys")["alley_id"].head(4)
    rows = "".join(f"{one},{n * 20}\n" for n, one in enumerate(alleys))
    scores.write_text(f"unit_id,score\n{rows}", encoding="utf-8")
    said = run_survey("priorities", town, "--condition", scores, "--greatest", "100")
    assert said.code == 0, said.err
    ranked = open_workspace(town).read("priorities").sort_values("rank")
    survey.save_report(tmp_path / "a.html", open_workspace(town))
    for part in read_report(tmp_path / "a.html").values():
        rows = part.tables["units"][1:]
        see_numbers([row[6] for row in rows], ranked["condition"])
        see_numbers([row[7] for row in rows], ranked["risk"])
        assert "Conditions were not given" not in part.text


def test_sites_stand_with_before_and_after(town, tmp_path):
    """Sites are listed by rank, and the share before them is the audit's."""
    said = run_survey("site", town, "--add", "2")
    assert said.code == 0, said.err
    stored = open_workspace(town)
    sites, audit = stored.read("sites"), stored.read("audit").set_index("rule_id")
    survey.save_report(tmp_path / "a.html", stored)
    for lang, part in read_report(tmp_path / "a.html").items():
        rows = part.tables["sites"][1:]
        see_numbers([row[3] for row in rows], sites["gain_m"])
        see_numbers([row[4] for row in rows], sites["total_share"])
        before, after = audit.loc["walk-500", "share"], sites["total_share"].iloc[-1]
        ends = {"zh": "由 {} 提高到 {}", "en": "from {} to {}"}[lang]
        assert ends.format(write_share(before), write_share(after)) in part.text


@pytest.mark.parametrize(
    ("asked", "zh", "en"),
    [
        (0.01, "已达到", "was asked: met"),
        (0.80, "不能证明达到，也不能断定未达到", "neither show that it is met nor that it is not"),
        (0.95, "未达到", "was asked: not met"),
    ],
)
def test_what_was_asked_is_judged_within_what_is_known(monaco_run, asked, zh, en):
    """Monaco's share lies in 78.6 to 88.8 %, so that 80 % is neither met nor missed."""
    audit = open_workspace(monaco_run.workspace).read("audit")
    audit["met"] = audit["share"] >= asked
    parameters = {"audit": {"rules": [], "min_share": asked}}
    double = hold(monaco_run.workspace, manifest={"parameters": parameters}, audit=audit)
    found = read_findings(double)
    chinese, english = ("".join(write_lines(found, say)) for say in (say_zh, say_en))
    assert f"要求 {asked:.1%}" in chinese
    assert zh in chinese
    assert en in english


@pytest.mark.parametrize("share", [0.94996, 0.99996, 0.00004])
def test_a_share_never_reads_as_what_it_is_not(share):
    """A share just below what was asked, all or nothing has as many decimals as it takes."""
    assert write_share(share, 0.95) not in {"95.0%", "100.0%", "0.0%"}
    assert number(write_share(share, 0.95)) == pytest.approx(share, abs=6e-5)


# ---------------------------------------------------------------- what is not there


def test_what_is_not_there_names_the_verb_that_makes_it(town_run, tmp_path):
    """Without audit, odds, rounds, sites and subdistricts the report says how to make them."""
    later = {"audit", "shares", "gaps", "covered", "checks", "odds", "rounds", "draws"}
    survey.save_report(tmp_path / "a.html", hold(town_run.workspace, drop=later))
    for part in read_report(tmp_path / "a.html").values():
        for verb in ("audit", "odds", "draw", "site", "frame"):
            assert re.search(rf"survey {verb}\b", part.text)
        assert set(part.tables) == {"kinds", "quality", "inputs"}
        assert not part.figures


def test_a_frame_without_anything_is_no_error(town_run, tmp_path):
    """Without points, units and toilets the report still stands, and says so."""
    stored = open_workspace(town_run.workspace)
    names = ("points", "alleys", "compounds", "reach", "odds")
    none = {name: stored.read(name).head(0) for name in names}
    toilets = stored.read("toilets").assign(status="closed")
    survey.save_report(tmp_path / "a.html", hold(town_run.workspace, toilets=toilets, **none))
    parts = read_report(tmp_path / "a.html")
    assert "There are no fixed points." in parts["en"].text
    assert "The data hold no toilet that the public may use" in parts["en"].text
    assert "数据里没有一座公众可用的公共卫生间" in parts["zh"].text


def test_a_round_of_another_frame_is_marked(town_run, tmp_path):
    """A round whose frame has changed is told to be refused by survey verify."""
    stored = open_workspace(town_run.workspace)
    rounds = stored.read("rounds").assign(frame_hash="0" * 64)
    survey.save_report(tmp_path / "a.html", hold(town_run.workspace, rounds=rounds))
    part = read_report(tmp_path / "a.html")["en"]
    assert part.tables["rounds"][1][6] == "000000000000 *"
    assert "Drawn on another frame" in part.text


def test_rules_at_points_have_no_lengths(town, tmp_path):
    """Where no rule was asked along streets, no length of gaps is told."""
    assert run_survey("audit", town, "--rule", "crow-300").code == 0
    survey.save_report(tmp_path / "a.html", open_workspace(town))
    part = read_report(tmp_path / "a.html")["en"]
    assert "No rule was audited along streets yet: run survey audit." in part.text
    assert "Length of gaps" not in part.text


def test_a_measure_that_is_new_shows_as_it_is(town, tmp_path):
    """A measure without words of its own is shown by its name and note."""
    edit(town, "UPDATE quality SET measure = 'new_thing', note = 'why' WHERE measure = 'area'")
    survey.save_report(tmp_path / "a.html", open_workspace(town))
    rows = read_report(tmp_path / "a.html")["zh"].tables["quality"]
    assert "new thing: why" in [row[0] for row in rows]


# ---------------------------------------------------------------- files and the command line


def test_the_same_workspace_gives_the_same_bytes(monaco_run, tmp_path):
    """A second report is the same to the byte, whatever matplotlib is set to, and leaves it so."""
    stored = open_workspace(monaco_run.workspace)
    first = survey.save_report(tmp_path / "a.html", stored).read_bytes()
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "red", "svg.fonttype": "path"}):
        before = dict(mpl.rcParams)
        second = survey.save_report(tmp_path / "b.html", stored).read_bytes()
        assert dict(mpl.rcParams) == before
    assert first == second
    assert len(first) < 200_000


def test_the_command_line_writes_a_report(town, tmp_path):
    """`survey report` prints the path; the language is that which the page opens in."""
    for lang, code in (("zh", "zh-CN"), ("en", "en")):
        target = tmp_path / f"{lang}.html"
        said = run_survey("report", town, "-o", target, "--lang", lang)
        assert (said.code, said.out) == (0, f"{target}\n")
        text = target.read_text(encoding="utf-8")
        assert f'<html lang="{code}">' in text
        assert re.findall(r'id="lang-(\w+)"[^>]* checked', text) == [lang]
    default = run_survey("report", town, "-o", tmp_path / "default.html")
    assert default.code == 0
    assert (tmp_path / "default.html").read_bytes() == (tmp_path / "zh.html").read_bytes()


def test_an_existing_file_is_refused_and_unharmed(town, tmp_path):
    """Exit code 2 without --replace, and what stood there stays; with it, it is replaced."""
    target = tmp_path / "a.html"
    target.write_text("mine", encoding="utf-8")
    see_refusal("--replace", "report", town, "-o", target)
    assert target.read_text(encoding="utf-8") == "mine"
    with pytest.raises(OutputError, match="exists"):
        survey.save_report(target, open_workspace(town))
    assert run_survey("report", town, "-o", target, "--replace").code == 0
    assert target.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    see_refusal("is an input", "report", town, "-o", town, "--replace")


def test_a_workspace_without_a_frame_is_refused(tmp_path):
    """After survey fetch alone the answer is which verb comes next, and no file is made."""
    town = tmp_path / "town.gpkg"
    extract = write_town(tmp_path / "town.osm")
    assert run_survey("fetch", "--extract", extract or tmp_path / "town.osm", "-o", town).code == 0
    see_refusal("run survey frame", "report", town, "-o", tmp_path / "a.html")
    assert not (tmp_path / "a.html").exists()
    with pytest.raises(WorkspaceError):
        survey.save_report(tmp_path / "a.html", open_workspace(town))
    with pytest.raises(OutputError, match="zh or en"):
        survey.save_report(tmp_path / "a.html", open_workspace(town), lang="fr")


# ---------------------------------------------------------------- in the browser, and on paper


def spoil(workspace):
    """Stand in for a workspace in which every name holds markup and script."""
    stored = open_workspace(workspace)
    tables = {
        name: stored.read(name).assign(name=EVIL)
        for name in ("points", "alleys", "compounds", "subdistricts", "gaps", "toilets")
    }
    tables["audit"] = stored.read("audit").assign(
        title=f"$x_1$ {{{{7*7}}}} {EVIL} · $x_1$ {{{{7*7}}}} {EVIL}"
    )
    seeds = stored.read("rounds").assign(seed=EVIL)
    quality = stored.read("quality")
    quality.loc[0, ["measure", "note"]] = EVIL
    osm = stored.manifest["inputs"]["osm"] | {"path": EVIL, "osm_date": EVIL}
    inputs = {"osm": osm, "layers": {EVIL: {"path": EVIL, "sha256": EVIL}}}
    manifest = {"name": EVIL, "inputs": inputs, "notice": EVIL, "crs": EVIL}
    manifest["parameters"] = stored.manifest["parameters"] | {"more": EVIL}
    return hold(workspace, manifest=manifest, rounds=seeds, quality=quality, **tables)


@pytest.mark.browser
@pytest.mark.parametrize("lang", LANGS)
def test_names_with_markup_do_nothing(monaco_run, tmp_path, lang):
    """Markup and script in every name are shown as they are; nothing runs or is asked for."""
    path = survey.save_report(tmp_path / "a.html", spoil(monaco_run.workspace), lang=lang)
    text = path.read_text(encoding="utf-8")
    assert "<script" not in text
    assert "<img" not in text
    with open_page(path) as visit:
        assert visit.requests == [path.as_uri()]
        assert visit.complaints == []
        assert visit.page.evaluate("document.querySelectorAll('img, script').length") == 0
        shown = visit.page.inner_text(f"main.{lang}")
        figure = visit.page.text_content(f"main.{lang} svg")
    assert EVIL[:40] in shown
    assert "{{7*7}} $x_1$" in shown
    assert "$x_1$ {{7*7}} <img" in figure


@pytest.mark.browser
def test_the_page_opens_in_its_language_and_can_switch(town_run, tmp_path):
    """One language is shown, the switch shows the other, and neither asks for anything."""
    path = survey.save_report(tmp_path / "a.html", open_workspace(town_run.workspace), lang="en")
    with open_page(path) as visit:
        page = visit.page
        assert page.is_visible("main.en")
        assert not page.is_visible("main.zh")
        assert not re.search("[一-鿿]", page.inner_text("main.en h2 >> nth=0"))
        page.click("label[for=lang-zh]")
        assert page.is_visible("main.zh")
        assert not page.is_visible("main.en")
        assert "先做什么" in page.inner_text("main.zh")
        page.focus("#lang-zh")
        page.keyboard.press("ArrowRight")
        assert page.is_visible("main.en")
        assert visit.requests == [path.as_uri()]
        assert visit.complaints == []


def crowd(workspace):
    """Stand in for a city of 130 subdistricts whose long names need two lines."""
    stored = open_workspace(workspace)
    offices, shares = stored.read("subdistricts"), stored.read("shares")
    many, copies = [offices], [shares]
    first = offices.head(1)["subdistrict_id"].item()
    mine = shares[(shares["scope"] == "subdistrict") & (shares["id"] == first)]
    for n in range(130 - len(offices)):
        name = f"Subdistrict {n} {'街' * 38} end {n}"
        many.append(offices.head(1).assign(subdistrict_id=f"x/{n}", name=name))
        copies.append(mine.assign(id=f"x/{n}"))
    return hold(
        workspace,
        subdistricts=pd.concat(many, ignore_index=True),
        shares=pd.concat(copies, ignore_index=True),
    )


def print_pdf(path):
    """Print to PDF; give the text of each page, spaces left out."""
    target = path.with_suffix(".pdf")
    with open_page(path) as visit:
        visit.page.pdf(path=target, prefer_css_page_size=True)
    pages = pypdf.PdfReader(target).pages
    assert {tuple(round(float(side)) for side in page.mediabox[2:]) for page in pages} == {
        (595, 842)
    }
    return [squeeze(page.extract_text()) for page in pages]


def squeeze(text):
    """Leave only what every font gives back as it was written; that of Chinese varies."""
    # Some fonts join the letters of "first" to one sign.
    parted = re.sub("[\ufb00-\ufb06]", lambda sign: unicodedata.normalize("NFKC", sign[0]), text)
    return re.sub("[^!-~]", "", parted)


def find_cut_rows(tables, pages):
    """List the rows that stand whole on no page."""
    rows = [squeeze("".join(row)) for table in tables.values() for row in table[1:]]
    return [row for row in rows if not any(row in page for page in pages)]


@pytest.fixture(scope="session")
def crowd_report(monaco_run, tmp_path_factory):
    """Give the report of a city of many subdistricts, and its pages."""
    path = tmp_path_factory.mktemp("crowd") / "report.html"
    survey.save_report(path, crowd(monaco_run.workspace), lang="en")
    return path, print_pdf(path)


def see_pages(tables, pages):
    """See that no page is empty, no row is cut, and pages are numbered."""
    assert len(pages) > 1
    assert all(len(page) > 200 for page in pages)
    assert find_cut_rows(tables, pages) == []
    for n, page in enumerate(pages, 1):
        assert f"{n}/{len(pages)}" in page


@pytest.mark.browser
@pytest.mark.parametrize("name", ["town", "monaco"])
def test_it_prints_without_an_empty_page_or_a_cut_row(request, tmp_path, name):
    """On A4 no page is empty, each row stands whole on one page, and two pages do for a leader."""
    workspace = open_workspace(request.getfixturevalue(f"{name}_run").workspace)
    path = survey.save_report(tmp_path / "a.html", workspace, lang="en")
    pages = print_pdf(path)
    see_pages(read_report(path)["en"].tables, pages)
    first = [n for n, page in enumerate(pages) if "1Bysubdistrictandbykindofpoint" in page]
    assert first in ([0], [1])


@pytest.mark.browser
def test_a_long_table_goes_over_pages_by_whole_rows(crowd_report):
    """A table of 130 rows of two lines is cut between rows, and its head stands on every page."""
    path, pages = crowd_report
    tables = read_report(path)["en"].tables
    see_pages(tables, pages)
    head = squeeze("".join(tables["subdistricts"][0]))
    assert sum(head in page for page in pages) > 2
    row, text = squeeze("".join(tables["subdistricts"][100])), "".join(pages)
    middle = text.index(row) + len(row) // 2
    assert row in find_cut_rows(tables, [text[:middle], text[middle:]]), "a cut row is seen"


@pytest.mark.browser
def test_headings_stay_with_what_follows(crowd_report):
    """No page ends in a heading."""
    path, pages = crowd_report
    text = path.read_text(encoding="utf-8")
    english = text[text.index('<main class="en"') :]
    heads = [squeeze(html.unescape(head)) for head in re.findall(r"<h[23]>(.*?)</h", english)]
    assert len(heads) > 10
    assert all(any(head in page for page in pages) for head in heads)
    assert not any(page.endswith(tuple(heads)) for page in pages)
