"""A backend in one file: it runs the network in bfloat16."""

import torch

from sdekit import hookimpl
from sdekit.backends import PreparedNetwork


def bfloat16(network):
    """Autocast to bfloat16; the result has the dtype of x."""

    def run(x, c_noise, y=None):
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            return network(x, c_noise, y).to(x.dtype)

    return PreparedNetwork(call=run, dtype=torch.bfloat16)  # the dtype sets the tolerance of the comparison


@hookimpl
def sdekit_backends():
    return {"acme-bfloat16": bfloat16}
