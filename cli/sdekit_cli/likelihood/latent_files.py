"""Files of latents: latents.npy with the record of how they were made, and pictures of what they decode to."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdekit.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from sdekit.models import OpenedModel

NAMES = ("latents.npy", "samples.npy", "samples.csv",
         "encode.json", "decode.json", "interpolate.json", "round-trip.png", "grid.png",
         "strip.png", "strip.gif")  # fmt: skip


@dataclass(frozen=True)
class Latents:
    """Latents with their record.

    Arguments:
        z: Latents (n, *shape), float32.
        record: JSON-ready facts: the run, the labels, and how the latents were made.
    """

    z: np.ndarray
    record: Mapping[str, Any]


def check_out(out: Path, *, overwrite: bool) -> list[str]:
    """Check that a folder contains nothing but files of these commands.

    Arguments:
        out: Folder, which need not exist.
        overwrite: Whether earlier files may be replaced.
    Returns:
        Names of the earlier files.
    Raises:
        InputError: If other files are in the folder, or earlier ones without `overwrite`.
    """
    from sdekit.runs import names_in, recover

    recover(out)
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file: choose a folder")
    names = names_in(out)
    foreign = [name for name in names if name not in NAMES]
    if foreign:
        raise InputError(f"--out {out} contains other files ({foreign[0]}, ...): choose another folder")
    if names and not overwrite:
        raise InputError(f"--out {out} already contains {names[0]}: choose another folder, or add --overwrite")
    return names


def write_latents(
    out: Path, latents: Latents, record_name: str, files: Mapping[str, bytes], *, overwrite: bool
) -> None:
    """Write latents, their record and other files into a folder, all at once.

    Arguments:
        out: Folder, which is created.
        latents: Latents and record.
        record_name: File name of the record.
        files: Contents of other files by name.
        overwrite: Whether earlier files may be replaced.
    Raises:
        InputError: If the folder contains other files.
        SdekitError: If the files cannot be written.
    """
    import numpy as np

    from sdekit.runs import format_json, staged

    with staged(out, lambda: check_out(out, overwrite=overwrite), description="new latents") as new:
        np.save(new / "latents.npy", latents.z.astype(np.float32))
        (new / record_name).write_text(format_json(dict(latents.record)) + "\n", encoding="utf-8")
        for name, content in files.items():
            (new / name).write_bytes(content)


def read_latents(path: Path, opened: OpenedModel) -> Latents:
    """Read latents.npy, and the record beside it if there is one.

    Arguments:
        path: The file, or its folder.
        opened: The model that will decode them.
    Returns:
        Latents of the model's shape.
    Raises:
        InputError: If the file cannot be read, or the latents have another shape or are not finite.
    """
    import numpy as np

    from sdekit.data.formats import read_npy
    from sdekit.runs import recover

    recover(path if path.is_dir() else path.parent)
    file = path / "latents.npy" if path.is_dir() else path
    try:
        z = np.array(read_npy(str(file), str(file)), dtype=np.float32)
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read as latents ({error})") from error
    z = z[None] if z.shape == tuple(opened.shape) else z
    if z.shape[1:] != tuple(opened.shape) or not len(z):
        raise InputError(
            f"{file} has shape {z.shape}, but {opened.path} needs (n, {', '.join(map(str, opened.shape))})"
        )
    if not np.isfinite(z).all():
        row = int(np.flatnonzero(~np.isfinite(z.reshape(len(z), -1)).all(1))[0])
        raise InputError(f"{file}: row {row} contains a number that is not finite")
    record: object = {}
    beside = file.with_name("encode.json")
    if beside.is_file():
        try:
            record = json.loads(beside.read_bytes())
        except ValueError as error:
            raise InputError(
                f"{beside} is damaged ({error}): move it away to use the latents without labels"
            ) from error
    return Latents(z, record if isinstance(record, dict) else {})


def pictures(opened: OpenedModel, rows: Sequence[np.ndarray], name: str) -> dict[str, bytes]:
    """Return a picture with one row for each array of items, or nothing for vectors.

    Arguments:
        opened: The model.
        rows: Arrays (n, *item) in the units of the data, of one length.
        name: File name of the picture.
    Returns:
        Contents of the picture by its name.
    """
    import numpy as np

    if opened.kind == "vector":
        return {}
    from sdekit.plotting import item_grid

    grid = item_grid(
        np.concatenate([np.asarray(row) for row in rows]),
        kind=opened.kind,
        units=opened.units,
        columns=len(rows[0]),
        channels=opened.channel_names,
        sample_rate=opened.sample_rate,
    )
    return {name: grid}


def animation(opened: OpenedModel, data: np.ndarray) -> dict[str, bytes]:
    """Return strip.gif, which shows images one after the other and back, or nothing for other data.

    Arguments:
        opened: The model.
        data: Images (n, *item) in the units of the data.
    Returns:
        Contents of the animation by its name.
    """
    if opened.kind != "image":
        return {}
    from sdekit.plotting import picture, to_pixels

    frames = [picture(image).convert("RGB") for image in to_pixels(data, opened.units)]
    scale = max(1, 128 // max(frames[0].size))
    frames = [frame.resize((frame.width * scale, frame.height * scale), 0) for frame in frames]
    frames += frames[-2:0:-1]
    content = io.BytesIO()
    frames[0].save(content, "GIF", save_all=True, append_images=frames[1:], duration=120, loop=0)
    return {"strip.gif": content.getvalue()}
