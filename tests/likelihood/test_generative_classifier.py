"""Log-likelihood ratios of classes against mixtures, whose ratios are known."""

import pytest
import torch
from torch import Tensor

from sdekit import EDM, SDE, VE, VP, GaussianMixture, InputError, RectifiedFlow
from sdekit.likelihood import (
    ClassComparison,
    FlowSolver,
    Hutchinson,
    compare_by_bound,
    compare_by_likelihood,
    variational_bound,
)

MIXTURE = GaussianMixture(
    torch.tensor([[-1.0, 0.5], [1.0, -0.2], [0.3, 1.2]], dtype=torch.float64), torch.tensor([0.5, 0.4, 0.6])
)
CLASSES = torch.arange(3)


def exact_ratios(x0: Tensor, result: ClassComparison) -> Tensor:
    """log p(x | y) - log p(x | y') for the class y' that a comparison found to be the best."""
    log_prob = torch.stack([MIXTURE.log_prob(x0, y=torch.full((len(x0),), c)) for c in range(3)], 1)
    return log_prob - log_prob.gather(1, result.log_ratio.argmax(1, keepdim=True))


@pytest.mark.parametrize("sde", [VP(), VE(), EDM(), RectifiedFlow()], ids=lambda sde: type(sde).__name__)
def test_bounds_give_the_exact_ratios(sde: SDE) -> None:
    """For the exact denoiser, the log-ratios are those of the mixture within their standard errors."""
    x0 = MIXTURE.sample(200, seed=1)
    result = compare_by_bound(sde, MIXTURE.denoiser(sde), x0, CLASSES, significance=0)
    others = result.standard_error > 0
    z = ((result.log_ratio - exact_ratios(x0, result)) / result.standard_error)[others]
    assert others.sum() == 400 and abs(float(z.mean())) < 0.2 and 0.85 < float(z.std()) < 1.25
    assert (z.abs() < 1.96).double().mean() > 0.9
    assert (result.evaluations == 8 * 7 * 3).all()


def test_likelihoods_give_the_exact_ratios() -> None:
    """The exact method has only the error of the solver; with random probes, that of the probes is reported."""
    sde, x0, solver = VP(), MIXTURE.sample(8, seed=2), FlowSolver(tolerance=1e-3)
    denoise = MIXTURE.denoiser(sde)
    result = compare_by_likelihood(sde, denoise, x0, CLASSES, solver=solver, batch_size=20)
    exact = exact_ratios(x0, result)
    assert torch.allclose(result.log_ratio, exact, atol=0.05)
    assert not result.standard_error.any() and (result.evaluations > 0).all()
    trace = Hutchinson(probes=8, kind="gaussian")
    noisy = compare_by_likelihood(sde, denoise, x0, CLASSES, trace=trace, solver=solver)
    z = ((noisy.log_ratio - exact_ratios(x0, noisy)) / noisy.standard_error)[noisy.standard_error > 0.1]
    assert len(z) >= 10 and 0.6 < float(z.square().mean().sqrt()) < 1.6


def test_common_noise_reduces_the_error() -> None:
    """The difference of two bounds has a smaller error with common noise than with noise of their own."""
    sde, x0 = VP(), MIXTURE.sample(40, seed=3)
    denoise, n = MIXTURE.denoiser(sde), len(x0)
    common = compare_by_bound(sde, denoise, x0, CLASSES[:2], rounds=8, significance=0)
    exact = MIXTURE.log_prob(x0, y=torch.ones(n).long()) - MIXTURE.log_prob(x0, y=torch.zeros(n).long())
    paired = (common.log_ratio[:, 1] - common.log_ratio[:, 0] - exact).square().mean()
    own = [
        variational_bound(sde, denoise, x0, y=torch.full((n,), c), samples=14, seeds=range(n * c, n * c + n)).bound
        for c in (0, 1)
    ]
    assert paired < 0.5 * (own[0] - own[1] - exact).square().mean()
    same = compare_by_bound(sde, denoise, x0, torch.tensor([1, 1]), significance=0)
    assert not same.log_ratio.any() and not same.standard_error.any()  # equal classes get equal noise


def test_elimination_changes_a_result_by_its_error_only() -> None:
    """Early elimination saves evaluations, and its ratios are those of the full evaluation within the errors."""
    sde, x0 = VP(), MIXTURE.sample(100, seed=4)
    denoise = MIXTURE.denoiser(sde)
    full, early = (compare_by_bound(sde, denoise, x0, CLASSES, rounds=16, significance=s) for s in (0, 1e-3))
    assert early.evaluations.double().mean() < 0.8 * full.evaluations.double().mean()
    assert (full.log_ratio.argmax(1) == early.log_ratio.argmax(1)).double().mean() > 0.99
    error = (full.standard_error.square() + early.standard_error.square()).sqrt().clamp(min=1e-12)
    assert (((full.log_ratio - early.log_ratio) / error).abs() < 3).double().mean() > 0.98


def test_rows_do_not_depend_on_their_batch() -> None:
    """Batch size and order change nothing, because row i depends on seed i alone."""
    sde, x0 = VP(), MIXTURE.sample(6, seed=5)
    denoise = MIXTURE.denoiser(sde)
    whole = compare_by_bound(sde, denoise, x0, CLASSES, rounds=4)
    small = compare_by_bound(sde, denoise, x0, CLASSES, rounds=4, batch_size=4)
    turned = compare_by_bound(sde, denoise, x0.flip(0), CLASSES, rounds=4, seeds=range(5, -1, -1))
    one = compare_by_bound(sde, denoise, x0[3:4], CLASSES, rounds=4, seeds=[3])
    for other in (small.log_ratio, turned.log_ratio.flip(0)):
        assert torch.allclose(whole.log_ratio, other, atol=1e-9)
    assert torch.allclose(whole.log_ratio[3:4], one.log_ratio, atol=1e-9)


def test_bad_arguments_are_refused() -> None:
    """Counts out of range and rows that are not finite are named."""
    sde, x0 = VP(), MIXTURE.sample(2)
    denoise = MIXTURE.denoiser(sde)
    cases: tuple[tuple[dict[str, object], str], ...] = (
        ({"rounds": 1}, "rounds"),
        ({"significance": 1.0}, "significance"),
        ({"seeds": [0]}, "1 seeds for 2"),
        ({"batch_size": 0}, "batch_size"),
    )
    for arguments, message in cases:
        with pytest.raises(InputError, match=message):
            compare_by_bound(sde, denoise, x0, CLASSES, **arguments)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="at least 2 classes"):
        compare_by_bound(sde, denoise, x0, CLASSES[:1])
    with pytest.raises(InputError, match="row 1"):
        compare_by_likelihood(sde, denoise, torch.tensor([[0.0, 0.0], [0.0, torch.nan]]), CLASSES)
