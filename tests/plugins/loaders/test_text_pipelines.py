"""Stable Diffusion and Flux: latents and images equal those of diffusers' own pipelines."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.models import OpenedModel, PromptWarning, open_model
from sdekit.registry import build
from sdekit.sampling import add_noise, sample

Folder = Callable[[str], Path]
PROMPT, NEGATIVE, STEPS = "a red dog and the cat", "bad", 10
SAMPLERS = {
    "ddim": ("DDIMScheduler", {"set_alpha_to_one": True, "clip_sample": False}),
    "dpmpp-2m": ("DPMSolverMultistepScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "ode": ("EulerDiscreteScheduler", {}),
}
TABLES = ("sd15", "sd21", "sd21_zero_snr", "sdxl")
CASES = [*((name, sampler) for name in TABLES for sampler in SAMPLERS), ("sd3", "ode"), ("flux", "ode")]


@cache
def pipeline(folder: Path) -> Any:
    """The pipeline in diffusers."""
    import diffusers

    absent = {"text_encoder_3": None, "tokenizer_3": None} if folder.name == "sd3" else {}
    opened = diffusers.DiffusionPipeline.from_pretrained(folder, **absent)
    opened.set_progress_bar_config(disable=True)
    return opened


@cache
def opened_model(folder: Path, options: str = "") -> OpenedModel:
    """The pipeline in sdekit, at 64 x 64 pixels."""
    return open_model(f"diffusers:{folder},size=64{options}")


def noise(opened: OpenedModel, n: int = 2) -> Tensor:
    """Standard normal latents."""
    return torch.randn(n, *opened.shape, generator=torch.Generator().manual_seed(1))


def reference(folder: Path, sampler: str, z: Tensor, **options: Any) -> Tensor:
    """Latents of diffusers, with the scheduler that corresponds to a sampler."""
    import diffusers

    pipe, name = pipeline(folder), folder.name
    if name not in ("sd3", "flux"):
        kind, changes = SAMPLERS[sampler]
        config = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
        pipe.scheduler = getattr(diffusers, kind).from_config(config, **changes)
    arguments = {
        "prompt": [PROMPT] * len(z), "num_inference_steps": STEPS, "output_type": "latent", "height": 64, "width": 64,
        "latents": z.clone(), **options,
    }  # fmt: skip
    if name == "flux":
        arguments["latents"] = pipe._pack_latents(z, *z.shape)
        return pipe._unpack_latents(pipe(**arguments).images, 64, 64, 8)
    return pipe(**arguments, negative_prompt=[NEGATIVE] * len(z), guidance_scale=7.5).images


def times(folder: Path, opened: OpenedModel) -> Tensor:
    """The times of diffusers' last run."""
    scheduler = pipeline(folder).scheduler
    if folder.name in ("sd3", "flux"):
        return scheduler.sigmas[:-1].double()
    return (scheduler.timesteps.double() + 1) / 1000


def draw(opened: OpenedModel, sampler: str, z: Tensor, grid: Any, **options: Any) -> Tensor:
    """Latents of sdekit from the same noise and times."""
    assert opened.encoder is not None
    method = {"unipc": {"order": 2}, "ode": {"method": "euler"}}.get(sampler, {})
    y = opened.encoder([PROMPT] * len(z))
    guidance = [build("guidance", "cfg", scale=7.5)] if opened.conditioning.null else []
    arguments = {"shape": opened.shape, "x": z, "grid": grid, "y": y, "guidance": guidance, **options}
    return sample(opened.model.sde, opened.model, build("sampler", sampler, **method), **arguments).x


def distance(x: Tensor, y: Tensor) -> float:
    """Relative difference."""
    return float((x - y).norm() / y.norm())


@pytest.mark.parametrize(("name", "sampler"), CASES, ids=["-".join(case) for case in CASES])
def test_latents_are_those_of_diffusers(name: str, sampler: str, text_pipeline: Folder) -> None:
    """With guidance and a negative prompt, from the same noise and times, latents agree to 1e-5."""
    folder = text_pipeline(name)
    opened = opened_model(folder)
    if opened.conditioning.null:
        assert opened.encoder is not None
        opened.model.set_null(opened.encoder([NEGATIVE]))
    z = noise(opened)
    expected = reference(folder, sampler, z)
    # at zero terminal SNR the schedulers of these samplers replace alpha = 0 by 2^-12, and subtract numbers of 4096
    tolerance = 5e-4 if name == "sd21_zero_snr" and sampler != "ddim" else 1e-5
    assert distance(draw(opened, sampler, z, times(folder, opened)), expected) < tolerance


