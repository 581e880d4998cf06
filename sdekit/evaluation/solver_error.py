"""Errors of samplers on grids, by number of network evaluations, on one model and from the same starts."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from typing import Any, Literal

import torch
from torch import Tensor

from sdekit.arguments import check_tensor
from sdekit.distributions import GaussianMixture
from sdekit.errors import InputError, SdekitError
from sdekit.processes import SDE, Denoiser
from sdekit.registry import build, component_names, find_component, with_data_std
from sdekit.sampling import sample

Statistic = Literal["rms", "median", "trimmed"]
"""Average of the errors of single starts: root mean square, median, or mean without the lowest and highest tenth. A few
starts that end in another mode than the exact flow dominate the root mean square, but not the other two."""

ALL = "all"
"""Name that stands for every registered grid."""


@dataclass(frozen=True)
class Measurement:
    """Error of one sampler on one grid with one number of evaluations.

    Arguments:
        sampler: Registered name of the sampler.
        grid: Registered name of the grid.
        nfe: Largest number of network evaluations.
        calls: Network evaluations that were made.
        error: Root mean square over starts and coordinates of x_0 minus the exact x_0, or None if the sampler failed.
        seconds: Duration of the run for the whole batch.
        median: Median over starts of the root mean square over coordinates, or None.
        trimmed: Mean over starts of the same without the lowest and the highest tenth, or None.
    """

    sampler: str
    grid: str
    nfe: int
    calls: int
    error: float | None
    seconds: float
    median: float | None = None
    trimmed: float | None = None

    def average(self, statistic: Statistic) -> float | None:
        """Return the error averaged over starts by one of the statistics."""
        return {"rms": self.error, "median": self.median, "trimmed": self.trimmed}[statistic]


def average_error(x0: Tensor, truth: Tensor) -> dict[Statistic, float]:
    """Average the error over starts by each statistic. The error of a start is the root mean square over coordinates.

    Arguments:
        x0: Samples, (n, *).
        truth: Exact samples from the same starts, (n, *).
    Returns:
        Averages by name of the statistic.
    """
    errors = (x0 - truth).cpu().double().flatten(1).square().mean(1).sqrt().sort().values
    cut = len(errors) // 10
    middle = errors[cut : len(errors) - cut]
    return {
        "rms": float(errors.square().mean().sqrt()),
        "median": float(errors.quantile(0.5)),
        "trimmed": float(middle.mean()),
    }


def ring_mixture() -> GaussianMixture:
    """Return the exact model `mixture` of `sdekit bench`: eight Gaussians on a circle, with unit variances."""
    angle = torch.arange(8, dtype=torch.float64) * math.pi / 4
    return GaussianMixture(4 / math.sqrt(8.16) * torch.stack([angle.cos(), angle.sin()], 1), 0.4 / math.sqrt(8.16))


def sampler_grid_pairs(samplers: Sequence[str] = (), grids: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Return pairs of a sampler and a grid to compare.

    Arguments:
        samplers: Names of samplers; the default is every deterministic one.
        grids: Names of grids, or "all"; by default each sampler has its own grid.
    Returns:
        Pairs of registered names.
    Raises:
        InputError: If a name is not registered, or if a sampler draws noise or has no fixed number of evaluations,
            because its error for a number of evaluations is then undefined.
    """
    pairs = []
    chosen_grids = component_names("grid") if ALL in grids else list(grids)
    for grid in chosen_grids:
        find_component("grid", grid)
    for name in samplers or component_names("sampler"):
        sampler = build("sampler", name)
        if sampler.stochastic or sampler.calls_per_step is None:
            if samplers:
                why = "draws noise" if sampler.stochastic else "has no fixed number of calls"
                raise InputError(f"bench: {name} {why}, so that it has no error at a number of calls: leave it out")
            continue
        pairs += [(name, grid) for grid in chosen_grids or [sampler.default_grid]]
    return pairs


def exact_solution(sde: SDE, denoise: Denoiser, x: Tensor, *, tolerance: float | None = None) -> Tensor:
    """Solve the model's own probability flow by the adaptive sampler `ode`.

    Arguments:
        sde: Process.
        denoise: Denoiser.
        x: Samples x_t at t_max, (n, *).
        tolerance: Relative and absolute tolerance. The default is 1e-8 in float64 and 1e-6 in float32. In float32, the
            error on a rough network was 7e-4 with 1e-5, and 1e-4 with 1e-6, which took twice as many evaluations.
    Returns:
        x_0, (n, *).
    """
    check_tensor("exact_solution: x", x)
    tolerance = tolerance or (1e-8 if x.dtype == torch.float64 else 1e-6)
    solver = build("sampler", "ode", rtol=tolerance, atol=tolerance, error_norm="batch")
    return sample(sde, denoise, solver, shape=x.shape[1:], x=x, dtype=x.dtype, device=x.device).x


