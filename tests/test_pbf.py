import json
import os
from pathlib import Path

import numpy as np
import osmium
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osmxml import write_osm
from pbfs import blob, block, dense, field, varint, way, write_pbf, zigzag
from survey.sources import tag_texts
from survey.sources.contents import read_contents
from survey.sources.features import FEATURE_KEYS
from survey.sources.libosmium import convert_file
from survey.sources.pbf import FAULTS
from survey.sources.pbf_blocks import Objects
from survey.sources.tag_texts import write_tags
from survey.sources.varints import (
    UnusualError,
    count_up,
    read_messages,
    read_varint,
    split_message,
    split_strings,
    sum_up,
    unpack,
    unzigzag,
)

DATA = Path(__file__).parent.parent / "data"
KEYS = ("highway", *FEATURE_KEYS)
WORDS = st.integers(0, 2**64 - 1) | st.integers(0, 300) | st.sampled_from([2**7, 2**56, 2**63])


def read(path, keys=KEYS, *, dated=True):
    return read_contents(path, keys, dated=dated)


def split(values, counts):
    return [part.tolist() for part in np.split(values, np.cumsum(counts))[:-1]]


def tags_of(contents, objects):
    """Tags of each object, as a dictionary."""
    both = [split(column, objects.tag_count) for column in (objects.keys, objects.values)]
    return [
        {contents.strings[key]: contents.strings[value] for key, value in zip(*pair, strict=True)}
        for pair in zip(*both, strict=True)
    ]


def listed(contents):
    """All that was read, as plain Python."""
    nodes, ways, relations = contents.nodes, contents.ways, contents.relations
    where = zip(contents.places.x.tolist(), contents.places.y.tolist(), strict=True)
    return {
        "places": dict(zip(contents.places.ids.tolist(), where, strict=True)),
        "nodes": dict(zip(nodes.ids.tolist(), tags_of(contents, nodes), strict=True)),
        "ways": list(
            zip(
                ways.ids.tolist(),
                tags_of(contents, ways),
                split(ways.refs, ways.ref_count),
                strict=True,
            )
        ),
        "relations": list(
            zip(
                relations.ids.tolist(),
                tags_of(contents, relations),
                split(relations.refs, relations.ref_count),
                strict=True,
            )
        ),
        "newest": contents.newest,
    }


def by_library(path, keys=KEYS):
    """List the same by the objects of the osmium library."""
    found = {"places": {}, "nodes": {}, "ways": [], "relations": [], "newest": 0}
    for item in osmium.FileProcessor(str(path)):
        tags = {tag.k: tag.v for tag in item.tags}
        wanted = any(key in tags for key in keys)
        if wanted:
            found["newest"] = max(found["newest"], int(item.timestamp.timestamp()))
        if item.is_node():
            if item.location.valid():
                found["places"][item.id] = (item.location.x, item.location.y)
            if wanted:
                found["nodes"][item.id] = tags
        elif item.is_way():
            refs = [node.ref for node in item.nodes]
            found["ways"].append((item.id, tags if wanted else {}, refs))
        elif wanted:
            members = [member.ref for member in item.members if member.type == "w"]
            found["relations"].append((item.id, tags, members))
    return found


# -- numbers -------------------------------------------------------------------------------------


@given(st.lists(WORDS))
def test_numbers_come_back(numbers):
    """Numbers of up to 64 bits are decoded as they were encoded."""
    data = b"".join(map(varint, numbers))
    assert unpack(np.frombuffer(data, dtype=np.uint8)).tolist() == numbers


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_signed_numbers_come_back(numbers):
    """Numbers with a sign are decoded as they were encoded."""
    data = b"".join(map(zigzag, numbers))
    assert unzigzag(unpack(np.frombuffer(data, dtype=np.uint8))).tolist() == numbers


@pytest.mark.parametrize("data", [b"\x80" * 10 + b"\1", b"\xff" * 9 + b"\2", b"\1\x80"])
def test_numbers_that_are_too_long_or_cut(data):
    """A number of more than 64 bits or without an end is refused."""
    with pytest.raises((ValueError, OverflowError)):
        unpack(np.frombuffer(data, dtype=np.uint8))


def test_one_number_that_is_too_long_or_cut():
    """Likewise where numbers are read one by one."""
    assert read_varint(b"\x05\x96\x01", 1) == (150, 3)
    with pytest.raises(ValueError, match="64 bits"):
        read_varint(b"\x80" * 10 + b"\1", 0)
    with pytest.raises(IndexError):
        read_varint(b"\x80", 0)


