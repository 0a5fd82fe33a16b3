import numpy as np
import pandas as pd

from survey.frame.quality import _gather


def test_notes_on_one_thing_are_one_row():
    """Values are summed, different texts joined in their order, and nothing is made up."""
    rows = [
        ("way/2", "merged_into", np.nan, "way/1: the same name"),
        ("city", "left_out", 2.0, "too small"),
        ("way/2", "merged_into", np.nan, "way/9: touches"),
        ("city", "left_out", 3.0, "too small"),
        ("city", "empty", 0.0, None),
        ("way/1", "merged_into", np.nan, ""),
    ]
    found = _gather(pd.DataFrame(rows, columns=["scope", "measure", "value", "note"]))
    found = found.astype(object).where(found.notna(), None)
    assert list(
        found[["scope", "measure", "value", "note"]].itertuples(index=False, name=None)
    ) == [
        ("city", "empty", 0.0, None),
        ("city", "left_out", 5.0, "too small"),
        ("way/1", "merged_into", None, None),
        ("way/2", "merged_into", None, "way/1: the same name; way/9: touches"),
    ]
    assert found["verdict"].eq("info").all()


def test_notes_may_have_no_values():
    """Notes of steps that count nothing have missing values; no notes are no rows."""
    notes = pd.DataFrame([("way/1", "not_a_point", "why")], columns=["scope", "measure", "note"])
    found = _gather(notes)
    assert found["value"].isna().tolist() == [True]
    assert found["note"].tolist() == ["why"]
    assert not len(_gather(notes[:0]))
