"""Run folders: their files, how they are opened, and messages for damaged folders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from sdekit.errors import InputError
from sdekit.runs import (
    CHECKPOINT,
    CONFIG,
    FORMAT,
    METRICS,
    MODEL,
    PREVIEWS,
    Recipe,
    check_run_folder,
    load_json,
    load_run,
    load_tensors,
    read_metrics,
    read_recipe,
    save_json,
)
from sdekit.training import Trainer, plan, train

FILES = (CONFIG, MODEL, CHECKPOINT)
Moons = Callable[..., Any]


@pytest.fixture
def run(tmp_path: Path, moons: Moons) -> Path:
    """A finished run of 4 steps."""
    train(*moons(steps=4), tmp_path / "run")
    return tmp_path / "run"


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_what_is_in_it(run: Path) -> None:
    """A run folder contains config, model, checkpoint, metrics and preview, and nothing pickled."""
    assert set(contents(run)) == {*FILES, METRICS, f"{PREVIEWS}/step-0000004.png"}
    for name in (MODEL, CHECKPOINT):
        assert load_file(run / name)
    config = json.loads((run / CONFIG).read_text())
    assert config["format"] == FORMAT and config["train"]["seed"] == 0
    assert {"sdekit", "python", "torch", "numpy", "safetensors"} <= config["versions"].keys()


def test_model_is_the_average(run: Path) -> None:
    """model.safetensors contains the averaged weights, which differ from the last ones of the checkpoint."""
    model, fields = load_tensors(run / MODEL)
    checkpoint, _ = load_tensors(run / CHECKPOINT)
    loaded = load_run(run)
    assert loaded.step == fields["step"] == 4
    assert not loaded.model.training and not any(p.requires_grad for p in loaded.model.parameters())
    for name, parameter in loaded.model.network.named_parameters():
        assert torch.equal(parameter, model[name]) and torch.equal(parameter, checkpoint[f"ema.{name}"])
    assert not torch.equal(model["last.weight"], checkpoint["weights.last.weight"])


@pytest.mark.parametrize("spec", ["digits", "moons", "table"])
def test_recipe_round_trip(spec: str, tmp_path: Path) -> None:
    """A recipe is restored from JSON, with tuples and units of columns."""
    if spec == "table":
        rows = "\n".join(f"{i},{i * i},{i % 3}" for i in range(30))
        (tmp_path / "t.csv").write_text(f"a,b,c\n{rows}\n")
        spec = f"table:{tmp_path / 't.csv'}"
    given = {"train": {"steps": 3, "time_limit": 0.5}}
    recipe, _ = plan(spec, sde="ve", prediction="v", options=given)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.as_dict()))) == recipe


def test_a_run_goes_on_as_it_was_trained() -> None:
    """Training options that its record does not name, because they came later, keep their effect of that time."""
    recipe, _ = plan("digits", options={"train": {"steps": 3, "noise_top": 0.1, "exact_target": 2048}})
    fields = json.loads(json.dumps(recipe.as_dict()))
    for later in ("noise_top", "exact_target"):
        assert fields["train"].pop(later) > 0
    old = Recipe.from_dict(fields).train
    assert (old.noise_top, old.exact_target) == (0, 0)


@pytest.mark.parametrize("value", [0.0, 0.25])
def test_a_run_with_a_removed_option_opens(run: Path, moons: Moons, value: float) -> None:
    """A run of version 0.1 that recorded `turn_below` can be opened; it can be resumed unless it used the option."""
    fields = load_json(run / CONFIG)
    fields["train"]["turn_below"] = value
    save_json(run / CONFIG, fields)
    loaded = load_run(run)
    _, data = moons()
    if value:
        with pytest.raises(InputError, match="trained with turn_below, which this version no longer has: sample from"):
            Trainer(loaded.recipe, data, run, resume=True)
    else:
        assert Trainer(loaded.recipe, data, run, resume=True).step == loaded.step


def test_read_back_recipe_resumes(tmp_path: Path) -> None:
    """A planned recipe equals the one in its folder, so that a script may plan it again and resume."""
    recipe, data = plan(
        "digits", network="unet", options={"network": {"width": 8}, "train": {"steps": 1, "batch_size": 2}}
    )
    train(recipe, data, tmp_path / "run")
    assert read_recipe(tmp_path / "run") == recipe
    assert Trainer(recipe, data, tmp_path / "run", resume=True).finished


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["missing", "truncated", "altered"])
def test_damaged_file_is_named(run: Path, moons: Moons, name: str, how: str) -> None:
    """A missing, truncated or altered file is an InputError that names it, and a wrong checksum."""
    path, content = run / name, (run / name).read_bytes()
    middle = content.index(b"learning_rate") if name == CONFIG else len(content) - 10
    path.unlink()
    if how != "missing":
        path.write_bytes(
            content[:middle] + (b"" if how == "truncated" else bytes([content[middle] ^ 1]) + content[middle + 1 :])
        )
    before = contents(run)
    message = {"missing": "missing", "truncated": "damaged or truncated", "altered": "was altered: its checksum is"}[
        how
    ]
    if name != CHECKPOINT:
        with pytest.raises(InputError, match=f"{Path(name).name}.*{message}|{message}.*{Path(name).name}"):
            load_run(run)
    if name != MODEL:
        with pytest.raises(InputError, match=f"{Path(name).name}.*{message}"):
            Trainer(*moons(steps=8), run, resume=True)
    assert contents(run) == before


def test_newer_run(run: Path) -> None:
    """A run of a newer format is refused with both versions and advice, before its fields are checked."""
    save_json(run / CONFIG, {"format": FORMAT + 1, "versions": {"sdekit": "9.9"}, "new": 1})
    with pytest.raises(
        InputError, match=rf"sdekit 9.9 \(run format {FORMAT + 1}\).*\(format {FORMAT}\): upgrade sdekit"
    ):
        load_run(run)


def test_incomplete_config(run: Path) -> None:
    """A missing field is named, although the checksum is correct."""
    fields = load_json(run / CONFIG)
    del fields["units"]
    save_json(run / CONFIG, fields)
    with pytest.raises(InputError, match=f"{CONFIG} does not describe a run .*units"):
        load_run(run)


def test_weights_of_another_network(run: Path, tmp_path: Path) -> None:
    """Weights that do not fit the network of the config are named."""
    fields = load_json(run / CONFIG)
    fields["network"]["options"]["depth"] = 2
    save_json(run / CONFIG, fields)
    with pytest.raises(InputError, match=f"{MODEL} does not fit the network of {CONFIG}"):
        load_run(run)


def test_no_run(tmp_path: Path) -> None:
    """A missing folder, and a folder without a run, are refused."""
    with pytest.raises(InputError, match="no such run folder"):
        load_run(tmp_path / "none")
    with pytest.raises(InputError, match="is not a run folder: config.json is missing"):
        load_run(tmp_path)


def test_metrics_cut_short(run: Path) -> None:
    """An incomplete last line of metrics is skipped, and no other line."""
    rows = read_metrics(run)
    assert rows and rows[-1]["step"] == 4
    with open(run / METRICS, "ab") as file:
        file.write(b'{"step": 5, "los\xff')
    assert read_metrics(run) == rows


@pytest.mark.parametrize("overwrite", [False, True])
def test_out_in_the_way(tmp_path: Path, moons: Moons, overwrite: bool) -> None:
    """A file, a path below a file, and a folder of other files are refused, with overwrite too, and not changed."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("x")
    (tmp_path / "file").write_text("x")
    before = contents(tmp_path)
    recipe, data = moons(steps=1)
    for out, message in {
        "file": "is a file",
        "file/sub/run": "is a file",
        "full": "is not empty and contains no run",
    }.items():
        with pytest.raises(InputError, match=message):
            Trainer(recipe, data, tmp_path / out, overwrite=overwrite)
    assert contents(tmp_path) == before


