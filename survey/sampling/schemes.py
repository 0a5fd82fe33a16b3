"""Published sampling schemes, read from `schemes.toml`."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.resources import files
from typing import Any

import geopandas as gpd

from survey.errors import DesignError
from survey.sampling.design import Design
from survey.tables import KINDS, check


@dataclass(frozen=True)
class Scheme:
    """How a body draws, as far as its source says; what the source does not say is ``None``.

    Attributes
    ----------
    scheme_id
        Its name on the command line.
    title, title_zh
        What people call it.
    source
        Where it was read, and what is said there.
    confirmed
        Whether the source itself was read; else it is recalled.
    note
        What the source leaves open, and what this project chose there.
    design
        The keys of ``[design]`` that the source gives.
    points_total
        How many fixed points a round visits in the whole city.
    alleys_total, roads_total
        The least and the greatest number of alleys, and of main and secondary roads, that are
        drawn out of the whole city.

    Raises
    ------
    DesignError
        If `design` is no design, or a total is below 1 or runs backwards.
    """

    scheme_id: str
    title: str
    title_zh: str
    source: str
    confirmed: bool
    note: str
    design: Mapping[str, Any] = field(default_factory=dict)
    points_total: int | None = None
    alleys_total: tuple[int, int] | None = None
    roads_total: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Check the design and the totals."""
        where = f"scheme {self.scheme_id!r}"
        Design.from_table(self.design, where=where)
        totals = [] if self.points_total is None else [self.points_total]
        for name in ("alleys_total", "roads_total"):
            bounds = getattr(self, name)
            if bounds is None:
                continue
            if len(bounds) != 2 or bounds[0] > bounds[1]:
                raise DesignError(f"{where}: {name} is {bounds}; give the least, then the greatest")
            object.__setattr__(self, name, tuple(bounds))
            totals += bounds
        if min(totals, default=1) < 1:
            raise DesignError(f"{where}: a total is below 1; leave it out if the source gives none")

    def make_design(self, points: gpd.GeoDataFrame) -> Design:
        """Make the design of this scheme for the points of a frame.

        Parameters
        ----------
        points
            The table ``points``.

        Returns
        -------
        Design
            What the source does not give is as by default. Where it gives only a total of points,
            ``points`` divides the total over the kinds that the table has, in proportion to how
            many points there are of each: every kind gets the whole part of its share, and what is
            left goes one by one to the largest remainders, of equal ones to the kind that stands
            first in `survey.tables.KINDS`. A total above what there is visits every point. This
            division is a choice of this project: the sources do not say how many of each.

        Raises
        ------
        DesignError
            If the scheme draws out of the whole city, so that it has no design around points, or
            if there are no points to divide a total over.
        TableError
            If `points` breaks the data contract.

        Examples
        --------
        >>> from survey.example import example_town
        >>> scheme = Scheme("four", "Four points", "四个点位", "", True, "", points_total=4)
        >>> dict(scheme.make_design(example_town().points).points)
        {'community': 0, 'hospital': 1, 'market': 1, 'school': 1, 'station': 1}
        """
        if not self.design and self.points_total is None:
            raise DesignError(
                f"scheme {self.scheme_id!r} says nothing of fixed points, so it makes no design:"
                f" {self.title}; draw a mock round by its totals, or take another scheme"
            )
        if self.points_total is None:
            return Design(**self.design)
        kinds = check("points", points)["kind"].value_counts()
        if kinds.empty:
            raise DesignError(
                f"scheme {self.scheme_id!r} visits {self.points_total} points, but the frame has"
                " none; give the city's fixed points"
            )
        counts = {kind: int(kinds[kind]) for kind in KINDS if kind in kinds}
        return Design(**{**self.design, "points": _divide(self.points_total, counts)})


def _divide(total: int, counts: Mapping[str, int]) -> dict[str, int]:
    """Divide a total in proportion to `counts` by largest remainders, in whole numbers."""
    there = sum(counts.values())
    total = min(total, there)
    parts = {kind: divmod(total * count, there) for kind, count in counts.items()}
    left = total - sum(whole for whole, _ in parts.values())
    # Sorting keeps the order of equal remainders.
    first = sorted(parts, key=lambda kind: -parts[kind][1])[:left]
    return {kind: whole + (kind in first) for kind, (whole, _) in parts.items()}


def read_schemes() -> dict[str, Scheme]:
    """Read the schemes that the package knows, by id."""
    text = (files("survey.sampling") / "schemes.toml").read_text(encoding="utf-8")
    return {name: Scheme(name, **row) for name, row in tomllib.loads(text).items()}


def find_scheme(scheme_id: str) -> Scheme:
    """Find a scheme by its id.

    Raises
    ------
    DesignError
        If there is none of that id; the message lists those there are.
    """
    schemes = read_schemes()
    if scheme_id not in schemes:
        close = get_close_matches(scheme_id, schemes, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise DesignError(
            f"there is no scheme {scheme_id!r}; {hint}there are: {', '.join(schemes)}"
        )
    return schemes[scheme_id]
