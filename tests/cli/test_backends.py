"""`--backend`: its record, its messages and its errors."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdekit.backends import BackendWarning

HOW = ("--solver", "ddim", "--steps", 4, "-n", 3)


def test_it_is_recorded(sdekit: Callable[..., Any], digits_run: Path, tmp_path: Path) -> None:
    """The record contains the options and the choice of the backend; eager changes no sample, bf16 very little."""
    drawn, records = {}, {}
    for name in ("", "eager", "bf16", "auto"):
        out = tmp_path / (name or "plain")
        asked = ("--backend", name) if name else ()
        result = sdekit("sample", digits_run, "--out", out, "--device", "cpu", *HOW, *asked)
        assert result.code == 0, result
        drawn[name] = np.load(out / "samples.npy")
        records[name] = json.loads((out / "sample.json").read_text())["backend"]
    assert np.array_equal(drawn["eager"], drawn[""])
    assert 0 < np.abs(drawn["bf16"] - drawn[""]).max() < 0.05 * np.abs(drawn[""]).max()
    assert records[""] is None
    assert records["bf16"] == {"name": "bf16", "options": {}, "note": "", "fell_back": False}
    assert records["auto"]["note"].startswith("picked 'channels-last': ")
    assert "backend 'auto': picked 'channels-last'" in result.err


def test_a_fallback_is_told(
    sdekit: Callable[..., Any], moons_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backend that fails causes one warning and is recorded."""
    monkeypatch.setenv("CXX", "no-such-compiler")
    result = sdekit("sample", moons_run, "--out", tmp_path / "out", *HOW, "--backend", "compile:mode=default")
    assert result.code == 0
    told = " ".join(result.err.split())
    assert told.count("warning: backend 'compile' failed (FileNotFoundError: no C++ compiler (no-such-compiler)") == 1
    record = json.loads((tmp_path / "out" / "sample.json").read_text())["backend"]
    assert record["fell_back"] and record["options"] == {"mode": "default"}
    ignored = [category for action, _, category, *_ in warnings.filters if action == "ignore"]
    assert BackendWarning not in ignored  # for this command alone


@pytest.mark.parametrize(
    ("backend", "message"),
    [
        ("compiel", "no backend 'compiel'; did you mean 'compile'? Installed: auto, bf16, "),
        ("compile:mod=default", "no option of backend 'compile' named 'mod'; did you mean 'mode'?"),
        ("compile:mode=fast", "option mode of backend 'compile': input should be 'default'"),
        ("cuda-graph", "backend 'cuda-graph' needs a CUDA device, and the model is on cpu: add --device cuda"),
        ("int8", "this network has none: use another backend, or int8:least=64"),
    ],
)
def test_refused(backend: str, message: str, moons_run: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    """Unknown backends and options, and backends that cannot run here, are refused."""
    arguments = ("sample", moons_run, "--out", tmp_path / "out", "--device", "cpu", *HOW)
    assert message in refused(*arguments, "--backend", backend)


def test_gradients_are_refused_with_what_to_use(digits_run: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    """A backend without gradients is refused with dps, which needs them."""
    np.save(tmp_path / "clean.npy", np.full((1, 8, 8), 8.0))
    task = ("restore", digits_run, "--operator", "blur", "--degrade", tmp_path / "clean.npy", "--noise-std", 0.5)
    how = ("--method", "dps", "-n", 2, "--steps", 3, "--device", "cpu", "--out", tmp_path / "out")
    message = refused(*task, *how, "--backend", "int8:least=16")
    assert "backend 'int8' has no gradients with respect to x" in message and "'eager', 'compile'" in message
