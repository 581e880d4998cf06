"""Cost of the sampling loop: microseconds per step with a network that costs nothing, compared with other libraries.

    python benchmarks/overhead.py                   # sdekit alone
    python benchmarks/overhead.py --peers           # also diffusers, k-diffusion, azula and smalldiffusion

Every run is 50 steps to x_0 from the same x (a method of one call per step makes 50 calls, Heun's 99) and includes all
that a library does for a run: its grid, its coefficients and its checks. The libraries take turns, so that other load
of the machine affects all of them alike; the least time of each counts. The first row is the least that any loop can
do: x * a + b * eps in torch.

The second table contains the microseconds per call that pass outside of a network that takes a millisecond, for one
that only waits and one that computes on x; 50 of them are 5%. The script prints both tables and writes them to --out.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from peers import importable
from torch import Tensor

from sdekit import EDM, registry, sample

OUT = Path(__file__).parent / "results" / "overhead.md"
STEPS = 50
SHAPES = [(1, 2), (64, 3, 32, 32)]
MILLISECOND, ROUNDS = 1e-3, 30
FREED = 2**24
"""Bytes of a tensor that is freed first, as any network frees some: until then the C library returns the memory of
every step to the system, and requests it again page by page."""
Make = Callable[[Tensor, Tensor], Callable[[], Any]]
"""Function of x and the only result of the network, both (B, *), that returns a function that runs all steps."""
Network = Callable[[Tensor, Tensor], Tensor]
"""Function of x (B, *) and a time that returns a tensor like x."""


def floor(x: Tensor, answer: Tensor) -> Callable[[], Any]:
    """Return a run of x * a + b * eps and nothing else."""

    def run() -> Tensor:
        y = x
        with torch.no_grad():
            for _ in range(STEPS):
                y = torch.add(y * 0.99, answer, alpha=0.01)
        return y

    return run


def ours(name: str, noise: Any = None, **options: Any) -> Make:
    """Return the maker of runs of a sampler of sdekit, built for every run."""

    def make(x: Tensor, answer: Tensor) -> Callable[[], Any]:
        def run() -> Any:
            sampler = registry.build("sampler", name, **options)
            return sample(EDM(), lambda x, t: answer, sampler, shape=x.shape[1:], x=x, steps=STEPS, noise=noise)

        return run

    return make


def methods() -> dict[str, dict[str, Make]]:
    """Samplers of sdekit, by method."""
    return {
        "floor": {"x * a + b * eps": floor},
        "Euler, DDIM": {"sdekit ddim, closed form": ours("ddim", solver="closed-form"), "sdekit ddim": ours("ddim")},
        "two values of eps": {"sdekit gradient-estimation": ours("gradient-estimation")},
        "DPM++ 2M": {"sdekit dpmpp-2m": ours("dpmpp-2m")},
        "UniPC, order 2": {"sdekit unipc": ours("unipc", order=2)},
        "LMS": {"sdekit lms": ours("lms")},
        "Heun": {"sdekit heun": ours("heun")},
        "auto": {"sdekit auto": ours("auto")},
        "ancestral": {"sdekit euler-ancestral": ours("euler-ancestral"), "sdekit ddpm": ours("ddpm")},
        "DPM++ 2M SDE": {"sdekit dpmpp-2m-sde": ours("dpmpp-2m-sde")},
        "DPM++ 2M SDE on a Brownian path": {"sdekit dpmpp-2m-sde": ours("dpmpp-2m-sde", "brownian")},
    }


def diffusers() -> dict[str, dict[str, Make]]:
    """Schedulers of diffusers, used as their documentation does."""
    import diffusers

    def scheduler(name: str, **options: Any) -> Make:
        def make(x: Tensor, answer: Tensor) -> Callable[[], Any]:
            steps = getattr(diffusers, name + "Scheduler")(**options)

            @torch.no_grad()
            def run() -> Tensor:
                steps.set_timesteps(STEPS)
                y = x
                for t in steps.timesteps:
                    steps.scale_model_input(y, t)
                    y = steps.step(answer, t, y).prev_sample
                return y

            return run

        return make

    return {
        "Euler, DDIM": {"DDIM": scheduler("DDIM", clip_sample=False), "Euler": scheduler("EulerDiscrete")},
        "DPM++ 2M": {"DPM++2M": scheduler("DPMSolverMultistep")},
        "UniPC, order 2": {"UniPC": scheduler("UniPCMultistep")},
        "Heun": {"Heun": scheduler("HeunDiscrete")},
        "ancestral": {
            "DDPM": scheduler("DDPM", clip_sample=False),
            "Euler ancestral": scheduler("EulerAncestralDiscrete"),
        },
        "DPM++ 2M SDE": {"DPM++2M SDE": scheduler("DPMSolverMultistep", algorithm_type="sde-dpmsolver++")},
    }


def k_diffusion() -> dict[str, dict[str, Make]]:
    """Sampling functions of k-diffusion."""
    import k_diffusion.sampling as sampling

    def function(name: str, **options: Any) -> Make:
        def make(x: Tensor, answer: Tensor) -> Callable[[], Any]:
            sigmas = sampling.get_sigmas_karras(STEPS, 0.002, 80.0)
            arguments = {
                key: (lambda *_: torch.randn_like(x)) if key == "noise_sampler" else v for key, v in options.items()
            }
            return lambda: getattr(sampling, name)(lambda x, sigma: answer, x, sigmas, disable=True, **arguments)

        return make

    return {
        "Euler, DDIM": {"euler": function("sample_euler")},
        "DPM++ 2M": {"dpmpp_2m": function("sample_dpmpp_2m")},
        "LMS": {"lms": function("sample_lms")},
        "Heun": {"heun": function("sample_heun")},
        "ancestral": {"euler_ancestral": function("sample_euler_ancestral")},
        "DPM++ 2M SDE": {"dpmpp_2m_sde, plain noise": function("sample_dpmpp_2m_sde", noise_sampler=None)},
        "DPM++ 2M SDE on a Brownian path": {"dpmpp_2m_sde": function("sample_dpmpp_2m_sde")},
    }


def azula() -> dict[str, dict[str, Make]]:
    """Samplers of azula."""
    import azula.denoise
    import azula.noise
    import azula.sample

    class Free(azula.denoise.Denoiser):  # type: ignore[misc]
        """A network that costs nothing."""

        def __init__(self, answer: Tensor) -> None:
            super().__init__()
            self.answer, self.schedule = answer, azula.noise.VPSchedule()

        def forward(self, x: Tensor, t: Tensor, **_: Any) -> Any:
            """Return the only result."""
            return azula.denoise.DiracPosterior(self.answer)

    def sampler(name: str) -> Make:
        def make(x: Tensor, answer: Tensor) -> Callable[[], Any]:
            method = getattr(azula.sample, name + "Sampler")(Free(answer), steps=STEPS, silent=True)
            return lambda: method(x)

        return make

    return {
        "Euler, DDIM": {"DDIM": sampler("DDIM"), "Euler": sampler("Euler")},
        "two values of eps": {"zAB2": sampler("zAB")},
        "DPM++ 2M": {"xEAB2": sampler("xEAB")},
        "Heun": {"Heun": sampler("Heun")},
        "ancestral": {"DDPM": sampler("DDPM")},
    }


def smalldiffusion() -> dict[str, dict[str, Make]]:
    """Sampling loop of smalldiffusion."""
    import smalldiffusion

    class Free:
        """A network that costs nothing, which is its own accelerator."""

        device = "cpu"

        def __init__(self, answer: Tensor) -> None:
            self.answer = answer

        def eval(self) -> None:
            """Do nothing."""

        def rand_input(self, size: int) -> Tensor:
            """Return noise of the shape of the result."""
            return torch.randn_like(self.answer)

        def predict_eps_cfg(self, *_: Any) -> Tensor:
            """Return the only result."""
            return self.answer

    def loop(gam: float, mu: float) -> Make:
        def make(x: Tensor, answer: Tensor) -> Callable[[], Any]:
            sigmas = smalldiffusion.ScheduleLogLinear(1000, 0.002, 80.0).sample_sigmas(STEPS)
            network = Free(answer)
            return lambda: list(
                smalldiffusion.diffusion.samples(network, sigmas, gam=gam, mu=mu, xt=x, accelerator=network)
            )

        return make

    return {
        "Euler, DDIM": {"DDIM": loop(1.0, 0.0)},
        "two values of eps": {"gam=2": loop(2.0, 0.0)},
        "ancestral": {"DDPM": loop(1.0, 0.5)},
    }


def waiting(x: Tensor) -> Network:
    """Return a network that does nothing for a millisecond."""

    def network(x: Tensor, t: Tensor) -> Tensor:
        end = time.perf_counter() + MILLISECOND
        while time.perf_counter() < end:
            pass
        return x

    return network


def computing(x: Tensor) -> Network:
    """Return a network on x (B, *) with as many layers as run in a millisecond."""
    width = 64
    first, layer, last = (
        torch.randn(size) / size[0] ** 0.5 for size in ((x[0].numel(), width), (width, width), (width, x[0].numel()))
    )
    layers = 0

    def network(x: Tensor, t: Tensor) -> Tensor:
        h = x.flatten(1) @ first
        for _ in range(layers):
            h = torch.tanh(h @ layer)
        return (h @ last).view_as(x)

    while least(lambda: network(x, x), 20) < MILLISECOND:
        layers += 4
    return network


def least(run: Callable[[], Any], times: int) -> float:
    """Return the shortest time of several runs, in seconds."""
    took = []
    for _ in range(times):
        started = time.perf_counter()
        run()
        took.append(time.perf_counter() - started)
    return min(took)


def bare(network: Network, x: Tensor) -> None:
    """Run the least that any loop can do around a network."""
    for _ in range(STEPS):
        x = torch.add(x * 0.99, network(x, x), alpha=0.01)


def of(name: str, **options: Any) -> Callable[[Network, Tensor], Any]:
    """Return a run of a sampler, built for every run."""

    def run(network: Network, x: Tensor) -> Any:
        return sample(EDM(), network, registry.build("sampler", name, **options), shape=x.shape[1:], x=x, steps=STEPS)

    return run


def added(network: Network, run: Callable[[Network, Tensor], Any], x: Tensor) -> float:
    """Return the seconds per call that pass outside of the network in one run."""
    inside = calls = 0.0

    def timed(x: Tensor, t: Tensor) -> Tensor:
        nonlocal inside, calls
        started = time.perf_counter()
        answer = network(x, t)
        inside, calls = inside + time.perf_counter() - started, calls + 1
        return answer

    started = time.perf_counter()
    run(timed, x)
    return (time.perf_counter() - started - inside) / calls


@torch.no_grad()
def slow(names: list[str]) -> list[str]:
    """Return a Markdown table of the microseconds that each sampler adds to a call of either network."""
    runs: dict[str, Callable[[Network, Tensor], Any]] = {
        "x * a + b * eps": bare,
        "ddim, closed form": of("ddim", solver="closed-form"),
        **{name: of(name) for name in names},
    }
    heads, rows = list[str](), {name: list[str]() for name in runs}
    for shape in SHAPES:
        x = torch.randn(shape)
        for kind in (waiting, computing):
            heads.append(f"{shape}, {kind.__name__}")
            network = kind(x)
            took = {name: math.inf for name in runs}
            for _ in range(ROUNDS):
                for name, run in runs.items():
                    took[name] = min(took[name], added(network, run, x))
            for name, seconds in took.items():
                rows[name].append(f"{seconds * 1e6:.0f}")
    lines = [f"| {name} | " + " | ".join(row) + " |" for name, row in rows.items()]
    return ["| added to 1 ms a call | " + " | ".join(heads) + " |", "|---|" + "---|" * len(heads), *lines]


def measure(
    makers: dict[tuple[str, str], Make], shape: tuple[int, ...], seconds: float
) -> dict[tuple[str, str], float]:
    """Return the least microseconds per step of each run, over as many rounds as fit; a slow run has fewer."""
    torch.manual_seed(0)
    x, answer = torch.randn(shape), 0.1 * torch.randn(shape)
    runs = {key: make(x, answer) for key, make in makers.items()}
    times: dict[tuple[str, str], list[float]] = {key: [] for key in runs}
    begun = time.perf_counter()
    while time.perf_counter() - begun < seconds:
        for key, run in runs.items():
            if len(times[key]) > 2 and sum(times[key]) > seconds / 10:
                continue
            started = time.perf_counter()
            run()
            times[key].append(time.perf_counter() - started)
    return {key: min(each) / STEPS * 1e6 for key, each in times.items()}


def main() -> None:
    """Parse the arguments, measure, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", action="store_true", help="also measure other libraries that can be imported")
    parser.add_argument("--seconds", type=float, default=20.0, help="time of measuring each shape")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(arguments.threads)
    torch.ones(FREED // 8, dtype=torch.float64)
    makers = {(method, name): make for method, row in methods().items() for name, make in row.items()}
    if arguments.peers:
        importable()
        for library in (diffusers, k_diffusion, azula, smalldiffusion):
            try:
                rows = library()
            except ImportError as error:
                print(f"{library.__name__} cannot be imported: {error}")
                continue
            label = library.__name__.replace("_", "-")
            makers |= {(m, f"{label} {name}"): make for m, row in rows.items() for name, make in row.items()}
    columns = [measure(makers, shape, arguments.seconds) for shape in SHAPES]
    order = list(methods())
    text = ["# Cost of the loop", "", "`benchmarks/overhead.py` documents the measurement.", ""]
    text += ["| method | | " + " | ".join(map(str, SHAPES)) + " |", "|---|---|" + "---|" * len(SHAPES)]
    for method, name in sorted(makers, key=lambda key: order.index(key[0])):
        cells = " | ".join(f"{column[method, name]:.0f}" for column in columns)
        text.append(f"| {method} | {name} | {cells} |")
    names = ["ddim", "gradient-estimation", "dpmpp-2m", "dpmpp-3m", "deis", "lms", "ipndm", "unipc", "auto", "heun"]
    text += ["", *slow(names)]
    print("\n".join(text))
    arguments.out.parent.mkdir(exist_ok=True)
    arguments.out.write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
