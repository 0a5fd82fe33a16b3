"""Write small OpenStreetMap XML files from dictionaries."""

from pathlib import Path
from xml.sax.saxutils import quoteattr

import pyproj

ORIGIN = (118.78, 32.04)
"""Longitude and latitude of the place that `place` counts metres from."""


def place(x, y, origin=ORIGIN):
    """Longitude and latitude of what lies x metres east and y metres north of the origin."""
    lon, lat = origin
    zone = int((lon + 180) // 6) + 1
    grid = pyproj.Transformer.from_crs(4326, (32600 if lat >= 0 else 32700) + zone, always_xy=True)
    east, north = grid.transform(lon, lat)
    return grid.transform(east + x, north + y, direction="INVERSE")


def write_osm(
    path, *, nodes, ways=None, relations=None, bounds=None, timestamp="2024-05-06T07:08:09Z"
):
    """Write an .osm file and return its path.

    `nodes` maps an id to (lon, lat) or (lon, lat, tags); `ways` to (node ids, tags), `relations`
    to ([(type, id, role), ...], tags); `bounds` is (W, S, E, N). A node that a way names and that
    `nodes` lacks is missing in the file, as at the edge of an extract.
    """
    lines = ["<?xml version='1.0' encoding='UTF-8'?>", '<osm version="0.6" generator="test">']
    if bounds is not None:
        west, south, east, north = bounds
        lines.append(f'<bounds minlon="{west}" minlat="{south}" maxlon="{east}" maxlat="{north}"/>')
    stamp = f'version="1" timestamp="{timestamp}"' if timestamp else 'version="1"'
    for number, (lon, lat, *tags) in sorted(nodes.items()):
        where = f'lon="{lon:.7f}" lat="{lat:.7f}"'
        lines += [f'<node id="{number}" {stamp} {where}>', *_tags(*tags), "</node>"]
    for number, (refs, tags) in sorted((ways or {}).items()):
        members = [f'<nd ref="{ref}"/>' for ref in refs]
        lines += [f'<way id="{number}" {stamp}>', *members, *_tags(tags), "</way>"]
    for number, (refs, tags) in sorted((relations or {}).items()):
        members = [f'<member type="{kind}" ref="{ref}" role="{role}"/>' for kind, ref, role in refs]
        lines += [f'<relation id="{number}" {stamp}>', *members, *_tags(tags), "</relation>"]
    Path(path).write_text("\n".join([*lines, "</osm>\n"]), encoding="utf-8")
    return Path(path)


def _tags(tags=None):
    return [
        f"<tag k={quoteattr(key)} v={quoteattr(value)}/>" for key, value in (tags or {}).items()
    ]
