"""The streets that an audit checks, cut once for all rules."""

from dataclasses import dataclass, field
from functools import cached_property
from threading import RLock
from typing import Any

import numpy as np
import numpy.typing as npt

from survey.coverage.around import Around, SegmentGrid
from survey.coverage.intervals import Segments, read_segments
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

    @property
    def segments(self) -> Segments:
        """The checked edges in straight segments."""
        return self.grid.segments

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
    def _grid(self) -> SegmentGrid:
        segments = read_segments(self.frame, self.edges)
        give_back()
        return SegmentGrid.of(segments)

    @cached_property
    def _by_area(self) -> Around:
        return self._grid.find_inside(np.asarray(self.frame.subdistricts.geometry.array))
