import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from survey.errors import DatumError
from survey.sources.datum import DATUMS, convert_datum

PAIRS = [("wgs84", "gcj02"), ("wgs84", "bd09"), ("gcj02", "bd09")]
WEST, SOUTH, EAST, NORTH = 72.004, 0.8293, 137.8347, 55.8271
LONS, LATS = st.floats(-180, 180), st.floats(-80, 80)
IN_BOX = st.tuples(st.floats(WEST, EAST), st.floats(SOUTH, NORTH))


def metres(one, other):
    """Measure between positions close to each other; the answer is never below the truth."""
    lon, lat = (np.asarray(a) - np.asarray(b) for a, b in zip(one, other, strict=True))
    return np.hypot(lon, lat) * 111_700


@pytest.mark.parametrize(
    ("source", "target", "found"),
    [
        ("wgs84", "gcj02", (116.41024449916938, 39.91640428150164)),
        ("gcj02", "bd09", (116.41036949371029, 39.92133699351021)),
        ("wgs84", "bd09", (116.41662724378733, 39.922699552216216)),
    ],
)
def test_values_that_others_have_published_are_met(source, target, found):
    """The middle of Beijing lands where the converters in public use put it, to a micrometre."""
    assert metres(convert_datum(116.404, 39.915, source=source, target=target), found) < 1e-6


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_million_positions_come_back_to_a_micrometre(source, target):
    """A round trip from anywhere in the box ends far below a millimetre from its start."""
    rng = np.random.default_rng(1)
    start = rng.uniform(WEST, EAST, 1_000_000), rng.uniform(SOUTH, NORTH, 1_000_000)
    there = convert_datum(*start, source=source, target=target)
    back = convert_datum(*there, source=target, target=source)
    assert metres(start, back).max() < 1e-6
    assert np.median(metres(start, there)) > 300


@given(IN_BOX, st.sampled_from(PAIRS))
def test_every_position_in_the_box_comes_back(position, pair):
    """A round trip returns to its start, on the very border of the box too."""
    source, target = pair
    there = convert_datum(*position, source=source, target=target)
    assert metres(position, convert_datum(*there, source=target, target=source)) < 1e-6


def test_the_root_in_the_formula_does_no_harm():
    """Around 105 degrees east, where its slope is infinite, a round trip still closes."""
    lon = 105 + np.linspace(-1e-8, 1e-8, 1001)
    there = convert_datum(lon, 30.0, source="wgs84", target="bd09")
    back = convert_datum(*there, source="bd09", target="wgs84")
    assert metres((lon, 30.0), back).max() < 1e-6


@given(st.floats(73, 137), st.floats(2, 55))
def test_two_steps_are_as_good_as_one(lon, lat):
    """From WGS-84 to BD-09 by way of GCJ-02 is the same as straight on, there and back."""
    straight = convert_datum(lon, lat, source="wgs84", target="bd09")
    step = convert_datum(lon, lat, source="wgs84", target="gcj02")
    assert metres(straight, convert_datum(*step, source="gcj02", target="bd09")) < 1e-6
    back = convert_datum(*straight, source="bd09", target="gcj02")
    assert metres(step, back) < 1e-6


@given(LONS, LATS, st.sampled_from(DATUMS), st.sampled_from(DATUMS))
def test_far_from_china_nothing_moves(lon, lat, source, target):
    """Beyond the box by more than the offset, all three datums are the same numbers."""
    if WEST - 0.03 < lon < EAST + 0.03 and SOUTH - 0.03 < lat < NORTH + 0.03:
        lon -= 180 if lon > 0 else -180
        lat = -abs(lat) - 1
    found = convert_datum(lon, lat, source=source, target=target)
    assert found == (lon, lat)


@given(
    st.floats(-0.05, 0.05),
    st.floats(0, 1),
    st.sampled_from("WSEN"),
    st.sampled_from(PAIRS),
)
def test_numbers_at_the_border_are_read_once_and_for_all(off, along, side, pair):
    """Numbers near the border are undone by their offset or left alone, never something between."""
    source, target = pair
    lon, lat = WEST + along * (EAST - WEST), SOUTH + along * (NORTH - SOUTH)
    lon, lat = {
        "W": (WEST + off, lat),
        "E": (EAST + off, lat),
        "S": (lon, SOUTH + off),
        "N": (lon, NORTH + off),
    }[side]
    found = convert_datum(lon, lat, source=target, target=source)
    again = convert_datum(*found, source=source, target=target)
    assert metres(again, (lon, lat)) < 1e-6 or found == (lon, lat)


def test_the_box_is_asked_in_the_datum_that_is_offset():
    """Just inside the eastern border a position moves out of the box and is brought back."""
    lon, lat = convert_datum(137.834, 40.0, source="wgs84", target="gcj02")
    assert lon > EAST
    assert convert_datum(137.835, 40.0, source="wgs84", target="gcj02") == (137.835, 40.0)
    back = convert_datum(lon, lat, source="gcj02", target="wgs84")
    assert metres(back, (137.834, 40.0)) < 1e-6


def test_a_position_without_a_number_stays_without():
    """NaN in either coordinate is NaN in both, and the rows beside it are converted."""
    lon, lat = convert_datum(
        [118.78, np.nan, 118.78], [32.04, 32.04, np.nan], source="wgs84", target="gcj02"
    )
    assert np.isnan(lon).tolist() == np.isnan(lat).tolist() == [False, True, True]
    assert lon[0] == convert_datum(118.78, 32.04, source="wgs84", target="gcj02")[0]


@pytest.mark.parametrize(("source", "target"), [*PAIRS, ("wgs84", "wgs84"), ("bd09", "wgs84")])
def test_shapes_are_kept_and_arguments_are_not_touched(source, target):
    """Arrays that broadcast give new arrays of their common shape, empty ones an empty one."""
    lon, lat = np.array([[118.0], [119.0]]), np.array([31.0, 32.0, 33.0])
    kept = lon.copy(), lat.copy()
    found = convert_datum(lon, lat, source=source, target=target)
    assert found[0].shape == found[1].shape == (2, 3)
    found[0][:] = 0
    assert (lon == kept[0]).all()
    assert (lat == kept[1]).all()
    assert convert_datum([], [], source=source, target=target)[0].shape == (0,)


@pytest.mark.parametrize("names", [("wgs84", "GCJ02"), ("cgcs2000", "bd09")])
def test_an_unknown_datum_is_refused(names):
    """The message names the datum and those that are known."""
    with pytest.raises(DatumError, match="is unknown; known are wgs84, gcj02, bd09"):
        convert_datum(118, 32, source=names[0], target=names[1])
