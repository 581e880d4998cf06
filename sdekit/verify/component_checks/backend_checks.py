"""Checks of backends. A prepared network must give the same results as the original network."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from itertools import zip_longest
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sdekit.backends import TOLERANCE
from sdekit.errors import InputError
from sdekit.models import Condition
from sdekit.verify.common.check_results import Check, Finding, at_most, same, skip
from sdekit.verify.common.side_effects import changed_globals

from .network_checks import ROWS, build_network, network_inputs, strided

Run = Callable[..., Tensor]
Backend = Callable[..., Run]
Inputs = tuple[Tensor, Tensor, Any]


class BackendTrial(NamedTuple):
    """A network and the same network prepared by a backend.

    Arguments:
        backend: Function `backend(network)`.
        network: Network, with dropout and in evaluation mode.
        original: Copy of the network from before it was prepared.
        run: Prepared network.
        inputs: x (3, *), c_noise (3,) and y (3,).
        tolerance: Largest accepted relative difference.
    """

    backend: Backend
    network: nn.Module
    original: nn.Module
    run: Run
    inputs: Inputs
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
            "network": ("the network and the global settings are not changed", network_unchanged),
            "gradient": ("d run / dx = dF / dx, if the backend declares that it is differentiable", gradient),
        }
        if name == "mlp":
            measures |= {
                "float64": ("run(x) = F(x) to 1e-9 for x in float64, unless another dtype is declared", float64),
                "embedding": ("run(x, c_noise, y) = F(x, c_noise, y) for y (B, d)", embedding),
                "prepared again": ("backend(G)(x) = G(x) after backend(F)", prepared_again),
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

        item = (4,) if self.name == "mlp" else (1, 8, 12)
        if self.name == "mlp":
            network = build_network(MLP, item, width=256, depth=1, dropout=0.5)
        else:
            network = build_network(UNet, item, width=8, multipliers=(1,), dense=0)
        network = network.to(device)
        original = copy.deepcopy(network)
        x, c_noise, y = (value.to(device) for value in network_inputs(item))
        with changed_globals(), torch.no_grad():
            run = self.backend(network)
            run(x, c_noise, y)  # some backends refuse a device in the first call only
        dtype = getattr(run, "dtype", None) or torch.float32
        tolerance = TOLERANCE.get(dtype, TOLERANCE[torch.float32])
        return BackendTrial(self.backend, network, original, run, (x, c_noise, y), tolerance)


def _measure(trial: _LazyTrial, measure: Callable[[BackendTrial], Finding]) -> Finding:
    """Measure a trial without gradients, and skip the check if the backend raises InputError."""
    try:
        prepared = trial()
    except InputError as error:
        return skip(str(error))
    with changed_globals(), torch.no_grad():  # a setting that the backend changes must not affect other checks
        return measure(prepared)


def _varied_inputs(trial: BackendTrial) -> list[Inputs]:
    """Return batches of 1 to 21 rows, with other noise levels, y = -1 in some rows, large x and other strides."""
    x, c_noise, y = trial.inputs
    many, _, labels = (value.to(x) if value.is_floating_point() else value.to(y) for value in _many(trial))
    noise = torch.linspace(-2.3, 2.3, ROWS, device=x.device)
    batches: list[Inputs] = [
        *((x[:rows], c_noise[:rows], y[:rows]) for rows in (3, 1, 3)),
        (x, c_noise, (y + 1) % 3),
        (5 * many[:3], noise[9:12], labels[:3]),
        *((many[:rows], noise[:rows], labels[:rows]) for rows in (7, 8, ROWS)),
        (strided(many[:3]), strided(noise[1:4]), strided(labels[1:4])),
    ]
    unlabelled = [(*batch[:2], None) for batch in batches if x.ndim == 2]  # one more compilation, so not for images
    return [batch for pair in zip_longest(batches, unlabelled) for batch in pair if batch is not None]


def _many(trial: BackendTrial) -> tuple[Tensor, Tensor, Tensor]:
    """Return x, c_noise and y of 21 rows, on the CPU."""
    return network_inputs(tuple(trial.inputs[0].shape[1:]), ROWS)


def eager(trial: BackendTrial) -> Finding:
    """Check that the result equals the network's output, for many batch sizes, noise levels, labels, and no label."""
    worst = 0.0
    for x, c_noise, y in _varied_inputs(trial):
        expected, result = trial.original(x, c_noise, y), trial.run(x, c_noise, y)
        if result.shape != expected.shape:
            cause = "the result does not have the shape of the network's output: return the output unchanged"
            return Finding(False, str(tuple(result.shape)), str(tuple(expected.shape)), cause)
        error = float((result.double() - expected).abs().max() / expected.abs().max())
        worst = max(worst, error if error == error else float("inf"))
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
    """Check that the same input gives the same result, and that x changed in place gives another result."""
    x, c_noise, y = (value.clone() for value in trial.inputs)
    first = trial.run(x, c_noise, y).clone()
    trial.run(2 * x, c_noise, y)
    difference = float((trial.run(x, c_noise, y) - first).abs().max())
    if not difference and torch.equal(trial.run(x.mul_(2), c_noise, y), first):
        cause = "x changed in place, but the result did not: do not cache results by the address of x"
        return Finding(False, "the earlier result", "another result", cause)
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


