"""How far the frame can be trusted."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import shapely

from survey import tables
from survey.frame.cores import share_out
from survey.frame.lines import Ints, Shapes
from survey.frame.streets import Streets
from survey.sources.extract import OsmData

SUPPLY = ("public", "opened")
"""The status of toilets that count as supply."""

TOILETS_PER_KM2 = (3, 5)
"""Public toilets per square kilometre of housing land, GB 50337-2003."""

_FEW = 2  # a round may ask for two alleys and two compounds at a point
_CLOSE_M = 500  # the least radius of a round


def measure_quality(
    osm: OsmData, streets: Streets, found: Mapping[str, Any], notes: pd.DataFrame
) -> pd.DataFrame:
    """Measure the quality of a frame.

    Parameters
    ----------
    osm
        What was read.
    streets
        The streets.
    found
        Table name to table: points, alleys, compounds, toilets, candidates, doors, subdistricts.
    notes
        ``scope, measure, note`` and, where there is a number, ``value``: what the steps of the
        frame left out, merged, or found on one side only.

    Returns
    -------
    pandas.DataFrame
        The table `quality`: figures of the ``city`` first, then single objects by their id.
    """
    rows = [
        *_density(osm, streets, found),
        *_names(found),
        *_connection(streets),
        *_doors(found),
        *_few_units(found),
        *_subdistricts(found),
    ]
    problems = osm.problems.itertuples()
    rows += [
        _row(row.osm_id, "cut_open", verdict="look", note=f"{row.name} {row.problem}".strip())
        for row in problems
    ]
    table = pd.concat([pd.DataFrame(rows), _gather(notes)], ignore_index=True)
    table = table.drop_duplicates(["scope", "measure"])
    city_first = table["scope"] != "city"
    table = table.assign(later=city_first).sort_values(["later", "scope", "measure"], kind="stable")
    return tables.make("quality", table)


def _gather(notes: pd.DataFrame) -> pd.DataFrame:
    """Make one row of all notes on one thing: the sum of their values, their different texts."""
    key = ["scope", "measure"]
    together = notes.reindex(columns=[*key, "value", "note"]).groupby(key, sort=True)
    values = together["value"].sum(min_count=1)
    texts = notes[[*key, "note"]].dropna().drop_duplicates()
    several = texts.duplicated(key, keep=False)
    joined = texts[several].groupby(key)["note"].agg("; ".join)
    note = pd.concat([texts[~several].set_index(key)["note"], joined]).reindex(values.index)
    table = pd.DataFrame({"value": values, "note": note.replace("", None)}).reset_index()
    return table.assign(unit=None, verdict="info")


def _row(
    scope: str,
    measure: str,
    *,
    value: float = np.nan,
    unit: str | None = None,
    verdict: str = "info",
    note: str | None = None,
) -> dict[str, Any]:
    names = {"scope": scope, "measure": measure, "value": value, "unit": unit}
    return names | {"verdict": verdict, "note": note or None}


def _density(osm: OsmData, streets: Streets, found: Mapping[str, Any]) -> list[dict[str, Any]]:
    km2 = osm.area.shape.area / 1e6
    inside = streets.edges["inside"].to_numpy()
    alley = streets.edges["alley_id"].notna().to_numpy()
    alley_km = streets.length_mm[inside & alley].sum() / 1e6
    toilets = found["toilets"]
    supply = toilets["inside"] & toilets["status"].isin(SUPPLY)
    per_km2 = supply.sum() / km2
    low, high = TOILETS_PER_KM2
    return [
        _row("city", "area", value=round(km2, 3), unit="km2", note="as given, water included"),
        _row("city", "alley_km_per_km2", value=round(alley_km / km2, 2), unit="km/km2"),
        _row(
            "city",
            "toilets_per_km2",
            value=round(per_km2, 2),
            unit="1/km2",
            verdict="good" if per_km2 >= low else "poor",
            note=f"{low} to {high} by GB 50337-2003 for housing; OpenStreetMap may miss some",
        ),
        _row("city", "osm_date", note=osm.source.get("osm_date") or "unknown"),
    ]


def _names(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for name in ("alleys", "compounds", "points"):
        table = found[name]
        share = table["name"].isna().mean() if len(table) else 0.0
        verdict = "good" if share < 0.2 else "look"
        note = f"{table['name'].isna().sum()} of {len(table)}"
        rows.append(_row("city", f"{name}_unnamed_share", value=round(share, 3), verdict=verdict))
        rows[-1]["note"] = note
    return rows


def _connection(streets: Streets) -> list[dict[str, Any]]:
    walkable = (streets.edges["walkable"] & streets.edges["inside"]).to_numpy()
    island = walkable & (streets.piece != 0)
    length = streets.length_mm
    share = length[island].sum() / max(1, length[walkable].sum())
    pieces = len(np.unique(streets.piece[island]))
    return [
        _row(
            "city",
            "streets_unconnected_share",
            value=round(float(share), 4),
            verdict="good" if share < 0.02 else "look",
            note=f"{length[island].sum() / 1e6:.2f} km in {pieces} pieces apart from the rest",
        )
    ]


def _doors(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for layer in ("point", "compound", "toilet", "candidate"):
        table = found[f"{layer}s"]
        ids = table[f"{layer}_id"]
        doors = found["doors"]
        far = ids[~ids.isin(doors.loc[doors["layer"] == layer, "id"])]
        verdict = "good" if far.empty else "look"
        note = "no street near enough; they have no network distance" if len(far) else None
        rows.append(
            _row("city", f"{layer}s_without_door", value=len(far), verdict=verdict, note=note)
        )
        rows += [_row(one, "without_door", verdict="look", note=layer) for one in sorted(far)]
    return rows


def _count_close(tree: shapely.STRtree, shapes: Shapes) -> Ints:
    near, _ = tree.query(shapes, predicate="dwithin", distance=_CLOSE_M)
    return np.bincount(near, minlength=len(shapes))


def _few_units(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    points = found["points"]
    for name in ("alleys", "compounds"):
        tree = shapely.STRtree(found[name].geometry.array)
        count = share_out(partial(_count_close, tree), np.asarray(points.geometry.array))
        few = np.flatnonzero(count < _FEW)
        verdict = "good" if not len(few) else "look"
        note = f"points with fewer than {_FEW} {name} within {_CLOSE_M} m by crow"
        rows.append(_row("city", f"points_few_{name}", value=len(few), verdict=verdict, note=note))
        rows += [
            _row(points["point_id"].iloc[row], f"few_{name}", value=int(count[row]), verdict="look")
            for row in few
        ]
    return rows


def _subdistricts(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    count = len(found["subdistricts"])
    verdict = "good" if count else "look"
    note = None if count else "none that cover the area; give the city's own layer"
    rows = [_row("city", "subdistricts", value=count, verdict=verdict, note=note)]
    if count:
        for name in ("points", "alleys", "compounds"):
            outside = int(found[name]["subdistrict_id"].isna().sum())
            verdict = "look" if outside else "good"
            rows.append(_row("city", f"{name}_without_subdistrict", value=outside, verdict=verdict))
    return rows
