"""The figures of a report, drawn by matplotlib as SVG whose text stays text.

No font is embedded and none is measured: every text is placed by its anchor, and the style sheet
of the report says in which fonts it is shown. So the same numbers give the same bytes on every
machine, and a machine without a font falls back to another.
"""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from survey.outputs.report_facts import CHANCE, NOWHERE, Findings, count_by_subdistrict
from survey.outputs.report_html import Say, shorten, write_length, write_range
from survey.outputs.report_lines import name_rule

BLUE, ORANGE, GREY, INK = "#0072B2", "#E69F00", "#8c8c8c", "#222222"
"""Colours of Okabe and Ito (2008), and greys."""

MOST_OFFICES = 12
"""How many subdistricts a figure shows; the others are summed."""

_SURE: dict[str, Any] = {"facecolor": BLUE, "linewidth": 0}
_UNSURE: dict[str, Any] = {"facecolor": "white", "edgecolor": BLUE, "hatch": "////", "lw": 0.6}
_WIDE_IN, _HALF_IN, _HEIGHT_IN = 7.0, 3.4, 1.9
_BINS = 10
_LABEL = "label-{}-"
_SETTINGS: dict[str, Any] = {
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.labelsize": 7.5,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": ["DejaVu Sans"],  # the one that comes with matplotlib
    "font.size": 7.5,
    "hatch.linewidth": 0.6,
    "svg.fonttype": "none",
    "xtick.color": INK,
    "xtick.labelsize": 7,
    "ytick.color": INK,
    "ytick.labelsize": 7,
}


class _Drawing:
    """A figure being drawn; texts go in at the end, so that no name is taken for a formula."""

    def __init__(self, width_in: float, height_in: float) -> None:
        from matplotlib.figure import Figure

        self.figure: Any = Figure(figsize=(width_in, height_in))
        self.texts: list[str] = []

    def hold(self, text: str) -> str:
        """Keep a text, and return what stands for it while the figure is drawn."""
        self.texts.append(text)
        return _LABEL.format(len(self.texts) - 1)

    def add_axes(self, left_in: float, bottom_in: float, right_in: float, top_in: float) -> Any:
        """Add axes with these margins, in inches."""
        width, height = self.figure.get_size_inches()
        box = (
            left_in / width,
            bottom_in / height,
            1 - (left_in + right_in) / width,
            1 - (bottom_in + top_in) / height,
        )
        return self.figure.add_axes(box)

    def add_legend(self, axes: Any, entries: Sequence[tuple[str, dict[str, Any]]]) -> None:
        """Say above the axes what the fills mean, one line each."""
        from matplotlib.patches import Rectangle

        size = axes.get_position().size * self.figure.get_size_inches()
        for number, (text, look) in enumerate(entries):
            y = 1 + (0.06 + 0.16 * (len(entries) - 1 - number)) / size[1]
            place: dict[str, Any] = {"transform": axes.transAxes, "clip_on": False}
            axes.add_patch(Rectangle((0, y), 0.2 / size[0], 0.1 / size[1], **place, **look))
            axes.text(0.27 / size[0], y, self.hold(text), transform=axes.transAxes, va="bottom")

    def to_svg(self, *, label: str, salt: str) -> str:
        """Write the figure as an SVG element; `salt` keeps its ids apart from other figures'."""
        import matplotlib as mpl
        from matplotlib.backends.backend_svg import FigureCanvasSVG

        target = io.StringIO()
        with mpl.rc_context({"svg.hashsalt": salt}):
            canvas: Any = FigureCanvasSVG(self.figure)
            nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
            canvas.print_svg(target, metadata=nothing)
        text = target.getvalue()
        text = re.sub(
            r"<style.*?</style>|<!--.*?-->", "", text[text.index("<svg") :], flags=re.DOTALL
        )
        text = re.sub(r'<g id="[^"]*"', "<g", text)  # the same in every figure, and never used
        text = re.sub(r" font-family: [^;\"]*;?", "", text)
        text = re.sub(r'^<svg ([^>]*?)width="[^"]*" height="[^"]*"|^<svg ', r"<svg \1", text)
        text = text.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1)
        return re.sub(
            _LABEL.format(r"(\d+)"), lambda found: escape(self.texts[int(found[1])]), text
        )


