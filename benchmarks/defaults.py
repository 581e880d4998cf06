"""Compare training options in equal training time: does a default help on data that it was not chosen on?

    python benchmarks/defaults.py --data moons breast-cancer --variant "" train.exact_target=0
    python benchmarks/defaults.py --mnist t10k-images-idx3-ubyte.gz --data mnist-8 mnist-12 \
        --variant network=unet "network=unet network.dense=0" network=mixer --seconds 120
    python benchmarks/defaults.py --cifar cifar10/test --data cifar-32 --variant "" train.noise_mean=-1

A variant is a list of settings `group.name=value` (groups as in `sdekit train --option`) and `network=NAME`; the empty
string is the defaults. First the CPU time of a training step is measured, the variants taking turns. Then each variant
is trained for as many steps as fit into --seconds of that time, on one thread, so the result does not depend on other
processes of the machine. Every model is judged on the same held-out items:

- loss: mean over 16 noise levels, log-uniform from rho = .05 to 50, of the weighted denoising error of the averaged
  weights, lambda(rho) |D(x) - x_0|^2 with lambda = 1 / c_out^2 of Karras et al. 2022. Lower is better.
- energy, sliced W2: distance from samples (solver `auto`, 25 network evaluations) to the held-out items, in units of
  the model. "Training items" is the distance from the training set itself, the best that can be expected.
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from digits import halves

from sdekit import registry, sample
from sdekit.data import Dataset
from sdekit.models import ScoreModel
from sdekit.runs import Recipe
from sdekit.training import Trainer, plan

TOYS = ("moons", "checkerboard", "swiss-roll", "rings", "mixture")
TABLES = ("breast-cancer", "wine")
VOLUMES = ("ellipsoids", "blobs")
SAMPLES_SEED, ROUNDS, STEPS_A_ROUND = 10_000, 4, 8


def load(name: str, items: int, paths: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Return training items and held-out items of a data set: (N, d), or (N, C, H, W) in [-1, 1]."""
    kind, _, size = name.rpartition("-")
    if name in TOYS:
        both = [registry.build("dataset", name, n=n, seed=seed) for n, seed in ((10_000, 0), (2_000, 1))]
        # the two sets have statistics of their own, so compare them in data units
        train, other = (d.units.to_data(d.batch(range(len(d))).x) for d in both)
        return train, other
    if name == "digits":
        return halves("numpy")
    if name in TABLES:
        import sklearn.datasets

        rows = getattr(sklearn.datasets, f"load_{name.replace('-', '_')}")().data.astype(np.float32)
        rows = rows[np.random.default_rng(0).permutation(len(rows))]
        return rows[: len(rows) // 2], rows[len(rows) // 2 :]
    if name in VOLUMES:
        both = volumes(name, 600)
        return both[:500], both[500:]
    if kind == "mnist":
        pixels = np.frombuffer(gzip.decompress(paths.mnist.read_bytes()), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    elif kind == "cifar":
        pixels = read_folder(paths.cifar, items + 1000)
    else:
        names = ("digits", *TOYS, *TABLES, *VOLUMES, "mnist-SIZE", "cifar-SIZE")
        raise SystemExit(f"no data set {name!r}: choose from {', '.join(names)}")
    images = average(torch.tensor(pixels).float() / 127.5 - 1, int(size)).numpy()
    return images[:items], images[items : items + 1000]


def volumes(name: str, n: int) -> np.ndarray:
    """Draw ellipsoids with soft surfaces, or sums of three Gaussian blobs, (n, 1, 16, 16, 16)."""
    g, u = np.random.default_rng(0), np.arange(16.0)
    axes = ((-1, 1, 1), (1, -1, 1), (1, 1, -1))
    if name == "ellipsoids":
        center, radius = g.uniform(4.5, 10.5, (n, 3)), g.uniform(2, 4.5, (n, 3))
        squares = ((u - center[:, :, None]) / radius[:, :, None]) ** 2
        distance = sum(squares[:, i].reshape(n, *axis) for i, axis in enumerate(axes))
        return (1 / (1 + np.exp(6 * (distance - 1))))[:, None].astype(np.float32)
    center, width = g.uniform(2, 13, (n, 3, 3, 1)), g.uniform(1, 2.5, (n, 3, 1, 1))
    bumps = np.exp(-0.5 * ((u - center) / width) ** 2) * g.uniform(0.5, 1, (n, 3, 1, 1)) ** (1 / 3)
    return np.einsum("nki,nkj,nkl->nijl", *bumps.transpose(2, 0, 1, 3))[:, None].astype(np.float32)


def read_folder(folder: Path, n: int) -> np.ndarray:
    """Read n images of a folder of class folders, the classes in equal parts, (n, 3, H, W) uint8."""
    from PIL import Image

    files = sorted(folder.glob("*/*.jpg"))
    chosen = np.random.default_rng(0).permutation(len(files))[:n]
    return np.stack([np.asarray(Image.open(files[i]).convert("RGB")).transpose(2, 0, 1) for i in chosen])


def average(images: torch.Tensor, size: int) -> torch.Tensor:
    """Average (N, C, H, W) to size x size pixels."""
    return images if images.shape[-1] == size else torch.nn.functional.adaptive_avg_pool2d(images, size)


def make_plan(spec: str, variant: str, **train: Any) -> tuple[Recipe, Dataset]:
    """Return the recipe of a variant and its data set."""
    options: dict[str, dict[str, Any]] = {"train": {"held_out": 0.0, "preview_every": 0.0, **train}}
    network = None
    for setting in variant.split():
        name, value = setting.split("=")
        if name == "network":
            network = value
            continue
        group, option = name.split(".")
        options.setdefault(group, {})[option] = json.loads(value)
    return plan(spec, network=network, options=options)


def seconds_per_step(spec: str, variants: list[str]) -> dict[str, float]:
    """Return each variant's CPU seconds of a training step: the median, the variants taking turns."""
    times: dict[str, list[float]] = {variant: [] for variant in variants}
    for _ in range(ROUNDS):
        for variant in variants:
            recipe, data = make_plan(spec, variant, steps=STEPS_A_ROUND)
            with tempfile.TemporaryDirectory() as folder:
                trainer, before = Trainer(recipe, data, Path(folder) / "run"), time.process_time()
                for _ in trainer.run():
                    now = time.process_time()
                    times[variant].append(now - before)
                    before = now
    return {variant: float(np.median(values)) for variant, values in times.items()}


@torch.no_grad()
def held_out_loss(model: ScoreModel, x: torch.Tensor) -> float:
    """Return the weighted denoising error at fixed noise levels and fixed noise."""
    generator, losses = torch.Generator().manual_seed(0), []
    for rho in torch.logspace(np.log10(0.05), np.log10(50), 16, dtype=torch.float64):
        t = model.sde.time(rho).clamp(model.sde.t_min, model.sde.t_max).expand(len(x))
        losses.append(float(model.loss(x, t, torch.randn(x.shape, generator=generator)).mean()))
    return float(np.mean(losses))


def run(spec: str, variant: str, steps: int, seed: int, samples: int, other: np.ndarray) -> dict[str, float]:
    """Train a variant, and return its loss, energy distance and sliced W2."""
    recipe, data = make_plan(spec, variant, steps=steps, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(recipe, data, Path(folder) / "run")
        for _ in trainer.run():
            pass
    model = trainer.model.eval()
    truth = recipe.units.to_model(other)
    with trainer.state.averaged():
        sampler = registry.build("sampler", "auto", data_std=recipe.data_std)
        seeds = range(SAMPLES_SEED, SAMPLES_SEED + samples)
        drawn = sample(model.sde, model, sampler, shape=recipe.shape, seeds=seeds, nfe=25, batch_size=250).x
        return {
            "loss": held_out_loss(model, truth),
            "energy": registry.build("metric", "energy")(drawn, truth),
            "sliced_w2": registry.build("metric", "sliced-w2")(drawn, truth),
        }


def compare(name: str, arguments: argparse.Namespace, report: Callable[[str], None]) -> None:
    """Measure all variants on one data set."""
    train, other = load(name, arguments.items, arguments)
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "train.npy", train)
        spec = f"array:{Path(folder) / 'train.npy'}"
        recipe, _ = make_plan(spec, arguments.variant[0], steps=1)
        rows = [recipe.units.to_model(x) for x in (train[: arguments.samples], other)]
        energy, sliced_w2 = (registry.build("metric", metric)(*rows) for metric in ("energy", "sliced-w2"))
        report(f"| {name} | training items | | | | {energy:.4f} | {sliced_w2:.4f} |")
        cost = seconds_per_step(spec, arguments.variant)
        for variant in arguments.variant:
            steps = max(1, round(arguments.seconds / cost[variant]))
            results = [run(spec, variant, steps, seed, arguments.samples, other) for seed in arguments.seeds]
            cells = [
                " ".join(f"{result[key]:.{digits}f}" for result in results)
                for key, digits in (("loss", 4), ("energy", 4), ("sliced_w2", 4))
            ]
            label = f"`{variant}`" if variant else "defaults"
            report(f"| {name} | {label} | {1000 * cost[variant]:.1f} | {steps} | {' | '.join(cells)} |")


def main() -> None:
    """Compare the variants on each data set and print a Markdown table, one value per seed in each cell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", required=True, metavar="NAME", help="data sets, such as moons or mnist-28")
    parser.add_argument("--variant", nargs="+", required=True, metavar="SETTINGS", help="settings to compare")
    parser.add_argument("--seconds", type=float, default=120.0, help="CPU seconds of training, each")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="seeds of training")
    parser.add_argument("--samples", type=int, default=1000, help="number of samples per model")
    parser.add_argument("--items", type=int, default=2000, help="number of training images of MNIST and CIFAR-10")
    parser.add_argument("--mnist", type=Path, help="IDX file of MNIST images (.gz)")
    parser.add_argument("--cifar", type=Path, help="folder of CIFAR-10: class folders of .jpg")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(
        "| data | variant | ms per step | steps | loss | energy | sliced W2 |\n|---|---|---|---|---|---|---|",
        flush=True,
    )
    for name in arguments.data:
        compare(name, arguments, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
