"""The variational bound against exact log-densities."""

import pytest
import torch

from sdekit import EDM, SDE, VE, VP, GaussianMixture, InputError, RectifiedFlow
from sdekit.likelihood import by_log_snr, step_ranges, variational_bound

MIXTURE = GaussianMixture(
    torch.tensor([[-1.0, 0.5], [1.0, -0.2], [0.3, 1.2]], dtype=torch.float64), torch.tensor([0.3, 0.1, 0.2])
)


@pytest.mark.parametrize("sde", [VP(), VE(), EDM(), RectifiedFlow()], ids=lambda sde: type(sde).__name__)
@pytest.mark.parametrize("importance", ["snr", "uniform"])
def test_continuous_bound_is_tight_for_the_exact_denoiser(sde: SDE, importance: str) -> None:
    """In continuous time the bound of the exact denoiser is -log p, for every process and distribution of times."""
    x0 = MIXTURE.sample(300, seed=1)
    result = variational_bound(sde, MIXTURE.denoiser(sde), x0, samples=16, importance=importance)  # type: ignore[arg-type]
    gap = result.bound + MIXTURE.log_prob(x0)
    assert gap.mean().abs() < 4 * gap.std() / 300**0.5
    assert (gap / result.standard_error).abs().median() < 1.5  # in units of the reported error


def test_discrete_bound_lies_above_and_approaches_the_exact_value() -> None:
    """The bound of N steps falls to -log p as N grows."""
    sde, x0 = VP(t_min=1e-3), MIXTURE.sample(300, seed=2)
    gaps = []
    for n in (30, 300, 3000):
        bound = variational_bound(sde, MIXTURE.denoiser(sde), x0, steps=n, samples=30).bound
        gaps.append(float((bound + MIXTURE.log_prob(x0)).mean()))
    assert gaps[0] > gaps[1] > gaps[2] > -0.1 and gaps[2] < 0.4 * gaps[0]


def test_importance_sampling_reduces_the_variance() -> None:
    """Times from the distribution of normal data have a smaller error than times even in log-SNR."""
    sde, x0 = VP(), MIXTURE.sample(100, seed=3)
    errors = [
        variational_bound(sde, MIXTURE.denoiser(sde), x0, importance=kind, samples=8).standard_error.mean()  # type: ignore[arg-type]
        for kind in ("snr", "uniform")
    ]
    assert errors[0] < errors[1]


def test_terms_add_up() -> None:
    """The contributions of all noise levels add up to the sum without L_T and L_0."""
    sde, x0 = VP(), MIXTURE.sample(20, seed=4)
    result = variational_bound(sde, MIXTURE.denoiser(sde), x0, samples=8)
    edges, parts = by_log_snr(sde, result, bins=10)
    inner = result.bound - result.prior_term - result.reconstruction_term
    assert len(edges) == 11 and torch.allclose(parts.sum(), inner.mean())


def test_every_step_is_evaluated_once() -> None:
    """With as many times as terms, each range of the table is one term of the sum over the steps."""
    sde, x0, n = VP(t_min=1e-3), MIXTURE.sample(40, seed=4), 12
    result = variational_bound(sde, MIXTURE.denoiser(sde), x0, steps=n, samples=n - 1, repeats=2)
    contributions = result.contributions(step_ranges(sde, n, 100))
    inner = result.bound - result.prior_term - result.reconstruction_term
    assert contributions.shape == (40, n - 1) and torch.allclose(contributions.sum(1), inner)
    t = torch.linspace(sde.t_min, sde.t_max, n + 1, dtype=torch.float64)[1:]
    snr = sde.rho(t) ** -2
    expected = torch.zeros(n - 1, dtype=torch.float64)
    for i in range(1, n):
        x = sde.perturb(x0.repeat(200, 1), t[i], torch.randn(8000, 2, dtype=torch.float64))
        error = (x0.repeat(200, 1) - MIXTURE.denoiser(sde)(x, t[i])).square().sum(1).mean()
        expected[i - 1] = 0.5 * (snr[i - 1] - snr[i]) * error
    assert torch.allclose(contributions.mean(0), expected, rtol=0.5)
    assert len(step_ranges(sde, 1000, 100)) == 101


def test_probability_of_bins() -> None:
    """With bins of a small width, the bound is the density times the width."""
    sde, x0 = VP(), MIXTURE.sample(50, seed=5)
    width = torch.tensor(1e-5, dtype=torch.float64)
    density = variational_bound(sde, MIXTURE.denoiser(sde), x0, samples=4)
    mass = variational_bound(sde, MIXTURE.denoiser(sde), x0, samples=4, width=width)
    assert torch.allclose(mass.bound, density.bound - 2 * width.log(), atol=1e-3)


def test_rows_do_not_depend_on_their_batch() -> None:
    """Row i depends on seed i alone."""
    sde, x0 = VP(), MIXTURE.sample(5, seed=6)
    whole = variational_bound(sde, MIXTURE.denoiser(sde), x0, samples=4)
    one = variational_bound(sde, MIXTURE.denoiser(sde), x0[3:4], samples=4, seeds=[3])
    assert torch.allclose(whole.bound[3:4], one.bound)


def test_bad_arguments_are_refused() -> None:
    """Counts out of range are named."""
    sde, x0 = VP(), MIXTURE.sample(2)
    for arguments, message in (({"repeats": 1}, "repeats"), ({"steps": 1}, "steps"), ({"samples": 0}, "samples")):
        with pytest.raises(InputError, match=message):
            variational_bound(sde, MIXTURE.denoiser(sde), x0, **arguments)  # type: ignore[arg-type]
