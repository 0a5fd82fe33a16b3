"""Memory that was used and is free again, given back to the system."""

import ctypes
from contextlib import suppress


def give_back() -> None:
    """Give memory that is free back to the system.

    The C library of Linux keeps what lies between things that are still in use: after work on a
    large city that is a gigabyte, and threads do not reuse what another thread left free. Other
    systems have no such function, and nothing happens.
    """
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
