"""Measure the speed of all backends, of diffusers and of azula, with the same weights in one process.

    python benchmarks/backends.py [--calls 4] [--rounds 3] [--only NAME ...] [--seconds 20]

DDIM runs a UNet2DModel of diffusers (3x32x32, batch 64) for a few evaluations, in the loop of diffusers, of azula if it
is installed, and of `sdekit.sample` with each backend. Each round runs all of them; the best round counts. The share of
the time that `sdekit.sample` spends inside the network is measured too. Compilation happens before the measurement and
is cached for later runs. Prints a Markdown table, see results/backends.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from sdekit import VP, InputError, ScoreModel, sample
from sdekit.registry import component_names

SHAPE, BATCH = (3, 32, 32), 64
SDE = VP()


class Eps(nn.Module):
    """Network of diffusers with sdekit's signature; it receives the time as a step of 1,000."""

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        out: Tensor = self.unet(x, 1000 * SDE.time((4 * c_noise).exp()).to(x.dtype)).sample
        return out


def build() -> nn.Module:
    """Build a U-Net of two levels."""
    from diffusers import UNet2DModel

    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=SHAPE[1],
        block_out_channels=(32, 64),
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
    )
    return unet.eval().requires_grad_(False)


def by_diffusers(unet: nn.Module, calls: int) -> Callable[[], Tensor]:
    """Return a run of diffusers' DDIM, as its pipelines run it."""
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(beta_start=1e-4, beta_end=0.02, clip_sample=False)
    scheduler.set_timesteps(calls)
    start = torch.randn(BATCH, *SHAPE, generator=torch.Generator().manual_seed(0))

    def run() -> Tensor:
        x = start
        for t in scheduler.timesteps:
            x = scheduler.step(unet(x, t).sample, t, x).prev_sample
        return x

    return run


def by_azula(network: Eps, calls: int) -> Callable[[], Tensor]:
    """Return a run of azula's DDIM."""
    from azula.denoise import Denoiser, DiracPosterior
    from azula.noise import VPSchedule
    from azula.sample import DDIMSampler

    class Plain(Denoiser):
        """(x - sigma eps) / alpha."""

        def __init__(self) -> None:
            super().__init__()
            self.schedule = VPSchedule()

        def forward(self, x_t: Tensor, t: Tensor, **_: object) -> DiracPosterior:
            alpha, sigma = self.schedule(t)
            c_noise = ((sigma / alpha).log() / 4).expand(len(x_t))
            return DiracPosterior((x_t - sigma * network(x_t, c_noise)) / alpha)

    sampler = DDIMSampler(Plain(), steps=calls, silent=True)
    start = torch.randn(BATCH, *SHAPE, generator=torch.Generator().manual_seed(0))
    return lambda: sampler(start)


def by_sdekit(network: nn.Module, calls: int, backend: str | None) -> tuple[Callable[[], Tensor], ScoreModel]:
    """Return a run of `sample` with DDIM, and its model."""
    model = ScoreModel(network, SDE, "eps", backend=backend)
    return lambda: sample(SDE, model, "ddim", shape=SHAPE, n=BATCH, steps=calls).x, model


def inside(network: nn.Module, calls: int) -> float:
    """Return the share of the time of `sample` that is spent inside the network."""
    seconds = 0.0

    def run(x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        nonlocal seconds
        began = time.perf_counter()
        out: Tensor = network(x, c_noise, y)
        seconds += time.perf_counter() - began
        return out

    model = ScoreModel(network, SDE, "eps")
    model.backend = run  # type: ignore[assignment]  # without the checks of a backend
    began = time.perf_counter()
    sample(SDE, model, "ddim", shape=SHAPE, n=BATCH, steps=calls)
    return seconds / (time.perf_counter() - began)


def contenders(calls: int, only: list[str]) -> tuple[dict[str, Callable[[], Tensor]], dict[str, str]]:
    """Return the runs by name, and the reasons why others are not measured."""
    results: dict[str, Callable[[], Tensor]] = {}
    absent: dict[str, str] = {}
    unet = build()
    network = Eps(unet)
    peers = {"diffusers": lambda: by_diffusers(unet, calls), "azula": lambda: by_azula(network, calls)}
    for name, make in peers.items():
        try:
            results[name] = make()
            results[name]()
        except Exception as error:  # other libraries raise different errors
            results.pop(name, None)
            absent[name] = f"{type(error).__name__}: {error}".splitlines()[0]
    for name in component_names("backend"):
        if only and name not in only:
            continue
        own = Eps(build())  # channels-last rearranges the weights of its network
        run, model = by_sdekit(own, calls, name)
        began = time.perf_counter()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                run()
        except InputError as error:
            absent[name] = str(error)
            continue
        if model.backend is not None and model.backend.fallback:
            absent[name] = model.backend.fallback
            continue
        print(f"{name}: ready in {time.perf_counter() - began:.0f} s", flush=True)
        results[f"sdekit, {name}"] = run
    return results, absent


def main() -> None:
    """Measure all runs and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=4, help="network evaluations per sample")
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds")
    parser.add_argument("--only", nargs="*", default=[], help="backends to measure; all by default")
    parser.add_argument("--seconds", type=float, default=60, help="seconds after which no new round starts")
    options = parser.parse_args()
    with torch.no_grad():
        results, absent = contenders(options.calls, options.only)
        best = dict.fromkeys(results, float("inf"))
        share = inside(Eps(build()), options.calls)
        began, rounds = time.perf_counter(), 0
        while rounds < options.rounds and time.perf_counter() - began < options.seconds:
            rounds += 1
            for name, run in results.items():
                start = time.perf_counter()
                run()
                best[name] = min(best[name], time.perf_counter() - start)
    print(f"\n{torch.get_num_threads()} threads of {os.cpu_count()} ({platform.machine()}, ", end="")
    print(
        f"{torch.backends.cpu.get_cpu_capability()}), torch {torch.__version__}, {rounds} rounds, {options.calls} calls"
    )
    print(f"inside the network: {share:.1%} of the time of `sample`\n")
    print("| | images a second | times diffusers |\n|---|---|---|")
    base = best.get("diffusers", next(iter(best.values())))
    for name, seconds in sorted(best.items(), key=lambda pair: pair[1]):
        print(f"| {name} | {BATCH / seconds:.1f} | {base / seconds:.2f} |")
    for name, why in absent.items():
        print(f"\nnot measured: {name}: {why}")


if __name__ == "__main__":
    main()
