"""Lines of a text file, read with bounded memory, with comments and blank lines left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO

from sdekit.errors import InputError

MAX_LINE = 2**24
"""Largest number of characters of a line, and of a record that spans several lines."""

COMMENTS = ("#", "%")
"""First characters of a comment line."""

FOREIGN = {
    b"\x1f\x8b": "is compressed with gzip: unpack it first",
    b"PK\x03\x04": "is a spreadsheet or a zip file: save the sheet as CSV in UTF-8, or convert it in Python with "
    "pandas.read_excel(PATH).to_csv('table.csv', index=False)",
    b"\xd0\xcf\x11\xe0": "is a spreadsheet: save the sheet as CSV in UTF-8",
    b"PAR1": "is a Parquet file: pass it as table:PATH",
    b"ARROW1": "is a Feather file: convert it in Python with pandas.read_feather(PATH).to_parquet('table.parquet')",
    b"FEA1": "is a Feather file: convert it in Python with pandas.read_feather(PATH).to_parquet('table.parquet')",
    b"\x89HDF": "is an HDF5 file: save the table as CSV",
    b"SQLi": "is a database: save the table as CSV",
    b"\x93NUMPY": "is a NumPy file: pass it as array:PATH",
}
"""Files that are not text, by their first bytes."""


class TableLines(Iterator[str]):
    """Lines of a table for a reader of records.

    Comments and blank lines are left out between records, but not inside a record that spans several lines. The reader
    calls `end_record` after each record.

    Arguments:
        file: Text file.
        source: Name of the file in messages.

    Attributes:
        number: Number of the last line, from 1.
        start: Number of the first line of the current record.
        comments: Number of comment lines so far.
        title: Last comment before the first record without its mark, or None.
    """

    def __init__(self, file: TextIO, source: str) -> None:
        self.number, self.start, self.comments = 0, 1, 0
        self.title: str | None = None
        self._file, self._source = file, source
        self._length, self._records = 0, 0

    def __next__(self) -> str:
        """Return the next line that is part of a record."""
        while line := self._file.readline(MAX_LINE + 1):
            self.number += 1
            self._length += len(line)
            if self._length > MAX_LINE:
                raise InputError(
                    f"{self._source}, line {self.start}: the line or record is longer than {MAX_LINE} characters; "
                    "expected one row of numbers in each line (a quotation mark may be missing)"
                )
            if self._length > len(line):
                return line
            stripped = line.strip()
            if stripped.startswith(COMMENTS):
                self.comments += 1
                self.title = stripped.lstrip("#%").strip() if not self._records else self.title
            elif stripped and not (self.number == 1 and stripped.lower().startswith("sep=")):  # written by Excel
                self.start = self.number
                return line
            self._length = 0
        raise StopIteration

    def end_record(self) -> None:
        """Note that the next line starts a record."""
        self._length = 0
        self._records += 1


def text_encoding(first: bytes, source: str) -> str:
    """Return the encoding of a text file from its first bytes: UTF-8, or UTF-16 with a byte-order mark.

    Arguments:
        first: First bytes of the file.
        source: Name of the file in messages.
    Returns:
        Name of the encoding.
    Raises:
        InputError: If the bytes belong to another kind of file.
    """
    for magic, problem in FOREIGN.items():
        if first.startswith(magic):
            raise InputError(f"{source} {problem}")
    return "utf-16" if first.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
