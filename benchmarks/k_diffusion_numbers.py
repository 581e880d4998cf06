"""Write tests/plugins/samplers/k_diffusion.json: every x of k-diffusion's samplers on one small problem.

The tests compare sdekit with this file and need no k-diffusion. Run this script in an environment of its own:

    python -m venv peers && peers/bin/pip install torch scipy
    peers/bin/pip install --no-deps k-diffusion dctorch einops tqdm torchdiffeq torchsde trampoline pillow safetensors
    peers/bin/python benchmarks/k_diffusion_numbers.py
"""

import json
import math
import re
import sys
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

FILE = Path(__file__).parents[1] / "tests" / "plugins" / "samplers" / "k_diffusion.json"
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    # sampler of sdekit: function of k-diffusion, its options
    "ddim": ("euler", {}),
    "heun": ("heun", {}),
    "dpm-2": ("dpm_2", {}),
    "lms": ("lms", {}),
    "dpmpp-2m": ("dpmpp_2m", {}),
    "dpmpp-2s": ("dpmpp_2s_ancestral", {"eta": 0.0}),
    "ddpm": ("euler_ancestral", {"noise_sampler": "steps"}),
    "euler-ancestral": ("euler_ancestral", {"noise_sampler": "steps"}),
    "dpmpp-2s-ancestral": ("dpmpp_2s_ancestral", {"noise_sampler": "steps"}),
    "dpmpp-2m-sde": ("dpmpp_2m_sde", {"noise_sampler": "steps"}),
    "dpmpp-sde": ("dpmpp_sde", {"noise_sampler": "halves"}),
}


def load_sampling() -> Any:
    """Import `k_diffusion.sampling` without its package and without torchvision, which it imports for images only."""
    package = ModuleType("k_diffusion")
    spec = find_spec("k_diffusion")
    assert spec is not None and spec.submodule_search_locations, "install k-diffusion, see the docstring"
    package.__path__ = list(spec.submodule_search_locations)
    transforms = ModuleType("torchvision.transforms")
    transforms.functional = None  # type: ignore[attr-defined]
    for module in (package, ModuleType("torchvision"), transforms):
        sys.modules[module.__name__] = module
    return import_module("k_diffusion.sampling")


def network(x: Tensor, sigma: Tensor) -> Tensor:
    """Denoise x (2, 2) at noise level sigma (2,). The test uses the same function."""
    rho = float(sigma[0])
    return 0.3 * torch.sin(2 * x.flip(1) + math.log(rho) / 4) + x / (1 + rho**2)


class StepNoise:
    """Noise source that returns the next stored draw for each step."""

    def __init__(self, draws: list[Tensor]) -> None:
        self.draws = iter(draws)

    def __call__(self, sigma: Tensor, sigma_next: Tensor) -> Tensor:
        return next(self.draws)


class HalvesNoise(StepNoise):
    """Noise source for a sampler that asks for the first half of a step and then for the whole step.

    Both halves are stored draws. The draw of the whole step combines them as the SDE's two exact steps do: the noise of
    the first half is damped by (end / middle)^2.
    """

    def __init__(self, draws: list[Tensor]) -> None:
        super().__init__(draws)
        self.half: tuple[float, float, Tensor] | None = None

    def __call__(self, sigma: Tensor, sigma_next: Tensor) -> Tensor:
        z = super().__call__(sigma, sigma_next)
        if self.half is None:
            self.half = float(sigma), float(sigma_next), z
            return z
        start, middle, half = self.half
        self.half, end = None, float(sigma_next)
        first = (end / middle) ** 2 * middle * math.sqrt(1 - (middle / start) ** 2)
        second = end * math.sqrt(1 - (end / middle) ** 2)
        return (first * half + second * z) / math.hypot(first, second)


def numbers(x: Tensor) -> list[float]:
    """Return all numbers of a tensor, each with 14 significant digits."""
    return [float(f"{value:.14g}") for value in x.flatten().tolist()]


def main() -> None:
    """Run the cases in float64 and write the file."""
    sampling = load_sampling()
    generator = torch.Generator().manual_seed(0)
    sigmas = sampling.get_sigmas_karras(12, 0.01, 80.0).double()
    sigmas = torch.cat([torch.tensor(numbers(sigmas[:-1]), dtype=torch.float64), torch.zeros(1)])
    start = 80 * torch.randn(2, 2, generator=generator, dtype=torch.float64)
    draws = [torch.randn(2, 2, generator=generator, dtype=torch.float64) for _ in range(24)]
    trajectories = {}
    for name, (function, options) in CASES.items():
        source = options.get("noise_sampler")
        noise = {} if source is None else {"noise_sampler": (StepNoise if source == "steps" else HalvesNoise)(draws)}
        points: list[list[float]] = []
        result = getattr(sampling, f"sample_{function}")(
            network,
            start,
            sigmas,
            disable=True,
            callback=lambda state, points=points: points.append(numbers(state["x"])),
            **{**options, **noise},
        )
        # points[0] is start
        trajectories[name] = {"function": f"sample_{function}", "x": points[1:], "result": numbers(result)}
    contents = {
        "script": "benchmarks/k_diffusion_numbers.py",
        "versions": {name: version(name) for name in ("k-diffusion", "torch")},
        "sigmas": numbers(sigmas[:-1]),
        "start": numbers(start),
        "draws": [numbers(draw) for draw in draws],
        "trajectories": trajectories,
    }
    text = json.dumps(contents, indent=1)
    one_line = re.sub(r"\[\s+([^][{}]*?)\s+\]", lambda match: f"[{' '.join(match[1].split())}]", text)
    FILE.write_text(one_line + "\n", "utf-8")


if __name__ == "__main__":
    main()