@pytest.mark.parametrize("name", ["sd15", "sd3"])
def test_images_are_those_of_diffusers(name: str, text_pipeline: Folder) -> None:
    """Decoded images agree to 1e-5 of their range, and the codec maps them back to the posterior's mean."""
    folder = text_pipeline(name)
    opened, pipe = opened_model(folder), pipeline(text_pipeline(name))
    z, config = noise(opened), pipeline(folder).vae.config
    with torch.no_grad():
        raw = z / config.scaling_factor + (config.shift_factor or 0)
        expected = pipe.vae.decode(raw, return_dict=False)[0]
        assert (opened.decode(z) - expected).abs().max() < 1e-5 * expected.abs().max()
        mean = (pipe.vae.encode(expected).latent_dist.mean - (config.shift_factor or 0)) * config.scaling_factor
        assert distance(opened.encode(expected), mean) < 1e-5
    data = opened.to_data(z)
    assert data.shape == (2, 64, 64, 3) and opened.data_shape == (3, 64, 64)  # pixels as in image files
    assert distance(torch.from_numpy(data), ((expected + 1) * 127.5).movedim(1, -1)) < 1e-5


@pytest.mark.parametrize("name", ["sd15", "sdxl", "sd3", "flux"])
def test_the_batch_size_does_not_matter(name: str, text_pipeline: Folder) -> None:
    """Four samples at once are four samples one at a time, to 1e-5."""
    opened = opened_model(text_pipeline(name))
    z, grid = noise(opened, 4), torch.tensor([1.0, 0.7, 0.3], dtype=torch.float64)
    together, alone = (draw(opened, "ddim", z, grid, batch_size=size) for size in (4, 1))
    assert distance(together, alone) < 1e-5


