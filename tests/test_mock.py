from types import SimpleNamespace

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from scipy.stats import norm

from survey.errors import DesignError, TableError
from survey.example import example_town
from survey.sampling.mock import METHODS, _draw_rows, _spread_out, draw_mock
from survey.tables import TABLES, make

COMPOUNDS = {"way/7": (0, 900), "way/8": (900, 0), "小区甲": (900, 900), "小区乙": (0, 0)}


def make_frame(alleys, compounds):
    """Make a frame of alleys and compounds from id to place, metres from a corner of the city."""
    texts = dict.fromkeys(("name", "name_en", "subdistrict_id", "highway"))
    texts |= {"source": "test", "reason": "", "length_m": 10.0, "area_m2": 100.0}
    lines = [shapely.MultiLineString([[(x - 5, y), (x + 5, y)]]) for x, y in alleys.values()]
    boxes = [
        shapely.MultiPolygon([shapely.box(x - 5, y - 5, x + 5, y + 5)])
        for x, y in compounds.values()
    ]
    tables = {
        "alleys": pd.DataFrame({"alley_id": list(alleys)}).assign(**texts, geometry=lines),
        "compounds": pd.DataFrame({"compound_id": list(compounds)}).assign(**texts, geometry=boxes),
    }
    return SimpleNamespace(**{name: make(name, rows, crs=32650) for name, rows in tables.items()})


def make_odds(prob, layer="alley"):
    """Make the table odds from id to probability."""
    values = list(prob.values())
    columns = {"layer": [layer] * len(prob), "unit_id": list(prob), "points": 1, "near_edge": False}
    columns |= dict.fromkeys(("prob", "prob_low", "prob_high", "expected_visits"), values)
    return make("odds", pd.DataFrame(columns))


def quarters():
    """Place 40 alleys, ten in each quarter of a square of 1 km."""
    rng = np.random.default_rng(3)
    places = np.repeat([(0, 0), (0, 550), (550, 550), (550, 0)], 10, axis=0)
    places = places + rng.random((40, 2)) * 400
    places[[0, 20]] = (0, 0), (1000, 1000)
    return {f"alley/{n}": tuple(place) for n, place in enumerate(places.tolist())}


@pytest.fixture(scope="module")
def frame():
    return make_frame(quarters(), COMPOUNDS)


def ids(table, layer="alley", *, replacement=False):
    """List the units of a layer in the order of their slots."""
    rows = table[(table["layer"] == layer) & (table["replacement"] == replacement)]
    return rows["unit_id"].to_list()


@pytest.mark.parametrize("method", METHODS)
def test_table(frame, method):
    """A mock round is the table `mocks` with its counts, slots, chances and replacements."""
    mock = draw_mock(frame, alleys=8, compounds=1, seed="种子", mock_id="m1", method=method)
    assert list(mock) == list(TABLES["mocks"].columns)
    assert mock[["mock_id", "method", "seed"]].drop_duplicates().to_numpy().tolist() == [
        ["m1", method, "种子"]
    ]
    for layer, size, spare, prob in (("alley", 8, 5, 8 / 40), ("compound", 1, 3, 1 / 4)):
        rows = mock[mock["layer"] == layer]
        assert rows["slot"].to_list() == list(range(1, size + spare + 1))
        assert rows["replacement"].to_list() == [False] * size + [True] * spare
        assert rows["prob"].to_list() == pytest.approx([prob] * (size + spare))
        assert rows["unit_id"].is_unique
        assert ids(mock, layer) == sorted(ids(mock, layer))
        assert set(rows["unit_id"]) <= {*quarters(), *COMPOUNDS}


