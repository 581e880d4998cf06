"""What is kept is given again only where nothing can have changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from sdekit import EDM, SDE, VP, Sampler, TabulatedVP, registry, sample
from sdekit.sampling import karras, kept, kept_grid

TIMES = torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64)


@dataclass(frozen=True, kw_only=True)
class Counting(Sampler):
    """A sampler of one option, which may be anything."""

    weight: Any = 1.0

    def rows(self, sde: SDE, times: Tensor) -> list[int]:
        """A new list each time, so that a kept one can be told."""
        return [len(times)]


def test_equal_arguments_give_the_same_object() -> None:
    """An equal sampler and process, made anew, and the same times in another tensor."""
    first = kept(Counting().rows, EDM(), TIMES)
    assert kept(Counting().rows, EDM(), TIMES.clone()) is first


@pytest.mark.parametrize(
    ("sampler", "sde", "times"),
    [
        (Counting(weight=2.0), EDM(), TIMES),
        (Counting(), EDM(sigma_max=70.0), TIMES),
        (Counting(), VP(), TIMES),
        (Counting(), EDM(), TIMES[1:]),
        (Counting(), EDM(), TIMES + 1e-12),
    ],
)
def test_any_difference_is_worked_out_anew(sampler: Counting, sde: SDE, times: Tensor) -> None:
    first = kept(Counting().rows, EDM(), TIMES)
    assert kept(sampler.rows, sde, times) is not first


@pytest.mark.parametrize("weight", [torch.ones(2), [1.0], (torch.ones(2),), torch.nn.Linear(1, 1)])
def test_what_may_change_is_not_kept(weight: object) -> None:
    """A list or a network keeps its identity while its values change."""
    sampler = Counting(weight=weight)
    assert kept(sampler.rows, EDM(), TIMES) is not kept(sampler.rows, EDM(), TIMES)


def test_what_was_worked_out_from_the_fields_does_not_matter() -> None:
    """A table of betas caches its knots in the process, at the first use: they are a function of its fields."""
    sde = TabulatedVP.linear(n=10)
    sde.alpha(TIMES[-1:])
    first = kept(Counting().rows, sde, TIMES)
    assert kept(Counting().rows, TabulatedVP.linear(n=10), TIMES) is first


def test_a_denoiser_that_writes_on_its_time_spoils_no_later_run() -> None:
    """The times of stages are kept: what is asked at is a copy."""
    sde = EDM(sigma_max=33.0)

    def right(x: Tensor, t: Tensor) -> Tensor:
        return x / (1 + float(t) ** 2)

    def spoils(x: Tensor, t: Tensor) -> Tensor:
        x0 = right(x, t)
        t.mul_(1000)
        return x0

    expected = sample(sde, right, "heun", shape=(2,), n=2, steps=4).x
    kept.__globals__["_made"].cache_clear()
    sample(sde, spoils, "heun", shape=(2,), n=2, steps=4)
    assert torch.equal(sample(sde, right, "heun", shape=(2,), n=2, steps=4).x, expected)


def test_what_holds_more_than_its_fields_is_not_kept() -> None:
    """A class that inherits from a frozen one can be changed, and so can what is put beside the fields."""

    class Loose(Counting):
        extra = 0

    @dataclass(frozen=True, kw_only=True)
    class Loaded(Counting):
        def __post_init__(self) -> None:
            object.__setattr__(self, "table", [self.weight])

    for sampler in (Loose(), Loaded()):
        assert kept(sampler.rows, EDM(), TIMES) is not kept(sampler.rows, EDM(), TIMES)


def test_a_process_that_can_change_is_asked_again() -> None:
    """A process of one's own need not be a frozen dataclass, and its schedule may be learned."""

    class Learned(SDE):
        t_min, t_max, speed = 0.01, 1.0, 1.0

        def alpha(self, t: Tensor) -> Tensor:
            return 1 + 0 * t

        def sigma(self, t: Tensor) -> Tensor:
            return t * self.speed

        def time(self, rho: Tensor) -> Tensor:
            return rho / self.speed

    sde, x = Learned(), torch.ones(1, 2)
    for name in ("auto", "dpmpp-2m", "heun", "ddim", "euler-ancestral"):
        sampler, drawn = registry.build("sampler", name), []
        for speed in (1.0, 5.0):
            sde.speed = speed
            drawn.append(sample(sde, lambda x, t: x / 2, sampler, shape=(2,), x=x, steps=4, grid="uniform").x)
            fresh = Learned()
            fresh.speed = speed
            again = sample(fresh, lambda x, t: x / 2, sampler, shape=(2,), x=x, steps=4, grid="uniform").x
            assert torch.equal(drawn[-1], again), name


@pytest.mark.parametrize("name", ["auto", "unipc", "dpmpp-2m", "heun", "ddim", "ddpm", "dpmpp-2s"])
def test_a_second_run_equals_the_first(name: str) -> None:
    """Bit for bit, though the first one worked its coefficients out."""
    sde = EDM(sigma_max=71.5)  # no other test's, so that the first run is the first
    first, second = (sample(sde, lambda x, t: x / 2, name, shape=(3,), n=2, steps=6).x for _ in range(2))
    assert torch.equal(first, second)


def test_a_grid_is_worked_out_once_and_given_as_a_copy() -> None:
    """Who changes the times that were given changes no one else's."""
    asked = list[int]()

    @kept_grid
    def grid(sde: SDE, n: int, *, p: float = 1.0) -> Tensor:
        asked.append(n)
        return torch.linspace(sde.t_max, p * sde.t_min, n + 1, dtype=torch.float64)

    first = grid(EDM(), 3)
    expected = first.clone()
    first[1] = 7.0
    assert grid(EDM(), 3).equal(expected) and asked == [3]
    assert not grid(EDM(), 3, p=2.0).equal(expected) and not grid(VP(), 3).equal(expected)
    assert len(grid(EDM(), 4)) == 5 and asked == [3, 3, 3, 4]


def test_a_grid_of_a_process_that_can_change_is_asked_again() -> None:
    """Its ends may have moved."""

    class Stretched(SDE):
        t_min, t_max = 0.01, 1.0

        def alpha(self, t: Tensor) -> Tensor:
            return 1 + 0 * t

        def sigma(self, t: Tensor) -> Tensor:
            return t

        def time(self, rho: Tensor) -> Tensor:
            return rho

    sde = Stretched()
    assert karras(sde, 4)[0] == 1
    sde.t_max = 2.0
    assert karras(sde, 4)[0] == 2
