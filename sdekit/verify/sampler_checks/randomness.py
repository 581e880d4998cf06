"""Checks of a sampler's randomness: every draw comes from noise(t, s), and affects its own sample only."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from sdekit.processes import SDE
from sdekit.sampling import Sampler, SeedNoise, karras, sample
from sdekit.verify.common.check_results import Check, Finding, at_most, same, skip
from sdekit.verify.common.problems import MIXTURE_2D, initial_x, run_sampler


def checks(sampler: Sampler, sde: SDE) -> Iterator[Check]:
    """Yield every check of the sampler's randomness, on one process."""
    if not sampler.requires_single_sample:
        yield Check("own noise", "x^i depends on the draws of sample i only", partial(own_noise, sampler, sde))
    if sampler.stochastic and sampler.calls_per_step is not None:  # an adaptive method repeats rejected steps
        law = "noise(t, s) is drawn for steps t > s that do not overlap; otherwise the draws are dependent"
        yield Check("intervals", law, partial(intervals, sampler, sde))
    yield Check("noise", "stochastic = True if and only if x depends on the draws", partial(stochastic, sampler, sde))
    yield Check("batch", "x^i does not depend on the batch size or order", partial(batches, sampler, sde))
    yield Check("same seed", "x is a function of the seeds", partial(same_seed, sampler, sde))


def own_noise(sampler: Sampler, sde: SDE) -> Finding:
    """Check that other draws for one sample change only this sample, and do change it if the sampler is stochastic."""
    x, times = initial_x(sde, 3), karras(sde, 6)
    one, two = (
        run_sampler(sampler, sde, MIXTURE_2D.denoiser(sde), x, times, SeedNoise(seeds, (2,), dtype=x.dtype))[-1]
        for seeds in ((0, 1, 2), (0, 9, 2))
    )
    change = (one - two).abs().amax(1)
    others = float(change[[0, 2]].max())
    if others > 1e-9:
        cause = "the draws of one sample affect other samples: keep the rows of the noise apart"
        return at_most(others, 1e-9, cause, "change of the other samples ")
    own = float(change[1])
    cause = "a sample does not depend on its own draws: use the row of noise(t, s) that belongs to the sample"
    return Finding(own > 0 or not sampler.stochastic, own, "above 0" if sampler.stochastic else "any change", cause)


def intervals(sampler: Sampler, sde: SDE) -> Finding:
    """Check that the steps t > s for which noise(t, s) is drawn are within the range of the process and do not overlap.

    The increments of a Brownian path are independent over disjoint steps only. Calls without a step, noise() and
    noise(t, t), are ignored.
    """
    x, times, steps = initial_x(sde, 1), karras(sde, 6), list[tuple[float, float]]()
    source = SeedNoise([0], (2,), dtype=x.dtype)

    def noise(t: Tensor | None = None, s: Tensor | None = None) -> Tensor:
        if t is not None and s is not None and float(t) != float(s):
            steps.append((float(t), float(s)))
        return source()

    run_sampler(sampler, sde, MIXTURE_2D.denoiser(sde), x, times, noise)
    grid = [(float(t), float(s)) for t, s in pairwise(times)]
    for i, (t, s) in enumerate(steps):
        call = f"noise({t:.4g}, {s:.4g})"
        step = next(((high, low) for high, low in grid if low <= s < t <= high), None)
        if step is None or (i and t > steps[i - 1][0]):
            cause = "a draw is not for a step from t down to s of the grid, or a part of it, in order: call noise(t, s)"
            return Finding(False, call, "t_i >= t > s >= t_(i+1) for times t_i of the grid", cause)
        parts = sum(t - s for t, s in steps if step[1] <= s < t <= step[0])
        if parts < (step[0] - step[1]) * (1 - 1e-9):
            cause = "the draws of a step cover a part of it only, so the noise is not that of its Brownian path"
            return Finding(False, call, f"draws for the whole step from {step[0]:.4g} to {step[1]:.4g}", cause)
        for earlier_t, earlier_s in steps[:i]:
            if max(s, earlier_s) < min(t, earlier_t) * (1 - 1e-12):
                calls = f"noise({earlier_t:.4g}, {earlier_s:.4g}), then {call}"
                cause = (
                    "the steps of two draws overlap, so the draws are dependent on a Brownian path: draw once per step"
                )
                return Finding(False, calls, "disjoint", cause)
    return Finding(True, f"{len(steps)} draws", "disjoint steps t > s")


