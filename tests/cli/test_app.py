"""The `sdekit` command: help with examples, the version, and no heavy imports before they are needed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

import sdekit as package
from sdekit_cli.app import COMMANDS as DESCRIPTIONS, load_command

COMMANDS = [
    ("train",),
    ("train-classifier",),
    ("sample",),
    ("report",),
    ("evaluate",),
    ("export",),
    ("info",),
    ("verify",),
    ("bench",),
    ("tune",),
    ("restore",),
    ("edit",),
    ("nll",),
    ("bound",),
    ("encode",),
    ("decode",),
    ("interpolate",),
    ("classify",),
    ("ood",),
    *(("plugins", name) for name in ("list", "show", "new", "check")),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_has_an_example(sdekit: Callable[..., Any], command: tuple[str, ...], flag: str) -> None:
    """The help of every command exits with 0 and contains an example of this command."""
    result = sdekit(*command, flag)
    assert result.code == 0 and result.err == ""
    assert "Example" in result.out and f"\n sdekit {' '.join(command)} " in result.out.replace("   ", " ")


def test_root_help(sdekit: Callable[..., Any]) -> None:
    """The help names every command and a first example; every command is in the list of the test above."""
    result = sdekit("--help")
    assert result.code == 0 and "sdekit train --data digits --out run" in " ".join(result.out.replace("│", " ").split())
    assert all(command[0] in result.out for command in COMMANDS)
    assert set(DESCRIPTIONS) == {command[0] for command in COMMANDS}


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_root_help_says_what_each_command_says_of_itself(name: str) -> None:
    """The table of commands, which avoids importing them, agrees with the first line of each command's help."""
    assert (load_command(name).help or "").split("\n\n")[0] == DESCRIPTIONS[name]


def test_version(sdekit: Callable[..., Any]) -> None:
    """--version prints the version of the package."""
    assert sdekit("--version").out == f"sdekit {package.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tran",), "sdekit has no command 'tran': did you mean sdekit train?"),
        (("train",), "sdekit train: Missing option --out. Add --out FOLDER"),
        (("sample",), "RUN is missing. Write the run folder first: sdekit sample RUN ..."),
        (("sample", "run"), "sdekit sample: Missing option --out"),
        (("train", "--outt", "x"), "sdekit train has no option --outt: did you mean --out?"),
    ],
)
def test_wrong_usage(refused: Callable[..., str], arguments: tuple[str, ...], message: str) -> None:
    """A wrong command, a missing argument and an unknown flag are one message each."""
    assert message in refused(*arguments)


LARGE = {"torch", "numpy", "scipy", "matplotlib", "sklearn", "PIL"}
"""Packages that take 0.03 s or more of processor time."""
UNUSED_BY_HELP = {
    *(
        "pydantic",
        "markdown_it",
        "rich.table",
        "rich.progress",
        "rich._emoji_codes",
        "tomllib",
        "filelock",
        "hashlib",
        "logging",
    ),
    *("sdekit.runs", "sdekit_cli.sampling.session", "sdekit_cli.likelihood.evaluated_model"),
}
PLUGINS = {"importlib.metadata", "sdekit.registry.discovery"}
"""Modules that find the plugins. The help of a command does not load them; those of `plugins` describe components."""


def imported(lines: list[str]) -> set[str]:
    """Return the modules that are imported after some command lines in one process."""
    code = (
        "import sys\nfrom sdekit_cli.app import main\n"
        f"for line in {lines!r}:\n    try:\n        main(line.split())\n    except SystemExit:\n        pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("command", ["plugins list", "sample r --out o --solver ddmi"])
def test_nothing_large_is_imported(command: str) -> None:
    """The listing and the message for a misspelt name import no large package."""
    assert imported([command]) & LARGE == set()


def test_help_of_commands_is_light() -> None:
    """The version and the help of a command import nothing that only its run needs, which would double their time."""
    lines = ["--version", *(f"{name} --help" for name in DESCRIPTIONS if name != "plugins")]
    assert imported(lines) & (LARGE | UNUSED_BY_HELP | PLUGINS) == set()


def test_help_of_groups_is_light() -> None:
    """The list of commands looks for plugins, and the help of `plugins` imports the kinds of components, at most."""
    lines = ["--help", "plugins --help", *(f"plugins {name} --help" for name in ("list", "show", "new", "check"))]
    modules = imported(lines)
    assert modules & (LARGE | UNUSED_BY_HELP) == set()
    assert not {f"sdekit_cli.commands.{name.replace('-', '_')}" for name in DESCRIPTIONS if name != "plugins"} & modules
