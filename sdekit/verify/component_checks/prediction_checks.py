"""What a network is trained to be: the loss, the output that minimises it, and the denoiser read from that output."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from sdekit.errors import InputError
from sdekit.models import PREDICTIONS, ScoreModel
from sdekit.processes import EDM, SDE, VE, VP, Cosine, RectifiedFlow, SubVP, as_time
from sdekit.verify.common.problems import PLANE
from sdekit.verify.common.report import Check, Finding, at_most, same

Read = Callable[..., ScoreModel]
"""`read(network, sde, *, data_std) -> ScoreModel`: a network as a denoiser, with a loss."""

STD = 0.7  # of the data, unlike 1, so that a coefficient that leaves it out is seen
LEVELS = (0.03, 1.0, 30.0)  # of rho: where c_skip and c_out are near their ends, and between
PROCESSES: dict[str, SDE] = {
    "vp": VP(),
    "rectified-flow": RectifiedFlow(),
    "ve": VE(),
    "sub-vp": SubVP(),
    "cosine": Cosine(),
    "edm": EDM(),
}
TARGETS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "x0": lambda alpha, sigma, x0, eps: x0,
    "eps": lambda alpha, sigma, x0, eps: eps,
    "v": lambda alpha, sigma, x0, eps: (alpha * eps - sigma * x0) / (alpha**2 + sigma**2).sqrt(),
    "flow": lambda alpha, sigma, x0, eps: eps - x0,
    "edm": lambda alpha, sigma, x0, eps: (
        # (x_0 - c_skip x) / c_out with Karras et al.'s c_skip = std^2 / (rho^2 + std^2), in x = x_0 + rho eps
        (sigma / alpha * x0 / STD - STD * eps) / ((sigma / alpha) ** 2 + STD**2).sqrt()
    ),
}
"""What each name stands for, as printed: Ho et al. 2020; Salimans & Ho 2022; Liu et al. 2023; Karras et al. 2022."""


class Probe(nn.Module):
    """A network whose output is what it holds, and which remembers what it was called with."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output
        self.seen: list[tuple[Tensor, Tensor]] = []

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        """output (B, *) or (*), as (B, *)."""
        self.seen.append((x, c_noise))
        return self.output.to(x.dtype).expand_as(x)


def checks(prediction: str | Read, *, quick: bool = False) -> list[Check]:
    """All checks of a prediction: a name of `PREDICTIONS`, or any `read(network, sde, data_std=...)`."""
    target = TARGETS.get(prediction) if isinstance(prediction, str) else None
    read = _named(prediction) if isinstance(prediction, str) else prediction
    found: list[Check] = []
    for name, sde in list(PROCESSES.items())[: 2 if quick else None]:
        try:
            read(Probe(torch.zeros(1)), sde, data_std=STD)
        except InputError:  # eps where alpha reaches 0
            continue
        found += _on(read, name, sde, target)
    return found


def _named(prediction: str) -> Read:
    if prediction not in PREDICTIONS:
        from sdekit.registry import unknown_name

        raise InputError(unknown_name("prediction", prediction, list(PREDICTIONS), "There are"))
    return lambda network, sde, *, data_std: ScoreModel(network, sde, prediction, data_std=data_std)


def _on(
    read: Read, name: str, sde: SDE, target: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] | None
) -> Iterator[Check]:
    law = "F = argmin E[loss | x_t] gives D(x_t) = E[x_0 | x_t], of a mixture"
    yield Check(f"minimiser[{name}]", law, partial(minimiser, read, sde, False))
    law = "the same minimiser, of the loss on E[x_0 | x_t] in place of x_0"
    yield Check(f"mean target[{name}]", law, partial(minimiser, read, sde, True))
    law = "with that F, score(x) = grad log p_t(x), of a mixture"
    yield Check(f"score[{name}]", law, partial(score, read, sde))
    yield Check(
        f"round trip[{name}]", "loss = 0 where D(x_t) = x_0: c_skip x_t + c_out F = x_0", partial(trip, read, sde)
    )
    if target is not None:
        yield Check(
            f"target[{name}]", "F = x_0, eps, v, ..., as printed in the paper", partial(printed, read, sde, target)
        )
    law = "c_in = 1 / sqrt(alpha^2 std^2 + sigma^2): the network's input has variance 1; c_noise (B,) is finite"
    yield Check(f"input[{name}]", law, partial(inputs, read, sde))
    yield Check(f"broadcast[{name}]", "t (B,) does to each row what t () does", partial(broadcast, read, sde))
    yield Check(f"finite[{name}]", "D and loss are finite from t_min to t_max, in float32", partial(finite, read, sde))


