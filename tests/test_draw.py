import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import shapely

from survey.errors import DesignError, TableError, WorkspaceError
from survey.sampling import rows
from survey.sampling.design import Design
from survey.sampling.draw import (
    Draw,
    check_text,
    commit_design,
    draw_round,
    hash_frame,
    load_draw,
    make_ticket,
    verify_round,
)
from survey.sampling.rows import HASHED
from survey.tables import make

SCRIPT = Path(__file__).parents[1] / "docs" / "check_round.py"
KEY = ["round_id", "point_id", "layer", "slot"]
SEEDS = [f"seed {n}" for n in range(5)]
FIXED = Design(radius="fixed:1000")


def make_frame(points, alleys=(), compounds=()):
    """Make a frame of (id, kind) points and unit ids; where they lie does not matter."""
    texts = dict.fromkeys(("name", "name_en", "subdistrict_id", "highway"))
    texts |= {"source": "test", "reason": "", "data_edge_m": 5e3, "length_m": 50.0, "area_m2": 81.0}
    line = shapely.MultiLineString([[(0, 0), (9, 9)]])
    box = shapely.MultiPolygon([shapely.box(0, 0, 9, 9)])
    rows = pd.DataFrame(points, columns=["point_id", "kind"])
    frame = {
        "points": rows.assign(**texts, geometry=shapely.Point(0, 0)),
        "alleys": pd.DataFrame({"alley_id": alleys}).assign(**texts, geometry=line),
        "compounds": pd.DataFrame({"compound_id": compounds}).assign(**texts, geometry=box),
    }
    return SimpleNamespace(**{name: make(name, table, crs=32650) for name, table in frame.items()})


def make_reach(rows):
    """Make reach from (point, layer, unit, euclid, network)."""
    names = ["point_id", "layer", "unit_id", "euclid_m", "network_m"]
    cells = zip(*rows, strict=True) if rows else [()] * 5
    return make("reach", dict(zip(names, map(list, cells), strict=True)))


@pytest.fixture(scope="module")
def town():
    """Four points, five alleys, two compounds, some pairs out of reach, and a round of them."""
    points = [("node/1", "school"), ("node/2", "school"), ("way/3", "market"), ("北门", "station")]
    layers = {"alley": [f"alley/way/{n}" for n in range(5)], "compound": ["way/7", "小区甲"]}
    rows = [
        (point, layer, unit, 100.0 * n + 40 * m, 120.5 * n + 50 * m if n != 3 else np.nan)
        for m, (point, _) in enumerate(points)
        for layer, units in layers.items()
        for n, unit in enumerate(units)
        if (m + n) % 5
    ]
    frame, reach = make_frame(points, *layers.values()), make_reach(rows)
    return frame, reach, draw_round(frame, reach, Design(), seed="s")


def with_table(frame, name, table):
    """Copy a frame with another table in it."""
    return SimpleNamespace(**{**vars(frame), name: table})


def one_alley(point, unit, euclid_m=300.0, network_m=400.0):
    """Make one row of reach."""
    return point, "alley", unit, euclid_m, network_m


def test_ticket_by_hand():
    """One point's draw is the one that plain hashlib gives, step by step."""
    frame = make_frame([("node/5", "school")], ["a/1", "a/2", "a/3"], ["c/1"])
    near = [("node/5", "alley", unit, 90.0, 100.0) for unit in ("a/1", "a/2", "a/3")]
    reach = make_reach([*near, ("node/5", "compound", "c/1", 90.0, 100.0)])
    draw = draw_round(frame, reach, Design(), round_id="2026-Q4", seed="witnessed")

    sep = b"\x1f"
    lead = b"witnessed" + sep + b"2026-Q4" + sep + b"node/5" + sep
    radius = hashlib.sha256(lead + b"radius").digest()
    radius_m = round(500 + 1500 * int.from_bytes(radius[:8], "big") / 2**64, 3)
    count = hashlib.sha256(lead + b"alley" + sep + b"count").digest()
    k = 2 if count[0] >= 128 else 1
    unit = {u: hashlib.sha256(lead + b"alley" + sep + u.encode()) for u in ("a/1", "a/2", "a/3")}
    order = sorted(unit, key=lambda name: unit[name].hexdigest())

    drawn = draw.draws[draw.draws["layer"] == "alley"]
    assert drawn["unit_id"].tolist() == order
    assert drawn["ticket"].tolist() == [unit[name].hexdigest() for name in order]
    assert drawn["slot"].tolist() == [1, 2, 3]
    assert drawn["replacement"].tolist() == [slot > k for slot in (1, 2, 3)]
    assert drawn["radius_m"].tolist() == [radius_m] * 3
    assert make_ticket("a", "b") == hashlib.sha256(b"a\x1fb").hexdigest()


