"""Two audits compared, on towns drawn by hand, on random ones, and on Monaco.

The main street runs 1,000 m east, with vertices at 0, 400 and 1,000; its toilets stand on it at
100 m and 850 m. Within 200 m on foot are [0, 300] and [650, 1000]: 650 m of it.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_towns import audit_one, fill, make_town, place, reverse
from commands import DATA
from survey.coverage.audit import audit_coverage
from survey.coverage.compare import ROUNDING_MM, compare_audits
from survey.errors import AreaError, RuleError, TableError
from survey.frame.assembly import build_frame
from survey.frame.streets import Streets
from survey.sources.area import Area, find_area
from survey.sources.extract import read_extract
from survey.workspace import open_workspace

MAIN = {"u": "a", "v": "b", "vertices": [(0, 0), (400, 0), (1_000, 0)], "name": "大街"}
SIDE = {"u": "b", "v": "c", "vertices": [(1_000, 0), (1_000, 500)], "name": "小巷"}
WEST, EAST = ({"id": f"node/{at}", "place": (at, 0), "doors": [(0, at, 0.0)]} for at in (100, 850))
ROW = ["change", "covered", "edge_id", "from_m", "to_m"]


def tables_of(frame, audit):
    return {**frame.tables, **audit.tables}


def look(frame, metric="walk", limit_m=200):
    return tables_of(frame, audit_one(frame, metric, limit_m))


def town(edges=(MAIN,), toilets=(WEST, EAST)):
    return make_town(edges, toilets)


def rename(frame, ways):
    """Give the edges other ids, and say of which way each is a piece."""
    edges = frame.streets.edges.copy()
    ids = dict(zip(edges["edge_id"], [f"{way}:{n}" for n, way in enumerate(ways)], strict=True))
    edges["edge_id"], edges["way_id"] = list(ids.values()), ways
    doors = frame.doors.assign(edge_id=frame.doors["edge_id"].map(ids).astype("str"))
    return replace(frame, streets=Streets(frame.streets.nodes, edges), doors=doors)


def list_rows(found):
    return [tuple(row) for row in found.stretches[ROW].itertuples(index=False)]


def list_toilets(found):
    return found.toilets.astype(object).where(found.toilets.notna(), None).to_numpy().tolist()


def row_of(found):
    return found.rules.iloc[0]


def assert_adds_up(found, old, new):
    """Every millimetre of the difference is explained, and rounding stays below its bound."""
    before, after = (side["audit"].set_index("rule_id")["covered_m"] for side in (old, new))
    for row in found.rules.itertuples():
        told = row.better_m - row.worse_m + row.new_covered_m - row.lost_covered_m
        difference = after[row.rule_id] - before[row.rule_id]
        assert round(told + row.rounding_m - difference, 6) == 0
        assert (row.covered_before_m, row.covered_after_m) == (
            before[row.rule_id],
            after[row.rule_id],
        )


def test_nothing_changes_from_a_town_to_itself():
    """A town compared with itself has no changed stretch, toilet or subdistrict, and no note."""
    frame = town((MAIN, SIDE))
    found = compare_audits(look(frame), look(frame))
    assert (len(found.stretches), len(found.toilets), len(found.subdistricts)) == (0, 0, 0)
    assert (found.only_old, found.only_new, found.notes) == ((), (), ())
    assert not found.is_worse
    row = row_of(found)
    assert (row["share_before"], row["share_after"]) == (700 / 1_500, 700 / 1_500)
    assert row["better_m":"rounding_m"].tolist() == [0.0] * 7


def test_a_lost_toilet_is_shown_with_its_street():
    """Without the toilet at 850 m, [650, 1000] is worse, and nothing else is told."""
    found = compare_audits(look(town()), look(town(toilets=[WEST])))
    assert list_rows(found) == [("worse", False, "way/0:0", 650.0, 1_000.0)]
    stretch = found.stretches.iloc[0]
    assert stretch[["rule_id", "name", "subdistrict_id"]].tolist() == ["r", "大街", "all"]
    assert stretch["length_m"] == stretch.geometry.length == 350
    assert stretch.geometry.equals(place(shapely.LineString([(650, 0), (1_000, 0)])))
    assert list_toilets(found) == [["node/850", None, "lost", "public", None, None]]
    assert found.is_worse
    row = row_of(found)
    assert (row["covered_before_m"], row["covered_after_m"], row["worse_m"]) == (650, 300, 350)
    district = found.subdistricts.iloc[0]
    assert district[["rule_id", "subdistrict_id"]].tolist() == ["r", "all"]
    assert (district["share_before"], district["share_after"]) == (0.65, 0.3)
    assert district["better_m":].tolist() == [0, 350, 0, 0, 0, 0]


def test_a_closed_toilet_is_shown_with_both_statuses():
    """A toilet that closes does what a lost one does, and is told as changed."""
    found = compare_audits(look(town()), look(town(toilets=[WEST, EAST | {"status": "closed"}])))
    assert list_rows(found) == [("worse", False, "way/0:0", 650.0, 1_000.0)]
    assert list_toilets(found) == [["node/850", None, "changed", "public", "closed", None]]


def test_an_added_toilet_is_shown_with_its_street():
    """A toilet at 450 m reaches [250, 650], of which [300, 650] failed before."""
    middle = {"id": "node/450", "place": (450, 0), "doors": [(0, 450, 0.0)], "name": "中厕"}
    found = compare_audits(look(town()), look(town(toilets=[WEST, EAST, middle])))
    assert list_rows(found) == [("better", True, "way/0:0", 300.0, 650.0)]
    assert list_toilets(found) == [["node/450", "中厕", "added", None, "public", None]]
    assert not found.is_worse


def test_a_moved_toilet_is_better_here_and_worse_there():
    """From 850 m to 700 m its [650, 1000] becomes [500, 900]; other facts are told too."""
    moved = EAST | {"place": (700, 0), "doors": [(0, 700, 0.0)], "opening_hours": "Mo-Fr"}
    found = compare_audits(look(town()), look(town(toilets=[WEST, moved])))
    assert list_rows(found) == [
        ("better", True, "way/0:0", 500.0, 650.0),
        ("worse", False, "way/0:0", 900.0, 1_000.0),
    ]
    told = "moved 150 m; opening_hours: none -> Mo-Fr"
    assert list_toilets(found) == [["node/850", None, "changed", "public", "public", told]]


def test_a_street_added_or_lost_is_the_map_s_doing():
    """A side street of 500 m, of which 50 m are within 200 m of the toilet 150 m before it."""
    without, having = look(town()), look(town((MAIN, SIDE)))
    pieces = [(True, "way/1:0", 0.0, 50.0), (False, "way/1:0", 50.0, 500.0)]
    found = compare_audits(without, having)
    assert list_rows(found) == [("new street", *piece) for piece in pieces]
    row = row_of(found)
    assert row["better_m":"rounding_m"].tolist() == [0, 0, 500, 50, 0, 0, 0]
    assert (row["share_before"], row["share_after"]) == (0.65, 700 / 1_500)
    back = compare_audits(having, without)
    assert list_rows(back) == [("lost street", *piece) for piece in pieces]
    assert row_of(back)["better_m":"rounding_m"].tolist() == [0, 0, 0, 0, 500, 50, 0]
    assert back.stretches["name"].tolist() == ["小巷", "小巷"]
    assert not found.is_worse
    assert not back.is_worse


def test_a_short_cut_makes_a_matching_street_better():
    """A street that is not checked can still bring matching street nearer to a toilet."""
    loop = MAIN | {"vertices": [(0, 0), (0, 400), (100, 400), (100, 0)]}
    path = {"u": "a", "v": "b", "vertices": [(0, 0), (100, 0)], "public": False}
    toilet = {"id": "node/1", "place": (0, 0), "doors": [(0, 0, 0.0)]}
    found = compare_audits(look(town([loop], [toilet])), look(town([loop, path], [toilet])))
    # 100 m across leave 100 m from the far end of the 900 m.
    assert list_rows(found) == [("better", True, "way/0:0", 800.0, 900.0)]


@pytest.mark.parametrize("cut", [400, 250])
def test_a_new_junction_changes_nothing(cut):
    """An edge split in two, at a vertex of old or at a new one, is the same street."""
    before = [spot for spot in MAIN["vertices"] if spot[0] < cut]
    behind = [spot for spot in MAIN["vertices"] if spot[0] > cut]
    halves = [
        {"u": "a", "v": "x", "vertices": [*before, (cut, 0)]},
        {"u": "x", "v": "b", "vertices": [(cut, 0), *behind]},
        {"u": "x", "v": "y", "vertices": [(cut, 0), (cut, 30)], "public": False},
    ]
    east = EAST | {"doors": [(1, 850 - cut, 0.0)]}
    split = rename(town(halves, [WEST, east]), ["way/0", "way/0", "way/5"])
    for sides in ((look(town()), look(split)), (look(split), look(town()))):
        found = compare_audits(*sides)
        assert found.stretches.empty
        assert row_of(found)["better_m":"rounding_m"].tolist() == [0.0] * 7
        told = f"the streets differ: changes shorter than {ROUNDING_MM} mm are told as rounding"
        assert found.notes == (told,)
    lost = replace(split, toilets=split.toilets[:1], doors=split.doors[:1])
    found = compare_audits(look(town()), look(lost))
    assert list_rows(found) == [("worse", False, "way/0:1", 650.0 - cut, 1_000.0 - cut)]


def test_an_edge_drawn_the_other_way_round_is_the_same():
    """Offsets are counted from the other end then, and nothing changed."""
    old = town((MAIN, SIDE))
    new = reverse(old, np.array([True, False]))
    assert compare_audits(look(old), look(new)).stretches.empty
    lost = replace(new, toilets=new.toilets[:1], doors=new.doors[:1])
    found = compare_audits(look(old), look(lost))
    assert list_rows(found) == [
        ("worse", False, "way/0:0", 0.0, 350.0),
        ("worse", False, "way/1:0", 0.0, 50.0),
    ]


def test_a_street_that_moved_is_another_street():
    """A vertex 3 cm away changes the map on both its segments; 1 cm sideways on a line is on it."""
    for away, changes in ((0.03, {"new street", "lost street"}), (0.01, set())):
        bent = MAIN | {"vertices": [(0, 0), (250, away), (400, 0), (1_000, 0)]}
        found = compare_audits(look(town()), look(town([bent])))
        assert set(found.stretches["change"]) == changes
        assert found.stretches["length_m"].sum() == pytest.approx(800 if changes else 0, abs=0.1)


def test_another_way_id_or_flag_is_a_change_of_the_map():
    """The same line as another way, or no longer public, is lost, whatever it is now."""
    old, plain = look(town((MAIN, SIDE))), town((MAIN, SIDE))
    for new in (
        look(rename(plain, ["way/0", "way/7"])),
        look(town((MAIN, SIDE | {"public": False}))),
    ):
        found = compare_audits(old, new)
        lost = found.stretches[found.stretches["change"] == "lost street"]
        assert lost[["edge_id", "from_m", "to_m"]].to_numpy().tolist() == [
            ["way/1:0", 0.0, 50.0],
            ["way/1:0", 50.0, 500.0],
        ]
        assert row_of(found)[["better_m", "worse_m"]].tolist() == [0, 0]


def test_an_area_of_another_extent_is_a_change_of_the_map():
    """Where the boundary cuts a straight piece elsewhere, only what lies between is new."""
    pieces = [
        {"u": "a", "v": "x", "vertices": [(0, 0), (400, 0), (700, 0)]},
        {"u": "x", "v": "b", "vertices": [(700, 0), (1_000, 0)], "inside": False},
    ]
    small = rename(town(pieces, [WEST, EAST | {"doors": [(1, 150, 0.0)]}]), ["way/0", "way/0"])
    old = {**look(small), "area": Area(shapely.box(0, 0, 1, 1), "small")}
    new = {**look(town()), "area": Area(shapely.box(0, 0, 2, 1), "large")}
    found = compare_audits(old, new)
    assert list_rows(found) == [("new street", True, "way/0:0", 700.0, 1_000.0)]
    assert "different areas" in found.notes[0]
    assert not compare_audits(old, old).notes


def test_a_segment_that_a_way_passes_twice_is_counted_twice():
    """A way out and back on one line has two segments there, each with its own partner."""
    there = MAIN | {"vertices": [(0, 0), (1_000, 0), (0, 0)], "v": "a"}
    found = compare_audits(look(town([there])), look(town([there], [])))
    assert found.stretches["length_m"].sum() == row_of(found)["covered_before_m"]
    assert set(found.stretches["change"]) == {"worse"}


def test_subdistricts_are_told_by_the_middle_of_a_stretch():
    """Of two subdistricts the new map's holds the stretch; else the old map's; else none."""
    old, new = look(town()), look(town(toilets=[WEST]))

    def ground(name, *bounds):
        area = shapely.MultiPolygon([place(shapely.box(*bounds))])
        row = {"subdistrict_id": name, "name": f"{name}街道", "source": "test", "geometry": area}
        return fill("subdistricts", [row])

    east, west = ground("east", 800, -9, 1_000, 9), ground("west", 0, -9, 800, 9)
    for there, then, expected in ((east, west, "east"), (west, east, "east"), (west, west, None)):
        sides = old | {"subdistricts": then}, new | {"subdistricts": there}
        found = compare_audits(*sides).subdistricts.iloc[0]
        name = found["subdistrict_id"]
        assert (None if pd.isna(name) else name) == expected
        assert found["worse_m"] == 350


def test_rules_without_stretches_have_only_shares():
    """A rule that is not asked on all streets, and rules of one side only, are told as such."""
    sides = [look(town()), look(town(toilets=[WEST]))]
    for side, share, only in zip(sides, (0.5, 0.4), ("x-300", "y-300"), strict=True):
        row = side["audit"].iloc[[0]]
        more = [row.assign(rule_id="spacing-500", metric="spacing", on="main", share=share)]
        side["audit"] = pd.concat([*more, row, row.assign(rule_id=only)], ignore_index=True)
    found = compare_audits(*sides)
    assert found.rules["rule_id"].tolist() == ["spacing-500", "r"]
    spacing, street = found.rules.iloc[0], found.rules.iloc[1]
    assert (spacing["share_before"], spacing["share_after"]) == (0.5, 0.4)
    assert spacing["covered_before_m":].isna().all()
    assert street["worse_m"] == 350
    assert (found.only_old, found.only_new) == (("x-300",), ("y-300",))
    assert [note.split(":")[0] for note in found.notes] == [
        "rule spacing-500 is not asked on all streets",
        "rule x-300 is audited in the old workspace only",
        "rule y-300 is audited in the new workspace only",
    ]
    alone = compare_audits(*sides, rules=["spacing-500"])
    assert alone.rules["rule_id"].tolist() == ["spacing-500"]
    assert (alone.stretches.empty, alone.is_worse) == (True, False)


def test_what_cannot_be_compared_is_refused():
    """Unlike rules, projections and damaged tables are told in one line that says what to do."""
    old = look(town())

    def refuse(kind, words, new, **options):
        with pytest.raises(kind, match=words) as caught:
            compare_audits(old, new, **options)
        assert "\n" not in str(caught.value)

    audit = old["audit"]
    refuse(
        RuleError,
        r"within 200 m \(walk, streets\) in the old audit and toilet within 300 m",
        look(town(), limit_m=300),
    )
    refuse(RuleError, "walk, streets. in the old audit and .*crow, streets", look(town(), "crow"))
    refuse(RuleError, "'z' is not audited in the old workspace .*: r", old, rules=["z"])
    other = old | {"audit": audit.assign(rule_id="q")}
    refuse(RuleError, "no rule is audited in both workspaces .old: r; new: q", other)
    refuse(RuleError, "'r' is not audited in the new workspace .*: q", other, rules=["r"])
    refuse(TableError, "'r' in the new workspace", old | {"gaps": old["gaps"].iloc[:0]})
    strange = old["gaps"].assign(edge_id="way/9:9")
    refuse(TableError, "unknown edges; run survey audit", old | {"gaps": strange})
    elsewhere = old["edges"].to_crs(32651)
    refuse(AreaError, "zone 50N.*zone 51N.*same area", old | {"edges": elsewhere})
    twice = old["covered"].assign(from_m=old["covered"]["from_m"] * 0, to_m=[300.0, 350.0])
    with pytest.raises(ArithmeticError, match="changes add up to"):
        compare_audits(old, old | {"covered": twice})


def test_lengths_that_round_are_told_as_rounding():
    """A junction at a crooked place moves distances by a millimetre, and nothing is worse."""
    vertices = [(0, 0), (33.3336, 1.1114), (271.8284, 31.4159), (577.2157, 16.1803)]
    crooked = MAIN | {"vertices": vertices}
    whole = town([crooked])
    length = float(whole.streets.edges["length_m"].iloc[0])
    whole = town([crooked], [EAST | {"doors": [(0, length, 0.0)]}])
    halves = [
        {"u": "a", "v": "x", "vertices": vertices[:2]},
        {"u": "x", "v": "y", "vertices": vertices[1:3]},
        {"u": "y", "v": "b", "vertices": vertices[2:]},
    ]
    split = town(halves)
    end = float(split.streets.edges["length_m"].iloc[2])
    split = rename(town(halves, [EAST | {"doors": [(2, end, 0.0)]}]), ["way/0"] * 3)
    old, new = look(whole, limit_m=560), look(split, limit_m=560)
    found = compare_audits(old, new)
    assert found.stretches.empty
    assert abs(row_of(found)["rounding_m"]) <= 0.003
    assert_adds_up(found, old, new)


corners = st.tuples(st.integers(0, 4), st.integers(0, 4)).map(lambda at: (at[0] * 40, at[1] * 40))
drawn = st.lists(st.lists(corners, min_size=2, max_size=3, unique=True), min_size=1, max_size=7)


@st.composite
def towns(draw, streets):
    """Draw some of the streets, each a way of its own, either way round, with toilets on them."""
    kept = draw(st.lists(st.sampled_from(range(len(streets))), min_size=1, unique=True))
    edges = [
        {"u": str(streets[n][0]), "v": str(streets[n][-1]), "vertices": streets[n]}
        | {"public": place == 0 or draw(st.integers(0, 5)) > 0}
        for place, n in enumerate(kept)
    ]
    toilets = [
        {"id": f"node/{n}", "place": (0, 0), "doors": [(n, 0.0, float(draw(st.integers(0, 30))))]}
        for n in range(len(kept))
        if draw(st.booleans())
    ]
    frame = rename(make_town(edges, toilets), [f"way/{n}" for n in kept])
    return reverse(frame, np.array([draw(st.booleans()) for _ in kept]))


def by_edge(rows, state):
    """List the rows of each edge: from, to, state."""
    found = {}
    for row in rows.assign(state=state).itertuples():
        found.setdefault(row.edge_id, []).append((row.from_m, row.to_m, row.state))
    return found


def state_of(rows, edge_id, at_m):
    """Look up the row that holds a place on an edge; none, or unsure within 6 mm of an end."""
    for start, end, state in rows.get(edge_id, ()):
        if min(abs(start - at_m), abs(end - at_m)) < 0.006:
            return "unsure"
        if start < at_m < end:
            return state
    return None


def find_place(side, way, street, at_m):
    """Find a place on a street in one map: the edge and the offset on it."""
    edges = side["edges"][side["edges"]["way_id"] == way]
    if edges.empty:
        return None, 0.0
    edge = edges.iloc[0]
    start = place(shapely.Point(street[0]))
    turned = edge["geometry"].coords[0] != start.coords[0]
    return edge["edge_id"], edge["length_m"] - at_m if turned else at_m


@pytest.mark.parametrize("metric", ["walk", "crow"])
@settings(max_examples=8, deadline=None)
@given(streets=drawn, data=st.data(), limit_m=st.integers(10, 200))
def test_random_towns_agree_place_by_place(metric, streets, data, limit_m):
    """What is told of any place is what the two audits say of it, and all of it adds up."""
    old, new = (look(data.draw(towns(streets)), metric, limit_m) for _ in range(2))
    found = compare_audits(old, new)
    assert_adds_up(found, old, new)
    assert abs(row_of(found)["rounding_m"]) <= 0.1
    told, lost = found.stretches, found.stretches["change"] == "lost street"
    told_old, told_new = (by_edge(told[part], told["change"]) for part in (lost, ~lost))
    audits = [by_edge(side["covered"], state=True) for side in (old, new)]
    for rows, side in zip(audits, (old, new), strict=True):
        for edge_id, gaps in by_edge(side["gaps"], state=False).items():
            rows.setdefault(edge_id, []).extend(gaps)
    words = {(False, True): "better", (True, False): "worse"}
    for number, street in enumerate(streets):
        for at_m in np.arange(0.613, shapely.LineString(street).length, 17.0):
            spots = [find_place(side, f"way/{number}", street, at_m) for side in (old, new)]
            was, now = (state_of(rows, *spot) for rows, spot in zip(audits, spots, strict=True))
            kind = words.get((was, now))
            if (was is None) != (now is None):
                kind = "new street" if was is None else "lost street"
            answer = state_of(told_old, *spots[0]) if now is None else state_of(told_new, *spots[1])
            assert "unsure" in (was, now, answer) or answer == kind


@pytest.fixture(scope="module")
def monaco(monaco_run):
    """Read the frame of Monaco and the tables of its audit."""
    stored = open_workspace(monaco_run.workspace)
    return stored.read_frame(), stored.read_all() | {"area": stored.area}


def test_monaco_is_monaco(monaco):
    """A city compared with itself has no changed stretch, and every total is that of its audit."""
    _, old = monaco
    found = compare_audits(old, old)
    assert (len(found.stretches), len(found.toilets), found.notes) == (0, 0, ())
    assert_adds_up(found, old, old)


def test_monaco_without_a_toilet(monaco):
    """Only street that this toilet was nearest to is worse, as much as the audits differ."""
    frame, old = monaco
    nearest = old["covered"].groupby("toilet_id")["length_m"].sum()
    gone = nearest.idxmax()
    closed = frame.toilets["status"].mask(frame.toilets["toilet_id"] == gone, "closed")
    changed = replace(frame, toilets=frame.toilets.assign(status=closed))
    new = tables_of(changed, audit_coverage(changed, rules=list(old["audit"]["rule_id"])))
    found = compare_audits(old, new)
    assert_adds_up(found, old, new)
    assert found.is_worse
    assert set(found.stretches["change"]) == {"worse"}
    assert (found.rules["rounding_m"] == 0).all()
    lost = (old["audit"]["covered_m"] - new["audit"]["covered_m"]).round(3)
    assert found.rules["worse_m"].tolist() == lost.tolist()
    assert list_toilets(found)[0][0] == gone
    assert len(found.toilets) == 1
    mine = old["covered"][old["covered"]["toilet_id"] == gone]
    for row in found.stretches.itertuples():
        near = mine[(mine["rule_id"] == row.rule_id) & (mine["edge_id"] == row.edge_id)]
        assert near["from_m"].min() <= row.from_m
        assert row.to_m <= near["to_m"].max()
        assert row.geometry.length == pytest.approx(row.length_m, abs=0.002)
    shares = found.subdistricts["share_after"] - found.subdistricts["share_before"]
    assert (shares.dropna() < 0).all()  # some of the street lies in no known subdistrict
    assert shares.notna().any()
    back = compare_audits(new, old)
    assert set(back.stretches["change"]) == {"better"}
    assert back.rules["better_m"].tolist() == lost.tolist()


def test_monaco_in_a_smaller_box(monaco):
    """A boundary drawn elsewhere loses street and makes none worse, by whatever edges it cuts."""
    _, old = monaco
    area = find_area(extract=DATA / "monaco.osm.pbf", bbox=(7.412, 43.725, 7.440, 43.748))
    frame = build_frame(read_extract(DATA / "monaco.osm.pbf", area))
    rules = list(old["audit"]["rule_id"])
    new = tables_of(frame, audit_coverage(frame, rules=rules)) | {"area": area}
    found = compare_audits(old, new)
    assert_adds_up(found, old, new)
    assert set(found.stretches["change"]) == {"lost street"}
    lost = old["audit"]["checked_m"] - new["audit"]["checked_m"]
    assert found.rules["lost_m"].to_numpy() == pytest.approx(lost.to_numpy(), abs=0.05)
    assert (found.rules["rounding_m"].abs() <= 0.05).all()
    assert "different areas" in found.notes[0]
