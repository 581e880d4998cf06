"""What `sdekit.tuning.tuner` finds for a sampler, a model and a number of calls, and where the run folder keeps it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sdekit import __version__
from sdekit.errors import InputError
from sdekit.processes import SDE, Denoiser
from sdekit.runs import TUNED

TUNED_FORMAT = 1


@dataclass(frozen=True)
class Blend:
    """A guidance: call k of a run gives `D_k + sum_j gains[k][j] (D_k - D_{k-1-j})` for D_k = E[x_0 | x_t].

    Gains of 0 leave the sampler as it is. Earlier values beyond the first call count as absent, and so do gains beyond
    the table. Around a method of one call a step this is any linear multistep method with as many points; in the last
    call, the final denoising, it continues D to rho = 0. Gains: (calls, points). Source: coefficients that are learned
    with the times, Frankel et al. 2025 (S4S); as a decorator of the denoiser they serve every sampler.
    """

    gains: tuple[tuple[float, ...], ...]

    def __call__(self, sde: SDE, denoise: Denoiser) -> Denoiser:
        """A denoiser for one batch: it counts its calls."""
        rows, past = iter(self.gains), list[Tensor]()

        def blended(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
            x0 = denoise(x, t) if y is None else denoise(x, t, y)
            known = list(zip(next(rows, ()), past, strict=False))
            past[:] = [x0, *past[: len(self.gains[0]) - 1]]
            if not any(gain for gain, _ in known):
                return x0
            total = x0 * (1 + sum(gain for gain, _ in known))
            for gain, earlier in known:
                total.sub_(earlier, alpha=gain)
            return total

        return blended


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """Times and coefficients for one sampler, model and number of network calls, and what they gain.

    levels: rho = sigma / alpha of each time after t_max, decreasing. gains: see `Blend`, a row a call; empty where only
    the times were tuned. starts: how many were held out; untuned, tuned: root mean square of x_0 minus that of the fine
    solution, over those and all coordinates, before and after.
    """

    calls: int
    levels: tuple[float, ...]
    gains: tuple[tuple[float, ...], ...]
    starts: int
    untuned: float
    tuned: float

    @property
    def ratio(self) -> float:
        """tuned / untuned."""
        return self.tuned / self.untuned if self.untuned else 1.0

    @property
    def helps(self) -> bool:
        """Whether tuning lowered the error."""
        return self.tuned < self.untuned

    def times(self, sde: SDE) -> Tensor:
        """The grid, t_max first, (steps,), float64: `sample(..., grid=tuned.times(sde))`."""
        return times_at(sde, torch.tensor(self.levels, dtype=torch.float64))

    @property
    def guidance(self) -> tuple[Blend, ...]:
        """The coefficients: `sample(..., guidance=tuned.guidance)`."""
        return (Blend(self.gains),) if self.gains else ()


def times_at(sde: SDE, rho: Tensor) -> Tensor:
    """t_max and the times where sigma / alpha is rho (n,), none beyond t_min: (n + 1,)."""
    first = torch.tensor([sde.t_max], dtype=torch.float64)
    return torch.cat([first, sde.time(rho).clamp(sde.t_min, sde.t_max)])


def save_tuned(run: Path, solver: str, options: Mapping[str, Any], found: Tuned) -> Path:
    """Into RUN/tuned/SOLVER-CALLS.json, in place of what was there; with the checksum of the weights it belongs to."""
    from sdekit.runs import save_json

    path = run / TUNED / f"{solver}-{found.calls}.json"
    fields = {"format": TUNED_FORMAT, "versions": {"sdekit": __version__, "torch": torch.__version__}, "solver": solver}
    save_json(path, {**fields, "options": dict(options), "model": weights_digest(run), **asdict(found)})
    return path


def find_tuned(run: Path, solver: str, options: Mapping[str, Any], calls: int) -> tuple[Tuned | None, str]:
    """What is stored for this solver, options and number of calls; else None and why it is of no use, "" if absent.

    Raises InputError for a damaged file.
    """
    from sdekit.runs import load_json

    path = run / TUNED / f"{solver}-{calls}.json"
    if not path.is_file():
        return None, ""
    fields = load_json(path)
    if fields.get("format") != TUNED_FORMAT:
        return None, f"{path} was written by sdekit {fields.get('versions', {}).get('sdekit', 'of another version')}"
    if fields["model"] != weights_digest(run):
        return None, f"{path} belongs to other weights: the run was trained further"
    if fields["options"] != json.loads(json.dumps(dict(options))):
        return None, f"{path} is for {solver} with other options"
    found = Tuned(
        levels=tuple(fields["levels"]),
        gains=tuple(tuple(row) for row in fields["gains"]),
        **{name: fields[name] for name in ("calls", "starts", "untuned", "tuned")},
    )
    good = all(map(math.isfinite, (*found.levels, *(gain for row in found.gains for gain in row))))
    if not good:
        raise InputError(f"{path}: not all of its numbers are finite: tune again")
    return found, ""


def weights_digest(run: Path) -> str:
    """The checksum that a run's weights carry in their header."""
    from safetensors import SafetensorError, safe_open

    from sdekit.runs import MODEL

    try:
        with safe_open(run / MODEL, "pt") as file:
            return str((file.metadata() or {}).get("sha256"))
    except (SafetensorError, OSError) as error:
        raise InputError(f"{run / MODEL} cannot be read ({error}): tuning belongs to a run folder's weights") from error
