"""Schema of every record that is read back: runs, classifiers, exports, tuned times, counters and rows of metrics.

Files come from other machines and other people, so that nothing in them is trusted. `read_record` checks all fields of
a record, and its message names the file, the first wrong field, its value, and the values expected.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields as fields_of
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, create_model

from sdekit import __version__
from sdekit.arguments import describe_value
from sdekit.errors import InputError
from sdekit.models import PREDICTIONS

from .training_options import MOST_NUMBERS, TrainOptions

FORMAT = 1
"""Version of the run folder's layout. It increases when earlier releases cannot read a new run."""
MOST_CLASSES = 10**6
"""Largest number of classes, columns or notes in a record."""
DEEPEST = 8
"""Largest depth of the options of a component."""


def is_number(value: object) -> bool:
    """Return whether a value is a finite number.

    Arguments:
        value: Any value from JSON; True and False are not numbers.
    Returns:
        True for a finite int or float.
    """
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    return math.isfinite(value) if isinstance(value, float) else abs(value) < 2**1000


def is_count(value: object, least: int = 0) -> bool:
    """Return whether a value is a whole number.

    Arguments:
        value: Any value from JSON.
        least: Smallest number allowed.
    Returns:
        True for an int of at least `least` that fits into 64 bits.
    """
    return isinstance(value, int) and not isinstance(value, bool) and least <= value < 2**63


def is_row(row: object) -> bool:
    """Return whether a value is a row of metrics.

    Arguments:
        row: Any value from JSON.
    Returns:
        True for a table with a step and numbers.
    """
    if not isinstance(row, dict) or not is_count(row.get("step")):
        return False
    return all(value is None or isinstance(value, (int, float, dict)) for value in row.values())


def _check_options(options: dict[str, Any], depth: int = 0) -> dict[str, Any]:
    """Check that options are plain: numbers, texts, lists and tables of them, of a limited depth."""
    for value in options.values():
        _check_plain(value, depth)
    return options


def _check_plain(value: object, depth: int) -> None:
    if depth > DEEPEST:
        raise ValueError("too deep")
    for item in value if isinstance(value, list) else value.values() if isinstance(value, dict) else ():
        _check_plain(item, depth + 1)


def _other_than_zero(value: float) -> float:
    if value == 0:
        raise ValueError("zero")
    return value


def _check_curves(curves: list[list[list[float]]]) -> list[list[list[float]]]:
    for curve in curves:
        if curve and not (len(curve) == 2 and len(curve[0]) == len(curve[1]) > 1 and curve[1][0] < curve[1][-1]):
            raise ValueError("shape")
        if curve and not all(a < b and c <= d for (a, c), (b, d) in pairwise(zip(*curve, strict=True))):
            raise ValueError("order")
    return curves


def _known_prediction(value: str) -> str:
    if value not in PREDICTIONS:
        raise ValueError("unknown")
    return value


class Record(BaseModel):
    """Base class of records. Types are strict; unknown fields are ignored, because later versions may add some.

    The description of a field is the text after "expected" in the message about a wrong value.
    """

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False, frozen=True)


