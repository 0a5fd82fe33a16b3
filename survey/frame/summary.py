"""What a frame says of itself in a notebook: what there is of each thing, and what to look at."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import geopandas as gpd

from survey.summaries import Row, write_summary

if TYPE_CHECKING:
    from survey.frame.frame import Frame


def summarise_frame(frame: "Frame") -> str:
    """Write a frame's counts, lengths, doubts and source as a small table in HTML."""
    return write_summary(f"Frame of {frame.name}", _rows(frame))


def _rows(frame: "Frame") -> Iterator[Row]:
    edges = frame.streets.edges
    checked_m = frame.streets.length_mm[edges["public"] & edges["inside"]].sum() / 1000
    compounds = frame.compounds
    inside = frame.toilets["inside"]
    yield "points", f"{len(frame.points):,}", _count_by(frame.points, "kind")
    alleys_km = frame.alleys["length_m"].sum() / 1000
    yield "alleys", f"{len(frame.alleys):,}", f"{alleys_km:,.1f} km; {_unnamed(frame.alleys)}"
    km2 = compounds["area_m2"].sum() / 1e6
    yield "compounds", f"{len(compounds):,}", f"{km2:,.2f} km2; {_unnamed(compounds)}"
    where = f"; {inside.sum():,} inside the area"
    yield "toilets", f"{len(frame.toilets):,}", _count_by(frame.toilets, "status") + where
    yield "candidates", f"{len(frame.candidates):,}", _count_by(frame.candidates, "kind")
    yield "subdistricts", f"{len(frame.subdistricts):,}", ""
    yield "streets", f"{checked_m / 1000:,.1f} km", "public, inside the area"
    quality = frame.quality
    for verdict in ("poor", "look"):
        found = quality[(quality["verdict"] == verdict) & (quality["scope"] == "city")]
        yield f"quality: {verdict}", f"{len(found):,}", ", ".join(found["measure"])
    osm = frame.source.get("osm", {})
    yield "source", str(osm.get("osm_date") or "")[:10], str(osm.get("path") or "")
    for layer, source in frame.source.get("layers", {}).items():
        yield f"own {layer}", str(source.get("datum") or ""), str(source.get("path") or "")


def _count_by(table: gpd.GeoDataFrame, column: str) -> str:
    counts = table[column].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


def _unnamed(table: gpd.GeoDataFrame) -> str:
    return f"{table['name'].isna().sum():,} without a name"
