"""`Samples`: short descriptions, pictures, arrays and files."""

from __future__ import annotations

import base64
import csv
import json
import math
import re
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from sdekit import VP, GaussianMixture, Samples, sample
from sdekit.errors import InputError

SHAPES = {"vector": (2,), "sequence": (2, 16), "image": (1, 4, 4), "volume": (1, 3, 4, 5)}


def draw(shape: tuple[int, ...], n: int = 5, **options: Any) -> Samples:
    """Samples of a standard normal distribution."""

    def denoise(x: Tensor, t: Tensor, y: Any = None) -> Tensor:
        return x * VP().alpha(t).to(x.dtype)

    return sample(VP(), denoise, options.pop("sampler", "heun"), shape=shape, n=n, steps=4, **options)


@pytest.mark.parametrize("shape", [*SHAPES.values(), (1,), (7,), (2, 1, 1, 1, 2)], ids=str)
def test_repr_is_short(shape: tuple[int, ...]) -> None:
    """The description has one line, and does not grow with the number of samples."""
    for n in (1, 40):
        text = repr(draw(shape, n))
        assert len(text) < 200 and "\n" not in text
        assert f"shape={(n, *shape)}" in text and "float32" in text and "nfe=7" in text and "heun" in text
    assert "seeds=3, 10-12, 7" in repr(draw(shape, 5, seeds=(3, 10, 11, 12, 7)))
    assert len(repr(draw((1,), seeds=range(0, 90, 3), n=None))) < 200


def test_values_that_are_not_finite_are_counted() -> None:
    """The range of values ignores NaN and infinity, and states how many there are."""
    x = torch.tensor([[1.0, math.nan], [-2.0, math.inf]])
    assert "values=-2 to 1 (2 not finite)" in repr(Samples(x, 1, (0, 1), torch.ones(1)))
    assert "none finite" in repr(Samples(x[:, 1:], 1, (0, 1), torch.ones(1)))


@pytest.mark.parametrize("kind", SHAPES)
def test_html_has_a_table_and_a_picture(kind: str) -> None:
    """The picture is part of the text, there is nothing to load, and the page's own colours are used for text."""
    html = draw(SHAPES[kind])._repr_html_()
    content = re.search(r'src="data:image/png;base64,([^"]+)"', html)
    assert content and min(Image.open(BytesIO(base64.b64decode(content[1]))).size) > 50
    assert not re.search(r"https?:|<script|<link|color: *(#|black|white)", html.replace("background: white", ""))
    assert "7 network evaluations" in html and len(html) < 300_000


def test_other_shapes_have_a_table_only() -> None:
    """Samples of five axes have no picture, and `plot` says so."""
    samples = draw((1, 1, 2, 2, 2))
    assert samples.kind == "" and "<img" not in samples._repr_html_()
    with pytest.raises(InputError, match="to_numpy"):
        samples.plot()


@pytest.mark.parametrize("kind", SHAPES)
def test_plots_are_figures_that_a_notebook_shows(kind: str) -> None:
    """`plot` returns a figure of matplotlib, which needs no pyplot to be shown; so does the film strip."""
    from matplotlib.figure import Figure

    samples = draw(SHAPES[kind], trajectory=True)
    for figure in (samples.plot(), samples.plot(2), samples.plot(trajectory=True)):
        assert isinstance(figure, Figure) and figure.axes
    strip: Any = samples.plot_trajectory(frames=3)
    width, height = Image.open(BytesIO(strip._repr_png_())).size
    assert width > height / 2 and samples.kind == kind
    with pytest.raises(InputError, match="trajectory=True"):
        draw(SHAPES[kind]).plot(trajectory=True)


def test_film_strip_shows_the_steps_in_order() -> None:
    """Noise of any level fills the panel, and the last column is x_0."""
    from sdekit.plotting import film_strip

    x = torch.randn(2, 1, 4, 4).numpy()
    states = np.stack([80 * x, 3 * x, x])
    figure = film_strip(states, ["t = 80", "t = 3", "x_0"], kind="image")
    pixels = np.asarray(figure.axes[0].images[0].get_array())
    cell = pixels.shape[1] // 3 + 4
    first, last = pixels[30:, :60], pixels[30:, 2 * cell : 2 * cell + 60]
    assert np.abs(first.astype(int) - last.astype(int)).max() <= 2


def test_animation_has_a_frame_for_each_state(tmp_path: Path) -> None:
    """The file is an animated GIF that repeats."""
    for kind, shape in SHAPES.items():
        path = draw(shape, trajectory=True).animate(tmp_path / f"{kind}.gif")
        with Image.open(path) as image:
            assert image.n_frames == 5 and image.info["loop"] == 0
    with pytest.raises(InputError, match=r"\.gif"):
        draw((2,), trajectory=True).animate(tmp_path / "x.mp4")


