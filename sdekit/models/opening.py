"""Open a model from wherever it was saved: a run folder, an export, or the format of a loader plugin."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from sdekit.arguments import check_device, check_path
from sdekit.data import Column, Units, kind_of
from sdekit.data.tables import snap_to_columns
from sdekit.errors import InputError
from sdekit.processes import SDE
from sdekit.registry import (
    build,
    component_names,
    convert_options,
    find_component,
    parameters,
    parse_component,
)

from .codec import Codec, Encoder
from .conditioning import Condition, Conditioning
from .label_names import FoundLabel, find_label
from .score_model import ScoreModel

if TYPE_CHECKING:
    from sdekit.backends import Backend
    from sdekit.guidance import Guidance
    from sdekit.sampling import Callback, Grid, Progress, Sampler, Samples

BARE_PATH_LOADERS = ("run", "export")
"""Loaders that `open_model` can use for a path without the name of a loader."""


@dataclass(frozen=True, kw_only=True, repr=False)
class OpenedModel:
    """A model ready for sampling, with the facts about its data that commands need.

    A loader returns one. A run folder is opened as a `Run`, which adds the recipe of the training.

    Arguments:
        model: The denoiser.
        shape: Shape of one x, without the batch axis: of a latent if there is a codec, else of one item of data.
        path: File or folder that the model was read from.
        units: Affine map between the units of the data and those of the model, or of the codec if there is one.
        kind: "vector" for the shape (d,), "sequence" for (C, L), "image" for (C, H, W), or "volume" for (C, D, H, W).
        classes: Number of classes of the data; the default is the number of labels that the model takes.
        class_names: Names of the classes, or empty; the default is the names of the labels that the model takes.
        channel_names: Name of each channel of sequences, or empty.
        sample_rate: Number of values of a sequence per second, or None if it is not known.
        condition_names: Names of the numbers that the model takes as its condition, or empty.
        condition_units: Units of these numbers.
        columns: Columns of a table, or empty.
        grid: Time grid that the model's makers recommend, as "NAME:option=value", or None.
        makers_grid: Grid of the sampler that the makers used, `grid(sde, n) -> (n + 1,)` times, for `--grid maker`.
        step: Training step of the weights, or None if it is unknown.
        facts: More facts for `sdekit info`, by name.
        guesses: Facts that the files do not state and the loader assumed, by name, for `sdekit info`.
        codec: Map between data and the latents that the model denoises, or None if it denoises the data themselves.
        encoder: Map from texts to the condition of the model, or None if it takes no texts.
    """

    model: ScoreModel
    shape: tuple[int, ...]
    path: Path = Path()
    units: Units = Units()
    kind: str = "vector"
    classes: int = 0
    class_names: tuple[str, ...] = ()
    channel_names: tuple[str, ...] = ()
    sample_rate: float | None = None
    condition_names: tuple[str, ...] = ()
    condition_units: Units | None = None
    columns: tuple[Column, ...] = ()
    grid: str | None = None
    makers_grid: Callable[[SDE, int], Tensor] | None = None
    step: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    guesses: Mapping[str, Any] = field(default_factory=dict)
    codec: Codec | None = None
    encoder: Encoder | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))
        object.__setattr__(self, "classes", self.classes or self.conditioning.classes)
        object.__setattr__(self, "class_names", tuple(self.class_names) or self.conditioning.class_names)

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
    def data_shape(self) -> tuple[int, ...]:
        """Shape of one item of data, without the batch axis; it differs from `shape` if there is a codec."""
        return self.shape if self.codec is None else self.codec.data_shape

    @property
    def data_range(self) -> tuple[float, float] | None:
        """Smallest and largest possible value of x_0 in the model's units; None if unknown, or if x_0 is a latent."""
        return self.units.model_range if self.codec is None else None

    def examples(self, n: int) -> Tensor | Condition | None:
        """Return n conditions to try the model with, or None if it takes no condition."""
        if self.encoder is None:
            return example_conditions(self.conditioning, n)
        return self.encoder(EXAMPLE_PROMPTS)[torch.arange(n) % len(EXAMPLE_PROMPTS)]

    def decode(self, x: Tensor) -> Tensor:
        """Return the data (B, *data_shape) of x (B, *shape): x itself without a codec. The data keep their units."""
        if self.codec is None:
            return x
        return torch.cat([self.codec.decode(row[None]) for row in x])  # one at a time, to save memory

    def encode(self, data: Tensor) -> Tensor:
        """Return the x (B, *shape) of data (B, *data_shape) in the units of the codec: the data without a codec."""
        if self.codec is None:
            return data
        return torch.cat([self.codec.encode(row[None]) for row in data])

    def find_label(self, name: str | int) -> FoundLabel:
        """Find a class of the data by its name or its position, see `sdekit.models.find_label`."""
        return find_label(name, self.classes, self.class_names, self.conditioning.untrained)

    def labels(self, names: Iterable[str | int]) -> Tensor:
        """Return labels by the names of their classes, as a condition y.

        Arguments:
            names: Name or position of the class of each sample. The name has precedence: if the classes are named 1, 2
                and 3, then 1 is the label 0.
        Returns:
            Labels (B,) int64.
        Raises:
            InputError: If there is no such class, or if it has no training items.
        """
        return torch.tensor([self.find_label(name).label for name in names], dtype=torch.int64)

    def sample(
        self,
        n: int | None = None,
        solver: Sampler | str = "auto",
        *,
        seeds: Sequence[int] | None = None,
        steps: int | None = None,
        nfe: int | None = None,
        label: str | int | Sequence[str | int] | None = None,
        condition: Any = None,
        y: Tensor | Condition | None = None,
        guidance: Sequence[Guidance | str] | Guidance | str = (),
        grid: Grid | str | Tensor | None = None,
        noise: Literal["seed", "brownian"] | None = None,
        batch_size: int | None = None,
        trajectory: bool = False,
        progress: bool | Progress = False,
        callback: Callback | None = None,
    ) -> Samples:
        """Draw samples; the numbers are those of `sdekit sample` with the same options.

        Arguments:
            n: Number of samples, with the seeds 0 to n - 1; 16 if there are no `seeds` either.
            solver: Registered name of a sampler, with options as in "ddim:eta=0.5", or a sampler. For a run folder that
                `sdekit tune` has tuned for this solver and budget, the tuned times are used.
            seeds: Seeds of the samples, instead of n.
            steps: Number of grid times; None for the default of the solver.
            nfe: Largest number of network evaluations of a sample, instead of steps.
            label: Name or position of a class, or several, of which the seed of a sample chooses one. Without it the
                seed chooses among all classes.
            condition: Numbers or embeddings to condition on, in their own units: one row, or n rows; or a mapping from
                names to numbers.
            y: Condition in the model's units, n rows, instead of label and condition.
            guidance: Guidances, or registered names with options such as "cfg:scale=2", the first one innermost.
            grid: Time grid, its name, or the times; "maker" for the grid of the model's makers. None for the grid that
                the makers recommend or else that of the solver.
            noise: Source of noise of a stochastic solver, see `sdekit.sample`.
            batch_size: Largest number of samples at a time.
            trajectory: Whether to return the state at every time, for `Samples.plot_trajectory`.
            progress: Whether to show a progress bar, see `sdekit.sample`.
            callback: Function called after each step, see `sdekit.sample`.
        Returns:
            Samples with the units and names of the data.
        Raises:
            InputError: If an argument does not fit this model.
            SdekitError: If the solver failed.
        """
        from sdekit.drawing import draw_samples

        return draw_samples(
            self,
            n,
            solver,
            seeds=seeds,
            steps=steps,
            nfe=nfe,
            label=label,
            condition=condition,
            y=y,
            guidance=guidance,
            grid=grid,
            noise=noise,
            batch_size=batch_size,
            trajectory=trajectory,
            progress=progress,
            callback=callback,
        )

    def __repr__(self) -> str:
        """Return one line: where the model comes from, its data and its network."""
        parts = [str(self.path)] if self.path != Path() else []
        parts += [f"step {self.step}"] if self.step is not None else []
        parts.append(f"{self.kind} {'x'.join(map(str, self.data_shape))}")
        parts += [f"{self.classes} classes"] if self.classes else []
        parts += [f"condition {self.condition}"] if self.condition != "none" else []
        return f"{type(self).__name__}({', '.join([*parts, repr(self.model)])})"

    def to_data(self, x: Tensor) -> np.ndarray:
        """Convert x (B, *shape), decoded if there is a codec, to an array in the units of the data.

        Rows of a table are rounded to possible rows, see `sdekit.data.tables.snap_to_columns`.
        """
        with torch.no_grad():
            data = self.units.to_data(self.decode(x))
        return snap_to_columns(data, self.columns) if self.columns else data

    def to_model(self, data: np.ndarray) -> Tensor:
        """Convert an array in the units of the data to x (B, *shape), encoded if there is a codec."""
        with torch.no_grad():
            return self.encode(self.units.to_model(data))


