"""A guidance in one file: classifier-free guidance that acts at high noise only."""

from sdekit import hookimpl


def early(sde, denoise, *, scale: float = 1.0, least_rho: float = 0.0):
    """D(x) + scale (D(x, y) - D(x)) where rho > least_rho, the conditional D(x, y) below.

    Source: Kynkaanniemi et al. 2024.
    """

    def guided(x, t, y=None):
        if y is None:
            return denoise(x, t)
        conditional = denoise(x, t, y)
        if (sde.rho(t) < least_rho).all():
            return conditional
        plain = denoise(x, t)
        return plain + scale * (conditional - plain)

    return guided


@hookimpl
def sdekit_guidances():
    return {"acme-early": early}
