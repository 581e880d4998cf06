"""The denoiser: the function that connects models, guidance and samplers."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor


class Denoiser(Protocol):
    """A callable `denoise(x, t, y=None) -> E[x_0 | x_t = x, y]`.

    Every model, guided model and exact solution is one. A plain function or a lambda is a denoiser too. A denoiser with
    the signature `(x, t)` supports no condition: callers pass y only if there is a condition (see `evaluate_denoiser`).

    A denoiser may have the attribute `data_std`, the standard deviation of the data in the model's units, as
    `ScoreModel` and the denoisers of mixtures do. `sample` then scales the noise levels of samplers and grids by it.

    The annotations `*args` and `**kwargs` let the type checker accept both signatures.
    """

    def __call__(self, x: Tensor, t: Tensor, /, *args: Any, **kwargs: Any) -> Tensor:
        """Return the expected x_0 given x_t, called as `denoise(x, t)` or `denoise(x, t, y)`.

        Arguments:
            x: Noisy samples x_t, (B, *).
            t: Time of all samples, (), or of each one, (B,), float64.
            args: The conditions y, (B, ...), or nothing.
            kwargs: Not used.
        Returns:
            E[x_0 | x_t = x, y], (B, *), in the dtype and on the device of x.
        """
        ...


def evaluate_denoiser(denoise: Denoiser, x: Tensor, t: Tensor, y: Any = None) -> Tensor:
    """Call a denoiser with a condition if there is one, and otherwise as `denoise(x, t)`.

    Arguments:
        denoise: The denoiser.
        x: Noisy samples x_t, (B, *).
        t: Times, () or (B,).
        y: Conditions, (B, ...), or None.
    Returns:
        E[x_0 | x_t = x, y], (B, *).
    """
    return denoise(x, t) if y is None else denoise(x, t, y)
