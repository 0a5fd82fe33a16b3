import copy
import json
import pickle
import tomllib
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from survey.errors import DesignError
from survey.sampling.design import Design
from survey.sampling.draw import draw_round, make_ticket
from survey.tables import KINDS, empty, make


def spans(least, most):
    """Pairs of whole numbers in order."""
    whole = st.integers(least, most)
    return st.tuples(whole, whole).map(sorted)


designs = st.builds(
    Design,
    alleys=spans(0, 5),
    compounds=spans(1, 5),
    within_m=spans(300, 5000),
    min_m=st.floats(0, 299),
    metric=st.sampled_from(["network", "euclid"]),
    points=st.none() | st.dictionaries(st.sampled_from(KINDS), st.integers(0, 9)),
)


def test_defaults_are_those_of_the_config():
    """The default design writes the JSON of the documented [design] table."""
    assert Design().to_json() == (
        '{"alleys":[1,2],"compounds":[1,2],"metric":"network","min_m":0,"radius":"uniform",'
        '"within_m":[500,2000]}'
    )


def test_toml_and_python_give_one_design():
    """Lists, whole floats and numpy numbers mean the same as tuples and ints."""
    text = 'within_m = [500.0, 2e3]\nmin_m = 0.0\nradius = "fixed: 800.0"\npoints = {school = 3}'
    read = Design.from_table(tomllib.loads(text))
    told = Design(
        within_m=(np.int64(500), np.float64(2000)), radius="fixed:800", points={"school": 3}
    )
    assert read == told
    assert hash(read) == hash(told)
    assert read.to_json() == told.to_json()
    assert read.within_m == (500, 2000)
    assert json.loads(read.to_json())["radius"] == "fixed:800"


def test_json_keeps_points_sorted():
    """The JSON holds points as a sorted table, whatever order they were given in."""
    text = Design(points={"school": 3, "market": 0}).to_json()
    assert '"points":{"market":0,"school":3}' in text


def test_no_points_named_means_all():
    """An empty table of points is the same design as none."""
    assert Design(points={}) == Design()


@given(designs)
def test_json_reads_back(design):
    """What a design writes is read back as the same design, and written the same again."""
    again = Design.from_json(design.to_json())
    assert again == design
    assert again.to_json() == design.to_json()


@given(designs)
def test_copies_are_equal(design):
    """A design survives copying and pickling."""
    assert copy.deepcopy(design) == design == pickle.loads(pickle.dumps(design))


def test_points_cannot_be_changed():
    """Neither the design's own points nor the table they came from change it later."""
    given_points = {"school": 3}
    design = Design(points=given_points)
    given_points["school"] = 4
    with pytest.raises(TypeError):
        design.points["school"] = 5
    assert design.points == {"school": 3}


@given(st.floats(0, 1, exclude_max=True))
def test_radius_and_count_stay_within_their_bounds(u):
    """Every u in [0, 1) gives a radius and a count inside the bounds, in steps of a millimetre."""
    design = Design(alleys=(2, 4), within_m=(500, 2000))
    assert 500 <= design.radius_for(u) <= 2000
    assert design.radius_for(u) == round(design.radius_for(u), 3)
    assert design.count_for("alley", u) in (2, 3, 4)


@pytest.mark.parametrize(
    ("u", "radius_m", "count"),
    [(0, 500, 1), (0.25, 875, 1), (0.5, 1250, 2), (0.123456789, 685.185, 1), (1 - 2**-53, 2000, 2)],
)
def test_radius_and_count_by_hand(u, radius_m, count):
    """The radius is 500 + 1500 u to the millimetre, the count 1 + floor(2 u)."""
    assert Design().radius_for(u) == radius_m
    assert Design().count_for("compound", u) == count


def test_count_is_never_above_its_bound():
    """A u that was rounded up to 1 still gives the greatest count."""
    assert Design(alleys=(1, 2)).count_for("alley", 1.0) == 2


