"""Python arguments of the wrong kind, shape or range: one `InputError` that names the argument."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sdekit import registry
from sdekit.arguments import check_count, check_number
from sdekit.distributions import FullCovarianceMixture, GaussianMixture
from sdekit.errors import InputError, SdekitError
from sdekit.guidance import compose
from sdekit.inverse import Problem, build_restorer, estimate_noise, restore
from sdekit.inverse.operators import Mask
from sdekit.models import Classifier, Condition, Conditioning, ScoreModel, open_model
from sdekit.processes import EDM, VE, VP, Cosine, RectifiedFlow, TabulatedVP, TruncatedSDE
from sdekit.registry.discovery import KINDS
from sdekit.runs import load_run
from sdekit.sampling import Brownian, SeedNoise, add_noise, edit, karras, sample, time_of_strength, uniform
from sdekit.training import Trainer, plan
from sdekit.tuning import solve_starts, tune

JUNK: list[Any] = [
    *(None, "x", "", b"x", 1.5, -1, 0, True, math.nan, math.inf, 10**400, 1j, [], [None], ["a"], (), {}, {"a": 1}),
    *(int, VP, VP(), object(), torch.Generator(), torch.float32, torch.tensor(math.nan), torch.zeros(2, 3)),
    *(np.zeros(3), np.array("a"), [[1, 2], [3]]),
]
MIXTURE = GaussianMixture(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), 0.5)
SDE = VP()
DENOISE = MIXTURE.denoiser(SDE)
PROBLEM = Problem(Mask(torch.tensor([1.0, 0.0])), torch.zeros(2), 0.1)


class Network(nn.Module):
    """A network of two numbers whose output a function changes."""

    def __init__(self, change: Callable[[Tensor], Any] = lambda out: out) -> None:
        super().__init__()
        self.layer, self.change = nn.Linear(2, 2), change

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Any:
        return self.change(self.layer(x))


MODEL = ScoreModel(Network(), SDE)


def of_sample(**arguments: Any) -> Any:
    return sample(**{"sde": SDE, "denoise": DENOISE, "sampler": "ddim", "shape": (2,), "n": 2, "steps": 2} | arguments)


def calls() -> dict[str, Callable[[Any], Any]]:
    """Calls of public functions as functions of one argument."""
    starts = solve_starts(SDE, DENOISE, torch.zeros(1, 2))
    tuned = {"nfe": 3, "train": starts, "check": starts, "held_out": starts, "time_limit": 1e-3}
    found: dict[str, Callable[[Any], Any]] = {}

    def each(name: str, function: Callable[..., Any], **usual: Any) -> None:
        for argument in usual:
            found[f"{name} {argument}"] = lambda junk, argument=argument: function(**usual | {argument: junk})

    names = (
        "sde",
        "denoise",
        "sampler",
        "shape",
        "n",
        "steps",
        "grid",
        "y",
        "guidance",
        "batch_size",
        "dtype",
        "noise",
    )
    for name in (*names, "device", "trajectory"):
        found[f"sample {name}"] = lambda junk, name=name: of_sample(**{name: junk})
    found["sample nfe"] = lambda junk: of_sample(nfe=junk, steps=3 if junk is None else None)
    for name in ("seeds", "x"):
        found[f"sample {name}"] = lambda junk, name=name: of_sample(**{name: junk, "n": None})
    for process in (VP, VE, Cosine, EDM, RectifiedFlow):
        each(process.__name__, process, **{f.name: getattr(process(), f.name) for f in fields(process) if f.init})
    each("TabulatedVP", TabulatedVP, betas=(0.1, 0.2))
    each("linear", TabulatedVP.linear, n=10, beta_min=0.1, beta_max=0.2)
    each("cosine", TabulatedVP.cosine, n=10, s=0.008, beta_max=0.9)
    each("TruncatedSDE", TruncatedSDE, sde=SDE, t_max=0.5)
    each("ScoreModel", ScoreModel, network=Network(), sde=SDE, prediction="edm", data_std=1.0, backend="eager")
    each("model", MODEL, x=torch.zeros(3, 2), t=0.5, y=None)
    each("score", MODEL.score, x=torch.zeros(3, 2), t=0.5)
    each("loss", MODEL.loss, x0=torch.zeros(3, 2), t=torch.tensor(0.5), eps=torch.zeros(3, 2))
    each("Classifier", Classifier, network=Network(), sde=SDE, frequencies=torch.ones(2), data_std=1.0)
    each("GaussianMixture", GaussianMixture, means=[[0.0], [1.0]], stds=0.5, weights=None)
    eye = torch.eye(2).expand(2, 2, 2)
    each("FullCovarianceMixture", FullCovarianceMixture, means=torch.eye(2), covariances=eye, weights=None)
    each("log_prob", MIXTURE.log_prob, x=torch.zeros(3, 2), sde=SDE, t=0.5, y=None)
    each("mixture score", MIXTURE.score, x=torch.zeros(3, 2), sde=SDE, t=0.5, y=None)
    each("mixture sample", MIXTURE.sample, n=2, seed=0, sde=SDE, t=0.5, y=None)
    each("full sample", MIXTURE.full().sample, n=2, seed=0)
    each("denoiser", MIXTURE.denoiser, sde=SDE)
    each("full denoiser", MIXTURE.full().denoiser, sde=SDE)
    each("responsibilities", MIXTURE.full().responsibilities, x=torch.zeros(1, 2))
    each("posterior", MIXTURE.posterior, operator=PROBLEM.operator, measurement=torch.zeros(2), noise_std=0.5)
    each("Problem", Problem, operator=PROBLEM.operator, measurement=torch.zeros(2), noise_std=0.5)
    each("restore", restore, sde=SDE, denoise=DENOISE, problem=PROBLEM, method="dps", n=1, steps=2)
    each("build_restorer", build_restorer, method="dps", problem=PROBLEM, strength=1.0)
    arguments = {"measurement": torch.zeros(2), "y": None, "rounds": 1, "n": 1, "steps": 2, "device": "cpu"}
    each("estimate_noise", estimate_noise, model=MODEL, operator=PROBLEM.operator, **arguments)
    each("time_of_strength", time_of_strength, sde=SDE, strength=0.5, data_std=1.0)
    each("add_noise", add_noise, sde=SDE, image=torch.zeros(2), t=0.5, seeds=[0], device="cpu")
    each("edit", edit, sde=SDE, denoise=DENOISE, image=torch.zeros(2), t=0.5, seeds=[0], sampler="ddim", steps=2)
    each("uniform", uniform, sde=SDE, n=3)
    each("karras", karras, sde=SDE, n=3, p=7.0)
    each("SeedNoise", SeedNoise, seeds=[0], shape=(2,), dtype=torch.float32, device="cpu")
    each("Brownian", Brownian, sde=SDE, seeds=[0], shape=(2,), dtype=torch.float32, device="cpu")
    each("solve_starts", solve_starts, sde=SDE, denoise=DENOISE, x=torch.zeros(1, 2), y=None, batch_size=1)
    each("tune", tune, sde=SDE, denoise=DENOISE, sampler="heun", **tuned)
    each("plan", plan, spec="moons", sde="vp", network="mlp", prediction="edm", condition="none")
    found["plan options"] = lambda junk: plan("moons", options=junk)
    for name in ("steps", "time_limit", "batch_size", "learning_rate", "noise", "seed", "held_out", "ema", "decay"):
        found[f"train.{name}"] = lambda junk, name=name: plan("moons", options={"train": {"steps": 1, name: junk}})
    recipe, data = plan("moons", options={"train": {"steps": 1}})
    found["Trainer recipe"] = lambda junk: Trainer(junk, data, "never-written")
    found["Trainer data"] = lambda junk: Trainer(recipe, junk, "never-written")
    found["Trainer device"] = lambda junk: Trainer(recipe, data, "/dev/null/never", device=junk)
    found["open_model"], found["load_run"] = open_model, load_run
    each("Condition", Condition, parts={"y": torch.zeros(1)})
    each("Conditioning", Conditioning, classes=0, numbers=0, embedding=0)
    for kind in ("sde", "sampler", "grid", "guidance", "restorer"):
        for name in registry.component_names(kind):
            arguments = (PROBLEM,) if kind == "restorer" else ()
            for option in registry.parameters(registry.find_component(kind, name).load()):
                found[f"{kind} {name}.{option}"] = (
                    lambda junk, kind=kind, name=name, option=option, arguments=arguments:
                        registry.build(kind, name, *arguments, **{option: junk})
                )  # fmt: skip
    return found


CALLS = calls()
TAKES_ANYTHING = (
    "ScoreModel backend",
    "model y",
    "guidance autoguidance.run",
    "guidance classifier.run",
    "guidance energy.function",
)
"""Any text, or any object with a meaning of its own, is accepted and used later."""


@pytest.mark.parametrize("call", CALLS)
def test_arguments_of_the_wrong_kind(call: str) -> None:
    """Every public function either accepts an argument or raises one error of sdekit, never another exception."""
    refused = 0
    for junk in JUNK:
        try:
            CALLS[call](junk)
        except SdekitError as error:
            refused += 1
            assert len(str(error)) < 1000
    assert refused >= 3 or call in TAKES_ANYTHING


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sde": VP}, "sample: sde must be a process such as sdekit.VP\\(\\), got the class VP \\(create an object"),
        ({"sde": "vp"}, "sde must be a process .* got 'vp'"),
        ({"denoise": ScoreModel}, "denoise must be a denoiser.* got the class ScoreModel"),
        (
            {"denoise": MODEL, "dtype": torch.float64},
            "Network has the dtype torch.float32, and x has torch.float64",
        ),
        ({"denoise": MODEL, "shape": (3,)}, "network Network cannot be evaluated for x of shape \\(2, 3\\)"),
        ({"dtype": int}, "sample: dtype must be torch.float32 or another .*, got the class int"),
        ({"dtype": torch.int64}, "dtype must be torch.float32 or another .*, got torch.int64"),
        ({"n": 0}, "n must be at least 1, got 0"),
        ({"n": True}, "n must be a whole number, got True"),
        ({"steps": "10"}, "sample: steps must be a whole number, got '10'"),
        ({"steps": 1.5}, "sample: steps must be a whole number, got 1.5"),
        ({"seeds": [0, 1, 2]}, "n=2 but 3 seeds"),
        ({"seeds": torch.Generator(), "n": None}, "seeds must be whole numbers, got an object of the class Generator"),
        ({"seeds": [-1], "n": None}, "seeds must be between 0 and 2\\^32 - 1, got -1"),
        ({"device": "cuda:77"}, "sample: no device 'cuda:77' on this machine"),
        ({"device": "gpu"}, "sample: no device 'gpu' on this machine"),
        ({"sampler": "ddmi"}, "no sampler 'ddmi'; did you mean 'ddim'"),
        ({"sampler": registry.find_component("sampler", "ddim").load()}, "sampler must be .* got the class DDIM"),
        ({"x": torch.full((2, 2), math.nan)}, "sample: x must be finite"),
        ({"grid": torch.tensor([1.0, math.nan]), "steps": None}, "a grid must be one row of decreasing times"),
        ({"shape": (2, 0)}, "sample: shape must be a tuple of sizes of at least 1"),
        ({"y": torch.tensor([0.4, 0.6])}, "GaussianMixture: y must be whole numbers .* got torch.float32"),
        ({"y": torch.tensor([0, 2])}, "the components 0 to 1 or -1 for none, got numbers from 0 to 2"),
    ],
)
def test_messages_of_sample(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        of_sample(**arguments)


def test_generators_of_values_are_accepted() -> None:
    """Seeds and guidances may come from a generator."""
    assert of_sample(seeds=(seed for seed in range(2)), guidance=(g for g in ())).seeds == (0, 1)


@pytest.mark.parametrize("data_std", [0, -1.0, math.nan, math.inf, "1"])
def test_data_std_is_positive(data_std: Any) -> None:
    with pytest.raises(InputError, match="ScoreModel: data_std must be positive and finite"):
        ScoreModel(Network(), SDE, data_std=data_std)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda out: out[:, None], r"network Network returned \(3, 1, 2\) for x of shape \(3, 2\)"),
        (lambda out: out[:, :1], r"returned \(3, 1\) for x of shape \(3, 2\)"),
        (lambda out: out.T[None], r"returned \(1, 2, 3\) for x of shape \(3, 2\)"),
        (lambda out: (out, out), r"returned a tuple of 2 objects for x of shape \(3, 2\): it must return a tensor"),
        (lambda out: None, r"returned None for x of shape"),
        (lambda out: out.to("meta"), "returned a tensor on meta for x on cpu"),
    ],
)
def test_a_network_returns_the_shape_of_x(change: Callable[[Tensor], Any], message: str) -> None:
    """Another shape would be broadcast, and the loss of a batch would have the shape (B, B, d)."""
    model, x = ScoreModel(Network(change), SDE), torch.zeros(3, 2)
    for call in (lambda: model(x, 0.5), lambda: model.loss(x, torch.full((3,), 0.5), x)):
        with pytest.raises(InputError, match=message):
            call()


def test_other_shapes_that_would_be_broadcast() -> None:
    """eps of another shape, times of another number, and logits of another shape are refused."""
    x = torch.zeros(3, 2)
    with pytest.raises(InputError, match=r"x0 has shape \(3, 2\), and eps \(3, 1\)"):
        MODEL.loss(x, torch.tensor(0.5), x[:, :1])
    with pytest.raises(InputError, match=r"t has shape \(3, 1\), expected \(\) or \(3,\)"):
        MODEL.loss(x, torch.full((3, 1), 0.5), x)
    with pytest.raises(InputError, match=r"Network returned \(3, 2\), expected logits \(3, 5\)"):
        Classifier(Network(), SDE, torch.ones(5))(x, 0.5)
    with pytest.raises(InputError, match="the result of a function of .* must be a denoiser, got None"):
        compose(SDE, DENOISE, [lambda sde, denoise: None])  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_sampler_with_fixed_steps_stops_at_the_first_call(bad: float) -> None:
    calls = 0

    def broken(x: Tensor, t: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return x * bad

    with pytest.raises(SdekitError, match=r"call 1 of the denoiser, at t = 1: .* is not finite .* has seed 5\)"):
        of_sample(denoise=broken, steps=50, seeds=[5, 6])
    assert calls == 1


def test_numbers_of_other_libraries_are_accepted() -> None:
    """NumPy's numbers and tensors of one number are numbers; True is none."""
    assert check_count("n", np.int64(3)) == check_count("n", torch.tensor(3)) == 3
    assert check_number("x", np.float32(0.5)) == check_number("x", torch.tensor(0.5)) == 0.5
    for wrong in (True, np.bool_(True), torch.tensor(True)):
        with pytest.raises(InputError, match="n must be a whole number"):
            check_count("n", wrong)


def test_defaults_have_their_types() -> None:
    """The default of every option of every registered component passes the check of types."""
    for kind in KINDS:
        for name in registry.component_names(kind):
            defaults = {
                n: p.default for n, p in registry.parameters(registry.find_component(kind, name).load()).items()
            }
            registry.complete_options(kind, name, defaults)