def measure_errors(
    sde: SDE,
    denoise: Denoiser,
    x: Tensor,
    truth: Tensor,
    pairs: Sequence[tuple[str, str]],
    budgets: Sequence[int],
    *,
    data_std: float = 1.0,
) -> Iterator[Measurement]:
    """Measure every pair of sampler and grid at every number of evaluations.

    Arguments:
        sde: Process.
        denoise: Denoiser.
        x: Samples x_t at t_max, (n, *).
        truth: Exact x_0, (n, *).
        pairs: Names of samplers and grids.
        budgets: Numbers of network evaluations.
        data_std: Standard deviation of the data in the model's units, for samplers and grids with this option.
    Yields:
        One measurement for each pair and number of evaluations.
    """
    for sampler, grid in pairs:
        method = build("sampler", sampler, **with_data_std("sampler", sampler, {}, data_std))
        options = method.grid_options if grid == method.default_grid else with_data_std("grid", grid, {}, data_std)
        rule = build("grid", grid, **options)
        for nfe in budgets:
            began = time.perf_counter()
            try:
                samples = sample(
                    sde, denoise, method, shape=x.shape[1:], x=x, nfe=nfe, grid=rule, dtype=x.dtype, device=x.device
                )
            except SdekitError:  # too few evaluations for this sampler, or it diverged
                yield Measurement(sampler, grid, nfe, 0, None, 0.0)
                continue
            seconds, average = time.perf_counter() - began, average_error(samples.x, truth)
            yield Measurement(
                *(sampler, grid, nfe, samples.nfe, average["rms"], seconds), average["median"], average["trimmed"]
            )


def best_by_budget(measurements: Sequence[Measurement], statistic: Statistic = "rms") -> dict[int, Measurement]:
    """Select the measurement with the smallest error at each number of evaluations.

    Arguments:
        measurements: Any measurements.
        statistic: Average over starts that is compared.
    Returns:
        Measurements by number of evaluations, without those that failed.
    """
    result: dict[int, Measurement] = {}
    for m in measurements:
        error = m.average(statistic)
        if error is not None and (m.nfe not in result or error < (result[m.nfe].average(statistic) or 0)):
            result[m.nfe] = m
    return result


def recommended_pair(measurements: Sequence[Measurement], statistic: Statistic = "rms") -> tuple[str, str]:
    """Return the pair of sampler and grid that is closest to the best one over all numbers of evaluations.

    Arguments:
        measurements: Any measurements.
        statistic: Average over starts that is compared.
    Returns:
        The pair with the smallest mean logarithm of its error divided by the best error.
    Raises:
        SdekitError: If every measurement failed.
    """
    least = best_by_budget(measurements, statistic)
    if not least:
        raise SdekitError("bench: no sampler gave a finite result: allow more network evaluations")

    def loss(pair: tuple[str, str]) -> float:
        own = {m.nfe: m.average(statistic) for m in measurements if (m.sampler, m.grid) == pair}
        floor = torch.finfo(torch.float64).tiny
        ratios = [(own.get(n) or math.inf) / max(top.average(statistic) or 0, floor) for n, top in least.items()]
        return sum(map(math.log, ratios)) / len(ratios)

    return min(dict.fromkeys((m.sampler, m.grid) for m in measurements), key=loss)


def as_report(measurements: Sequence[Measurement], statistic: Statistic = "rms") -> dict[str, Any]:
    """Return measurements and recommendation as JSON-ready values.

    Arguments:
        measurements: Any measurements.
        statistic: Average over starts that is compared.
    Returns:
        The statistic, the recommended pair, the best pair for each number of evaluations, and all measurements with
        the averages "error" (root mean square), "median" and "trimmed".
    """
    sampler, grid = recommended_pair(measurements, statistic)
    return {
        "statistic": statistic,
        "recommended": {"sampler": sampler, "grid": grid},
        "best": {
            str(n): {"sampler": m.sampler, "grid": m.grid, "error": m.average(statistic)}
            for n, m in best_by_budget(measurements, statistic).items()
        },
        "measurements": [asdict(m) for m in measurements],
    }


def plot_errors(
    measurements: Sequence[Measurement], highlight: Callable[[str, str], bool], statistic: Statistic = "rms"
) -> bytes:
    """Plot errors against numbers of network evaluations, on logarithmic axes.

    Arguments:
        measurements: Any measurements.
        highlight: Function of the names of sampler and grid; if it returns True, the line is bold.
        statistic: Average over starts that is plotted.
    Returns:
        Contents of a PNG file.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes: Any = figure.subplots()
    axes.set_prop_cycle(color=colormaps["tab20"].resampled(20)(range(20)))
    for sampler, grid in dict.fromkeys((m.sampler, m.grid) for m in measurements):
        own = [(m.nfe, m.average(statistic)) for m in measurements if (m.sampler, m.grid) == (sampler, grid)]
        points = [(nfe, error) for nfe, error in own if error]
        bold = highlight(sampler, grid)
        style = {"linewidth": 2.5, "markersize": 5, "zorder": 3} if bold else {"linewidth": 1, "markersize": 3}
        calls, errors = zip(*points, strict=True) if points else ((), ())
        axes.plot(calls, errors, label=f"{sampler} ({grid})", marker="o", **style)
    axes.set(xscale="log", yscale="log", xlabel="network calls", ylabel=f"error of x_0 ({statistic})")
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize="x-small")
    out = BytesIO()
    figure.savefig(out, format="png", dpi=120)
    return out.getvalue()
