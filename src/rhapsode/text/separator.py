"""What separates the columns of a table: a comma, or what spreadsheets put for it in other countries.

In a .tsv file it is a tab. In a .csv file the first line may say it (``sep=;``, as Excel has it); else it is the first
of `SEPARATORS` that makes a header of the first row, with a column that was asked for by name; else the first that cuts
every row at the beginning into the same number of columns, at least two; else a comma.
"""

from __future__ import annotations

import contextlib
import csv
import re
from collections.abc import Iterable, Sequence

SEPARATORS = (",", ";", "\t")
LOOKED_AT = 200
"""Lines at the beginning of a file."""


def stated(line: str) -> str | None:
    """The separator that the line states, if it does nothing else."""
    found = re.fullmatch(r"sep=([^\w\s\"]|\t)(\r?\n|\r)", line)
    return found[1] if found else None


def separator(lines: Sequence[str], names: Iterable[str]) -> str:
    """What separates the columns of a .csv file that begins with these lines.

    Args:
        names: of columns that are asked for, of which some may be numbers.
    """
    wanted = set(names)
    tables = {mark: _rows(lines, mark) for mark in SEPARATORS}
    for mark, rows in tables.items():
        if rows and wanted.intersection(rows[0]):
            return mark
    for mark, rows in tables.items():
        if rows and {len(row) for row in rows} == {len(rows[0])} != {1}:
            return mark
    return SEPARATORS[0]


def _rows(lines: Sequence[str], mark: str) -> list[list[str]]:
    """The rows that are not empty, as far as they can be read; without the last where it may go on after `lines`."""
    rows: list[list[str]] = []
    with contextlib.suppress(csv.Error):
        rows.extend(filter(None, csv.reader(lines, delimiter=mark)))
    return rows[:-1] if len(lines) == LOOKED_AT else rows
