from .export_cache import CachedExport as CachedExport
from .export_formats import (
    FORMATS as FORMATS,
)
from .exported_model import (
    export_model as export_model,
    format_of as format_of,
    load_export as load_export,
)
