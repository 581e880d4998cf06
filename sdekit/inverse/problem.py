"""An inverse problem: a measurement y = A(x_0) + noise_std z."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sdekit.arguments import check_instance, check_number
from sdekit.errors import InputError
from sdekit.inverse.operators import LinearOperator, Operator, check_linear


@dataclass(frozen=True, eq=False)
class Problem:
    """An inverse problem y = A(x_0) + noise_std z in the model's units, with standard normal z.

    Arguments:
        operator: The operator A.
        measurement: The measurement y, (*operator.measured), the same for all samples.
        noise_std: Standard deviation of the noise in each number of the measurement, at least 0.
    Raises:
        InputError: If the measurement does not have the shape of the operator's results, or a `LinearOperator` is not
            linear, or its `adjoint` is not the adjoint (dot-product test).
    """

    operator: Operator
    measurement: Tensor
    noise_std: float = 0.0

    def __post_init__(self) -> None:
        check_instance("Problem: operator", self.operator, Operator, "an operator of sdekit.inverse.operators")
        number = check_number("Problem: the noise's standard deviation noise_std", self.noise_std, least=0)
        object.__setattr__(self, "noise_std", number)
        object.__setattr__(self, "measurement", self.operator.check(self.measurement))
        if isinstance(self.operator, LinearOperator):
            check_linear(self.operator)

    def residual(self, x0: Tensor) -> Tensor:
        """Return y - A(x_0), (B, *measured), for x0 (B, *)."""
        return self.measurement.to(x0) - self.operator.apply(x0)

    def linear(self, method: str) -> LinearOperator:
        """Return the operator for `method`, which needs a linear one; raises InputError if it is not linear."""
        if not isinstance(self.operator, LinearOperator):
            raise InputError(
                f"{method} needs a linear operator, and {type(self.operator).__name__} is not: use dps, which takes "
                "any differentiable one"
            )
        return self.operator
