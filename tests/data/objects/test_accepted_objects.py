"""Python objects as data: each accepted kind gives the right items, and other objects are refused with a remedy."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from sdekit.data import digits
from sdekit.data.objects import dataset_from_object, object_spec
from sdekit.errors import InputError

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(12, 3)).astype(np.float32), np.arange(12) % 3
PIXELS = RNG.integers(0, 256, (6, 8, 10, 3)).astype(np.uint8)


class Items(Dataset[Any]):
    """A map-style data set of the elements of a list."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


class Noisy(Items):
    """A data set with a random transform."""

    def __getitem__(self, index: int) -> Any:
        return torch.randn(3)


class Stream(IterableDataset[Any]):
    """A data set without an index."""

    def __iter__(self) -> Iterator[Any]:
        yield torch.zeros(3)


class WithoutLength(Dataset[Any]):
    """A data set without a length."""

    def __getitem__(self, index: int) -> Any:
        return torch.zeros(3)


class Broken(Items):
    """A data set whose second item cannot be read."""

    def __getitem__(self, index: int) -> Any:
        if index == 1:
            raise KeyError("file-1.png")
        return torch.zeros(3)


def values(data: Any, **options: Any) -> tuple[np.ndarray, list[str] | None]:
    """Return all items in the units of the data, and the name of the class of each item."""
    found = dataset_from_object(data, **options)
    x, y = found.batch(range(len(found)))
    return found.units.to_data(x), None if y is None or not found.classes else [found.class_names[i] for i in y]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(X, id="array"),
        pytest.param(torch.from_numpy(X), id="tensor"),
        pytest.param(torch.from_numpy(X).requires_grad_(), id="tensor with a gradient"),
        pytest.param(X.astype(np.float64)[:, ::1], id="float64"),
        pytest.param(X.tolist(), id="nested list"),
        pytest.param(list(X), id="list of arrays"),
        pytest.param(list(torch.from_numpy(X)), id="list of tensors"),
        pytest.param(TensorDataset(torch.from_numpy(X)), id="TensorDataset"),
        pytest.param(Subset(TensorDataset(torch.from_numpy(X)), range(12)), id="Subset"),
        pytest.param(Items([(x,) for x in X]), id="tuples of one"),
        pytest.param(ConcatDataset([Items(list(X[:5])), Items(list(X[5:]))]), id="ConcatDataset"),
        pytest.param(Items([{"x": x, "name": "a"} for x in X]), id="dictionaries"),
        pytest.param(pd.DataFrame(X, columns=list("abc")), id="DataFrame"),
    ],
)
def test_vectors_of_every_kind_are_the_same(data: Any) -> None:
    """The items do not depend on the kind of object."""
    items, names = values(data)
    np.testing.assert_allclose(items, X, rtol=1e-5, atol=1e-6)
    assert names is None


@pytest.mark.parametrize(
    "data",
    [
        (X, Y),
        (torch.from_numpy(X), torch.from_numpy(Y)),
        (list(X), Y.tolist()),
        TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)),
        Items(list(zip(X, Y, strict=True))),
        [(torch.from_numpy(x), torch.tensor(y)) for x, y in zip(X, Y, strict=True)],
        [{"data": x, "label": int(y)} for x, y in zip(X, Y, strict=True)],
        Items([[torch.from_numpy(x), y] for x, y in zip(X, Y, strict=True)]),
    ],
    ids=["arrays", "tensors", "lists", "TensorDataset", "pairs", "list", "dictionaries", "lists of two"],
)
def test_labels_of_every_kind_are_the_same(data: Any) -> None:
    """y gives the classes, and label="none" leaves it out."""
    assert values(data)[1] == [str(y) for y in Y]
    assert values(data, label="none")[1] is None


