"""The network of a run folder as a problem for solvers.py; the reference is its own flow."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from mixtures import Flow
from torch import Tensor

from sdekit import SeedNoise, load_run
from sdekit.errors import InputError
from sdekit.evaluation import exact_solution
from sdekit.processes import SDE, Denoiser, as_time


@dataclass(frozen=True)
class Trained(Flow):
    """An unconditional run with its network in float64, with the interface of `mixtures.Problem`.

    Raises InputError for a conditional run, because the peers cannot pass conditions.
    """

    path: Path
    starts: int
    run: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "run", load_run(self.path))
        self.run.model.double()
        if self.run.recipe.condition != "none":
            raise InputError(f"{self.path}: the run is conditional: take one that is not")

    @property
    def name(self) -> str:
        """Name of the folder, of its network and the number of training steps."""
        return f"{self.path.name}, {self.run.recipe.network.name} trained for {self.run.step} steps"

    @property
    def sde(self) -> SDE:
        """Process of the run."""
        sde: SDE = self.run.model.sde
        return sde

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self.run.recipe.shape)

    @property
    def options(self) -> dict[str, Any]:
        """Options of `auto` that `sdekit sample` takes from a run."""
        return {"data_std": self.run.model.data_std}

    @property
    def denoiser(self) -> Denoiser:
        """Denoiser of the network, in float64."""
        model = self.run.model
        return lambda x, t, y=None: model(x.double(), t)

    @cached_property
    def x(self) -> Tensor:
        """Starting points at t_max, from the prior."""
        return self.sde.prior(SeedNoise(range(self.starts), self.shape, dtype=torch.float64)())

    @cached_property
    def x_bar(self) -> Tensor:
        """Starting points as x / alpha."""
        return self.x / float(self.sde.alpha(as_time(self.sde.t_max)))

    @torch.no_grad()
    def denoise(self, x_bar: Tensor, rho: float) -> Tensor:
        """Denoise x / alpha = x_bar at the noise level rho, clamped to the times of the process."""
        t = self.sde.time(as_time(rho)).clamp(self.sde.t_min, self.sde.t_max)
        return self.denoiser(x_bar * float(self.sde.alpha(t)), t).to(x_bar.dtype)

    @cached_property
    def exact(self) -> Tensor:
        """x_0 at the end of the network's own flow, solved by `ode` to about 1e-5."""
        return torch.cat([exact_solution(self.sde, self.run.model, part, tolerance=3e-8) for part in self.x.split(64)])