@pytest.mark.parametrize("method", METHODS)
def test_nothing_but_the_seed_counts(frame, method):
    """One seed and id give one mock round, whatever the order of rows; others give others."""
    rules = {"alleys": 6, "compounds": 2, "method": method}
    mock = draw_mock(frame, seed="a", **rules)
    pd.testing.assert_frame_equal(draw_mock(frame, seed="a", **rules), mock)
    shuffled = SimpleNamespace(
        alleys=frame.alleys.sample(frac=1, random_state=4), compounds=frame.compounds[::-1]
    )
    pd.testing.assert_frame_equal(draw_mock(shuffled, seed="a", **rules), mock)
    # Steps of one have a few starts only that differ, so that some seeds give the same round.
    assert any(ids(draw_mock(frame, seed=seed, **rules)) != ids(mock) for seed in "bcd")
    others = [draw_mock(frame, seed="a", mock_id=name, **rules) for name in "bcd"]
    assert any(ids(other) != ids(mock) for other in others)


def test_layers_do_not_touch_each_other(frame):
    """What is drawn of one layer does not depend on how many of the other are asked for."""
    both = draw_mock(frame, alleys=6, compounds=2, seed="s")
    alleys = draw_mock(frame, alleys=6, compounds=0, seed="s")
    compounds = draw_mock(frame, alleys=0, compounds=2, seed="s")
    pd.testing.assert_frame_equal(pd.concat([alleys, compounds], ignore_index=True), both)


@pytest.mark.parametrize("method", ["pivotal", "systematic"])
def test_units_follow_the_odds(frame, method):
    """Chances are proportional to the odds, cut at 1; a unit that cannot be drawn never stands."""
    prob = dict.fromkeys(quarters(), 0.02) | {"alley/7": 0.9, "alley/9": 0.0}
    # The one is certain: 38 others share what is left of 4.
    for seed in "abcde":
        mock = draw_mock(
            frame, alleys=4, compounds=0, seed=seed, method=method, odds=make_odds(prob)
        )
        chances = dict(zip(mock["unit_id"], mock["prob"], strict=True))
        assert "alley/7" in ids(mock)
        assert "alley/9" not in chances
        assert chances.pop("alley/7") == 1
        assert list(chances.values()) == pytest.approx([3 / 38] * 8)


