"""Checks of networks: shapes, dtypes, determinism, independence of the rows of a batch."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from sdekit.errors import InputError
from sdekit.models import null_condition
from sdekit.verify.common.check_results import Check, Finding, at_most, same, skip
from sdekit.verify.common.side_effects import changed_globals

SHAPES: tuple[tuple[int, ...], ...] = ((2,), (1, 8, 12), (3, 8, 8))
OTHER_SHAPES: tuple[tuple[int, ...], ...] = ((4,), (16,), (64,), *((c, s, s) for s in (16, 28, 32, 64) for c in (1, 3)))
OTHER_SHAPES += (*((c, s) for s in (16, 64, 128) for c in (1, 2)), *((1, s, s, s) for s in (8, 16)))
"""Shapes of which the first supported one is measured if a network supports none of `SHAPES`."""

CLASSES, ROWS = 3, 21
"""Number of classes, and of rows of the larger batch, which no power of two divides."""

Shape = tuple[int, ...]
Build = Callable[..., nn.Module]


class NetworkTrial:
    """A network for one shape of data, built on first use and shared by all checks of this shape.

    Arguments:
        build: Function `build(shape, classes, **options)`.
        shape: Shape of one sample.
    """

    def __init__(self, build: Build, shape: Shape) -> None:
        self.build, self.shape = build, shape

    @cached_property
    def classes(self) -> int:
        """Number of classes: 0 if the network accepts no labels, which it reports by an InputError."""
        try:
            build_network(self.build, self.shape)
        except InputError:
            return 0
        return CLASSES

    @cached_property
    def network(self) -> nn.Module:
        """The network in evaluation mode, in float32."""
        return self.new()

    @cached_property
    def double(self) -> nn.Module:
        """The same network in float64."""
        return self.new().double()

    def new(self, *, seed: int = 0, **options: Any) -> nn.Module:
        """Build a network with other weights or options."""
        return build_network(self.build, self.shape, self.classes, seed=seed, **options)

    def inputs(self, rows: int = 3, *, double: bool = False) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return x (rows, *shape), c_noise (rows,) and y (rows,), or None if there are no labels."""
        x, c_noise, y = network_inputs(self.shape, rows)
        x, c_noise = (x.double(), c_noise.double()) if double else (x, c_noise)
        return x, c_noise, y if self.classes else None


def checks(build: Build, *, quick: bool = False) -> list[Check]:
    """Return all checks of one network, for each shape of data that it supports.

    Arguments:
        build: Function `build(shape, classes)` that returns a network. It raises InputError for shapes that it does
            not support, and for classes above 0 if it accepts no labels.
        quick: Measure on two shapes of data instead of three.
    """
    law = "build(shape, classes) is a network for vectors, images, sequences or volumes"
    result = [Check("builds", law, partial(builds, build))]
    measures: dict[str, tuple[str, Callable[[NetworkTrial], Finding]]] = {
        "shape": ("x (B, *), c_noise (B,), y (B,) to (B, *)", shapes),
        "dtype": ("a network converted to float64 computes in float64", dtypes),
        "deterministic": ("F(x) = F(x) in evaluation mode, and nothing else changes", deterministic),
        "batch": ("F(x)^i = F(x^i)", batch),
        "gradient": ("every parameter has a gradient", gradient),
        "slope": ("dF / dx = lim (F(x + h v) - F(x - h v)) / 2h", slope),
        "condition": ("F depends on c_noise and on y", condition),
        "null": ("F(x, c_noise, -1) = F(x, c_noise, None)", null_label),
        "embedding": ("F depends on embeddings; F(x, c_noise, NaN) = F(x, c_noise, None)", embeddings),
        "range": ("F is finite for 1e-4 <= rho <= 1e4, c_noise = log(rho) / 4", noise_range),
        "inputs": ("x, c_noise and y are not changed", unchanged),
        "layout": ("F(x) does not depend on the strides of x", layout),
        "device": ("the result is on the device of x", device),
        "saved": ("F is a function of state_dict()", saved),
        "seed": ("initial weights are a function of torch's seed", seed),
        "options": ("build(shape, classes, **network.options) is the same network", options),
    }
    for i, shape in enumerate(supported_shapes(build, quick=quick)):
        name, trial = "x".join(map(str, shape)), NetworkTrial(build, shape)
        first: tuple[Check, ...] = ()  # without outputs of the right shape, the other checks would fail too
        for key, (law, measure) in measures.items():
            if key != "embedding" or i == 0:
                result.append(Check(f"{key}[{name}]", law, partial(measure, trial), first))
                first = first or (result[-1],)
    return result


