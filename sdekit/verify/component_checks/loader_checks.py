"""Loaders: what is no model is refused and never executed; what is one is a denoiser, the same each time."""

from __future__ import annotations

import os
import pickle
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sdekit.errors import InputError, SdekitError
from sdekit.models import OpenedModel, ScoreModel
from sdekit.processes import SDE, as_time
from sdekit.verify.common.report import Check, Finding, at_most, same, skip

Load = Callable[..., ScoreModel]
SHAPES: tuple[tuple[int, ...], ...] = (
    *((d,) for d in (2, 1, 3, 4, 5, 6, 8, 10, 16, 64)),
    *((c, s, s) for s in (8, 28, 32, 64, 16, 128, 256) for c in (1, 3, 4)),
)
"""Tried one after the other where a model does not say its `shape`."""


def checks(load: Load, *, path: str | None = None, quick: bool = False) -> list[Check]:
    """All checks of one loader, `load(path) -> ScoreModel`; path: of a model that it opens.

    Without a path only what it refuses is checked. The model may say the shape of one sample as `model.shape`.
    """
    found = [
        Check("missing path", "InputError that names the path, where nothing is there", partial(missing, load)),
        Check("damaged", "InputError that names the file, where it is something else", partial(damaged, load)),
        Check("no execution", "opening a file runs nothing that it holds", partial(execution, load)),
    ]
    if path is None:
        reason = "needs a model to open: verify NAME:PATH"
        return [*found, Check("opens", "load(path) -> ScoreModel", partial(skip, reason))]
    opened = partial(_score_model, load, path)
    return [
        *found,
        Check("opens", "load(path) -> ScoreModel, in evaluation mode", partial(opens, opened)),
        Check("shape", "D(x, t) has shape and dtype of x, and is finite from t_min to t_max", partial(shape, opened)),
        Check("deterministic", "D(x, t) = D(x, t)", partial(deterministic, opened)),
        Check("batch", "D(x, t)^i = D(x^i, t)", partial(batch, opened)),
        Check("opened again", "the same file is the same model", partial(again, opened)),
    ]


def _score_model(load: Load, path: str) -> Any:
    """What a loader returns, as a ScoreModel that says the shape of a sample."""
    result: Any = load(path)
    model, shape = (result.model, result.shape) if isinstance(result, OpenedModel) else (result, None)
    if isinstance(result, tuple) and len(result) == 2:
        model, shape = result
    if shape is not None and isinstance(model, ScoreModel):
        vars(model)["shape"] = tuple(shape)
    return model


def _refused(load: Load, path: Path, what: str) -> Finding:
    """It must raise InputError with the file's name in the message."""
    try:
        load(str(path))
    except SdekitError as error:
        named = path.name in str(error)
        good = isinstance(error, InputError) and named
        cause = (
            f"the message for {what} does not name the file" if not named else "raise InputError: the user's mistake"
        )
        return Finding(good, f"{type(error).__name__}: {error}".replace(str(path.parent), "..."), "InputError", cause)
    except Exception as error:
        told = f"{type(error).__name__}: {error}".replace(str(path.parent), "...")
        return Finding(
            False, told, "InputError", f"{what} ends in a traceback: raise InputError that says what was found"
        )
    return Finding(False, "it was opened", "InputError", f"{what} is taken for a model")


def missing(load: Load) -> Finding:
    """A path where nothing is."""
    with tempfile.TemporaryDirectory() as folder:
        return _refused(load, Path(folder) / "gone.model", "a missing file")


def damaged(load: Load) -> Finding:
    """A file of nonsense, an empty one, and an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "noise.model").write_bytes(bytes(range(256)) * 8)
        (Path(folder) / "empty.model").write_bytes(b"")
        (Path(folder) / "folder.model").mkdir()
        finding = skip("")
        for name, what in (("noise", "a damaged file"), ("empty", "an empty file"), ("folder", "an empty folder")):
            finding = _refused(load, Path(folder) / f"{name}.model", what)
            if not finding.passed:
                break
    return finding


class _Payload:
    """What a hostile pickle holds: reading it makes a folder."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return os.mkdir, (str(self.marker),)


