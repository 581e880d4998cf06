"""`sdekit edit`."""

from pathlib import Path
from typing import Annotated

import typer

from sdekit.errors import InputError
from sdekit_cli.sampling.measurement import as_images, before_after, in_data_units, read_sample
from sdekit_cli.sampling.sampling_options import SamplingOptions, sampling_command
from sdekit_cli.sampling.session import SamplingSession


@sampling_command
def edit(
    asked: SamplingOptions,
    image: Annotated[Path, typer.Option(help="An image, or a .npy file of one sample in the data's units.")],
    strength: Annotated[
        float | None, typer.Option(help="How much noise, 0 to 1; 0.5, the default, is as much as there is signal.")
    ] = None,
    t: Annotated[float | None, typer.Option("--t", help="The time to noise to, instead of --strength.")] = None,
) -> None:
    """Noise an image to some level and denoise it again (SDEdit): variations of it, or a sketch made real.

    Writes samples.npy (in the data's units), edit.json, and for images grid.png, images/ and before-after.png, the
    image and its first variations. Any solver will do; without --solver it is ddim.

    Examples:

      sdekit edit run --image 7.png --strength 0.4 --out variations

      sdekit edit run --image sketch.png --strength 0.7 --label 3 --guidance cfg:scale=2 --out threes
    """
    if strength is not None and t is not None:
        raise InputError("give --strength or --t, not both")
    session = SamplingSession(asked)
    session.open()

    import torch

    from sdekit.plotting import image_grid, png
    from sdekit.sampling import add_noise, time_of_strength

    recipe, sde = session.run.recipe, session.run.model.sde
    given = read_sample(image, recipe, "--image")
    if t is None:
        strength = 0.5 if strength is None else strength
        t = float(time_of_strength(sde, strength, recipe.data_std))
    inner = torch.from_numpy((given.numpy() - recipe.units.shift) / recipe.units.scale)
    until, x = add_noise(sde, inner, t, session.seeds, device=session.device)
    drawn = session.draw(session.sampler, name=session.solver, sde=until, x=x)
    if drawn is None:
        return
    also = {}
    before, after = as_images(given[None], recipe), as_images(in_data_units(drawn.x, recipe), recipe)
    if before is not None and after is not None:
        columns = [before[0], *after[:6]]
        also["before-after.png"] = png(image_grid(before_after(columns), len(columns)))
    session.finish(
        drawn,
        {"image": str(image), "strength": strength, "t": until.t_max, **session.solving},
        f"variations from t = {until.t_max:.3g}",
        keys=("solver", "t", "steps", "nfe", "n", "seconds"),
        name="edit.json",
        also=also,
    )
