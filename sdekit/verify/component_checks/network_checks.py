"""Networks: shapes, dtypes, determinism, independence of the batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sdekit.errors import InputError
from sdekit.verify.common.report import Check, Finding, at_most, same

SHAPES: tuple[tuple[int, ...], ...] = ((2,), (1, 8, 8), (3, 16, 16))
Build = Callable[..., nn.Module]


def checks(build: Build, *, quick: bool = False) -> list[Check]:
    """All checks of one network, `build(shape, classes)`, on each shape of data that it accepts.

    A shape that it does not serve is one for which it raises InputError.
    """
    found = [Check("builds", "build(shape, classes) -> nn.Module, for vectors or images", partial(accepted, build))]
    for shape in served(build, SHAPES[: 2 if quick else None]):
        name = "x".join(map(str, shape))
        found += [
            Check(f"shape[{name}]", "x (B, *), c_noise (B,), y (B,) to (B, *)", partial(shapes, build, shape)),
            Check(f"dtype[{name}]", "float64 in, float64 out, once converted", partial(dtypes, build, shape)),
            Check(f"deterministic[{name}]", "in evaluation mode F(x) = F(x)", partial(deterministic, build, shape)),
            Check(f"batch[{name}]", "F(x)^i = F(x^i)", partial(batch, build, shape)),
            Check(f"gradient[{name}]", "every parameter reaches the output", partial(gradient, build, shape)),
            Check(f"condition[{name}]", "F depends on c_noise, and on y", partial(condition, build, shape)),
            Check(f"null[{name}]", "F(x, c_noise, -1) = F(x, c_noise, None)", partial(null, build, shape)),
            Check(
                f"range[{name}]", "finite for 1e-4 <= rho <= 1e4, c_noise = log(rho) / 4", partial(ends, build, shape)
            ),
            Check(f"inputs[{name}]", "x, c_noise and y stay as they were", partial(unchanged, build, shape)),
            Check(f"saved[{name}]", "F depends on what state_dict holds alone", partial(saved, build, shape)),
            Check(f"seed[{name}]", "weights are drawn from torch's generator alone", partial(seed, build, shape)),
            Check(
                f"options[{name}]",
                "build(shape, classes, **network.options) is the same network",
                partial(options, build, shape),
            ),
        ]
    return found


def make(build: Build, shape: tuple[int, ...], classes: int = 3, *, at: int = 0, **options: Any) -> nn.Module:
    """The network in evaluation mode, with weights of the seed `at`, none of them zero."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(at)
        network = build(shape, classes, **options).eval()
        for parameter in network.parameters():  # a last layer that starts at 0 would hide everything
            parameter.data += 0.02 * torch.randn_like(parameter)
    return network


def served(build: Build, among: tuple[tuple[int, ...], ...]) -> list[tuple[int, ...]]:
    """The shapes for which it can be built."""
    found = []
    for shape in among:
        try:
            make(build, shape)
        except InputError:
            continue
        except Exception:
            pass  # told by the check that meets it
        found.append(shape)
    return found


