"""What Overpass servers answer: checked to the last element, and written as an .osm file."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from survey.sources.asking import AnswerError, quote

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # by XML 1.0
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_KINDS = ("node", "way", "relation")


@dataclass(frozen=True, eq=False)
class Answer:
    """One whole answer.

    Attributes
    ----------
    sha256
        Of the bytes that were sent.
    osm_date
        The state of OpenStreetMap that it shows (ISO 8601), empty if it does not say.
    elements
        For each of node, way and relation: id to the element as XML.
    """

    sha256: str
    osm_date: str
    elements: Mapping[str, Mapping[int, str]]

    @property
    def empty(self) -> bool:
        """Whether nothing was found."""
        return not any(self.elements.values())


def parse_answer(body: bytes, box: Sequence[float] | None = None) -> Answer:
    """Read and check what a server answered with status 200.

    Parameters
    ----------
    body
        What it sent.
    box
        West, south, east, north of what was asked for; absent: that is not looked at.

    Raises
    ------
    AnswerError
        If it is no JSON, says that it is not whole (``remark``), holds anything but whole nodes,
        ways and relations, lacks nodes of its ways, or is about another place.
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):  # also of bytes that are no UTF-8, or nested without end
        raise AnswerError(f"answered with no JSON, or a part of it: {quote(body)!r}") from None
    if not isinstance(content, dict):
        raise AnswerError(f"answered with JSON that is no map data: {quote(body)!r}")
    if "remark" in content:
        remark = " ".join(str(content["remark"]).split())[:200]
        raise AnswerError(f"gave a part only, and remarked {remark!r}")
    if not isinstance(content.get("elements"), list):
        raise AnswerError(f"answered without elements: {quote(body)!r}")
    elements: dict[str, dict[int, str]] = {kind: {} for kind in _KINDS}
    for element in content["elements"]:
        try:
            elements[element["type"]][_check_id(element["id"])] = _WRITERS[element["type"]](element)
        except (KeyError, TypeError, ValueError, AttributeError):
            shown = json.dumps(element, ensure_ascii=False)[:160]
            raise AnswerError(f"answered with a broken element: {shown}") from None
    _refuse_lost_nodes(content["elements"], elements["node"])
    if box is not None:
        _refuse_another_place(content["elements"], box)
    date = content.get("osm3s", {})
    date = date.get("timestamp_osm_base", "") if isinstance(date, dict) else ""
    date = date if _DATE.fullmatch(str(date)) else ""
    return Answer(hashlib.sha256(body).hexdigest(), date, elements)


def _refuse_lost_nodes(elements: Iterable[Mapping[str, Any]], nodes: Mapping[int, str]) -> None:
    """Refuse ways without all their nodes: each is asked for with them, and would be cut short."""
    refs = {ref for element in elements if element["type"] == "way" for ref in element["nodes"]}
    lost = sum(ref not in nodes for ref in refs)
    if lost:
        raise AnswerError(f"answered with ways but not with {lost} of their {len(refs)} nodes")


def _refuse_another_place(elements: Sequence[Mapping[str, Any]], box: Sequence[float]) -> None:
    """Refuse streets of which none touches the box; members of relations may well lie outside."""
    west, south, east, north = box
    nodes = {item["id"]: item for item in elements if item["type"] == "node"}
    relations = [item for item in elements if item["type"] == "relation"]
    members = {(part["type"], part["ref"]) for item in relations for part in item["members"]}
    streets = [
        [nodes[ref] for ref in item["nodes"]]
        for item in elements
        if item["type"] == "way"
        and "highway" in item.get("tags", ())
        and ("way", item["id"]) not in members
    ]
    for street in filter(None, streets):
        x, y = ([float(node[axis]) for node in street] for axis in ("lon", "lat"))
        if min(x) <= east and max(x) >= west and min(y) <= north and max(y) >= south:
            return
    if any(streets):
        raise AnswerError("answered about another place than was asked for")


def _check_id(value: Any) -> int:
    if type(value) is not int or not -(2**63) < value < 2**63:
        raise ValueError(value)
    return value


def _write_node(node: Mapping[str, Any]) -> str:
    lon, lat = float(node["lon"]), float(node["lat"])
    if not (-180 <= lon <= 180 and -90 <= lat <= 90):
        raise ValueError(node)
    return _write("node", node, [], f' lon="{lon:.7f}" lat="{lat:.7f}"')


def _write_way(way: Mapping[str, Any]) -> str:
    return _write("way", way, [f'<nd ref="{_check_id(ref)}"/>' for ref in way["nodes"]])


def _write_relation(relation: Mapping[str, Any]) -> str:
    members = []
    for member in relation["members"]:
        kind = _KINDS[_KINDS.index(member["type"])]
        role = quoteattr(_clean(member["role"]))
        members.append(f'<member type="{kind}" ref="{_check_id(member["ref"])}" role={role}/>')
    return _write("relation", relation, members)


def _write(kind: str, element: Mapping[str, Any], parts: list[str], more: str = "") -> str:
    head = f'<{kind} id="{element["id"]}" version="1"{more}'
    tags = [
        f"<tag k={quoteattr(_clean(key))} v={quoteattr(_clean(value))}/>"
        for key, value in element.get("tags", {}).items()
    ]
    return f"{head}>{''.join(parts)}{''.join(tags)}</{kind}>" if parts or tags else f"{head}/>"


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("", text)


_WRITERS = {"node": _write_node, "way": _write_way, "relation": _write_relation}


def write_answers(path: Path, answers: Iterable[Answer]) -> None:
    """Write answers as one .osm file, in the order of a file that was sorted.

    An object that stands in several is taken from the answer that shows the newest state.
    """
    merged: dict[str, dict[int, str]] = {kind: {} for kind in _KINDS}
    for answer in sorted(answers, key=attrgetter("osm_date")):
        for kind, found in answer.elements.items():
            merged[kind].update(found)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in _list_lines(merged))


def _list_lines(merged: Mapping[str, Mapping[int, str]]) -> Iterator[str]:
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield '<osm version="0.6" generator="survey">'
    for found in merged.values():
        for number in sorted(found):
            yield found[number]
    yield "</osm>"
