import pytest

from survey.outputs.terms import write_classes, write_reasons
from survey.outputs.texts import Pair


@pytest.mark.parametrize(
    ("reason", "zh"),
    [
        ("residential, named …巷", "居住区道路，名称含“巷”"),
        ("unnamed service=alley", "无名小巷（service=alley）"),
        ("unnamed pedestrian, chained", "无名步行街，顺向相连的几段"),
        (
            "2 buildings, building=apartments, named after its streets",
            "2 栋建筑，公寓楼，以周边街道命名",
        ),
        ("in the city's register; residential, named", "列入本市名册，居住区道路，有名称"),
        ("landuse=residential", "居住用地"),
        ("residential=gated", "residential=gated"),
    ],
)
def test_reasons_are_told_in_chinese(reason, zh):
    """Each phrase of a reason has its Chinese term; what has none stays as it is."""
    assert write_reasons([reason]) == [Pair(zh, reason)]


def test_missing_cells_stay_missing():
    """A unit of the register without a street has no class, and the page says nothing of it."""
    assert write_classes([None, "steps", "via_ferrata"]) == [
        None,
        Pair("台阶", "steps"),
        Pair("via_ferrata", "via_ferrata"),
    ]
