"""Checks of loaders. A loader must refuse other files, execute no code, and always return the same denoiser."""

from __future__ import annotations

import math
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from sdekit.data import kind_of
from sdekit.errors import InputError, SdekitError
from sdekit.models import Condition, OpenedModel, ScoreModel, example_conditions
from sdekit.processes import SDE, as_time
from sdekit.verify.common.check_results import Check, Finding, at_most, same, skip
from sdekit.verify.common.side_effects import changed_globals

Load = Callable[..., ScoreModel]
Open = Callable[[], ScoreModel]
SHAPES: tuple[tuple[int, ...], ...] = (
    *((d,) for d in (2, 1, 3, 4, 5, 6, 8, 10, 16, 64)),
    *((c, s, s) for s in (8, 28, 32, 64, 16, 128, 256) for c in (1, 3, 4)),
)
"""Shapes to try if a model has no attribute `shape`."""

MOST_BYTES = 2**28
"""Size of the largest model that is copied."""


def checks(load: Load, *, path: str | None = None, quick: bool = False) -> list[Check]:
    """Return all checks of one loader.

    Arguments:
        load: Function `load(path)` that returns a ScoreModel, a pair (ScoreModel, shape of one sample), or an
            OpenedModel. A ScoreModel alone may declare the shape of one sample in its attribute `shape`.
        path: Path of a model that the loader opens. Without a path, only the refusal of invalid files is checked.
        quick: Has no effect, because all checks are fast.
    """
    result = [
        Check("missing path", "a missing file raises InputError that names it", partial(missing, load)),
        Check("damaged", "a file that is no model raises InputError that names it", partial(damaged, load)),
        Check("no execution", "opening a file executes no code in it", partial(execution, load)),
    ]
    if path is None:
        reason = "needs a model to open: verify NAME:PATH"
        return [*result, Check("opens", "load(path) -> ScoreModel", partial(skip, reason))]
    open_model = partial(_score_model, load, path)
    return [
        *result,
        Check("opens", "load(path) is a ScoreModel in evaluation mode", partial(opens, open_model)),
        Check("shape", "D(x, t) is like x, and finite from t_min to t_max", partial(shape, open_model)),
        Check("deterministic", "D(x, t) = D(x, t)", partial(deterministic, open_model)),
        Check("batch", "D(x, t)^i = D(x^i, t)", partial(batch, open_model)),
        Check("opened again", "the same file gives the same model", partial(opened_again, open_model)),
        Check("condition", "D depends on each label; D(x, t, -1) = D(x, t, None)", partial(condition, open_model)),
        Check("facts", "shape, kind, classes and units agree with the model", partial(facts, load, path)),
        Check("truncated", "a model without its second half raises InputError", partial(truncated, load, path)),
        Check("files", "opening changes no file and no global setting", partial(files, load, path)),
    ]


def _score_model(load: Load, path: str) -> Any:
    """Load a model. If the loader returns the shape of one sample, store it in the attribute `shape` of the model."""
    result: Any = load(path)
    model, shape = (result.model, result.shape) if isinstance(result, OpenedModel) else (result, None)
    if isinstance(result, tuple) and len(result) == 2:
        model, shape = result
    if shape is not None and isinstance(model, ScoreModel):
        vars(model)["shape"] = tuple(shape)
    return model


def _check_refusal(load: Load, path: Path, what: str) -> Finding:
    """Check that opening a path raises InputError with the file's name in its message."""
    try:
        load(str(path))
    except Exception as error:
        message = f"{type(error).__name__}: {error}".replace(str(path.parent), "...")
        names_file = path.name in str(error)
        if not isinstance(error, SdekitError):
            cause = f"{what} raises an exception of another library: raise InputError that names the file"
        elif not names_file:
            cause = f"the message for {what} does not name the file: add its path"
        else:
            cause = f"{what} is a mistake of the user: raise InputError"
        return Finding(isinstance(error, InputError) and names_file, message, "InputError", cause)
    return Finding(False, "it was opened", "InputError", f"{what} is accepted as a model: raise InputError")


