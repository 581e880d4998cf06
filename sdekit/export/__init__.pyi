from .export_cache import (
    Cached as Cached,
)
from .export_formats import (
    FORMATS as FORMATS,
    LARGEST_PROTOBUF as LARGEST_PROTOBUF,
    Format as Format,
    machine as machine,
)
from .exported_run import (
    NETWORKS as NETWORKS,
    TOLERANCE as TOLERANCE,
    VERSION as VERSION,
    Exported as Exported,
    check_out as check_out,
    deviation as deviation,
    examples as examples,
    export_run as export_run,
    format_of as format_of,
    load_export as load_export,
)
from .traced_program import (
    BATCH as BATCH,
    Inputs as Inputs,
    program as program,
    quiet as quiet,
)
