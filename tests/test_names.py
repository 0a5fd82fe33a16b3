import pytest
from hypothesis import given
from hypothesis import strategies as st

from survey import tables
from survey.frame.names import contradict, is_same, read_title


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("school", "南京五中", "南京市第五中学"),
        ("school", "南京市第13中学", "南京第十三中学"),
        ("school", "南京市三条巷小学", "三条巷小学"),
        ("school", "江苏省南京市第五中学", "南京五中"),
        ("school", "南京师范大学附小", "南京师范大学附属小学"),
        ("school", "南京五中（东校区）", "南京 五中"),
        ("hospital", "江苏省人民医院", "人民医院"),
        ("hospital", "南京市鼓楼医院", "南京鼓楼医院"),
        ("station", "新街口", "新街口地铁站"),
        ("station", "新街口站(2号线)", "新街口（1号线）"),
        ("station", "Central Station", "CENTRAL"),
        ("mall", "德基广场", "德基广场二期"),
        ("mall", "ＯＬＥ　超市", "Ole超市"),
        ("market", "科巷菜市场", "【科巷】科巷菜市场"),
        ("community", "五老村社区居委会", "洪武路街道五老村社区党群服务中心"),
    ],
)
def test_two_ways_of_writing_one_name(kind, one, other):
    """Widths, brackets, suffixes, towns, numerals and abbreviations do not make two names."""
    first, second = read_title([one], kind), read_title([other], kind)
    assert is_same(first, second)
    assert is_same(second, first)
    assert not contradict(first, second)


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("school", "南京一中", "南京二中"),
        ("school", "南京市第一中学", "南京市第十一中学"),
        ("school", "南京市第九中学", "南京市第九初级中学"),
        ("school", "光华小学", "光华中学"),
        ("school", "光华学校（小学部）", "光华学校（中学部）"),
        ("school", "南京大学", "南京大学附属小学"),
        ("hospital", "鼓楼医院", "鼓楼区医院"),
        ("hospital", "第一医院", "第二医院"),
        ("station", "白石洲", "白石洲长途汽车站"),
        ("mall", "五中", "第五中学"),
        ("mall", "臺北商場", "台北商场"),
    ],
)
def test_two_names(kind, one, other):
    """Other numbers, stages, districts and scripts are other names."""
    assert not is_same(read_title([one], kind), read_title([other], kind))


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("南京五中", "南京六中", True),
        ("十一中", "一中", True),
        ("南京市第五中学", "南京五中2号楼", False),
        ("光华小学", "光华中学", True),
        ("光华学校小学部", "光华中学", False),
        ("南京大学", "南京大学附属小学", True),
        ("南师附中", "南师附中国际部", False),
        ("南京大学", "医学院", False),
        ("三中心小学", "三中心小学分校", False),
    ],
)
def test_names_that_contradict(one, other, expected):
    """Numbers, stages and attachment tell two schools on one ground apart; parts do not."""
    assert contradict(read_title([one], "school"), read_title([other], "school")) is expected


@given(st.text(max_size=12), st.sampled_from(tables.KINDS))
def test_a_name_is_the_same_as_itself(name, kind):
    """Any text that is not blank is the same name as itself, and contradicts it in nothing."""
    title = read_title([name], kind)
    assert is_same(title, title) is bool(name.strip())
    assert not contradict(title, title)
