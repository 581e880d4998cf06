"""Completion in bash, zsh and fish: commands, options, names and options of components, run folders, values."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sdekit.registry import component_names, forget_plugin_files, load_plugins, option_name, parameters
from sdekit_cli.completion.component_sources import options_in_source
from sdekit_cli.completion.scripts import SCRIPTS
from sdekit_cli.completion.shells import LONGEST, one_line

Complete = Callable[[str], dict[str, str]]


@pytest.fixture
def complete(sdekit: Callable[..., object], monkeypatch: pytest.MonkeyPatch) -> Complete:
    """complete(line) maps the proposals at the end of a line to their descriptions."""

    def run(line: str) -> dict[str, str]:
        monkeypatch.setenv("_SDEKIT_COMPLETE", "complete_fish")
        monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
        monkeypatch.setenv("_TYPER_COMPLETE_ARGS", line)
        result = sdekit()
        out: str = result.out  # type: ignore[attr-defined]
        return {value: text for value, _, text in (row.partition("\t") for row in out.splitlines()) if value}

    return run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with two runs."""
    for name in ("first", "runs/second"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.json").write_text(json.dumps({"class_names": ["cat", "dog"]}), "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("sdekit tr", {"train", "train-classifier"}),
        ("sdekit plugins sh", {"show"}),
        ("sdekit sample run --sol", {"--solver"}),
        ("sdekit sample --quie", {"--quiet"}),
        ("sdekit sample run --solver dd", {"ddim", "ddpm"}),
        ("sdekit sample run --solver DDI", {"ddim"}),
        ("sdekit sample run --solver=ddi", {"ddim"}),
        ("sdekit sample run --solver ddim:e", {"ddim:eta="}),
        ("sdekit sample run --solver ddim:eta=1,s", {"ddim:eta=1,solver="}),
        ("sdekit sample run --solver ddim:solver=t", {"ddim:solver=torchdiffeq"}),
        ("sdekit sample run --solver unknown:", set()),
        ("sdekit sample run --solver ddim --option et", {"eta="}),
        ("sdekit sample run --grid karras --option grid.", {"grid.p="}),
        ("sdekit sample run --grid karras:", {"karras:p="}),
        ("sdekit sample run --guidance cfg:sc", {"cfg:scale="}),
        ("sdekit train --option ne", {"network."}),
        ("sdekit train --network unet --option network.wid", {"network.width="}),
        ("sdekit train --option train.time", {"train.time_limit="}),
        ("sdekit train --process ve --option process.sigma_ma", {"process.sigma_max="}),
        ("sdekit train --sde ve --option sde.sigma_ma", {"sde.sigma_max="}),
        ("sdekit train --process ve:sigma_ma", {"ve:sigma_max="}),
        ("sdekit train --data ima", {"images:"}),
        ("sdekit train --data moo", {"moons"}),
        ("sdekit train --precision b", {"bf16"}),
        ("sdekit train --prediction f", {"flow"}),
        ("sdekit restore run --operator super-resolution:fa", {"super-resolution:factor="}),
        ("sdekit restore run --method dp", {"dps"}),
        ("sdekit classify run --method b", {"bound"}),
        ("sdekit nll run --solver dop", {"dopri5"}),
        ("sdekit nll run --dtype float6", {"float64"}),
        ("sdekit export run --format on", {"onnx"}),
        ("sdekit bench run --statistic m", {"median"}),
        ("sdekit verify sub-", {"sub-vp"}),
        ("sdekit plugins list --kind samp", {"sampler"}),
        ("sdekit plugins list pr", {"process"}),
        ("sdekit plugins new x --kind lo", {"loader", "logger"}),
        ("sdekit plugins show --kind Processes sub", {"sub-vp"}),
        ("sdekit verify --kind pr", {"prediction", "process"}),
        ("sdekit train --logger tensorb", {"tensorboard"}),
        ("sdekit sample fi", {"first"}),
        ("sdekit sample runs/", {"runs/second"}),
        ("sdekit sample first --label d", {"dog"}),
        ("sdekit sample first --label cat,d", {"cat,dog"}),
        ("sdekit sample run --out ", set()),
    ],
)
def test_proposals(complete: Complete, here: Path, line: str, expected: set[str]) -> None:
    """The words that a line can be completed with."""
    assert set(complete(line)) == expected


def test_components_have_descriptions(complete: Complete) -> None:
    """All samplers are proposed, each with one line of help that is not cut in the middle of a line."""
    found = complete("sdekit sample run --solver ")
    assert set(found) == set(component_names("sampler"))
    assert all(found.values()) and max(map(len, found.values())) <= LONGEST


def test_runs_are_proposed_once(complete: Complete, here: Path) -> None:
    """Without a beginning, the runs below the current folder come first; a second run is not proposed."""
    assert list(complete("sdekit sample "))[:2] == ["first", "runs/second"]
    assert complete("sdekit sample first ") == {}


