"""Every table of the bench, as CSV: one reader and one writer.

A column is text or numbers by its name, never by what its cells look like: a clip called NA, null,
1e5 or 007 keeps its name. An empty cell is the one way to say that something is missing; it is
read as "" in text and as NaN among numbers.
"""

import csv
import io
from collections.abc import Collection, Iterable
from pathlib import Path

import pandas as pd
from pandas.api.types import is_numeric_dtype

from codec.errors import UserError
from codec.files import write_text

TEXT = frozenset({
    "about", "chosen", "clip", "codec", "coder", "details", "file", "kind", "language", "licence",
    "metric", "model", "origin", "point", "provenance", "reason", "reference", "series", "source",
    "split", "stimulus", "system", "timeline",
})  # fmt: skip
"""Columns of names and sentences; all others hold numbers."""


def write(path: Path, table: pd.DataFrame, floats: str | None = None) -> None:
    """Write ``table`` in one step, floats in the format ``floats`` (all digits where None).

    Raises ValueError for a column that ``read`` would not give back: text that is not in ``TEXT``;
    UserError for a name with a carriage return, which Python's writer leaves without quotes.
    """
    for name in table:
        known = table[name].dropna()
        if name in TEXT and any("\r" in str(value) for value in known):
            raise UserError(f"{path}: a {name} has a carriage return in it; rename that file")
        if name not in TEXT and not (known.empty or is_numeric_dtype(known.infer_objects())):
            raise ValueError(f"{path}: column {name!r} holds text, and is not in tables.TEXT")
    write_text(path, table.to_csv(index=False, float_format=floats))


def read(path: Path, columns: Collection[str] | None = None) -> pd.DataFrame:
    """The table of ``path``; with ``columns`` only those of them that it has.

    Raises UserError where there is no such file, or no such table in it.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; `dvc repro` makes it") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    return parse(data, str(path), columns)


def read_all(paths: Iterable[Path]) -> pd.DataFrame:
    """The rows of several tables, one after the other; an empty table where there are none."""
    found = [read(path) for path in paths]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def parse(data: bytes, name: str, columns: Collection[str] | None = None) -> pd.DataFrame:
    """The table that ``data`` holds; ``name`` stands for it in errors."""
    try:
        header = next(csv.reader(io.StringIO(data.decode(), newline="")), [])
        kept = [column for column in header if columns is None or column in columns]
        table = pd.read_csv(
            io.BytesIO(data),
            usecols=kept,
            dtype={column: str for column in kept if column in TEXT},
            keep_default_na=False,
            na_values={column: [""] for column in kept if column not in TEXT},
        )
    except ValueError as error:
        raise UserError(f"{name}: cannot be read as a table: {error}") from error
    for column in table:
        if column not in TEXT and not is_numeric_dtype(table[column]):
            numbers = pd.to_numeric(table[column], errors="coerce")
            wrong = table[column][numbers.isna() & table[column].notna()]
            if len(wrong):
                raise UserError(
                    f"{name}: column {column} holds {wrong.iloc[0]!r}, which is no number"
                )
    return table
