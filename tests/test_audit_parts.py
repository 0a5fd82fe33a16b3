"""An audit is the same however its work is shared out, and in whatever parts it is done."""

import ctypes
import os

import numpy as np
import pandas as pd
import pytest
import shapely
from geopandas.testing import assert_geodataframe_equal

import survey
from survey.coverage import around, intervals, shares
from survey.coverage.around import SegmentGrid
from survey.coverage.intervals import measure_by_crow, read_segments
from survey.memory import give_back

RULES = ["crow-300", "walk-500", "crow-500"]


@pytest.fixture(scope="module")
def town():
    return survey.example_town()


def same(one, other):
    for name, table in one.tables.items():
        equal = assert_geodataframe_equal if "geometry" in table else pd.testing.assert_frame_equal
        equal(table, other.tables[name])


def test_one_core_finds_what_two_find(town, monkeypatch):
    """The rows of an audit come in the order of the rules, on one core as on two."""
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    two = survey.audit_coverage(town, rules=RULES)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    one = survey.audit_coverage(town, rules=RULES)
    assert list(one.summary["rule_id"]) == RULES
    same(one, two)


def test_rules_together_are_rules_alone(town):
    """A rule that is audited beside others gives the table that it gives alone."""
    together = survey.audit_coverage(town, rules=RULES)
    alone = [survey.audit_coverage(town, rules=[rule]) for rule in RULES]
    for name in ("summary", "shares"):
        table = pd.concat([getattr(part, name) for part in alone], ignore_index=True)
        pd.testing.assert_frame_equal(table, getattr(together, name))


def test_small_parts_make_the_same_whole(town, monkeypatch):
    """An audit that is done a few pieces at a time finds the same."""
    whole = survey.audit_coverage(town, rules=RULES)
    monkeypatch.setattr(intervals, "_AT_ONCE", 3)
    monkeypatch.setattr(around, "_PAIRS_AT_ONCE", 2)
    monkeypatch.setattr(shares, "_PIECES_AT_ONCE", 2)
    same(whole, survey.audit_coverage(town, rules=RULES))


def test_no_edge_is_in_two_parts(town, monkeypatch):
    """Parts by crow are cut between edges, and leave none out."""
    monkeypatch.setattr(intervals, "_AT_ONCE", 1)
    chosen = town.streets.edges["walkable"].to_numpy()
    parts = measure_by_crow(town, read_segments(town, chosen), 500)
    edges = np.concatenate([part["edge"].unique() for part in parts])
    assert list(edges) == list(np.flatnonzero(chosen & (town.streets.length_mm > 0)))


def test_looking_inside_leaves_shapes_as_they_are(town):
    """The shapes that street is looked for in are not prepared: other threads may hold them."""
    shapes = shapely.multipolygons([shapely.box(0, 0, 50, 50)], indices=[0])
    chosen = town.streets.edges["walkable"].to_numpy()
    SegmentGrid.of(read_segments(town, chosen)).find_inside(shapes)
    assert not shapely.is_prepared(shapes).any()


def test_a_system_without_the_function_gives_nothing_back(monkeypatch):
    """Where the C library cannot give memory back, nothing happens."""

    def refuse(_name):
        raise OSError

    give_back()
    monkeypatch.setattr(ctypes, "CDLL", refuse)
    give_back()
