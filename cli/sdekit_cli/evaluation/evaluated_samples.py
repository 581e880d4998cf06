"""Samples to evaluate: drawn with conditions as in the data, or read from a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sdekit.errors import InputError
from sdekit.registry import parse_assignments
from sdekit_cli.sampling.sampling_options import DEFAULT_SOLVER, SamplingOptions
from sdekit_cli.sampling.session import SamplingSession

if TYPE_CHECKING:
    from torch import Tensor

    from sdekit.evaluation import RealData
    from sdekit.models import OpenedModel

MOST_BYTES = 2**34
"""Largest size of a file of samples."""


class EvaluationSession(SamplingSession):
    """Sampling session in which the conditions occur as often as in the data, unless the user chooses them.

    Arguments:
        options: Options of the command.
        n: Number of samples by default.
        data: Value of --data.
        data_options: Options of the data set, NAME=VALUE.
    """

    real: RealData

    def __init__(
        self, options: SamplingOptions, *, n: int, data: str | None = None, data_options: tuple[str, ...] = ()
    ) -> None:
        super().__init__(options, n=n, solver=DEFAULT_SOLVER)
        self.data, self.data_texts = data, data_options
        self.data_options = parse_assignments(data_options)

    def condition(self) -> Any:
        """Return the condition of each sample: that of the options, or that of a random item of the data."""
        from sdekit.data import splitmix64
        from sdekit.training import open_real_data

        self.real = open_real_data(self.opened, self.data, self.data_options)
        self.real.check_fits(self.opened)
        options, self.conditions_from_data = self.options, False
        chosen = (options.label, options.condition, options.prompt, options.negative)
        if self.of_texts or self.opened.condition == "none" or any(value is not None for value in chosen):
            return super().condition()
        data, items = self.real.training_data, self.real.training
        if data is None or not len(items):
            data, items = self.real.data, self.real.candidates
        y = data.labels_of(items[(splitmix64(np.array(self.seeds)) % np.uint64(len(items))).astype(np.int64)])
        try:
            self.opened.conditioning.check(y)
        except InputError:
            return super().condition()  # the data have other conditions than the model
        self.conditions_from_data = y is not None
        return y


def read_samples(place: Path, opened: OpenedModel) -> Tensor:
    """Read samples that were drawn before.

    Arguments:
        place: Folder with samples.npy, or a .npy file, in the units of the data.
        opened: The model, whose units the result has.
    Returns:
        Samples (n, *data_shape).
    Raises:
        InputError: If the file is missing or no array, or if the samples have another shape than the data of the model
            or contain NaN.
    """
    from sdekit.data.formats import read_npy

    file = place / "samples.npy" if place.is_dir() else place
    if not file.is_file():
        raise InputError(f"--samples {place}: {file} does not exist; name a folder of `sdekit sample` or a .npy file")
    raw = np.asarray(read_npy(str(file), str(file), most_bytes=MOST_BYTES), dtype=np.float32)
    expected = opened.units.to_data(_blank(opened)).shape[1:]
    if raw.ndim < 2 or raw.shape[1:] != expected:
        raise InputError(
            f"--samples {file}: samples of shape {raw.shape[1:]}, but the data of {opened.path} have {expected}"
        )
    bad = np.flatnonzero(~np.isfinite(raw.reshape(len(raw), -1)).all(1))
    if bad.size:
        raise InputError(f"--samples {file}: sample {bad[0]} contains a number that is not finite (NaN or infinity)")
    return opened.units.to_model(raw)


def _blank(opened: OpenedModel) -> Tensor:
    """Return one item of zeros in the model's units."""
    import torch

    return torch.zeros(1, *opened.data_shape)
