"""Evaluation of samples of an opened model with a data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from sdekit import __version__
from sdekit.errors import InputError

from .evaluation_result import Evaluation
from .feature_extraction import Extractor
from .real_data import RealData, round_like_data, whole_numbers
from .sample_evaluation import evaluate

if TYPE_CHECKING:
    from sdekit.models import OpenedModel

MOST_TRAINING = 100_000
"""Largest number of training items that the check for memorization reads by default."""


def evaluate_model(
    opened: OpenedModel,
    samples: Tensor,
    real: RealData,
    *,
    metrics: Sequence[str] | Mapping[str, Mapping[str, Any]] | None = None,
    features: Extractor | str = "raw",
    against: Tensor | None = None,
    seed: int = 0,
    rounding: bool = True,
    most_training: int = MOST_TRAINING,
    protocol: Mapping[str, Any] | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> Evaluation:
    """Compare samples of a model with real items, see `evaluate`.

    The reference is a random subset of the real items, at most as many as there are samples, so that memory does not
    grow with the data set. If the data are whole numbers, such as grey levels, the samples are rounded to them.

    Arguments:
        opened: The model.
        samples: Samples (n, *data_shape) in the model's units, see `decoded`.
        real: Real items, see `sdekit.training.open_real_data`.
        metrics: Registered names, or a map from names to options; None for the default of the kind of data.
        features: Extractor for metrics of features, or its registered name.
        against: Samples (n, *data_shape) of another model with the same seeds, for a paired comparison.
        seed: Seed of the random subsets.
        rounding: Whether to round samples like the data.
        most_training: Largest number of training items that the check for memorization reads; 0 for no check.
        protocol: Facts for `Evaluation.protocol`, such as solver, seeds and network evaluations.
        on_progress: Function that is called with the title of each metric before it is computed.
    Returns:
        The evaluation.
    Raises:
        InputError: If the data do not fit the model, or see `evaluate`.
    """
    real.check_fits(opened)
    x, other = samples, against
    chosen, further = real.choose(len(x), seed)
    if not len(chosen):
        raise InputError(f"{real.spec} has no items to compare with: name data with --data")
    reference, more = (real.read(opened, indices) for indices in (chosen, further))
    whole = whole_numbers(opened.units, reference, opened.kind)
    rounded = rounding and bool(whole.any())
    if rounded:
        x = round_like_data(opened.units, x, whole)
        other = None if other is None else round_like_data(opened.units, other, whole)
    training = real.training if real.training_data is not None and most_training else real.training[:0]
    if len(training) > most_training:
        training = np.sort(np.random.default_rng(seed).choice(training, most_training, replace=False))
    result = evaluate(
        x,
        reference,
        metrics=metrics,
        real=more,
        training=real.batches(opened, training, training=True) if len(training) else None,
        training_indices=training,
        held_out=real.held_out,
        features=features,
        kind=opened.kind,
        columns=real.columns,
        units=opened.units,
        against=other,
        seed=seed,
        on_progress=on_progress,
    )
    warnings = list(result.warnings)
    if not real.held_out:
        warnings.append(f"the reference consists of {real.part}: a model that copies them gets perfect values")
    facts = {
        "data": real.spec,
        "reference": real.part,
        "data_items": len(real.data),
        "training_items": len(training),
        "rounded_like_data": rounded,
        "versions": {"sdekit": __version__, "torch": torch.__version__},
    }
    return replace(
        result,
        warnings=tuple(warnings),
        protocol={**result.protocol, **facts, **(protocol or {})},
    )


def decoded(opened: OpenedModel, x: Tensor) -> Tensor:
    """Return the data (n, *data_shape) of x (n, *shape) in the model's units, on the CPU.

    Arguments:
        opened: The model.
        x: Samples of the model.
    Returns:
        x itself without a codec.
    """
    with torch.no_grad():
        return opened.decode(x).float().cpu()
