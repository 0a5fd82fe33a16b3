"""The streets that an audit checks, cut once for all rules."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from threading import RLock
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from survey.coverage.around import Around, SegmentGrid
from survey.coverage.intervals import (
    Segments,
    measure_by_crow,
    measure_by_walk,
    read_segments,
)
from survey.coverage.rules import Rule
from survey.frame.frame import Frame
from survey.memory import give_back


@dataclass(frozen=True, eq=False)
class Checked:
    """The streets that an audit checks, cut once for all rules.

    Rules may be audited in several threads: one makes what the others wait for.

    Attributes
    ----------
    frame
        What can be drawn.
    edges
        Which rows of the edges are checked.
    """

    frame: Frame
    edges: npt.NDArray[np.bool_]
    _lock: Any = field(default_factory=RLock, repr=False)

    def cut(self, frame: Frame, rule: Rule) -> Iterator[pd.DataFrame]:
        """Cut the checked edges where the nearest toilet, or its being in reach, changes.

        Parameters
        ----------
        frame
            The frame, or a view of it with another supply.
        rule
            By its metric, on foot or by crow; see `measure_by_walk`, `measure_by_crow`.
        """
        if rule.metric == "walk":
            return measure_by_walk(frame, self.edges, rule.reach_m)
        return measure_by_crow(frame, self.segments, rule.reach_m)

    @property
    def segments(self) -> Segments:
        """The checked edges in straight segments."""
        with self._lock:
            return self._segments

    @property
    def grid(self) -> SegmentGrid:
        """The straight segments in a grid."""
        with self._lock:
            return self._grid

    @property
    def by_area(self) -> Around:
        """What lies inside each subdistrict."""
        with self._lock:
            return self._by_area

    @cached_property
    def _segments(self) -> Segments:
        segments = read_segments(self.frame, self.edges)
        give_back()
        return segments

    @cached_property
    def _grid(self) -> SegmentGrid:
        return SegmentGrid.of(self._segments)

    @cached_property
    def _by_area(self) -> Around:
        return self._grid.find_inside(np.asarray(self.frame.subdistricts.geometry.array))
