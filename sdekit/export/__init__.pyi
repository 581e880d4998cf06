from .export_cache import CachedExport as CachedExport
from .export_formats import (
    FORMATS as FORMATS,
)
from .exported_model import (
    check_format as check_format,
    export_model as export_model,
    format_of as format_of,
    load_export as load_export,
)
from .hub_upload import (
    check_hub as check_hub,
    hub_repository as hub_repository,
    upload as upload,
)
from .model_card import (
    model_card as model_card,
)
from .portable_exports import (
    PORTABLE as PORTABLE,
)
