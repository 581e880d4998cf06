"""Composition of guidances: order, counting, budgets and names; `tilt` against closed forms."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sdekit import registry
from sdekit.distributions import GaussianMixture
from sdekit.errors import InputError, SdekitError
from sdekit.guidance import GuidedDenoiser, compose, count_calls, current_context, denoise_pair, tilt, unguided
from sdekit.processes import EDM, SDE, VP, Cosine, Denoiser, RectifiedFlow, as_time
from sdekit.sampling import sample

MIXTURE = GaussianMixture(
    torch.tensor([[-1.0, 0.5], [0.7, -0.4], [0.2, 1.0]]), torch.tensor([0.4, 0.3, 0.6]), torch.tensor([0.5, 0.3, 0.2])
)
SDES = [name for name in registry.component_names("sde") if not name.startswith("ddpm")]
Y = torch.tensor([0, 1, 2, 0])


def add(amount: float) -> registry.Any:
    """A guidance that doubles and adds a number; two of them do not commute."""
    return lambda sde, denoise: lambda x, t, y=None: 2 * denoise(x, t, y) + amount


def twice(sde: SDE, denoise: Denoiser) -> Denoiser:
    """A guidance with two network evaluations."""
    return lambda x, t, y=None: (denoise(x, t, y) + denoise(x, t)) / 2


def test_they_compose_in_the_order_given() -> None:
    """The first guidance is the innermost, and the unguided denoiser is available to all."""
    sde, x = VP(), torch.randn(4, 2)
    base = MIXTURE.denoiser(sde)
    guided = compose(sde, base, [add(1.0), add(10.0)])
    t = as_time(0.5)
    assert torch.equal(guided(x, t), 2 * (2 * base(x, t) + 1) + 10)
    assert isinstance(guided, GuidedDenoiser) and unguided(guided) is base and unguided(base) is base


def test_sample_takes_objects_and_names() -> None:
    """`sample` takes one or several guidances, as objects or names; an empty list changes nothing."""
    sde = VP()
    base = MIXTURE.denoiser(sde)
    arguments = dict(shape=(2,), n=4, steps=5, y=Y)
    plain = sample(sde, base, "ddim", **arguments)
    assert torch.equal(sample(sde, base, "ddim", guidance=[], **arguments).x, plain.x)
    one, name, several = (
        sample(sde, base, "ddim", guidance=g, **arguments).x
        for g in (registry.build("guidance", "cfg"), "cfg", ["cfg"])
    )
    assert torch.equal(one, name) and torch.equal(one, several) and not torch.equal(one, plain.x)
    with pytest.raises(InputError, match="no guidance 'cgf'; did you mean 'cfg'"):
        sample(sde, base, "ddim", guidance="cgf", **arguments)
    with pytest.raises(InputError, match="guidance must be a name or a function"):
        sample(sde, base, "ddim", guidance=[3], **arguments)


@pytest.mark.parametrize(
    ("guidance", "each"), [([], 1), ([twice], 2), ([twice, twice], 4), (["cfg"], 1), (["cfg", twice], 2)]
)
def test_network_calls_are_counted_at_the_network(guidance: list, each: int) -> None:
    """nfe counts the calls of the network, and a doubled batch is one call."""
    sde, sizes = VP(), []
    base = MIXTURE.denoiser(sde)

    def denoise(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        sizes.append(len(x))
        return base(x, t, y)

    if guidance == ["cfg", twice]:
        guidance = [twice, "cfg"]
    drawn = sample(sde, denoise, "ddim", shape=(2,), n=4, steps=5, y=Y, guidance=guidance)
    assert drawn.nfe == len(sizes) == 5 * each
    assert ("cfg" in guidance) == (max(sizes) == 8)


@pytest.mark.parametrize("sampler", ["ddim", "heun", "pc"])
@pytest.mark.parametrize("more", [0, 1, 6, 7])
def test_a_budget_counts_the_network(sampler: str, more: int) -> None:
    """nfe = N limits the network calls, with as many steps as possible; the smallest budget is doubled too."""
    sde, calls = VP(), registry.build("sampler", sampler).calls_per_step
    least = 2 if calls == 1 else 2 * (calls + 1)
    nfe = least + more
    drawn = sample(sde, MIXTURE.denoiser(sde), sampler, shape=(2,), n=4, y=Y, nfe=nfe, guidance=[twice])
    assert drawn.nfe <= nfe < drawn.nfe + 2 * calls
    with pytest.raises(InputError, match=f"nfe must be at least {least}"):
        sample(sde, MIXTURE.denoiser(sde), sampler, shape=(2,), n=4, y=Y, nfe=least - 1, guidance=[twice])


def test_a_second_network_counts_too() -> None:
    """Calls of a guidance's own network are counted by `count_calls`."""
    sde = VP()
    other = count_calls(MIXTURE.denoiser(sde))

    def guidance(sde: SDE, denoise: Denoiser) -> Denoiser:
        return lambda x, t, y=None: denoise(x, t, y) + 0 * other(x, t)

    drawn = sample(sde, MIXTURE.denoiser(sde), "ddim", shape=(2,), n=4, steps=3, guidance=guidance)
    assert drawn.nfe == 6 and current_context() is None
    assert other(torch.zeros(1, 2), as_time(0.5)).shape == (1, 2)  # no sampling run, nothing to count


