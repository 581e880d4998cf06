"""Pipelines of diffusers without text: opened from a folder, they draw what diffusers' own pipelines draw."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sdekit import registry
from sdekit.errors import InputError
from sdekit.guidance import Guidance
from sdekit.models import OpenedModel, open_model
from sdekit.sampling import sample

diffusers = pytest.importorskip("diffusers")
EULER = {"timestep_spacing": "leading"}
MULTISTEP = {"solver_order": 2, "final_sigmas_type": "zero", "timestep_spacing": "leading"}
SOLVERS: dict[str, tuple[str, dict[str, Any], str, dict[str, Any]]] = {
    # sampler and its options; scheduler of diffusers and its options
    "ddim": ("ddim", {}, "DDIMScheduler", {"set_alpha_to_one": True, "clip_sample": False}),
    "dpmpp-2m": ("dpmpp-2m", {}, "DPMSolverMultistepScheduler", MULTISTEP),
    "ode": ("ode", {"method": "euler"}, "EulerDiscreteScheduler", EULER),
    "unipc": ("unipc", {"order": 2}, "UniPCMultistepScheduler", MULTISTEP),
}
STEPS = 6


@cache
def pipeline_of(folder: Path) -> Any:
    """Open a folder by diffusers."""
    pipeline = diffusers.DiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@cache
def opened_from(folder: Path) -> OpenedModel:
    """Open a folder by sdekit."""
    return open_model(f"diffusers:{folder}")


def scheduler_of(folder: Path, solver: str, **options: Any) -> Any:
    """Return the scheduler of diffusers for a solver, with the schedule of a folder."""
    _, _, kind, own = SOLVERS[solver]
    return getattr(diffusers, kind).from_config(pipeline_of(folder).scheduler.config, **own, **options)


def noise(n: int, shape: tuple[int, ...]) -> Tensor:
    """Return the noise that a pipeline draws with seed 3."""
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(3))


def theirs(
    scheduler: Any, network: Callable[[Tensor, Tensor], Tensor], x: Tensor, **options: Any
) -> tuple[Tensor, Tensor]:
    """Draw by a loop over the timesteps of diffusers. Return x_0 and the times in sdekit."""
    scheduler.set_timesteps(STEPS)
    x = x * scheduler.init_noise_sigma
    with torch.no_grad():
        for timestep in scheduler.timesteps:
            output = network(scheduler.scale_model_input(x, timestep), timestep.expand(len(x)))
            x = scheduler.step(output, timestep, x, **options).prev_sample
    return x, (scheduler.timesteps.double() + 1) / 1000


def ours(
    opened: OpenedModel,
    solver: str,
    x: Tensor,
    times: Tensor,
    y: Tensor | None = None,
    guidance: list[Guidance] | None = None,
) -> Tensor:
    """Draw by sdekit from the same noise and at the same times."""
    name, options, *_ = SOLVERS[solver]
    sampler = registry.build("sampler", name, **options)
    drawn = sample(
        *(opened.model.sde, opened.model, sampler),
        shape=opened.shape, x=x, y=y, grid=times, guidance=guidance or [],
    )  # fmt: skip
    return drawn.x


def difference(one: Tensor, other: Tensor) -> float:
    """Return the largest difference relative to the largest value."""
    return float((one - other).abs().max() / other.abs().max())


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", ["ddpm", "ldm"])
def test_unconditional(folders: Any, name: str, solver: str) -> None:
    """Samples equal those of diffusers to 1e-5, decoded ones too, and do not depend on the batch size."""
    folder = getattr(folders, name)
    opened, pipeline, x = opened_from(folder), pipeline_of(folder), noise(4, opened_from(folder).shape)
    expected, times = theirs(scheduler_of(folder, solver), lambda x, t: pipeline.unet(x, t).sample, x)
    drawn = ours(opened, solver, x, times)
    assert difference(drawn, expected) < 1e-5
    assert difference(ours(opened, solver, x[1:2], times), drawn[1:2]) < 1e-5
    if name == "ldm":
        with torch.no_grad():
            decoded = pipeline.vqvae.decode(expected / pipeline.vqvae.config.scaling_factor).sample
        assert opened.shape == (3, 8, 8) and opened.data_shape == (3, 32, 32) and opened.data_range is None
        assert difference(torch.from_numpy(opened.to_data(drawn)), (127.5 * (decoded + 1)).movedim(1, -1)) < 1e-5


def test_clipped(folders: Any) -> None:
    """With the guidance clip, samples equal diffusers' clipped ones to 5e-5, and the facts contain the clipping."""
    opened, pipeline = opened_from(folders.clipped), pipeline_of(folders.clipped)
    assert opened.facts["makers_clip"] == "x_0 to [-1, 1]: --guidance clip"
    assert opened.data_range == (-1, 1) and "makers_clip" not in opened_from(folders.ddpm).facts
    clip = [registry.build("guidance", "clip", low=-1.0, high=1.0)]
    x = noise(4, opened.shape)
    scheduler = diffusers.DDIMScheduler.from_config(pipeline.scheduler.config)
    expected, times = theirs(scheduler, lambda x, t: pipeline.unet(x, t).sample, x, use_clipped_model_output=True)
    drawn = ours(opened, "ddim", x, times, guidance=clip)
    assert difference(drawn, expected) < 5e-5 and difference(ours(opened, "ddim", x, times), expected) > 1e-3
    for solver in ("dpmpp-2m", "unipc"):  # their schedulers have dynamic thresholding, which clips with this maximum
        scheduler = scheduler_of(folders.clipped, solver, thresholding=True, sample_max_value=1.0)
        expected, times = theirs(scheduler, lambda x, t: pipeline.unet(x, t).sample, x)
        assert difference(ours(opened, solver, x, times, guidance=clip), expected) < 5e-5


