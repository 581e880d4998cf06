"""Where a sampler's randomness comes from, and whom it reaches."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from sdekit.processes import SDE
from sdekit.sampling import Sampler, SeedNoise, karras, sample
from sdekit.verify.common.problems import PLANE, path, start
from sdekit.verify.common.report import Check, Finding, at_most, same


def checks(sampler: Sampler, sde: SDE) -> Iterator[Check]:
    """Every check of the sampler's noise, on one process."""
    if not sampler.requires_single_sample:
        yield Check("own noise", "x^i depends on the draws of sample i alone", partial(own_noise, sampler, sde))
    if sampler.stochastic and sampler.calls_per_step is not None:  # an adaptive method asks again for what it rejected
        law = "draws noise(t, s) for steps t > s that do not overlap, else they are not independent"
        yield Check("intervals", law, partial(intervals, sampler, sde))
    yield Check("noise", "stochastic says whether the draws matter", partial(stochastic, sampler, sde))
    yield Check("batch", "x^i does not depend on batch size and order", partial(batches, sampler, sde))
    yield Check("same seed", "x is a function of the seeds", partial(same_seed, sampler, sde))
    yield Check(
        "global generators", "randomness comes from noise(t, s) alone", partial(global_generators, sampler, sde)
    )


def own_noise(sampler: Sampler, sde: SDE) -> Finding:
    """With other draws for row 1, row 1 alone changes (or none, where it draws nothing)."""
    x, times = start(sde, 3), karras(sde, 6)
    one, two = (
        path(sampler, sde, PLANE.denoiser(sde), x, times, SeedNoise(seeds, (2,), dtype=x.dtype))[-1]
        for seeds in ((0, 1, 2), (0, 9, 2))
    )
    change = (one - two).abs().amax(1)
    others = float(change[[0, 2]].max())
    if others > 1e-9:
        return at_most(others, 1e-9, "the draws of one sample reach the others", "change of the other samples ")
    own = float(change[1])
    cause = "a sample does not follow its own draws: noise is shared across the batch"
    return Finding(own > 0 or not sampler.stochastic, own, "above 0" if sampler.stochastic else "any change", cause)


def intervals(sampler: Sampler, sde: SDE) -> Finding:
    """What a Brownian path would be asked for: its increments are independent over disjoint steps alone.

    noise() and noise(t, t), for draws that belong to no step, are not looked at.
    """
    x, asked = start(sde, 1), list[tuple[float, float]]()
    drawn = SeedNoise([0], (2,), dtype=x.dtype)

    def noise(t: Tensor | None = None, s: Tensor | None = None) -> Tensor:
        if t is not None and s is not None and float(t) != float(s):
            asked.append((float(t), float(s)))
        return drawn()

    path(sampler, sde, PLANE.denoiser(sde), x, karras(sde, 6), noise)
    for i, (t, s) in enumerate(asked):
        told = f"noise({t:.4g}, {s:.4g})"
        if not sde.t_min <= s < t <= sde.t_max:
            return Finding(False, told, "t_min <= s < t <= t_max", "a step runs from t down to s, within the process")
        for before, after in asked[:i]:
            if max(s, after) < min(t, before) * (1 - 1e-12):
                told = f"noise({before:.4g}, {after:.4g}), then {told}"
                return Finding(
                    False, told, "disjoint", "two draws overlap: on a Brownian path they are not independent"
                )
    return Finding(True, f"{len(asked)} draws", "disjoint steps t > s")


def stochastic(sampler: Sampler, sde: SDE) -> Finding:
    """`stochastic` is true just where other draws give another x."""
    x, times = start(sde, 1), karras(sde, 6)
    one, two = (
        path(sampler, sde, PLANE.denoiser(sde), x, times, SeedNoise([seed], (2,), dtype=x.dtype))[-1] for seed in (0, 1)
    )
    change = float((one - two).abs().max())
    says = f"{'above' if sampler.stochastic else 'exactly'} 0, as stochastic = {sampler.stochastic} declares"
    cause = "it draws noise and declares none" if change else "it declares noise and uses none"
    return Finding((change > 0) == sampler.stochastic, change, says, cause)


def batches(sampler: Sampler, sde: SDE) -> Finding:
    """Alone, backwards, and in batches of three: the samples of seeds 0 to 4."""
    denoise, seeds, steps = PLANE.denoiser(sde), list(range(5)), 6 if sampler.calls_per_step is not None else 3

    def draw(seeds: list[int], batch_size: int | None = None) -> Tensor:
        return sample(
            sde, denoise, sampler, shape=(2,), seeds=seeds, steps=steps, batch_size=batch_size, dtype=torch.float64
        ).x

    whole = draw(seeds)
    differences = {
        "in a batch of one": draw([3])[0] - whole[3],
        "in batches of three": draw(seeds, 3) - whole,
        "backwards": draw(seeds[::-1]).flip(0) - whole,
    }
    how = max(differences, key=lambda how: float(differences[how].abs().max()))
    return at_most(
        float(differences[how].abs().max()),
        1e-8,
        f"a sample is another one {how}: it depends on its batch",
        "difference ",
    )


def same_seed(sampler: Sampler, sde: SDE) -> Finding:
    """Twice the same, to the last bit."""
    one, two = (path(sampler, sde, PLANE.denoiser(sde), start(sde, 1), karras(sde, 6))[-1] for _ in range(2))
    return same(float((one - two).abs().max()), 0.0, "two runs with one seed differ")


def global_generators(sampler: Sampler, sde: SDE) -> Finding:
    """Neither read nor advanced: torch's, numpy's and Python's."""
    kept = random.getstate(), np.random.get_state()
    results, moved = [], list[str]()
    with torch.random.fork_rng(devices=[]):
        for seed in (1, 2):
            random.seed(seed)
            np.random.seed(seed)
            torch.manual_seed(seed)
            before = _states()
            results.append(path(sampler, sde, PLANE.denoiser(sde), start(sde, 1), karras(sde, 6))[-1])
            moved = [name for name, now in _states().items() if now != before[name]]
    random.setstate(kept[0])
    np.random.set_state(kept[1])
    read = float((results[0] - results[1]).abs().max())
    names = f" of {', '.join(moved)}" if moved else ""
    cause = f"a step draws from the global generator{names}: draw from noise(t, s)"
    return Finding(not moved and read == 0, ", ".join(moved) or read, "untouched and unread", cause)


def _states() -> dict[str, str]:
    """The state of each global generator."""
    return {
        "random": str(random.getstate()),
        "numpy": str(np.random.get_state(legacy=False)),
        "torch": str(torch.get_rng_state().tolist()),
    }
