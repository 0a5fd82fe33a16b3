"""Places in degrees brought into the metres of an area, each once."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyproj

from survey.sources.area import WGS84
from survey.sources.pbf_blocks import Places
from survey.sources.varints import Ints

Floats = npt.NDArray[np.float64]

DEGREE = 1e7
"""Units of `Places` per degree."""

_AT_ONCE = 200_000  # places: projecting takes four times their memory


@dataclass(frozen=True, eq=False)
class Grid:
    """Some places in metres.

    Attributes
    ----------
    number
        For each row of a file's places, its row in `metres`.
    metres
        East and north of the places that are used, in a projected CRS.
    """

    number: npt.NDArray[np.int32]
    metres: Floats

    def place(self, spots: Ints) -> Floats:
        """Look up places by their rows in the file's places."""
        return self.metres[self.number[spots]]


def make_grid(places: Places, spots: Ints, crs: pyproj.CRS) -> Grid:
    """Project those of a file's places that `spots` names."""
    used = np.zeros(len(places.ids), dtype=np.bool_)
    used[spots] = True
    number = np.cumsum(used, dtype=np.int32) - 1
    metres = np.empty((np.count_nonzero(used), 2))

    def run(at: int) -> None:
        rows = at + np.flatnonzero(used[at : at + _AT_ONCE])
        if len(rows):
            metres[number[rows[0]] : number[rows[-1]] + 1] = project(degrees(places, rows), crs)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, range(0, len(used), _AT_ONCE)))
    return Grid(number, metres)


def degrees(places: Places, spots: Ints) -> Floats:
    """Longitudes and latitudes of some places, in degrees, shape (n, 2)."""
    return np.column_stack([places.x[spots], places.y[spots]]) / DEGREE


def project(places: Floats, crs: pyproj.CRS) -> Floats:
    """Project WGS-84 longitudes and latitudes."""
    # A transformer must not be shared between threads.
    transformer = pyproj.Transformer.from_crs(WGS84, crs, always_xy=True)
    return np.column_stack(transformer.transform(*places.T))