def test_run_in_the_way(run: Path, moons: Moons) -> None:
    """A run is refused unless it may be replaced; then none of its files remains, previews included."""
    before = contents(run)
    with pytest.raises(InputError, match="already contains a run: go on with --resume, replace it with --overwrite"):
        Trainer(*moons(steps=2), run)
    assert contents(run) == before
    (run / "notes.txt").write_text("mine")
    train(*moons(steps=2), run, overwrite=True)
    assert set(contents(run)) == {*FILES, METRICS, "notes.txt", f"{PREVIEWS}/step-0000002.png"}
    assert [row["step"] for row in read_metrics(run)] == [2]
    assert load_run(run).step == 2


@pytest.mark.parametrize("config", ['{"architectures": ["BertModel"]}', "[]", "classifier", "newer"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_folder_of_something_else(tmp_path: Path, moons: Moons, config: str, overwrite: bool) -> None:
    """Files of other programs with the same names, and classifiers, are not a run and are not changed."""
    if config == "classifier":
        save_json(tmp_path / CONFIG, {"kind": "classifier", "format": FORMAT})
    elif config == "newer":
        save_json(tmp_path / CONFIG, {"format": FORMAT + 1})
    else:
        (tmp_path / CONFIG).write_text(config)
    (tmp_path / MODEL).write_bytes(b"precious")
    before = contents(tmp_path)
    with pytest.raises(InputError, match=f"{CONFIG} is not that of a run .* nothing was changed; choose another --out"):
        check_run_folder(tmp_path, overwrite=overwrite)
    assert contents(tmp_path) == before


def test_kept_half_written(tmp_path: Path, moons: Moons) -> None:
    """An incomplete file of averaged weights does not count."""
    train(*moons(steps=4, keep_every=2), tmp_path)
    (tmp_path / "kept" / "step-0000006.safetensors.partial").write_bytes(b"cut")
    with pytest.raises(InputError, match="no weights of step 3: it has those of 2, 4"):
        load_run(tmp_path, step=3)


def test_check_run_folder_only_checks(run: Path, tmp_path: Path) -> None:
    """Nothing is changed, and no folder is created."""
    before = contents(run)
    check_run_folder(run, overwrite=True)
    check_run_folder(tmp_path / "new", overwrite=False)
    assert contents(run) == before and not (tmp_path / "new").exists()


@pytest.mark.parametrize("change", ["count", "units", "shape", "labels"])
def test_resume_with_changed_data(tmp_path: Path, change: str) -> None:
    """Resuming with changed data is refused, and the run is not changed."""
    x = np.random.default_rng(0).random((40, 4))
    path, run = tmp_path / "x.npz", tmp_path / "run"
    np.savez(path, x=x)
    given = {"network": {"width": 8, "depth": 1}, "train": {"steps": 2, "batch_size": 4}}
    train(*plan(f"array:{path}", options=given, network="mlp"), run)
    before = contents(run)
    recipe = read_recipe(run)
    changed = {"count": x[:-1], "units": 2 * x, "shape": x[:, :3], "labels": x}[change]
    np.savez(path, x=changed, **({"y": np.arange(40) % 2} if change == "labels" else {}))
    with pytest.raises(InputError, match="are not what the run was trained on"):
        Trainer(recipe, plan(f"array:{path}", options=given, network="mlp")[1], run, resume=True)
    assert contents(run) == before


def test_folder_can_be_moved(run: Path, tmp_path: Path) -> None:
    """A run can be moved, because it does not contain its own path."""
    shutil.copytree(run, tmp_path / "elsewhere")
    shutil.rmtree(run)
    assert load_run(tmp_path / "elsewhere").step == 4
    assert not any(str(run).encode() in content for content in contents(tmp_path / "elsewhere").values())
