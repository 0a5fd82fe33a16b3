"""Terms of the tables in both languages: street classes, reasons, sources."""

import re
from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd

from survey.outputs.texts import Pair, Text, write_cells

_CLASSES = {
    "residential": "居住区道路",
    "living_street": "生活街道",
    "pedestrian": "步行街",
    "unclassified": "未分级道路",
    "service": "内部道路",
    "service=alley": "小巷（service=alley）",
    "footway": "人行路",
    "steps": "台阶",
    "path": "小路",
    "cycleway": "自行车道",
    "track": "机耕路",
    "tertiary": "三级道路",
    "secondary": "次干道",
    "primary": "主干道",
    "trunk": "干线公路",
}
_SOURCES = {
    "osm": Pair("OpenStreetMap", "OpenStreetMap"),
    "derived": Pair("由建筑推断", "derived from buildings"),
    "register": Pair("本市名册", "the city's register"),
    "register+osm": Pair("本市名册与 OpenStreetMap", "the city's register and OpenStreetMap"),
}
_PHRASES = _CLASSES | {
    "named": "有名称",
    "chained": "顺向相连的几段",
    "landuse=residential": "居住用地",
    "building=apartments": "公寓楼",
    "building=residential": "住宅楼",
    "building=dormitory": "宿舍楼",
    "no building mapped": "图上无建筑",
    "named after its streets": "以周边街道命名",
    "in the city's register": "列入本市名册",
    "a street of its name": "按同名街道",
    "a street along its line": "按沿线街道",
    "the nearest unnamed alley": "按最近的无名小巷",
    "no free street of OpenStreetMap lies along it": "沿线没有可用的 OpenStreetMap 街道",
}
_SHAPES = {
    r"unnamed (.+)": "无名{}",
    r"named …(.+)": "名称含“{}”",
    r"(\d+) buildings?": "{} 栋建筑",
}


def write_classes(values: Iterable[Any]) -> list[Text]:
    """Write classes of street; a class without a Chinese term stays as it is."""
    return _write(values, lambda text: _CLASSES.get(text, text))


def write_origin(table: Any, key: str) -> dict[Pair, list[Text]]:
    """Write where each row comes from and its id."""
    texts = write_cells(table["source"])
    return {
        Pair("来源", "Source"): [_SOURCES.get(str(text), text) for text in texts],
        Pair("编号", "ID"): [*write_cells(table[key])],
    }


def write_reasons(values: Iterable[Any]) -> list[Text]:
    """Write why units are in the frame; a phrase without a Chinese term stays as it is."""
    return _write(values, lambda text: "，".join(map(_say_phrase, re.split("[,;] ", text))))


def _say_phrase(phrase: str) -> str:
    for shape, words in _SHAPES.items():
        if found := re.fullmatch(shape, phrase):
            return words.format(_PHRASES.get(found[1], found[1]))
    return _PHRASES.get(phrase, phrase)


def _write(values: Iterable[Any], say: Callable[[str], str]) -> list[Text]:
    return [None if pd.isna(value) else Pair(say(str(value)), str(value)) for value in values]
