"""Measure a GPU: images per second, peak memory and host synchronisations of sdekit's backends and of diffusers.

    python benchmarks/gpu.py [--batch 1 64] [--steps 20] [--rounds 3] [--only NAME ...] [--out FILE]

The network is one U-Net of diffusers (36 M parameters, 3x32x32, as for CIFAR-10) in float32. It runs DDIM in
four kinds of loops: diffusers with DDIMScheduler, eagerly and compiled; diffusers with `SdekitScheduler`; and
`sdekit.sample` with every backend. All start from the same noise, and the largest deviation from the first loop is
printed, so that a fast but wrong backend is seen.

A run is timed after a warm-up, from an idle GPU to an idle GPU; the fastest round counts. Peak memory is the largest
amount that torch allocated during a run, without the weights of other contenders. A host synchronisation is a point
where the program waits for the GPU, as counted by torch in one run: a loop that never waits in its steps has a number
that does not grow with the steps, so the number of additional synchronisations of a run with twice the steps is printed
too. Without a GPU, the script prints "not measured". `--device cpu` tries the script itself on a small network.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sdekit import InputError, ScoreModel, sample
from sdekit.models import NetworkInput
from sdekit.processes import TabulatedVP
from sdekit.registry import component_names

SHAPE = (3, 32, 32)
SDE = TabulatedVP.linear()
INPUTS = NetworkInput(clock="t", scale=len(SDE.betas), offset=-1, normalize=False)
Run = Callable[[int], Tensor]
"""Function of the number of steps that returns the images, (B, *)."""


@dataclass(frozen=True)
class Measurement:
    """Result of one contender.

    Arguments:
        seconds: Shortest time of a run.
        memory: Peak memory in bytes; None on the CPU.
        waits: Host synchronisations of a run; None on the CPU.
        more_waits: Additional host synchronisations of a run with twice the steps; None on the CPU.
        deviation: Largest deviation from the first contender, relative to its largest value.
    """

    seconds: float
    memory: int | None
    waits: int | None
    more_waits: int | None
    deviation: float


class Index(nn.Module):
    """U-Net of diffusers with sdekit's signature."""

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, x: Tensor, index: Tensor, y: None = None) -> Tensor:
        output: Tensor = self.unet(x, index).sample
        return output


def build(device: str, *, small: bool) -> nn.Module:
    """Build the U-Net, always with the same weights."""
    from diffusers import UNet2DModel

    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=SHAPE[1],
        block_out_channels=(8, 8) if small else (128, 256, 256, 256),
        layers_per_block=1 if small else 2,
        norm_num_groups=8 if small else 32,
        down_block_types=("DownBlock2D",) * 2 if small else ("DownBlock2D", "AttnDownBlock2D", *("DownBlock2D",) * 2),
        up_block_types=("UpBlock2D",) * 2 if small else (*("UpBlock2D",) * 2, "AttnUpBlock2D", "UpBlock2D"),
    )
    return unet.to(device).eval().requires_grad_(False)


def diffusers_loop(unet: Callable[..., Any], scheduler: Any, noise: Tensor) -> Run:
    """Return the loop of a pipeline of diffusers."""

    def run(steps: int) -> Tensor:
        scheduler.set_timesteps(steps, device=noise.device)
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(0)
        x = noise * scheduler.init_noise_sigma
        for t in scheduler.timesteps:
            x = scheduler.step(unet(x, t).sample, t, x).prev_sample
        return x

    return run


def sdekit_loop(model: ScoreModel, noise: Tensor, grid: Callable[[int], Tensor]) -> Run:
    """Return a run of `sdekit.sample` with DDIM."""

    def run(steps: int) -> Tensor:
        result: Tensor = sample(SDE, model, "ddim", shape=SHAPE, x=noise, grid=grid(steps), device=noise.device).x
        return result

    return run


def scheduler_times(steps: int) -> Tensor:
    """Return the times of DDIMScheduler with trailing spacing."""
    index = torch.arange(len(SDE.betas), 0, -len(SDE.betas) / steps, dtype=torch.float64).round() - 1
    return (index + 1) / len(SDE.betas)


