"""What may go wrong in any command, memory and the disk behind stdout, as one message."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sdekit.errors import SdekitError

MEMORY = ("can't allocate memory", "not enough memory", "out of memory")
"""What libraries say where they raise a RuntimeError in place of a MemoryError."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


@contextmanager
def report_failures() -> Iterator[None]:
    """Within it errors of memory and of writing to stdout are SdekitErrors; stdout is written out at the end."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except (MemoryError, RuntimeError) as error:
        text = str(error)
        if not isinstance(error, MemoryError) and not any(phrase in text.lower() for phrase in MEMORY):
            raise
        size = re.search(r"allocate (\d+) bytes|allocate ([\d.]+ \w+)", text)
        asked = "" if size is None else f" for {int(size[1]) / 1e9:.3g} GB" if size[1] else f" for {size[2]}"
        raise SdekitError(
            f"there is not enough memory{asked}: ask for fewer samples or steps, a smaller --batch-size, or a smaller "
            "network"
        ) from error
    except BrokenPipeError:
        _unplug()
        raise SystemExit(1) from None  # as `yes | head -1`: nobody reads, which is no news
    except OSError as error:
        if error.filename is not None or error.errno not in FULL:
            raise
        _unplug()
        raise SdekitError(f"could not write what there is to say: {error.strerror}") from error


def _unplug() -> None:
    """What stdout still holds goes nowhere, or Python would fail on it at the end."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
