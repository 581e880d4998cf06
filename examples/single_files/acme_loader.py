"""A loader in one file: it opens a linear denoiser that was saved as an .npz file."""

import numpy as np
import torch
from torch import nn

from sdekit import VE, InputError, OpenedModel, ScoreModel, hookimpl


class Matrix(nn.Module):
    """The network x -> x W."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x, c_noise, y=None):
        return x @ self.weight


def matrix(path):
    """A model that predicts x_0 as x W, with W (d, d) from the array "weight" of an .npz file."""
    try:
        weight = np.load(path, allow_pickle=False)["weight"]
    except Exception as error:  # numpy raises exceptions of many types for files of other formats
        raise InputError(f"{path} is not an .npz file with an array 'weight' ({error})") from error
    model = ScoreModel(Matrix(torch.from_numpy(weight).float()), VE(), "x0")
    return OpenedModel(model=model.eval(), shape=(len(weight),), facts={"rows": len(weight)})


matrix.recognises = lambda path: path.suffix == ".npz"  # so that a bare PATH is answered with acme-matrix:PATH


@hookimpl
def sdekit_loaders():
    return {"acme-matrix": matrix}
