"""Open a model from wherever it was saved: a run folder, an export, or the format of a loader plugin."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from sdekit.data import Units
from sdekit.errors import InputError
from sdekit.registry import build, component_names, find_component, parameters

from .conditioning import Condition, Conditioning
from .score_model import ScoreModel

if TYPE_CHECKING:
    from sdekit.backends import Backend

BARE_PATH_LOADERS = ("run", "export")
"""Loaders that `open_model` can use for a path without the name of a loader."""


@dataclass(frozen=True, kw_only=True)
class OpenedModel:
    """A model ready for sampling, with the facts about its data that commands need.

    A loader returns one. A run folder is opened as a `Run`, which adds the recipe of the training.

    Arguments:
        model: The denoiser.
        shape: Shape of one sample in the model's units, without the batch axis.
        path: File or folder that the model was read from.
        units: Affine map between the units of the data and those of the model.
        kind: "image" for shape (C, H, W), or "vector".
        classes: Number of classes of the data; the default is the number of labels that the model takes.
        class_names: Names of the classes, or empty.
        condition_names: Names of the numbers that the model takes as its condition, or empty.
        condition_units: Units of these numbers.
        grid: Time grid that the model's makers recommend, as "NAME:option=value", or None.
        step: Training step of the weights, or None if it is unknown.
        facts: More facts for `sdekit info`, by name.
    """

    model: ScoreModel
    shape: tuple[int, ...]
    path: Path = Path()
    units: Units = Units()
    kind: str = "vector"
    classes: int = 0
    class_names: tuple[str, ...] = ()
    condition_names: tuple[str, ...] = ()
    condition_units: Units | None = None
    grid: str | None = None
    step: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))
        object.__setattr__(self, "classes", self.classes or self.conditioning.classes)

    @property
    def conditioning(self) -> Conditioning:
        """The condition that the model takes."""
        return self.model.condition or Conditioning()

    @property
    def condition(self) -> str:
        """Kind of the model's condition: "label", "numbers", "embedding", "sequence", "parts" or "none"."""
        return self.conditioning.kind

    @property
    def data_std(self) -> float:
        """Standard deviation of the data in the model's units."""
        return self.model.data_std

    @property
    def data_range(self) -> tuple[float, float] | None:
        """Smallest and largest possible value of x_0 in the model's units, or None if they are unknown."""
        return self.units.model_range

    def examples(self, n: int) -> Tensor | Condition | None:
        """Return n conditions to try the model with, or None if it takes no condition."""
        return example_conditions(self.conditioning, n)

    def to_data(self, x: Tensor) -> np.ndarray:
        """Convert x (B, *shape) from the model's units to an array in the units of the data."""
        return self.units.to_data(x)

    def to_model(self, data: np.ndarray) -> Tensor:
        """Convert an array in the units of the data to x (B, *shape) in the model's units."""
        return self.units.to_model(data)


def example_conditions(conditioning: Conditioning, n: int) -> Tensor | Condition | None:
    """Return n conditions to try a model with.

    Arguments:
        conditioning: The condition that a model takes.
        n: Number of rows.
    Returns:
        The labels in turn (n,), numbers from -1.5 to 1.5 (n, d), embeddings of standard normal numbers (the same in
        every call), or None without a condition. A sequence of any length has 4 elements; labels that are parts of a
        `Condition` are 0.
    """
    if conditioning.classes:
        return torch.arange(n) % conditioning.classes
    if conditioning.numbers:
        return torch.linspace(-1.5, 1.5, n)[:, None].repeat(1, conditioning.numbers)
    if conditioning.embedding:
        return _normal((conditioning.embedding,), n)
    if conditioning.sequence is not None:
        return _normal(conditioning.sequence, n)
    return Condition({k: _normal(shape, n) for k, shape in conditioning.parts.items()}) if conditioning.parts else None


def _normal(shape: tuple[int | None, ...], n: int) -> Tensor:
    """Return standard normal numbers (n, *shape), with 4 for a size of None, or n labels 0 if the shape is empty."""
    sizes = [4 if size is None else size for size in shape]
    return torch.randn(n, *sizes, generator=torch.Generator().manual_seed(0)) if shape else torch.zeros(n).long()


Loader = Callable[..., OpenedModel | ScoreModel | tuple[ScoreModel, tuple[int, ...]]]
"""Function `loader(path, **options)` that opens a model, see `sdekit.registry.hookspecs.sdekit_loaders`."""
L = TypeVar("L", bound=Loader)


def recognises(test: Callable[[Path], bool]) -> Callable[[L], L]:
    """Decorator that adds a test for paths to a loader, as its attribute `recognises`.

    `open_model` uses the test for a path without the name of a loader.

    Arguments:
        test: Function `test(path)` that returns whether the loader opens an existing path, from file names only.
    Returns:
        A decorator that returns the loader itself.
    """

    def decorate(loader: L) -> L:
        vars(loader)["recognises"] = test
        return loader

    return decorate


