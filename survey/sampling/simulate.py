"""Many rounds at once, for what has no closed form: distributions, and units never drawn twice."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from survey.errors import DesignError
from survey.sampling.design import Design
from survey.sampling.draw import DrawFrame
from survey.sampling.odds import visit_odds
from survey.sampling.pairs import Floats, Ints, Pairs, find_pairs
from survey.sampling.sampler import Sampler
from survey.tables import LAYERS

REPEATS = ("allowed", "not-in-round", "not-in-year")
"""Whether a unit may be drawn twice: yes, in another round only, or not in a year either."""

QUANTILES = (0.05, 0.5, 0.95)
"""The quantiles of a number that is simulated."""

_CELLS = 4_000_000  # numbers held in memory at one time
_RADII = 4  # fixed radii at which a band without a closed form is simulated


@dataclass(frozen=True, eq=False)
class Simulation:
    """What many simulated years of rounds gave; a year has one round unless it was said otherwise.

    Attributes
    ----------
    units
        ``layer, unit_id``; ``prob``, the share of years in which the unit was drawn, with its
        standard error ``prob_se``; ``expected_visits`` per year with ``visits_se``; ``prob_low``,
        ``prob_high`` over other laws of the radius.
    numbers
        ``number, mean, mean_se, sd, q05, q50, q95`` of a year: ``alleys``, ``compounds``, ``units``
        drawn, each once; ``failing`` ones among them, if a condition was given; ``short``, the
        visits at which fewer units were left than were asked for. Of one year alone, ``mean_se``
        and ``sd`` are NaN.
    counts
        The distributions of these: ``number, count, share, share_se``.
    rounds, quarters, repeats, seed
        As asked.
    notes
        What a reader should know.
    """

    units: pd.DataFrame
    numbers: pd.DataFrame
    counts: pd.DataFrame
    rounds: int
    quarters: int
    repeats: str
    seed: str
    notes: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        table: str = self.numbers.to_html(index=False)
        return table


def simulate_rounds(  # noqa: PLR0913 - a dataclass for what most leave alone would only hide it
    frame: DrawFrame,
    reach: pd.DataFrame,
    design: Design,
    *,
    seed: str,
    rounds: int = 10_000,
    quarters: int = 1,
    repeats: str = "allowed",
    condition: pd.DataFrame | None = None,
    report: Callable[[str], None] | None = None,
) -> Simulation:
    """Simulate many rounds by the rules of the tickets, with random numbers instead of tickets.

    Parameters
    ----------
    frame, reach, design
        As for `visit_odds`.
    seed
        Any text; it makes a `numpy.random.SeedSequence`. A longer run begins with the same rounds.
    rounds
        How many rounds are simulated, or years of rounds.
    quarters
        How many rounds a year has; numbers are counted by year.
    repeats
        ``"allowed"``: points draw independently. ``"not-in-round"``: in a round no unit is drawn
        twice; the points choose in a random order, each from what is left.
        ``"not-in-year"``: nor is a unit that an earlier quarter drew.
    condition
        ``layer, unit_id, condition`` from 0 (bad) to 1 (good): a unit that is drawn fails with
        probability 1 - condition, once in a year; units without a row are not counted as failing.
    report
        Told how far it is.

    Returns
    -------
    Simulation

    Raises
    ------
    TableError, DesignError
        As `visit_odds`; or if a value is wrong, or `condition` names a unit not in the frame.
    """
    _check_values(rounds, quarters, repeats)
    pairs = find_pairs(frame, reach, design)
    fails, notes = _read_failing(pairs, condition)
    run = _Run(pairs, rounds, quarters, repeats, seed, report or (lambda _line: None))
    tally = run.simulate(design, fails)
    if repeats == "allowed":
        odds = visit_odds(frame, reach, design)
        # Rounds are independent: what holds for one radius or law in one, holds in each.
        low, high = (
            1 - (1 - odds[name].to_numpy()) ** quarters for name in ("prob_low", "prob_high")
        )
    else:
        low, high, note = _simulate_band(run, design, tally)
        notes.append(note)
    units = _list_units(pairs, tally, rounds).assign(prob_low=low, prob_high=high)
    numbers, counts = _list_numbers(tally.numbers)
    return Simulation(units, numbers, counts, rounds, quarters, repeats, seed, tuple(notes))


@dataclass
class _Tally:
    """What was drawn so far: by unit over the years, and by year over the units."""

    numbers: dict[str, Ints]
    hits: Ints
    visits: Ints
    squares: Ints


@dataclass(frozen=True, eq=False)
class _Run:
    """How to simulate, whatever the law of the radius."""

    pairs: Pairs
    rounds: int
    quarters: int
    repeats: str
    seed: str
    report: Callable[[str], None]

    def simulate(self, design: Design, fails: Floats | None) -> _Tally:
        sampler = Sampler(self.pairs, design)
        units = len(self.pairs.units)
        width = self.quarters * sampler.width + (0 if fails is None else units)
        rows = max(1, _CELLS // max(width, units))
        digest = hashlib.sha256(self.seed.encode("utf-8", "surrogatepass")).digest()
        rng = np.random.default_rng(np.random.SeedSequence(int.from_bytes(digest, "big")))
        alley = (self.pairs.units["layer"] == LAYERS[0]).to_numpy()
        parts: list[dict[str, Ints]] = []
        tally = _Tally({}, *(np.zeros(units, dtype=np.int64) for _ in range(3)))
        for done in range(0, self.rounds, rows):
            # Filled row by row, so the size of a part plays no part in the numbers.
            numbers = rng.random((min(rows, self.rounds - done), width))
            total, short = self._draw_years(sampler, numbers)
            hit = total > 0
            tally.hits += hit.sum(axis=0)
            tally.visits += total.sum(axis=0)
            tally.squares += (total**2).sum(axis=0)
            part = {"alleys": hit[:, alley], "compounds": hit[:, ~alley], "units": hit}
            if fails is not None:
                part["failing"] = hit & (numbers[:, -units:] < fails)
            parts.append({name: each.sum(axis=1) for name, each in part.items()} | {"short": short})
            if 10 * (done + len(numbers)) // self.rounds > 10 * done // self.rounds:
                self.report(f"{done + len(numbers):,} of {self.rounds:,} simulated")
        tally.numbers |= {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return tally

    def _draw_years(self, sampler: Sampler, numbers: Floats) -> tuple[Ints, Ints]:
        total = np.zeros((len(numbers), len(self.pairs.units)), dtype=np.int64)
        short = np.zeros(len(numbers), dtype=np.int64)
        taken = np.zeros(total.shape, dtype=bool)
        for quarter in range(self.quarters):
            part = numbers[:, quarter * sampler.width : (quarter + 1) * sampler.width]
            if self.repeats == "allowed":
                visits = sampler.draw(part)
            else:
                taken &= self.repeats == "not-in-year"
                visits = sampler.draw_apart(part, taken)
            total += visits.drawn
            short += visits.short.sum(axis=1)
        return total, short


def _simulate_band(run: _Run, design: Design, own: _Tally) -> tuple[Floats, Floats, str]:
    """Simulate some radii and the uniform law with the same random numbers."""
    radii = np.unique(np.linspace(*design.within_m, _RADII).round(3))
    laws = ["uniform", *(f"fixed:{float(radius)}" for radius in radii if radius > design.min_m)]
    probs = [own.hits / run.rounds]
    for law in laws:
        run.report(f"simulating the law {law} for the band")
        probs.append(run.simulate(replace(design, radius=law), None).hits / run.rounds)
    note = (
        f"prob_low and prob_high are simulated, for the design's law, {', '.join(laws)} only;"
        " between these radii a probability may go farther"
    )
    return np.min(probs, axis=0), np.max(probs, axis=0), note


def _list_units(pairs: Pairs, tally: _Tally, rounds: int) -> pd.DataFrame:
    mean = tally.visits / rounds
    # One round tells nothing of how far rounds differ.
    spread = np.sqrt(np.maximum(tally.squares / rounds - mean**2, 0) / ((rounds - 1) or np.nan))
    return pairs.units.assign(
        prob=tally.hits / rounds,
        prob_se=_share_se(tally.hits, rounds),
        expected_visits=mean,
        visits_se=spread,
    )


def _share_se(count: Ints, rounds: int) -> Floats:
    """Return the standard error of a share; half a case is added, so that it is never 0."""
    share = (count + 0.5) / (rounds + 1)
    error: Floats = np.sqrt(share * (1 - share) / rounds)
    return error


def _list_numbers(numbers: dict[str, Ints]) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows, counts = [], []
    for name, values in numbers.items():
        sd = float(values.std(ddof=1)) if len(values) > 1 else np.nan
        quantiles = np.quantile(values, QUANTILES, method="inverted_cdf")
        rows.append((name, values.mean(), sd / np.sqrt(len(values)), sd, *map(float, quantiles)))
        count, times = np.unique(values, return_counts=True)
        error = _share_se(times, len(values))
        counts += list(zip([name] * len(count), count, times / len(values), error, strict=True))
    heads = ["number", "mean", "mean_se", "sd", *(f"q{100 * q:02.0f}" for q in QUANTILES)]
    return (
        pd.DataFrame(rows, columns=heads),
        pd.DataFrame(counts, columns=["number", "count", "share", "share_se"]),
    )


def _read_failing(pairs: Pairs, condition: pd.DataFrame | None) -> tuple[Floats | None, list[str]]:
    """Return each unit's probability to fail, 0 where it is not known, and say how many are not."""
    if condition is None:
        return None, []
    names = pd.MultiIndex.from_frame(condition[["layer", "unit_id"]])
    rows = pd.MultiIndex.from_frame(pairs.units).get_indexer(names)
    if (rows < 0).any():
        strange = ", ".join(names[rows < 0][0])
        raise DesignError(f"{(rows < 0).sum()} units are not in the frame, e.g. {strange}")
    fails = np.zeros(len(pairs.units))
    fails[rows] = 1 - condition["condition"].to_numpy()
    unknown = len(fails) - len(rows)
    note = f"{unknown} units without a condition are not counted as failing"
    return fails, [note] if unknown else []


def _check_values(rounds: int, quarters: int, repeats: str) -> None:
    for name, value in (("rounds", rounds), ("quarters", quarters)):
        if value != int(value) or value < 1:
            raise DesignError(f"{name} is {value!r}; give a whole number of 1 or more")
    if repeats not in REPEATS:
        raise DesignError(f"repeats is {repeats!r}; give one of {', '.join(REPEATS)}")
