"""Samplers that k-diffusion has too give its numbers.

`k_diffusion.json` holds every x of k-diffusion's samplers on a small problem in float64. It was written by
`benchmarks/k_diffusion_numbers.py`, in an environment with k-diffusion.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sdekit import registry
from sdekit.processes import EDM
from sdekit.sampling import Sampler

FILE: dict[str, Any] = json.loads(Path(__file__).with_name("k_diffusion.json").read_text("utf-8"))


def points(rows: list[list[float]]) -> Iterator[Tensor]:
    """The stored tensors, (2, 2) each."""
    return (torch.tensor(row, dtype=torch.float64).view(2, 2) for row in rows)


def network(x: Tensor, rho: Tensor) -> Tensor:
    """The denoiser of the stored problem. On the process EDM, the time is the noise level."""
    return 0.3 * torch.sin(2 * x.flip(1) + math.log(float(rho)) / 4) + x / (1 + float(rho) ** 2)


@pytest.mark.parametrize("name", FILE["trajectories"])
def test_equals_k_diffusion(name: str) -> None:
    """The same network, noise levels and noise give the same x after every step, except the last one to sigma = 0."""
    sde, sampler = EDM(), registry.build("sampler", name)
    assert isinstance(sampler, Sampler)
    draws = points(FILE["draws"])
    (start,) = points([FILE["start"]])
    times = sde.time(torch.tensor(FILE["sigmas"], dtype=torch.float64))
    ours = list(sampler.trajectory(sde, network, start, times, lambda t=None, s=None: next(draws)))
    theirs = list(points(FILE["trajectories"][name]["x"]))
    assert len(ours) == len(theirs) == 11
    for x, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(x, expected, rtol=1e-9, atol=1e-9)
