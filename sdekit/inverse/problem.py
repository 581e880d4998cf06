"""An inverse problem: a measurement y = A(x_0) + noise_std z."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from sdekit.errors import InputError
from sdekit.inverse.operators import LinearOperator, Operator, check_linear


@dataclass(frozen=True, eq=False)
class Problem:
    """y = A(x_0) + noise_std z: what was measured, how, and how well; all in the model's units.

    measurement: (*operator.measured), one for all samples. noise_std: standard deviation of the noise in each of its
    numbers, >= 0. Raises InputError for a measurement that the operator cannot have made, and for an operator that is
    not linear where it says so, or whose adjoint is another's (the dot-product test).
    """

    operator: Operator
    measurement: Tensor
    noise_std: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.noise_std < math.inf:
            raise InputError(f"the noise's standard deviation must be at least 0 and finite, got {self.noise_std}")
        object.__setattr__(self, "measurement", self.operator.check(self.measurement))
        if isinstance(self.operator, LinearOperator):
            check_linear(self.operator)

    def residual(self, x0: Tensor) -> Tensor:
        """y - A(x_0), (B, *measured)."""
        return self.measurement.to(x0) - self.operator.apply(x0)

    def linear(self, method: str) -> LinearOperator:
        """The operator, for a method that needs a linear one; InputError where it is not."""
        if not isinstance(self.operator, LinearOperator):
            raise InputError(
                f"{method} needs a linear operator, and {type(self.operator).__name__} is not: use dps, which takes "
                "any differentiable one"
            )
        return self.operator