def stochastic(sampler: Sampler, sde: SDE) -> Finding:
    """Check that the attribute `stochastic` is true if and only if other draws give another x."""
    x, times = initial_x(sde, 1), karras(sde, 6)
    one, two = (
        run_sampler(sampler, sde, MIXTURE_2D.denoiser(sde), x, times, SeedNoise([seed], (2,), dtype=x.dtype))[-1]
        for seed in (0, 1)
    )
    change = float((one - two).abs().max())
    expected = f"{'above' if sampler.stochastic else 'exactly'} 0, as stochastic = {sampler.stochastic} declares"
    cause = (
        "the result depends on the draws: declare stochastic = True"
        if change
        else "the result does not depend on the draws: declare stochastic = False, or use them"
    )
    return Finding((change > 0) == sampler.stochastic, change, expected, cause)


def batches(sampler: Sampler, sde: SDE) -> Finding:
    """Check that samples are the same alone, in reverse order, in batches of three and in one of 40."""
    count, steps = (5, 3) if sampler.requires_single_sample or sampler.calls_per_step is None else (40, 6)
    denoise, seeds = MIXTURE_2D.denoiser(sde), list(range(count))

    def draw(seeds: list[int], batch_size: int | None = None) -> Tensor:
        return sample(
            sde, denoise, sampler, shape=(2,), seeds=seeds, steps=steps, batch_size=batch_size, dtype=torch.float64
        ).x

    whole = draw(seeds)
    differences = {
        "in a batch of one": draw([3])[0] - whole[3],
        "in batches of three": draw(seeds[:5], 3) - whole[:5],
        "in reverse order": draw(seeds[::-1]).flip(0) - whole,
    }
    name = max(differences, key=lambda name: float(differences[name].abs().max()))
    cause = f"a sample differs {name}, so it depends on its batch: keep the rows apart"
    return at_most(float(differences[name].abs().max()), 1e-8, cause, "difference ")


def same_seed(sampler: Sampler, sde: SDE) -> Finding:
    """Check that runs with the same seed agree bit by bit, with another grid and default dtype between them."""

    def draw() -> Tensor:
        return run_sampler(sampler, sde, MIXTURE_2D.denoiser(sde), initial_x(sde, 1), karras(sde, 6))[-1]

    one, dtype = draw(), torch.get_default_dtype()
    difference = float((draw() - one).abs().max())
    cause = "two runs with one seed differ: draw from noise(t, s) only, and keep no state between runs"
    if difference == 0:
        try:
            torch.set_default_dtype(torch.float64 if dtype == torch.float32 else torch.float32)
            difference = float((draw() - one).abs().max())
        finally:
            torch.set_default_dtype(dtype)
        cause = "the result depends on torch's default dtype: create tensors with dtype=torch.float64"
    return same(difference, 0.0, cause)


def global_generators(sampler: Sampler, sde: SDE) -> Finding:
    """Check that the sampler neither reads nor advances the global generators of torch, NumPy and Python."""
    saved = random.getstate(), np.random.get_state()
    results, advanced = [], list[str]()
    with torch.random.fork_rng(devices=[]):
        for seed in (1, 1, 2):
            random.seed(seed)
            np.random.seed(seed)
            torch.manual_seed(seed)
            before = _generator_states()
            results.append(run_sampler(sampler, sde, MIXTURE_2D.denoiser(sde), initial_x(sde, 1), karras(sde, 6))[-1])
            advanced = [name for name, state in _generator_states().items() if state != before[name]]
    random.setstate(saved[0])
    np.random.set_state(saved[1])
    if not torch.equal(results[0], results[1]):
        return skip("two runs with the same global seeds differ, which the check same seed measures")
    difference = float((results[0] - results[2]).abs().max())
    names = f" of {', '.join(advanced)}" if advanced else ""
    cause = f"a step draws from the global generator{names}: draw from noise(t, s)"
    passed = not advanced and difference == 0
    return Finding(passed, ", ".join(advanced) or difference, "neither read nor advanced", cause)


def _generator_states() -> dict[str, str]:
    """Return the state of each global generator."""
    return {
        "random": str(random.getstate()),
        "numpy": str(np.random.get_state(legacy=False)),
        "torch": str(torch.get_rng_state().tolist()),
    }
