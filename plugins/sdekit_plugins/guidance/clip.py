"""Clip: limit the denoised x_0 to the range of the data."""

from typing import Any

from torch import Tensor

from sdekit.distributions import GaussianMixture
from sdekit.guidance import require_data_range
from sdekit.processes import SDE, Denoiser, evaluate_denoiser


def clip(sde: SDE, denoise: Denoiser, *, low: float | None = None, high: float | None = None) -> Denoiser:
    """Clip: limit the denoised x_0 to the range of the data, min(max(D(x, y), low), high).

    Values inside of the range are unchanged. Large guidance scales and few steps lead to values outside of the range of
    pixels. As the last guidance, it clips the result of all others. One network evaluation.

    Arguments:
        sde: Process of the denoiser.
        denoise: The denoiser.
        low: Smallest value of x_0 in the model's units. The command line uses the range that the model records.
        high: Largest value of x_0 in the model's units, above low.
    Returns:
        The clipped denoiser.
    Raises:
        InputError: If the range is missing or empty.
    Source:
        Saharia et al. 2022, section 2.3 (static thresholding).
    """
    low, high = require_data_range("clip", low, high)

    def guided(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        return evaluate_denoiser(denoise, x, t, y).clamp(low, high)

    return guided


def _trial(sde: SDE, mixture: GaussianMixture) -> Any:
    """Options and exact result for `sdekit verify`: the clipped exact denoiser."""
    from sdekit.verify import Trial  # imported here, because sampling does not need it

    base = mixture.denoiser(sde)
    return Trial({"low": -0.5, "high": 0.5}, lambda x, t, y=None: base(x, t, y).clamp(-0.5, 0.5))


clip.trial = _trial  # type: ignore[attr-defined]
