"""Standard streams that are closed, full or disconnected."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any


class LenientStream:
    """A text stream whose write errors are ignored: a message that nobody can read must not end a training.

    Arguments:
        stream: The stream.
    """

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write text; nothing happens if the stream is full, closed or disconnected."""
        with suppress(OSError, ValueError):
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush the stream, as far as possible."""
        with suppress(OSError, ValueError):
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class ClosedStream(io.TextIOBase):
    """Standard output of a process that was started without one (`>&-`): writing is an error."""

    def write(self, text: str) -> int:
        """Raise OSError."""
        raise OSError(errno.EBADF, "standard output is closed")

    def isatty(self) -> bool:
        """Return False."""
        return False


@contextmanager
def standard_streams() -> Iterator[None]:
    """Context manager that replaces missing standard streams, and ignores errors of stderr.

    The descriptors 0 to 2 are opened if they are closed. Otherwise a file of the command could get one of these
    numbers, and a library that prints would write into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)  # the lowest free number
    before = sys.stdout, sys.stderr
    if sys.stdout is None:
        sys.stdout = ClosedStream()
    lenient: Any = LenientStream(io.StringIO() if sys.stderr is None else sys.stderr)
    sys.stderr = lenient
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
