"""Checks of predictions: the output that minimizes the loss must give the exact denoiser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sdekit.errors import InputError
from sdekit.models import PREDICTIONS, ScoreModel
from sdekit.processes import EDM, SDE, VE, VP, Cosine, RectifiedFlow, SubVP, as_time
from sdekit.registry import unknown_name
from sdekit.verify.common.check_results import Check, Finding, at_most, same
from sdekit.verify.common.problems import MIXTURE_2D
from sdekit.verify.common.side_effects import changed_globals

Read = Callable[..., ScoreModel]
"""Function `(network, sde, *, data_std)` that returns a ScoreModel."""

Target = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]

STD = 0.7
"""Standard deviation of the data. It differs from 1 so that the checks detect a coefficient that omits it."""

LEVELS = (0.03, 1.0, 30.0)
"""Noise levels rho. At the first and the last, c_skip and c_out are near their limits."""

PROCESSES: dict[str, SDE] = {
    "vp": VP(),
    "rectified-flow": RectifiedFlow(),
    "ve": VE(),
    "sub-vp": SubVP(),
    "cosine": Cosine(),
    "edm": EDM(),
}
TARGETS: dict[str, Target] = {
    "x0": lambda alpha, sigma, x0, eps: x0,
    "eps": lambda alpha, sigma, x0, eps: eps,
    "v": lambda alpha, sigma, x0, eps: (alpha * eps - sigma * x0) / (alpha**2 + sigma**2).sqrt(),
    "flow": lambda alpha, sigma, x0, eps: eps - x0,
    "edm": lambda alpha, sigma, x0, eps: (
        # (x_0 - c_skip x) / c_out with Karras et al.'s c_skip = std^2 / (rho^2 + std^2), for x = x_0 + rho eps
        (sigma / alpha * x0 / STD - STD * eps) / ((sigma / alpha) ** 2 + STD**2).sqrt()
    ),
}
"""Map from each prediction to the expected output of the network, as a function of alpha, sigma, x_0 and eps.

Source:
    Ho et al. 2020; Salimans & Ho 2022; Liu et al. 2023; Karras et al. 2022.
"""


class Probe(nn.Module):
    """A network with a constant output, which records its inputs.

    Arguments:
        output: Output of every row, (*), or of the whole batch, (B, *).
    """

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output
        self.inputs: list[tuple[Tensor, Tensor, Any]] = []

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the output, (B, *)."""
        self.inputs.append((x, c_noise, y))
        return self.output.to(x.dtype).expand_as(x)


