"""Checks of loaders. A loader must refuse other files, execute no code, and always return the same denoiser."""

from __future__ import annotations

import os
import pickle
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sdekit.errors import InputError, SdekitError
from sdekit.models import Condition, OpenedModel, ScoreModel, example_conditions
from sdekit.processes import SDE, as_time
from sdekit.verify.common.check_results import Check, Finding, at_most, same, skip

Load = Callable[..., ScoreModel]
Open = Callable[[], ScoreModel]
SHAPES: tuple[tuple[int, ...], ...] = (
    *((d,) for d in (2, 1, 3, 4, 5, 6, 8, 10, 16, 64)),
    *((c, s, s) for s in (8, 28, 32, 64, 16, 128, 256) for c in (1, 3, 4)),
)
"""Shapes to try if a model has no attribute `shape`."""


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
    """Check that a file of meaningless bytes, an empty file and an empty folder each raise InputError that names it."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "noise.model").write_bytes(bytes(range(256)) * 8)
        (Path(folder) / "empty.model").write_bytes(b"")
        (Path(folder) / "folder.model").mkdir()
        finding = skip("")
        for name, what in (("noise", "a damaged file"), ("empty", "an empty file"), ("folder", "an empty folder")):
            finding = _check_refusal(load, Path(folder) / f"{name}.model", what)
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
        paths = {name: Path(folder) / f"bare.{name}" for name in ("pkl", "pt", "npy")}
        paths["pkl"].write_bytes(pickle.dumps(_Payload(marker)))
        torch.save({"weight": _Payload(marker)}, paths["pt"])
        np.save(paths["npy"], np.array([_Payload(marker)], dtype=object))
        for suffix, path in paths.items():
            with suppress(Exception):  # the check `damaged` reports exceptions
                load(str(path))
            if marker.exists():
                cause = (
                    f"a .{suffix} file runs code when it is opened: read tensors only, with safetensors or no pickle"
                )
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
                if model(torch.zeros(2, *shape), model.sde.t_max).shape == (2, *shape):
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
    cause = "the model is in training mode: call .eval()"
    return Finding(not model.training, kind, "a ScoreModel in evaluation mode", cause)


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


def _denoise(model: ScoreModel, x: Tensor) -> Tensor:
    """Denoise x at noise level rho = 1."""
    with torch.no_grad():
        x0: Tensor = model(x, model.sde.time(as_time(1.0)), _conditions(model, len(x)))
    return x0


def deterministic(open_model: Open) -> Finding:
    """Check that two calls with the same input give the same result."""
    model = open_model()
    x = _sample(model)
    difference = float((_denoise(model, x) - _denoise(model, x)).abs().max())
    return same(difference, 0.0, "two calls differ, so the model draws random numbers or has a state: call .eval()")


def batch(open_model: Open) -> Finding:
    """Check that each row of the result depends only on the same row of x."""
    model = open_model()
    x = _sample(model)
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
    difference = float((_denoise(models[0], x) - _denoise(models[1], x)).abs().max())
    return same(difference, 0.0, "some weights are random, not read from the file: load every tensor")
