"""What `--data` says: `digits`, or `images:PATH`."""

from __future__ import annotations

import os
import re
from collections.abc import Collection

from sdekit.errors import InputError

BUILT_IN = ("digits", "moons", "checkerboard", "swiss_roll", "rings", "mixture", "images", "mnist", "array", "table")
SUFFIXES = {".npy": "array", ".npz": "array", ".csv": "table", ".tsv": "table", ".zip": "images"}


def parse(spec: str, known: Collection[str] = BUILT_IN) -> tuple[str, str | None]:
    """Name and path of a SPEC: "digits" -> ("digits", None), "images:~/cats" -> ("images", "<home>/cats").

    known: names that are data sets even where a file of the same name lies in the current folder. Another name is
    not refused here (the registry does that, and says what is installed); a bare path is.
    Raises InputError for an empty spec or path, and for a path without a prefix, with the prefix to use.
    """
    if spec in known:
        return spec, None
    hint = suggest(spec)
    if hint is not None:
        raise InputError(f"data '{spec}' is a path without its kind; did you mean {hint}?")
    name, colon, path = spec.partition(":")
    if not re.fullmatch(r"[A-Za-z][\w.-]*", name):
        raise InputError(
            f"data '{spec}': expected NAME or NAME:PATH, such as digits or images:PATH; no file or folder has that name"
        )
    if colon and not path:
        raise InputError(f"data '{spec}' has no path after the colon; write {name}:PATH")
    return name, os.path.expanduser(path) if colon else None


def suggest(spec: str) -> str | None:
    """The SPEC that was probably meant, where `spec` is an existing path; None where it is not."""
    path = os.path.expanduser(spec)
    if not spec or not os.path.exists(path):
        return None
    if os.path.isdir(path):
        kind = "mnist" if any("-ubyte" in name for name in os.listdir(path)) else "images"
    elif "-ubyte" in os.path.basename(path):
        kind = "mnist"
    else:
        kind = SUFFIXES.get(os.path.splitext(path)[1].lower(), "")
    return f"{kind}:{spec}" if kind else " or ".join(f"{kind}:{spec}" for kind in ("array", "table", "images"))
