from .linear_solvers import (
    conjugate_gradients as conjugate_gradients,
    regularized_least_squares as regularized_least_squares,
)
from .measured_part import (
    replace_measured as replace_measured,
)
from .moment_matching import (
    MODE_VARIANCE_FRACTION as MODE_VARIANCE_FRACTION,
    LinearizedDenoiser as LinearizedDenoiser,
    Pull as Pull,
    Weigh as Weigh,
    bound as bound,
    posterior_mean_guidance as posterior_mean_guidance,
)
from .problem import (
    Problem as Problem,
)
from .replacement_sampler import (
    ReplacementSampler as ReplacementSampler,
)
from .restoration import (
    build_restorer as build_restorer,
    estimate_noise as estimate_noise,
    restore as restore,
)
