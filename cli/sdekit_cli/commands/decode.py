"""`sdekit decode`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sdekit.errors import InputError
from sdekit_cli.likelihood.evaluation_options import FlowOptions, ModelOptions, Overwrite
from sdekit_cli.options.option_classes import with_options
from sdekit_cli.options.shared_options import AsJson, load_plugin_files
from sdekit_cli.terminal.console import note, print_json

if TYPE_CHECKING:
    from torch import Tensor

    from sdekit.models import OpenedModel
    from sdekit_cli.likelihood.latent_files import Latents


@with_options(
    changes={
        "label": {
            "annotation": Annotated[
                str | None,
                typer.Option(metavar="NAME,...", help="Class to decode as (default: the class of each item)."),
            ]
        }
    }
)
def decode(
    *,
    latents: Annotated[Path, typer.Option(help="latents.npy of `sdekit encode`, or its folder.")],
    out: Annotated[Path, typer.Option(help="Folder to write: samples.npy, decode.json.")],
    flow: FlowOptions,
    model: ModelOptions,
    overwrite: Overwrite = False,
    json: AsJson = False,
) -> None:
    """Map latents to data by the probability flow, the inverse of `sdekit encode`.

    With --label, latents of a class-conditional model are decoded as another class, which edits the images.

    Examples:

      sdekit decode run --latents latents --out decoded

      sdekit decode run --latents latents --label 8 --out as-eights
    """
    from sdekit_cli.likelihood.evaluated_model import EvaluatedModel
    from sdekit_cli.likelihood.latent_files import Latents, check_out, pictures, read_latents, write_latents
    from sdekit_cli.likelihood.shared_batches import compute_together

    load_plugin_files(model.plugin, quiet=json)
    check_out(out, overwrite=overwrite)
    if model.batch_size < 1:
        raise InputError(f"--batch-size must be at least 1, got {model.batch_size}")
    import torch

    from sdekit.likelihood import decode as decode_by_flow
    from sdekit.runs import npy_bytes
    from sdekit.sampling import samples_as_csv

    solver = flow.build()
    subject = EvaluatedModel.open(model, quiet=json)
    opened = subject.opened
    solver.check(subject.number_type)
    source = read_latents(latents, opened)
    y = subject.condition(_stored(source, opened), range(len(source.z)), str(latents))

    def compute(part: slice) -> Tensor:
        """Return the data of some latents, one flat row each."""
        z = subject.place(torch.from_numpy(source.z[part]))
        x = decode_by_flow(
            opened.model.sde,
            opened.model,
            z,
            y=None if y is None else y[part],
            guidance=subject.guidance,
            solver=solver,
        )
        return torch.from_numpy(opened.to_data(x)).double().flatten(1)

    rows = compute_together(compute, len(source.z), model.batch_size, "decode", quiet=json)
    if rows is None:  # only the first of several processes writes
        return
    layout = opened.to_data(torch.zeros(1, *opened.shape, device=subject.device)).shape[1:]
    data = rows.float().view(-1, *layout).numpy()
    labels = y.tolist() if isinstance(y, torch.Tensor) and opened.condition == "label" else None
    record = {"run": model.run, "latents": str(latents), "solver": flow.solver, "steps": flow.steps,
              "tolerance": flow.tolerance, "labels": labels, **subject.record}  # fmt: skip
    columns = min(len(data), 8)
    files = pictures(
        opened, [data[i : i + columns] for i in range(0, len(data) // columns * columns, columns)], "grid.png"
    )
    files["samples.npy"] = npy_bytes(data)
    if opened.columns:
        classes = None if labels is None else [opened.class_names[label] for label in labels]
        files["samples.csv"] = samples_as_csv(opened, data, classes)
    write_latents(out, Latents(source.z, record), "decode.json", files, overwrite=overwrite)
    if json:
        print_json(record | {"samples": str(out / "samples.npy")})
        return
    note("decoded {} latents into [bold]{}[/]", len(data), out / "samples.npy")


def _stored(source: Latents, opened: OpenedModel) -> Tensor | None:
    """Return the labels or conditions in the record of the latents, or None if it has none for each latent."""
    import numpy as np
    import torch

    values = source.record.get("labels" if opened.condition == "label" else "conditions")
    if not isinstance(values, list) or len(values) != len(source.z):
        return None
    try:
        stored = torch.as_tensor(np.asarray(values))
    except (TypeError, ValueError) as error:
        raise InputError(f"the labels in the record of the latents are damaged ({error}): add --label") from error
    return stored.long() if opened.condition == "label" else stored.float()
