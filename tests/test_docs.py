import re
from pathlib import Path

import pytest

from survey.tables import TABLES

DOCS = Path(__file__).parents[1] / "docs"


def rows():
    text = (DOCS / "tables.md").read_text(encoding="utf-8")
    return {
        cells[0]: cells[1:]
        for cells in re.findall(r"^\| `(\w+)` \| (.*?) \| (.*) \|$", text, re.MULTILINE)
    }


@pytest.mark.parametrize("name", TABLES)
def test_every_table_and_column_is_documented(name):
    """The page of tables names each table with its key and every column."""
    key, columns = rows()[name]
    assert tuple(re.findall(r"`(\w+)`", key)) == TABLES[name].key
    documented = set(re.findall(r"`(\w+)`", f"{key} {columns}"))
    assert set(TABLES[name].columns) <= documented


HOME = DOCS.parent
PAIRS = (
    (HOME / "README.md", HOME / "README.zh-CN.md"),
    (DOCS / "first-map.md", DOCS / "first-map.zh-CN.md"),
)
PAGES = [*(page for pair in PAIRS for page in pair), *sorted(DOCS.glob("*.md"))]


def read(page):
    return page.read_text(encoding="utf-8")


def list_verbs(text):
    """List the verbs of the program's lines, in code, tables and prose."""
    return set(re.findall(r"(?:^|[`\\/])survey ([a-z]+)\b", text, re.MULTILINE))


def list_links(text):
    return [link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]


@pytest.mark.parametrize(("english", "chinese"), PAIRS, ids=lambda page: page.stem)
def test_the_chinese_page_keeps_step_with_the_english_one(english, chinese):
    """Both have the same sections in order, verbs, options, configs and links, and link across."""
    one, other = read(english), read(chinese)
    levels = [re.findall(r"^(#+) ", text, re.MULTILINE) for text in (one, other)]
    assert levels[0] == levels[1]
    assert list_verbs(one) == list_verbs(other)
    rows = [re.findall(r"^\| `(.*?)` \|", text, re.MULTILINE) for text in (one, other)]
    assert rows[0] == rows[1]
    configs = [re.findall(r"```toml\n(.*?)```", text, re.DOTALL) for text in (one, other)]
    assert configs[0] == configs[1]
    own = {english.name, chinese.name}
    links = [{Path(link).name for link in list_links(text)} - own for text in (one, other)]
    same = [{name.replace(".zh-CN", "") for name in names} for names in links]
    assert same[0] <= same[1]
    assert f"({chinese.name})" in one
    assert f"({english.name})" in other


@pytest.mark.parametrize("page", dict.fromkeys(PAGES), ids=lambda page: page.name)
def test_links_lead_to_files(page):
    """Every link from a page to a file of the project leads to one."""
    for link in list_links(read(page)):
        assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", dict.fromkeys(PAGES), ids=lambda page: page.name)
def test_every_verb_on_a_page_is_known(page):
    """A page names no verb that the program does not have."""
    from survey.cli import cli

    assert list_verbs(read(page)) <= set(cli.commands)


def test_the_readme_names_every_verb():
    """Each verb of the program stands in README."""
    from survey.cli import cli

    assert list_verbs(read(HOME / "README.md")) == set(cli.commands)
