from .arrays.array_files import (
    LoadedArrays as LoadedArrays,
    array as array,
    dataset_from_arrays as dataset_from_arrays,
)
from .arrays.array_layout import (
    KindChoice as KindChoice,
    LayoutChoice as LayoutChoice,
)
from .arrays.numpy_files import (
    read_npy as read_npy,
)
from .idx_files import (
    mnist as mnist,
)
from .image_decoding import (
    ImageHeader as ImageHeader,
    convert_image as convert_image,
    decode_alpha as decode_alpha,
    decode_image as decode_image,
    parse_size as parse_size,
    read_image_header as read_image_header,
)
from .image_files import (
    ImageDataset as ImageDataset,
    dataset_from_images as dataset_from_images,
    images as images,
)
from .image_notes import (
    is_deep as is_deep,
)
from .image_sources import (
    ImageBytes as ImageBytes,
)
from .regular_files import (
    check_regular as check_regular,
    read_regular as read_regular,
)
from .sequences.one_sequence import (
    is_sequence_file as is_sequence_file,
    read_sequence as read_sequence,
)
from .sequences.sequence_files import (
    sequences as sequences,
)
from .sequences.sequence_writing import (
    encode_sequences as encode_sequences,
)
from .table_dialect import (
    is_missing as is_missing,
    parse_number as parse_number,
)
from .table_files import (
    table as table,
)
from .table_layout import (
    TableLayout as TableLayout,
    header_rows as header_rows,
    read_layout as read_layout,
    table_rows as table_rows,
)
