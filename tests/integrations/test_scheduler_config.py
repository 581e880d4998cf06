"""The process and the prediction of a model of diffusers, from the configuration of its scheduler."""

from typing import Any

import pytest
import torch

from sdekit.errors import InputError
from sdekit.integrations import read_scheduler_config
from sdekit.processes import EDM, RectifiedFlow, TabulatedVP

diffusers = pytest.importorskip("diffusers")
SCALED = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("DDPMScheduler", {}),
        ("DDPMScheduler", {"beta_schedule": "squaredcos_cap_v2", "num_train_timesteps": 50}),
        ("DDPMScheduler", {"beta_schedule": "sigmoid"}),
        ("DDPMScheduler", {"trained_betas": [0.1, 0.2, 0.3]}),
        ("DDIMScheduler", {**SCALED, "rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}),
        ("EulerDiscreteScheduler", {**SCALED, "rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}),
        ("PNDMScheduler", SCALED),
        ("DDPMScheduler", {"num_train_timesteps": 50}),
        ("EulerDiscreteScheduler", SCALED),
        ("DPMSolverMultistepScheduler", {**SCALED, "prediction_type": "sample"}),
    ],
)
def test_a_table_has_the_alphas_of_diffusers(kind: str, options: dict[str, Any]) -> None:
    """Index i of the table is the time at which the network receives i, and alpha there is diffusers' own."""
    scheduler = getattr(diffusers, kind)(**options)
    model = read_scheduler_config(scheduler.config, kind)
    index = torch.arange(len(scheduler.alphas_cumprod))
    t = model.time(index)
    torch.testing.assert_close(model.timestep(t), index.double())
    torch.testing.assert_close(model.sde.alpha(t) ** 2, scheduler.alphas_cumprod.double(), rtol=1e-4, atol=2e-7)
    assert model.inputs.c_in(model.sde, t, 1.0) is None
    expected = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}[scheduler.config.prediction_type]
    assert model.prediction == expected


@pytest.mark.parametrize(
    ("kind", "alpha"),
    [
        ("DDIMScheduler", 0),
        ("DDPMScheduler", 0),
        ("EulerDiscreteScheduler", 2**-12),
        ("EulerAncestralDiscreteScheduler", 2**-12),
        ("DPMSolverMultistepScheduler", 2**-12),
        ("UniPCMultistepScheduler", 2**-12),
    ],
)
def test_the_last_alpha_of_zero_terminal_snr(kind: str, alpha: float) -> None:
    """It is exactly 0 as in DDIM, or 2^-12 in the schedulers of diffusers that divide by alpha."""
    options = {**SCALED, "rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}
    scheduler = getattr(diffusers, kind)(**options)
    last = read_scheduler_config(scheduler.config, kind).sde.alpha(torch.tensor(1.0, dtype=torch.float64))
    assert float(last) == pytest.approx(alpha, rel=1e-6, abs=0)
    assert float(scheduler.alphas_cumprod[-1]) == pytest.approx(alpha**2, rel=1e-6, abs=1e-13)


@pytest.mark.parametrize("kind", ["FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler"])
def test_flow_matching(kind: str) -> None:
    """A flow network receives 1000 t; shifts are a matter of the times at which it is sampled."""
    model = read_scheduler_config(getattr(diffusers, kind)(shift=3.0).config, kind)
    assert isinstance(model.sde, RectifiedFlow) and model.prediction == "flow"
    t = torch.tensor([0.25, 1.0], dtype=torch.float64)
    assert model.timestep(t).tolist() == [250, 1000]
    torch.testing.assert_close(model.time(model.timestep(t)), t)


@pytest.mark.parametrize(
    "config",
    [
        {"_class_name": "DPMSolverMultistepScheduler", "use_flow_sigmas": True, "prediction_type": "flow_prediction"},
        {"_class_name": "UniPCMultistepScheduler", "prediction_type": "flow_prediction", **SCALED},
    ],
)
def test_solvers_with_flow_prediction(config: dict[str, Any]) -> None:
    """Solvers of diffusers for flow models are recognised by their prediction."""
    assert isinstance(read_scheduler_config(config).sde, RectifiedFlow)


def test_edm() -> None:
    """EDM's schedulers precondition as `ScoreModel` does: c_in, c_noise, c_skip and c_out are equal."""
    scheduler = diffusers.EDMEulerScheduler(sigma_min=0.01, sigma_max=50.0, sigma_data=0.4)
    model = read_scheduler_config(scheduler.config, "EDMEulerScheduler")
    assert isinstance(model.sde, EDM) and (model.sde.sigma_min, model.sde.sigma_max) == (0.01, 50.0)
    sigma = torch.tensor(3.0, dtype=torch.float64)
    x, output = torch.randn(2, 3, dtype=torch.float64), torch.randn(2, 3, dtype=torch.float64)
    c_skip, c_out = model.coefficients(sigma)
    torch.testing.assert_close(c_skip * x + c_out * output, scheduler.precondition_outputs(x, output, sigma))
    c_in = model.inputs.c_in(model.sde, sigma, model.data_std)
    torch.testing.assert_close(c_in * x, scheduler.precondition_inputs(x, sigma))
    torch.testing.assert_close(model.timestep(sigma), scheduler.precondition_noise(sigma))
    torch.testing.assert_close(model.time(model.timestep(sigma)), sigma)


def test_continuous_timesteps() -> None:
    """`timestep_type` "continuous" is EDM's process with v-prediction, as in Stable Video Diffusion."""
    options = {"timestep_type": "continuous", "prediction_type": "v_prediction", "sigma_min": 0.002, "sigma_max": 700.0}
    model = read_scheduler_config({"_class_name": "EulerDiscreteScheduler", **SCALED, **options})
    sigma = torch.tensor(2.0, dtype=torch.float64)
    torch.testing.assert_close(model.timestep(sigma), sigma.log() / 4)
    torch.testing.assert_close(torch.stack(model.coefficients(sigma)), torch.tensor([1 / 5, -2 / 5**0.5]).double())


def test_continuous_timesteps_of_a_table() -> None:
    """Without a range of noise levels, the process is that of the table, and the network receives log(rho) / 4."""
    model = read_scheduler_config({**SCALED, "timestep_type": "continuous", "prediction_type": "v_prediction"})
    t = torch.tensor([0.1, 0.9], dtype=torch.float64)
    assert isinstance(model.sde, TabulatedVP) and model.inputs.c_in(model.sde, t, 1.0) is None
    torch.testing.assert_close(model.timestep(t), model.sde.rho(t).log() / 4)
    torch.testing.assert_close(model.time(model.timestep(t)), t)


def test_limits_of_x0() -> None:
    """clip_sample and thresholding are guidances."""
    table = {"_class_name": "DDPMScheduler", "beta_schedule": "linear"}
    assert read_scheduler_config(table).guidance == ()
    clipped = read_scheduler_config({**table, "clip_sample": True, "clip_sample_range": 2.0})
    assert clipped.guidance == ("clip:low=-2.0,high=2.0",)
    assert read_scheduler_config({**table, "thresholding": True}).guidance[0].startswith("threshold:")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"_class_name": "ScoreSdeVeScheduler", "snr": 0.15}, "no table of betas"),
        ({"_class_name": "DDPMScheduler", "beta_schedule": "laplace"}, "'laplace' is not one of linear"),
        (
            {"_class_name": "DDPMScheduler", "beta_schedule": "sigmoid", "num_train_timesteps": 10**12},
            "is 1000000000000",
        ),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 0}, "num_train_timesteps is 0"),
        ({"_class_name": "DDPMScheduler", "beta_schedule": "linear", "prediction_type": "noise"}, "'noise'"),
        ({"_class_name": "DDIMScheduler", "beta_schedule": "linear", "rescale_betas_zero_snr": True}, "zero terminal"),
        (
            {"_class_name": "EulerDiscreteScheduler", **SCALED, "rescale_betas_zero_snr": True},
            "zero terminal SNR: .* x_0",
        ),
        ({"_class_name": "EDMEulerScheduler", "prediction_type": "v_prediction"}, "v_prediction"),
    ],
)
def test_other_schedulers_are_refused(config: dict[str, Any], message: str) -> None:
    """A scheduler of another kind of model is refused with the reason."""
    with pytest.raises(InputError, match=message):
        read_scheduler_config(config)