def test_arrays_are_copies() -> None:
    """`to_numpy` returns x itself in the units of the model if there is no model, and changes of it stay outside."""
    samples = draw((3,), dtype=torch.float64)
    array = samples.to_numpy()
    assert array.dtype == np.float64 and np.array_equal(array, samples.x.numpy())
    array[:] = 0
    assert samples.to_numpy().any() and samples.x.any() and len(samples) == 5


def test_files_contain_the_samples(tmp_path: Path) -> None:
    """Every suffix gives a file that its usual reader opens with equal numbers."""
    y = torch.tensor([0, 1, 0, 1, 1])
    samples = draw((2,), trajectory=True, y=y)
    numbers = samples.to_numpy()
    assert np.array_equal(np.load(samples.save(tmp_path / "a.npy")), numbers)
    with np.load(samples.save(str(tmp_path / "new" / "a.npz"))) as arrays:
        assert np.array_equal(arrays["x"], numbers) and arrays["seeds"].tolist() == [0, 1, 2, 3, 4]
        assert arrays["y"].tolist() == y.tolist() and len(arrays["times"]) == 4
    header, *rows = csv.reader(samples.save(tmp_path / "a.csv").open(newline=""))
    assert header == ["x0", "x1", "class"] and [row[2] for row in rows] == ["0", "1", "0", "1", "1"]
    assert np.array_equal(np.array(rows)[:, :2].astype(np.float32), numbers)
    fields = torch.load(samples.save(tmp_path / "a.pt"), weights_only=True)
    assert torch.equal(fields["x"], samples.x) and fields["trajectory"].shape == (5, 5, 2) and fields["nfe"] == 7
    assert Image.open(samples.save(tmp_path / "A.PNG")).size[0] > 100


def test_saved_arrays_are_data(tmp_path: Path) -> None:
    """The data set `array:` reads samples and labels of a saved .npz file."""
    from sdekit.training import load_data

    samples = draw((2,), n=40, y=torch.arange(40) % 2)
    data, _ = load_data(f"array:{samples.save(tmp_path / 'a.npz')}")
    assert len(data) == 40 and data.classes == 2


@pytest.mark.parametrize("kind", SHAPES)
def test_folders_contain_array_pictures_and_record(kind: str, tmp_path: Path) -> None:
    """A path without a suffix is a folder, and so is one that exists."""
    samples, folder = draw(SHAPES[kind]), tmp_path / "out"
    assert samples.save(folder) == folder
    assert np.array_equal(np.load(folder / "samples.npy"), samples.to_numpy())
    assert json.loads((folder / "sample.json").read_text())["seeds"] == [0, 1, 2, 3, 4]
    assert len(list(folder.glob("*.png"))) == 1 and (folder / "images/4.png").exists() == (kind == "image")
    before = sorted(folder.rglob("*"))
    with pytest.raises(InputError, match="overwrite=True"):
        samples.save(folder)
    samples.save(folder, overwrite=True)
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.csv", "a.png", "a.pt"])
def test_nothing_is_replaced_silently(name: str, tmp_path: Path) -> None:
    """An existing file is replaced only with overwrite=True."""
    path = tmp_path / name
    path.write_bytes(b"mine")
    with pytest.raises(InputError, match="overwrite=True"):
        draw((2,)).save(path)
    assert path.read_bytes() == b"mine"
    assert draw((2,)).save(path, overwrite=True).read_bytes() != b"mine"


def test_wrong_targets_are_refused(tmp_path: Path) -> None:
    """Another suffix is answered with the list, and images do not fit into a table."""
    samples = draw((1, 4, 4))
    for name in ("a.jpg", "a.mat", "a.parquet"):
        with pytest.raises(InputError, match=r"\.npy, \.npz, \.csv, \.png, \.pt"):
            samples.save(tmp_path / name)
    with pytest.raises(InputError, match=r"save them as \.npy"):
        samples.save(tmp_path / "a.csv")
    (tmp_path / "file").write_text("")
    for name in ("file", "file/a.npy"):
        with pytest.raises(InputError, match="choose another"):
            samples.save(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_classes_have_names() -> None:
    """Labels are shown in the description; without a model they have no other names."""
    samples = draw((2,), y=torch.tensor([3, 1, 1, 3, 3]))
    assert samples.class_names == ["3", "1", "1", "3", "3"] and "classes=1, 3" in repr(samples)
    assert draw((2,)).class_names is None and draw((2,), y=torch.zeros(5, 3)).class_names is None


def test_mixture_samples_carry_no_model() -> None:
    """Samples of `sample` itself work by guesses from their shape."""
    mixture, sde = GaussianMixture(torch.tensor([[0.0, 1.0]]), 0.3), VP()
    samples = sample(sde, mixture.denoiser(sde), "ddim", shape=(2,), n=3, steps=3)
    assert samples.model is None and samples.solver == "ddim"
