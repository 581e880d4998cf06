from .composition import (
    check_shape as check_shape,
    compose as compose,
    guidance_cost as guidance_cost,
    resolve_guidance as resolve_guidance,
)
from .context import (
    SamplingContext as SamplingContext,
    count_calls as count_calls,
    current_context as current_context,
)
from .guidance import (
    LARGEST_TILT_RHO as LARGEST_TILT_RHO,
    Guidance as Guidance,
    GuidedDenoiser as GuidedDenoiser,
    NamedGuidance as NamedGuidance,
    check_finite as check_finite,
    denoise_pair as denoise_pair,
    format_component as format_component,
    require_condition as require_condition,
    tilt as tilt,
    unguided as unguided,
)
