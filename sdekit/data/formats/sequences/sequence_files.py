"""Data sets of sequences in a folder of text files or audio files."""

from __future__ import annotations

import os

import numpy as np

from sdekit.data.classes import occurring_classes
from sdekit.data.dataset import Dataset
from sdekit.data.formats.file_names import LeftOutFiles, PackedNames, printable
from sdekit.data.formats.image_sources import FolderSource, Source
from sdekit.data.formats.label_files import LABEL_FILES, labels_of_images
from sdekit.data.formats.regular_files import check_regular, read_regular
from sdekit.data.in_memory import InMemoryDataset
from sdekit.data.standardization import ScaleChoice, sequence_units
from sdekit.errors import InputError

from .audio_reading import OTHERS, WAV
from .recordings import RecordingDataset, open_recordings
from .text_sequences import TextSequences, read_text_sequences
from .windows import count_values, cut_windows

TEXT = (".csv", ".tsv", ".txt")
AUDIO = (*WAV, *OTHERS)


def sequences(
    path: str,
    *,
    length: int | str | None = None,
    stride: int | str | None = None,
    labels: str = "auto",
    columns: str | None = None,
    time: str = "auto",
    sample_rate: float | None = None,
    mono: bool = False,
    scale: ScaleChoice = "auto",
) -> Dataset:
    """Sequences in a folder of text files (CSV) or audio files (WAV, FLAC, ...), or in one such file.

    Each text file is one sequence: its rows are times, and its columns are channels. A column with a name such as time
    or timestamp whose values increase, or a first column of dates or of equal steps, is taken for the time and left
    out. All files must have the same columns. An audio file is one sequence with its own channels. All files must have
    the same sample rate. WAV files of 8, 16 or 32 bits are read without further packages, others need
    `pip install 'sdekit[audio]'`.
    Hidden files are ignored. The attribute `notes` of the data set states how the files were read.

    All sequences must have one length, unless `length` cuts them into windows.

    Labels are read as for `images`: from a file `labels.csv` or `metadata.csv` with a file name and a label in each
    row, or from two or more sub-folders, which are the classes. Splits such as train and test are refused.

    Arguments:
        path: Folder, or one file that is cut into windows.
        length: Number of values of a sequence, or a duration such as "2s" or "500ms" if the sample rate is known. Each
            file is cut into consecutive windows of this length, and the rest is left out.
        stride: Number of values, or duration, between the starts of two windows; the default is `length`. A smaller
            one gives windows that overlap, and one of at least the longest file gives only the start of each file.
        labels: "auto", "folders", "none" or a label file.
        columns: Names, separated by commas, of the columns of text files that are channels.
        time: Name of the column of the time in text files, "none" for no such column, or "auto".
        sample_rate: Number of rows of a text file per second, if its column of the time does not state it.
        mono: Whether to average the channels of audio files.
        scale: Map of text files to the units of the model. "auto" and "columns" map each channel to mean 0 and standard
            deviation 1, "global" maps the range of all numbers to [-1, 1], and "none" changes nothing. The amplitudes
            of audio files, from -1 to 1, are divided by their root mean square, or "none" leaves them as they are.
    Returns:
        Data set of sequences (C, L).
    Raises:
        InputError: If the folder contains no sequences or both text and audio files, if a file cannot be read, or if
            the lengths, columns or sample rates differ.
    """
    title = f"sequences:{path}"
    source = _open(path, title)
    names = [source.names[i] for i in range(len(source.names))]
    single = isinstance(source, FileSource)
    paths = [path] if single else [os.path.join(path, name) for name in names]
    shown = [printable(name) for name in names]
    classes, class_names, rule = (None, (), ()) if single else labels_of_images(source, path, labels)
    audio = [name for name in names if name.lower().endswith(AUDIO)]
    if audio and len(audio) < len(names):
        other = next(name for name in names if not name.lower().endswith(AUDIO))
        raise InputError(
            f"{title} contains audio files ('{printable(audio[0])}') and text files ('{printable(other)}'): pass a "
            "folder with files of one kind"
        )
    if audio:
        _refuse({"columns": columns, "sample_rate": sample_rate}, title, "audio files")
        if scale not in ("auto", "none"):
            raise InputError(f"{title}: scale '{scale}' is for text files: leave it out, or pass none")
        data: RecordingDataset | InMemoryDataset
        data, file = open_recordings(paths, shown, title, length=length, stride=stride, mono=mono)
        if scale == "auto":
            data.measure_scale()
    else:
        _refuse({"mono": mono or None}, title, "text files")
        read = read_text_sequences(paths, shown, columns=columns, time=time)
        data, file = _text_dataset(read, shown, title, length, stride, sample_rate or read.sample_rate, scale)
    if classes is not None:
        data.labels, data.class_names = occurring_classes(classes[file], class_names)
        data.classes = len(data.class_names)
    if left_out := str(source.left_out):
        data.notes += (f"left out in {path}: {left_out}",)
    data.notes += rule
    return data


