import numpy as np
import pandas as pd
import pytest

from survey.example import example_town
from survey.sampling.reach import measure_reach

NAN = float("nan")

# layer, id, edge_id, offset_m, access_m, kind: read off the drawing
DOORS = [
    ("point", "node/302", "way/2:0", 200, 20, "nearest"),  # (320, 600): 200 south of h
    ("point", "node/303", "way/1:4", 200, 10, "nearest"),  # (1100, 490): 200 east of e
    ("point", "node/304", "way/4:1", 150, 20, "nearest"),  # (880, 350): 150 south of e
    ("point", "node/305", "way/3:0", 200, 10, "nearest"),  # (500, 810): 200 east of h
    ("point", "way/301", "way/1:3", 100, 20, "gate"),  # gate at (700, 480): 100 east of d
    ("compound", "way/201", "way/5:0", 150, 10, "gate"),  # gate at (590, 650): 150 north of d
    ("compound", "way/202", "way/7:0", 150, 0, "crossing"),  # its west side is x = 450
    ("compound", "way/203", "way/4:0", 150, 20, "nearest"),  # its corner is (920, 650)
    ("toilet", "node/101", "way/1:2", 100, 10, "nearest"),
    ("toilet", "node/102", "way/1:5", 250, 100, "nearest"),
    ("toilet", "node/103", "way/3:1", 280, 10, "nearest"),
    ("toilet", "node/104", "way/1:0", 300, 0, "nearest"),
    ("candidate", "node/401", "way/4:0", 200, 10, "nearest"),
    ("candidate", "node/402", "way/7:0", 40, 10, "nearest"),
]

# point, layer, unit, euclid_m, network_m
REACH = [
    ("node/302", "alley", "alley/3", 200, 220),  # 20 + 200 to h
    ("node/302", "compound", "way/202", 364.005, 570),  # 20 + 100 + 300 + 150; (450, 260)
    ("node/303", "compound", "way/201", 512.445, 670),  # 10 + 200 + 300 + 150 + 10; (590, 540)
    ("node/303", "alley", "alley/8", 850.941, 1_110),  # 10 + 200 + 300 + 300 + 300; (300, 200)
    # 56,000 / sqrt(180^2 + 50^2) to its lower side; 20 + 150 + 150 + 20
    ("node/304", "compound", "way/203", 299.761, 340),
    ("node/304", "alley", "alley/9", 86.023, NAN),  # (950, 300); joined to nothing
    ("node/305", "alley", "alley/3", 10, 10),  # beside it
    # (620, 480) to the bent street: 0.6 x 20 + 0.8 x 20; 20 + 100 to d
    ("way/301", "alley", "alley/5", 28, 120),
]


@pytest.fixture(scope="module")
def town():
    return example_town()


def test_doors(town):
    """Every object meets the street where the drawing says."""
    names = ["layer", "id", "edge_id", "offset_m", "access_m", "kind"]
    assert [tuple(row) for row in town.doors[names].to_numpy()] == DOORS
    assert (town.doors["n"] == 0).all()


def test_reach(town):
    """Distances from points to units are those that are added up along the drawing."""
    found = measure_reach(town).set_index(["point_id", "layer", "unit_id"])
    for point, layer, unit, euclid_m, network_m in REACH:
        distances = found.loc[(point, layer, unit)].to_numpy(dtype=float)
        np.testing.assert_allclose(distances, [euclid_m, network_m], atol=0.0005)


def test_awkward_things(town):
    """The town has what makes streets awkward."""
    edges = town.streets.edges.set_index("edge_id")
    walked = edges[edges["walkable"]]
    ends = pd.concat([walked["u"], walked["v"]])
    parallel = edges.loc[["way/5:0", "way/6:0"]]
    assert list(zip(parallel["u"], parallel["v"], strict=True)) == [("node/d", "node/j")] * 2
    assert parallel["length_m"].to_list() == [300, 500]
    assert edges.loc["way/8:0", "u"] == edges.loc["way/8:0", "v"]
    assert (ends == edges.loc["way/7:0", "v"]).sum() == 1
    assert np.unique(town.streets.piece).tolist() == [-1, 0, 1]
    assert town.streets.rows[town.streets.piece == 1].to_list() == ["way/9:0"]
    assert edges.loc["way/1:0", "v"] == edges.loc["way/1:1", "u"] == "cut/1:0"
    inside = edges.groupby("way_id")["inside"].agg(["any", "all"])
    assert inside.index[inside["any"] & ~inside["all"]].to_list() == ["way/1", "way/11"]
    assert set(town.toilets["status"]) == {"public", "opened", "closed"}


def test_area(town):
    """The area is the rectangle that is drawn, in the zone whose middle meridian is its side."""
    assert town.area.crs.to_epsg() == 32650
    assert town.area.shape.bounds == pytest.approx((500_000, 3_550_000, 501_200, 3_551_000))
    assert town.area.shape.area == pytest.approx(1_200_000, abs=1)
    edge = town.data_edge.boundary
    found = [round(edge.distance(shape), 3) for shape in town.points.geometry]
    assert town.points["data_edge_m"].to_list() == found


def test_same_every_time(town):
    """Two calls make equal towns, so that a change of one never shows in another."""
    for name, table in example_town().tables.items():
        pd.testing.assert_frame_equal(table, town.tables[name])
