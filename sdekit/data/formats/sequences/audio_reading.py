"""Reading of audio files: WAV by SciPy, and FLAC, OGG and MP3 by the package soundfile."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np

from sdekit.errors import InputError

WAV = (".wav", ".wave")
OTHERS = (".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff")
"""Formats that the package soundfile reads."""
ZEROS = {"uint8": 128.0}
SCALES = {"uint8": 128.0, "int16": 2.0**15, "int32": 2.0**31}
"""Number of an integer type that stands for the amplitude 0, and the one that is mapped to 1."""


class Recording(NamedTuple):
    """Facts about an audio file.

    Attributes:
        rate: Number of values per second and channel.
        channels: Number of channels.
        length: Number of values of each channel.
        offset: Position of the first value in the file, or -1 if the file is not read by its position.
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
    try:
        if not path.lower().endswith(WAV):
            info = _soundfile(name).info(path)
            return Recording(float(info.samplerate), info.channels, info.frames)
        rate, values = _read_wav(path)
    except InputError:
        raise
    except Exception as error:  # SciPy and soundfile raise many types for damaged files
        raise InputError(f"{name} cannot be read ({error}): correct or remove it") from error
    length, channels = len(values), 1 if values.ndim == 1 else values.shape[1]
    if isinstance(values, np.memmap):
        return Recording(float(rate), channels, length, values.offset, values.dtype.str)
    return Recording(float(rate), channels, length)


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
    if not path.lower().endswith(WAV):
        values = _soundfile(path).read(path, length, start, dtype="float32", always_2d=True)[0]
    elif recording.offset >= 0:
        dtype = np.dtype(recording.dtype)
        offset = recording.offset + start * recording.channels * dtype.itemsize
        values = np.fromfile(path, dtype, length * recording.channels, offset=offset).reshape(-1, recording.channels)
    else:
        values = _read_wav(path)[1][start : start + length]
    if len(values) != length:
        raise OSError(f"it has fewer than {start + length} values")
    kind = values.dtype.newbyteorder("=").name
    amplitudes = (values.astype(np.float64) - ZEROS.get(kind, 0.0)) / SCALES.get(kind, 1.0)
    return np.ascontiguousarray(amplitudes.reshape(length, -1).T, dtype=np.float32)


def _read_wav(path: str) -> tuple[int, np.ndarray]:
    """Read a WAV file as a memory map, or as an array if its values have 24 bits."""
    from scipy.io import wavfile

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wavfile.WavFileWarning)  # chunks of other programs, such as titles
        try:
            rate, values = wavfile.read(path, mmap=True)
        except ValueError as error:
            if "24" not in str(error):
                raise
            rate, values = wavfile.read(path)
    return rate, values


def _soundfile(name: str) -> Any:
    """Import the package soundfile."""
    try:
        import soundfile
    except (ImportError, OSError) as error:
        raise InputError(
            f"{name} needs the package soundfile ({error}): pip install 'sdekit[audio]', or convert the files to WAV"
        ) from error
    return soundfile
