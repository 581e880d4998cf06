"""Measure how often the intervals of the metrics contain the expected value, for samples and data from Gaussians.

    python benchmarks/coverage.py                    # all metrics; writes results/coverage.md; 10 minutes
    python benchmarks/coverage.py energy mmd         # some metrics; prints only

Data are N(0, I), samples are N(shift, std^2 I) in two dimensions, in float64. The expected value of a metric at these
numbers of items is the mean over other repetitions; for energy, mmd and kernel it equals the value of the distributions
themselves, because they are unbiased. The paired difference is that of two models whose samples have common noise.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from sdekit.evaluation import Extractor
from sdekit.evaluation.metric_measurement import ItemSets, measure, measure_difference, resolve_metric

RESULTS = Path(__file__).parent / "results" / "coverage.md"
METRICS = ("energy", "mmd", "kernel", "sliced-w2", "frechet", "ks", "correlations", "precision", "recall", "density",
           "coverage", "classifier-test")  # fmt: skip
CASES = {"different": (0.5, 1.2, 0.6), "equal": (0.0, 1.0, 0.0)}
"""Shift, standard deviation and correlation of the samples."""
N = 100
"""Number of samples, and of data."""
REPETITIONS, EXPECTED = 200, 2000
SLOW = {"classifier-test": 600}
"""Metrics for which the expected value is the mean over fewer repetitions."""


def gaussian(n: int, seed: int, shift: float = 0.0, std: float = 1.0, correlation: float = 0.0) -> Tensor:
    """Draw n points of a Gaussian in two dimensions."""
    x = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    second = correlation * x[:, 0] + (1 - correlation**2) ** 0.5 * x[:, 1]
    return torch.stack([x[:, 0], second], 1) * std + shift


def coverage(name: str, case: str, n: int, m: int) -> tuple[float, float, float]:
    """Return the expected value, the share of intervals that contain it, and the mean length of the intervals."""
    metric = resolve_metric(name, {}, Extractor(name="raw", extract=lambda x: x))
    draw: Callable[[int], tuple[Tensor, Tensor]] = lambda i: (gaussian(n, 2 * i, *CASES[case]), gaussian(m, 2 * i + 1))  # noqa: E731
    others = range(REPETITIONS, REPETITIONS + SLOW.get(name, EXPECTED))
    expected = sum(metric(*draw(i)) for i in others) / len(others)
    rows = [measure(metric, ItemSets(x, y, y[:0], None), i) for i in range(REPETITIONS) for x, y in (draw(i),)]
    share = sum(row.low <= expected <= row.high for row in rows) / REPETITIONS
    return expected, share, sum(row.high - row.low for row in rows) / REPETITIONS


def coverage_of_differences(name: str, n: int, m: int) -> tuple[float, float, float]:
    """Return the same for the paired difference of two models with common noise."""
    metric = resolve_metric(name, {}, Extractor(name="raw", extract=lambda x: x))

    def draw(i: int) -> ItemSets:
        x = gaussian(n, 2 * i, *CASES["different"])
        return ItemSets(x, gaussian(m, 2 * i + 1), x[:0], x * 0.9 + 0.2)

    def difference(items: ItemSets) -> float:
        assert items.against is not None
        return metric(items.samples, items.reference) - metric(items.against, items.reference)

    others = range(REPETITIONS, REPETITIONS + SLOW.get(name, EXPECTED))
    expected = sum(difference(draw(i)) for i in others) / len(others)
    rows = [measure_difference(metric, draw(i), i) for i in range(REPETITIONS)]
    share = sum(row.low <= expected <= row.high for row in rows) / REPETITIONS
    return expected, share, sum(row.high - row.low for row in rows) / REPETITIONS


def main() -> None:
    """Measure all metrics, or those named on the command line."""
    torch.set_num_threads(1)
    lines = [
        "# Coverage of the intervals of metrics",
        "",
        f"Share of {REPETITIONS} repetitions in which the 95% interval of a metric contains its expected value.",
        f"{N} data are drawn from N(0, I) in two dimensions. {N} samples are shifted by 0.5, scaled by 1.2 and",
        "correlated by 0.6 (different), or have the distribution of the data (equal), or are compared with other",
        "samples of the same noise (paired). Written by `python benchmarks/coverage.py`.",
        "",
        "| metric | case | expected value | coverage | mean length |",
        "|---|---|---|---|---|",
    ]
    for name in sys.argv[1:] or METRICS:
        for case in (*CASES, "paired"):
            # correlations do not change with the scale
            if case == "paired" and name in ("classifier-test", "correlations"):
                continue
            result = coverage_of_differences(name, N, N) if case == "paired" else coverage(name, case, N, N)
            expected, share, length = result
            lines.append(f"| {name} | {case} | {expected:.4f} | {share:.1%} | {length:.4f} |")
            print(lines[-1], flush=True)
            if not sys.argv[1:]:
                RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
