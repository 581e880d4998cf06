"""Checks of networks: shapes, dtypes, determinism, independence of the rows of a batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sdekit.errors import InputError
from sdekit.verify.common.check_results import Check, Finding, at_most, same

SHAPES: tuple[tuple[int, ...], ...] = ((2,), (1, 8, 8), (3, 16, 16))
Shape = tuple[int, ...]
Build = Callable[..., nn.Module]


def checks(build: Build, *, quick: bool = False) -> list[Check]:
    """Return all checks of one network, for each shape of data that it supports.

    Arguments:
        build: Function `build(shape, classes)` that returns a network. It raises InputError for shapes that it does
            not support.
        quick: Measure on two shapes of data instead of three.
    """
    law = "build(shape, classes) is a network for vectors or images"
    result = [Check("builds", law, partial(builds, build))]
    measures: dict[str, tuple[str, Callable[[Build, Shape], Finding]]] = {
        "shape": ("x (B, *), c_noise (B,), y (B,) to (B, *)", shapes),
        "dtype": ("a network converted to float64 maps float64 to float64", dtypes),
        "deterministic": ("F(x) = F(x) in evaluation mode", deterministic),
        "batch": ("F(x)^i = F(x^i)", batch),
        "gradient": ("every parameter has a gradient", gradient),
        "condition": ("F depends on c_noise and on y", condition),
        "null": ("F(x, c_noise, -1) = F(x, c_noise, None)", null_label),
        "range": ("F is finite for 1e-4 <= rho <= 1e4, c_noise = log(rho) / 4", noise_range),
        "inputs": ("x, c_noise and y are not changed", unchanged),
        "saved": ("F is a function of state_dict()", saved),
        "seed": ("initial weights are a function of torch's seed", seed),
        "options": ("build(shape, classes, **network.options) is the same network", options),
    }
    for shape in supported_shapes(build, SHAPES[: 2 if quick else None]):
        name = "x".join(map(str, shape))
        result += [
            Check(f"{key}[{name}]", law, partial(measure, build, shape)) for key, (law, measure) in measures.items()
        ]
    return result


def build_network(build: Build, shape: Shape, classes: int = 3, *, seed: int = 0, **options: Any) -> nn.Module:
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
        for parameter in network.parameters():  # a zero last layer would hide every fault
            parameter.data += 0.02 * torch.randn_like(parameter)
    return network


def supported_shapes(build: Build, shapes: tuple[Shape, ...]) -> list[Shape]:
    """Return the shapes for which building a network does not raise InputError."""
    result = []
    for shape in shapes:
        try:
            build_network(build, shape)
        except InputError:
            continue
        except Exception:
            pass  # the checks of this shape report the exception
        result.append(shape)
    return result


def network_inputs(shape: Shape, rows: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Return x (rows, *shape), c_noise (rows,) and y (rows,)."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(rows, *shape, generator=generator), torch.linspace(-1, 1, rows), torch.arange(rows) % 3


def builds(build: Build) -> Finding:
    """Check that the network supports at least one shape of data."""
    supported = supported_shapes(build, SHAPES)
    measured = ", ".join("x".join(map(str, shape)) for shape in supported) or "none"
    cause = "the network supports neither vectors nor images: raise InputError for unsupported shapes only"
    return Finding(bool(supported), measured, "one shape or more", cause)


def shapes(build: Build, shape: Shape) -> Finding:
    """Check that the output has the shape of x and is finite, with and without labels, and without classes."""
    for classes in (3, 0):
        network = build_network(build, shape, classes)
        for rows in (1, 3):
            x, c_noise, y = network_inputs(shape, rows)
            for label in (y, None) if classes else (None,):
                with torch.no_grad():
                    out = network(x, c_noise, label)
                if out.shape != x.shape or not out.isfinite().all():
                    measured = f"{tuple(out.shape)}{'' if out.isfinite().all() else ', not finite'}"
                    cause = "the output does not have the shape of x, or is not finite: return a tensor like x"
                    return Finding(False, measured, f"{tuple(x.shape)}, finite", cause)
    return Finding(True, "(B, *)", "the shape of x")


def dtypes(build: Build, shape: Shape) -> Finding:
    """Check that a network converted to float64 computes in float64."""
    x, c_noise, y = network_inputs(shape, 1)
    with torch.no_grad():
        out = build_network(build, shape).double()(x.double(), c_noise.double(), y)
    cause = "a layer or embedding always computes in float32: use the dtype of x or of the parameters"
    return same(str(out.dtype), "torch.float64", cause)


def deterministic(build: Build, shape: Shape) -> Finding:
    """Check that two calls in evaluation mode give the same output."""
    network = build_network(build, shape)
    with torch.no_grad():
        one, two = (network(*network_inputs(shape)) for _ in range(2))
    cause = "two calls in evaluation mode differ: switch off dropout, and keep no state between calls"
    return same(float((one - two).abs().max()), 0.0, cause)


def batch(build: Build, shape: Shape) -> Finding:
    """Check that each row of the output depends only on the same row of the inputs."""
    network, (x, c_noise, y) = build_network(build, shape).double(), network_inputs(shape, 2)
    with torch.no_grad():
        whole = network(x.double(), c_noise.double(), y)
        rows = [network(x[i : i + 1].double(), c_noise[i : i + 1].double(), y[i : i + 1]) for i in range(len(x))]
    cause = "a row depends on the other rows: use no batch normalization, and do not combine rows of a batch"
    return at_most(float((whole - torch.cat(rows)).abs().max()), 1e-9, cause, "difference ")


def gradient(build: Build, shape: Shape) -> Finding:
    """Check that every parameter has a gradient, because training cannot change a parameter without a gradient."""
    network = build_network(build, shape)
    network(*network_inputs(shape)).square().sum().backward()
    unused = [name for name, p in network.named_parameters() if p.requires_grad and p.grad is None]
    cause = f"{len(unused)} parameters are never used: remove them, or use them in forward()"
    return Finding(not unused, ", ".join(unused[:3]) or "all", "all parameters", cause)


def condition(build: Build, shape: Shape) -> Finding:
    """Check that the output changes with the noise level and with the label."""
    network, (x, c_noise, y) = build_network(build, shape), network_inputs(shape)
    with torch.no_grad():
        out = network(x, c_noise, y)
        others = {"c_noise": network(x, c_noise + 1, y), "y": network(x, c_noise, (y + 1) % 3)}
    ignored = [name for name, other in others.items() if not (other - out).abs().amax() > 0]
    cause = f"the output does not depend on {' and '.join(ignored)}: use it in forward()"
    return Finding(not ignored, ", ".join(ignored) or "both", "c_noise and y change the output", cause)


def null_label(build: Build, shape: Shape) -> Finding:
    """Check that a label of -1 means "no label", as training and classifier-free guidance require for single rows."""
    network, (x, c_noise, y) = build_network(build, shape).double(), network_inputs(shape)
    x, c_noise = x.double(), c_noise.double()
    with torch.no_grad():
        difference = float((network(x, c_noise, torch.full_like(y, -1)) - network(x, c_noise, None)).abs().max())
    cause = "the label -1 does not give the output of y = None: add the embedding of rows with y >= 0 only"
    return at_most(difference, 1e-9, cause, "difference ")


def noise_range(build: Build, shape: Shape) -> Finding:
    """Check that the output is finite at the extreme noise levels of the processes."""
    x, _, y = network_inputs(shape, 2)
    with torch.no_grad():
        out = build_network(build, shape)(x, torch.tensor([1e-4, 1e4]).log() / 4, y)
    measured = "finite" if out.isfinite().all() else "not finite"
    return same(measured, "finite", "the embedding of the noise level overflows: use a bounded function of c_noise")


def unchanged(build: Build, shape: Shape) -> Finding:
    """Check that no input is changed in place."""
    inputs, copies = network_inputs(shape), network_inputs(shape)
    with torch.no_grad():
        build_network(build, shape)(*inputs)
    pairs = zip(("x", "c_noise", "y"), inputs, copies, strict=True)
    changed = [name for name, now, before in pairs if not torch.equal(now, before)]
    cause = f"the network changes {' and '.join(changed)} in place: compute a new tensor"
    return same(", ".join(changed) or "unchanged", "unchanged", cause)


def saved(build: Build, shape: Shape) -> Finding:
    """Check that loading the state_dict of one network into another gives the same output."""
    one, two = build_network(build, shape), build_network(build, shape, seed=1)
    two.load_state_dict(one.state_dict())
    with torch.no_grad():
        difference = float((one(*network_inputs(shape)) - two(*network_inputs(shape))).abs().max())
    cause = "state_dict() lacks a weight, so a run folder would lose it: register it as a parameter or buffer"
    return same(difference, 0.0, cause)


def seed(build: Build, shape: Shape) -> Finding:
    """Check that building a network twice with the same torch seed gives the same weights."""
    one, two = (build_network(build, shape).state_dict() for _ in range(2))
    different = [name for name, value in one.items() if not torch.equal(value, two[name])]
    cause = "weights differ for the same seed, so a run is not repeatable: draw them from torch's generator"
    return Finding(not different, ", ".join(different[:3]) or "equal", "equal weights", cause)


def options(build: Build, shape: Shape) -> Finding:
    """Check that a network rebuilt from `network.options` has the same parameter names and shapes."""
    network = build_network(build, shape)
    stored = getattr(network, "options", None)
    if not isinstance(stored, dict):
        cause = "the network has no options: store all resolved options as a dictionary in self.options"
        return Finding(False, "no options", "a dict", cause)
    rebuilt = build_network(build, shape, **stored)
    one, two = ({k: tuple(v.shape) for k, v in n.state_dict().items()} for n in (network, rebuilt))
    cause = "self.options builds another network: store every resolved option"
    return Finding(one == two, f"{len(two)} tensors", f"the same {len(one)} tensors", cause)
