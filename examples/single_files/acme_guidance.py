"""A guidance in one file: classifier-free guidance that acts at high noise only."""

from sdekit import hookimpl


def early(sde, denoise, *, scale: float = 1.0, least_rho: float = 0.0):
    """Classifier-free guidance at high noise: D(x) + scale (D(x, y) - D(x)) if rho >= least_rho, else D(x, y).

    Arguments:
        scale: 1 is the conditional and 0 the unconditional model.
        least_rho: Smallest noise level sigma / alpha with guidance.
    Source:
        Kynkaanniemi et al. 2024.
    """

    def guided(x, t, y=None):
        if y is None:
            return denoise(x, t)
        conditional = denoise(x, t, y)
        if (sde.rho(t) < least_rho).all():
            return conditional
        unconditional = denoise(x, t)
        return unconditional + scale * (conditional - unconditional)

    return guided


@hookimpl
def sdekit_guidances():
    return {"acme-early": early}
