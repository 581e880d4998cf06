"""Exports that other programs read: safetensors, diffusers, the model card and the hub."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sdekit import VP, sample
from sdekit.data import Units
from sdekit.errors import InputError, SdekitError
from sdekit.export import check_format, export_model, hub_repository, upload
from sdekit.models import NetworkInput, OpenedModel, ScoreModel, open_model
from sdekit.processes import TabulatedVP
from sdekit.runs import EXPORT, Run
from sdekit.training import plan

PIXELS = Units(shift=127.5, scale=127.5, layout="hwc", low=0.0, high=255.0)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A tiny conditional network with metrics, none of whose weights is 0."""
    given = {"data": {"n": 100}, "network": {"width": 8, "depth": 1}, "train": {"steps": 8, "drop": 0.1}}
    recipe, _ = plan("moons", network="mlp", condition="label", options=given)
    model = recipe.build().eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter += 0.1
    path = tmp_path_factory.mktemp("runs") / "moons-run"
    path.mkdir()
    rows = [{"step": 4, "loss": 0.5}, {"step": 7, "loss": 0.25, "held_out_loss": 0.375}, {"step": 8, "loss": 0.125}]
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return Run.from_recipe(path, recipe, model, 7)


@pytest.fixture(scope="module")
def unet() -> OpenedModel:
    """A small U-Net of diffusers that predicts noise and variances."""
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    network = diffusers.UNet2DModel(
        sample_size=8, in_channels=3, out_channels=6, layers_per_block=1, block_out_channels=(8, 8), norm_num_groups=4,
        down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2,
    ).eval()  # fmt: skip

    class Called(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: torch.Tensor, c_noise: torch.Tensor, y: None = None) -> torch.Tensor:
            return self.network(x, c_noise).sample[:, :3]

    inputs = NetworkInput(clock="t", scale=1000, offset=-1, normalize=False)
    model = ScoreModel(Called(), TabulatedVP.linear(), "eps", inputs=inputs)
    return OpenedModel(model=model, shape=(3, 8, 8), path=Path("cats"), units=PIXELS, kind="image")


def test_safetensors(run: Run, tmp_path: Path) -> None:
    """The export opens as the same run, and its tensors have the names of the network's tensors."""
    out = tmp_path / "out"
    assert export_model(run, out, "safetensors") == 0
    opened = open_model(out)
    assert isinstance(opened, Run) and (opened.recipe, opened.step) == (run.recipe, 7)
    x, y = torch.randn(5, 2), torch.tensor([0, 1, -1, 0, 1])
    assert torch.equal(opened.model(x, 0.5, y), run.model(x, 0.5, y))
    assert set(load_file(out / "model.safetensors")) == set(run.model.network.state_dict())
    with pytest.raises(InputError, match="already contains an export"):
        export_model(run, out, "safetensors")
    export_model(run, out, "safetensors", overwrite=True)
    assert sorted(file.name for file in out.iterdir()) == ["README.md", "export.json", "model.safetensors"]
    (out / "model.safetensors").write_bytes((out / "model.safetensors").read_bytes()[:-8])
    with pytest.raises(InputError, match="model.safetensors"):
        open_model(out)


def test_the_bare_loader_opens_the_weights(run: Run, tmp_path: Path) -> None:
    """With the network stated by options."""
    export_model(run, tmp_path / "out", "safetensors")
    options = {
        "network": run.recipe.network.name, "arguments": run.recipe.network.options, "shape": [2], "classes": 2,
        "null_label": -1, "process": "vp", "prediction": "edm", "clock": "log-rho", "clock_scale": 0.25,
        "normalize": True,
    }  # fmt: skip
    opened = open_model(f"bare:{tmp_path / 'out' / 'model.safetensors'}", options=options)
    x, y = torch.randn(3, 2), torch.tensor([0, 1, 0])
    assert torch.allclose(opened.model.network(x, torch.zeros(3), y), run.model.network(x, torch.zeros(3), y))


def test_diffusers(unet: OpenedModel, tmp_path: Path) -> None:
    """DDPMPipeline opens the folder with the same network and process, and so does sdekit."""
    import diffusers

    out = tmp_path / "out"
    assert export_model(unet, out, "diffusers") < 1e-6
    pipe = diffusers.DDPMPipeline.from_pretrained(out)
    assert pipe.scheduler.config.prediction_type == "epsilon"
    alpha = unet.model.sde.alpha(torch.tensor([1e-3, 0.5, 1.0])).square()
    torch.testing.assert_close(pipe.scheduler.alphas_cumprod[[0, 499, 999]].double(), alpha, rtol=1e-4, atol=1e-6)
    opened = open_model(out)
    ours, theirs = (
        sample(o.model.sde, o.model, "ddim", shape=(3, 8, 8), n=2, steps=4).x for o in (unet, opened)
    )  # fmt: skip
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    export_model(unet, out, "diffusers", overwrite=True)
    assert sorted(file.name for file in out.iterdir()) == [
        "README.md", "export.json", "model_index.json", "scheduler", "unet",
    ]  # fmt: skip
    assert "DDPMPipeline.from_pretrained" in (out / "README.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda o: replace(o, model=ScoreModel(o.model.network, VP(), "eps", inputs=o.model.inputs)), "with VP"),
        (lambda o: replace(o, model=ScoreModel(o.model.network, o.model.sde, "eps")), "log rho"),
        (
            lambda o: replace(o, model=ScoreModel(o.model.network, o.model.sde, "flow", inputs=o.model.inputs)),
            "no prediction 'flow'",
        ),
        (lambda o: replace(o, units=Units()), "-1 to 1"),
    ],
)
def test_models_without_a_counterpart_in_diffusers(
    unet: OpenedModel, change: Callable[[OpenedModel], OpenedModel], message: str, tmp_path: Path
) -> None:
    """Such a model is refused with the reason, and nothing is written."""
    with pytest.raises(InputError, match=message):
        export_model(change(unet), tmp_path / "out", "diffusers")
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_networks_without_a_counterpart_in_diffusers(run: Run, tmp_path: Path) -> None:
    """sdekit's own networks are not U-Nets of diffusers."""
    pytest.importorskip("diffusers")
    with pytest.raises(InputError, match="MLP cannot be a UNet2DModel.*--format safetensors"):
        export_model(run, tmp_path / "out", "diffusers")
    recipe, _ = plan("digits", network="unet", options={"network": {"width": 8}, "train": {"steps": 1}})
    with pytest.raises(InputError, match="UNet cannot be a UNet2DModel.*sqrt"):
        export_model(Run.from_recipe(Path("digits"), recipe, recipe.build(), 0), tmp_path / "out", "diffusers")


