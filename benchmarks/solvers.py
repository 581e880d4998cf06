"""Measure the error of deterministic samplers, of sdekit and of other libraries, against network evaluations.

    python benchmarks/solvers.py                        # all problems of mixtures.py, each sampler on its default grid
    python benchmarks/solvers.py --peers                # also diffusers, k-diffusion, azula and smalldiffusion
    python benchmarks/solvers.py --problems ring digits --nfe 5 10 20 --starts 500
    python benchmarks/solvers.py --peers --problems --runs runs/moons --starts 500      # the flow of a trained network

All samplers start from the same x and use the same exact denoiser, with at most the given number of evaluations, which
is checked. The error of a start is the root mean square over coordinates of the difference from the flow solved to
1e-10 (that of a trained network by `ode` to 3e-8). --statistic averages it over starts: root mean square, median, or
mean without the lowest and highest tenth (trimmed). Peers run on VP, and all but diffusers on EDM. Prints one table per
problem. results/solvers.md contains some of its rows.
"""

from __future__ import annotations

import argparse
import math
import warnings
from pathlib import Path
from typing import get_args

import torch
from mixtures import FAR, Problem, problems
from peers import Solve, peers
from torch import Tensor
from trained import Trained

from sdekit import VP, registry, sample
from sdekit.errors import SdekitError
from sdekit.evaluation import Statistic

Averages = dict[Statistic, float]
"""Error by statistic."""
Row = list[Averages]
"""Error at each number of evaluations; nan if the method failed or cannot use so few."""
FAILED: Averages = dict.fromkeys(get_args(Statistic), math.nan)


def ours(problem: Problem | Trained, calls: list[int], only: list[str]) -> dict[str, Row]:
    """Return the errors of every installed deterministic sampler with a fixed number of evaluations per step."""
    denoise, shape = problem.denoiser, problem.shape
    rows: dict[str, Row] = {}
    for name in only or registry.component_names("sampler"):
        sampler = registry.build("sampler", name, **(problem.options if name == "auto" else {}))
        if sampler.stochastic or sampler.calls_per_step is None:
            continue
        rows[name] = []
        for n in calls:
            try:
                drawn = sample(problem.sde, denoise, sampler, shape=shape, x=problem.x, nfe=n, dtype=torch.float64)
            except SdekitError:
                rows[name].append(FAILED)
                continue
            assert drawn.nfe <= n, (name, n, drawn.nfe)
            rows[name].append(problem.error(drawn.x))
    return rows


def suited(solvers: dict[str, Solve], problem: Problem | Trained) -> dict[str, Solve]:
    """Return the peers that can start at the problem's noise level: diffusers only at that of VP, none at infinity."""
    if problem.top == FAR:
        return {}
    return {name: solve for name, solve in solvers.items() if isinstance(problem.sde, VP) or "diffusers" not in name}


def theirs(problem: Problem | Trained, calls: list[int], solvers: dict[str, Solve]) -> dict[str, Row]:
    """Return the errors of the peers."""
    rows: dict[str, Row] = {}
    for name, solve in solvers.items():
        rows[name] = []
        for n in calls:
            evaluations = 0

            def denoise(x: Tensor, rho: float) -> Tensor:
                nonlocal evaluations
                evaluations += 1
                return problem.denoise(x, rho)

            try:
                x0 = solve(denoise, problem.x_bar.clone(), problem.top, n)
            except Exception:  # libraries raise different errors if they cannot take so few steps
                rows[name].append(FAILED)
                continue
            rows[name].append(problem.error(x0) if evaluations <= n and bool(x0.isfinite().all()) else FAILED)
    return rows


def select(rows: dict[str, Row], statistic: Statistic) -> dict[str, list[float]]:
    """Return the errors of one statistic."""
    return {name: [averages[statistic] for averages in row] for name, row in rows.items()}


def best(rows: dict[str, list[float]]) -> list[float]:
    """Return the smallest error at each number of evaluations."""
    return [
        min((e for e in errors if not math.isnan(e)), default=math.nan) for errors in zip(*rows.values(), strict=True)
    ]


def table(calls: list[int], mine: dict[str, list[float]], other: dict[str, list[float]]) -> list[str]:
    """Return a Markdown table: all rows, then the best peer, then the ratio of `auto` to it."""

    def line(name: str, row: list[float], form: str = "{:.2g}") -> str:
        return f"| {name} | " + " | ".join("-" if math.isnan(v) else form.format(v) for v in row) + " |"

    lines = ["| | " + " | ".join(map(str, calls)) + " |", "|---|" + "---|" * len(calls)]
    lines += [line(name, row) for name, row in sorted(mine.items())]
    lines += [line(name, row) for name, row in sorted(other.items())]
    rivals = other or {name: row for name, row in mine.items() if name != "auto"}
    if rivals:
        lines.append(line("**best peer**" if other else "**best of the others**", best(rivals)))
    if "auto" in mine and rivals:
        ratios = [a / b for a, b in zip(mine["auto"], best(rivals), strict=True)]
        lines.append(line("**auto / best**", ratios, "{:.2f}"))
    return lines


def main() -> None:
    """Run the chosen problems and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", action="store_true", help="also run the other libraries that are installed")
    parser.add_argument(
        "--problems",
        nargs="*",
        choices=list(problems(1)),
        default=list(problems(1)),
        help="names of the problems; all by default",
    )
    parser.add_argument("--runs", nargs="*", type=Path, default=[], help="run folders of unconditional models")
    parser.add_argument(
        "--nfe", nargs="+", type=int, default=[5, 6, 8, 10, 15, 20, 30, 50, 100], help="numbers of network evaluations"
    )
    parser.add_argument("--samplers", nargs="+", default=[], help="samplers of sdekit to run; all by default")
    parser.add_argument("--starts", type=int, default=2000, help="number of starting points")
    parser.add_argument("--statistic", choices=get_args(Statistic), default="rms", help="average over starting points")
    parser.add_argument("--out", type=Path, help="file to write the tables to")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    solvers, absent = peers() if arguments.peers else ({}, {})
    text = [f"Not importable: {name} ({why})." for name, why in absent.items()]
    cases = [problems(arguments.starts)[name] for name in arguments.problems]
    for problem in [*cases, *(Trained(path, arguments.starts) for path in arguments.runs)]:
        other = theirs(problem, arguments.nfe, suited(solvers, problem))
        mine = ours(problem, arguments.nfe, arguments.samplers)
        lines = table(arguments.nfe, select(mine, arguments.statistic), select(other, arguments.statistic))
        shape = "d = " + str(math.prod(problem.shape))
        title = (
            f"{problem.name}: {shape}, {type(problem.sde).__name__}, {arguments.statistic} of {arguments.starts} starts"
        )
        text += ["", f"## {title}", "", *lines]
        print("\n".join(text[-len(lines) - 2 :]), flush=True)
    if arguments.out:
        arguments.out.write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