class Affine(Probe):
    """A network F = x / 3 + c_noise / 5 + y, in which no input can be ignored without effect."""

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the output, (B, *)."""
        row = c_noise / 5 if y is None else c_noise / 5 + y
        return super().forward(x, c_noise, y) + x / 3 + row.view(-1, *[1] * (x.ndim - 1))


def checks(prediction: str | Read, *, quick: bool = False) -> list[Check]:
    """Return all checks of one prediction, on each process that it supports.

    Arguments:
        prediction: Name in `PREDICTIONS`, or a function `(network, sde, *, data_std)` that returns a ScoreModel.
        quick: Measure on two processes instead of six.
    """
    target = TARGETS.get(prediction) if isinstance(prediction, str) else None
    read = _read_by_name(prediction) if isinstance(prediction, str) else prediction
    result: list[Check] = []
    for name, sde in list(PROCESSES.items())[: 2 if quick else None]:
        try:
            read(Probe(torch.zeros(1)), sde, data_std=STD)
        except InputError:  # for example, the prediction eps if alpha(t_max) = 0
            continue
        result += _checks_on_process(read, name, sde, target)
    return result


def _read_by_name(prediction: str) -> Read:
    """Return the function that builds a ScoreModel with a prediction of `PREDICTIONS`."""
    if prediction not in PREDICTIONS:
        raise InputError(unknown_name("prediction", prediction, list(PREDICTIONS), "There are"))
    return lambda network, sde, *, data_std: ScoreModel(network, sde, prediction, data_std=data_std)


def _checks_on_process(read: Read, name: str, sde: SDE, target: Target | None) -> Iterator[Check]:
    """Yield the checks of a prediction on one process."""
    law = "F = argmin E[loss | x_t] gives D(x_t) = E[x_0 | x_t]"
    yield Check(f"minimiser[{name}]", law, partial(minimiser, read, sde))
    law = "F = argmin loss(E[x_0 | x_t]) gives D(x_t) = E[x_0 | x_t]"
    yield Check(f"mean target[{name}]", law, partial(mean_target, read, sde))
    law = "F = argmin E[loss | x_t] gives score(x_t) = grad log p_t(x_t)"
    yield Check(f"score[{name}]", law, partial(score, read, sde))
    law = "loss = 0 if D(x_t) = c_skip x_t + c_out F = x_0"
    yield Check(f"round trip[{name}]", law, partial(round_trip, read, sde))
    if target is not None:
        law = "F = x_0, eps, v, ..., as in the paper"
        yield Check(f"target[{name}]", law, partial(printed_target, read, sde, target))
    law = "c_in = 1 / sqrt(alpha^2 std^2 + sigma^2), so that Var[c_in x_t] = 1; c_noise (B,) is finite"
    yield Check(f"input[{name}]", law, partial(network_input, read, sde))
    law = "D(x, (t_1, ..., t_B))^i = D(x^i, t_i); the same for score and loss"
    yield Check(f"broadcast[{name}]", law, partial(broadcast, read, sde))
    law = "F receives c_in x_t, c_noise(t_i) of its own row, and y, in D, score and loss"
    yield Check(f"inputs[{name}]", law, partial(same_inputs, read, sde))
    law = "F is called once; c_noise is strictly monotone in rho"
    yield Check(f"c_noise[{name}]", law, partial(noise_input, read, sde))
    law = "D(x) - D(0) is linear in x for a constant F; loss(F + h) is quadratic in h, and its weight is positive"
    yield Check(f"linear[{name}]", law, partial(linear, read, sde))
    law = "dD / dx, and the gradient of the loss, by finite differences"
    yield Check(f"gradient[{name}]", law, partial(gradient, read, sde))
    law = "a second call gives the same D and loss; x, x_0 and eps are not changed"
    yield Check(f"repeatable[{name}]", law, partial(repeatable, read, sde))
    law = "D and loss are finite from t_min to t_max, in float32"
    yield Check(f"finite[{name}]", law, partial(finite, read, sde))


def trial_times(sde: SDE) -> list[Tensor]:
    """Return the times at `LEVELS`, t_max, where alpha may be 0, and t_min."""
    inner = [sde.time(as_time(rho)).clamp(sde.t_min, sde.t_max) for rho in LEVELS]
    return [*inner, as_time(sde.t_max), as_time(sde.t_min)]


def optimal_output(
    read: Read, sde: SDE, x0: Tensor, t: Tensor, eps: Tensor, weights: Tensor, mean: Tensor | None
) -> Tensor:
    """Return the output (d,) that minimizes sum_i weights_i loss(x0_i, t, eps_i), for x0 and eps (N, d).

    The loss is quadratic in each number of the output. Two gradients therefore give its minimum exactly.
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
    """Return quadrature nodes x_0 (N, 2) and weights (N,) of p(x_0 | x_t = x), for x (1, 2) and data from `MIXTURE_2D`.

    The weighted mean of the Gauss-Hermite nodes is the exact posterior mean.
    """
    denoise, k = MIXTURE_2D.denoiser(sde), torch.arange(len(MIXTURE_2D.means))
    rows = x.expand(len(k), -1)
    probabilities = (MIXTURE_2D.log_weights + MIXTURE_2D.log_prob(rows, sde, t, k)).softmax(0)
    alpha, sigma = sde.alpha(t), sde.sigma(t)
    stds = (MIXTURE_2D.variances * sigma**2 / (alpha**2 * MIXTURE_2D.variances + sigma**2)).sqrt()
    nodes, mass = (torch.from_numpy(a) for a in np.polynomial.hermite_e.hermegauss(4))
    x0 = denoise(rows, t, k)[:, None] + stds[:, None] * nodes[None, :, None]
    return x0.flatten(0, 1), (probabilities[:, None] * mass / mass.sum()).flatten()


