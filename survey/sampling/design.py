"""The rules of a draw: how far, how many of each layer, and which fixed points."""

import difflib
import itertools
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from survey.errors import DesignError
from survey.tables import KINDS

_MOST = 1_000_000
_SLACK = 1e-9  # how far the sum of weights may be from one
_FIXED = re.compile(r"fixed:\s*([0-9]+(?:\.[0-9]+)?)")
_LAWS = "'uniform', 'fixed:<metres>', or 'table:<metres>=<weight>,...'"


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
        The law of the radius, inside `within_m`: ``"uniform"``; ``"fixed:<metres>"``; or a table
        of radii and their weights, which sum to one, as ``"table:500=0.25,1000=0.75"`` or
        ``{500: 0.25, 1000: 0.75}``.
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
    radius: str | Mapping[Any, float] = "uniform"
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
        radii = self.radii_m or (low, high)
        if not low <= radii[0] <= radii[-1] <= high:
            raise DesignError(
                f"radius {self.radius!r} lies outside within_m = [{low}, {high}]; change within_m"
                " so that it holds the radius"
            )
        if self.min_m >= radii[-1]:
            raise DesignError(
                f"min_m = {self.min_m} is not below the greatest radius {radii[-1]:g} m;"
                " nothing could be drawn"
            )

    @property
    def fixed_m(self) -> float | None:
        """The radius in metres where the law fixes it, else ``None``."""
        text = str(self.radius)
        return float(text.removeprefix("fixed:")) if text.startswith("fixed:") else None

    @property
    def radii_m(self) -> tuple[float, ...]:
        """The radii in metres that the law can give, upwards; empty where it is uniform."""
        return tuple(radius for radius, _ in self._atoms)

    @property
    def greatest_m(self) -> float:
        """The greatest radius in metres that the law can give."""
        return float((self.radii_m or self.within_m)[-1])

    @property
    def _atoms(self) -> list[tuple[float, float]]:
        """Each radius of a law that has only some, with the chance of it or a smaller one."""
        if self.radius == "uniform":
            return []
        if self.fixed_m is not None:
            return [(self.fixed_m, 1.0)]
        parts = [part.split("=") for part in str(self.radius).removeprefix("table:").split(",")]
        sums = list(itertools.accumulate(float(weight) for _, weight in parts))
        # Sums of fractions miss one by some last digits; the greatest radius takes the rest.
        return [(float(parts[n][0]), sums[n]) for n in range(len(parts) - 1)] + [
            (float(parts[-1][0]), 1.0)
        ]

    def radius_for(self, u: float) -> float:
        """Turn a number in [0, 1) into a radius in metres, rounded to the millimetre.

        Of a table it is the first radius, upwards, at which the sum of weights exceeds `u`.
        """
        if self.radius == "uniform":
            low, high = self.within_m
            return round(float(low + (high - low) * u), 3)
        return next(radius for radius, chance in self._atoms if u < chance)

    def chance_below(self, metres: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the probability that the radius is less than each of `metres`.

        A uniform radius counts as continuous: the millimetre to which a ticket's is rounded
        changes no probability by more than 0.0005 m over the width of `within_m`.
        """
        distance = np.asarray(metres, dtype=np.float64)
        low, high = self.within_m
        if self.radius == "uniform" and low < high:
            return np.clip((distance - low) / (high - low), 0, 1)
        radii, chances = zip(*(self._atoms or [(float(high), 1.0)]), strict=True)
        found: npt.NDArray[np.float64] = np.r_[0.0, chances][np.searchsorted(radii, distance)]
        return found

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
        table = self.to_table()
        return json.dumps(table, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    def to_table(self) -> dict[str, Any]:
        """Give the keys of ``[design]``, defaults filled in, as values that JSON can hold."""
        table = {field.name: getattr(self, field.name) for field in fields(self)}
        table["points"] = None if self.points is None else dict(self.points)
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in table.items()
            if value is not None
        }

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
    if isinstance(radius, Mapping):
        return _table_law(list(radius.items()))
    if isinstance(radius, str) and radius.startswith("table:"):
        parts = [part.partition("=") for part in radius.removeprefix("table:").split(",")]
        return _table_law([(metres, weight) for metres, _, weight in parts])
    found = _FIXED.fullmatch(radius) if isinstance(radius, str) else None
    metres = _number(float(found[1]), "radius") if found else 0
    if metres == 0:
        raise DesignError(f"radius is {radius!r:.60}; give {_LAWS}, with metres above 0")
    return f"fixed:{metres}"


def _table_law(pairs: list[tuple[Any, Any]]) -> str:
    """Write a table of radii and weights as one text, radii upwards."""
    try:
        numbers = [(float(metres), float(weight)) for metres, weight in pairs]
    except (TypeError, ValueError):
        raise DesignError(f"the table of the radius is {pairs!r:.80}; give {_LAWS}") from None
    if not numbers:
        raise DesignError(f"the table of the radius is empty; give {_LAWS}")
    weights = [weight for _, weight in numbers]
    if not all(weight > 0 for weight in weights) or abs(math.fsum(weights) - 1) > _SLACK:
        raise DesignError(
            f"the weights of the radius, {str(weights)[1:-1]:.80}, sum to {math.fsum(weights):.9g};"
            " give weights above 0 that sum to 1"
        )
    radii = [_number(metres, "radius") for metres, _ in numbers]
    if min(radii) == 0 or len(set(radii)) < len(radii):
        raise DesignError(
            f"the radii {str(radii)[1:-1]:.80} hold 0, or one twice; give each radius once"
        )
    rows = sorted(zip(radii, weights, strict=True))
    if len(rows) == 1:
        return f"fixed:{rows[0][0]}"
    return "table:" + ",".join(f"{metres}={weight!r}" for metres, weight in rows)


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
