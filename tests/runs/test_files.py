"""Tensor and JSON files are written completely or not at all, and have a checksum."""

from __future__ import annotations

import errno
import json
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sdekit.errors import InputError, SdekitError
from sdekit.runs import format_json, load_json, load_tensors, save_json, save_tensors, write_atomically

TENSORS = {
    "a": torch.arange(6.0).view(2, 3),
    "b": torch.tensor(3, dtype=torch.int64),
    "c": torch.randn(4, 4, dtype=torch.float64).t(),
    "d": torch.tensor([1.5, -0.0, float("inf")], dtype=torch.bfloat16),
    "e": torch.empty(0, 3),
}
FIELDS = {"step": 3, "seconds": 0.1, "losses": [0.1, 1e-30]}


def full(*_: object, **__: object) -> None:
    """A disk without space."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def save(path: Path, version: int = 0) -> None:
    """Save a JSON or a tensor file, by its suffix."""
    if path.suffix == ".json":
        save_json(path, {"format": version, "names": ["vp", "é"], "std": 0.1, "none": None})
    else:
        save_tensors(path, TENSORS | {"v": torch.tensor(version)}, FIELDS)


def load(path: Path) -> Any:
    """Load a file of `save`."""
    return load_json(path) if path.suffix == ".json" else load_tensors(path)


def test_tensors_come_back(tmp_path: Path) -> None:
    """Every dtype, stride and size comes back bit for bit with its fields, without a `.partial` left behind."""
    save_tensors(tmp_path / "deep" / "x.safetensors", TENSORS, FIELDS)
    tensors, fields = load_tensors(tmp_path / "deep" / "x.safetensors")
    assert fields == FIELDS and tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype and torch.equal(tensors[name], tensor)
    assert os.listdir(tmp_path / "deep") == ["x.safetensors"]


def test_json_comes_back(tmp_path: Path) -> None:
    """A JSON object is restored, and the file is plain JSON."""
    fields = {"a": [1, 2.5, None], "b": {"c": "é"}, "d": 1e-300}
    save_json(tmp_path / "x.json", fields)
    assert load_json(tmp_path / "x.json") == fields
    assert json.loads((tmp_path / "x.json").read_text()).keys() == {"a", "b", "d", "sha256"}


def test_tensor_file_is_plain_safetensors(tmp_path: Path) -> None:
    """Any reader of safetensors opens a file, and nothing in it is pickled."""
    from safetensors.torch import load_file

    save_tensors(tmp_path / "x.safetensors", TENSORS, FIELDS)
    assert torch.equal(load_file(tmp_path / "x.safetensors")["a"], TENSORS["a"])


@pytest.mark.parametrize("name", ["x.json", "x.safetensors"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: None, "is missing"),
        (lambda content: content[: len(content) // 2], "damaged or truncated"),
        (lambda content: content[:-3], "damaged or truncated"),
        (lambda content: b"", "damaged or truncated"),
        (lambda content: b"[1, 2]", "damaged or truncated"),
        (lambda content: b"\x80\x04K\x01.", "damaged or truncated"),
    ],
    ids=["missing", "half", "tail", "empty", "other", "pickle"],
)
def test_damaged(tmp_path: Path, name: str, damage: Callable[[bytes], bytes | None], message: str) -> None:
    """A missing, truncated or foreign file is named, and the message says what to do."""
    save(path := tmp_path / name)
    content = damage(path.read_bytes())
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(InputError, match=f"{path} .*{message}.*Restore it from a copy, or train again"):
        load(path)


@pytest.mark.parametrize("name", ["x.json", "x.safetensors"])
def test_any_flipped_bit_is_found(tmp_path: Path, name: str) -> None:
    """Every altered byte is detected; the message names the file and its checksum."""
    save(path := tmp_path / name)
    content, messages = path.read_bytes(), []
    before = load(path)
    for i in range(0, len(content), 3):
        path.write_bytes(content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :])
        try:
            same = str(load(path)) == str(before)  # white space of the file itself holds nothing
        except InputError as error:
            messages.append(str(error))
        else:
            assert same, i
    assert all(str(path) in message for message in messages)
    assert sum("was altered: its checksum is" in message for message in messages) > 10


@pytest.mark.parametrize("name", ["x.json", "x.safetensors"])
@pytest.mark.parametrize("call", ["os.replace", "os.fsync", "builtins.open"])
def test_full_disk_keeps_the_old_file(tmp_path: Path, name: str, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If saving fails, the old file still loads, no incomplete file remains, and the message names file and cause."""
    save(path := tmp_path / name, 1)
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(call, full)
        with pytest.raises(SdekitError, match=f"could not save {path}: No space left on device") as found:
            save(path, 2)
    assert not isinstance(found.value, InputError)
    assert path.read_bytes() == before and os.listdir(tmp_path) == [name]
    load(path)


def test_write_atomically_replaces(tmp_path: Path) -> None:
    """New contents replace the old ones completely, and folders are created."""
    path = tmp_path / "a" / "b"
    write_atomically(path, b"long content")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new" and os.listdir(tmp_path / "a") == ["b"]


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        {
            "a": {},
            "b": [],
            "c": None,
            "d": (1, 2.5, "ä\n"),
            "e": {"f": [{"g": list(range(99))}, []] * 3},
            "h": math.inf,
        },
        [[1, 2], {"a": {"b": 1}}],
        {1: 2, False: None},
        7,
    ],
)
def test_format_json(value: object) -> None:
    """The formatted document is the one of `json.dumps`, and lists of numbers take one line."""
    text = format_json(value)
    assert json.loads(text) == json.loads(json.dumps(value)) and len(text.splitlines()) < 40
    assert not re.search(r"^\s*[\d.]+,?$", text, re.MULTILINE) or value == 7
