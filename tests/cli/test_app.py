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


@pytest.mark.parametrize(
    "command", ["--help", "train --help", "nll --help", "plugins list", "sample r --out o --solver ddmi"]
)
def test_nothing_heavy_is_imported(command: str) -> None:
    """Help, the listing and the message for a misspelt name import neither torch nor numpy nor scipy."""
    code = (
        "import sys\nfrom sdekit_cli.app import main\n"
        f"try:\n    main({command.split()!r})\nexcept SystemExit:\n    pass\n"
        "print(sorted({'torch', 'numpy', 'scipy', 'matplotlib', 'sklearn', 'PIL'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stderr.splitlines()[-1] == "[]"


def test_root_help_is_light() -> None:
    """`sdekit --help` imports no Markdown parser, no progress bars and no command, which would double its time."""
    code = (
        "import sys\nfrom sdekit_cli.app import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'markdown_it', 'rich.progress', 'tomllib', 'pydantic', 'sdekit_cli.commands.train'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stderr.splitlines()[-1] == "[]"
