"""The rules of a draw: how far, how many of each layer, and which fixed points."""

import difflib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from survey.errors import DesignError
from survey.tables import KINDS

_MOST = 1_000_000
_FIXED = re.compile(r"fixed:\s*([0-9]+(?:\.[0-9]+)?)")


@dataclass(frozen=True)
class Design:
    """The rules of a draw; two designs that mean the same are equal and write the same JSON.

    Parameters
    ----------
    alleys, compounds
        The least and the greatest number drawn at one point; every whole number between the two
        is equally likely.
    within_m
        The least and the greatest radius around a point, metres.
    min_m
        A unit nearer than this to the point is not eligible, metres.
    radius
        The law of the radius: ``"uniform"`` on `within_m`, or ``"fixed:<metres>"`` inside it.
    metric
        Which distance decides: ``"network"`` or ``"euclid"``.
    points
        How many points of a kind a round visits; a kind that is not named is visited in full, so
        ``None`` visits all.

    Raises
    ------
    DesignError
        If a value has the wrong form, or the rules contradict each other.

    Notes
    -----
    Metres are kept to the millimetre, as in every table. `points` can be read like any mapping
    but not changed.

    Examples
    --------
    >>> design = Design(alleys=(2, 2), radius="fixed:800", points={"school": 3})
    >>> design.radius_for(0.25), design.count_for("compound", 0.5), design.points["school"]
    (800.0, 2, 3)
    """

    alleys: tuple[int, int] = (1, 2)
    compounds: tuple[int, int] = (1, 2)
    within_m: tuple[float, float] = (500, 2000)
    min_m: float = 0
    radius: str = "uniform"
    metric: str = "network"
    points: Mapping[str, int] | None = None

    def __post_init__(self) -> None:
        """Bring equal values into one form and check them."""
        self._keep("alleys", _bounds(self.alleys, "alleys", whole=True))
        self._keep("compounds", _bounds(self.compounds, "compounds", whole=True))
        self._keep("within_m", _bounds(self.within_m, "within_m"))
        self._keep("min_m", _number(self.min_m, "min_m"))
        self._keep("radius", _law(self.radius))
        self._keep("points", _counts(self.points))
        self._check_sense()

    def _keep(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _check_sense(self) -> None:
        if self.metric not in ("network", "euclid"):
            raise DesignError(f"metric is {self.metric!r}; give 'network' or 'euclid'")
        if self.alleys[1] + self.compounds[1] == 0:
            raise DesignError("alleys and compounds both ask for none; ask for one unit at least")
        low, high = self.within_m
        fixed = self.fixed_m
        if fixed is not None and not low <= fixed <= high:
            raise DesignError(
                f"radius {self.radius!r} lies outside within_m = [{low}, {high}]; change within_m"
                " so that it holds the radius"
            )
        greatest = high if fixed is None else fixed
        if self.min_m >= greatest:
            raise DesignError(
                f"min_m = {self.min_m} is not below the greatest radius {greatest:g} m;"
                " nothing could be drawn"
            )

    @property
    def fixed_m(self) -> float | None:
        """The radius in metres where the law fixes it, else ``None``."""
        return float(self.radius.removeprefix("fixed:")) if self.radius != "uniform" else None

    def radius_for(self, u: float) -> float:
        """Turn a number in [0, 1) into a radius in metres, rounded to the millimetre."""
        if self.fixed_m is not None:
            return self.fixed_m
        low, high = self.within_m
        return round(float(low + (high - low) * u), 3)

    def count_for(self, layer: str, u: float) -> int:
        """Turn a number in [0, 1) into how many units of `layer` (alley, compound) are drawn."""
        low, high = {"alley": self.alleys, "compound": self.compounds}[layer]
        # The nearest double to a number just below 1 can be 1 itself.
        return min(high, low + math.floor((high - low + 1) * u))

    def to_json(self) -> str:
        """Write the one JSON text of this design: the keys of ``[design]``, defaults filled in.

        Keys are sorted, nothing is spaced, text is not escaped to ASCII, and ``points`` is left
        out where every point is visited.
        """
        table = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.points is None:
            del table["points"]
        else:
            table["points"] = dict(self.points)
        return json.dumps(table, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a design from JSON, such as the ``design`` of a round.

        Raises
        ------
        DesignError
            If the text is not JSON, or does not hold a design.
        """
        try:
            table = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DesignError(f"the design {text[:60]!r} is not JSON: {error}") from None
        return cls.from_table(table, where="the design's JSON")

    @classmethod
    def from_table(cls, table: Mapping[str, Any], *, where: str = "[design]") -> Self:
        """Read a design from a mapping with the keys of ``[design]``; absent ones have defaults.

        Parameters
        ----------
        table
            Such as TOML or JSON gives it.
        where
            What the errors call the place that the table was read from.

        Raises
        ------
        DesignError
            If a key is unknown, a value has the wrong form, or the rules contradict each other.
        """
        if not isinstance(table, Mapping):
            raise DesignError(f"{where} should be a table of keys and values, not {table!r:.60}")
        known = [field.name for field in fields(cls)]
        for key in table:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, n=1, cutoff=0)[0]
                raise DesignError(
                    f"{where} has an unknown key {key!r}; the closest is {near!r}"
                    f" (allowed are {', '.join(known)})"
                )
        try:
            return cls(**table)
        except DesignError as error:
            raise DesignError(f"{where}: {error}") from None

    def __hash__(self) -> int:
        return hash(self.to_json())

    def __reduce__(self) -> tuple[Any, ...]:
        # A read-only mapping cannot be copied or pickled by itself.
        return type(self).from_json, (self.to_json(),)


def _number(value: Any, name: str, *, whole: bool = False) -> Any:
    """Return a number as an int where it is one, else as a float to the millimetre."""
    kind = "a whole number" if whole else "a number of metres"
    is_number = isinstance(value, int | float | np.integer | np.floating)
    # The comparison is also false for NaN.
    if isinstance(value, bool) or not is_number or not 0 <= value <= _MOST:
        raise DesignError(f"{name} is {value!r:.60}; give {kind} from 0 to {_MOST}")
    number = float(value) if whole else round(float(value), 3)
    if number.is_integer():
        return int(number)
    if whole:
        raise DesignError(f"{name} is {value!r}; give {kind} from 0 to {_MOST}")
    return number


def _bounds(value: Any, name: str, *, whole: bool = False) -> tuple[Any, Any]:
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise DesignError(f"{name} is {value!r:.60}; give two numbers, the least and the greatest")
    low, high = (_number(part, name, whole=whole) for part in value)
    if low > high:
        raise DesignError(f"{name} = [{low}, {high}] runs backwards; give the least one first")
    return low, high


def _law(radius: Any) -> str:
    if radius == "uniform":
        return "uniform"
    found = _FIXED.fullmatch(radius) if isinstance(radius, str) else None
    metres = _number(float(found[1]), "radius") if found else 0
    if metres == 0:
        raise DesignError(
            f"radius is {radius!r:.60}; give 'uniform', or 'fixed:<metres>' with metres above 0"
        )
    return f"fixed:{metres}"


def _counts(points: Any) -> Mapping[str, int] | None:
    if points is None:
        return None
    if not isinstance(points, Mapping):
        raise DesignError(f"points is {points!r:.60}; give a table of kinds, as {{school = 3}}")
    strange = [kind for kind in points if kind not in KINDS]
    if strange:
        raise DesignError(
            f"points names the unknown kind {strange[0]!r}; the kinds are {', '.join(KINDS)}"
        )
    counts = {kind: _number(points[kind], f"points.{kind}", whole=True) for kind in sorted(points)}
    return MappingProxyType(counts) if counts else None
