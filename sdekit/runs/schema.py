"""Check the fields of a run's config.json, and name the first one that is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields as fields_of
from pathlib import Path
from typing import Any

from sdekit import __version__
from sdekit.errors import InputError
from sdekit.models import PREDICTIONS

from .training_options import TrainOptions

FORMAT = 1
"""Version of the run folder's layout. It increases when earlier releases cannot read a new run."""

Check = tuple[Callable[[Any], bool], str]
"""A test of a value, and a description of the values that pass."""


def is_number(value: object) -> bool:
    """Return whether a value is a finite number.

    Arguments:
        value: Any value from JSON; True and False are not numbers.
    Returns:
        True for a finite int or float.
    """
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def is_count(value: object, least: int = 0) -> bool:
    """Return whether a value is a whole number.

    Arguments:
        value: Any value from JSON.
        least: Smallest number allowed.
    Returns:
        True for an int of at least `least`.
    """
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


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
        raise InputError(f"{where} does not describe a run (format is {run_format!r}; expected a whole number)")
    if run_format > FORMAT:
        writer = versions.get("sdekit") if isinstance(versions, dict) else None
        raise InputError(
            f"{where.parent} was written by sdekit {writer or 'a newer version'} (run format {run_format}); this is "
            f"{__version__} (format {FORMAT}): upgrade sdekit to read it"
        )


def check_fields(fields: Mapping[str, Any], where: Path) -> None:
    """Check all fields of a config.json.

    Arguments:
        fields: Its fields.
        where: The file, for messages.
    Raises:
        InputError: If a field is missing or wrong. The message names the first one, its value, and the values allowed.
    """
    for name, check in FIELDS.items():
        if name in fields or name not in OPTIONAL:
            _check(fields, name, check, where)
    for part in ("data", "sde", "network"):
        for name, check in COMPONENT.items():
            _check(fields[part], name, check, where, f"{part}.")
    for part in ("units", "condition_units"):
        for name in set(UNITS) & set(fields.get(part) or {}):
            _check(fields[part], name, UNITS[name], where, f"{part}.")
    for field in fields_of(TrainOptions):
        if field.name in fields["train"]:
            _check(fields["train"], field.name, TRAIN.get(str(field.type), TEXT), where, "train.")
    classes, names, untrained = fields["classes"], fields["class_names"], fields.get("untrained") or ()
    if len(names) not in (0, classes) or any(u >= classes for u in untrained) or len(untrained) > max(0, classes - 1):
        raise InputError(f"{where} does not describe a run (class_names or untrained do not fit {classes} classes)")
    kind, axes = fields["condition"], {"embedding": 1, "sequence": 2}
    if kind in ("numbers", *axes) and not fields.get("condition_units"):
        raise InputError(f"{where} does not describe a run (condition_units is missing, and condition is {kind!r})")
    if len(shape := fields.get("condition_shape") or ()) != axes.get(kind, 0):
        raise InputError(f"{where} does not describe a run (condition_shape is {shape}, and condition is {kind!r})")
    lengths = {"units": fields["shape"][0]} if len(fields["shape"]) == 1 else {}
    lengths["condition_units"] = len(fields.get("condition_names") or ())
    for part, length in lengths.items():
        for name in ("shift", "scale"):
            value = (fields.get(part) or {}).get(name)
            if isinstance(value, list) and len(value) != length:
                raise InputError(
                    f"{where} does not describe a run ({part}.{name} has {len(value)} of {length} numbers)"
                )


def _check(fields: Mapping[str, Any], name: str, check: Check, where: Path, part: str = "") -> None:
    is_valid, expected = check
    if name not in fields:
        raise InputError(f"{where} does not describe a run ({part}{name} is missing)")
    if not is_valid(value := fields[name]):
        raise InputError(f"{where} does not describe a run ({part}{name} is {repr(value)[:60]}; expected {expected})")


def _all(value: object, is_valid: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(is_valid(v) for v in value)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_scale(value: object) -> bool:
    return is_number(value) and value != 0


TEXT: Check = (_is_text, "text")
TABLE: Check = (lambda v: isinstance(v, dict), "a table of fields")
NAMES: Check = (lambda v: _all(v, _is_text), "a list of names")
CONDITIONS = ("none", "label", "numbers", "embedding", "sequence")
OPTIONAL = (
    *("condition_names", "condition_units", "condition_shape", "objective"),
    *("notes", "untrained", "fingerprint", "identity"),
)
"""Fields that config.json of earlier versions lacks."""
FIELDS: dict[str, Check] = {
    **dict.fromkeys(("data", "sde", "network", "train", "units"), TABLE),
    "objective": TEXT,
    "prediction": (lambda v: _is_text(v) and v in PREDICTIONS, f"one of {', '.join(PREDICTIONS)}"),
    "condition": (lambda v: v in CONDITIONS, f"one of {', '.join(CONDITIONS)}"),
    "shape": (lambda v: bool(v) and _all(v, lambda n: is_count(n, 1)), "a list of sizes"),
    "kind": TEXT,
    "items": (lambda v: is_count(v, 1), "a whole number of at least 1"),
    "classes": (is_count, "a whole number of at least 0"),
    "class_names": NAMES,
    "untrained": (lambda v: _all(v, is_count), "a list of labels"),
    "data_std": (lambda v: is_number(v) and v > 0, "a number above 0"),
    "condition_names": NAMES,
    "notes": NAMES,
    "condition_shape": (lambda v: _all(v, lambda n: is_count(n, 1)), "a list of sizes"),
    "condition_units": (lambda v: v is None or isinstance(v, dict), "a table of fields, or null"),
    "fingerprint": (lambda v: _all(v, lambda n: n is None or is_number(n)), "a list of numbers"),
    "identity": TEXT,
}
COMPONENT = {"name": TEXT, "options": TABLE}
UNITS: dict[str, Check] = {
    "shift": (lambda v: is_number(v) or _all(v, is_number), "a number, or a list of numbers"),
    "scale": (lambda v: _is_scale(v) or _all(v, _is_scale), "a number other than 0, or a list of them"),
    "layout": (lambda v: v in ("same", "hw", "hwc"), "same, hw or hwc"),
    **dict.fromkeys(("low", "high"), (lambda v: v is None or is_number(v), "a number, or null")),
}
TRAIN: dict[str, Check] = {
    "int": (lambda v: isinstance(v, int) and not isinstance(v, bool), "a whole number"),
    "int | None": (lambda v: v is None or isinstance(v, int) and not isinstance(v, bool), "a whole number, or null"),
    "float": (is_number, "a number"),
    "float | None": (lambda v: v is None or is_number(v), "a number, or null"),
}
