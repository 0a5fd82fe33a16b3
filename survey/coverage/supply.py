"""What a rule asks for: the toilets that are open, or the facilities of a kind."""

from collections.abc import Sequence
from dataclasses import replace

import geopandas as gpd
import numpy as np
import shapely

from survey import tables
from survey.coverage.rules import Rule
from survey.frame.frame import Frame


def find_facilities(frame: Frame, rule: Rule) -> gpd.GeoDataFrame:
    """Find what counts for a rule.

    Returns
    -------
    geopandas.GeoDataFrame
        ``facility_id`` and geometry, sorted by id: the toilets in supply, or the facilities of the
        rule's kind that are large enough (a node has no known size and never is, if one is asked).
    """
    if rule.facility == "toilet":
        return frame.supply().rename(columns={"toilet_id": "facility_id"})
    table = frame.facilities
    large = table["area_m2"].fillna(0) >= rule.least_m2
    found = table[(table["kind"] == rule.facility) & large].sort_values("facility_id")
    return found.reset_index(drop=True)


def view_supply(frame: Frame, rule: Rule) -> Frame:
    """Return the frame as the rule sees it: what counts for it stands in the place of toilets."""
    if rule.facility == "toilet":
        return frame
    found = find_facilities(frame, rule)
    columns = dict.fromkeys(("access", "fee", "opening_hours", "wheelchair", "signed"))
    toilets = tables.make(
        "toilets",
        {
            **columns,
            "toilet_id": found["facility_id"],
            "name": found["name"],
            "level": found["level"],
            "source": found["source"],
            "status": np.full(len(found), "public", dtype=object),
            "inside": found["inside"],
            "geometry": shapely.point_on_surface(found.geometry.to_numpy()),
            **{name: [None] * len(found) for name in columns},
        },
        crs=frame.area.crs,
    )
    doors = frame.doors.copy()
    mine = (doors["layer"] == "facility") & doors["id"].isin(found["facility_id"])
    doors.loc[doors["layer"] == "toilet", "layer"] = "facility"
    doors.loc[mine, "layer"] = "toilet"
    # Ids of toilets and facilities may meet, but no search starts from the facilities here.
    kept = ~doors.duplicated(["layer", "id", "n"])
    view = replace(frame, toilets=toilets, doors=doors[kept].reset_index(drop=True))
    if kept.all():
        # The same doors cut the same streets.
        view.__dict__["network"] = frame.network
    return view


def close_toilets(frame: Frame, closed: Sequence[str]) -> Frame:
    """Return the frame with some toilets closed, by id."""
    shut = frame.toilets["toilet_id"].isin(list(closed))
    status = frame.toilets["status"].where(~shut, "closed")
    view = replace(frame, toilets=frame.toilets.assign(status=status))
    view.__dict__["network"] = frame.network
    return view
