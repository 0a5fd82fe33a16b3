"""What OpenStreetMap tags mean, read from `tags.toml`."""

import json
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import geopandas as gpd

from survey.sources.extract import OsmData


@cache
def read_tags() -> dict[str, Any]:
    """Read `tags.toml`; treat what it returns as constant."""
    text = (files("survey.frame") / "tags.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def match_any(tags: Mapping[str, str], rules: Mapping[str, list[str]]) -> bool:
    """Tell whether `tags` has a value listed in `rules`; ``*`` is any value but ``no``."""
    for key, values in rules.items():
        value = tags.get(key)
        if value is not None and (value in values or ("*" in values and value != "no")):
            return True
    return False


def parse_features(osm: OsmData) -> gpd.GeoDataFrame:
    """Copy the features of `osm` with ``tags`` as dictionaries, sorted by ``osm_id``."""
    features = osm.features.sort_values("osm_id", kind="stable").reset_index(drop=True)
    return features.assign(tags=[json.loads(text) for text in features["tags"]])
