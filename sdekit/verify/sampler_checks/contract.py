"""What every sampler keeps, whatever it computes: calls, times, noise, batches, dtypes, inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from itertools import zip_longest

import torch
from torch import Tensor

from sdekit.distributions import GaussianMixture
from sdekit.processes import SDE, VE, VP, RectifiedFlow, as_time
from sdekit.sampling import Sampler, SeedNoise, karras, sample
from sdekit.verify.common.problems import PLANE, Watched, path, processes, start
from sdekit.verify.common.report import Check, Finding, at_most, same


def checks(sampler: Sampler, *, quick: bool) -> Iterator[Check]:
    """Every check of how the sampler behaves."""
    trials = processes(quick=quick)
    sde = trials["rectified-flow"]
    yield Check("declaration", "a frozen dataclass, every option typed and with a default", partial(declared, sampler))
    for name, process in trials.items():
        yield Check(
            f"calls[{name}]", "network calls = calls x steps, on the whole batch", partial(calls, sampler, process)
        )
        yield Check(f"times[{name}]", "t_min <= t <= t_max in every network call", partial(times_, sampler, process))
    yield Check("state", "two trajectories side by side do not meet", partial(state, sampler, sde))
    yield Check("inputs", "x, times, draws and denoised x_0 stay as they were", partial(inputs, sampler, sde))
    yield Check("shape", "(B, 2, 3, 4) gives what (B, 24) gives", partial(shapes, sampler, sde))
    for dtype in (torch.float32, torch.float64):
        name = str(dtype).removeprefix("torch.")
        yield Check(f"dtype[{name}]", "x keeps dtype and shape, one x a step", partial(dtypes, sampler, sde, dtype))
    for name in ("vp",) if quick else ("vp", "rectified-flow"):
        law = "x(times + 2 d) - 2 x(times + d) + x(times) = O(d^2), d = 1e-7"
        yield Check(f"float64 schedule[{name}]", law, partial(precision, sampler, trials[name]))
    ranges: Mapping[str, SDE] = {"vp": VP()} if quick else {"vp": VP(), "rectified-flow": RectifiedFlow()}
    for name, process in ranges.items():
        law = "float32 and float64 lead to the same x, to 1e-3"
        yield Check(f"float32[{name}]", law, partial(single, sampler, process))
    yield Check("gradient", "no result holds a graph; grad mode is left as it was", partial(gradient, sampler, sde))
    whole: Mapping[str, SDE] = {"vp": VP(), "rectified-flow": RectifiedFlow()} | ({} if quick else {"ve": VE()})
    for name, process in whole.items():
        counts = (1, 2, 3, 10, 50) if quick else (1, 2, 3, 10, 100, 1000)
        yield Check(
            f"finite[{name}]",
            f"x is finite at {counts[0]} to {counts[-1]} steps",
            partial(finite, sampler, process, counts),
        )
    if torch.cuda.is_available():
        yield Check("device", "CPU and CUDA give the same samples", partial(device, sampler, sde))


def declared(sampler: Sampler) -> Finding:
    """Its class is a frozen dataclass whose fields can be options."""
    if "__dataclass_params__" not in vars(type(sampler)) or not is_dataclass(sampler):
        return Finding(
            False, "not a dataclass", "a dataclass", "decorate it with @dataclass(frozen=True, kw_only=True)"
        )
    parameters = vars(type(sampler))["__dataclass_params__"]
    if not parameters.frozen:
        return Finding(False, "not frozen", "frozen", "decorate it with @dataclass(frozen=True, kw_only=True)")
    type(sampler)()  # every option has a default
    wrong = [f.name for f in fields(sampler) if not f.kw_only]
    return Finding(not wrong, ", ".join(wrong) or "all", "all options keyword-only", "add kw_only=True")


def calls(sampler: Sampler, sde: SDE) -> Finding:
    """As many calls as declared, each with the batch as it is."""
    rows = 1 if sampler.requires_single_sample else 3
    x, made, told = start(sde, rows), 0, 0
    for n in (1, 2, 5, 12) if sampler.calls_per_step is not None else (1, 3):
        watched = Watched(PLANE.denoiser(sde))
        path(sampler, sde, watched, x, karras(sde, n))
        if set(watched.batches) - {rows}:
            sizes = str(sorted(set(watched.batches)))
            return Finding(
                False, sizes, f"batches of {rows}", "it calls the network with another batch than it was given"
            )
        made, told = len(watched.batches), n * (sampler.calls_per_step or 0)
        if sampler.calls_per_step is not None and made != told:
            cause = "a hidden network call" if made > told else "it declares more calls than it makes"
            return Finding(False, made, f"{told} in {n} steps, {sampler.calls_per_step} a step", cause)
    expected = (
        "any number" if sampler.calls_per_step is None else f"{told} in 12 steps, {sampler.calls_per_step} a step"
    )
    return Finding(made > 0, made, expected, "it never asks the network")


def times_(sampler: Sampler, sde: SDE) -> Finding:
    """No call outside of the process's range."""
    watched = Watched(PLANE.denoiser(sde))
    for n in (1, 4, 9) if sampler.calls_per_step is not None else (1, 3):
        path(sampler, sde, watched, start(sde, 1), karras(sde, n))
    low, high = min(watched.times), max(watched.times)
    slack = 1e-9 * (sde.t_max - sde.t_min)
    bad = low if low < sde.t_min - slack else high
    inside = sde.t_min - slack <= low and high <= sde.t_max + slack
    cause = f"a network call at t = {bad:.6g}, outside of the process's range"
    return Finding(inside, f"{low:.6g} to {high:.6g}", f"within [{sde.t_min:.6g}, {sde.t_max:.6g}]", cause)


