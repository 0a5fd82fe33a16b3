"""The draw that anyone can check: tickets instead of a random generator.

Every random choice of a round is a SHA-256 over texts that are known to all once the seed is
public, so the round can be derived again from its tables, by any program.
"""

import hashlib
import heapq
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import geopandas as gpd
import numpy as np
import pandas as pd

from survey.errors import DesignError, TableError, WorkspaceError
from survey.sampling.design import Design
from survey.sampling.rows import HASHED, list_rows
from survey.sampling.summary import summarise_draw
from survey.tables import LAYERS, check, make, round_mm

REPLACEMENTS = 5
"""How many more units are drawn at most, per point and layer, to stand in for a winner."""

# Text with one of these could be cut up in two ways, or cannot be written as UTF-8.
_FORBIDDEN = re.compile("[\x00\x1f\r\n\ud800-\udfff]")
_DRAWN = ("unit_id", "ticket", "radius_m", "replacement")
_DRAWS = ["round_id", "point_id", "layer", "slot", *_DRAWN]


class DrawFrame(Protocol):
    """What can be drawn: any object with these three tables, such as `survey.frame`'s Frame."""

    @property
    def points(self) -> gpd.GeoDataFrame:
        """The fixed points."""

    @property
    def alleys(self) -> gpd.GeoDataFrame:
        """The alleys that can be drawn."""

    @property
    def compounds(self) -> gpd.GeoDataFrame:
        """The compounds that can be drawn."""


@dataclass(frozen=True, eq=False)
class Draw:
    """One round.

    Parameters
    ----------
    rounds
        The table ``rounds``, one row.
    draws
        The table ``draws`` of that round: per point and layer the winners, then replacements.
    notes
        What a reader should know, such as a kind with fewer points than the design asks for.
    totals
        What `summary` gives; only the draw itself can count it, the tables do not hold the frame.
    """

    rounds: pd.DataFrame
    draws: pd.DataFrame
    notes: tuple[str, ...] = ()
    totals: Mapping[str, float] | None = None

    @property
    def round_id(self) -> str:
        """What the round is called."""
        return str(self.rounds["round_id"].iloc[0])

    @property
    def design(self) -> Design:
        """The design, read from the JSON in `rounds`; DesignError if it cannot be read."""
        return Design.from_json(str(self.rounds["design"].iloc[0]))

    def summary(self) -> dict[str, float]:
        """Count how much of the frame the round visits; replacements are not visits.

        Returns
        -------
        dict
            ``points``, ``points_visited``; ``points_without_alley``, ``points_without_compound``
            (visited, but no such unit is eligible); ``alleys``, ``alleys_drawn``, ``compounds``,
            ``compounds_drawn`` (each once); ``share`` of all units drawn; ``replacements``.

        Raises
        ------
        WorkspaceError
            If the round was loaded from tables: they do not say what could have been drawn.
        """
        if self.totals is None:
            raise WorkspaceError(
                f"round {self.round_id!r} was read from tables, which do not say what else could"
                " have been drawn; draw it again with draw_round and its seed for a summary"
            )
        return dict(self.totals)

    def _repr_html_(self) -> str:
        return summarise_draw(self)


@dataclass(frozen=True)
class Verdict:
    """Whether a round is what its seed gives; `reason` holds the first difference, one line."""

    accepted: bool
    reason: str
    round_id: str


def make_ticket(*fields: str) -> str:
    """Return the SHA-256, as 64 hex digits, of `fields` joined by U+001F in UTF-8.

    Examples
    --------
    >>> make_ticket("witnessed", "2026-Q4", "node/5", "alley", "alley/way/9")[:16]
    'd390ff8166b5f593'
    """
    return hashlib.sha256("\x1f".join(fields).encode()).hexdigest()


def hash_frame(frame: DrawFrame, reach: pd.DataFrame) -> str:
    """Return the SHA-256, as 64 hex digits, of everything that a draw depends on.

    It covers the ids and kinds of points, the ids of alleys and compounds, and every row of
    `reach`; not names or geometry, and not the order of rows. Each row is led by its table's
    name, fields are joined by U+001F, distances written as ``%.3f`` (a missing one empty); all
    rows are sorted together as UTF-8 bytes and joined by LF.

    Parameters
    ----------
    frame, reach
        The tables that a round is drawn from; distances in metres.

    Raises
    ------
    TableError
        If a table breaks the data contract.
    DesignError
        If an id holds U+001F or a line break, so that rows could be read in two ways.
    """
    digest, between = hashlib.sha256(), ""
    # No name begins another, so that rows sorted by table and then within it are sorted together.
    for name in HASHED:
        table = check(name, reach if name == "reach" else getattr(frame, name), key=False)
        for rows in list_rows(name, table, check_text):
            digest.update((between + "\n".join(rows)).encode())
            between = "\n"
    return digest.hexdigest()


