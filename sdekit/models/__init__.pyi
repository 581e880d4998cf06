from .classifier import (
    Classifier as Classifier,
)
from .codec import (
    Codec as Codec,
    Encoder as Encoder,
    PromptWarning as PromptWarning,
)
from .conditioning import (
    Condition as Condition,
    Conditioning as Conditioning,
    concatenate_conditions as concatenate_conditions,
    condition_parts as condition_parts,
    drop_conditions as drop_conditions,
    is_label as is_label,
    is_null as is_null,
    null_condition as null_condition,
)
from .label_names import (
    FoundLabel as FoundLabel,
    describe_classes as describe_classes,
    find_label as find_label,
)
from .network_input import (
    CLOCKS as CLOCKS,
    NetworkInput as NetworkInput,
)
from .opening import (
    Loader as Loader,
    OpenedModel as OpenedModel,
    example_conditions as example_conditions,
    open_model as open_model,
    open_with as open_with,
    recognises as recognises,
    split_loader_options as split_loader_options,
)
from .predictions import (
    PREDICTIONS as PREDICTIONS,
)
from .score_model import (
    ScoreModel as ScoreModel,
)