def test_opened_models_keep_their_inputs(tmp_path: Path) -> None:
    """A traced export of a model with a table of betas has the same time input and process."""

    class Network(torch.nn.Module):
        def forward(self, x: torch.Tensor, index: torch.Tensor, y: None = None) -> torch.Tensor:
            return torch.tanh(x) * torch.cos(index / 300)[:, None]

    inputs = NetworkInput(clock="t", scale=1000, offset=-1, normalize=False)
    made = OpenedModel(model=ScoreModel(Network(), TabulatedVP.linear(), "eps", inputs=inputs), shape=(3,))
    assert export_model(made, tmp_path / "out", "torch") < 1e-4
    opened = open_model(tmp_path / "out", trust=True)
    assert opened.model.inputs == inputs and opened.model.sde == made.model.sde
    x = torch.randn(2, 3)
    for t in (0.01, 0.5, 1.0):
        torch.testing.assert_close(opened.model(x, t), made.model(x, t), rtol=1e-5, atol=1e-5)


def test_weights_of_other_models_are_refused(unet: OpenedModel, tmp_path: Path) -> None:
    """Without a recipe, the network of a safetensors file could not be built again."""
    with pytest.raises(InputError, match="no recipe"):
        export_model(unet, tmp_path / "out", "safetensors")


def test_the_model_card(run: Run, tmp_path: Path) -> None:
    """Every export has a card with the data, the settings and the metrics up to its step."""
    for form in ("safetensors", "torch"):
        export_model(run, tmp_path / form, form)
        card = (tmp_path / form / "README.md").read_text("utf-8")
        assert card.startswith("---\nlibrary_name: sdekit\n")
        for row in ("| data set | moons |", "| items | 100 |", "| prediction |", "| process | VP |", "| steps | 8 |"):
            assert row in card
        assert "| loss | 0.25 |" in card and "| held_out_loss | 0.375 |" in card and "| training step | 7 |" in card
        assert "moons-run" in card and str(run.path.parent) not in card


def test_formats() -> None:
    """An unknown format is answered with all formats."""
    with pytest.raises(InputError, match="did you mean 'diffusers'.*onnx, safetensors, torch"):
        check_format("difusers")
    check_format("safetensors")


# the hub


class Hub:
    """Stands for `huggingface_hub.HfApi`."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.calls = error, list[tuple[str, dict[str, Any]]]()

    def create_repo(self, repository: str, **options: Any) -> None:
        self.calls.append((repository, options))
        if self.error is not None:
            raise self.error

    def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str) -> str:
        self.calls.append((repo_id, {"files": sorted(file.name for file in Path(folder_path).iterdir())}))
        return f"https://huggingface.co/{repo_id}/tree/main"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Hub]:
    """Function that replaces the hub."""
    import huggingface_hub

    def replace_hub(error: Exception | None = None, token: str | None = "token") -> Hub:
        api = Hub(error)
        monkeypatch.setattr(huggingface_hub, "HfApi", lambda: api)
        monkeypatch.setattr(huggingface_hub, "get_token", lambda: token)
        return api

    return replace_hub


def test_upload(run: Run, hub: Callable[..., Hub], tmp_path: Path) -> None:
    """A repository is created, private by default, and receives all files."""
    api = hub()
    export_model(run, tmp_path / "out", "safetensors")
    assert upload(tmp_path / "out", "me/moons") == "https://huggingface.co/me/moons/tree/main"
    assert api.calls[0] == ("me/moons", {"private": True, "exist_ok": True})
    assert api.calls[1][1]["files"] == ["README.md", EXPORT, "model.safetensors"]
    upload(tmp_path / "out", "me/moons", public=True)
    assert api.calls[2][1]["private"] is False


def test_problems_of_the_hub(hub: Callable[..., Hub], tmp_path: Path) -> None:
    """No token and no network have messages that say what to do."""
    Timeout = type("ConnectTimeout", (Exception,), {"__module__": "httpx"})
    hub(token=None)
    with pytest.raises(InputError, match="hf auth login"):
        upload(tmp_path, "me/moons")
    for error in (Timeout("no route to host"), ConnectionError("no route to host")):
        hub(error)
        with pytest.raises(SdekitError, match="cannot be reached.*no route to host"):
            upload(tmp_path, "me/moons")


def test_targets() -> None:
    """hub:OWNER/NAME is a repository; other targets are folders."""
    assert hub_repository("hub:me/my-model.v1") == "me/my-model.v1"
    assert hub_repository("hub") is None and hub_repository("folder/x") is None
    for bad in ("hub:", "hub:me", "hub:me/", "hub:a/b/c", "hub:../x"):
        with pytest.raises(InputError, match="hub:OWNER/NAME"):
            hub_repository(bad)
