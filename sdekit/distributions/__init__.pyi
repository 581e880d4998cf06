from .full_covariance_mixture import (
    FullCovarianceMixture as FullCovarianceMixture,
)
from .gaussian_mixture import (
    GaussianMixture as GaussianMixture,
)
