"""The schedule of a pipeline of diffusers: how its network was trained, and the times at which its makers sample."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from torch import Tensor

from sdekit.errors import InputError
from sdekit.integrations import TrainedModel, read_scheduler_config
from sdekit.processes import SDE, RectifiedFlow, TabulatedVP
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

FLOWS = ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler")
"""Schedulers of rectified flows."""

EDMS = ("EDMEulerScheduler", "EDMDPMSolverMultistepScheduler")
"""Schedulers of EDM."""

COMMON = {
    **{"num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"},
    "prediction_type": "epsilon",
}
"""Defaults of a scheduler whose class cannot be imported because it needs another package."""

GUESSED = ("prediction_type", "beta_schedule", "beta_start", "beta_end", "timestep_spacing")
"""Entries of a table of betas whose defaults matter."""


@dataclass(frozen=True, kw_only=True)
class Schedule(TrainedModel):
    """How a network was trained, and the grid of its makers.

    Arguments:
        makers_grid: Grid of the makers, `grid(sde, n) -> (n + 1,)`, with as many network evaluations as times; it may
            depend on the size of the image, see `for_tokens`.
        grid: The same grid as "NAME:option=value", if a registered grid equals it.
        config: All entries of scheduler_config.json, completed by the defaults of the scheduler's class.
        facts: Facts for `sdekit info`.
        guesses: Entries that the file lacks and that matter, with the defaults that were assumed.
    """

    makers_grid: Grid | None = None
    grid: str | None = None
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
        makers_grid, grid = _shifted_grid(self.config, tokens)
        return replace(self, makers_grid=makers_grid, grid=grid, facts={**self.facts, "makers_grid": grid})


def read_schedule(config: Mapping[str, Any], source: str) -> Schedule:
    """Read a scheduler_config.json.

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
        trained = read_scheduler_config(complete, name)
        if isinstance(trained.sde, TabulatedVP):
            options = _table_options(complete, len(trained.sde.betas))
            options["guesses"] = {key: complete[key] for key in GUESSED if key in complete and key not in config}
        elif isinstance(trained.sde, RectifiedFlow):
            makers_grid, grid = _shifted_grid(complete, None)
            options = {"makers_grid": makers_grid, "grid": grid, "facts": {"makers_grid": grid}}
        else:
            options = {"grid": "karras", "facts": {"makers_grid": "karras"}}
    except InputError as error:
        raise InputError(f"{source}: {error}") from error
    except (TypeError, ValueError, KeyError, ArithmeticError, RuntimeError) as error:
        raise InputError(f"{source} has a value that is not valid ({type(error).__name__}: {error})") from error
    options["facts"] = {"scheduler": name, **options["facts"]}
    return Schedule(**vars(trained), config=complete, **options)


def _defaults(name: str) -> dict[str, Any]:
    """Return the defaults of a scheduler's class, which files of older versions do not repeat."""
    scheduler = getattr(require_package("diffusers", "diffusers", "a folder of diffusers"), name)
    parameters = inspect.signature(scheduler.__init__).parameters.values()
    return COMMON | {p.name: p.default for p in parameters if p.default is not p.empty}


def _table_options(config: Mapping[str, Any], n: int) -> dict[str, Any]:
    """Return the makers' grid and the facts of a table of n betas."""
    spacing, offset = config.get("timestep_spacing", "leading"), int(config.get("steps_offset") or 0)
    grid = f"{spacing} times of {n} knots" + (f", offset {offset}" if offset and spacing == "leading" else "")
    return {
        "makers_grid": partial(_knots, knots=n, spacing=spacing, offset=offset),
        "facts": {"beta_schedule": config["beta_schedule"], "makers_grid": grid},
    }


def _knots(sde: SDE, n: int, *, knots: int, spacing: Any, offset: int) -> Tensor:
    """Return n + 1 times of a table, as `Grid`."""
    return spaced_knots(n + 1, knots=knots, spacing=spacing, offset=offset)


def _shifted_grid(config: Mapping[str, Any], tokens: int | None) -> tuple[Grid, str]:
    """Return the makers' grid of a rectified flow, and its name. `tokens` is the number of patches of the image."""
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
    return partial(shift, shift=factor, last=last), grid


def _dynamic_shift(config: Mapping[str, Any], tokens: int) -> float:
    """Return the factor of rho for an image of a number of patches (Esser et al. 2024, section 5.3.2)."""
    low, high = int(config["base_image_seq_len"]), int(config["max_image_seq_len"])
    base, most = float(config["base_shift"]), float(config["max_shift"])
    mu = base + (tokens - low) * (most - base) / (high - low)
    return math.exp(mu) if config.get("time_shift_type", "exponential") == "exponential" else mu
