"""Errors for users. Each message says what was wrong, where, and what to do."""


class SdekitError(Exception):
    """Error raised if something fails while running; the command line prints its message and exits with code 1."""

    exit_code = 1


class InputError(SdekitError, ValueError):
    """Error raised for wrong usage or input, before anything is written; the command line exits with code 2."""

    exit_code = 2


class ProcessLost(SdekitError):
    """Error raised if another process of a distributed training ended while this one waited for it."""
