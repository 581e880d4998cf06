"""Measure `auto` on families of data on which samplers differ, against the configurations that other libraries use.

    python benchmarks/families.py                       # all families, and twelve configurations of other libraries
    python benchmarks/families.py --peers               # twelve configurations of the libraries themselves
    python benchmarks/families.py --set validation --nfe 10 20 30 --statistic median trimmed

The families are smooth mixtures in 1 to 768 dimensions, isolated points, data near a subspace, heavy tails, axes of
different scales, data of another scale than 1, clusters of clusters, and a small ReLU network that is trained here. All
but the network have exact denoisers. The constants of `auto` were chosen on the set "tuning"; the set "validation" has
other problems of the same kinds, which were only measured. `--runs` adds the networks of run folders.

A number is the error of `auto` divided by the smallest error of the peers, from the same starting points and with the
same number of network evaluations: root mean square, median or trimmed mean over starting points. The rows at the end
are the geometric mean and the largest ratio over problems, and the largest ratio to the best other sampler of sdekit.
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import get_args

import torch
from mixtures import FAR, Flow, Problem, digits, oblong, ring
from peers import peers
from solvers import FAILED, Row, best, ours, select, suited, theirs
from torch import Tensor, nn
from trained import Trained

from sdekit import EDM, VP, GaussianMixture, RectifiedFlow, ScoreModel, SeedNoise, registry, sample
from sdekit.errors import SdekitError
from sdekit.evaluation import Statistic, exact_solution
from sdekit.processes import SDE, Denoiser, as_time

CONFIGURATIONS = (
    *(("dpmpp-2m", "karras"), ("dpmpp-2m", "log-snr"), ("dpmpp-3m", "log-snr"), ("dpmpp-2s", "log-snr")),
    *(("unipc", "karras"), ("unipc", "log-snr"), ("heun", "karras"), ("dpm-2", "karras"), ("deis", "karras")),
    *(("ipndm", "karras"), ("lms", "karras"), ("exp-rk3", "log-snr")),
)
"""Samplers and grids of k-diffusion, diffusers, EDM and DPM-Solver; tests compare them with the originals."""
LIBRARIES = (
    *(f"diffusers {name}" for name in ("DPM++2M karras", "DPM++2M lu", "DPM++3M lu", "UniPC2 karras", "UniPC3")),
    *("diffusers UniPC3 karras", "diffusers DEIS3 karras", "k-diffusion heun", "k-diffusion lms"),
    *("azula vAB2 [VE]", "azula vAB3 [VE]", "azula xEAB3 [VE]"),
)
"""Peers of --peers: of those of peers.py, the ones that are best on some problem."""


def normal(seed: int, *shape: int) -> Tensor:
    """Return standard normal numbers, float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def clusters(seed: int, k: int, d: int, std: float) -> GaussianMixture:
    """Return k Gaussians of one standard deviation around normal points in d dimensions."""
    return GaussianMixture(normal(seed, k, d), std)


def flat(seed: int, inner: int, d: int, std: float, k: int = 5) -> GaussianMixture:
    """Return k Gaussians near a subspace: wide in `inner` of d dimensions, and of standard deviation std across."""
    means, stds = torch.zeros(k, d, dtype=torch.float64), torch.full((k, d), std, dtype=torch.float64)
    means[:, :inner] = normal(seed, k, inner)
    stds[:, :inner] = 0.4
    return GaussianMixture(means, stds)


def heavy(seed: int, d: int, scales: tuple[float, ...]) -> GaussianMixture:
    """Return a mixture of scales with one centre, of unit variance in all."""
    stds = torch.tensor(scales, dtype=torch.float64)
    weights = 1 / stds
    weights /= weights.sum()
    stds /= (weights * stds**2).sum().sqrt()
    return GaussianMixture(0.05 * normal(seed, len(scales), d), stds, weights)


def anisotropic(seed: int, d: int, least: float, k: int = 4) -> GaussianMixture:
    """Return k Gaussians whose standard deviations run from `least` to 1 over the axes."""
    stds = torch.logspace(math.log10(least), 0, d, dtype=torch.float64)
    return GaussianMixture(normal(seed, k, d) * stds, stds.expand(k, d) / 2)


