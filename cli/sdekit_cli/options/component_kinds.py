"""Kinds of components as users write them: purposes, other names, and the values of --kind."""

from __future__ import annotations

from sdekit.errors import InputError
from sdekit.registry import KINDS, kind_name

PURPOSES = {
    "sde": ("Process that turns data into noise.", "sdekit train --process NAME"),
    "sampler": ("Method that turns noise into samples.", "sdekit sample RUN --solver NAME"),
    "grid": ("Rule that places the times of the steps of a sampler.", "sdekit sample RUN --grid NAME"),
    "guidance": (
        "Change of the denoiser that steers samples, such as to a class.",
        "sdekit sample RUN --guidance NAME",
    ),
    "operator": ("Measurement of data, which `restore` inverts.", "sdekit restore RUN --operator NAME"),
    "restorer": ("Method that draws samples given a measurement.", "sdekit restore RUN --method NAME"),
    "network": ("Network that is trained to denoise.", "sdekit train --network NAME"),
    "backend": ("Way to run the network of a trained model.", "sdekit sample RUN --backend NAME"),
    "dataset": ("Data to train on or to compare with.", "sdekit train --data NAME"),
    "metric": ("Number that compares samples with data.", "sdekit evaluate RUN --metric NAME"),
    "features": ("Features of images, on which metrics are computed.", "sdekit evaluate RUN --features NAME"),
    "loader": ("Reader of models that other programs saved.", "sdekit sample NAME:PATH"),
    "objective": ("Loss that a training minimizes.", "Trainer(..., objective=...) in Python"),
    "logger": ("Tracker that shows the progress of a training.", "sdekit train --logger NAME"),
}
"""Purpose of each kind of component, and how to use a component of it."""

SYNONYMS = {"process": "sde", "solver": "sampler"}
"""Maps other names of kinds to those of the registry."""


def registry_kind(name: str | None, *others: str) -> str | None:
    """Return the registry's name of a kind of component.

    Arguments:
        name: Kind as users write it, also in the plural and in upper case, or None.
        others: Valid names that are not kinds of the registry.
    Returns:
        The kind; None for None.
    Raises:
        InputError: If there is no such kind.
    """
    if name is None:
        return None
    lower = name.lower()
    for form in (lower, f"{lower}s", lower.removesuffix("s"), lower.removesuffix("es")):
        if (kind := SYNONYMS.get(form, form)) in (*KINDS, *others):
            return kind
    from sdekit.registry import unknown_name

    raise InputError(unknown_name("kind", name, [*map(kind_name, KINDS), *others], "Kinds"))
