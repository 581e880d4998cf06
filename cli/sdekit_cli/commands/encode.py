"""`sdekit encode`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sdekit.errors import InputError
from sdekit_cli.likelihood.evaluation_options import DataOptions, FlowOptions, ModelOptions, Overwrite
from sdekit_cli.options.option_classes import with_options
from sdekit_cli.options.shared_options import AsJson, load_plugin_files
from sdekit_cli.terminal.console import note, print_json

if TYPE_CHECKING:
    from torch import Tensor

SHOWN = 8
"""Number of items in the picture of the round trip."""


@with_options
def encode(
    *,
    out: Annotated[Path, typer.Option(help="Folder to write: latents.npy, encode.json.")],
    data: DataOptions,
    flow: FlowOptions,
    model: ModelOptions,
    overwrite: Overwrite = False,
    json: AsJson = False,
) -> None:
    """Map data to latents by the probability flow, and report the error of mapping them back.

    Writes latents.npy, which is standard normal noise if the data are typical of the model, and round-trip.png, which
    shows images above their decoded latents. `sdekit decode` maps latents to data; --solver ddim --steps N is DDIM
    inversion.

    Examples:

      sdekit encode run --data images:faces -n 8 --out latents

      sdekit encode run --solver ddim --steps 50 --out inverted
    """
    import numpy as np

    from sdekit_cli.likelihood.evaluated_model import EvaluatedModel
    from sdekit_cli.likelihood.latent_files import Latents, check_out, pictures, write_latents
    from sdekit_cli.likelihood.shared_batches import compute_together

    load_plugin_files(model.plugin, quiet=json)
    check_out(out, overwrite=overwrite)
    if model.batch_size < 1:
        raise InputError(f"--batch-size must be at least 1, got {model.batch_size}")
    import torch

    from sdekit.likelihood import decode, encode as encode_by_flow

    solver = flow.build()
    subject = EvaluatedModel.open(model, quiet=json)
    opened = subject.opened
    solver.check(subject.number_type)
    items = data.open(opened)
    subject.check_items(items, model.batch_size)
    sde, denoise = opened.model.sde, opened.model
    shown: list[np.ndarray] = []

    def compute(part: slice) -> Tensor:
        """Return the squared error of the round trip and the latent of some items, one row each."""
        x, raw, of_data = items.read(part)
        y = subject.condition(of_data, [int(i) for i in items.indices[part]], items.spec)
        x = subject.place(x)
        z = encode_by_flow(sde, denoise, x, y=y, guidance=subject.guidance, solver=solver)
        back = decode(sde, denoise, z, y=y, guidance=subject.guidance, solver=solver)
        if not shown:
            shown.extend((raw[:SHOWN], opened.to_data(back[:SHOWN])))
        squares = (back - x).double().square().flatten(1).sum(1)
        return torch.cat([squares[:, None].cpu(), z.flatten(1).double().cpu()], 1)

    rows = compute_together(compute, len(items), model.batch_size, "encode", quiet=json)
    if rows is None:  # only the first of several processes writes
        return
    y = None if subject.states_condition else items.conditions()
    z = rows[:, 1:].float().view(-1, *opened.shape)
    error = float((rows[:, 0].sum() / z.numel()).sqrt())
    own = None if y is None else y.tolist()
    record = {
        "run": model.run,
        "data": items.spec,
        "items": items.indices.tolist(),
        "labels": own if opened.condition == "label" else None,
        "conditions": own if opened.condition in ("numbers", "embedding", "sequence") else None,
        "solver": flow.solver,
        "tolerance": flow.tolerance,
        "steps": flow.steps,
        **subject.record,
        "units": subject.units,
        "round_trip_rmse": error,
        "latent_mean": float(z.mean()),
        "latent_std": float(z.std()),
    }
    files = pictures(opened, shown, "round-trip.png")
    write_latents(out, Latents(z.numpy(), record), "encode.json", files, overwrite=overwrite)
    if json:
        short = {k: v for k, v in record.items() if k not in ("items", "labels", "conditions")}
        print_json(short | {"latents": str(out / "latents.npy")})
        return
    note(
        "encoded {} {}: round-trip error {:.2g} (RMSE in the model's units; {} have standard deviation {:.3g})",
        *(len(items), items.part, error, subject.units, opened.data_std),
    )
    note(
        "latents of mean {:.3f} and standard deviation {:.3f} are in [bold]{}[/]",
        *(record["latent_mean"], record["latent_std"], out / "latents.npy"),
    )
