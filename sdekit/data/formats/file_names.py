"""Compact storage of many file names, and counts of files that are left out."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

MOST_KINDS = 12
"""Largest number of kinds of files in a sentence."""


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


class LeftOutFiles:
    """Numbers of files that are left out, by kind, with one name of each kind."""

    def __init__(self) -> None:
        self._kinds: dict[str, tuple[int, str]] = {}

    def add(self, kind: str, name: str) -> None:
        """Count a file of a kind such as "hidden".

        Arguments:
            kind: Phrase that follows a number.
            name: Name of the file.
        """
        count, first = self._kinds.get(kind, (0, name))
        self._kinds[kind] = count + 1, min(first, name)

    def add_suffix(self, name: str) -> None:
        """Count a file that is not an image, by the suffix of its name.

        Arguments:
            name: Relative path of the file.
        """
        stem, dot, suffix = name.rpartition("/")[2].rpartition(".")
        self.add(f".{suffix.lower()}" if dot and stem else "without a suffix", name)

    def remove_suffix(self, name: str) -> None:
        """Undo `add_suffix` for a file that is read after all.

        Arguments:
            name: Relative path of the file.
        """
        kind = f".{name.rpartition('.')[2].lower()}"
        count, first = self._kinds.get(kind, (0, name))
        if count > 1:
            self._kinds[kind] = count - 1, first
        else:
            self._kinds.pop(kind, None)

    def __str__(self) -> str:
        """Return the numbers, such as "10 .heic (a.heic, ...), 1 hidden (.a)", or an empty text."""
        kinds = sorted(self._kinds.items(), key=lambda item: (-item[1][0], item[0]))
        parts = []
        for kind, (count, first) in kinds[:MOST_KINDS]:
            more = ", ..." if count > 1 else ""
            parts.append(f"{count} {kind} ({printable(first)}{more})")
        others = sum(count for _, (count, _) in kinds[MOST_KINDS:])
        return ", ".join([*parts, f"{others} other files"] if others else parts)


def printable(name: str) -> str:
    """Return a name with invalid characters escaped, so that it can be printed."""
    return name.encode("utf-8", "backslashreplace").decode()
