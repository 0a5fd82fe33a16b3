import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import pytest

import survey
from survey.summaries import write_summary
from survey.tables import make

HOSTILE = "<img src=x onerror=alert(1)>\"'&<script>alert(1)</script>"


@pytest.fixture(scope="module")
def town():
    return survey.example_town()


@pytest.fixture(scope="module")
def reach(town):
    return survey.measure_reach(town, limit_m=2_000)


def read_rows(shown):
    """Read the cells of each row by the row's head."""
    rows = re.findall(r"<tr>(.*?)</tr>", shown)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]
    return {unescape(head): [unescape(cell) for cell in rest] for head, *rest in cells}


class Elements(HTMLParser):
    """The elements of a page, and the names of their attributes."""

    def __init__(self, text):
        super().__init__()
        self.found = set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        """Note an element."""
        self.found |= {tag, *(name for name, _ in attributes)}


def see_plain(shown):
    """See that a summary is a table and lines: no script, no colour, nothing asked for."""
    expected = {"table", "caption", "strong", "tbody", "tr", "th", "td", "p", "scope", "style"}
    assert Elements(shown).found <= expected
    assert set(re.findall(r'style="(.*?)"', shown)) == {"text-align:left"}


def test_a_frame_shows_what_there_is_of_each_thing(town):
    """The summary of a frame counts its tables; the metres are those of its streets."""
    shown = town._repr_html_()
    see_plain(shown)
    rows = read_rows(shown)
    assert rows["points"] == [
        "5",
        "1 community, 1 hospital, 1 market, 1 school, 1 station",
    ]
    assert rows["alleys"] == ["5", "2.2 km; 1 without a name"]
    assert rows["compounds"] == ["3", "0.08 km2; 0 without a name"]
    assert rows["toilets"] == ["4", "2 public, 1 closed, 1 opened; 2 inside the area"]
    edges = town.streets.edges
    checked = edges.loc[edges["public"] & edges["inside"], "length_m"].sum()
    assert rows["streets"][0] == f"{checked / 1000:.1f} km"
    assert round(town.alleys["length_m"].sum() / 1000, 1) == 2.2
    assert round(town.compounds["area_m2"].sum() / 1e6, 2) == 0.08


def test_a_frame_shows_its_doubts_and_its_sources(town):
    """Figures of the whole city that are poor or want a look are named, single objects are not."""
    quality = make(
        "quality",
        {
            "scope": ["city", "city", "city", "way/1"],
            "measure": ["toilets_per_km2", "subdistricts", "area", "cut_open"],
            "value": [2.6, 1.0, 9.9, None],
            "unit": [None] * 4,
            "verdict": ["poor", "look", "info", "look"],
            "note": [None] * 4,
        },
    )
    source = {
        "osm": {"path": "town.osm.pbf", "osm_date": "2026-01-02T03:04:05Z"},
        "layers": {"toilets": {"path": "toilets.csv", "datum": "gcj02"}},
    }
    rows = read_rows(replace(town, quality=quality, source=source)._repr_html_())
    assert rows["quality: poor"] == ["1", "toilets_per_km2"]
    assert rows["quality: look"] == ["1", "subdistricts"]
    assert rows["source"] == ["2026-01-02", "town.osm.pbf"]
    assert rows["own toilets"] == ["gcj02", "toilets.csv"]


def test_streets_show_their_metres(town):
    """The summary of streets has the length of each kind of edge."""
    edges = town.streets.edges
    shown = town.streets._repr_html_()
    see_plain(shown)
    rows = read_rows(shown)
    assert rows["nodes"][0] == str(len(town.streets.nodes))
    for name in ("walkable", "public", "inside"):
        length_m = edges.loc[edges[name], "length_m"].sum()
        assert rows[name] == [str(edges[name].sum()), f"{length_m / 1000:.1f} km"]


