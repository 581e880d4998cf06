"""Order of class names, and the renumbering of labels for runs of earlier versions."""

from __future__ import annotations

import numpy as np
import pytest

from sdekit.data import Dataset, InMemoryDataset, Units, sort_names, trained_labels, whole_number, with_classes


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("10 9 1 9", "1 9 10"),
        ("-1 1 -10", "-10 -1 1"),
        ("class10 class2 class1", "class1 class2 class10"),
        ("b 10 a 9", "9 10 a b"),
        ("02 1 003", "1 02 003"),
        ("2.5 10 1", "1 2.5 10"),
        ("v1.10 v1.9", "v1.9 v1.10"),
    ],
)
def test_numbers_in_names_sort_as_numbers(names: str, expected: str) -> None:
    assert sort_names(names.split()) == tuple(expected.split())


def test_whole_numbers() -> None:
    """A number with a fraction, a number word, or more than 18 digits is not a whole number."""
    values = [
        whole_number(name) for name in ("7", "-1", "007", "2.0", "1e2", "2.5", "cat", "1_0", "nan", "9" * 19, "²")
    ]
    assert values == [7, -1, 7, 2, 100, None, None, None, None, None, None]


def labelled(names: tuple[str, ...], labels: tuple[int, ...] = (0, 1, 2)) -> Dataset:
    """A data set of three items."""
    y = np.array(labels)
    return InMemoryDataset(np.zeros((3, 2)), units=Units(), labels=y, classes=len(names), class_names=names)


@pytest.mark.parametrize(
    ("names", "classes", "recorded", "expected"),
    [
        (("0", "1", "10"), 3, ("0", "1", "10"), [0, 1, 2]),
        (("9", "10", "11"), 3, ("10", "11", "9"), [2, 0, 1]),
        (("1", "2", "3"), 4, (), [1, 2, 3]),
        (("b", "c", "d"), 4, ("a", "b", "c", "d"), [1, 2, 3]),
        (("b", "c", "d"), 3, ("b", "c", "e"), [0, 1, 2]),
        (("-1", "0", "1"), 4, (), [0, 1, 2]),
    ],
    ids=["same", "text-order", "numbers-as-positions", "subset", "another-class", "not-a-position"],
)
def test_labels_of_a_run_are_kept(
    names: tuple[str, ...], classes: int, recorded: tuple[str, ...], expected: list[int]
) -> None:
    """Labels are those of the run if it has all classes; otherwise the data set is unchanged."""
    data = labelled(names)
    renumbered = with_classes(data, classes, recorded)
    (x, y), z = renumbered.batch([0, 1, 2]), renumbered.labels_of([0, 1, 2])
    assert (None if y is None else y.tolist()) == (None if z is None else z.tolist()) == expected
    assert x.shape == (3, 2) and len(renumbered) == 3 and renumbered.shape == (2,)
    if renumbered is not data:
        assert (renumbered.classes, renumbered.class_names) == (classes, recorded)


def test_trained_labels() -> None:
    assert trained_labels(4, (1, 3)) == (0, 2)
