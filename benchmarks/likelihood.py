"""Likelihoods by sdekit and by the methods of score_sde and k-diffusion: time, error, variance, and solvers.

    python benchmarks/likelihood.py

1. A mixture with d = 2 and 256 points: wall time and error of log p, with each package's defaults and with the exact
   trace in place of their one probe.
2. A small network trained on digits, d = 64: variance of log p by random probes times the wall time, because the
   variance at equal wall time is proportional to this product.
3. Mixtures with d = 2 to 256 in float64: the fewest network evaluations with which each solver reaches the target.

score_sde's method (Song et al. 2021, `likelihood.get_likelihood_fn`) is scipy's RK45 over the whole batch with
rtol = atol = 1e-5, from t = 1e-5 on, and one Rademacher probe. k-diffusion's `log_likelihood` is dopri5 of torchdiffeq
over the whole batch with rtol = atol = 1e-4 from sigma_min to sigma_max. Both are written again below from these
descriptions; k-diffusion's own function is measured too if it can be imported. The methods take turns, so that other
load of the machine affects all of them alike, and the least time of each counts. The script prints the tables and
writes them to --out.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mixtures import oblong, ring
from peers import importable
from scipy.integrate import solve_ivp
from torch import Tensor
from torchdiffeq import odeint

from sdekit import EDM, VP, GaussianMixture, ScoreModel
from sdekit.errors import SdekitError
from sdekit.likelihood import FlowSolver, Hutchinson, Trace, log_likelihood
from sdekit.processes import SDE, Denoiser
from sdekit.registry import build

OUT = Path(__file__).parent / "results" / "likelihood.md"
LogDensity = Callable[[Tensor], tuple[Tensor, int]]
"""`log_density(x) -> (log p, number of network evaluations)`."""

TARGETS = {2: 1e-5, 16: 1e-4, 64: 1e-4, 256: 1e-4}
"""Largest mean error of log p in nats that the default solver may have, by dimension, in float64."""


def divergence(z: Tensor, value: Tensor, probe: Tensor | None) -> Tensor:
    """Return the divergence of a field at z (B, d): its estimate with one probe, or exactly for None."""
    if probe is not None:
        (gradient,) = torch.autograd.grad((value * probe).sum(), z)
        return (gradient * probe).sum(1)
    columns = range(z.shape[1])
    rows = [torch.autograd.grad(value[:, i].sum(), z, retain_graph=i + 1 < z.shape[1])[0][:, i] for i in columns]
    return torch.stack(rows).sum(0)


def score_sde(sde: VP, denoise: Denoiser, *, exact: bool = False) -> LogDensity:
    """Return score_sde's method: the flow in t by RK45 over the flattened batch."""

    def log_density(x: Tensor) -> tuple[Tensor, int]:
        n, d = x.shape
        probe = None if exact else (torch.randint_like(x, 2) * 2 - 1)

        def slope(t: float, state: np.ndarray) -> np.ndarray:
            z = torch.from_numpy(state[: n * d]).view(n, d).to(x.dtype).requires_grad_()
            at = torch.full((n,), t, dtype=torch.float64)
            beta = (sde.beta_min + at * (sde.beta_max - sde.beta_min)).to(x)[:, None]
            value = -0.5 * beta * (z + sde.score(z, denoise(z, at), at))
            change = divergence(z, value, probe)
            return np.concatenate([value.detach().double().numpy().ravel(), change.double().numpy()])

        start = np.concatenate([x.double().numpy().ravel(), np.zeros(n)])
        path = solve_ivp(slope, (1e-5, sde.t_max), start, rtol=1e-5, atol=1e-5, method="RK45")
        z, change = (torch.from_numpy(part.copy()) for part in np.split(path.y[:, -1], [n * d]))
        prior = -0.5 * z.view(n, d).square().sum(1) - 0.5 * d * math.log(2 * math.pi)
        return prior + change, int(path.nfev)

    return log_density


