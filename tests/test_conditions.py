from types import SimpleNamespace

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import Point

from survey.errors import InputError, LayerError
from survey.example import example_town
from survey.sampling.conditions import as_condition, read_condition

TAKE = "take ids or names from its alleys and compounds"
OF_ONE = (
    "it is compared with the condition, so give a number within [0, 1], such as 0.6 for 60 of 100"
)
BLANKS = "they are listed as missing, and nothing is guessed"
CHANCE = "1 - condition is taken as the chance that a unit fails"
TOWN = example_town()
UNITS = [
    *(("alley", f"alley/{number}") for number in (3, 5, 7, 8, 9)),
    *(("compound", f"way/{number}") for number in (201, 202, 203)),
]


def frame_of(alleys, compounds):
    """Make the unit tables of a frame from id to name."""
    return SimpleNamespace(
        alleys=pd.DataFrame({"alley_id": list(alleys), "name": list(alleys.values())}),
        compounds=pd.DataFrame({"compound_id": list(compounds), "name": list(compounds.values())}),
    )


# Ids and names that stand twice: within a layer, and in both.
TWINS = frame_of({"1": "解放巷", "2": "解放巷", "3": "花园"}, {"1": "花园", "4": "东苑", "5": None})


@pytest.fixture
def write(tmp_path):
    """Write text to a file and return its path."""

    def write(text, *, name="scores.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_text(text, encoding=encoding)
        return path

    return write


def known(condition):
    """Return the conditions by unit_id."""
    return dict(zip(condition.table["unit_id"], condition.table["condition"], strict=True))


def fault_of(path, frame=TOWN, **options):
    """Return what is said of a file, without the path that it starts with."""
    with pytest.raises(LayerError) as caught:
        read_condition(path, frame, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message.removeprefix(str(path)).lstrip(": ")


# --- what can be read


def test_ids_scores_and_costs(write):
    """Scores of 100 become shares of 1 in the order of keys, with costs; the rest is missing."""
    path = write("单元编号,得分,费用\nway/203,85,\nalley/5,60,1200.5\nalley/7,,3\n")
    found = read_condition(path, TOWN, greatest=100)
    assert found.table.drop(columns="cost").to_numpy().tolist() == [
        ["alley", "alley/5", 0.6],
        ["compound", "way/203", 0.85],
    ]
    np.testing.assert_array_equal(found.table["cost"], [1200.5, np.nan])
    assert list(found.missing) == ["layer", "unit_id", "name"]
    missing = [unit for unit in UNITS if unit[1] not in ("alley/5", "way/203")]
    assert [*found.missing[["layer", "unit_id"]].itertuples(index=False, name=None)] == missing
    assert found.missing["name"].isna().tolist() == [False, False, True, False, False, False]
    assert found.notes == (
        f"the condition is column '得分' divided by 100; {CHANCE}",
        f"6 of 8 units have no condition (1 blank, 5 without a row); {BLANKS}",
    )


def test_names_where_there_is_no_id(write):
    """Units are found by name, whatever its width, case and spaces; costs may be absent."""
    path = write("名称,状况\n桂花巷,1\n 柳 叶弄,0\n东苑,0.25\n", encoding="gb18030")
    found = read_condition(path, TOWN)
    assert known(found) == {"alley/5": 1, "alley/7": 0, "way/203": 0.25}
    assert found.table["cost"].isna().all()


def test_an_excel_file(tmp_path):
    """A sheet of numbers and blanks is read as the CSV of it would be."""
    path = tmp_path / "scores.xlsx"
    pd.DataFrame({"alley_id": ["alley/3", "alley/5"], "Score": [0.5, None]}).to_excel(
        path, index=False
    )
    found = read_condition(path, TOWN)
    assert known(found) == {"alley/3": 0.5}
    assert len(found.missing) == 7


def test_a_vector_file(tmp_path):
    """The attributes of features are rows, and their geometry is not looked at."""
    path = tmp_path / "scores.geojson"
    table = gpd.GeoDataFrame(
        {"unit_id": ["alley/3"], "condition": [0.5]}, geometry=[Point(0, 0)], crs="EPSG:4326"
    )
    table.to_file(path)
    assert known(read_condition(path, TOWN)) == {"alley/3": 0.5}
    assert known(as_condition(table, TOWN)) == {"alley/3": 0.5}


def test_a_table_is_as_good_as_its_file(write):
    """A DataFrame gives what its CSV gives, also where gaps made whole ids into floats."""
    table = pd.DataFrame(
        {"编号": [2.0, np.nan, 4.0], "name": [None, "花园", pd.NA], "类别": ["", "小区", None]}
    ).assign(condition=[1, 0.5, 0.1 + 0.2], cost=[np.nan, 0, 7])
    table.index = [5, 5, 9]
    before = table.copy()
    found = as_condition(table, TWINS)
    pd.testing.assert_frame_equal(table, before)
    read = read_condition(write(table.to_csv(index=False).replace(".0,", ",")), TWINS)
    pd.testing.assert_frame_equal(found.table, read.table)
    pd.testing.assert_frame_equal(found.missing, read.missing)
    assert known(found) == {"2": 1, "1": 0.5, "4": 0.1 + 0.2}


def test_a_layer_tells_twins_apart(write):
    """An id and a name that stand in both layers are told apart by the layer, in any words."""
    text = "编号,名称,类别,score\n1,,背街小巷,0.1\n1,,小区,0.2\n,花园,Alleys,0.3\n"
    found = read_condition(write(text), TWINS)
    assert found.table.drop(columns="cost").to_numpy().tolist() == [
        ["alley", "1", 0.1],
        ["alley", "3", 0.3],
        ["compound", "1", 0.2],
    ]


def test_the_name_of_an_id_column_says_the_layer(write):
    """In columns alley_id and compound_id, an id needs no layer and goes before column id."""
    text = "id,alley_id,compound_id,condition\n7,1,,0.1\n8,,1,0.2\n"
    found = read_condition(write(text), TWINS)
    assert found.table["layer"].tolist() == ["alley", "compound"]
    assert found.table["condition"].tolist() == [0.1, 0.2]


def test_numbers_of_the_users_own_are_no_ids(write):
    """If no id is in the frame and there are names, names are used, and a note says so."""
    found = read_condition(write("编号,名称,状况\n11,东苑,0.5\n12,北街,1\n"), TOWN)
    assert known(found) == {"way/203": 0.5, "alley/3": 1}
    assert found.notes[0] == (
        "none of the file's ids is in the frame, so units were found by their names"
    )


def test_a_column_of_choice(write):
    """A column can be named, exactly or up to case and brackets, among several."""
    path = write("unit_id,得分,分数,Lamps (0-1)\nalley/3,0.1,0.2,0.3\n")
    assert known(read_condition(path, TOWN, column="分数")) == {"alley/3": 0.2}
    assert known(read_condition(path, TOWN, column="lamps")) == {"alley/3": 0.3}


def test_fails_below_decides(write):
    """Below the limit a unit fails for certain; at the limit and above it does not."""
    path = write("unit_id,得分\nalley/3,59.9\nalley/5,60\nalley/7,100\nalley/8,0\n")
    found = read_condition(path, TOWN, greatest=100, fails_below=0.6)
    assert known(found) == {"alley/3": 0, "alley/5": 1, "alley/7": 1, "alley/8": 0}
    assert found.notes[0] == (
        "a unit fails for certain where column '得分' divided by 100 is below 0.6, else it does not"
    )


def test_nothing_is_missing(write):
    """With a condition for every unit nothing is missing, and no note speaks of it."""
    text = "layer,unit_id,condition\n" + "".join(f"{layer},{name},1\n" for layer, name in UNITS)
    found = read_condition(write(text), TOWN)
    assert len(found.table) == 8
    assert found.missing.empty
    assert len(found.notes) == 1


def test_a_frame_without_compounds(write):
    """A frame of one layer can have conditions too."""
    found = read_condition(write("unit_id,condition\n2,1\n"), frame_of({"1": None, "2": None}, {}))
    assert known(found) == {"2": 1}
    assert found.missing["unit_id"].tolist() == ["1"]


@settings(max_examples=40, deadline=None)  # building tables is slow
@given(st.lists(st.integers(0, 50), min_size=8, max_size=8), st.permutations(range(8)))
def test_order_and_scale_do_not_matter(scores, order):
    """Rows in any order, and scores of any greatest, give the same conditions."""
    table = pd.DataFrame(UNITS, columns=["layer", "unit_id"]).assign(score=scores)
    found = as_condition(table, TOWN, greatest=50)
    other = table.assign(score=table["score"] * 4).iloc[order]
    pd.testing.assert_frame_equal(found.table, as_condition(other, TOWN, greatest=200).table)
    assert found.table["condition"].tolist() == [score / 50 for score in scores]


# --- what is refused


@pytest.mark.parametrize(
    ("text", "options", "fault"),
    [
        ("", {}, "holds no rows; it should have one for each unit"),
        (
            "unit_id,备注\nalley/3,1\n",
            {},
            (
                "no column says the condition (condition, 状况, score, 得分, 分数, 评分); name the"
                " one to take: the columns are 'unit_id', '备注'"
            ),
        ),
        (
            "unit_id,得分\nalley/3,1\n",
            {"column": "lamps"},
            "no column is called 'lamps'; name the one to take: the columns are 'unit_id', '得分'",
        ),
        (
            "unit_id,得分,score\nalley/3,1,1\n",
            {},
            "columns 'score', '得分' all hold the condition; name the one to take",
        ),
        (
            "unit_id,得分,费用,造价\nalley/3,1,1,1\n",
            {},
            "columns '费用', '造价' all hold the cost; keep one of them",
        ),
        (
            "街,得分\nalley/3,1\n",
            {},
            (
                "no column says the unit (unit_id, alley_id, compound_id, 编号, name, 名称); the"
                " columns are '街', '得分'"
            ),
        ),
        (
            "unit_id,得分\nalley/3,好\nalley/5,nan\nalley/7,inf\nalley/8,1\n",
            {},
            (
                "column '得分': '好' in row 2, 'nan' in row 3, 'inf' in row 4 is no number; leave"
                " blank what is not known"
            ),
        ),
        (
            "unit_id,得分\nalley/3,95\nalley/5,1\n",
            {},
            (
                "column '得分': '95' in row 2 lies outside [0, 1]; where it is a score, pass the"
                " greatest score there can be (greatest=100)"
            ),
        ),
        (
            "unit_id,得分\nalley/3,101\nalley/5,-1\n\nalley/7,100\n",
            {"greatest": 100},
            "column '得分': '101' in row 2, '-1' in row 3 lies outside [0, 100]; mend these cells",
        ),
        (
            "unit_id,得分\nalley/3,-0.1\n",
            {},
            "column '得分': '-0.1' in row 2 lies outside [0, 1]; mend these cells",
        ),
        (
            "unit_id,得分\nalley/3,\nalley/5,\n",
            {},
            "column '得分' is blank in every row; give the condition of one unit at least",
        ),
        (
            "unit_id,得分\nalley/3,1\na,1\nb,1\na,1\nc,1\nd,1\n",
            {},
            f"not in the frame: 'a' in rows 3, 5, 'b' in row 4, 'c' in row 6 and 1 more; {TAKE}",
        ),
        (
            "名称,类别,得分\n东苑,小巷,1\n",
            {},
            f"not in the frame: '东苑' in row 2; {TAKE}",
        ),
        (
            "unit_id,类别,得分\nalley/3,市场,1\n",
            {},
            "the layer '市场' in row 2 is unknown; allowed are alley 背街小巷, compound 小区",
        ),
        (
            "unit_id,名称,得分\nalley/3,桂花巷,1\nalley/5,Sweet Lane,1\n",
            {},
            "an id whose name is that of another unit: 'alley/3' in row 2; mend the id or the name",
        ),
        (
            "unit_id,名称,得分\nalley/5,,1\n,桂花巷,0\nalley/3,,1\n",
            {},
            (
                "units that stand there more than once: 'alley alley/5' in rows 2, 3; keep one row"
                " of each"
            ),
        ),
        (
            "unit_id,得分,造价\nalley/3,1,-5\nalley/5,1,贵\n",
            {},
            (
                "column '造价': '贵' in row 3 is no number; leave blank what is not known; column"
                " '造价': the cost '-5' in row 2 is below 0; mend these cells"
            ),
        ),
        (
            "unit_id,得分\nalley/3,1\n",
            {"fails_below": 60},
            "fails_below is 60; " + OF_ONE,
        ),
        (
            "unit_id,得分\nalley/3,1\n",
            {"fails_below": float("nan")},
            "fails_below is nan; " + OF_ONE,
        ),
    ],
)
def test_every_fault_is_one_line(write, text, options, fault):
    """Each fault says what was found, where, and what to do."""
    assert fault_of(write(text), **options) == fault


@pytest.mark.parametrize("greatest", [0, -1, float("nan"), float("inf")])
def test_a_greatest_score_that_is_none(write, greatest):
    """The greatest score is a number above 0."""
    path = write("unit_id,得分\nalley/3,0\n")
    assert fault_of(path, greatest=greatest).startswith(
        f"the greatest score is {greatest}; give a number above 0"
    )


def test_ambiguous_ids_and_names(write):
    """What may be several units is refused with how to tell them apart."""
    text = "编号,名称,得分\n1,,1\n,解放巷,1\n,花园,1\n4,,1\n"
    assert fault_of(write(text), TWINS) == (
        "several units of the frame: '1' in row 2, '解放巷' in row 3, '花园' in row 4; give the"
        " unit_id, or the layer (alley 背街小巷, compound 小区)"
    )


def test_units_without_a_name_are_not_found_by_one(write):
    """A blank name is no name, though units of the frame have none either."""
    text = "编号,名称,得分\n5,,1\n,,1\n"
    message = fault_of(write(text), TWINS)
    assert message == "neither id nor name in row 3; say which units these are"


def test_all_faults_at_once(write):
    """One message lists every fault of a file."""
    path = write("unit_id,类别,得分,费用\nalley/3,x,2,-1\nalley/5,小巷,?,1\nalley/5,,1,1\nz,,1,1\n")
    message = fault_of(path, fails_below=2)
    for part in (
        "fails_below is 2",
        "the layer 'x' in row 2",
        "not in the frame: 'z' in row 5",
        "'alley alley/5' in rows 3, 4",
        "'?' in row 3 is no number",
        "'2' in row 2 lies outside",
        "the cost '-1' in row 2",
    ):
        assert part in message
    assert message.count("; ") == 13


def test_faults_of_a_table_and_of_features(tmp_path):
    """A table's rows are called by its index, a vector file's by the number of the feature."""
    table = gpd.GeoDataFrame(
        {"unit_id": ["alley/3", "z"], "score": [1, 1]}, geometry=[Point(0, 0)] * 2, crs=4326
    )
    with pytest.raises(LayerError) as fault:
        as_condition(table.set_index(pd.Index([7, 40])), TOWN)
    assert str(fault.value) == f"the table: not in the frame: 'z' in row 40; {TAKE}"
    path = tmp_path / "scores.gpkg"
    table.to_file(path)
    assert fault_of(path) == f"not in the frame: 'z' in feature 2; {TAKE}"


def test_a_file_that_is_not_there(tmp_path):
    """A missing file is an InputError that names it."""
    with pytest.raises(InputError, match=r"none\.csv does not exist"):
        read_condition(tmp_path / "none.csv", TOWN)
