"""The along-the-road reading on roads drawn by hand, with answers worked out on paper."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import shapely
from shapely.geometry import Point

from audit_towns import reverse, shuffle
from sketch import draw_frame
from survey.coverage.spacing import measure_spacing
from survey.errors import RuleError

RING = {
    "south": [(0, 0), (400, 0)],
    "east": [(400, 0), (400, 400)],
    "north": [(400, 400), (0, 400)],
    "west": [(0, 400), (0, 0)],
}


def draw_roads(lines, toilets=(), *, name="甲路", highway="primary", **columns):
    """Draw a frame of main roads of one name, or of {edge id: name}, and toilets at places."""
    names = name if isinstance(name, dict) else dict.fromkeys(lines, name)
    classes = highway if isinstance(highway, dict) else dict.fromkeys(lines, highway)
    spots = {f"node/{number}": Point(place) for number, place in enumerate(toilets)}
    return draw_frame(lines, toilets=spots, name=names, highway=classes, **columns)


def measure(frame, **options):
    supply = frame.supply().rename(columns={"toilet_id": "facility_id"})
    return measure_spacing(frame, supply, **options)


def measure_roads(lines, toilets=(), **columns):
    return measure(draw_roads(lines, toilets, **columns))


def lengths(spacing):
    return sorted(spacing.routes["length_m"].round(2), reverse=True)


def lay_gaps(spacing):
    """List the rows of gaps as (edge, from_m, to_m, facility), by stretch."""
    rows = spacing.gaps.assign(
        from_m=spacing.gaps["from_mm"] / 1000, to_m=spacing.gaps["to_mm"] / 1000
    )
    columns = ["edge", "from_m", "to_m", "facility"]
    return [
        list(own[columns].itertuples(index=False, name=None)) for _, own in rows.groupby("stretch")
    ]


def test_road_that_ends():
    """A toilet at 600 of 1,500 m leaves stretches of 600 and 900: 100 + 400 of 1,000 m fail."""
    pieces = {number: [(500 * number, 0), (500 * number + 500, 0)] for number in range(3)}
    found = measure_roads({f"e{number}": line for number, line in pieces.items()}, [(600, 30)])
    assert (found.checked_m, found.failing_m, found.share) == (1000, 500, 0.5)
    assert found.routes.loc[0, ["route_id", "facilities", "loop"]].tolist() == ["甲路#1", 1, False]
    assert lay_gaps(found) == [
        [(0, 0, 500, 0), (1, 0, 100, 0)],
        [(1, 100, 500, 0), (2, 0, 500, 0)],
    ]
    assert found.gaps["stretch_m"].unique().tolist() == [600, 900]
    assert found.share_high == found.share


def test_gap_between_two_toilets_belongs_half_to_each():
    """Of 800 m between toilets at 100 and 900 the first half is nearer to one, then the other."""
    found = measure_roads({"e": [(0, 0), (1000, 0)]}, [(900, 5), (100, 5)])
    assert found.failing_m == 300
    assert lay_gaps(found) == [[(0, 100, 500, 1), (0, 500, 900, 0)]]


def test_no_toilets():
    """Without toilets every walk fails, and no toilet is the nearer one."""
    found = measure_roads({"e": [(0, 0), (1500, 0)]})
    assert (found.failing_m, found.share) == (1000, 0)
    assert lay_gaps(found) == [[(0, 0, 1500, -1)]]


def test_all_met():
    """A toilet every 500 m leaves no gap: a walk that just reaches it has met it."""
    found = measure_roads({"e": [(0, 0), (1500, 0)]}, [(500, 0), (1000, 0)])
    assert found.share == found.share_high == 1
    assert found.gaps.empty


@pytest.mark.parametrize(
    ("toilets", "failing_m"),
    [([], 1600), ([(200, -20)], 1100), ([(200, -20), (420, 200)], 700), ([(0, 0)], 1100)],
    ids=["none", "one", "two", "corner"],
)
def test_loop(toilets, failing_m):
    """Round a ring of 1,600 m one toilet leaves 1,600 m, two 400 m apart leave 400 and 1,200."""
    found = measure_roads(RING, toilets)
    assert found.routes["loop"].tolist() == [True]
    assert (found.checked_m, found.failing_m) == (1600, failing_m)
    length = found.gaps["to_mm"] - found.gaps["from_mm"]
    assert length.sum() / 1000 == found.gaps["stretch_m"].iloc[0]


def test_loop_of_one_edge():
    """A ring that is one edge back to its own node is a loop like any other."""
    ring = shapely.LineString([(0, 0), (400, 0), (400, 400), (0, 400), (0, 0)])
    found = measure_roads({"ring": list(ring.coords)}, [(200, -20)])
    assert found.routes["loop"].tolist() == [True]
    assert (found.checked_m, found.failing_m) == (1600, 1100)


def test_dual_carriageway():
    """Two carriageways of 1,200 m count once, and toilets beside either are met.

    At 300 one lies 50 m south of the southern carriageway, at 800 one 50 m north of the northern.
    """
    lines = {"a": [(0, 0), (1200, 0)], "b": [(1200, 30), (0, 30)]}
    toilets = [(300, -50), (800, 80)]
    found = measure_roads(lines, toilets)
    assert lengths(found) == [1200]
    assert (found.checked_m, found.failing_m) == (700, 0)
    # As two roads each meets one: 900 - 500 fails on the southern, 800 - 500 on the northern.
    apart = measure_roads(lines, toilets, name={"a": "甲路", "b": "乙路"})
    assert (apart.checked_m, apart.failing_m) == (1400, 700)


def test_carriageways_joined_like_a_ladder():
    """Joined every 300 m, ends too, two carriageways are still one road of 1,200 m."""
    lines = {f"a{x}": [(x, 0), (x + 300, 0)] for x in range(0, 1200, 300)}
    lines |= {f"b{x}": [(x + 300, 30), (x, 30)] for x in range(0, 1200, 300)}
    lines |= {f"rung{x}": [(x, 0), (x, 30)] for x in range(0, 1201, 300)}
    found = measure_roads(lines, [(610, 70)])
    assert lengths(found) == [1200]
    # 610 and 590 m from the toilet to the ends
    assert (found.checked_m, found.failing_m) == (700, 200)


def test_carriageways_join_and_part():
    """Where a road parts round a green and joins again, it is one road of 500 + 510 + 500 m."""
    sides = {
        side: [(500, 0), (520, 15 * sign), (980, 15 * sign), (1000, 0)]
        for side, sign in (("left", 1), ("right", -1))
    }
    lines = {"west": [(0, 0), (500, 0)], "east": [(1000, 0), (1500, 0)]} | sides
    assert lengths(measure_roads(lines)) == [1510]


@pytest.mark.parametrize(
    "more", [{}, {"u-turn": [(0, 0), (0, 30)]}, {"cross": [(480, 0), (480, 30)]}]
)
def test_carriageways_that_meet_at_an_end(more):
    """A road does not come back on its other carriageway, wherever the two are joined.

    Its length is that of one: 480 + 480 m, and 42.72 m aslant to where both meet.
    """
    lines = {"a": [(0, 0), (480, 0)], "b": [(480, 0), (960, 0), (1000, 15)]}
    lines |= {"c": [(1000, 15), (960, 30), (480, 30)], "d": [(480, 30), (0, 30)]}
    found = measure_roads(lines | more)
    assert found.routes["loop"].tolist() == [False]
    assert lengths(found) == [1002.72]


def test_carriageways_that_part():
    """Where a road of 200 m parts into carriageways it goes on along one: 200 + 42.72 + 960 m."""
    lines = {"stem": [(-200, 15), (0, 15)]}
    lines |= {"a": [(0, 15), (40, 0), (1000, 0)], "b": [(1000, 30), (40, 30), (0, 15)]}
    assert lengths(measure_roads(lines)) == [1202.72]


def test_second_carriageway_runs_on():
    """What of the second carriageway lies beyond the first counts: 1,400 - 1,000 - 40 m.

    30 m beside the first, it comes out of the 50 m round its end 40 m farther on.
    """
    found = measure_roads({"a": [(0, 0), (1000, 0)], "b": [(1400, 30), (400, 30)]})
    assert lengths(found) == [1000, 360]


def test_corner_serves_two_roads():
    """A toilet at a crossing is met on both roads: 510 - 500 m of each fail."""
    lines = {"a": [(0, 0), (500, 0)], "b": [(500, 0), (1000, 0)]}
    lines |= {"c": [(500, -500), (500, 0)], "d": [(500, 0), (500, 500)]}
    names = {"a": "甲路", "b": "甲路", "c": "乙路", "d": "乙路"}
    found = measure_roads(lines, [(510, 10)], name=names)
    assert found.routes["facilities"].tolist() == [1, 1]
    assert (found.checked_m, found.failing_m, found.share) == (1000, 20, 0.98)


@pytest.mark.parametrize(("away_m", "failing_m"), [(50, 0), (51, 500)])
def test_beside(away_m, failing_m):
    """A toilet 50 m off the road is met, one 51 m off is not."""
    found = measure_roads({"e": [(0, 0), (1000, 0)]}, [(500, away_m)])
    assert found.failing_m == failing_m


def test_unnamed_goes_straight_on():
    """Unnamed pieces are one road where they go straight on, not round a corner."""
    lines = {"a": [(0, 0), (600, 0)], "b": [(600, 0), (1200, 100)], "c": [(600, 0), (600, 600)]}
    found = measure_roads(lines, name=None)
    assert lengths(found) == [round(600 + np.hypot(600, 100), 2), 600]
    assert found.routes["name"].isna().all()
    assert sorted(found.routes["route_id"]) == ["a#1", "c#1"]


def test_name_goes_round_a_corner():
    """Pieces of one name are one road round a corner too, of 600 + 600 m."""
    lines = {"a": [(0, 0), (600, 0)], "c": [(600, 0), (600, 600)]}
    assert lengths(measure_roads(lines)) == [1200]


def test_fork():
    """At a fork the longest way is one route, and the branch another, to the millimetre.

    A toilet at the fork leaves 600 and 800 m of the one and 700 m of the other: 100 + 300 + 200.
    """
    lines = {"stem": [(0, 0), (600, 0)], "arm": [(600, 0), (1400, 0)]}
    lines |= {"branch": [(600, 0), (600, 700)]}
    found = measure_roads(lines, [(600, -10)])
    assert lengths(found) == [1400, 700]
    assert sorted(found.routes["route_id"]) == ["甲路#1", "甲路#2"]
    assert (found.checked_m, found.failing_m) == (1100, 600)


def test_hairpin_meets_once():
    """A toilet between two legs of a road is met on the nearer alone: 300 and 1,180 m remain."""
    found = measure_roads({"e": [(0, 0), (700, 0), (700, 80), (0, 80)]}, [(300, 39)])
    assert (found.checked_m, found.failing_m) == (980, 680)


def test_short_roads_are_not_judged():
    """A road shorter than the walk is listed and counted, and is no part of the share."""
    lines = {"a": [(0, 0), (1000, 0)], "b": [(0, 900), (400, 900)]}
    found = measure_roads(lines, [(500, 0)], name={"a": "甲路", "b": "乙路"})
    assert (found.short_m, found.checked_m, found.share) == (400, 500, 1)
    alone = measure_roads({"b": lines["b"]})
    assert (alone.short_m, alone.checked_m) == (400, 0)
    assert np.isnan(alone.share)
    assert np.isnan(alone.share_high)


def test_only_main_roads():
    """Side streets, ramps, streets outside and ways that are no public street are not walked."""
    lines = {key: [(0, 200 * row), (1000, 200 * row)] for row, key in enumerate("abcde")}
    classes = dict(
        zip("abcde", ["trunk", "tertiary", "primary_link", "primary", "primary"], strict=True)
    )
    names = {key: f"{key}路" for key in lines}
    flags = {"public": {"d": False}, "inside": {"e": False}}
    frame = draw_roads(lines, name=names, highway=classes, **flags)
    assert measure(frame).routes["name"].tolist() == ["a路"]
    wider = measure(frame, classes=["trunk", "tertiary", "primary_link"])
    assert wider.routes["name"].tolist() == ["a路", "b路"]


def test_no_main_roads():
    """An area without main roads is one clear line."""
    frame = draw_roads({"e": [(0, 0), (1000, 0)]}, highway="residential")
    with pytest.raises(RuleError, match="no road of class trunk, primary, secondary") as error:
        measure(frame)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("edge_x", "share_high"), [(1000, 1), (1099, 1), (1101, 0.6)])
def test_edge_of_the_data(edge_x, share_high):
    """A stretch that comes within 100 m of the edge of the data might be met after all."""
    frame = draw_roads({"e": [(0, 0), (1000, 0)]}, [(300, 0)])
    known = shapely.box(-5_000, -5_000, edge_x, 5_000)
    found = measure(replace(frame, data_edge=known))
    assert (found.share, found.share_high) == (0.6, share_high)


def test_other_limits():
    """Limit and nearness are those that are asked for: at 300 m 1,000 - 600 m of 700 fail."""
    frame = draw_roads({"e": [(0, 0), (1000, 0)]}, [(500, 60)])
    found = measure(frame, limit_m=300, beside_m=60)
    assert (found.checked_m, found.failing_m) == (700, 400)


def make_quarter():
    """Draw a dual carriageway, its branch, a ring, an unnamed fork and toilets in odd places."""
    lines = {f"ring/{key}": [(x + 5000, y) for x, y in line] for key, line in RING.items()}
    bends = [(0, 0), (400, 7), (800, 0), (1200, 12), (1600, 5), (2000, 0)]
    for number, (one, other) in enumerate(pairwise(bends)):
        lines[f"a{number}"] = [one, other]
        lines[f"b{number}"] = [(other[0], 30), (one[0], 30)]
    lines |= {"branch": [(800, 0), (790, -900)], "u1": [(0, 900), (700, 950)]}
    lines |= {"u2": [(700, 950), (1400, 960)], "u3": [(700, 950), (720, 1700)]}
    names = {key: "环路" if key.startswith("ring") else "甲路" for key in lines}
    toilets = [(333, 60), (801, -44), (1777, 12), (5011, 222), (1100, 990), (5400, -7)]
    return draw_roads(lines, toilets, name=names | dict.fromkeys(["u1", "u2", "u3"]))


def summarise(frame):
    """Tell routes and gaps in words that no order of rows and no direction changes."""
    found = measure(frame)
    edges, supply = frame.streets.edges, frame.supply()
    length = frame.streets.length_mm[found.gaps["edge"]]
    turned = edges["u"].to_numpy()[found.gaps["edge"]] > edges["v"].to_numpy()[found.gaps["edge"]]
    start, stop = found.gaps["from_mm"], found.gaps["to_mm"]
    rows = zip(
        edges["edge_id"].to_numpy()[found.gaps["edge"]],
        np.where(turned, length - stop, start).tolist(),
        np.where(turned, length - start, stop).tolist(),
        supply["toilet_id"].to_numpy()[found.gaps["facility"]],
        found.gaps["stretch_m"],
        strict=True,
    )
    routes = found.routes.drop(columns="geometry").sort_values("route_id")
    return routes.to_dict("records"), sorted(rows)


@pytest.mark.parametrize("seed", range(4))
def test_order_and_direction_do_not_matter(seed):
    """Rows in another order and edges drawn the other way round give the same to the millimetre."""
    frame = make_quarter()
    routes, gaps = summarise(frame)
    assert {route["route_id"] for route in routes} >= {"环路#1", "甲路#1", "甲路#2", "u1#1", "u3#1"}
    which = np.random.default_rng(seed).random(len(frame.streets.edges)) < 0.5
    other_routes, other_gaps = summarise(shuffle(reverse(frame, which), seed))
    assert other_routes == routes
    assert len(other_gaps) == len(gaps) > 5
    for one, other in zip(gaps, other_gaps, strict=True):
        assert one[0::3] == other[0::3]
        assert np.abs(np.array(one[1:3]) - other[1:3]).max() <= 1
        assert one[4] == pytest.approx(other[4], abs=0.002)
