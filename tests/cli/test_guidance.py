"""`--guidance`, `--condition`, `--drop` and `train-classifier`."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdekit.runs import load_json

CLI = Callable[..., Any]
QUICK = ("--steps", 4, "-n", 6)


def record(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "sample.json").read_text())
    return found


def test_guidances_compose_and_are_recorded(sdekit: CLI, dropped_run: Path, tmp_path: Path) -> None:
    """The record contains the guidances in their order, with all options under their names on the command line."""
    out = tmp_path / "s"
    asked = ("--guidance", "cfg:scale=3,negative=0", "--guidance", "interval:from=0.3,to=4")
    result = sdekit("sample", dropped_run, "--out", out, "--label", 1, *QUICK, *asked, "--json")
    assert result.code == 0, result.err
    assert record(out)["guidance"] == [
        {"name": "cfg", "options": {"scale": 3.0, "negative": 0}},
        {"name": "interval", "options": {"from": 0.3, "to": 4.0}},
    ]
    assert record(out)["labels"] == [1] * 6 and json.loads(result.out)["nfe"] == 4


def test_clip_and_threshold_know_the_range_of_the_run(sdekit: CLI, digits_run: Path, tmp_path: Path) -> None:
    """Without low and high they use the range of the pixels; a bound that the user gives is used as given."""
    for guidance, low in (("clip", -1.0), ("threshold", -1.0), ("clip:low=-0.5", -0.5)):
        out = tmp_path / guidance
        result = sdekit("sample", digits_run, "--out", out, *QUICK, "--solver", "ddim", "--guidance", guidance)
        assert result.code == 0 and "outside" not in result.err
        options, samples = record(out)["guidance"][0]["options"], np.load(out / "samples.npy")
        assert (options["low"], options["high"]) == (low, 1.0) and record(out)["far_outside_range"] == 0
        assert 8 + 8 * low - 1e-4 <= samples.min() and samples.max() <= 16 + 1e-4  # digits have values from 0 to 16


def test_clip_needs_a_range(sdekit: CLI, moons_run: Path, tmp_path: Path) -> None:
    """Points in the plane have no range, so that clip needs its bounds and nothing is far outside."""
    given = ("sample", moons_run, "--out", tmp_path / "s", *QUICK, "--guidance")
    result = sdekit(*given, "clip")
    assert result.code == 2 and "clip: needs the range of the data in the model's units" in result.err
    assert sdekit(*given, "clip:low=-3,high=3").code == 0 and record(tmp_path / "s")["far_outside_range"] is None


def test_samples_far_outside_of_the_range_are_reported(sdekit: CLI, tmp_path: Path) -> None:
    """If a sampler diverges, as ddim does with an untrained eps network, a warning names the remedy, which helps."""
    run = tmp_path / "run"
    tiny = ("--network", "mlp", "--option", "network.width=8", "--option", "network.depth=1")
    process = ("--sde", "ddpm-linear", "--prediction", "eps")
    assert sdekit("train", "--data", "digits", "--out", run, "--steps", 2, *process, *tiny).code == 0
    given = ("sample", run, "--solver", "ddim", "--steps", 10, "-n", 4, "--json", "--out")
    diverged = sdekit(*given, tmp_path / "wild")
    assert diverged.code == 0 and record(tmp_path / "wild")["far_outside_range"] == 1
    message = " ".join(diverged.err.split())
    assert "warning: 4 of 4 samples are far outside of the data's range, -1 to 1 in the model's units" in message
    assert "add --guidance clip" in message
    remedied = sdekit(*given, tmp_path / "clipped", "--guidance", "clip")
    assert remedied.code == 0 and remedied.err == "" and record(tmp_path / "clipped")["far_outside_range"] == 0


def test_infinite_options_are_written_as_text(sdekit: CLI, dropped_run: Path, tmp_path: Path) -> None:
    asked = ("--guidance", "cfg", "--guidance", "interval:from=0.2,to=inf")
    assert sdekit("sample", dropped_run, "--out", tmp_path / "s", *QUICK, *asked).code == 0
    told = json.loads((tmp_path / "s" / "sample.json").read_text(), parse_constant=pytest.fail)
    assert told["guidance"][1]["options"] == {"from": 0.2, "to": "inf"}
    assert load_json(tmp_path / "s" / "sample.json")["seeds"] == list(range(6))  # the checksum is of what is written


def test_a_folder_may_be_called_a_number(refused: CLI, dropped_run: Path, tmp_path: Path) -> None:
    """A path that looks like a number stays a text."""
    for name in ("123", "2024-01-01"):
        message = refused("sample", dropped_run, "--out", tmp_path / "s", "--guidance", f"autoguidance:run={name}")
        assert message == f"{name}: no such run folder"


def test_an_energy_that_fails(refused: CLI, moons_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failing energy function is named, whether its import, its call or its result is at fault."""
    (tmp_path / "my_energies.py").write_text("def raises(x):\n    raise ValueError('not today')\n")
    (tmp_path / "my_broken_energies.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("sys.dont_write_bytecode", True)  # `refused` holds that no file is written
    for function, message in {
        "math:sin": "energy: function sin failed on x (6, 2) torch.float32: ",
        "my_energies:raises": "energy: function raises failed on x (6, 2) torch.float32: ValueError: not today",
        "my_broken_energies:f": "cannot be imported (ZeroDivisionError: division by zero)",
        "math:pi": "'math:pi' is not a function but a float",
    }.items():
        asked = ("--guidance", f"energy:function={function}")
        assert message in refused("sample", moons_run, "--out", tmp_path / "s", *QUICK, *asked)


def test_the_ends_of_cfg(sdekit: CLI, dropped_run: Path, tmp_path: Path) -> None:
    """cfg with scale 1 changes no bit of the samples; a larger scale does."""
    drawn = {}
    for name, asked in (("none", ()), ("1", ("--guidance", "cfg:scale=1")), ("4", ("--guidance", "cfg:scale=4"))):
        assert sdekit("sample", dropped_run, "--out", tmp_path / name, *QUICK, *asked).code == 0
        drawn[name] = np.load(tmp_path / name / "samples.npy")
    assert np.array_equal(drawn["none"], drawn["1"]) and not np.allclose(drawn["1"], drawn["4"])


def test_numbers_are_asked_for_in_the_units_of_the_data(sdekit: CLI, numbers_run: Path, tmp_path: Path) -> None:
    means = []
    for w in ("120", "180"):
        out = tmp_path / w
        assert sdekit("sample", numbers_run, "--out", out, "--nfe", 8, "-n", 64, "--condition", w).code == 0
        means.append(np.load(out / "samples.npy")[:, 0].mean())
        assert record(out)["condition"] == w and record(out)["labels"] is None
    assert abs(means[0] - 12) < 1 and abs(means[1] - 18) < 1
    assert sdekit("sample", numbers_run, "--out", tmp_path / "all", "--nfe", 8, "-n", 64).code == 0
    assert np.load(tmp_path / "all" / "samples.npy")[:, 0].std() > 1.5


def test_info_tells_the_condition(sdekit: CLI, numbers_run: Path, dropped_run: Path) -> None:
    fields = [json.loads(sdekit("info", run, "--json").out) for run in (numbers_run, dropped_run)]
    assert [(f["condition"], f["condition_names"], f["drop"]) for f in fields] == [
        ("numbers", ["w"], 0.1),
        ("label", [], 0.2),
    ]


BAD = [
    (("--guidance", "cgf"), "no guidance 'cgf'; did you mean 'cfg'?"),
    (("--guidance", "cfg:scle=2"), "no option of guidance 'cfg' named 'scle'; did you mean 'scale'?"),
    (("--guidance", "interval:form=2"), "no option of guidance 'interval' named 'form'; did you mean 'from'?"),
    (("--guidance", "cfg:scale=big"), "option scale of guidance 'cfg'"),
    (("--guidance", "cfg:scale=inf"), "cfg: scale must be a finite number, got inf"),
    (("--guidance", "cfg:scale=nan"), "cfg: scale must be a finite number, got nan"),
    (("--guidance", "cfg:"), "write NAME or NAME:option=value"),
    (("--guidance", "cfg:negative=2"), "label 2: this model has the labels 0 to 1"),
    (("--guidance", "autoguidance"), "say which weaker model"),
    (("--guidance", "classifier:run=nowhere"), "nowhere is no folder of sdekit train-classifier"),
    (("--label", "2"), "has the labels 0 to 1"),
    (("--label", "-1"), "has the labels 0 to 1"),
    (("--condition", "3"), "was not trained on numbers"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[m for _, m in BAD])
def test_what_is_refused(refused: CLI, dropped_run: Path, tmp_path: Path, arguments: Any, message: str) -> None:
    assert message in refused("sample", dropped_run, "--out", tmp_path / "s", *QUICK, *arguments)


def test_cfg_needs_drop_out(refused: CLI, moons_run: Path, tmp_path: Path) -> None:
    message = refused("sample", moons_run, "--out", tmp_path / "s", *QUICK, "--guidance", "cfg:scale=2")
    assert "train it with --drop 0.1" in message


@pytest.mark.parametrize("scale", ["1e12", "1000"])
def test_a_scale_that_explodes_says_where(refused: CLI, dropped_run: Path, tmp_path: Path, scale: str) -> None:
    asked = ("--solver", "ddim", "--guidance", f"cfg:scale={scale}")
    message = refused("sample", dropped_run, "--out", tmp_path / "s", *QUICK, *asked)
    assert message.startswith(f"guidance cfg:scale={float(scale):g}: the guided values reach ")
    assert "at noise level sigma/alpha = " in message


@pytest.mark.parametrize(
    ("condition", "message"), [("1,2", "takes 1 finite numbers: w"), ("x", "takes 1 finite"), ("nan", "takes 1")]
)
def test_numbers_that_do_not_fit(refused: CLI, numbers_run: Path, tmp_path: Path, condition: str, message: str) -> None:
    assert message in refused("sample", numbers_run, "--out", tmp_path / "s", *QUICK, "--condition", condition)
    assert "was trained without labels" in refused("sample", numbers_run, "--out", tmp_path / "s", "--label", 0)


def test_train_classifier_guides_a_run_without_labels(sdekit: CLI, refused: CLI, tmp_path: Path) -> None:
    """Classifier guidance draws a label with a run that was trained without labels."""
    run, judge = tmp_path / "run", tmp_path / "judge"
    train = ("--data", "moons", "--option", "data.n=400", "--option", "train.warm_up=0", "--network", "mlp")
    assert sdekit("train", *train, "--option", "network.width=32", "--steps", 150, "--out", run).code == 0
    result = sdekit("train-classifier", run, "--steps", 150, "--option", "network.width=32", "--out", judge, "--json")
    assert result.code == 0, result.err
    accuracy = json.loads(result.out)["accuracy"]
    assert accuracy["0.1"] > 0.9 and accuracy["0.1"] > accuracy["5"]
    assert {p.name for p in judge.iterdir()} == {"config.json", "model.safetensors", "metrics.jsonl", "checkpoint"}
    heights = []
    for label in (0, 1):
        out = tmp_path / f"{label}"
        guide = ("--label", label, "--guidance", f"classifier:run={judge},scale=3")
        assert sdekit("sample", run, "--nfe", 8, "-n", 64, *guide, "--out", out).code == 0
        heights.append(np.load(out / "samples.npy")[:, 1].mean())
    assert heights[0] > heights[1] + 0.4  # the upper moon is 0
    between = ("--guidance", f"classifier:run={judge},scale=3", "--guidance", "interval:from=0.1,to=3")
    assert sdekit("sample", run, "--nfe", 8, "-n", 64, "--label", 0, *between, "--out", tmp_path / "between").code == 0
    heights.append(np.load(tmp_path / "between" / "samples.npy")[:, 1].mean())
    assert heights[2] > heights[1] + 0.2 and heights[2] != heights[0]  # outside of it the run is told no label
    assert "is not empty: choose another --out" in refused("train-classifier", run, "--out", judge)
    assert "was trained without labels" in refused("sample", run, "--label", 0, "--out", tmp_path / "s")
    config = (judge / "config.json").read_text()
    (judge / "config.json").write_text(config.replace('"classes": 2', '"classes": 3'))
    guide = ("--label", 0, "--guidance", f"classifier:run={judge}")
    assert "was altered" in refused("sample", run, *guide, "--out", tmp_path / "s")


def test_train_classifier_is_stopped_and_resumed(
    sdekit: CLI, refused: CLI, moons_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C saves the classifier and prints how to continue; `info` describes it at any time."""
    from sdekit.training import batches

    def interrupting(n: int, size: int, step: int, seed: int) -> Any:
        if step == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return indices(n, size, step, seed)

    indices, out = batches.batch_indices, tmp_path / "judge"
    with monkeypatch.context() as patch:
        patch.setattr(batches, "batch_indices", interrupting)
        result = sdekit("train-classifier", moons_run, "--steps", 8, "--option", "network.width=8", "--out", out)
    assert result.code == 130 and f"sdekit train-classifier {moons_run} --out {out} --resume" in result.err
    told = json.loads(sdekit("info", out, "--json").out)
    assert (told["steps"], told["of"], told["resumable"], told["classes"], told["shape"]) == (5, 8, True, 2, [2])
    again = ("train-classifier", moons_run, "--out", out, "--resume")
    assert "beside it only RUN and --device" in refused(*again, "--steps", 9)
    assert sdekit(*again).code == 0
    table = sdekit("info", out).out
    assert all(text in table for text in ("accuracy", "0.1=", "encoder", "vp", "moons"))
    told = json.loads(sdekit("info", out, "--json").out)
    assert told["steps"] == 8 and not told["resumable"] and set(told["accuracy"]) == {"0.1", "0.5", "1", "2", "5"}
    assert "nothing to resume" in refused(*again)
    assert "is not a classifier" in refused("train-classifier", moons_run, "--out", moons_run, "--resume")


def test_a_label_of_what_has_none(sdekit: CLI, refused: CLI, numbers_run: Path, tmp_path: Path) -> None:
    """A missing label is reported before the classifier is opened."""
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(20, 2)))
    train = ("--data", f"array:{tmp_path / 'x.npy'}", "--network", "mlp", "--steps", 1)
    assert sdekit("train", *train, "--out", tmp_path / "run").code == 0
    judged = ("--guidance", f"classifier:run={tmp_path}", "--out", tmp_path / "s")
    message = refused("sample", tmp_path / "run", "--label", 0, *judged)
    assert f"--label 0: the data of {tmp_path / 'run'} have no labels" in message
    assert "was trained without labels" in refused("sample", numbers_run, "--label", 0, *judged)


def test_train_classifier_needs_labels(refused: CLI, numbers_run: Path, tmp_path: Path) -> None:
    assert "have no labels to learn" in refused("train-classifier", numbers_run, "--out", tmp_path / "judge")


def test_progress_counts_what_a_guidance_costs(
    sdekit: CLI, moons_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The total of the bar is the number of network evaluations, those of networks inside guidances included."""
    updates: list[dict[str, Any]] = []

    class Bar(nullcontext[Any]):
        def __enter__(self) -> Any:
            return self

        def add_task(self, *_: Any, **__: Any) -> int:
            return 0

        def update(self, task: int, **fields: Any) -> None:
            updates.append(fields)

    monkeypatch.setattr("sdekit_cli.sampling.session.progress_bar", lambda *_, **__: Bar())
    guidance = ("--guidance", f"autoguidance:run={moons_run},scale=2")
    given = ("sample", moons_run, "--solver", "ddim", "--nfe", 10, "-n", 6, "--batch-size", 3, *guidance)
    assert sdekit(*given, "--out", tmp_path / "s").code == 0
    counts = [fields["completed"] for fields in updates]
    assert {fields["total"] for fields in updates} == {20}
    assert len(counts) == 10 and counts == sorted(counts) and counts[-1] == 20
