"""Labels that users give by the names of classes: the option --label, and the labels of guidances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdekit.errors import InputError
from sdekit_cli.terminal.console import note

if TYPE_CHECKING:
    from sdekit.models import OpenedModel

Chosen = Sequence[tuple[str, Mapping[str, Any]]]
"""Name and options of each guidance, as `parse_guidance` returns them."""

MOST_NAMES = 10
"""Largest number of class names in a message."""
LABEL_OPTIONS = {"negative"}
"""Options of guidances that are labels, of which -1 is the null condition."""


@dataclass(frozen=True)
class Classes:
    """Classes among which users choose a label.

    Arguments:
        count: Number of classes.
        names: Name of each class, or empty.
        untrained: Labels of classes without training items.
    """

    count: int
    names: tuple[str, ...] = ()
    untrained: tuple[int, ...] = ()

    def find(self, text: str | int, option: str) -> int:
        """Return the label of a class, and print which class was used if the text has another possible meaning.

        Arguments:
            text: Name of the class, or its position.
            option: Option that the text was given for, "--label" or "--guidance NAME", for messages.
        Returns:
            The label.
        Raises:
            InputError: If there is no such class.
        """
        from sdekit.models import find_label

        start = "--" if option == "--label" else f"{option}: "
        try:
            found = find_label(text, self.count, self.names, self.untrained)
        except InputError as error:
            raise InputError(f"{start}{error}") from None
        if found.note:
            note("{}{}", start, found.note)
        return found.label

    def find_all(self, text: str, option: str) -> list[int]:
        """Return the labels of one class or of several classes that are separated by commas."""
        try:
            return [self.find(text, option)]
        except InputError:
            if "," not in text:
                raise
        return [self.find(part, option) for part in text.split(",")]

    def name(self, label: int) -> str | int | None:
        """Return the name of a class for records, its label if the classes have no names, or None for no label."""
        if label < 0:
            return None
        return self.names[label] if self.names else label


def find_classes(model: OpenedModel, guidance: Chosen) -> Classes:
    """Return the classes among which users choose a label.

    These are the classes of the model. If the model itself takes no label, a label is for classifier guidance, and the
    classes are those of the classifier.

    Arguments:
        model: Model to sample from.
        guidance: Name and options of each guidance.
    Returns:
        The classes.
    Raises:
        InputError: If a classifier, or the weaker run of autoguidance, has other classes than the model.
    """
    labelled = model.condition == "label"
    classes = Classes(model.classes, model.class_names, model.conditioning.untrained)
    chosen = None if not labelled else classes
    for name, options in guidance:
        other = _classes_of_guidance(name, options.get("run"))
        if other is None or (name == "autoguidance" and not labelled):
            continue
        if chosen is not None and not _are_same(chosen, other):
            raise InputError(
                f"--guidance {name}:run={options['run']}: its classes are {_written(other)}, and those of {model.path} "
                f"are {_written(chosen)}: the same label must mean the same class"
            )
        chosen = chosen or other
    return chosen or classes


def resolve_labels(guidance: Chosen, classes: Classes) -> list[tuple[str, dict[str, Any]]]:
    """Replace the names of classes in the options of guidances by labels.

    Arguments:
        guidance: Name and options of each guidance.
        classes: Classes of the model.
    Returns:
        The guidances, with labels as numbers.
    Raises:
        InputError: If there is no such class.
    """
    resolved = []
    for name, options in guidance:
        labels = {}
        for option in LABEL_OPTIONS & options.keys():
            value = options[option]
            if isinstance(value, str) and not classes.count:
                raise InputError(f"--guidance {name}:{option}={value}: the data of the model have no labels")
            if classes.count and isinstance(value, str | int) and (value != -1 or "-1" in classes.names):
                labels[option] = classes.find(value, f"--guidance {name}:{option}={value}")
        resolved.append((name, {**options, **labels}))
    return resolved


def name_labels(records: Sequence[dict[str, Any]], classes: Classes) -> None:
    """Replace labels in the records of guidances by the names of their classes."""
    for record in records:
        for option in LABEL_OPTIONS & record["options"].keys():
            label = record["options"][option]
            if isinstance(label, int) and 0 <= label < classes.count:
                record["options"][option] = classes.name(label)


def _classes_of_guidance(name: str, run: object) -> Classes | None:
    """Return the classes of a classifier or of a weaker run, or None if the guidance has no such run folder."""
    if not isinstance(run, str) or name not in ("classifier", "autoguidance"):
        return None
    from sdekit.runs import CONFIG, read_recipe
    from sdekit.training import is_classifier, read_classifier

    path = Path(run)
    if name == "classifier":
        if not is_classifier(path):
            return None  # the guidance itself says what is wrong
        recipe = read_classifier(path)
    else:
        if not (path / CONFIG).is_file():
            return None
        recipe = read_recipe(path)
        if recipe.condition != "label":
            return None
    return Classes(recipe.classes, recipe.class_names, recipe.untrained)


def _are_same(one: Classes, other: Classes) -> bool:
    """Return whether labels have the same meaning. Without names only the number of classes can be compared."""
    return one.count == other.count and (one.names == other.names or not one.names or not other.names)


def _written(classes: Classes) -> str:
    names = classes.names or [str(label) for label in range(classes.count)]
    return ", ".join(names[:MOST_NAMES]) + (f", ... ({len(names)} in total)" if len(names) > MOST_NAMES else "")
