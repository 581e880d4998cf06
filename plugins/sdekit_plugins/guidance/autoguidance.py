"""Autoguidance: guidance away from a weaker model of the same kind."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from sdekit.distributions import GaussianMixture
from sdekit.errors import InputError
from sdekit.guidance import count_calls, require_finite
from sdekit.models import OpenedModel, open_model
from sdekit.processes import SDE, Denoiser, same_process
from sdekit.runs import when_written


def autoguidance(
    sde: SDE,
    denoise: Denoiser,
    *,
    run: str | Callable[..., Tensor] = "",
    step: int | None = None,
    scale: float = 2.0,
) -> Denoiser:
    """Autoguidance, away from the errors of a weaker model: D_weak + scale (D - D_weak).

    Both models are evaluated with the same condition, or without one. It costs two network evaluations.

    Arguments:
        sde: Process of the denoiser.
        denoise: The denoiser.
        run: The weaker model, smaller or trained for fewer steps, with the same process and data: anything that
            `sdekit.open_model` opens, such as a run folder, or a denoiser.
        step: Training step of stored weights of that run (option train.keep_every of the training), or None for the
            last ones.
        scale: 1 is exactly the model itself and 0 exactly the weaker model; in both cases the other is not evaluated.
    Returns:
        The guided denoiser.
    Raises:
        InputError: If `run` is missing or has another process, or scale is not finite.
    Source:
        Karras et al. 2024, "Guiding a diffusion model with a bad version of itself", eq. 3.
    """
    require_finite("autoguidance", scale=scale)
    if not run:
        raise InputError("autoguidance: say which weaker model to use: run=FOLDER, or run=FOLDER,step=N")
    weak = count_calls(_load(sde, run, step) if isinstance(run, str) else run)

    def guided(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        if scale == 1:
            return denoise(x, t, y)
        if scale == 0:
            return weak(x, t, y)
        return torch.lerp(weak(x, t, y), denoise(x, t, y), scale)

    return guided


def _load(sde: SDE, path: str, step: int | None) -> Denoiser:
    opened = _open_weak(path, step, when_written(path))
    if not same_process(opened.model.sde, sde):
        raise InputError(
            f"autoguidance: {path} was trained with the process {type(opened.model.sde).__name__}, not with the "
            "process of the model: both must be the same"
        )
    kind = opened.conditioning
    conditional = any((kind.classes, kind.numbers, kind.embedding, kind.sequence, kind.parts))

    def weak(x: Tensor, t: Tensor, y: Any = None) -> Tensor:
        x0: Tensor = opened.model.to(x.device)(x, t, y if conditional else None)
        return x0

    return weak


@lru_cache(maxsize=2)  # the guidance is applied anew for each batch
def _open_weak(path: str, step: int | None, written: tuple[int, ...]) -> OpenedModel:
    """Open a model; `written` contains the files' times, so that a run that has changed is opened again."""
    return open_model(path, step=step)


def _trial(sde: SDE, mixture: GaussianMixture) -> Any:
    """Options and exact result for `sdekit verify`: the weaker model is the denoiser of a wider mixture."""
    from sdekit.verify import Trial  # imported here, because sampling does not need it

    weak = GaussianMixture(mixture.means, 1.5 * mixture.variances.sqrt()).denoiser(sde)

    def exact(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        return 3 * mixture.denoiser(sde)(x, t, y) - 2 * weak(x, t, y)

    return Trial({"run": weak, "scale": 3.0}, exact)


autoguidance.trial = _trial  # type: ignore[attr-defined]
