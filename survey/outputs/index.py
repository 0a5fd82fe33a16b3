"""The page that leads to the maps, the report and the tables of a folder."""

from collections.abc import Iterable, Mapping
from html import escape
from pathlib import PurePath
from urllib.parse import quote

from survey.outputs.map_parts import Story
from survey.outputs.offline import PLAIN_POLICY, check_offline, read_asset
from survey.outputs.page import COPYRIGHT
from survey.outputs.texts import Pair, Text

_REPORT = (
    Pair("检查准备报告：打印", "Report: to be printed"),
    Pair(
        "两页给领导看：数字、含义、先做什么；其后是表格、数据质量和方法",
        "Two pages for leaders: the numbers, what they mean, what to do first; then tables, quality"
        " of the data, method",
    ),
)
_WORKSPACE = Pair("工作空间：全部表格，可用 QGIS 打开", "Workspace: every table, opens in QGIS")
_TABLES = {
    "nodes": Pair("街道节点", "Nodes of the streets"),
    "edges": Pair("街道路段", "Pieces of street"),
    "points": Pair("固定点位", "Fixed points"),
    "alleys": Pair("背街小巷", "Alleys"),
    "compounds": Pair("小区", "Compounds"),
    "toilets": Pair("公共卫生间", "Toilets"),
    "candidates": Pair("可开放单位", "Institutions that could open theirs"),
    "facilities": Pair("其他设施", "Other facilities"),
    "doors": Pair("出入口在街道上的位置", "Where places meet the street"),
    "subdistricts": Pair("街道办事处", "Subdistricts"),
    "quality": Pair("数据可信程度", "How far the data can be trusted"),
    "reach": Pair("点位到单元的距离", "Distances from points to units"),
    "catchments": Pair("点位周边范围", "Ground around the points"),
    "rounds": Pair("轮次：种子、方案", "Rounds: seed, design"),
    "draws": Pair("轮次抽中的单元和备选", "Units drawn by the rounds, and replacements"),
    "mocks": Pair("模拟轮次", "Mock rounds"),
    "odds": Pair("入样概率", "Odds of being drawn"),
    "priorities": Pair("整改次序", "What to mend first"),
    "audit": Pair("各口径的达标比例", "Share that meets each rule"),
    "shares": Pair("分街道办、分点位的达标比例", "Shares by subdistrict and around points"),
    "checks": Pair("逐个点位、小区的判定", "Findings at points and compounds"),
    "covered": Pair("达标路段", "Street that meets the rule"),
    "gaps": Pair("空白段", "Gaps"),
    "sites": Pair("补点", "Where to open or build"),
}


def write_index(
    city: str, stories: Mapping[str, Story], others: Iterable[str], foot: Iterable[Text]
) -> str:
    """Write the page in both languages, without a script.

    Parameters
    ----------
    city
        The heading.
    stories
        Name of a map's file to what the map tells.
    others
        Names of other files: the report, the workspace, tables.
    foot
        Figures, source, date, seed and hash.

    Raises
    ------
    OutputError
        If the text would ask for an outside address.
    """
    names = list(others)
    cards = {name: (story.title, story.line) for name, story in stories.items()}
    cards |= dict.fromkeys((name for name in names if name.endswith(".html")), _REPORT)
    maps = "".join(
        f'<li><a href="{quote(name)}">{_write_both(title)}</a>'
        f'<p lang="zh-CN">{escape(line.zh)}</p><p lang="en">{escape(line.en)}</p></li>\n'
        for name, (title, line) in cards.items()
    )
    files = "".join(
        f'<li><a href="{quote(name)}">{escape(name)}</a>'
        f"<span>{_write_both(_describe(name))}</span></li>\n"
        for name in names
        if name not in cards
    )
    told = "".join(f"<p>{_write_both(text)}</p>\n" for text in foot)
    style = read_asset("index.css").decode()
    text = (
        '<!DOCTYPE html>\n<html lang="zh-CN">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{PLAIN_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(city)} · 全部地图 · All maps</title>\n<style>\n{style}</style>\n</head>\n"
        f'<body>\n<h1>{escape(city)}</h1>\n<ul class="maps">\n{maps}</ul>\n'
        f'<ul class="others">\n{files}</ul>\n'
        f'<footer>{told}<p><a href="{COPYRIGHT}">© OpenStreetMap contributors, ODbL 1.0</a></p>'
        "</footer>\n</body>\n</html>\n"
    )
    check_offline(text)
    return text


def _describe(name: str) -> Text:
    path = PurePath(name)
    return _WORKSPACE if path.suffix == ".gpkg" else _TABLES.get(path.stem, "")


def _write_both(text: Text) -> str:
    if isinstance(text, Pair) and text.zh != text.en:
        zh, en = map(escape, text)
        return f'<span lang="zh-CN">{zh}</span> · <span lang="en">{en}</span>'
    return escape(text.zh if isinstance(text, Pair) else text or "")
