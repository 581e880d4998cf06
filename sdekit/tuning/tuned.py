"""Result of tuning a sampler for a model and a number of evaluations, and its file in the run folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sdekit import __version__
from sdekit.arguments import short_repr
from sdekit.errors import InputError
from sdekit.processes import SDE, Denoiser, evaluate_denoiser
from sdekit.runs import TUNED, RunFolder, TunedRecord, load_json, read_record, recorded_checksum, save_json
from sdekit.sampling import Sampler

TUNED_FORMAT = 1
"""Version of the file."""


@dataclass(frozen=True)
class Blend:
    """Guidance that adds differences to earlier evaluations: `D_k + sum_j gains[k][j] (D_k - D_{k-1-j})`.

    D_k = E[x_0 | x_t] is evaluation k of a run of the sampler. Gains of 0 change nothing. Differences to evaluations
    before the first one, and gains beyond the table, count as 0. Around a method with one evaluation a step this is
    any linear multistep method with as many points; in the last evaluation, the final denoising, it extrapolates D to
    rho = 0.

    Arguments:
        gains: Coefficients, (evaluations, points).
    Source:
        Frankel et al. 2025 (S4S) learn coefficients together with the times. Here they modify the denoiser, so that
        they work with every sampler.
    """

    gains: tuple[tuple[float, ...], ...]

    def __repr__(self) -> str:
        return short_repr(self)

    def __call__(self, sde: SDE, denoise: Denoiser) -> Denoiser:
        """Return a denoiser for one batch, which counts its evaluations."""
        rows, past = iter(self.gains), list[Tensor]()

        def blended(x: Tensor, t: Tensor, y: Any = None) -> Tensor:
            x0 = evaluate_denoiser(denoise, x, t, y)
            terms = list(zip(next(rows, ()), past, strict=False))
            past[:] = [x0, *past[: len(self.gains[0]) - 1]]
            if not any(gain for gain, _ in terms):
                return x0
            total = x0 * (1 + sum(gain for gain, _ in terms))
            for gain, earlier in terms:
                total.sub_(earlier, alpha=gain)
            return total

        return blended


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """Times and coefficients for one sampler, model and number of evaluations, with the errors before and after.

    Errors are root mean squares of x_0 minus the fine solution, over held-out starts and all coordinates.

    Arguments:
        calls: Number of network evaluations.
        levels: Noise level rho = sigma / alpha of each time after t_max, decreasing.
        gains: Coefficients of `Blend`, one row for each evaluation; empty if only the times were tuned.
        starts: Number of held-out starts.
        untuned: Error of the sampler on its own grid.
        tuned: Error with these times and coefficients.
    """

    calls: int
    levels: tuple[float, ...]
    gains: tuple[tuple[float, ...], ...]
    starts: int
    untuned: float
    tuned: float

    def __repr__(self) -> str:
        return short_repr(self)

    @property
    def ratio(self) -> float:
        """tuned / untuned."""
        return self.tuned / self.untuned if self.untuned else 1.0

    @property
    def helps(self) -> bool:
        """Whether tuning reduced the error."""
        return self.tuned < self.untuned

    def times(self, sde: SDE) -> Tensor:
        """Return the grid (steps,) from t_max, float64, for `sample(..., grid=tuned.times(sde))`."""
        return times_at(sde, torch.tensor(self.levels, dtype=torch.float64))

    @property
    def guidance(self) -> tuple[Blend, ...]:
        """The coefficients, for `sample(..., guidance=tuned.guidance)`."""
        return (Blend(self.gains),) if self.gains else ()


def times_at(sde: SDE, rho: Tensor) -> Tensor:
    """Return t_max and the times at noise levels.

    Arguments:
        sde: Process.
        rho: Noise levels (n,), decreasing.
    Returns:
        Times (n + 1,), float64, within [t_min, t_max].
    """
    first = torch.tensor([sde.t_max], dtype=torch.float64)
    return torch.cat([first, sde.time(rho).clamp(sde.t_min, sde.t_max)])


def save_tuned(run: Path, solver: str, options: Mapping[str, Any], tuned: Tuned) -> Path:
    """Store a result in a run folder, in place of an earlier one, with the checksum of the weights it belongs to.

    Arguments:
        run: Run folder.
        solver: Registered name of the sampler.
        options: All options of the sampler.
        tuned: The result.
    Returns:
        The file RUN/tuned/SOLVER-CALLS.json.
    """
    path = RunFolder(run).tuned(solver, tuned.calls)
    fields = {"format": TUNED_FORMAT, "versions": {"sdekit": __version__, "torch": torch.__version__}, "solver": solver}
    save_json(path, {**fields, "options": dict(options), "model": weights_digest(run), **asdict(tuned)})
    return path


def find_tuned_for(
    run: Path, solver: str, sampler: Sampler, *, steps: int | None, nfe: int | None
) -> tuple[Tuned | None, str]:
    """Find the stored result for a sampler and a budget, see `find_tuned`.

    Arguments:
        run: Run folder, or another path, for which nothing is stored.
        solver: Registered name of the sampler.
        sampler: The sampler.
        steps: Number of steps, or None for the default of the sampler.
        nfe: Largest number of network evaluations, instead of steps.
    Returns:
        The result, and the reason why a stored result cannot be used; None if the sampler cannot be tuned.
    """
    if sampler.calls_per_step is None or sampler.stochastic or not (run / TUNED).is_dir():
        return None, ""
    steps = sampler.steps_for(nfe) if nfe else steps or sampler.default_steps
    evaluations = sampler.evaluations(steps)
    assert evaluations is not None
    return find_tuned(run, solver, asdict(sampler), evaluations)


def find_tuned(run: Path, solver: str, options: Mapping[str, Any], calls: int) -> tuple[Tuned | None, str]:
    """Read the stored result for a sampler, its options and a number of evaluations.

    Arguments:
        run: Run folder.
        solver: Registered name of the sampler.
        options: All options of the sampler.
        calls: Number of network evaluations.
    Returns:
        The result and an empty text; or None and the reason why the stored result cannot be used, which is empty if
        nothing is stored.
    Raises:
        InputError: If the file is damaged.
    """
    path = RunFolder(run).tuned(solver, calls)
    if not path.exists():
        return None, ""
    fields = load_json(path)
    if fields.get("format") != TUNED_FORMAT:
        versions = fields.get("versions")
        writer = versions.get("sdekit") if isinstance(versions, dict) else None
        return None, f"{path} was written by sdekit {str(writer)[:20] if writer else 'of another version'}"
    record = read_record(TunedRecord, fields, path, "tuned times")
    if record.levels != sorted(record.levels, reverse=True):
        raise InputError(f"{path} does not describe tuned times (levels do not decrease): tune again")
    if fields["model"] != weights_digest(run):
        return None, f"{path} belongs to other weights: the run was trained further"
    if fields["options"] != json.loads(json.dumps(dict(options))):
        return None, f"{path} is for {solver} with other options"
    numbers = {name: getattr(record, name) for name in ("calls", "starts", "untuned", "tuned")}
    return Tuned(levels=tuple(record.levels), gains=tuple(map(tuple, record.gains)), **numbers), ""


def weights_digest(run: Path) -> str:
    """Return the checksum in the header of a run's weights.

    Arguments:
        run: Run folder.
    Returns:
        SHA-256 in hexadecimal digits.
    Raises:
        InputError: If the weights are missing or damaged.
    """
    return recorded_checksum(RunFolder(run).model)