@given(st.lists(st.lists(st.integers(-50, 50), max_size=5), min_size=1))
def test_runs_are_summed_up_apart(runs):
    """Sums begin anew in each run, also behind empty ones; ranges are joined likewise."""
    counts = np.array([len(run) for run in runs])
    flat = np.array([one for run in runs for one in run], dtype=np.int64)
    assert sum_up(flat, counts).tolist() == [
        sum(run[: n + 1]) for run in runs for n in range(len(run))
    ]
    first = np.arange(len(runs)) * 10
    joined = [10 * row + n for row, run in enumerate(runs) for n in range(len(run))]
    assert count_up(first, counts).tolist() == joined


# -- messages ------------------------------------------------------------------------------------


@given(
    st.lists(
        st.permutations([1, 2, 5, 900]).flatmap(
            lambda order: st.integers(0, 4).map(lambda size: order[:size])
        )
    )
)
def test_messages_are_found_in_step(orders):
    """Fields are found in any order, also where some messages lack them or have unknown ones."""
    content = {1: 77, 2: b"\1\x80\1\3", 5: b"", 900: b"unknown"}
    messages = [b"".join(field(key, content[key]) for key in order) for order in orders]
    data = np.frombuffer(b"".join(messages), dtype=np.uint8)
    stop = np.cumsum([len(message) for message in messages]).astype(np.int64)
    at = stop - np.array([len(message) for message in messages], dtype=np.int64)
    found = read_messages(data, at, stop, {1: 0, 2: 2, 5: 2})
    assert found.value(1, 5).tolist() == [77 if 1 in order else 5 for order in orders]
    count, numbers = found.values(2)
    assert count.tolist() == [3 if 2 in order else 0 for order in orders]
    assert numbers.tolist() == [1, 128, 3] * sum(2 in order for order in orders)
    assert found.has(5).tolist() == [5 in order for order in orders]
    assert found.values(5)[0].tolist() == [0] * len(orders)


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (field(1, 5) + field(1, 6), UnusualError),
        (field(1, b"\5"), UnusualError),
        (field(2, 5), UnusualError),
        (varint(3 << 3 | 1) + bytes(8), UnusualError),
        (varint(2 << 3 | 2) + b"\7abc", ValueError),
        (varint(2 << 3 | 2) + varint(2**40) + b"abc", ValueError),
        (field(2, b"\1\x80"), ValueError),
        (varint(1 << 3), ValueError),
        (b"\x80", ValueError),
    ],
)
def test_messages_that_are_not_understood(message, error):
    """A field twice or of another type needs a full reader; one that overruns is broken."""
    data = np.frombuffer(message + b"\1\1\1\1", dtype=np.uint8)
    with pytest.raises(error) as fault:
        read_messages(data, np.array([0]), np.array([len(message)]), {1: 0, 2: 2}).values(2)
    assert isinstance(fault.value, UnusualError) == (error is UnusualError)


def test_fields_are_split():
    """Fields are found by their tags; what overruns is broken, other types need a full reader."""
    data = field(1, 300) + field(2, b"ab") + field(2, b"") + field(20, 1)
    assert split_message(data, 0, len(data)) == {
        8: ([300], [3]),
        18: ([5, 9], [7, 9]),
        160: ([1], [12]),
    }
    assert split_strings(field(1, b"a" * 200) + field(1, b""), 0, 205) == [b"a" * 200, b""]
    for broken in (b"\x12\5ab", b"\x12", b"\x0a\5ab"):
        with pytest.raises((ValueError, IndexError)):
            split_message(broken, 0, len(broken))
        with pytest.raises((ValueError, IndexError)):
            split_strings(broken, 0, len(broken))
    with pytest.raises(UnusualError):
        split_message(b"\x11" + bytes(8), 0, 9)
    with pytest.raises(UnusualError):
        split_strings(field(2, b"a"), 0, 3)


# -- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("city", ["monaco", "nanjing", "nanshan"])
def test_real_files_object_by_object(city):
    """Places, tags, node and way lists and the newest date are what the osmium library reads."""
    folder = DATA if city == "monaco" else Path(os.environ.get("SURVEY_TEST_DATA", ""))
    if city != "monaco" and "SURVEY_TEST_DATA" not in os.environ:
        pytest.skip("SURVEY_TEST_DATA is unset: the extracts of Nanjing and Nanshan are not here")
    path = folder / f"{city}.osm.pbf"
    assert listed(read(path)) == by_library(path)


