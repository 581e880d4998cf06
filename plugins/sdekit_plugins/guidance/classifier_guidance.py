"""Classifier guidance, by a classifier of noisy samples."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from sdekit.distributions import GaussianMixture
from sdekit.errors import InputError
from sdekit.guidance import GuidedDenoiser, require_condition, require_finite, tilt, unguided
from sdekit.models import Classifier, is_label, is_null
from sdekit.processes import SDE, Denoiser, same_process
from sdekit.runs import when_written
from sdekit.training import load_classifier


def classifier(
    sde: SDE,
    denoise: Denoiser,
    *,
    run: str | Callable[..., Tensor] = "",
    scale: float = 1.0,
    conditional: bool = False,
) -> Denoiser:
    """Classifier guidance: D(x) + scale sigma^2 / alpha grad_x log p(y | x_t).

    p(y | x_t) is a classifier of noisy samples. One network evaluation, and a forward and a backward pass of the
    classifier.

    Arguments:
        sde: Process of the denoiser.
        denoise: The denoiser.
        run: Folder of `sdekit train-classifier`, or a function from x (B, *) and t () or (B,) to logits (B, classes).
        scale: 1 is Bayes' rule: the conditional model if the classifier is exact. 0 is the model itself, exactly; above
            1, p(y | x_t) is sharpened.
        conditional: Whether the model receives the condition too; if not, it may be a model without labels.
    Returns:
        The guided denoiser.
    Raises:
        InputError: If `run` is missing, or was trained for another process; when called, if y is not a label of the
            classifier.
    Source:
        Dhariwal & Nichol 2021, eq. 13, for any process.
    """
    require_finite("classifier", scale=scale)
    if not run:
        raise InputError("classifier: say which classifier to use: run=FOLDER of sdekit train-classifier")
    logits = _load(sde, run) if isinstance(run, str) else run

    def guided(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        y = require_condition("classifier", y)
        if not is_label(y):
            raise InputError(
                "classifier: it supports labels only, and the condition here is not a label: leave the guidance out"
            )
        x0 = denoise(x, t, y if conditional else None)

        def log_weight(z: Tensor, u: Tensor) -> Tensor:
            log_p = logits(z, u).log_softmax(1)
            if y.max() >= log_p.shape[1]:
                raise InputError(f"classifier: label {int(y.max())}: it supports the labels 0 to {log_p.shape[1] - 1}")
            return log_p.gather(1, y.clamp(min=0)[:, None])[:, 0] * ~is_null(y)

        return x0 if scale == 0 else x0 + scale * tilt(sde, x, t, log_weight)

    if conditional:
        return guided
    model = unguided(denoise)
    return GuidedDenoiser(guided, lambda x, t, y=None: model(x, t))  # outside of an `interval`, too, without y


def _load(sde: SDE, path: str) -> Callable[..., Tensor]:
    model = _open_classifier(path, when_written(path))
    if not same_process(model.sde, sde):
        raise InputError(f"classifier: {path} was trained for another process than the model's: train one for its run")

    def logits(x: Tensor, t: Tensor) -> Tensor:
        result: Tensor = model.to(x.device)(x, t)
        return result

    return logits


@lru_cache(maxsize=2)  # the guidance is applied anew for each batch
def _open_classifier(path: str, written: tuple[int, ...]) -> Classifier:
    """Open a classifier; `written` contains the files' times, so that a changed classifier is opened again."""
    return load_classifier(path)


def _trial(sde: SDE, mixture: GaussianMixture) -> Any:
    """Options and exact result for `sdekit verify`: with the exact p(y | x_t), the result is the conditional model."""
    from sdekit.verify import Trial  # imported here, because sampling does not need it

    def logits(x: Tensor, t: Tensor) -> Tensor:
        labels = torch.arange(len(mixture.means)).expand(len(x), -1).unbind(1)
        return torch.stack([mixture.log_prob(x, sde, t, y) for y in labels], 1) + mixture.log_weights

    return Trial({"run": logits}, mixture.denoiser(sde))


classifier.trial = _trial  # type: ignore[attr-defined]
