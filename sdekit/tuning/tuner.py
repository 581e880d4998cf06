"""Tuning: the times, and the weights of earlier evaluations, that bring few calls closest to a model's fine solution.

A nonlinear least-squares problem in few unknowns: Levenberg-Marquardt solves it in some ten iterations, with the
Jacobian from finite differences, so that neither the network nor the sampler is ever differentiated, and any sampler
will do. An unknown that matters from call k on leaves all calls before as they were: these are replayed, not repeated.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from sdekit.errors import InputError, SdekitError
from sdekit.evaluation import exact_solution
from sdekit.models import Condition
from sdekit.processes import SDE, Denoiser
from sdekit.registry import build, resolve
from sdekit.sampling import Sampler, sample

from .parametrization import Parametrization
from .tuned import Blend, Tuned, times_at

ITERATIONS = 20
FEW = 8  # starts that are solved first where there is a time limit
CHANCE = 2.0  # standard errors
PATIENCE = 3  # iterations without gain on the check set before it ends
MEMORY = 2**25  # numbers of the Jacobian and of recorded calls, at a time

Rule = Callable[[Tensor], Tensor]
"""How much each start counts, (n,), for squared errors (n,) to begin with, of which the loss is then 1."""
Tick = Callable[[int, int], None]
"""`tick(done, total)`, in runs of the sampler or in starts; the total is the most that there can be."""


@dataclass(frozen=True)
class Starts:
    """x (n, *) at t_max, conditions y (n, ...) or None, and where the model's fine solution leads to.

    truth: (n, *), float64, on the CPU.
    """

    x: Tensor
    truth: Tensor
    y: Tensor | Condition | None = None

    def parts(self, size: int) -> Iterator[Starts]:
        """In batches of at most `size`."""
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
    """Starts x (n, *) with their fine solutions, by `exact_solution`: once, for any number of tunings.

    time_limit: seconds, after which those so far are all; at first a few are solved, which say how many fit. tick: told
    how many are done.
    """

    def of(part: slice) -> Tensor:
        told = None if y is None else y[part]
        x0 = exact_solution(sde, denoise if told is None else lambda z, t: denoise(z, t, told), x[part])
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
    """Tune a deterministic sampler of a fixed number of calls for runs of at most nfe calls.

    train: what is fitted; check: says which iteration was the best; held_out: only measured, before and after.
    weights: also the weights of earlier evaluations (`Blend`), not the times alone. time_limit: seconds;
    an iteration that would not fit is not begun. At first a start counts by what it gains: its squared error is divided
    by what that was, since else the few starts between two modes, with a hundred times the error of others, would
    decide all; then all count alike, if that gains beyond chance. What does not help those held out is undone: the
    result is then the sampler on its own grid, with ratio 1.
    Raises InputError for a sampler that draws noise or whose calls are not fixed, and where nfe leaves it no step.
    Source: the aim of S4S (Frankel et al. 2025) and LD3 (Tong et al. 2025), reached by Gauss-Newton steps.
    """
    method: Sampler = resolve("sampler", sampler)
    steps = check_tunable(sde, method, nfe)
    fit = _Fit(sde, denoise, method, batch_size, tick or (lambda done, total: None))
    own = Parametrization.of(sde, method.build_default_grid()(sde, steps - 1), method.calls_per_step or 1, weights)
    other = Parametrization.of(sde, build("grid", "auto")(sde, steps - 1), method.calls_per_step or 1, weights)
    nothing = torch.zeros(own.count, dtype=torch.float64)
    before = fit.error(own, nothing, held_out)
    chosen = min((own, other), key=lambda unknowns: float(fit.squares(unknowns, nothing, train).median()))
    deadline = time.monotonic() + time_limit
    theta = fit.solve(chosen, nothing, train, check, _by_gain, deadline)
    last = fit.solve(chosen, theta, train, check, _alike, deadline)
    squares = [torch.cat([fit.squares(chosen, each, starts) for starts in (train, check)]) for each in (theta, last)]
    found = last if _less(*squares) else theta
    after = fit.error(chosen, found, held_out)
    if not after < before:
        chosen, found, after = own, nothing, before
    levels, gains = chosen.read(found)
    kept = tuple(map(tuple, gains.tolist())) if weights and gains.any() else ()
    calls = (steps - 1) * (method.calls_per_step or 1) + 1
    return Tuned(
        calls=calls, levels=tuple(levels.tolist()), gains=kept, starts=len(held_out.x), untuned=before, tuned=after
    )


def check_tunable(sde: SDE, sampler: Sampler, nfe: int) -> int:
    """The steps that nfe calls allow, the final denoising counted; InputError where there is nothing to tune."""
    name = type(sampler).__name__
    if sampler.stochastic or sampler.calls_per_step is None:
        why = "draws noise" if sampler.stochastic else "has no fixed number of calls"
        raise InputError(
            f"tune: {name} {why}: tuning needs a path that a number of calls determines. Take auto or heun"
        )
    if nfe <= sampler.calls_per_step:
        raise InputError(f"tune: nfe={nfe} leaves {name} no step: it needs {sampler.calls_per_step + 1} calls or more")

    def no_noise(t: Tensor | None = None, s: Tensor | None = None) -> Tensor:
        raise InputError(f"tune: {name} draws noise with these options: tuning needs a deterministic sampler")

    times = torch.tensor([sde.t_max, sde.t_min], dtype=torch.float64)
    for _ in sampler.trajectory(sde, lambda x, t: x / 2, torch.zeros(1, 1, dtype=torch.float64), times, no_noise):
        pass
    return (nfe - 1) // sampler.calls_per_step + 1


@dataclass
class _Fit:
    """Runs of one sampler on one model, counted, and the least-squares problem that they make."""

    sde: SDE
    denoise: Denoiser
    sampler: Sampler
    batch_size: int
    tick: Tick
    runs: int = 0
    most: int = 0

    def run(self, unknowns: Parametrization, theta: Tensor, starts: Starts, denoise: Denoiser) -> Tensor:
        """x_0 (n, *), float64, on the CPU."""
        levels, gains = unknowns.read(theta)
        guidance = [Blend(tuple(map(tuple, gains.tolist())))] if gains.any() else []
        x = starts.x
        drawn = sample(
            self.sde, denoise, self.sampler, shape=x.shape[1:], x=x, y=starts.y, grid=times_at(self.sde, levels),
            guidance=guidance, dtype=x.dtype, device=x.device,
        )  # fmt: skip
        self.runs += 1
        self.tick(self.runs, max(self.most, self.runs))
        return drawn.x.cpu().double()

    def squares(self, unknowns: Parametrization, theta: Tensor, starts: Starts) -> Tensor:
        """Mean square over the coordinates of each start, (n,); infinite where the run fails."""
        found = []
        for part in starts.parts(self.batch_size):
            try:
                x0 = self.run(unknowns, theta, part, self.denoise)
            except SdekitError:  # times that are too close, or values without bounds
                return torch.full((len(starts.x),), math.inf, dtype=torch.float64)
            found.append((x0 - part.truth).square().flatten(1).mean(1))
        return torch.cat(found)

    def error(self, unknowns: Parametrization, theta: Tensor, starts: Starts) -> float:
        """Root mean square over starts and coordinates."""
        return float(self.squares(unknowns, theta, starts).mean().sqrt())

    def solve(
        self, unknowns: Parametrization, theta: Tensor, train: Starts, check: Starts, rule: Rule, deadline: float
    ) -> Tensor:
        """theta of the least loss on `check` along a Levenberg-Marquardt descent of that on `train`, from theta."""
        damping = 1e-2
        began = time.monotonic()
        counts, of_check = (rule(self.squares(unknowns, theta, starts)) for starts in (train, check))
        took = (time.monotonic() - began) * unknowns.count / 4  # half of each run of the Jacobian is replayed
        loss, least, best, waited = 1.0, 1.0, theta, 0
        self.most = self.runs + ITERATIONS * (unknowns.count + 2)
        for _ in range(ITERATIONS):
            began = time.monotonic()
            if began + took > deadline or not counts.isfinite().all():
                break
            square, slope = self._normal(unknowns, theta, train, counts)
            for _ in range(8):
                scale = square.diagonal() + 1e-3 * square.diagonal().mean() + 1e-30
                trial = theta - torch.linalg.solve(square + damping * scale.diag(), slope)
                reached = float(self.squares(unknowns, trial, train) @ counts)
                if reached < loss:
                    break
                damping *= 4
            else:
                break
            gained, theta, loss, damping = reached / loss, trial, reached, max(damping / 5, 1e-9)
            checked = float(self.squares(unknowns, theta, check) @ of_check)
            waited = 0 if checked < least else waited + 1
            least, best = (checked, theta) if checked < least else (least, best)
            if waited >= PATIENCE or gained > 0.999:
                break
            took = time.monotonic() - began
        return best

    def _normal(
        self, unknowns: Parametrization, theta: Tensor, starts: Starts, counts: Tensor
    ) -> tuple[Tensor, Tensor]:
        """J^T J (count, count) and J^T r (count,), over batches that fit in memory; counts (n,): of each start."""
        n, numbers = unknowns.count, starts.x[0].numel()
        h = torch.finfo(starts.x.dtype).eps ** (1 / 3)
        square, slope = torch.zeros(n, n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
        size = max(1, min(self.batch_size, MEMORY // (numbers * (n + 2 * len(unknowns.of_rows)))))
        for part, of_part in zip(starts.parts(size), counts.split(size), strict=True):
            record: list[tuple[Tensor, Tensor, Tensor]] = []
            x0 = self.run(unknowns, theta, part, _Replay(self.denoise, record, recording=True))
            root, columns = of_part.sqrt()[:, None] / math.sqrt(numbers), []
            for shift in h * torch.eye(n, dtype=torch.float64):
                try:
                    moved = self.run(unknowns, theta + shift, part, _Replay(self.denoise, record))
                except SdekitError:  # at the edge of what is a grid: hold this one still
                    moved = x0
                columns.append((root * (moved - x0).flatten(1) / h).flatten())
            jacobian = torch.stack(columns, 1)
            square += jacobian.T @ jacobian
            slope += jacobian.T @ (root * (x0 - part.truth).flatten(1)).flatten()
        return square, slope


class _Replay:
    """A denoiser that answers from the record of a run for as long as it is asked the same, and from then on itself."""

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
        x0 = self.denoise(x, t) if y is None else self.denoise(x, t, y)
        if self.recording:
            self.record.append((x, t, x0))
        return x0


def _by_gain(squares: Tensor) -> Tensor:
    """By the inverse of the squared error, but none much more than the half of all with the smaller ones."""
    counts = 1 / (squares + squares.median() + 1e-30)
    return counts / (squares @ counts + 1e-30)


def _alike(squares: Tensor) -> Tensor:
    """Each as much as any other."""
    return 1 / (squares.sum() + 1e-30).expand(len(squares))


def _less(before: Tensor, after: Tensor) -> bool:
    """Whether the mean of squared errors (n,) fell beyond chance: what a few starts have gained, others will lose."""
    fell = before - after
    return bool(fell.mean() > CHANCE * fell.std() / math.sqrt(len(fell)))
