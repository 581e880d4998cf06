"""Compact storage of many file names."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


class PackedNames:
    """Sequence of names, stored as one buffer of bytes with offsets. It uses about a fifth of the memory of a list.

    Arguments:
        names: Names to store.
    """

    def __init__(self, names: Iterable[str]) -> None:
        # surrogateescape: file names of the operating system may be invalid UTF-8
        encoded = [name.encode("utf-8", "surrogateescape") for name in names]
        self._offsets = np.zeros(len(encoded) + 1, dtype=np.int64)
        np.cumsum([len(name) for name in encoded], out=self._offsets[1:])
        self._bytes = b"".join(encoded)

    def __len__(self) -> int:
        """Return the number of names."""
        return len(self._offsets) - 1

    def __getitem__(self, i: int) -> str:
        """Return name number i, 0 <= i < N."""
        return self._bytes[self._offsets[i] : self._offsets[i + 1]].decode("utf-8", "surrogateescape")


def printable(name: str) -> str:
    """Return a name with invalid characters escaped, so that it can be printed."""
    return name.encode("utf-8", "backslashreplace").decode()