def missing(load: Load) -> Finding:
    """Check that a missing file raises InputError that names the file."""
    with tempfile.TemporaryDirectory() as folder:
        return _check_refusal(load, Path(folder) / "gone.model", "a missing file")


def damaged(load: Load) -> Finding:
    """Check that meaningless bytes, an empty file or folder, JSON, and tensors of no model each raise InputError."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "noise.model").write_bytes(bytes(range(256)) * 8)
        (Path(folder) / "empty.model").write_bytes(b"")
        (Path(folder) / "folder.model").mkdir()
        (Path(folder) / "other.json").write_text("{}", "utf-8")
        torch.save({"weight": torch.zeros(3)}, Path(folder) / "other.pt")
        save_file({"weight": torch.zeros(3)}, Path(folder) / "other.safetensors")
        finding = skip("")
        for name, what in {
            "noise.model": "a damaged file",
            "empty.model": "an empty file",
            "folder.model": "an empty folder",
            "other.json": "an empty JSON object",
            "other.pt": "a file with other tensors",
            "other.safetensors": "a file with other tensors",
        }.items():
            finding = _check_refusal(load, Path(folder) / name, what)
            if not finding.passed:
                break
    return finding


class _Payload:
    """Object that creates a folder when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return os.mkdir, (str(self.marker),)


def execution(load: Load) -> Finding:
    """Check that code in a pickle is not executed, whether in a pickle file or in a file of NumPy or torch."""
    with tempfile.TemporaryDirectory() as folder:
        marker = Path(folder) / "executed"
        suffixes = ("pkl", "pickle", "bin", "pt", "pth", "ckpt", "npy", "npz", "folder")
        paths = {name: Path(folder) / f"bare.{name}" for name in suffixes}
        for suffix in ("pkl", "pickle", "bin"):
            paths[suffix].write_bytes(pickle.dumps(_Payload(marker)))
        for suffix in ("pt", "pth", "ckpt"):
            torch.save({"weight": _Payload(marker)}, paths[suffix], _use_new_zipfile_serialization=suffix != "pth")
        np.save(paths["npy"], np.array([_Payload(marker)], dtype=object))
        np.savez(paths["npz"], weight=np.array([_Payload(marker)], dtype=object))
        paths["folder"].mkdir()
        for suffix in ("pkl", "bin", "pt", "ckpt"):
            shutil.copy(paths[suffix], paths["folder"] / f"model.{suffix}")
        for suffix, path in paths.items():
            with suppress(Exception):  # the check `damaged` reports exceptions
                load(str(path))
            if marker.exists():
                cause = f"a .{suffix} runs code when it is opened: read tensors only, with safetensors or no pickle"
                return Finding(False, "code was executed", "nothing is executed", cause)
    return Finding(True, "nothing was executed", "nothing is executed")


def _sample(model: ScoreModel, rows: int = 3) -> Tensor:
    """Draw standard normal x of shape (rows, *shape)."""
    return torch.randn(rows, *sample_shape(model), generator=torch.Generator().manual_seed(0))


def sample_shape(model: ScoreModel) -> tuple[int, ...]:
    """Return the shape of one sample: `model.shape`, or the first of `SHAPES` that the model accepts.

    Arguments:
        model: Model.
    Returns:
        Shape of one sample.
    Raises:
        InputError: If the model accepts none of the shapes.
    """
    declared = getattr(model, "shape", None)
    if declared is not None:
        return tuple(declared)
    for shape in SHAPES:
        try:
            with torch.no_grad():
                if model(torch.zeros(2, *shape), model.sde.t_max, _conditions(model, 2)).shape == (2, *shape):
                    return shape
        except (RuntimeError, ValueError, TypeError, IndexError, AssertionError, SdekitError):
            continue
    raise InputError("the model accepts no common shape of data: declare its shape as model.shape")


