"""A class is found by its own name first, then by its position; untrained classes are refused."""

from __future__ import annotations

import re

import pytest
import torch

from sdekit.errors import InputError
from sdekit.models import Conditioning, OpenedModel, ScoreModel, describe_classes, example_conditions, find_label
from sdekit.networks import MLP
from sdekit.processes import VP

NUMBERS, ANIMALS = ("1", "2", "3"), ("cat", "0", "Dog", "class07")


@pytest.mark.parametrize(
    ("request_", "names", "label", "note"),
    [
        ("1", NUMBERS, 0, "label 1 is the class named '1', not the class '2' at position 1"),
        ("3", NUMBERS, 2, ""),
        (2, NUMBERS, 1, "not the class '3' at position 2"),
        ("02", NUMBERS, 1, "label 02 is the class named '2'"),
        ("7", ("5", "07"), 1, ""),
        ("-1", ("-1", "1"), 0, ""),
        ("1", ("-1", "1"), 1, ""),
        ("0", ANIMALS, 1, "label 0 is the class named '0', not the class 'cat' at position 0"),
        ("2", ANIMALS, 2, "label 2 is the class 'Dog' at position 2: no class is named 2"),
        ("dog", ANIMALS, 2, ""),
        (" cat ", ANIMALS, 0, ""),
        ("true", ("False", "True"), 1, ""),
        ("1", ("False", "True"), 1, "label 1 is the class 'True' at position 1"),
        ("2", (), 2, ""),
    ],
)
def test_the_name_has_precedence(request_: str | int, names: tuple[str, ...], label: int, note: str) -> None:
    """The note says which class was used if the number has another possible meaning."""
    found = find_label(request_, len(names) or 3, names)
    assert found.label == label and (note in found.note if note else not found.note)


@pytest.mark.parametrize(
    ("request_", "names", "message"),
    [
        ("0", NUMBERS, "label 0: this model has the classes 1, 2, 3"),
        ("4", NUMBERS, "label 4: this model has the classes 1, 2, 3"),
        ("1.5", NUMBERS, "label 1.5: this model has the classes"),
        ("cow", ("cat", "crow"), "label cow: this model has the labels 0 to 1 (cat, crow); did you mean 'crow'?"),
        ("crane", ("crane", "cat", "crane"), "positions 0, 2 have this name: give a position"),
        ("a", ("A", "A"), "positions 0, 1 have this name"),
        ("3", (), "label 3: this model has the labels 0 to 2"),
        ("", ("cat", "dog"), "this model has the labels"),
    ],
)
def test_other_labels_are_refused(request_: str, names: tuple[str, ...], message: str) -> None:
    """If all classes have numbers as names, a position is not a class."""
    with pytest.raises(InputError, match=re.escape(message)):
        find_label(request_, len(names) or 3, names)


def test_a_class_without_training_items_is_never_requested() -> None:
    """Examples take turns among the trained classes, and the untrained class is refused by name and as a tensor."""
    declared = Conditioning(classes=3, class_names=("a", "b", "c"), untrained=(1,))
    y = example_conditions(declared, 5)
    assert isinstance(y, torch.Tensor) and y.tolist() == [0, 2, 0, 2, 0] and declared.labels == (0, 2)
    for request_ in ("b", "1"):
        with pytest.raises(InputError, match="no item of the class 'b' is in the training data.*classes a, c"):
            declared.label_of(request_)
    with pytest.raises(InputError, match="label 1: no item of the class 'b'"):
        declared.check(torch.tensor([0, 1]))
    declared.check(torch.tensor([0, 2, -1]))


def test_many_classes_are_shortened() -> None:
    names = tuple(f"class{i}" for i in range(1000))
    assert (
        describe_classes(1000, names).endswith("class19, ... (1000 in total))")
        and describe_classes(0) == "has no labels"
    )


def test_labels_of_an_opened_model() -> None:
    """In Python, `labels` converts names; a loader needs to declare the names only once."""
    model = ScoreModel(MLP((2,), 3, depth=1), VP(), condition=Conditioning(classes=3, class_names=NUMBERS))
    opened = OpenedModel(model=model, shape=(2,))
    assert opened.class_names == NUMBERS and opened.labels([1, "3", 2]).tolist() == [0, 2, 1]
    assert opened.labels([]).dtype == torch.int64
    with pytest.raises(InputError, match="label 0: this model has the classes 1, 2, 3"):
        opened.labels([0])
