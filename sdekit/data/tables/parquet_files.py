"""Data sets from Parquet files."""

from __future__ import annotations

import os
from typing import Any

from sdekit.errors import InputError

from .data_frames import EXTRA, table_from_frame
from .quantile_units import TableDataset

MAGIC = b"PAR1"
"""First bytes of a Parquet file."""


def is_parquet(path: str) -> bool:
    """Return whether a file is a Parquet file.

    Arguments:
        path: The file.
    Returns:
        Whether its first bytes are those of Parquet, or, if it is no file that can be read, whether its name ends like
        one.
    """
    try:
        if not os.path.isfile(path):  # opening a pipe would wait for a writer
            return path.lower().endswith((".parquet", ".pq"))
        with open(path, "rb") as file:
            return file.read(4) == MAGIC
    except OSError:
        return path.lower().endswith((".parquet", ".pq"))


def table_from_parquet(path: str, **options: Any) -> TableDataset:
    """Create a data set from a Parquet file.

    The index that pandas writes is left out.

    Arguments:
        path: The file.
        options: Options of `sdekit.data.tables.table_from_columns`.
    Returns:
        Data set of vectors.
    Raises:
        InputError: If the file cannot be read, a column has a dtype that is not supported, or pyarrow or narwhals are
            not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise InputError(f"Parquet files need the library pyarrow: {EXTRA}") from error
    try:
        table = pyarrow.parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        message = str(error).splitlines()[0]
        raise InputError(f"table:{path} cannot be read as a Parquet file ({message})") from error
    index = [name for name in table.column_names if name.startswith("__index_level_")]
    try:
        return table_from_frame(table.drop_columns(index), source=os.path.basename(path), **options)
    except InputError as error:
        raise InputError(str(error).replace("drop_missing=True", "--option data.missing=NA")) from None