def opens(open_model: Open) -> Finding:
    """Check that the loader returns a ScoreModel with its process, in evaluation mode."""
    model: Any = open_model()
    kind = type(model).__name__
    if not isinstance(model, ScoreModel) or not isinstance(model.sde, SDE):
        cause = "the result is no ScoreModel: return a ScoreModel, a network with its process and prediction"
        return Finding(False, kind, "ScoreModel", cause)
    cause = "the model, or a part of it, is in training mode: call .eval()"
    return Finding(not any(m.training for m in model.modules()), kind, "a ScoreModel in evaluation mode", cause)


def shape(open_model: Open) -> Finding:
    """Check that the denoised x has the shape and dtype of x and is finite, from t_min to t_max."""
    model = open_model()
    x = _sample(model)
    sde = model.sde
    for t in (as_time(sde.t_min), sde.time(as_time(1.0)), as_time(sde.t_max)):
        for rows in (x, x[:1]):
            with torch.no_grad():
                out = model(rows, t, _conditions(model, len(rows)))
            measured = f"{tuple(out.shape)} {out.dtype}, {'finite' if out.isfinite().all() else 'not finite'}"
            expected = f"{tuple(rows.shape)} {rows.dtype}, finite"
            if measured != expected:
                cause = f"the denoiser changes the shape or dtype of x, or is not finite, at t = {float(t):.4g}"
                return Finding(False, measured, expected, cause)
    return Finding(True, f"(B, {', '.join(map(str, x.shape[1:]))})", "as x, finite")


def _conditions(model: ScoreModel, rows: int) -> Tensor | Condition | None:
    """Return conditions for a model that cannot do without one, else None. All rows have the same condition."""
    if model.condition is None or model.condition.null:
        return None
    y = example_conditions(model.condition, 1)
    return None if y is None else y[torch.zeros(rows, dtype=torch.long)]


def _denoise(model: ScoreModel, x: Tensor, rho: float = 1.0) -> Tensor:
    """Denoise x at a noise level."""
    t = model.sde.time(as_time(rho)).clamp(model.sde.t_min, model.sde.t_max)
    with torch.no_grad():
        x0: Tensor = model(x, t, _conditions(model, len(x)))
    return x0


def deterministic(open_model: Open) -> Finding:
    """Check that two calls with the same input give the same result."""
    model = open_model()
    x = _sample(model)
    difference = max(
        float((_denoise(model, x, rho) - _denoise(model, x, rho)).abs().max()) for rho in (0.01, 1.0, 100.0)
    )
    return same(difference, 0.0, "two calls differ, so the model draws random numbers or has a state: call .eval()")


def batch(open_model: Open) -> Finding:
    """Check that each row of the result depends only on the same row of x."""
    model = open_model()
    x = _sample(model, 7 if math.prod(sample_shape(model)) <= 4096 else 3)
    rows = torch.cat([_denoise(model, row[None]) for row in x])
    difference = float((_denoise(model, x) - rows).abs().max() / (1 + rows.abs().max()))
    cause = "a sample depends on its batch: call .eval(), and do not combine rows of a batch"
    return at_most(difference, 1e-4, cause, "relative difference ")


def opened_again(open_model: Open) -> Finding:
    """Check that opening the file again gives the same model, even with another global seed."""
    models = []
    with torch.random.fork_rng(devices=[]):
        for seed in (1, 2):
            torch.manual_seed(seed)
            models.append(open_model())
    x = _sample(models[0])
    first = _denoise(models[0], x)
    difference = float((first - _denoise(models[1], x)).abs().max())
    if not difference:
        weights = [p for p in models[1].parameters() if p.is_floating_point()]
        with torch.no_grad():
            for weight in weights:
                weight.mul_(1.5)
        cause = "models of two calls share their weights: build a new network for each call"
        if not torch.equal(_denoise(models[0], x), first):
            return Finding(False, "shared", "separate weights", cause)
    return same(difference, 0.0, "some weights are random, not read from the file: load every tensor")


