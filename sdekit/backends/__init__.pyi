from .backend import (
    TOLERANCE as TOLERANCE,
    Backend as Backend,
    BackendNetwork as BackendNetwork,
    BackendWarning as BackendWarning,
    NetworkCall as NetworkCall,
    PreparedNetwork as PreparedNetwork,
    apply_backend as apply_backend,
    cache_folder as cache_folder,
    needs_gradient as needs_gradient,
    no_gradients_message as no_gradients_message,
)
