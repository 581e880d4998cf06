"""Measure the quality of samples after a fixed time of training on half of scikit-learn's digits.

    python benchmarks/digits.py                                             # the training of scripts/demo
    python benchmarks/digits.py --network unet --option network.width=48    # other settings, as for sdekit train
    python benchmarks/digits.py --peer                                      # also diffusers' U-Net and DDIM
    python benchmarks/digits.py --split torch                               # halves of torch.randperm, seed 0

The first half of numpy.random.default_rng(0).permutation is the training set. 1,000 samples of `--solver ode` are
compared with the second half, on 64 pixels in [-1, 1]. Training is limited to 120 s, so run nothing else meanwhile.
Prints one JSON object per model; its forest_500 is the accuracy of random forests on 500 samples and 500 images.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from sdekit.registry import build


def halves(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the training half and the held-out half, (N, 1, 8, 8) float32 in [-1, 1], by a permutation of `split`."""
    from sklearn.datasets import load_digits

    images = (load_digits().images / 8 - 1).astype(np.float32)[:, None]
    if split == "numpy":
        order = np.random.default_rng(0).permutation(len(images))
    else:
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0)).numpy()
    return images[order[: len(images) // 2]], images[order[len(images) // 2 :]]


def forest_accuracy(x: torch.Tensor, y: torch.Tensor, n: int | None = None, seed: int = 0) -> float:
    """Return the accuracy of random forests on the grey levels of n random items of each of x and y, in [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    levels = [((z + 1) * 8).round().clamp(0, 16) for z in (x, y)]
    chosen = [z[torch.randperm(len(z), generator=generator)[:n]] for z in levels]
    accuracy: float = build("metric", "classifier-test", trees=200, folds=5)(*chosen)
    return accuracy


def judged(name: str, drawn: np.ndarray, split: str, **facts: object) -> None:
    """Print the distances of samples from the held-out half, and their distance from the nearest training images."""
    train, other = halves(split)
    x, y = torch.as_tensor(drawn), torch.as_tensor(other)
    nearest = torch.cdist(torch.as_tensor(drawn).flatten(1).double(), torch.as_tensor(train).flatten(1).double())
    result = {
        "model": name,
        "energy": round(build("metric", "energy")(x, y), 5),
        "sliced_w2": round(build("metric", "sliced-w2")(x, y), 4),
        "forest": round(forest_accuracy(x, y), 3),
        "forest_500": round(statistics.mean(forest_accuracy(x, y, 500, seed) for seed in range(5)), 3),
        "nearest_training_image": round(float(nearest.min(1).values.mean()), 3),
    }
    print(json.dumps(result | facts), flush=True)


def ours(seconds: float, steps: int, options: list[str], arguments: list[str], samples: int, split: str) -> None:
    """Train, sample and measure through the command line."""
    from sdekit_cli.app import main

    def sdekit(*words: str) -> None:
        try:
            main(list(words))
        except SystemExit as end:
            if end.code:
                raise

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        np.save(path / "half.npy", halves(split)[0])
        extra = [word for option in options for word in ("--option", option)]
        run, out = str(path / "run"), str(path / "ode")
        sdekit(
            "train",
            "--data",
            f"array:{path / 'half.npy'}",
            "--out",
            run,
            "--time-limit",
            str(seconds),
            "--steps",
            str(steps),
            *extra,
            *arguments,
        )
        began = time.monotonic()
        sdekit("sample", run, "--solver", "ode", "-n", str(samples), "--out", out)
        done = json.loads((path / "run" / "metrics.jsonl").read_text().splitlines()[-1])["step"]
        nfe = json.loads((path / "ode" / "sample.json").read_text())["nfe"]
        drawn = np.load(path / "ode" / "samples.npy")
        judged(
            "sdekit",
            drawn,
            split,
            settings=options + arguments,
            steps=done,
            nfe=nfe,
            sampling_s=round(time.monotonic() - began, 1),
        )


def diffusers_unet(seconds: float, samples: int, split: str) -> None:
    """Train diffusers' U-Net, of similar size, with its DDPM objective and EMA, and sample by its DDIM in 100 steps."""
    from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel
    from diffusers.training_utils import EMAModel

    torch.manual_seed(0)
    blocks = dict(down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"))
    unet = UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, block_out_channels=(32, 64), norm_num_groups=8, **blocks
    )
    unet = unet.to(memory_format=torch.channels_last)
    x, noiser, ema = (
        torch.from_numpy(halves(split)[0]),
        DDPMScheduler(),
        EMAModel(unet.parameters(), decay=0.999, use_ema_warmup=True),
    )
    optimizer = torch.optim.AdamW(unet.parameters(), lr=2e-3, betas=(0.9, 0.99), weight_decay=0.0)
    began, steps = time.monotonic(), 0
    while (progress := (time.monotonic() - began) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1.0, (steps + 1) / 50) * 0.5 * (1 + np.cos(np.pi * progress))
        batch, t = x[torch.randint(len(x), (32,))], torch.randint(1000, (32,))
        eps = torch.randn_like(batch)
        loss = (unet(noiser.add_noise(batch, eps, t), t).sample - eps).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimizer.step()
        ema.step(unet.parameters())
        steps += 1
    ema.copy_to(unet.parameters())
    sampler = DDIMScheduler(timestep_spacing="trailing", clip_sample=False)
    sampler.set_timesteps(100)
    with torch.no_grad():
        drawn = torch.randn(samples, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        for t in sampler.timesteps:
            drawn = sampler.step(unet.eval()(drawn, t).sample, t, drawn).prev_sample
    facts = {"parameters": sum(p.numel() for p in unet.parameters()), "steps": steps, "nfe": 100}
    judged("diffusers", drawn.numpy(), split, **facts)


def main() -> None:
    """Measure the training half itself, sdekit and, if chosen, diffusers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0, help="time limit of the training")
    parser.add_argument("--steps", type=int, default=900, help="number of training steps of sdekit, if time allows")
    parser.add_argument("--samples", type=int, default=1000, help="number of samples")
    parser.add_argument(
        "--option", action="append", default=[], help="option of `sdekit train --option`; may be repeated"
    )
    parser.add_argument("--peer", action="store_true", help="also measure diffusers")
    parser.add_argument(
        "--split", choices=("numpy", "torch"), default="numpy", help="library whose permutation splits the digits"
    )
    arguments, rest = parser.parse_known_args()
    train, _ = halves(arguments.split)
    judged("the training half itself", train, arguments.split)
    ours(arguments.seconds, arguments.steps, arguments.option, rest, arguments.samples, arguments.split)
    if arguments.peer:
        diffusers_unet(arguments.seconds, arguments.samples, arguments.split)


if __name__ == "__main__":
    main()
