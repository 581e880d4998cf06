"""A method for inverse problems in one file: `sdekit restore RUN --method acme-pull --plugin acme_restorer.py ...`."""

from sdekit import hookimpl
from sdekit.inverse import posterior_mean_guidance, regularized_least_squares


def pull(problem, *, data_std: float = 1.0):
    """D(x) + Cov[x_0 | x_t] A* (v A A* + noise_std^2 I)^-1 (y - A D(x)), v as if the data were N(0, data_std^2 I).

    Source: Song et al. 2023.
    """
    operator, noise = problem.linear("acme-pull"), problem.noise_std**2
    return posterior_mean_guidance(
        problem, lambda local, r, pull: regularized_least_squares(operator, r, local.isotropic(data_std), noise)
    )


@hookimpl
def sdekit_restorers():
    return {"acme-pull": pull}
