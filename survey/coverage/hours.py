"""A moment, and which toilets are open then by their opening hours."""

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from unicodedata import normalize

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
from opening_hours import OpeningHours, State, validate

from survey.errors import RuleError
from survey.frame.quality import SUPPLY

Mask = npt.NDArray[np.bool_]

PLAIN_YEAR = 1990
"""The year of moments without a date; what users ask by date lies in 2000 or later."""

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DAYS_ZH = "一二三四五六日"
_MOMENT = re.compile(r"([^\W\d]+)\s*(\d{1,2}):(\d{2})|(\d{4}-\d{2}-\d{2})(?:T|\s+)(\d{2}:\d{2})")
_ALWAYS = frozenset({"全天", "24小时"})

_SUN = re.compile(r"sunrise|sunset|dawn|dusk", re.IGNORECASE)
_PUBLIC_HOLIDAY = re.compile(r"\bPH\b")
# What nobody can tell: an open end, "else" rules (the library takes them for whole days only),
# and weekdays within holidays (which it reads as weekdays or holidays).
_VAGUE = re.compile(r"\|\||:\d\d\s*\+(?!\d)|\b[PS]H\s+(?:Mo|Tu|We|Th|Fr|Sa|Su)")
_VAGUE_IN_A_PLAIN_WEEK = re.compile(r"\[|\b20\d\d\b")  # the n-th weekday of a month, a year
_VAGUE_ON_A_DATE = re.compile(r"\bSH\b")  # there is no calendar of school holidays


@dataclass(frozen=True, eq=False)
class OpenState:
    """What opening hours say of one moment.

    Attributes
    ----------
    state
        ``open``, ``closed`` or ``unknown``, on the index of the hours.
    unparsable
        Index label and text of the hours that cannot be read; all of them are ``unknown``.
    """

    state: "pd.Series[str]"
    unparsable: list[tuple[str, str]]


@dataclass(frozen=True, eq=False)
class Supply:
    """Which toilets count as supply: three masks over their rows, true once in each row.

    Attributes
    ----------
    open
        Status public or opened, and open for certain.
    unknown
        Status public or opened, hours missing, unreadable or not decided by the moment.
    closed
        All others.
    unparsable
        ``toilet_id`` and text of the hours that cannot be read.
    notes
        Lines for people: how many are of each state, and which hours cannot be read.
    """

    open: Mask
    unknown: Mask
    closed: Mask
    unparsable: list[tuple[str, str]] = field(default_factory=list)
    notes: tuple[str, ...] = ()


def parse_moment(text: str) -> datetime:
    """Read a moment: a weekday and a time, or a date and a time, by the clock on the spot.

    Parameters
    ----------
    text
        Such as ``Sun 21:00``, ``周日 21:00``, ``星期一 10:00`` or ``2026-10-01 09:30`` (blank or
        T). A weekday stands for that day of a plain week, without public or school holidays.

    Returns
    -------
    datetime.datetime
        Without time zone. A weekday is given as one of January of `PLAIN_YEAR`.

    Raises
    ------
    RuleError
        If it is anything else, or a date before 2000.

    Examples
    --------
    >>> parse_moment("2026-10-01 09:30")
    datetime.datetime(2026, 10, 1, 9, 30)
    >>> parse_moment("周日 21:00").strftime("%a %H:%M")
    'Sun 21:00'
    """
    found = _MOMENT.fullmatch(normalize("NFKC", text).strip())
    try:
        if found and found[4]:
            moment = datetime.fromisoformat(f"{found[4]} {found[5]}")
            if moment.year >= 2000:
                return moment
        elif found and (day := _read_weekday(found[1])) >= 0:
            moment = datetime(PLAIN_YEAR, 1, 16, int(found[2]), int(found[3]))  # noqa: DTZ001 - local
            return moment + timedelta(days=(day - moment.weekday()) % 7)
    except ValueError:
        pass  # no such day or time: said below
    raise RuleError(
        f"{text!r} is no moment; give a weekday and a time such as 'Sun 21:00' or '周日 21:00',"
        " or a date from 2000 on and a time such as '2026-10-01 09:30'"
    )


def _read_weekday(name: str) -> int:
    if name[:-1] in {"周", "星期"}:
        return _DAYS_ZH.find(name[-1].replace("天", "日"))
    return next((n for n, day in enumerate(_DAYS) if name.lower() in {day, day[:3], day[:2]}), -1)


