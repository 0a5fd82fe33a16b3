"""What OpenStreetMap tags mean, read from `tags.toml`."""

import json
import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd

from survey.sources.extract import OsmData


@cache
def read_tags() -> dict[str, Any]:
    """Read `tags.toml`; treat what it returns as constant."""
    text = (files("survey.frame") / "tags.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def match_any(tags: Mapping[str, str], rules: Mapping[str, list[str]]) -> bool:
    """Tell whether `tags` has a value listed in `rules`; ``*`` is any value but ``no``."""
    if rules.keys().isdisjoint(tags):
        return False  # nearly always, and found fast
    for key, values in rules.items():
        value = tags.get(key)
        if value is not None and (value in values or ("*" in values and value != "no")):
            return True
    return False


def parse_features(osm: OsmData) -> gpd.GeoDataFrame:
    """Copy the features of `osm`, sorted by ``osm_id``, with their tags parsed.

    Returns
    -------
    geopandas.GeoDataFrame
        ``osm_id``, ``tags`` (dictionaries; rows with equal tags share one, not to be changed),
        ``tag_set`` (a whole number that rows with equal tags have in common), geometry.
    """
    features = osm.features.sort_values("osm_id", kind="stable").reset_index(drop=True)
    return parse_tags(features)


def parse_tags(table: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Copy a table whose column ``tags`` is JSON, with ``tags`` and ``tag_set`` as parsed."""
    code, texts = pd.factorize(table["tags"])
    parsed = np.array([*map(json.loads, texts), None], dtype=object)[:-1]  # else numpy unpacks
    return table.assign(tags=parsed[code], tag_set=code)


def map_tags(table: pd.DataFrame, ask: Callable[[Mapping[str, str]], Any]) -> npt.NDArray[Any]:
    """Ask something of the tags of each row, once for all rows with equal tags.

    Parameters
    ----------
    table
        Rows of what `parse_features` or `parse_tags` made.
    ask
        Called with a row's tags; its answer depends on nothing else.

    Returns
    -------
    numpy.ndarray
        The answers (of type object), one per row.
    """
    code, kinds = pd.factorize(table["tag_set"].to_numpy())
    row = np.empty(len(kinds), dtype=np.int64)
    row[code] = np.arange(len(code))
    tags = table["tags"].to_numpy()[row]
    answers = np.empty(len(kinds), dtype=object)
    for number, each in enumerate(tags):
        answers[number] = ask(each)
    result: npt.NDArray[Any] = answers[code]
    return result


def find_tagged(
    table: pd.DataFrame,
    rules: Mapping[str, list[str]],
    but: Mapping[str, list[str]] | None = None,
) -> npt.NDArray[np.bool_]:
    """Tell which rows have a value listed in `rules`, and none that is listed in `but`."""
    found = map_tags(table, lambda tags: match_any(tags, rules) and not match_any(tags, but or {}))
    return found.astype(np.bool_)