def state(sampler: Sampler, sde: SDE) -> Finding:
    """Two trajectories advanced in turn are the two run one after the other."""
    x, times, denoise = start(sde, 2), karras(sde, 6), PLANE.denoiser(sde)
    alone = [path(sampler, sde, denoise, row[None], times)[-1] for row in x]
    with torch.no_grad():
        pair = [sampler.trajectory(sde, denoise, row[None], times, SeedNoise([0], (2,), dtype=x.dtype)) for row in x]
        *_, together = zip_longest(*pair)
    difference = max(float((a - b).abs().max()) for a, b in zip(alone, together, strict=True))
    return same(
        difference, 0.0, "the sampler remembers a trajectory outside of it: keep what a step leaves in local variables"
    )


def inputs(sampler: Sampler, sde: SDE) -> Finding:
    """Nothing that it was given, nor an x that it has yielded, is altered in place."""
    x, times = start(sde, 1), karras(sde, 6)
    source, drawn = SeedNoise([0], (2,), dtype=x.dtype), []

    def noise(t: Tensor | None = None, s: Tensor | None = None) -> Tensor:
        drawn.append((z := source(t, s), z.clone()))
        return z

    watched, yielded = Watched(PLANE.denoiser(sde)), []
    first = x.clone(), times.clone()
    with torch.no_grad():
        for x_s in sampler.trajectory(sde, watched, x, times, noise):
            yielded.append((x_s, x_s.clone()))
    kept = {
        "x": [(x, first[0])],
        "times": [(times, first[1])],
        "a draw": drawn,
        "a denoised x_0": watched.given,
        "an x it had yielded": yielded,
    }
    changed = [what for what, pairs in kept.items() if any(not torch.equal(a, b) for a, b in pairs)]
    return Finding(
        not changed, ", ".join(changed) or "unchanged", "unchanged", f"an in-place change of {' and '.join(changed)}"
    )


def shapes(sampler: Sampler, sde: SDE) -> Finding:
    """Images give what the same numbers give as vectors."""
    means = torch.linspace(-1, 1, 48, dtype=torch.float64).view(2, 24)
    x = sde.prior(SeedNoise(range(2), (24,), dtype=torch.float64)())
    x, results = x[: 1 if sampler.requires_single_sample else 2], []
    for shape in ((24,), (2, 3, 4)):
        mixture = GaussianMixture(means.view(2, *shape), 0.5)
        out = path(sampler, sde, mixture.denoiser(sde), x.view(-1, *shape), karras(sde, 4))[-1]
        results.append(out.reshape(len(x), 24))
    return at_most(
        float((results[0] - results[1]).abs().max()),
        1e-8,
        "a coefficient is broadcast along the wrong axis",
        "difference ",
    )


