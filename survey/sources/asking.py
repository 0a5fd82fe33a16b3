"""Asking servers so that every answer ends in time and a bad one is never taken for a good one."""

import functools
import http.client
import itertools
import multiprocessing
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from multiprocessing.pool import ThreadPool
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests

from survey.errors import InputError, NetworkError

TRIES = 4
"""How often a busy server is asked before the next one is."""

LONGEST_WAIT_S = 120.0
"""A server that asks for a longer wait is left for the next one."""

_CONNECT_S = 20.0
_STATUS_S = 10.0
_MOST_BYTES = 1_000_000_000  # ten times what a tile of a dense city holds
_BUSY = {429: "too many requests", 502: "bad gateway", 503: "unavailable", 504: "too busy"}
_CUT = (ConnectionResetError, BrokenPipeError, http.client.IncompleteRead)

Answer = TypeVar("Answer")
Parsed = TypeVar("Parsed")


class AnswerError(NetworkError):
    """One answer that cannot be used.

    Parameters
    ----------
    reason
        What was wrong with it, to be read after the server's name.
    again
        Whether the same server may do better if it is asked again.
    wait_s
        How long it asked to be left alone, if it said so.
    """

    def __init__(self, reason: str, *, again: bool = False, wait_s: float | None = None) -> None:
        """Keep what is to be done about it."""
        super().__init__(reason)
        self.again = again
        self.wait_s = wait_s


class Clock:
    """Counts down a time limit."""

    def __init__(self, limit_s: float) -> None:
        """Start to count."""
        self.limit_s = limit_s
        self._end = time.monotonic() + limit_s

    @property
    def left_s(self) -> float:
        """How many seconds are left, at least 0."""
        return max(self._end - time.monotonic(), 0.0)


def list_endpoints(endpoints: Sequence[str]) -> list[str]:
    """Check the addresses of servers; a slash at the end does not matter.

    Raises
    ------
    InputError
        If there is none, or one is no http or https address.
    """
    for endpoint in endpoints:
        try:
            parts = urlsplit(endpoint)
            good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        except ValueError:  # a port that is none, or half a bracket
            good = False
        if not good:
            raise InputError(
                f"{endpoint!r} is no address of a server; it should begin with https:// or http://"
            )
    if not endpoints:
        raise InputError("no server is named; give an address, or leave endpoints out")
    return [endpoint.rstrip("/") for endpoint in endpoints]


def name_server(endpoint: str) -> str:
    """Name a server in messages: host and port, and nothing secret that stands in its address."""
    parts = urlsplit(endpoint)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


def identify() -> str:
    """Return what the program calls itself to servers, as their policies ask."""
    return f"survey/{version('survey')} (field-survey planner)"


@dataclass(frozen=True)
class Patience:
    """How long to wait for what.

    Attributes
    ----------
    clock
        The time limit of it all.
    answer_limit_s
        How long one answer may take, its slowest byte included.
    pause_s
        The first wait for a busy server that does not say how long.
    report
        Told why one waits, and how long.
    """

    clock: Clock
    answer_limit_s: float
    pause_s: float
    report: Callable[[str], None]


def ask_in_turn(
    endpoints: Sequence[str],
    send: Callable[[str, float], Answer],
    judge: Callable[[Answer], Parsed],
    patience: Patience,
) -> tuple[str, Parsed]:
    """Ask the servers one after the other until one gives an answer that can be used.

    A busy server is asked up to `TRIES` times, after the wait that it asks for, or else after
    `pause_s` times 1, 3, 9; any other fault, or a wait of more than `LONGEST_WAIT_S` or than the
    clock has left, passes to the next server.

    Parameters
    ----------
    endpoints
        Their addresses, in order.
    send
        Called with an address and a limit in seconds, in a thread of its own.
    judge
        Turns an answer into what is wanted, or raises `AnswerError`.
    patience
        How long to wait.

    Returns
    -------
    endpoint
        The server that answered.
    parsed
        What `judge` made of it.

    Raises
    ------
    NetworkError
        If none did; the message names each server with its fault.
    """
    faults = []
    for endpoint in endpoints:
        try:
            return endpoint, _ask_again(endpoint, send, judge, patience)
        except AnswerError as fault:
            faults.append(f"{name_server(endpoint)} {fault}")
            patience.report(faults[-1])
    raise NetworkError("; ".join(faults))


def _ask_again(
    endpoint: str,
    send: Callable[[str, float], Answer],
    judge: Callable[[Answer], Parsed],
    patience: Patience,
) -> Parsed:
    clock = patience.clock
    for turn in itertools.count(1):
        limit_s = min(patience.answer_limit_s, clock.left_s)
        if limit_s <= 0:
            break
        try:
            return judge(run_within(limit_s, functools.partial(send, endpoint, limit_s)))
        except AnswerError as fault:
            wait_s = patience.pause_s * 3 ** (turn - 1) if fault.wait_s is None else fault.wait_s
            if not fault.again or turn == TRIES:
                raise
            if wait_s > LONGEST_WAIT_S or wait_s >= clock.left_s:
                raise AnswerError(f"{fault}, and asks to wait {wait_s:.0f} s") from None
            patience.report(f"{name_server(endpoint)} {fault}; waiting {wait_s:.0f} s")
        time.sleep(wait_s)
    raise AnswerError(f"was not asked: the time limit of {clock.limit_s:g} s is over")