class FileSource:
    """One file as the source of sequences, see `Source`.

    Arguments:
        path: The file.
    """

    noun, top = "sequences", ""
    folders: tuple[str, ...] = ("",)

    def __init__(self, path: str) -> None:
        self._path = path
        self.names, self.left_out = PackedNames([os.path.basename(path)]), LeftOutFiles()
        self.folder = np.zeros(1, dtype=np.int32)

    def read(self, i: int, limit: int | None = None) -> bytes:
        """Read the file, or its first `limit` bytes."""
        return read_regular(self._path, limit)


def _open(path: str, title: str) -> Source:
    """Open the files of a folder, or a single file."""
    expected = f"{', '.join((*TEXT, *AUDIO))}"
    if os.path.isdir(path):
        source = FolderSource(path, "sequences", (*TEXT, *AUDIO), LABEL_FILES)
        if not len(source.names):
            others = f"; it contains {source.left_out}" if str(source.left_out) else ""
            raise InputError(
                f"{title} contains no sequences; expected files {expected} in it or its sub-folders{others}"
            )
        return source
    check_regular(path, title, "a folder of text files or audio files")
    if not path.lower().endswith((*TEXT, *AUDIO)):
        remedy = f"; an array is array:{path}" if path.lower().endswith((".npy", ".npz")) else ""
        raise InputError(f"{title}: expected a folder, or a file {expected}{remedy}")
    return FileSource(path)


def _refuse(options: dict[str, object], title: str, kind: str) -> None:
    """Raise InputError for options that have no effect on a kind of files."""
    for name, value in options.items():
        if value is not None:
            raise InputError(f"{title} contains {kind}, for which data.{name} has no effect: leave it out")


def _text_dataset(
    read: TextSequences,
    names: list[str],
    title: str,
    length: int | str | None,
    stride: int | str | None,
    rate: float | None,
    scale: ScaleChoice,
) -> tuple[InMemoryDataset, np.ndarray]:
    """Cut the sequences of text files into windows; return the data set, and the file of each item."""
    if rate is not None and not rate > 0:
        raise InputError(f"data.sample_rate={rate:g}: expected a number above 0")
    windows = cut_windows(
        [sequence.shape[1] for sequence in read.sequences],
        names,
        length=None if length is None else count_values(length, "length", rate),
        stride=None if stride is None else count_values(stride, "stride", rate),
        source=title,
    )
    starts = zip(windows.sequence, windows.start, strict=True)
    array = np.stack([read.sequences[k][:, start : start + windows.length] for k, start in starts])
    data = InMemoryDataset(array, units=sequence_units(array, scale, "same", title))
    data.channel_names, data.sample_rate = read.channels, rate
    data.notes = (*read.notes, *windows.notes)
    return data, windows.sequence
