"""The process and the network of a model of diffusers, from the configuration of its scheduler."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.models import PREDICTIONS, NetworkInput
from sdekit.processes import EDM, SDE, RectifiedFlow, TabulatedVP, as_time

PREDICTION_TYPES = {"epsilon": "eps", "v_prediction": "v", "sample": "x0", "flow_prediction": "flow"}
"""Values of `prediction_type` in diffusers, and the predictions of sdekit."""

NEARLY_ZERO = (
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "UniPCMultistepScheduler",
)
"""Schedulers of diffusers that replace the last alpha, which is 0 with zero terminal SNR, by 2^-12.

They compute with rho = sigma / alpha, which must be finite. Schedulers like DDIMScheduler keep the exact 0.
"""


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """How a network was trained, as far as the configuration of a scheduler states it.

    Arguments:
        sde: Process of x_t.
        prediction: Quantity that the network predicts, a key of `sdekit.models.PREDICTIONS`.
        inputs: Time input of the network, which diffusers calls the timestep, and scale of x.
        data_std: Standard deviation of the data, see `sdekit.models.ScoreModel`.
        guidance: Limits of x_0, as "NAME:option=value,option=value".
        learned_variance: Whether the network also returns variances, in a second half of its channels.
    """

    sde: SDE
    prediction: str
    inputs: NetworkInput
    data_std: float = 1.0
    guidance: tuple[str, ...] = ()
    learned_variance: bool = False

    def coefficients(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return (c_skip, c_out) of D = c_skip x + c_out F at times t, each of the shape of t."""
        return PREDICTIONS[self.prediction](self.sde.alpha(t), self.sde.sigma(t), self.data_std)

    def timestep(self, t: Tensor) -> Tensor:
        """Return the time input of the network at times t, float64 of the shape of t."""
        return self.inputs.c_noise(self.sde, t)

    def time(self, timestep: Tensor) -> Tensor:
        """Return the times of time inputs, the inverse of `timestep`, clamped to [0, t_max]."""
        clock = (as_time(timestep) - self.inputs.offset) / self.inputs.scale
        if self.inputs.clock != "t":
            clock = self.sde.time(clock.exp() if self.inputs.clock == "log-rho" else clock)
        return clock.clamp(0, self.sde.t_max)


def read_scheduler_config(config: Mapping[str, Any], kind: str | None = None) -> TrainedModel:
    """Read the process and the prediction from the configuration of a scheduler of diffusers.

    Everything else in a configuration belongs to the sampler of diffusers: spacing and shift of the times, the variance
    of ancestral steps, the order of a solver.

    Arguments:
        config: Contents of scheduler_config.json.
        kind: Class of the scheduler; None means the `_class_name` in the configuration. Without either, the names
            of the settings decide.
    Returns:
        How the network was trained.
    Raises:
        InputError: If the scheduler belongs to another kind of model, or a value is not supported.
    """
    kind = str(kind or config.get("_class_name", ""))
    prediction_type = config.get("prediction_type") or "epsilon"
    table = "beta_schedule" in config or config.get("trained_betas") is not None
    # the configuration of a scheduler that was not read from a file does not contain its class
    flow = kind.startswith("FlowMatch") or (not kind and "shift" in config and not table)
    if flow or config.get("use_flow_sigmas") or prediction_type == "flow_prediction":
        n = _table_length(config)
        inputs = NetworkInput(clock="t", scale=n, normalize=False)
        return TrainedModel(sde=RectifiedFlow(t_min=1 / n), prediction="flow", inputs=inputs)
    if prediction_type not in PREDICTION_TYPES:
        raise InputError(f"prediction_type {prediction_type!r} is not one of {', '.join(PREDICTION_TYPES)}")
    if kind.startswith("EDM") or (not kind and "sigma_data" in config):
        if prediction_type != "epsilon":
            raise InputError(f"prediction_type {prediction_type!r} of {kind or 'EDM'} has no counterpart in sdekit")
        sde = EDM(sigma_min=float(config.get("sigma_min", 0.002)), sigma_max=float(config.get("sigma_max", 80.0)))
        std = float(config.get("sigma_data", 0.5))
        return TrainedModel(sde=sde, prediction="edm", inputs=NetworkInput(), data_std=std)
    prediction, guidance = PREDICTION_TYPES[prediction_type], _limits(config)
    # the network receives log(rho) / 4, and sigma_min and sigma_max, if present, are the range of its training
    continuous = config.get("timestep_type") == "continuous"
    if continuous and config.get("sigma_min") and config.get("sigma_max"):
        sde = EDM(sigma_min=float(config["sigma_min"]), sigma_max=float(config["sigma_max"]))
        return TrainedModel(sde=sde, prediction=prediction, inputs=NetworkInput(), guidance=guidance)
    if not table:
        raise InputError(
            f"{kind or 'the scheduler'} has no table of betas: supported are the schedulers with a beta_schedule, "
            "FlowMatch schedulers and EDM schedulers"
        )
    tabulated = _read_table(config)
    if prediction == "eps" and tabulated.alpha(as_time(1.0)) < 1e-6:
        raise InputError(
            "prediction_type 'epsilon' with zero terminal SNR: at the last index x is noise alone, so its noise does "
            "not determine x_0. Set prediction_type to 'v_prediction', or rescale_betas_zero_snr to false"
        )
    if config.get("rescale_betas_zero_snr") and kind in NEARLY_ZERO:
        tabulated = _with_last_alpha(tabulated, 2**-12)
    index = NetworkInput(clock="t", scale=len(tabulated.betas), offset=-1, normalize=False)
    return TrainedModel(
        sde=tabulated,
        prediction=prediction,
        inputs=NetworkInput(normalize=False) if continuous else index,
        guidance=guidance,
        learned_variance=str(config.get("variance_type", "")).startswith("learned"),
    )