def test_labels_can_be_text() -> None:
    """Texts are the names of the classes."""
    assert values(Items([(x, "dog" if y else "cat") for x, y in zip(X, Y, strict=True)]))[1][:2] == ["cat", "dog"]


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        (PIXELS, (3, 8, 10)),
        (torch.from_numpy(PIXELS.transpose(0, 3, 1, 2).copy()), (3, 8, 10)),
        ([Image.fromarray(pixels) for pixels in PIXELS], (3, 8, 10)),
        ([(Image.fromarray(pixels), 0) for pixels in PIXELS], (3, 8, 10)),
        ([Image.fromarray(pixels[..., 0]) for pixels in PIXELS], (1, 8, 10)),
        ([Image.fromarray(PIXELS[0, ..., 0]), *(Image.fromarray(pixels) for pixels in PIXELS)], (3, 8, 10)),
        ([Image.fromarray(pixels).convert("RGBA") for pixels in PIXELS], (3, 8, 10)),
    ],
    ids=["channels last", "channels first", "Pillow", "Pillow with labels", "grey", "grey and colour", "RGBA"],
)
def test_images_have_channels_first_and_pixels_from_0_to_255(data: Any, shape: tuple[int, ...]) -> None:
    """uint8 images are mapped from 0..255, and the channels come first in the model."""
    found = dataset_from_object(data)
    assert (found.shape, found.kind, found.units.low, found.units.high) == (shape, "image", 0, 255)
    x = found.batch([len(found) - 1]).x[0, 0] * 127.5 + 127.5
    np.testing.assert_allclose(x, PIXELS[-1, ..., 0], atol=1e-3)


def test_images_of_several_sizes_are_resized() -> None:
    """Images of Pillow need one size, or the option size."""
    images = [Image.new("L", (9, 8), 40), Image.new("L", (16, 20), 200)]
    with pytest.raises(InputError, match=r"list\[1\] has the shape \(1, 20, 16\).*size='64x48'"):
        dataset_from_object(images)
    assert dataset_from_object(images, size="6x4").shape == (1, 4, 6)


def test_images_of_16_bits_keep_their_numbers() -> None:
    """Grey images of more than 8 bits are mapped by their range."""
    deep = [Image.fromarray(np.array([[0, 1000], [i, 500]], np.int32)) for i in (1, 2)]
    assert values(deep)[0].max() == pytest.approx(1000)


def test_layout_and_scale_apply_to_arrays() -> None:
    """The options of array files have the same meaning for arrays in memory."""
    array = np.zeros((4, 3, 5, 3), np.float32) + np.linspace(0, 1, 3, dtype=np.float32)
    assert dataset_from_object(array).shape == (3, 5, 3)
    assert dataset_from_object(array, layout="channels-last").shape == (3, 3, 5)
    assert dataset_from_object(X, scale="none").units.scale == 1.0


def test_numbers_condition_on_y() -> None:
    """y of numbers is a condition by request, and a note says so otherwise."""
    y = RNG.normal(size=12)
    data = dataset_from_object((X, y), condition="numbers")
    assert data.condition_names == ("number1",) and data.batch([0]).y.shape == (1, 1)
    assert dataset_from_object((X, RNG.normal(size=(12, 5))), condition="embedding").condition_shape == (5,)
    assert "condition='numbers'" in " ".join(dataset_from_object((X, y)).notes)