def draw_all(path):
    """Draw an .osm with all that may be awkward."""
    nodes = {
        -5: (7.4, 43.7, {"amenity": "toilets"}),
        2**40: (7.5, 43.7, {"name": "no feature", "note": ""}),
        3: (-179.9999999, -84.1234567, {"shop": "", "名": "公厕 & <b>\U0001f6bb"}),
        4: (180.0, 90.0),
        **{10 + n: (100 + n / 700, n / -900) for n in range(9000)},
    }
    ways = {
        -1: ([-5, 3], {"highway": "service"}),
        1: ([], {}),
        2: ([10, 9, 2**40, 10], {"building": "yes", "empty": ""}),
        **{10 + n: ([10 + n, 11 + n], {"highway": "x", "n": str(n)}) for n in range(300)},
    }
    relations = {
        1: ([("way", 2, "outer"), ("node", 3, ""), ("way", -1, "")], {"landuse": "x"}),
        2: ([], {"boundary": "administrative"}),
        3: ([("relation", 1, "")], {"type": "site"}),
        2**50: ([("way", 2**50, "")], {"amenity": "y"}),
    }
    return write_osm(path, nodes=nodes, ways=ways, relations=relations)


def convert(source, target, style):
    with osmium.SimpleWriter(osmium.io.File(str(target), style)) as writer:
        osmium.apply(osmium.io.Reader(str(source)), writer)
    return target


@pytest.mark.parametrize(
    "style",
    [
        "pbf",
        "pbf,pbf_compression=none",
        "pbf,pbf_dense_nodes=false",
        "pbf,pbf_dense_nodes=false,add_metadata=none",
        "pbf,add_metadata=none",
        "pbf,locations_on_ways=true",
        "pbf,history=true",
        "pbf,history=true,pbf_dense_nodes=false",
    ],
)
def test_however_a_file_is_written(tmp_path, style):
    """Files of any style give what the osmium library reads."""
    path = convert(draw_all(tmp_path / "a.osm"), tmp_path / "a.osm.pbf", style)
    assert listed(read(path)) == by_library(path)


def test_only_what_is_asked_for_has_tags(tmp_path):
    """Objects without a key that is asked for have no tags; without the wish there is no date."""
    path = convert(draw_all(tmp_path / "a.osm"), tmp_path / "a.osm.pbf", "pbf")
    found = listed(read(path, {"landuse"}, dated=False))
    assert found["nodes"] == {}
    assert all(not tags for _, tags, _ in found["ways"])
    assert [number for number, _, _ in found["relations"]] == [1]
    assert found["newest"] == 0
    assert len(found["ways"]) == 303


def test_units_and_offsets(tmp_path):
    """Places and dates are told in units and from offsets that the block names."""
    strings = ["shop", "mall"]
    nodes = dense([7], [-3], [5], tags=[1, 2, 0], timestamps=[12])
    units = {"granularity": 1050, "lat_offset": -1000, "lon_offset": 99, "date_granularity": 2500}
    found = listed(read(write_pbf(tmp_path / "a.pbf", block(strings, nodes, **units))))
    assert found["places"] == {7: (53, -41)}  # 5349 and -4150 in 1e-9 degrees, towards zero
    assert found["newest"] == 30
    assert found == by_library(tmp_path / "a.pbf")


def test_places_off_the_globe_are_none(tmp_path):
    """A node beyond 180 degrees east or 90 degrees north has no place."""
    nodes = dense([1, 2, 3, 4], [0, 900_000_000, 900_000_001, 0], [1_800_000_000, 0, 0, -(2**33)])
    found = listed(read(write_pbf(tmp_path / "a.pbf", block([], nodes))))
    assert found["places"] == {1: (1_800_000_000, 0), 2: (0, 900_000_000)}


def test_deleted_objects_are_not_read(tmp_path):
    """Of a file with history, what is deleted is left out."""
    gone = field(6, 0)
    nodes = dense([1, 2], [0, 0], [0, 9], tags=[1, 2, 0, 1, 2, 0], visible=[1, 0])
    plain = field(1, field(1, 6) + field(8, 2) + field(9, 2) + field(4, gone))
    ways = [way(1, [1, 2], [1], [2], gone), way(2, [1, 2], [1], [2], field(1, 3))]
    data = block(["shop", "mall"], nodes, plain, *ways)
    needs = ("OsmSchema-V0.6", "DenseNodes", "HistoricalInformation")
    found = listed(read(write_pbf(tmp_path / "a.pbf", data, needs=needs)))
    assert found["places"] == {1: (0, 0)}
    assert list(found["nodes"]) == [1]
    assert found["ways"] == [(2, {"shop": "mall"}, [1, 2])]