def contenders(device: str, batch: int, only: Sequence[str], *, small: bool) -> dict[str, Callable[[], Run]]:
    """Return functions that prepare each contender, by its name."""
    from diffusers import DDIMScheduler

    from sdekit.integrations.diffusers import SdekitScheduler

    noise = torch.randn(batch, *SHAPE, generator=torch.Generator().manual_seed(0)).to(device)
    options = {"beta_end": 0.02, "clip_sample": False, "timestep_spacing": "trailing"}
    config = {**DDIMScheduler(**options).config, "_class_name": "DDIMScheduler"}

    def theirs(compiled: bool = False) -> Run:
        unet = build(device, small=small)
        return diffusers_loop(torch.compile(unet) if compiled else unet, DDIMScheduler(**options), noise)

    def scheduler() -> Run:
        ours = SdekitScheduler.from_config(config, sampler="ddim", grid="scheduler")
        return diffusers_loop(build(device, small=small), ours, noise)

    def backend(name: str) -> Run:
        model = ScoreModel(Index(build(device, small=small)), SDE, "eps", inputs=INPUTS, backend=name)
        run = sdekit_loop(model, noise, scheduler_times)

        def checked(steps: int) -> Tensor:
            result = run(steps)
            if model.backend is not None and model.backend.fallback:
                raise InputError(model.backend.fallback)
            return result

        return checked

    prepared: dict[str, Callable[[], Run]] = {"diffusers": theirs}
    if not small:
        prepared["diffusers, torch.compile"] = lambda: theirs(compiled=True)
    prepared["diffusers, SdekitScheduler"] = scheduler
    for name in component_names("backend"):
        prepared[f"sdekit, {name}"] = lambda name=name: backend(name)
    return {name: make for name, make in prepared.items() if not only or any(part in name for part in only)}


def count_waits(run: Run, steps: int) -> int:
    """Count the host synchronisations of a run, with torch's own detection."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            run(steps)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing" in str(warning.message) for warning in caught)


def measure(make: Callable[[], Run], device: str, steps: int, rounds: int, expected: Tensor | None) -> Measurement:
    """Measure one contender."""
    on_gpu = device.startswith("cuda")
    if on_gpu:
        torch.cuda.empty_cache()
    run = make()
    result = run(steps)
    run(2 * steps)  # warm-up
    waits, twice = (count_waits(run, steps), count_waits(run, 2 * steps)) if on_gpu else (None, None)
    best = float("inf")
    for _ in range(rounds):
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
            torch.cuda.synchronize()
        began = time.perf_counter()
        run(steps)
        if on_gpu:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    expected = result if expected is None else expected
    deviation = float((result - expected).abs().max() / expected.abs().max())
    memory = torch.cuda.max_memory_allocated() if on_gpu else None
    return Measurement(best, memory, waits, None if twice is None or waits is None else twice - waits, deviation)


def table(results: dict[str, Measurement], batch: int, steps: int) -> list[str]:
    """Return a Markdown table."""
    lines = [
        f"\nBatch {batch}, {steps} steps:\n",
        "| | images/s | times the first | peak MiB | waits a run | more waits for twice the steps | deviation |",
        "|---|---|---|---|---|---|---|",
    ]
    base = next(iter(results.values())).seconds if results else 1.0
    for name, row in sorted(results.items(), key=lambda pair: pair[1].seconds):
        memory = "-" if row.memory is None else f"{row.memory / 2**20:.0f}"
        waits, more = ("-" if value is None else str(value) for value in (row.waits, row.more_waits))
        speed = f"{batch / row.seconds:.1f} | {base / row.seconds:.2f}"
        lines.append(f"| {name} | {speed} | {memory} | {waits} | {more} | {row.deviation:.1e} |")
    return lines


def main(arguments: Sequence[str] | None = None) -> list[str]:
    """Measure all contenders, print the tables and return their lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 64], help="batch sizes")
    parser.add_argument("--steps", type=int, default=20, help="network evaluations per image")
    parser.add_argument("--rounds", type=int, default=3, help="number of timed runs")
    parser.add_argument("--only", nargs="*", default=[], help="parts of the names of contenders; all by default")
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to try the script on a small network")
    parser.add_argument("--out", type=Path, help="file for the tables")
    options = parser.parse_args(arguments)
    on_gpu = options.device.startswith("cuda")
    if on_gpu and not torch.cuda.is_available():
        lines = [f"not measured: torch {torch.__version__} finds no GPU"]
        print(lines[0])
        return lines
    name = torch.cuda.get_device_name(options.device) if on_gpu else "the CPU, a small network"
    lines = [f"{name}, torch {torch.__version__}, best of {options.rounds} runs"]
    print(lines[0], flush=True)
    for batch in options.batch:
        results, absent, expected = dict[str, Measurement](), list[str](), None
        for contender, make in contenders(options.device, batch, options.only, small=not on_gpu).items():
            try:
                with torch.no_grad(), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    if expected is None:
                        expected = make()(options.steps)
                    results[contender] = measure(make, options.device, options.steps, options.rounds, expected)
            except Exception as error:  # a backend that this machine lacks must not stop the others
                absent.append(f"not measured: {contender}: {type(error).__name__}: {str(error).splitlines()[0][:150]}")
        part = [*table(results, batch, options.steps), *absent]
        print("\n".join(part), flush=True)
        lines += part
    if options.out:
        options.out.write_text("\n".join(lines) + "\n", "utf-8")
    return lines


if __name__ == "__main__":
    main()
