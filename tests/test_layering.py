import ast
import subprocess
import sys
from pathlib import Path

import pytest

import survey

HOME = Path(survey.__file__).parent
FILES = sorted(HOME.rglob("*.py"))
NAMES = [str(path.relative_to(HOME)) for path in FILES]

# Imports go down this list only: a stage may use what stands above it, and its own folder.
ORDER = (
    "errors",
    "memory",
    "tables",
    "summaries",
    "sources",
    "frame",
    "sampling",
    "coverage",
    "fieldwork",
    "outputs",
    "staging",
    "geopackage",
    "workspace",
    "records",
    "config",
    "fetching",
    "city",
    "batch",
    "cli",
    "__main__",
)
LEAVES = {"example": "frame"}  # may use frame and what stands above it, and no stage may use it
HOMES = {
    "osmnx": ("sources/area.py", "sources/overpass.py"),
    "osmium": ("sources/libosmium.py",),
    "folium": ("outputs/",),
    "branca": ("outputs/",),
    "click": ("cli",),
    "opening_hours": ("coverage/hours.py",),
    "matplotlib": ("outputs/report_figures.py",),
}
HEAVY = {"geopandas", "pandas", "scipy", "networkx", "shapely", "osmium", "osmnx", "folium"}
HEAVY |= {"matplotlib"}


def read(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def stage_of(name):
    """Name the stage of a module below `survey`: its folder, or its own name."""
    first = name.removeprefix("survey").strip(".").split(".")[0]
    return "cli" if first.startswith("cli_") else first


def imported(tree):
    """Yield the names of all modules imported anywhere in a file, also within functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                yield f"{node.module}.{alias.name}" if node.module == "survey" else node.module


def test_there_is_something_to_check():
    """The package's files are found, and each is of a stage that has its place in the order."""
    assert len(FILES) > 25
    stages = {stage_of(".".join(Path(name).with_suffix("").parts)) for name in NAMES}
    assert stages <= {*ORDER, *LEAVES, "__init__"}


@pytest.mark.parametrize("name", NAMES)
def test_imports_go_up_the_list(name):
    """A module imports only stages that stand above its own, and its own folder."""
    stage = stage_of(name.removesuffix(".py").replace("/", "."))
    if stage == "__init__":
        return  # the front door names every stage
    above = ORDER[: ORDER.index(LEAVES.get(stage, stage)) + 1]
    for module in imported(read(HOME / name)):
        if module.split(".")[0] == "survey" and module != "survey":
            assert stage_of(module) in above, f"{name} may not import {module}"


@pytest.mark.parametrize("name", NAMES)
def test_libraries_have_one_home(name):
    """Libraries osmnx, osmium, folium and click are imported only where they live."""
    for module in imported(read(HOME / name)):
        homes = HOMES.get(module.split(".")[0])
        assert homes is None or name.startswith(homes), f"{module} does not live in {name}"


def test_the_check_sees_what_is_forbidden():
    """An import against the order, or within a function, is seen by the checks above."""
    tree = ast.parse("def f():\n    from survey.cli import main\n    import folium.map\n")
    assert list(imported(tree)) == ["survey.cli", "folium.map"]
    assert list(imported(ast.parse("from survey import tables"))) == ["survey.tables"]
    assert stage_of("survey.cli_print") == "cli"
    assert stage_of("survey.frame.streets") == "frame"


def loaded_by(code):
    """Run some lines in a fresh interpreter; answer the top modules that are then loaded."""
    lines = f"import sys\n{code}\nprint('|', *{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", lines], capture_output=True, text=True, check=True, encoding="utf-8"
    )
    return set(done.stdout.rsplit("|", 1)[1].split())


def test_importing_the_package_is_light():
    """`import survey` loads no heavy library."""
    assert not loaded_by("import survey\nsurvey.__doc__") & HEAVY


def test_help_is_light():
    """`survey --help`, and the help of each verb, load no heavy library."""
    code = """
from survey.cli import cli, main
for verb in [None, *cli.commands]:
    sys.argv = ["survey", *([verb] if verb else []), "--help"]
    try:
        main()
    except SystemExit as end:
        assert end.code == 0, verb
"""
    loaded = loaded_by(code)
    assert "click" in loaded
    assert not loaded & HEAVY


def test_public_names_are_there():
    """Every public name resolves, once, and `dir` lists it."""
    names = [name for some in survey._HOMES.values() for name in some]
    assert sorted(names) == sorted(survey.__all__) == sorted(dir(survey))
    for name in names:
        assert getattr(survey, name).__name__ == name
    with pytest.raises(AttributeError, match="nothing_like_this"):
        survey.nothing_like_this  # noqa: B018 - reading it is the test


@pytest.mark.parametrize("name", NAMES)
def test_files_are_short(name):
    """A file has at most 400 lines, a function at most 60, its docstring included."""
    path = HOME / name
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
    for node in ast.walk(read(path)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno + 1 <= 60, f"{node.name} is too long"


def public(tree):
    """Yield the public functions, classes and methods of a module."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_public_has_a_docstring(name):
    """Each module, public function, class and method says what it does."""
    tree = read(HOME / name)
    assert ast.get_docstring(tree), f"{name} has no docstring"
    for node in public(tree):
        assert ast.get_docstring(node), f"{name}: {node.name} has no docstring"


@pytest.mark.parametrize("name", NAMES)
def test_only_the_command_line_catches_everything(name):
    """`except Exception` stands in the command line alone, where a bug gets its exit code."""
    for node in ast.walk(read(HOME / name)):
        if isinstance(node, ast.ExceptHandler) and name != "cli.py":
            assert node.type is not None
            names = {part.id for part in ast.walk(node.type) if isinstance(part, ast.Name)}
            assert not names & {"Exception", "BaseException"}