def test_systematic_walks_quarter_by_quarter(frame):
    """Four of four equal quarters are one of each, since a Hilbert curve ends one first."""
    for seed in "abcdef":
        mock = draw_mock(frame, alleys=4, compounds=0, seed=seed, method="systematic")
        assert sorted(int(name[6:]) // 10 for name in ids(mock)) == [0, 1, 2, 3]


def test_all_units_can_be_drawn(frame):
    """Where every unit is asked for all are drawn for certain, and nobody is left to replace."""
    mock = draw_mock(frame, alleys=39, compounds=4, seed="s")
    assert set(ids(mock, "compound")) == set(COMPOUNDS)
    assert not ids(mock, "compound", replacement=True)
    assert (mock.loc[mock["layer"] == "compound", "prob"] == 1).all()
    assert len(ids(mock)) == 39
    assert {*ids(mock), *ids(mock, replacement=True)} == set(quarters())


def test_replacements_have_equal_chances():
    """Of eight units two are drawn and five stand by: each is in 2/8 and 5/8 of the rounds."""
    rng = np.random.default_rng(11)
    places = np.array([(n**2, n % 3) for n in range(8)], dtype=float)
    draws = 1_000
    rows = [_draw_rows(np.full(8, 0.25), np.ones(8), places, "pivotal", rng) for _ in range(draws)]
    for chosen, chance in ((slice(2), 2 / 8), (slice(2, None), 5 / 8)):
        counts = np.bincount(np.concatenate([row[chosen] for row in rows]), minlength=8)
        z = (counts - draws * chance) / np.sqrt(draws * chance * (1 - chance))
        assert np.abs(z).max() < norm.isf(0.001 / 2 / 16)


def test_replacements_stand_far_apart():
    """After the first, which is any one, the next is always the farthest from those before it."""
    places = np.array([(0, 0), (1, 0), (10, 0), (6, 0)], dtype=float)
    rng = np.random.default_rng(2)
    orders = {tuple(_spread_out(places, rng)) for _ in range(60)}
    assert orders == {(0, 2, 3, 1), (1, 2, 3, 0), (2, 0, 3, 1), (3, 0, 2, 1)}


def test_places_lie_on_the_units():
    """Two bends around one middle are as far apart as their lines are, so one of each is drawn."""
    bends = {
        f"{side}{n}": shapely.MultiLineString([[(x, -900), (0.9 * x, n), (x, 900)]])
        for side, x in (("west", -1_000), ("east", 1_000))
        for n in (0, 1)
    }
    frame = make_frame(dict.fromkeys(bends, (0, 0)), COMPOUNDS)
    frame.alleys = frame.alleys.set_geometry(gpd.GeoSeries(list(bends.values()), crs=32650))
    for seed in "abcdef":
        mock = draw_mock(frame, alleys=2, compounds=0, seed=seed)
        assert {name[:4] for name in ids(mock)} == {"west", "east"}


def test_example_town():
    """The example town's five alleys and three compounds give a mock round."""
    mock = draw_mock(example_town(), alleys=5, compounds=2, seed="s")
    assert ids(mock) == ["alley/3", "alley/5", "alley/7", "alley/8", "alley/9"]
    assert len(ids(mock, "compound")) == 2
    assert len(ids(mock, "compound", replacement=True)) == 1


ODDS = dict.fromkeys(quarters(), 0.1)
FAULTS = {
    "41 alleys are asked for, but the frame has 40; ask for 40 at most": {"alleys": 41},
    "10 compounds are asked for, but the frame has 4": {"compounds": 10},
    "both 0; ask for one unit at least": {"alleys": 0, "compounds": 0},
    "alleys is -1; give a whole number": {"alleys": -1},
    "compounds is 1.5; give a whole number": {"compounds": 1.5},
    "alleys is True; give a whole number": {"alleys": True},
    "method is 'grts'; the methods are pivotal, systematic, simple": {"method": "grts"},
    "cannot follow odds": {"method": "simple", "odds": make_odds(ODDS)},
    "seed: found ''": {"seed": ""},
    "seed: 'a\\\\x1fb' holds": {"seed": "a\x1fb"},
    "seed: found 7": {"seed": 7},
    "mock_id: found ' '": {"mock_id": " "},
    "lack 1 of the frame's 40 alleys, such as 'alley/12'": {
        "odds": make_odds({name: prob for name, prob in ODDS.items() if name != "alley/12"})
    },
    "lack 4 of the frame's 4 compounds": {"odds": make_odds(ODDS), "compounds": 1},
    "5 alleys are asked for, but 0 of 40 have odds above 0": {
        "odds": make_odds(dict.fromkeys(ODDS, 0.0))
    },
    "5 alleys are asked for, but 2 of 40 have odds above 0": {
        "odds": make_odds(dict.fromkeys(ODDS, 0.0) | {"alley/1": 0.5, "alley/2": 0.5})
    },
}


@pytest.mark.parametrize("message", FAULTS)
def test_bad_rules_are_refused(frame, message):
    """Each fault of the rules has one line that says what was found and what to do."""
    rules = {"alleys": 5, "compounds": 0, "seed": "s"} | FAULTS[message]
    with pytest.raises(DesignError, match=message) as fault:
        draw_mock(frame, **rules)
    assert "\n" not in str(fault.value)


def test_broken_odds_are_refused(frame):
    """A table of odds that breaks the contract is named."""
    odds = make_odds(ODDS)
    with pytest.raises(TableError, match="'odds' breaks the data contract: key"):
        draw_mock(frame, alleys=5, compounds=0, seed="s", odds=pd.concat([odds, odds[:1]]))
    with pytest.raises(TableError, match="column 'prob' is missing"):
        draw_mock(frame, alleys=5, compounds=0, seed="s", odds=odds.drop(columns="prob"))
