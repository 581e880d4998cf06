"""The schedule of a pipeline: how its network was trained, and the makers' grid."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from sdekit.errors import InputError
from sdekit.processes import EDM, RectifiedFlow
from sdekit_plugins.loaders.diffusers_schedule import TABLES, Schedule, read_schedule

diffusers = pytest.importorskip("diffusers")
SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def read(scheduler: Any, folder: Path) -> Schedule:
    """The schedule of a scheduler that diffusers has saved."""
    scheduler.save_pretrained(folder)
    return read_schedule(json.loads((folder / "scheduler_config.json").read_text()), "scheduler_config.json")


@pytest.mark.parametrize(
    "options",
    [
        SD,
        {"trained_betas": [0.1, 0.2, 0.3]},
        {**SD, "rescale_betas_zero_snr": True, "prediction_type": "v_prediction"},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_tables(options: dict[str, Any], tmp_path: Path) -> None:
    """alpha at t = (i + 1)/N is the root of diffusers' alphas_cumprod[i]; the clock is i."""
    scheduler = diffusers.DDIMScheduler(**options)
    schedule = read(scheduler, tmp_path)
    n = len(scheduler.alphas_cumprod)
    t = (torch.arange(n, dtype=torch.float64) + 1) / n
    expected = scheduler.alphas_cumprod.double().clamp(min=0).sqrt()
    assert torch.allclose(schedule.sde.alpha(t), expected, rtol=2e-5, atol=1e-6)
    assert torch.allclose(schedule.inputs.c_noise(schedule.sde, t), torch.arange(n, dtype=torch.float64), atol=1e-9)
    assert schedule.inputs.c_in(schedule.sde, t, 1.0) is None and not schedule.guesses


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_scheduler_with_a_table(name: str) -> None:
    """All schedulers with a table of betas have the same process."""
    schedule = read_schedule({"_class_name": name, **SD}, "file")
    assert schedule.facts["scheduler"] == name and schedule.prediction == "eps"
    assert len(schedule.sde.betas) == 1000  # type: ignore[attr-defined]


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("steps", [7, 50])
def test_makers_grid_of_a_table(spacing: str, steps: int, tmp_path: Path) -> None:
    """The times are those of diffusers' `set_timesteps`, as t = (i + 1)/N."""
    scheduler = diffusers.DDIMScheduler(**SD, timestep_spacing=spacing, steps_offset=1)
    schedule = read(scheduler, tmp_path)
    scheduler.set_timesteps(steps)
    assert schedule.makers_grid is not None
    times = schedule.makers_grid(schedule.sde, steps - 1)
    assert torch.allclose(times * 1000 - 1, scheduler.timesteps.double(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("tokens", [None, 64, 4096])
def test_flows(tokens: int | None, tmp_path: Path) -> None:
    """The grid of a rectified flow is diffusers' own: Stable Diffusion 3's constant shift, and Flux's dynamic one."""
    options = {} if tokens is None else {"use_dynamic_shifting": True}
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0, **options)
    schedule = read(scheduler, tmp_path)
    if tokens is None:
        scheduler.set_timesteps(20)
    else:
        schedule = schedule.for_tokens(tokens)
        mu = 0.5 + (1.15 - 0.5) * (tokens - 256) / (4096 - 256)
        scheduler.set_timesteps(sigmas=[1 - i / 20 for i in range(20)], mu=mu)
    assert schedule.sde == RectifiedFlow() and schedule.prediction == "flow" and schedule.makers_grid is not None
    assert torch.allclose(schedule.makers_grid(schedule.sde, 19), scheduler.sigmas[:-1].double(), rtol=0, atol=1e-6)
    from sdekit.registry import build, component_options, parse_component

    assert schedule.grid is not None
    name, options = parse_component(schedule.grid)
    same = build("grid", name, **component_options("grid", name, options))(schedule.sde, 19)
    assert torch.equal(same, schedule.makers_grid(schedule.sde, 19))


def test_edm(tmp_path: Path) -> None:
    """EDM keeps its noise levels and the standard deviation of its data."""
    schedule = read(diffusers.EDMEulerScheduler(sigma_min=0.01, sigma_max=70.0, sigma_data=0.4), tmp_path)
    assert schedule.sde == EDM(sigma_min=0.01, sigma_max=70.0) and schedule.data_std == 0.4
    assert schedule.prediction == "edm" and schedule.inputs.normalize


def test_clipping_and_missing_entries(tmp_path: Path) -> None:
    """clip_sample is a guidance, and defaults of entries that an old file lacks are listed as guesses."""
    assert read(diffusers.DDPMScheduler(clip_sample_range=0.5), tmp_path).guidance == ("clip:low=-0.5,high=0.5",)
    assert read(diffusers.DDPMScheduler(clip_sample=False), tmp_path).guidance == ()
    schedule = read_schedule({"_class_name": "PNDMScheduler", **SD}, "file")
    assert schedule.guesses == {"prediction_type": "epsilon", "timestep_spacing": "leading"}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"_class_name": "LCMScheduler"}, "scheduler 'LCMScheduler' has no counterpart in sdekit; it reads DDIM"),
        ({}, "scheduler None has no counterpart"),
        ({"_class_name": "DDIMScheduler", "beta_schedule": "laplace"}, "beta_schedule 'laplace' is not one of linear"),
        ({"_class_name": "DDIMScheduler", "beta_start": "x"}, "a value that is not valid .ValueError"),
        ({"_class_name": "DDIMScheduler", "beta_end": 2.0}, "betas, each between 0 and 1"),
        ({"_class_name": "DDIMScheduler", "rescale_betas_zero_snr": True}, "'epsilon' with zero terminal SNR: .* x_0"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler", "invert_sigmas": True}, "invert_sigmas = True has no"),
    ],
)
def test_refusals(config: dict[str, Any], message: str) -> None:
    """What sdekit does not have is refused with the path of the file and the entry."""
    with pytest.raises(InputError, match=f"folder/scheduler_config.json.*{message}"):
        read_schedule(config, "folder/scheduler_config.json")
