"""Measure the distance of stochastic samplers, of sdekit and of other libraries, from exact samples of mixtures.

    python benchmarks/stochastic.py --peers             # ring and digits of mixtures.py, on default grids
    python benchmarks/stochastic.py --nfe 20 --samples 2000

The measures are sliced W2 and energy distance (the metrics of sdekit) from 5,000 samples to other, exact samples. The
floor is the distance of exact samples: mean and standard deviation over five sets of the same size. All samplers start
from x_0 + sigma_max z with the same x_0 and z, and use the same exact denoiser; evaluations are counted. Prints one
table per problem. results/stochastic.md contains some of its rows.
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mixtures import Problem, problems
from peers import (
    LEAST,
    Denoise,
    Solve,
    azula_denoiser,
    azula_schedule,
    discrete_betas,
    importable,
    smalldiffusion_solve,
)
from torch import Tensor

from sdekit import registry, sample
from sdekit.errors import SdekitError

Score = tuple[float, float]
"""Sliced W2 and energy distance; nan if the method failed or cannot use so few evaluations."""
Row = list[Score]
FAILED = (math.nan, math.nan)


def diffusers() -> dict[str, Solve]:
    """Return the stochastic schedulers of diffusers, called as `peers._diffusers` calls the others."""
    import diffusers

    betas = discrete_betas()

    def solve(name: str, options: dict[str, Any], denoise: Denoise, x: Tensor, top: float, calls: int) -> Tensor:
        scheduler = getattr(diffusers, name + "Scheduler")(trained_betas=betas, **options)
        scheduler.set_timesteps(calls)
        exploding = "Euler" in name
        x = x if exploding else x / math.sqrt(1 + top**2)
        for i, t in enumerate(scheduler.timesteps):
            rho = math.sqrt(1 / float(scheduler.alphas_cumprod[int(t)]) - 1)
            if hasattr(scheduler, "sigmas"):
                rho = float(scheduler.sigmas[i])
            x_bar = (scheduler.scale_model_input(x, t) if exploding else x) * math.sqrt(1 + rho**2)
            x = scheduler.step((x_bar - denoise(x_bar, rho)) / rho, t, x).prev_sample
        return x

    sde = {"algorithm_type": "sde-dpmsolver++"}
    table: dict[str, tuple[str, dict[str, Any]]] = {
        "DDPM trailing": ("DDPM", {"clip_sample": False, "timestep_spacing": "trailing"}),
        "Euler ancestral": ("EulerAncestralDiscrete", {}),
        "sde-DPM++2M": ("DPMSolverMultistep", sde),
        "sde-DPM++2M karras": ("DPMSolverMultistep", sde | {"use_karras_sigmas": True}),
        "sde-DPM++2M lu": ("DPMSolverMultistep", sde | {"use_lu_lambdas": True}),
    }
    return {name: partial(solve, cls, options) for name, (cls, options) in table.items()}


def k_diffusion() -> dict[str, Solve]:
    """Return the stochastic samplers of k-diffusion on its Karras grid.

    Independent normals have the distribution of its Brownian tree, because the samplers take disjoint steps.
    """
    import k_diffusion.sampling as sampling

    def solve(name: str, each: int, denoise: Denoise, x: Tensor, top: float, calls: int) -> Tensor:
        sigmas = sampling.get_sigmas_karras((calls + each - 1) // each, LEAST, top).double()
        result: Tensor = getattr(sampling, f"sample_{name}")(
            lambda x, sigma: denoise(x, float(sigma[0])), x, sigmas, disable=True,
            noise_sampler=lambda *_: torch.randn_like(x),
        )  # fmt: skip
        return result

    names = {"euler_ancestral": 1, "dpmpp_2s_ancestral": 2, "dpmpp_2m_sde": 1, "dpmpp_3m_sde": 1}
    return {name: partial(solve, name, each) for name, each in names.items()}


def azula() -> dict[str, Solve]:
    """Return the stochastic samplers of azula on two of its schedules; they stop at the last noise level."""
    import azula.sample

    def solve(cls: str, each: int, kind: str, denoise: Denoise, x: Tensor, top: float, calls: int) -> Tensor:
        schedule = azula_schedule(kind, top)
        (last, first), _ = schedule(torch.tensor([0.0, 1.0], dtype=torch.float64))
        method = getattr(azula.sample, cls)(
            azula_denoiser(denoise, schedule), steps=calls // each, silent=True, dtype=torch.float64
        )
        result: Tensor = method(x * first) / last
        return result

    names = {"DDPM": ("DDPMSampler", 1), "Ito": ("ItoSampler", 1), "PC": ("PCSampler", 2)}
    return {
        f"{name} [{kind}]": partial(solve, cls, each, kind)
        for name, (cls, each) in names.items()
        for kind in ("VE", "decay")
    }


def smalldiffusion() -> dict[str, Solve]:
    """Return the sampler of smalldiffusion with noise."""
    import smalldiffusion  # noqa: F401  # raises now if it is not installed

    return {"DDPM": partial(smalldiffusion_solve, 1.0, 0.5)}


def libraries() -> dict[str, Solve]:
    """Return the samplers of all libraries that can be imported."""
    importable()
    solvers: dict[str, Solve] = {}
    for load in (diffusers, k_diffusion, azula, smalldiffusion):
        try:
            label = load.__name__.replace("_", "-")
            solvers |= {f"{label} {name}": solve for name, solve in load().items()}
        except ImportError as error:
            print(f"{load.__name__} cannot be imported: {error}")
    return solvers


def scored(problem: Problem, draw: Callable[[int], Tensor], calls: list[int], exact: Tensor) -> Row:
    """Return the distances at each number of evaluations."""
    row: Row = []
    for n in calls:
        torch.manual_seed(n)
        try:
            x = draw(n)
        except Exception:  # libraries raise different errors if they cannot take so few steps
            row.append(FAILED)
            continue
        row.append(distances(x, exact) if bool(x.isfinite().all()) else FAILED)
    return row


def distances(x: Tensor, exact: Tensor) -> Score:
    """Return sliced W2 and energy distance to exact samples."""
    sliced_w2 = registry.build("metric", "sliced-w2", projections=128)
    return sliced_w2(x, exact), registry.build("metric", "energy")(x, exact[: len(x)])


def ours(problem: Problem, name: str, n: int) -> Tensor:
    """Draw samples with a sampler of sdekit and at most n evaluations."""
    drawn = sample(
        problem.sde, problem.mixture.denoiser(problem.sde), name, shape=problem.mixture.shape, x=problem.x, nfe=n,
        dtype=torch.float64,
    )  # fmt: skip
    if drawn.nfe > n:
        raise SdekitError(f"{name} used {drawn.nfe} evaluations, more than {n}")
    return drawn.x


def theirs(problem: Problem, solve: Solve, n: int) -> Tensor:
    """Draw samples with a peer and at most n evaluations."""
    evaluations = 0

    def denoise(x: Tensor, rho: float) -> Tensor:
        nonlocal evaluations
        evaluations += 1
        return problem.denoise(x, rho)

    x = solve(denoise, problem.x_bar.clone(), problem.top, n)
    if evaluations > n:
        raise SdekitError(f"used {evaluations} evaluations, more than {n}")
    return x.double()


def table(calls: list[int], mine: dict[str, Row], other: dict[str, Row], floor: Row) -> list[str]:
    """Return two Markdown tables, of sliced W2 and of the energy distance, with the best of each side and the floor."""
    lines = []
    for which, title in ((0, "sliced W2"), (1, "energy distance")):

        def line(name: str, row: list[float]) -> str:
            return f"| {name} | " + " | ".join("-" if math.isnan(v) else f"{v:.2g}" for v in row) + " |"

        def best(rows: dict[str, Row], which: int = which) -> list[float]:
            columns = range(len(calls))
            return [min((r[i][which] for r in rows.values() if r[i] != FAILED), default=math.nan) for i in columns]

        lines += ["", f"| {title} | " + " | ".join(map(str, calls)) + " |", "|---|" + "---|" * len(calls)]
        lines += [line(name, [score[which] for score in row]) for name, row in sorted(mine.items())]
        lines += [line(name, [score[which] for score in row]) for name, row in sorted(other.items())]
        lines.append(line("**best of sdekit**", best(mine)))
        if other:
            lines.append(line("**best of the peers**", best(other)))
        values = [score[which] for score in floor]
        lines += ["", f"Floor of the {title}: {np.mean(values):.2g}, standard deviation {np.std(values):.2g}."]
    return lines


def main() -> None:
    """Run the chosen problems and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", action="store_true", help="also run the other libraries that are installed")
    parser.add_argument("--problems", nargs="+", default=["ring", "digits"], help="names of the problems")
    parser.add_argument("--nfe", nargs="+", type=int, default=[10, 20, 50, 100], help="numbers of network evaluations")
    parser.add_argument("--samplers", nargs="+", default=[], help="samplers of sdekit to run; all by default")
    parser.add_argument("--samples", type=int, default=5000, help="number of samples")
    parser.add_argument("--out", type=Path, help="file to write the tables to")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    others = libraries() if arguments.peers else {}
    names = arguments.samplers or [
        n for n in registry.component_names("sampler") if registry.build("sampler", n).stochastic
    ]
    names = [name for name in names if registry.build("sampler", name).calls_per_step is not None]
    text: list[str] = []
    for name in arguments.problems:
        problem = problems(arguments.samples)[name]
        exact = problem.mixture.sample(4 * arguments.samples, 99)
        floor = [distances(problem.mixture.sample(arguments.samples, 200 + i), exact) for i in range(5)]
        mine = {key: scored(problem, partial(ours, problem, key), arguments.nfe, exact) for key in names}
        other = {
            key: scored(problem, partial(theirs, problem, solve), arguments.nfe, exact) for key, solve in others.items()
        }
        lines = table(arguments.nfe, mine, other, floor)
        text += ["", f"## {name}: d = {math.prod(problem.mixture.shape)}, {arguments.samples} samples", *lines]
        print("\n".join(text[-len(lines) - 1 :]), flush=True)
    if arguments.out:
        arguments.out.write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
