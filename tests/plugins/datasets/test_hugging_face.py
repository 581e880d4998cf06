"""Data sets of Hugging Face: local folders offline, and a missing package."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sdekit.errors import InputError
from sdekit.training import load_data


def test_a_missing_package_is_answered_with_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the extra; streaming is refused."""
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r"pip install 'sdekit\[hf\]'"):
        load_data("hf:owner/name")
    with pytest.raises(InputError, match="streaming is not supported"):
        load_data("hf:owner/name", streaming=True)


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The package `datasets`, offline, with a cache of its own."""
    package = pytest.importorskip("datasets")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    return package


@pytest.mark.usefixtures("library")
def test_a_folder_of_images_has_labels(tmp_path: Path) -> None:
    """Class folders give the labels, and size resizes the images."""
    for name in ("cat", "dog"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(2):
            Image.new("RGB", (8, 10 + i), (200, 40 * i, 0)).save(tmp_path / "data" / name / f"{i}.png")
    data, component = load_data(f"hf:{tmp_path / 'data'}", size=8)
    assert (data.shape, data.class_names, len(data)) == ((3, 8, 8), ("cat", "dog"), 4)
    assert data.labels_of(range(4)).tolist() == [0, 0, 1, 1] and component.options["split"] == "train"
    assert data.batch([0]).x[0, 0].mean() == pytest.approx(200 / 127.5 - 1, abs=1e-3)
    with pytest.raises(InputError, match="cannot be read"):
        load_data(f"hf:{tmp_path / 'data'}", split="missing")


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("captions_only", [False, True], ids=["labels-and-captions", "captions"])
def test_a_folder_of_images_with_metadata(tmp_path: Path, captions_only: bool) -> None:
    """A metadata file gives labels. Captions are left out with a note, and as a condition they are refused."""
    rows = [{"file_name": f"{i}.png", "text": f"number {i}", "label": ("cat", "dog")[i % 2]} for i in range(4)]
    (folder := tmp_path / "data").mkdir()
    for i, row in enumerate(rows):
        Image.new("RGB", (6, 4), (60 * i, 0, 0)).save(folder / row["file_name"])
    kept = [{name: row[name] for name in ("file_name", "text")} for row in rows] if captions_only else rows
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, kept)), "utf-8")
    data, _ = load_data(f"hf:{folder}")
    assert (data.shape, len(data)) == ((3, 4, 6), 4)
    assert data.class_names == (() if captions_only else ("cat", "dog"))
    assert any("captions is not supported" in note for note in data.notes)
    with pytest.raises(InputError, match="training on captions such as 'text' is not supported"):
        load_data(f"hf:{folder}", condition="text")


@pytest.mark.usefixtures("library")
def test_a_folder_of_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the name of a format of the library is a folder; missing values have a remedy that works."""
    (tmp_path / "json").mkdir()
    rows = [{"a": i, "b": None if i == 3 else i / 2, "kind": "uv"[i % 2]} for i in range(8)]
    (tmp_path / "json" / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    (tmp_path / "other.json").write_text("[]", "utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"row 3, column 'b'.*--option data\.drop_missing=true"):
        load_data("hf:json")
    data, component = load_data("hf:json", drop_missing=True, label="kind")
    assert (len(data), data.shape, data.class_names) == (7, (2,), ("u", "v")) and component.options["drop_missing"]
    with pytest.raises(InputError, match="is a file, .* or use table:"):
        load_data("hf:json/rows.jsonl")


def test_saved_data_sets(library: Any, tmp_path: Path) -> None:
    """Splits and parts of splits of `save_to_disk` are read; a data set without splits is the split "train"."""
    features = library.Features({"image": library.Image(), "label": library.ClassLabel(names=["zero", "one"])})
    images = [Image.fromarray(np.full((4, 4), 20 * i, np.uint8)) for i in range(6)]
    rows = library.Dataset.from_dict({"image": images, "label": [0, 1] * 3}, features=features)
    library.DatasetDict(train=rows, test=rows.select(range(2))).save_to_disk(tmp_path / "splits")
    rows.save_to_disk(tmp_path / "single")
    sizes = {"train": 6, "test": 2, "train[:50%]": 3, "train[4:]+test": 4}
    for split, size in sizes.items():
        data, _ = load_data(f"hf:{tmp_path / 'splits'}", split=split)
        assert (len(data), data.class_names) == (size, ("zero", "one"))
    assert data.batch([1]).x.mean() == pytest.approx(100 / 127.5 - 1, abs=1e-3)
    assert [len(load_data(f"hf:{tmp_path / 'single'}", split=split)[0]) for split in ("train", "train[:2]")] == [6, 2]
    for folder in ("splits", "single"):
        with pytest.raises(InputError, match='Unknown split "validation"'):
            load_data(f"hf:{tmp_path / folder}", split="validation")


def test_saved_arrays(library: Any, tmp_path: Path) -> None:
    """Nested lists are arrays: sequences with channels here."""
    values = np.arange(96.0).reshape(6, 2, 8)
    library.Dataset.from_dict({"x": values.tolist()}).save_to_disk(tmp_path / "rows")
    data, _ = load_data(f"hf:{tmp_path / 'rows'}")
    assert (data.kind, data.shape, len(data)) == ("sequence", (2, 8), 6)
    assert np.allclose(data.units.to_data(data.batch([5]).x), values[5:], atol=1e-4)


def test_a_table_has_the_units_of_a_data_frame(library: Any) -> None:
    """Rows of numbers are mapped to the units of the model in the same way from each source."""
    import pandas as pd

    columns = {"a": np.arange(120.0) ** 2, "b": np.arange(120) % 7}
    hub, frame = (load_data(rows)[0] for rows in (library.Dataset.from_dict(columns), pd.DataFrame(columns)))
    assert hub.units == frame.units and any(hub.units.quantiles)