def run_within(limit_s: float, work: Callable[[], Answer]) -> Answer:
    """Do something in a thread of its own, and leave the thread behind when time is over.

    No time-out of a socket catches an answer that drips byte by byte, nor a name server that
    hangs; a thread that is left behind does not keep the program from ending.

    Raises
    ------
    AnswerError
        If it takes longer.
    """
    end = time.monotonic() + limit_s
    pool = ThreadPool(1)
    try:
        result = pool.apply_async(work)
        while not result.ready() and time.monotonic() < end:
            result.wait(min(0.2, limit_s))  # short, so that Ctrl-C is heard on every system
        return result.get(0)
    except multiprocessing.TimeoutError:
        raise AnswerError(f"gave no whole answer within {limit_s:.3g} s") from None
    finally:
        pool.terminate()


def read_reply(
    method: str, url: str, *, limit_s: float, **options: Any
) -> tuple[requests.Response, bytes]:
    """Send one request and read the whole answer to it.

    Returns
    -------
    response
        Status and headers.
    body
        What it said.

    Raises
    ------
    AnswerError
        If there is no connection, or the answer is cut short or without end.
    """
    clock = Clock(limit_s)
    headers = {"User-Agent": identify(), "Referer": "https://www.openstreetmap.org/"}
    times = (min(_CONNECT_S, limit_s + 1), limit_s + 1)  # whoever waits gives up first
    try:
        with requests.request(
            method, url, headers=headers, timeout=times, stream=True, **options
        ) as response:
            body = bytearray()
            for chunk in response.iter_content(65_536):
                body += chunk
                if len(body) > _MOST_BYTES or not clock.left_s:
                    raise AnswerError(f"sent more than could be read ({len(body)} bytes so far)")
    except requests.RequestException as fault:
        raise explain_failure(fault) from None
    return response, bytes(body)


def explain_failure(fault: requests.RequestException) -> AnswerError:
    """Say in a few words why a request got no answer."""
    cause: BaseException = fault
    while (inner := cause.__cause__ or cause.__context__) is not None:
        cause = inner
    text = getattr(cause, "verify_message", "") or getattr(cause, "strerror", None) or str(cause)
    words = " ".join(str(text).split())[:200].rstrip(".")
    if isinstance(fault, requests.exceptions.SSLError):
        return AnswerError(f"cannot be trusted (TLS: {words})")
    if isinstance(fault, requests.Timeout):
        return AnswerError("does not answer")
    if isinstance(fault, requests.exceptions.ContentDecodingError):
        return AnswerError(f"answered with what cannot be unpacked ({words})")
    if isinstance(fault, requests.exceptions.ChunkedEncodingError) or isinstance(cause, _CUT):
        return AnswerError(f"cut its answer short ({words})", again=True)
    return AnswerError(f"cannot be reached ({words})")


def check_status(response: requests.Response, body: bytes) -> None:
    """Pass an answer of status 200.

    Raises
    ------
    AnswerError
        If the status is another one; a busy server may be asked again, after what its header
        Retry-After says.
    """
    code = response.status_code
    if code in _BUSY:
        raise AnswerError(
            f"is busy (HTTP {code}, {_BUSY[code]})",
            again=True,
            wait_s=_parse_wait(response.headers.get("Retry-After", "")),
        )
    if code != 200:
        raise AnswerError(f"refused (HTTP {code}: {quote(body)})")


def quote(body: bytes) -> str:
    """Quote the beginning of what a server said, without markup, on one line."""
    text = re.sub(r"<[^>]*>", " ", body[:4_000].decode("utf-8", "replace"))
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:160]


def _parse_wait(text: str) -> float | None:
    """Parse a Retry-After: seconds, or a date of HTTP."""
    if re.fullmatch(r"\d{1,9}", text.strip()):
        return float(text)
    try:
        then = parsedate_to_datetime(text)
    except ValueError:
        return None
    if then.tzinfo is None:
        return None
    return max((then - datetime.now(UTC)).total_seconds(), 0.0)


def ask_slot(endpoint: str, limit_s: float) -> float | None:
    """Ask an Overpass server's status page when the next slot is free: seconds, if it says so."""
    try:
        _, body = read_reply("GET", f"{endpoint}/status", limit_s=min(_STATUS_S, limit_s))
    except AnswerError:
        return None
    waits = re.findall(r"in (-?\d{1,9}) seconds", body.decode("utf-8", "replace"))
    return max(min(map(float, waits)), 0.0) if waits else None