def test_last_of_equal_ids_counts_and_order_does_not_matter(tmp_path):
    """Nodes are found whatever their order; of two with one id the later one counts."""
    nodes = dense([9, 3, 9], [1, 2, 3], [10, 20, 30])
    contents = read(write_pbf(tmp_path / "a.pbf", block([], nodes)))
    rows = contents.locate(np.array([3, 9, 4]))
    assert contents.places.x[rows[:2]].tolist() == [20, 30]
    assert rows[2] == -1


def test_nodes_behind_a_way_have_no_place_for_it(tmp_path):
    """A way finds the nodes that stand before it in the file, and no others."""
    parts = [dense([1], [1], [1]), way(5, [1, 2]), dense([2], [2], [2]), way(6, [1, 2])]
    contents = read(write_pbf(tmp_path / "a.pbf", block([], *parts)))
    turn = np.repeat(contents.turns[1], contents.ways.ref_count)
    assert (contents.locate(contents.ways.refs, turn) >= 0).tolist() == [True, False, True, True]
    assert (contents.locate(contents.ways.refs) >= 0).all()


GOOD = block(["shop", "mall"], dense([1], [1], [1], tags=[1, 2, 0]), way(5, [1, 2], [1], [2]))
BROKEN = {
    "no header": blob("OSMData", GOOD),
    "header twice": blob("OSMHeader", b"") * 2,
    "other part": blob("OSMHeader", b"") + blob("Other", GOOD),
    "long header": blob("OSMHeader", b"", head_size=70_000) + bytes(70_000),
    "long part": blob("OSMHeader", b"") + blob("OSMData", GOOD, size=2**26),
    "cut": blob("OSMHeader", b"") + blob("OSMData", GOOD)[:-1],
    "cut in its size": blob("OSMHeader", b"") + b"\0\0",
    "says too little": blob("OSMHeader", b"") + blob("OSMData", GOOD, raw_size=3),
    "says too much": blob("OSMHeader", b"") + blob("OSMData", GOOD, raw_size=2**20),
    "bomb": blob("OSMHeader", b"") + blob("OSMData", bytes(2**26), raw_size=2**26),
    "no zlib": blob("OSMHeader", b"") + blob("OSMData", GOOD, pack=bytes.upper),
    "no block": blob("OSMHeader", b"") + blob("OSMData", b"\x0a\x05hello"),
    "unknown need": blob("OSMHeader", field(4, b"Future")) + blob("OSMData", GOOD),
}


@pytest.mark.parametrize("name", BROKEN)
def test_files_that_are_refused(tmp_path, name):
    """A file that is broken in its frame is refused."""
    path = tmp_path / "a.pbf"
    path.write_bytes(BROKEN[name])
    with pytest.raises(FAULTS):
        read(path)


@pytest.mark.parametrize(
    "data",
    [
        block(["shop"], way(1, [1], [1], [9])),
        block(["shop"], way(1, [1], [1, 1], [1])),
        block(["shop"], field(3, field(8, b"\2"))),
        block(["shop"], dense([1, 2], [1], [1, 2])),
        block(["shop"], dense([1], [1], [1], tags=[1, 0])),
        block(["shop"], dense([1], [1], [1], tags=[1, 1])),
        block(["shop"], dense([1], [1], [1], tags=[1, 1, 0, 0])),
        block(["shop"], dense([1], [1], [1], timestamps=[1, 2])),
        block(["shop"], field(1, field(1, 2) + field(8, 2))),
        block(
            ["shop"], field(4, field(1, 2) + field(2, b"\1") + field(3, b"\1") + field(9, b"\2"))
        ),
        block(["shop"], field(7, b"")),
        block(["shop"], dense([1], [1], [1]) + way(1, [1])),
        field(2, dense([1], [1], [1])),
        block([], way(1, [])) + b"\x12",
    ],
)
def test_blocks_that_are_refused(tmp_path, data):
    """A block whose lists do not match, or that names strings it does not hold, is refused."""
    with pytest.raises(FAULTS):
        read(write_pbf(tmp_path / "a.pbf", data))


