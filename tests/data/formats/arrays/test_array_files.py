"""NumPy files: vectors, images, and arrays that are neither."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from sdekit.data.formats import array
from sdekit.errors import InputError
from sdekit.training import plan

RNG = np.random.default_rng(0)


def saved(folder: Path, items: object, **more: object) -> str:
    file = folder / ("a.npz" if more else "a.npy")
    if more:
        np.savez(file, x=items, **more)  # type: ignore[arg-type]
    else:
        np.save(file, items)  # type: ignore[arg-type]
    return str(file)


@pytest.mark.parametrize(
    ("item", "shape", "layout"),
    [
        ((3,), (3,), "same"),
        ((5, 6), (1, 5, 6), "hw"),
        ((1, 5, 6), (1, 5, 6), "same"),
        ((5, 6, 3), (3, 5, 6), "hwc"),
        ((3, 6, 3), (3, 6, 3), "same"),
        ((5, 6, 4), (4, 5, 6), "hwc"),
    ],
)
def test_shapes(tmp_path: Path, item: tuple[int, ...], shape: tuple[int, ...], layout: str) -> None:
    items = RNG.normal(size=(7, *item)).astype(np.float32)
    data = array(saved(tmp_path, items))
    assert (
        data.shape == shape and data.units.layout == layout and data.kind == ("vector" if len(item) == 1 else "image")
    )
    x, y = data.batch([5, 1])
    assert x.shape == (2, *shape) and y is None
    np.testing.assert_allclose(data.units.to_data(x), items[[5, 1]], atol=1e-6)


def test_npy_is_memory_mapped(tmp_path: Path) -> None:
    assert isinstance(array(saved(tmp_path, RNG.normal(size=(7, 3)))).array, np.memmap)


def test_image_units(tmp_path: Path) -> None:
    units = array(saved(tmp_path, RNG.integers(0, 200, (9, 4, 4), dtype=np.uint8))).units
    assert (units.shift, units.scale, units.low, units.high) == (127.5, 127.5, 0, 255)
    units = array(saved(tmp_path, np.linspace(-1, 1, 32).reshape(2, 4, 4))).units
    assert (units.shift, units.scale, units.low, units.high) == (0, 1, -1, 1)
    units = array(saved(tmp_path, np.linspace(2, 6, 32).reshape(2, 4, 4))).units
    assert (units.shift, units.scale) == (4, 2)
    mask = RNG.integers(0, 2, (9, 4, 4))
    for dtype in (np.uint8, bool):
        units = array(saved(tmp_path, mask.astype(dtype))).units
        assert (units.shift, units.scale, units.high) == (0.5, 0.5, 1)
    units = array(saved(tmp_path, mask.astype(np.uint8)), scale="none").units
    assert (units.shift, units.scale, units.layout) == (0, 1, "hw")


def test_npz(tmp_path: Path) -> None:
    data = array(saved(tmp_path, RNG.normal(size=(3, 2)), y=np.array([1, 0, 1])))
    y = data.batch([0, 1]).y
    assert data.classes == 2 and y is not None and y.tolist() == [1, 0]


@pytest.mark.parametrize(("items", "labels"), [("images", "labels"), ("data", "y"), ("anything", "labels")])
def test_npz_keys(tmp_path: Path, items: str, labels: str) -> None:
    objects = np.array([None, "cat"], dtype=object)
    found = {"names": objects, "version": np.array(2), labels: np.array([[0], [3]]), items: np.zeros((2, 4, 4))}
    np.savez(tmp_path / "a.npz", **found)  # type: ignore[arg-type]
    data = array(str(tmp_path / "a.npz"))
    assert data.shape == (1, 4, 4) and data.class_names == ("0", "3")


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (np.zeros((3, 2), complex), "type complex128; expected real numbers"),
        (np.array([["a"], ["b"]]), "type <U1; expected real numbers"),
        (np.array([[None], [1]], dtype=object), "contains Python objects"),
        (np.zeros(5), r"shape \(5,\).*reshape"),
        (np.zeros((2, 1, 3, 4, 5, 6)), r"shape \(2, 1, 3, 4, 5, 6\); expected vectors"),
        (np.zeros((0, 3)), "empty array"),
        (np.zeros((3, 0)), "empty array"),
        (np.zeros((1, 3)), "only one item"),
        (np.zeros((2, 5, 6, 5)), "may come first or last"),
        (np.array([[0.0, 1.0], [np.nan, 2.0]]), r"nan at index \[1, 0\]"),
        (np.full((2, 4, 4), np.inf, np.float16), r"inf at index \[0, 0, 0\]"),
    ],
)
def test_bad_items(tmp_path: Path, items: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        array(saved(tmp_path, items))
    if items.size:
        with pytest.raises(InputError, match=message):
            array(saved(tmp_path, items, more=np.array(0)))


def test_bad_labels(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'y' in a.npz: 3 labels for 2 items"):
        array(saved(tmp_path, np.zeros((2, 3)), y=np.array([0, 1, 2])))


def test_columns_of_images(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'columns' is for vectors"):
        array(saved(tmp_path, np.zeros((2, 4, 4))), scale="columns")


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        array(str(tmp_path / "no.npy"))
    with pytest.raises(InputError, match="is a folder.*images:"):
        array(str(tmp_path))
    (tmp_path / "text.npy").write_text("hello, world")
    with pytest.raises(InputError, match="neither a .npy nor a .npz"):
        array(str(tmp_path / "text.npy"))
    file = Path(saved(tmp_path, np.zeros((100, 3))))
    file.write_bytes(file.read_bytes()[:-50])
    with pytest.raises(InputError, match="cannot be read .*complete"):
        array(str(file))
    file = Path(saved(tmp_path, np.zeros((100, 3)), y=np.zeros(100, int)))
    file.write_bytes(file.read_bytes()[:-50])
    with pytest.raises(InputError, match="cannot be read .*complete"):
        array(str(file))
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as archive:
        archive.writestr("cat.png", b"...")
    with pytest.raises(InputError, match="no array of numbers; it contains cat.png"):
        array(str(tmp_path / "other.npz"))


def test_numbers_to_condition_on(tmp_path: Path) -> None:
    """A name in the .npz, or a file of their own; (N,) is one number an item."""
    x, c = np.arange(24.0).reshape(6, 4), np.array([1.0, 2, 3, 4, 5, 6])
    np.savez(tmp_path / "d.npz", x=x, y=np.arange(6), c=np.stack([c, c**2], 1))
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "c.npy", c)
    inside = array(str(tmp_path / "d.npz"), condition="c")
    beside = array(str(tmp_path / "x.npy"), condition=str(tmp_path / "c.npy"))
    assert inside.condition_names == ("number1", "number2") and inside.classes == 0
    y = beside.batch([0, 5]).y
    assert y is not None and y.shape == (2, 1) and beside.condition_units is not None
    np.testing.assert_allclose(beside.condition_units.to_data(y), [[1], [6]], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "condition", "message"),
    [
        ("d.npz", "d", "no array in .* 'd'.* It contains: x, c, short"),
        ("d.npz", "short", "condition 'short' of d.npz: 2 rows for 6 items"),
        ("x.npy", "c", "write the condition to another file"),
        ("x.npy", "none.npy", "cannot be read"),
    ],
)
def test_numbers_that_do_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, condition: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    x = np.arange(24.0).reshape(6, 4)
    np.savez("d.npz", x=x, c=x[:, 0], short=x[:2])
    np.save("x.npy", x)
    with pytest.raises(InputError, match=message):
        array(name, condition=condition)


def written(folder: Path, **arrays: object) -> str:
    """Write an .npz file with eight items x_train and these arrays."""
    np.savez(folder / "a.npz", **({"x_train": RNG.normal(size=(8, 2))} | arrays))  # type: ignore[arg-type]
    return str(folder / "a.npz")


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (np.arange(8)[:, None] % 3 + 1, ("1", "2", "3")),
        (np.arange(8) % 2 * 5, ("0", "5")),
        (np.arange(8) % 2 * 2 - 1, ("-1", "1")),
        (np.arange(8.0) % 3, ("0", "1", "2")),
        (np.arange(8) % 2 == 1, ("False", "True")),
        (np.array(["dog", "cat"] * 4), ("cat", "dog")),
        (np.eye(3)[np.arange(8) % 3], ("0", "1", "2")),
    ],
)
def test_labels_of_the_training_split(tmp_path: Path, labels: np.ndarray, names: tuple[str, ...]) -> None:
    """Labels of every kind are read from y_train, never from the test split."""
    test = {"x_test": np.zeros((3, 2)), "y_test": np.array([7, 8, 9])}
    data = array(written(tmp_path, **test, y_train=labels))
    assert len(data) == 8 and data.class_names == names and data.classes == len(names)
    y = data.labels_of(range(8))
    assert (
        y is not None
        and [names[label] for label in y.tolist()]
        == [names[i] for i in np.unique(labels, axis=0, return_inverse=True)[1].ravel()]
        or labels.ndim == 2
    )
    assert "read 'x_train' as items and 'y_train' as labels; not used: x_test, y_test" in data.notes[0]


def test_labels_of_the_test_split_are_not_used(tmp_path: Path) -> None:
    data = array(written(tmp_path, y_test=np.arange(8)))
    assert data.classes == 0 and "not used: y_test" in data.notes[0]


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (np.zeros((8, 4, 4)), "labels of shape (8, 4, 4)"),
        (np.array([None] * 8), "contains Python objects"),
    ],
)
def test_arrays_that_are_no_labels(tmp_path: Path, labels: np.ndarray, reason: str) -> None:
    """They are left out with a note, which the message about missing labels repeats, unless the user chose them."""
    path = written(tmp_path, y_train=labels)
    data = array(path)
    assert data.classes == 0 and any("no labels were read" in note and reason in note for note in data.notes)
    with pytest.raises(InputError, match=re.escape(reason)):
        array(path, labels="y_train")
    with pytest.raises(InputError, match="has no labels to condition on.*" + re.escape(reason)):
        plan(f"array:{path}", condition="label")


@pytest.mark.parametrize(
    ("labels", "reason"),
    [(np.linspace(0, 1, 8), "label 0.142857 at index 1"), (np.full(8, np.nan), "label nan at index 0")],
)
def test_one_number_for_each_item_that_is_no_class(tmp_path: Path, labels: np.ndarray, reason: str) -> None:
    """It is refused with the option that trains without labels; as a condition it may be any finite number."""
    path = written(tmp_path, y_train=labels)
    with pytest.raises(InputError, match=f"{reason}; expected integers or text.*data.labels=none trains without"):
        array(path)
    assert array(path, labels="none").classes == 0
    if np.isfinite(labels).all():
        assert array(path, condition="y_train").condition_names == ("number1",)


def test_items_and_labels_of_choice(tmp_path: Path) -> None:
    """`items` and `labels` choose arrays; "none" reads no labels; names of classes may be stored too."""
    path = written(tmp_path, z=np.zeros((8, 5)), digit=np.arange(8) % 2, digit_names=np.array(["even", "odd"]))
    assert array(path, items="z").shape == (5,) and array(path).classes == 0
    assert array(path, labels="digit").class_names == ("0", "1")
    target = written(tmp_path, target=np.arange(8) % 2, target_names=np.array(["even", "odd"]))
    assert array(target, labels="target").class_names == ("even", "odd")
    assert array(target).class_names == ("even", "odd") and array(target, labels="none").class_names == ()
    for option in ({"items": "k"}, {"labels": "k"}):
        with pytest.raises(InputError, match="no array 'k'; it contains x_train float64"):
            array(target, **option)
    np.savez(tmp_path / "u.npz", np.zeros((8, 2)), np.zeros((8, 3)))
    with pytest.raises(InputError, match=r"'arr_1' in u.npz: labels of shape \(8, 3\)"):
        array(str(tmp_path / "u.npz"))
    assert array(str(tmp_path / "u.npz"), items="arr_1").shape == (3,)


def test_labels_beside_a_npy_file(tmp_path: Path) -> None:
    """Labels are read from the file with the name of the same split; `labels` names another file."""
    for name, values in {
        "x_train": RNG.normal(size=(4, 2)),
        "y_train": np.array([1, 2, 1, 2]),
        "y_test": [3, 4],
    }.items():
        np.save(tmp_path / name, values)
    data = array(str(tmp_path / "x_train.npy"))
    assert data.class_names == ("1", "2") and data.notes[0] == "the labels are read from y_train.npy"
    assert array(str(tmp_path / "x_train.npy"), labels="none").classes == 0
    np.save(tmp_path / "train_targets", np.array([0, 0, 0, 1]))
    data = array(str(tmp_path / "x_train.npy"))
    assert data.classes == 0 and "train_targets.npy, y_train.npy may be labels" in data.notes[0]
    assert array(str(tmp_path / "x_train.npy"), labels=str(tmp_path / "train_targets.npy")).class_names == ("0", "1")
    with pytest.raises(InputError, match="2 labels for 4 items"):
        array(str(tmp_path / "x_train.npy"), labels=str(tmp_path / "y_test.npy"))
    with pytest.raises(InputError, match="leave out data.items"):
        array(str(tmp_path / "x_train.npy"), items="x")


@pytest.mark.parametrize(
    ("shape", "expected", "note"),
    [
        ((3, 2, 16, 16), (2, 16, 16), "images (N, C, H, W) of 2 channels (--option data.layout=channels-last takes"),
        ((3, 16, 16, 2), (2, 16, 16), "images (N, H, W, C) of 2 channels (--option data.layout=channels-first takes"),
        ((3, 5, 16, 12), (5, 16, 12), "of 5 channels"),
        ((3, 64, 64, 3), (3, 64, 64), "(N, H, W, C) of 3 channels"),
        ((3, 3, 8, 3), (3, 8, 3), "(N, C, H, W) of 3 channels (--option data.layout=channels-last takes"),
        ((3, 8, 10), (1, 8, 10), "grey images (N, H, W)"),
        ((3, 7), (7,), "vectors (N, d)"),
    ],
)
def test_axes_are_reported(tmp_path: Path, shape: tuple[int, ...], expected: tuple[int, ...], note: str) -> None:
    """The number of channels is arbitrary, and the note states the axes and, if it is not certain, the other choice."""
    np.save(tmp_path / "a.npy", np.random.default_rng(0).random(shape))
    data = array(str(tmp_path / "a.npy"))
    assert data.shape == expected and note in data.notes[0], data.notes
    assert data.units.to_data(data.batch([0, 1]).x).shape == (2, *shape[1:])


def test_layout_is_chosen(tmp_path: Path) -> None:
    """The option layout overrides the choice, and is needed if the channels may come first or last."""
    file = str(tmp_path / "a.npy")
    np.save(file, np.random.default_rng(0).random((3, 8, 6, 8)))
    with pytest.raises(InputError, match="may come first or last: pass --option data.layout="):
        array(file)
    assert array(file, layout="channels-first").shape == (8, 6, 8)
    assert array(file, layout="channels-last").shape == (8, 8, 6)
    assert array(file, layout="channels-last").units.layout == "hwc"
    with pytest.raises(InputError, match="layout grey needs"):
        array(file, layout="grey")
