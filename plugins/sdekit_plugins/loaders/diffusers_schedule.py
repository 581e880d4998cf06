"""scheduler_config.json of diffusers as a process, a prediction, the inputs of the network and the makers' grid."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.models import NetworkInput
from sdekit.processes import EDM, SDE, RectifiedFlow, TabulatedVP, as_time
from sdekit.sampling import Grid, shift, spaced_knots

from .extras import require_package

TABLES = (
    *("DDIMScheduler", "DDPMScheduler", "DDIMParallelScheduler", "DDPMParallelScheduler", "PNDMScheduler"),
    *("LMSDiscreteScheduler", "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler"),
    *("DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler", "DPMSolverSDEScheduler"),
    *("UniPCMultistepScheduler", "DEISMultistepScheduler", "SASolverScheduler"),
    *("KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler"),
)
"""Schedulers with a table of betas."""

EXACT_ZERO = ("DDIMScheduler", "DDPMScheduler", "DDIMParallelScheduler", "DDPMParallelScheduler")
"""Schedulers whose last alpha is 0 with zero terminal SNR; in all others it is 2^-12."""

FLOWS = ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler")
"""Schedulers of rectified flows."""

EDMS = ("EDMEulerScheduler", "EDMDPMSolverMultistepScheduler")
"""Schedulers of EDM."""

COMMON = {
    **{"num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"},
    "prediction_type": "epsilon",
}
"""Defaults of a scheduler whose class cannot be imported because it needs another package."""

PREDICTIONS = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}
"""Map from `prediction_type` to the prediction."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The contents of a scheduler_config.json.

    Arguments:
        sde: Process.
        prediction: Prediction of the network.
        inputs: Inputs of the network.
        data_std: Standard deviation of the data.
        makers_grid: Grid of the makers, `grid(sde, n) -> (n + 1,)`, with as many network evaluations as times; it may
            depend on the size of the image, see `for_tokens`.
        grid: The same grid as "NAME:option=value", if a registered grid equals it.
        clip: Range of x_0 to which the makers' sampler clips, or None.
        config: All entries of the file, completed by the defaults of the scheduler's class.
        facts: Facts for `sdekit info`.
        guesses: Entries that the file lacks and that matter, with the defaults that were assumed.
    """

    sde: SDE
    prediction: str
    inputs: NetworkInput
    data_std: float = 1.0
    makers_grid: Grid | None = None
    grid: str | None = None
    clip: tuple[float, float] | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    guesses: Mapping[str, Any] = field(default_factory=dict)

    def for_tokens(self, tokens: int) -> Schedule:
        """Return the schedule for an image of a number of patches, on which dynamic shifting depends.

        Arguments:
            tokens: Number of patches of the latents that the transformer receives.
        Returns:
            The schedule with the shift of this number; the same schedule without dynamic shifting.
        """
        if not self.config.get("use_dynamic_shifting"):
            return self
        shifted = _flow(self.config, self.facts["scheduler"], tokens)
        return replace(self, makers_grid=shifted.makers_grid, grid=shifted.grid, facts=shifted.facts)


def read_schedule(config: Mapping[str, Any], source: str) -> Schedule:
    """Convert a scheduler_config.json.

    Arguments:
        config: Contents of the file.
        source: Path of the file, for messages.
    Returns:
        The schedule.
    Raises:
        InputError: If the scheduler is unknown, an entry has no counterpart in sdekit, or a value is not valid.
    """
    name = config.get("_class_name")
    known = (*TABLES, *FLOWS, *EDMS)
    if name not in known:
        raise InputError(f"{source}: scheduler {name!r} has no counterpart in sdekit; it reads {', '.join(known)}")
    complete = _defaults(name) | {k: v for k, v in config.items() if not k.startswith("_")}
    try:
        if name in FLOWS or complete.get("prediction_type") == "flow_prediction":
            return _flow(complete, name, None)
        if name in EDMS:
            return _edm(complete, name)
        matter = ("prediction_type", "beta_schedule", "beta_start", "beta_end", "timestep_spacing")
        guesses = {key: complete[key] for key in matter if key in complete and key not in config}
        return _table(complete, name, guesses)
    except InputError as error:
        raise InputError(f"{source}: {error}") from error
    except (TypeError, ValueError, KeyError, ArithmeticError, RuntimeError) as error:
        raise InputError(f"{source} has a value that is not valid ({type(error).__name__}: {error})") from error


def _defaults(name: str) -> dict[str, Any]:
    """Return the defaults of a scheduler's class, which files of older versions do not repeat."""
    scheduler = getattr(require_package("diffusers", "diffusers", "a folder of diffusers"), name)
    parameters = inspect.signature(scheduler.__init__).parameters.values()
    return COMMON | {p.name: p.default for p in parameters if p.default is not p.empty}


