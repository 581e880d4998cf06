"""The TOML file of `sdekit train --config FILE`."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sdekit.errors import InputError
from sdekit.registry import parameters, unknown_name
from sdekit.runs import TrainOptions

MOST_BYTES = 2**24
"""Largest size of a config file."""


def read_config(path: Path, keys: Iterable[str], groups: Iterable[str]) -> tuple[dict[str, str], dict[str, Any]]:
    """Read a config file: names at the top (`process = "vp"`), options in tables (`[option.process]`).

    The word `process` may also be written `sde`.

    Arguments:
        path: The TOML file.
        keys: Valid names at the top.
        groups: Valid tables of options.
    Returns:
        The names, and the options as GROUP.NAME with their values.
    Raises:
        InputError: If the file cannot be read, or contains an unknown name or a value of the wrong form.
    """
    if path.exists() and not path.is_file():
        raise InputError(f"--config {path}: not a regular file; name a TOML file")
    if path.exists() and path.stat().st_size > MOST_BYTES:
        raise InputError(f"--config {path}: larger than {MOST_BYTES:,} bytes; name a TOML file")
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"--config {path}: no such file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"--config {path}: {error}") from error
    tables = fields.pop("option", {})
    keys, groups = ([*names, *(["sde"] if "process" in names else [])] for names in (keys, groups))
    for name, value in fields.items():
        if name in groups and isinstance(value, dict):
            raise InputError(f"--config {path}: [{name}]: write the options of {name} in a table [option.{name}]")
        if name not in keys:
            if "train" in groups and name in parameters(TrainOptions):
                raise InputError(
                    f"--config {path}: {name} is an option of train: write [option.train] {name} = {value!r}"
                )
            raise InputError(f"--config {path}: {unknown_name('key', name, [*keys, 'option'], 'Keys')}")
        if not isinstance(value, str):
            raise InputError(f"--config {path}: {name} takes a name in quotes, got {value!r}")
    if not isinstance(tables, dict):
        raise InputError(f"--config {path}: write options in tables, such as [option.train], got option = {tables!r}")
    for group, table in tables.items():
        if group in groups and not isinstance(table, dict):
            raise InputError(f"--config {path}: option.{group} = {table!r} must be a table: write [option.{group}]")
        if group not in groups:
            raise InputError(f"--config {path}: {unknown_name('table option.', str(group), list(groups), 'Tables')}")
    _rename_process(fields, f"--config {path}")
    _rename_process(tables, f"--config {path}: option")
    return fields, {f"{group}.{name}": value for group, table in tables.items() for name, value in table.items()}


def _rename_process(fields: dict[str, Any], place: str) -> None:
    """Rename the key `sde` of a table to `process`. Raises InputError if the table has both."""
    if "sde" in fields:
        if "process" in fields:
            raise InputError(f"{place}: process and sde mean the same: write process only")
        fields["process"] = fields.pop("sde")
