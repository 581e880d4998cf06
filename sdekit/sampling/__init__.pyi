from .brownian import (
    LENGTH as LENGTH,
    LEVELS as LEVELS,
    MOST as MOST,
    Brownian as Brownian,
    Floats as Floats,
    Keys as Keys,
    Singles as Singles,
    clock as clock,
    clock_time as clock_time,
)
from .diagnostics import (
    EXPLODED as EXPLODED,
    Result as Result,
    exploded as exploded,
    guidance_label as guidance_label,
    raise_if_exploded as raise_if_exploded,
    with_diagnostics as with_diagnostics,
)
from .grids import (
    auto as auto,
    cosine as cosine,
    karras as karras,
    log_snr as log_snr,
    quadratic as quadratic,
    sqrt_log_snr as sqrt_log_snr,
    uniform as uniform,
)
from .noise import (
    Noise as Noise,
    SeedNoise as SeedNoise,
    check_seeds as check_seeds,
)
from .sampler import (
    Grid as Grid,
    Sampler as Sampler,
    default_grid_of as default_grid_of,
)
from .sampling_loop import (
    Samples as Samples,
    sample as sample,
)
from .sdedit import (
    add_noise as add_noise,
    edit as edit,
    time_of_strength as time_of_strength,
)
