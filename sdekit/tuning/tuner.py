"""Tune times, and weights of earlier evaluations, so that few evaluations come close to a model's fine solution.

This is a nonlinear least-squares problem in few parameters, which Levenberg-Marquardt solves in about ten iterations.
The Jacobian is taken by finite differences, so neither the network nor the sampler is differentiated, and any sampler
works. A parameter that acts from evaluation k on does not change earlier evaluations: these are replayed, not repeated.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sdekit.arguments import check_count, check_function, check_instance, check_number, check_tensor, describe_value
from sdekit.errors import InputError, SdekitError
from sdekit.evaluation import exact_solution
from sdekit.models import Condition
from sdekit.processes import SDE, Denoiser, check_process, evaluate_denoiser
from sdekit.sampling import Sampler, resolve_for_data, sample, start_at_finite_rho

from .parametrization import Parametrization
from .tuned import Blend, Tuned, times_at

ITERATIONS = 20
"""Largest number of iterations of one least-squares solution."""
FEW = 8
"""Number of starts that are solved first if there is a time limit, to measure the time for each."""
CHANCE = 2.0
"""Standard errors by which a mean must decrease to count as a gain."""
PATIENCE = 3
"""Number of iterations without gain on the check set before the descent ends."""
MEMORY = 2**25
"""Largest size of the Jacobian and the recorded evaluations of a batch, in numbers."""

Rule = Callable[[Tensor], Tensor]
"""Function from the initial squared errors (n,) to weights of the starts (n,), so that the initial loss is 1."""
Tick = Callable[[int, int], None]
"""Progress callback `tick(done, total)`. It counts runs of the sampler, or starts; `total` is an upper bound."""


@dataclass(frozen=True)
class Starts:
    """Starts of the sampler and the fine solutions from them.

    Arguments:
        x: Samples x_t at t_max, (n, *).
        truth: x_0 of the fine solution, (n, *), float64, on the CPU.
        y: Condition of n samples, or None.
    """

    x: Tensor
    truth: Tensor
    y: Tensor | Condition | None = None

    def parts(self, size: int) -> Iterator[Starts]:
        """Split the starting points into batches of at most `size` and yield the batches."""
        y = self.y
        for i in range(0, len(self.x), size):
            part = slice(i, i + size)
            yield Starts(self.x[part], self.truth[part], None if y is None else y[part])


def solve_starts(
    sde: SDE,
    denoise: Denoiser,
    x: Tensor,
    y: Tensor | Condition | None = None,
    *,
    batch_size: int = 64,
    time_limit: float = math.inf,
    tick: Tick | None = None,
) -> Starts:
    """Solve the probability flow finely from starts, by `exact_solution`; the result serves any number of tunings.

    Arguments:
        sde: Process.
        denoise: Denoiser.
        x: Samples x_t at t_max, (n, *).
        y: Condition of n samples, or None.
        batch_size: Starts that are solved together.
        time_limit: Seconds. A few starts are solved first; then as many as fit into the time.
        tick: Called with the number of starts that are solved.
    Returns:
        The starts that were solved, in order.
    Raises:
        InputError: If an argument has another type or range.
    """

    check_process("solve_starts", sde)
    check_tensor("solve_starts: x", x)
    if not x.ndim or not len(x):
        raise InputError(f"solve_starts: x must be samples (n, *), got {describe_value(x)}")
    if y is not None:
        check_instance("solve_starts: y", y, (Tensor, Condition), "a tensor (n, ...) or a Condition")
        if y.shape[:1] != (len(x),):
            raise InputError(
                f"solve_starts: y has shape {tuple(y.shape)}, expected one condition for each of {len(x)} x"
            )
    batch_size = check_count("solve_starts: batch_size", batch_size, least=1)
    _check_time_limit(time_limit)

    def of(part: slice) -> Tensor:
        rows = None if y is None else y[part]
        x0 = exact_solution(sde, denoise if rows is None else lambda z, t: denoise(z, t, rows), x[part])
        return x0.cpu().double()

    truth, done, began = list[Tensor](), 0, time.monotonic()
    size = batch_size if time_limit == math.inf else min(batch_size, FEW)
    while done < len(x) and size > 0:
        truth.append(of(slice(done, done + size)))
        done += len(truth[-1])
        if tick is not None:
            tick(done, len(x))
        took = time.monotonic() - began
        size = int(min(batch_size, (time_limit - took) / took * done))
    return Starts(x[:done], torch.cat(truth), None if y is None else y[:done])


def tune(
    sde: SDE,
    denoise: Denoiser,
    sampler: Sampler | str,
    *,
    nfe: int,
    train: Starts,
    check: Starts,
    held_out: Starts,
    weights: bool = True,
    batch_size: int = 256,
    time_limit: float = math.inf,
    tick: Tick | None = None,
) -> Tuned:
    """Tune a deterministic sampler for a number of evaluations.

    First, the squared error of each start is divided by its initial value, because otherwise the few starts between
    two modes, with errors a hundred times larger, would dominate. Then a fit with equal weights of all starts is
    tried, and kept if it reduces the error by more than chance. If the result does not reduce the error on the held-out
    starts, the sampler on its own grid is returned, with ratio 1.

    Arguments:
        sde: Process.
        denoise: Denoiser.
        sampler: Deterministic sampler with a fixed number of evaluations a step, or its name.
        nfe: Largest number of network evaluations.
        train: Starts that are fitted.
        check: Starts that select the best iteration.
        held_out: Starts that are only measured, before and after.
        weights: Tune the weights of earlier evaluations (`Blend`) in addition to the times.
        batch_size: Starts in a batch.
        time_limit: Seconds; no iteration is started that would exceed them.
        tick: Called with the number of sampler runs so far.
    Returns:
        Times, coefficients and errors.
    Raises:
        InputError: If the sampler draws noise, has no fixed number of evaluations, or `nfe` is too small for a step.
    Source:
        S4S (Frankel et al. 2025) and LD3 (Tong et al. 2025) have the same aim. The method here is Gauss-Newton.
    """
    check_process("tune", sde)
    check_function("tune: denoise", denoise, "a denoiser, a function of (x, t) or (x, t, y)")
    method: Sampler = resolve_for_data("sampler", sampler, denoise)
    steps = check_tunable(sde, method, nfe)
    for name, starts in (("train", train), ("check", check), ("held_out", held_out)):
        check_instance(f"tune: {name}", starts, Starts, "the result of solve_starts")
    batch_size = check_count("tune: batch_size", batch_size, least=1)
    _check_time_limit(time_limit)
    fit = _Fit(sde, denoise, method, batch_size, tick or (lambda done, total: None))
    own = Parametrization.of(sde, method.build_default_grid()(sde, steps - 1), method.calls_per_step or 1, weights)
    grid = resolve_for_data("grid", "auto", denoise)
    other = Parametrization.of(sde, grid(sde, steps - 1), method.calls_per_step or 1, weights)
    nothing = torch.zeros(own.count, dtype=torch.float64)
    before = fit.error(own, nothing, held_out)
    chosen = min((own, other), key=lambda parameters: float(fit.squares(parameters, nothing, train).median()))
    deadline = time.monotonic() + time_limit
    theta = fit.solve(chosen, nothing, train, check, _by_gain, deadline)
    last = fit.solve(chosen, theta, train, check, _alike, deadline)
    squares = [torch.cat([fit.squares(chosen, each, starts) for starts in (train, check)]) for each in (theta, last)]
    theta = last if _less(*squares) else theta
    after = fit.error(chosen, theta, held_out)
    if not after < before:
        chosen, theta, after = own, nothing, before
    levels, gains = chosen.read(theta)
    rows = tuple(map(tuple, gains.tolist())) if weights and gains.any() else ()
    calls = method.evaluations(steps) or 0
    return Tuned(
        calls=calls, levels=tuple(levels.tolist()), gains=rows, starts=len(held_out.x), untuned=before, tuned=after
    )


def _check_time_limit(seconds: float) -> None:
    """Raise InputError unless a time limit is a positive number; infinity means no limit."""
    value: Any = seconds
    if not (isinstance(value, float) and value == math.inf):
        check_number("time_limit", value, above=0)


def check_tunable(sde: SDE, sampler: Sampler, nfe: int) -> int:
    """Check that a sampler can be tuned, and return its number of steps.

    Arguments:
        sde: Process.
        sampler: Sampler.
        nfe: Largest number of network evaluations.
    Returns:
        Steps, including the final denoising.
    Raises:
        InputError: If the sampler draws noise, has no fixed number of evaluations, or `nfe` is too small for a step.
    """
    name = type(sampler).__name__
    check_process("tune", sde)
    check_instance("tune: sampler", sampler, Sampler, "a sampler or a registered name such as 'heun'")
    nfe = check_count("tune: nfe", nfe)
    if sampler.stochastic or sampler.calls_per_step is None:
        why = "draws noise" if sampler.stochastic else "has no fixed number of calls"
        raise InputError(f"tune: {name} {why}: tuning needs a fixed path for a number of calls. Use auto or heun")
    if nfe <= sampler.calls_per_step:
        raise InputError(f"tune: nfe={nfe} leaves {name} no step: it needs {sampler.calls_per_step + 1} calls or more")

    def no_noise(t: Tensor | None = None, s: Tensor | None = None) -> Tensor:
        raise InputError(f"tune: {name} draws noise with these options: tuning needs a deterministic sampler")

    times, _ = start_at_finite_rho(sampler, sde, torch.tensor([sde.t_max, sde.t_min], dtype=torch.float64))
    for _ in sampler.trajectory(sde, lambda x, t: x / 2, torch.zeros(1, 1, dtype=torch.float64), times, no_noise):
        pass
    return sampler.steps_for(nfe)


@dataclass
class _Fit:
    """The least-squares problem of one sampler on one model, with a count of the sampler runs."""

    sde: SDE
    denoise: Denoiser
    sampler: Sampler
    batch_size: int
    tick: Tick
    runs: int = 0
    most: int = 0

    def run(self, parameters: Parametrization, theta: Tensor, starts: Starts, denoise: Denoiser) -> Tensor:
        """Sample from the starts; return x_0 (n, *), float64, on the CPU."""
        levels, gains = parameters.read(theta)
        guidance = [Blend(tuple(map(tuple, gains.tolist())))] if gains.any() else []
        x = starts.x
        drawn = sample(
            self.sde, denoise, self.sampler, shape=x.shape[1:], x=x, y=starts.y, grid=times_at(self.sde, levels),
            guidance=guidance, dtype=x.dtype, device=x.device,
        )  # fmt: skip
        self.runs += 1
        self.tick(self.runs, max(self.most, self.runs))
        return drawn.x.cpu().double()

    def squares(self, parameters: Parametrization, theta: Tensor, starts: Starts) -> Tensor:
        """Return the mean squared error over the coordinates of each start, (n,); infinity if the run fails."""
        squares = []
        for part in starts.parts(self.batch_size):
            try:
                x0 = self.run(parameters, theta, part, self.denoise)
            except SdekitError:  # times that are too close, or diverging values
                return torch.full((len(starts.x),), math.inf, dtype=torch.float64)
            squares.append((x0 - part.truth).square().flatten(1).mean(1))
        return torch.cat(squares)

    def error(self, parameters: Parametrization, theta: Tensor, starts: Starts) -> float:
        """Return the root mean squared error over starts and coordinates."""
        return float(self.squares(parameters, theta, starts).mean().sqrt())

    def solve(
        self, parameters: Parametrization, theta: Tensor, train: Starts, check: Starts, rule: Rule, deadline: float
    ) -> Tensor:
        """Minimize the loss on `train` by Levenberg-Marquardt; return the theta with the least loss on `check`."""
        damping = 1e-2
        began = time.monotonic()
        counts, of_check = (rule(self.squares(parameters, theta, starts)) for starts in (train, check))
        took = (time.monotonic() - began) * parameters.count / 4  # about half of each run for the Jacobian is replayed
        loss, least, best, waited = 1.0, 1.0, theta, 0
        self.most = self.runs + ITERATIONS * (parameters.count + 2)
        for _ in range(ITERATIONS):
            began = time.monotonic()
            if began + took > deadline or not counts.isfinite().all():
                break
            square, slope = self._normal(parameters, theta, train, counts)
            for _ in range(8):
                scale = square.diagonal() + 1e-3 * square.diagonal().mean() + 1e-30
                trial = theta - torch.linalg.solve(square + damping * scale.diag(), slope)
                reached = float(self.squares(parameters, trial, train) @ counts)
                if reached < loss:
                    break
                damping *= 4
            else:
                break
            gained, theta, loss, damping = reached / loss, trial, reached, max(damping / 5, 1e-9)
            checked = float(self.squares(parameters, theta, check) @ of_check)
            waited = 0 if checked < least else waited + 1
            least, best = (checked, theta) if checked < least else (least, best)
            if waited >= PATIENCE or gained > 0.999:
                break
            took = time.monotonic() - began
        return best

    def _normal(
        self, parameters: Parametrization, theta: Tensor, starts: Starts, counts: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return J^T J (count, count) and J^T r (count,), summed over batches; `counts` (n,) weights the starts."""
        n, numbers = parameters.count, starts.x[0].numel()
        h = torch.finfo(starts.x.dtype).eps ** (1 / 3)
        square, slope = torch.zeros(n, n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
        size = max(1, min(self.batch_size, MEMORY // (numbers * (n + 2 * len(parameters.weights_basis)))))
        for part, of_part in zip(starts.parts(size), counts.split(size), strict=True):
            record: list[tuple[Tensor, Tensor, Tensor]] = []
            x0 = self.run(parameters, theta, part, _Replay(self.denoise, record, recording=True))
            root, columns = of_part.sqrt()[:, None] / math.sqrt(numbers), []
            for shift in h * torch.eye(n, dtype=torch.float64):
                try:
                    moved = self.run(parameters, theta + shift, part, _Replay(self.denoise, record))
                except SdekitError:  # not a valid grid: leave this parameter fixed
                    moved = x0
                columns.append((root * (moved - x0).flatten(1) / h).flatten())
            jacobian = torch.stack(columns, 1)
            square += jacobian.T @ jacobian
            slope += jacobian.T @ (root * (x0 - part.truth).flatten(1)).flatten()
        return square, slope


class _Replay:
    """Denoiser that returns recorded results as long as its arguments equal the recorded ones, and then evaluates."""

    def __init__(
        self, denoise: Denoiser, record: list[tuple[Tensor, Tensor, Tensor]], *, recording: bool = False
    ) -> None:
        self.denoise, self.record, self.recording = denoise, record, recording
        self.known = iter(record if not recording else ())

    def __call__(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        known = next(self.known, None)
        if known is not None and torch.equal(known[1], t) and torch.equal(known[0], x):
            return known[2]
        self.known = iter(())
        x0 = evaluate_denoiser(self.denoise, x, t, y)
        if self.recording:
            self.record.append((x, t, x0))
        return x0


def _by_gain(squares: Tensor) -> Tensor:
    """Return weights proportional to 1 / (squared error + median squared error)."""
    counts = 1 / (squares + squares.median() + 1e-30)
    return counts / (squares @ counts + 1e-30)


def _alike(squares: Tensor) -> Tensor:
    """Return equal weights."""
    return 1 / (squares.sum() + 1e-30).expand(len(squares))


def _less(before: Tensor, after: Tensor) -> bool:
    """Whether the mean squared error decreased by more than chance, given the spread over starts (n,)."""
    decrease = before - after
    return bool(decrease.mean() > CHANCE * decrease.std() / math.sqrt(len(decrease)))
