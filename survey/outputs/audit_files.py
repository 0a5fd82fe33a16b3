"""The files of an audit that scripts take: JUnit, Markdown, GeoJSON, CSV."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from survey.outputs.exports import csv_bytes, geojson_bytes, write_files
from survey.outputs.reports import write_junit, write_markdown


def write_audit_files(
    files: Mapping[str, Path],
    audit: Any,
    frame: Any,
    *,
    min_share: float | None = None,
    replace: bool = False,
) -> list[Path]:
    """Write what an audit found as files.

    Parameters
    ----------
    files
        What to write where: ``junit``, ``markdown``, ``geojson`` (the gaps), ``csv`` (the rules).
    audit
        What `audit_coverage` made, with the same `min_share`.
    frame
        The frame that was audited; it gives the names.
    min_share
        The share that was asked of every rule.
    replace
        Overwrite files that exist.

    Returns
    -------
    list of Path

    Raises
    ------
    OutputError
        If a file exists and `replace` is false, or it cannot be written.
    """
    table = frame.subdistricts
    asked: dict[str, Any] = {
        "min_share": min_share,
        "name": frame.name,
        "subdistricts": dict(zip(table["subdistrict_id"], table["name"], strict=True)),
    }
    points = dict(zip(frame.points["point_id"], frame.points["name"], strict=True))
    found = audit.summary, audit.shares
    writers = {
        "junit": lambda: write_junit(*found, **asked, points=points),
        "markdown": lambda: write_markdown(*found, audit.gaps, **asked).encode(),
        "geojson": lambda: geojson_bytes(audit.gaps),
        "csv": lambda: csv_bytes(audit.summary),
    }
    return write_files({path: writers[kind]() for kind, path in files.items()}, replace=replace)