def test_ancestral_steps(folders: Any) -> None:
    """The images of DDPMPipeline are those of ddpm with clip and the same noise."""
    opened = opened_from(folders.clipped)
    pipeline = diffusers.DDPMPipeline.from_pretrained(folders.clipped)
    pipeline.scheduler.register_to_config(variance_type="fixed_small")
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(3)
    images = pipeline(batch_size=2, generator=generator, num_inference_steps=STEPS, output_type="np").images
    generator = torch.Generator().manual_seed(3)
    sde, x = opened.model.sde, torch.randn(2, *opened.shape, generator=generator)
    times = (pipeline.scheduler.timesteps.double() + 1) / 1000
    sampler = registry.build("sampler", "ddpm")
    denoise = registry.build("guidance", "clip", low=-1.0, high=1.0)(sde, opened.model)
    with torch.no_grad():
        for t, s in pairwise(times):
            z = torch.randn(x.shape, generator=generator)
            x = sampler.step(sde, denoise, x, t, s, lambda t=None, s=None, z=z: z)
        x = denoise(x, times[-1])
    drawn = opened.to_data(x).clip(0, 255) / 255
    assert np.abs(drawn - images).max() < 5e-5


@pytest.mark.parametrize("solver", SOLVERS)
def test_labels(folders: Any, solver: str) -> None:
    """DiT with cfg equals diffusers to 1e-5, as latents and as images; the learned variance is cut."""
    opened, pipeline = opened_from(folders.dit), pipeline_of(folders.dit)
    labels, x = torch.tensor([2, 7, 0, 9]), noise(4, opened.shape)

    def network(x: Tensor, t: Tensor) -> Tensor:  # the pipeline itself has the null label 1000
        both = torch.cat([labels, torch.full((4,), 10)])
        given, null = pipeline.transformer(torch.cat([x, x]), timestep=t.repeat(2), class_labels=both).sample.chunk(2)
        return (null + 4 * (given - null))[:, :4]

    expected, times = theirs(scheduler_of(folders.dit, solver), network, x)
    cfg = [registry.build("guidance", "cfg", scale=4.0)]
    drawn = ours(opened, solver, x, times, labels, cfg)
    assert difference(drawn, expected) < 1e-5
    assert difference(ours(opened, solver, x[1:2], times, labels[1:2], cfg), drawn[1:2]) < 1e-5
    with torch.no_grad():
        decoded = pipeline.vae.decode(expected / pipeline.vae.config.scaling_factor).sample
    assert difference(torch.from_numpy(opened.to_data(drawn)), (127.5 * (decoded + 1)).movedim(1, -1)) < 1e-5


def test_class_names(folders: Any) -> None:
    """Labels have the first of their names."""
    opened = opened_from(folders.dit)
    assert opened.condition == "label" and opened.classes == 10
    assert opened.conditioning.label_of("class 7") == 7


def test_codecs_invert(folders: Any) -> None:
    """Encoding is the mean of the encoder, scaled; it has no random numbers."""
    opened, pipeline = opened_from(folders.dit), pipeline_of(folders.dit)
    data = np.random.default_rng(0).uniform(0, 255, (2, 16, 16, 3)).astype(np.float32)
    with torch.no_grad():
        images = torch.from_numpy(data / 127.5 - 1).movedim(-1, 1)
        mean = pipeline.vae.encode(images).latent_dist.mean * pipeline.vae.config.scaling_factor
    assert difference(opened.to_model(data), mean) < 1e-5


@pytest.mark.parametrize("label", [-2, 10])
def test_a_label_out_of_range(folders: Any, label: int) -> None:
    """The message contains the valid labels."""
    opened = opened_from(folders.dit)
    with pytest.raises(InputError, match=f"label {label}: this model has the labels 0 to 9"):
        opened.model(torch.zeros(1, 4, 8, 8), 0.5, torch.tensor([label]))


