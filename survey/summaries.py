"""How an object shows itself in a notebook: one small table, without colours or script."""

from collections.abc import Iterable
from html import escape

Row = tuple[str, ...]


def write_summary(title: str, rows: Iterable[Row], *, notes: Iterable[str] = ()) -> str:
    """Write a table in HTML that takes its colours from the notebook, light or dark.

    Parameters
    ----------
    title
        What is shown.
    rows
        The cells of each row, as text; the first one heads its row.
    notes
        Lines below the table.

    Returns
    -------
    str
        HTML in which every text is escaped.
    """
    left = ' style="text-align:left"'
    lines = [
        f'<tr><th scope="row"{left}>{escape(head)}</th>'
        + "".join(f"<td{left}>{escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for head, *cells in rows
    ]
    below = "".join(f"<p>{escape(note)}</p>" for note in notes)
    caption = f"<caption{left}><strong>{escape(title)}</strong></caption>"
    return f"<table>{caption}<tbody>{''.join(lines)}</tbody></table>{below}"