def check_text(text: object, where: str) -> None:
    """Check that a ticket can be made of a text; DesignError, with `where` it stands, if not."""
    if not isinstance(text, str) or not text.strip():
        raise DesignError(f"{where}: found {text!r}; give text that is not empty")
    if _FORBIDDEN.search(text):
        raise DesignError(
            f"{where}: {text[:60]!r} holds a line break, U+001F or half a character;"
            " tickets need plain text on one line"
        )


def commit_design(frame: DrawFrame, reach: pd.DataFrame, design: Design) -> str:
    """Return the SHA-256, as 64 hex digits, that binds a round before its seed is chosen.

    It is taken over the frame's hash and the design's JSON, joined by U+001F. Publish it together
    with the round's id and the way in which the seed will come about.

    Raises
    ------
    TableError, DesignError
        As `hash_frame` does.
    """
    return make_ticket(hash_frame(frame, reach), design.to_json())


def draw_round(
    frame: DrawFrame, reach: pd.DataFrame, design: Design, *, round_id: str = "demo", seed: str
) -> Draw:
    """Draw one round: the same tables, design, id and seed always give the same draws.

    The draw of one point does not depend on any other point, nor on the order of rows, and a new
    unit changes only the draws that it wins. Where none is drawn (``alleys = [0, 1]`` can give a
    count of 0) there is nobody to replace, so there are no replacements either.

    Parameters
    ----------
    frame
        Points, alleys and compounds; only what stands in these tables is drawn.
    reach
        The table ``reach``; distances in metres. It does not say how far it was measured: it must
        be the design's greatest radius or more, else units beyond are left out without a word.
    design
        The rules of the draw.
    round_id, seed
        Plain text on one line; other text gives other draws, character by character.

    Returns
    -------
    Draw
        The tables ``rounds`` (round_id, seed, design, frame_hash) and ``draws`` (round_id,
        point_id, layer, slot, unit_id, ticket, radius_m, replacement), sorted by its key.

    Raises
    ------
    DesignError
        If the seed, the round's id or an id in a table is empty or holds U+001F or a line break.
    TableError
        If a table breaks the data contract.
    """
    frame_hash = hash_frame(frame, reach)
    draws, notes, totals = _derive(frame, reach, design, (seed, round_id))
    texts = {"round_id": round_id, "seed": seed, "design": design.to_json()}
    texts["frame_hash"] = frame_hash
    rounds = make("rounds", {name: [text] for name, text in texts.items()})
    return Draw(rounds, draws, notes, totals)


def _derive(
    frame: DrawFrame, reach: pd.DataFrame, design: Design, lead: tuple[str, str]
) -> tuple[pd.DataFrame, tuple[str, ...], dict[str, float]]:
    """Draw by the tickets that begin with `lead`, the seed and the round's id."""
    check_text(lead[0], "seed")
    check_text(lead[1], "round_id")
    visited, notes = _choose_points(frame.points, design, lead)
    radii = {name: design.radius_for(_chance(*lead, name, "radius")) for name in visited}
    eligible = _group_eligible(frame, reach, design, radii)
    rows = []
    for (point_id, layer), unit_ids in eligible.items():
        count = design.count_for(layer, _chance(*lead, point_id, layer, "count"))
        if not count:
            continue
        begun = hashlib.sha256("\x1f".join((*lead, point_id, layer, "")).encode())
        tickets = ((_end_ticket(begun, name), name) for name in unit_ids)
        rows += [
            (lead[1], point_id, layer, slot, unit_id, ticket, radii[point_id], slot > count)
            for slot, (ticket, unit_id) in enumerate(
                heapq.nsmallest(count + REPLACEMENTS, tickets), start=1
            )
        ]
    rows.sort()
    table = pd.DataFrame(rows, columns=_DRAWS)
    draws = make("draws", {name: table[name] for name in table})
    return draws, notes, _count(frame, visited, eligible, draws)


def _end_ticket(begun: Any, last: str) -> str:
    """Return the ticket whose fields but the last are hashed already."""
    ticket = begun.copy()
    ticket.update(last.encode())
    return str(ticket.hexdigest())


def _chance(*fields: str) -> float:
    """Turn the first 8 bytes of a ticket into a number in [0, 1)."""
    return int(make_ticket(*fields)[:16], 16) / 2**64


def _choose_points(
    points: gpd.GeoDataFrame, design: Design, lead: tuple[str, str]
) -> tuple[list[str], tuple[str, ...]]:
    visited, notes = [], []
    wanted = dict(design.points or {})
    by_kind = {str(kind): ids.tolist() for kind, ids in points.groupby("kind")["point_id"]}
    for kind in sorted(by_kind | wanted):
        ids = by_kind.get(kind, [])
        number = wanted.get(kind, len(ids))
        if number > len(ids):
            notes.append(f"{kind}: {number} points are asked for, all {len(ids)} are visited")
        tickets = sorted((make_ticket(*lead, "points", kind, name), name) for name in ids)
        visited += [point_id for _, point_id in tickets[:number]]
    return visited, tuple(notes)


