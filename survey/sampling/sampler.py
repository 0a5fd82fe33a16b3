"""Rounds by the thousand in numpy: the same rules as the tickets', other random numbers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from survey.sampling.chances import count_bounds
from survey.sampling.design import Design
from survey.sampling.pairs import Floats, Ints, Pairs

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Visits:
    """What some rounds drew.

    Attributes
    ----------
    drawn
        How often each unit was drawn: shape (rounds, units).
    short
        At how many visits fewer units were left than were asked for, by layer: (rounds, 2).
    """

    drawn: Ints
    short: Ints


class Sampler:
    """Draws many rounds at once from numbers in [0, 1), a fixed number of them for each round.

    Parameters
    ----------
    pairs
        What the design can draw.
    design
        The rules of the draw.
    """

    def __init__(self, pairs: Pairs, design: Design) -> None:
        self._pairs = pairs
        self._design = design
        self._points = len(pairs.points)
        sizes = np.diff(pairs.start).reshape(2, -1)
        self._bounds = count_bounds(design)
        # No visit draws more than its point has.
        self._picks = [
            min(high, int(size.max())) for (_, high), size in zip(self._bounds, sizes, strict=True)
        ]
        self._far = int(design.within_m[1] * 1000) + 2
        self._key = pairs.group * self._far + np.rint(pairs.distance_m * 1000).astype(np.int64)

    @property
    def width(self) -> int:
        """How many numbers a round takes: for each point its choice, its radius, and per layer."""
        return self._points * (3 + sum(1 + picks for picks in self._picks))

    def draw(self, numbers: Floats) -> Visits:
        """Draw rounds in which points may draw the same unit.

        Parameters
        ----------
        numbers
            Uniform on [0, 1), shape (rounds, `width`).
        """
        rounds, units = len(numbers), len(self._pairs.units)
        parts = self._split(numbers)
        visited, eligible = self._visit(parts)
        drawn = np.zeros(rounds * units, dtype=np.int64)
        short = np.zeros((rounds, 2), dtype=np.int64)
        for layer in (0, 1):
            asked = self._ask(layer, parts)
            short[:, layer] = ((asked > eligible[layer]) & visited).sum(axis=1)
            first = self._pairs.start[layer * self._points : (layer + 1) * self._points]
            for turn, pick in enumerate(_pick(parts[f"picks{layer}"], eligible[layer])):
                won = visited & (turn < asked) & (turn < eligible[layer])
                row, point = np.nonzero(won)
                unit = self._pairs.unit[first[point] + pick[won]]
                drawn += np.bincount(row * units + unit, minlength=rounds * units)
        return Visits(drawn.reshape(rounds, units), short)

    def draw_apart(self, numbers: Floats, taken: Flags) -> Visits:
        """Draw rounds in which no unit is drawn twice, the points choosing in a random order.

        Parameters
        ----------
        numbers
            Uniform on [0, 1), shape (rounds, `width`).
        taken
            Units that may not be drawn, shape (rounds, units); those drawn are added.
        """
        rounds = np.arange(len(numbers))
        parts = self._split(numbers)
        visited, eligible = self._visit(parts)
        before = taken.copy()
        short = np.zeros((len(numbers), 2), dtype=np.int64)
        order = np.argsort(np.where(visited, parts["order"], 2), axis=1)
        for turn in range(int(visited.sum(axis=1).max(initial=0))):
            point = order[:, turn]
            going = visited[rounds, point]
            for layer in (0, 1):
                asked = np.where(going, self._ask(layer, parts)[rounds, point], 0)
                free = self._free(layer, point, eligible[layer][rounds, point], taken)
                left = free.sum(axis=1)
                short[:, layer] += asked > left
                chances = parts[f"picks{layer}"][rounds, point]
                self._take(layer, point, free, (asked, left, chances), taken)
        return Visits((taken & ~before).astype(np.int64), short)

    def _split(self, numbers: Floats) -> dict[str, Floats]:
        names = ["choice", "order", "radius", "count0", "count1"]
        parts = np.split(numbers, np.arange(1, 5) * self._points, axis=1)
        cut = parts[4][:, : self._points], parts[4][:, self._points :]
        shaped = dict(zip(names, [*parts[:4], cut[0]], strict=True))
        middle = self._points * self._picks[0]
        for layer, part in enumerate((cut[1][:, :middle], cut[1][:, middle:])):
            shaped[f"picks{layer}"] = part.reshape(len(numbers), self._points, -1)
        return shaped

    def _visit(self, parts: dict[str, Floats]) -> tuple[Flags, list[Ints]]:
        """Return which points are visited, and how many units of each layer are eligible there."""
        points = self._pairs.points
        visited = np.ones(parts["choice"].shape, dtype=bool)
        for _, kind in points[points["visited"] < points["of_kind"]].groupby("kind"):
            chance = parts["choice"][:, kind.index]
            place = np.argsort(np.argsort(chance, axis=1), axis=1)
            visited[:, kind.index] = place < kind["visited"].iloc[0]
        radius_mm = self._radii(parts["radius"])
        eligible = []
        for layer in (0, 1):
            group = layer * self._points + np.arange(self._points)
            key = np.minimum(radius_mm, self._far - 1) + group * self._far
            found = np.searchsorted(self._key, key, side="right")
            eligible.append(found - self._pairs.start[group])
        return visited, eligible

    def _radii(self, chance: Floats) -> Ints:
        """Turn numbers into radii, in millimetres as a ticket's is rounded."""
        radii = np.array(self._design.radii_m)
        low, high = self._design.within_m
        if len(radii):
            sums = self._design.chance_below(np.r_[radii[1:], np.inf])
            metres = radii[np.searchsorted(sums, chance, side="right")]
        else:
            metres = low + (high - low) * chance
        radius_mm: Ints = np.rint(metres * 1000).astype(np.int64)
        return radius_mm

    def _ask(self, layer: int, parts: dict[str, Floats]) -> Ints:
        low, high = self._bounds[layer]
        asked = low + np.floor((high - low + 1) * parts[f"count{layer}"]).astype(np.int64)
        most: Ints = np.minimum(asked, high)
        return most

    def _free(self, layer: int, point: Ints, eligible: Ints, taken: Flags) -> Flags:
        """Return which of a point's units, nearest first, can still be drawn in each round."""
        place = np.arange(int(eligible.max(initial=0)))
        start = self._pairs.start[layer * self._points + point]
        unit = self._pairs.unit[np.minimum(start[:, None] + place, len(self._pairs.unit) - 1)]
        free: Flags = (place < eligible[:, None]) & ~np.take_along_axis(taken, unit, axis=1)
        return free

    def _take(self, layer: int, point: Ints, free: Flags, numbers: Any, taken: Flags) -> None:
        asked, left, chances = numbers
        counted = np.cumsum(free, axis=1)
        start = self._pairs.start[layer * self._points + point]
        for turn, pick in enumerate(_pick(chances, left)):
            won = np.flatnonzero((turn < asked) & (turn < left))
            if len(won):
                place = np.argmax(counted[won] > pick[won, None], axis=1)
                taken[won, self._pairs.unit[start[won] + place]] = True


def _pick(chances: Floats, many: Ints) -> list[Ints]:
    """Pick places from 0 up to `many`, each set of places equally likely, in all rounds at once.

    The n-th pick is one of the places left; it is moved on past those that were picked before.
    """
    picks: list[Ints] = []
    for turn in range(chances.shape[-1]):
        left = np.maximum(many - turn, 1)
        pick = np.minimum((chances[..., turn] * left).astype(np.int64), left - 1)
        if picks:
            for earlier in np.moveaxis(np.sort(np.stack(picks, axis=-1), axis=-1), -1, 0):
                pick += pick >= earlier
        picks.append(pick)
    return picks