def _optimal_model(read: Read, sde: SDE, x: Tensor, t: Tensor, *, on_mean: bool = False) -> ScoreModel:
    """Return a model with a network that minimizes the expected loss at x (1, 2)."""
    x0, weights = posterior(sde, x, t)
    eps = sde.eps(x.expand_as(x0), x0, t)
    mean = MIXTURE_2D.denoiser(sde)(x, t).expand_as(x0) if on_mean else None
    return read(Probe(optimal_output(read, sde, x0, t, eps, weights, mean)), sde, data_std=STD)


def minimiser(read: Read, sde: SDE) -> Finding:
    """Check that the network that minimizes the expected loss gives the exact denoiser, at five noise levels."""
    return _denoiser_error(read, sde, on_mean=False)


def mean_target(read: Read, sde: SDE) -> Finding:
    """Check that the loss has the same minimizer if its target is E[x_0 | x_t] instead of x_0."""
    return _denoiser_error(read, sde, on_mean=True)


def _denoiser_error(read: Read, sde: SDE, *, on_mean: bool) -> Finding:
    """Compare the denoiser of the optimal network with the exact denoiser."""
    worst, worst_t = 0.0, as_time(0)
    for t in trial_times(sde):
        x = MIXTURE_2D.sample(1, 5, sde, t)
        model = _optimal_model(read, sde, x, t, on_mean=on_mean)
        error = float((model(x, t) - MIXTURE_2D.denoiser(sde)(x, t)).abs().max())
        worst, worst_t = max(
            (worst, worst_t), (error, t), key=lambda pair: pair[0] if pair[0] == pair[0] else float("inf")
        )
    cause = (
        "the network that minimizes the loss does not give the exact denoiser (largest error at "
        f"t = {float(worst_t):.4g}): make the target of the loss agree with c_skip and c_out"
    )
    return at_most(worst, 1e-7, cause, "|D - E[x_0 | x]| ")


def score(read: Read, sde: SDE) -> Finding:
    """Check that the score of the optimal network is the gradient of the log-density of the mixture.

    The difference is multiplied by sigma.
    """
    worst = 0.0
    for t in trial_times(sde):
        x = MIXTURE_2D.sample(1, 5, sde, t).requires_grad_()
        (exact,) = torch.autograd.grad(MIXTURE_2D.log_prob(x, sde, t).sum(), x)
        x = x.detach()
        error = float((_optimal_model(read, sde, x, t).score(x, t) - exact).abs().max() * sde.sigma(t))
        worst = max(worst, error) if error == error else error
    cause = "the score is not (alpha D - x) / sigma^2: correct score()"
    return at_most(worst, 1e-6, cause, "sigma x score difference ")


def round_trip(read: Read, sde: SDE) -> Finding:
    """Check that the loss of one pair (x_0, eps) can be 0, and that the denoiser then returns x_0."""
    generator = torch.Generator().manual_seed(2)
    x0, eps = torch.randn(2, 1, 3, generator=generator, dtype=torch.float64)
    for t in trial_times(sde):
        output = optimal_output(read, sde, x0, t, eps, torch.ones(1), None)
        model = read(Probe(output), sde, data_std=STD)
        loss = float(model.loss(x0, t, eps).max())
        error = float((model(sde.perturb(x0, t, eps), t) - x0).abs().max())
        at = f" at t = {float(t):.4g}"
        if not loss < 1e-12:
            cause = f"the smallest loss is above 0{at}: use the squared error of one target"
            return at_most(loss, 1e-12, cause, "smallest loss ")
        if not error < 1e-7:
            cause = f"the output with loss 0 does not give D(x_t) = x_0{at}: correct c_skip, c_out or c_in"
            return at_most(error, 1e-7, cause, "|D - x_0| ")
    return Finding(True, "both", "loss 0 and D = x_0")