def network_unchanged(trial: BackendTrial) -> Finding:
    """Check that preparing and running leave the network, which `loss` uses, and the global settings unchanged."""
    with torch.enable_grad(), changed_globals() as changed:
        trial.backend(copy.deepcopy(trial.original))
        trial.run(*trial.inputs)
    state, before = trial.network.state_dict(), trial.original.state_dict()
    changed += [k for k, v in before.items() if state[k].dtype != v.dtype or not torch.equal(state[k], v)]
    changed += ["the training mode"] * any(module.training for module in trial.network.modules())
    cause = f"the backend changes {', '.join(changed[:3])}: work on a copy of the network, and restore settings"
    return same(", ".join(changed[:3]) or "unchanged", "unchanged", cause)


def float64(trial: BackendTrial) -> Finding:
    """Check that inputs and weights in float64 are not rounded to float32, unless the backend declares a dtype."""
    if getattr(trial.run, "dtype", None) is not None:
        return Finding(True, "not applicable", "", "")  # the tolerance of the declared dtype applies
    network = copy.deepcopy(trial.original).double()
    x, c_noise, y = trial.inputs
    try:
        result = trial.backend(network)(x.double(), c_noise.double(), y)
    except Exception as error:  # the network then runs eagerly
        return skip(f"the backend does not support float64 ({type(error).__name__})")
    expected = network(x.double(), c_noise.double(), y)
    difference = float((result - expected).abs().max() / expected.abs().max())
    cause = "a network in float64 is rounded: declare it with PreparedNetwork(dtype=torch.float32)"
    return at_most(difference, TOLERANCE[torch.float64], cause, "relative difference ")


def embedding(trial: BackendTrial) -> Finding:
    """Check that numbers (B, d) and a `Condition` reach the network, with NaN in rows without a condition."""
    from sdekit.networks import MLP

    network = build_network(MLP, (4,), 0, width=256, depth=1, conditions=2).to(trial.inputs[0].device)
    x, c_noise, _ = trial.inputs
    y = torch.tensor([[0.3, -1.2], [torch.nan, torch.nan], [2.6, 0.4]], device=x.device)
    worst = 0.0
    run = trial.backend(network)
    for label in (y, Condition({"numbers": y})):
        try:
            expected, result = network(x, c_noise, label), run(x, c_noise, label)
        except InputError:
            if isinstance(label, Tensor):
                raise
            continue  # an export has no inputs for several parts
        difference = float((result - expected).abs().max() / expected.abs().max())
        worst = max(worst, difference if difference == difference else float("inf"))
    cause = "a condition other than a label does not give the network's output: pass y on unchanged"
    return at_most(worst, trial.tolerance, cause, "relative difference ")


def prepared_again(trial: BackendTrial) -> Finding:
    """Check that a network prepared after its weights have changed gives the output of the new weights."""
    network = copy.deepcopy(trial.original)
    trial.backend(network)(*trial.inputs)
    for parameter in network.parameters():
        parameter.mul_(1.5)
    expected, result = network(*trial.inputs), trial.backend(network)(*trial.inputs)
    error = float((result.double() - expected).abs().max() / expected.abs().max())
    cause = "a network is prepared with the weights of an earlier one: do not cache by the name or address of a network"
    return at_most(error, trial.tolerance, cause, "relative difference ")


def gradient(trial: BackendTrial) -> Finding:
    """Check that products with the Jacobian equal those of the network, also after a second call and for 5 rows."""
    if not getattr(trial.run, "differentiable", True):
        return skip("the backend declares that it is not differentiable")
    x, _, y = _many(trial)
    x, y, c_noise = x[:5].to(trial.inputs[0]), y[:5].to(trial.inputs[2]), trial.inputs[1].repeat(2)[:5]
    v = torch.linspace(-1, 2, x.numel(), device=x.device).view(x.shape)
    gradients = []
    for function in (trial.original, trial.run):
        z = x.clone().requires_grad_()
        with torch.enable_grad():
            out = function(z, c_noise, y)
            second = function(0.5 * z, c_noise, y)
        if not out.requires_grad:
            cause = "the result has no gradient: declare it with PreparedNetwork(differentiable=False)"
            return Finding(False, "none", "a gradient", cause)
        both = (torch.autograd.grad(r, z, w, retain_graph=True)[0] for r, w in ((out, v), (out, out), (second, v)))
        gradients.append(torch.stack(list(both)))
    difference = float((gradients[1] - gradients[0]).abs().max() / gradients[0].abs().max())
    cause = "the gradient is not that of the network: differentiate through the network, or declare no gradient"
    return at_most(difference, 5 * trial.tolerance, cause, "relative difference ")