def test_frame_hash_by_hand():
    """The hash is that of all rows, led by their table, sorted as bytes and joined by LF."""
    frame = make_frame([("北门", "station"), ("n/1", "school")], ["a/\U0001f6bb", "a/～"], ["c/1"])
    rows = [("北门", "alley", "a/～", 0.0, 812.5), ("n/1", "alley", "a/～", 7.0, np.nan)]
    reach = make_reach(rows)
    text = (
        "alleys\x1fa/～\nalleys\x1fa/\U0001f6bb\ncompounds\x1fc/1\n"
        "points\x1fn/1\x1fschool\npoints\x1f北门\x1fstation\n"
        "reach\x1fn/1\x1falley\x1fa/～\x1f7.000\x1f\n"
        "reach\x1f北门\x1falley\x1fa/～\x1f0.000\x1f812.500"
    )
    expected = hashlib.sha256(text.encode()).hexdigest()
    assert hash_frame(frame, reach) == expected
    design = Design()
    bound = hashlib.sha256(f"{expected}\x1f{design.to_json()}".encode()).hexdigest()
    assert commit_design(frame, reach, design) == bound


def test_order_of_rows_does_not_matter(town):
    """Shuffled tables give the same hash and the same draws, sorted by their key."""
    frame, reach, draw = town
    mixed = {name: table.sample(frac=1, random_state=3) for name, table in vars(frame).items()}
    mixed_reach = reach.sample(frac=1, random_state=4)
    again = draw_round(SimpleNamespace(**mixed), mixed_reach, Design(), seed="s")
    pd.testing.assert_frame_equal(again.rounds, draw.rounds)
    pd.testing.assert_frame_equal(again.draws, draw.draws)
    assert draw.draws.equals(draw.draws.sort_values(KEY, ignore_index=True))


@pytest.mark.parametrize("seed", SEEDS)
def test_new_alley_changes_only_what_it_wins(town, seed):
    """Where a new alley wins a slot the others keep their order; elsewhere nothing changes."""
    frame, reach, _ = town
    new = make_reach([one_alley(point, "alley/new") for point in frame.points["point_id"]])
    extra = frame.alleys.iloc[:1].assign(alley_id="alley/new")
    more = with_table(frame, "alleys", pd.concat([frame.alleys, extra]))
    old = draw_round(frame, reach, Design(), seed=seed).draws
    now = draw_round(more, pd.concat([reach, new]), Design(), seed=seed).draws
    won = now[now["unit_id"] == "alley/new"]
    assert len(won) > 0
    for (point, layer), before in old.groupby(["point_id", "layer"]):
        after = now[(now["point_id"] == point) & (now["layer"] == layer)]
        if layer == "alley" and point in set(won["point_id"]):
            kept = after.loc[after["unit_id"] != "alley/new", "ticket"].tolist()
            assert kept == before["ticket"].tolist()[: len(kept)]
        else:
            assert after.to_numpy().tolist() == before.to_numpy().tolist()


def test_points_do_not_depend_on_each_other(town):
    """The draw of one point alone is its part of the whole round."""
    frame, reach, draw = town
    for point in frame.points["point_id"]:
        alone = with_table(frame, "points", frame.points[frame.points["point_id"] == point])
        part = draw_round(alone, reach, Design(), seed="s").draws
        whole = draw.draws[draw.draws["point_id"] == point].reset_index(drop=True)
        pd.testing.assert_frame_equal(part, whole)


