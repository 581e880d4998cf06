"""A method for inverse problems in one file: `sdekit restore RUN --method acme-pull --plugin acme_restorer.py ...`."""

from sdekit import hookimpl
from sdekit.inverse import posterior_mean_guidance, regularized_least_squares


def pull(problem, *, data_std: float = 1.0):
    """Pseudo-inverse guidance: D(x) + Cov[x_0 | x_t] A* (v A A* + noise_std^2 I)^-1 (y - A D(x)).

    v is the variance of x_0 given x_t if the data were N(0, data_std^2 I).

    Arguments:
        problem: The inverse problem, with a linear operator.
        data_std: Standard deviation of the data, above 0.
    Source:
        Song et al. 2023.
    """
    operator, noise_variance = problem.linear("acme-pull"), problem.noise_std**2

    def gradient(linearized, residual, adjoint):
        return regularized_least_squares(operator, residual, linearized.gaussian_variance(data_std), noise_variance)

    return posterior_mean_guidance(problem, gradient)


@hookimpl
def sdekit_restorers():
    return {"acme-pull": pull}