def printed_target(read: Read, sde: SDE, target: Target) -> Finding:
    """Check that the output with the smallest loss for one x_0 and one eps is the target defined in the paper."""
    generator = torch.Generator().manual_seed(3)
    x0, eps = torch.randn(2, 1, 3, generator=generator, dtype=torch.float64)
    worst = 0.0
    for t in trial_times(sde)[:-2]:
        output = optimal_output(read, sde, x0, t, eps, torch.ones(1), None)
        expected = target(sde.alpha(t), sde.sigma(t), x0, eps)[0]
        worst = max(worst, float((output - expected).abs().max() / (1 + expected.abs().max())))
    cause = "the network predicts another quantity than the name of the prediction says: correct c_skip and c_out"
    return at_most(worst, 1e-7, cause, "relative difference ")


def network_input(read: Read, sde: SDE) -> Finding:
    """Check that the input of the network has variance 1, or is x itself, and that c_noise is one number per row."""
    for t in trial_times(sde):
        probe = Probe(torch.zeros(3))
        x = torch.ones(2, 3, dtype=torch.float64)
        read(probe, sde, data_std=STD)(x, t)
        ((scaled, c_noise, _),) = probe.inputs
        variance = float((scaled[0, 0] ** 2) * ((sde.alpha(t) * STD) ** 2 + sde.sigma(t) ** 2))
        at = f" at t = {float(t):.4g}"
        if not abs(variance - 1) < 1e-6 and not torch.equal(scaled, x):
            cause = f"c_in does not scale the input to variance 1{at}: use 1 / sqrt(alpha^2 std^2 + sigma^2)"
            return Finding(False, variance, "variance 1", cause)
        if c_noise.shape != (2,) or not c_noise.isfinite().all() or c_noise.dtype != x.dtype:
            measured = f"{tuple(c_noise.shape)} {c_noise.dtype}, finite: {bool(c_noise.isfinite().all())}"
            cause = f"c_noise is not one finite number for each row in the dtype of x{at}: expand it to (B,)"
            return Finding(False, measured, "(2,), finite", cause)
        single = Probe(torch.zeros(3))
        read(single, sde, data_std=STD)(x.float(), t)
        if single.inputs[0][1].dtype != torch.float32:
            cause = f"c_noise does not have the dtype of x{at}: convert it"
            return Finding(False, str(single.inputs[0][1].dtype), "torch.float32", cause)
    return Finding(True, 1.0, "variance 1, c_noise (B,)")


def _example(seed: int, rows: int = 5) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return x_0 and eps (rows, 2, 4) in float64, random labels y (rows,), and the rows' noise levels rho."""
    generator = torch.Generator().manual_seed(seed)
    x0, eps = torch.randn(2, rows, 2, 4, generator=generator, dtype=torch.float64)
    return x0, eps, torch.arange(rows) % 3 - 1, torch.logspace(-1.8, 1.4, rows, dtype=torch.float64).flip(0)


def _times(sde: SDE, rho: Tensor) -> Tensor:
    """Return the time of each noise level within the range of the process."""
    return sde.time(rho).clamp(sde.t_min, sde.t_max)


def same_inputs(read: Read, sde: SDE) -> Finding:
    """Check that y reaches the network in D, score and loss, and that the loss gives it the same inputs as D does."""
    x0, eps, labels, rho = _example(8)
    t = _times(sde, rho)
    x = sde.perturb(x0, t, eps)
    for y in (labels, None):
        probe = Probe(torch.zeros(1))
        model = read(probe, sde, data_std=STD)
        model(x, t, y), model.score(x, t, y), model.loss(x0, t, eps, y)
        if len(probe.inputs) != 3:
            cause = "D, score and loss do not call the network once each: call it once with the whole batch"
            return Finding(False, f"{len(probe.inputs)} calls", "3 calls", cause)
        first = probe.inputs[0]
        for name, inputs in zip(("D", "score", "loss"), probe.inputs, strict=True):
            received = (inputs[2] is None) if y is None else inputs[2] is not None and torch.equal(inputs[2], y)
            if not received:
                return Finding(False, "another y", "y", f"{name} does not pass y to the network: pass it on unchanged")
            if not all(
                torch.allclose(a, b, rtol=1e-10, atol=1e-10) for a, b in zip(inputs[:2], first[:2], strict=True)
            ):
                cause = f"{name} gives the network another scaled x or c_noise than D does: use the same inputs"
                return Finding(False, "other inputs", "the inputs in D", cause)
    return Finding(True, "equal", "the same inputs")