NEAR = {
    "a/1": (10.0, np.nan),
    "a/2": (990.0, 1000.001),
    "a/3": (150.0, 1000.0),
    "a/4": (199.999, 200.0),
    "a/5": (100.0, 199.999),
    "c/1": (500.0, 500.0),
    "elsewhere": (500.0, 500.0),
}


@pytest.mark.parametrize(
    ("values", "eligible"),
    [
        ({}, {"a/3", "a/4", "a/5"}),
        ({"min_m": 200}, {"a/3", "a/4"}),
        ({"metric": "euclid"}, {"a/1", "a/2", "a/3", "a/4", "a/5"}),
        ({"metric": "euclid", "min_m": 150}, {"a/2", "a/3", "a/4"}),
        ({"radius": "fixed:500", "metric": "euclid"}, {"a/1", "a/3", "a/4", "a/5"}),
    ],
)
def test_what_is_eligible(values, eligible):
    """Both ends count as inside; units without a way, of another layer or place do not count."""
    frame = make_frame([("p", "mall")], [f"a/{n}" for n in range(1, 6)], ["c/1"])
    rows = [one_alley("p", unit, *distances) for unit, distances in NEAR.items()]
    reach = make_reach([*rows, one_alley("q", "a/1")])
    draw = draw_round(frame, reach, replace(FIXED, **values), seed="s")
    assert set(draw.draws["unit_id"]) == eligible


@pytest.mark.parametrize("winners", [0, 1, 2])
def test_five_replacements_at_most(winners):
    """Of nine eligible alleys the next five stand in for the winners, and none for nobody."""
    alleys = [f"alley/way/{n}" for n in range(9)]
    frame = make_frame([("p", "school")], alleys)
    reach = make_reach([one_alley("p", alley) for alley in alleys])
    draw = draw_round(frame, reach, replace(FIXED, alleys=(winners, winners)), seed="s")
    many = winners + 5 if winners else 0
    assert draw.draws["slot"].tolist() == list(range(1, many + 1))
    assert draw.draws["replacement"].tolist() == [False] * winners + [True] * (many - winners)


def test_some_points_of_a_kind(town):
    """The n smallest tickets of a kind are visited, in full where there are fewer than n."""
    frame, reach, _ = town
    design = Design(points={"school": 1, "market": 0, "station": 4, "mall": 1})
    draw = draw_round(frame, reach, design, round_id="r", seed="s")
    digest = {
        point: hashlib.sha256(f"s\x1fr\x1fpoints\x1fschool\x1f{point}".encode()).hexdigest()
        for point in ("node/1", "node/2")
    }
    assert set(draw.draws["point_id"]) == {min(digest, key=digest.get), "北门"}
    assert draw.notes == (
        "mall: 1 points are asked for, all 0 are visited",
        "station: 4 points are asked for, all 1 are visited",
    )
    assert draw.summary()["points_visited"] == 2
    assert verify_round(frame, reach, draw).accepted


def test_summary_counts_the_frame():
    """The summary counts each winning unit once, and points around which nothing is eligible."""
    frame = make_frame([(name, "mall") for name in "pqr"], ["a/1", "a/2"], ["c/1", "c/2"])
    reach = make_reach([one_alley(point, unit) for point in "pq" for unit in ("a/1", "a/2")])
    draw = draw_round(frame, reach, replace(FIXED, alleys=(2, 2)), seed="s")
    assert draw.summary() == {
        "points": 3, "points_visited": 3, "points_without_alley": 1, "points_without_compound": 3,
        "alleys": 2, "alleys_drawn": 2, "compounds": 2, "compounds_drawn": 0,
        "share": 0.5, "replacements": 0,
    }  # fmt: skip


def test_empty_round():
    """A frame in which nothing can be drawn gives an empty round that verifies."""
    frame, reach = make_frame([("p", "mall")]), make_reach([])
    draw = draw_round(frame, reach, Design(), seed="s")
    assert draw.draws.empty
    assert draw.summary()["share"] == 0
    assert verify_round(frame, reach, draw).accepted