def draw_shares(found: Findings, say: Say, *, salt: str) -> str:
    """Draw the share of each rule for toilets, with what it may be at most.

    Parameters
    ----------
    found
        Findings with an audit.
    say
        The language.
    salt
        Any text, another one for each figure of a page.

    Returns
    -------
    str
        An SVG element.
    """
    lead = found.lead
    rules = [row for row in found.audit if lead and row["facility"] == lead["facility"]]
    with _styled():
        drawing = _Drawing(_WIDE_IN, 0.4 * len(rules) + 0.72)
        axes = drawing.add_axes(0.08, 0.28, 1.1, 0.4)
        for row, rule in enumerate(rules):
            _draw_share(axes, drawing, rule, y=-row, found=found, say=say)
        if found.asked is not None:
            axes.axvline(found.asked, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
        axes.set_xlim(0, 1)
        axes.set_ylim(0.72 - len(rules), 0.72)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xticks(np.linspace(0, 1, 5), [f"{tick}%" for tick in range(0, 101, 25)])
        entries = [
            (say("确定达标", "certainly met"), _SURE),
            (say("数据不能判定，可能达标", "not known, may be met"), _UNSURE),
        ]
        drawing.add_legend(axes, entries)
        label = say("各口径达标比例", "Share that meets each reading")
        return drawing.to_svg(label=label, salt=salt)


def _draw_share(
    axes: Any, drawing: _Drawing, rule: dict[str, Any], *, y: float, found: Findings, say: Say
) -> None:
    low = 0.0 if pd.isna(rule["share"]) else rule["share"]
    high = max(low, 0.0 if pd.isna(rule["share_high"]) else rule["share_high"])
    axes.barh(y, low, height=0.34, **_SURE)
    _hatch_bar(axes, y, low, high, height=0.34)
    title = f"{rule['rule_id']}  {say(*name_rule(rule))}"
    axes.text(0, y + 0.24, drawing.hold(title), va="bottom")
    value = write_range(rule["share"], rule["share_high"], found.asked)
    # Outside the axes, so that it never lies on the line of what is asked.
    axes.text(1.015, y, drawing.hold(value), va="center", fontweight="bold")


def _hatch_bar(axes: Any, y: float, low: float, high: float, *, height: float) -> None:
    if high > low:
        axes.barh(y, high - low, left=low, height=height, **_UNSURE)


def draw_odds(found: Findings, say: Say, *, salt: str) -> str:
    """Draw how many alleys and compounds have which chance of a visit.

    Parameters
    ----------
    found
        Findings with odds.
    say
        The language.
    salt
        Any text, another one for each figure of a page.

    Returns
    -------
    str
        An SVG element.
    """
    odds = found.tables["odds"]
    edges = np.linspace(0, 1, _BINS + 1)
    looks: dict[str, dict[str, Any]] = {
        "alley": {"facecolor": BLUE, "edgecolor": INK, "linewidth": 0.4},
        "compound": {"facecolor": ORANGE, "edgecolor": INK, "linewidth": 0.4},
    }
    with _styled():
        drawing = _Drawing(_HALF_IN, _HEIGHT_IN)
        axes = drawing.add_axes(0.42, 0.42, 0.08, 0.45)
        for side, (layer, look) in enumerate(looks.items()):
            # Ends such as 0.3 are no binary fractions: a probability of 0.3 belongs above.
            place = np.floor(odds.loc[odds["layer"] == layer, "prob"] * _BINS + 1e-9)
            counts = np.bincount(place.clip(upper=_BINS - 1).astype(int), minlength=_BINS)
            axes.bar(edges[:-1] + 0.028 + 0.044 * side, counts, width=0.044, **look)
        axes.axvline(CHANCE, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.set_xlim(0, 1)
        axes.set_ylim(bottom=0)
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.set_xticks(edges, [f"{edge:.0%}"[:-1] for edge in edges])
        axes.set_xlabel(
            drawing.hold(say("一轮中被抽到的概率，%", "Chance to be drawn in a round, %"))
        )
        names = (say("背街小巷", "alleys"), say("小区", "compounds"))
        drawing.add_legend(axes, list(zip(names, looks.values(), strict=True)))
        label = say("被抽到概率的分布", "Distribution of the chance of a visit")
        return drawing.to_svg(label=label, salt=salt)


def draw_gaps(found: Findings, say: Say, *, salt: str) -> str:
    """Draw the length of the gaps of the leading rule by subdistrict.

    Parameters
    ----------
    found
        Findings with gaps and subdistricts.
    say
        The language.
    salt
        Any text, another one for each figure of a page.

    Returns
    -------
    str
        An SVG element: the `MOST_OFFICES` with the longest gaps, and the others as one.
    """
    rows = _measure_offices(found, say)
    with _styled():
        drawing = _Drawing(_HALF_IN, max(_HEIGHT_IN, 0.19 * len(rows) + 0.95))
        axes = drawing.add_axes(1.12, 0.42, 0.55, 0.45)
        for place, (name, sure, near) in enumerate(rows):
            axes.barh(-place, sure, height=0.62, **_SURE)
            _hatch_bar(axes, -place, sure, sure + near, height=0.62)
            total = write_length((sure + near) * 1000)
            beside = {"xytext": (3, 0), "textcoords": "offset points", "va": "center"}
            axes.annotate(total, (sure + near, -place), **beside)
            axes.text(
                -0.02,
                -place,
                drawing.hold(shorten(name, 16)),
                ha="right",
                va="center",
                transform=axes.get_yaxis_transform(),
            )
        axes.set_ylim(0.6 - len(rows), 0.6)
        axes.set_xlim(left=0)
        axes.set_yticks([])
        axes.xaxis.get_major_locator().set_params(nbins=4)
        axes.set_xlabel(drawing.hold(say("空白段长度，km", "Length of gaps, km")))
        entries = [
            (say("确定的空白", "certain"), _SURE),
            (say("靠近数据边缘，不能判定", "near the edge of the data"), _UNSURE),
        ]
        drawing.add_legend(axes, entries)
        label = say("各街道办空白段长度", "Length of gaps by subdistrict")
        return drawing.to_svg(label=label, salt=salt)


def _measure_offices(found: Findings, say: Say) -> list[tuple[str, float, float]]:
    """List name, certain gaps and gaps near the edge of the data in km, the longest first."""
    gaps = found.gaps
    if gaps is None:
        return []
    lengths = count_by_subdistrict(found)["gap_m"]
    order = lengths.sort_values(ascending=False, kind="stable")
    homes = gaps["subdistrict_id"].fillna(NOWHERE)
    near = gaps["length_m"].where(gaps["near_edge"], 0).groupby(homes).sum()
    rows = []
    for key, length in order.items():
        name = found.offices.get(str(key), say("无街道办", "no subdistrict"))
        unsure = near.get(key, 0.0)
        rows.append((name, (length - unsure) / 1000, unsure / 1000))
    rest = rows[MOST_OFFICES:]
    if rest:
        name = say(f"其余 {len(rest)} 个", f"{len(rest)} others")
        rows[MOST_OFFICES:] = [(name, sum(row[1] for row in rest), sum(row[2] for row in rest))]
    return rows


@contextmanager
def _styled() -> Iterator[None]:
    """Draw with these settings and no others, whatever the user's are, and give theirs back."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        settings: Any = mpl.rcParams
        settings.update(_SETTINGS)
        yield
