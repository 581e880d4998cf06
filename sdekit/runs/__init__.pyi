from .export_folder import (
    check_export_folder as check_export_folder,
    staged_export as staged_export,
)
from .files import (
    REMEDY as REMEDY,
    check_recipe as check_recipe,
    load_json as load_json,
    load_tensors as load_tensors,
    load_tied as load_tied,
    recorded_checksum as recorded_checksum,
    save_json as save_json,
    save_tensors as save_tensors,
    step_of as step_of,
    untie as untie,
    write_atomically as write_atomically,
)
from .layout import (
    CHECKPOINT as CHECKPOINT,
    CONFIG as CONFIG,
    EXPORT as EXPORT,
    EXPORTED_NETWORKS as EXPORTED_NETWORKS,
    LOCK as LOCK,
    METRICS as METRICS,
    MODEL as MODEL,
    PREVIEWS as PREVIEWS,
    SNAPSHOTS as SNAPSHOTS,
    TUNED as TUNED,
    RunFolder as RunFolder,
    snapshot_name as snapshot_name,
)
from .lock import (
    FolderLock as FolderLock,
)
from .recipe import (
    LEGACY_DEFAULTS as LEGACY_DEFAULTS,
    PLAIN as PLAIN,
    Component as Component,
    Recipe as Recipe,
)
from .results import (
    check_results_folder as check_results_folder,
    npy_bytes as npy_bytes,
    staged_results as staged_results,
    write_results as write_results,
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
    when_written as when_written,
)
from .run_folder import (
    check_resumed as check_resumed,
    checkpoint_status as checkpoint_status,
    is_begun as is_begun,
    lock_folder as lock_folder,
    model_step as model_step,
    prepare_folder as prepare_folder,
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
from .training_options import (
    MOST_NUMBERS as MOST_NUMBERS,
    TrainOptions as TrainOptions,
    check_batch as check_batch,
    check_seed as check_seed,
)
