"""Autoguidance: a bad version of the model shows where the good one is going."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from sdekit.distributions import GaussianMixture
from sdekit.errors import InputError
from sdekit.guidance import count_calls, require_finite
from sdekit.processes import SDE, Denoiser, same_process
from sdekit.runs import Run, load_run, when_written


def autoguidance(
    sde: SDE,
    denoise: Denoiser,
    *,
    run: str | Callable[..., Tensor] = "",
    step: int | None = None,
    scale: float = 2.0,
) -> Denoiser:
    """D_weak(x, y) + scale (D(x, y) - D_weak(x, y)): away from the errors of a weaker model of the same kind.

    run: the weaker model: a run folder of the same process and data, smaller or trained less, or a denoiser. step: of
    that run an earlier average of the weights, kept by training with train.keep_every. scale: 1 is the model itself,
    bit for bit and without a call of the other; 0 the weaker one. Conditional or not, both are asked the same. Two
    network calls. Source: Karras et al. 2024, "Guiding a diffusion model with a bad version of itself", eq. 3.
    """
    require_finite("autoguidance", scale=scale)
    if not run:
        raise InputError("autoguidance: say which weaker model: run=FOLDER, or run=FOLDER,step=N")
    weak = count_calls(_load(sde, run, step) if isinstance(run, str) else run)

    def guided(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        if scale == 1:
            return denoise(x, t, y)
        if scale == 0:
            return weak(x, t, y)
        return torch.lerp(weak(x, t, y), denoise(x, t, y), scale)

    return guided


def _load(sde: SDE, path: str, step: int | None) -> Denoiser:
    loaded = _opened(path, step, when_written(path))
    if not same_process(loaded.model.sde, sde):
        raise InputError(
            f"autoguidance: {path} was trained with the process {loaded.recipe.sde.name}, not with the model's: both "
            "must be the same"
        )
    told = loaded.recipe.condition != "none"

    def weak(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        model = loaded.model.to(x.device)
        result: Tensor = model(x, t, y if told else None)
        return result

    return weak


@lru_cache(maxsize=2)  # every batch asks for it
def _opened(path: str, step: int | None, written: tuple[int, ...]) -> Run:
    """The run. written: when its files were, so that one that was trained on is read anew."""
    return load_run(path, step=step)


def _trial(sde: SDE, mixture: GaussianMixture) -> Any:
    """Against a mixture that is wider."""
    from sdekit.verify import Trial  # here, since drawing needs no checks

    weak = GaussianMixture(mixture.means, 1.5 * mixture.variances.sqrt()).denoiser(sde)

    def exact(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        return 3 * mixture.denoiser(sde)(x, t, y) - 2 * weak(x, t, y)

    return Trial({"run": weak, "scale": 3.0}, exact)


autoguidance.trial = _trial  # type: ignore[attr-defined]
