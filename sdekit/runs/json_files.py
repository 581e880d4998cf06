"""Reading of JSON files that may come from an untrusted source, with bounded memory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sdekit.data.formats import read_regular

MOST_JSON = 2**24
"""Largest size in bytes of a record: a million class names fit."""


def read_bounded(path: Path, most: int) -> bytes:
    """Read a regular file of a limited size.

    Arguments:
        path: The file. A pipe, a device or a folder is refused.
        most: Largest number of bytes.
    Returns:
        Content of the file.
    Raises:
        OSError: If the file cannot be read, is not a regular file, or is larger.
    """
    content = read_regular(str(path), most + 1)
    if len(content) > most:
        raise OSError(f"larger than {most:,} bytes")
    return content


def parse_json(content: bytes | str) -> Any:
    """Parse a JSON document strictly.

    Arguments:
        content: The document, in UTF-8.
    Returns:
        The value.
    Raises:
        ValueError: If it is not JSON in UTF-8, is nested too deeply, contains a number of too many digits, or a table
            contains a name twice.
    """
    text = content.decode("utf-8") if isinstance(content, bytes) else content
    try:
        return json.loads(text, object_pairs_hook=_table)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a table; two fields of one name would hide the first one."""
    table = dict(pairs)
    if len(table) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the field {twice[:60]!r} occurs twice")
    return table


def load_fields(path: Path, most: int = MOST_JSON) -> Mapping[str, Any]:
    """Read a JSON file that contains one table.

    Arguments:
        path: The file.
        most: Largest number of bytes.
    Returns:
        The table.
    Raises:
        OSError: If the file cannot be read.
        ValueError: If it does not contain one table.
    """
    fields = parse_json(read_bounded(path, most))
    if not isinstance(fields, dict):
        raise ValueError(f"it contains {type(fields).__name__}, not a table of fields")
    return fields
