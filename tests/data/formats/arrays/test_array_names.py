"""Choice of items and labels by the names of arrays."""

from __future__ import annotations

import re

import numpy as np
import pytest

from sdekit.data.formats.arrays.array_names import choose_arrays, parse_array_name
from sdekit.data.formats.arrays.numpy_files import Header
from sdekit.errors import InputError


@pytest.mark.parametrize(
    ("names", "split", "role"),
    [
        ("x X images img data features inputs input_images image_data", "", "items"),
        (
            "y Y labels label target targets class_id label_ids class_idx labels_onehot image_labels fine_labels",
            "",
            "labels",
        ),
        (
            "x_train X_train xTrain XTrain trainX xtrain train_x train_images images_train training-data train",
            "train",
            "items",
        ),
        ("y_train yTrain train_labels labels_train ytrain trainy TRAIN_Y train.target", "train", "labels"),
        ("x_test xTest t10k_images test_images testX test", "test", "items"),
        ("val_labels y_valid labels_dev", "val", "labels"),
        ("target_names class_names label_names", "", "names"),
        ("x_mean image_ids mean embedding arr_0 z feature_names train_test", "", ""),
    ],
)
def test_usual_names(names: str, split: str, role: str) -> None:
    for name in names.split():
        assert parse_array_name(name) == (split, role), name


def headers(**shapes: object) -> dict[str, Header]:
    """Headers of arrays; a shape may be followed by the type."""
    made = {}
    for name, value in shapes.items():
        shape, dtype = value if isinstance(value, tuple) and isinstance(value[-1], str) else (value, "f4")
        made[name] = Header(shape, np.dtype(dtype), False, 128)  # type: ignore[arg-type]
    return made


N, M = 8, 3
INT, TEXT = ((N,), "i8"), ((2,), "<U3")


@pytest.mark.parametrize(
    ("arrays", "items", "labels"),
    [
        (headers(x=(N, 2), y=INT), "x", "y"),
        (headers(y=INT, x=(N, 2)), "x", "y"),
        (headers(test_images=(M, 4, 4), test_labels=((M, 1), "i8"), train_images=(N, 4, 4), train_labels=INT),
         "train_images", "train_labels"),
        (headers(x_test=(M, 2), y_test=((M,), "i8"), x_train=(N, 2), y_train=INT), "x_train", "y_train"),
        (headers(x_test=(M, 2), y_test=((M,), "i8"), x_train=(N, 2)), "x_train", None),
        (headers(train=(N, 2), test=(M, 2), val=(M, 2)), "train", None),
        (headers(x_test=(M, 2), x=(N, 2), y=INT, y_test=((M,), "i8")), "x", "y"),
        (headers(x_train=(N, 2), labels=INT), "x_train", "labels"),
        (headers(arr_0=(N, 2), arr_1=INT), "arr_0", "arr_1"),
        (headers(arr_0=INT, arr_1=(N, 2)), "arr_1", "arr_0"),
        (headers(arr_0=(N, 4, 4), arr_1=((N, 1), "u1")), "arr_0", "arr_1"),
        (headers(arr_0=(N, 4, 4), arr_1=((N, 10), "f4")), "arr_0", "arr_1"),
        (headers(anything=(N, 2), labels=INT, more=((N,), "f4")), "anything", "labels"),
        (headers(images=(N, 4, 4), masks=(N, 4, 4)), "images", None),
        (headers(images=(N, 4, 4), image_ids=INT), "images", None),
        (headers(data=(N, 4), target=INT, target_names=TEXT, feature_names=((4,), "<U3")), "data", "target"),
        (headers(x=(N, 4), y=INT, classes=TEXT), "x", "y"),
        (headers(images=(N, 4, 4), fine_labels=INT, coarse_labels=INT), "images", None),
    ],
)  # fmt: skip
def test_choice(arrays: dict[str, Header], items: str, labels: str | None) -> None:
    """The order of the arrays has no effect."""
    for order in (list(arrays), list(arrays)[::-1]):
        choice = choose_arrays({name: arrays[name] for name in order}, "a.npz")
        assert (choice.items, choice.labels) == (items, labels)
        if len(arrays) > 2:
            assert any("not used:" in note for note in choice.notes) == (choice.names is None or len(arrays) > 3)


def test_notes_offer_the_options() -> None:
    """Arrays that may be labels are named if none or several of them have a usual name."""
    for arrays in (headers(images=(N, 4, 4), fine_labels=INT, coarse_labels=INT), headers(images=(N, 4, 4), digit=INT)):
        notes = choose_arrays(arrays, "a.npz").notes
        name = list(arrays)[1]
        assert any(name in note and "choose with --option data.labels=NAME" in note for note in notes)
    assert choose_arrays(headers(x=(N, 2), y=INT), "a.npz", labels="none").labels is None
    assert choose_arrays(headers(a=(N, 2), b=(N, 3), c=INT), "a.npz", items="b", labels="c")[:2] == ("b", "c")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (headers(a=(N, 2), b=(N, 3)), "several arrays that may be the items; choose one with --option data.items=NAME"),
        (headers(x=(N, 2), data=(N, 3)), "It contains x float32 (8, 2), data float32 (8, 3)"),
        (headers(x=(N, 2), x_train=(N, 3)), "several arrays"),
        (headers(arr_0=(N, 2), arr_1=INT, arr_2=(M, 2), arr_3=((M,), "i8")), "several arrays"),
        (headers(arr_0=(N, 4, 4), arr_1=(N, 4, 4)), "several arrays"),
        (headers(x_test=(M, 2), y_test=((M,), "i8")), "only a test or validation split; choose the items with"),
        (headers(val=(M, 2)), "only a test or validation split"),
        (headers(names=TEXT), "contains no array of numbers; it contains names <U3 (2,)"),
    ],
)
def test_ambiguous_files_are_refused(arrays: dict[str, Header], message: str) -> None:
    """The message lists the arrays with their shapes."""
    for order in (list(arrays), list(arrays)[::-1]):
        with pytest.raises(InputError, match="a.npz.*" + (re.escape(message) if order == list(arrays) else "")):
            choose_arrays({name: arrays[name] for name in order}, "a.npz")