def noise_input(read: Read, sde: SDE) -> Finding:
    """Check that c_noise is a strictly monotone function of rho, and that each row has its own."""
    rho = torch.logspace(-2.5, 2, 10, dtype=torch.float64)
    t = _times(sde, rho).unique()
    probe = Probe(torch.zeros(1))
    model = read(probe, sde, data_std=STD)
    x = torch.ones(len(t), 2, dtype=torch.float64)
    model(x, t)
    for time in t:
        model(x[:1], float(time))
    c_noise, alone = probe.inputs[0][1], torch.cat([inputs[1] for inputs in probe.inputs[1:]])
    steps = c_noise.diff()
    cause = "two noise levels have the same c_noise, or in the wrong order: use a monotone function of rho"
    if not ((steps > 0).all() or (steps < 0).all()):
        return Finding(False, "not monotone", "strictly monotone", cause)
    cause = "c_noise of a row depends on the times of other rows: compute it row by row"
    return at_most(float((c_noise - alone).abs().max()), 1e-6 * (1 + float(c_noise.abs().max())), cause, "difference ")


def linear(read: Read, sde: SDE) -> Finding:
    """Check that D is affine in x, and the loss quadratic in the output of the network, also for large numbers."""
    x0, eps, _, _ = _example(9, 2)
    for t in trial_times(sde):
        model, at = (
            read(Probe(torch.full((2, 4), 0.5, dtype=torch.float64)), sde, data_std=STD),
            f" at t = {float(t):.4g}",
        )
        zero, one, many = (model(c * x0, t) for c in (0.0, 1.0, 1000.0))
        error = float(((many - zero) / 1000 - (one - zero)).abs().max() / (1e-9 + one.abs().max()))
        if not error < 1e-6:
            return at_most(error, 1e-6, f"D is not linear in x{at}: do not clip it", "relative difference ")
        levels = (-1.0, 0.0, 1.0, 1000.0)
        losses = [
            read(Probe(torch.full((2, 4), level, dtype=torch.float64)), sde, data_std=STD).loss(x0, t, eps)
            for level in levels
        ]
        curvature, slope = (losses[0] + losses[2]) / 2 - losses[1], (losses[2] - losses[0]) / 2
        predicted = losses[1] + 1000 * slope + 1e6 * curvature
        if not (curvature > 0).all() or not curvature.isfinite().all():
            cause = f"the loss has no minimum{at}: its weight must be positive and finite at every noise level"
            return Finding(False, float(curvature.min()), "a positive weight", cause)
        error = float(((losses[3] - predicted) / predicted).abs().max())
        if not error < 1e-6:
            return at_most(error, 1e-6, f"the loss is not quadratic{at}: use the squared error", "relative difference ")
    return Finding(True, "both", "linear and quadratic")


