"""Classifier-free guidance: the closed form on a mixture, its limits and evaluations, with every sampler."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sdekit import registry
from sdekit.distributions import GaussianMixture
from sdekit.errors import InputError
from sdekit.models import ScoreModel
from sdekit.networks import MLP
from sdekit.processes import VP, RectifiedFlow, as_time
from sdekit.sampling import sample
from sdekit_plugins.guidance.cfg import cfg

MIXTURE = GaussianMixture(
    torch.tensor([[-1.0, 0.5], [0.7, -0.4], [0.2, 1.0]]), torch.tensor([0.4, 0.3, 0.6]), torch.tensor([0.5, 0.3, 0.2])
)
Y = torch.tensor([0, 1, 2, 0, 1])
each_sde = pytest.mark.parametrize("name", registry.component_names("sde"))


@each_sde
@pytest.mark.parametrize("scale", [3.0, 0.5, -1.0])
def test_guided_score_is_the_closed_form(name: str, scale: float) -> None:
    """(1 - scale) grad log p_t(x) + scale grad log p_t(x | y), from the densities by autograd, to 1e-10."""
    sde = registry.build("sde", name)
    guided = cfg(sde, MIXTURE.denoiser(sde), scale=scale)
    for part in (0.1, 0.5, 0.9, 1.0):
        t = as_time(sde.t_min + part * (sde.t_max - sde.t_min))
        x = MIXTURE.sample(5, 1, sde, t).requires_grad_()
        log_p = (1 - scale) * MIXTURE.log_prob(x, sde, t) + scale * MIXTURE.log_prob(x, sde, t, Y)
        (exact,) = torch.autograd.grad(log_p.sum(), x)
        with torch.no_grad():
            score = sde.score(x, guided(x, t, Y), t)
        torch.testing.assert_close(sde.sigma(t) * score, sde.sigma(t) * exact, rtol=0, atol=1e-10)


@pytest.mark.parametrize("scale", [0.0, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_limits_are_the_models_bit_for_bit(scale: float, dtype: torch.dtype) -> None:
    """At scales 0 and 1 a network is called once, because a doubled batch may round differently."""
    sde = VP()
    model = ScoreModel(MLP((2,), 3, width=16, depth=1).to(dtype), sde)
    torch.nn.init.normal_(model.network.last.weight)
    sizes = []
    model.network.register_forward_hook(lambda network, given, out: sizes.append(len(out)))
    arguments = dict(shape=(2,), n=5, steps=7, dtype=dtype)
    guided = sample(sde, model, "heun", y=Y, guidance=[lambda s, d: cfg(s, d, scale=scale)], **arguments)
    plain = sample(sde, model, "heun", y=Y if scale else None, **arguments)
    assert torch.equal(guided.x, plain.x) and set(sizes) == {5}


@pytest.mark.parametrize("name", registry.component_names("sampler"))
@pytest.mark.parametrize("sde", [VP(), RectifiedFlow()], ids=["vp", "rectified-flow"])
def test_with_every_sampler(name: str, sde: VP) -> None:
    """cfg works with every sampler and process, and larger scales bring samples closer to the condition."""
    sampler = registry.build("sampler", name)
    steps = 12 if sampler.calls_per_step is not None else None
    y = torch.arange(30) % 3
    drawn = sample(sde, MIXTURE.denoiser(sde), sampler, shape=(2,), n=30, y=y, steps=steps, guidance="cfg")
    means = MIXTURE.means.float()
    assert (torch.cdist(drawn.x, means).argmin(1) == y).float().mean() > 0.7


def test_a_negative_label_takes_the_place_of_none() -> None:
    sde, t = VP(), as_time(0.5)
    base, x = MIXTURE.denoiser(sde), torch.randn(5, 2, dtype=torch.float64)
    guided = cfg(sde, base, scale=2.5, negative=2)(x, t, Y)
    away = base(x, t, torch.full_like(Y, 2))
    torch.testing.assert_close(guided, away + 2.5 * (base(x, t, Y) - away), rtol=0, atol=1e-12)
    assert torch.equal(cfg(sde, base, scale=0.0, negative=2)(x, t, Y), away)


def test_numbers_are_guided_to() -> None:
    """The null condition of numbers is NaN."""
    told = []

    def denoise(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        assert y is not None
        told.append(y)
        return x + y.nan_to_num(7.0)

    y = torch.tensor([[0.5, 1.0], [2.0, 3.0]])
    guided = cfg(VP(), denoise, scale=2.0)(torch.zeros(2, 2), as_time(0.5), y)
    assert torch.equal(guided, 7 + 2 * (y - 7)) and len(told) == 1 and told[0][2:].isnan().all()


def test_a_negative_label_among_numbers_is_refused() -> None:
    with pytest.raises(InputError, match="negative=2 is a label, and the condition here is not"):
        cfg(VP(), MIXTURE.denoiser(VP()), negative=2)(torch.zeros(1, 2), as_time(0.5), torch.zeros(1, 2))


@pytest.mark.parametrize("scale", [math.nan, math.inf])
def test_a_scale_that_is_not_finite(scale: float) -> None:
    with pytest.raises(InputError, match="cfg: scale must be a finite number"):
        cfg(VP(), MIXTURE.denoiser(VP()), scale=scale)


def test_without_a_condition() -> None:
    with pytest.raises(InputError, match=r"cfg: this guidance needs a condition: give y \(--label or --prompt\)"):
        sample(VP(), MIXTURE.denoiser(VP()), "ddim", shape=(2,), n=2, guidance="cfg")
