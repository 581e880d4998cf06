from .array_files import (
    CHANNELS as CHANNELS,
    ITEM_KEYS as ITEM_KEYS,
    LABEL_KEYS as LABEL_KEYS,
    array as array,
)
from .file_names import (
    PackedNames as PackedNames,
    printable as printable,
)
from .idx_files import (
    BYTE as BYTE,
    IMAGES as IMAGES,
    mnist as mnist,
)
from .image_decoding import (
    FILTER as FILTER,
    FORMATS as FORMATS,
    GREY as GREY,
    ORIENTATION as ORIENTATION,
    STARTS as STARTS,
    SWAPPED as SWAPPED,
    Header as Header,
    decode as decode,
    header as header,
)
from .image_files import (
    HEADER_BYTES as HEADER_BYTES,
    SCAN_LIMIT as SCAN_LIMIT,
    SPLITS as SPLITS,
    ImageDataset as ImageDataset,
    images as images,
)
from .image_sources import (
    EXTENSIONS as EXTENSIONS,
    FolderSource as FolderSource,
    Source as Source,
    ZipSource as ZipSource,
    open_source as open_source,
)
from .table_files import (
    NEW_LINE as NEW_LINE,
    table as table,
)
