"""UniPC: an exponential Adams method in log-SNR whose corrector costs no call."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.integrators import (
    IntegralForm,
    Multistep,
    MultistepCoefficients,
    data_prediction,
    nodes,
    polynomial_weights,
)
from sdekit.processes import SDE


@dataclass(frozen=True, kw_only=True)
class UniPC(Multistep):
    """Predicts with a polynomial in log rho through the last `order` x_0, and repeats the step with the next x_0 too.

    The polynomials are integrated exactly, except where only one difference enters (the second-order predictor, the
    first-order corrector): there it is multiplied by B(h) / 2. variant: "bh1" is B(h) = h, "bh2" B(h) = e^h - 1 (of
    the paper; in x_0, B(-h) against alpha_s), h the step in -log rho. order: 1 to 3, of the predictor; the corrector
    adds one to it, which the start leaves up to a total of 3.
    Source: Zhao et al. 2023, Algorithms 5-8 and section 3.4.
    """

    order: int = 3
    variant: Literal["bh1", "bh2"] = "bh2"

    default_steps = 25
    default_grid = "log-snr"

    def __post_init__(self) -> None:
        if self.order not in (1, 2, 3):
            raise InputError(f"unipc: order must be 1, 2 or 3, got {self.order}")
        if self.variant not in ("bh1", "bh2"):
            raise InputError(f"unipc: variant must be 'bh1' or 'bh2', got {self.variant!r}")

    def plan(self, sde: SDE, times: Tensor) -> MultistepCoefficients:
        frame = data_prediction(sde, times)
        predictor = polynomial_weights(frame, torch.log, self.order)
        corrector = polynomial_weights(frame, torch.log, self.order + 1, ahead=True)
        h, whole = -nodes(frame, torch.log).diff(), frame.clock.diff()
        half = self._half(frame, h, whole)
        # one difference enters the predictor's second step (all later ones at order 2), the corrector's first (order 1)
        second = slice(1, None if self.order == 2 else 2)
        first = slice(0, None if self.order == 1 else 1)
        if self.order > 1:
            slope = (half[1:] * h[1:] / h[:-1])[: len(predictor[second])]
            predictor[second, 0], predictor[second, 1] = whole[second] + slope, -slope
        corrector[first, 0], corrector[first, 1] = half[first], (whole - half)[first]
        return MultistepCoefficients(frame, predictor, corrector)

    def _half(self, frame: IntegralForm, h: Tensor, whole: Tensor) -> Tensor:
        """B / 2 in units of the clock, (n,)."""
        return (frame.clock[1:] * h if self.variant == "bh1" else whole) / 2
