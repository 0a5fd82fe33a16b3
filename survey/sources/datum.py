"""The datum of coordinates: told by what positions stand beside, and settled for a layer."""

from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyproj
import shapely
from scipy import spatial, special

from survey.errors import DatumError
from survey.sources.datum_offsets import DATUMS, Floats, check_name, convert_datum, in_box

__all__ = ["DATUMS", "DatumFit", "Reference", "convert_datum", "detect_datum", "settle_datum"]

_SHIFTS = 200
_SHIFT_M = (100.0, 1000.0)
_DATA_REACH_M = 250.0
_LIKE_NEAR_M = 50.0
_APART_DEG = 0.0005  # some 50 m
_MIN_ROWS = 10
_MAX_ROWS = 400
_DOUBT = 0.05
_SURE = 0.01


@dataclass(frozen=True, eq=False)
class Reference:
    """What positions of unknown datum are compared with, all true and in `crs`.

    Parameters
    ----------
    streets
        LineStrings.
    buildings
        Polygons and MultiPolygons, may be empty.
    alike
        Geometries of the features of the layer's own kind, may be empty.
    crs
        The projected CRS in metres of all three.
    """

    streets: npt.NDArray[np.object_]
    buildings: npt.NDArray[np.object_]
    alike: npt.NDArray[np.object_]
    crs: Any


@dataclass(frozen=True, eq=False)
class DatumFit:
    """How well positions fit under each datum.

    Parameters
    ----------
    answer
        The datum, or ``None`` where it cannot be told.
    scores
        By datum: ``rows`` compared, ``street_m`` their median distance to a street, shares
        ``in_building`` and ``near_like`` (within 50 m of a like feature), and ``score``, the best
        sign's in standard deviations above chance.
    doubt
        The probability at which chance alone would make the best datum look as good as it does;
        NaN where the three are the same.
    """

    answer: str | None
    scores: pd.DataFrame
    doubt: float

    def __str__(self) -> str:
        """Show the three fits in one line."""
        return "; ".join(self._show(datum) for datum in self.scores.index)

    def _show(self, datum: str) -> str:
        row = self.scores.loc[datum]
        if row["rows"] == 0:
            return f"{datum}: no row within {_DATA_REACH_M:.0f} m of a street"
        told = {
            "rows": f"{row['rows']:.0f} rows",
            "street_m": f"{row['street_m']:.0f} m from a street",
            "in_building": f"{row['in_building']:.0%} in buildings",
            "near_like": f"{row['near_like']:.0%} near a like feature",
            "score": f"score {row['score']:.1f}",
        }
        return f"{datum}: " + ", ".join(told[key] for key in told if pd.notna(row[key]))


def detect_datum(
    lon: npt.ArrayLike,
    lat: npt.ArrayLike,
    reference: Reference,
    *,
    offstreet: bool = True,
    seed: int = 0,
) -> DatumFit:
    """Tell the datum of positions by what they stand beside, or say that it cannot be told.

    The positions are read under each datum in turn. Up to four signs are looked at: nearness to
    street centre lines, to (or into) buildings, to both, and to features of the same kind. How good
    a sign would look by chance is learnt from 200 rigid shifts, 100 to 1,000 m, of the very same
    positions; the score is the best sign's distance from that chance in standard deviations. The
    best datum is the answer if chance would give its score to one of the three in fewer than 5 %
    of cases (the number of signs and datums counted in, after Bonferroni) and if, by the same sign
    and row by row, it goes before each of the other two (paired t-test, one-sided 5 %).

    Of positions within some 50 m of each other one counts (the shops of one building agree whether
    right or wrong), and under each datum only if within 250 m of a street there. Below ten such
    positions the answer is ``None``: so few may agree by accident. Of more than 400, 400 are drawn.
    Outside China all three datums are the same numbers, and the answer is "wgs84".

    Parameters
    ----------
    lon, lat
        Degrees in the unknown datum, one dimension; rows with NaN are left out.
    reference
        The true surroundings.
    offstreet
        Whether the positions may stand off the street; if not, buildings are no sign.
    seed
        Of the shifts and of the choice among too many rows.

    Returns
    -------
    DatumFit
    """
    rng = np.random.default_rng(seed)
    lonlat = np.unique(np.column_stack([lon, lat]).astype(np.float64), axis=0)
    lonlat = lonlat[~np.isnan(lonlat).any(axis=1)]
    _, apart = np.unique(np.round(lonlat / _APART_DEG), axis=0, return_index=True)
    lonlat = lonlat[apart]
    if len(lonlat) > _MAX_ROWS:
        lonlat = rng.choice(lonlat, _MAX_ROWS, replace=False, shuffle=False)
    truths = {
        datum: np.stack(convert_datum(*lonlat.T, source=datum, target="wgs84")) for datum in DATUMS
    }
    project = pyproj.Transformer.from_crs("EPSG:4326", reference.crs, always_xy=True)
    shifts, trees = _draw_shifts(rng), _plant_trees(reference)
    signs, described = {}, {}
    for datum, truth in truths.items():
        # what cannot be projected is far away, which is all that is asked
        places = np.clip(np.column_stack(project.transform(*truth)), -1e9, 1e9) + shifts
        signs[datum], described[datum] = _look(places, trees, offstreet=offstreet)
    scores = pd.DataFrame.from_dict(described, orient="index")
    if _coincide(truths, reference, project):
        return DatumFit("wgs84", scores, np.nan)
    best, doubt = _judge(signs)
    return DatumFit(best if doubt < _DOUBT else None, scores, doubt)


