"""Compare methods for inverse problems, of sdekit and of azula, with exact posteriors.

    python benchmarks/inverse.py                      # sdekit only
    python benchmarks/inverse.py --azula              # also azula 0.11.1, if it is installed
    python benchmarks/inverse.py --calls 64 --n 200 --problems 8-mask-0.05
    python benchmarks/inverse.py --azula --others 16 --calls 96 --out others.md   # random problems

The prior is a mixture of Gaussians, so the denoiser is exact and the posterior is a mixture too. Two numbers are
measured over n samples: the sliced Wasserstein-2 distance to exact samples of the posterior, and the weight error, half
the sum of |share of a component among the samples - its weight| (0 to 1). All methods use the same number of network
evaluations per sample; methods with particles therefore take fewer steps. Prints progress, and writes two tables to
--out.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from mixtures import digits
from torch import Tensor

from sdekit import EDM, VP, GaussianMixture
from sdekit.distributions import FullCovarianceMixture
from sdekit.inverse import Problem, build_restorer, restore
from sdekit.inverse.operators import Average, LinearOperator, Mask, Matrix
from sdekit.processes import as_time
from sdekit.registry import build

OUT = Path(__file__).parent / "results" / "inverse.md"
Draw = Callable[["Case", int, int], Tensor]
"""`draw(case, n, calls) -> (n, d)` samples."""


@dataclass(frozen=True)
class Case:
    """A measurement of one sample of a mixture."""

    name: str
    mixture: GaussianMixture
    operator: LinearOperator
    y: Tensor
    noise_std: float

    @property
    def posterior(self) -> FullCovarianceMixture:
        """Exact posterior."""
        return self.mixture.posterior(self.operator, self.y, self.noise_std)

    @property
    def problem(self) -> Problem:
        """The problem as sdekit's methods take it."""
        return Problem(self.operator, self.y, self.noise_std)


def crowd() -> GaussianMixture:
    """Return twelve diagonal Gaussians of unequal weights, d = 8."""
    g = torch.Generator().manual_seed(1)
    means = torch.randn(12, 8, generator=g, dtype=torch.float64)
    return GaussianMixture(
        means, 0.15 + 0.25 * torch.rand(12, 8, generator=g, dtype=torch.float64), torch.arange(12) % 3 + 1
    )