Text = Annotated[str, Field(description="text", max_length=2**16)]
Name = Annotated[str, Field(max_length=2**16)]
Names = Annotated[list[Name], Field(description="a list of names", max_length=MOST_CLASSES)]
Count = Annotated[int, Field(description="a whole number of at least 0", ge=0, lt=2**63)]
Items = Annotated[int, Field(description="a whole number of at least 1", ge=1, lt=2**63)]
Positive = Annotated[float, Field(description="a number above 0", gt=0)]
Size = Annotated[int, Field(ge=1, le=MOST_NUMBERS)]
Sizes = Annotated[list[Size], Field(description="a list of sizes", min_length=1, max_length=16)]
Options = Annotated[dict[str, Any], AfterValidator(_check_options), Field(description="a table of fields")]
NonZero = Annotated[float, AfterValidator(_other_than_zero)]
Shift = Annotated[float | list[float], Field(description="a number, or a list of numbers")]
Scale = Annotated[NonZero | list[NonZero], Field(description="a number other than 0, or a list of them")]
Layout = Annotated[
    Literal["same", "l", "hw", "dhw", "lc", "hwc", "dhwc"],
    Field(description="one of same, l, hw, dhw, lc, hwc, dhwc"),
]
Bound = Annotated[float | None, Field(description="a number, or null")]
Quantiles = Annotated[
    list[list[list[float]]],
    AfterValidator(_check_curves),
    Field(
        description="a list of curves, each with increasing z and values that do not decrease", max_length=MOST_CLASSES
    ),
]
Prediction = Annotated[
    str, AfterValidator(_known_prediction), Field(description=f"one of {', '.join(PREDICTIONS)}", max_length=99)
]
Condition = Annotated[
    Literal["none", "label", "numbers", "embedding", "sequence"],
    Field(description="one of none, label, numbers, embedding, sequence"),
]
ClassCount = Annotated[int, Field(description="a whole number of at least 0", ge=0, le=MOST_CLASSES)]
Labels = Annotated[list[Annotated[int, Field(ge=0)]], Field(description="a list of labels", max_length=MOST_CLASSES)]
Shape = Annotated[list[Size], Field(description="a list of sizes", max_length=16)]
Digits = Annotated[str, Field(description="a SHA-256 of 64 hexadecimal digits", pattern="^[0-9a-f]{64}$")]


class ComponentRecord(Record):
    """A registered component and its options."""

    name: Text
    options: Options


class UnitsRecord(Record):
    """Units of data. A record of version 0.1 may lack fields."""

    model_config = ConfigDict(extra="forbid")

    shift: Shift = 0.0
    scale: Scale = 1.0
    layout: Layout = "same"
    low: Bound = None
    high: Bound = None
    quantiles: Quantiles = []


def _train_record() -> type[Record]:
    """Create the schema of `TrainOptions`, whose range checks follow when the object is created."""
    whole, number = Annotated[int, Field(ge=-(2**63), lt=2**63)], float
    kinds: dict[str, tuple[Any, str]] = {
        "int": (whole, "a whole number"),
        "int | None": (whole | None, "a whole number, or null"),
        "float": (number, "a number"),
        "float | None": (number | None, "a number, or null"),
    }
    fields: dict[str, Any] = {}
    for field in fields_of(TrainOptions):
        kind, expected = kinds.get(str(field.type), (str, "text"))
        fields[field.name] = (Annotated[kind, Field(description=expected)], field.default)
    return create_model("TrainRecord", __base__=Record, **fields)


TrainRecord = _train_record()


class ColumnRecord(Record):
    """A column of a table, see `sdekit.data.Column`."""

    name: Name
    type: Annotated[Literal["number", "integer", "category"], Field(description="one of number, integer, category")] = (
        "number"
    )
    values: Names = []
    decimals: Annotated[int | None, Field(description="a whole number from 0 to 20, or null", ge=0, le=20)] = None
    unit: Name = ""


class RecipeRecord(Record):
    """The file config.json of a run or a classifier, and the recipe in an export."""

    data: Annotated[ComponentRecord, Field(description="a table of fields")]
    sde: Annotated[ComponentRecord, Field(description="a table of fields")]
    network: Annotated[ComponentRecord, Field(description="a table of fields")]
    train: Annotated[TrainRecord, Field(description="a table of fields")]  # type: ignore[valid-type]
    units: Annotated[UnitsRecord, Field(description="a table of fields")]
    prediction: Prediction
    condition: Condition
    shape: Sizes
    kind: Text
    items: Items
    classes: ClassCount
    class_names: Names
    data_std: Positive
    objective: Text = "denoising"
    untrained: Labels = []
    notes: Names = []
    fingerprint: Annotated[list[float | None], Field(description="a list of numbers", max_length=10**4)] = []
    identity: Text = ""
    condition_names: Names = []
    condition_shape: Shape = []
    channel_names: Names = []
    sample_rate: Annotated[float | None, Field(description="a number above 0, or null", gt=0)] = None
    condition_units: Annotated[UnitsRecord | None, Field(description="a table of fields, or null")] = None
    plugins: Annotated[list[Name] | None, Field(description="a list of paths", max_length=1000)] = None
    columns: Annotated[list[ColumnRecord], Field(description="a list of tables", max_length=MOST_CLASSES)] = []