def times(sde: SDE) -> list[Tensor]:
    """Times at `LEVELS` and at both ends, where alpha or sigma may be 0."""
    inner = [sde.time(as_time(rho)).clamp(sde.t_min, sde.t_max) for rho in LEVELS]
    return [*inner, as_time(sde.t_max)]


def best(read: Read, sde: SDE, x0: Tensor, t: Tensor, eps: Tensor, weights: Tensor, mean: Tensor | None) -> Tensor:
    """The output (d,) that minimises sum_i weights_i loss(x0_i, t, eps_i), for x0, eps (N, d).

    The loss is a parabola in each number of the output, so that two gradients give its minimum exactly.
    """
    gradients = []
    for level in (0.0, 1.0):
        output = torch.full(x0.shape[1:], level, dtype=torch.float64, requires_grad=True)
        extra = {} if mean is None else {"mean": mean}
        loss = read(Probe(output), sde, data_std=STD).loss(x0, t, eps, **extra)
        (gradient,) = torch.autograd.grad((weights * loss).sum(), output)
        gradients.append(gradient)
    return -gradients[0] / (gradients[1] - gradients[0])


def posterior(sde: SDE, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """x_0 (N, 2) and weights (N,) with the mean of p(x_0 | x_t = x) of `PLANE`, for x (1, 2): Gauss-Hermite, exact."""
    denoise, k = PLANE.denoiser(sde), torch.arange(len(PLANE.means))
    rows = x.expand(len(k), -1)
    shares = (PLANE.log_weights + PLANE.log_prob(rows, sde, t, k)).softmax(0)
    alpha, sigma = sde.alpha(t), sde.sigma(t)
    stds = (PLANE.variances * sigma**2 / (alpha**2 * PLANE.variances + sigma**2)).sqrt()
    nodes, mass = (torch.from_numpy(a) for a in np.polynomial.hermite_e.hermegauss(4))
    x0 = denoise(rows, t, k)[:, None] + stds[:, None] * nodes[None, :, None]
    return x0.flatten(0, 1), (shares[:, None] * mass / mass.sum()).flatten()


def _fitted(read: Read, sde: SDE, x: Tensor, t: Tensor, mean: bool = False) -> ScoreModel:
    """The model whose network minimises the expected loss at x (1, 2)."""
    x0, weights = posterior(sde, x, t)
    eps = sde.eps(x.expand_as(x0), x0, t)
    target = PLANE.denoiser(sde)(x, t).expand_as(x0) if mean else None
    return read(Probe(best(read, sde, x0, t, eps, weights, target)), sde, data_std=STD)


def minimiser(read: Read, sde: SDE, mean: bool) -> Finding:
    """At four noise levels, t_max among them."""
    worst, where = 0.0, as_time(0)
    for t in times(sde):
        x = PLANE.sample(1, 5, sde, t)
        off = float((_fitted(read, sde, x, t, mean)(x, t) - PLANE.denoiser(sde)(x, t)).abs().max())
        worst, where = max((worst, where), (off, t), key=lambda pair: pair[0] if pair[0] == pair[0] else float("inf"))
    cause = (
        f"the output that minimises the loss is not read as the exact denoiser, most so at t = {float(where):.4g}: the "
        "target of the loss and (c_skip, c_out) do not fit together"
    )
    return at_most(worst, 1e-7, cause, "|D - E[x_0 | x]| ")


def score(read: Read, sde: SDE) -> Finding:
    """Against the gradient of the mixture's log-density, by differentiation, in units of 1 / sigma."""
    worst = 0.0
    for t in times(sde):
        x = PLANE.sample(1, 5, sde, t).requires_grad_()
        (exact,) = torch.autograd.grad(PLANE.log_prob(x, sde, t).sum(), x)
        x = x.detach()
        off = float((_fitted(read, sde, x, t).score(x, t) - exact).abs().max() * sde.sigma(t))
        worst = max(worst, off) if off == off else off
    return at_most(worst, 1e-6, "score is not (alpha D - x) / sigma^2", "sigma x score difference ")


def trip(read: Read, sde: SDE) -> Finding:
    """One x_0, one eps: where the loss is least it is 0, and D is x_0."""
    generator = torch.Generator().manual_seed(2)
    x0, eps = torch.randn(2, 1, 3, generator=generator, dtype=torch.float64)
    for t in times(sde):
        output = best(read, sde, x0, t, eps, torch.ones(1), None)
        model = read(Probe(output), sde, data_std=STD)
        left = float(model.loss(x0, t, eps).max())
        off = float((model(sde.perturb(x0, t, eps), t) - x0).abs().max())
        at = f" at t = {float(t):.4g}"
        if not left < 1e-12:
            return at_most(left, 1e-12, "the loss has a least value above 0" + at, "least loss ")
        if not off < 1e-7:
            cause = "D(x_t) is not the x_0 of the output that the loss asks for: c_skip, c_out or c_in is wrong"
            return at_most(off, 1e-7, cause + at, "|D - x_0| ")
    return Finding(True, "both", "loss 0 and D = x_0")


def printed(read: Read, sde: SDE, target: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]) -> Finding:
    """Where alpha is above 0: the least output of the loss for one x_0 and one eps."""
    generator = torch.Generator().manual_seed(3)
    x0, eps = torch.randn(2, 1, 3, generator=generator, dtype=torch.float64)
    worst = 0.0
    for t in times(sde)[:-1]:
        output = best(read, sde, x0, t, eps, torch.ones(1), None)
        expected = target(sde.alpha(t), sde.sigma(t), x0, eps)[0]
        worst = max(worst, float((output - expected).abs().max() / (1 + expected.abs().max())))
    return at_most(worst, 1e-7, "the network is asked for something else than the name says", "relative difference ")