def cases() -> Iterator[Case]:
    """Yield problems in 8 and 64 dimensions with three operators, which observe few numbers, and two noise levels."""
    for mixture in (crowd(), digits()):
        d = mixture.means.shape[1]
        g = torch.Generator().manual_seed(2)
        m = max(2, d // 16)
        keep = torch.zeros(d, dtype=torch.float64)
        keep[torch.randperm(d, generator=g)[:m]] = 1
        operators = {
            "mask": Mask(keep),
            "average": Average((d,), d // m),
            "matrix": Matrix(torch.randn(m, d, generator=g, dtype=torch.float64) / math.sqrt(d)),
        }
        for name, operator in operators.items():
            for noise_std in (0.05, 0.3):
                g = torch.Generator().manual_seed(5)
                y = operator.apply(mixture.sample(1, 11))[0]
                y = operator.check(y + noise_std * torch.randn(y.shape, generator=g, dtype=torch.float64))
                yield Case(f"{d}-{name}-{noise_std}", mixture, operator, y, noise_std)


def others(count: int) -> Iterator[Case]:
    """Yield random problems in 2, 4, 16 and 32 dimensions, other than those of `cases`, to choose defaults on."""
    for i in range(count):
        g = torch.Generator().manual_seed(1000 + i)

        def between(low: float, high: float, g: torch.Generator = g) -> float:
            return low + (high - low) * float(torch.rand((), generator=g, dtype=torch.float64))

        d, k = (2, 4, 16, 32)[i % 4], int(between(3, 21))
        means = torch.randn(k, d, generator=g, dtype=torch.float64) * between(0.5, 1.2)
        stds = between(0.08, 0.3) + between(0.05, 0.3) * torch.rand(k, d, generator=g, dtype=torch.float64)
        mixture = GaussianMixture(means, stds, 0.3 + torch.rand(k, generator=g, dtype=torch.float64))
        m, kind = max(1, int(between(1, d / 3 + 1))), ("mask", "average", "matrix")[i // 4 % 3]
        if kind == "mask":
            keep = torch.zeros(d, dtype=torch.float64)
            keep[torch.randperm(d, generator=g)[:m]] = 1
            operator: LinearOperator = Mask(keep)
        elif kind == "average":
            operator = Average((d,), (2, 2, 4, 8)[i % 4])
        else:
            operator = Matrix(torch.randn(m, d, generator=g, dtype=torch.float64) / math.sqrt(d))
        noise_std = math.exp(between(math.log(0.03), math.log(0.5)))
        y = operator.apply(mixture.sample(1, 1000 + i))[0]
        y = operator.check(y + noise_std * torch.randn(y.shape, generator=g, dtype=torch.float64))
        yield Case(f"{d}-{kind}-{noise_std:.2f}-{i}", mixture, operator, y, noise_std)


def ours() -> dict[str, Draw]:
    """Return the methods of sdekit; guidances use the sampler `ddpm`, and defaults unless their name says otherwise."""

    def draw(method: str, options: dict[str, float], case: Case, n: int, calls: int) -> Tensor:
        sde = VP()
        restorer = build_restorer(method, case.problem, **options)
        sampler = {} if method == "tds" else {"sampler": "ddpm"}
        result = restore(
            sde, case.mixture.denoiser(sde), case.problem, restorer, n=n, nfe=calls, dtype=torch.float64, **sampler
        )
        assert result.nfe <= calls, (method, result.nfe)
        return result.x

    table: dict[str, tuple[str, dict[str, float]]] = {
        "dps": ("dps", {}),
        "pigdm": ("pigdm", {}),
        "tmpd": ("tmpd", {}),
        "mmps": ("mmps", {}),
        "mmps, mode_variance_fraction 0.1": ("mmps", {"mode_variance_fraction": 0.1}),
        "tds": ("tds", {}),
    }
    return {name: lambda c, n, calls, m=m, o=o: draw(m, o, c, n, calls) for name, (m, o) in table.items()}


def azula() -> dict[str, Draw]:
    """Return DPS, PiGDM, TMPD and MMPS of azula, on its VP schedule with its defaults."""
    import azula.denoise
    import azula.noise
    import azula.sample
    from azula.guidance.dps import DPSSampler
    from azula.guidance.mmps import MMPSDenoiser
    from azula.guidance.pgdm import PGDMSampler
    from azula.guidance.tmpd import TMPDenoiser

    level = EDM(sigma_min=1e-6, sigma_max=2e6)

    class Exact(azula.denoise.Denoiser):  # type: ignore[misc]
        """Exact denoiser with azula's interface."""

        def __init__(self, mixture: GaussianMixture) -> None:
            super().__init__()
            self.exact, self.schedule, self.calls = mixture.denoiser(level), azula.noise.VPSchedule(), 0

        def forward(self, x: Tensor, t: Tensor, **_: object) -> object:
            """Return the posterior mean of x at time t."""
            self.calls += 1
            alpha, sigma = self.schedule(t)
            return azula.denoise.DiracPosterior(self.exact(x / alpha, as_time(sigma / alpha)))

    def draw(method: str, case: Case, n: int, calls: int) -> Tensor:
        exact, y, apply, s = Exact(case.mixture), case.y, case.operator.apply, case.noise_std
        settings = {"steps": calls, "silent": True, "dtype": torch.float64}
        if method == "dps":
            # one norm per sample, as in the paper; azula takes the norm over the whole batch
            norms = lambda x: (y - apply(x)).square().sum(1).sqrt().sum()[None]  # noqa: E731
            sampler = DPSSampler(exact, torch.zeros(1, dtype=torch.float64), norms, **settings)
        elif method == "pigdm":
            inverse = torch.linalg.pinv(case.operator.matrix()).T
            sampler = PGDMSampler(exact, y, apply, lambda v: v @ inverse, **settings)
        elif method == "tmpd":
            sampler = azula.sample.DDIMSampler(TMPDenoiser(exact, y, apply, s**2), **settings)
        else:
            sampler = azula.sample.DDIMSampler(MMPSDenoiser(exact, y, apply, lambda v: s**2 * v), **settings)
        torch.manual_seed(0)
        x = sampler(torch.randn(n, case.mixture.means.shape[1], dtype=torch.float64))
        assert exact.calls == calls
        return x

    return {f"azula {m}": lambda c, n, calls, m=m: draw(m, c, n, calls) for m in ("dps", "pigdm", "tmpd", "mmps")}


def measure(case: Case, x: Tensor) -> tuple[float, float]:
    """Return the sliced W2 distance to 5,000 exact samples, and the weight error."""
    truth = case.posterior
    shares = truth.responsibilities(x).mean(0)
    distance = build("metric", "sliced-w2", projections=128, quantiles=400)(x, truth.sample(5000, 1))
    return distance, float((shares - truth.weights).abs().sum() / 2)


def main() -> None:
    """Run the chosen methods and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--azula", action="store_true", help="also run the methods of azula")
    parser.add_argument("--calls", type=int, default=256, help="number of network evaluations")
    parser.add_argument("--n", type=int, default=400, help="number of samples")
    parser.add_argument("--problems", nargs="+", default=[], help="names of the problems; all by default")
    parser.add_argument("--others", type=int, default=0, help="number of random problems to run instead")
    parser.add_argument("--methods", nargs="+", default=[], help="names of the methods to run; all by default")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    methods: dict[str, Draw] = ours() | (azula() if arguments.azula else {})
    methods = {name: draw for name, draw in methods.items() if not arguments.methods or name in arguments.methods}
    chosen = [
        case
        for case in (others(arguments.others) if arguments.others else cases())
        if not arguments.problems or case.name in arguments.problems
    ]
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in ("exact draws", *methods)}
    began = time.monotonic()
    for case in chosen:
        results["exact draws"].append(measure(case, case.posterior.sample(arguments.n, 77)))
        for name, draw in methods.items():
            results[name].append(measure(case, draw(case, arguments.n, arguments.calls)))
            print(f"{case.name} {name}: {results[name][-1][0]:.3f} {results[name][-1][1]:.3f}", flush=True)
        write(arguments.out, chosen, results, arguments.n, arguments.calls, time.monotonic() - began)


def write(
    out: Path, chosen: list[Case], results: dict[str, list[tuple[float, float]]], n: int, calls: int, seconds: float
) -> None:
    """Write two tables, of the distances and of the weight errors, with their means over the finished problems."""
    done = len(results["exact draws"])
    beside = f", azula {version('azula')} in the same process" if "azula" in " ".join(results) else ""
    text = ["# Inverse problems against exact posteriors", "", "See `benchmarks/inverse.py`.", ""]
    text += [
        f"{n} samples, {calls} network evaluations each{beside}; {seconds:.0f} s.",
        "`exact draws` is the floor: the distance of as many exact samples.",
        "",
    ]
    for i, title in enumerate(("Sliced W2", "Weight error")):
        text += [f"## {title}", "", "| | " + " | ".join(c.name for c in chosen[:done]) + " | mean |"]
        text += ["|---|" + "---|" * (done + 1)]
        for name, rows in results.items():
            if len(rows) == done:
                values = [row[i] for row in rows]
                text.append(f"| {name} | " + " | ".join(f"{v:.3f}" for v in [*values, sum(values) / done]) + " |")
        text.append("")
    out.parent.mkdir(exist_ok=True)
    out.write_text("\n".join(text))


if __name__ == "__main__":
    main()
