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
