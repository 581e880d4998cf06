"""Data sets of Hugging Face: local folders offline, and a missing package."""

import sys
from pathlib import Path

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


def test_a_folder_of_images_has_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Class folders give the labels, and size resizes the images."""
    pytest.importorskip("datasets")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
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
