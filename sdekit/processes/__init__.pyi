from .coordinates import (
    FlowCoordinates as FlowCoordinates,
)
from .cosine import (
    Cosine as Cosine,
)
from .denoiser import (
    Denoiser as Denoiser,
    evaluate_denoiser as evaluate_denoiser,
)
from .edm import (
    EDM as EDM,
)
from .rectified_flow import (
    RectifiedFlow as RectifiedFlow,
)
from .sde import (
    LARGEST_RHO as LARGEST_RHO,
    SDE as SDE,
    as_time as as_time,
    best_float as best_float,
    broadcast as broadcast,
    check_process as check_process,
    check_time_shape as check_time_shape,
    same_process as same_process,
)
from .tabulated import (
    TabulatedVP as TabulatedVP,
)
from .transitions import (
    diffuse as diffuse,
    renoise as renoise,
    renoise_weights as renoise_weights,
)
from .truncated import (
    TruncatedSDE as TruncatedSDE,
)
from .ve import (
    VE as VE,
)
from .vp import (
    VP as VP,
    SubVP as SubVP,
)
