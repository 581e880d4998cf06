"""Kinds of arrays: vectors, sequences, images and volumes are distinguished by a rule, and options override it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sdekit.data import InMemoryDataset
from sdekit.data.formats import array
from sdekit.errors import InputError

RNG = np.random.default_rng(0)


def opened(folder: Path, items: np.ndarray, **options: str) -> InMemoryDataset:
    """Write an array to a file and open it as a data set."""
    np.save(folder / "a.npy", items)
    return array(str(folder / "a.npy"), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("axes", "options", "kind", "shape", "layout"),
    [
        ((1, 50), {}, "sequence", (1, 50), "same"),
        ((2, 3), {}, "sequence", (2, 3), "same"),
        ((100, 2), {}, "sequence", (2, 100), "lc"),
        ((12, 100), {}, "sequence", (12, 100), "same"),
        ((40,), {}, "vector", (40,), "same"),
        ((40,), {"kind": "sequence"}, "sequence", (1, 40), "l"),
        ((12, 16), {}, "image", (1, 12, 16), "hw"),
        ((12, 16), {"kind": "sequence"}, "sequence", (12, 16), "same"),
        ((16, 12), {"kind": "sequence"}, "sequence", (12, 16), "lc"),
        ((16, 12), {"layout": "channels-first"}, "sequence", (16, 12), "same"),
        ((9, 9), {"kind": "sequence", "layout": "channels-last"}, "sequence", (9, 9), "lc"),
        ((2, 50), {"kind": "image"}, "image", (1, 2, 50), "hw"),
        ((2, 50), {"layout": "grey"}, "image", (1, 2, 50), "hw"),
        ((3, 1, 50), {"kind": "image"}, "image", (3, 1, 50), "same"),
        ((6, 7, 8), {"kind": "volume"}, "volume", (1, 6, 7, 8), "dhw"),
        ((1, 6, 7, 8), {}, "volume", (1, 6, 7, 8), "same"),
        ((6, 7, 8, 3), {}, "volume", (3, 6, 7, 8), "dhwc"),
    ],
)
def test_kinds(
    tmp_path: Path, axes: tuple[int, ...], options: dict[str, str], kind: str, shape: tuple[int, ...], layout: str
) -> None:
    """The shape determines the kind and the axis of the channels, and samples have the axes of the array."""
    items = RNG.normal(3, 2, (6, *axes)).astype(np.float32)
    data = opened(tmp_path, items, **options)
    assert (data.kind, data.shape, data.units.layout) == (kind, shape, layout)
    x = data.batch([4, 1]).x
    assert x.shape == (2, *shape)
    np.testing.assert_allclose(data.units.to_data(x), items[[4, 1]], atol=1e-5)
    assert f"{kind}s" in data.notes[0]


def test_channels_of_sequences_are_standardized_separately(tmp_path: Path) -> None:
    """Every channel has mean 0 and standard deviation 1 in the model; a constant channel is shifted only."""
    items = RNG.normal(size=(50, 3, 40)) * np.array([[1.0], [100.0], [0.0]]) + np.array([[5.0], [-3.0], [7.0]])
    for values, axis in ((items, 1), (np.moveaxis(items, 1, -1), -1)):
        data = opened(tmp_path, values)
        x = data.batch(range(50)).x.double()
        assert x.mean((0, 2)).abs().max() < 1e-6
        assert np.allclose(x.std((0, 2), correction=0), [1, 1, 0], atol=1e-6), axis
    assert opened(tmp_path, items, scale="global").batch(range(50)).x.abs().max() == pytest.approx(1)
    assert opened(tmp_path, items, scale="none").units.scale == 1


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (RNG.integers(0, 255, (5, 2, 90), dtype=np.uint8), "data.kind=sequence or --option data.kind=image"),
        (RNG.normal(size=(5, 12, 40)), "data.kind=sequence or --option data.kind=image"),
        (RNG.normal(size=(5, 1, 1, 90)), r"sequences with an axis of one entry. Use .reshape\(5, 1, 90\)"),
        (RNG.normal(size=(5, 90, 1, 2)), r"Use .reshape\(5, 90, 2\)"),
        (RNG.normal(size=(5, 24, 32, 32)), "data.kind=volume or --option data.kind=image"),
        (RNG.normal(size=(5, 9, 9, 9)), "may come first or last.*data.kind=volume"),
    ],
)
def test_ambiguous_arrays(tmp_path: Path, items: np.ndarray, message: str) -> None:
    """An array that may be of two kinds is refused, and the message names the options."""
    with pytest.raises(InputError, match=message):
        opened(tmp_path, items)


@pytest.mark.parametrize(
    ("axes", "options", "message"),
    [
        ((2, 50), {"kind": "vector"}, r"kind vector needs an array \(N, d\).*reshape\(N, -1\)"),
        ((5,), {"kind": "image"}, r"kind image needs an array \(N, H, W\), \(N, C, H, W\) or \(N, H, W, C\)"),
        ((2, 3, 4, 5), {"kind": "sequence"}, r"kind sequence needs an array \(N, L\), \(N, C, L\) or \(N, L, C\)"),
        ((2, 50), {"kind": "sequence", "layout": "grey"}, "layout grey is for grey images"),
        ((9, 9), {"kind": "sequence"}, "channels of sequences.*channels-first or data.layout=channels-last"),
        ((5, 5), {"kind": "image", "layout": "channels-last"}, "layout channels-last needs"),
    ],
)
def test_options_that_do_not_fit(tmp_path: Path, axes: tuple[int, ...], options: dict[str, str], message: str) -> None:
    """Options that do not suit the shape are refused."""
    with pytest.raises(InputError, match=message):
        opened(tmp_path, RNG.normal(size=(6, *axes)), **options)


@pytest.mark.parametrize("dtype", [np.float32, np.uint8], ids=["float32", "uint8"])
def test_volumes_are_standardized(tmp_path: Path, dtype: type[np.generic]) -> None:
    """All numbers of volumes have mean 0 and variance 1, and the range of the data is known; "global" maps it."""
    items = (200 * RNG.random((5, 2, 6, 7, 8)) ** 4).astype(dtype)
    data = opened(tmp_path, items)
    x = data.batch(range(5)).x
    assert abs(float(x.mean())) < 1e-5 and float(x.std(correction=0)) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(data.units.to_data(x), items, atol=1e-3)
    assert (data.units.low, data.units.high) == (float(items.min()), float(items.max()))
    assert opened(tmp_path, items.astype(np.float32), scale="global").batch(range(5)).x.abs().max() <= 1


def test_grey_images_of_pixels(tmp_path: Path) -> None:
    """Values of pixels make an array (N, H, W) images, whatever their sides are up to a ratio of 4."""
    for items in (RNG.random((5, 12, 40)), RNG.integers(0, 255, (5, 12, 40), dtype=np.uint8)):
        assert opened(tmp_path, items).kind == "image"


def test_flattened_sequences_have_a_hint(tmp_path: Path) -> None:
    """Vectors of similar neighbours are still vectors, and a note names the option; other vectors have no hint."""
    smooth = np.sin(np.arange(64) / 5 + RNG.random((20, 1)))
    assert "data.kind=sequence" in opened(tmp_path, smooth).notes[0]
    assert "data.kind=sequence" not in opened(tmp_path, RNG.normal(size=(20, 64))).notes[0]
