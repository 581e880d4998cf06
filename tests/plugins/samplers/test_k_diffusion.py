"""The samplers that k-diffusion has too: the same network, noise levels and noise give the same x after every step.

It is no dependency of any kind, since it asks for much that is not needed here. These tests run after
`pip install torchsde; pip install --no-deps k-diffusion dctorch`.
"""

import math
import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from sdekit import registry
from sdekit.processes import EDM
from sdekit.sampling import Sampler


@pytest.fixture
def sampling(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`k_diffusion.sampling`, without the package around it, and without torchvision, which it imports for images."""
    found = find_spec("k_diffusion")
    if found is None:
        pytest.skip("k-diffusion is not installed")
    package = ModuleType("k_diffusion")
    package.__path__ = list(found.submodule_search_locations or ())
    transforms = ModuleType("torchvision.transforms")
    transforms.functional = None  # type: ignore[attr-defined]
    for module in (package, ModuleType("torchvision"), transforms):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    try:
        return import_module("k_diffusion.sampling")
    except ImportError as error:
        pytest.skip(f"k-diffusion cannot be imported: {error}")


def network(x: Tensor, rho: Tensor) -> Tensor:
    """A denoiser of moderate slope."""
    return 0.3 * torch.sin(2 * x.flip(1) + rho.log().float() / 4) + x / (1 + float(rho) ** 2)


class Draws:
    """The same numbered draws for both."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(1)

    def __call__(self, t: Any = None, s: Any = None) -> Tensor:
        return torch.randn(4, 3, generator=self.generator)


class Halves(Draws):
    """For a sampler that asks for the first half of a step and then for all of it: only the second half is drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.half: tuple[float, float, Tensor] | None = None

    def __call__(self, t: Tensor, s: Tensor) -> Tensor:
        z = super().__call__()
        if self.half is None:
            self.half = float(t), float(s), z
            return z
        start, middle, half = self.half
        self.half, end = None, float(s)
        # x at the end of the SDE's two steps: the first's noise is damped by (end / middle)^2
        first = (end / middle) ** 2 * middle * math.sqrt(1 - (middle / start) ** 2)
        second = end * math.sqrt(1 - (end / middle) ** 2)
        return (first * half + second * z) / math.hypot(first, second)


CASES: list[tuple[str, dict[str, Any], str, dict[str, Any]]] = [
    ("ddim", {}, "euler", {}),
    ("heun", {}, "heun", {}),
    ("dpm-2", {}, "dpm_2", {}),
    ("lms", {}, "lms", {}),
    ("dpmpp-2m", {}, "dpmpp_2m", {}),
    ("dpmpp-2s", {}, "dpmpp_2s_ancestral", {"eta": 0.0}),
    ("ddpm", {}, "euler_ancestral", {"noise_sampler": Draws}),
    ("euler-ancestral", {}, "euler_ancestral", {"noise_sampler": Draws}),
    ("dpmpp-2m-sde", {}, "dpmpp_2m_sde", {"noise_sampler": Draws}),
    ("dpmpp-sde", {}, "dpmpp_sde", {"noise_sampler": Halves}),
]


@pytest.mark.parametrize(("name", "options", "function", "given"), CASES, ids=[case[0] for case in CASES])
def test_equals_k_diffusion(
    name: str, options: dict[str, Any], function: str, given: dict[str, Any], sampling: Any
) -> None:
    """Every x on the way is equal to 1e-4 of the largest, in float32; then comes their step to sigma = 0."""
    sde, sampler = EDM(), registry.make("sampler", name, **options)
    assert isinstance(sampler, Sampler)
    sigmas = sampling.get_sigmas_karras(12, 0.01, 80.0)
    first = 80 * torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    theirs: list[Tensor] = []
    getattr(sampling, f"sample_{function}")(
        lambda x, sigma: network(x, sigma[0]),
        first,
        sigmas,
        disable=True,
        callback=lambda state: theirs.append(state["x"]),
        **{key: value() if key == "noise_sampler" else value for key, value in given.items()},
    )
    ours = list(sampler.trajectory(sde, network, first, sde.time(sigmas[:-1].double()), Draws()))
    assert len(ours) == len(theirs) - 1 == 11
    for mine, other in zip(ours, theirs[1:], strict=True):
        assert (mine - other).abs().max() < 1e-4 * other.abs().max()
