import os
from datetime import datetime
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

import survey
from survey.coverage.hours import PLAIN_YEAR, parse_moment, select_supply, tell_open
from survey.errors import RuleError

NANJING = (118.78, 32.04)
MONACO = (7.42, 43.735)
BOXES = {
    "monaco": (7.409205, 43.723350, 7.448637, 43.751690),
    "nanjing": (118.764, 32.035, 118.797, 32.053),
}


def state_of(text, moment, place=None):
    """Tell the state of one text, at one place in degrees where one is given."""
    positions = None if place is None else gpd.GeoSeries([shapely.Point(place)], crs=4326)
    return tell_open(pd.Series([text]), parse_moment(moment), positions=positions).state[0]


@pytest.mark.parametrize(
    ("text", "weekday", "clock"),
    [
        ("Sun 21:00", 6, "21:00"),
        ("Mon 10:00", 0, "10:00"),
        ("monday 9:05", 0, "09:05"),
        ("Tu 00:00", 1, "00:00"),
        ("周日 21:00", 6, "21:00"),
        ("星期天21:00", 6, "21:00"),
        ("星期一 10:00", 0, "10:00"),
        ("  周六　８：３０ ", 5, "08:30"),
    ],
)
def test_weekdays_are_read(text, weekday, clock):
    """A weekday in English or Chinese is that day of a plain week."""
    moment = parse_moment(text)
    assert (moment.weekday(), moment.strftime("%H:%M")) == (weekday, clock)
    assert moment.year == PLAIN_YEAR


@pytest.mark.parametrize("text", ["2026-10-01 09:30", "2026-10-01T09:30", " 2026-10-01  09:30"])
def test_dates_are_read(text):
    """A date and a time are that moment, with a T or a blank between."""
    assert parse_moment(text) == datetime.fromisoformat("2026-10-01 09:30")


@pytest.mark.parametrize(
    "text",
    [
        *("", "Sun", "21:00", "Sun 24:00", "Sun 10:60", "Sunny 10:00", "now"),
        *("周八 10:00", "周 10:00", "日 10:00"),
        *("2026-10-01", "2026-02-30 10:00", "1990-01-17 10:00", "2026-10-01 09:30+08:00"),
    ],
)
def test_other_moments_are_refused_in_one_line(text):
    """Anything else is an error of one line, which quotes it and says what is accepted."""
    with pytest.raises(RuleError, match="is no moment; give a weekday") as fault:
        parse_moment(text)
    assert repr(text) in str(fault.value)
    assert "\n" not in str(fault.value)
    assert "2026-10-01 09:30" in str(fault.value)


# Each line: hours, then what they are on Wed 10:00, Sun 21:00 and Mon 01:00 of a plain week.
PLAIN = [
    ("24/7", "open open open"),
    ("24/7 off", "closed closed closed"),
    ("off", "closed closed closed"),
    ("Mo-Fr 08:00-18:00; PH off", "open closed closed"),
    ("Mo-Fr 08:00-18:00; Sa,Su 09:00-22:00", "open open closed"),
    ("Mo-Su 06:00-22:00", "open open closed"),
    ("06:00-21:00", "open closed closed"),
    ("8:00-22:00", "open open closed"),
    ("18:00-02:00", "closed open open"),
    ("Su 18:00-02:00", "closed open open"),
    ("Mo 18:00-02:00", "closed closed closed"),
    ("18:00-01:00", "closed open closed"),
    ("10:00-12:00", "open closed closed"),
    ("08:00-10:00", "closed closed closed"),
    ("24/7; We off", "closed open open"),
    ("Su-Mo", "closed open open"),
    ("SH 09:00-22:00", "closed closed closed"),
    ("Mo-Su,PH 06:00-22:00", "open open closed"),
    ("24/7; Dec 25 off", "open open open"),
    # Full-width characters and two words are mended, and nothing else is.
    ("０８：００－２２：００", "open open closed"),
    ("Mo－Fr　08：00－18：00；PH off", "open closed closed"),
    ("全天", "open open open"),
    (" ２４小时 ", "open open open"),
    # What a plain week does not decide.
    ("Apr-Oct 08:00-20:00", "unknown closed closed"),
    ("Apr-Oct 06:00-22:00; Nov-Mar 08:00-18:00", "open unknown closed"),
    ("We[2] 08:00-20:00", "unknown unknown unknown"),
    ("2026 08:00-20:00", "unknown unknown unknown"),
    ("sunrise-sunset", "unknown unknown unknown"),
    # What no moment decides.
    ('"by appointment"', "unknown unknown unknown"),
    ('Mo-Fr 09:00-12:00 "by appointment"', "unknown closed closed"),
    ('off "under repair"', "closed closed closed"),
    ("Mo-Fr 08:00-18:00 unknown", "unknown closed closed"),
    ("unknown", "unknown unknown unknown"),
    ("08:00-20:00+", "unknown unknown unknown"),
    ("18:00+", "unknown unknown unknown"),
    ('08:00-22:00 || "call"', "unknown unknown unknown"),
    ("SH Mo-Fr 08:00-12:00", "unknown unknown unknown"),
    ("早8点到晚10点", "unknown unknown unknown"),
    ("全天开放", "unknown unknown unknown"),
    ("", "unknown unknown unknown"),
    ("   ", "unknown unknown unknown"),
    (None, "unknown unknown unknown"),
]


