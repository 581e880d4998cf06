"""Noise keyed by seed: which draw, of which seed, and nothing else."""

import numpy as np
import pytest
import torch

from sdekit.errors import InputError
from sdekit.sampling import SeedNoise


def draws(seeds: list[int], count: int = 3, **kwargs: object) -> torch.Tensor:
    """(count, B, 2, 3)."""
    noise = SeedNoise(seeds, (2, 3), **kwargs)  # type: ignore[arg-type]
    return torch.stack([noise() for _ in range(count)])


def test_a_sample_depends_on_its_seed_alone() -> None:
    """Draw j of seed i is bit for bit the same alone, in any batch, in any order."""
    whole = draws([3, 17, 4, 2**32 - 1, 0])
    assert torch.equal(draws([17])[:, 0], whole[:, 1])
    assert torch.equal(draws([0, 2**32 - 1, 4, 17, 3]), whole.flip(1))
    assert torch.equal(draws([17, 17])[:, 0], draws([17, 17])[:, 1])


def test_draws_and_seeds_differ() -> None:
    """No two draws of one seed, and no two neighbouring seeds, share a value."""
    values = draws([*range(50), 2**10, 2**16, 2**31, 2**32 - 1], 20).flatten()
    assert len(values.unique()) > 0.999 * len(values)


@pytest.mark.parametrize("seed", [-1, 2**32, 2**40])
def test_seeds_that_would_repeat_are_refused(seed: int) -> None:
    """torch's CPU generator keeps 32 bits of a seed: 2^32 would be 0 again."""
    with pytest.raises(InputError, match=rf"seeds must be between 0 and 2\^32 - 1, got {seed}"):
        SeedNoise([0, seed], (2,))


def test_seeds_are_whole_numbers() -> None:
    """0.2 and 0.9 would both be 0; NumPy's integers are fine."""
    with pytest.raises(InputError, match=r"seeds must be whole numbers, got \[0.2, 0.9\]"):
        SeedNoise([0.2, 0.9], (2,))  # type: ignore[list-item]
    assert SeedNoise(np.arange(3), (2,)).seeds == (0, 1, 2)  # type: ignore[arg-type]


def test_times_change_nothing() -> None:
    """A call counts, whichever step it is for."""
    noise = SeedNoise([5], (2, 3))
    one, two = torch.tensor(1.0), torch.tensor(0.5)
    assert torch.equal(torch.stack([noise(one, two), noise(two, one), noise()]), draws([5]))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_dtypes_are_casts(dtype: torch.dtype) -> None:
    """float64 noise is the float32 noise, cast: a float64 run sees the same noise as a float32 one."""
    result = draws([1, 2], dtype=dtype)
    assert result.dtype == dtype and torch.equal(result, draws([1, 2]).to(dtype))


def test_the_global_generator_is_left_alone() -> None:
    """Neither read nor moved."""
    state = torch.random.get_rng_state()
    first = draws([0])
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(123)
    assert torch.equal(draws([0]), first)


@pytest.mark.parametrize("shape", [(), (1,), (16,), (1, 8, 8), (3, 32, 32)])
def test_is_standard_normal(shape: tuple[int, ...]) -> None:
    """Mean, variance, fourth moment and the correlation of neighbours, within 5 standard errors."""
    noise = SeedNoise(range(2000), shape)
    z = noise().double().flatten()
    z = torch.cat([z, *(noise().double().flatten() for _ in range(max(1, 20_000 // len(z))))])
    n = len(z)
    assert abs(float(z.mean())) < 5 / n**0.5
    assert abs(float(z.square().mean()) - 1) < 5 * (2 / n) ** 0.5
    assert abs(float(z.pow(4).mean()) - 3) < 5 * (96 / n) ** 0.5
    assert abs(float((z[1:] * z[:-1]).mean())) < 5 / n**0.5


def test_shape() -> None:
    """The noise has shape (B, *shape) and is on the requested device."""
    z = SeedNoise([1, 2, 3], (4, 5), device=torch.device("cpu"))()
    assert z.shape == (3, 4, 5) and z.dtype == torch.float32 and z.device.type == "cpu"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_has_the_same_bits() -> None:
    """CPU and GPU see the same noise, bit for bit."""
    on_gpu = draws([1, 2, 3], device="cuda")
    assert on_gpu.device.type == "cuda" and torch.equal(on_gpu.cpu(), draws([1, 2, 3]))


def test_a_skipped_draw() -> None:
    """What follows has the number that it would have had, and in between nothing is drawn."""
    noise, plain = SeedNoise([3, 5], (2,)), SeedNoise([3, 5], (2,))
    noise.skip()
    first, second, third, fourth = (plain() for _ in range(4))
    assert torch.equal(noise(), second) and torch.equal(noise(), third)
    noise.skip()
    noise.skip()
    plain()
    assert torch.equal(noise(), plain()) and not torch.equal(first, fourth)
