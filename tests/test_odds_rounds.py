import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from enumeration import list_counts, list_units, make_frame, make_reach
from plain_rounds import count_both, count_hits, draw_by_tickets, find_worst, sweep_radii
from survey.frame.assembly import build_frame
from survey.sampling.design import Design
from survey.sampling.odds import joint_odds, point_odds, visit_odds
from survey.sampling.reach import measure_reach
from survey.sources.area import find_area
from survey.sources.extract import read_extract
from survey.tables import KINDS, LAYERS

MONACO = Path(__file__).parents[1] / "data" / "monaco.osm.pbf"
BOXES = {
    "monaco": (7.409205, 43.723350, 7.448637, 43.751690),
    "nanjing": (118.764, 32.035, 118.797, 32.053),
    "nanshan": (113.923, 22.537, 113.968, 22.560),
}
RING = Design(min_m=300, metric="euclid")
SOME = Design(points={"school": 2, "mall": 3, "station": 1, "market": 0}, alleys=(2, 3))
ONE_EACH = Design(alleys=(9, 9), compounds=(9, 9), points=dict.fromkeys(KINDS, 1))
DESIGNS = {
    "ring": RING,
    "fixed": Design(radius="fixed:800"),
    "table": Design(radius={500: 0.25, 900: 0.5, 2000: 0.25}, alleys=(0, 3)),
    "some": SOME,
}
ROUNDS = 20_000


@pytest.fixture(scope="session", params=BOXES)
def city(request):
    """Give a real city's frame and reach, built once."""
    path = MONACO
    if request.param != "monaco":
        if not os.environ.get("SURVEY_TEST_DATA"):
            pytest.skip("SURVEY_TEST_DATA names no folder with more extracts")
        path = Path(os.environ["SURVEY_TEST_DATA"]) / f"{request.param}.osm.pbf"
    area = find_area(extract=path, bbox=BOXES[request.param])
    frame = build_frame(read_extract(path, area))
    return frame, measure_reach(frame)


@pytest.fixture(scope="session")
def tied(city):
    """Give the city with distances rounded to 100 m, so that most of them are shared."""
    frame, reach = city
    return frame, reach.assign(
        **{name: reach[name].round(-2) for name in ("euclid_m", "network_m")}
    )


def test_gate_by_hand():
    """The gate's z is the plain one for common units, and infinite for what cannot be."""
    z, bound = find_worst(np.array([5_150]), np.array([0.5]), 10_000)
    assert z == pytest.approx(150 / 50, abs=0.02)
    assert bound == pytest.approx(3.2905, abs=1e-4)
    assert find_worst(np.array([1]), np.array([0.0]), 10)[0] == np.inf
    assert find_worst(np.array([9]), np.array([1.0]), 10)[0] == np.inf
    assert find_worst(np.array([0, 10]), np.array([0.0, 1.0]), 10)[0] == -np.inf


def give_odds(frame, reach, design):
    """Give the package's odds, in the order of `list_units`."""
    odds = visit_odds(frame, reach, design)
    assert list(zip(odds["layer"], odds["unit_id"], strict=True)) == list_units(frame)
    return odds["prob"].to_numpy()


def test_default_design_agrees_with_200000_rounds(city):
    """No unit's odds differ from 200,000 simulated rounds by more than chance allows."""
    rounds = 200_000
    hits = count_hits(*city, Design(), rounds=rounds)
    assert hits.sum() > rounds
    z, bound = find_worst(hits, give_odds(*city, Design()), rounds)
    assert z < bound


@pytest.mark.parametrize("name", DESIGNS)
def test_other_designs_agree_with_rounds(city, name):
    """Rings, fixed radii, tables of radii and some points of a kind agree with rounds too."""
    z, bound = find_worst(
        count_hits(*city, DESIGNS[name], rounds=ROUNDS), give_odds(*city, DESIGNS[name]), ROUNDS
    )
    assert z < bound


@pytest.mark.parametrize("design", [Design(), DESIGNS["table"]], ids=["uniform", "table"])
def test_tied_distances_agree_with_rounds(tied, design):
    """Where many units lie equally far, and at the very radius, the odds agree with rounds."""
    z, bound = find_worst(
        count_hits(*tied, design, rounds=ROUNDS), give_odds(*tied, design), ROUNDS
    )
    assert z < bound


def test_pairs_agree_with_rounds(city):
    """Joint odds of all pairs of units agree with rounds; those of independent units do not."""
    frame, reach = city
    units = pd.DataFrame(list_units(frame), columns=["layer", "unit_id"])
    joint = joint_odds(frame, reach, SOME, units).to_numpy()
    hits = count_both(frame, reach, SOME, rounds=ROUNDS)
    upper = np.triu_indices(len(units))
    z, bound = find_worst(hits[upper], joint[upper], ROUNDS)
    assert z < bound
    independent = np.outer(np.diag(joint), np.diag(joint))
    pairs = np.triu_indices(len(units), k=1)
    z, bound = find_worst(hits[pairs], independent[pairs], ROUNDS)
    assert z > bound


def test_ring_taken_as_disc_fails(city):
    """Rounds that draw from the whole disc where the design says a ring are found out."""
    hits = count_hits(*city, replace(RING, min_m=0), rounds=ROUNDS)
    z, bound = find_worst(hits, give_odds(*city, RING), ROUNDS)
    assert z > bound