@pytest.mark.parametrize(("text", "states"), PLAIN)
def test_plain_weeks(text, states):
    """Hours are open, closed or unknown on a weekday as worked out by hand."""
    found = [state_of(text, moment) for moment in ("Wed 10:00", "Sun 21:00", "Mon 01:00")]
    assert " ".join(found) == states


@pytest.mark.parametrize(
    ("text", "moment", "place", "state"),
    [
        ("Apr-Oct 08:00-20:00", "2026-04-01 08:00", None, "open"),
        ("Apr-Oct 08:00-20:00", "2026-10-31 19:59", None, "open"),
        ("Apr-Oct 08:00-20:00", "2026-10-31 20:00", None, "closed"),
        ("Apr-Oct 08:00-20:00", "2026-11-01 10:00", None, "closed"),
        ("Mo[1] 08:00-20:00", "2026-06-01 10:00", None, "open"),
        ("Mo[1] 08:00-20:00", "2026-06-08 10:00", None, "closed"),
        ("24/7; Dec 25 off", "2026-12-25 10:00", None, "closed"),
        ("18:00-02:00", "2026-01-01 01:59", None, "open"),
        # 1 October 2026, a Thursday, is China's National Day.
        ("Mo-Fr 08:00-18:00; PH off", "2026-10-01 10:00", NANJING, "closed"),
        ("Mo-Fr 08:00-18:00; PH off", "2026-10-01 10:00", None, "unknown"),
        ("Mo-Fr 08:00-18:00; PH off", "2026-10-15 10:00", NANJING, "open"),
        ("Mo-Fr 08:00-18:00; PH off", "Thu 10:00", NANJING, "open"),
        ("Mo-Fr 08:00-18:00; SH off", "2026-10-15 10:00", NANJING, "unknown"),
        # In Nanjing the sun sets about 19:14 at midsummer and 17:04 at midwinter.
        ("sunrise-sunset", "2026-06-21 19:00", NANJING, "open"),
        ("sunrise-sunset", "2026-12-21 19:00", NANJING, "closed"),
        ("sunrise-sunset", "2026-06-21 12:00", None, "unknown"),
        ("sunrise-sunset", "Sun 12:00", NANJING, "open"),
        ("sunrise-sunset", "Sun 21:00", NANJING, "closed"),
        ("sunrise-sunset", "Sun 18:15", NANJING, "unknown"),
        # 19 November, Monaco's national day, lies in the middle of a month; in 1990 on a Monday.
        ("sunrise-sunset; PH off", "Mon 12:00", MONACO, "open"),
        ("sunrise-sunset; PH off", "2026-11-19 12:00", MONACO, "closed"),
    ],
)
def test_dates_and_places(text, moment, place, state):
    """A date decides seasons, and with a place also public holidays and the sun."""
    assert state_of(text, moment, place) == state


def test_positions_may_be_in_metres():
    """Positions in any CRS and any order give the sun of their own place."""
    degrees = gpd.GeoSeries([shapely.Point(7.42, 43.74), shapely.Point(NANJING)], ["a", "b"], 4326)
    hours = pd.Series(["Mo-Su 08:00-18:00; PH off"] * 2, index=["b", "a"])
    moment = parse_moment("2026-10-01 10:00")
    found = tell_open(hours, moment, positions=degrees.to_crs(3857))
    assert dict(found.state) == {"b": "closed", "a": "open"}