def _read_table(config: Mapping[str, Any]) -> TabulatedVP:
    """Return the process of the table of betas, whose last alpha is 0 with zero terminal SNR."""
    if (trained := config.get("trained_betas")) is not None:
        table = TabulatedVP(tuple(map(float, trained)))
    else:
        table = _build_table(config)
    return table.with_zero_terminal_snr() if config.get("rescale_betas_zero_snr") else table


def _build_table(config: Mapping[str, Any]) -> TabulatedVP:
    """Return the process of a named table of betas."""
    n, schedule = _table_length(config), config.get("beta_schedule", "linear")
    low, high = float(config.get("beta_start", 1e-4)), float(config.get("beta_end", 0.02))
    if schedule == "linear":
        return TabulatedVP.linear(n=n, beta_min=low, beta_max=high)
    if schedule == "scaled_linear":
        return TabulatedVP.scaled_linear(n=n, beta_min=low, beta_max=high)
    if schedule == "squaredcos_cap_v2":
        return TabulatedVP.cosine(n=n)
    if schedule == "sigmoid":
        part = torch.linspace(-6, 6, n, dtype=torch.float64).sigmoid()
        return TabulatedVP(tuple((part * (high - low) + low).tolist()))
    raise InputError(
        f"beta_schedule {schedule!r} is not one of linear, scaled_linear, squaredcos_cap_v2, sigmoid, or trained_betas"
    )


def _table_length(config: Mapping[str, Any]) -> int:
    """Return num_train_timesteps, checked before a table of that length is built."""
    n = int(config.get("num_train_timesteps", 1000))
    if not 2 <= n <= 1_000_000:
        raise InputError(f"num_train_timesteps is {n}: it must be between 2 and 1000000")
    return n


def _with_last_alpha(sde: TabulatedVP, alpha: float) -> TabulatedVP:
    """Return the process with a last alpha that is not 0 but a small number."""
    before = float(sde.alpha(as_time(1 - 1 / len(sde.betas))))
    return TabulatedVP((*sde.betas[:-1], 1 - (alpha / before) ** 2))


def _limits(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the guidance that limits x_0, if the configuration asks for one."""
    if config.get("thresholding"):
        quantile, largest = config.get("dynamic_thresholding_ratio", 0.995), config.get("sample_max_value", 1.0)
        return (f"threshold:low=-1.0,high=1.0,quantile={quantile},largest={largest}",)
    if config.get("clip_sample"):
        limit = float(config.get("clip_sample_range", 1.0))
        return (f"clip:low={-limit},high={limit}",)
    return ()
