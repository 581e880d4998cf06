"""The command line: one file a command, thin over the package's own functions."""

from .interrupts import quietly

quietly()
