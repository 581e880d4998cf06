from .accepted_objects import (
    ACCEPTED as ACCEPTED,
    dataset_from_object as dataset_from_object,
    object_spec as object_spec,
)
from .hub_columns import (
    dataset_from_hub as dataset_from_hub,
)