class ClassifierRecord(Record):
    """The file config.json of a classifier of version 0.1.

    Arguments:
        data: SPEC of the data set and its options.
        sde: Process.
        network: Options of the encoder.
        train: Options of the training.
        shape: Shape of one item.
        classes: Number of labels.
        class_names: Names of the labels.
        data_std: Standard deviation of the data in the model's units.
    """

    data: Annotated[ComponentRecord, Field(description="a table of fields")]
    sde: Annotated[ComponentRecord, Field(description="a table of fields")]
    network: Options
    train: Annotated[TrainRecord, Field(description="a table of fields")]  # type: ignore[valid-type]
    shape: Sizes
    classes: Annotated[int, Field(description="a whole number of at least 2", ge=2, le=MOST_CLASSES)]
    class_names: Names
    data_std: Positive


class ConditioningRecord(Record):
    """The condition of an exported model that is not a run."""

    classes: ClassCount = 0
    numbers: Annotated[int, Field(description="a whole number", ge=0, le=MOST_CLASSES)] = 0
    embedding: Annotated[int, Field(description="a whole number", ge=0, le=MOST_NUMBERS)] = 0
    null: Annotated[bool, Field(description="true or false")] = True
    class_names: Names = []
    untrained: Labels = []


class InputsRecord(Record):
    """The inputs of the network of an exported model, see `NetworkInput`."""

    model_config = ConfigDict(extra="forbid")

    clock: Text = "log-rho"
    scale: Annotated[float, Field(description="a number")] = 0.25
    offset: Annotated[float, Field(description="a number")] = 0.0
    normalize: Annotated[bool, Field(description="true or false")] = True


class FactsRecord(Record):
    """The facts about the data of an exported model that is not a run."""

    kind: Text
    classes: ClassCount
    class_names: Names
    condition_names: Names
    grid: Annotated[str | None, Field(description="a name, or null", max_length=2**16)] = None
    units: Annotated[UnitsRecord, Field(description="a table of fields")]
    condition_units: Annotated[UnitsRecord | None, Field(description="a table of fields, or null")] = None


class ModelRecord(Record):
    """The description of an exported model that is not a run."""

    sde: Annotated[ComponentRecord, Field(description="a table of fields")]
    prediction: Prediction
    data_std: Positive
    conditioning: Annotated[ConditioningRecord, Field(description="a table of fields")]
    shape: Sizes
    facts: Annotated[FactsRecord, Field(description="a table of fields")]
    inputs: Annotated[InputsRecord | None, Field(description="a table of fields, or null")] = None


class ExportAbout(Record):
    """The format of an export, and the checksums of its files.

    Arguments:
        version: Version of the layout.
        format: Format of the network's files.
        step: Training step of the weights.
        torch: Version of torch that wrote the files.
        device: Type of the device.
        processor: Kind of processor.
        files: SHA-256 of each file by name; version 0.2 and earlier record none.
    """

    version: Count
    format: Text
    step: Annotated[int | None, Field(description="a whole number, or null", ge=0, lt=2**63)] = None
    torch: Annotated[str | None, Field(description="text", max_length=99)] = None
    device: Annotated[str | None, Field(description="text", max_length=99)] = None
    processor: Annotated[str | None, Field(description="text", max_length=999)] = None
    files: Annotated[
        dict[Name, Digits] | None, Field(description="a table of file names and their SHA-256", max_length=1000)
    ] = None


class ExportRecord(Record):
    """The file export.json.

    Arguments:
        export: The format of the export, and the checksums of its files.
        recipe: Recipe of an exported run, or None.
        model: Description of an exported model that is not a run, or None.
    """

    export: Annotated[ExportAbout, Field(description="a table of fields")]
    recipe: Annotated[RecipeRecord | None, Field(description="a table of fields")] = None
    model: Annotated[ModelRecord | None, Field(description="a table of fields")] = None