def test_unparsable_hours_are_listed():
    """Hours that cannot be read are unknown and listed with their label and own text."""
    hours = pd.Series(["早8点到晚10点", "24/7", None, "6：00~22：00", " "], index=list("abcde"))
    found = tell_open(hours, parse_moment("Sun 21:00"))
    assert found.unparsable == [("a", "早8点到晚10点"), ("d", "6：00~22：00")]
    assert list(found.state) == ["unknown", "open", "unknown", "unknown", "unknown"]
    assert list(hours.index) == list(found.state.index)


@given(
    st.text(max_size=20)
    | st.lists(
        st.sampled_from(
            ["Mo", "-", "Su", " ", "08:00", "22:00", ";", "off", "PH", "||", '"x"', "+"]
        ),
        max_size=8,
    ).map("".join)
)
@settings(max_examples=200, deadline=None)
def test_any_text_has_a_state(text):
    """Whatever the text, there is a state, and what is listed as unparsable is unknown."""
    for moment in ("Sun 21:00", "2026-10-01 10:00"):
        found = tell_open(pd.Series([text]), parse_moment(moment))
        assert found.state[0] in {"open", "closed", "unknown"}
        assert not found.unparsable or found.state[0] == "unknown"


@pytest.fixture
def toilets():
    """Give the example town's toilets with hours: one open by day, one unreadable, one missing."""
    table = survey.example_town().toilets.set_index("toilet_id")
    table["opening_hours"] = pd.Series(
        {"node/101": "06:00-20:00", "node/102": "早8点到晚10点", "node/103": "24/7"}, dtype="str"
    )
    return table.reset_index()


def test_without_a_moment_all_supply_is_open(toilets):
    """Without a moment what is public or opened is open, whatever its hours say."""
    supply = select_supply(toilets)
    assert list(toilets["toilet_id"][supply.open]) == ["node/101", "node/102", "node/104"]
    assert list(toilets["toilet_id"][supply.closed]) == ["node/103"]
    assert not supply.unknown.any()
    assert (supply.unparsable, supply.notes) == ([], ())


def test_supply_at_a_moment(toilets):
    """At a moment the hours decide; a toilet closed by status is never supply."""
    before = toilets.copy()
    day = select_supply(toilets, moment=parse_moment("Sun 10:00"))
    assert list(toilets["toilet_id"][day.open]) == ["node/101"]
    assert list(toilets["toilet_id"][day.unknown]) == ["node/102", "node/104"]
    night = select_supply(toilets, moment=parse_moment("Sun 21:00"))
    assert not night.open.any()
    assert list(toilets["toilet_id"][night.closed]) == ["node/101", "node/103"]
    assert night.unparsable == [("node/102", "早8点到晚10点")]
    assert night.notes[0] == "toilets for the public: 0 open, 2 unknown, 1 closed"
    assert "plain week" in night.notes[1]
    assert night.notes[2] == "opening hours of node/102 cannot be read: '早8点到晚10点'"
    assert len(select_supply(toilets, moment=parse_moment("2026-03-01 21:00")).notes) == 2
    pd.testing.assert_frame_equal(toilets, before)


def test_no_toilets(toilets):
    """A table without toilets has masks without rows."""
    supply = select_supply(toilets.iloc[:0], moment=parse_moment("Sun 10:00"))
    assert len(supply.open) == len(supply.unknown) == len(supply.closed) == 0


@pytest.mark.parametrize("name", BOXES)
def test_each_toilet_of_a_city_is_counted_once(name):
    """In real extracts, with hours spread over their toilets, each is in just one mask."""
    path = Path(__file__).parents[1] / "data" / "monaco.osm.pbf"
    if name != "monaco":
        if not os.environ.get("SURVEY_TEST_DATA"):
            pytest.skip("SURVEY_TEST_DATA names no folder with more extracts")
        path = Path(os.environ["SURVEY_TEST_DATA"]) / f"{name}.osm.pbf"
    area = survey.find_area(extract=path, bbox=BOXES[name])
    toilets = survey.build_frame(survey.read_extract(path, area)).toilets
    hours = [toilets["opening_hours"], [PLAIN[row % len(PLAIN)][0] for row in range(len(toilets))]]
    for texts in hours:
        table = toilets.assign(opening_hours=pd.Series(list(texts), dtype="str"))
        for moment in ("Wed 10:00", "Sun 21:00", "2026-10-01 10:00"):
            supply = select_supply(table, moment=parse_moment(moment))
            masks = np.array([supply.open, supply.unknown, supply.closed])
            assert (masks.sum(axis=0) == 1).all()
            assert {of for of, _ in supply.unparsable} <= set(table["toilet_id"][supply.unknown])
            assert not (masks[:2].any(axis=0) & (table["status"] == "closed")).any()
