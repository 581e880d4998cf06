"""The result of a sampling run: samples with their seeds, conversions, pictures and files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sdekit.arguments import check_count
from sdekit.data import Units, kind_of
from sdekit.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from sdekit.models import Condition, OpenedModel

STRIP_TIMES, ANIMATED_TIMES = 9, 40
"""Largest number of times in a film strip, and in an animation."""
MOST_PLOTTED = 2000
"""Largest number of samples in a plot unless the user chooses another number."""


@dataclass(frozen=True, eq=False, repr=False)
class Samples:
    """Result of `sample`: samples, how they were drawn, and their pictures and files.

    A notebook shows a table and a picture. `plot` returns a figure, `to_numpy` an array in the units of the data, and
    `save` writes a file. Samples that an opened model drew have the units, names and kind of its data; the kind of
    others follows from their shape.

    Arguments:
        x: Samples of x_0 in the model's units, (n, *shape).
        nfe: Network evaluations of each sample, the largest of all batches.
        seeds: Seeds of the samples, n of them.
        times: Grid, (steps,), float64.
        trajectory: State at each time and then x_0, (steps + 1, n, *shape); None if not requested. After an early stop
            the remaining states are x_0.
        solver: Name of the sampler.
        y: Condition of the samples, n rows, or None.
        model: Opened model that drew the samples, or None if they were drawn by `sample` itself.
    """

    x: Tensor
    nfe: int
    seeds: tuple[int, ...]
    times: Tensor
    trajectory: Tensor | None = field(default=None, repr=False)
    solver: str = ""
    y: Tensor | Condition | None = None
    model: OpenedModel | None = None

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.x)

    @property
    def kind(self) -> str:
        """Kind of the data: "vector", "sequence", "image" or "volume"; empty for other shapes."""
        if self.model is not None:
            return self.model.kind
        return kind_of(tuple(self.x.shape[1:])) if 2 <= self.x.ndim <= 5 else ""

    @property
    def units(self) -> Units:
        """Units of the data; those of the model if they are unknown."""
        return Units() if self.model is None else self.model.units

    def to_columns(self) -> dict[str, np.ndarray]:
        """Return the columns of a table by name, for example for `pandas.DataFrame`.

        Returns:
            Arrays (n,): float64 numbers, int64 integers, and texts of categories as objects.
        Raises:
            InputError: If the samples were not drawn by a model of a table.
        """
        from sdekit.data.tables import columns_of

        if self.model is None or not self.model.columns:
            raise InputError("these samples have no columns: only a model that was trained on a table names them")
        return columns_of(self._data, self.model.columns)

    @property
    def class_names(self) -> list[str] | None:
        """Name of the class of each sample, or its label if the classes have no names; None without labels."""
        from sdekit.models import is_label

        if not isinstance(self.y, Tensor) or not is_label(self.y):
            return None
        names = () if self.model is None else self.model.class_names
        labels = [int(label) for label in self.y]
        return [names[label] if 0 <= label < len(names) else "none" if label < 0 else str(label) for label in labels]

    def to_numpy(self) -> np.ndarray:
        """Return the samples as an array in the units and the layout of the data.

        Returns:
            Array (n, *item), float32; latents are decoded. Without a model it is x as it is, (n, *shape).
        """
        return self._data.copy()

    @cached_property
    def _data(self) -> np.ndarray:
        x = self.x.detach().cpu()
        if self.model is not None:
            return self.model.to_data(self.x)
        array: np.ndarray = x.float().numpy() if x.dtype == torch.bfloat16 else x.numpy()
        return array

    def plot(self, n: int | None = None, *, trajectory: bool = False) -> Figure:
        """Plot samples: images in a grid, slices of volumes, lines of sequences, points or pairs of columns of vectors.

        Arguments:
            n: Number of samples to show, the first ones; None for up to 2000 vectors, 64 images, 16 sequences or
                volumes.
            trajectory: Whether to plot the states of the whole run instead, see `plot_trajectory`.
        Returns:
            Figure of matplotlib, which a notebook shows and `savefig` writes to a file.
        Raises:
            InputError: If samples of this shape have no plot, or the samples have no trajectory.
        """
        from sdekit.plotting import sample_figure

        if trajectory:
            return self.plot_trajectory()
        kind = self._plotted_kind()
        most = {"image": 64, "sequence": 16, "volume": 16}.get(kind, MOST_PLOTTED)
        n = min(len(self), most if n is None else check_count("plot: n", n, least=1))
        names = self.class_names
        captions = None if names is None else names[:n]
        options: dict[str, Any] = {"captions": captions}
        if self.model is not None:
            options |= {"channels": self.model.channel_names, "sample_rate": self.model.sample_rate}
            if self.model.columns:
                options["table"] = {name: values[:n] for name, values in self.to_columns().items()}
        return sample_figure(self._data[:n], kind=kind, units=self.units, **options)

    def plot_trajectory(self, frames: int = STRIP_TIMES) -> Figure:
        """Plot the states of a few samples from noise to x_0 as a film strip, one column for each time.

        Arguments:
            frames: Largest number of times, the first one and x_0 included, at least 2.
        Returns:
            Figure of matplotlib. States of larger standard deviation than x_0 are scaled to that of x_0.
        Raises:
            InputError: If the samples have no trajectory: `sample(..., trajectory=True)` returns it.
        """
        from sdekit.plotting import film_strip

        states, titles = self._frames(frames)
        return film_strip(states, titles, kind=self._plotted_kind(), limits=self._limits)

    def animate(self, path: str | os.PathLike[str], *, frames: int = ANIMATED_TIMES, overwrite: bool = False) -> Path:
        """Write an animation of the states from noise to x_0.

        Arguments:
            path: File to write, NAME.gif.
            frames: Largest number of times, the first one and x_0 included, at least 2.
            overwrite: Whether to replace an existing file.
        Returns:
            The file.
        Raises:
            InputError: If the samples have no trajectory, or the file exists or has another suffix.
            SdekitError: If the file cannot be written.
        """
        from sdekit.plotting import animation

        from .sample_files import check_target, write_file

        file = check_target(path, (".gif",), overwrite=overwrite)
        states, titles = self._frames(frames)
        content = animation(states, titles, kind=self._plotted_kind(), limits=self._limits)
        return write_file(file, content, overwrite=overwrite)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the samples into a file, in the format of its suffix, or into a new folder.

        Arguments:
            path: NAME.npy and NAME.csv contain the samples in the units of the data; NAME.npz also the seeds, times and
                labels; NAME.pt the tensors in the model's units, for `torch.load`; NAME.png is the picture of `plot`. A
                path without a suffix is a folder with samples.npy, pictures and sample.json.
            overwrite: Whether to replace an existing file, or files of the same names in a folder.
        Returns:
            The file or folder.
        Raises:
            InputError: If the suffix is not one of these, the file exists, or the samples do not fit the format.
            SdekitError: If the file cannot be written.
        """
        from .sample_files import save_samples

        return save_samples(self, path, overwrite=overwrite)

    def facts(self) -> dict[str, str]:
        """Describe the samples in a few words each: shape, dtype, solver, network evaluations, seeds and values.

        Returns:
            Texts by name, without the numbers of the samples.
        """
        names = self.class_names
        facts = {
            "shape": str(tuple(self.x.shape)),
            "dtype": str(self.x.dtype).removeprefix("torch."),
            "solver": self.solver,
            "nfe": str(self.nfe),
            "seeds": _ranges(self.seeds),
            "classes": "" if names is None else _listing(sorted(set(names))),
            "values": self._value_range(),
            "trajectory": "" if self.trajectory is None else f"{len(self.trajectory)} states",
        }
        return {name: text for name, text in facts.items() if text}

    def _value_range(self) -> str:
        """Return the smallest and the largest value, in the units of the data unless they have to be decoded."""
        in_model_units = self.model is not None and self.model.codec is not None
        values = self.x if in_model_units or self.model is None else torch.from_numpy(self._data)
        finite = values[values.isfinite()]
        if not len(finite):
            return "none finite" if values.numel() else ""
        text = f"{float(finite.min()):.4g} to {float(finite.max()):.4g}"
        missing = values.numel() - len(finite)
        return text + (f" ({missing} not finite)" if missing else "") + (" (latents)" if in_model_units else "")

    def __repr__(self) -> str:
        return f"Samples({', '.join(f'{name}={text}' for name, text in self.facts().items())})"

    def _repr_html_(self) -> str:
        """Return a table of the facts and a picture, without colours of its own and without external files."""
        rows = "".join(
            f'<tr><th style="text-align: left">{escape(name)}</th><td style="text-align: left">{escape(text)}</td></tr>'
            for name, text in {**self.facts(), "nfe": f"{self.nfe} network evaluations"}.items()
        )
        return f"<div><table>{rows}</table>{self._inline_picture()}</div>"

    def _inline_picture(self) -> str:
        """Return an element with a picture of the first samples, or an empty text for other shapes."""
        from base64 import b64encode

        from sdekit.plotting import figure_png

        if not self.kind:
            return ""
        content = b64encode(figure_png(self.plot(1000 if self.kind == "vector" else 16), dpi=72)).decode()
        style = "max-width: 100%; max-height: 420px; background: white"
        return f'<img alt="{escape(self.kind)} samples" style="{style}" src="data:image/png;base64,{content}">'

    @property
    def _limits(self) -> tuple[float, float] | None:
        """Values of black and white in the model's units, or None."""
        return None if self.model is None else self.model.data_range

    def _plotted_kind(self) -> str:
        if not self.kind:
            raise InputError(f"samples of shape {tuple(self.x.shape[1:])} have no plot: use to_numpy()")
        return self.kind

    def _frames(self, most: int) -> tuple[np.ndarray, list[str]]:
        """Return states (F, n, *shape) at a few times and the title of each."""
        most = check_count("frames", most, least=2)
        if self.trajectory is None:
            raise InputError("these samples have no trajectory: draw them with trajectory=True")
        count = len(self.trajectory)
        chosen = sorted({round(i * (count - 1) / (min(most, count) - 1)) for i in range(min(most, count))})
        states: np.ndarray = self.trajectory[chosen].float().cpu().numpy()
        times = [f"t = {float(t):.3g}" for t in self.times] + ["x_0"]
        return states, [times[i] for i in chosen]


def _ranges(numbers: Sequence[int], most: int = 6) -> str:
    """Write numbers as ranges: "0-63" or "3, 17, 20-29, ..."."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        elif len(parts) > most:
            break
        else:
            parts.append([number, number])
    texts = [str(first) if first == last else f"{first}-{last}" for first, last in parts]
    return _listing(texts, most)


def _listing(texts: Sequence[str], most: int = 6) -> str:
    """Return the first texts, separated by commas, and "..." if there are more."""
    return ", ".join([*texts[:most], *(["..."] if len(texts) > most else [])])
