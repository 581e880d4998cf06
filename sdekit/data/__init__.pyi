from .classes import (
    sort_names as sort_names,
    trained_labels as trained_labels,
    whole_number as whole_number,
    with_classes as with_classes,
)
from .columns import (
    Column as Column,
    column_slices as column_slices,
    coordinate_names as coordinate_names,
    unit_in_name as unit_in_name,
)
from .dataset import (
    KINDS as KINDS,
    Batch as Batch,
    Dataset as Dataset,
    Units as Units,
    kind_of as kind_of,
)
from .description import (
    describe_data as describe_data,
    listing as listing,
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
    Conditions as Conditions,
    check_conditions as check_conditions,
    check_embeddings as check_embeddings,
    check_labels as check_labels,
)
from .order import (
    batch_indices as batch_indices,
)
from .quantiles import (
    Curve as Curve,
    fit_curve as fit_curve,
)
from .spec import (
    is_python_object as is_python_object,
    parse_spec as parse_spec,
    path_spec as path_spec,
)
from .standardization import (
    ScaleChoice as ScaleChoice,
    range_units as range_units,
    sequence_units as sequence_units,
    vector_units as vector_units,
)
from .toy_sequences import (
    sines as sines,
)
from .toys import (
    checkerboard as checkerboard,
    mixture as mixture,
    moons as moons,
    rings as rings,
    swiss_roll as swiss_roll,
)
