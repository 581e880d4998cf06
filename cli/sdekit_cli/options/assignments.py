"""Options of commands: flags, groups of options, and options that depend on the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sdekit.errors import InputError
from sdekit.registry import unknown_name


def merge_flags(options: Mapping[str, Any], flags: Mapping[str, Any]) -> dict[str, Any]:
    """Merge options from --option and from flags of their own. Raises InputError if an option is given by both."""
    for name in options.keys() & flags.keys():
        flag = f"--{name.partition('.')[2].replace('_', '-')}"
        raise InputError(f"{flag} {flags[name]} and --option {name}={options[name]} are both given: choose one")
    return {**options, **flags}


def group_options(options: Mapping[str, Any], groups: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Group options by their prefix: {"process.beta_max": 10} gives {"process": {"beta_max": 10}}.

    The group `process` may also be written `sde`.

    Arguments:
        options: Maps GROUP.NAME to values.
        groups: Valid groups.
    Returns:
        Maps every group to its options.
    Raises:
        InputError: If an option has no group, or an unknown one.
    """
    result: dict[str, dict[str, Any]] = {group: {} for group in groups}
    for name, value in options.items():
        group, dot, option = name.partition(".")
        group = "process" if group == "sde" and "process" in result else group
        if not dot:
            raise InputError(
                f"option {name!r} needs its group: write one of {', '.join(f'{g}.{name}' for g in groups)}"
            )
        if group not in result:
            raise InputError(unknown_name("group of options", group, sorted(result), "Groups"))
        if option in result[group]:
            raise InputError(f"option {group}.{option} is given twice, also as {name}: choose one")
        result[group][option] = value
    return result
