"""Laws of the audit on random small street networks."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from audit_towns import audit_one, fill, make_town, merge_rows, reverse, shuffle
from oracle import find_faults, find_rows, sample_crow, sample_walk
from survey.sampling.walks import reached_stretches

METRICS = ("walk", "crow")
both = pytest.mark.parametrize("metric", METRICS)
few = settings(max_examples=15, deadline=None)
seeds = st.integers(0, 2**32 - 1)
limits = st.integers(1, 700_000).map(lambda mm: mm / 1_000)
spots = st.tuples(*[st.integers(0, 400_000).map(lambda mm: mm / 1_000)] * 2)
# Corners of a coarse grid meet, coincide and line up as free ones never do.
corners = st.tuples(*[st.integers(0, 3).map(lambda n: n * 100.0)] * 2)
places = st.one_of(corners, spots)


@st.composite
def street(draw, nodes):
    """One edge: straight, bent, parallel to another, a loop, or without any length."""
    u, v = (draw(st.integers(0, len(nodes) - 1)) for _ in range(2))
    bends = draw(st.lists(places, min_size=2 if u == v else 0, max_size=2))
    kind = draw(st.sampled_from(["street"] * 6 + ["margin", "driveway", "motorway"]))
    return {
        "u": f"node/{u}",
        "v": f"node/{v}",
        "vertices": [nodes[u], *bends, nodes[v]],
        "name": draw(st.sampled_from(["东街", "西街", None])),
        "walkable": kind != "motorway",
        "public": kind in {"street", "margin"},
        "inside": kind != "margin",
    }


@st.composite
def object_at(draw, name, edges, least):
    """One toilet or point with doors at any offset: at nodes, mid-block, two at one place."""
    walkable = [n for n, edge in enumerate(edges) if edge["walkable"]]
    doors = []
    for _ in range(draw(st.integers(least, 2))):
        edge = draw(st.sampled_from(walkable))
        length = round(shapely.LineString(edges[edge]["vertices"]).length, 3)
        share = draw(st.sampled_from([0, 0, 1, 1 / 2, 1 / 3, 0.123456]))
        access = draw(st.sampled_from([0.0, 0.0, 12.345, 80.0]))
        doors.append((edge, round(share * length, 3), access))
    return {"id": name, "place": draw(places), "doors": doors}


@st.composite
def parts(draw):
    """Edges, toilets and points of a small network with several components."""
    nodes = draw(st.lists(places, min_size=2, max_size=6))
    edges = draw(st.lists(street(nodes), min_size=1, max_size=8))
    checked = [edge for edge in edges if edge["public"] and edge["inside"]]
    assume(any(shapely.LineString(edge["vertices"]).length > 0.001 for edge in checked))
    count = draw(st.integers(0, 4))
    toilets = [
        draw(object_at(f"node/{number}", edges, 0))
        | {"status": draw(st.sampled_from(["public", "opened", "closed"]))}
        for number in range(count)
    ]
    points = [draw(object_at(f"way/{number}", edges, 0)) for number in range(2)]
    return edges, toilets, points


@st.composite
def towns(draw):
    """Frames of such networks; the edge of the data may lie anywhere around."""
    west, south, east, north = (draw(st.integers(1, 1_500)) for _ in range(4))
    return make_town(*draw(parts()), data_edge=(-west, -south, 400 + east, 400 + north))


def total(rows):
    return round(float(rows["length_m"].sum()), 3)


@both
@few
@given(frame=towns(), limit_m=limits)
def test_covered_and_gaps_tile_the_streets(metric, frame, limit_m):
    """Covered stretches and gaps fill every edge to the mm, the first ones within the limit."""
    found = audit_one(frame, metric, limit_m)
    edges = frame.streets.edges
    edges = edges[edges["public"] & edges["inside"] & (edges["length_m"] > 0)]
    columns = ["edge_id", "from_m", "to_m", "length_m"]
    rows = pd.concat([found.covered[columns], found.gaps[columns]])
    assert merge_rows(rows) == sorted(
        (edge, 0.0, length)
        for edge, length in zip(edges["edge_id"], edges["length_m"], strict=True)
    )
    assert total(rows) == total(edges)
    np.testing.assert_array_equal((rows["to_m"] - rows["from_m"]).round(3), rows["length_m"])
    summary = found.summary.iloc[0]
    assert summary["checked_m"] == total(edges)
    assert summary["covered_m"] == total(found.covered)
    assert 0 <= summary["share"] <= summary["share_high"] <= 1
    assert summary["unconnected_gap_m"] == total(found.gaps[found.gaps["toilet_id"].isna()])
    assert (found.covered["worst_m"] <= limit_m).all()
    assert (found.gaps["worst_m"].dropna() >= limit_m).all()
    assert (found.gaps["worst_m"].isna() == found.gaps["toilet_id"].isna()).all()


@both
@few
@given(frame=towns(), limit_m=limits)
def test_brute_force_agrees(metric, frame, limit_m):
    """At positions every metre the audit says what a search on a graph of them all says.

    A row's worst is the worst in it, the toilet that it names is the nearest wherever the row is
    covered, and a gap is marked exactly where the data end within the limit of it.
    """
    found = audit_one(frame, metric, limit_m)
    edges = frame.streets.edges
    samples = sample_walk(edges, frame.doors, frame.toilets)
    samples = sample_crow(edges, samples, frame.toilets)
    faults = find_faults(samples, found.covered, metric, limit_m)
    assert faults.empty
    for rows in (found.covered, found.gaps):
        row = find_rows(samples, rows)
        mine = samples[(row >= 0) & np.isfinite(samples[f"{metric}_m"])]
        worst = rows["worst_m"].to_numpy()[row[mine.index]]
        assert (mine[f"{metric}_m"] <= worst + 0.002).all()
        # the toilet that a row names is the nearest one wherever the row is covered
        for toilet in set(rows["toilet_id"].dropna()) if rows is found.covered else ():
            alone = frame.toilets[frame.toilets["toilet_id"] == toilet]
            own = sample_crow(edges, sample_walk(edges, frame.doors, alone), alone)
            here = (row >= 0) & (rows["toilet_id"].to_numpy()[row] == toilet)
            away = own.loc[here, f"{metric}_m"] - samples.loc[here, f"{metric}_m"]
            assert (away <= 0.002).all()
    row = find_rows(samples, found.gaps)
    mine = shapely.points(samples.loc[row >= 0, ["x", "y"]])
    beyond_m = shapely.distance(mine, frame.data_edge.boundary)
    clear = np.abs(beyond_m - limit_m) > 0.002
    marked = found.gaps["near_edge"].to_numpy()[row[row >= 0]]
    np.testing.assert_array_equal(marked[clear], (beyond_m < limit_m)[clear])


@both
@few
@given(drawn=parts(), limit_m=limits, data=st.data())
def test_another_toilet_never_lengthens_gaps(metric, drawn, limit_m, data):
    """One toilet more leaves no more of any street in a gap."""
    edges, toilets, points = drawn
    more = data.draw(object_at("node/more", edges, 0)) | {"status": "public"}
    before = audit_one(make_town(edges, toilets, points), metric, limit_m)
    after = audit_one(make_town(edges, [*toilets, more], points), metric, limit_m)
    # by crow every end of a row is rounded to the millimetre
    slack = 0.002 * len(after.gaps) if metric == "crow" else 0
    assert total(after.gaps) <= total(before.gaps) + slack


@both
@few
@given(frame=towns(), limit_m=limits, more_m=st.integers(0, 300))
def test_larger_limit_never_lengthens_gaps(metric, frame, limit_m, more_m):
    """A larger limit leaves no more of any street in a gap."""
    before = audit_one(frame, metric, limit_m)
    after = audit_one(frame, metric, limit_m + more_m)
    slack = 0.002 * len(after.gaps) if metric == "crow" else 0
    assert total(after.gaps) <= total(before.gaps) + slack


@both
@few
@given(frame=towns(), limit_m=limits, seed=seeds)
def test_row_order_does_not_matter(metric, frame, limit_m, seed):
    """The rows of all tables in another order give the same rows, shares and sums."""
    frames = (frame, shuffle(frame, seed))
    one, other = (audit_one(each, metric, limit_m) for each in frames)
    for name, key in (("covered", ["edge_id", "from_m"]), ("gaps", ["gap_id"])):
        pair = [
            found.tables[name].sort_values(key).reset_index(drop=True) for found in (one, other)
        ]
        pd.testing.assert_frame_equal(*[table.drop(columns="geometry") for table in pair])
    pd.testing.assert_frame_equal(one.summary, other.summary)
    pd.testing.assert_frame_equal(one.shares, other.shares, atol=0.002, rtol=0)


@both
@few
@given(frame=towns(), limit_m=limits, seed=seeds)
def test_direction_does_not_matter(metric, frame, limit_m, seed):
    """Edges drawn the other way round have the same gaps, mirrored, to a millimetre."""
    edges = frame.streets.edges
    which = np.random.default_rng(seed).random(len(edges)) < 0.5
    one, other = (
        audit_one(frame, metric, limit_m),
        audit_one(reverse(frame, which), metric, limit_m),
    )
    length = edges.set_index("edge_id")["length_m"]
    turned = set(edges["edge_id"][which])
    for name in ("covered", "gaps"):
        expected = [
            (edge, length[edge] - end, length[edge] - start) if edge in turned else row
            for row in merge_rows(one.tables[name])
            for edge, start, end in [row]
        ]
        found = merge_rows(other.tables[name])
        long = [
            sorted(row for row in rows if row[2] - row[1] > 0.0025) for rows in (expected, found)
        ]
        assert [row[0] for row in long[0]] == [row[0] for row in long[1]]
        for row, twin in zip(*long, strict=True):
            assert row[1:] == pytest.approx(twin[1:], abs=0.0015)
    slack = 0.0011 * (2 + len(one.gaps) + len(other.gaps))
    assert total(one.gaps) == pytest.approx(total(other.gaps), abs=slack)


@both
@few
@given(frame=towns(), limit_m=limits)
def test_shares_are_parts_of_the_whole(metric, frame, limit_m):
    """The subdistrict of everything has the share of the audit; a wider walk sees no less."""
    found = audit_one(frame, metric, limit_m)
    whole = found.shares[found.shares["scope"] == "subdistrict"].iloc[0]
    summary = found.summary.iloc[0]
    slack = 0.002 * (len(found.covered) + len(frame.streets.edges))
    for name in ("checked_m", "covered_m"):
        assert whole[name] == pytest.approx(summary[name], abs=slack)
    points = found.shares[found.shares["scope"] == "point"]
    assert (points["covered_m"] <= points["checked_m"] + slack).all()
    for _, rows in points.groupby("id"):
        ordered = rows.sort_values("within_m")
        assert (ordered["checked_m"].diff().dropna() >= -slack).all()
        assert (ordered["covered_m"].diff().dropna() >= -slack).all()
        assert ordered["checked_m"].iloc[-1] <= summary["checked_m"] + slack


def overlap(one, other):
    """Sum the common length of two lists of (edge, from, to); those of a list do not overlap."""
    return sum(
        max(0, min(end, stop) - max(start, begin))
        for edge, start, end in one
        for other_edge, begin, stop in other
        if edge == other_edge
    )


@few
@given(frame=towns(), limit_m=limits)
def test_shares_on_foot_equal_brute_force(frame, limit_m):
    """On foot a share is that of the stretches reached from the point, each row by each."""
    found = audit_one(frame, "walk", limit_m)
    edges = frame.streets.edges
    checked = (edges["public"] & edges["inside"]).to_numpy()
    covered = [
        (row.edge_id, round(row.from_m * 1000), round(row.to_m * 1000))
        for row in found.covered.itertuples()
    ]
    shares = found.shares[found.shares["scope"] == "point"].set_index(["id", "within_m"])
    for within_m in (500, 1_000, 2_000):
        reached = reached_stretches(frame, within_m)
        for number, point in enumerate(frame.points["point_id"]):
            mine = reached[(reached["point"] == number) & checked[reached["edge"]]]
            spans = [
                (edges["edge_id"].iloc[edge], start, end)
                for _, edge, start, end in mine.itertuples(index=False)
            ]
            row = shares.loc[(point, within_m)]
            assert round(row["checked_m"] * 1000) == sum(end - start for _, start, end in spans)
            assert round(row["covered_m"] * 1000) == overlap(spans, covered)


@both
@few
@given(frame=towns(), limit_m=limits)
def test_stretches_are_one_street(metric, frame, limit_m):
    """The gaps of one stretch share a name or a way, and hang together on the ground."""
    gaps = audit_one(frame, metric, limit_m).gaps
    for name, rows in gaps.groupby("stretch_id"):
        assert name == rows["gap_id"].min()
        assert len(set(rows["name"].fillna(""))) == 1
        lines = shapely.union_all(shapely.buffer(rows.geometry.to_numpy(), 0.01))
        assert lines.geom_type == "Polygon"


def test_closing_is_as_good_as_absence():
    """A closed toilet changes nothing, whatever doors it has."""
    streets = [{"u": "a", "v": "b", "vertices": [(0, 0), (900, 0)]}]
    toilet = {"id": "node/1", "place": (0, 0), "doors": [(0, 0.0, 0.0)]}
    closed = {"id": "node/2", "place": (900, 0), "doors": [(0, 900.0, 0.0)], "status": "closed"}
    frame = make_town(streets, [toilet, closed])
    alone = replace(frame, toilets=frame.toilets.iloc[:1], doors=fill("doors", frame.doors[:1]))
    for metric in METRICS:
        one, other = (audit_one(town, metric, 500) for town in (frame, alone))
        pd.testing.assert_frame_equal(one.gaps, other.gaps)
        pd.testing.assert_frame_equal(one.covered, other.covered)
