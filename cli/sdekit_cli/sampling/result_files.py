"""What a drawing command leaves in --out."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdekit_cli.terminal.json_values import json_values

from .result_folder import IMAGES, staged

if TYPE_CHECKING:
    import numpy as np

    from sdekit.runs import Run
    from sdekit.sampling import Samples


def write(
    out: Path,
    run: Run,
    drawn: Samples,
    record: dict[str, Any],
    *,
    name: str = "sample.json",
    also: Mapping[str, bytes] | None = None,
    overwrite: bool = False,
) -> Path | None:
    """samples.npy, the pictures that suit the data, and the record, all at once; returns the picture to look at.

    name: of the record. also: other files to write, by name; of those before-after.png is the one to look at.
    overwrite: replace earlier results.
    """
    import numpy as np

    from sdekit.plotting import image_grid, picture, png, scatter, to_pixels
    from sdekit.runs import save_json

    data = run.recipe.units.to_data(drawn.x)
    look = None
    with staged(out, overwrite=overwrite) as new:
        np.save(new / "samples.npy", data)
        for other, content in (also or {}).items():
            (new / other).write_bytes(content)
        if run.recipe.kind == "image":
            pixels, look = to_pixels(data, run.recipe.units), "grid.png"
            (new / look).write_bytes(png(image_grid(pixels[:1024])))
            (new / IMAGES).mkdir()
            for seed, image in zip(drawn.seeds, pixels, strict=True):
                (new / IMAGES / f"{seed}.png").write_bytes(png(picture(image)))
        elif run.recipe.shape == (2,):
            look = "scatter.png"
            (new / look).write_bytes(scatter(data))
        save_json(new / name, json_values(record))
    look = "before-after.png" if "before-after.png" in (also or {}) else look
    return None if look is None else out / look


def npy(array: np.ndarray) -> bytes:
    """An array as a .npy file, float32."""
    import numpy as np

    content = io.BytesIO()
    np.save(content, np.ascontiguousarray(array, dtype=np.float32))
    return content.getvalue()


def version(package: str) -> str:
    """Of an installed distribution."""
    from importlib import metadata

    return metadata.version(package)
