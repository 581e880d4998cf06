"""`sdekit plugins new` and `sdekit plugins check`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sdekit import registry
from sdekit_cli.scaffold.plugin_checks import check_import_speed
from sdekit_cli.scaffold.skeletons import COMPONENTS

CLI = Callable[..., Any]


HOOK = "@hookimpl\ndef sdekit_samplers():\n    return {'acme-f': f}\n"


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """local(source) writes a plugin file. All plugin files are forgotten after the test."""

    def write(source: str) -> Path:
        path = tmp_path / "acme_local.py"
        path.write_text(source, "utf-8")
        return path

    yield write
    registry.forget_plugin_files()


@pytest.mark.parametrize("kind", COMPONENTS)
def test_new(sdekit: CLI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """The new package is complete, contains no placeholder, and parses."""
    monkeypatch.chdir(tmp_path)
    result = sdekit("plugins", "new", "acme-thing", "--kind", kind)
    assert result.code == 0 and f"pip install -e '{tmp_path}/acme-thing[test]'" in result.err
    written = {str(p.relative_to("acme-thing")): p.read_text() for p in Path("acme-thing").rglob("*") if p.is_file()}
    assert {"pyproject.toml", "README.md", "src/acme_thing/component.py", "tests/test_conforms.py"} < set(written)
    for path, text in written.items():
        assert not any(word in text for word in ("NAME", "CLASS", "HOOK", "PACKAGE", "KIND")), path
        if path.endswith(".py"):
            compile(text, path, "exec")


def test_new_refuses(refused: Callable[..., str], tmp_path: Path) -> None:
    """A plugin that would not work, or would overwrite files, is refused."""
    assert "no kind 'sampelr'; did you mean 'sampler'?" in refused("plugins", "new", "a", "--kind", "sampelr")
    assert "no template for the kind objective: start from" in refused("plugins", "new", "acme", "--kind", "objective")
    assert "lower case, with hyphens, such as acme-heun" in refused("plugins", "new", "Acme_Heun")
    assert "Python already has a module 'json'" in refused("plugins", "new", "json")
    assert "sampler 'ddim' exists already, in sdekit" in refused("plugins", "new", "ddim")
    (tmp_path / "file").write_text("")
    assert "choose another folder" in refused("plugins", "new", "acme-thing", "--out", tmp_path)


@pytest.mark.slow
def test_new_as_generated(sdekit: CLI, tmp_path: Path) -> None:
    """A new plugin of every kind builds, installs, and passes `plugins check` and its tests, which run `verify`."""
    for kind in COMPONENTS:
        assert sdekit("plugins", "new", f"acme-{kind}", "--kind", kind, "--out", tmp_path / f"acme-{kind}").code == 0
    # their build backend's own hook, in one process: pip would start two for each of them
    code = (
        "import os, sys; from hatchling.build import build_wheel\n"
        "for place in sys.argv[1:]:\n    os.chdir(place); build_wheel('..')"
    )
    subprocess.run(
        [sys.executable, "-c", code, *(tmp_path / f"acme-{kind}" for kind in COMPONENTS)], check=True, timeout=250
    )
    site, wheels = tmp_path / "site", sorted(tmp_path.glob("*.whl"))
    assert len(wheels) == len(COMPONENTS)
    pip = (sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-compile")
    subprocess.run([*pip, "--target", site, *wheels], check=True, timeout=250)
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def run(*arguments: object) -> None:
        command = [sys.executable, "-m", *map(str, arguments)]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=250)
        assert done.returncode == 0, done.stdout + done.stderr

    run("sdekit_cli", "plugins", "check")
    # their test files share a name, which only this import mode allows
    options = ("-q", "-p", "no:cacheprovider", "--import-mode=importlib", "--rootdir", tmp_path)
    run("pytest", *options, *(tmp_path / f"acme-{kind}" / "tests" for kind in COMPONENTS))


def test_check(sdekit: CLI) -> None:
    """The built-in plugins pass every check."""
    fields = json.loads(sdekit("plugins", "check", "--json").out)
    assert fields["passed"] is True
    assert {("core", "listing", "ok"), ("plugins", "listing", "ok")} <= {
        (c["plugin"], c["subject"], c["verdict"]) for c in fields["checks"]
    }


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import sdekit_cli.terminal.console\n", "imports sdekit_cli.terminal.console"),
        ("from sdekit.sampling.grids import _ends\n", "imports sdekit.sampling.grids._ends"),
        ("def f():\n    pass\n", "it has no docstring"),
        ("def f(*, a: int):\n    'What a is.'\n", "its option 'a' has no default: give it one"),
        ("def f(*, a=1):\n    'What a is.'\n", "its option 'a' has no type: annotate it"),
        (
            "from dataclasses import dataclass\nfrom sdekit import Sampler\nclass f(Sampler):\n    'A sampler.'\n",
            "f is no dataclass: decorate it with @dataclass(frozen=True, kw_only=True)",
        ),
        (
            "from dataclasses import dataclass\n@dataclass(kw_only=True)\nclass f:\n    'A sampler.'\n    a: int = 1\n",
            "f is a dataclass, but not frozen: decorate it",
        ),
    ],
)
def test_check_finds(sdekit: CLI, local: Callable[[str], Path], source: str, words: str) -> None:
    """A fault has exit code 1 and one message with the plugin and the cause; other commands keep working."""
    unless = "" if "f(" in source or "class f" in source else "def f():\n    'A sampler.'\n"
    path = local(f"from sdekit import hookimpl\n{source}{unless}{HOOK}")
    result = sdekit("plugins", "check", "--plugin", path, "--json")
    fields = json.loads(result.out)
    (failed,) = (c for c in fields["checks"] if c["plugin"] == "acme_local" and c["verdict"] == "FAILED")
    assert result.code == 1 and words in failed["message"]
    assert sdekit("plugins", "list").code == 0 and sdekit("plugins", "show", "ddim").code == 0


def test_check_for_people(sdekit: CLI, local: Callable[[str], Path]) -> None:
    """The output is a table of the faults."""
    result = sdekit("plugins", "check", "--plugin", local(f"from sdekit import hookimpl\ndef f():\n    pass\n{HOOK}"))
    told = " ".join(result.out.split())
    assert result.code == 1 and "acme_local" in told and "FAILED" in told and "it has no docstring" in told


def test_which_plugin_imports_torch() -> None:
    """Plugins that import torch get an advice; the others pass."""
    verdicts = check_import_speed(
        {"a": "json", "b": "sdekit.processes.sde", "c": "sdekit.sampling.noise", "d": "sdekit.errors"}
    )
    assert [(v.plugin, v.verdict) for v in verdicts] == [("a", "ok"), ("b", "advice"), ("c", "advice"), ("d", "ok")]
