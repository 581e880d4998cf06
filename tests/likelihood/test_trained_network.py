"""Likelihoods and latents of a small network that is trained on digits within seconds."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from sdekit import VP, ScoreModel
from sdekit.data import digits
from sdekit.likelihood import FlowSolver, Hutchinson, decode, encode, log_likelihood
from sdekit.registry import build


class Trained(NamedTuple):
    """A process, a network, and 20 digits that it was not trained on."""

    sde: VP
    model: ScoreModel
    x: Tensor


@pytest.fixture(scope="module")
def trained() -> Trained:
    """Train an MLP on digits for 250 steps."""
    data = digits()
    items = data.batch(range(len(data))).x.flatten(1)
    sde, generator = VP(), torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = ScoreModel(build("network", "mlp", (64,), width=64, depth=2), sde)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(250):
        x0 = items[torch.randint(len(items) - 20, (64,), generator=generator)]
        t = sde.t_min + (sde.t_max - sde.t_min) * torch.rand(64, generator=generator, dtype=torch.float64)
        optimizer.zero_grad()
        model.loss(x0, t, torch.randn(x0.shape, generator=generator)).mean().backward()
        optimizer.step()
    return Trained(sde, model.eval().requires_grad_(False), items[-20:])


def test_solvers_agree_within_the_reported_errors(trained: Trained) -> None:
    """For 20 digits, every solver and tolerance agrees with a fine one within standard error and solver error."""
    sde, model, x = trained
    trace = Hutchinson(probes=4, kind="hadamard")
    fine = log_likelihood(sde, model, x, trace=trace, solver=FlowSolver(tolerance=5e-6)).log_prob
    solvers = FlowSolver(), FlowSolver(method="bosh3", tolerance=1e-3), FlowSolver(method="heun", steps=60)
    for solver in solvers:
        result = log_likelihood(sde, model, x, trace=trace, solver=solver, estimate_error=True)
        assert result.discretization_error is not None
        allowed = result.trace_error + result.discretization_error + 2e-3  # the last term is rounding in float32
        assert ((result.log_prob - fine).abs() <= allowed).all(), solver
        assert result.discretization_error.median() < result.trace_error.median(), solver


def test_decode_inverts_encode(trained: Trained) -> None:
    """A digit returns with an error below 1e-3 (RMSE) at the default tolerance, in float32."""
    sde, model, x = trained
    latent = encode(sde, model, x)
    assert (decode(sde, model, latent) - x).square().mean(1).sqrt().max() < 1e-3