def open_model(
    path_or_name: str | os.PathLike[str],
    *,
    device: torch.device | str = "cpu",
    backend: Backend | str | None = None,
    trust: bool = False,
    step: int | None = None,
    shape: tuple[int, ...] | None = None,
) -> OpenedModel:
    """Open a run folder, an export, or a model in the format of a loader.

    Arguments:
        path_or_name: Path of a run folder or an export, or LOADER:PATH with the name of a registered loader.
        device: Device of the weights.
        backend: How the network is run: a registered name or `backend(network)`, see `ScoreModel.run_with`.
        trust: Allow formats that run code from the file.
        step: Open the weights that a run folder keeps of this training step, not the last ones.
        shape: Shape of one sample, for a loader that does not return it.
    Returns:
        The model in evaluation mode, without gradients for its weights. It is a `Run` for a run folder or an export.
    Raises:
        InputError: If no such model exists, or it is damaged, or it needs `trust` or `shape`.
    """
    loader, path = _loader_and_path(os.fspath(path_or_name))
    return open_with(loader, path, device=device, backend=backend, trust=trust, step=step, shape=shape)


def open_with(
    loader: str,
    path: str | os.PathLike[str],
    *,
    device: torch.device | str = "cpu",
    backend: Backend | str | None = None,
    trust: bool = False,
    step: int | None = None,
    shape: tuple[int, ...] | None = None,
) -> OpenedModel:
    """Open a model by one loader; see `open_model`.

    Arguments:
        loader: Registered name of the loader.
        path: File or folder.
        device: Device of the weights. It is also passed to loaders that have this option.
        backend: How the network is run.
        trust: Passed to loaders that have this option.
        step: Passed to loaders that have this option.
        shape: Shape of one sample, for a loader that does not return it.
    Returns:
        The model in evaluation mode.
    Raises:
        InputError: If the loader refuses the path, or an option does not apply.
    """
    accepted = parameters(find_component("loader", loader).load())
    if step is not None and "step" not in accepted:
        raise InputError(f"{path}: loader {loader!r} reads the weights of one step only: leave out step={step}")
    options = {name: v for name, v in {"device": device, "trust": trust, "step": step}.items() if name in accepted}
    result = build("loader", loader, os.fspath(path), **options)
    opened = result if isinstance(result, OpenedModel) else _wrapped(result, loader, path, shape)
    opened.model.to(device).eval().requires_grad_(False)
    if backend is not None:
        opened.model.run_with(backend)
    return replace(
        opened,
        path=opened.path if opened.path != Path() else Path(path),
        facts={"format": loader, **opened.facts},
    )


def _wrapped(result: Any, loader: str, path: str | os.PathLike[str], shape: tuple[int, ...] | None) -> OpenedModel:
    """Return the result of a loader as an OpenedModel; it may also be a ScoreModel, or a pair (ScoreModel, shape)."""
    model, shape = result if isinstance(result, tuple) and len(result) == 2 else (result, shape)
    if not isinstance(model, ScoreModel):
        raise InputError(
            f"loader {loader!r} returned {type(model).__name__} for {path}: expected an OpenedModel, a ScoreModel, or "
            "a ScoreModel and its shape"
        )
    if shape is None:
        raise InputError(
            f"{path}: loader {loader!r} returned a ScoreModel without the shape of a sample. It should return "
            "OpenedModel(model=..., shape=...); in Python, open_model(..., shape=...) adds the shape"
        )
    return OpenedModel(model=model, shape=shape, kind="image" if len(shape) == 3 else "vector")


def _loader_and_path(spec: str) -> tuple[str, str]:
    """Split LOADER:PATH, or choose the loader that recognises a bare path."""
    name, colon, rest = spec.partition(":")
    path = Path(spec).expanduser()
    if colon and not path.exists() and re.fullmatch(r"[a-z][a-z0-9-]+", name):
        if not rest:
            raise InputError(f"model {spec!r} has no path after the colon: write {name}:PATH")
        return name, os.path.expanduser(rest)
    if path.exists():
        for loader in BARE_PATH_LOADERS:
            if _recognises(loader, path):
                return loader, str(path)
        others = [name for name in component_names("loader") if name not in BARE_PATH_LOADERS]
        if fitting := [f"{name}:{spec}" for name in others if _recognises(name, path)]:
            raise InputError(f"{spec} is not a run folder; did you mean {' or '.join(fitting)}?")
    return BARE_PATH_LOADERS[0], str(path)  # its message says why a path is not a run folder


def _recognises(loader: str, path: Path) -> bool:
    """Whether a loader recognises an existing path; a loader that cannot be imported recognises nothing."""
    with suppress(Exception):
        test: Callable[[Path], bool] | None = getattr(find_component("loader", loader).load(), "recognises", None)
        return test is not None and bool(test(path))
    return False