def _group_eligible(
    frame: DrawFrame, reach: pd.DataFrame, design: Design, radii: dict[str, float]
) -> dict[tuple[str, str], list[str]]:
    """Group the eligible units by point and layer."""
    radius_m = reach["point_id"].map(radii).to_numpy(dtype=np.float64)  # NaN: not visited
    distance_m = round_mm(reach[f"{design.metric}_m"])
    fits = np.flatnonzero((distance_m >= design.min_m) & (distance_m <= radius_m))
    near = reach[["point_id", "layer", "unit_id"]].iloc[fits]
    units = {
        "alley": set(frame.alleys["alley_id"]),
        "compound": set(frame.compounds["compound_id"]),
    }
    groups: dict[tuple[str, str], list[str]] = {}
    for point_id, layer, unit_id in zip(*(near[name].to_numpy() for name in near), strict=True):
        if unit_id in units[layer]:
            groups.setdefault((point_id, layer), []).append(unit_id)
    return groups


def _count(
    frame: DrawFrame,
    visited: list[str],
    eligible: Mapping[tuple[str, str], list[str]],
    draws: pd.DataFrame,
) -> dict[str, float]:
    winners = draws[~draws["replacement"]]
    totals: dict[str, float] = {"points": len(frame.points), "points_visited": len(visited)}
    for layer, units in zip(LAYERS, (frame.alleys, frame.compounds), strict=True):
        totals[f"{layer}s"] = len(units)
        totals[f"{layer}s_drawn"] = winners.loc[winners["layer"] == layer, "unit_id"].nunique()
        totals[f"points_without_{layer}"] = sum((name, layer) not in eligible for name in visited)
    drawn = totals["alleys_drawn"] + totals["compounds_drawn"]
    totals["share"] = drawn / max(1, totals["alleys"] + totals["compounds"])
    totals["replacements"] = int(draws["replacement"].sum())
    return totals


def load_draw(rounds: pd.DataFrame, draws: pd.DataFrame, round_id: str) -> Draw:
    """Pick one round out of a workspace's tables; nothing is checked, so that it can be verified.

    Raises
    ------
    WorkspaceError
        If there is no such round; the message lists those that there are.
    """
    found = rounds[rounds["round_id"] == round_id]
    if found.empty:
        known = ", ".join(sorted(rounds["round_id"])) or "none; draw one first"
        raise WorkspaceError(f"there is no round {round_id!r}; stored are: {known}")
    chosen = draws[draws["round_id"] == round_id]
    return Draw(found.reset_index(drop=True), chosen.reset_index(drop=True))


def verify_round(
    frame: DrawFrame, reach: pd.DataFrame, draw: Draw, *, commitment: str | None = None
) -> Verdict:
    """Derive a round again and compare: frame hash, commitment, then each row of draws by key.

    Whatever is wrong with the tables or the stored round refuses it; nothing is raised.

    Parameters
    ----------
    frame, reach
        The tables that the round was drawn from; distances in metres.
    draw
        The round, as drawn or as loaded.
    commitment
        What `commit_design` gave before the seed was chosen, if it was published.

    Returns
    -------
    Verdict
    """
    try:
        fault = _find_fault(frame, reach, draw, commitment)
    except (TableError, DesignError) as error:
        fault = str(error)
    return Verdict(not fault, fault or "every row follows from the seed", draw.round_id)


def _find_fault(frame: DrawFrame, reach: pd.DataFrame, draw: Draw, commitment: str | None) -> str:
    """Say in one line what differs first; an empty text if nothing does."""
    frame_hash = hash_frame(frame, reach)
    stored = check("rounds", draw.rounds).iloc[0]
    if stored["frame_hash"] != frame_hash:
        return f"the frame's hash is {frame_hash}, but the round says {stored['frame_hash']}"
    design = draw.design
    if stored["design"] != design.to_json():
        return f"the design is not written in its one form, which is {design.to_json()}"
    bound = make_ticket(frame_hash, design.to_json())
    if commitment is not None and commitment.strip().lower() != bound:
        return f"the commitment is {commitment.strip()!r}, but frame and design give {bound}"
    draws, _, _ = _derive(frame, reach, design, (str(stored["seed"]), draw.round_id))
    return _compare_rows(draws, check("draws", draw.draws), set(frame.points["point_id"]))


def _compare_rows(derived: pd.DataFrame, stored: pd.DataFrame, point_ids: set[str]) -> str:
    right, given = (
        {row[:4]: row[4:] for row in table[_DRAWS].itertuples(index=False, name=None)}
        for table in (derived, stored)
    )
    for place in sorted(right | given):
        name = "round {!r}, point {!r}, {}, slot {}".format(*place)
        if place not in right:
            known = "is not derived" if place[1] in point_ids else "names a point not in the frame"
            return f"a row too many: {name} {known}"
        if place not in given:
            return f"a row is missing: {name} should hold {right[place][0]!r}"
        for column, value, wanted in zip(_DRAWN, given[place], right[place], strict=True):
            if value != wanted:
                return f"{name}: {column} is {value!r}, but the tickets give {wanted!r}"
    return ""
