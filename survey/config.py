"""Configs: the TOML file of a city, which `survey run` reads, and that of a batch of cities."""

import glob
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

_AREAS = ("place", "bbox", "polygon")
_SERVERS = ("endpoints", "geocoder", "time_limit_s", "cache")  # for live data
_KEYS: dict[str, tuple[str, ...]] = {
    "source": ("extract", "workspace", *_AREAS, "data_edge", *_SERVERS),
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
        An OpenStreetMap file, or a workspace that was fetched; live data if there is neither.
    place, bbox, polygon, data_edge
        Where the area is, and where the data end.
    endpoints, geocoder, time_limit_s, cache
        For live data: the servers to ask, how long, and where whole answers are kept.
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
    place: str | None = None
    bbox: tuple[float, ...] | None = None
    polygon: Path | None = None
    data_edge: Path | None = None
    endpoints: tuple[str, ...] = ()
    geocoder: str | None = None
    time_limit_s: float = 1_800
    cache: Path | None = None
    layers: Mapping[str, Path] = field(default_factory=dict)
    datum: str = "detect"
    design: Design = field(default_factory=Design)
    round_id: str = "demo"
    seed: str = ""
    seed_given: bool = True
    rules: tuple[str, ...] = ("walk-500", "crow-500")
    min_share: float | None = None

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The files that it names."""
        files = (self.extract, self.workspace, self.polygon, self.data_edge, *self.layers.values())
        return tuple(file for file in files if file is not None)


@dataclass(frozen=True)
class BatchConfig:
    """Many cities; paths are absolute or relative to where one is.

    Attributes
    ----------
    cities
        The configs of the cities, each once, with stems that differ.
    out
        The folder of the cities' folders, which are called after the stems.
    workers
        How many cities are worked on at a time; None: as many as there are cores.
    """

    cities: tuple[Path, ...]
    out: Path
    workers: int | None = None


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
    data = _read_toml(file, "a city's TOML config")
    _check_keys(file, "", data, ("name", *_KEYS))
    sections = {}
    for section, keys in _KEYS.items():
        sections[section] = data.get(section, {})
        if not isinstance(sections[section], dict):
            raise ConfigError(f"{file}: {section!r} must be a table [{section}]")
        _check_keys(file, section, sections[section], keys)
    if "source" not in data:
        raise ConfigError(f"{file}: the table [source] is missing; it names an extract or a place")
    try:
        return _as_config(file, data, sections)
    except ConfigError:
        raise
    except SurveyError as fault:
        raise ConfigError(f"{file}: {fault}") from None


def read_batch(path: str | Path) -> BatchConfig:
    """Read and check the config of a batch of cities.

    Parameters
    ----------
    path
        A TOML file with `cities`, a list of the cities' configs, which may be patterns such as
        ``"*.toml"`` (this file itself is left out), and perhaps `out`, a folder (``"maps"``), and
        `workers`, a number. The paths in it are relative to it.

    Returns
    -------
    BatchConfig

    Raises
    ------
    InputError
        If the file is missing or cannot be read.
    ConfigError
        If it is not TOML, has an unknown key or a wrong value, a pattern fits no file, or two
        configs have the same stem.
    """
    file = Path(path)
    data = _read_toml(file, "a TOML file that lists the cities' configs")
    _check_keys(file, "", data, ("cities", "out", "workers"))
    reader = _Reader(file)
    workers = data.get("workers")
    return BatchConfig(
        cities=_find_cities(file, reader.texts("cities", data.get("cities"))),
        out=reader.path("out", data.get("out", "maps")),
        workers=None if workers is None else reader.count("workers", workers),
    )


def _find_cities(file: Path, patterns: tuple[str, ...]) -> tuple[Path, ...]:
    found: dict[Path, Path] = {}
    for pattern in patterns:
        plain = not glob.has_magic(pattern) or (file.parent / pattern).exists()
        # Unlike Path.glob, it takes absolute patterns too.
        names = [pattern] if plain else sorted(glob.glob(pattern, root_dir=file.parent))  # noqa: PTH207
        paths = [file.parent / name for name in names]
        paths = [path for path in paths if path.resolve() != file.resolve()]
        if not paths:
            raise ConfigError(f"{file}: no file fits {pattern!r} of cities; check the pattern")
        for path in paths:
            found.setdefault(path.resolve(), path)
    stems: dict[str, Path] = {}
    for path in found.values():
        other = stems.setdefault(path.stem.casefold(), path)
        if other != path:
            raise ConfigError(
                f"{file}: {other} and {path} would both be written to {path.stem!r}; rename one"
            )
    return tuple(found.values())


def _read_toml(file: Path, wanted: str) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as fault:
        raise InputError(f"{file}: {fault.strerror}; give {wanted}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise ConfigError(f"{file} is not valid TOML in UTF-8: {fault}") from None


def _as_config(
    file: Path, data: Mapping[str, Any], sections: Mapping[str, Mapping[str, Any]]
) -> CityConfig:
    layers = sections["layers"]
    reader = _Reader(file)
    name = reader.text("name", data.get("name", file.stem))
    design = Design.from_table(sections["design"], where="[design]")
    check_radius(design)
    given = sections["round"].get("seed")
    min_share = sections["audit"].get("min_share")
    return CityConfig(
        name=name,
        stem=file.stem,
        **_read_source(reader, sections["source"]),
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


def _read_source(reader: "_Reader", source: Mapping[str, Any]) -> dict[str, Any]:
    areas = [key for key in _AREAS if key in source]
    files = [key for key in ("extract", "workspace") if key in source]
    if len(files) > 1 or not files + areas:
        raise ConfigError(
            f"{reader.file}: [source] must have one of extract and workspace, or for live data one"
            " of place, bbox and polygon"
        )
    if len(areas) > 1:
        raise ConfigError(f"{reader.file}: [source] has both {areas[0]} and {areas[1]}; keep one")
    readers: dict[str, Callable[[str, Any], Any]] = {
        "bbox": lambda key, value: reader.numbers(key, value, 4),
        "endpoints": reader.texts,
        "time_limit_s": reader.seconds,
        **dict.fromkeys(("extract", "workspace", "polygon", "data_edge", "cache"), reader.path),
        **dict.fromkeys(("place", "geocoder"), reader.text),
    }
    return {key: readers[key](f"source.{key}", value) for key, value in source.items()}


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

    def texts(self, key: str, value: Any) -> tuple[str, ...]:
        wanted = "a list of texts in quotes, one at least"
        self._checked(key, value, lambda x: isinstance(x, list) and x != [], wanted)
        return tuple(self._checked(key, item, _is_line, wanted) for item in value)

    def choice(self, key: str, value: Any, allowed: tuple[str, ...]) -> str:
        chosen: str = self._checked(key, value, lambda x: x in allowed, " or ".join(allowed))
        return chosen

    def numbers(self, key: str, value: Any, count: int) -> tuple[float, ...]:
        wanted = f"a list of {count} numbers"
        self._checked(key, value, lambda x: isinstance(x, list) and len(x) == count, wanted)
        return tuple(self._checked(key, item, _is_number, wanted) for item in value)

    def count(self, key: str, value: Any) -> int:
        count: int = self._checked(key, value, _is_count, "a whole number from 1 on")
        return count

    def seconds(self, key: str, value: Any) -> float:
        wanted = "a number of seconds above 0"
        seconds: float = self._checked(key, value, lambda x: _is_number(x) and x > 0, wanted)
        return seconds

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


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


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
