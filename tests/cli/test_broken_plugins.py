"""Faulty installed plugins: one clear message for each, and everything else keeps working."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAD = "from sdekit import hookimpl\n@hookimpl\n"
CLASH = HEAD + "def sdekit_grids():\n    return {'clash': 'sdekit.sampling.grids:uniform'}\n"
THAWED = (
    "from dataclasses import dataclass\nfrom sdekit import Sampler\n@dataclass\nclass T(Sampler):\n    a: int = 1\n"
)
# package: its source, and words of the message
BROKEN: dict[str, tuple[str, str]] = {
    "raises": ("1 / 0\n", "plugin 'raises' of px-raises 1.0 was skipped: ZeroDivisionError"),
    "leaves": ("raise SystemExit('bye')\n", "plugin 'leaves' of px-leaves 1.0 was skipped: SystemExit: bye"),
    "needs": ("import no_such_library\n", "plugin 'needs' of px-needs 1.0 was skipped: ModuleNotFoundError"),
    "one": (CLASH, "grid 'clash' is provided by plugin 'one' of px-one 1.0 and by plugin 'two' of px-two 1.0"),
    "two": (CLASH, "set SDEKIT_DISABLE_PLUGINS=two"),
    "misspelt": (HEAD + "def sdekit_sampler():\n    return {}\n", "did you mean 'sdekit_samplers'?"),
    "list": (
        HEAD + "def sdekit_grids():\n    return ['a']\n",
        "px-list 1.0 was skipped: InputError: sdekit_grids returned",
    ),
    "thawed": (THAWED, "px-thawed 1.0 was skipped: TypeError: cannot inherit non-frozen dataclass"),
    "future": ("sdekit_api = 7\n", "it is written for version 7 of the plugin API"),
    "commands": (
        HEAD + "def sdekit_commands(app):\n    app.command('half')(print)\n    raise RuntimeError('no')\n",
        "the commands of plugin 'commands' are left out: RuntimeError: no",
    ),
    "sound": (
        HEAD + "def sdekit_commands(app):\n    @app.command('acme')\n    def acme():\n        'Hello.'\n"
        "    app.command('without-help')(lambda: print('it ran'))\n",
        "",
    ),
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which all faulty plugins are installed."""
    place = tmp_path_factory.mktemp("broken")
    for name, (source, _) in BROKEN.items():
        (place / f"px_{name}.py").write_text(source)
        (info := place / f"px_{name}-1.0.dist-info").mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: px-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[sdekit]\n{name} = px_{name}\n")
    path = os.pathsep.join(filter(None, (str(place), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, "COLUMNS": "120"}


def run(installed: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `sdekit ARGUMENTS` in this environment."""
    command = [sys.executable, "-m", "sdekit_cli", *arguments]
    return subprocess.run(command, env=installed, capture_output=True, text=True, timeout=120)


def test_help_goes_on_working(installed: dict[str, str], tmp_path: Path) -> None:
    """The help prints one line for each fault, and has the commands of sound plugins only."""
    done = run(installed, "--help")
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 0 and "Traceback" not in done.stderr
    for name, (_, words) in BROKEN.items():
        assert not words or sum(words in line for line in lines) == 1, (name, lines)
    assert len(lines) == len(BROKEN) - 2 and all(line.startswith("warning: ") for line in lines)
    assert "acme" in done.stdout and "half" not in done.stdout and "sample" in done.stdout
    assert "without-help" in done.stdout and run(installed, "without-help").stdout == "it ran\n"


def test_the_rest_goes_on_working(installed: dict[str, str]) -> None:
    """Sound components are listed; a name that two plugins provide is an error when it is used."""
    done = run(installed, "plugins", "list", "--json")
    fields = json.loads(done.stdout)
    assert done.returncode == 0 and len(fields["problems"]) == len(BROKEN) - 3
    assert {"ddim", "karras"} <= {row["name"] for row in fields["components"]}
    done = run(installed, "plugins", "show", "clash")
    assert done.returncode == 2 and "error: grid 'clash' is provided by plugin 'one'" in done.stderr