class LoggerRecord(Record):
    """A logger of a run, its options, and the step and kind of the first row that it has not received."""

    name: Text
    options: Options
    failed_at: Annotated[list[Count] | None, Field(description="two whole numbers", min_length=2, max_length=2)] = None


class LoggersRecord(Record):
    """The file trackers/loggers.json.

    Arguments:
        loggers: The loggers of the run.
    """

    loggers: Annotated[list[LoggerRecord], Field(description="a list of tables", max_length=100)]


class TunedRecord(Record):
    """A file of `sdekit tune`, see `sdekit.tuning.Tuned`.

    Arguments:
        format: Version of the file.
        model: Checksum of the weights.
        solver: Registered name of the sampler.
        options: Options of the sampler.
        calls: Number of network evaluations.
        starts: Number of held-out starts.
        levels: Noise level of each time after t_max.
        gains: Coefficients of earlier evaluations.
        untuned: Error of the sampler on its own grid.
        tuned: Error with these times and coefficients.
    """

    format: Count
    model: Text
    solver: Text
    options: Options
    calls: Items
    starts: Items
    levels: Annotated[
        list[Annotated[float, Field(ge=0)]],
        Field(description="a list of decreasing noise levels", max_length=10**5),
    ]
    gains: Annotated[
        list[Annotated[list[float], Field(max_length=1000)]],
        Field(description="rows of numbers", max_length=10**5),
    ]
    untuned: Annotated[float, Field(description="a number of at least 0", ge=0)]
    tuned: Annotated[float, Field(description="a number of at least 0", ge=0)]


class CountersRecord(Record):
    """The counters of a checkpoint. Earlier versions have only the first two.

    Arguments:
        step: Number of optimizer steps.
        seconds: Seconds of training.
        losses: Losses of the steps since the last row of metrics.
        updates: Number of updates of the weights for which it differs from `step`, by name.
        best_step: Step of the best weights, or None without an evaluation.
        smallest_loss: Smallest held-out loss so far; infinity without an evaluation.
    """

    step: Count
    seconds: Annotated[float, Field(description="a number of at least 0", ge=0)]
    losses: Annotated[list[float], Field(description="a list of numbers", max_length=10**7)] = []
    updates: Annotated[
        dict[str, Annotated[int, Field(ge=0, lt=2**53)]], Field(description="a table of whole numbers")
    ] = {}
    best_step: Annotated[int | None, Field(description="a whole number of at least 1, or null", ge=1, lt=2**63)] = None
    smallest_loss: Annotated[float, Field(description="a number of at least 0", ge=0)] = math.inf


R = TypeVar("R", bound=Record)


def read_record(kind: type[R], fields: Any, where: str | Path, what: str) -> R:
    """Check the fields of a record.

    Arguments:
        kind: Schema of the record.
        fields: Its fields, as read from JSON.
        where: The file, for messages.
        what: Subject of the record for messages, such as "a run".
    Returns:
        The record.
    Raises:
        InputError: If a field is missing or wrong. The message names the file, the field, its value and the values
            expected.
    """
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        reason = _first_fault(kind, fields, error)
    except (RecursionError, OverflowError, MemoryError) as error:
        reason = f"a value is too deep or too large ({type(error).__name__})"
    raise InputError(f"{where} does not describe {what} ({reason})")


def _first_fault(kind: type[BaseModel], fields: Any, error: ValidationError) -> str:
    """Describe the first fault: the field, its value, and the values expected."""
    fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
    path, value, expected = [], fields, "a table of fields"
    model: Any = kind
    for part in fault["loc"]:
        field = model.model_fields.get(part) if model is not None else None
        if field is None and not (fault["type"] == "extra_forbidden" and model is not None):
            break  # inside of a value, which is reported as a whole
        path.append(str(part))
        if not isinstance(value, Mapping) or part not in value:
            return f"{'.'.join(path)} is missing"
        value, expected = value[part], (field.description or expected) if field else "no field of this name"
        model = _record_of(field.annotation) if field else None
    if not path:
        return f"it is {describe_value(fields)[:60]}; expected a table of fields"
    return f"{'.'.join(path)} is {describe_value(value)[:60]}; expected {expected}"


