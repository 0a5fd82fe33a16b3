"""A city's config: the TOML file that `survey run` reads."""

import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from survey.errors import ConfigError, DesignError, InputError, SurveyError
from survey.sampling.design import Design

LAYERS = ("points", "toilets", "alleys", "compounds", "subdistricts")
"""The city's own layers that a config may name."""

REACH_M = 2_000
"""How far distances are measured: streets are kept no farther beyond the area than this."""

_KEYS: dict[str, tuple[str, ...]] = {
    "source": ("extract", "workspace", "bbox", "polygon", "data_edge"),
    "layers": (*LAYERS, "datum"),
    "design": ("alleys", "compounds", "within_m", "min_m", "radius", "metric", "points"),
    "round": ("id", "seed"),
    "audit": ("rules", "min_share"),
}


@dataclass(frozen=True)
class CityConfig:
    """What one city is to be surveyed with; paths are absolute or relative to where one is.

    Attributes
    ----------
    name
        What the city is called.
    stem
        What its files are called: the stem of the config's file.
    extract, workspace
        An OpenStreetMap file, or a workspace that was fetched; one of them.
    bbox, polygon, data_edge
        Where the area is, and where the data end.
    layers
        Layer name to file.
    datum
        wgs84, gcj02, bd09 or detect: what the coordinates of `layers` are in.
    design
        The rules of the draw.
    round_id, seed
        The round; `seed_given` is false where the seed is only the city's name.
    rules, min_share
        The audit; without `min_share` it only reports.
    """

    name: str
    stem: str
    extract: Path | None = None
    workspace: Path | None = None
    bbox: tuple[float, ...] | None = None
    polygon: Path | None = None
    data_edge: Path | None = None
    layers: Mapping[str, Path] = field(default_factory=dict)
    datum: str = "detect"
    design: Design = field(default_factory=Design)
    round_id: str = "demo"
    seed: str = ""
    seed_given: bool = True
    rules: tuple[str, ...] = ("walk-500", "crow-500")
    min_share: float | None = None


