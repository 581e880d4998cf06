"""Features of the classifier that `sdekit train-classifier` trained for a run."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.evaluation import Extractor
from sdekit.training import load_classifier, read_classifier


def classifier_features(*, run: str = "", device: str = "cpu") -> Extractor:
    """Features of a classifier of `sdekit train-classifier`: the numbers before its last layer.

    Arguments:
        run: Folder of the classifier.
        device: Device of the network.
    Returns:
        The extractor. Its name is that of the folder.
    Raises:
        InputError: If no folder is given, or if it does not contain a classifier.
    """
    if not run:
        raise InputError("features classifier: name the folder of a classifier: --features classifier:run=FOLDER")
    recipe, model = read_classifier(Path(run)), load_classifier(run, device=device)

    def extract(x: Tensor) -> Tensor:
        t = torch.tensor(model.sde.t_min, dtype=torch.float64)
        return model.features(x.to(device), t)

    name = Path(run).resolve().name
    record = {"classifier": run, "data": recipe.data.name, "steps": recipe.train.steps}
    return Extractor(name=f"classifier {name}", extract=extract, units=recipe.units, shape=recipe.shape, record=record)
