"""Tables that people write, as spreadsheets save them: what is wrong is named with its line."""

import csv
import io
from collections.abc import Collection
from pathlib import Path

from codec.errors import UserError

Row = dict[str, str]
"""Fields by the names of their columns in lower case."""


def rows(path: Path, needed: Collection[str]) -> list[tuple[int, Row]]:
    """The rows of a table, each with its line; none of the ``needed`` columns is missing or empty.

    Commas, semicolons or tabs; with a byte order mark or none; spaces around names and values and
    empty fields at the end of a row mean nothing. Raises UserError for what is no such table, or
    has no row.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8, in which it is to be saved") from error
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    table = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    try:
        lines = [(table.line_num, [field.strip() for field in row]) for row in table]
    except csv.Error as error:
        raise UserError(f"{path}: line {table.line_num}: {error}") from error
    columns = [name.lower() for name in lines[0][1]] if lines else []
    for name in needed:
        if name not in columns:
            raise UserError(f"{path}: has no column `{name}`; its columns: {', '.join(columns)}")
    for name in filter(None, columns):
        if columns.count(name) > 1:
            raise UserError(f"{path}: has two columns `{name}`")
    found = []
    for number, fields in lines[1:]:
        if not any(fields):
            continue
        if any(fields[len(columns) :]):
            raise UserError(
                f"{path}: line {number} has {len(fields)} fields, for {len(columns)} columns; "
                "a field with a separator in it needs quotes"
            )
        fields += [""] * (len(columns) - len(fields))
        row = dict(zip(columns, fields, strict=False))
        for name in needed:
            if not row[name]:
                raise UserError(f"{path}: line {number}: column `{name}` is empty")
        found.append((number, row))
    if not found:
        raise UserError(f"{path}: has no row below the names of its columns")
    return found
