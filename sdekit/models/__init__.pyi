from .classifier import (
    Classifier as Classifier,
)
from .conditioning import (
    UNCONDITIONAL as UNCONDITIONAL,
    Conditioning as Conditioning,
    drop_conditions as drop_conditions,
    is_null as is_null,
    null_condition as null_condition,
)
from .predictions import (
    PREDICTIONS as PREDICTIONS,
    Coefficients as Coefficients,
)
from .score_model import (
    ScoreModel as ScoreModel,
)
