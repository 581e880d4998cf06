"""The condition of the samples of a model of texts, from the options --prompt and --negative."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sdekit.errors import InputError

from .model_option import model_notes

if TYPE_CHECKING:
    from torch import Tensor

    from sdekit.models import Condition, OpenedModel


def encode_prompts(
    model: OpenedModel, prompts: Sequence[str], negative: str | None, seeds: Sequence[int]
) -> Tensor | Condition | None:
    """Encode the prompts, and set the null condition of the model to the negative prompt.

    Arguments:
        model: Model to sample from.
        prompts: Texts; the seed of a sample chooses one of several.
        negative: Text that the samples are to move away from, or None for the null condition of the model.
        seeds: Seeds of the n samples.
    Returns:
        Conditions, n rows; None without a prompt, for samples without a condition.
    Raises:
        InputError: If the model takes no text, or cannot do without one.
    """
    import torch

    if model.encoder is None:
        option, text = ("--prompt", prompts[0]) if prompts else ("--negative", negative)
        raise InputError(f"{option} {text!r}: {model.path} takes no text{_instead(model)}")
    with model_notes(quiet=False):
        if negative is not None:
            model.model.set_null(model.encoder([negative]))
        if not prompts:
            if not model.conditioning.null:
                raise InputError(f"{model.path} needs a text: add --prompt TEXT")
            return None
        rows = model.encoder(list(prompts))
    return rows[torch.tensor([seed % len(prompts) for seed in seeds])]


def _instead(model: OpenedModel) -> str:
    """Return which option gives the condition of a model without text."""
    if model.condition == "label":
        return ": add --label"
    return "" if model.condition == "none" else ": add --condition"
