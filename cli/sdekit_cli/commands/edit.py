"""`sdekit edit`."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from sdekit.errors import InputError
from sdekit_cli.sampling.sampling_options import SamplingOptions, sampling_command


@sampling_command
def edit(
    *,
    image: Annotated[Path, typer.Option(help="An image, or a .npy file of one sample in the units of the data.")],
    strength: Annotated[
        float | None,
        typer.Option(help="Amount of noise, from 0 to 1; at 0.5, the default, it is as strong as the signal."),
    ] = None,
    t: Annotated[float | None, typer.Option("--t", help="Time to add noise up to, instead of --strength.")] = None,
    resize: Annotated[
        bool, typer.Option("--resize", help="Crop and resize the image to the size of the samples.")
    ] = False,
    options: SamplingOptions,
) -> None:
    """Add noise to an image and denoise it again (SDEdit): variations of it, or a sketch made realistic.

    Writes samples.npy (in the units of the data), edit.json, and for images grid.png, images/ and before-after.png,
    which shows the image and the first samples. Any solver works; the default is ddim.

    Examples:

      sdekit edit run --image 7.png --strength 0.4 --out variations

      sdekit edit run --image photo.jpg --resize --strength 0.4 --out variations

      sdekit edit run --image sketch.png --strength 0.7 --label 3 --guidance cfg:scale=2 --out threes
    """
    from sdekit_cli.sampling.measurement import as_images, in_data_units, read_sample, side_by_side
    from sdekit_cli.sampling.sample_results import write_samples
    from sdekit_cli.sampling.session import SamplingSession

    if strength is not None and t is not None:
        raise InputError("give --strength or --t, not both")
    session = SamplingSession(options)
    session.open()

    import torch

    from sdekit.plotting import image_grid, item_grid, png
    from sdekit.sampling import add_noise, time_of_strength

    opened, sde = session.opened, session.opened.model.sde
    original = read_sample(image, opened, "--image", resize=resize)
    if t is None:
        strength = 0.5 if strength is None else strength
        t = float(time_of_strength(sde, strength, opened.data_std))
    x0 = torch.from_numpy(opened.units.model_values(original.numpy()[None])[0])
    with torch.no_grad():
        x0 = opened.encode(x0[None].to(session.device, torch.float32))[0]
    truncated, x = add_noise(sde, x0, t, session.seeds, device=session.device)
    samples = session.draw(session.sampler, name=session.solver, sde=truncated, x=x)
    if samples is None:  # only the first of several processes writes
        return
    also = {}
    before, after = as_images(original[None], opened), as_images(in_data_units(samples.x, opened), opened)
    if before is not None and after is not None:
        columns = [before[0], *after[:6]]
        also["before-after.png"] = png(image_grid(side_by_side(columns), len(columns)))
    elif opened.kind in ("sequence", "volume"):
        x = in_data_units(samples.x[:3], opened)
        also["before-after.png"] = item_grid(
            torch.cat([original[None].double(), x]).numpy(),
            kind=opened.kind,
            units=replace(opened.units, layout="same"),
            channels=opened.channel_names,
            captions=["before", *(f"sample {seed}" for seed in samples.seeds[: len(x)])],
            sample_rate=opened.sample_rate,
        )
    write_samples(
        session,
        samples,
        {"image": str(image), "resize": resize, "strength": strength, "t": truncated.t_max, **session.solver_record},
        f"variations from t = {truncated.t_max:.3g}",
        keys=("solver", "t", "steps", "nfe", "n", "seconds"),
        name="edit.json",
        also=also,
    )
