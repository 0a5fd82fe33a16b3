"""Memory while much is worked on: what is free goes back to the system, and nothing is walked."""

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def large_work() -> Iterator[None]:
    """Let Python's collector rest during a block or function, and give memory back at its end.

    Shapes and texts by the million hold no cycles; the collector would walk over all of them
    again and again, which takes a tenth of the time.
    """
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()
        give_back()


def give_back() -> None:
    """Give memory that is free back to the system.

    The C library of Linux keeps what lies between things that are still in use: after work on a
    large city that is a gigabyte, and threads do not reuse what another thread left free. Other
    systems have no such function, and nothing happens.
    """
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