def condition(open_model: Open) -> Finding:
    """Check that every label is accepted and changes D, and that -1 is no label if the model can do without one."""
    model = open_model()
    classes = 0 if model.condition is None else model.condition.classes
    if model.condition is None or not classes:
        return skip("the model takes no labels")
    labels = torch.tensor(model.condition.labels)
    labels = labels[torch.linspace(0, len(labels) - 1, min(len(labels), 4)).long()]
    x, t = _sample(model, 1), model.sde.time(as_time(1.0))
    with torch.no_grad():
        outs = [model(x, t, label[None]) for label in labels]
        outs += [model(x, t, y) for y in (torch.tensor([-1]), None) if model.condition.null]
    if not all(out.isfinite().all() for out in outs):
        return Finding(False, "not finite", "finite", "D is not finite for a label: check the embeddings of the labels")
    different = not any(torch.equal(outs[0], out) for out in outs[1:])
    equal = not model.condition.null or torch.allclose(outs[-1], outs[-2], atol=1e-5)
    cause = (
        "D does not depend on the label: pass y on to the network"
        if not different
        else ("the label -1 does not give D without a label: use the null embedding of the model")
    )
    return Finding(different and equal, "yes" if different and equal else "no", "a D for each label", cause)


def facts(load: Load, path: str) -> Finding:
    """Check that the recorded shape, kind, classes, class names and range of the data agree with each other."""
    opened: Any = load(path)
    if not isinstance(opened, OpenedModel):
        return skip("the loader returns no OpenedModel")
    trained, units, kind = opened.conditioning.classes, opened.units, kind_of(tuple(opened.data_shape))
    laws = {
        f"kind is {opened.kind!r} for the shape {opened.data_shape}: this is the shape of a {kind}": opened.kind
        == kind,
        f"classes is {opened.classes}, but the model takes {trained} labels": trained in (0, opened.classes),
        "class_names has another length than classes": len(opened.class_names) in (0, opened.classes),
        "units.low is not below units.high": units.low is None or units.high is None or units.low < units.high,
    }
    cause = next((cause for cause, holds in laws.items() if not holds), "")
    return Finding(not cause, "they disagree" if cause else "they agree", "they agree", f"{cause}: correct it")


def truncated(load: Load, path: str) -> Finding:
    """Check that a copy of the model whose largest file lacks its second half is refused."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / Path(path).name
        if not os.path.exists(path) or sum(f.stat().st_size for f in _files(Path(path))) > MOST_BYTES:
            return skip("the model is too large to copy, or is no file")
        (shutil.copytree if os.path.isdir(path) else shutil.copy)(path, copy)
        largest = max(_files(copy), key=lambda file: file.stat().st_size)
        largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])
        return _check_refusal(load, copy, "a truncated model")


def files(load: Load, path: str) -> Finding:
    """Check that opening a model writes no file next to it, and does not change torch's default dtype and gradients."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(path)
        if os.path.exists(path) and sum(f.stat().st_size for f in _files(place)) <= MOST_BYTES:
            place = Path(folder) / place.name
            (shutil.copytree if os.path.isdir(path) else shutil.copy)(path, place)
        before = {file: file.read_bytes() for file in _files(Path(folder))}
        with torch.enable_grad(), changed_globals() as changed:
            load(str(place))
        settings = [
            name for name in changed if "generator" not in name
        ]  # a network may draw weights before it is filled
        after = {file: file.read_bytes() for file in _files(Path(folder))}
        if after != before:
            return Finding(False, "changed files", "no change", "opening the model writes files: write nothing")
    cause = f"opening the model changes {' and '.join(settings)}: restore it"
    return same(" and ".join(settings) or "no change", "no change", cause)


def _files(path: Path) -> list[Path]:
    """Return all files of a folder, or the file itself."""
    return [path] if path.is_file() else [file for file in sorted(path.rglob("*")) if file.is_file()]
