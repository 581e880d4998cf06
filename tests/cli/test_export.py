"""`sdekit export`, and `sdekit sample` of an export in a process that cannot import sdekit.networks."""

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdekit.export import FORMATS
from sdekit_plugins.backends.compiled import COMPILERS, shutil

WITHOUT_NETWORKS = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("sdekit.networks"):
            raise ImportError(name + " is blocked")

sys.meta_path.insert(0, Blocked())
try:
    import sdekit.networks.mlp
except ImportError:
    from sdekit_cli.app import main

    main(sys.argv[1:])
"""
HOW = ("--solver", "ddim", "--steps", 6, "-n", 5)
no_onnx = pytest.mark.skipif(not find_spec("onnxruntime"), reason="no onnxruntime")
no_compiler = pytest.mark.skipif(not any(map(shutil.which, COMPILERS)), reason="no C++ compiler")


def without_networks(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `sdekit ARGUMENTS` in a process that cannot import sdekit.networks."""
    command = [sys.executable, "-c", WITHOUT_NETWORKS, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


@pytest.mark.parametrize(
    ("which", "form"),
    [
        pytest.param("moons_run", "torch"),
        pytest.param("moons_run", "onnx", marks=no_onnx),
        pytest.param("moons_run", "aoti", marks=[no_compiler, pytest.mark.slow]),
    ],
)
def test_the_same_samples(
    sdekit: Callable[..., Any], request: pytest.FixtureRequest, which: str, form: str, tmp_path: Path
) -> None:
    """An export draws the samples of its run."""
    run, out = request.getfixturevalue(which), tmp_path / "exported"
    told = sdekit("export", run, "--format", form, "--out", out, "--json")
    assert told.code == 0, told
    assert json.loads(told.out)["deviation"] <= 1e-4
    assert sdekit("sample", run, "--out", tmp_path / "a", *HOW).code == 0
    trust = ["--trust"] if FORMATS[form].code else []
    other = without_networks("sample", out, "--out", tmp_path / "b", *HOW, *trust)
    assert other.returncode == 0, other.stderr
    one, two = (np.load(tmp_path / name / "samples.npy") for name in "ab")
    scale = np.abs(one).max()
    assert one.shape == two.shape and np.abs(one - two).max() <= 1e-4 * scale
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == sorted(p.name for p in (tmp_path / "b").iterdir())


def test_it_lies_beside_the_run_and_is_not_opened_unasked(
    sdekit: Callable[..., Any], moons_run: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    """By default an export is written beside its run; one with code is opened with --trust only."""
    (tmp_path / "run").symlink_to(moons_run)
    out = moons_run.with_name(f"{moons_run.name}-torch")
    told = sdekit("export", tmp_path / "run", "--format", "torch")
    assert told.code == 0 and out.is_dir()
    assert " ".join(f"sdekit sample {out} --trust".split()) in " ".join(told.err.split())
    assert "runs code from the file" in refused("sample", out, "--out", tmp_path / "out")
    assert "already contains an export" in refused("export", tmp_path / "run", "--format", "torch")
    assert "no format 'onxn'; did you mean 'onnx'?" in refused("export", moons_run, "--format", "onxn")
    assert "no such run folder" in refused("export", tmp_path / "none", "--format", "torch")


def test_weights_and_card(sdekit: Callable[..., Any], moons_run: Path, tmp_path: Path) -> None:
    """`--format safetensors` writes a folder that draws the same samples as the run, and a model card."""
    out = tmp_path / "weights"
    assert sdekit("export", moons_run, "--format", "safetensors", "--out", out).code == 0
    assert "| data set | moons" in (out / "README.md").read_text("utf-8")
    for source, name in ((moons_run, "a"), (out, "b")):
        assert sdekit("sample", source, *HOW, "--out", tmp_path / name).code == 0
    assert np.array_equal(np.load(tmp_path / "a" / "samples.npy"), np.load(tmp_path / "b" / "samples.npy"))


def test_the_hub_as_target(
    sdekit: Callable[..., Any], refused: Callable[..., str], moons_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--out hub:OWNER/NAME` uploads all files; a missing token is reported before anything is exported."""
    import huggingface_hub

    files = list[str]()

    class Api:
        def create_repo(self, repository: str, **options: Any) -> None:
            assert repository == "me/moons" and options["private"]

        def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str) -> str:
            files.extend(sorted(file.name for file in Path(folder_path).iterdir()))
            return f"https://huggingface.co/{repo_id}"

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    command = ("export", moons_run, "--format", "safetensors", "--out", "hub:me/moons")
    assert "hf auth login" in refused(*command)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "token")
    result = sdekit(*command, "--json")
    assert json.loads(result.out)["export"] == "https://huggingface.co/me/moons"
    assert files == ["README.md", "export.json", "model.safetensors"]
    assert "OWNER/NAME" in refused("export", moons_run, "--format", "safetensors", "--out", "hub:moons")
    assert "--public" in refused("export", moons_run, "--format", "safetensors", "--public")


def test_a_run_is_no_pipeline(refused: Callable[..., str], moons_run: Path, tmp_path: Path) -> None:
    """`--format diffusers` of a network without a counterpart says why, and names other formats."""
    pytest.importorskip("diffusers")
    message = refused("export", moons_run, "--format", "diffusers", "--out", tmp_path / "out")
    assert "UNet2DModel" in message and "--format safetensors" in message