def edited(folder: Path, copy: Path, part: str, **changes: Any) -> Path:
    """Return a copy of a folder with changed entries in the configuration of a part; None removes an entry."""
    shutil.copytree(folder, copy)
    name = {"": "model_index.json", "scheduler": "scheduler_config.json"}.get(part, "config.json")
    file = copy / part / name
    config = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    return copy


CHANGES: list[tuple[str, str, dict[str, Any], str]] = [
    ("ddpm", "unet", {"sample_size": None}, "sample_size is None, expected the size of the training"),
    ("ddpm", "unet", {"in_channels": "three"}, "in_channels is 'three'|does not describe a network"),
    ("ddpm", "unet", {"block_out_channels": [16, 24]}, "of another shape|does not fit"),
    ("ddpm", "unet", {"layers_per_block": 2}, "missing"),
    ("ddpm", "unet", {"num_class_embeds": 10}, "passes no labels|requires them"),
    ("ddpm", "scheduler", {"beta_schedule": "laplace"}, "beta_schedule 'laplace'"),
    ("ddpm", "scheduler", {"_class_name": "MyScheduler"}, "MyScheduler"),
    (
        "ddpm",
        "",
        {"_class_name": "KandinskyPipeline"},
        "Kandinsky.* not supported. It contains scheduler",
    ),
    ("ddpm", "", {"unet": ["os", "system"]}, "'unet' is the class system of 'os'"),
    ("ddpm", "", {"unet": None}, "DDPMPipeline needs the part 'unet'"),
    ("ldm", "vqvae", {"latent_channels": 4}, "of another shape|4"),
    ("ldm", "unet", {"in_channels": 4}, "of another shape"),
    ("dit", "transformer", {"num_embeds_ada_norm": 12}, "of another shape"),
]


@pytest.mark.parametrize(("name", "part", "changes", "message"), CHANGES, ids=[m for *_, m in CHANGES])
def test_damaged_configurations(
    folders: Any, tmp_path: Path, name: str, part: str, changes: dict[str, Any], message: str
) -> None:
    """A configuration that does not fit is refused with its path."""
    path = edited(getattr(folders, name), tmp_path / "copy", part, **changes)
    with pytest.raises(InputError, match=message) as error:
        open_model(f"diffusers:{path}")
    assert str(path) in str(error.value)


@pytest.mark.parametrize("fault", ["missing", "extra", "shape"])
def test_damaged_weights(folders: Any, tmp_path: Path, fault: str) -> None:
    """A tensor that is missing, extra or of another shape is refused by its name, where diffusers invents numbers."""
    shutil.copytree(folders.ddpm, tmp_path / "copy")
    file = tmp_path / "copy" / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    if fault == "missing":
        del tensors["conv_in.weight"]
    elif fault == "extra":
        tensors["conv_new.weight"] = torch.zeros(2)
    else:
        tensors["conv_in.weight"] = torch.zeros(16, 3, 5, 5)
    save_file(tensors, file)
    with pytest.raises(InputError, match="conv_new" if fault == "extra" else "conv_in.weight") as error:
        open_model(f"diffusers:{tmp_path / 'copy'}")
    assert str(tmp_path) in str(error.value)


def test_other_folders(folders: Any, tmp_path: Path) -> None:
    """A folder that is not a pipeline is refused with what it contains; a bare path is answered with the loader."""
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match="model_index.json is missing.* It contains notes.txt"):
        open_model(f"diffusers:{tmp_path}")
    with pytest.raises(InputError, match=f"did you mean diffusers:{folders.ddpm}"):
        open_model(folders.ddpm)
    with pytest.raises(InputError, match="a DiT makes images of one size, 16x16: leave out size=32"):
        open_model(f"diffusers:{folders.dit},size=32")
    assert open_model(f"diffusers:{folders.dit},size=16").data_shape == (3, 16, 16)
    assert open_model(f"diffusers:{folders.ddpm},size=32x16").shape == (3, 16, 32)
    assert open_model(f"diffusers:{folders.ldm},size=64").shape == (3, 16, 16)
    with pytest.raises(InputError, match="size 15: this model makes images in multiples of 2 pixels"):
        open_model(f"diffusers:{folders.ddpm},size=15")


def test_an_older_name_of_the_transformer(folders: Any, tmp_path: Path) -> None:
    """Folders of early versions have DiT's transformer as a Transformer2DModel."""
    older = {"_class_name": "Transformer2DModel", "norm_type": "ada_norm_zero"}
    path = edited(folders.dit, tmp_path / "copy", "transformer", **older)
    index = json.loads((path / "model_index.json").read_text())
    index["transformer"][1] = "Transformer2DModel"
    (path / "model_index.json").write_text(json.dumps(index))
    x, y = noise(2, (4, 8, 8)), torch.tensor([1, 2])
    opened = [open_model(f"diffusers:{folder}").model(x, 0.5, y) for folder in (path, folders.dit)]
    assert torch.equal(*opened)