@pytest.mark.parametrize("text", ["", " ", "a\x1fb", "a\nb", "a\x00", "\udcff", None, 7])
def test_text_that_tickets_cannot_hold_is_refused(town, text):
    """A seed or round id that is empty, not text, or could be cut up in two ways is an error."""
    frame, reach, _ = town
    with pytest.raises(DesignError, match="seed"):
        draw_round(frame, reach, Design(), seed=text)
    with pytest.raises(DesignError, match="round_id"):
        draw_round(frame, reach, Design(), seed="s", round_id=text)


def test_bad_tables_are_refused(town):
    """An id with the separator in it, or a pair that stands twice in reach, is an error."""
    frame, reach, _ = town
    with pytest.raises(DesignError, match="'alleys', column 'alley_id'"):
        draw_round(make_frame([("p", "mall")], ["a\x1f1"]), make_reach([]), Design(), seed="s")
    with pytest.raises(TableError, match="not unique"):
        draw_round(frame, pd.concat([reach, reach.iloc[:1]]), Design(), seed="s")


def test_notebook_view_is_escaped(town):
    """What a name or seed holds cannot become part of the page."""
    frame, reach, _ = town
    draw = draw_round(frame, reach, Design(), seed="<img src=x onerror=alert(1)>")
    page = draw._repr_html_()
    assert "<img" not in page
    assert "&lt;img" in page
    drawn = draw.draws.loc[~draw.draws["replacement"] & (draw.draws["layer"] == "alley"), "unit_id"]
    assert f'alleys drawn</th><td style="text-align:left">{drawn.nunique()} of 5</td>' in page


def changed(value):
    """Another value of the same type."""
    if isinstance(value, bool | np.bool_):
        return not value
    if isinstance(value, str):
        other = {"alley": "compound", "compound": "alley", "school": "mall", "market": "mall"}
        return other.get(value, "mall" if value == "station" else f"{value}x")
    return 1.0 if pd.isna(value) else value + 1


def tampered(frame, reach, draw):
    """Every way to change one cell, to delete one row, or to add one: (what, verify's tables)."""
    tables = {**vars(frame), "reach": reach, "rounds": draw.rounds, "draws": draw.draws}
    for name, table in tables.items():
        for row in range(len(table)):
            for column in HASHED.get(name, table.columns):
                other = table.copy()
                other.loc[row, column] = changed(table[column].iloc[row])
                yield f"{name}, row {row}: {column}", tables | {name: other}
            if name != "rounds":
                yield f"{name}, row {row}: deleted", tables | {name: table.drop(row)}
    for text in ("", "{", '{"alleys":[2,1]}', "{}", f"{draw.design.to_json()} "):
        yield f"design {text!r}", tables | {"rounds": draw.rounds.assign(design=text)}
    twice = pd.concat([draw.draws, draw.draws.iloc[:1]])
    for column, value in {"slot": 99, "unit_id": "x", "point_id": "zz"}.items():
        twice[column] = [*draw.draws[column], value]
        yield f"draws: added {column}", tables | {"draws": twice.copy()}


def test_verify_refuses_every_change(town):
    """Each cell and row that a round depends on is bound; the reason is one line."""
    frame, reach, draw = town
    assert verify_round(frame, reach, draw).accepted
    for what, tables in tampered(frame, reach, draw):
        told = Draw(tables["rounds"], tables["draws"])
        verdict = verify_round(SimpleNamespace(**tables), tables["reach"], told)
        assert not verdict.accepted, what
        assert verdict.reason
        assert "\n" not in verdict.reason


def test_first_difference_is_reported(town):
    """The reason names the first row by key that differs, and what should stand there."""
    frame, reach, draw = town
    first, last = draw.draws.iloc[0], draw.draws.iloc[[-1]]
    name = f"round 'demo', point {first['point_id']!r}, {first['layer']}, slot 1"

    def reason(table):
        return verify_round(frame, reach, Draw(draw.rounds, table)).reason

    radius = draw.draws.assign(radius_m=1.0)[::-1]
    should = f"radius_m is 1.0, but the tickets give {first['radius_m']}"
    assert reason(radius) == f"{name}: {should}"
    missing = f"a row is missing: {name} should hold {first['unit_id']!r}"
    assert reason(radius.iloc[:-1]) == missing
    more = pd.concat([draw.draws, last.assign(slot=99)])
    assert reason(more).endswith("slot 99 is not derived")
    more = pd.concat([draw.draws, last.assign(point_id="zz")])
    assert reason(more).endswith("names a point not in the frame")


