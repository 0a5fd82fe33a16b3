import ast
import json
import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest

import survey
from browser import open_page

HOME = Path(__file__).parents[1]
NOTEBOOKS = sorted((HOME / "notebooks").glob("*.ipynb"))


def read_cells(notebook):
    return json.loads(notebook.read_text(encoding="utf-8"))["cells"]


def code_cells(notebook):
    return [cell for cell in read_cells(notebook) if cell["cell_type"] == "code"]


def run_cell(source, space):
    """Run a cell as a notebook does: give what it prints, and the value of its last line."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    with redirect_stdout(StringIO()) as said:
        exec(compile(tree, "cell", "exec"), space)
        value = last and eval(compile(ast.Expression(last.value), "cell", "eval"), space)
    return said.getvalue(), value


@pytest.fixture
def place(monkeypatch, tmp_path):
    """Go to an empty folder that has nothing but the data of the project."""
    (tmp_path / "data").symlink_to(HOME / "data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    return tmp_path


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_from_top_to_bottom(notebook, place):
    """A notebook runs offline on the data of the project, and writes only into maps.

    What it shows can be shown, and it ends with an answer in words that has numbers in it.
    """
    import matplotlib.pyplot as plt

    space, shown = {}, []
    for cell in code_cells(notebook):
        said, value = run_cell("".join(cell["source"]), space)
        shown += [value._repr_html_()] if hasattr(value, "_repr_html_") else []
    assert {path.name for path in place.iterdir()} <= {"data", "maps"}
    assert any("<table" in html for html in shown)
    assert any("<iframe" in html for html in shown) or plt.get_fignums()
    assert not [html for html in shown if "https://cdn" in html]
    assert re.search(r"\d", said)
    assert len(said.splitlines()) >= 3
    plt.close("all")


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_committed_without_outputs(notebook):
    """A notebook is kept without outputs, and no cell is longer than 15 lines."""
    for cell in code_cells(notebook):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
        assert len(cell["source"]) <= 15


def test_notebooks_are_numbered_and_link_to_what_is_there():
    """Notebooks are numbered from 00 without a hole, begin with a title, and links lead on."""
    assert [path.name[:3] for path in NOTEBOOKS] == [f"0{n}-" for n in range(len(NOTEBOOKS))]
    for notebook in NOTEBOOKS:
        first, *others = read_cells(notebook)
        assert first["source"][0].startswith("# ")
        text = "".join(line for cell in (first, *others) for line in cell["source"])
        for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
            assert (notebook.parent / link).exists(), link


def test_example_in_the_readme_runs(place):
    """The notebook example in the README does what it says."""
    text = (HOME / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    space = {}
    exec(example, space)
    assert (place / "maps" / "monaco.html").is_file()
    assert space["survey"].verify_round(space["frame"], space["reach"], space["draw"]).accepted


def test_a_map_in_a_notebook_asks_for_nothing():
    """What a notebook shows of a map is the page of the file, so that it needs no internet."""
    page = survey.draw_map(survey.example_town())
    shown = page._repr_html_()
    assert "cdn.jsdelivr.net" not in shown
    assert "Content-Security-Policy" in shown
    assert shown == survey.draw_map(survey.example_town())._repr_html_()
    assert page._repr_html_() == shown


def test_a_map_with_online_tiles_is_shown_as_folium_does():
    """Where somebody adds what is to be fetched, the map is still shown."""
    import folium

    page = survey.draw_map(survey.example_town())
    folium.TileLayer("OpenStreetMap").add_to(page)
    assert "tile.openstreetmap.org" in page._repr_html_()


@pytest.mark.browser
def test_a_table_is_explored_on_a_map(tmp_path):
    """`GeoDataFrame.explore` lays a table over a map of ours, and the file shows it offline."""
    town = survey.example_town()
    page = survey.draw_map(town)
    assert town.alleys.explore(m=page, tooltip="name", color="black") is page
    with open_page(survey.save_offline(page, tmp_path / "town.html")) as seen:
        count = """() => {
            const page = Object.values(window).find(one => one instanceof L.Map);
            const layers = Object.values(page._layers);
            return layers.filter(one => one.feature && one.options.color === "black").length;
        }"""
        assert seen.page.evaluate(count) == len(town.alleys)
        assert not seen.complaints


def test_a_notebook_that_shows_nothing_is_seen():
    """A last line that is a statement gives nothing, an expression gives its value."""
    assert run_cell("a = 1", {}) == ("", None)
    said, value = run_cell("print('x')\npd.Series([1])", {"pd": pd})
    assert (said, value.tolist()) == ("x\n", [1])
