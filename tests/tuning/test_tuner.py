"""Tuning: the gain on held-out starts, its limits, and errors."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sdekit import EDM, SDE, VP, GaussianMixture, InputError, RectifiedFlow, registry, sample
from sdekit.sampling import Sampler
from sdekit.tuning import Starts, check_tunable, solve_starts, tune
from sdekit.tuning.tuner import _less
from sdekit_plugins.samplers.ddim import DDIM
from sdekit_plugins.samplers.pc import PC

PAIR = GaussianMixture(torch.tensor([[-1.0, 0.4, 0.2], [0.7, -0.9, 0.5], [0.3, 0.8, -1.0]]), 0.35)


def starts(sde: SDE, n: int, seed: int, dtype: torch.dtype = torch.float64) -> Starts:
    """Starts on PAIR with their solutions."""
    return solve_starts(sde, PAIR.denoiser(sde), PAIR.sample(n, seed, sde, sde.t_max).to(dtype), batch_size=n)


def sets(sde: SDE, dtype: torch.dtype = torch.float64) -> dict[str, Starts]:
    """Starts to tune on, to select by and to measure on."""
    return {name: starts(sde, 40, seed, dtype) for seed, name in enumerate(("train", "check", "held_out"))}


@pytest.mark.parametrize("sde", [VP(), RectifiedFlow(), EDM()], ids=lambda sde: type(sde).__name__)
def test_gain_on_unseen_starts(sde: SDE) -> None:
    """With six evaluations the error is less than half; sampling with the result gives the reported errors."""
    given = sets(sde)
    found = tune(sde, PAIR.denoiser(sde), "auto", nfe=6, **given)
    assert found.calls == 6 and found.starts == 40 and found.helps and found.ratio < 0.5
    x, truth = given["held_out"].x, given["held_out"].truth

    def error(**arguments: object) -> float:
        drawn = sample(sde, PAIR.denoiser(sde), "auto", shape=(3,), x=x, dtype=x.dtype, **arguments)  # type: ignore[arg-type]
        assert drawn.nfe == 6
        return float((drawn.x - truth).square().mean().sqrt())

    assert error(nfe=6) == pytest.approx(found.untuned, rel=1e-9)
    assert error(grid=found.times(sde), guidance=found.guidance) == pytest.approx(found.tuned, rel=1e-9)


def test_times_alone_for_a_sampler_of_two_calls() -> None:
    """Without weights, in float32: no coefficients, no more evaluations than allowed, a smaller error."""
    found = tune(VP(), PAIR.denoiser(VP()), "heun", nfe=8, weights=False, **sets(VP(), torch.float32))
    assert found.calls == 7 and len(found.levels) == 3 and found.gains == () == found.guidance and found.ratio < 0.8


def test_coefficients_add_to_times() -> None:
    """DDIM with weights is a multistep method, whose error is smaller than with times alone."""
    given, sde = sets(VP()), VP()
    alone, both = (tune(sde, PAIR.denoiser(sde), "ddim", nfe=6, weights=w, **given) for w in (False, True))
    assert alone.ratio < 0.7 and both.tuned < 0.8 * alone.tuned


def test_untuned_where_nothing_helps() -> None:
    """If the check set shows no gain, the sampler is left as it is."""
    sde, given = VP(), sets(VP())
    x = given["check"].x
    as_is = sample(sde, PAIR.denoiser(sde), "auto", shape=(3,), x=x, nfe=5, dtype=x.dtype)
    given["check"] = replace(given["check"], truth=as_is.x)
    found = tune(sde, PAIR.denoiser(sde), "auto", nfe=5, **given)
    assert not found.helps and found.ratio == 1 and found.gains == ()
    torch.testing.assert_close(found.times(sde), as_is.times)


def test_no_time_leaves_it_untuned() -> None:
    """With no time left, the sampler is left as it is."""
    found = tune(VP(), PAIR.denoiser(VP()), "auto", nfe=5, time_limit=1e-9, **sets(VP()))
    assert found.ratio == 1


def test_a_gain_of_few_starts_is_chance() -> None:
    """A large gain on one start counts as chance, small gains on many starts do not."""
    before = 1 + torch.rand(200, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    one = before.clone()
    before[0] += 300
    assert not _less(before, one) and not _less(before, before) and not _less(before, before * 1.1)
    assert _less(before, before * 0.9 - 0.05 * torch.arange(200) / 200)


def test_fine_solutions_keep_to_a_time_limit() -> None:
    """Within a time limit the first starts are solved, with their conditions."""
    sde, exact, told = VP(), PAIR.denoiser(VP()), list[tuple[int, int]]()

    def slow(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        time.sleep(1e-4 * len(x))
        return exact(x, t, y)

    x, y = PAIR.sample(500, 0, sde, sde.t_max), torch.arange(500) % 3
    began = time.monotonic()
    found = solve_starts(sde, slow, x, y, time_limit=2.0, tick=lambda *pair: told.append(pair))
    n = len(found.x)
    assert time.monotonic() - began < 6 and 8 <= n < 500 and told[0] == (8, 500) and told[-1] == (n, 500)
    assert found.y is not None and len(found.truth) == n and torch.equal(found.x, x[:n]) and torch.equal(found.y, y[:n])
    assert len(solve_starts(sde, exact, x[:20], batch_size=8).truth) == 20


def test_conditions_reach_the_model_and_known_calls_are_not_repeated() -> None:
    """Conditions reach the model, and a Jacobian costs about half of the evaluations of its runs."""
    sde, calls = VP(), 0
    exact = PAIR.denoiser(sde)

    def denoise(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        nonlocal calls
        assert y is not None and len(y) == len(x)
        calls += 1
        return exact(x, t, y)

    made = {}
    for seed, name in enumerate(("train", "check", "held_out")):
        x, y = PAIR.sample(20, seed, sde, sde.t_max), torch.arange(20) % 3
        made[name] = solve_starts(sde, denoise, x, y, batch_size=8)
    calls, ticks = 0, list[tuple[int, int]]()
    found = tune(sde, denoise, "ddim", nfe=8, tick=lambda *told: ticks.append(told), **made)
    assert found.ratio < 0.5
    assert [done for done, _ in ticks] == list(range(1, len(ticks) + 1)) and all(done <= most for done, most in ticks)
    assert calls < 0.7 * 8 * len(ticks)


@pytest.mark.parametrize(
    ("sampler", "nfe", "told"),
    [
        ("ddpm", 10, "draws noise"),
        ("ode", 10, "no fixed number"),
        (DDIM(eta=0.5), 10, "draws noise"),
        (PC(), 10, "draws noise"),
        ("heun", 2, "needs 3 calls"),
        ("auto", 1, "needs 2 calls"),
    ],
)
def test_refused(sampler: Sampler | str, nfe: int, told: str) -> None:
    """Samplers without a fixed path, and budgets without a step, are refused."""
    method = registry.build("sampler", sampler) if isinstance(sampler, str) else sampler
    with pytest.raises(InputError, match=told):
        check_tunable(VP(), method, nfe)