def inputs(shape: tuple[int, ...], rows: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """x (rows, *shape), c_noise (rows,), y (rows,)."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(rows, *shape, generator=generator), torch.linspace(-1, 1, rows), torch.arange(rows) % 3


def accepted(build: Build) -> Finding:
    """At least one shape is served."""
    found = served(build, SHAPES)
    told = ", ".join("x".join(map(str, shape)) for shape in found) or "none"
    return Finding(bool(found), told, "one shape or more", "it accepts neither vectors nor images")


def shapes(build: Build, shape: tuple[int, ...]) -> Finding:
    """With labels, with y = None, and built without labels; batches of one and of three."""
    for classes in (3, 0):
        network = make(build, shape, classes)
        for rows in (1, 3):
            x, c_noise, y = inputs(shape, rows)
            for label in (y, None) if classes else (None,):
                with torch.no_grad():
                    out = network(x, c_noise, label)
                if out.shape != x.shape or not out.isfinite().all():
                    told = f"{tuple(out.shape)}{'' if out.isfinite().all() else ', not finite'}"
                    return Finding(False, told, f"{tuple(x.shape)}, finite", "the output is not shaped as the input")
    return Finding(True, "(B, *)", "the shape of x")


def dtypes(build: Build, shape: tuple[int, ...]) -> Finding:
    """Nothing inside is fixed to float32."""
    x, c_noise, y = inputs(shape, 1)
    with torch.no_grad():
        out = make(build, shape).double()(x.double(), c_noise.double(), y)
    return same(str(out.dtype), "torch.float64", "a layer or embedding is fixed to float32")


def deterministic(build: Build, shape: tuple[int, ...]) -> Finding:
    """Twice the same; dropout is off."""
    network = make(build, shape)
    with torch.no_grad():
        one, two = (network(*inputs(shape)) for _ in range(2))
    return same(float((one - two).abs().max()), 0.0, "it draws or remembers something in evaluation mode")


def batch(build: Build, shape: tuple[int, ...]) -> Finding:
    """Rows do not meet."""
    network, (x, c_noise, y) = make(build, shape).double(), inputs(shape, 2)
    with torch.no_grad():
        whole = network(x.double(), c_noise.double(), y)
        rows = [network(x[i : i + 1].double(), c_noise[i : i + 1].double(), y[i : i + 1]) for i in range(len(x))]
    return at_most(float((whole - torch.cat(rows)).abs().max()), 1e-9, "a sample depends on its batch", "difference ")


def gradient(build: Build, shape: tuple[int, ...]) -> Finding:
    """Parameters that training could never move."""
    network = make(build, shape)
    network(*inputs(shape)).square().sum().backward()
    dead = [name for name, p in network.named_parameters() if p.requires_grad and p.grad is None]
    return Finding(not dead, ", ".join(dead[:3]) or "all", "all parameters", f"{len(dead)} parameters are never used")


def condition(build: Build, shape: tuple[int, ...]) -> Finding:
    """Another noise level, and another label, give another output."""
    network, (x, c_noise, y) = make(build, shape), inputs(shape)
    with torch.no_grad():
        out = network(x, c_noise, y)
        others = {"c_noise": network(x, c_noise + 1, y), "y": network(x, c_noise, (y + 1) % 3)}
    deaf = [name for name, other in others.items() if not (other - out).abs().amax() > 0]
    return Finding(
        not deaf, ", ".join(deaf) or "both", "c_noise and y are heard", f"{' and '.join(deaf)} change nothing"
    )


def null(build: Build, shape: tuple[int, ...]) -> Finding:
    """A row without a label, as training drops them and classifier-free guidance asks for them in one batch."""
    network, (x, c_noise, y) = make(build, shape).double(), inputs(shape)
    x, c_noise = x.double(), c_noise.double()
    with torch.no_grad():
        off = float((network(x, c_noise, torch.full_like(y, -1)) - network(x, c_noise, None)).abs().max())
    return at_most(off, 1e-9, "the label -1 is not taken for no label", "difference ")


def ends(build: Build, shape: tuple[int, ...]) -> Finding:
    """What a ScoreModel tells it at the ends of a process."""
    x, _, y = inputs(shape, 2)
    with torch.no_grad():
        out = make(build, shape)(x, torch.tensor([1e-4, 1e4]).log() / 4, y)
    told = "finite" if out.isfinite().all() else "not finite"
    return same(told, "finite", "an embedding of the noise level overflows")


def unchanged(build: Build, shape: tuple[int, ...]) -> Finding:
    """Nothing that it was given is altered in place."""
    given, kept = inputs(shape), inputs(shape)
    with torch.no_grad():
        make(build, shape)(*given)
    pairs = zip(("x", "c_noise", "y"), given, kept, strict=True)
    changed = [name for name, now, before in pairs if not torch.equal(now, before)]
    return same(", ".join(changed) or "unchanged", "unchanged", "an in-place change of an input")


def saved(build: Build, shape: tuple[int, ...]) -> Finding:
    """Weights read into a network that was drawn from another seed: what a run folder keeps is all of it."""
    one, two = make(build, shape), make(build, shape, at=1)
    two.load_state_dict(one.state_dict())
    with torch.no_grad():
        off = float((one(*inputs(shape)) - two(*inputs(shape))).abs().max())
    return same(off, 0.0, "a weight is in no parameter and no persistent buffer, and a run folder would lose it")


def seed(build: Build, shape: tuple[int, ...]) -> Finding:
    """Built twice from one seed, the same weights: a run is repeatable."""
    one, two = (make(build, shape).state_dict() for _ in range(2))
    off = [name for name, value in one.items() if not torch.equal(value, two[name])]
    return Finding(
        not off, ", ".join(off[:3]) or "equal", "equal weights", "a run could not be repeated: use torch's generator"
    )


def options(build: Build, shape: tuple[int, ...]) -> Finding:
    """The run folder rebuilds the network from `.options`: the same parameters, by name and shape."""
    network = make(build, shape)
    given = getattr(network, "options", None)
    if not isinstance(given, dict):
        return Finding(False, "no options", "a dict", "keep the resolved options in self.options, which rebuild it")
    again = make(build, shape, **given)
    one, two = ({k: tuple(v.shape) for k, v in n.state_dict().items()} for n in (network, again))
    return Finding(
        one == two, f"{len(two)} tensors", f"the same {len(one)} tensors", "self.options builds another network"
    )
