"""The command line of sdekit: one file per command, each a thin layer over the functions of `sdekit`."""

import sys
from types import TracebackType


def _exit_quietly_on_interrupt() -> None:
    """End the process with exit code 130 and no traceback on Ctrl-C, also while sdekit is still being imported."""
    previous = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            raise SystemExit(130)
        previous(kind, error, trace)

    sys.excepthook = hook


_exit_quietly_on_interrupt()
