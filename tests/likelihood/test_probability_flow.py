"""Log-densities, latents and samples of the probability flow, against mixtures of Gaussians."""

import math

import pytest
import torch

from sdekit import EDM, SDE, VE, VP, Cosine, GaussianMixture, InputError, RectifiedFlow, SubVP
from sdekit.likelihood import (
    ExactTrace,
    FlowSolver,
    Hutchinson,
    HutchPlusPlus,
    decode,
    encode,
    log_likelihood,
    pooled_interval,
)
from sdekit.processes import as_time

PROCESSES = [VP(), VE(), SubVP(), Cosine(), EDM(), RectifiedFlow()]
each_process = pytest.mark.parametrize("sde", PROCESSES, ids=lambda sde: type(sde).__name__)


def mixture(d: int) -> GaussianMixture:
    """Five components with unequal weights and standard deviations, off the origin."""
    means = torch.randn(5, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return GaussianMixture(means, torch.tensor([0.3, 0.1, 0.2, 0.4, 0.25]), torch.tensor([1.0, 2, 3, 1, 2]))


@each_process
def test_log_likelihood_is_exact(sde: SDE) -> None:
    """With the exact trace in float64, log p has an error below 1e-5 at the default and 1e-6 at a tight tolerance."""
    model = mixture(2)
    x0 = model.sample(24, seed=3)
    default = log_likelihood(sde, model.denoiser(sde), x0).log_prob - model.log_prob(x0)
    assert default.abs().mean() < 1e-5
    tight = log_likelihood(sde, model.denoiser(sde), x0[:4], solver=FlowSolver(tolerance=1e-8)).log_prob
    assert (tight - model.log_prob(x0[:4])).abs().mean() < 1e-6


def test_log_likelihood_is_exact_in_many_dimensions() -> None:
    """The default error is below 1e-4 in 64 dimensions."""
    sde, model = VE(), mixture(64)
    x0 = model.sample(2, seed=1)
    result = log_likelihood(sde, model.denoiser(sde), x0, trace=ExactTrace())
    assert (result.log_prob - model.log_prob(x0)).abs().mean() < 1e-4
    assert not result.trace_error.any()


@each_process
def test_density_at_a_time_is_that_of_the_noisy_data(sde: SDE) -> None:
    """`at` computes the density of x_t."""
    model = mixture(2)
    t = sde.time(as_time(0.4))
    x = model.sample(16, seed=2, sde=sde, t=t)
    result = log_likelihood(sde, model.denoiser(sde), x, at=t)
    assert torch.allclose(result.log_prob, model.log_prob(x, sde, t), atol=1e-4)


@each_process
def test_decode_inverts_encode(sde: SDE) -> None:
    """Encoding and decoding returns the data; latents of data of the model are standard normal."""
    model = mixture(2)
    x0 = model.sample(200, seed=5)
    latent = encode(sde, model.denoiser(sde), x0)
    assert (decode(sde, model.denoiser(sde), latent) - x0).square().mean().sqrt() < 1e-3
    assert latent.mean().abs() < 0.2 and (latent.std() - 1).abs() < 0.15


@pytest.mark.parametrize("name", ["heun", "ddim", "unipc", "dpmpp-3m"])
def test_samplers_integrate_the_log_determinant(name: str) -> None:
    """Every deterministic sampler computes log p, and its error falls with the number of steps."""
    sde, model = VP(), mixture(2)
    x0 = model.sample(16, seed=3)
    errors = [
        (log_likelihood(sde, model.denoiser(sde), x0, solver=FlowSolver(method=name, steps=n)).log_prob
         - model.log_prob(x0)).abs().mean()
        for n in (40, 160)
    ]  # fmt: skip
    assert errors[1] < 0.4 * errors[0] and errors[1] < 0.1


def test_methods_of_torchdiffeq_can_be_used() -> None:
    """The sampler `ode` offers every method of torchdiffeq."""
    from sdekit.registry import build

    sde, model = VP(), mixture(2)
    x0 = model.sample(4, seed=3)
    solver = build("sampler", "ode", method="dopri8", error_norm="batch", rtol=1e-7, atol=1e-7)
    result = log_likelihood(sde, model.denoiser(sde), x0, solver=solver)
    assert (result.log_prob - model.log_prob(x0)).abs().max() < 1e-4


def test_a_result_does_not_depend_on_its_batch() -> None:
    """Batch size and order change nothing, with random probes too."""
    sde, model = VP(), mixture(8)
    x0 = model.sample(6, seed=4)
    trace = Hutchinson(probes=2)
    whole = log_likelihood(sde, model.denoiser(sde), x0, trace=trace)
    parts = log_likelihood(sde, model.denoiser(sde), x0, trace=trace, batch_size=1)
    turned = log_likelihood(sde, model.denoiser(sde), x0.flip(0), trace=trace, seeds=range(5, -1, -1))
    assert torch.allclose(whole.log_prob, parts.log_prob, atol=1e-9)
    assert torch.allclose(whole.log_prob, turned.log_prob.flip(0), atol=1e-9)
    assert torch.allclose(whole.latent, parts.latent, atol=1e-9)


@pytest.mark.parametrize(
    "trace",
    [
        Hutchinson(probes=2),
        Hutchinson(probes=3, kind="gaussian"),
        Hutchinson(probes=3, kind="orthogonal"),
        Hutchinson(probes=2, kind="hadamard"),
        HutchPlusPlus(probes=3, repeats=2),
    ],
    ids=["rademacher", "gaussian", "orthogonal", "hadamard", "hutch++"],
)
def test_intervals_of_probes_are_honest(trace: Hutchinson | HutchPlusPlus) -> None:
    """In 200 repetitions, the 95% interval of a mean of 12 log-densities covers it 92 to 98% of the time."""
    sde, model, n = VP(), mixture(4), 12
    data = model.sample(n, seed=7)
    exact = log_likelihood(sde, model.denoiser(sde), data, trace=ExactTrace()).log_prob.mean()
    solver = FlowSolver(tolerance=1e-3)
    result = log_likelihood(sde, model.denoiser(sde), data.repeat(200, 1), trace=trace, solver=solver)
    degrees = result.estimates.shape[1] - 1
    covered = 0
    for values, errors in zip(result.log_prob.view(200, n), result.trace_error.view(200, n), strict=True):
        _, _, low, high = pooled_interval(values, errors, degrees)
        covered += low <= exact <= high
    assert 0.92 <= covered / 200 <= 0.98


def test_intervals_of_items() -> None:
    """The interval of an item is wider than 1.96 standard errors with few probes, and empty for the exact trace."""
    sde, model = VP(), mixture(4)
    x0 = model.sample(5, seed=2)
    result = log_likelihood(sde, model.denoiser(sde), x0, trace=Hutchinson(probes=3))
    low, high = result.interval()
    assert torch.allclose((high - low) / 2, 4.302653 * result.trace_error)
    assert result.interval_of_mean().low < result.log_prob.mean() < result.interval_of_mean().high
    exact = log_likelihood(sde, model.denoiser(sde), x0)
    assert torch.equal(exact.interval()[0], exact.log_prob) and exact.interval_of_mean().standard_error == 0


@pytest.mark.parametrize(("kind", "probes"), [("orthogonal", 3), ("hadamard", 4)])
def test_all_probes_of_a_population_are_exact(kind: str, probes: int) -> None:
    """d orthogonal probes, or all rows of the Hadamard matrix, give the exact trace, and report no error."""
    sde, model = VP(), mixture(3)
    x0 = model.sample(4, seed=1)
    trace, solver = Hutchinson(probes=probes, kind=kind), FlowSolver(tolerance=3e-6)  # type: ignore[arg-type]
    result = log_likelihood(sde, model.denoiser(sde), x0, trace=trace, solver=solver)
    assert (result.log_prob - model.log_prob(x0)).abs().max() < 1e-4
    assert result.trace_error.max() < 1e-9


def test_discretization_error_is_estimated() -> None:
    """The difference to a coarser solver bounds the true error."""
    sde, model = VP(), mixture(2)
    x0 = model.sample(32, seed=3)
    result = log_likelihood(sde, model.denoiser(sde), x0, estimate_error=True)
    assert result.discretization_error is not None
    true = (result.log_prob - model.log_prob(x0)).abs()
    assert (true <= result.discretization_error + 1e-8).double().mean() > 0.9
    assert result.discretization_error.mean() < 1e-3


def test_conditions_and_guidance_change_the_density() -> None:
    """A condition gives the density of its component, and cfg with scale 1 the same."""
    sde, model = VP(), mixture(2)
    y = torch.tensor([0, 1, 2, 3])
    x0 = torch.cat([model.sample(1, seed=9, y=k) for k in range(4)])
    expected = model.log_prob(x0, y=y)
    assert torch.allclose(log_likelihood(sde, model.denoiser(sde), x0, y=y).log_prob, expected, atol=1e-4)
    guided = log_likelihood(sde, model.denoiser(sde), x0, y=y, guidance="cfg").log_prob
    assert guided.isfinite().all() and not torch.allclose(guided, expected, atol=1e-2)


def test_parameters_get_no_gradients() -> None:
    """Only x is differentiated."""
    from sdekit import ScoreModel
    from sdekit.registry import build

    sde = VP()
    model = ScoreModel(build("network", "mlp", (2,), width=8, depth=1), sde)
    result = log_likelihood(sde, model, torch.zeros(2, 2))
    assert result.log_prob.isfinite().all() and not result.latent.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"solver": "euler-ancestral"}, "draws noise"),
        ({"solver": FlowSolver(method="auto", steps=10)}, "from data to noise"),
        ({"trace": Hutchinson(probes=5, kind="orthogonal")}, "orthogonal probes in 2 dimensions: use at most 2"),
        ({"trace": Hutchinson(probes=5, kind="hadamard")}, "hadamard probes in 2 dimensions: use at most 2"),
        ({"seeds": [1]}, "1 seeds for 3"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, object], message: str) -> None:
    """An argument that does not fit is named."""
    sde, model = VP(), mixture(2)
    with pytest.raises(InputError, match=message):
        log_likelihood(sde, model.denoiser(sde), model.sample(3), **arguments)  # type: ignore[arg-type]


def test_bad_data_and_tolerances_are_refused() -> None:
    """A NaN is named with its row, and float32 cannot meet a tolerance of 1e-9."""
    sde, model = VP(), mixture(2)
    x0 = model.sample(3)
    x0[1, 0] = math.nan
    with pytest.raises(InputError, match="row 1"):
        log_likelihood(sde, model.denoiser(sde), x0)
    with pytest.raises(InputError, match="float64"):
        encode(sde, model.denoiser(sde), torch.zeros(1, 2), solver=FlowSolver(tolerance=1e-9))
    with pytest.raises(InputError, match="tolerance must be above 0"):
        FlowSolver(tolerance=-1.0)
    with pytest.raises(InputError, match="no option tolerance"):
        FlowSolver(method="heun", tolerance=1e-3)
