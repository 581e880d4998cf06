"""`sdekit restore --known` and `--impute`: rows of a table given some cells, and missing cells that are drawn."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from .conftest import FAST, TINY_MLP, call

CLI = Callable[..., Any]
HEADER = "mass (kg),legs,kind"
QUICK = ("--steps", 3, "--method", "tds:particles=2")


def animals(folder: Path) -> str:
    """Write a table with a number, an integer and a category, and return its specification."""
    rng = np.random.default_rng(0)
    mass = rng.lognormal(0, 0.5, 200).round(2)
    rows = [f"{m},{n},{'large' if m > 1.2 else 'small'}" for m, n in zip(mass, rng.integers(2, 5, 200), strict=True)]
    (folder / "animals.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    return f"table:{folder / 'animals.csv'}"


@pytest.fixture(scope="module")
def animals_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on animals. Read only."""
    folder = tmp_path_factory.mktemp("animals")
    assert call("train", "--data", animals(folder), "--out", folder / "run", "--steps", 20, *TINY_MLP, *FAST) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def kinds_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on animals, conditioned on their kind. Read only."""
    folder = tmp_path_factory.mktemp("kinds")
    label = ("--condition", "label", "--option", "data.label=kind")
    assert call("train", "--data", animals(folder), "--out", folder / "run", "--steps", 5, *label, *TINY_MLP) == 0
    return folder / "run"


def rows_of(path: Path) -> list[list[str]]:
    with open(path, newline="") as file:
        return list(csv.reader(file))


def test_known_cells_are_in_every_row(sdekit: CLI, animals_run: Path, tmp_path: Path) -> None:
    """Names need no capitals and no unit, and the known texts are those of samples.csv."""
    out = tmp_path / "k"
    known = ("--known", "MASS=1.2345 kg, kind=Large", "-n", 5)
    result = sdekit("restore", animals_run, *known, *QUICK, "--out", out)
    assert result.code == 0 and result.out == "" and str(out / "pairs.png") in result.err
    assert sorted(os.listdir(out)) == ["pairs.png", "restore.json", "samples.csv", "samples.npy"]
    header, *rows = rows_of(out / "samples.csv")
    assert header == HEADER.split(",") and len(rows) == 5
    assert all((row[0], row[2]) == ("1.2345", "large") and row[1] in ("2", "3", "4") for row in rows)
    samples = np.load(out / "samples.npy")
    np.testing.assert_array_equal(samples[:, [0, 2, 3]], np.float32([[1.2345, 1, 0]] * 5))
    record = json.loads((out / "restore.json").read_text())
    assert record["known"] == {"mass (kg)": "1.2345", "kind": "large"} and record["seeds"] == [0, 1, 2, 3, 4]
    assert record["method"] == {"name": "tds", "options": {"particles": 2}} and record["solver"] is None


def test_any_method_draws_known_rows(sdekit: CLI, animals_run: Path, tmp_path: Path) -> None:
    """A guidance works with any solver, and --json prints the record."""
    given = ("--known", "legs=3", "-n", 2, "--method", "mmps", "--solver", "ddpm", "--steps", 3)
    result = sdekit("restore", animals_run, *given, "--out", tmp_path / "k", "--json")
    found = json.loads(result.out)
    assert result.code == 0 and (found["method"], found["known"], found["nfe"]) == ("mmps", {"legs": "3"}, 3)
    record = json.loads((tmp_path / "k" / "restore.json").read_text())
    assert record["solver"] == "ddpm" and result.err == ""
    assert {row[1] for row in rows_of(tmp_path / "k" / "samples.csv")[1:]} == {"3"}


INCOMPLETE = """\
id,Legs,mass (kg),kind
a,2,,small
b,,1.500,NA
"c,c",4,2.00,large
,nan,?,
d,3,1e0,large
"""


def test_missing_cells_are_drawn_and_others_are_copied(sdekit: CLI, animals_run: Path, tmp_path: Path) -> None:
    """The file keeps its header, order, further columns and texts; only missing cells change."""
    (tmp_path / "in.csv").write_text(INCOMPLETE)
    out = tmp_path / "f"
    result = sdekit("restore", animals_run, "--impute", tmp_path / "in.csv", *QUICK, "--out", out)
    assert result.code == 0 and "the run has no column id: the cells are copied" in result.err
    assert sorted(os.listdir(out)) == ["imputed.csv", "pairs.png", "restore.json"]
    header, a, b, c, empty, d = rows_of(out / "imputed.csv")
    assert header == ["id", "Legs", "mass (kg)", "kind"] and c == ["c,c", "4", "2.00", "large"]
    assert d == ["d", "3", "1e0", "large"]
    assert a[:2] == ["a", "2"] and a[3] == "small" and len(a[2].split(".")[1]) == 2
    assert b[0] == "b" and b[2] == "1.500" and b[1] in ("2", "3", "4") and b[3] in ("large", "small")
    assert empty[0] == "" and all(empty[1:])
    record = json.loads((out / "restore.json").read_text())
    assert record["missing"] == {"mass (kg)": 2, "legs": 2, "kind": 2}
    assert (record["rows"], record["incomplete_rows"], record["imputations"]) == (5, 3, 1)
    assert record["copied_columns"] == ["id"] and record["seconds"] > 0


def test_a_row_does_not_depend_on_others(sdekit: CLI, animals_run: Path, tmp_path: Path) -> None:
    """Several imputations are complete tables one after the other; each row has the same values whatever the others."""
    (tmp_path / "in.csv").write_text(INCOMPLETE)
    lines = INCOMPLETE.splitlines()
    (tmp_path / "short.csv").write_text("\n".join([*lines[:2], "b,2,3,small"]) + "\n")
    given = ("restore", animals_run, *QUICK)
    assert sdekit(*given, "--impute", tmp_path / "in.csv", "-n", 2, "--out", tmp_path / "two").code == 0
    table = rows_of(tmp_path / "two" / "imputed.csv")
    assert table[0][-1] == "imputation" and [row[-1] for row in table[1:]] == ["1"] * 5 + ["2"] * 5
    assert table[3][:4] == table[8][:4] and table[1][:4] != table[6][:4]
    assert sdekit(*given, "--impute", tmp_path / "short.csv", "--out", tmp_path / "short").code == 0
    assert rows_of(tmp_path / "short" / "imputed.csv")[1] == table[1][:4]
    second = ("--seeds", 1, "--batch-size", 1, "--overwrite", "--out", tmp_path / "short")
    assert sdekit(*given, "--impute", tmp_path / "in.csv", *second).code == 0
    assert [row for row in rows_of(tmp_path / "short" / "imputed.csv")[1:]] == [row[:4] for row in table[6:]]


def test_the_file_may_have_another_dialect(sdekit: CLI, animals_run: Path, tmp_path: Path) -> None:
    """Semicolons and decimal commas are kept, and drawn numbers are written like them."""
    (tmp_path / "in.csv").write_text("kind;mass (kg);legs\nsmall;0,75;\nsmall;;2\nlarge;2,5;3\n")
    assert sdekit("restore", animals_run, "--impute", tmp_path / "in.csv", *QUICK, "--out", tmp_path / "f").code == 0
    first, second = (tmp_path / "f" / "imputed.csv").read_text().splitlines()[1:3]
    assert first.startswith("small;0,75;") and second.startswith("small;") and second.endswith(";2")
    assert "," in second and "." not in second


def test_the_label_is_a_known_column(sdekit: CLI, refused: CLI, kinds_run: Path, tmp_path: Path) -> None:
    """The column of the label is the condition of a row."""
    out = ("--out", tmp_path / "k")
    assert sdekit("restore", kinds_run, "--known", "kind=small,legs=2", "-n", 3, *QUICK, *out).code == 0
    assert [row[1:] for row in rows_of(tmp_path / "k" / "samples.csv")[1:]] == [["2", "small"]] * 3
    assert json.loads((tmp_path / "k" / "restore.json").read_text())["label_names"] == ["small"] * 3
    (tmp_path / "in.csv").write_text(f"{HEADER}\n,2,large\n1.5,,small\n")
    given = ("restore", kinds_run, "--impute", tmp_path / "in.csv", *QUICK)
    assert sdekit(*given, "--out", tmp_path / "f").code == 0
    assert json.loads((tmp_path / "f" / "restore.json").read_text())["label_names"] == ["large", "small"]
    (tmp_path / "in.csv").write_text(f"{HEADER}\n,2,large\n1.5,,\n")
    message = refused(*given, "--out", tmp_path / "g")
    assert "in.csv, line 3, column 'kind': the value is missing, and the model is conditioned on it" in message
    message = refused(
        "restore", kinds_run, "--known", "kind=small", "--label", "large", *QUICK, "--out", tmp_path / "g"
    )
    assert "--label large and --known kind=...: give one of them" in message


def test_numbers_of_the_condition_are_known_columns(
    sdekit: CLI, refused: CLI, numbers_run: Path, tmp_path: Path
) -> None:
    """Each row has the condition in its own cells, and x is about w / 10."""
    (tmp_path / "in.csv").write_text("w,z,x\n110,0.5,\n190,0.5,\n190,,11\n")
    given = ("restore", numbers_run, "--steps", 16)
    assert sdekit(*given, "--impute", tmp_path / "in.csv", "--out", tmp_path / "f").code == 0
    first, second, third = rows_of(tmp_path / "f" / "imputed.csv")[1:]
    assert float(first[2]) < 14 < 16 < float(second[2]) and (third[0], third[2]) == ("190", "11")
    assert sdekit(*given, "--known", "z=0.5,w=110", "-n", 2, "--out", tmp_path / "k").code == 0
    assert all(float(row[0]) < 14 and row[1] == "0.5" for row in rows_of(tmp_path / "k" / "samples.csv")[1:])
    (tmp_path / "in.csv").write_text("w,z,x\n,0.5,\n190,0.5,1\n")
    message = refused(*given, "--impute", tmp_path / "in.csv", "--out", tmp_path / "g")
    assert "line 2, column 'w': the value is missing, and the model is conditioned on it" in message
    message = refused(*given, "--known", "w=150", "--condition", "150", "--out", tmp_path / "g")
    assert "--condition 150 and --known w=...: give one" in message


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ("mas=1", "no column 'mas'; did you mean 'mass (kg)'? Columns: mass (kg), legs, kind"),
        ("kind=smal", "kind has no value 'smal'; did you mean 'small'? Values: large, small"),
        ("mass=heavy", "'heavy' is not a number, and the column 'mass (kg)' contains numbers"),
        ("legs=2.5", "2.5 is not a whole number, and the column 'legs' contains only those"),
        ("legs=2,legs=3", "column 'legs' has two values, 2 and 3: give one"),
        ("mass=1,legs=2,kind=small", "every column is known, so that there is nothing to draw"),
        ("mass=1e9", "mass (kg)=1e+09 is outside of the range of the data"),
        ("legs", "write NAME=VALUE,NAME=VALUE"),
        ("legs=", "write NAME=VALUE,NAME=VALUE"),
    ],
    ids=["column", "value", "text", "fraction", "twice", "all", "far", "no-value", "empty"],
)
def test_wrong_known_values_are_refused(
    refused: CLI, animals_run: Path, tmp_path: Path, known: str, message: str
) -> None:
    """Each fault has one message with the nearest name, and nothing is written."""
    assert message in refused("restore", animals_run, "--known", known, "--out", tmp_path / "k")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"{HEADER}\n1,2,small\n2,3,large\n", "no cell is missing in the columns of the run"),
        (f"{HEADER}\n,NA,\n,NA,?\n", "all cells of the columns of the run are missing: draw rows by sdekit sample"),
        (
            "mas,legs,kind\n1,2,\n2,3,large\n",
            "no column 'mass (kg)'; did you mean 'mas'? Columns: mas, legs, kind. Add",
        ),
        (f"{HEADER}\n1,2,smal\n2,,large\n", "line 2, column 'kind': kind has no value 'smal'; did you mean 'small'?"),
        (f"{HEADER}\n1,,small\n1,many,large\n", "line 3, column 'legs': 'many' is not a number"),
        ("legs,LEGS,mass (kg),kind\n1,2,,small\n1,2,3,small\n", ""),
        (f"{HEADER}\n1,2\n" + "2,,large\n" * 9, "line 2: 2 cells; expected 3"),
    ],
    ids=["complete", "empty", "column", "value", "text", "twice", "short"],
)
def test_wrong_tables_are_refused(
    sdekit: CLI, refused: CLI, animals_run: Path, tmp_path: Path, content: str, message: str
) -> None:
    """Each fault has one message with its line, and nothing is written."""
    (tmp_path / "in.csv").write_text(content)
    given = ("restore", animals_run, "--impute", tmp_path / "in.csv", *QUICK, "--out", tmp_path / "f")
    if message:
        assert message in refused(*given)
    else:  # the exact name has precedence, and the other column is copied
        assert sdekit(*given).code == 0


def test_values_outside_of_the_data_are_reported(sdekit: CLI, animals_run: Path, tmp_path: Path) -> None:
    """The model extrapolates, and the note states the range of the data."""
    result = sdekit("restore", animals_run, "--known", "mass=30", "-n", 1, *QUICK, "--out", tmp_path / "k")
    assert result.code == 0 and "mass (kg)=30 is outside of the range of the data, 0." in result.err
    assert rows_of(tmp_path / "k" / "samples.csv")[1][0] == "30"


def test_tasks_exclude_each_other(refused: CLI, animals_run: Path, moons_run: Path, tmp_path: Path) -> None:
    """One of --operator, --known and --impute; and the run must be of a table."""
    out = ("--out", tmp_path / "r")
    known = ("--known", "legs=2")
    message = refused("restore", animals_run, *out)
    assert "give --operator NAME with --measurement FILE or --degrade FILE; or, of a table, --known" in message
    message = refused("restore", animals_run, *known, "--operator", "identity", *out)
    assert "--known excludes --operator: give one of --operator, --known and --impute" in message
    assert "--known excludes --impute" in refused("restore", animals_run, *known, "--impute", "x.csv", *out)
    assert "--known excludes --noise-std" in refused("restore", animals_run, *known, "--noise-std", 1, *out)
    assert "is not a model of a table" in refused("restore", moons_run, *known, *out)
    assert "x.csv" in refused("restore", animals_run, "--impute", tmp_path / "x.csv", *out)
    message = refused("restore", animals_run, *known, "--method", "ddrm", *out)
    assert "cannot impute rows: choose" in message
    assert "tds is a solver itself" in refused("restore", animals_run, *known, "--solver", "heun", *out)


def test_previews_and_reports_show_pairs(sdekit: CLI, animals_run: Path, tmp_path: Path) -> None:
    """The training draws rows beside the data, and the report shows the categories of a column together."""
    (preview,) = (animals_run / "previews").iterdir()
    assert Image.open(preview).size == (600, 630)  # three columns
    result = sdekit("report", animals_run, "--quick", "--nfe", 2, "-n", 24, "--out", tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert result.code == 0
    for what in ("the data", "the data and the samples"):
        assert page.count(f'alt="Columns and pairs of the columns mass (kg), legs, kind of {what}"') == 1
