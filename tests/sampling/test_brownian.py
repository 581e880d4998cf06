"""A Brownian path for each seed: its law, that its increments add up, and that it belongs to the seed alone."""

import time
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from sdekit import registry
from sdekit.distributions import GaussianMixture
from sdekit.errors import InputError
from sdekit.processes import EDM, VP, RectifiedFlow, as_time
from sdekit.sampling import Brownian, SeedNoise, karras, log_snr, path_time, sample, time_at


def increment(noise: Brownian, t: Tensor, s: Tensor) -> Tensor:
    """W(s) - W(t), not normalised, (B, *)."""
    return noise(t, s) * (path_time(noise.sde, s) - path_time(noise.sde, t)).sqrt()


@pytest.mark.parametrize("process", registry.component_names("sde"))
def test_parts_add_up(process: str) -> None:
    """W over a step is the sum of W over its parts, for any division and any order of the calls."""
    sde = registry.build("sde", process)
    times = karras(sde, 24)
    fine, coarse = (Brownian(sde, [3, 9], (2, 3), dtype=torch.float64) for _ in range(2))
    parts = [increment(fine, t, s) for t, s in pairwise(times)]
    for i, j in ((18, 24), (0, 24), (5, 17), (0, 1)):
        whole = increment(coarse, times[i], times[j])
        assert torch.allclose(whole, torch.stack(parts[i:j]).sum(0), rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [20, 400])
@pytest.mark.parametrize("sde", [VP(), RectifiedFlow(), EDM()], ids=["vp", "rectified-flow", "edm"])
def test_increments_are_independent_and_normal(sde: Any, n: int) -> None:
    """Each step's noise has mean 0, variance 1 and fourth moment 3; none is correlated with its neighbour's."""
    count = 4000
    noise = Brownian(sde, range(count // 2), (2,))
    z = torch.stack([noise(t, s) for t, s in pairwise(karras(sde, n))]).flatten(1).double()
    limit = 5 if n < 100 else 6  # standard errors: the largest of many
    assert z.mean(1).abs().max() < limit / count**0.5
    assert (z.square().mean(1) - 1).abs().max() < limit * (2 / count) ** 0.5
    assert abs(float(z.pow(4).mean()) - 3) < 5 * (96 / z.numel()) ** 0.5
    for lag in (1, 2, 7):
        assert (z[lag:] * z[:-lag]).mean(1).abs().max() < limit / count**0.5


def test_a_path_belongs_to_its_seed_alone() -> None:
    """In any batch, in any order, and bit for bit; neighbouring seeds share nothing."""
    t, s = as_time(0.7), as_time(0.2)
    whole = Brownian(VP(), [3, 17, 4, 2**32 - 1, 0], (5,))(t, s)
    assert torch.equal(Brownian(VP(), [17], (5,))(t, s)[0], whole[1])
    assert torch.equal(Brownian(VP(), [0, 2**32 - 1, 4, 17, 3], (5,))(t, s), whole.flip(0))
    assert len(whole.unique()) == whole.numel()
    numbers = Brownian(VP(), range(50), ())(t, s)
    assert all(torch.equal(Brownian(VP(), [i], ())(t, s)[0], numbers[i]) for i in range(50))
    with pytest.raises(InputError, match="seeds must be between 0"):
        Brownian(VP(), [-1], (5,))


def test_a_path_belongs_to_no_process() -> None:
    """Two processes at the same sigma / alpha see the same noise."""
    rho = torch.tensor([3.0, 0.4], dtype=torch.float64)
    one, other = (Brownian(sde, [5], (4,))(*sde.time(rho)) for sde in (VP(), RectifiedFlow()))
    assert torch.allclose(one, other, rtol=0, atol=1e-5)


def test_a_time_for_each_sample() -> None:
    """Times (B,) belong to one sample each; a sample that does not move has noise 0."""
    t, s = torch.tensor([[0.9, 0.5, 0.3], [0.6, 0.1, 0.3]], dtype=torch.float64)
    z = Brownian(VP(), [1, 2, 3], (4,))(t, s)
    for i in range(2):
        assert torch.equal(z[i : i + 1], Brownian(VP(), [i + 1], (4,))(t[i], s[i]))
    assert torch.equal(z[2], torch.zeros(4))


def test_what_is_not_on_the_path() -> None:
    """Without times, or with equal ones, draws are `SeedNoise`'s, so that a run begins at the same x."""
    noise, plain = Brownian(VP(), [1, 2], (3,)), SeedNoise([1, 2], (3,))
    t = as_time(0.5)
    assert torch.equal(noise(), plain())
    noise(as_time(0.9), t)
    assert torch.equal(noise(t, t), plain())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes_are_casts(dtype: torch.dtype) -> None:
    """The path does not depend on the dtype of the noise."""
    t, s = as_time(0.5), as_time(0.4)
    z = Brownian(VP(), [1], (3,), dtype=dtype)(t, s)
    assert z.dtype == dtype
    assert torch.equal(z.float(), Brownian(VP(), [1], (3,), dtype=torch.float64)(t, s).to(dtype).float())


@pytest.mark.parametrize("process", registry.component_names("sde"))
def test_path_time_and_its_inverse(process: str) -> None:
    """Finite from t_max to t_min, growing as the noise falls, and inverted to 1e-9."""
    sde = registry.build("sde", process)
    times = log_snr(sde, 50)
    c = path_time(sde, times)
    assert c.isfinite().all() and (c.diff() > 0).all()
    assert torch.allclose(time_at(sde, c), times, rtol=1e-9, atol=1e-9)


def test_samples_at_two_numbers_of_steps_agree() -> None:
    """The same seed ends near the same place at 100 and 200 steps; with numbered draws it does not."""
    sde, mixture = VP(), GaussianMixture(torch.tensor([[-1.0, 0.5], [0.7, -0.4]]), 0.3)

    def distance(noise: Any) -> float:
        few, many = (
            sample(sde, mixture.denoiser(sde), "ddpm", shape=(2,), n=64, steps=n, noise=noise).x for n in (100, 200)
        )
        return float((few - many).square().mean().sqrt())

    assert distance("brownian") < 0.2 < 0.5 < distance("seed")
    with pytest.raises(InputError, match="noise must be 'seed' or 'brownian', got 'white'"):
        distance("white")


def test_it_is_cheap() -> None:
    """At two dimensions the best of many calls is under half of the 1,300 us that a tree was measured at."""
    noise, times, best = Brownian(VP(), [0], (2,)), karras(VP(), 40), 1.0
    for _ in range(5):
        for t, s in pairwise(times):
            start = time.perf_counter()
            noise(t, s)
            best = min(best, time.perf_counter() - start)
    assert best < 650e-6