def test_fixed_radius_ignores_chance():
    """A fixed law gives its radius for every u."""
    design = Design(radius="fixed:812.5")
    assert {design.radius_for(u) for u in (0, 0.3, 0.9)} == {812.5}
    assert design.fixed_m == 812.5
    assert Design().fixed_m is None


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"alleys": [2, 1]}, "runs backwards"),
        ({"alleys": 2}, "two numbers"),
        ({"alleys": [1, 2, 3]}, "two numbers"),
        ({"alleys": "12"}, "two numbers"),
        ({"alleys": [1, 1.5]}, "whole number"),
        ({"alleys": [-1, 1]}, "whole number from 0"),
        ({"alleys": [True, 1]}, "whole number"),
        ({"compounds": [1, 10**400]}, "whole number"),
        ({"alleys": [0, 0], "compounds": [0, 0]}, "ask for one unit"),
        ({"within_m": [2000, 500]}, "runs backwards"),
        ({"within_m": [500, float("nan")]}, "number of metres"),
        ({"within_m": [500, float("inf")]}, "number of metres"),
        ({"within_m": ["500", "2000"]}, "number of metres"),
        ({"min_m": -1}, "number of metres"),
        ({"min_m": 2000}, "not below the greatest radius"),
        ({"min_m": 800, "radius": "fixed:800"}, "not below the greatest radius"),
        ({"radius": "fixed:0"}, "metres above 0"),
        ({"radius": "fixed:-5"}, "metres above 0"),
        ({"radius": "fixed:"}, "metres above 0"),
        ({"radius": "normal"}, "give 'uniform'"),
        ({"radius": 800}, "give 'uniform'"),
        ({"radius": "fixed:499"}, "change within_m"),
        ({"metric": "walk"}, "'network' or 'euclid'"),
        ({"points": {"schools": 3}}, "market, mall, school, hospital, station, community"),
        ({"points": {"school": -1}}, "points.school"),
        ({"points": {"school": 1.5}}, "points.school"),
        ({"points": ["school"]}, "table of kinds"),
        ({"aleys": [1, 2]}, "unknown key 'aleys'; the closest is 'alleys'"),
        ({"within": [1, 2]}, "the closest is 'within_m'"),
    ],
)
def test_wrong_designs_are_refused(values, says):
    """A design that contradicts itself is refused in one line that says where it stands."""
    with pytest.raises(DesignError, match=r"\Acity\.toml \[design\]") as caught:
        Design.from_table(values, where="city.toml [design]")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "3", '{"alleys":[1,2],"seed":"x"}', "[" * 100_000]
)
def test_json_that_is_no_design_is_refused(text):
    """Text that does not hold a design is a DesignError, not a crash."""
    with pytest.raises(DesignError, match="design"):
        Design.from_json(text)


# What a design promises, its draws keep. A fair draw fails one of the gates below once in 10,000
# files like this one; the seeds are fixed, so the outcome is too.
GATES = 6
UNITS = [f"alley/way/{n}" for n in range(6)]


def is_uniform(counts):
    """Whether counts of equally likely outcomes pass a chi-square test."""
    return stats.chisquare(counts).pvalue > 1e-4 / GATES


def count_winners(draws, slot=1):
    """Count how often each of the six alleys stands in a slot."""
    return draws.loc[draws["slot"] == slot, "unit_id"].value_counts().reindex(UNITS, fill_value=0)


def draw_many():
    """Draw 2,000 times one or two of the same six alleys: 400 points, five seeds."""
    texts = dict.fromkeys(("name", "name_en", "subdistrict_id", "highway"))
    texts |= {"source": "", "reason": "", "kind": "school", "data_edge_m": 5e3, "length_m": 50.0}
    line = shapely.MultiLineString([[(0, 0), (9, 9)]])
    points = pd.DataFrame({"point_id": [f"node/{n}" for n in range(400)]})
    alleys = pd.DataFrame({"alley_id": UNITS})
    reach = points.merge(alleys.rename(columns={"alley_id": "unit_id"}), how="cross")
    frame = SimpleNamespace(
        points=make("points", points.assign(**texts, geometry=shapely.Point(0, 0)), crs=32650),
        alleys=make("alleys", alleys.assign(**texts, geometry=line), crs=32650),
        compounds=empty("compounds", crs=32650),
    )
    reach = make("reach", reach.assign(layer="alley", euclid_m=300.0, network_m=400.0))
    draws = [draw_round(frame, reach, Design(), seed=f"seed {n}").draws for n in range(5)]
    return pd.concat(draws).assign(
        visit=lambda table: table["point_id"] + table["radius_m"].map(str)
    )


@pytest.fixture(scope="module")
def many():
    """Share one set of draws."""
    return draw_many()


@pytest.mark.parametrize("slot", [1, 2, 6])
def test_every_eligible_unit_is_equally_likely(many, slot):
    """In each slot, every one of the six alleys stands equally often."""
    assert count_winners(many, slot).sum() == 2000
    assert is_uniform(count_winners(many, slot))


@pytest.mark.parametrize(
    "wrong", [lambda _, last: last.encode().hex(), lambda _, last: make_ticket(last)]
)
def test_wrong_draws_fail_the_same_gate(monkeypatch, wrong):
    """A twin that wins by the lowest id, or by tickets without seed and point, is caught."""
    monkeypatch.setattr("survey.sampling.draw._end_ticket", wrong)
    assert not is_uniform(count_winners(draw_many()))


def test_pairs_of_winners_are_equally_likely(many):
    """Each of the 30 ordered pairs in slots 1 and 2 is drawn equally often."""
    pairs = many[many["slot"] <= 2].groupby("visit")["unit_id"].agg("|".join).value_counts()
    assert len(pairs) == 30
    assert is_uniform(pairs)


def test_radius_is_uniform(many):
    """The radii fill 20 equal bands of 500 m to 2 km equally; radii uniform by area do not."""
    u = (many.loc[many["slot"] == 1, "radius_m"].to_numpy() - 500) / 1500
    assert is_uniform(np.histogram(u, 20, (0, 1))[0])
    assert not is_uniform(np.histogram(np.sqrt(u), 20, (0, 1))[0])


def test_counts_are_equally_likely(many):
    """One and two winners come equally often; the smaller of two such counts does not."""
    winners = (~many["replacement"]).groupby(many["visit"]).sum().to_numpy()
    assert set(winners) == {1, 2}
    assert is_uniform(np.bincount(winners)[1:])
    assert not is_uniform(np.bincount(np.minimum(winners[:1000], winners[1000:]))[1:])
