"""Records from an untrusted source: wrong types, huge numbers, deep nesting, special files. Each ends in InputError."""

from __future__ import annotations

import copy
import json
import os
import random
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st

from sdekit.errors import InputError
from sdekit.export import export_model, load_export
from sdekit.models import Conditioning, OpenedModel, ScoreModel
from sdekit.processes import VE
from sdekit.runs import (
    CONFIG,
    EXPORT,
    METRICS,
    MODEL,
    Run,
    RunFolder,
    build_bounded,
    is_export,
    load_checkpoint,
    load_json,
    load_run,
    parse_json,
    read_metrics,
    save_json,
    save_tensors,
)
from sdekit.runs.results import check_results_folder
from sdekit.training import classifier_recipe, is_classifier, load_classifier, plan, read_classifier
from sdekit.training.state import State
from sdekit.tuning import Tuned, find_tuned, save_tuned

VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 2, 10**9, 10**18, 10**30, 10**400, 0.5, -0.5, 1e308, float("nan"), float("inf")),
    *("", "x", "0", "vp", "\0", "\ud800", "a" * 100_000, [], {}, [None], [[]], {"": None}, {"name": "vp"}, [1e400]),
    *([10**9, 10**9], [1] * 1000, ["x", "x"], {"name": "mlp", "options": {"width": 10**9}}),
]


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def mutate(fields: Any, choose: random.Random) -> None:
    """Change one field of a record, at any depth: another value, no field, or a further field."""
    while True:
        keys = list(fields) if isinstance(fields, dict) else list(range(len(fields)))
        if not keys:
            return
        key = choose.choice(keys)
        if isinstance(fields[key], (dict, list)) and fields[key] and choose.random() < 0.7:
            fields = fields[key]
            continue
        action = choose.random()
        if action < 0.1 and isinstance(fields, dict):
            del fields[key]
        elif action < 0.2 and isinstance(fields, dict):
            fields[choose.choice(["extra", "steps", "name"])] = choose.choice(VALUES)
        else:
            fields[key] = nested(choose.choice([20, 500])) if action < 0.25 else choose.choice(VALUES)
        return


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run with tuned times and a checkpoint, a classifier, and two exports, all of a tiny network."""
    top = tmp_path_factory.mktemp("records")
    options = {"data": {"n": 100}, "network": {"width": 8, "depth": 1}, "train": {"steps": 1, "drop": 0.1}}
    recipe, data = plan("moons", network="mlp", condition="label", options=options)
    run, model = top / "run", recipe.build()
    save_json(run / CONFIG, recipe.as_dict())
    state = State(model.network, recipe.train)
    state.save_average(run / MODEL, {"step": 1, "recipe": recipe.digest})
    state.save(RunFolder(run).checkpoint, 1, {"seconds": 1.0, "recipe": recipe.digest})
    (run / METRICS).write_text('{"step": 1, "loss": 0.5}\n')
    save_tuned(run, "heun", {}, Tuned(calls=3, levels=(1.0, 0.1), gains=(), starts=1, untuned=1.0, tuned=0.5))
    classifier = classifier_recipe(recipe, data, train={"steps": 1}, network={"width": 8, "depth": 1})
    save_json(top / "classifier" / CONFIG, classifier.as_dict())
    from sdekit.training import Classification

    save_tensors(top / "classifier" / MODEL, Classification(classifier).build().state_dict(), {"step": 1})
    opened = Run.from_recipe(run, recipe, model.eval().requires_grad_(False), 1)
    export_model(opened, top / "export", "torch")
    plain = ScoreModel(model.network, VE(), data_std=1.0, condition=Conditioning(classes=2))
    export_model(OpenedModel(model=plain, shape=(2,)), top / "model", "torch")
    return {name: top / name for name in ("run", "classifier", "export", "model")}


def open_export(folder: Path) -> None:
    try:
        load_export(folder)
    except InputError as error:
        if "add --trust" not in str(error):
            raise


READERS: dict[str, tuple[str, str, Callable[[Path], object]]] = {
    "run": ("run", CONFIG, load_run),
    "tuned": ("run", "tuned/heun-3.json", lambda folder: find_tuned(folder, "heun", {}, 3)),
    "classifier": ("classifier", CONFIG, load_classifier),
    "export of a run": ("export", EXPORT, open_export),
    "export of a model": ("model", EXPORT, open_export),
}


@pytest.mark.parametrize("record", READERS)
@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
@given(seed=st.integers(0, 2**32))
def test_a_changed_record_is_read_or_refused(folders: dict[str, Path], record: str, seed: int) -> None:
    """A record with one or two changed fields and a right checksum is read, or ends in one InputError."""
    folder, name, read = READERS[record]
    file, choose = folders[folder] / name, random.Random(seed)
    original = file.read_bytes()
    fields = copy.deepcopy(load_json(file))
    for _ in range(choose.choice([1, 1, 2])):
        mutate(fields, choose)
    try:
        save_json(file, fields)
        try:
            read(folders[folder])
        except InputError as error:
            assert len(str(error)) < 1500 and "\n" not in str(error)[:200]
    finally:
        file.write_bytes(original)


DOCUMENTS: dict[str, bytes] = {
    "deep": b"[" * 10**6,
    "deep table": b'{"a":' * 10**5 + b"1" + b"}" * 10**5,
    "list": b"[1, 2]",
    "text": b'"x"',
    "null bytes": b"\0" * 1000,
    "utf-16": '{"format": 1}'.encode("utf-16"),
    "latin-1": b'{"format": "\xe9"}',
    "twice": b'{"format": 1, "format": 2, "sha256": "x"}',
    "digits": b'{"format": ' + b"9" * 10**5 + b"}",
    "empty": b"",
    "huge": b'{"a": "' + b"x" * 2**25 + b'"}',
    "checksum of another type": b'{"sha256": [1]}',
}


@pytest.mark.parametrize("document", DOCUMENTS)
@pytest.mark.parametrize("record", READERS)
def test_documents_that_are_no_record(folders: dict[str, Path], record: str, document: str) -> None:
    """Whatever a file contains, it ends in InputError that names the file."""
    folder, name, read = READERS[record]
    file = folders[folder] / name
    original = file.read_bytes()
    file.write_bytes(DOCUMENTS[document])
    try:
        with pytest.raises(InputError, match=Path(name).name):
            read(folders[folder])
    finally:
        file.write_bytes(original)


EMPTY = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
SPECIAL = ["/dev/zero", "fifo", "folder"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFO on this system")
@pytest.mark.parametrize("special", SPECIAL)
@pytest.mark.parametrize("name", [CONFIG, MODEL, "tuned/heun-3.json", "checkpoint/training.safetensors", METRICS])
def test_special_files_are_not_opened(tmp_path: Path, folders: dict[str, Path], name: str, special: str) -> None:
    """A link to an endless device, a FIFO that nobody writes, and a folder are refused at once."""
    run = tmp_path / "run"
    for file in folders["run"].rglob("*"):
        if file.is_file():
            (run / file.relative_to(folders["run"])).parent.mkdir(parents=True, exist_ok=True)
            os.link(file, run / file.relative_to(folders["run"]))
    (run / name).unlink()
    if special == "fifo":
        os.mkfifo(run / name)
    elif special == "folder":
        (run / name).mkdir()
    else:
        (run / name).symlink_to(special)
    read = {METRICS: read_metrics, "tuned/heun-3.json": READERS["tuned"][2], MODEL: load_run, CONFIG: load_run}
    began = time.monotonic()
    with pytest.raises(InputError, match=Path(name).name):
        read.get(name, load_checkpoint)(run)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b'{"a": {"dtype": "F32", "shape": [%d], "data_offsets": [0, %d]}}' % (10**30, 4 * 10**30), "damaged"),
        (b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}', "damaged"),
        (json.dumps(dict.fromkeys(map(str, range(200_000)), EMPTY)).encode(), "at most 100,000 tensors"),
        (b'{"a":' * 10**5, "nested too deeply"),
        (b"\xff\xfe", "damaged"),
    ],
)  # fmt: skip
def test_headers_of_tensors(tmp_path: Path, header: bytes, message: str) -> None:
    """A header of 10^30 items, of 200,000 tensors, or that is nested is refused within seconds."""
    file = tmp_path / MODEL
    file.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 8)
    from sdekit.runs import load_tensors

    with pytest.raises(InputError, match=f"{MODEL} is damaged .*{message}" if message != "damaged" else "is damaged"):
        load_tensors(file)
    file.write_bytes(struct.pack("<Q", 2**62) + b"{}")
    with pytest.raises(InputError, match="longer than the file"):
        load_tensors(file)


@pytest.mark.parametrize(
    "options", [{"width": 10**9}, {"depth": 10**6}, {"width": 10**5, "depth": 100}, {"width": 10**400}, {"depth": "x"}]
)
def test_huge_networks_are_not_built(folders: dict[str, Path], options: dict[str, Any]) -> None:
    """Options of a network with far more weights than the file contains are refused without allocating them."""
    for name, read in (("run", load_run), ("classifier", load_classifier)):
        file = folders[name] / CONFIG
        original, fields = file.read_bytes(), load_json(file)
        fields["network"]["options"] |= options
        save_json(file, fields)
        began = time.monotonic()
        try:
            with pytest.raises(InputError, match=f"{CONFIG}: its network cannot be built from its options"):
                read(folders[name])
        finally:
            file.write_bytes(original)
        assert time.monotonic() - began < 10


def test_a_network_within_the_limit_is_built_once_tied_weights_included() -> None:
    """Tied weights count once, and the result is on the CPU."""

    def build() -> torch.nn.Module:
        first = torch.nn.Linear(10, 10, bias=False)
        second = torch.nn.Linear(10, 10, bias=False)
        second.weight = first.weight
        return torch.nn.Sequential(first, second)

    assert next(build_bounded(build, 200).parameters()).device.type == "cpu"
    with pytest.raises(InputError, match="more than 199 weights"):
        build_bounded(build, 199)


def test_rows_of_metrics_and_records_of_samples(tmp_path: Path, folders: dict[str, Path]) -> None:
    """Lines that are no rows are left out, whatever they contain; a folder with a crafted record is not replaced."""
    lines = [
        "[" * 10**5,
        '{"step": ' + "9" * 5000 + "}",
        '{"step": 1, "step": 2}',
        '{"step": -1}',
        "\0",
        '{"step": 1e999}',
    ]
    run = tmp_path / "run"
    run.mkdir()
    (run / METRICS).write_text("\n".join([*lines, '{"step": 3, "loss": 0.1}']) + "\n")
    assert read_metrics(run) == [{"step": 3, "loss": 0.1}]
    (tmp_path / "out").mkdir()
    for content in (b"[" * 10**6, b'"run seeds sha256"', b"\xff", b"{}"):
        (tmp_path / "out" / "sample.json").write_bytes(content)
        with pytest.raises(InputError, match="no record of sdekit"):
            check_results_folder(tmp_path / "out", overwrite=True)


def test_strict_json() -> None:
    assert parse_json(b'{"a": [1, 2.5, null]}') == {"a": [1, 2.5, None]}
    for content in (b"{'a': 1}", b'{"a": 1, "a": 2}', b"[" * 10**5, b"\xff", b""):
        with pytest.raises(ValueError):
            parse_json(content)


def test_folders_that_are_none_of_ours(tmp_path: Path) -> None:
    """An empty folder is no classifier and no export, and the messages say what is missing."""
    assert not is_classifier(tmp_path) and not is_export(tmp_path)
    with pytest.raises(InputError, match="config.json is missing"):
        read_classifier(tmp_path)
