"""A run that is not trained, or overfits, says so at its end and when it is sampled; trackers on the command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sdekit import registry
from sdekit.runs import METRICS, read_metrics

from .conftest import TINY_MLP

CLI = Callable[..., Any]


def with_losses(run: Path, losses: dict[int, float], baseline: float = 0.5) -> None:
    """Replace the metrics of a run by held-out losses at these steps."""
    rows = [{"step": step, "held_out_loss": loss, "baseline_loss": baseline} for step, loss in losses.items()]
    (run / METRICS).write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def run(sdekit: CLI, tmp_path: Path) -> Path:
    """A run of 3 steps on moons that keeps the weights of step 2."""
    given = ("--data", "moons", "--steps", 3, "--option", "train.keep_every=2", "--option", "data.n=300", *TINY_MLP)
    result = sdekit("train", "--out", tmp_path / "run", *given)
    assert result.code == 0
    text = " ".join(result.err.split())
    assert "trained 3 steps" in text and "held-out loss" in text and "last preview:" in text
    assert (
        "the run is not trained yet" in text and f"sdekit train --out {tmp_path / 'run'} --resume --steps 5000" in text
    )
    for command in ("sample", "evaluate", "report"):
        assert f"sdekit {command} {tmp_path / 'run'}" in text
    return tmp_path / "run"


def sampled(sdekit: CLI, run: Path) -> tuple[str, dict[str, Any]]:
    """Sample a run; return the messages and the recorded diagnosis."""
    result = sdekit("sample", run, "-n", 2, "--nfe", 3, "--out", run.parent / "samples", "--overwrite")
    assert result.code == 0
    return " ".join(result.err.split()), json.loads((run.parent / "samples" / "sample.json").read_text())["training"]


def test_sampling(sdekit: CLI, run: Path) -> None:
    """An untrained run is sampled with a warning, the remedy and a record; a trained one without a warning."""
    text, record = sampled(sdekit, run)
    assert "warning: the run is not trained yet" in text and "--resume --steps 5000" in text
    assert record["verdict"] == "untrained" and record["held_out_loss"] > record["baseline_loss"] > 0
    with_losses(run, {1: 0.51, 2: 0.49, 3: 0.48})
    text, record = sampled(sdekit, run)
    assert "warning" not in text and record["verdict"] == "trained"
    with_losses(run, {1: 0.51, 2: 0.40, 3: 0.48})
    text, record = sampled(sdekit, run)
    assert "the run overfits: its held-out loss rose from 0.4 at step 2 to 0.48" in text
    assert f"The weights of step 2 are kept, with a held-out loss of 0.4: sdekit sample run:{run},step=2" in text
    assert record["verdict"] == "overfitting" and record["best_step"] == 2
    (run / METRICS).unlink()
    text, record = sampled(sdekit, run)
    assert "warning" not in text and record["verdict"] == "unknown"


def test_kept_weights(sdekit: CLI, run: Path) -> None:
    """The command that the message names samples the kept weights, and is diagnosed at their step."""
    result = sdekit("sample", f"run:{run},step=2", "-n", 2, "--nfe", 3, "--out", run.parent / "kept")
    record = json.loads((run.parent / "kept" / "sample.json").read_text())
    assert result.code == 0 and record["run_step"] == 2 and record["training"]["step"] == 2


def test_json(sdekit: CLI, tmp_path: Path) -> None:
    """The JSON object contains losses, verdict and preview, and stderr is empty."""
    given = ("--data", "moons", "--steps", 1, *TINY_MLP, "--json", "--logger", "tensorboard")
    result = sdekit("train", "--out", tmp_path / "run", *given)
    fields = json.loads(result.out)
    assert fields["verdict"] == "untrained" and 0 < fields["baseline_loss"] < fields["held_out_loss"]
    assert Path(fields["preview"]).is_file() and list((tmp_path / "run" / "trackers" / "tensorboard").iterdir())


def test_evaluate_every(sdekit: CLI, tmp_path: Path) -> None:
    """The metric is in metrics.jsonl; the same steps are measured after resuming."""
    given = ("--data", "moons", "--steps", 4, *TINY_MLP, "--evaluate-every", 2, "--metric", "sliced-w2", "--json")
    assert sdekit("train", "--out", tmp_path / "run", *given).code == 0
    assert sdekit("train", "--out", tmp_path / "run", "--resume", "--steps", 7, "--json").code == 0
    assert [row["step"] for row in read_metrics(tmp_path / "run") if "sliced-w2" in row] == [2, 4, 6, 7]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--logger", "tensorbord"), "no logger 'tensorbord'; did you mean 'tensorboard'"),
        (("--logger", "wandb:projct=x"), "named 'projct'; did you mean 'project'"),
        (("--logger", "wandb:mode=on"), "option mode of logger 'wandb'"),
        (("--logger", "wandb"), "pip install 'sdekit[wandb]'"),
        (("--logger", "tensorboard", "--logger", "tensorboard"), "logger 'tensorboard' is given twice"),
        (("--evaluate-every", 2, "--metric", "enrgy"), "no metric 'enrgy'; did you mean 'energy'"),
        (("--evaluate-every", 2, "--option", "train.held_out=0"), "no item is held out"),
    ],
)
def test_refused(
    refused: Callable[..., str], tmp_path: Path, arguments: tuple[Any, ...], message: str, monkeypatch: Any
) -> None:
    """Wrong trackers and metrics end the command before anything is written."""
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert message in refused(
        "train", "--data", "moons", "--out", tmp_path / "run", "--steps", 2, *TINY_MLP, *arguments
    )


def test_failing_tracker(sdekit: CLI, tmp_path: Path) -> None:
    """One warning names the tracker and the reason, and the training ends with exit code 0."""
    (tmp_path / "down.py").write_text(
        "from sdekit import hookimpl\nfrom sdekit.training import Logger\nclass Down(Logger):\n    'Down.'\n"
        "    def __init__(self, run_folder, recipe):\n        pass\n"
        "    def log(self, step, values):\n        raise OSError('server is down')\n"
        "@hookimpl\ndef sdekit_loggers():\n    return {'down': Down}\n"
    )
    given = ("--data", "moons", "--steps", 3, *TINY_MLP, "--option", "train.log_every=1")
    result = sdekit("train", "--out", tmp_path / "run", "--plugin", tmp_path / "down.py", "--logger", "down", *given)
    registry.forget_plugin_files()
    assert result.code == 0 and result.err.count("server is down") == 1
    assert "warning: logger 'down' failed at step 1 (OSError: server is down)" in " ".join(result.err.split())
    assert len(read_metrics(tmp_path / "run")) == 4
