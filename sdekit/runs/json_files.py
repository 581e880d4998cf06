"""Reading of JSON files that may come from an untrusted source, with bounded memory, and formatting of compact ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sdekit.data.formats import read_regular

MOST_JSON = 2**24
"""Largest size in bytes of a record: a million class names fit."""
ONE_LINE = 80
"""Largest number of characters of a table or a nested list that is written on one line."""


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


def format_json(value: Any, indent: str = "") -> str:
    """Format a JSON document for people: a list of numbers or texts, and a short table, take one line.

    Arguments:
        value: JSON-ready value.
        indent: Spaces before the lines of the value after its first one.
    Returns:
        The document, without a line break at its end.
    Raises:
        TypeError: If the value cannot be written as JSON.
    """
    line = json.dumps(value)
    if not isinstance(value, (dict, list, tuple)) or (indent and len(line) <= ONE_LINE):
        return line
    inner = indent + "  "
    if isinstance(value, dict):
        names = json.loads(line)  # names as JSON writes them: texts
        entries = [
            f"{json.dumps(name)}: {format_json(entry, inner)}"
            for name, entry in zip(names, value.values(), strict=True)
        ]
        return f"{{\n{inner}" + f",\n{inner}".join(entries) + f"\n{indent}}}" if entries else line
    if not any(isinstance(entry, (dict, list, tuple)) for entry in value):
        return line
    return f"[\n{inner}" + f",\n{inner}".join(format_json(entry, inner) for entry in value) + f"\n{indent}]"


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
