"""Ctrl-C while sdekit is still being imported, before `main` could hear of it."""

from __future__ import annotations

import sys
from types import TracebackType


def quietly() -> None:
    """From now on a KeyboardInterrupt that nobody catches ends the process with 130 and no traceback."""
    others = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            raise SystemExit(130)
        others(kind, error, where)

    sys.excepthook = hook
