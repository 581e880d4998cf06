"""A million file names in two buffers instead of a million Python strings."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


class PackedNames:
    """Names by position: one buffer of bytes and (N + 1,) offsets into it, about a fifth of what a list takes."""

    def __init__(self, names: Iterable[str]) -> None:
        # surrogateescape: what the operating system calls a file need not be UTF-8
        encoded = [name.encode("utf-8", "surrogateescape") for name in names]
        self._offsets = np.zeros(len(encoded) + 1, dtype=np.int64)
        np.cumsum([len(name) for name in encoded], out=self._offsets[1:])
        self._bytes = b"".join(encoded)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, i: int) -> str:
        """Name number i, 0 <= i < N."""
        return self._bytes[self._offsets[i] : self._offsets[i + 1]].decode("utf-8", "surrogateescape")


def printable(name: str) -> str:
    """The name with what is not valid text escaped, so that a message with it can be printed anywhere."""
    return name.encode("utf-8", "backslashreplace").decode()
