"""`sdekit verify`: a table, JSON, exit codes, a plot."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdekit import registry

CLI = Callable[..., Any]

WRONG = '''
import torch
from sdekit import hookimpl


def repeats(sde, n):
    """A grid that repeats its last point."""
    times = torch.linspace(sde.t_max, sde.t_min, n + 1, dtype=torch.float64)
    times[-2] = times[-1]
    return times


@hookimpl
def sdekit_grids():
    return {"acme-wrong": repeats}
'''


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """local(source) writes a plugin file. All plugin files are forgotten after the test."""

    def write(source: str, name: str = "acme_local.py") -> Path:
        path = tmp_path / name
        path.write_text(source, "utf-8")
        return path

    yield write
    registry.forget_plugin_files()


def test_for_people(sdekit: CLI) -> None:
    """The output has a row for each check and a verdict."""
    result = sdekit("verify", "vp", "karras", "--quick")
    assert result.code == 0
    for words in ("sde vp", "monotone", "published", "grid karras", "decreasing[vp]", "karras passed 21 checks"):
        assert words in result.out


def test_json(sdekit: CLI) -> None:
    """The output is one object with the measured and expected value of every check."""
    result = sdekit("verify", "ve", "--json")
    fields = json.loads(result.out)
    assert result.code == 0 and fields["passed"] is True and result.err == ""
    (report,) = fields["components"]
    assert report["component"] == "ve" and {"f", "g", "time"} <= {check["name"] for check in report["checks"]}


def test_a_failure(sdekit: CLI, local: Callable[[str], Path]) -> None:
    """A failure has exit code 1 and reports the cause and the law; a plugin file is named."""
    path = local(WRONG)
    result = sdekit("verify", "acme-wrong", "--plugin", path, "--quick")
    assert result.code == 1 and f"local plugin {path}: grid acme-wrong" in result.err
    assert "FAILED" in result.out and "repeats a time: return strictly decreasing times. The law: t_max" in result.out
    fields = json.loads(sdekit("verify", "acme-wrong", "--quick", "--json").out)
    assert fields["passed"] is False
    assert any("repeats a time" in check["cause"] for check in fields["components"][0]["checks"])


def test_plot(sdekit: CLI, tmp_path: Path) -> None:
    """--plot writes a PNG file."""
    assert sdekit("verify", "ddim", "--quick", "--plot", tmp_path / "order.png").code == 0
    assert (tmp_path / "order.png").read_bytes()[:4] == b"\x89PNG"


def test_a_data_set_of_a_file(sdekit: CLI, tmp_path: Path) -> None:
    """A data set of a file is written NAME:PATH, as for --data."""
    (tmp_path / "points.csv").write_text("a,b\n" + "".join(f"{i % 7},{i % 5}\n" for i in range(35)))
    assert sdekit("verify", f"table:{tmp_path / 'points.csv'}").code == 0


def test_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    """Unknown names, kinds and paths are refused before anything is computed."""
    assert "no component 'huen'; did you mean 'heun'?" in refused("verify", "huen")
    assert "no process 'heun'" in refused("verify", "heun", "--kind", "process")
    assert "no kind 'smplers'; did you mean 'sampler'?" in refused("verify", "heun", "--kind", "smplers")
    assert "name a .png file" in refused("verify", "heun", "--plot", tmp_path / "no" / "a.png")
    assert "no check of karras measures an error" in refused("verify", "karras", "--plot", tmp_path / "none.png")
    assert "gone.csv: no such file" in refused("verify", "heun", f"table:{tmp_path / 'gone.csv'}")
    assert "Missing argument NAME" in refused("verify")


def test_local_plugins_are_recorded(sdekit: CLI, local: Callable[[str], Path], tmp_path: Path) -> None:
    """A run and its samples record the plugin file of their process and sampler."""
    path = local(
        "from dataclasses import dataclass\nfrom sdekit import VP, hookimpl, registry\n"
        "@hookimpl\ndef sdekit_sdes():\n    return {'acme-vp': VP}\n"
        "@hookimpl\ndef sdekit_samplers():\n    return {'acme-ddim': 'sdekit_plugins.samplers.ddim:DDIM'}\n"
    )
    run, out = tmp_path / "run", tmp_path / "out"
    tiny = ("--network", "mlp", "--option", "network.width=8", "--option", "data.n=50", "--steps", 2)
    assert sdekit("train", "--data", "moons", "--sde", "acme-vp", "--plugin", path, "--out", run, *tiny).code == 0
    assert json.loads((run / "config.json").read_text())["plugins"] == [str(path)]
    registry.forget_plugin_files()
    for command in (("sample", run, "--out", out), ("info", run), ("train", "--out", run, "--resume", "--steps", 3)):
        failed = sdekit(*command)
        assert failed.code == 2 and f"its sde 'acme-vp' needs that file: add --plugin {path}" in failed.err
    result = sdekit("sample", run, "--plugin", path, "--solver", "acme-ddim", "--steps", 3, "-n", 2, "--out", out)
    assert result.code == 0 and "local plugin" in result.err
    assert json.loads((out / "sample.json").read_text())["plugins"] == [str(path)]


def test_local_plugins_are_listed(sdekit: CLI, local: Callable[[str], Path]) -> None:
    """`plugins list` shows the path of a plugin file, with version "local"."""
    path = local(WRONG)
    rows = json.loads(sdekit("plugins", "list", "--kind", "grid", "--plugin", path, "--json").out)["components"]
    (row,) = (row for row in rows if row["name"] == "acme-wrong")
    assert (row["package"], row["version"], row["summary"]) == (
        str(path),
        "local",
        "A grid that repeats its last point.",
    )


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("1 / 0\n", "ZeroDivisionError: division by zero"),
        ("import no_such_library\n", "No module named 'no_such_library'"),
        (
            "from sdekit import hookimpl\n@hookimpl\ndef sdekit_smplers():\n    return {}\n",
            "did you mean 'sdekit_samplers'?",
        ),
        ("sdekit_api = 99\n", "it is written for version 99 of the plugin API"),
    ],
)
def test_a_broken_local_plugin(
    refused: Callable[..., str], local: Callable[[str], Path], source: str, words: str
) -> None:
    """A broken plugin file is an error, and none of its components is registered."""
    message = refused("plugins", "list", "--plugin", local(source))
    assert "acme_local.py" in message and words in message
    assert registry.plugin_files() == []


def test_a_local_plugin_that_is_not_there(refused: Callable[..., str], tmp_path: Path) -> None:
    """A missing file and a folder are refused."""
    assert "no such file" in refused("plugins", "list", "--plugin", tmp_path / "gone.py")
    assert "name a Python file" in refused("plugins", "list", "--plugin", tmp_path)


def test_a_plugin_file_that_has_gone(sdekit: CLI, local: Callable[[str], Path], tmp_path: Path) -> None:
    """The plugin file of a data set is needed to resume a run, but not to sample; a moved file is reported."""
    path = local(
        "from sdekit import hookimpl\n@hookimpl\ndef sdekit_datasets():\n"
        "    return {'acme-moons': 'sdekit.data.toys:moons'}\n"
    )
    run = tmp_path / "run"
    tiny = ("--network", "mlp", "--option", "network.width=8", "--option", "data.n=50", "--steps", 2)
    assert sdekit("train", "--data", "acme-moons", "--plugin", path, "--out", run, *tiny).code == 0
    registry.forget_plugin_files()
    assert sdekit("sample", run, "--steps", 3, "-n", 2, "--out", tmp_path / "out").code == 0
    path.rename(moved := tmp_path / "moved.py")
    failed = sdekit("train", "--out", run, "--resume", "--steps", 3)
    assert failed.code == 2 and f"add --plugin {path} (not found: {path}; give its present path)" in failed.err
    assert sdekit("train", "--out", run, "--resume", "--steps", 3, "--plugin", moved).code == 0


def test_what_cannot_be_verified(sdekit: CLI, local: Callable[[str], Path]) -> None:
    """Checks of a guidance that needs an option are skipped, and the reason is printed."""
    path = local(
        "from sdekit import InputError, hookimpl\n"
        "def needy(sde, denoise, *, mask: str = ''):\n    'It needs a mask.'\n"
        "    raise InputError('acme-needy: say which mask')\n"
        "@hookimpl\ndef sdekit_guidances():\n    return {'acme-needy': needy}\n"
    )
    result = sdekit("verify", "acme-needy", "--plugin", path)
    assert result.code == 0 and "needs options: acme-needy: say which mask" in result.out
    assert "acme-needy was not verified: its 18 checks are skipped" in result.out
    fields = json.loads(sdekit("verify", "acme-needy", "--json").out)
    assert all(check["skipped"] for check in fields["components"][0]["checks"])


def test_a_prediction(sdekit: CLI, refused: Callable[..., str]) -> None:
    """A prediction is verified by its name, and by its kind if a process has the same name."""
    assert "prediction eps" in sdekit("verify", "eps", "--quick").out
    assert "prediction edm" in sdekit("verify", "edm", "--kind", "prediction", "--quick").out
    assert "sde edm" in sdekit("verify", "edm", "--quick").out
    assert "no prediction 'esp'; did you mean 'eps'?" in refused("verify", "esp", "--kind", "prediction")


def test_a_loader(sdekit: CLI, tmp_path: Path) -> None:
    """A loader with NAME:PATH opens a model; without a path the checks of the model are skipped."""
    plugin = Path(__file__).parents[2] / "examples" / "single_files" / "acme_loader.py"
    np.savez(tmp_path / "model.npz", weight=0.5 * np.eye(3))
    try:
        whole = sdekit("verify", f"acme-matrix:{tmp_path / 'model.npz'}", "--plugin", plugin)
        assert whole.code == 0 and " passed 11 checks, 1 skipped in" in whole.out
        part = sdekit("verify", "acme-matrix", "--plugin", plugin)
        assert part.code == 0 and "acme-matrix passed 3 checks, 1 skipped" in part.out
    finally:
        registry.forget_plugin_files()


def test_with_options(sdekit: CLI, refused: Callable[..., str]) -> None:
    """NAME:option=value sets an option, which is validated."""
    result = sdekit("verify", "sub-vp:beta_max=15", "karras:p=3", "--quick")
    assert result.code == 0 and "sde sub-vp:beta_max=15" in result.out and "grid karras:p=3" in result.out
    assert "no option of process 'vp' named 'betta'" in refused("verify", "vp:betta=1")
    assert "write NAME or NAME:option=value" in refused("verify", "vp:")