def nested(seed: int, d: int, ratio: float, levels: int = 3, branch: int = 3) -> GaussianMixture:
    """Return clusters of clusters: each level divides a cluster into `branch` parts, smaller by `ratio`."""
    means, size = torch.zeros(1, d, dtype=torch.float64), 1.0
    for level in range(levels):
        offsets = size * normal(seed + level, len(means), branch, d)
        means, size = (means[:, None] + offsets).flatten(0, 1), size * ratio
    return GaussianMixture(means, size)


def scaled(mixture: GaussianMixture, factor: float) -> GaussianMixture:
    """Return the mixture times a factor."""
    return GaussianMixture(mixture.means * factor, mixture.variances.sqrt() * factor, mixture.log_weights.exp())


def wide(seed: int, k: int, d: int, std: float) -> GaussianMixture:
    """Return k Gaussians with means of standard deviation 0.9 and a common standard deviation."""
    return GaussianMixture(0.9 * normal(seed, k, d), std)


class ReLU(nn.Module):
    """Perceptron with three hidden layers, whose output has kinks in x and in the noise level."""

    def __init__(self, width: int = 96) -> None:
        super().__init__()
        sizes = (3, width, width, width)
        hidden = [layer for a, b in zip(sizes, sizes[1:], strict=False) for layer in (nn.Linear(a, b), nn.ReLU())]
        self.layers = nn.Sequential(*hidden, nn.Linear(width, 2))

    def forward(self, x: Tensor, c_noise: Tensor, y: None = None) -> Tensor:
        """Map x (B, 2) and c_noise (B,) to (B, 2)."""
        result: Tensor = self.layers(torch.cat([x, c_noise[:, None].to(x)], 1))
        return result


