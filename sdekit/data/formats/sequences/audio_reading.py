"""Reading of audio files: WAV by SciPy, and other formats, also WAV of 24 bits, by the package soundfile."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np

from sdekit.errors import InputError

WAV = (".wav", ".wave")
OTHERS = (".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff")
"""Formats that the package soundfile reads."""
MP3_LEAD = 2**16
"""Values of an MP3 file that are decoded before a part of it.

A frame may use bits of up to 85 earlier frames of 576 values. libsndfile decodes too few of them after a seek, so that
the first values would be wrong.
"""
ZEROS = {"uint8": 128.0}
SCALES = {"uint8": 128.0, "int16": 2.0**15, "int32": 2.0**31}
"""Number of an integer type that stands for the amplitude 0, and the one that is mapped to 1."""


class Recording(NamedTuple):
    """Facts about an audio file.

    Attributes:
        rate: Number of values per second and channel.
        channels: Number of channels.
        length: Number of values of each channel.
        offset: Position of the first value in a WAV file, or -1 if soundfile reads the file.
        dtype: NumPy type of the values in the file, or an empty text.
    """

    rate: float
    channels: int
    length: int
    offset: int = -1
    dtype: str = ""


def examine(path: str, name: str) -> Recording:
    """Read the header of an audio file.

    Arguments:
        path: File.
        name: Name of the file for messages.
    Returns:
        Facts about the file.
    Raises:
        InputError: If the file cannot be read, or needs a package that is not installed.
    """
    reason = ""
    try:
        if path.lower().endswith(WAV):
            try:
                return _examine_wav(path)
            except ValueError as error:  # damaged, or an encoding that soundfile may read
                reason = f"SciPy: {error}; "
        info = _soundfile(name, reason).info(path)
        return Recording(float(info.samplerate), info.channels, info.frames)
    except InputError:
        raise
    except Exception as error:  # SciPy and soundfile raise many types for damaged files
        raise InputError(f"{name} cannot be read ({error}): correct or remove it") from error


def read_part(path: str, recording: Recording, start: int, length: int) -> np.ndarray:
    """Read a part of an audio file.

    Arguments:
        path: File.
        recording: Facts about the file.
        start: Index of the first value.
        length: Number of values.
    Returns:
        Amplitudes (C, length), float32. Integers are mapped to [-1, 1].
    Raises:
        OSError: If the file cannot be read, or is shorter than before.
    """
    if recording.offset < 0:
        lead = min(start, MP3_LEAD) if path.lower().endswith(".mp3") else 0
        values = _soundfile(path).read(path, lead + length, start - lead, dtype="float32", always_2d=True)[0][lead:]
    else:
        dtype = np.dtype(recording.dtype)
        offset = recording.offset + start * recording.channels * dtype.itemsize
        values = np.fromfile(path, dtype, length * recording.channels, offset=offset).reshape(-1, recording.channels)
    if len(values) != length:
        raise OSError(f"it has fewer than {start + length} values")
    kind = values.dtype.newbyteorder("=").name
    amplitudes = (values.astype(np.float64) - ZEROS.get(kind, 0.0)) / SCALES.get(kind, 1.0)
    return np.ascontiguousarray(amplitudes.reshape(length, -1).T, dtype=np.float32)


def _examine_wav(path: str) -> Recording:
    """Return the facts about a WAV file. Raises ValueError if SciPy cannot map its values, such as those of 24 bits."""
    from scipy.io import wavfile

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wavfile.WavFileWarning)  # chunks of other programs, such as titles
        rate, values = wavfile.read(path, mmap=True)
    channels = 1 if values.ndim == 1 else values.shape[1]
    return Recording(float(rate), channels, len(values), values.offset, values.dtype.str)


def _soundfile(name: str, reason: str = "") -> Any:
    """Import the package soundfile. Raises InputError, with a reason why it is needed, if it is missing."""
    try:
        import soundfile
    except (ImportError, OSError) as error:
        raise InputError(
            f"{name} needs the package soundfile ({reason}{error}): pip install 'sdekit[audio]', or convert the files "
            "to WAV of 16 bits"
        ) from error
    return soundfile