def k_diffusion(mixture: GaussianMixture, *, exact: bool = False) -> LogDensity:
    """Return k-diffusion's method: the flow in sigma by dopri5 of torchdiffeq over the batch."""
    low, high = 1e-2, 80.0
    denoise = mixture.denoiser(EDM(sigma_min=low, sigma_max=high))

    def log_density(x: Tensor) -> tuple[Tensor, int]:
        probe, calls = None if exact else torch.randint_like(x, 2) * 2 - 1, 0

        def slope(sigma: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            nonlocal calls
            calls += 1
            with torch.enable_grad():
                z = state[0].detach().requires_grad_()
                value = (z - denoise(z, sigma * z.new_ones(len(z)))) / sigma
                change = divergence(z, value, probe)
            return value.detach(), change

        ends = x.new_tensor([low, high])
        z, change = odeint(slope, (x, x.new_zeros(len(x))), ends, rtol=1e-4, atol=1e-4, method="dopri5")
        prior = torch.distributions.Normal(0.0, high).log_prob(z[-1]).sum(1)
        return prior + change[-1], calls

    return log_density


def own_k_diffusion(mixture: GaussianMixture) -> LogDensity | None:
    """Return the function of k-diffusion itself, or None if it cannot be imported."""
    importable()
    try:
        from k_diffusion.sampling import log_likelihood as theirs
    except ImportError:
        return None
    denoise = mixture.denoiser(EDM(sigma_min=1e-2, sigma_max=80.0))

    def log_density(x: Tensor) -> tuple[Tensor, int]:
        value, info = theirs(denoise, x, 1e-2, 80.0)
        return value, int(info["fevals"])

    return log_density


def ours(sde: SDE, denoise: Denoiser, **options: Any) -> LogDensity:
    """Return sdekit's method."""

    def log_density(x: Tensor) -> tuple[Tensor, int]:
        result = log_likelihood(sde, denoise, x, **options)
        return result.log_prob, result.evaluations

    return log_density


def least_times(methods: dict[str, LogDensity], x: Tensor, rounds: int) -> dict[str, tuple[float, Tensor, int]]:
    """Return the least seconds of each method over several rounds, with its last result and evaluations."""
    found: dict[str, tuple[float, Tensor, int]] = {}
    for _ in range(rounds):
        for name, method in methods.items():
            began = time.perf_counter()
            value, calls = method(x)
            seconds = time.perf_counter() - began
            found[name] = (min(seconds, found[name][0] if name in found else math.inf), value, calls)
    return found


def in_two_dimensions(rounds: int) -> list[str]:
    """Return table 1."""
    mixture, sde = ring(), VP()
    denoise, x = mixture.denoiser(sde), mixture.sample(256, seed=3)
    methods = {
        "sdekit, default": ours(sde, denoise),
        "score_sde's method": score_sde(sde, denoise),
        "score_sde's method, exact trace": score_sde(sde, denoise, exact=True),
        "k-diffusion's method": k_diffusion(mixture),
        "k-diffusion's method, exact trace": k_diffusion(mixture, exact=True),
    }
    if (theirs := own_k_diffusion(mixture)) is not None:
        methods["k-diffusion"] = theirs
    found, exact = least_times(methods, x, rounds), mixture.log_prob(x)
    reference = found["score_sde's method"][0]
    rows = [
        f"| {name} | {seconds * 1e3:.0f} | {seconds / reference:.2f} | {calls} | "
        f"{float((value - exact).abs().mean()):.1e} | {float((value - exact).abs().max()):.1e} |"
        for name, (seconds, value, calls) in found.items()
    ]
    head = ["| d = 2, 256 points | ms | time / score_sde | network evaluations | mean error (nats) | largest error |"]
    return [*head, "|---|---|---|---|---|---|", *rows]


def small_network(steps: int = 300) -> tuple[VP, ScoreModel, Tensor]:
    """Return a small network trained on digits, and 32 digits, d = 64."""
    from sklearn.datasets import load_digits

    data = torch.tensor(load_digits().data, dtype=torch.float32) / 8 - 1
    torch.manual_seed(0)
    sde = VP()
    model = ScoreModel(build("network", "mlp", (64,), width=128, depth=2), sde)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(steps):
        x0 = data[torch.randint(len(data), (256,))]
        t = torch.rand(256, dtype=torch.float64) * (1 - 1e-3) + 1e-3
        optimizer.zero_grad()
        model.loss(x0, t, torch.randn_like(x0)).mean().backward()
        optimizer.step()
    return sde, model.eval().requires_grad_(False), data[-32:]


def with_a_network(repetitions: int) -> list[str]:
    """Return table 2."""
    sde, model, x = small_network()
    values: dict[str, list[Tensor]] = {"sdekit, default": [], "sdekit, 32 probes": [], "score_sde's method": []}
    seconds = dict.fromkeys(values, math.inf)
    for repetition in range(repetitions):
        seeds = range(32 * repetition, 32 * repetition + 32)
        for name, method in {
            "sdekit, default": ours(sde, model, seeds=seeds),
            "sdekit, 32 probes": ours(sde, model, seeds=seeds, trace=Hutchinson(probes=32, kind="hadamard")),
            "score_sde's method": score_sde(sde, model),
        }.items():
            began = time.perf_counter()
            values[name].append(method(x)[0].double())
            seconds[name] = min(seconds[name], time.perf_counter() - began)
    variance = {name: float(torch.stack(each).var(0).mean()) for name, each in values.items()}
    product = {name: variance[name] * seconds[name] for name in values}
    reference = product["score_sde's method"]
    rows = [
        f"| {name} | {seconds[name] * 1e3:.0f} | {variance[name]:.3g} | {product[name] / reference:.3f} |"
        for name in values
    ]
    head = ["| d = 64, network, 32 digits | ms | variance (nats^2) | variance at equal time / score_sde |"]
    return [*head, "|---|---|---|---|", *rows]


class ClosedFormTrace(Trace):
    """Trace of the Jacobian of a mixture's denoiser, alpha / sigma^2 tr Cov[x_0 | x_t], without derivatives."""

    columns = 1

    def __init__(self, mixture: GaussianMixture, sde: SDE) -> None:
        self.mixture, self.sde, self.last = mixture, sde, torch.empty(0)

    def denoise(self, x: Tensor, t: Tensor, y: None = None) -> Tensor:
        """Return E[x_0 | x_t = x], and store the trace."""
        alpha, sigma = (scale.view(-1, 1, 1) for scale in (self.sde.alpha(t), self.sde.sigma(t)))
        means, variances = self.mixture.means, self.mixture.variances
        difference, total = x[:, None] - alpha * means, alpha**2 * variances + sigma**2
        weights = (self.mixture.log_weights - 0.5 * (difference**2 / total + total.log()).sum(2)).softmax(1)[:, :, None]
        each = means + alpha * variances / total * difference  # (B, K, d)
        x0 = (weights * each).sum(1)
        covariance = (weights * (variances * sigma**2 / total + (each - x0[:, None]) ** 2)).sum((1, 2))
        self.last = alpha.flatten() / sigma.flatten() ** 2 * covariance
        return x0

    def draw(self, seeds: Sequence[int], d: int) -> Tensor:
        """Return no probes."""
        return torch.empty(len(seeds), 0, d)

    def estimate(self, product: Any, probes: Tensor) -> Tensor:
        """Return the trace at the last state."""
        return self.last[:, None]

    def standard_error(self, estimates: Tensor, d: int) -> Tensor:
        """Return zeros, because the trace is exact."""
        return torch.zeros(len(estimates))

    def evaluate(self, function: Callable[[Tensor], Tensor], x: Tensor, probes: Tensor) -> tuple[Tensor, Tensor]:
        """Return the denoised states and their traces."""
        return function(x), self.last[:, None]


def mixture_in(d: int) -> GaussianMixture:
    """Return a mixture in d dimensions."""
    if d in (2, 16):
        return ring() if d == 2 else oblong()
    means = torch.randn(5, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return GaussianMixture(means, torch.tensor([0.3, 0.1, 0.2, 0.4, 0.25]), torch.tensor([1.0, 2, 3, 1, 2]))


def candidates() -> dict[str, list[FlowSolver]]:
    """Return the settings of each solver, from cheap to expensive."""
    tolerances, steps = (1e-4, 3e-5, 1e-5, 3e-6, 1e-6, 3e-7, 1e-7), (50, 75, 100, 150, 200, 300)
    table = {name: [FlowSolver(method=name, tolerance=t) for t in tolerances] for name in ("dopri5", "bosh3")}
    for method in ("dopri8", "dopri5", "adaptive_heun", "scipy_solver"):
        samplers = (build("sampler", "ode", method=method, error_norm="batch", rtol=t, atol=t) for t in tolerances)
        table[f"ode {method}, batch"] = [FlowSolver(method=sampler) for sampler in samplers]
    for method in ("rk4", "midpoint", "explicit_adams"):
        table[f"ode {method}"] = [FlowSolver(method=build("sampler", "ode", method=method), steps=n) for n in steps]
    for name in ("exp-rk3", "heun", "dpmpp-3m", "dpmpp-2m", "unipc", "deis", "ipndm", "lms", "dpm-2", "ddim", "auto"):
        table[name] = [FlowSolver(method=name, steps=n) for n in steps]
    return table


def by_solver(most: int) -> list[str]:
    """Return table 3: for each solver and dimension, the fewest evaluations that reach the target."""
    cells: dict[str, list[str]] = {}
    for d, target in TARGETS.items():
        mixture, sde = mixture_in(d), VP()
        x = mixture.sample(16, seed=3)
        exact = mixture.log_prob(x)
        for name, settings in candidates().items():
            cell = "not reached"
            for solver in settings:
                trace = ClosedFormTrace(mixture, sde)
                try:
                    result = log_likelihood(sde, trace.denoise, x, trace=trace, solver=solver)
                except SdekitError:
                    cell = "does not run from data to noise"
                    continue
                error = float((result.log_prob - exact).abs().mean())
                if error <= target:
                    cell = f"{result.evaluations} ({error:.0e})"
                    break
                cell = f"not by {result.evaluations} ({error:.0e})"
                if result.evaluations > most:
                    break
            cells.setdefault(name, []).append(cell)
    head = "| evaluations (mean error in nats) | " + " | ".join(f"d = {d}, {t:g}" for d, t in TARGETS.items()) + " |"
    rows = [f"| {name} | " + " | ".join(row) + " |" for name, row in cells.items()]
    return [head, "|---|" + "---|" * len(TARGETS), *rows]


def main() -> None:
    """Parse the arguments, measure, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8, help="rounds of the first table")
    parser.add_argument("--repetitions", type=int, default=24, help="repetitions of the second table")
    parser.add_argument("--most", type=int, default=300, help="evaluations after which a solver is given up")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    text = ["# Likelihoods", "", "`benchmarks/likelihood.py` documents the measurements."]
    for table, number in (
        (in_two_dimensions, arguments.rounds),
        (with_a_network, arguments.repetitions),
        (by_solver, arguments.most),
    ):
        lines = ["", *table(number)]
        print("\n".join(lines), flush=True)
        text += lines
    arguments.out.parent.mkdir(exist_ok=True)
    arguments.out.write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
