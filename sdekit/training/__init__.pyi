from .augmentation import (
    augment as augment,
)
from .batches import (
    Batches as Batches,
)
from .ema import (
    EMA as EMA,
)
from .engines.ddp import (
    DDP as DDP,
)
from .engines.engine import (
    Engine as Engine,
)
from .engines.single_process import (
    SingleProcess as SingleProcess,
)
from .evaluation_data import (
    open_real_data as open_real_data,
)
from .monitoring.diagnosis import (
    Diagnosis as Diagnosis,
    diagnose as diagnose,
)
from .monitoring.logger import (
    Logger as Logger,
    tracker_run_id as tracker_run_id,
)
from .monitoring.trackers import (
    LoggerChoice as LoggerChoice,
    LoggerWarning as LoggerWarning,
    check_loggers as check_loggers,
)
from .noise_levels import (
    draw as draw,
    times as times,
)
from .objective import (
    Objective as Objective,
)
from .objectives.classification import (
    CLASSIFIER_DEFAULTS as CLASSIFIER_DEFAULTS,
    Classification as Classification,
    classifier_recipe as classifier_recipe,
    is_classifier as is_classifier,
    load_classifier as load_classifier,
    read_classifier as read_classifier,
)
from .objectives.denoising import (
    Denoising as Denoising,
)
from .planning import (
    default_training as default_training,
    load_data as load_data,
    load_run_data as load_run_data,
    plan as plan,
)
from .posterior_mean import (
    PosteriorMean as PosteriorMean,
)
from .step_seeds import (
    seed_from as seed_from,
)
from .train_function import (
    train as train,
)
from .trainer import (
    PreviewWarning as PreviewWarning,
    Step as Step,
    Trainer as Trainer,
)
