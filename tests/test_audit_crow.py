"""Straight-line coverage on single streets, by Pythagoras, and among many toilets."""

import numpy as np
import pytest

from audit_towns import audit_one, make_town
from oracle import find_faults, find_rows, sample_crow, sample_walk


def audit_crow(frame, limit_m):
    return audit_one(frame, "crow", limit_m)


def one_street(*vertices):
    return [{"u": "a", "v": "b", "vertices": vertices}]


def toilets(*places):
    return [{"id": f"node/{number}", "place": place} for number, place in enumerate(places)]


def rows(table):
    names = ["from_m", "to_m", "toilet_id", "worst_m"]
    return [tuple(row) for row in table.sort_values(["edge_id", "from_m"])[names].to_numpy()]


def test_chord():
    """One toilet covers the chord of its circle, 3-4-5, though it has no door."""
    audit = audit_crow(make_town(one_street((0, 0), (1_000, 0)), toilets((500, 300))), 500)
    assert rows(audit.covered) == [(100, 900, "node/0", 500)]
    end = 583.095  # sqrt(500^2 + 300^2)
    assert rows(audit.gaps) == [(0, 100, "node/0", end), (900, 1_000, "node/0", end)]


def test_chord_over_a_bend():
    """Offsets run on around a bend, and what is within reach on both sides of it is one row."""
    street = one_street((0, 0), (300, 0), (300, 700))
    audit = audit_crow(make_town(street, toilets((300, 0))), 250)
    assert rows(audit.covered) == [(50, 550, "node/0", 250)]
    assert rows(audit.gaps) == [(0, 50, "node/0", 300), (550, 1_000, "node/0", 700)]


def test_touch_is_nothing():
    """A circle that only touches the street covers no metre of it, and cuts no gap in two."""
    audit = audit_crow(make_town(one_street((0, 0), (800, 0)), toilets((400, 500))), 500)
    assert audit.covered.empty
    assert rows(audit.gaps) == [(0, 800, "node/0", 640.312)]  # sqrt(400^2 + 500^2)


def test_nearest_changes_at_the_bisector():
    """Covered rows are split where two toilets are equally far."""
    audit = audit_crow(
        make_town(one_street((0, 0), (1_000, 0)), toilets((200, 100), (700, 200))), 1_000
    )
    # (x - 200)^2 + 100^2 = (x - 700)^2 + 200^2 at x = 480: sqrt(280^2 + 100^2) = 297.321
    # worst at the ends: at x = 480, and at x = 1,000 sqrt(300^2 + 200^2) = 360.555
    assert rows(audit.covered) == [(0, 480, "node/0", 297.321), (480, 1_000, "node/1", 360.555)]
    assert audit.gaps.empty


def test_bisector_of_a_slanting_street():
    """The same holds on a street in any direction, here 3-4-5."""
    street = one_street((0, 0), (600, 800))
    # 200 m and 700 m along it, off to its left by 50 m: (-0.8, 0.6) * 50 = (-40, 30)
    near, far = (120 - 40, 160 + 30), (420 - 40, 560 + 30)
    audit = audit_crow(make_town(street, toilets(near, far)), 1_000)
    # halfway at 450 m: sqrt(250^2 + 50^2); the far end: sqrt(300^2 + 50^2)
    assert rows(audit.covered) == [(0, 450, "node/0", 254.951), (450, 1_000, "node/1", 304.138)]


def test_toilet_in_the_shadow():
    """A toilet that is nowhere the nearest has no row, one that is only just has a short one."""
    street = one_street((0, 0), (1_000, 0))
    # s^2 is common: lines c + m s are 250,000 - 400 s... the middle one is lowest where
    # 500^2 + 60^2 - 1000 s < 400^2 - 800 s (s > 468) and < 600^2 - 1200 s (s < 532)
    audit = audit_crow(make_town(street, toilets((400, 0), (500, 60), (600, 0))), 2_000)
    assert [row[:3] for row in rows(audit.covered)] == [
        (0, 468, "node/0"),
        (468, 532, "node/1"),
        (532, 1_000, "node/2"),
    ]
    audit = audit_crow(make_town(street, toilets((400, 0), (500, 101), (600, 0))), 2_000)
    assert [row[:3] for row in rows(audit.covered)] == [
        (0, 500, "node/0"),
        (500, 1_000, "node/2"),
    ]


@pytest.mark.parametrize("before", range(12))
def test_vertex_on_half_a_millimetre(before):
    """Rows meet at a vertex that lies on half a millimetre, whatever streets stand before."""
    # there and back 141.421356 m each: 282.843 m, its middle at 141.4215
    streets = [
        {"u": "a", "v": "b", "vertices": [(0, 0), (100 + 7.313 * before, 33.3)]},
        {"u": "c", "v": "c", "vertices": [(0, 0), (100, 100), (0, 0)]},
    ]
    gaps = audit_crow(make_town(streets), 50).gaps
    assert gaps.loc[gaps["edge_id"] == "way/1:0", "length_m"].to_list() == [282.843]


def test_two_at_one_place():
    """Of two toilets at one place one gives its name to the whole street."""
    audit = audit_crow(make_town(one_street((0, 0), (100, 0)), toilets((50, 10), (50, 10))), 60)
    assert [row[:2] for row in rows(audit.covered)] == [(0, 100)]


def test_toilet_on_the_street():
    """A toilet on the street itself is 0 m away there, and the row's worst is at its end."""
    audit = audit_crow(make_town(one_street((0, 0), (100, 0)), toilets((0, 0))), 100)
    assert rows(audit.covered) == [(0, 100, "node/0", 100)]
    assert audit.gaps.empty


@pytest.mark.parametrize("limit_m", [40, 120, 333.333])
def test_among_many(limit_m):
    """Among 150 toilets every metre of long winding streets has its nearest one, as by brute force.

    Both ends of a row are as far as its worst at most, and the row's toilet is the nearest at
    every position in it, gaps included.
    """
    rng = np.random.default_rng(20260101)
    streets = [
        {"u": f"a{n}", "v": f"b{n}", "vertices": rng.uniform(0, 1_500, (8, 2)).round(2).tolist()}
        for n in range(12)
    ]
    places = rng.uniform(0, 1_500, (150, 2)).round(2).tolist()
    frame = make_town(streets, toilets(*places))
    audit = audit_crow(frame, limit_m)
    edges = frame.streets.edges
    samples = sample_crow(edges, sample_walk(edges, frame.doors, frame.toilets), frame.toilets)
    assert find_faults(samples, audit.covered, "crow", limit_m).empty

    row = find_rows(samples, audit.covered)
    inside = samples[row >= 0]
    mine = audit.covered.iloc[row[row >= 0]]
    chosen = frame.toilets.set_index("toilet_id").geometry[mine["toilet_id"]]
    own_m = np.hypot(chosen.x.to_numpy() - inside["x"], chosen.y.to_numpy() - inside["y"])
    # 1 mm of rounding along the street moves the distance by 1 mm at most
    np.testing.assert_allclose(own_m, inside["crow_m"], atol=0.002)
    assert (own_m.to_numpy() <= mine["worst_m"].to_numpy() + 0.002).all()

    row = find_rows(samples, audit.gaps)
    worst = samples[row >= 0].groupby(row[row >= 0])["crow_m"].max()
    # the worst lies at most a cell's length from a sample: half inside, half at a row's end
    exact = audit.gaps["worst_m"].iloc[worst.index]
    assert (worst.to_numpy() <= exact.to_numpy() + 0.002).all()
    assert (worst.to_numpy() >= exact.to_numpy() - 1.002).all()
