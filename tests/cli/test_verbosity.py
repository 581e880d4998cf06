"""The options -q and -v, progress without a terminal, and the help of all commands."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sdekit_cli.app import COMMANDS, load_command
from sdekit_cli.options.option_groups import group_title
from sdekit_cli.terminal import console as console_module, progress, progress_lines
from sdekit_cli.terminal.help_page import print_help

PAGES = [(name,) for name in COMMANDS] + [("plugins", name) for name in ("list", "show", "new", "check")]


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("command", PAGES, ids=" ".join)
def test_help_fits(
    sdekit: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], width: int
) -> None:
    """No text is cut off, no line except an example is wider than the terminal, and examples are in one line."""
    monkeypatch.setattr(console_module.shown, "width", width)
    out: str = sdekit(*command, "--help").out
    lines = out.splitlines()
    assert "…" not in out
    assert all(len(line) <= width for line in lines if not line.startswith("   sdekit ")), out
    assert "{" not in lines[0] and "<" not in out.replace("<=", "")
    assert "╭─ General ─" in out or command == ("plugins",)


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "plugins"])
def test_every_option_has_a_group(name: str) -> None:
    """Every option of every command is in a group with a name."""
    options = [p.name for p in load_command(name).params if p.param_type_name == "option"]
    assert [option for option in options if group_title(name, option) == "Options"] == []


@pytest.mark.parametrize(
    ("command", "option", "default"),
    [("sample", "-n", "64"), ("edit", "-n", "8"), ("evaluate", "-n", "1000"), ("restore", "--solver", "ddim"),
     ("sample", "--solver", "auto"), ("nll", "--solver", "dopri5")],
)  # fmt: skip
def test_help_shows_the_commands_own_default(
    sdekit: Callable[..., Any], command: str, option: str, default: str
) -> None:
    """Options that several commands share show the default of this command."""
    out = " ".join(re.sub("[│\n]", " ", sdekit(command, "--help").out).split())
    text = re.split(r" --?[a-z][\w-]* [A-Z]", out.split(f" {option} ")[-1])[0]
    assert f"[default: {default}" in text


def test_words_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is longer than its column is followed by its description on the next line."""
    screen = io.StringIO()
    monkeypatch.setattr("sdekit_cli.terminal.help_page.shown", Console(file=screen, width=60))
    print_help("sdekit x", "Text.", {"Group": [("--a-very-long-option NAME=VALUE,...", "Meaning."), ("-b", "B.")]})
    lines = [line.strip("│ ") for line in screen.getvalue().splitlines()]
    assert lines[lines.index("--a-very-long-option NAME=VALUE,...") + 1] == "Meaning."


@pytest.mark.parametrize("before", [True, False])
def test_quiet(sdekit: Callable[..., Any], moons_run: Path, tmp_path: Path, before: bool) -> None:
    """-q before or after the command prints no notes; errors are still printed; the next command prints notes."""
    command = ("sample", moons_run, "-n", 2, "--nfe", 2, "--out", tmp_path / "out")
    result = sdekit("-q", *command) if before else sdekit(*command, "--quiet")
    assert result == (0, "", "") and (tmp_path / "out" / "samples.npy").exists()
    assert sdekit("-q", *command).err.startswith("error: ")
    assert "drew 2 samples" in sdekit(*command, "--overwrite").err


def test_verbose(sdekit: Callable[..., Any], moons_run: Path, tmp_path: Path) -> None:
    """-v prints versions, values of options and times; --json on stdout stays one object."""
    result = sdekit("sample", moons_run, "-n", 2, "--nfe", 2, "--out", tmp_path / "out", "--json", "-v")
    assert result.code == 0 and result.out.count("\n") == 1
    assert "torch " in result.err and "nfe=2" in result.err and "took " in result.err


def test_verbose_shows_the_traceback_of_an_error(sdekit: Callable[..., Any], tmp_path: Path) -> None:
    """With -v, an error is preceded by its traceback; without it, the error is one line."""
    command = ("sample", tmp_path / "nothing", "--out", tmp_path / "out")
    assert "Traceback" in sdekit("-v", *command).err
    assert "Traceback" not in sdekit(*command).err


def test_lines_of_progress(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal, progress is a line with share, count and time whenever enough seconds have passed."""
    now = [0.0]
    bar = progress_lines.ProgressLines(get_time=lambda: now[0])
    with bar:
        task = bar.add_task("sampling", total=10)
        for _ in range(10):
            now[0] += 2
            bar.advance(task)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and lines[0].startswith(" 30%  sampling  3/10")


@pytest.mark.parametrize(("variable", "value"), [("FORCE_COLOR", "1"), ("TERM", "dumb"), ("NO_COLOR", "1")])
def test_no_bar_in_a_file(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    """A file is no terminal, whatever the environment says of colours."""
    monkeypatch.setenv(variable, value)
    monkeypatch.setattr(progress, "console", Console(file=io.StringIO()))
    assert not progress.on_terminal()
