"""Parsing of data specifications, NAME or NAME:PATH, the values of the option `--data`."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Collection

from sdekit.errors import InputError

BUILT_IN = (
    "digits",
    "moons",
    "checkerboard",
    "swiss_roll",
    "rings",
    "mixture",
    "sines",
    "images",
    "mnist",
    "array",
    "table",
    "sequences",
)
FORMATS_BY_SUFFIX = {
    **dict.fromkeys((".npy", ".npz"), "array"),
    **dict.fromkeys((".csv", ".tsv", ".parquet", ".pq"), "table"),
    **dict.fromkeys((".xlsx", ".xls", ".feather", ".arrow"), "table"),  # refused with a remedy when they are opened
    ".zip": "images",
    ".wav": "sequences",
}
SEQUENCES = (".csv", ".tsv", ".wav", ".wave", ".flac", ".ogg", ".mp3")
"""Ends of file names of which a folder is probably a data set of sequences."""
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")
"""Ends of the names of video files, which are not read."""
VIDEO_ADVICE = (
    "Videos are not read: extract their frames, as with ffmpeg -i VIDEO -vf fps=1 FRAMES/%05d.png, and train on "
    "images:FRAMES"
)
MOST_FOLDERS = 20
"""Largest number of sub-folders that are listed for a suggestion."""


def parse_spec(spec: str, names: Collection[str] = BUILT_IN) -> tuple[str, str | None]:
    """Split a data specification into name and path.

    "digits" gives ("digits", None), and "images:~/cats" gives ("images", "<home>/cats"). Unknown names are accepted,
    because the registry refuses them later. The path of an existing file or folder without a name is refused.

    Arguments:
        spec: NAME or NAME:PATH.
        names: Names that are data sets even if the current folder contains a file of that name.
    Returns:
        Name in lower case, and path or None.
    Raises:
        InputError: If the specification or its path is empty, or if it is a path without a name. The message suggests
            the name.
    """
    if spec in names:
        return spec, None
    _check_kind(spec, spec)
    suggestion = suggest_spec(spec)
    if suggestion is not None:
        raise InputError(f"data '{spec}' is a path without its kind; did you mean {suggestion}?")
    name, colon, path = spec.partition(":")
    if not re.fullmatch(r"[A-Za-z][\w.-]*", name):
        raise InputError(
            f"data '{spec}': expected NAME or NAME:PATH, such as digits or images:PATH; no file or folder has that name"
        )
    if colon and not path:
        raise InputError(f"data '{spec}' has no path after the colon; write {name}:PATH")
    _check_kind(spec, path)
    return name.lower(), os.path.expanduser(path) if colon else None


def _check_kind(spec: str, path: str) -> None:
    """Raise InputError, with the remedy, if a path is a run folder or a video."""
    path = os.path.expanduser(path)
    if all(os.path.isfile(os.path.join(path, name)) for name in ("config.json", "model.safetensors")):
        raise InputError(
            f"data '{spec}': {path} is a run folder, not data. To continue its training: sdekit train --out {path} "
            "--resume. To train on its samples, draw some with sdekit sample, and pass their folder"
        )
    if path.lower().endswith(VIDEOS) and os.path.isfile(path):
        raise InputError(f"data '{spec}': {path} is a video. {VIDEO_ADVICE}")


def path_spec(path: os.PathLike[str]) -> str:
    """Return the specification that opens a path, such as "array:x.npy" for `Path("x.npy")`.

    Arguments:
        path: File or folder, or a path that is a specification itself.
    Returns:
        The specification, or the path itself if its kind is not certain.
    """
    text = os.fspath(path)
    kind = _kind_of_path(text)
    return f"{kind}:{text}" if kind else text


def is_python_object(spec: str) -> bool:
    """Return whether a name in a recipe stands for a Python object, such as "python:TensorDataset".

    Arguments:
        spec: Name of a data set or a network.
    Returns:
        True if no file contains the object.
    """
    return spec.startswith("python:")


def suggest_spec(path: str) -> str | None:
    """Return the specification that probably opens an existing path, or None if nothing exists there."""
    kind = _kind_of_path(path)
    if kind is None:
        return None
    return f"{kind}:{path}" if kind else " or ".join(f"{kind}:{path}" for kind in ("array", "table", "images"))


def _kind_of_path(path: str) -> str | None:
    """Return the data set that opens an existing path, "" if it is not certain, or None if nothing exists there."""
    expanded = os.path.expanduser(path)
    if not path or not os.path.exists(expanded):
        return None
    if os.path.isdir(expanded):
        if any("-ubyte" in name for name in os.listdir(expanded)):
            return "mnist"
        names = [name for _, _, files in itertools.islice(os.walk(expanded), MOST_FOLDERS) for name in files]
        sequences = sum(name.lower().endswith(SEQUENCES) for name in names)
        return "sequences" if 2 * sequences > max(len(names), 1) else "images"
    if "-ubyte" in os.path.basename(expanded):
        return "mnist"
    return FORMATS_BY_SUFFIX.get(os.path.splitext(expanded)[1].lower(), "")
