"""Checks of backends. A prepared network must give the same results as the original network."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sdekit.backends import TOLERANCE
from sdekit.errors import InputError
from sdekit.verify.common.check_results import Check, Finding, at_most, same, skip

from .network_checks import build_network, network_inputs

Run = Callable[..., Tensor]
Backend = Callable[..., Run]


class BackendTrial(NamedTuple):
    """A network and the same network prepared by a backend.

    Arguments:
        network: Network.
        run: Prepared network.
        inputs: x (3, *), c_noise (3,) and y (3,).
        tolerance: Largest accepted relative difference.
    """

    network: nn.Module
    run: Run
    inputs: tuple[Tensor, Tensor, Tensor]
    tolerance: float


def checks(backend: Backend, *, quick: bool = False) -> list[Check]:
    """Return all checks of one backend, on an MLP and a U-Net.

    The accepted difference depends on the dtype in which the backend computes, see `TOLERANCE`. If the backend raises
    InputError because it cannot run on this machine, its checks are skipped.

    Arguments:
        backend: Function `backend(network)` that returns a prepared network.
        quick: Measure on the MLP only.
    """
    result = []
    for name in ("mlp",) if quick else ("mlp", "unet"):
        trial = _LazyTrial(backend, name)
        measures: dict[str, tuple[str, Callable[[BackendTrial], Finding]]] = {
            "eager": ("backend(F)(x, c_noise, y) = F(x, c_noise, y)", eager),
            "shape": ("shape, dtype and device of the result are those of x", shape),
            "deterministic": ("run(x) = run(x)", deterministic),
            "batch": ("run(x)^i = run(x^i)", batch),
            "results": ("a result does not change when the next one is computed", results),
            "inputs": ("x, c_noise and y are not changed", unchanged),
            "gradient": ("d run / dx = dF / dx, if the backend declares that it is differentiable", gradient),
        }
        result += [
            Check(f"{key}[{name}]", law, partial(_measure, trial, measure)) for key, (law, measure) in measures.items()
        ]
    return result


class _LazyTrial:
    """Trial of one network, prepared on first use and shared by all checks, because compilation is slow."""

    def __init__(self, backend: Backend, name: str) -> None:
        self.backend, self.name = backend, name
        self.trial: BackendTrial | None = None

    def __call__(self) -> BackendTrial:
        """Return the trial. If the backend raises InputError on the CPU, use CUDA."""
        if self.trial is None:
            try:
                self.trial = self._prepare("cpu")
            except InputError:
                if not torch.cuda.is_available():
                    raise
                self.trial = self._prepare("cuda")
        return self.trial

    def _prepare(self, device: str) -> BackendTrial:
        from sdekit.networks import MLP, UNet

        item = (4,) if self.name == "mlp" else (1, 8, 8)
        network = build_network(MLP, item, width=256) if self.name == "mlp" else build_network(UNet, item, width=8)
        network = network.to(device)
        x, c_noise, y = (value.to(device) for value in network_inputs(item))
        run = self.backend(network)
        with torch.no_grad():
            run(x, c_noise, y)  # some backends refuse a device in the first call only
        dtype = getattr(run, "dtype", None) or torch.float32
        return BackendTrial(network, run, (x, c_noise, y), TOLERANCE.get(dtype, TOLERANCE[torch.float32]))


def _measure(trial: _LazyTrial, measure: Callable[[BackendTrial], Finding]) -> Finding:
    """Measure a trial without gradients, and skip the check if the backend raises InputError."""
    try:
        prepared = trial()
    except InputError as error:
        return skip(str(error))
    with torch.no_grad():
        return measure(prepared)


def eager(trial: BackendTrial) -> Finding:
    """Check that the result equals the network's output, with and without labels, for batches of 3, 1 and 3 rows."""
    worst = 0.0
    for rows in (3, 1, 3):
        x, c_noise, y = (value[:rows] for value in trial.inputs)
        for label in (y, None):
            expected, result = trial.network(x, c_noise, label), trial.run(x, c_noise, label)
            if result.shape != expected.shape:
                cause = "the result does not have the shape of the network's output: return the output unchanged"
                return Finding(False, str(tuple(result.shape)), str(tuple(expected.shape)), cause)
            worst = max(worst, float((result.double() - expected).abs().max() / expected.abs().max()))
    cause = (
        "the result does not agree with the network: if the backend computes in fewer bits, "
        "declare it with PreparedNetwork(dtype=...)"
    )
    return at_most(worst, trial.tolerance, cause, "relative difference ")