def _plant_trees(reference: Reference) -> "_Trees":
    return _Trees(
        spatial.KDTree(shapely.get_coordinates(shapely.segmentize(reference.streets, 5.0))),
        shapely.STRtree(reference.buildings),
        shapely.STRtree(reference.alike),
    )


def _coincide(truths: dict[str, Floats], reference: Reference, project: pyproj.Transformer) -> bool:
    """Whether rows or reference lie where no datum moves anything."""
    if len(reference.streets):
        west, south, east, north = shapely.total_bounds(reference.streets)
        centre = np.array(
            project.transform((west + east) / 2, (south + north) / 2, direction="INVERSE")
        )
        if not in_box(centre):
            return True
    return truths["wgs84"].size > 0 and all(
        np.array_equal(truths["wgs84"], truth) for truth in truths.values()
    )


def _draw_shifts(rng: np.random.Generator) -> Floats:
    """Return offsets in metres of shape (1 + shifts, 1, 2): none, then opposite pairs."""
    angle = rng.uniform(0, 2 * np.pi, _SHIFTS // 2)
    length_m = np.sqrt(rng.uniform(_SHIFT_M[0] ** 2, _SHIFT_M[1] ** 2, _SHIFTS // 2))
    shift = np.column_stack([length_m * np.cos(angle), length_m * np.sin(angle)])
    return np.concatenate([np.zeros((1, 2)), shift, -shift])[:, None, :]


@dataclass(frozen=True, eq=False)
class _Trees:
    """The surroundings, to be searched; streets as positions every 5 m, the fastest by far."""

    streets: spatial.KDTree
    buildings: shapely.STRtree
    alike: shapely.STRtree


def _look(
    places: Floats, trees: _Trees, *, offstreet: bool
) -> tuple[dict[str, tuple[float, Floats]], dict[str, float]]:
    """Return each sign's score and its closeness by row, and what stands in the table."""
    street_m = np.asarray(trees.streets.query(places, distance_upper_bound=_DATA_REACH_M)[0])
    seen = np.isfinite(street_m)
    points = shapely.points(places)
    here = seen[0]
    signs = {"street": np.exp(-street_m / 15)}
    told = {"rows": float(here.sum()), "street_m": np.nan, "in_building": np.nan}
    told |= {"near_like": np.nan, "score": np.nan}
    if here.any():
        told["street_m"] = float(np.median(street_m[0, here]))
    if len(trees.buildings):
        beyond_m = _building_m(points, trees.buildings)
        told["in_building"] = _mean(beyond_m[0, here] < 0)
        if offstreet:
            signs["building"] = (20 - beyond_m) / 40
            signs["both"] = signs["street"] + signs["building"]
    if len(trees.alike):
        like_m, _ = _nearest(points, trees.alike, within_m=500.0)
        told["near_like"] = _mean(like_m[0, here] <= _LIKE_NEAR_M)
        signs["like"] = -np.log(15 + np.minimum(like_m, 500))
    masked = {name: np.where(seen, sign, np.nan) for name, sign in signs.items()}
    found = {name: (_score(sign), sign[0]) for name, sign in masked.items()}
    scores = [score for score, _ in found.values() if not np.isnan(score)]
    told["score"] = max(scores, default=np.nan)
    return found, told


def _mean(rows: npt.NDArray[np.bool_]) -> float:
    return float(rows.mean()) if len(rows) else np.nan


def _nearest(
    points: npt.NDArray[np.object_], tree: shapely.STRtree, *, within_m: float
) -> tuple[Floats, npt.NDArray[np.intp]]:
    """Return the distance to the nearest geometry (infinite beyond `within_m`), and which it is."""
    distance_m = np.full(points.size, np.inf)
    which = np.zeros(points.size, dtype=np.intp)
    (row, other), found_m = tree.query_nearest(
        points.ravel(), max_distance=within_m, return_distance=True, all_matches=False
    )
    distance_m[row], which[row] = found_m, other
    return distance_m.reshape(points.shape), which.reshape(points.shape)


def _building_m(points: npt.NDArray[np.object_], tree: shapely.STRtree) -> Floats:
    """Return metres from a building's outline, at most 20; inside it they are negative."""
    beyond_m, which = _nearest(points, tree, within_m=20.0)
    inside = beyond_m == 0
    outlines = shapely.boundary(tree.geometries)
    beyond_m[inside] = -shapely.distance(points[inside], outlines[which[inside]])
    return np.clip(beyond_m, -20, 20)


def _score(sign: Floats) -> float:
    """Return how many standard deviations of chance a sign stands above it; NaN if untold.

    The sign has shape (1 + shifts, rows). Each row is compared with its own shifts, so that a row
    in a dense quarter is not praised for it.
    """
    seen = ~np.isnan(sign)
    rows = seen[0] & seen[1:].any(axis=0)
    sign, seen = sign[:, rows], seen[:, rows]
    if rows.sum() < _MIN_ROWS:
        return np.nan
    by_chance = np.nanmean(sign[1:], axis=0)
    count = seen.sum(axis=1)
    total = np.where(seen, sign - by_chance, 0).sum(axis=1) / np.sqrt(np.maximum(count, 1))
    chance = total[1:][count[1:] >= rows.sum() / 2]
    if len(chance) < _SHIFTS / 4 or chance.std() < 1e-9:
        return np.nan
    return float((total[0] - chance.mean()) / chance.std())


def _judge(signs: dict[str, dict[str, tuple[float, Floats]]]) -> tuple[str | None, float]:
    """Return the best datum and the probability that it is so by chance."""
    scores = {
        (datum, name): score
        for datum, found in signs.items()
        for name, (score, _) in found.items()
        if not np.isnan(score)
    }
    if not scores:
        return None, 1.0
    best, name = max(scores, key=lambda key: scores[key])
    comparisons = sum(len(found) for found in signs.values())
    doubts = [float(special.ndtr(-scores[best, name])) * comparisons]
    rows = {datum: found[name][1] for datum, found in signs.items()}
    doubts += [_paired_doubt(rows[best] - rows[other]) for other in rows if other != best]
    return best, min(max(doubts), 1.0)


def _paired_doubt(gain: Floats) -> float:
    """Return the one-sided p-value of a t-test that `gain` is above 0 over the rows.

    Rows without data under the other datum cannot be paired; where hardly a row can, that datum is
    left to the score alone.
    """
    gain = gain[~np.isnan(gain)]
    if len(gain) < _MIN_ROWS:
        return 0.0
    error = max(float(gain.std(ddof=1)) / np.sqrt(len(gain)), 1e-12)
    return float(special.stdtr(len(gain) - 1, -gain.mean() / error))


def settle_datum(
    layer: gpd.GeoDataFrame, *, datum: str, reference: Reference, name: str
) -> tuple[gpd.GeoDataFrame, str]:
    """Bring a layer into true WGS-84, by the datum stated for it or the one detected.

    Parameters
    ----------
    layer
        Any geometries, as longitude and latitude in an unknown or stated datum.
    datum
        A name from `DATUMS`, or "detect".
    reference
        The true surroundings, which a stated datum must not contradict either.
    name
        The file's name, for messages.

    Returns
    -------
    layer
        A copy with its geometry in WGS-84 (EPSG:4326).
    datum
        The datum that it was in: the one stated or the one detected.

    Raises
    ------
    DatumError
        If the datum's name is unknown, it was to be detected and cannot be told, or the stated one
        is plainly contradicted (the doubt is below 1 %). The message shows the three fits.
    """
    check_name(datum, (*DATUMS, "detect"))
    shapes = layer.geometry.to_numpy()
    spots = shapely.point_on_surface(shapes)
    lines = bool(np.isin(shapely.get_dimensions(shapes), [1]).all())
    fit = detect_datum(shapely.get_x(spots), shapely.get_y(spots), reference, offstreet=not lines)
    if datum == "detect":
        if fit.answer is None:
            raise DatumError(
                f"{name}: cannot tell the datum of its {len(layer)} rows ({fit}); look at a few of"
                f" them on a map whose datum you know and pass --datum {'|'.join(DATUMS)}"
            )
        datum = fit.answer
    elif fit.answer not in (None, datum) and fit.doubt < _SURE:
        raise DatumError(
            f"{name}: said to be {datum}, but its {len(layer)} rows fit {fit.answer} ({fit}); check"
            f" where the coordinates come from and pass --datum {fit.answer}"
        )
    source = datum

    def to_wgs84(lonlat: Floats) -> Floats:
        return np.column_stack(convert_datum(*lonlat.T, source=source, target="wgs84"))

    true = shapely.transform(shapes, to_wgs84)
    settled = layer.set_geometry(gpd.GeoSeries(true, index=layer.index, crs="EPSG:4326"))
    return settled, datum
