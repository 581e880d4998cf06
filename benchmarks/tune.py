"""Measure how much `sdekit tune` reduces the error, on starting points that the tuning has not seen.

    python benchmarks/tune.py                                    # `auto` on all problems of mixtures.py
    python benchmarks/tune.py --problems ring --samplers auto heun ddim --nfe 5 9 21
    python benchmarks/tune.py --problems --runs runs/moons       # trained networks only

`tune` fits times and weights on --train starting points and chooses the iteration on as many others; `ode` solves all
of them. The error is the root mean square over --starts other points and all coordinates: for mixtures in float64 and
against the flow solved to 1e-10, for runs in float32 and against `ode`. Prints one table per model; results/tune.md
contains them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from mixtures import problems

from sdekit import SeedNoise, load_run
from sdekit.processes import SDE, Denoiser
from sdekit.tuning import Starts, solve_starts, tune

PEERS = {
    "ring": {5: 0.047, 6: 0.089, 8: 0.050, 10: 0.035, 15: 0.0117, 20: 0.0064, 30: 0.0027, 50: 0.00074, 100: 0.00018},
    "digits": {5: 0.095, 6: 0.090, 8: 0.062, 10: 0.044, 15: 0.0234, 20: 0.0138, 30: 0.0040, 50: 0.0022, 100: 0.00024},
}
"""Error of the best of 86 peer configurations at each number of evaluations, from 2,000 other starting points."""


@dataclass(frozen=True)
class Case:
    """A model with starting points: two sets to tune on and one to measure on."""

    name: str
    title: str
    sde: SDE
    denoise: Denoiser
    train: Starts
    check: Starts
    held_out: Starts


def of_mixture(name: str, starts: int, train: int) -> Case:
    """Return the case of a problem of mixtures.py."""
    problem = problems(starts)[name]
    sde, mixture = problem.sde, problem.mixture
    denoise = mixture.denoiser(sde)
    first, second = (
        solve_starts(sde, denoise, mixture.sample(train, seed, sde, sde.t_max), batch_size=1024) for seed in (1, 2)
    )
    title = f"{name}: d = {problem.x[0].numel()}, {type(sde).__name__}"
    return Case(name, title, sde, denoise, first, second, Starts(problem.x, problem.exact))


def of_run(path: Path, starts: int, train: int) -> Case:
    """Return the case of a trained network."""
    run = load_run(path)
    sde, recipe = run.model.sde, run.recipe

    def of(first: int, count: int) -> Starts:
        x = sde.prior(SeedNoise(range(first, first + count), recipe.shape)())
        return solve_starts(sde, run.model, x, recipe.examples(count))

    title = f"{recipe.data.name}, {recipe.network.name} trained for {run.step} steps, {type(sde).__name__}"
    return Case(path.name, title, sde, run.model, of(2**31, train), of(2**31 + train, train), of(0, starts))


def rows(case: Case, sampler: str, calls: list[int], arguments: argparse.Namespace) -> Iterator[list[str]]:
    """Yield one table row per number of evaluations."""
    for n in calls:
        began = time.perf_counter()
        result = tune(
            case.sde, case.denoise, sampler, nfe=n, train=case.train, check=case.check, held_out=case.held_out,
            weights=not arguments.times_only, time_limit=arguments.time_limit,
        )  # fmt: skip
        peer = PEERS.get(case.name, {}).get(n)
        against = "-" if peer is None else f"{result.tuned / peer:.2f}"
        took = f"{time.perf_counter() - began:.0f}"
        yield [
            sampler,
            str(result.calls),
            f"{result.untuned:.2g}",
            f"{result.tuned:.2g}",
            f"{result.ratio:.2f}",
            against,
            took,
        ]


def main() -> None:
    """Tune the chosen models and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--problems",
        nargs="*",
        choices=list(problems(1)),
        default=list(problems(1)),
        help="names of the problems; all by default",
    )
    parser.add_argument("--runs", nargs="*", type=Path, default=[], help="run folders")
    parser.add_argument("--samplers", nargs="+", default=["auto"], help="names of the samplers")
    parser.add_argument(
        "--nfe", nargs="+", type=int, default=[5, 6, 8, 10, 15, 20, 30, 50, 100], help="numbers of network evaluations"
    )
    parser.add_argument("--starts", type=int, default=2000, help="number of starting points")
    parser.add_argument("--train", type=int, default=1024, help="number of starting points to tune on")
    parser.add_argument("--times-only", action="store_true", help="tune times only, without weights")
    parser.add_argument("--time-limit", type=float, default=120, help="seconds for each number of evaluations")
    parser.add_argument("--out", type=Path, help="file to write the tables to")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    text: list[str] = []
    makers = [(of_mixture, name) for name in arguments.problems] + [(of_run, path) for path in arguments.runs]
    for make, which in makers:
        case = make(which, arguments.starts, arguments.train)  # type: ignore[operator]
        text += ["", f"## {case.title}, {len(case.train.x)} starts to tune on, {arguments.starts} held out", ""]
        text += [
            "| | evaluations | untuned | tuned | ratio | tuned / best peer | seconds |",
            "|---|---|---|---|---|---|---|",
        ]
        print("\n".join(text[-3:]), flush=True)
        for sampler in arguments.samplers:
            for row in rows(case, sampler, arguments.nfe, arguments):
                text.append("| " + " | ".join(row) + " |")
                print(text[-1], flush=True)
    if arguments.out:
        arguments.out.write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