def gradient(read: Read, sde: SDE) -> Finding:
    """Check that D is differentiable in x, and the loss in the weights, with the gradients of finite differences."""
    x0, eps, y, rho = _example(10, 3)
    t, h = _times(sde, rho), 1e-5
    x = sde.perturb(x0, t, eps)

    def value(shift: Tensor) -> Tensor:
        x0_hat: Tensor = read(Affine(torch.zeros(2, 4)), sde, data_std=STD)(x + shift * eps, t, y)
        return (x0_hat * x0).sum()

    def loss(shift: Tensor) -> Tensor:
        output = torch.zeros(2, 4, dtype=torch.float64) + shift
        return read(Affine(output), sde, data_std=STD).loss(x0, t, eps, y).sum()

    for name, function in (("D", value), ("the loss", loss)):
        zero = torch.zeros((), dtype=torch.float64, requires_grad=True)
        result = function(zero)
        slope = torch.autograd.grad(result, zero)[0] if result.requires_grad else torch.tensor(torch.nan)
        with torch.no_grad():
            expected = (function(zero + h) - function(zero - h)) / (2 * h)
        error = float((slope - expected).abs() / (1 + expected.abs()))
        if not error < 1e-4:
            cause = f"{name} has another gradient than finite differences, or none: remove detach() and no_grad()"
            return at_most(error, 1e-4, cause, "relative difference ")
    return Finding(True, "equal", "finite differences")


def repeatable(read: Read, sde: SDE) -> Finding:
    """Check that D and loss draw no random numbers, and change neither x, x_0 nor eps in place."""
    x0, eps, y, rho = _example(11)
    t, copies = _times(sde, rho), (x0.clone(), eps.clone())
    model = read(Affine(torch.zeros(2, 4)), sde, data_std=STD)
    with changed_globals() as changed:
        one, two = ((model(x0, t, y), model.loss(x0, t, eps, y)) for _ in range(2))
    if not torch.equal(x0, copies[0]) or not torch.equal(eps, copies[1]):
        return Finding(False, "changed", "unchanged", "x, x_0 or eps is changed in place: compute a new tensor")
    equal = all(torch.equal(a, b) for a, b in zip(one, two, strict=True)) and not changed
    cause = "D or loss draws random numbers or keeps a state: the caller draws t and eps"
    return Finding(equal, "equal" if equal else "different", "equal", cause)


def broadcast(read: Read, sde: SDE) -> Finding:
    """Check that D, score and loss of a batch with one time for each row equal the results for each row alone."""
    x, eps, y, rho = _example(4)
    t = _times(sde, rho)
    model = read(Affine(torch.linspace(-1, 1, 8, dtype=torch.float64).view(2, 4)), sde, data_std=STD)
    methods: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
        "D": lambda x, t, eps, y: model(x, t, y),
        "score": lambda x, t, eps, y: model.score(x, t, y),
        "loss": lambda x, t, eps, y: model.loss(x, t, eps, y),
    }
    for name, method in methods.items():
        whole = method(x, t, eps, y)
        rows = torch.cat([method(x[i : i + 1], u, eps[i : i + 1], y[i : i + 1]) for i, u in enumerate(t)])
        if whole.shape != rows.shape or whole.shape[0] != 5 or (name == "loss" and whole.ndim != 1):
            cause = f"{name} has another shape for t (B,): return one row for each row of x"
            return same(str(tuple(whole.shape)), str(tuple(rows.shape)), cause)
        error = float(((whole - rows).abs() / (1 + rows.abs())).max())
        if not error < 1e-9:
            cause = f"{name} broadcasts t along the wrong axis: use broadcast(t, x)"
            return at_most(error, 1e-9, cause, "relative error ")
    return Finding(True, "equal", "the result for each row alone")


def finite(read: Read, sde: SDE) -> Finding:
    """Check that D and loss are finite from t_min to t_max in float32, and that their dtype is float32."""
    x, eps = torch.randn(2, 2, 3, generator=torch.Generator().manual_seed(6))
    model = read(Probe(torch.full((3,), 0.5)), sde, data_std=STD)
    for t in trial_times(sde):
        for name, value in (("D", model(x, t)), ("loss", model.loss(x, t, eps).float())):
            if not value.isfinite().all() or value.dtype != torch.float32:
                measured = f"{name} {value.dtype}, {'finite' if value.isfinite().all() else 'not finite'}"
                cause = f"{name} is not finite or not float32 at t = {float(t):.4g}: do not divide by alpha or sigma"
                return Finding(False, measured, "finite, float32", cause)
    return Finding(True, "finite", "finite, float32")
