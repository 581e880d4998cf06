from .csv_writing import (
    column_texts as column_texts,
    table_as_csv as table_as_csv,
)
from .data_frames import (
    frame_columns as frame_columns,
    frame_of as frame_of,
    is_frame as is_frame,
    table_from_frame as table_from_frame,
)
from .one_hot import (
    columns_of as columns_of,
    encode_columns as encode_columns,
    snap_to_columns as snap_to_columns,
)
from .parquet_files import (
    is_parquet as is_parquet,
    table_from_parquet as table_from_parquet,
)
from .quantile_units import (
    TableDataset as TableDataset,
    TableScale as TableScale,
)
from .table_datasets import (
    MOST_DECIMALS as MOST_DECIMALS,
    category_values as category_values,
    dataset_of_codes as dataset_of_codes,
    describe_columns as describe_columns,
    table_from_columns as table_from_columns,
)