def tell_open(
    hours: "pd.Series[str]", moment: datetime, *, positions: gpd.GeoSeries | None = None
) -> OpenState:
    """Tell which of some opening hours are open at a moment.

    Hours are read as OpenStreetMap writes them. Full-width characters count as plain ones, and
    ``全天`` and ``24小时`` alone as ``24/7``; nothing else is mended. Unknown is what is missing or
    cannot be read, what is open under a comment ("by appointment"), and what the moment does not
    decide: open ends (``18:00+``), fallbacks (``||``), and

    - in a plain week, which is evaluated once in every month, what is not the same in all of
      them (a season, sunset), or depends on a year or on the n-th weekday of a month. Rules for
      public and school holidays do not apply;
    - on a date, what depends on school holidays; without positions also what depends on the sun
      or on public holidays. The calendar of these is the library's: of China's holidays of
      several days it knows the first, and not the working weekends.

    Parameters
    ----------
    hours
        Texts, some missing; their index names them.
    moment
        What `parse_moment` read.
    positions
        Points on the same index in any CRS: they give the country's calendar and the sun.

    Returns
    -------
    OpenState
    """
    places = [None] * len(hours) if positions is None else _read_places(positions.loc[hours.index])
    moments = _expand(moment)
    states, unparsable = [], []
    for label, text, place in zip(hours.index, hours, places, strict=True):
        plain = "" if pd.isna(text) else normalize("NFKC", str(text)).strip()
        plain = "24/7" if plain in _ALWAYS else plain
        if plain and not validate(plain):
            unparsable.append((str(label), str(text)))
            plain = ""
        states.append(_evaluate(plain, moments, place) if plain else "unknown")
    return OpenState(pd.Series(states, index=hours.index, dtype="str"), unparsable)


def _read_places(positions: gpd.GeoSeries) -> list[Any]:
    degrees = positions.to_crs(4326)
    return list(zip(degrees.y, degrees.x, strict=True))


def _expand(moment: datetime) -> list[datetime]:
    """Give a weekday's moment in the middle of every month, where few fixed holidays lie."""
    if moment.year != PLAIN_YEAR:
        return [moment]
    middles = [moment.replace(month=month, day=16) for month in range(1, 13)]
    return [day + timedelta(days=(moment - day).days % 7) for day in middles]


def _evaluate(text: str, moments: list[datetime], place: tuple[float, float] | None) -> str:
    dated = len(moments) == 1
    vague = _VAGUE_ON_A_DATE if dated else _VAGUE_IN_A_PLAIN_WEEK
    if _VAGUE.search(text) or vague.search(text):
        return "unknown"
    if not (_SUN.search(text) or (dated and _PUBLIC_HOLIDAY.search(text))):
        hours = OpeningHours(text)
    elif place is None:
        return "unknown"
    else:
        hours = OpeningHours(text, coords=place, auto_country=dated)
    found = {_read_state(*hours.state(moment)) for moment in moments}
    return found.pop() if len(found) == 1 else "unknown"


def _read_state(state: State, comment: str) -> str:
    if state == State.CLOSED:
        return "closed"
    return "open" if state == State.OPEN and not comment else "unknown"


def select_supply(toilets: gpd.GeoDataFrame, *, moment: datetime | None = None) -> Supply:
    """Select the toilets that the public may use at a moment.

    Status public or opened is supply, whatever fee or signs. Without a moment all of it counts
    as open.

    Parameters
    ----------
    toilets
        The table `toilets`.
    moment
        What `parse_moment` read; the hours are not looked at if absent.

    Returns
    -------
    Supply

    Examples
    --------
    >>> import survey
    >>> toilets = survey.example_town().toilets
    >>> int(select_supply(toilets).open.sum()), len(toilets)
    (3, 4)
    """
    usable = toilets["status"].isin(SUPPLY).to_numpy(dtype=bool)
    if moment is None:
        return Supply(usable, np.zeros(len(toilets), dtype=bool), ~usable)
    named = toilets.set_index("toilet_id")
    told = tell_open(named["opening_hours"][usable], moment, positions=named.geometry[usable])
    state = np.full(len(toilets), "closed", dtype=object)
    state[usable] = told.state.to_numpy(dtype=object)
    of = {name: state == name for name in ("open", "unknown", "closed")}
    counts = ", ".join(f"{int(mask[usable].sum())} {name}" for name, mask in of.items())
    notes = [f"toilets for the public: {counts}"]
    if moment.year == PLAIN_YEAR and usable.any():
        notes.append("a weekday without a date is one of a plain week: holiday rules do not apply")
    notes += [f"opening hours of {name} cannot be read: {text!r}" for name, text in told.unparsable]
    return Supply(of["open"], of["unknown"], of["closed"], told.unparsable, tuple(notes))