def test_plugin_file(complete: Complete, here: Path) -> None:
    """The components of --plugin FILE are proposed too, with the options of their classes."""
    (here / "mine.py").write_text(
        "from dataclasses import dataclass\nfrom sdekit import Sampler, hookimpl\n\n"
        '@dataclass(frozen=True, kw_only=True)\nclass Mine(Sampler):\n    """Mine."""\n\n    gain: float = 1.0\n\n'
        'def _hook():\n    return {"mine-own": Mine}\n\n'
        '@hookimpl\ndef sdekit_samplers():\n    return {"mine-own": Mine}\n',
        "utf-8",
    )
    try:
        assert complete("sdekit sample run --plugin mine.py --solver mine-") == {"mine-own": "Mine."}
        assert set(complete("sdekit sample run --plugin mine.py --solver mine-own:")) == {"mine-own:gain="}
    finally:
        forget_plugin_files()


@pytest.mark.parametrize("kind", ["sampler", "guidance", "grid", "sde", "operator", "restorer", "metric"])
def test_options_in_source_are_those_of_the_classes(kind: str) -> None:
    """Reading the source gives the options that importing the component gives."""
    for (other, name), entry in load_plugins().entries.items():
        if other == kind:
            read = {option.name for option in options_in_source(entry)}
            assert read == {option_name(option) for option in parameters(entry.load())}, name


@pytest.mark.parametrize(
    ("text", "line"), [("A b. C d.", "A b"), ("A\n  b", "A b"), (None, ""), ("a eq. 5", "a eq. 5")]
)
def test_one_line(text: str | None, line: str) -> None:
    """A description becomes its first sentence in one line."""
    assert one_line(text) == line


def test_completion_imports_no_torch() -> None:
    """A completion imports neither torch nor numpy nor pydantic nor a Markdown parser."""
    code = (
        "import os, sys\n"
        "os.environ |= {'_SDEKIT_COMPLETE': 'complete_fish', '_TYPER_COMPLETE_FISH_ACTION': 'get-args',"
        " '_TYPER_COMPLETE_ARGS': 'sdekit sample run --solver ddim:'}\n"
        "from sdekit_cli.app import main\ntry:\n    main([])\nexcept SystemExit:\n    pass\n"
        "print(sorted({'torch', 'numpy', 'pydantic', 'markdown_it'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stderr.splitlines()[-1] == "[]" and "ddim:eta=" in done.stdout


@pytest.mark.parametrize("shell", SCRIPTS)
def test_scripts(sdekit: Callable[..., object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shell: str) -> None:
    """--install-completion writes the script of --show-completion into the home folder, once."""
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.delenv("ZDOTDIR", raising=False), monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    script = sdekit("--show-completion", shell).out  # type: ignore[attr-defined]
    for _ in range(2):
        assert sdekit("--install-completion", shell).code == 0  # type: ignore[attr-defined]
    files = {path: path.read_text("utf-8") for path in tmp_path.rglob("*") if path.is_file()}
    assert script in files.values()
    assert all(len(text.splitlines()) == 1 for text in files.values() if text != script)


def test_unknown_shell(refused: Callable[..., str]) -> None:
    """A shell without a script is refused, with the names of those that have one."""
    assert "bash, zsh or fish" in refused("--show-completion", "tcsh")


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A folder with the command `sdekit` of this Python."""
    file = tmp_path / "bin" / "sdekit"
    file.parent.mkdir()
    file.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m sdekit_cli "$@"\n', "utf-8")
    file.chmod(0o755)
    return file.parent


@pytest.mark.parametrize(
    ("shell", "code", "expected"),
    [
        (
            "bash",
            'line="sdekit sample run --solver ddim:e"; COMP_LINE=$line; COMP_POINT=${#line}; '
            "_sdekit_completion sdekit; echo ${COMPREPLY[*]}",
            "eta=",
        ),
        ("fish", 'complete -C "sdekit sample run --solver=ddi" | string split -f 1 \\t', "--solver=ddim"),
    ],
)
def test_scripts_in_their_shells(program: Path, tmp_path: Path, shell: str, code: str, expected: str) -> None:
    """In the shell itself, the script proposes the part of the word that the shell replaces."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = tmp_path / f"script.{shell}"
    script.write_text(SCRIPTS[shell], "utf-8")
    command = [shell, "-c", f'export PATH="{program}:$PATH"; source {script}; {code}']
    if shell == "fish":
        command[-1] = f"set -x PATH {program} $PATH; source {script}; {code}"
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.stdout.strip() == expected, done.stderr


def test_zsh_script_parses(tmp_path: Path) -> None:
    """The script for zsh has no syntax error."""
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    script = tmp_path / "script.zsh"
    script.write_text(SCRIPTS["zsh"], "utf-8")
    assert subprocess.run(["zsh", "-n", script], timeout=60).returncode == 0
