"""What a drawing command leaves in --out."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .folder import clear

if TYPE_CHECKING:
    import numpy as np

    from sdekit.sampling import Samples
    from sdekit.training.run import Run


def write(
    out: Path,
    run: Run,
    drawn: Samples,
    record: dict[str, Any],
    *,
    name: str = "sample.json",
    also: Mapping[str, bytes] | None = None,
) -> Path | None:
    """samples.npy, the pictures that suit the data, and last the record; returns the picture to look at.

    name: of the record. also: other files to write, by name; of those before-after.png is the one to look at.
    """
    import numpy as np

    from sdekit.drawing import image_grid, picture, png, scatter, to_pixels
    from sdekit.training.checkpoint import save_json, write_atomically

    data = run.recipe.units.to_data(drawn.x)
    look = None
    clear(out)
    try:
        np.save(out / "samples.npy", data)
        for other, content in (also or {}).items():
            (out / other).write_bytes(content)
        if run.recipe.kind == "image":
            pixels = to_pixels(data, run.recipe.units)
            look = out / "grid.png"
            look.write_bytes(png(image_grid(pixels[:1024])))
            (out / "images").mkdir()
            for seed, image in zip(drawn.seeds, pixels, strict=True):
                write_atomically(out / "images" / f"{seed}.png", png(picture(image)))
        elif run.recipe.shape == (2,):
            look = out / "scatter.png"
            look.write_bytes(scatter(data))
    except OSError as error:
        from sdekit.errors import SdekitError

        raise SdekitError(f"could not write to {out}: {error.strerror or error}") from error
    save_json(out / name, record)
    return out / "before-after.png" if "before-after.png" in (also or {}) else look


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