def _record_of(annotation: Any) -> type[BaseModel] | None:
    """Return the schema in the annotation of a field, such as `UnitsRecord | None`, or None for a plain value."""
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def check_format(fields: Mapping[str, Any], where: Path) -> None:
    """Check that this sdekit can read a config.json.

    Arguments:
        fields: Its fields.
        where: The file, for messages.
    Raises:
        InputError: If a newer sdekit wrote it, or its format is not a whole number.
    """
    run_format, versions = fields.get("format", 0), fields.get("versions")
    if not is_count(run_format):
        got = describe_value(run_format)
        raise InputError(f"{where} does not describe a run (format is {got}; expected a whole number)")
    if run_format > FORMAT:
        writer = str(versions.get("sdekit"))[:20] if isinstance(versions, dict) else None
        raise InputError(
            f"{where.parent} was written by sdekit {writer or 'a newer version'} (run format {run_format}); this is "
            f"{__version__} (format {FORMAT}): upgrade sdekit to read it"
        )


def check_fields(fields: Any, where: Path, what: str = "a run") -> RecipeRecord:
    """Check all fields of a config.json, and that they fit each other.

    Arguments:
        fields: Its fields.
        where: The file, for messages.
        what: Subject of the record for messages.
    Returns:
        The record.
    Raises:
        InputError: If a field is missing or wrong. The message names the first one, its value, and the values allowed.
    """
    record = read_record(RecipeRecord, fields, where, what)
    kind, axes = record.condition, {"embedding": 1, "sequence": 2}
    faults = {
        f"the shape {record.shape} has more than 2^31 numbers": math.prod(record.shape) > MOST_NUMBERS,
        f"condition_units is missing, and condition is {kind!r}": kind in ("numbers", *axes)
        and not record.condition_units,
        f"condition_shape is {record.condition_shape}, and condition is {kind!r}": len(record.condition_shape)
        != axes.get(kind, 0),
        f"condition is 'label', and classes is {record.classes}": kind == "label" and record.classes < 1,
        f"kind is {record.kind!r}, and shape is {record.shape}": len(record.shape)
        != {"sequence": 2, "image": 3, "volume": 4}.get(record.kind, len(record.shape)),
        f"columns do not fit the shape {record.shape}": bool(record.columns)
        and [sum(len(c.values) if c.type == "category" else 1 for c in record.columns)] != record.shape,
        **_class_faults(record),
    }
    faults |= _unit_faults("units", record.units, record.shape[0])
    if record.condition_units is not None:
        faults |= _unit_faults("condition_units", record.condition_units, len(record.condition_names))
    for fault, present in faults.items():
        if present:
            raise InputError(f"{where} does not describe {what} ({fault})")
    return record


def _class_faults(record: RecipeRecord | FactsRecord | ConditioningRecord) -> dict[str, bool]:
    """Return whether the names and the untrained labels fit the number of classes, by the text of the fault."""
    classes, names, untrained = record.classes, record.class_names, getattr(record, "untrained", [])
    misfit = any(label >= classes for label in untrained) or len(untrained) > max(0, classes - 1)
    return {f"class_names or untrained do not fit {classes} classes": len(names) not in (0, classes) or misfit}


def _unit_faults(name: str, units: UnitsRecord, length: int | None) -> dict[str, bool]:
    """Return whether the units of vectors have one number for each feature, by the text of the fault."""
    faults = {f"{name}.quantiles do not fit {length} numbers": bool(units.quantiles) and len(units.quantiles) != length}
    for part in ("shift", "scale"):
        value = getattr(units, part)
        if isinstance(value, list):
            faults[f"{name}.{part} has {len(value)} of {length} numbers"] = length not in (None, len(value))
    return faults