def test_rank_taken_for_number_within_fails(tied):
    """Rounds that break ties by the order of rows, counting ranks as units, are found out."""

    def rank(metres, radii):
        return np.searchsorted(np.unique(metres), radii, side="right")

    z, bound = find_worst(
        count_hits(*tied, Design(), rounds=ROUNDS, count=rank), give_odds(*tied, Design()), ROUNDS
    )
    assert z > bound


def test_radius_taken_as_open_fails(tied):
    """Rounds that leave out the units at the very radius are found out."""

    def nearer(metres, radii):
        return np.searchsorted(metres, radii, side="left")

    design = DESIGNS["table"]
    z, bound = find_worst(
        count_hits(*tied, design, rounds=ROUNDS, count=nearer), give_odds(*tied, design), ROUNDS
    )
    assert z > bound


def test_visits_taken_as_independent_fails(city):
    """Odds in which each of N points is visited with 1 / N by itself are found out."""
    frame, reach = city
    prob = give_odds(frame, reach, ONE_EACH)
    hits = count_hits(frame, reach, ONE_EACH, rounds=ROUNDS)
    z, bound = find_worst(hits, prob, ROUNDS)
    assert z < bound
    kinds = frame.points.set_index("point_id")["kind"]
    pairs = point_odds(frame, reach, ONE_EACH)
    missed = 1 - pairs["prob"] / pairs["point_id"].map(kinds.map(kinds.value_counts()))
    prob = 1 - missed.groupby([pairs["layer"], pairs["unit_id"]]).prod()
    prob = prob.reindex(list_units(frame), fill_value=0).to_numpy()
    z, bound = find_worst(hits, prob, ROUNDS)
    assert z > bound


@pytest.mark.parametrize("name", ["default", "one"])
def test_band_agrees_with_every_radius(city, name):
    """The band's ends are the extremes over every radius at which anything changes."""
    frame, reach = city
    design = {"default": Design(), "one": ONE_EACH}[name]
    odds = visit_odds(frame, reach, design)
    low, high = sweep_radii(frame, reach, design)
    low, high = np.minimum(low, odds["prob"]), np.maximum(high, odds["prob"])
    assert np.abs(odds["prob_low"] - low).max() < 1e-12
    assert np.abs(odds["prob_high"] - high).max() < 1e-12


def test_choice_with_weights_fails(city):
    """Rounds drawn by Generator.choice(replace=False, p=) with the right odds are found out.

    Its p are the weights of the first draw, not inclusion probabilities: what has the nearest
    place to itself is nearly certain, and no weight makes it so. Two points do, those with the
    fewest units near them, because the twin draws one round at a time.
    """
    frame, reach = city
    design = Design(alleys=(3, 3), compounds=(3, 3), within_m=(400, 900))
    reached = reach[reach["network_m"] < 400].groupby("point_id").size().sort_values(kind="stable")
    chosen = frame.points["point_id"].isin(reached.index[:2])
    frame = SimpleNamespace(
        points=frame.points[chosen], alleys=frame.alleys, compounds=frame.compounds
    )
    prob = give_odds(frame, reach, design)
    z, bound = find_worst(count_hits(frame, reach, design, rounds=ROUNDS), prob, ROUNDS)
    assert z < bound
    hits = count_by_choice(frame, reach, design, ROUNDS // 2)
    open_to_chance = (prob > 0.01) & (prob < 0.99)
    z, bound = find_worst(hits[open_to_chance], prob[open_to_chance], ROUNDS // 2)
    assert z > bound


def count_by_choice(frame, reach, design, rounds):
    """Count draws by a weighted choice among all that a point could draw."""
    rng = np.random.default_rng(3)
    units = list_units(frame)
    place = {unit: n for n, unit in enumerate(units)}
    pairs = point_odds(frame, reach, design)
    drawn = np.zeros((rounds, len(units)), dtype=bool)
    for (_, layer), rows in pairs[pairs["prob"] > 0].groupby(["point_id", "layer"]):
        at = np.array([place[layer, unit] for unit in rows["unit_id"]])
        k = min(dict(zip(LAYERS, list_counts(design), strict=True))[layer][1], len(at))
        weight = (rows["prob"] / rows["prob"].sum()).to_numpy()
        for n in range(rounds):
            drawn[n, rng.choice(at, size=k, replace=False, p=weight)] = True
    return drawn.sum(axis=0)


def test_odds_agree_with_tickets():
    """On a small frame the odds agree with rounds in which every ticket is hashed."""
    kinds = ["school", "school", "school", "market"]
    points = [(f"点{n}", kind, 5e3) for n, kind in enumerate(kinds)]
    names = [f"way/{n}" for n in range(5)]
    rows = [
        (point, layer, unit, float(150 + 330 * n + 200 * m))
        for m, (point, _, _) in enumerate(points)
        for layer in LAYERS
        for n, unit in enumerate(names)
        if (n + m) % 4
    ]
    frame, reach = make_frame(points, names, names), make_reach(rows)
    design = Design(points={"school": 2}, compounds=(0, 2), min_m=400)
    hits = draw_by_tickets(frame, reach, design, rounds=5_000)
    z, bound = find_worst(hits, give_odds(frame, reach, design), 5_000)
    assert z < bound
