"""Work on many geometries at once, shared out to the machine's cores.

Shapely lets other threads run while it works, so that this takes a fraction of the time. What
threads share is ready before: a tree that has been searched, a geometry that nobody prepares.
"""

import os
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from survey.memory import give_back

_FEW = 500  # below this the sharing out costs more than it saves

First = TypeVar("First")
Second = TypeVar("Second")


def count_cores() -> int:
    """Count the cores that threads can be shared out to."""
    return os.cpu_count() or 1


def share_out(work: Callable[..., Any], *arrays: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Apply a function of shapely row by row to arrays, in as many threads as there are cores.

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

    def take(rows: npt.NDArray[Any]) -> Any:
        return np.asarray(work(*(array[rows] for array in arrays)))

    return np.concatenate(share_rows(take, np.arange(len(arrays[0]))))


def share_rows(work: Callable[[npt.NDArray[Any]], First], rows: npt.NDArray[Any]) -> list[First]:
    """Do some work on stretches of rows, in as many threads as there are cores.

    Parameters
    ----------
    work
        Takes the rows of a stretch; what it finds for a row depends on no other row.
    rows
        An array, of the numbers of the rows or of what else tells them.

    Returns
    -------
    list
        What `work` answers for each stretch, in their order.
    """
    cores = count_cores()
    if cores == 1 or len(rows) < _FEW:
        return [work(rows)]
    # More stretches than cores, since some are harder than others.
    with ThreadPoolExecutor(cores) as pool:
        return list(pool.map(work, np.array_split(rows, 8 * cores)))


def do_both(first: Callable[[], First], second: Callable[[], Second]) -> tuple[First, Second]:
    """Do two things that do not depend on each other, at the same time where there are cores.

    Parameters
    ----------
    first, second
        Functions without arguments; neither changes what the other reads.

    Returns
    -------
    tuple
        What each answers. Where both fail, it is the first that is told.
    """
    if count_cores() == 1:
        return first(), second()
    with open_threads(1) as pool:
        later = pool.submit(second)
        return first(), later.result()


@contextmanager
def open_threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Open threads for whole steps of work with pandas, and give back what they leave free."""
    # Pandas silences warnings for a moment here and there: what two threads have set and put back
    # in turn may else stay set.
    with warnings.catch_warnings(), ThreadPoolExecutor(count) as pool:
        yield pool
    give_back()
