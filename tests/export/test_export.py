"""Exports: the same network from other files, errors, and no files after a failure."""

import json
import math
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sdekit import VE, load_run
from sdekit.data import Units
from sdekit.errors import InputError, SdekitError
from sdekit.export import FORMATS, export_model
from sdekit.export.exported_model import TOLERANCE
from sdekit.models import Conditioning, OpenedModel, ScoreModel, open_model
from sdekit.runs import EXPORT, Run
from sdekit.training import plan

ONNX = pytest.param("onnx", marks=pytest.mark.skipif(not find_spec("onnxruntime"), reason="no onnxruntime"))


@pytest.fixture(scope="module")
def run() -> Run:
    """A tiny conditional network, none of whose weights is 0."""
    given = {"data": {"n": 100}, "network": {"width": 8, "depth": 1}, "train": {"steps": 1, "drop": 0.1}}
    recipe, _ = plan("moons", network="mlp", condition="label", options=given)
    model = recipe.build().eval().requires_grad_(False)
    torch.manual_seed(0)
    for parameter in model.parameters():
        parameter += 0.1 * torch.randn_like(parameter)
    return Run.from_recipe(Path("run"), recipe, model, 7)


@pytest.fixture(scope="module")
def written(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run in the format that is quickest to write. Read only."""
    out = tmp_path_factory.mktemp("written") / "exported"
    export_model(run, out, "torch")
    return out


@pytest.fixture
def exported(written: Path, tmp_path: Path) -> Path:
    """A copy that tests may damage."""
    return Path(shutil.copytree(written, tmp_path / "exported"))


def altered(folder: Path, change: Callable[[dict], None]) -> None:
    """Change export.json and its checksum."""
    from sdekit.runs import load_json, save_json

    fields = load_json(folder / EXPORT)
    change(fields["export"])
    save_json(folder / EXPORT, fields)


@pytest.mark.parametrize("form", ["torch", ONNX])
def test_the_same_denoiser(run: Run, form: str, tmp_path: Path) -> None:
    """An export is the same denoiser with and without labels, for batches of any size, and has the same recipe."""
    assert export_model(run, tmp_path / "out", form) <= TOLERANCE
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened = load_run(tmp_path / "out", trust=FORMATS[form].code)
    assert (opened.recipe, opened.step) == (run.recipe, 7)
    assert not list(opened.model.parameters())
    for rows in (1, 2, 5, 9):
        x, t = torch.randn(rows, 2), torch.linspace(0.01, 0.99, rows)
        for y in (None, torch.arange(rows) % 2, torch.full((rows,), -1)):
            assert torch.allclose(opened.model(x, t, y), run.model(x, t, y), atol=1e-5)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"out"} and len(list((tmp_path / "out").iterdir())) == 4
    if form == "onnx":
        with pytest.raises(InputError, match="out has no gradients with respect to x.*backend 'eager'"):
            opened.model(torch.randn(3, 2, requires_grad=True), 0.5)


def test_gradients(run: Run, exported: Path) -> None:
    """An export in the format torch has the gradients of the network."""
    x = torch.randn(3, 2, requires_grad=True)
    model = load_run(exported, trust=True).model
    for t in (0.1, 0.9):
        got, expected = (torch.autograd.grad(m(x, t).square().sum(), x)[0] for m in (model, run.model))
        assert torch.allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_trust(exported: Path) -> None:
    """A format with code is opened with trust only, before any of its files is read."""
    (exported / "unconditional.pt2").write_bytes(b"anything")
    with pytest.raises(InputError, match="opening the format 'torch' runs code from the file.*--trust"):
        load_run(exported)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda about: about.update(version=99), "newer sdekit .layout 99"),
        (lambda about: about.update(format="onxn"), "no format 'onxn'; did you mean 'onnx'?"),
        (lambda about: about.pop("format"), "does not describe an export .format is missing"),
        (lambda about: about.update(format="aoti", torch="1.0"), "compiled for torch 1.0, not .*export the model"),
    ],
)
def test_refused(exported: Path, change: Callable[[dict], None], message: str) -> None:
    """Newer, incomplete and foreign exports are refused."""
    altered(exported, change)
    with pytest.raises(InputError, match=message):
        load_run(exported, trust=True)


def test_damaged(exported: Path) -> None:
    """Missing and damaged files, and an altered description, are named."""
    file, description = exported / "conditional.pt2", exported / EXPORT
    file.write_bytes(b"PK but no archive")
    with pytest.raises(InputError, match=r"conditional.pt2 was altered: its SHA-256 is"):
        load_run(exported, trust=True)
    altered(exported, lambda about: about.pop("files"))  # an export of an earlier version has no checksums
    with pytest.raises(InputError, match=r"conditional.pt2 cannot be read"):
        load_run(exported, trust=True)
    file.unlink()
    with pytest.raises(InputError, match=r"conditional.pt2 is missing: export the model again"):
        load_run(exported, trust=True)
    description.write_text(json.dumps(json.loads(description.read_text()) | {"recipe": {}}))
    with pytest.raises(InputError, match="export.json was altered"):
        load_run(exported, trust=True)


def test_every_flipped_bit_is_noticed(exported: Path) -> None:
    """A bit that is flipped anywhere in a file is noticed before the file is opened, and so is a swap of two files."""
    first, second = exported / "unconditional.pt2", exported / "conditional.pt2"
    content = first.read_bytes()
    for position in (0, len(content) // 3, len(content) // 2, len(content) - 1):
        flipped = bytearray(content)
        flipped[position] ^= 16
        first.write_bytes(flipped)
        with pytest.raises(InputError, match=r"unconditional.pt2 was altered: .*export the model again"):
            load_run(exported, trust=True)
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    with pytest.raises(InputError, match="conditional.pt2 was altered"):
        load_run(exported, trust=True)


def test_added_files_and_exports_without_checksums(exported: Path) -> None:
    """A network's file that is not recorded is refused; other files are reported; old exports open and are reported."""
    assert load_run(exported, trust=True).facts["checksums"] == "all 3 files are unaltered"
    (exported / "notes.txt").write_text("mine")
    assert "not part of the export: notes.txt" in load_run(exported, trust=True).facts["checksums"]
    (exported / "conditional.onnx").write_bytes(b"from elsewhere")
    with pytest.raises(InputError, match="conditional.onnx is not part of this export"):
        load_run(exported, trust=True)
    (exported / "conditional.onnx").unlink()
    altered(exported, lambda about: about.pop("files"))
    assert "not recorded" in load_run(exported, trust=True).facts["checksums"]
    for name in ("../unconditional.pt2", "export.json", ""):
        altered(exported, lambda about, name=name: about.update(files={name: "0" * 64}))  # type: ignore[misc]
        with pytest.raises(InputError, match="does not describe an export .files contains the name"):
            load_run(exported, trust=True)


def test_other_dtypes_and_conditions(run: Run, exported: Path, tmp_path: Path) -> None:
    """Other dtypes, and conditions that the model does not take, are refused."""
    model = load_run(exported, trust=True).model
    with pytest.raises(InputError, match="exported in float32, and x is torch.float64"):
        model(torch.randn(2, 2, dtype=torch.float64), 0.5)
    plain = replace(run, recipe=replace(run.recipe, condition="none"))
    export_model(plain, tmp_path / "plain", "torch")
    assert not (tmp_path / "plain" / "conditional.pt2").exists()
    with pytest.raises(InputError, match="was trained without conditions"):
        load_run(tmp_path / "plain", trust=True).model(torch.randn(2, 2), 0.5, torch.tensor([0, 1]))


def test_places(run: Run, exported: Path, tmp_path: Path) -> None:
    """Only an export is replaced, and only with overwrite."""
    with pytest.raises(InputError, match="already contains an export: replace it with --overwrite"):
        export_model(run, exported, "torch")
    before = (exported / EXPORT).stat().st_mtime_ns
    export_model(run, exported, "torch", overwrite=True)
    assert (exported / EXPORT).stat().st_mtime_ns > before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(InputError, match="not empty and contains no export"):
        export_model(run, tmp_path / "mine", "torch", overwrite=True)
    with pytest.raises(InputError, match="is a file"):
        export_model(run, tmp_path / "mine" / "thesis.txt", "torch")
    (exported / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="also contains 'thesis.txt'"):
        export_model(run, exported, "torch", overwrite=True)
    assert (exported / "thesis.txt").read_text() == "mine" and (exported / "unconditional.pt2").exists()
    (exported / "thesis.txt").unlink()


def test_a_model_without_a_recipe(tmp_path: Path) -> None:
    """Process, condition, units and facts are restored; a process that is not registered is refused."""
    units, condition = Units(shift=1.0, scale=(2.0, 3.0)), Conditioning(numbers=2, null=False)
    model = ScoreModel(Linear(), VE(sigma_max=20.0), "x0", data_std=0.5, condition=condition)
    facts = {"units": units, "condition_names": ("a", "b"), "condition_units": units, "grid": "karras", "step": 3}
    opened = OpenedModel(model=model.eval(), shape=(2,), **facts)
    assert export_model(opened, tmp_path / "out", "torch") <= TOLERANCE
    again = open_model(tmp_path / "out", trust=True)
    assert (
        type(again) is OpenedModel
        and again.model.sde == model.sde
        and again.facts == {"format": "export", "checksums": "all 2 files are unaltered"}
    )
    names = ("shape", "units", "kind", "classes", "condition_names", "condition_units", "grid", "step", "conditioning")
    assert all(getattr(again, name) == getattr(opened, name) for name in names)
    x, y = torch.randn(3, 2), torch.randn(3, 2)
    assert torch.allclose(again.model(x, 0.5, y), model(x, 0.5, y), atol=1e-5)
    with pytest.raises(InputError, match="is an export of a model that is not a run"):
        load_run(tmp_path / "out", trust=True)

    class Own(VE):
        pass

    with pytest.raises(InputError, match="its process Own is not a registered one"):
        export_model(replace(opened, model=ScoreModel(Linear(), Own(), "x0")), tmp_path / "own", "torch")
    assert not (tmp_path / "own").exists()


class Linear(nn.Module):
    """A network that takes numbers."""

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        return x + c_noise[:, None] if y is None else x + y


class Branching(nn.Module):
    """A network that branches on a value."""

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        return x if x.sum() > 0 else -x


class Forgetful(nn.Module):
    """A network whose result changes with each call."""

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        self.calls = getattr(self, "calls", 0.0) + 1
        return x * math.sqrt(self.calls)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Branching(), "Branching cannot be exported"),
        (Forgetful(), "deviates from the network by .*nothing was written"),
    ],
)
def test_failures_leave_nothing(run: Run, network: nn.Module, message: str, tmp_path: Path) -> None:
    """A failed export leaves no files."""
    broken = replace(run, model=ScoreModel(network, run.model.sde))
    with pytest.raises(SdekitError, match=message):
        export_model(broken, tmp_path / "out", "torch")
    assert list(tmp_path.iterdir()) == []