def build_network(build: Build, shape: Shape, classes: int = CLASSES, *, seed: int = 0, **options: Any) -> nn.Module:
    """Return a network in evaluation mode with random nonzero weights.

    Arguments:
        build: Function `build(shape, classes, **options)`.
        shape: Shape of one sample.
        classes: Number of classes.
        seed: Seed of the weights.
        options: Options of the network.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build(shape, classes, **options).eval()
        torch.manual_seed(seed)
        for parameter in network.parameters():  # a zero last layer would hide every fault
            parameter.data += 0.02 * torch.randn_like(parameter)
    return network


def supported_shapes(build: Build, *, quick: bool = False) -> list[Shape]:
    """Return the shapes of `SHAPES`, or the first of `OTHER_SHAPES`, for which build() does not raise InputError."""

    def supported(shapes: Iterable[Shape]) -> Iterator[Shape]:
        for shape in shapes:
            for classes in (CLASSES, 0):
                try:
                    build_network(build, shape, classes)
                except InputError:
                    continue
                except Exception:
                    pass  # the checks of this shape report the exception
                yield shape
                break

    return list(supported(SHAPES[: 2 if quick else None])) or list(supported(OTHER_SHAPES))[:1]


def network_inputs(shape: Shape, rows: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Return x (rows, *shape), c_noise (rows,) and labels y (rows,); y[3] and every fourth label after it is -1."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(rows, *shape, generator=generator), torch.linspace(-1, 1, rows), (torch.arange(rows) + 1) % 4 - 1


def builds(build: Build) -> Finding:
    """Check that the network supports at least one shape of data."""
    supported = supported_shapes(build)
    measured = ", ".join("x".join(map(str, shape)) for shape in supported) or "none"
    cause = (
        "the network supports no vectors, images, sequences or volumes: raise InputError for unsupported shapes only"
    )
    return Finding(bool(supported), measured, "one shape or more", cause)


def shapes(trial: NetworkTrial) -> Finding:
    """Check that the output has the shape of x and is finite, with and without labels, and without classes."""
    networks = [trial.network]
    with suppress(InputError):  # the network requires labels
        networks += [build_network(trial.build, trial.shape, 0)] * bool(trial.classes)
    for network in networks:
        for rows in (1, 3):
            x, c_noise, y = trial.inputs(rows)
            for label in (y, None) if network is trial.network else (None,):
                with torch.no_grad():
                    out = network(x, c_noise, label)
                if out.shape != x.shape or not out.isfinite().all():
                    measured = f"{tuple(out.shape)}{'' if out.isfinite().all() else ', not finite'}"
                    cause = "the output does not have the shape of x, or is not finite: return a tensor like x"
                    return Finding(False, measured, f"{tuple(x.shape)}, finite", cause)
    return Finding(True, "(B, *)", "the shape of x")


def dtypes(trial: NetworkTrial) -> Finding:
    """Check that a network converted to float64 computes in float64: a change of x by 1e-10 changes the output."""
    x, c_noise, y = trial.inputs(1, double=True)
    with torch.no_grad():
        out, near = (trial.double(z, c_noise, y) for z in (x, x * (1 + 1e-10)))
    computed = out.dtype == torch.float64 and not torch.equal(out, near) and not torch.equal(out, out.float().double())
    measured = str(out.dtype) if out.dtype != torch.float64 or computed else "numbers rounded to float32"
    cause = "a layer or embedding always computes in float32: use the dtype of x or of the parameters"
    return Finding(computed, measured, "torch.float64", cause)


def deterministic(trial: NetworkTrial) -> Finding:
    """Check that two calls in evaluation mode give the same output and change no buffer and no global generator."""
    network, (x, c_noise, y) = trial.network, trial.inputs(4)
    c_noise = torch.tensor([-1.5, -0.5, 0.5, 1.5])
    state = {name: value.clone() for name, value in network.state_dict().items()}
    with changed_globals() as changed, torch.no_grad():
        one = network(x, c_noise, y)
        copy = one.clone()
        network(2 * x, c_noise + 0.3, y)
        x_again = x.clone()
        two = network(x_again, c_noise, y)
        x_again.mul_(3)  # a result that is cached for this tensor would be returned again
        three = network(x_again, c_noise, y)
    buffers = [name for name, value in network.state_dict().items() if not torch.equal(value, state[name])]
    faults = {
        "two calls in evaluation mode differ: switch off dropout, and keep no state between calls": two.equal(copy),
        "a call overwrites the result of an earlier call: return a new tensor": one.equal(copy),
        "x changed, but the output did not: do not cache results": not three.equal(copy),
        f"a call in evaluation mode changes {', '.join(buffers)}: change it only if self.training": not buffers,
        f"a call in evaluation mode changes {' and '.join(changed)}: use no random numbers": not changed,
    }
    return all_hold(faults, "the same output twice")


def all_hold(laws: dict[str, bool], expected: str) -> Finding:
    """Return a finding that passes if all laws hold; else its cause is the first key whose law does not."""
    cause = next((cause for cause, holds in laws.items() if not holds), "")
    return Finding(not cause, "yes" if not cause else "no", expected, cause)


def batch(trial: NetworkTrial) -> Finding:
    """Check that each row of the output depends only on the same row of the inputs, also in batches with y = -1."""
    x, c_noise, y = trial.inputs(ROWS if max(trial.shape) <= 12 else 7, double=True)
    network, n = trial.double, len(x)
    with torch.no_grad():
        whole = network(x, c_noise, y)
        flipped = network(x.flip(0), c_noise.flip(0), None if y is None else y.flip(0)).flip(0)
        rows = {i: network(*(None if z is None else z[i : i + 1] for z in (x, c_noise, y))) for i in (0, 1, 3, n - 1)}
    errors = [float((whole[i] - row[0]).abs().max()) for i, row in rows.items()]
    cause = "a row depends on the other rows: use no batch normalization, and do not combine rows of a batch"
    return at_most(max(*errors, float((whole - flipped).abs().max())), 1e-9, cause, "difference ")


def gradient(trial: NetworkTrial) -> Finding:
    """Check that every parameter has a nonzero gradient in training mode, because training cannot change it without."""
    network, (x, _, y) = trial.new().train(), trial.inputs(48)
    c_noise = torch.linspace(-2, 2, len(x))
    with changed_globals():
        for label in (y, None) if trial.classes else (y,):
            network(x, c_noise, label).square().sum().backward()
    parameters = {name: p for name, p in network.named_parameters() if p.requires_grad}
    unused = [name for name, p in parameters.items() if p.grad is None or not p.grad.any()]
    cause = f"{len(unused)} parameters have no gradient: remove them, or use them in forward() without detach()"
    return Finding(not unused, ", ".join(unused[:3]) or "all", "all parameters", cause)


def slope(trial: NetworkTrial) -> Finding:
    """Check that the gradient with respect to x, which guidances need, agrees with finite differences in float64."""
    x, c_noise, y = trial.inputs(2, double=True)
    v, w = torch.randn(2, *x.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    z, h = x.clone().requires_grad_(), 1e-5
    (by_autograd,) = torch.autograd.grad((trial.double(z, c_noise, y) * w).sum(), z)
    with torch.no_grad():
        values = [(trial.double(x + step * v, c_noise, y) * w).sum() for step in (h, -h)]
    expected = float((values[0] - values[1]) / (2 * h))
    error = abs(float((by_autograd * v).sum()) - expected) / (1 + abs(expected))
    cause = "the gradient with respect to x is not the derivative: remove detach() and custom gradients"
    return at_most(error, 1e-4, cause, "relative difference ")


def condition(trial: NetworkTrial) -> Finding:
    """Check that each of 6 noise levels, each label and no label give another output."""
    x = trial.inputs(1)[0]
    c_noise = torch.tensor([-1.2, -0.7, -0.2, 0.2, 0.7, 1.2])  # an even or rounded function gives equal outputs
    label = torch.zeros(6, dtype=torch.long) if trial.classes else None
    with torch.no_grad():
        outs = {"c_noise": trial.network(x.expand(6, *x.shape[1:]).contiguous(), c_noise, label)}
        if trial.classes:
            y = torch.arange(-1, trial.classes)
            z = x.expand(len(y), *x.shape[1:]).contiguous()
            outs["y"] = trial.network(z, torch.zeros(len(y)), y)
    equal = {
        name: [(i, j) for i in range(len(out)) for j in range(i) if (out[i] - out[j]).abs().max() < 1e-6]
        for name, out in outs.items()
    }
    if equal["c_noise"]:
        i, j = equal["c_noise"][0]
        cause = f"the output does not depend on c_noise (equal for {c_noise[j]:.1f} and {c_noise[i]:.1f}): use it"
    elif equal.get("y"):
        i, j = equal["y"][0]
        names = ["no label", *map(str, range(trial.classes))]
        cause = f"the output does not depend on y (equal for {names[j]} and {names[i]}): give each label its own output"
    else:
        return Finding(True, "all differ", "another output for each noise level and label")
    return Finding(False, "equal outputs", "another output for each noise level and label", cause)


def null_label(trial: NetworkTrial) -> Finding:
    """Check that a label of -1 means "no label", as training and classifier-free guidance require for single rows."""
    x, c_noise, y = trial.inputs(double=True)
    if y is None:
        return skip("the network accepts no labels")
    with torch.no_grad():
        null, none = (trial.double(x, c_noise, z) for z in (torch.full_like(y, -1), None))
    cause = "the label -1 does not give the output of y = None: add the embedding of rows with y >= 0 only"
    return at_most(float((null - none).abs().max()), 1e-9, cause, "difference ")


def embeddings(trial: NetworkTrial) -> Finding:
    """Check that numbers, embeddings and sequences change their own row, and that a row of NaN means "no condition"."""
    shapes = {"conditions": (2,), "embedding_size": (5,), "sequence": (4, 5)}
    supported = [name for name in shapes if name in inspect.signature(trial.build).parameters]
    for name in supported:
        network = build_network(trial.build, trial.shape, 0, **{name: shapes[name][-1]}).double()
        x, c_noise, _ = trial.inputs(4, double=True)
        y = torch.randn(4, *shapes[name], generator=torch.Generator().manual_seed(3), dtype=torch.float64)
        y[2] = torch.nan
        with torch.no_grad():
            out, none = network(x, c_noise, y), network(x, c_noise, None)
            other, alone = network(x, c_noise, y.flip(1) + 1), network(x[:1], c_noise[:1], y[:1])
            null = network(x, c_noise, null_condition(y))
        rows = [0, 1, 3]
        laws = {
            f"the output does not depend on y ({name}): use it in forward()": bool(
                ((out - other)[rows].flatten(1).abs().amax(1) > 1e-9).all()
                and ((out - none)[rows].flatten(1).abs().amax(1) > 1e-9).all()
            ),
            f"a row of NaN ({name}) does not give the output of y = None: treat it as no condition": bool(
                (out[2] - none[2]).abs().max() < 1e-9 and (null - none).abs().max() < 1e-9
            ),
            f"a row depends on the condition of other rows ({name})": bool((out[:1] - alone).abs().max() < 1e-9),
        }
        finding = all_hold(laws, "y changes the output, NaN does not")
        if not finding.passed:
            return finding
    return Finding(True, ", ".join(supported), "") if supported else skip("the network has no option for embeddings")


def noise_range(trial: NetworkTrial) -> Finding:
    """Check that the output is finite at the extreme noise levels of the processes."""
    x, _, y = trial.inputs(2)
    with torch.no_grad():
        out = trial.network(x, torch.tensor([1e-4, 1e4]).log() / 4, y)
    measured = "finite" if out.isfinite().all() else "not finite"
    return same(measured, "finite", "the embedding of the noise level overflows: use a bounded function of c_noise")


def unchanged(trial: NetworkTrial) -> Finding:
    """Check that no input is changed in place, in evaluation and in training mode."""
    copies = trial.inputs()
    for network in (trial.network, trial.new().train()):
        inputs = trial.inputs()
        with torch.no_grad(), changed_globals():
            network(*inputs)
        pairs = zip(("x", "c_noise", "y"), inputs, copies, strict=True)
        changed = [
            name
            for name, now, before in pairs
            if now is not None and before is not None and not torch.equal(now, before)
        ]
        if changed:
            break
    cause = f"the network changes {' and '.join(changed)} in place: compute a new tensor"
    return same(", ".join(changed) or "unchanged", "unchanged", cause)


def layout(trial: NetworkTrial) -> Finding:
    """Check that tensors with other strides, such as transposed ones, give the same output."""
    x, c_noise, y = trial.inputs(3, double=True)
    with torch.no_grad():
        out = trial.double(*(None if z is None else strided(z) for z in (x, c_noise, y)))
        difference = float((out - trial.double(x, c_noise, y)).abs().max())
    return at_most(difference, 1e-9, "the output depends on the strides of x: use reshape() in place of view()")


def strided(z: Tensor) -> Tensor:
    """Return the same numbers with the axes in reverse order in memory, or with gaps if there is one axis."""
    reverse = tuple(range(z.ndim))[::-1]
    return z.permute(reverse).contiguous().permute(reverse) if z.ndim > 1 else torch.stack([z, z + 1], -1)[:, 0]


def device(trial: NetworkTrial) -> Finding:
    """Check that forward() uses no tensors that stay on the CPU if the network is moved to another device."""
    inputs = [None if z is None else z.to("meta") for z in trial.inputs(2)]
    try:
        with torch.no_grad():
            result = trial.new().to("meta")(*inputs)
    except RuntimeError as error:
        constant = "device" in str(error) and "cpu" in str(error)
        if not constant:  # for example, a branch that depends on values, which the device "meta" does not have
            return skip("the network cannot be evaluated without values")
        cause = "forward() uses a tensor that stays on the CPU: register it as a buffer"
        return Finding(False, str(error).partition("\n")[0], "a result on the device of x", cause)
    return same(str(result.device), "meta", "the result is not on the device of x")


def saved(trial: NetworkTrial) -> Finding:
    """Check that loading the state_dict of one network into another, after a call, gives the same output."""
    one, two = trial.network, trial.new(seed=1)
    with torch.no_grad():
        two(*trial.inputs())
        two.load_state_dict(one.state_dict())
        difference = float((one(*trial.inputs()) - two(*trial.inputs())).abs().max())
    cause = (
        "the output depends on a number outside state_dict(), and a run folder would lose it: register it as a "
        "parameter or buffer, and cache no function of the weights"
    )
    return same(difference, 0.0, cause)


def seed(trial: NetworkTrial) -> Finding:
    """Check that the same torch seed gives the same weights, and that building the network does not set the seed."""
    one, two = (trial.new().state_dict() for _ in range(2))
    different = [name for name, value in one.items() if not torch.equal(value, two[name])]
    if different:
        cause = "weights differ for the same seed, so a run is not repeatable: draw them from torch's generator"
        return Finding(False, ", ".join(different[:3]), "equal weights", cause)
    draws = []
    for torch_seed in (1, 2):
        with changed_globals(seed=torch_seed):
            trial.build(trial.shape, trial.classes)
            draws.append(float(torch.rand(())))
    cause = "building the network sets the global seed of torch: remove manual_seed()"
    return Finding(draws[0] != draws[1], "equal", "equal weights", cause)


def options(trial: NetworkTrial) -> Finding:
    """Check that a network rebuilt from its recorded options is the same, also with options other than the defaults."""
    for changes in ({}, *_other_options(trial)):
        try:
            network = trial.new(**changes)
        except Exception:  # the changed option is out of range, alone or together with others
            continue
        recorded = getattr(network, "options", None)
        if not isinstance(recorded, dict):
            cause = "the network has no options: store all resolved options as a dictionary in self.options"
            return Finding(False, "no options", "a dict", cause)
        try:
            stored = json.loads(json.dumps(recorded))
        except TypeError as error:
            return Finding(False, str(error), "JSON", "self.options cannot be written as JSON: store plain values")
        stored = {key: tuple(value) if isinstance(value, list) else value for key, value in stored.items()}
        rebuilt = trial.new(seed=1, **stored)
        cause = "self.options builds another network: store every resolved option"
        if changes:
            cause += f" (with {', '.join(f'{k}={v}' for k, v in changes.items())})"
        one, two = ({k: tuple(v.shape) for k, v in n.state_dict().items()} for n in (network, rebuilt))
        if one != two:
            return Finding(False, f"{len(two)} tensors", f"the same {len(one)} tensors", cause)
        rebuilt.load_state_dict(network.state_dict())
        with torch.no_grad():
            difference = float((network(*trial.inputs()) - rebuilt(*trial.inputs())).abs().max())
        if difference:
            return Finding(False, difference, "the same output", cause)
    return Finding(True, "equal", "the same network")


def _other_options(trial: NetworkTrial) -> Iterator[dict[str, Any]]:
    """Yield options with one value other than the default: numbers are doubled, and others are negated."""
    if trial.shape != SHAPES[0]:  # once is enough
        return
    for parameter in list(inspect.signature(trial.build).parameters.values())[2:]:
        value = parameter.default
        if isinstance(value, bool):
            yield {parameter.name: not value}
        elif isinstance(value, (int, float)) and value:
            yield {parameter.name: value * 2}
