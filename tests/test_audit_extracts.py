"""The audit of real cities against brute force that shares no code with it."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyproj
import pytest

from oracle import find_faults, sample_crow, sample_file, sample_walk, share_within
from survey.coverage.audit import Audit, audit_coverage
from survey.frame.assembly import build_frame
from survey.frame.frame import Frame
from survey.sources.area import find_area
from survey.sources.extract import read_extract

MONACO = Path(__file__).parents[1] / "data" / "monaco.osm.pbf"
BOXES = {
    "monaco": (7.409205, 43.723350, 7.448637, 43.751690),
    "nanjing": (118.764, 32.035, 118.797, 32.053),
    "nanshan": (113.923, 22.537, 113.968, 22.560),
}
RULES = ["walk-500", "crow-500"]


@dataclass(frozen=True)
class City:
    """A city's frame and audit, and what brute force measured every metre."""

    path: Path
    box: tuple
    frame: Frame
    audit: Audit
    samples: pd.DataFrame


@pytest.fixture(scope="module", params=BOXES)
def city(request):
    path = MONACO
    if request.param != "monaco":
        if not os.environ.get("SURVEY_TEST_DATA"):
            pytest.skip("SURVEY_TEST_DATA names no folder with more extracts")
        path = Path(os.environ["SURVEY_TEST_DATA"]) / f"{request.param}.osm.pbf"
    box = BOXES[request.param]
    frame = build_frame(read_extract(path, find_area(extract=path, bbox=box)))
    edges = frame.streets.edges
    samples = sample_walk(edges, frame.doors, frame.toilets)
    samples = sample_crow(edges, samples, frame.toilets)
    return City(path, box, frame, audit_coverage(frame, rules=RULES), samples)


@pytest.mark.parametrize("rule", RULES)
def test_brute_force_agrees(city, rule):
    """The share agrees with brute force to a thousandth, and so does every single position."""
    metric = rule[:4]
    summary = city.audit.summary.set_index("rule_id").loc[rule]
    brute = share_within(city.samples, metric, 500)
    assert summary["checked_m"] == pytest.approx(city.samples["weight_m"].sum(), abs=0.001)
    assert abs(summary["share"] - brute) <= 0.001
    cut_off = np.isinf(city.samples[f"{metric}_m"])
    apart = city.samples.loc[cut_off, "weight_m"].sum()
    assert summary["unconnected_gap_m"] == pytest.approx(apart, abs=0.001)
    covered = city.audit.covered[city.audit.covered["rule_id"] == rule]
    assert find_faults(city.samples, covered, metric, 500).empty


@pytest.mark.parametrize("rule", RULES)
def test_rows_fill_the_streets(city, rule):
    """Covered stretches and gaps together are the checked streets, to the millimetre."""
    tables = (city.audit.covered, city.audit.gaps)
    rows = pd.concat([table[table["rule_id"] == rule] for table in tables])
    edges = city.frame.streets.edges
    edges = edges[edges["public"] & edges["inside"] & (edges["length_m"] > 0)]
    length = edges.set_index("edge_id")["length_m"].sort_index()
    found = rows.groupby("edge_id")["length_m"].sum().round(3)
    pd.testing.assert_series_equal(found, length)


def test_lengths_are_those_on_the_globe(city):
    """Lengths in the city's projection are within 0.1 % of those on the ellipsoid."""
    edges = city.frame.streets.edges
    geod = pyproj.Geod(ellps="WGS84")
    on_globe = np.array([geod.geometry_length(line) for line in edges.to_crs(4326).geometry])
    length = edges["length_m"].to_numpy()
    # half a millimetre of rounding is more than that on the shortest edges
    assert (np.abs(length - on_globe) <= 0.001 * on_globe + 0.0006).all()
    assert length.sum() == pytest.approx(on_globe.sum(), rel=0.001)


def test_file_itself_agrees(city):
    """The share on foot agrees to a thousandth with one read off the file by other means.

    There every node of a way is a node of the graph, lengths are those on the ellipsoid, toilets
    are snapped by other code and the area is a box of degrees. Taken over are only which ways are
    walkable, which edges are public, and where toilets are.
    """
    edges, toilets = city.frame.streets.edges, city.frame.toilets
    samples = sample_file(city.path, city.box, edges, toilets)
    brute = share_within(samples, "walk", 500)
    share = city.audit.summary.set_index("rule_id").loc["walk-500", "share"]
    assert abs(share - brute) <= 0.001
