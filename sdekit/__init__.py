"""sdekit: score-based diffusion models in continuous time.

A process is two functions, `alpha(t)` and `sigma(t)`: x_t = alpha(t) x_0 + sigma(t) eps. Everything meets at one
callable, the denoiser `denoise(x, t, y=None) -> E[x_0 | x_t = x, y]`. Names below resolve on first use, so that
`import sdekit` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import pluggy

__version__ = "0.1.0"

API_VERSION = 1
"""Version of what plugins lean on: hooks, signatures and public names. A plugin may say `sdekit_api = 1`."""

hookimpl = pluggy.HookimplMarker("sdekit")
"""Marks a function as the implementation of one of the hooks in `sdekit.hookspecs`."""

_PUBLIC = {
    "SDE": "sdekit.sde",
    "VP": "sdekit.processes",
    "SubVP": "sdekit.processes",
    "VE": "sdekit.processes",
    "Cosine": "sdekit.processes",
    "EDM": "sdekit.processes",
    "RectifiedFlow": "sdekit.processes",
    "TabulatedVP": "sdekit.processes",
    "GaussianMixture": "sdekit.mixture",
    "ScoreModel": "sdekit.model",
    "Sampler": "sdekit.sampling",
    "Samples": "sdekit.sampling",
    "sample": "sdekit.sampling",
    "SeedNoise": "sdekit.noise",
    "SdekitError": "sdekit.errors",
    "InputError": "sdekit.errors",
    "load_run": "sdekit.training.run",
    "train": "sdekit.training.loop",
}

if TYPE_CHECKING:
    from .errors import InputError, SdekitError
    from .mixture import GaussianMixture
    from .model import ScoreModel
    from .noise import SeedNoise
    from .processes import EDM, VE, VP, Cosine, RectifiedFlow, SubVP, TabulatedVP
    from .sampling import Sampler, Samples, sample
    from .sde import SDE
    from .training.loop import train
    from .training.run import load_run

__all__ = [
    "API_VERSION",
    "EDM",
    "SDE",
    "VE",
    "VP",
    "Cosine",
    "GaussianMixture",
    "InputError",
    "RectifiedFlow",
    "Sampler",
    "Samples",
    "ScoreModel",
    "SdekitError",
    "SeedNoise",
    "SubVP",
    "TabulatedVP",
    "hookimpl",
    "load_run",
    "sample",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'sdekit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
