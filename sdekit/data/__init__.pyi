from .dataset import (
    PART as PART,
    Batch as Batch,
    Dataset as Dataset,
    Units as Units,
)
from .handwritten_digits import (
    digits as digits,
)
from .held_out import (
    held_out as held_out,
    split as split,
    splitmix64 as splitmix64,
)
from .in_memory import (
    InMemoryDataset as InMemoryDataset,
)
from .labels import (
    MAX_CLASSES as MAX_CLASSES,
    Numbers as Numbers,
    check_labels as check_labels,
    check_numbers as check_numbers,
)
from .order import (
    batch_indices as batch_indices,
    epoch_order as epoch_order,
)
from .spec import (
    BUILT_IN as BUILT_IN,
    SUFFIXES as SUFFIXES,
    parse as parse,
    suggest as suggest,
)
from .standardization import (
    CHUNK as CHUNK,
    ScaleChoice as ScaleChoice,
    Statistics as Statistics,
    check_finite as check_finite,
    check_float32 as check_float32,
    column_statistics as column_statistics,
    range_units as range_units,
    value_range as value_range,
    vector_units as vector_units,
)
from .toys import (
    checkerboard as checkerboard,
    mixture as mixture,
    moons as moons,
    rings as rings,
    swiss_roll as swiss_roll,
)
