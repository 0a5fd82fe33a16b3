"""The along-the-road reading of real cities against brute force every metre."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import shapely
from shapely.ops import nearest_points, substring

from survey.coverage.spacing import MAIN_CLASSES, Spacing, measure_spacing
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
LIMIT_M, BESIDE_M, PAIR_M = 500, 50, 50


@dataclass(frozen=True)
class City:
    """A city's frame, its toilets with all that could open as if they had, and what was found."""

    frame: Frame
    supply: pd.DataFrame
    spacing: Spacing


@pytest.fixture(scope="module", params=BOXES)
def city(request):
    path = MONACO
    if request.param != "monaco":
        if not os.environ.get("SURVEY_TEST_DATA"):
            pytest.skip("SURVEY_TEST_DATA names no folder with more extracts")
        path = Path(os.environ["SURVEY_TEST_DATA"]) / f"{request.param}.osm.pbf"
    frame = build_frame(read_extract(path, find_area(extract=path, bbox=BOXES[request.param])))
    # Toilets alone leave most roads without any, and nothing to be compared.
    supply = pd.concat(
        [
            frame.supply().rename(columns={"toilet_id": "facility_id"}),
            frame.candidates.rename(columns={"candidate_id": "facility_id"}),
        ],
        ignore_index=True,
    )[["facility_id", "geometry"]]
    return City(frame, supply, measure_spacing(frame, supply))


def find_main(frame):
    edges = frame.streets.edges
    return edges[edges["highway"].isin(MAIN_CLASSES) & edges["public"] & edges["inside"]]


def find_met(city):
    """Find which toilets are beside each route or a carriageway of its name: rows of the supply."""
    routes, main = city.spacing.routes, find_main(city.frame)
    everywhere = shapely.union_all(routes.geometry.array).buffer(0.01)
    met = []
    for route in routes.itertuples():
        road = route.geometry
        if isinstance(route.name, str):
            second = shapely.union_all(main.geometry[main["name"] == route.name])
            strip = shapely.buffer(road, PAIR_M + 0.01, quad_segs=64)
            second = second.difference(everywhere).intersection(strip)
            road = road if second.is_empty else shapely.union(road, second)
        away = shapely.distance(road, city.supply.geometry.array)
        met.append(np.flatnonzero(away.round(3) <= BESIDE_M))
    return met


def walk_all(city, met, move=None):
    """Walk from every metre of each route, closer where there are few, and see what fails.

    Returns the metres checked and the metres that fail of each route.
    """
    step = min(1.0, city.spacing.checked_m / 10_000)
    spans, failing = [], []
    for route, rows in zip(city.spacing.routes.itertuples(), met, strict=True):
        line = route.geometry
        span = line.length - LIMIT_M * (not route.loop) if route.length_m >= LIMIT_M else 0.0
        toilets = city.supply.geometry.iloc[rows]
        places = [
            nearest_points(line, move(toilet, line) if move else toilet)[0] for toilet in toilets
        ]
        ahead = shapely.LineString([*line.coords, *line.coords[1:]]) if route.loop else line
        count = max(1, round(span / step))
        fails = span if not places else 0.0
        for start in (np.arange(count) + 0.5) * span / count if span and places else ():
            walked = substring(ahead, start, start + LIMIT_M)
            fails += span / count * (shapely.distance(walked, places).min() > 1e-6)
        spans.append(span)
        failing.append(fails)
    return np.array(spans), np.array(failing)


def to_nearest_node(place, line):
    """Bring a toilet to the nearest vertex of the road, as the wrong twin does."""
    vertices = shapely.points(line.coords)
    return vertices[np.argmin(shapely.distance(vertices, place))]


def test_brute_force_agrees(city):
    """Failing walks agree with brute force to a thousandth; toilets put at nodes do not.

    Route by route, for what is too much on one must not make up for what is missing on another.
    """
    met = find_met(city)
    routes = city.spacing.routes
    assert routes["facilities"].tolist() == [len(rows) for rows in met]
    checked, failing = walk_all(city, met)
    assert np.abs(routes["walks_m"] - checked).max() <= 0.05
    assert 0.01 < city.spacing.share < 0.99
    assert abs(city.spacing.share - (1 - failing.sum() / checked.sum())) <= 0.001
    gate = 0.001 * checked.sum()
    assert np.abs(routes["failing_m"] - failing).sum() <= gate
    assert np.abs(routes["failing_m"] - walk_all(city, met, to_nearest_node)[1]).sum() > gate


def test_rows_of_gaps_add_up(city):
    """The rows of a stretch are as long as the stretch, and its starts fail but for the limit."""
    gaps = city.spacing.gaps
    rows = gaps.assign(length_mm=gaps["to_mm"] - gaps["from_mm"]).groupby("stretch")
    first = rows.first()
    assert (rows["length_mm"].sum() / 1000).round(3).tolist() == first["stretch_m"].tolist()
    assert (first["stretch_m"] - LIMIT_M).round(3).tolist() == first["failing_m"].round(3).tolist()
    assert first["failing_m"].sum() == pytest.approx(city.spacing.failing_m, abs=0.001)
    assert (gaps["from_mm"] >= 0).all()
    assert (gaps["to_mm"] <= city.frame.streets.length_mm[gaps["edge"]]).all()


def test_every_main_road_is_laid_out_once(city):
    """Each metre of main road is on one route, or within 50 m of one of the same name."""
    routes, main = city.spacing.routes, find_main(city.frame)
    lines = shapely.union_all(routes.geometry.array)
    # laid one upon another, routes are no shorter together than one by one
    assert lines.length == pytest.approx(routes["length_m"].sum(), rel=0.001)
    left = shapely.difference(main.geometry.array, lines.buffer(0.01))
    for name, line in zip(main["name"], left, strict=True):
        if line.length > 0.1:
            own = shapely.union_all(routes.geometry[routes["name"] == name])
            assert line.difference(own.buffer(PAIR_M + 0.05, quad_segs=64)).length < 0.1


def test_toilets_alone(city):
    """With fewer toilets no more walks meet one, and with none no walk does."""
    own = city.supply[city.supply["facility_id"].isin(city.frame.supply()["toilet_id"])]
    fewer = measure_spacing(city.frame, own.reset_index(drop=True))
    none = measure_spacing(city.frame, own[:0])
    assert none.share == 0 <= fewer.share <= city.spacing.share
    assert none.checked_m == fewer.checked_m == city.spacing.checked_m
    assert fewer.share <= fewer.share_high <= 1
