"""Data frames of pandas, polars and pyarrow: dtypes become types of columns, and unsupported ones have a remedy."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np
import pytest

from sdekit.data.formats import table
from sdekit.data.tables import columns_of, frame_of, is_frame, table_from_frame
from sdekit.errors import InputError

pandas = pytest.importorskip("pandas")
pytest.importorskip("narwhals")

TABLE = {
    "age": [31, 42, 23],
    "mass (kg)": [70.5, 61.25, 80.0],
    "city": ["Rome", "Oslo", "Rome"],
    "smoker": [True, False, True],
}


def without(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """Let imports of a library fail."""
    original = builtins.__import__

    def refuse(name: str, *arguments: Any) -> Any:
        if name.partition(".")[0] == missing:
            raise ImportError(f"No module named '{missing}'")
        return original(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", refuse)


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_dtypes_become_types(library: str) -> None:
    """Integers, numbers, texts and booleans have their types in every library, and come back with pandas' dtypes."""
    module = pytest.importorskip(library)
    frame = module.table(TABLE) if library == "pyarrow" else module.DataFrame(TABLE)
    assert is_frame(frame)
    data = table_from_frame(frame)
    assert [(c.name, c.type) for c in data.columns] == [
        ("age", "integer"), ("mass (kg)", "number"), ("city", "category"), ("smoker", "category"),
    ]  # fmt: skip
    assert data.columns[1].unit == "kg" and data.columns[2].values == ("Oslo", "Rome")
    back = frame_of(np.asarray(data.array), data.columns)
    pandas.testing.assert_frame_equal(back, pandas.DataFrame(TABLE), check_dtype=False)
    assert [dtype.kind for dtype in back.dtypes][:2] == ["i", "f"] and back.dtypes["smoker"].kind == "b"


def test_nullable_and_categorical_dtypes() -> None:
    """Rows with missing values are left out or refused; the rest keeps its type, and categories are texts."""
    frame = pandas.DataFrame(
        {
            "n": pandas.array([1, None, 3, 4], dtype="Int64"),
            "b": pandas.array([True, False, None, True], dtype="boolean"),
            "c": pandas.Categorical([3, 1, 1, 3]),
            "x": np.array([1.5, 2.5, np.nan, 0.5], dtype=np.float32),
            7: ["u", "v", "w", None],
        }
    )
    data = table_from_frame(frame, columns=["n", "c"], drop_missing=True)
    assert [(c.name, c.type, c.values) for c in data.columns] == [("n", "integer", ()), ("c", "category", ("1", "3"))]
    assert columns_of(np.asarray(data.array), data.columns)["n"].tolist() == [1, 3, 4]
    data = table_from_frame(frame, columns=["b", "x", "7"], drop_missing=True)
    assert len(data) == 2 and [c.type for c in data.columns] == ["category", "number", "category"]
    with pytest.raises(InputError, match="row 1, column 'n': the value is missing.*drop_missing=True"):
        table_from_frame(frame)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pandas.DataFrame({"x": [1, 2], "day": pandas.to_datetime(["2020-01-01", "2020-01-02"])}), "'day'.*days since"),
        (pandas.DataFrame({"x": [1, 2], "list": [[1], [2]]}), "'list': type .*leave it out"),
        (pandas.DataFrame([[1, 2], [3, 4]], columns=["a", "a"]), "several columns named 'a'"),
        (pandas.DataFrame([[1, 2], [3, 4]], columns=[("a", 1), ("a", 2)]), "several levels"),
        (pandas.Series([1, 2]), r"is a Series: call .to_frame\(\) first"),
        ({"a": [1, 2]}, "is a dict: expected a DataFrame"),
    ],
)
def test_unsupported_frames_are_refused(frame: Any, message: str) -> None:
    """The message names the column and a remedy."""
    with pytest.raises(InputError, match=message):
        table_from_frame(frame)


def test_unsupported_columns_can_be_left_out() -> None:
    """A column of dates is ignored if `columns` names others."""
    frame = pandas.DataFrame({"x": [1, 2], "day": pandas.to_datetime(["2020-01-01", "2020-01-02"])})
    assert [c.name for c in table_from_frame(frame, columns=["x"]).columns] == ["x"]


def test_parquet_files(tmp_path: Any) -> None:
    """A Parquet file is read with its types, without the index of pandas, with labels and missing values."""
    pytest.importorskip("pyarrow")
    frame = pandas.DataFrame(TABLE | {"note": ["a", None, "b"]}, index=["i", "j", "k"])
    path = str(tmp_path / "rows.parquet")
    frame.to_parquet(path)
    data = table(path, label="city", columns="age,smoker")
    assert [c.name for c in data.columns] == ["age", "smoker"] and data.class_names == ("Oslo", "Rome")
    assert len(table(path, missing="NA")) == 2
    with pytest.raises(InputError, match="column 'note': the value is missing.*--option data.missing=NA"):
        table(path)
    with pytest.raises(InputError, match="leave out the options header"):
        table(path, separator=";")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(InputError, match="cannot be read as a Parquet file"):
        table(str(tmp_path / "bad.parquet"))


def test_a_missing_library_has_its_pip_line(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames need narwhals, and Parquet files need pyarrow."""
    (tmp_path / "rows.parquet").write_bytes(b"PAR1....")
    without(monkeypatch, "pyarrow")
    with pytest.raises(InputError, match=r"pip install 'sdekit\[tables\]'"):
        table(str(tmp_path / "rows.parquet"))
    without(monkeypatch, "narwhals")
    with pytest.raises(InputError, match=r"pip install 'sdekit\[tables\]'"):
        table_from_frame(pandas.DataFrame(TABLE))


@pytest.mark.parametrize(("start", "remedy"), [(b"ARROW1\0\0", "read_feather"), (b"PK\x03\x04", "read_excel")])
def test_other_binary_tables_name_the_conversion(start: bytes, remedy: str, tmp_path: Any) -> None:
    """Feather files and spreadsheets are refused with a line of Python that converts them."""
    (tmp_path / "t.bin").write_bytes(start + b"1234567890")
    with pytest.raises(InputError, match=remedy):
        table(str(tmp_path / "t.bin"))
