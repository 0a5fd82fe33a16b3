"""Work on many geometries at once, shared out to the machine's cores."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

_FEW = 500  # below this the sharing out costs more than it saves


def share_out(work: Callable[..., Any], *arrays: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Apply a function of shapely row by row to arrays, in as many threads as there are cores.

    Shapely lets other threads run while it works, so that this takes a fraction of the time.

    Parameters
    ----------
    work
        Takes a stretch of each of `arrays` and answers as many rows, each of which depends on
        the same row of the arrays alone.
    *arrays
        Arrays of one length.

    Returns
    -------
    numpy.ndarray
        What `work` answers for the whole arrays.
    """
    cores = os.cpu_count() or 1
    if cores == 1 or len(arrays[0]) < _FEW:
        return np.asarray(work(*arrays))
    # More stretches than cores, since some are harder than others.
    stretches = [np.array_split(array, 8 * cores) for array in arrays]
    with ThreadPoolExecutor(cores) as pool:
        return np.concatenate(list(pool.map(work, *stretches)))
