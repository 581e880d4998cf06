"""Damaged runs and runs of a newer sdekit: exit code 2, one message that says what to do, and no file written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sdekit.runs import CHECKPOINT, CONFIG, FORMAT, MODEL, load_json, save_json

Refused = Callable[..., str]


@pytest.mark.parametrize("name", [CONFIG, MODEL, CHECKPOINT])
@pytest.mark.parametrize("how", ["missing", "truncated", "altered"])
def test_damaged_run(refused: Refused, digits_run: Path, tmp_path: Path, name: str, how: str) -> None:
    """Every command that needs a damaged file names it, says what to do, and reports a wrong checksum."""
    run = shutil.copytree(digits_run, tmp_path / "run")
    content = (run / name).read_bytes()
    at = content.index(b"learning_rate") if name == CONFIG else len(content) - 100
    (run / name).unlink()
    if how == "truncated":
        (run / name).write_bytes(content[:at])
    elif how == "altered":
        (run / name).write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    said = {"missing": "is missing", "truncated": "is damaged or truncated", "altered": "was altered: its checksum is"}
    commands = {
        "sample": ("sample", run, "--out", tmp_path / "s"),
        "info": ("info", run),
        "resume": ("train", "--out", run, "--resume"),
    }
    needed = {CONFIG: ["sample", "info", "resume"], MODEL: ["sample", "info"], CHECKPOINT: ["info", "resume"]}[name]
    if name == CHECKPOINT and how == "missing":
        needed = ["resume"]
    for command in needed:
        message = refused(*commands[command])
        assert said[how] in message and str(name) in message
        assert "Restore it from a copy, or train again" in message or (name == CONFIG and how == "missing")


def test_newer_run(refused: Refused, digits_run: Path, tmp_path: Path) -> None:
    """Every command refuses a run of a newer sdekit and names both versions."""
    run = shutil.copytree(digits_run, tmp_path / "run")
    fields = load_json(run / CONFIG)
    fields |= {"format": FORMAT + 1, "versions": {"sdekit": "9.9"}}
    save_json(run / CONFIG, fields)
    for command in (("sample", run, "--out", tmp_path / "s"), ("info", run), ("train", "--out", run, "--resume")):
        message = refused(*command)
        assert "written by sdekit 9.9" in message and "upgrade sdekit" in message