def execution(load: Load) -> Finding:
    """Pickles, bare, as numpy and as torch save them: none of them may run."""
    with tempfile.TemporaryDirectory() as folder:
        marker = Path(folder) / "executed"
        written = {
            "pickle": Path(folder) / "bare.pkl",
            "torch": Path(folder) / "bare.pt",
            "numpy": Path(folder) / "a.npy",
        }
        written["pickle"].write_bytes(pickle.dumps(_Payload(marker)))
        torch.save({"weight": _Payload(marker)}, written["torch"])
        import numpy as np

        np.save(written["numpy"], np.array([_Payload(marker)], dtype=object))
        for kind, path in written.items():
            with suppress(Exception):  # told by "damaged"
                load(str(path))
            if marker.exists():
                cause = (
                    f"a {kind} file runs code when it is opened: read tensors only, as safetensors, or without pickle"
                )
                return Finding(False, "code was run", "nothing runs", cause)
    return Finding(True, "nothing ran", "nothing runs")


def _sample(model: ScoreModel, rows: int = 3) -> Tensor:
    """x (rows, *shape) of unit size; InputError where no shape is known."""
    shape = served(model)
    return torch.randn(rows, *shape, generator=torch.Generator().manual_seed(0))


def served(model: ScoreModel) -> tuple[int, ...]:
    """The shape of one sample: the model's own word, or the first of `SHAPES` that it accepts."""
    said = getattr(model, "shape", None)
    if said is not None:
        return tuple(said)
    for shape in SHAPES:
        try:
            with torch.no_grad():
                if model(torch.zeros(2, *shape), model.sde.t_max).shape == (2, *shape):
                    return shape
        except (RuntimeError, ValueError, TypeError, IndexError, AssertionError, SdekitError):
            continue
    raise InputError("no common shape of data is accepted: say it as model.shape")


def opens(opened: Callable[[], ScoreModel]) -> Finding:
    """A denoiser with its process."""
    model: Any = opened()
    kind = type(model).__name__
    if not isinstance(model, ScoreModel) or not isinstance(model.sde, SDE):
        return Finding(False, kind, "ScoreModel", "return a ScoreModel: a network with its process and prediction")
    return Finding(not model.training, kind, "a ScoreModel in evaluation mode", "it is in training mode: call .eval()")


def shape(opened: Callable[[], ScoreModel]) -> Finding:
    """At both ends of the process and between, alone and in a batch."""
    model = opened()
    x = _sample(model)
    sde = model.sde
    for t in (as_time(sde.t_min), sde.time(as_time(1.0)), as_time(sde.t_max)):
        for rows in (x, x[:1]):
            with torch.no_grad():
                out = model(rows, t)
            told = f"{tuple(out.shape)} {out.dtype}, {'finite' if out.isfinite().all() else 'not finite'}"
            expected = f"{tuple(rows.shape)} {rows.dtype}, finite"
            if told != expected:
                return Finding(False, told, expected, f"the denoiser changes x at t = {float(t):.4g}")
    return Finding(True, f"(B, {', '.join(map(str, x.shape[1:]))})", "as x, finite")


def _denoised(model: ScoreModel, x: Tensor) -> Tensor:
    with torch.no_grad():
        x0: Tensor = model(x, model.sde.time(as_time(1.0)))
    return x0


def deterministic(opened: Callable[[], ScoreModel]) -> Finding:
    """Twice the same."""
    model = opened()
    x = _sample(model)
    difference = float((_denoised(model, x) - _denoised(model, x)).abs().max())
    return same(difference, 0.0, "it draws or remembers something: call .eval()")


def batch(opened: Callable[[], ScoreModel]) -> Finding:
    """Rows do not meet."""
    model = opened()
    x = _sample(model)
    alone = torch.cat([_denoised(model, row[None]) for row in x])
    off = float((_denoised(model, x) - alone).abs().max() / (1 + alone.abs().max()))
    return at_most(off, 1e-4, "a sample depends on its batch", "relative difference ")


def again(opened: Callable[[], ScoreModel]) -> Finding:
    """Opened twice, with another state of the global generator."""
    models = []
    with torch.random.fork_rng(devices=[]):
        for seed in (1, 2):
            torch.manual_seed(seed)
            models.append(opened())
    x = _sample(models[0])
    off = float((_denoised(models[0], x) - _denoised(models[1], x)).abs().max())
    return same(off, 0.0, "weights are drawn, not read: some of the file's tensors are never loaded")
