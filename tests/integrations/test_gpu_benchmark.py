"""The script that measures a GPU, without one."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("diffusers")


def test_the_script_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU it says so; on the CPU, all loops give the same images."""
    path = Path(__file__).parents[2] / "benchmarks" / "gpu.py"
    spec = importlib.util.spec_from_file_location("gpu_benchmark", path)
    assert spec and spec.loader
    script = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, script)  # dataclasses look the module up there
    spec.loader.exec_module(script)
    if not torch.cuda.is_available():
        assert script.main([])[0].startswith("not measured")
    only = ["--only", "diffusers", "sdekit, eager", "cuda-graph"]
    lines = script.main(["--device", "cpu", "--batch", "1", "--steps", "4", "--rounds", "1", *only])
    rows = {line.split("|")[1].strip(): line.split("|") for line in lines if line.startswith("| ")}
    for name in ("diffusers", "diffusers, SdekitScheduler", "sdekit, eager"):
        assert float(rows[name][-2]) < 1e-3
    assert any(line.startswith("not measured: sdekit, cuda-graph") for line in lines)
