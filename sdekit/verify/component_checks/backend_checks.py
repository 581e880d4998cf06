"""Backends, ways to run a network: the same numbers, whatever came before, in any batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sdekit.backends import TOLERANCE
from sdekit.errors import InputError
from sdekit.verify.common.report import Check, Finding, at_most, same, skip

from .network_checks import inputs, make

Run = Callable[..., Tensor]
Backend = Callable[..., Run]


class BackendTrial(NamedTuple):
    """A network beside itself run by a backend. given: x (3, *), c_noise (3,), y (3,). tolerance: relative."""

    network: nn.Module
    run: Run
    given: tuple[Tensor, Tensor, Tensor]
    tolerance: float


def checks(backend: Backend, *, quick: bool = False) -> list[Check]:
    """All checks of one way to run a network, `backend(network)`, on an MLP and (unless quick) on a U-Net.

    What it allows itself depends on the dtype that it says it computes in: see `TOLERANCE`. Where it
    raises InputError, it says what it needs and this machine has not: its checks are skipped.
    """
    found = []
    for name in ("mlp",) if quick else ("mlp", "unet"):
        at = _Ready(backend, name)
        measures: dict[str, tuple[str, Callable[[BackendTrial], Finding]]] = {
            "eager": ("backend(F)(x, c_noise, y) = F(x, c_noise, y)", eager),
            "shape": ("shape, dtype and device are those of x", shape),
            "deterministic": ("run(x) = run(x)", deterministic),
            "batch": ("run(x)^i = run(x^i)", batch),
            "results": ("a result stays as it is when the next one is computed", results),
            "inputs": ("x, c_noise and y stay as they were", unchanged),
            "gradient": ("d run / dx = dF / dx, where it says that it is differentiable", gradient),
        }
        found += [Check(f"{key}[{name}]", law, partial(_on, at, measure)) for key, (law, measure) in measures.items()]
    return found


class _Ready:
    """The trial of one network, made ready once for all checks: compiling takes its time. Call it to have it."""

    def __init__(self, backend: Backend, name: str) -> None:
        self.backend, self.name = backend, name
        self.trial: BackendTrial | None = None

    def __call__(self) -> BackendTrial:
        if self.trial is None:
            try:
                self.trial = self._made("cpu")
            except InputError:
                if not torch.cuda.is_available():
                    raise
                self.trial = self._made("cuda")
        return self.trial

    def _made(self, device: str) -> BackendTrial:
        from sdekit.networks import MLP, UNet

        item = (4,) if self.name == "mlp" else (1, 8, 8)
        network = (make(MLP, item, width=256) if self.name == "mlp" else make(UNet, item, width=8)).to(device)
        x, c_noise, y = (value.to(device) for value in inputs(item))
        run = self.backend(network)
        with torch.no_grad():
            run(x, c_noise, y)  # some refuse a device only here
        dtype = getattr(run, "dtype", None) or torch.float32
        return BackendTrial(network, run, (x, c_noise, y), TOLERANCE.get(dtype, TOLERANCE[torch.float32]))


def _on(ready: _Ready, measure: Callable[[BackendTrial], Finding]) -> Finding:
    try:
        trial = ready()
    except InputError as error:
        return skip(str(error))
    with torch.no_grad():
        return measure(trial)


def eager(trial: BackendTrial) -> Finding:
    """With and without labels, on a batch, on one sample, and on the batch again."""
    worst = 0.0
    for rows in (3, 1, 3):
        x, c_noise, y = (value[:rows] for value in trial.given)
        for label in (y, None):
            expected, got = trial.network(x, c_noise, label), trial.run(x, c_noise, label)
            if got.shape != expected.shape:
                return Finding(False, str(tuple(got.shape)), str(tuple(expected.shape)), "another shape than eager's")
            worst = max(worst, float((got.double() - expected).abs().max() / expected.abs().max()))
    cause = "it does not agree with the network run eagerly (if it computes in fewer bits, say so: Runner(dtype=...))"
    return at_most(worst, trial.tolerance, cause, "relative difference ")


def shape(trial: BackendTrial) -> Finding:
    """Of one sample and of several; a sampler refuses a denoiser that changes them."""
    for rows in (1, 3):
        x, c_noise, y = (value[:rows] for value in trial.given)
        out = trial.run(x, c_noise, y)
        told, expected = (f"{tuple(v.shape)} {v.dtype} {v.device}" for v in (out, x))
        if told != expected:
            return Finding(False, told, expected, "cast and move the result back to what x is")
    return Finding(True, "as x", "shape, dtype and device of x")


def deterministic(trial: BackendTrial) -> Finding:
    """With another batch between."""
    x, c_noise, y = trial.given
    first = trial.run(x, c_noise, y).clone()
    trial.run(2 * x, c_noise, y)
    difference = float((trial.run(x, c_noise, y) - first).abs().max())
    return same(difference, 0.0, "the same input gives another result")


def batch(trial: BackendTrial) -> Finding:
    """Rows do not meet: a sample depends on its seed alone."""
    x, c_noise, y = trial.given
    whole = trial.run(x, c_noise, y).clone()
    alone = torch.cat([trial.run(x[i : i + 1], c_noise[i : i + 1], y[i : i + 1]).clone() for i in range(len(x))])
    off = float((whole - alone).abs().max() / alone.abs().max())
    return at_most(off, trial.tolerance, "a row depends on the others", "relative difference ")


def results(trial: BackendTrial) -> Finding:
    """A multistep sampler keeps earlier results: a static buffer must be copied out of."""
    x, c_noise, y = trial.given
    first = trial.run(x, c_noise, y)
    kept = first.clone()
    trial.run(2 * x, c_noise, y)
    return same(float((first - kept).abs().max()), 0.0, "the next call overwrites the last result: clone it")


def unchanged(trial: BackendTrial) -> Finding:
    """Nothing that it was given is altered in place."""
    given = tuple(value.clone() for value in trial.given)
    trial.run(*given)
    pairs = zip(("x", "c_noise", "y"), given, trial.given, strict=True)
    changed = [name for name, now, before in pairs if not torch.equal(now, before)]
    return Finding(not changed, ", ".join(changed) or "unchanged", "unchanged", "an in-place change of an input")


def gradient(trial: BackendTrial) -> Finding:
    """Of the sum of squares, with respect to x, as guidances ask for it."""
    if not getattr(trial.run, "differentiable", True):
        return skip("it says that it gives no gradients")
    x, c_noise, y = trial.given
    slopes = []
    for function in (trial.network, trial.run):
        z = x.clone().requires_grad_()
        with torch.enable_grad():
            loss = function(z, c_noise, y).square().sum()
        if not loss.requires_grad:
            return Finding(False, "none", "a gradient", "it gives no gradients: say differentiable=False in its Runner")
        slopes.append(torch.autograd.grad(loss, z)[0])
    off = float((slopes[1] - slopes[0]).abs().max() / slopes[0].abs().max())
    return at_most(off, 5 * trial.tolerance, "its gradient is not the network's", "relative difference ")