def shape(trial: BackendTrial) -> Finding:
    """Check that the result has the shape, dtype and device of x."""
    for rows in (1, 3):
        x, c_noise, y = (value[:rows] for value in trial.inputs)
        out = trial.run(x, c_noise, y)
        measured, expected = (f"{tuple(v.shape)} {v.dtype} {v.device}" for v in (out, x))
        if measured != expected:
            cause = "the result is unlike x: cast and move the result back to the dtype and device of x"
            return Finding(False, measured, expected, cause)
    return Finding(True, "as x", "shape, dtype and device of x")


def deterministic(trial: BackendTrial) -> Finding:
    """Check that the same input gives the same result, with another call in between."""
    x, c_noise, y = trial.inputs
    first = trial.run(x, c_noise, y).clone()
    trial.run(2 * x, c_noise, y)
    difference = float((trial.run(x, c_noise, y) - first).abs().max())
    return same(difference, 0.0, "the same input gives another result: keep no state between calls")


def batch(trial: BackendTrial) -> Finding:
    """Check that each row of the result depends only on the same row of the inputs."""
    x, c_noise, y = trial.inputs
    whole = trial.run(x, c_noise, y).clone()
    rows = torch.cat([trial.run(x[i : i + 1], c_noise[i : i + 1], y[i : i + 1]).clone() for i in range(len(x))])
    difference = float((whole - rows).abs().max() / rows.abs().max())
    cause = "a row depends on the other rows: do not combine rows of a batch"
    return at_most(difference, trial.tolerance, cause, "relative difference ")


def results(trial: BackendTrial) -> Finding:
    """Check that the next call does not overwrite a result, because multistep samplers keep earlier results."""
    x, c_noise, y = trial.inputs
    first = trial.run(x, c_noise, y)
    copy = first.clone()
    trial.run(2 * x, c_noise, y)
    return same(float((first - copy).abs().max()), 0.0, "the next call overwrites the last result: return a clone")


def unchanged(trial: BackendTrial) -> Finding:
    """Check that no input is changed in place."""
    inputs = tuple(value.clone() for value in trial.inputs)
    trial.run(*inputs)
    pairs = zip(("x", "c_noise", "y"), inputs, trial.inputs, strict=True)
    changed = [name for name, now, before in pairs if not torch.equal(now, before)]
    cause = f"the backend changes {' and '.join(changed)} in place: compute a new tensor"
    return Finding(not changed, ", ".join(changed) or "unchanged", "unchanged", cause)


def gradient(trial: BackendTrial) -> Finding:
    """Check that the gradient of the sum of squares of the result with respect to x equals the network's gradient."""
    if not getattr(trial.run, "differentiable", True):
        return skip("the backend declares that it is not differentiable")
    x, c_noise, y = trial.inputs
    gradients = []
    for function in (trial.network, trial.run):
        z = x.clone().requires_grad_()
        with torch.enable_grad():
            loss = function(z, c_noise, y).square().sum()
        if not loss.requires_grad:
            cause = "the result has no gradient: declare it with PreparedNetwork(differentiable=False)"
            return Finding(False, "none", "a gradient", cause)
        gradients.append(torch.autograd.grad(loss, z)[0])
    difference = float((gradients[1] - gradients[0]).abs().max() / gradients[0].abs().max())
    cause = "the gradient is not that of the network: differentiate through the network, or declare no gradient"
    return at_most(difference, 5 * trial.tolerance, cause, "relative difference ")
