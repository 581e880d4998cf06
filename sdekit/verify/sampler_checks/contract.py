"""Checks of the rules that every sampler must obey: network calls, times, batches, dtypes, inputs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from itertools import zip_longest

import torch
from torch import Tensor

from sdekit.distributions import GaussianMixture
from sdekit.processes import SDE, VE, VP, RectifiedFlow, as_time
from sdekit.sampling import Sampler, Samples, SeedNoise, karras, sample
from sdekit.verify.common.check_results import Check, Finding, at_most, same
from sdekit.verify.common.problems import MIXTURE_2D, RecordingDenoiser, initial_x, run_sampler, with_finite_start

DECORATE = "decorate the class with @dataclass(frozen=True, kw_only=True)"


def checks(sampler: Sampler, trials: Mapping[str, SDE], *, quick: bool) -> Iterator[Check]:
    """Yield every check of the sampler's contract.

    Arguments:
        sampler: Sampler.
        trials: Processes, by name.
        quick: Measure on fewer processes and step counts.
    """
    sde = trials["rectified-flow"]
    for name, process in trials.items():
        law = "number of network calls = calls_per_step * steps; batch size = rows of x"
        yield Check(f"calls[{name}]", law, partial(network_calls, sampler, process))
        yield Check(
            f"times[{name}]", "t_min <= t <= t_max in every network call", partial(call_times, sampler, process)
        )
    yield Check("state", "two trajectories advanced in turn are independent", partial(state, sampler, sde))
    yield Check("inputs", "x, times, draws and denoised x_0 are not changed", partial(inputs, sampler, sde))
    yield Check("shape", "x of shape (B, 2, 3, 6) gives the result of shape (B, 36)", partial(shapes, sampler, sde))
    for name in ("vp",) if quick else ("vp", "rectified-flow"):
        law = "x(times + 2 d) - 2 x(times + d) + x(times) = O(d^2), d = 1e-7"
        yield Check(f"float64 schedule[{name}]", law, partial(float64_schedule, sampler, trials[name]))
    whole = {"vp": VP(), "rectified-flow": with_finite_start(sampler, RectifiedFlow()), "ve": VE()}
    for name in ("vp",) if quick else ("vp", "rectified-flow"):
        law = "float32 and float64 give the same x, up to 1e-3"
        yield Check(f"float32[{name}]", law, partial(float32, sampler, whole[name]))
    law = "sample() with the defaults of the sampler runs; nfe = evaluations(steps) <= the given nfe"
    yield Check("budget", law, partial(budget, sampler, whole["vp"]))
    law = "an exception of the denoiser reaches the caller; NaN leads to NaN or an exception"
    yield Check("errors", law, partial(errors, sampler, sde))
    law = "no x requires a gradient; the gradient mode is not changed"
    yield Check("gradient", law, partial(gradient, sampler, sde))
    for name in ("vp", "rectified-flow") if quick else whole:
        counts = (1, 2, 3, 10, 50) if quick else (1, 2, 3, 10, 100, 1000)[: 6 if name == "vp" else 5]
        law = f"x is finite for {counts[0]} to {counts[-1]} steps"
        yield Check(f"finite[{name}]", law, partial(finite, sampler, whole[name], counts))
    if torch.cuda.is_available():
        yield Check("device", "CPU and CUDA give the same samples", partial(device, sampler, sde))


def _short(dtype: torch.dtype) -> str:
    """Return "float32" for torch.float32."""
    return str(dtype).removeprefix("torch.")


def declaration(sampler: Sampler) -> Finding:
    """Check that the class is a frozen dataclass, and that all fields are keyword-only and have defaults."""
    if "__dataclass_params__" not in vars(type(sampler)) or not is_dataclass(sampler):
        return Finding(False, "not a dataclass", "a dataclass", f"the class is no dataclass: {DECORATE}")
    parameters = vars(type(sampler))["__dataclass_params__"]
    if not parameters.frozen:
        return Finding(False, "not frozen", "frozen", f"the dataclass is not frozen: {DECORATE}")
    type(sampler)()  # raises if an option has no default
    wrong = [f.name for f in fields(sampler) if not f.kw_only]
    cause = "some options are positional: add kw_only=True to the decorator"
    return Finding(not wrong, ", ".join(wrong) or "all", "all options keyword-only", cause)


def runs(sampler: Sampler, sde: SDE) -> Finding:
    """Check that runs of one and of three steps raise no exception and have a finite x at every time."""
    for n in (3, 1):
        times, x = karras(sde, n), initial_x(sde, 1, torch.float32)
        for i, x_s in enumerate(run_sampler(sampler, sde, MIXTURE_2D.denoiser(sde), x, times)):
            if not x_s.isfinite().all():
                t = times[min(i, n - 1)]
                cause = f"a coefficient is infinite or 0/0 at t = {float(t):.4g}: check the coefficients of this step"
                if sde.alpha(t) < 1e-12:
                    cause = (
                        "the step starts at t_max, where alpha = 0 and rho = sigma / alpha is infinite: use the "
                        "coordinates sdekit.processes.FlowCoordinates, which are finite there, or declare "
                        "requires_finite_rho = True"
                    )
                step = "the first step" if i == 0 else f"step {i + 1} of {n}"
                return Finding(False, f"x is not finite after {step}", "finite", cause)
    return Finding(True, "finite", "finite")


def network_calls(sampler: Sampler, sde: SDE) -> Finding:
    """Check that the sampler makes as many network calls as it declares, each with the whole batch."""
    rows = 1 if sampler.requires_single_sample else 3
    x, count, declared = initial_x(sde, rows), 0, 0
    for n in (1, 2, 5, 20) if sampler.calls_per_step is not None else (1, 3):
        denoiser = RecordingDenoiser(MIXTURE_2D.denoiser(sde))
        run_sampler(sampler, sde, denoiser, x, karras(sde, n))
        if set(denoiser.batch_sizes) - {rows}:
            sizes = str(sorted(set(denoiser.batch_sizes)))
            cause = "the sampler calls the network with another batch size than that of x: call it with the whole batch"
            return Finding(False, sizes, f"batches of {rows}", cause)
        count, declared = len(denoiser.batch_sizes), n * (sampler.calls_per_step or 0)
        if sampler.calls_per_step is not None and count != declared:
            problem = "makes more network calls than" if count > declared else "makes fewer network calls than"
            cause = f"the sampler {problem} it declares: correct calls_per_step"
            return Finding(False, count, f"{declared} in {n} steps, {sampler.calls_per_step} per step", cause)
    expected = f"{declared} in 20 steps, {sampler.calls_per_step} per step"
    if sampler.calls_per_step is None:
        expected = "any number"
    return Finding(count > 0, count, expected, "the sampler never calls the network: call denoise(x, t)")


def call_times(sampler: Sampler, sde: SDE) -> Finding:
    """Check that every network call has x like the samples and a float64 time within the range of the process."""
    x = initial_x(sde, 1 if sampler.requires_single_sample else 2)
    denoiser = RecordingDenoiser(MIXTURE_2D.denoiser(sde), x)
    for n in (1, 4, 9) if sampler.calls_per_step is not None else (1, 3):
        run_sampler(sampler, sde, denoiser, x, karras(sde, n))
    if denoiser.malformed:
        cause = "a network call has wrong arguments: x must be like the samples, and t () or (B,) in float64"
        return Finding(False, denoiser.malformed[0], "x like the samples, t float64 () or (B,)", cause)
    low, high = min(denoiser.times), max(denoiser.times)
    slack = 1e-9 * (sde.t_max - sde.t_min)
    outside = low if low < sde.t_min - slack else high
    passed = sde.t_min - slack <= low and high <= sde.t_max + slack
    cause = f"a network call has t = {outside:.6g}, outside the range of the process: clamp t to [t_min, t_max]"
    return Finding(passed, f"{low:.6g} to {high:.6g}", f"within [{sde.t_min:.6g}, {sde.t_max:.6g}]", cause)


def state(sampler: Sampler, sde: SDE) -> Finding:
    """Check that two trajectories advanced in turn equal two trajectories run one after the other."""
    x, times, denoise = initial_x(sde, 2), karras(sde, 6), MIXTURE_2D.denoiser(sde)
    separate = [run_sampler(sampler, sde, denoise, row[None], times)[-1] for row in x]
    with torch.no_grad():
        pair = [sampler.trajectory(sde, denoise, row[None], times, SeedNoise([0], (2,), dtype=x.dtype)) for row in x]
        *_, together = zip_longest(*pair)
    difference = max(float((a - b).abs().max()) for a, b in zip(separate, together, strict=True))
    cause = "the sampler stores the state of a trajectory in the object: store it in local variables of trajectory()"
    return same(difference, 0.0, cause)


def inputs(sampler: Sampler, sde: SDE) -> Finding:
    """Check that the sampler changes no input in place, and no x that it has yielded."""
    x, times = initial_x(sde, 1), karras(sde, 6)
    source, draws = SeedNoise([0], (2,), dtype=x.dtype), []

    def noise(t: Tensor | None = None, s: Tensor | None = None) -> Tensor:
        draws.append((z := source(t, s), z.clone()))
        return z

    denoiser, yielded = RecordingDenoiser(MIXTURE_2D.denoiser(sde)), []
    copies = x.clone(), times.clone()
    with torch.no_grad():
        for x_s in sampler.trajectory(sde, denoiser, x, times, noise):
            yielded.append((x_s, x_s.clone()))
    tensors = {
        "x": [(x, copies[0])],
        "times": [(times, copies[1])],
        "a draw": draws,
        "a denoised x_0": denoiser.results,
        "a yielded x": yielded,
    }
    changed = [name for name, pairs in tensors.items() if any(not torch.equal(a, b) for a, b in pairs)]
    cause = f"the sampler changes {' and '.join(changed)} in place: compute a new tensor"
    return Finding(not changed, ", ".join(changed) or "unchanged", "unchanged", cause)


def shapes(sampler: Sampler, sde: SDE) -> Finding:
    """Check that images, square or not, with any number of axes, give the same result as vectors of their elements."""
    means = torch.linspace(-1, 1, 72, dtype=torch.float64).view(2, 36)
    x = sde.prior(SeedNoise(range(2), (36,), dtype=torch.float64)())
    x, results = x[: 1 if sampler.requires_single_sample else 2], []
    for shape in ((36,), (2, 3, 6), (1, 6, 6), (4, 3, 3), (36, 1), (2, 3, 2, 3)):
        mixture = GaussianMixture(means.view(2, *shape), 0.5)
        out = run_sampler(sampler, sde, mixture.denoiser(sde), x.view(-1, *shape), karras(sde, 3))[-1]
        results.append(out.reshape(len(x), 36))
        difference = float((results[-1] - results[0]).abs().max())
        cause = "a coefficient is broadcast along the wrong axis: use 0-dimensional coefficients or broadcast(t, x)"
        if not difference <= 1e-8:
            break
    return at_most(difference, 1e-8, f"{cause}; shape {shape}", "difference ")


def dtypes(sampler: Sampler, sde: SDE, dtype: torch.dtype) -> Finding:
    """Check that a trajectory yields one x for each step, with the dtype and shape of the initial x."""
    x = initial_x(sde, 1, dtype)
    trajectory = run_sampler(sampler, sde, MIXTURE_2D.denoiser(sde), x, karras(sde, 5))
    kinds = {(_short(x_s.dtype), tuple(x_s.shape)) for x_s in trajectory}
    passed = len(trajectory) == 5 and kinds == {(_short(dtype), (1, 2))}
    measured = f"{len(trajectory)} x " + ", ".join(f"{kind} {shape}" for kind, shape in sorted(kinds))
    cause = "trajectory() does not yield one x at each of times[1:]: yield each once, in the dtype and shape of x"
    return Finding(passed, measured, f"5 x {_short(dtype)} (1, 2)", cause)


def float64_schedule(sampler: Sampler, sde: SDE) -> Finding:
    """Check that the schedule is computed in float64: x is a smooth function of the times.

    A schedule rounded to float32 turns x into a step function of the times, with second differences of at least 1e-8.
    The x of an adaptive method is discontinuous where the error estimate equals the tolerance. Few starting points hit
    such a discontinuity, so the median of three is used.
    """
    times, d, second_differences = karras(sde, 10 if sampler.calls_per_step is not None else 3), 1e-7, []
    shift = torch.full_like(times, -d)
    shift[[0, -1]] = 0.0
    for x in initial_x(sde, 1 if sampler.calls_per_step is not None else 3).split(1):
        at = [run_sampler(sampler, sde, MIXTURE_2D.denoiser(sde), x, times + k * shift)[-1] for k in range(3)]
        second_differences.append(float((at[2] - 2 * at[1] + at[0]).abs().max()))
    cause = "times or coefficients are rounded to float32: compute the schedule in float64"
    return at_most(sorted(second_differences)[len(second_differences) // 2], 1e-9, cause)


def float32(sampler: Sampler, sde: SDE) -> Finding:
    """Check that float32 gives the same x as float64, over the whole range of the process, up to 1e-3."""
    x = initial_x(sde, 1, torch.float32)
    ends = [
        run_sampler(sampler, sde, MIXTURE_2D.denoiser(sde), x.to(d), karras(sde, 12))[-1]
        for d in (torch.float32, torch.float64)
    ]
    difference = float((ends[0] - ends[1]).abs().max() / (1 + ends[1].abs().max()))
    cause = "significant digits cancel: avoid the difference of two large numbers and the division by a small one"
    return at_most(difference, 1e-3, cause, "relative ")


def budget(sampler: Sampler, sde: SDE) -> Finding:
    """Check that `sample` accepts the default steps, grid and noise, and makes as many evaluations as declared."""

    def draw(steps: int | None = None, nfe: int | None = None) -> Samples:
        return sample(sde, MIXTURE_2D.denoiser(sde), sampler, shape=(2,), n=1, steps=steps, nfe=nfe)

    draw(steps=1)
    runs = [(draw(), None), *((draw(nfe=n), n) for n in (7, 24) if sampler.calls_per_step is not None)]
    for run, nfe in runs:
        count, expected = sampler.evaluations(len(run.times)), run.nfe
        if count is not None and count != expected:
            cause = "evaluations() does not return the number of network evaluations of a run: correct it"
            return Finding(False, count, f"{expected} for {len(run.times)} times", cause)
        if nfe is not None and not run.nfe <= nfe < (sampler.evaluations(len(run.times) + 1) or 0):
            cause = "steps_for() does not return the largest number of times for a number of evaluations: correct it"
            return Finding(False, f"{run.nfe} evaluations", f"at most {nfe}, with the most times", cause)
    return Finding(True, "as computed", "as computed")


def errors(sampler: Sampler, sde: SDE) -> Finding:
    """Check that neither an exception nor a NaN of the denoiser is hidden."""
    for failure in (RuntimeError("the network failed"), math.nan):
        calls = 0

        def denoise(x: Tensor, t: Tensor, y: Tensor | None = None, failure: float | Exception = failure) -> Tensor:
            nonlocal calls
            calls += 1
            if isinstance(failure, Exception) and calls > 1:
                raise failure
            return torch.full_like(x, math.nan) if calls > 1 else MIXTURE_2D.denoiser(sde)(x, t)

        try:
            hidden = bool(run_sampler(sampler, sde, denoise, initial_x(sde, 1), karras(sde, 4))[-1].isfinite().all())
        except Exception:
            hidden = False
        if hidden:
            what = "NaN" if failure is math.nan else "an exception"
            cause = f"the sampler hides {what} of the denoiser: a failure of the network must be visible in the result"
            return Finding(False, f"{what} has no effect", "an exception, or an x that is not finite", cause)
    return Finding(True, "visible", "an exception, or an x that is not finite")


def gradient(sampler: Sampler, sde: SDE) -> Finding:
    """Check that no x requires a gradient, even if the parameters of the network do."""
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)
    denoise, mode = MIXTURE_2D.denoiser(sde), torch.is_grad_enabled()
    x, times = initial_x(sde, 1), karras(sde, 5)
    trajectory = run_sampler(sampler, sde, lambda x, t: weight * denoise(x, t), x, times)
    problems = [f"x after step {i + 1}" for i, x in enumerate(trajectory) if x.requires_grad][:1]
    if torch.is_grad_enabled() != mode:
        problems.append("gradient mode")
    cause = "a step enables gradients and returns a tensor with a graph: detach the result"
    return Finding(not problems, ", ".join(problems) or "no graph", "no graph", cause)


def finite(sampler: Sampler, sde: SDE, counts: tuple[int, ...]) -> Finding:
    """Check that x is finite in float32, over the whole range of the process, for every number of steps."""
    if sampler.calls_per_step is None and sampler.order is None:
        counts = counts[:4:3]  # an adaptive method chooses its own steps
    largest = 0.0
    for n in counts:
        x = initial_x(sde, 1, torch.float32)
        trajectory = run_sampler(sampler, sde, MIXTURE_2D.denoiser(sde), x, karras(sde, n))
        bad = [i for i, x in enumerate(trajectory) if not x.isfinite().all()]
        if bad:
            measured = f"not finite after step {bad[0] + 1} of {n}"
            cause = "a coefficient is infinite or a step is unstable: check the coefficients at t_min and t_max"
            return Finding(False, measured, "finite", cause)
        largest = max(largest, float(trajectory[-1].abs().max()))
    bound = 1e3 * max(1.0, float(sde.sigma(as_time(sde.t_max))))  # x may grow if an explicit method takes few steps
    return at_most(largest, bound, "the steps are unstable: x grows without bound", "|x| ")


def device(sampler: Sampler, sde: SDE) -> Finding:
    """Check that the same seeds give the same samples on the CPU and on CUDA."""
    cpu, cuda = (
        sample(sde, MIXTURE_2D.denoiser(sde), sampler, shape=(2,), n=2, steps=6, device=name).x.cpu()
        for name in ("cpu", "cuda")
    )
    cause = "a coefficient or draw differs between devices: compute the schedule on the CPU and draw from noise(t, s)"
    return at_most(float((cpu - cuda).abs().max()), 1e-3, cause, "difference ")
