from .data_fingerprint import (
    fingerprint as fingerprint,
    is_same_data as is_same_data,
)
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
)
from .json_files import (
    format_json as format_json,
    load_fields as load_fields,
    parse_json as parse_json,
    read_bounded as read_bounded,
)
from .layout import (
    CHECKPOINT as CHECKPOINT,
    CONFIG as CONFIG,
    EVALUATION as EVALUATION,
    EXPORT as EXPORT,
    EXPORTED_NETWORKS as EXPORTED_NETWORKS,
    LOCK as LOCK,
    METRICS as METRICS,
    MODEL as MODEL,
    PREVIEWS as PREVIEWS,
    REPORT as REPORT,
    TRACKERS as TRACKERS,
    TUNED as TUNED,
    RunFolder as RunFolder,
    snapshot_name as snapshot_name,
)
from .lock import (
    FolderLock as FolderLock,
)
from .network_limits import (
    SMALL as SMALL,
    build_bounded as build_bounded,
    build_recorded as build_recorded,
)
from .recipe import (
    Component as Component,
    Recipe as Recipe,
)
from .results import (
    IMPUTED as IMPUTED,
    check_results_folder as check_results_folder,
    check_writable as check_writable,
    keep_result as keep_result,
    npy_bytes as npy_bytes,
    write_evaluation as write_evaluation,
    write_imputation as write_imputation,
    write_or_keep as write_or_keep,
    write_results as write_results,
)
from .run import (
    Run as Run,
    check_saved_data as check_saved_data,
    is_export as is_export,
    is_run as is_run,
    load_checkpoint as load_checkpoint,
    load_run as load_run,
    read_metrics as read_metrics,
    read_recipe as read_recipe,
    when_written as when_written,
)
from .run_folder import (
    check_resumed as check_resumed,
    check_run_folder as check_run_folder,
    checkpoint_status as checkpoint_status,
    is_begun as is_begun,
    lock_folder as lock_folder,
    model_step as model_step,
    recover_run as recover_run,
    remove_new_run as remove_new_run,
    staged_run as staged_run,
)
from .schema import (
    FORMAT as FORMAT,
    ClassifierRecord as ClassifierRecord,
    CountersRecord as CountersRecord,
    ExportAbout as ExportAbout,
    ExportRecord as ExportRecord,
    LoggersRecord as LoggersRecord,
    TunedRecord as TunedRecord,
    check_fields as check_fields,
    check_format as check_format,
    is_count as is_count,
    is_number as is_number,
    read_record as read_record,
)
from .staging import (
    names_in as names_in,
    recover as recover,
    staged as staged,
    write_atomically as write_atomically,
)
from .training_options import (
    TrainOptions as TrainOptions,
    check_batch as check_batch,
    check_seed as check_seed,
    train_options as train_options,
)
