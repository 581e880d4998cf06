"""Find the label of a class by the name of the class or by its position."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from difflib import get_close_matches
from typing import NamedTuple

from sdekit.data import trained_labels, whole_number
from sdekit.errors import InputError

MOST_NAMES = 20
"""Largest number of class names in a message."""


class FoundLabel(NamedTuple):
    """Label of a class, and how it was found.

    Attributes:
        label: Position of the class, 0 to classes - 1.
        note: Sentence that says which class was used if the request has another possible meaning, else empty.
    """

    label: int
    note: str


def find_label(
    request: str | int, classes: int, names: Sequence[str] = (), untrained: Collection[int] = ()
) -> FoundLabel:
    """Find the class that a user means by a name or a number.

    The own name of a class has precedence. A whole number also finds the class whose name has this value, such as "07"
    for 7, and a name with other capitals is found if there is only one. Otherwise a number is the position of a class,
    from 0, unless the names of all classes are numbers.

    Arguments:
        request: Name of a class, or its position.
        classes: Number of classes.
        names: Name of each class; empty if the classes have no names, so that only positions are valid.
        untrained: Labels of classes without training items, which are refused.
    Returns:
        The label, and a note if the request has another possible meaning.
    Raises:
        InputError: If there is no such class, if several classes have this name, or if the class has no training items.
    """
    text = str(request).strip()
    named = _named(text, names)
    value = whole_number(text)
    position = value if value is not None and 0 <= value < classes else None
    if len(named) > 1:
        raise InputError(f"label {text}: the classes at the positions {_list(named)} have this name: give a position")
    if named:
        (label,) = named
        note = ""
        if position is not None and position != label:
            other = f"the class {names[position]!r} at position {text}"
            note = f"label {text} is the class named {names[label]!r}, not {other}"
    elif position is not None and not _are_numbers(names):
        label = position
        note = (
            f"label {text} is the class {names[label]!r} at position {text}: no class is named {text}" if names else ""
        )
    else:
        raise InputError(f"label {text}: this model {describe_classes(classes, names)}{_suggestion(text, names)}")
    if label in untrained:
        raise InputError(f"label {text}: {describe_untrained(label, classes, names, untrained)}")
    return FoundLabel(label, note)


def describe_untrained(label: int, classes: int, names: Sequence[str], untrained: Collection[int]) -> str:
    """Write why an untrained label is refused, and which classes the model was trained on."""
    name = repr(names[label]) if names else str(label)
    trained = [names[i] if names else str(i) for i in trained_labels(classes, untrained)]
    return f"no item of the class {name} is in the training data; the model was trained on the classes {_list(trained)}"


def describe_classes(classes: int, names: Sequence[str] = ()) -> str:
    """Describe the classes of a model as the end of a sentence, such as "has the classes 1, 2, 3".

    Arguments:
        classes: Number of classes.
        names: Name of each class, or empty.
    Returns:
        Text that starts with "has".
    """
    if not classes:
        return "has no labels"
    if _are_numbers(names):
        return f"has the classes {_list(names)}"
    return f"has the labels 0 to {classes - 1}" + (f" ({_list(names)})" if names else "")


def _are_numbers(names: Sequence[str]) -> bool:
    """Return whether the classes have names, and all of them are whole numbers."""
    return bool(names) and all(whole_number(name) is not None for name in names)


def _named(text: str, names: Sequence[str]) -> list[int]:
    """Return the labels of the classes with this name: equal text, else equal value, else equal without capitals."""
    if exact := [label for label, name in enumerate(names) if name == text]:
        return exact
    value = whole_number(text)
    if value is not None:
        return [label for label, name in enumerate(names) if whole_number(name) == value]
    return [label for label, name in enumerate(names) if name.casefold() == text.casefold()]


def _suggestion(text: str, names: Sequence[str]) -> str:
    close = get_close_matches(text, names, 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _list(values: Sequence[object]) -> str:
    shown = [str(value) for value in values[:MOST_NAMES]]
    return ", ".join([*shown, f"... ({len(values)} in total)"] if len(values) > MOST_NAMES else shown)
