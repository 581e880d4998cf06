"""UniPC: an exponential Adams method in log-SNR, with a corrector that costs no call."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.integrators import Multistep, MultistepCoefficients, data_prediction, nodes, polynomial_weights
from sdekit.processes import SDE


@dataclass(frozen=True, kw_only=True)
class UniPC(Multistep):
    """UniPC: a deterministic multistep predictor-corrector in log-SNR, one call per step.

        x_s = (sigma_s / sigma_t) x_t + sigma_s int D d(1/rho),    D a polynomial in log rho

    The predictor's polynomial goes through the last `order` values of D. As soon as D at s is known, the corrector
    repeats the step with this value too. The polynomials are integrated exactly, except if only one difference of D
    enters (the second-order predictor and the first-order corrector): this difference is multiplied by B(h) / 2, with h
    the step in -log rho.

    Arguments:
        order: Order of the predictor, 1 to 3. The corrector increases the order by one; the first steps limit it to 3.
        variant: "bh1" is B(h) = h, "bh2" is B(h) = e^h - 1.
    Source:
        Zhao et al. 2023, Algorithms 5-8 and section 3.4.
    """

    order: int = 3
    variant: Literal["bh1", "bh2"] = "bh2"

    default_steps = 25
    default_grid = "log-snr"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.order not in (1, 2, 3):
            raise InputError(f"unipc: order must be 1, 2 or 3, got {self.order}")
        if self.variant not in ("bh1", "bh2"):
            raise InputError(f"unipc: variant must be 'bh1' or 'bh2', got {self.variant!r}")

    def coefficients(self, sde: SDE, times: Tensor) -> MultistepCoefficients:
        form = data_prediction(sde, times)
        predictor = polynomial_weights(form, torch.log, self.order)
        corrector = polynomial_weights(form, torch.log, self.order + 1, implicit=True)
        h, dc = -nodes(form.rho, torch.log).diff(), form.c.diff()
        half_b = (form.c[1:] * h if self.variant == "bh1" else dc) / 2  # B(h) / 2 in units of c = 1 / rho
        # the steps with one difference: of the predictor the second one (all later ones at order 2), of the corrector
        # the first one (all at order 1)
        second = slice(1, None if self.order == 2 else 2)
        first = slice(0, None if self.order == 1 else 1)
        if self.order > 1:
            slope = (half_b[1:] * h[1:] / h[:-1])[: len(predictor[second])]
            predictor[second, 0], predictor[second, 1] = dc[second] + slope, -slope
        corrector[first, 0], corrector[first, 1] = half_b[first], (dc - half_b)[first]
        return form.coefficients(predictor, corrector)
