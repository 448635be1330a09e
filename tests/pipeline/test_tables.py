"""The one reader and writer of tables."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.errors import UserError
from pipeline.results import tables

NAMES = ["NA", "null", "nan", "None", "1e5", "007", "", "-", "true", "a,b", 'say "so"', " x ", "é"]


def test_names_stay_names_whatever_they_look_like(tmp_path: Path) -> None:
    table = pd.DataFrame({"clip": NAMES, "value": [1.5, np.nan, *range(len(NAMES) - 2)]})
    tables.write(tmp_path / "a.csv", table)
    found = tables.read(tmp_path / "a.csv")
    assert found["clip"].tolist() == NAMES
    np.testing.assert_array_equal(found["value"], table["value"])


CHARACTERS = st.characters(exclude_characters="\r\0", exclude_categories=["Cs"])
VALUES = st.one_of(st.none(), st.floats(allow_infinity=False))


@given(st.lists(st.tuples(st.text(CHARACTERS), VALUES), min_size=1))
def test_what_was_written_is_read(rows: list[tuple[str, float | None]]) -> None:
    table = pd.DataFrame(rows, columns=["source", "value"]).astype({"value": float})
    found = tables.parse(table.to_csv(index=False).encode(), "t")
    assert found["source"].tolist() == [name for name, _ in rows]
    np.testing.assert_allclose(found["value"].astype(float), table["value"], rtol=1e-14)


def test_numbers_keep_their_kind_and_missing_ones_are_nan(tmp_path: Path) -> None:
    table = pd.DataFrame({"of": [256, 2], "bits": [0.1234567, None], "series": ["x", None]})
    tables.write(tmp_path / "a.csv", table, "%.3g")
    assert (tmp_path / "a.csv").read_text() == "of,bits,series\n256,0.123,x\n2,,\n"
    found = tables.read(tmp_path / "a.csv")
    assert found["of"].dtype == int
    assert found["bits"].isna().tolist() == [False, True]
    assert found["series"].tolist() == ["x", ""]


def test_a_column_that_would_not_come_back_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="column 'colour' holds text"):
        tables.write(tmp_path / "a.csv", pd.DataFrame({"colour": ["red"]}))
    with pytest.raises(UserError, match="a file has a carriage return in it"):
        tables.write(tmp_path / "a.csv", pd.DataFrame({"file": ["a\rb"]}))
    assert not (tmp_path / "a.csv").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read as a table"),
        ("clip,value\na,1\nb,much\n", "column value holds 'much', which is no number"),
        ("clip,value\na,nan\n", "column value holds 'nan', which is no number"),
    ],
)
def test_what_is_no_table_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UserError, match=f"a.csv: {message}"):
        tables.read(tmp_path / "a.csv")
    with pytest.raises(UserError, match=r"b.csv: no such file"):
        tables.read(tmp_path / "b.csv")


def test_only_the_columns_that_are_asked_for_are_judged() -> None:
    found = tables.parse(b"clip,remark,value\n1,well,2\n", "t", ["clip", "value", "other"])
    assert found.to_dict("records") == [{"clip": "1", "value": 2}]
