from .brownian import (
    Brownian as Brownian,
    path_time as path_time,
    time_at as time_at,
)
from .finite_start import (
    start_at_finite_rho as start_at_finite_rho,
)
from .grids import (
    auto as auto,
    cosine as cosine,
    karras as karras,
    log_snr as log_snr,
    quadratic as quadratic,
    shift as shift,
    spaced_knots as spaced_knots,
    sqrt_log_snr as sqrt_log_snr,
    uniform as uniform,
)
from .noise import (
    Noise as Noise,
    SeedNoise as SeedNoise,
    check_seeds as check_seeds,
)
from .sample_files import (
    samples_as_csv as samples_as_csv,
)
from .sampler import (
    Grid as Grid,
    Sampler as Sampler,
)
from .samples import (
    Samples as Samples,
)
from .sampling_loop import (
    MOST_SAMPLES as MOST_SAMPLES,
    resolve_for_data as resolve_for_data,
    sample as sample,
)
from .sdedit import (
    add_noise as add_noise,
    edit as edit,
    time_of_strength as time_of_strength,
)
from .watching import (
    Callback as Callback,
    Progress as Progress,
    SamplingStep as SamplingStep,
    StopSampling as StopSampling,
    progress_line as progress_line,
)
