"""Which sampler on which grid for how many calls: the errors of all of them on one model, from the same starts."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from typing import Any

import torch
from torch import Tensor

from sdekit.distributions import GaussianMixture
from sdekit.errors import InputError, SdekitError
from sdekit.processes import SDE, Denoiser
from sdekit.registry import build, component_names, find_component, parameters
from sdekit.sampling import sample

ALL = "all"


@dataclass(frozen=True)
class Measurement:
    """One method at one budget.

    error: root mean square over starts and coordinates of x_0 minus the exact one, None where it failed. nfe: calls
    allowed; calls: made. seconds: of the whole batch.
    """

    sampler: str
    grid: str
    nfe: int
    calls: int
    error: float | None
    seconds: float


def ring_mixture() -> GaussianMixture:
    """What `mixture` stands for: eight Gaussians on a circle, d = 2, unit variance a coordinate."""
    angle = torch.arange(8, dtype=torch.float64) * math.pi / 4
    return GaussianMixture(4 / math.sqrt(8.16) * torch.stack([angle.cos(), angle.sin()], 1), 0.4 / math.sqrt(8.16))


def sampler_grid_pairs(samplers: Sequence[str] = (), grids: Sequence[str] = ()) -> list[tuple[str, str]]:
    """(sampler, grid) pairs: of the names given, by default every deterministic sampler on its own grid.

    grids: names, or "all". Raises InputError for a name that is not installed, and for a sampler that draws noise or
    whose number of calls is not fixed: neither has an error at a number of calls.
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
    """x_0 (n, *) at the end of the model's own probability flow from x (n, *): the adaptive `ode`.

    tolerance: 1e-8 in float64, 1e-6 in float32 where not given: with 1e-5 a rough network's error came to 7e-4, with
    1e-6 to 1e-4, at twice the calls.
    """
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
    """Every method at every number of calls, one after the other, from x (n, *) against truth (n, *).

    data_std: standard deviation of the data in the model's units, for samplers and grids that ask for it.
    """
    for sampler, grid in pairs:
        method = _made("sampler", sampler, data_std)
        places = method.build_default_grid() if grid == method.default_grid else _made("grid", grid, data_std)
        for nfe in budgets:
            began = time.perf_counter()
            try:
                drawn = sample(
                    sde, denoise, method, shape=x.shape[1:], x=x, nfe=nfe, grid=places, dtype=x.dtype, device=x.device
                )
            except SdekitError:  # too few calls for this method, or it diverged
                yield Measurement(sampler, grid, nfe, 0, None, 0.0)
                continue
            error = float((drawn.x - truth).double().square().mean().sqrt())
            yield Measurement(sampler, grid, nfe, drawn.nfe, error, time.perf_counter() - began)


def _made(kind: str, name: str, data_std: float) -> Any:
    """The component, told the data's standard deviation where it has an option for it."""
    asks = "data_std" in parameters(find_component(kind, name).load())
    return build(kind, name, **({"data_std": data_std} if asks else {}))


def best_by_budget(found: Sequence[Measurement]) -> dict[int, Measurement]:
    """The smallest error at each number of calls."""
    result: dict[int, Measurement] = {}
    for one in found:
        if one.error is not None and (one.nfe not in result or one.error < (result[one.nfe].error or 0)):
            result[one.nfe] = one
    return result


def recommended_pair(found: Sequence[Measurement]) -> tuple[str, str]:
    """The (sampler, grid) that is nearest to the best over all numbers of calls: the least mean log ratio to it."""
    least = best_by_budget(found)
    if not least:
        raise SdekitError("bench: no method gave a finite result at any number of calls: allow more of them")

    def loss(pair: tuple[str, str]) -> float:
        own = {one.nfe: one.error for one in found if (one.sampler, one.grid) == pair}
        floor = torch.finfo(torch.float64).tiny
        ratios = [(own.get(n) or math.inf) / max(top.error or 0, floor) for n, top in least.items()]
        return sum(map(math.log, ratios)) / len(ratios)

    return min(dict.fromkeys((one.sampler, one.grid) for one in found), key=loss)


def as_report(found: Sequence[Measurement]) -> dict[str, Any]:
    """All of it as plain values, for JSON."""
    sampler, grid = recommended_pair(found)
    return {
        "recommended": {"sampler": sampler, "grid": grid},
        "best": {
            str(n): {"sampler": one.sampler, "grid": one.grid, "error": one.error}
            for n, one in best_by_budget(found).items()
        },
        "measurements": [asdict(one) for one in found],
    }


def plot_errors(found: Sequence[Measurement], highlight: Callable[[str, str], bool]) -> bytes:
    """Error against network calls, both logarithmic, as a PNG; methods that `highlight` picks are drawn bold."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes: Any = figure.subplots()
    axes.set_prop_cycle(color=colormaps["tab20"].resampled(20)(range(20)))
    for sampler, grid in dict.fromkeys((one.sampler, one.grid) for one in found):
        points = [(one.nfe, one.error) for one in found if (one.sampler, one.grid) == (sampler, grid) and one.error]
        bold = highlight(sampler, grid)
        style = {"linewidth": 2.5, "markersize": 5, "zorder": 3} if bold else {"linewidth": 1, "markersize": 3}
        calls, errors = zip(*points, strict=True) if points else ((), ())
        axes.plot(calls, errors, label=f"{sampler} ({grid})", marker="o", **style)
    axes.set(xscale="log", yscale="log", xlabel="network calls", ylabel="error of x_0")
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize="x-small")
    out = BytesIO()
    figure.savefig(out, format="png", dpi=120)
    return out.getvalue()