def test_items_larger_than_the_memory_are_read_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Items and units are the same whether the items are in memory or read for each batch."""
    items = Items(list(zip(PIXELS.astype(np.float32), [0, 1] * 3, strict=True)))
    whole = dataset_from_object(items)
    monkeypatch.setattr("sdekit.data.objects.item_reading.MOST_BYTES", 100)
    lazy = dataset_from_object(items)
    assert (lazy.units, lazy.shape, lazy.classes, len(lazy)) == (whole.units, whole.shape, 2, 6)
    for one, two in zip(whole.batch([4, 1, 4]), lazy.batch([4, 1, 4]), strict=True):
        assert one is not None and two is not None and torch.equal(one, two)
    mixed = Items([Image.fromarray(PIXELS[0, ..., 0]), *(Image.fromarray(pixels) for pixels in PIXELS)])
    assert dataset_from_object(mixed).batch([0]).x.shape == (1, 3, 8, 10)


def test_data_sets_of_sdekit_stay_as_they_are() -> None:
    """A data set of sdekit is used itself."""
    data = digits()
    assert dataset_from_object(data) is data
    with pytest.raises(InputError, match="has no options, got layout"):
        dataset_from_object(data, layout="grey")


def test_names_are_those_of_the_classes() -> None:
    """A recipe records the class of an object."""
    assert object_spec(TensorDataset(torch.zeros(2, 2))) == "python:TensorDataset"
    assert object_spec((torch.zeros(2, 2), 1)) == "python:Tensor"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (DataLoader(Items(list(X))), "pass its data set, loader.dataset"),
        (Stream(), "no items with an index"),
        ((x for x in X), "read only once; pass list"),
        (iter(X), "read only once; pass list"),
        ({"x": X}, "data must be a SPEC.*got a dict with the keys x; of a dictionary of arrays pass"),
        ({1, 2}, "data must be a SPEC such as 'digits'"),
        (3, "data must be a SPEC such as 'digits'.*got 3"),
        (None, "got None"),
        (Items, "the class Items .create an object"),
        (len, "data must be a SPEC"),
        ([], "an empty list"),
        (Items([]), "is empty"),
        (X[:0], "an empty array"),
        (X[:1], "only one item"),
        (X[:, 0], r"use .reshape\(-1, 1\)"),
        ((X, Y[:5]), "x has 12 items, and y has the shape"),
        ((X, Y, Y), "a tuple of 3"),
        (TensorDataset(*[torch.zeros(3, 1)] * 3), "it has 3 tensors"),
        (Items([(1.0, 2.0, 3.0)] * 3), "an item has 3 parts"),
        ([torch.zeros(3), torch.zeros(4)], r"list\[1\] has the shape \(4,\), and item 0 has \(3,\)"),
        ([[1.0, 2.0], [3.0]], "all rows need equal lengths"),
        (np.array([np.zeros(2), np.zeros(3)], object), "all items need the same shape"),
        (torch.zeros(3, 2, dtype=torch.complex64), "complex64; expected real numbers"),
        (torch.eye(3).to_sparse(), "not dense"),
        (torch.zeros(3, 2, device="meta"), "on the device meta"),
        (np.array([[1.0, np.nan], [0, 1]]), r"nan at index \[0, 1\]"),
        (torch.tensor([[1.0, torch.inf], [0, 1]]), "not finite"),
        (np.ma.masked_array(X, X > 0), "masked values"),
        (np.array([["a", "b"], ["c", "d"]]), "expected real numbers"),
        (Noisy([0] * 4), "item 0 changes from one call to the next.*augment"),
        (WithoutLength(), "has no length.*__len__"),
        (Broken([0] * 3), r"item 1 of 3 cannot be read \(KeyError: 'file-1.png'\)"),
        ([None, None], r"list\[0\] is None"),
        (["a", "b"], r"list\[0\] is 'a'"),
        (Items([(X[0], 1), (X[1], None), (X[2], 0)]), "item 1 has no label"),
        (Items([{"a": X[0], "b": X[1]}] * 2), "several keys of an item may be x.*column='NAME'.*a, b"),
        (np.zeros((4, 6, 5, 6)), "{'data': {'layout': 'channels-first'}}"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else type(value).__name__,
)
def test_other_objects_are_refused_with_a_remedy(data: Any, message: str) -> None:
    """The message names the object, the problem and the objects that are accepted or the remedy."""
    with pytest.raises(InputError, match=message):
        dataset_from_object(data)


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (X, {"column": "a"}, "column does not apply to an array"),
        (X, {"size": 4}, "size does not apply to an array"),
        (Items(list(X)), {"size": 4}, "size resizes images of Pillow"),
        (Items(list(X)), {"column": "a"}, "is the key of a dictionary"),
        (Items([{"a": X[0], "b": 1}] * 2), {"column": "c"}, "no key of its items; the keys are a, b"),
        (X, {"condition": "numbers"}, "has no y to condition on"),
        ((X, Y), {"condition": "labels"}, "'numbers' or 'embedding', got 'labels'"),
        (X, {"layout": "grey"}, "layout grey"),
        (pd.DataFrame(X), {"kind": "image"}, "do not apply to the rows of a table"),
        (X, {"drop_missing": True}, "are for the columns of a table"),
        ([Image.new("L", (4, 4))] * 2, {"layout": "grey"}, "the items are images of Pillow"),
    ],
)
def test_options_that_do_not_apply_are_refused(data: Any, options: dict[str, Any], message: str) -> None:
    """An option is never ignored."""
    with pytest.raises(InputError, match=message):
        dataset_from_object(data, **options)


def test_missing_values_of_a_frame() -> None:
    """A missing value is an error that names drop_missing, which leaves out the row."""
    frame = pd.DataFrame({"a": [1.5, None, 3.5, 0.25], "b": [1.0, 2.0, 3.0, 4.0]})
    with pytest.raises(InputError, match="row 1, column 'a'.*drop_missing=True"):
        dataset_from_object(frame)
    assert len(dataset_from_object(frame, drop_missing=True)) == 3