@pytest.mark.parametrize("batch_size", [1, 3, None])
def test_a_sample_does_not_see_its_batch(batch_size: int | None) -> None:
    sde = RectifiedFlow()
    arguments = dict(shape=(2,), n=4, y=Y, steps=6, guidance="cfg", dtype=torch.float64)
    whole = sample(sde, MIXTURE.denoiser(sde), "ddpm", **arguments)
    parts = sample(sde, MIXTURE.denoiser(sde), "ddpm", batch_size=batch_size, **arguments)
    torch.testing.assert_close(parts.x, whole.x, rtol=0, atol=1e-12)


def test_a_guidance_that_changes_the_shape_is_named() -> None:
    sde = VP()
    with pytest.raises(SdekitError, match=r"a guidance returned \(4, 1\)"):
        guidance = lambda sde, denoise: lambda x, t, y=None: denoise(x, t)[:, :1]  # noqa: E731
        sample(sde, MIXTURE.denoiser(sde), "ddim", shape=(2,), n=4, steps=2, guidance=guidance)


@pytest.mark.parametrize(
    "y", [torch.tensor([1, 0, 2]), torch.tensor([[0.5, 1.0], [2.0, 3.0], [0.0, 0.0]])], ids=["labels", "numbers"]
)
@pytest.mark.parametrize("t", [as_time(0.5), torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)], ids=["t", "t_i"])
def test_pair_is_one_call(y: Tensor, t: Tensor) -> None:
    """The doubled batch has y in its first half and the null condition in its second, and each row its own time."""
    seen = []

    def denoise(x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        seen.append((t, y))
        return x + torch.arange(6)[:, None]

    x = torch.zeros(3, 2)
    first, second = denoise_pair(denoise, x, t, y)
    assert first[:, 0].tolist() == [0, 1, 2] and second[:, 0].tolist() == [3, 4, 5]
    ((times, told),) = seen
    assert times.shape == (() if t.ndim == 0 else (6,))
    assert torch.equal(told[:3], y) and (told[3:].isnan() if y.is_floating_point() else told[3:] == -1).all()


@pytest.mark.parametrize("name", SDES)
def test_tilt_by_a_linear_weight_is_exact(name: str) -> None:
    """Multiplying the density of x_t by exp(a x_t) changes D by sigma^2 / alpha a, for every process."""
    sde, a = registry.build("sde", name), torch.tensor([0.3, -1.0], dtype=torch.float64)
    for t in (as_time(0.3 * sde.t_max), torch.tensor([0.1, 0.6, 0.9], dtype=torch.float64) * sde.t_max):
        x = torch.randn(3, 2, dtype=torch.float64)
        gain = tilt(sde, x, t, lambda z, u: z @ a)
        scale = (sde.sigma(t) ** 2 / sde.alpha(t)).reshape(-1, 1)
        torch.testing.assert_close(gain, (scale * a).expand(3, 2), rtol=1e-10, atol=0)


@pytest.mark.parametrize("sde", [RectifiedFlow(), Cosine(), VP(), EDM()], ids=lambda s: type(s).__name__)
def test_tilt_has_a_limit_where_alpha_is_0(sde: SDE) -> None:
    """At t_max the change is E[x_0 | y] - E[x_0] of the exact posterior of a label, and finite at rho = inf."""
    t = as_time(sde.t_max)
    x = sde.sigma(t) * torch.randn(4, 2, dtype=torch.float64)
    base = MIXTURE.denoiser(sde)

    def log_weight(z: Tensor, u: Tensor) -> Tensor:
        return MIXTURE.log_prob(z, sde, u, Y) - MIXTURE.log_prob(z, sde, u)

    exact = base(x, t, Y) - base(x, t)
    torch.testing.assert_close(tilt(sde, x, t, log_weight), exact, rtol=0, atol=1e-5)
