"""Measure the digits that sdekit draws with a public DDPM of MNIST, opened by the loader `bare`.

    python benchmarks/pretrained_mnist.py                       # one thread, about four minutes
    python benchmarks/pretrained_mnist.py --pictures docs/assets

A sample counts as a digit if it is nearer to a real test digit (Euclidean distance of the pixels in [0, 1]) than the
95th percentile of the distances of real digits to the nearest other one. The limit depends on the number of real
digits among which the nearest is searched, so there are two: of 200 real digits among themselves (as many as there
are samples), and of all 10,000. Half a digit is then restored from its upper half. Prints one JSON object per line.
Without ../shared/data, which contains the model and the test digits, the script prints this and does nothing.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sdekit.inverse import Problem, restore
from sdekit.inverse.operators import Mask
from sdekit.models import OpenedModel, open_model
from sdekit.plotting import image_grid
from sdekit.registry import build, load_plugin_file
from sdekit.sampling import Samples, sample

ROOT = Path(__file__).parents[1]
OPTIONS = {
    **{"network": "acme-mnist", "shape": (1, 28, 28), "prefix": "gt.", "table": "beta_t", "clock_scale": 0.001},
    **{"low": -0.5, "high": 0.5, "data_std": 0.31},
}
RUNS = {"auto": 15, "ddim": 50, "ddpm": 100}
"""Number of network evaluations of each sampler."""


def real_digits(data: Path) -> Tensor:
    """Return the test digits (10000, 784) in [0, 1]."""
    dataset = build("dataset", "mnist", str(data / "mnist" / "t10k-images-idx3-ubyte.gz"))
    return (dataset.batch(range(len(dataset))).x.flatten(1) + 1) / 2


def distance_limit(digits: Tensor, count: int) -> float:
    """Return the 95th percentile of the distances of digits to the nearest other one among the first `count`."""
    nearest = []
    for start in range(0, min(count, 2000), 500):
        rows = torch.arange(start, min(start + 500, count))
        distances = torch.cdist(digits[rows], digits[:count])
        distances[torch.arange(len(rows)), rows] = torch.inf
        nearest.append(distances.min(1).values)
    return float(torch.cat(nearest).quantile(0.95))


def draw(opened: OpenedModel, name: str, nfe: int, n: int) -> Samples:
    """Draw n samples in one batch."""
    options = {"data_std": opened.data_std} if name == "auto" else {}
    return sample(opened.model.sde, opened.model, build("sampler", name, **options), shape=opened.shape, n=n, nfe=nfe)


def restore_half(opened: OpenedModel, digit: Tensor, n: int) -> Tensor:
    """Return a digit (1, 28, 28), its upper half, and n digits with this half, (n + 2, 1, 28, 28) in [-0.5, 0.5]."""
    known = torch.zeros(1, 28, 28)
    known[:, :14] = 1
    operator = Mask(known)
    problem = Problem(operator, operator.apply(digit[None])[0], 0.02)
    drawn = restore(opened.model.sde, opened.model, problem, sampler="ddim", shape=opened.shape, n=n, steps=25)
    return torch.cat([digit[None], torch.where(known > 0, digit, -0.5)[None], drawn.x])


def save(x: Tensor, path: Path, columns: int) -> None:
    """Save digits (n, 1, 28, 28) in [-0.5, 0.5] as one picture."""
    pixels = ((x + 0.5).clamp(0, 1) * 255).round().byte().movedim(1, -1).numpy()
    image_grid(np.ascontiguousarray(pixels), columns).save(path, optimize=True)


def main() -> None:
    """Draw, measure and restore."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=200, help="number of samples of each sampler")
    parser.add_argument("--pictures", type=Path, help="folder for pictures")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of model and digits")
    arguments = parser.parse_args()
    data = arguments.data
    if not data.is_dir():
        print(f"not measured: {data}, with the model and the test digits, does not exist")
        return
    torch.set_num_threads(1)
    load_plugin_file(ROOT / "examples" / "single_files" / "acme_mnist.py")
    opened = open_model(f"bare:{data / 'pretrained' / 'mnist_ddpm.safetensors'}", options=OPTIONS)
    digits = real_digits(data)
    limits = {count: distance_limit(digits, count) for count in (200, len(digits))}
    print(json.dumps({"limits": {count: round(limit, 3) for count, limit in limits.items()}}), flush=True)
    for name, nfe in RUNS.items():
        start = time.process_time()
        drawn = draw(opened, name, nfe, arguments.samples)
        seconds = time.process_time() - start
        nearest = torch.cdist((drawn.x.flatten(1) + 0.5).clamp(0, 1), digits).min(1).values
        shares = {f"within_limit_{count}": float((nearest < limit).double().mean()) for count, limit in limits.items()}
        result = {"sampler": name, "nfe": drawn.nfe, "samples": arguments.samples, **shares}
        result |= {"mean_distance": float(nearest.mean()), "cpu_seconds": seconds}
        print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in result.items()}), flush=True)
        if arguments.pictures:
            save(drawn.x[:32], arguments.pictures / f"pretrained-mnist-{name}.png", 16)
    restored = restore_half(opened, digits[3].view(1, 28, 28) - 0.5, 6)
    error = float((restored[2:, :, :14] - restored[0, :, :14]).square().mean().sqrt())
    print(json.dumps({"restored": len(restored) - 2, "error_of_the_known_half": round(error, 4)}))
    if arguments.pictures:
        save(restored, arguments.pictures / "pretrained-mnist-restored.png", 8)


if __name__ == "__main__":
    main()