def test_a_round_shows_what_it_visits_and_what_checks_it(town, reach):
    """The summary of a round equals its own counts, and has seed, design and hash in full."""
    draw = survey.draw_round(town, reach, survey.Design(points={"school": 9}), seed="seen")
    shown = draw._repr_html_()
    see_plain(shown)
    rows, totals = read_rows(shown), draw.summary()
    assert rows["points visited"] == ["5 of 5"]
    for layer in ("alleys", "compounds"):
        assert rows[f"{layer} drawn"] == [f"{totals[f'{layer}_drawn']} of {totals[layer]}"]
    assert rows["share of all units"] == [f"{totals['share']:.1%}"]
    assert rows["replacements"] == [str(totals["replacements"])]
    assert rows["seed"] == ["seen"]
    assert [rows["design"][0], rows["frame_hash"][0]] == list(
        draw.rounds[["design", "frame_hash"]].iloc[0]
    )
    assert "school: 9 points are asked for, all 1 are visited" in shown


def test_a_round_read_from_tables_says_no_totals(town, reach):
    """A round without the counts of its frame shows what its rows say, and no share."""
    draw = survey.draw_round(town, reach, survey.Design(), seed="seen")
    loaded = replace(draw, totals=None)
    rows = read_rows(loaded._repr_html_())
    assert rows["alleys drawn"] == [str(draw.summary()["alleys_drawn"])]
    assert rows["points visited"] == [str(draw.summary()["points_visited"])]
    assert "share of all units" not in rows


def test_an_audit_shows_each_rule_and_its_longest_gap(town):
    """The shares and the gaps in the summary of an audit are those of its tables."""
    audit = survey.audit_coverage(town, rules=["walk-500", "crow-300"])
    audit = replace(audit, notes=("a note",))
    shown = audit._repr_html_()
    see_plain(shown)
    rows = read_rows(shown)
    assert list(rows) == ["walk-500", "crow-300"]
    row = audit.summary.iloc[0]
    gaps = audit.gaps[audit.gaps["rule_id"] == "walk-500"].groupby("stretch_id")["length_m"].sum()
    assert rows["walk-500"] == [
        row["title"],
        f"{row['share']:.1%} to {row['share_high']:.1%}",
        f"of {row['checked_m'] / 1000:.1f} km of street",
        f"{len(gaps)} gaps, the longest {gaps.max():.0f} m",
    ]
    assert audit.summary["on"].iloc[1] == "points"
    assert rows["crow-300"][-1] == ""
    assert "<p>a note</p>" in shown


def test_a_site_plan_shows_what_to_do_and_what_it_gives(town):
    """Sites are counted by what is to be done, with the share before and after."""
    plan = survey.plan_sites(town, survey.find_rule("walk-500"), add=1)
    shown = plan._repr_html_()
    see_plain(shown)
    rows = read_rows(shown)
    (action,) = plan.sites["action"]
    assert rows["sites"] == [
        "1 to open, 0 to build" if action == "open" else "0 to open, 1 to build"
    ]
    assert rows["share"] == [f"{plan.share_before:.1%} before, {plan.share_after:.1%} after"]
    assert rows["proven best"][0].startswith("yes" if plan.proven else "no")


def test_markup_in_a_text_is_shown_as_text(town, reach):
    """A name, a seed, a file or a note with markup in it is escaped wherever it stands."""
    frame = replace(
        town,
        area=replace(town.area, name=HOSTILE),
        source={"osm": {"path": HOSTILE}, "layers": {HOSTILE: {"datum": HOSTILE}}},
    )
    draw = survey.draw_round(town, reach, survey.Design(), seed=HOSTILE, round_id=HOSTILE)
    audit = survey.audit_coverage(
        town, rules=[replace(survey.find_rule("walk-500"), title_zh=HOSTILE)]
    )
    audit = replace(audit, notes=(HOSTILE,))
    for shown in (
        frame._repr_html_(),
        draw._repr_html_(),
        audit._repr_html_(),
        write_summary(HOSTILE, [(HOSTILE, HOSTILE)], notes=[HOSTILE]),
    ):
        see_plain(shown)
        assert HOSTILE in unescape(shown)
