"""Compare the default of `sample`, `auto` with 30 network evaluations, with `ode`: the distance of samples to data.

    python benchmarks/default_sampler.py --relu --runs runs/moons --samples 1000 --blocks 5
    python benchmarks/default_sampler.py --runs runs/digits --samples 128 --blocks 4

Both samplers draw the same seeds in blocks. A number is the mean over blocks of the distance between the samples of a
block and as many items of the data, and half the width of its 95% interval. The last column is the root mean square
difference between the samples of both samplers from the same seeds, in units of the data's standard deviation.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from families import train_relu
from torch import Tensor

from sdekit import ScoreModel, load_run, registry, sample

SAMPLERS = ("auto", "ode")
METRICS = ("energy", "sliced-w2")


def interval(values: list[float]) -> str:
    """Return the mean and half of the 95% interval, by Student's t."""
    from scipy.stats import t

    half = t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
    return f"{np.mean(values):.4f} ± {half:.4f}"


def compare(title: str, model: ScoreModel, items: Tensor, samples: int, blocks: int) -> list[str]:
    """Return the rows of one model; the items (N, *shape) are its data in the model's units."""
    order = np.random.default_rng(0).permutation(len(items))
    distances: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in SAMPLERS}
    evaluations: dict[str, int] = {}
    difference = []
    for block in range(blocks):
        seeds = range(block * samples, (block + 1) * samples)
        truth = items[np.take(order, seeds, mode="wrap")]
        drawn = {}
        for name in SAMPLERS:
            result = sample(model.sde, model, name, shape=items.shape[1:], seeds=seeds, batch_size=500)
            drawn[name], evaluations[name] = result.x, result.nfe
            for metric, values in zip(METRICS, distances[name], strict=True):
                values.append(float(registry.build("metric", metric)(result.x, truth)))
        difference.append(float((drawn["auto"] - drawn["ode"]).square().mean()))
    apart = float(np.mean(difference)) ** 0.5 / model.data_std
    return [
        f"| {title} | `{name}` | {evaluations[name]} | {interval(energy)} | {interval(sliced)} | {apart:.4f} |"
        for name, (energy, sliced) in distances.items()
    ]


def of_run(path: Path) -> tuple[str, ScoreModel, Tensor]:
    """Return title, model and data of an unconditional run."""
    run = load_run(path)
    data = registry.build("dataset", run.recipe.data.name, **run.recipe.data.options)
    title = f"{path.name}, {run.recipe.network.name}, {run.step} steps"
    return title, run.model, data.batch(range(len(data))).x


def of_relu() -> tuple[str, ScoreModel, Tensor]:
    """Return title, model and data of the ReLU network of families.py."""
    data = registry.build("dataset", "rings", n=4000, seed=0)
    return "rings, ReLU network, 2500 steps", train_relu(0).float(), data.batch(range(len(data))).x


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", nargs="*", default=[], type=Path, help="run folders of unconditional models")
    parser.add_argument("--relu", action="store_true", help="also the ReLU network of families.py")
    parser.add_argument("--samples", type=int, default=1000, help="number of samples of a block")
    parser.add_argument("--blocks", type=int, default=5, help="number of blocks")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| run | sampler | evaluations | energy distance | sliced W2 | auto minus ode |\n|---|---|---|---|---|---|")
    for model in [*([of_relu()] if arguments.relu else []), *map(of_run, arguments.runs)]:
        print("\n".join(compare(*model, arguments.samples, arguments.blocks)), flush=True)


if __name__ == "__main__":
    main()
