"""Tables: delimiters, headers, labels, and errors with line and column."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sdekit.data.formats import table
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
    assert data.columns == (("a", "b") if header else ("column1", "column2"))
    assert len(data) == 3 and data.shape == (2,) and data.classes == 0
    x, y = data.batch([0, 1, 2])
    assert y is None and x.mean(0).abs().max() < 1e-6
    assert abs(x.std(0, correction=0) - 1).max() < 1e-6
    np.testing.assert_allclose(data.units.to_data(x), np.array([[1, 10.5], [2, -10], [4, 0]]), rtol=1e-6, atol=1e-6)


def test_one_column_quotes_and_byte_order_mark(file: Path) -> None:
    file.write_bytes('\ufeff"height, m"\r\n1\r\n"2"\r\n'.encode())
    data = table(str(file), scale="none")
    assert data.columns == ("height, m",) and data.batch([0, 1]).x.flatten().tolist() == [1, 2]


def test_text_labels(file: Path) -> None:
    file.write_text("a,kind,b\n1,dog,2\n3,cat,4\n5,dog,7\n")
    data = table(str(file), label="kind")
    y = data.batch([0, 1, 2]).y
    assert data.columns == ("a", "b") and data.class_names == ("cat", "dog") and data.classes == 2
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
        ("2019,b\n3,4\n", "line 1, column 'column2': 'b'"),
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
    file.write_bytes(b"\xff\xfe1,2\n")
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
