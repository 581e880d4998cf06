"""Writing of sequences in the formats that are read: audio files, or text files with a column for each channel."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

import numpy as np

from sdekit.data.dataset import Units


def encode_sequences(
    data: np.ndarray, names: Sequence[str], *, units: Units, channels: Sequence[str] = (), sample_rate: float | None
) -> Iterator[tuple[str, bytes]]:
    """Yield one file for each sequence: .wav for audio, .csv for sequences of named channels, else nothing.

    Sequences are audio if their sample rate is known and their values are from -1 to 1.

    Arguments:
        data: Sequences in the units of the data, (N, *item).
        names: Name of each file without its suffix.
        units: Units of the data.
        channels: Name of each channel, or empty.
        sample_rate: Number of values per second, or None if it is not known.
    Yields:
        Name and contents of each file.
    """
    is_audio = (units.low, units.high) == (-1.0, 1.0)
    for name, row in zip(names, units.channels_first(data), strict=True):
        if is_audio and sample_rate is not None:
            yield f"{name}.wav", wav_bytes(row, sample_rate)
        elif channels:
            yield f"{name}.csv", csv_bytes(row, channels)


def wav_bytes(amplitudes: np.ndarray, rate: float) -> bytes:
    """Encode amplitudes as a WAV file of 16 bits. Amplitudes outside of [-1, 1] are clipped.

    Arguments:
        amplitudes: Amplitudes (C, L).
        rate: Number of values per second, which is rounded to a whole number.
    Returns:
        Contents of the file.
    """
    from scipy.io import wavfile

    content = io.BytesIO()
    numbers = np.rint(amplitudes.T.astype(np.float64) * 32767).clip(-32768, 32767).astype(np.int16)
    wavfile.write(content, round(rate), np.ascontiguousarray(numbers))
    return content.getvalue()


def csv_bytes(values: np.ndarray, names: Sequence[str]) -> bytes:
    """Encode a sequence as a CSV file with one column for each channel.

    Arguments:
        values: Values (C, L).
        names: Name of each channel.
    Returns:
        Contents of the file in UTF-8.
    """
    content = io.StringIO(newline="")
    writer = csv.writer(content, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([f"{value:.9g}" for value in row] for row in values.T)
    return content.getvalue().encode()
