"""The printed report of one city: a page in Chinese and English that asks for nothing outside."""

from html import escape
from pathlib import Path

from survey.errors import OutputError
from survey.outputs.exports import write_files
from survey.outputs.offline import PLAIN_POLICY, check_offline, read_asset
from survey.outputs.report_facts import Findings, Holder, read_findings
from survey.outputs.report_html import Say, say_en, say_zh, shorten
from survey.outputs.report_lines import tell_date
from survey.outputs.report_method import HASH_SHOWN, write_manifest, write_method
from survey.outputs.report_quality import write_quality
from survey.outputs.report_summary import write_summary
from survey.outputs.report_tables import write_places, write_worst

LANGUAGES = ("zh", "en")
"""The languages of a report."""

_CODES = {"zh": "zh-CN", "en": "en"}
_SAYS: dict[str, Say] = {"zh": say_zh, "en": say_en}


def name_report(stem: str) -> str:
    """Name the file of a report that stands beside the maps of a city."""
    return f"{stem}-report.html"


def save_report(
    path: str | Path, workspace: Holder, *, lang: str = "zh", replace: bool = False
) -> Path:
    """Write the report of a city as one HTML file to be printed on A4, without any script.

    The first pages are for a leader: the numbers, what they mean, figures. Then follow tables by
    subdistrict and by kind of point, the worst gaps and the likeliest weak units, the quality of
    the data, the method, and the manifest. What the workspace does not hold yet is told in one
    line with the verb that makes it.

    Parameters
    ----------
    path
        The file to write.
    workspace
        What `open_workspace` opened; it must hold a frame.
    lang
        zh or en: the language that the page opens in, and that is printed. The other one is in
        the same file, behind a switch that is not printed.
    replace
        Overwrite a file that exists.

    Returns
    -------
    Path
        The file. The same workspace gives the same bytes.

    Raises
    ------
    OutputError
        If `lang` is neither, the file exists and `replace` is false, or it cannot be written.
    WorkspaceError
        If the workspace holds no frame yet; the message names the verb that makes it.
    TableError
        If a table cannot be read or breaks the data contract.
    """
    if lang not in LANGUAGES:
        raise OutputError(f"there is no report in {lang!r}; give zh or en")
    text = _write_page(read_findings(workspace), lang)
    check_offline(text)
    return write_files({Path(path): text.encode("utf-8", "replace")}, replace=replace)[0]


def _write_page(found: Findings, lang: str) -> str:
    name = escape(shorten(str(found.manifest["name"])))
    style = read_asset("report.css").decode("utf-8")
    switch = "".join(
        f'<input type="radio" name="lang" id="lang-{code}" autocomplete="off"'
        f'{" checked" if code == lang else ""}><label for="lang-{code}">{word}</label>'
        for code, word in (("zh", "中文"), ("en", "English"))
    )
    bodies = "".join(
        f'<main class="{code}" lang="{_CODES[code]}">{_write_body(found, code)}</main>\n'
        for code in LANGUAGES
    )
    return (
        f'<!DOCTYPE html>\n<html lang="{_CODES[lang]}">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{PLAIN_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name} · 检查准备报告 · Survey report</title>\n"
        f"<style>\n{style}{_write_footer(found)}</style>\n</head>\n<body>\n{switch}\n{bodies}</body>\n</html>\n"
    )


def _write_body(found: Findings, lang: str) -> str:
    say = _SAYS[lang]
    head = say("六个周边检查准备报告", "Report on the surroundings of fixed points")
    name = escape(shorten(str(found.manifest["name"])))
    facts = [
        say("地图数据日期：", "Map data of: ") + tell_date(found, say),
        say("名单摘要：", "Frame hash: ") + found.frame_hash[:HASH_SHOWN],
    ]
    line = "　".join(facts)
    parts = [
        f'<header><p class="kicker">{escape(head)}</p><h1>{name}</h1>',
        f'<p class="facts">{escape(line)}</p></header>',
        *write_summary(found, say, salt=f"survey-{lang}"),
        *write_places(found, say),
        *write_worst(found, say),
        *write_quality(found, say),
        *write_method(found, say),
        *write_manifest(found, say),
    ]
    return "\n".join(parts)


def _write_footer(found: Findings) -> str:
    """Write the rule that puts the city's name at the foot of each page, safe inside a style."""
    name = "".join(f"\\{ord(letter):06x}" for letter in shorten(str(found.manifest["name"]), 40))
    return f'@page {{ @bottom-left {{ content: "{name}"; }} }}\n'
