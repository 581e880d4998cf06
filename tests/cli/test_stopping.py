"""Ctrl-C and SIGTERM: after the step under way, at once, and before there is a command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from sdekit_cli.terminal.signals import stopping


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_twice(capsys: pytest.CaptureFixture[str], number: signal.Signals) -> None:
    """The first asks to stop and says what a second one does, which ends the step."""
    calls: list[int] = []
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as end, stopping(lambda: calls.append(1)):
        os.kill(os.getpid(), number)
        assert calls == [1] and "stopping after this step; again to end at once" in capsys.readouterr().err
        os.kill(os.getpid(), number)
        raise AssertionError("it went on")
    assert end.value.code == 128 + number and calls == [1]
    assert capsys.readouterr().err == "ended at once\n"
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("code", ["raise KeyboardInterrupt", "from sdekit_cli import app; app.app = stop; app.main()"])
def test_before_a_command(code: str) -> None:
    """While sdekit is imported, and in `main` itself: 130, and not a word."""
    whole = f"import sdekit_cli\ndef stop(**_): raise KeyboardInterrupt\n{code}"
    done = subprocess.run([sys.executable, "-c", whole], capture_output=True, text=True, timeout=100)
    assert done.returncode == 130 and done.stderr == ""
