"""Typicality of data under mixtures: data that are too far, and data that are too likely."""

import pytest
import torch

from sdekit import EDM, VP, GaussianMixture, InputError
from sdekit.likelihood import TypicalStatistics, auroc, denoising_statistics, nearest_class
from sdekit.processes import SDE

D = 16
MIXTURE = GaussianMixture(
    torch.randn(3, D, generator=torch.Generator().manual_seed(0), dtype=torch.float64), torch.tensor([0.3, 0.2, 0.4])
)


@pytest.mark.parametrize("sde", [VP(), EDM()], ids=lambda sde: type(sde).__name__)
def test_untypical_data_have_a_high_score(sde: SDE) -> None:
    """Data of another width, mixed-up numbers, and points of the highest density are all recognised."""
    denoise, x = MIXTURE.denoiser(sde), MIXTURE.sample(150, seed=1)
    reference = TypicalStatistics.fit(denoising_statistics(sde, denoise, x[:100]).values)
    inside = denoising_statistics(sde, denoise, x[100:], seeds=range(100, 150))
    scores = reference.score(inside.values)
    assert 0.6 < float(scores.mean()) < 1.8
    modes = MIXTURE.means[torch.arange(50) % 3]
    for name, data in (("far", x[:50] * 1.5), ("mixed", x[:50].flip(1)), ("modes", modes)):
        outside = denoising_statistics(sde, denoise, data)
        assert auroc(scores, reference.score(outside.values)).value > 0.99, name
        if name == "modes":  # the likelihood alone takes them for the best data of all
            assert auroc(inside.bound, outside.bound).value < 0.3


def test_bound_is_that_of_the_levels() -> None:
    """Differences of the bound between items agree with differences of -log p."""
    sde, x = VP(), MIXTURE.sample(200, seed=2)
    bound = denoising_statistics(sde, MIXTURE.denoiser(sde), x, levels=20, draws=8).bound
    exact = -MIXTURE.log_prob(x)
    assert float(torch.corrcoef(torch.stack([bound, exact]))[0, 1]) > 0.9


def test_rows_do_not_depend_on_their_batch() -> None:
    """Row i depends on seed i alone."""
    sde, x = VP(), MIXTURE.sample(5, seed=3)
    whole = denoising_statistics(sde, MIXTURE.denoiser(sde), x, levels=3)
    one = denoising_statistics(sde, MIXTURE.denoiser(sde), x[3:4], levels=3, seeds=[3])
    assert torch.allclose(whole.values[3:4], one.values) and torch.allclose(whole.bound[3:4], one.bound)


def test_the_nearest_class_is_the_most_likely_one() -> None:
    """Items of a component have this component as their nearest class."""
    sde = VP()
    x = torch.cat([MIXTURE.sample(20, seed=4, y=c) for c in range(3)])
    found = nearest_class(sde, MIXTURE.denoiser(sde), x, torch.arange(3))
    assert (found == torch.arange(3).repeat_interleave(20)).double().mean() > 0.95
    assert not nearest_class(sde, MIXTURE.denoiser(sde), x, torch.tensor([1])).any()


def test_bad_arguments_are_refused() -> None:
    """Counts, a NaN and too few reference items are named."""
    sde = VP()
    with pytest.raises(InputError, match="levels"):
        denoising_statistics(sde, MIXTURE.denoiser(sde), torch.zeros(1, D), levels=0)
    with pytest.raises(InputError, match="row 0"):
        denoising_statistics(sde, MIXTURE.denoiser(sde), torch.full((1, D), torch.nan))
    with pytest.raises(InputError, match="at least 8"):
        TypicalStatistics.fit(torch.zeros(7, 2))