def _table(config: Mapping[str, Any], name: str, guesses: Mapping[str, Any]) -> Schedule:
    """Read a table of betas. Index i of the table is t = (i + 1) / N, so the network's clock is N t - 1."""
    sde = TabulatedVP(_betas(config))
    zero_snr = bool(config.get("rescale_betas_zero_snr"))
    if zero_snr:
        sde = sde.with_zero_terminal_snr()
    prediction = PREDICTIONS.get(config["prediction_type"])
    if prediction is None:
        raise InputError(f"prediction_type {config['prediction_type']!r} is not one of {', '.join(PREDICTIONS)}")
    if prediction == "eps" and zero_snr:
        raise InputError(
            "prediction_type 'epsilon' with zero terminal SNR: at the last index x is noise alone, so its noise says "
            "nothing about x_0. Set prediction_type to 'v_prediction', or rescale_betas_zero_snr to false"
        )
    if zero_snr and name not in EXACT_ZERO:
        sde = _with_last_alpha(sde, 2**-12)
    n = len(sde.betas)
    inputs = NetworkInput(clock="t", scale=n, offset=-1, normalize=False)
    if config.get("timestep_type") == "continuous":
        inputs = NetworkInput(normalize=False)
    spacing, offset = config.get("timestep_spacing", "leading"), int(config.get("steps_offset") or 0)
    clips, reach = config.get("clip_sample") and not config.get("thresholding"), config.get("clip_sample_range", 1.0)
    grid = f"{spacing} times of {n} knots" + (f", offset {offset}" if offset and spacing == "leading" else "")
    return Schedule(
        sde=sde,
        prediction=prediction,
        inputs=inputs,
        makers_grid=partial(_knots, knots=n, spacing=spacing, offset=offset),
        clip=(-reach, reach) if clips else None,
        config=config,
        facts={"scheduler": name, "beta_schedule": config["beta_schedule"], "makers_grid": grid},
        guesses=guesses,
    )


def _with_last_alpha(sde: TabulatedVP, alpha: float) -> TabulatedVP:
    """Return a table whose last alpha is not 0 but a small number."""
    before = float(sde.alpha(as_time(1 - 1 / len(sde.betas))))
    return TabulatedVP((*sde.betas[:-1], 1 - (alpha / before) ** 2))


def _knots(sde: SDE, n: int, *, knots: int, spacing: Any, offset: int) -> Tensor:
    """Return n + 1 times of a table, as `Grid`."""
    return spaced_knots(n + 1, knots=knots, spacing=spacing, offset=offset)


def _betas(config: Mapping[str, Any]) -> tuple[float, ...]:
    """Return the table of betas."""
    if config.get("trained_betas") is not None:
        return tuple(float(beta) for beta in config["trained_betas"])
    n, schedule = int(config["num_train_timesteps"]), config["beta_schedule"]
    if not 2 <= n <= 1_000_000:
        raise InputError(f"num_train_timesteps is {n}: a table needs at least 2 betas")
    low, high = float(config["beta_start"]), float(config["beta_end"])
    if schedule == "linear":
        return TabulatedVP.linear(n=n, beta_min=low, beta_max=high).betas
    if schedule == "scaled_linear":
        return TabulatedVP.scaled_linear(n=n, beta_min=low, beta_max=high).betas
    if schedule == "squaredcos_cap_v2":
        return TabulatedVP.cosine(n=n).betas
    if schedule == "sigmoid":
        steps = torch.linspace(-6, 6, n, dtype=torch.float64).sigmoid() * (high - low) + low
        return tuple(steps.tolist())
    raise InputError(
        f"beta_schedule {schedule!r} is not one of linear, scaled_linear, squaredcos_cap_v2, sigmoid, or trained_betas"
    )


def _flow(config: Mapping[str, Any], name: str, tokens: int | None) -> Schedule:
    """Read a rectified flow. `tokens` is the number of patches of the image, for dynamic shifting."""
    n = int(config["num_train_timesteps"])
    for key in ("invert_sigmas", "shift_terminal"):
        if config.get(key):
            raise InputError(f"{key} = {config[key]!r} has no counterpart in sdekit")
    factor, last = float(config.get("shift") or config.get("flow_shift") or 1.0), None
    if config.get("use_dynamic_shifting"):
        factor = _dynamic_shift(config, tokens or int(config["base_image_seq_len"]))
    else:  # `set_timesteps` starts from the smallest time, which is shifted already, and shifts it again
        last = factor / n / (1 + (factor - 1) / n)
    grid = f"shift:shift={factor!r}" + (f",last={last!r}" if last else "")
    return Schedule(
        sde=RectifiedFlow(),
        prediction="flow",
        inputs=NetworkInput(clock="t", scale=n, normalize=False),
        makers_grid=partial(shift, shift=factor, last=last),
        grid=grid,
        config=config,
        facts={"scheduler": name, "makers_grid": grid},
    )


def _dynamic_shift(config: Mapping[str, Any], tokens: int) -> float:
    """Return the factor of rho for an image of a number of patches (Esser et al. 2024, section 5.3.2)."""
    low, high = int(config["base_image_seq_len"]), int(config["max_image_seq_len"])
    base, most = float(config["base_shift"]), float(config["max_shift"])
    mu = base + (tokens - low) * (most - base) / (high - low)
    return math.exp(mu) if config.get("time_shift_type", "exponential") == "exponential" else mu


def _edm(config: Mapping[str, Any], name: str) -> Schedule:
    """Read EDM."""
    if config["prediction_type"] != "epsilon":
        raise InputError(f"prediction_type {config['prediction_type']!r} of {name} has no counterpart in sdekit")
    return Schedule(
        sde=EDM(sigma_min=float(config["sigma_min"]), sigma_max=float(config["sigma_max"])),
        prediction="edm",
        inputs=NetworkInput(),
        data_std=float(config["sigma_data"]),
        grid="karras",
        config=config,
        facts={"scheduler": name, "makers_grid": "karras"},
    )
