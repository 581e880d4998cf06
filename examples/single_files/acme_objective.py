"""An objective in one file: denoising in which items of little noise weigh less, as Hang et al. 2023 suggest.

In Python: `Trainer(replace(recipe, objective="acme-min-snr"), data, out)`, after `load_plugin_file`.
"""

from sdekit import hookimpl
from sdekit.training import Denoising

GAMMA = 5.0


class MinSNR(Denoising):
    """Denoising with the weight min(1, 5 rho^2), where 1 / rho^2 is the signal-to-noise ratio of an item."""

    def loss(self, module, inputs):
        losses = super().loss(module, inputs)
        rho = self.sde.rho(inputs[1])  # inputs: x0, t, eps, y, mean
        return losses * (GAMMA * rho**2).clamp(max=1).to(losses)


@hookimpl
def sdekit_objectives():
    return {"acme-min-snr": MinSNR}