EXAMPLE_PROMPTS = ("a photograph of a dog", "a red house by the sea", "two people in a park", "a bowl of fruit")
"""Texts to try a model with that takes texts as its condition."""


def example_conditions(conditioning: Conditioning, n: int) -> Tensor | Condition | None:
    """Return n conditions to try a model with.

    Arguments:
        conditioning: The condition that a model takes.
        n: Number of rows.
    Returns:
        The trained labels in turn (n,), numbers from -1.5 to 1.5 (n, d), embeddings of standard normal numbers (the
        same in every call), or None without a condition. A sequence of any length has 4 elements; labels that are parts
        of a `Condition` are 0.
    """
    if conditioning.classes:
        labels = torch.tensor(conditioning.labels)
        return labels[torch.arange(n) % len(labels)]
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
    options: Mapping[str, Any] | None = None,
) -> OpenedModel:
    """Open a run folder, an export, or a model in the format of a loader.

    Arguments:
        path_or_name: Path of a run folder or an export, or LOADER:PATH with the name of a registered loader. Options of
            the loader may follow: LOADER:PATH,option=value,option=value.
        device: Device of the weights.
        backend: How the network is run: a registered name or `backend(network)`, see `ScoreModel.run_with`.
        trust: Allow formats that run code from the file.
        step: Open the weights that a run folder keeps of this training step, not the last ones.
        shape: Shape of one sample, for a loader that does not return it.
        options: Options of the loader, in addition to those in `path_or_name`.
    Returns:
        The model in evaluation mode, without gradients for its weights. It is a `Run` for a run folder or an export.
    Raises:
        InputError: If no such model exists, or it is damaged, or it needs `trust` or `shape`.
    """
    spec, inline = split_loader_options(check_path("open_model", path_or_name))
    loader, path = _loader_and_path(spec)
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        raise InputError(f"{path} is a device, a pipe or a socket: name a file or a folder")
    chosen = {**inline, **(options or {})}
    return open_with(loader, path, device=device, backend=backend, trust=trust, step=step, shape=shape, options=chosen)


