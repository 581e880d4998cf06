"""The command line: one file a command, thin over the package's own functions."""

from sdekit_cli.terminal.interrupts import quietly

quietly()
