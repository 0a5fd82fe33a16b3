import json
import re
from pathlib import Path

import pytest

HOME = Path(__file__).parents[1]
NOTEBOOKS = sorted((HOME / "notebooks").glob("*.ipynb"))


def code_cells(notebook):
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_from_top_to_bottom(notebook, monkeypatch, tmp_path):
    """A notebook runs offline on the data of the project, and writes only into maps."""
    (tmp_path / "data").symlink_to(HOME / "data")
    monkeypatch.chdir(tmp_path)
    space = {}
    for cell in code_cells(notebook):
        exec("".join(cell["source"]), space)
    assert {path.name for path in tmp_path.iterdir()} <= {"data", "maps"}


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_committed_without_outputs(notebook):
    """A notebook is kept without outputs, and no cell is longer than 15 lines."""
    for cell in code_cells(notebook):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
        assert len(cell["source"]) <= 15


def test_example_in_the_readme_runs(monkeypatch, tmp_path):
    """The notebook example in the README does what it says."""
    text = (HOME / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    (tmp_path / "data").symlink_to(HOME / "data")
    monkeypatch.chdir(tmp_path)
    space = {}
    exec(example, space)
    assert (tmp_path / "maps" / "monaco.html").is_file()
    assert space["survey"].verify_round(space["frame"], space["reach"], space["draw"]).accepted