def open_with(
    loader: str,
    path: str | os.PathLike[str],
    *,
    device: torch.device | str = "cpu",
    backend: Backend | str | None = None,
    trust: bool = False,
    step: int | None = None,
    shape: tuple[int, ...] | None = None,
    options: Mapping[str, Any] | None = None,
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
        options: Further options of the loader: values, or texts from the command line.
    Returns:
        The model in evaluation mode.
    Raises:
        InputError: If the loader refuses the path, or an option does not apply.
    """
    device = check_device("open_model", device)
    target = find_component("loader", loader).load()
    accepted = parameters(target)
    if step is not None and "step" not in accepted:
        raise InputError(f"{path}: loader {loader!r} reads the weights of one step only: leave out step={step}")
    for name in {"device", "trust"} & set(options or {}):
        raise InputError(f"{loader}:{path}: {name} is no option of a loader: write --{name} (in Python: {name}=...)")
    shared = {"device": device, "trust": trust, "step": step}
    chosen: dict[str, Any] = {name: value for name, value in shared.items() if name in accepted}
    chosen |= convert_options(f"loader {loader!r}", target, options or {})
    result = build("loader", loader, os.fspath(path), **chosen)
    opened = result if isinstance(result, OpenedModel) else _wrapped(result, loader, path, shape)
    opened.model.to(device).eval().requires_grad_(False)
    for part in (opened.codec, opened.encoder):
        if part is not None:
            part.to(device)
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
    return OpenedModel(model=model, shape=shape, kind=kind_of(tuple(shape)))


def split_loader_options(spec: str) -> tuple[str, dict[str, Any]]:
    """Split "LOADER:PATH,option=value,option=value" into LOADER:PATH and the options.

    Arguments:
        spec: The name of a model. A path that exists may itself contain commas.
    Returns:
        The name without options, and the options by name.
    Raises:
        InputError: If an option has no value, or occurs twice.
    """
    path = spec.partition(":")[2] or spec
    start = re.search(r",(?=[a-z][\w.-]*=)", spec)
    if start is None or Path(spec).expanduser().exists() or Path(path).expanduser().exists():
        return spec, {}
    _, options = parse_component(f"options:{spec[start.end() :]}")
    return spec[: start.start()], options


def _loader_and_path(spec: str) -> tuple[str, str]:
    """Split LOADER:PATH, or choose the loader that recognises a bare path."""
    name, colon, rest = spec.partition(":")
    path = Path(spec).expanduser()
    if colon and not path.exists() and re.fullmatch(r"[A-Za-z][A-Za-z0-9-]+", name):
        if not rest:
            raise InputError(f"model {spec!r} has no path after the colon: write {name}:PATH")
        return name.lower(), os.path.expanduser(rest)
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
    if not (path.is_file() or path.is_dir()):  # opening a pipe would wait for ever
        return False
    with suppress(Exception):
        test: Callable[[Path], bool] | None = getattr(find_component("loader", loader).load(), "recognises", None)
        return test is not None and bool(test(path))
    return False