def dtypes(sampler: Sampler, sde: SDE, dtype: torch.dtype) -> Finding:
    """One x a step, in the dtype and shape of the first."""
    x = start(sde, 1, dtype)
    found = path(sampler, sde, PLANE.denoiser(sde), x, karras(sde, 5))
    kinds = {(str(x_s.dtype).removeprefix("torch."), tuple(x_s.shape)) for x_s in found}
    name = str(dtype).removeprefix("torch.")
    passed = len(found) == 5 and kinds == {(name, (1, 2))}
    told = f"{len(found)} x " + ", ".join(f"{kind} {shape}" for kind, shape in sorted(kinds))
    return Finding(passed, told, f"5 x {name} (1, 2)", "a trajectory yields x at each of times[1:], as it was given")


def precision(sampler: Sampler, sde: SDE) -> Finding:
    """A schedule rounded to float32 makes x a staircase in the times: its second difference is then 1e-8 or more.

    x of an adaptive method jumps where a step is just accepted: the middle of three starts, of which hardly one does.
    """
    times, d, seconds = karras(sde, 10 if sampler.calls_per_step is not None else 3), 1e-7, []
    move = torch.full_like(times, -d)
    move[[0, -1]] = 0.0
    for x in start(sde, 1 if sampler.calls_per_step is not None else 3).split(1):
        at = [path(sampler, sde, PLANE.denoiser(sde), x, times + k * move)[-1] for k in range(3)]
        seconds.append(float((at[2] - 2 * at[1] + at[0]).abs().max()))
    cause = "times or coefficients pass through float32: keep the schedule in float64"
    return at_most(sorted(seconds)[len(seconds) // 2], 1e-9, cause)


def single(sampler: Sampler, sde: SDE) -> Finding:
    """From one x and with the same draws, over the whole range of the process; what cancels shows in float32."""
    x = start(sde, 1, torch.float32)
    ends = [
        path(sampler, sde, PLANE.denoiser(sde), x.to(d), karras(sde, 12))[-1] for d in (torch.float32, torch.float64)
    ]
    off = float((ends[0] - ends[1]).abs().max() / (1 + ends[1].abs().max()))
    return at_most(off, 1e-3, "digits cancel: two large numbers are subtracted, or divided by a small one", "relative ")


def gradient(sampler: Sampler, sde: SDE) -> Finding:
    """With a network that learns, no x of a trajectory holds a graph."""
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)
    exact, before = PLANE.denoiser(sde), torch.is_grad_enabled()
    found = path(sampler, sde, lambda x, t: weight * exact(x, t), start(sde, 1), karras(sde, 5))
    held = [f"x after step {i + 1}" for i, x in enumerate(found) if x.requires_grad][:1]
    if torch.is_grad_enabled() != before:
        held.append("grad mode")
    told = ", ".join(held) or "no graph"
    return Finding(not held, told, "no graph", "gradients are enabled in a step and kept: detach what leaves it")


def finite(sampler: Sampler, sde: SDE, counts: tuple[int, ...]) -> Finding:
    """In float32, over the whole range of the process, on each number of steps that a user may ask for."""
    if sampler.calls_per_step is None and sampler.order is None:
        counts = counts[:4:3]  # its own steps are as many as it needs
    largest = 0.0
    for n in counts:
        drawn = path(sampler, sde, PLANE.denoiser(sde), start(sde, 1, torch.float32), karras(sde, n))
        bad = [i for i, x in enumerate(drawn) if not x.isfinite().all()]
        if bad:
            return Finding(
                False,
                f"not finite after step {bad[0] + 1} of {n}",
                "finite",
                "a coefficient is infinite or a step is unstable",
            )
        largest = max(largest, float(drawn[-1].abs().max()))
    bound = 1e3 * max(1.0, float(sde.sigma(as_time(sde.t_max))))  # explicit methods do grow while steps are few
    return at_most(largest, bound, "steps are unstable", "|x| ")


def device(sampler: Sampler, sde: SDE) -> Finding:
    """The same seeds on both devices."""
    one, two = (
        sample(sde, PLANE.denoiser(sde), sampler, shape=(2,), n=2, steps=6, device=place).x.cpu()
        for place in ("cpu", "cuda")
    )
    return at_most(float((one - two).abs().max()), 1e-3, "a coefficient or draw differs between devices", "difference ")