def read_config(path: str | Path) -> CityConfig:
    """Read and check a city's config.

    Parameters
    ----------
    path
        A TOML file; the paths in it are relative to it. `data/monaco.toml` shows every key.

    Returns
    -------
    CityConfig

    Raises
    ------
    InputError
        If the file is missing or cannot be read.
    ConfigError
        If it is not TOML, has an unknown key or a wrong value; the message names key, file and
        what is allowed.
    """
    file = Path(path)
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as fault:
        raise InputError(f"{file}: {fault.strerror}; give a city's TOML config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise ConfigError(f"{file} is not valid TOML in UTF-8: {fault}") from None
    _check_keys(file, "", data, ("name", *_KEYS))
    sections = {}
    for section, keys in _KEYS.items():
        sections[section] = data.get(section, {})
        if not isinstance(sections[section], dict):
            raise ConfigError(f"{file}: {section!r} must be a table [{section}]")
        if section == "source" and "place" in sections[section]:
            raise ConfigError(
                f"{file}: [source] place is not read by this version, which reads extracts;"
                ' download one (.osm.pbf) that holds the place, and give extract = "FILE" and bbox'
            )
        _check_keys(file, section, sections[section], keys)
    if "source" not in data:
        raise ConfigError(f"{file}: the table [source] is missing; it names the extract")
    try:
        return _as_config(file, data, sections)
    except ConfigError:
        raise
    except SurveyError as fault:
        raise ConfigError(f"{file}: {fault}") from None


def _as_config(
    file: Path, data: Mapping[str, Any], sections: Mapping[str, Mapping[str, Any]]
) -> CityConfig:
    source, layers = sections["source"], sections["layers"]
    reader = _Reader(file)
    name = reader.text("name", data.get("name", file.stem))
    if ("extract" in source) == ("workspace" in source):
        raise ConfigError(f"{file}: [source] must have one of extract and workspace")
    if "bbox" in source and "polygon" in source:
        raise ConfigError(f"{file}: [source] has both bbox and polygon; keep one")
    paths = {
        key: reader.path(f"source.{key}", source[key])
        for key in ("extract", "workspace", "polygon", "data_edge")
        if key in source
    }
    design = Design.from_table(sections["design"], where="[design]")
    check_radius(design)
    given = sections["round"].get("seed")
    min_share = sections["audit"].get("min_share")
    return CityConfig(
        name=name,
        stem=file.stem,
        **paths,
        bbox=reader.numbers("source.bbox", source["bbox"], 4) if "bbox" in source else None,
        layers={key: reader.path(f"layers.{key}", layers[key]) for key in LAYERS if key in layers},
        datum=reader.choice(
            "layers.datum", layers.get("datum", "detect"), ("wgs84", "gcj02", "bd09", "detect")
        ),
        design=design,
        round_id=reader.text("round.id", sections["round"].get("id", "demo")),
        seed=name if given is None else reader.text("round.seed", given),
        seed_given=given is not None,
        rules=reader.rules(sections["audit"].get("rules", ["walk-500", "crow-500"])),
        min_share=None if min_share is None else reader.share("audit.min_share", min_share),
    )


def _check_keys(
    file: Path, section: str, given: Mapping[str, Any], allowed: tuple[str, ...]
) -> None:
    for key in given:
        if key not in allowed:
            where = f"[{section}]" if section else "the top level"
            close = get_close_matches(key, allowed, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise ConfigError(
                f"{file}: unknown key {key!r} in {where}; {hint}allowed: {', '.join(allowed)}"
            )


@dataclass(frozen=True)
class _Reader:
    """Reads values so that a wrong one names key, file and what is allowed."""

    file: Path

    def text(self, key: str, value: Any) -> str:
        text: str = self._checked(key, value, _is_line, "a text in quotes, on one line")
        return text

    def path(self, key: str, value: Any) -> Path:
        return self.file.parent / self.text(key, value)

    def choice(self, key: str, value: Any, allowed: tuple[str, ...]) -> str:
        chosen: str = self._checked(key, value, lambda x: x in allowed, " or ".join(allowed))
        return chosen

    def numbers(self, key: str, value: Any, count: int) -> tuple[float, ...]:
        wanted = f"a list of {count} numbers"
        self._checked(key, value, lambda x: isinstance(x, list) and len(x) == count, wanted)
        return tuple(self._checked(key, item, _is_number, wanted) for item in value)

    def share(self, key: str, value: Any) -> float:
        wanted = "a number from 0 to 1"
        share: float = self._checked(key, value, lambda x: _is_number(x) and 0 <= x <= 1, wanted)
        return share

    def rules(self, value: Any) -> tuple[str, ...]:
        from survey.coverage.rules import read_rules

        known = list(read_rules())
        wanted = f"a list of some of {', '.join(known)}, each once"
        self._checked("audit.rules", value, lambda x: isinstance(x, list) and x != [], wanted)
        for item in value:
            self._checked("audit.rules", item, lambda x: x in known and value.count(x) == 1, wanted)
        return tuple(value)

    def _checked(self, key: str, value: Any, test: Callable[[Any], bool], wanted: str) -> Any:
        if not test(value):
            raise ConfigError(f"{self.file}: {key} is {value!r}, it must be {wanted}")
        return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_line(value: Any) -> bool:
    # Control characters would make another line of a name or a seed.
    return isinstance(value, str) and value.strip() != "" and min(value) >= " "


def check_radius(design: Design, *, band: bool = False) -> None:
    """Check that no radius of a design goes beyond the distances that are measured.

    Parameters
    ----------
    design
        The design.
    band
        Check every radius in its `within_m` and not only those of its law: what the band of the
        odds goes over.

    Raises
    ------
    DesignError
        If one does: units beyond would be left out without a word.
    """
    if design.greatest_m > REACH_M:
        raise DesignError(
            f"the radius goes to {design.greatest_m:g} m, but distances are measured to"
            f" {REACH_M} m; give a radius of {REACH_M} m at most"
        )
    if band and design.within_m[1] > REACH_M:
        raise DesignError(
            f"the band of the odds goes over every radius to {design.within_m[1]:g} m, but"
            f" distances are measured to {REACH_M} m; give bounds (within) of {REACH_M} m at most"
        )
