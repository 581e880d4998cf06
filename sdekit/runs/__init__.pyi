from .files import (
    REMEDY as REMEDY,
    check_recipe as check_recipe,
    load_json as load_json,
    load_tensors as load_tensors,
    save_json as save_json,
    save_tensors as save_tensors,
    step_of as step_of,
    write_atomically as write_atomically,
)
from .layout import (
    CHECKPOINT as CHECKPOINT,
    CONFIG as CONFIG,
    EXPORT as EXPORT,
    METRICS as METRICS,
    MODEL as MODEL,
    PREVIEWS as PREVIEWS,
    SNAPSHOTS as SNAPSHOTS,
    TUNED as TUNED,
    snapshot_name as snapshot_name,
)
from .lock import (
    FAR as FAR,
    LOCK as LOCK,
    FolderLock as FolderLock,
)
from .recipe import (
    LEGACY_DEFAULTS as LEGACY_DEFAULTS,
    PLAIN as PLAIN,
    Component as Component,
    Recipe as Recipe,
)
from .requirements import (
    FILES as FILES,
    check_data as check_data,
    check_files as check_files,
)
from .run import (
    Run as Run,
    is_export as is_export,
    load_checkpoint as load_checkpoint,
    load_run as load_run,
    load_run_folder as load_run_folder,
    read_config as read_config,
    read_metrics as read_metrics,
    read_recipe as read_recipe,
)
from .run_folder import (
    check_resumed as check_resumed,
    checkpoint_status as checkpoint_status,
    is_begun as is_begun,
    lock_folder as lock_folder,
    model_step as model_step,
    prepare_folder as prepare_folder,
    when_written as when_written,
)
from .schema import (
    COMPONENT as COMPONENT,
    FIELDS as FIELDS,
    FORMAT as FORMAT,
    NAMES as NAMES,
    TABLE as TABLE,
    TEXT as TEXT,
    TRAIN as TRAIN,
    UNITS as UNITS,
    Check as Check,
    check_fields as check_fields,
    check_format as check_format,
    is_count as is_count,
    is_number as is_number,
    is_row as is_row,
)
from .tied_weights import (
    load_tied as load_tied,
    untie as untie,
)
from .training_options import (
    MOST_NUMBERS as MOST_NUMBERS,
    TrainOptions as TrainOptions,
    check_batch as check_batch,
    check_seed as check_seed,
)
