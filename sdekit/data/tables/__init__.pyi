from .csv_writing import (
    table_as_csv as table_as_csv,
)
from .one_hot import (
    columns_of as columns_of,
    encode_columns as encode_columns,
    snap_to_columns as snap_to_columns,
)
from .table_datasets import (
    MOST_DECIMALS as MOST_DECIMALS,
    category_values as category_values,
    dataset_of_codes as dataset_of_codes,
    describe_columns as describe_columns,
    table_from_columns as table_from_columns,
)