def test_edit_is_img2img(text_pipeline: Folder) -> None:
    """Noise up to the time of `strength`, then sampling, is StableDiffusionImg2ImgPipeline."""
    import diffusers

    folder = text_pipeline("sd15")
    opened, scheduler = opened_model(folder), diffusers.DDIMScheduler
    pipe = diffusers.StableDiffusionImg2ImgPipeline(**pipeline(folder).components, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = scheduler.from_config(pipe.scheduler.config, set_alpha_to_one=True, clip_sample=False)
    latents = noise(opened, 1)
    expected = pipe(
        prompt=PROMPT, negative_prompt=NEGATIVE, image=latents, strength=0.6, num_inference_steps=STEPS,
        guidance_scale=7.5, output_type="latent", generator=torch.Generator().manual_seed(5),
    ).images  # fmt: skip
    eps = torch.randn(latents.shape, generator=torch.Generator().manual_seed(5))
    assert opened.encoder is not None
    opened.model.set_null(opened.encoder([NEGATIVE]))
    grid = times(folder, opened)[-int(STEPS * 0.6) :]
    start, _ = add_noise(opened.model.sde, latents[0], float(grid[0]), [0])
    x = opened.model.sde.perturb(latents, grid[0], eps)
    y = opened.encoder([PROMPT])
    drawn = sample(
        start, opened.model, "ddim", shape=opened.shape, x=x, grid=grid, y=y,
        guidance=[build("guidance", "cfg", scale=7.5)],
    ).x  # fmt: skip
    assert distance(drawn, expected) < 1e-5


@pytest.mark.parametrize("name", ["sdxl", "sd3", "flux"])
def test_the_null_condition_of_the_model(name: str, text_pipeline: Folder) -> None:
    """Without a negative prompt it is zeros for SDXL, which keeps the sizes, "" for SD3, and missing for Flux."""
    opened = open_model(f"diffusers:{text_pipeline(name)},size=64")
    null, encoder = opened.conditioning.null_value, opened.encoder
    assert encoder is not None
    if name == "flux":
        with pytest.raises(InputError, match="Flux is distilled and has no null condition.*guidance=3.5.*--negative"):
            draw_guided(opened)
        opened.model.set_null(encoder([""]))
        assert draw_guided(opened).isfinite().all()
        return
    assert null is not None and not isinstance(null, Tensor)
    empty = encoder([""])
    for part, value in null.parts.items():
        zero = name == "sdxl" and part != "size"
        assert torch.equal(value, torch.zeros_like(value) if zero else empty.parts[part])  # type: ignore[union-attr]


def draw_guided(opened: OpenedModel) -> Tensor:
    """One sample of two steps with cfg."""
    assert opened.encoder is not None
    arguments: Any = {"shape": opened.shape, "n": 1, "y": opened.encoder(["a"]), "steps": 2}
    return sample(opened.model.sde, opened.model, "ddim", guidance="cfg", **arguments).x


def test_flux_is_guided_by_a_number(text_pipeline: Folder) -> None:
    """The option `guidance` is the pipeline's guidance_scale."""
    folder = text_pipeline("flux")
    opened = opened_model(folder, ",guidance=1.5")
    z = noise(opened)
    expected = reference(folder, "ode", z, guidance_scale=1.5)
    assert distance(draw(opened, "ode", z, times(folder, opened)), expected) < 1e-5


def test_facts_and_grid(text_pipeline: Folder) -> None:
    """Parts, scheduler and grids are reported; the makers' grid starts below t_max, with x of variance 1."""
    opened = opened_model(text_pipeline("sd15"))
    assert opened.facts["pipeline"] == "StableDiffusionPipeline"
    assert opened.facts["makers_grid"] == "leading times of 1000 knots, offset 1" and opened.grid is None
    assert opened.facts["parts"]["unet"] == "UNet2DConditionModel" and not opened.guesses
    assert opened.makers_grid is not None
    y = opened.encoder([PROMPT] * 2)  # type: ignore[misc]
    arguments: Any = {"shape": opened.shape, "n": 2, "y": y, "steps": STEPS}
    samples = sample(opened.model.sde, opened.model, "ddim", grid=opened.makers_grid, trajectory=True, **arguments)
    assert samples.times[0] == 0.902 and samples.trajectory is not None
    assert samples.trajectory[0].square().mean() == pytest.approx(1.0, abs=0.15)
    flow = opened_model(text_pipeline("flux"))
    assert flow.grid == flow.facts["makers_grid"] and flow.grid.startswith("shift:shift=1.5")


def test_a_prompt_that_is_cut(text_pipeline: Folder) -> None:
    """A warning says how much of a prompt each encoder cuts, and quotes it."""
    encoder = opened_model(text_pipeline("flux")).encoder
    assert encoder is not None
    with pytest.warns(PromptWarning, match=r"encoder 1 \(CLIP\) reads 77 tokens, and the prompt has \d+.*cut: '.*dog'"):
        encoder(["the " * 90 + "dog"])


def test_half_precision(text_pipeline: Folder) -> None:
    """bf16 weights take half the memory, samples stay float32, and an autoencoder with force_upcast stays float32."""
    opened = open_model(f"diffusers:{text_pipeline('sd15')},dtype=bf16")
    weights = {p.dtype for p in opened.model.parameters()}
    assert weights == {torch.bfloat16}
    assert {p.dtype for p in opened.codec.parameters()} == {torch.float32}  # type: ignore[union-attr]
    full = opened_model(text_pipeline("sd15"))
    assert full.encoder is not None
    y, z = full.encoder([PROMPT]), noise(full, 1)
    half, whole = (model(z, 0.5, y) for model in (opened.model, full.model))
    assert half.dtype == torch.float32 and distance(half, whole) < 0.05


def test_sizes(text_pipeline: Folder) -> None:
    """WIDTHxHEIGHT or one number; sizes that the factor does not divide, or that have no positions, are refused."""
    folder = text_pipeline("sd3")
    assert open_model(f"diffusers:{folder},size=96x64").data_shape == (3, 64, 96)
    for size, message in [
        ("72x64", "size 72x64: this model makes images in multiples of 16 pixels, such as 64x64"),
        ("256", "has positions for at most 128 pixels a side"),
        ("0x64", "write WIDTHxHEIGHT, or one number, of 1 to 16384 pixels"),
        ("big", "size 'big': write WIDTHxHEIGHT"),
    ]:
        with pytest.raises(InputError, match=message):
            open_model(f"diffusers:{folder},size={size}")
