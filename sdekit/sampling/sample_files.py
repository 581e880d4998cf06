"""Files of samples: .npy, .npz, .csv, .png, .pt, or a folder with several of them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sdekit.arguments import check_path
from sdekit.errors import InputError, SdekitError

if TYPE_CHECKING:
    import numpy as np

    from sdekit.data import Column
    from sdekit.models import OpenedModel

    from .samples import Samples


def save_samples(samples: Samples, path: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """Write samples into a file or a folder, see `Samples.save`."""
    target = Path(check_path("save", path)).expanduser()
    if target.is_dir() or not target.suffix:
        return _save_folder(samples, target, overwrite=overwrite)
    target = check_target(target, tuple(FORMATS), overwrite=overwrite)
    return write_file(target, FORMATS[target.suffix.lower()](samples), overwrite=overwrite)


def check_target(path: str | os.PathLike[str], suffixes: Sequence[str], *, overwrite: bool) -> Path:
    """Return the path of a file to write.

    Raises InputError if its suffix is not one of `suffixes`, or the file exists and must not be replaced.
    """
    file = Path(check_path("save", path)).expanduser()
    if file.suffix.lower() not in suffixes:
        folder = ", or a path without a suffix for a folder" if len(suffixes) > 1 else ""
        raise InputError(f"{file}: the suffix must be one of {', '.join(suffixes)}{folder}")
    if file.is_dir():
        raise InputError(f"{file} is a folder: choose another name")
    if file.exists() and not overwrite:
        raise InputError(f"{file} exists: choose another name, or replace it with overwrite=True")
    return file


def write_file(file: Path, content: bytes, *, overwrite: bool) -> Path:
    """Write a file and the folders above it, and return its path. A new file that cannot be completed is removed."""
    with _errors_name(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("wb" if overwrite else "xb") as opened:
            try:
                opened.write(content)
            except OSError:
                file.unlink()
                raise
    return file


@contextmanager
def _errors_name(path: Path) -> Iterator[None]:
    """Context manager that turns an error of the operating system into one that names the path."""
    try:
        yield
    except FileExistsError as error:
        raise InputError(f"{path} exists, or a folder above it is a file: choose another name") from error
    except OSError as error:
        raise SdekitError(f"{path} cannot be written ({error.strerror or error}): choose another path") from error


def _save_folder(samples: Samples, folder: Path, *, overwrite: bool) -> Path:
    """Write samples.npy, pictures, a table of columns with names, and sample.json into a folder."""
    from sdekit.plotting import picture, png, sample_pictures, to_pixels

    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: choose another folder, or one of the suffixes {', '.join(FORMATS)}")
    contents = {"samples.npy": _npy(samples), "sample.json": _json(samples)}
    if samples.model is not None and samples.model.columns:
        contents["samples.csv"] = _csv(samples)
    if samples.kind:
        data, units, captions = samples.to_numpy(), samples.units, samples.class_names
        channels: tuple[str, ...] = ()
        rate: float | None = None
        table: tuple[Column, ...] = ()
        if (model := samples.model) is not None:
            channels, rate, table = model.channel_names, model.sample_rate, model.columns
        contents |= sample_pictures(
            data, kind=samples.kind, units=units, columns=channels, captions=captions, sample_rate=rate, table=table
        )
        if samples.kind == "image":
            pixels = zip(samples.seeds, to_pixels(data, units), strict=True)
            contents |= {f"images/{seed}.png": png(picture(image)) for seed, image in pixels}
    existing = [name for name in contents if (folder / name).exists()]
    if existing and not overwrite:
        raise InputError(f"{folder} contains {existing[0]}: choose another folder, or replace it with overwrite=True")
    for name, content in contents.items():
        write_file(folder / name, content, overwrite=overwrite)
    return folder


def _labels(samples: Samples) -> np.ndarray | None:
    """Return the label of each sample, (n,), or None."""
    if samples.class_names is None or not isinstance(samples.y, Tensor):
        return None
    labels: np.ndarray = samples.y.cpu().numpy()
    return labels


def _npy(samples: Samples) -> bytes:
    import numpy as np

    content = BytesIO()
    np.save(content, samples.to_numpy())
    return content.getvalue()


def _npz(samples: Samples) -> bytes:
    """Contents of a .npz file with the names that the data set `array:` reads: x and, with labels, y."""
    import numpy as np

    content, labels = BytesIO(), _labels(samples)
    arrays = {"x": samples.to_numpy(), "seeds": np.array(samples.seeds), "times": samples.times.numpy()}
    if labels is not None:
        arrays["y"] = labels
    np.savez(content, allow_pickle=False, **arrays)
    return content.getvalue()


def _csv(samples: Samples) -> bytes:
    """Contents of a table with a header: one row for each sample and one column for each number."""
    from sdekit.data import Column
    from sdekit.data.tables import table_as_csv

    if samples.kind != "vector":
        raise InputError(
            f"a .csv file has one row of numbers for each sample, and these samples have shape "
            f"{tuple(samples.x.shape[1:])}: save them as .npy or .npz"
        )
    data, classes = samples.to_numpy(), samples.class_names
    if samples.model is not None and samples.model.columns:
        return samples_as_csv(samples.model, data, classes)
    columns = [Column(name=f"x{i}") for i in range(data.shape[1])]
    return table_as_csv(data, columns, None if classes is None else {"class": classes})


def samples_as_csv(
    opened: OpenedModel,
    data: np.ndarray,
    classes: Sequence[str] | None = None,
    texts: Mapping[str, str] | None = None,
) -> bytes:
    """Return samples of a table as a CSV file with the columns of the data.

    Arguments:
        opened: Model of a table.
        data: Samples (N, d) in the units of the data.
        classes: Name of the class of each sample, or None. They are the last column, under the name of the column of
            labels in the data.
        texts: Texts of columns that are the same in all rows, by name, or None.
    Returns:
        Contents of the file.
    """
    from sdekit.data.tables import table_as_csv

    recipe = getattr(opened, "recipe", None)
    label = "class" if recipe is None else recipe.data.options.get("label") or "class"
    return table_as_csv(data, opened.columns, None if classes is None else {label: classes}, texts)


def _png(samples: Samples) -> bytes:
    from sdekit.plotting import figure_png

    figure = samples.plot()
    return figure_png(figure, dpi=int(figure.dpi))


def _pt(samples: Samples) -> bytes:
    """Contents of a file of torch with tensors and numbers only, which `torch.load` reads with weights_only=True."""
    content = BytesIO()
    fields = {"x": samples.x, "nfe": samples.nfe, "seeds": list(samples.seeds), "times": samples.times}
    fields |= {"trajectory": samples.trajectory} if samples.trajectory is not None else {}
    fields |= {"y": samples.y} if isinstance(samples.y, Tensor) else {}
    torch.save({name: value.cpu() if isinstance(value, Tensor) else value for name, value in fields.items()}, content)
    return content.getvalue()


def _json(samples: Samples) -> bytes:
    record = {
        "solver": samples.solver,
        "nfe": samples.nfe,
        "n": len(samples),
        "seeds": list(samples.seeds),
        "times": samples.times.tolist(),
        "label_names": samples.class_names,
        "run": None if samples.model is None else str(samples.model.path),
    }
    lines = (f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in record.items())
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


FORMATS: dict[str, Callable[[Samples], bytes]] = {".npy": _npy, ".npz": _npz, ".csv": _csv, ".png": _png, ".pt": _pt}
"""Function for each suffix that returns the content of the file."""