def test_commitment_binds_the_design(town):
    """A design that was changed after the commitment is refused though its draws follow from it."""
    frame, reach, _ = town
    promised = commit_design(frame, reach, Design())
    draw = draw_round(frame, reach, Design(alleys=(2, 2)), seed="s")
    assert verify_round(frame, reach, draw).accepted
    assert not verify_round(frame, reach, draw, commitment=promised).accepted
    honest = draw_round(frame, reach, Design(), seed="s")
    assert verify_round(frame, reach, honest, commitment=f" {promised.upper()}\n").accepted


def test_rounds_are_picked_by_id(town):
    """One round out of several verifies by itself; an unknown one is named with those stored."""
    frame, reach, _ = town
    one, two = (draw_round(frame, reach, Design(), round_id=name, seed="s") for name in "ab")
    rounds, draws = pd.concat([one.rounds, two.rounds]), pd.concat([one.draws, two.draws])
    loaded = load_draw(rounds, draws, "b")
    assert (loaded.round_id, loaded.design) == ("b", Design())
    assert verify_round(frame, reach, loaded).accepted
    assert not set(one.draws["ticket"]) & set(two.draws["ticket"])
    with pytest.raises(WorkspaceError, match="no round 'c'; stored are: a, b"):
        load_draw(rounds, draws, "c")
    with pytest.raises(WorkspaceError, match="draw it again"):
        loaded.summary()


def run_script(folder, tables):
    """Write the tables as CSV and run the stand-alone check, without any installed package."""
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False, encoding="utf-8-sig")
    command = [sys.executable, "-I", "-S", "-X", "utf8", str(SCRIPT), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    "design",
    [
        Design(),
        Design(alleys=(0, 3), min_m=150, radius="fixed:700", metric="euclid", points={"school": 1}),
    ],
)
def test_script_accepts_honest_rounds(town, tmp_path, design):
    """The stand-alone check derives both rounds again."""
    frame, reach, _ = town
    draws = [draw_round(frame, reach, design, round_id=name, seed="种子") for name in ("a", "b")]
    tables = {"reach": reach, "rounds": pd.concat([draw.rounds for draw in draws])}
    tables |= {"draws": pd.concat([draw.draws for draw in draws])}
    code, text = run_script(tmp_path, vars(frame) | tables)
    assert text.splitlines()[-1] == "accepted"
    assert code == 0


def test_script_refuses_changed_rounds(town, tmp_path):
    """The stand-alone check finds changed cells, deleted and added rows (every 40th is tried)."""
    frame, reach, draw = town
    changes = list(tampered(frame, reach, draw))
    for what, tables in [*changes[::40], *changes[-3:]]:
        code, text = run_script(tmp_path, tables)
        assert code == 1, what
        assert text.splitlines()[-1].startswith("refused: "), what


@pytest.mark.parametrize("rows_at_once", [1, 3, 100])
def test_rows_are_sorted_as_bytes(rows_at_once, monkeypatch):
    """Rows come sorted as their bytes, in parts of any size; one id may begin another."""
    monkeypatch.setattr(rows, "_ROWS_AT_ONCE", rows_at_once)
    ids = ["a", "a\x1e", "a\x1eb", "ab", "a b", "é", "\U0001f6bb", "\uffee"]
    pairs = [(point, "alley", unit, 1.0, np.nan) for point in ids for unit in ids[::-1]]
    reach = pd.DataFrame(pairs, columns=HASHED["reach"])
    found = [row.encode() for part in rows.list_rows("reach", reach, check_text) for row in part]
    assert found == sorted(found)
    assert found[0] == b"reach\x1fa\x1e\x1falley\x1fa\x1e\x1f1.000\x1f"
    assert len(set(found)) == len(ids) ** 2
    with pytest.raises(TableError, match="not unique"):
        list(rows.list_rows("reach", pd.concat([reach, reach[5:6]]), check_text))
