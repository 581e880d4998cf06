"""Data set of windows of audio files, which are read when a batch needs them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sdekit.data.dataset import Batch, Dataset, Units
from sdekit.errors import InputError, SdekitError

from .audio_reading import Recording, examine, read_part
from .windows import Windows, count_values, cut_windows

SCALE_ITEMS = 256
"""Number of windows from which the standard deviation of the amplitudes is computed."""


class RecordingDataset(Dataset):
    """Windows of audio files as sequences, see `open_recordings`.

    Arguments:
        paths: Audio files.
        recordings: Facts about each file.
        windows: Windows of the files.
        mono: Whether to average the channels.
    """

    kind = "sequence"
    concurrent = True
    labels: np.ndarray | None = None

    def __init__(
        self, paths: Sequence[str], recordings: Sequence[Recording], windows: Windows, *, mono: bool = False
    ) -> None:
        self._paths, self._recordings, self._windows, self._mono = tuple(paths), tuple(recordings), windows, mono
        self.shape: tuple[int, ...] = (1 if mono else recordings[0].channels, windows.length)
        self.sample_rate: float | None = recordings[0].rate
        self.units = Units(low=-1.0, high=1.0)

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self._windows.start)

    def batch(self, indices: Sequence[int] | np.ndarray) -> Batch:
        """Read the windows at these indices: x (B, C, L) float32, and y (B,) int64 or None."""
        items = np.asarray(indices, dtype=np.int64)
        data = np.stack([self._read(int(item)) for item in items]) if len(items) else np.zeros((0, *self.shape))
        return Batch(self.units.to_model(data), self.labels_of(items))

    def labels_of(self, indices: Sequence[int] | np.ndarray) -> Tensor | None:
        """Return the labels at these indices without reading a file."""
        return None if self.labels is None else torch.from_numpy(self.labels[np.asarray(indices, dtype=np.int64)])

    def measure_scale(self) -> None:
        """Set the units so that the amplitudes of the windows have the standard deviation 1 in the model.

        Raises:
            InputError: If a file cannot be read.
        """
        chosen = np.linspace(0, len(self) - 1, min(len(self), SCALE_ITEMS)).round().astype(int)
        try:
            squares = [float(np.square(self._read(int(item)), dtype=np.float64).mean()) for item in chosen]
        except SdekitError as error:
            raise InputError(str(error)) from error
        std = float(np.sqrt(np.mean(squares))) or 1.0
        self.units = Units(scale=std, low=-1.0, high=1.0)
        self.notes = (*self.notes, f"the amplitudes from -1 to 1 are divided by their root mean square, {std:.3g}")

    def _read(self, item: int) -> np.ndarray:
        """Read the amplitudes of a window, (C, L)."""
        number, start = int(self._windows.sequence[item]), int(self._windows.start[item])
        path = self._paths[number]
        try:
            values = read_part(path, self._recordings[number], start, self._windows.length)
        except InputError:
            raise
        except Exception as error:  # soundfile raises its own types for damaged files
            raise SdekitError(f"{path} cannot be read ({error}): correct or remove it") from error
        if not np.isfinite(values).all():
            raise SdekitError(f"{path} contains a number that is not finite: correct or remove it")
        return values.mean(0, keepdims=True) if self._mono else values


def open_recordings(
    paths: Sequence[str],
    names: Sequence[str],
    source: str,
    *,
    length: int | str | None,
    stride: int | str | None,
    mono: bool,
) -> tuple[RecordingDataset, np.ndarray]:
    """Open audio files as a data set of windows.

    Arguments:
        paths: Files.
        names: Name of each file for messages.
        source: Name of the data set for messages.
        length: Number of values of a window, or a duration such as "2s"; None for whole files.
        stride: Number of values between the starts of two windows, or a duration; `length` if None.
        mono: Whether to average the channels.
    Returns:
        The data set without labels, and the index of the file of each item, (N,).
    Raises:
        InputError: If a file cannot be read, or if the sample rates or the numbers of channels differ.
    """
    recordings = [examine(path, name) for path, name in zip(paths, names, strict=True)]
    for recording, name in zip(recordings, names, strict=True):
        if recording.rate != recordings[0].rate:
            raise InputError(
                f"{source}: '{names[0]}' has a sample rate of {recordings[0].rate:g} Hz and '{name}' "
                f"{recording.rate:g} Hz; convert all files to one rate, for example by  sox IN.wav -r "
                f"{recordings[0].rate:g} OUT.wav"
            )
        if recording.channels != recordings[0].channels and not mono:
            raise InputError(
                f"{source}: '{names[0]}' has {recordings[0].channels} channels and '{name}' {recording.channels}; pass "
                "--option data.mono=true to average the channels of each file"
            )
    rate = recordings[0].rate
    windows = cut_windows(
        [recording.length for recording in recordings],
        names,
        length=None if length is None else count_values(length, "length", rate),
        stride=None if stride is None else count_values(stride, "stride", rate),
        source=source,
    )
    data = RecordingDataset(paths, recordings, windows, mono=mono)
    data.notes = (
        f"the sample rate is {rate:g} Hz, so that an item lasts {windows.length / rate:.3g} s",
        *windows.notes,
    )
    return data, windows.sequence
