"""`sdekit info` and `sdekit plugins`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sdekit import registry
from sdekit.registry import option_name

CLI = Callable[..., Any]
ENTRIES = sorted(registry.load_plugins().entries)


def test_info_json(sdekit: CLI, digits_run: Path) -> None:
    """The output is one JSON object with data, process, network and progress of the run."""
    result = sdekit("info", digits_run, "--json")
    fields = json.loads(result.out)
    assert result.code == 0 and result.err == ""
    assert fields["data"]["spec"] == "digits" and fields["shape"] == [1, 8, 8] and fields["items"] == 1797
    assert fields["network"]["name"] == "unet" and fields["network"]["options"]["width"] == 8
    assert fields["steps"] == fields["of"] == 4 and fields["resumable"] is True
    assert fields["process"]["name"] == "vp" and fields["held_out_loss"] > 0 and fields["parameters"] > 10_000


def test_info_for_people(sdekit: CLI, moons_run: Path) -> None:
    """Without --json the output is a table."""
    out = sdekit("info", moons_run).out
    for text in ("moons", "mlp", "vp", "held out loss", "condition", "label"):
        assert text in out


def test_info_shows_the_data_first(sdekit: CLI, digits_run: Path) -> None:
    """The kind, the verdict and the files are fields, and the data come before the details."""
    fields = json.loads(sdekit("info", digits_run, "--json").out)
    assert fields["kind"] == "image" and fields["columns"] == [] and "config.json" in fields["files"]
    assert fields["verdict"] in ("trained", "untrained", "improving", "overfitting", "unknown")
    out = sdekit("info", digits_run).out
    assert (
        out.index("data ") < out.index("kind ") < out.index("network ") < out.index("verdict ") < out.index("format ")
    )


def test_list_of_one_kind(sdekit: CLI, refused: Callable[..., str]) -> None:
    """A kind is a filter in the singular and the plural, and its list starts with its purpose."""
    for written, kind in (("samplers", "sampler"), ("Processes", "sde"), ("features", "features"), ("process", "sde")):
        rows = json.loads(sdekit("plugins", "list", written, "--json").out)["components"]
        assert [row["name"] for row in rows] == registry.component_names(kind)
    out = sdekit("plugins", "list", "processes").out
    assert "--process NAME" in out and out.startswith("process ") and "sde " not in out
    assert "no kind 'smplers'" in refused("plugins", "list", "smplers")


def test_info_without_checkpoint(sdekit: CLI, digits_run: Path, tmp_path: Path) -> None:
    """A run without its checkpoint opens, but is not resumable."""
    run = shutil.copytree(digits_run, tmp_path / "run")
    shutil.rmtree(run / "checkpoint")
    assert json.loads(sdekit("info", run, "--json").out)["resumable"] is False


def test_list_json(sdekit: CLI) -> None:
    """Every component is listed once, with a summary of one line and its package; no plugin has a problem."""
    result = sdekit("plugins", "list", "--json")
    fields = json.loads(result.out)
    assert sorted((row["kind"], row["name"]) for row in fields["components"]) == ENTRIES
    assert fields["problems"] == [] and {row["package"] for row in fields["components"]} >= {"sdekit"}
    for row in fields["components"]:
        assert row["summary"] and "\n" not in row["summary"] and len(row["summary"]) <= 100, row


def test_list_for_people(sdekit: CLI) -> None:
    """The table contains every name; --kind selects one kind."""
    out = sdekit("plugins", "list").out
    assert all(name in out for _, name in ENTRIES)
    rows = json.loads(sdekit("plugins", "list", "--kind", "grid", "--json").out)["components"]
    assert [row["name"] for row in rows] == registry.component_names("grid")


@pytest.mark.parametrize(("kind", "name"), ENTRIES, ids=["-".join(entry) for entry in ENTRIES])
def test_show(sdekit: CLI, kind: str, name: str) -> None:
    """Every component is shown with its documentation and each option with type and default, as JSON too."""
    result = sdekit("plugins", "show", name, "--kind", kind, "--json")
    (shown,) = json.loads(result.out)["components"]
    known = [option_name(option) for option in registry.parameters(registry.find_component(kind, name).load())]
    assert result.code == 0 and shown["doc"].startswith(shown["summary"])
    assert [option["name"] for option in shown["options"]] == known
    out = sdekit("plugins", "show", name, "--kind", kind).out
    assert all(option in out for option in known) and shown["summary"].split()[0] in out


@pytest.mark.parametrize(("kind", "name"), ENTRIES, ids=["-".join(entry) for entry in ENTRIES])
def test_every_option_is_described(kind: str, name: str) -> None:
    """The section `Arguments:` of a component's docstring has an entry for each option."""
    target = registry.find_component(kind, name).load()
    assert set(registry.option_meanings(target)) == set(registry.parameters(target))


def test_show_prints_each_option_once(sdekit: CLI, tmp_path: Path) -> None:
    """The docstring comes without its section `Arguments:`, which becomes the table of options."""
    path = tmp_path / "acme_show.py"
    path.write_text(
        "from sdekit import hookimpl\n\n\ndef grid(sde, n, *, power: float = 2.0, from_: int = 0):\n"
        '    """Times of a power law.\n\n    t = (1 - i / n)^power.\n\n    Arguments:\n        sde: Process.\n'
        "        power: Exponent, at least 1.\n        from_: First step,\n            counted from 0.\n\n"
        '    Source:\n        Acme 2026, eq. 1.\n    """\n\n\n'
        "@hookimpl\ndef sdekit_grids():\n    return {'acme-power': grid}\n"
    )
    try:
        out = sdekit("plugins", "show", "acme-power", "--plugin", path).out
        (shown,) = json.loads(sdekit("plugins", "show", "acme-power", "--json").out)["components"]
    finally:
        registry.forget_plugin_files()
    text = " ".join(out.split())
    assert "Times of a power law." in text and "Acme 2026, eq. 1." in text and "Arguments" not in text
    assert text.count("Exponent, at least 1.") == 1 and "sde: Process" not in text
    assert [(o["name"], o["meaning"]) for o in shown["options"]] == [
        ("power", "Exponent, at least 1."),
        ("from", "First step, counted from 0."),
    ]


def test_either_name_of_a_process(sdekit: CLI, tmp_path: Path) -> None:
    """Every command with --kind accepts `process` as well as `sde`, the plural and upper case."""
    names = ("process", "sde", "Processes", "SDES")
    listed = [json.loads(sdekit("plugins", "list", "--kind", kind, "--json").out) for kind in names]
    assert all(other == listed[0] for other in listed) and "vp" in {row["name"] for row in listed[0]["components"]}
    assert "beta_max" in sdekit("plugins", "show", "vp", "--kind", "process").out
    for kind in ("process", "sde", "Processes"):
        assert sdekit("plugins", "new", "acme-flow", "--kind", kind, "--out", tmp_path / kind).code == 0


def test_brackets_are_shown(sdekit: CLI) -> None:
    """Brackets are printed and not taken as markup: `sdekit[onnx]` in a summary."""
    out = "".join(sdekit("plugins", "list", "--kind", "backend").out.split())
    assert "'sdekit[onnx]'" in out


def test_unknown_names(refused: Callable[..., str]) -> None:
    """A wrong name or kind is refused with the nearest valid one."""
    assert "no component 'ddmi'; did you mean 'ddim'?" in refused("plugins", "show", "ddmi")
    assert "no sampler 'vp'" in refused("plugins", "show", "vp", "--kind", "sampler")
    assert "no kind 'smplers'; did you mean 'sampler'?" in refused("plugins", "list", "--kind", "smplers")
