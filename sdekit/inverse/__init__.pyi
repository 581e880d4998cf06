from .imputation import (
    IMPUTATION_METHOD as IMPUTATION_METHOD,
    ROWS_AT_ONCE as ROWS_AT_ONCE,
    imputation_problem as imputation_problem,
    impute as impute,
    row_seeds as row_seeds,
    with_known as with_known,
)
from .linear_solvers import (
    conjugate_gradients as conjugate_gradients,
    regularized_least_squares as regularized_least_squares,
)
from .moment_matching import (
    MODE_VARIANCE_FRACTION as MODE_VARIANCE_FRACTION,
    Adjoint as Adjoint,
    LinearizedDenoiser as LinearizedDenoiser,
    posterior_mean_guidance as posterior_mean_guidance,
    shortening_factor as shortening_factor,
)
from .problem import (
    Problem as Problem,
)
from .replacement_sampling import (
    ReplacementSampler as ReplacementSampler,
)
from .restoration import (
    build_restorer as build_restorer,
    estimate_noise as estimate_noise,
    restore as restore,
)
