"""Errors that are told to people: one message that says what was wrong, where, and what to do."""


class SdekitError(Exception):
    """Something failed while running. The command line prints the message alone and exits with `exit_code`."""

    exit_code = 1


class InputError(SdekitError, ValueError):
    """Wrong usage or input, found before anything was written."""

    exit_code = 2


class ProcessLost(SdekitError):
    """Error raised if another process of a distributed training ended while this one waited for it."""
