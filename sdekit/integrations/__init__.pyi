from . import (
    diffusers as diffusers,
    k_diffusion as k_diffusion,
)
from .scheduler_config import (
    PREDICTION_TYPES as PREDICTION_TYPES,
    TrainedModel as TrainedModel,
    read_scheduler_config as read_scheduler_config,
)
