from .composition import (
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
    Guidance as Guidance,
    GuidedDenoiser as GuidedDenoiser,
    NamedGuidance as NamedGuidance,
    denoise_pair as denoise_pair,
    format_component as format_component,
    require_condition as require_condition,
    require_data_range as require_data_range,
    require_finite as require_finite,
    tilt as tilt,
    unguided as unguided,
)