def train_relu(seed: int, steps: int = 2500) -> ScoreModel:
    """Train a small ReLU network on rings in the plane."""
    torch.manual_seed(seed)
    data = registry.build("dataset", "rings", n=4000, seed=0)
    items = data.batch(range(len(data))).x
    model = ScoreModel(ReLU(), VP(), "edm")
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0.01, steps)
    for _ in range(steps):
        x = items[torch.randint(len(items), (256,))]
        rho = (1.4 * torch.randn(256, dtype=torch.float64) - 1).exp()
        loss = model.loss(x, VP().time(rho).clamp(VP().t_min, VP().t_max), torch.randn_like(x)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.double().eval()


@dataclass(frozen=True)
class Network(Flow):
    """The flow of a `ScoreModel` for vectors; the reference is `ode`."""

    name: str
    model: ScoreModel
    starts: int
    shape: tuple[int, ...] = (2,)

    @property
    def sde(self) -> SDE:
        """Process of the model."""
        return self.model.sde

    @property
    def options(self) -> dict[str, float]:
        """Options of `auto`: its defaults."""
        return {}

    @property
    def denoiser(self) -> Denoiser:
        """Denoiser of the model."""
        return self.model

    @cached_property
    def x(self) -> Tensor:
        """Starting points at t_max, from the prior."""
        return self.sde.prior(SeedNoise(range(self.starts), self.shape, dtype=torch.float64)())

    @cached_property
    def x_bar(self) -> Tensor:
        """Starting points as x / alpha."""
        return self.x / float(self.sde.alpha(as_time(self.sde.t_max)))

    @torch.no_grad()
    def denoise(self, x_bar: Tensor, rho: float) -> Tensor:
        """Denoise x / alpha = x_bar at the noise level rho, clamped to the times of the process."""
        t = self.sde.time(as_time(rho)).clamp(self.sde.t_min, self.sde.t_max)
        return self.model(x_bar * float(self.sde.alpha(t)), t)

    @cached_property
    def exact(self) -> Tensor:
        """x_0 at the end of the network's own flow."""
        return torch.cat([exact_solution(self.sde, self.model, part, tolerance=1e-7) for part in self.x.split(64)])


def tuning(n: int) -> list[Problem | Network]:
    """Return the problems on which the constants of `auto` were chosen, and the ReLU network."""
    three = GaussianMixture(torch.tensor([[-1.2], [0.1], [1.3]]), torch.tensor([0.3, 0.15, 0.4]))
    return [
        Problem("smooth, ring, d = 2", ring(), VP(), n),
        Problem("smooth, d = 1", three, VP(), n),
        Problem("smooth, digits, d = 64", digits(), VP(), n),
        Problem("smooth, d = 768", wide(5, 8, 768, 0.4), VP(), n),
        Problem("smooth, ring on EDM", ring(), EDM(), n),
        Problem("20 points of std 0.01, d = 64", clusters(1, 20, 64, 0.01), VP(), n),
        Problem("100 points of std 0.03, d = 16", clusters(2, 100, 16, 0.03), VP(), n),
        Problem("6 points of std 0.01, d = 2", clusters(3, 6, 2, 0.01), VP(), n),
        Problem("30 points of std 0.003, d = 256", clusters(4, 30, 256, 0.003), VP(), n),
        Problem("near 8 of 32 axes, std 0.01", flat(1, 8, 32, 0.01), VP(), n),
        Problem("near 2 of 16 axes, std 0.003", flat(2, 2, 16, 0.003), VP(), n),
        Problem("near 1 of 2 axes, std 0.05", flat(3, 1, 2, 0.05, 3), VP(), n),
        Problem("heavy tails, d = 2", heavy(1, 2, (0.1, 0.3, 1, 3, 10)), VP(), n),
        Problem("heavy tails, d = 16", heavy(2, 16, (0.2, 0.5, 1, 2, 5)), VP(), n),
        Problem("axes of std 0.01 to 1, d = 16", anisotropic(1, 16, 0.01), VP(), n),
        Problem("axes of std 0.06 to 0.6, d = 16", oblong(), VP(), n),
        Problem("ring times 8", scaled(ring(), 8), VP(), n),
        Problem("ring times 0.1", scaled(ring(), 0.1), VP(), n),
        Problem("20 points times 8, d = 64", scaled(clusters(1, 20, 64, 0.05), 8), VP(), n),
        Problem("nested clusters, d = 2", nested(1, 2, 0.12), VP(), n),
        Problem("nested clusters, d = 8", nested(5, 8, 0.15), VP(), n),
        Network("ReLU network, rings, d = 2", train_relu(0), n),
    ]


def validation(n: int) -> list[Problem | Network]:
    """Return other problems of the same kinds, on which nothing was chosen."""
    return [
        Problem("smooth, d = 4", wide(11, 5, 4, 0.3), VP(), n),
        Problem("smooth, d = 256", wide(12, 20, 256, 0.2), VP(), n),
        Problem("smooth, digits on rectified flow", digits(), RectifiedFlow(), n),
        Problem("10 points of std 0.02, d = 10", clusters(13, 10, 10, 0.02), VP(), n),
        Problem("40 points of std 0.05, d = 3", clusters(14, 40, 3, 0.05), VP(), n),
        Problem("200 points of std 0.1, d = 64", clusters(15, 200, 64, 0.1), VP(), n),
        Problem("8 points of std 0.005 on EDM, d = 30", clusters(16, 8, 30, 0.005), EDM(), n),
        Problem("near 3 of 10 axes, std 0.02", flat(13, 3, 10, 0.02), VP(), n),
        Problem("near 4 of 64 axes, std 0.005", flat(14, 4, 64, 0.005), VP(), n),
        Problem("near 1 of 3 axes, std 0.001", flat(15, 1, 3, 0.001), VP(), n),
        Problem("heavy tails, d = 1", heavy(11, 1, (0.03, 0.1, 0.5, 2, 8)), VP(), n),
        Problem("heavy tails, d = 64", heavy(12, 64, (0.3, 1, 3)), VP(), n),
        Problem("axes of std 0.03 to 1, d = 8", anisotropic(11, 8, 0.03), VP(), n),
        Problem("axes of std 0.002 to 1, d = 40", anisotropic(12, 40, 0.002), VP(), n),
        Problem("digits times 3", scaled(digits(), 3), VP(), n),
        Problem("10 points times 0.3, d = 10", scaled(clusters(13, 10, 10, 0.1), 0.3), VP(), n),
        Problem("nested clusters, d = 3", nested(11, 3, 0.2, 3, 2), VP(), n),
        Problem("nested clusters, d = 32", nested(12, 32, 0.1, 2, 5), VP(), n),
    ]


def run(problem: Problem | Network | Trained, sampler: str, grid: str | None, calls: list[int]) -> Row:
    """Return the errors of a sampler; without a grid, of a sampler that is built for the data of the denoiser."""
    row: Row = []
    for nfe in calls:
        try:
            drawn = sample(
                *(problem.sde, problem.denoiser, sampler),
                shape=problem.shape, x=problem.x, nfe=nfe, grid=grid, dtype=torch.float64,
            )  # fmt: skip
            row.append(problem.error(drawn.x))
        except SdekitError:
            row.append(FAILED)
    return row


def measure(
    problem: Problem | Network | Trained, calls: list[int], libraries: bool
) -> tuple[Row, dict[str, Row], dict[str, Row]]:
    """Return the errors of `auto`, of the peers, and of all other samplers of sdekit."""
    if libraries and problem.top < FAR:
        solvers, _ = peers()
        rivals = theirs(problem, calls, suited({name: solvers[name] for name in LIBRARIES if name in solvers}, problem))
    else:
        rivals = {f"{sampler} {grid}": run(problem, sampler, grid, calls) for sampler, grid in CONFIGURATIONS}
    others = ours(problem, calls, [])
    others.pop("auto")
    return run(problem, "auto", None, calls), rivals, others


def summary(rows: Sequence[tuple[str, list[float]]], worst_of_own: list[float], calls: list[int]) -> list[str]:
    """Return a Markdown table of the ratios, with the geometric mean and the largest."""

    def line(name: str, row: Sequence[float]) -> str:
        return f"| {name} | " + " | ".join(f"{v:.2f}" for v in row) + " |"

    columns = list(zip(*(row for _, row in rows), strict=True))
    return [
        "| | " + " | ".join(map(str, calls)) + " |",
        "|---|" + "---|" * len(calls),
        *(line(name, row) for name, row in rows),
        line("**geometric mean**", [math.exp(sum(map(math.log, column)) / len(column)) for column in columns]),
        line("**largest**", [max(column) for column in columns]),
        line("**largest, to the best other sampler of sdekit**", worst_of_own),
    ]


def main() -> None:
    """Measure the chosen families and print a table for each statistic."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", choices=["tuning", "validation"], nargs="+", default=["tuning", "validation"])
    parser.add_argument("--peers", action="store_true", help="compare with other libraries that are installed")
    parser.add_argument("--runs", nargs="*", type=Path, default=[], help="run folders of unconditional models")
    parser.add_argument("--nfe", nargs="+", type=int, default=[5, 6, 8, 10, 15, 20, 30, 50, 100])
    parser.add_argument("--statistic", nargs="+", choices=get_args(Statistic), default=list(get_args(Statistic)))
    parser.add_argument("--starts", type=int, default=200, help="number of starting points")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    cases: dict[str, Sequence[Problem | Network | Trained]] = {
        name: {"tuning": tuning, "validation": validation}[name](arguments.starts) for name in arguments.set
    }
    if arguments.runs:
        cases["run folders"] = [Trained(path, arguments.starts) for path in arguments.runs]
    for name, problems in cases.items():
        results = [(problem.name, *measure(problem, arguments.nfe, arguments.peers)) for problem in problems]
        for statistic in arguments.statistic:
            rows, own = [], []
            for title, auto, rivals, others in results:
                errors = select({"auto": auto}, statistic)["auto"]
                rows.append((title, [a / b for a, b in zip(errors, best(select(rivals, statistic)), strict=True)]))
                own.append([a / b for a, b in zip(errors, best(select(others, statistic)), strict=True)])
            largest = [max(column) for column in zip(*own, strict=True)]
            lines = summary(rows, largest, arguments.nfe)
            print("\n".join(["", f"## {name}: {statistic} of {arguments.starts} starts", "", *lines]), flush=True)


if __name__ == "__main__":
    main()
