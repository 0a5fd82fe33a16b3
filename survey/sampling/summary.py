"""What a round says of itself in a notebook: what it visits, and what anyone can check it by."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from survey.summaries import Row, write_summary
from survey.tables import LAYERS

if TYPE_CHECKING:
    from survey.sampling.draw import Draw


def summarise_draw(draw: "Draw") -> str:
    """Write what a round visits, its seed, design and frame hash as a small table in HTML."""
    return write_summary(f"Round {draw.round_id}", _rows(draw), notes=draw.notes)


def _rows(draw: "Draw") -> Iterator[Row]:
    winners = draw.draws[~draw.draws["replacement"]]
    totals = draw.totals or {}
    visited = totals.get("points_visited", winners["point_id"].nunique())
    yield "points visited", _of(visited, totals.get("points"))
    for layer in LAYERS:
        drawn = winners.loc[winners["layer"] == layer, "unit_id"].nunique()
        yield f"{layer}s drawn", _of(drawn, totals.get(f"{layer}s"))
    if totals:
        yield "share of all units", f"{totals['share']:.1%}"
        for layer in LAYERS:
            yield f"points without {layer}", f"{totals[f'points_without_{layer}']:,}"
    yield "replacements", f"{draw.draws['replacement'].sum():,}"
    for name in ("seed", "design", "frame_hash"):
        yield name, str(draw.rounds[name].iloc[0])


def _of(part: float, whole: float | None) -> str:
    return f"{part:,}" if whole is None else f"{part:,} of {whole:,}"
