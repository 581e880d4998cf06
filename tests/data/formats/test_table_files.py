"""Tables: delimiters, headers, labels, and errors with line and column."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdekit.data import InMemoryDataset, coordinate_names
from sdekit.data.formats import table, table_layout, table_lines
from sdekit.errors import InputError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "t.csv"


@pytest.mark.parametrize("delimiter", [",", ";", "\t", ", "])
@pytest.mark.parametrize("header", [True, False])
def test_read(file: Path, delimiter: str, header: bool) -> None:
    rows = ([["a", "b"]] if header else []) + [["1", "10.5"], ["2", "-1e1"], ["4", "0"]]
    file.write_text("\n".join(delimiter.join(row) for row in rows) + "\n\n")
    data = table(str(file))
    assert coordinate_names(data.columns) == (("a", "b") if header else ("column1", "column2"))
    assert len(data) == 3 and data.shape == (2,) and data.classes == 0
    x, y = data.batch([0, 1, 2])
    assert y is None and x.mean(0).abs().max() < 1e-6
    assert abs(x.std(0, correction=0) - 1).max() < 1e-6
    np.testing.assert_allclose(data.units.to_data(x), np.array([[1, 10.5], [2, -10], [4, 0]]), rtol=1e-6, atol=1e-6)


def test_one_column_quotes_and_byte_order_mark(file: Path) -> None:
    file.write_bytes('\ufeff"height, m"\r\n1\r\n"2"\r\n'.encode())
    data = table(str(file), scale="none")
    assert coordinate_names(data.columns) == ("height, m",) and data.batch([0, 1]).x.flatten().tolist() == [1, 2]


def test_text_labels(file: Path) -> None:
    file.write_text("a,kind,b\n1,dog,2\n3,cat,4\n5,dog,7\n")
    data = table(str(file), label="kind")
    y = data.batch([0, 1, 2]).y
    assert coordinate_names(data.columns) == ("a", "b") and data.class_names == ("cat", "dog") and data.classes == 2
    assert y is not None and y.tolist() == [1, 0, 1]


def test_number_labels(file: Path) -> None:
    file.write_text("1,10\n2,9\n3,10.0\n")
    data = table(str(file), label="column2")
    y = data.batch([0, 1, 2]).y
    assert data.class_names == ("9", "10") and y is not None and y.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3,x\n", "line 3, column 'b': 'x'; expected a finite number"),
        ("a,b\n1,2\n\n ,4\n", "line 4, column 'a': an empty cell"),
        ("a,b\n1,nan\n", "line 2, column 'b': 'nan'"),
        ("1,2\n3,inf\n", "line 2, column 'column2': 'inf'"),
        ("1,2\n3,4\nx,5\n", "line 3, column 'column1': 'x'"),
        ("2019,b\n3,4\n", "1 rows"),
        ("a,b\n1,2\n1,2,3\n", "line 3: 3 cells; expected 2"),
        ("a,b\n", "0 rows of numbers; expected at least 2"),
        ("a,b\n1,2\n", "1 rows"),
        ("\n", "is empty"),
        ("", "is empty"),
    ],
)
def test_bad_cells(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        table(str(file))


@pytest.mark.parametrize(
    ("text", "label", "message"),
    [
        ("a,b\n1,2\n3,4\n", "c", "no column named 'c'; the columns are a, b"),
        ("a,a\n1,2\n3,4\n", "a", "2 columns named 'a'"),
        ("a,b\n1,0.5\n3,4\n", "b", "line 2, column 'b': label 0.5; expected whole numbers or text"),
        ("a,b\n1,x\n3,\n", "b", "line 3, column 'b': the label is missing"),
        ("a\n1\n3\n", "a", "no column except the label"),
    ],
)
def test_bad_labels(file: Path, text: str, label: str, message: str) -> None:
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        table(str(file), label=label)


def test_bad_files(file: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        table(str(file))
    file.write_bytes(b"\xff1,2\n")
    with pytest.raises(InputError, match="cannot be read as text"):
        table(str(file))


@pytest.mark.parametrize("last", ['7,"8', '"7,8'])
def test_quote_left_open(file: Path, last: str) -> None:
    """The line is told where the record begins, not the last of the file."""
    file.write_text(f"a,b\n1,2\n{last}\n" + "5,6\n" * 40)
    with pytest.raises(InputError, match=r"t.csv, line 3\b.*a quotation mark may be missing"):
        table(str(file))
    file.write_text(f"a,b\n1,2\n{last}\n" + "5,6\n" * 40_000)  # beyond the largest cell that csv takes
    with pytest.raises(InputError, match=r"t.csv, line 3\b.*a quotation mark may be missing"):
        table(str(file))


def test_lines_after_a_record_of_several(file: Path) -> None:
    file.write_text('a,b\n1,"2\n"\n\n3,x\n')
    with pytest.raises(InputError, match="line 5, column 'b': 'x'; expected a finite number. Correct"):
        table(str(file))


def read(file: Path, text: str, **options: Any) -> InMemoryDataset:
    file.write_text(text)
    return table(str(file), scale="none", **options)


def rows(data: InMemoryDataset) -> list[list[float]]:
    return data.array.tolist()


@pytest.mark.parametrize(
    ("text", "columns", "expected"),
    [
        ("0,1\n0.5,1.5\n2.5,3.5\n", ("0", "1"), [[0.5, 1.5], [2.5, 3.5]]),  # written by pandas without names
        ("0,1\n3,4\n5,6\n", ("0", "1"), [[3, 4], [5, 6]]),
        ("0,1\n1,0\n0,1\n", ("column1", "column2"), [[0, 1], [1, 0], [0, 1]]),  # the first row occurs again
        ("0\n0.5\n2.5\n", ("0",), [[0.5], [2.5]]),
        ("0\n1\n2\n", ("column1",), [[0], [1], [2]]),
        ("400,410,420\n0.1,0.2,0.3\n0.4,0.5,0.6\n", ("400", "410", "420"), [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]),
        ("2019,b\n3,4\n5,6\n", ("2019", "b"), [[3, 4], [5, 6]]),
        (",0,1\n0,0.5,1.5\n1,2.5,3.5\n", ("0", "1"), [[0.5, 1.5], [2.5, 3.5]]),  # written by pandas with an index
        (",a,b\n7,0.5,1.5\n3,2.5,3.5\n", ("a", "b"), [[0.5, 1.5], [2.5, 3.5]]),
        ('"","a"\n"1",0.5\n"2",2.5\n', ("a",), [[0.5], [2.5]]),  # written by R
        ("a b\n1 0.5 1.5\n2 2.5 3.5\n", ("a", "b"), [[0.5, 1.5], [2.5, 3.5]]),  # written by write.table of R
        (",a\n0.1,0.5\n0.2,2.5\n", ("column1", "a"), [[0.1, 0.5], [0.2, 2.5]]),  # not an index
        ("1 2\n  3   4\n", ("column1", "column2"), [[1, 2], [3, 4]]),
        ("# a b\n1.5 2e0\n3.5 4e0\n", ("a", "b"), [[1.5, 2], [3.5, 4]]),  # written by numpy.savetxt
        ("# a,b\n1,2\n# later\n3,4\n", ("a", "b"), [[1, 2], [3, 4]]),
        ("# made by a program\n1,2\n3,4\n", ("column1", "column2"), [[1, 2], [3, 4]]),
        ("% x\n1,2\n3,4\n", ("column1", "column2"), [[1, 2], [3, 4]]),
        ("a;b\n1,5;2\n3;-4,5e1\n", ("a", "b"), [[1.5, 2], [3, -45]]),  # written by spreadsheets in Europe
        ("a\tb\n1,5\t2,5\n3,5\t4,5\n", ("a", "b"), [[1.5, 2.5], [3.5, 4.5]]),
        ('a,b\n"1,5","2"\n"0,125","4"\n', ("a", "b"), [[1.5, 2], [0.125, 4]]),
        ("a\n1,5\n2,5\n", ("a",), [[1.5], [2.5]]),
        ("a|b\n1|2\n3|4\n", ("a", "b"), [[1, 2], [3, 4]]),
        ("sep=;\na;b\n1;2\n3;4\n", ("a", "b"), [[1, 2], [3, 4]]),
        ("a,b\nm,kg\n1,2\n3,4\n", ("a", "b"), [[1, 2], [3, 4]]),
        ("a,b,\n1,2,\n3,4,\n", ("a", "b"), [[1, 2], [3, 4]]),
        ("1,2,\n3,4,\n", ("column1", "column2"), [[1, 2], [3, 4]]),
    ],
)
def test_inferred_properties(file: Path, text: str, columns: tuple[str, ...], expected: list[list[float]]) -> None:
    """Headers, indices, comments, units, separators and decimal marks are not read as data."""
    data = read(file, text)
    assert coordinate_names(data.columns) == columns and rows(data) == expected


@pytest.mark.parametrize(
    ("text", "notes"),
    [
        (
            "a;b\n1,5;2\n3;4\n",
            ["the columns are a, b", "separated by ';'", "decimal mark is ','", "first row contains the"],
        ),
        ("0,1\n3,4\n5,6\n", ["contains the names of the columns (if not, pass --option data.header=false)"]),
        ("1,2\n3,4\n", ["numbers, not the names of the columns (if not, pass --option data.header=true)"]),
        (",a,b\n0,1,2\n1,3,4\n", ["the first column is left out, because it has no name"]),
        (",a\n0.1,1\n0.2,3\n", ["the columns are column1, a"]),
        (
            "# a b\n1 2\n3 4\n",
            ["the comment above the first row contains the names", "1 comment lines", "by white space"],
        ),
        ("a,b\nm,kg\n1,2\n3,4\n", ["contains no number, and is taken for units: m, kg"]),
        ("id,a\n0,5\n1,7\n2,5\n3,6\n", ["column 'id' numbers the rows, and is trained on"]),
        ("a\n1\n2\n-999\n3\n1\n", ["column 'a' contains -999 in 1 rows"]),
        ("a\n1\n2\n50\n50\n3\n1\n", ["column 'a' contains 50 in 2 rows"]),
    ],
)
def test_inferred_properties_are_reported(file: Path, text: str, notes: list[str]) -> None:
    """The notes of the data set state every property that was inferred."""
    report = "; ".join(read(file, text).notes)
    assert all(note in report for note in notes), report


def test_options_override_inference(file: Path) -> None:
    """Each inferred property can be given instead."""
    assert rows(read(file, "0,1\n3,4\n5,6\n", header=False)) == [[0, 1], [3, 4], [5, 6]]
    assert coordinate_names(read(file, "7,8\n3,4\n5,6\n", header=True).columns) == ("7", "8")
    assert rows(read(file, "a;b\n1,234;2\n3,456;4\n", decimal=",")) == [[1.234, 2], [3.456, 4]]
    assert rows(read(file, "1;2\n3;4\n", separator="semicolon")) == [[1, 2], [3, 4]]
    assert rows(read(file, ",a\n0,1\n1,3\n", columns="column1,a")) == [[0, 1], [1, 3]]
    data = read(file, "x,kind,y,z\n1,dog,2,t\n3,cat,4,u\n", columns="y,x", label="kind")
    assert (
        rows(data) == [[2, 1], [4, 3]]
        and coordinate_names(data.columns) == ("y", "x")
        and data.class_names == ("cat", "dog")
    )
    data = read(file, "x,y,z\n1,2,3\n4,5,7\n", columns="z", condition="x")
    assert rows(data) == [[3], [7]] and data.condition_names == ("x",)


def test_rows_with_missing_values(file: Path) -> None:
    """They are an error, or left out and counted if the markers are given."""
    text = "a,b\n1,2\n,4\n5,NA\n-999.0,8\n7,8\n"
    with pytest.raises(InputError, match=r"line 3, column 'a': an empty cell.*--option data.missing=NA"):
        read(file, text)
    data = read(file, text, missing="NA,-999")
    assert (
        rows(data) == [[1, 2], [7, 8]] and "3 rows with missing values are left out, the first in line 3" in data.notes
    )
    data = read(file, "a,k\n1,x\n2,\n3,y\n", missing="NA", label="k")
    assert data.class_names == ("x", "y") and len(data) == 2
    with pytest.raises(InputError, match=r"1 rows of numbers \(1 rows with missing values are left out\)"):
        read(file, "a\n?\n1\n", missing="?")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a;b\n1,234;2\n3,456;4\n",
            "'1,234' may be a decimal mark or separate thousands: pass --option data.decimal=,",
        ),
        ("a;b\n1,5;2\n3.5;4\n", "line 2, column 'a': '1,5'.* pass --option data.decimal=,"),
        ("a;b\n" + "1,5;2\n" * 300 + "2,5;1.234\n", r"line 302, column 'b': '1.234'.*data.decimal=\."),
        ("a;b\n1,5;2\n1.234,5;4\n", r"line 3, column 'a': '1.234,5'"),
        ('a,b\n1.5,2\n"1,234.5",4\n', "line 3, column 'a': '1,234.5'.*Remove the separators of thousands"),
        ("a,b\n1,5,2,5\n1,5,3,5\n", "line 2: 4 cells; expected 2.*if the comma is also the decimal mark"),
        ("a,b\n1_000,2\n3,4\n", "line 2, column 'a': '1_000'"),
        ("a,b\n١,2\n3,4\n", "line 2, column 'a'"),
        ("a,b\n5%,2\n3,4\n", "line 2, column 'a': '5%'"),
        ("a,b\n1,2\n3,?\n", r"line 3, column 'b': '\?'.*data.missing=\?"),
        ("a,b\n1,1e999\n3,4\n", "line 2, column 'b': '1e999'"),
        ("a,b\n1,2\nTotal,4\n", "line 3, column 'a': 'Total'.*data.columns=NAME,NAME"),
        ("a,b,\n1,2,\n3,4,5\n", "line 2, column 'column3': an empty cell"),
        ("a,b,\n" + "1,2,\n" * 300 + "3,4,5\n", "line 302: 3 cells; expected 2"),
    ],
)
def test_cells_in_another_format(file: Path, text: str, message: str) -> None:
    """A cell that is not a number in the format of the table is refused with its line, its column and a remedy."""
    with pytest.raises(InputError, match=message):
        read(file, text)


def test_bad_options(file: Path) -> None:
    text = "a,b\n1,2\n3,4\n"
    for options, message in [
        ({"columns": "a,c"}, "no column of t.csv.*'c'"),
        ({"columns": "a,a"}, "names a column twice"),
        ({"columns": "a", "label": "a"}, "contains a label or a condition"),
        ({"separator": "::"}, "expected one of"),
        ({"condition": "a,b"}, "names every column"),
    ]:
        with pytest.raises(InputError, match=message):
            read(file, text, **options)


def test_other_encodings(file: Path) -> None:
    """UTF-16 with a byte-order mark is read, and other kinds of files are named."""
    file.write_bytes("a\tb\n1\t2\n3\t4\n".encode("utf-16"))
    assert rows(table(str(file), scale="none")) == [[1, 2], [3, 4]]
    for content, message in [
        (b"\x1f\x8b\x08 ...", "compressed with gzip"),
        (b"PK\x03\x04 ...", "a spreadsheet"),
        (b"\x93NUMPY", "array:PATH"),
        ("höhe\n1\n2\n".encode("latin-1"), "save it as CSV in UTF-8"),
    ]:
        file.write_bytes(content)
        with pytest.raises(InputError, match=message):
            table(str(file))


def test_bounded_reading(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Endless lines, records and devices, pipes, and millions of columns are refused without reading all of them."""
    monkeypatch.setattr(table_lines, "MAX_LINE", 10_000)
    monkeypatch.setattr(table_layout, "MAX_COLUMNS", 100)
    with open(file, "wb") as sparse:
        sparse.truncate(2**40)  # a terabyte of zeros, in one line
    with pytest.raises(InputError, match="line 1: the line or record is longer than"):
        table(str(file))
    for text, message in [
        (",".join("1" * 6000) + "\n", "the line or record is longer than 10000"),
        ("1,2\n" + '"\n",' * 9000, "line .*a quotation mark may be missing"),
        (",".join("1" * 101) + "\n", "101 columns; expected at most 100"),
    ]:
        file.write_text(text)
        with pytest.raises(InputError, match=message):
            table(str(file))
    file.unlink()
    file.symlink_to("/dev/zero")
    with pytest.raises(InputError, match="is a device, a pipe or a socket"):
        table(str(file))
    os.mkfifo(file.parent / "pipe.csv")
    with pytest.raises(InputError, match="is a device, a pipe or a socket"):
        table(str(file.parent / "pipe.csv"))
    with pytest.raises(InputError, match="is a folder"):
        table(str(file.parent))


@pytest.mark.parametrize(
    ("cells", "names"), [("3 1 2 1", "1 2 3"), ("1 1.0 02 1", "1 02"), ("class10 class2 a a", "a class2 class10")]
)
def test_names_of_classes(tmp_path: Path, cells: str, names: str) -> None:
    """Classes are the values that occur, under their own names, and numbers in names sort as numbers."""
    rows = "\n".join(f"{i},{cell}" for i, cell in enumerate(cells.split()))
    (tmp_path / "t.csv").write_text(f"x,k\n{rows}\n")
    data = table(str(tmp_path / "t.csv"), label="k")
    assert data.class_names == tuple(names.split()) and data.classes == len(data.class_names)