def inputs(read: Read, sde: SDE) -> Finding:
    """What the network is called with."""
    for t in times(sde):
        probe = Probe(torch.zeros(3))
        x = torch.ones(2, 3, dtype=torch.float64)
        read(probe, sde, data_std=STD)(x, t)
        ((given, c_noise),) = probe.seen
        variance = float((given[0, 0] ** 2) * ((sde.alpha(t) * STD) ** 2 + sde.sigma(t) ** 2))
        at = f" at t = {float(t):.4g}"
        if not abs(variance - 1) < 1e-6:
            return Finding(False, variance, "variance 1", "c_in does not bring the input to unit variance" + at)
        if c_noise.shape != (2,) or not c_noise.isfinite().all():
            told = f"{tuple(c_noise.shape)}, {'finite' if c_noise.isfinite().all() else 'not finite'}"
            return Finding(False, told, "(2,), finite", "c_noise is one finite number a sample" + at)
    return Finding(True, 1.0, "variance 1, c_noise (B,)")


def broadcast(read: Read, sde: SDE) -> Finding:
    """D, score and loss of three samples at three times, and of each by itself."""
    generator = torch.Generator().manual_seed(4)
    x, eps = torch.randn(2, 3, 2, 4, generator=generator, dtype=torch.float64)
    t = torch.stack(times(sde)[:3])
    model = read(Probe(torch.linspace(-1, 1, 8, dtype=torch.float64).view(2, 4)), sde, data_std=STD)
    methods: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
        "D": lambda x, t, eps: model(x, t),
        "score": lambda x, t, eps: model.score(x, t),
        "loss": lambda x, t, eps: model.loss(x, t, eps),
    }
    for name, method in methods.items():
        whole = method(x, t, eps)
        rows = torch.cat([method(x[i : i + 1], u, eps[i : i + 1]) for i, u in enumerate(t)])
        if whole.shape != rows.shape or whole.shape[0] != 3 or (name == "loss" and whole.ndim != 1):
            return same(str(tuple(whole.shape)), str(tuple(rows.shape)), f"{name} has another shape for t (B,)")
        off = float(((whole - rows).abs() / (1 + rows.abs())).max())
        if not off < 1e-9:
            return at_most(off, 1e-9, f"{name} broadcasts t along the wrong axis", "relative error ")
    return Finding(True, "equal", "each row as by itself")


def finite(read: Read, sde: SDE) -> Finding:
    """At both ends and between, in float32, which the results keep."""
    x, eps = torch.randn(2, 2, 3, generator=torch.Generator().manual_seed(6))
    model = read(Probe(torch.full((3,), 0.5)), sde, data_std=STD)
    for t in (as_time(sde.t_min), *times(sde)):
        for name, value in (("D", model(x, t)), ("loss", model.loss(x, t, eps).float())):
            if not value.isfinite().all() or value.dtype != torch.float32:
                told = f"{name} {value.dtype}, {'finite' if value.isfinite().all() else 'not finite'}"
                return Finding(False, told, "finite, float32", f"{name} breaks at t = {float(t):.4g}")
    return Finding(True, "finite", "finite, float32")