def test_text_that_is_none(tmp_path):
    """Strings that are no UTF-8 are refused where they are needed, and not read elsewhere."""
    data = block(["shop", "mall"], way(1, [1], [1], [2])).replace(b"mall", b"m\xffll")
    path = write_pbf(tmp_path / "a.pbf", data)
    with pytest.raises(UnicodeDecodeError):
        read(path)
    assert read(path, {"highway"}).strings == []


@settings(max_examples=150, deadline=None)
@given(
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4),
    st.sampled_from(["flip", "cut", "insert", "delete"]),
)
def test_damage_is_noticed_or_harmless(tmp_path_factory, packed, places, how):
    """Whatever bytes are changed, reading ends in a fault that is expected, or in objects."""
    folder = tmp_path_factory.getbasetemp()
    path = folder / "damaged.osm.pbf"
    style = "pbf" if packed else "pbf,pbf_compression=none,pbf_dense_nodes=false"
    whole = folder / f"whole-{packed}.osm.pbf"
    if not whole.exists():
        nodes = {n: (n / 9, n / 7, {"shop": "x"} if n % 3 else {}) for n in range(1, 40)}
        ways = {n: ([n, n + 1, n + 2], {"highway": "x"}) for n in range(1, 30)}
        relations = {1: ([("way", 1, "outer")], {"landuse": "x"})}
        text = write_osm(folder / "a.osm", nodes=nodes, ways=ways, relations=relations)
        convert(text, whole, style)
    data = bytearray(whole.read_bytes())
    for at, byte in places:
        spot = at % (len(data) + 1)
        part = {
            "flip": bytes([byte]),
            "cut": data[spot:],
            "insert": bytes([byte]) * 2,
            "delete": b"",
        }
        data[spot : spot + (how in {"flip", "delete"})] = part[how]
        if how == "cut":
            del data[spot:]
    path.write_bytes(data)
    try:
        contents = read(path)
    except FAULTS:
        return
    assert len(contents.places.ids) == len(contents.places.x) == len(contents.places.y)
    for objects in (contents.nodes, contents.ways, contents.relations):
        assert objects.tag_count.sum() == len(objects.keys) == len(objects.values)
        assert objects.ref_count.sum() == len(objects.refs)
        assert (objects.keys < len(contents.strings)).all()


def test_conversion_keeps_everything(tmp_path):
    """A file of another kind is converted whole, and what is deleted stays so."""
    source = draw_all(tmp_path / "a.osm")
    plain = convert_file(source, tmp_path)
    assert listed(read(plain)) == by_library(source)
    text = source.read_text(encoding="utf-8").replace('<way id="2"', '<way id="2" visible="false"')
    source.write_text(text, encoding="utf-8")
    plain.unlink()
    numbers = [number for number, _, _ in listed(read(convert_file(source, tmp_path)))["ways"]]
    assert 2 not in numbers
    assert len(numbers) == 302


# -- tags as text --------------------------------------------------------------------------------

TEXT = st.text(max_size=3)
TAGS = st.lists(st.tuples(TEXT, TEXT), max_size=4)


def gather(rows):
    """Objects with tags, and the table of their strings."""
    strings = sorted({text for row in rows for pair in row for text in pair}, reverse=True)
    numbers = [[strings.index(text) for pair in row for text in pair] for row in rows]
    flat = np.array([one for row in numbers for one in row], dtype=np.int64)
    counts, nothing = np.array([len(row) for row in rows], dtype=np.int64), np.zeros(len(rows), int)
    return Objects(np.arange(len(rows)), counts, flat[::2], flat[1::2], nothing, flat[:0]), strings


@pytest.mark.parametrize("primes", [None, (0, 0, 0)])
@settings(max_examples=100)
@given(rows=st.lists(TAGS))
def test_tags_are_written_as_by_json(primes, rows):
    """Tags become what json.dumps makes of them, also if all sums of different tags are equal."""
    with pytest.MonkeyPatch.context() as patch:
        if primes is not None:
            patch.setattr(tag_texts, "_PRIMES", primes)
        texts = write_tags(*gather(rows))
    expected = [json.dumps(dict(row), ensure_ascii=False, sort_keys=True) for row in rows]
    assert texts.tolist() == expected


def test_equal_tags_share_one_text():
    """Objects with equal tags, in whatever order, have one text object in memory."""
    row = [("b", "1"), ("a", "2")]
    texts = write_tags(*gather([row, [("c", "1")], row[::-1], row]))
    assert texts[0] is texts[2] is texts[3]
    assert texts[0] == '{"a": "2", "b": "1"}'
