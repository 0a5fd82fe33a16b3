"""The maps of a city: one HTML file for each question, for any browser and without internet."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Unpack

import folium

from survey.outputs.exports import write_files
from survey.outputs.index import write_index
from survey.outputs.map_kinds import KINDS, list_kinds, tell_story
from survey.outputs.map_parts import MapTables, Parts, Story
from survey.outputs.offline import render_offline
from survey.outputs.page import finish_page, new_page
from survey.outputs.page_layers import outline_layer
from survey.outputs.texts import Pair, Text
from survey.outputs.tiles import add_tiles

_HOME = ("index.html", Pair("全部地图", "All maps"))
_HASH = 16  # digits of the frame's hash that are enough to tell two frames apart


def draw_map(
    frame: Any,
    *,
    kind: str | None = None,
    title: str | None = None,
    **tables: Unpack[MapTables],
) -> folium.Map:
    """Draw a map, for a notebook or to add to; parameters and errors as for `save_map`.

    Returns
    -------
    folium.Map
    """
    return _draw(Parts(frame, tables), kind, title=title)


def save_map(
    path: str | Path,
    frame: Any,
    *,
    kind: str | None = None,
    title: str | None = None,
    replace: bool = False,
    **tables: Unpack[MapTables],
) -> Path:
    """Write a map as one HTML file that needs no internet.

    Parameters
    ----------
    path
        The file; missing parent folders are made.
    frame
        What can be drawn, in a projected CRS.
    kind
        frame, round, odds, toilets or surroundings; all that is given on one map if absent.
    title
        The page's heading; the area's name and the question otherwise.
    replace
        Overwrite a file that exists.
    **tables
        What there is to show, each of them optional: see `MapTables`.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    OutputError
        If the file exists and `replace` is false, cannot be written, or would ask for an
        outside address; or the kind is unknown, or lacks what it shows.
    TableError
        If odds or priorities break the data contract or do not fit the frame, or a draw does not.
    """
    text = render_offline(draw_map(frame, kind=kind, title=title, **tables))
    return write_files({Path(path): text.encode()}, replace=replace)[0]


def save_maps(
    folder: str | Path,
    stem: str,
    frame: Any,
    *,
    others: Iterable[str] = (),
    replace: bool = False,
    **tables: Unpack[MapTables],
) -> list[Path]:
    """Write every map that the tables allow, and a page that leads to them.

    Parameters
    ----------
    folder
        Where to write; it is made if it is missing.
    stem
        How the files' names begin: ``<stem>.html`` for all on one map, ``<stem>-frame.html``, ...
    frame, replace, tables
        As for `save_map`.
    others
        Names of other files in the folder that the index leads to.

    Returns
    -------
    list of pathlib.Path
        The files, ``index.html`` first, then ``<stem>.html``.

    Raises
    ------
    OutputError, TableError
        As for `save_map`.
    """
    parts = Parts(frame, tables)
    stories = {_name(stem, kind): tell_story(parts, kind) for kind in [None, *list_kinds(parts)]}
    texts = {
        name: render_offline(_lay_out(parts, story, links=[_HOME]))
        for name, story in stories.items()
    }
    foot = [*next(iter(stories.values())).figures, *_foot(parts)]
    texts = {"index.html": write_index(_name_city(parts), stories, others, foot), **texts}
    content = {Path(folder) / name: text.encode() for name, text in texts.items()}
    return write_files(content, replace=replace)


def name_maps(stem: str) -> list[str]:
    """List the names of all files that `save_maps` may write."""
    return ["index.html", *(_name(stem, kind) for kind in [None, *KINDS])]


def _name(stem: str, kind: str | None) -> str:
    return f"{stem}-{kind}.html" if kind else f"{stem}.html"


def _draw(parts: Parts, kind: str | None, *, title: str | None) -> folium.Map:
    return _lay_out(parts, tell_story(parts, kind), title=title)


def _lay_out(
    parts: Parts,
    story: Story,
    *,
    title: str | None = None,
    links: Iterable[tuple[str, Pair]] = (),
) -> folium.Map:
    city = _name_city(parts)
    heading = Pair(*(" · ".join(part for part in (city, words) if part) for words in story.title))
    page = new_page(
        Pair(title, title) if title else heading,
        story.line,
        figures=story.figures,
        foot=_foot(parts),
        links=links,
    )
    area = parts.frame.area.polygon
    finish_page(
        page,
        [*story.layers, outline_layer(area)],
        background=parts.background(),
        bounds=area.bounds,
        choices=story.choices,
        names=parts.streets,
    )
    tiles = parts.get("tiles")
    return page if tiles is None else add_tiles(page, tiles)


def _name_city(parts: Parts) -> str:
    return str(parts.frame.name or parts.frame.area.name)


def _foot(parts: Parts) -> list[Text]:
    """Say where the data come from, and which round and frame this is."""
    told: list[Text] = []
    source = parts.frame.source.get("osm", {})
    if source:
        day = str(source.get("osm_date") or "")[:10]
        # A file name may be in another encoding.
        path = str(source.get("path") or "").encode("utf-8", "replace").decode()
        told.append(
            Pair(
                f"数据：{path} {day or '日期不详'}",
                f"Data: {path} {day or 'of unknown date'}",
            )
        )
    if parts.rounds is not None:
        last = parts.rounds.rounds.iloc[-1]
        digits = str(last["frame_hash"])[:_HASH]
        told += [
            Pair(
                f"轮次 {last['round_id']}，种子 {last['seed']}",
                f"Round {last['round_id']}, seed {last['seed']}",
            ),
            Pair(f"抽样框 {digits}…", f"Frame {digits}…"),
        ]
    return told
