"""A network in one file: `sdekit train --network acme-linear --plugin acme_network.py --out RUN`."""

from math import prod

import torch
from torch import nn

from sdekit import hookimpl


class Linear(nn.Module):
    """One hidden layer that receives the sample, the noise level and the label.

    Arguments:
        shape: Shape of one sample.
        classes: Number of labels, 0 for none.
        width: Size of the hidden layer.
    """

    def __init__(self, shape, classes=0, *, width: int = 64):
        super().__init__()
        self.options = {"width": width}
        self.first = nn.Linear(prod(shape) + 1, width)
        self.label = nn.Embedding(classes, width) if classes else None
        self.last = nn.Linear(width, prod(shape))

    def forward(self, x, c_noise, y=None):
        h = self.first(torch.cat([x.flatten(1), c_noise[:, None]], 1))
        if y is not None:  # a row of -1 has no label
            h = h + self.label(y.clamp(min=0)) * (y >= 0)[:, None]
        return self.last(nn.functional.silu(h)).view_as(x)


@hookimpl
def sdekit_networks():
    return {"acme-linear": Linear}
