from .augmentation import (
    SYMMETRIES as SYMMETRIES,
    augment as augment,
)
from .batches import (
    Batches as Batches,
)
from .classifier_trainer import (
    KIND as KIND,
    LEVELS as LEVELS,
    ClassifierOptions as ClassifierOptions,
    ClassifierTrainer as ClassifierTrainer,
    Progress as Progress,
    is_classifier as is_classifier,
    load_classifier as load_classifier,
    read_classifier as read_classifier,
)
from .ema import (
    EMA as EMA,
    gamma as gamma,
)
from .noise_levels import (
    Draw as Draw,
    draw as draw,
    times as times,
)
from .optimizer import (
    adamw as adamw,
    learning_rate as learning_rate,
)
from .planning import (
    DATA_STD_ITEMS as DATA_STD_ITEMS,
    EXACT_NUMBERS as EXACT_NUMBERS,
    FEW_DEFAULTS as FEW_DEFAULTS,
    GROUPS as GROUPS,
    LARGE_DEFAULTS as LARGE_DEFAULTS,
    SMALL_DEFAULTS as SMALL_DEFAULTS,
    SMALL_ITEM as SMALL_ITEM,
    TINY as TINY,
    load_data as load_data,
    plan as plan,
)
from .posterior_mean import (
    NUMBERS_MOST as NUMBERS_MOST,
    PosteriorMean as PosteriorMean,
)
from .previews import (
    STEPS as STEPS,
    PreviewWarning as PreviewWarning,
    preview as preview,
)
from .randomness import (
    dropped_conditions as dropped_conditions,
    seed_from as seed_from,
    seeded as seeded,
)
from .state import (
    MOMENTS as MOMENTS,
    PARTS as PARTS,
    State as State,
)
from .step_inputs import (
    Inputs as Inputs,
    inputs as inputs,
)
from .trainer import (
    HELD_OUT_MOST as HELD_OUT_MOST,
    Step as Step,
    Trainer as Trainer,
    train as train,
)
