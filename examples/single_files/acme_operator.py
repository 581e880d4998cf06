"""An operator in one file: `sdekit restore RUN --operator acme-differences --plugin acme_operator.py ...`."""

from sdekit import InputError, hookimpl
from sdekit.inverse.operators import LinearOperator


class Differences(LinearOperator):
    """The operator x_(i + 1) - x_i along the last axis; the adjoint and the SVD are computed from `apply`."""

    def __init__(self, shape):
        self.shape = tuple(shape)
        self.measured = (*self.shape[:-1], self.shape[-1] - 1)

    def apply(self, x):
        return x.diff(dim=-1)


def differences(shape):
    """Differences of neighbours along the last axis.

    Arguments:
        shape: Shape of a sample.
    """
    if shape[-1] < 2:
        raise InputError(f"acme-differences: needs two numbers in a row, and a sample here has shape {tuple(shape)}")
    return Differences(shape)


@hookimpl
def sdekit_operators():
    return {"acme-differences": differences}
