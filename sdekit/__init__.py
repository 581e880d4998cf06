"""sdekit: score-based diffusion models in continuous time.

A process is two functions, `alpha(t)` and `sigma(t)`: x_t = alpha(t) x_0 + sigma(t) eps. Models and samplers share one
interface, the denoiser `denoise(x, t, y=None) -> E[x_0 | x_t = x, y]`. Public names are imported on first use, so that
`import sdekit` does not import torch.
"""

import lazy_loader
import pluggy

__version__ = "0.2.0"

API_VERSION = 2
"""Version of the plugin API: hooks, signatures and public names. A plugin may declare `sdekit_api = 2`."""

hookimpl = pluggy.HookimplMarker("sdekit")
"""Marks a function as the implementation of one of the hooks in `sdekit.registry.hookspecs`."""

__getattr__, _, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ = sorted([*__all__, "API_VERSION", "hookimpl"])


def __dir__() -> list[str]:
    """Return the public names, for `dir` and completion."""
    return [*__all__, "__version__"]
