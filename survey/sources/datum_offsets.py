"""The offsets of GCJ-02 and BD-09: positions from one datum to another."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from survey.errors import DatumError

DATUMS = ("wgs84", "gcj02", "bd09")
"""The datums that coordinates in China come in, each an offset upon the one before it."""

Floats = npt.NDArray[np.float64]

_AXIS_M = 6_378_245.0
_ECCENTRICITY2 = 0.00669342162296594323
_X_PI = np.pi * 3000 / 180


def convert_datum(
    lon: npt.ArrayLike, lat: npt.ArrayLike, *, source: str, target: str
) -> tuple[Floats, Floats]:
    """Convert positions between WGS-84, GCJ-02 and BD-09.

    The way out is a closed formula; the way back is iterated until it moves less than a
    micrometre, so that a round trip returns its input to far below a millimetre.

    The offset is applied where the position in the earlier datum of the two (in the order of
    `DATUMS`) lies in the customary box 72.004 to 137.8347 E, 0.8293 to 55.8271 N; elsewhere all
    three are the same numbers. The box is asked once, after the iteration, never within it. So
    every position in the box returns from a round trip. In a strip of some 1.2 km along its border
    the offset map is neither one-to-one nor onto: numbers there that can be read both as an offset
    position from within the box and as an unmoved one from outside it are read as the former, and
    numbers that can be read as neither are left as they are.

    Parameters
    ----------
    lon, lat
        Degrees, of shapes that broadcast; NaN stays NaN.
    source, target
        Names from `DATUMS`.

    Returns
    -------
    tuple of numpy.ndarray
        Longitude and latitude in the target datum, new arrays of the broadcast shape.

    Raises
    ------
    DatumError
        If a datum's name is unknown.

    Notes
    -----
    GCJ-02: the formulas in public circulation since 2010 (EvilTransform; on the Krasovsky
    ellipsoid), as described in "Restrictions on geographic data in China", Wikipedia. BD-09: the
    second offset upon GCJ-02 described there. Neither is officially published.
    """
    for datum in (source, target):
        check_name(datum, DATUMS)
    start, end = DATUMS.index(source), DATUMS.index(target)
    steps = (_to_gcj02, _to_bd09)[min(start, end) : max(start, end)]
    found = np.array(np.broadcast_arrays(lon, lat), dtype=np.float64)
    found[:, np.isnan(found).any(axis=0)] = np.nan
    near = in_box(found, margin=0.1)  # the offsets are below 0.02 degrees
    given = found[:, near]
    moved = given
    if start <= end:
        for step in steps:
            moved = step(moved)
        inside = in_box(given)
    else:
        for step in reversed(steps):
            moved = _invert(moved, step)
        inside = in_box(moved, margin=1e-10)  # 10 um, for positions that started on the border
    found[:, near] = np.where(inside, moved, given)
    return found[0], found[1]


def in_box(lonlat: Floats, *, margin: float = 0.0) -> npt.NDArray[np.bool_]:
    """Whether positions, of shape (2, ...), lie in the box in which the offsets are applied."""
    lon, lat = lonlat
    in_lon = (lon >= 72.004 - margin) & (lon <= 137.8347 + margin)
    return np.asarray(in_lon & (lat >= 0.8293 - margin) & (lat <= 55.8271 + margin))


def _invert(lonlat: Floats, step: Callable[[Floats], Floats]) -> Floats:
    """Undo one offset by fixed-point iteration: it varies by at most 3 % of a distance."""
    found = lonlat.copy()
    for _ in range(20):
        error = lonlat - step(found)
        found += error
        if np.abs(error).max(initial=0) < 1e-12:
            break
    return found


def _to_gcj02(lonlat: Floats) -> Floats:
    lon, lat = lonlat
    x, y = lon - 105, lat - 35
    pi = np.pi
    waves = (20 * np.sin(6 * pi * x) + 20 * np.sin(2 * pi * x)) * 2 / 3
    east_m = 300 + x + 2 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * np.sqrt(np.abs(x)) + waves
    east_m += (20 * np.sin(pi * x) + 40 * np.sin(pi * x / 3)) * 2 / 3
    east_m += (150 * np.sin(pi * x / 12) + 300 * np.sin(pi * x / 30)) * 2 / 3
    north_m = -100 + 2 * x + 3 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * np.sqrt(np.abs(x)) + waves
    north_m += (20 * np.sin(pi * y) + 40 * np.sin(pi * y / 3)) * 2 / 3
    north_m += (160 * np.sin(pi * y / 12) + 320 * np.sin(pi * y / 30)) * 2 / 3
    phi = np.radians(lat)
    w2 = 1 - _ECCENTRICITY2 * np.sin(phi) ** 2
    parallel_m = _AXIS_M / np.sqrt(w2) * np.cos(phi)
    meridian_m = _AXIS_M * (1 - _ECCENTRICITY2) / w2**1.5
    return np.stack([lon + np.degrees(east_m / parallel_m), lat + np.degrees(north_m / meridian_m)])


def _to_bd09(lonlat: Floats) -> Floats:
    lon, lat = lonlat
    radius = np.hypot(lon, lat) + 0.00002 * np.sin(lat * _X_PI)
    angle = np.arctan2(lat, lon) + 0.000003 * np.cos(lon * _X_PI)
    return np.stack([radius * np.cos(angle) + 0.0065, radius * np.sin(angle) + 0.006])


def check_name(datum: str, known: tuple[str, ...]) -> None:
    """Raise a `DatumError` if the datum's name is not among those known."""
    if datum not in known:
        raise DatumError(f"the datum {datum!r} is unknown; known are {', '.join(known)}")
