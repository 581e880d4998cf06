"""Operators: adjoints, singular values, shapes and errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from sdekit import registry
from sdekit.errors import InputError
from sdekit.inverse.operators import (
    Average,
    Blur,
    FourierMask,
    Function,
    Grayscale,
    LinearOperator,
    Magnitude,
    Mask,
    Matrix,
    NonLinear,
    Radon,
    check_linear,
)


def random(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers, float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


IMAGE = (3, 8, 8)
LINEAR: dict[str, LinearOperator] = {
    **{
        name: registry.build("operator", name, IMAGE)
        for name in registry.component_names("operator")
        if name not in ("phase", "matrix")
    },
    "mask of a vector": registry.build("operator", "mask", (7,), keep=0.4),
    "average of a vector": Average((12,), 3),
    "blur of odd sides": registry.build("operator", "blur", (2, 9, 7), std=1.0),
    "blur of a sequence": registry.build("operator", "blur", (2, 12), std=1.0),
    "blur of a volume": registry.build("operator", "blur", (1, 3, 4, 5), std=0.7),
    "average of a volume": Average((1, 4, 2, 6), 2),
    "blur by a lopsided kernel": Blur((1, 6, 6), random(3, 5).abs()),
    "fourier mask of odd sides": registry.build("operator", "fourier-mask", (1, 5, 7)),
    "fourier mask of one sign": FourierMask(torch.eye(6)),
    "matrix": Matrix(random(5, 12), (3, 2, 2)),
    "function": Function((4, 4), lambda x: x[:, :2].cumsum(2)),
    "function with adjoint": Function(
        (6,), lambda x: 2 * x[:, ::2], lambda y: torch.stack([2 * y, 0 * y], 2).flatten(1)
    ),
}


@pytest.mark.parametrize("name", LINEAR)
def test_the_adjoint(name: str) -> None:
    """<A x, y> = <x, A* y> for each row of a batch, and A* equals the derivative; dtypes are kept."""
    operator = LINEAR[name]
    check_linear(operator)
    x, y = random(3, *operator.shape), random(3, *operator.measured, seed=1)
    made, back = operator.apply(x), operator.adjoint(y)
    assert made.shape == y.shape and back.shape == x.shape
    torch.testing.assert_close((made * y).flatten(1).sum(1), (x * back).flatten(1).sum(1))
    torch.testing.assert_close(back, LinearOperator.adjoint(operator, y))
    assert operator.apply(x.float()).dtype == operator.adjoint(y.float()).dtype == torch.float32


@pytest.mark.parametrize("name", LINEAR)
def test_singular_values(name: str) -> None:
    """A = U diag(s) V^T with orthonormal V, and s are the singular values of the matrix."""
    operator = LINEAR[name]
    svd, x, y = operator.svd(), random(2, *operator.shape), random(2, *operator.measured, seed=1)
    c = svd.vt(x)
    torch.testing.assert_close(svd.ut(operator.apply(x)), svd.s * c, atol=1e-10, rtol=0)
    torch.testing.assert_close(operator.adjoint(y), svd.v(svd.s * svd.ut(y)), atol=1e-10, rtol=0)
    torch.testing.assert_close(svd.vt(svd.v(c)), c, atol=1e-10, rtol=0)
    assert operator.apply(x - svd.v(c)).abs().max() < 1e-10  # beyond V there is nothing
    exact = torch.linalg.svdvals(operator.matrix())
    mine = svd.s.sort(descending=True).values
    torch.testing.assert_close(mine[: len(exact)], exact[: len(mine)], atol=1e-10, rtol=0)


def test_what_they_do() -> None:
    """Means of boxes, luma, sums along columns and rows, and masks equal numbers computed by hand."""
    x = torch.arange(16.0).view(1, 1, 4, 4)
    assert Average((1, 4, 4), 2).apply(x).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    grey = Grayscale((3, 1, 1)).apply(torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1))
    assert grey.item() == pytest.approx(0.299 + 2 * 0.587 + 3 * 0.114)
    lines = Radon((1, 4, 4), 2).apply(x)[0, 0]
    torch.testing.assert_close(lines[0], x[0, 0].mean(0))
    torch.testing.assert_close(lines[1].sort().values, x[0, 0].mean(1))
    mask = Mask(torch.tensor([1, 0, 1]))
    assert mask.apply(torch.ones(1, 3)).tolist() == [[1, 0, 1]] and mask.count == 2
    assert mask.check(torch.tensor([5.0, torch.nan, 7.0])).tolist() == [5, 0, 7]  # nothing is known of the second


def test_blur_keeps_the_mean_and_the_place() -> None:
    """A blur keeps the mean and the position, and a kernel with a single 1 is the identity."""
    x = random(1, 1, 9, 9)
    blurred = registry.build("operator", "blur", (1, 9, 9), std=1.0).apply(x)
    assert abs(blurred.mean() - x.mean()) < 1e-12 and blurred.var() < x.var() / 4
    one = torch.zeros(3, 3)
    one[1, 1] = 1
    torch.testing.assert_close(Blur((1, 9, 9), one).apply(x), x)


def test_a_wrong_adjoint_is_refused() -> None:
    """The dot-product test finds a wrong adjoint, and functions that are not linear are refused."""
    with pytest.raises(InputError, match=r"<A x, y> = .* and <x, A\* y> = .* a difference of .* of \|A x\| \|y\|"):
        Function((4,), lambda x: 2 * x, lambda y: y)
    with pytest.raises(InputError, match=r"the adjoint makes \(2,\) of a measurement; it should make \(4,\)"):
        Function((4,), lambda x: x[:, :2], lambda y: y)
    with pytest.raises(InputError, match="not linear: .* wrap it in NonLinear, and use dps"):
        Function((4,), lambda x: x**2)
    with pytest.raises(InputError, match="the first axis must be the batch"):
        Function((4,), lambda x: x.sum())


def test_a_measurement_of_another_shape() -> None:
    """The error contains both shapes and that of a sample."""
    with pytest.raises(
        InputError, match=r"has shape \(3, 8, 8\), .* Average makes \(3, 4, 4\) of a sample .* \(3, 8, 8"
    ):
        Average(IMAGE, 2).check(torch.zeros(IMAGE))
    with pytest.raises(InputError, match="not finite"):
        Average(IMAGE, 2).check(torch.full((3, 4, 4), torch.nan))


@pytest.mark.parametrize(
    ("name", "shape", "options", "message"),
    [
        ("super-resolution", (3, 8, 9), {}, "the factor must divide the sides 8 x 9, got 2"),
        ("grayscale", (1, 8, 8), {}, r"needs RGB images \(3, H, W\)"),
        ("radon", (1, 8, 9), {}, "needs square images"),
        ("radon", (1, 8, 8), {"angles": 0}, "at least one angle"),
        ("mask", (4,), {"keep": 0.0}, "above 0 and at most 1"),
        ("mask", (4,), {"mask": "missing.png"}, "missing.png: no such file"),
        ("blur", (1, 8, 8), {"std": 0.0}, "std must be positive"),
        ("fourier-mask", (1, 8, 8), {"keep": 2.0}, "shares between 0 and 1"),
        ("matrix", (4,), {}, "matrix=FILE"),
    ],
)
def test_refusals(name: str, shape: tuple[int, ...], options: dict[str, object], message: str) -> None:
    """Wrong shapes and options raise an error that says what to use."""
    with pytest.raises(InputError, match=message):
        registry.build("operator", name, shape, **options)


def test_masks_from_files(tmp_path: Path) -> None:
    """White pixels are measured, in all channels; a mask of another size or without white pixels is refused."""
    picture = np.zeros((8, 8), np.uint8)
    picture[:, :3] = 255
    Image.fromarray(picture).save(tmp_path / "m.png")
    np.save(tmp_path / "m.npy", picture > 0)
    for file in ("m.png", "m.npy"):
        operator = registry.build("operator", "mask", IMAGE, mask=str(tmp_path / file))
        assert operator.keep.sum() == 3 * 8 * 3 and bool(operator.keep[2, :, :3].all())
    np.save(tmp_path / "points.npy", np.arange(12) < 3)
    assert registry.build("operator", "mask", (2, 12), mask=str(tmp_path / "points.npy")).keep.sum() == 2 * 3
    np.save(tmp_path / "voxels.npy", np.arange(24).reshape(2, 3, 4) < 5)
    assert registry.build("operator", "mask", (2, 2, 3, 4), mask=str(tmp_path / "voxels.npy")).keep.sum() == 2 * 5
    with pytest.raises(InputError, match=r"m.png: has shape \(8, 8\); it must be as large as a sample, 9 x 6 pixels"):
        registry.build("operator", "mask", (1, 6, 9), mask=str(tmp_path / "m.png"))
    np.save(tmp_path / "none.npy", np.zeros((8, 8)))
    with pytest.raises(InputError, match="nothing is measured"):
        registry.build("operator", "mask", IMAGE, mask=str(tmp_path / "none.npy"))
    (tmp_path / "bad.png").write_text("no image")
    with pytest.raises(InputError, match="neither an array .* nor an image"):
        registry.build("operator", "mask", IMAGE, mask=str(tmp_path / "bad.png"))


def test_a_kernel_and_a_matrix_from_files(tmp_path: Path) -> None:
    """A kernel is scaled to the sum 1, and a matrix must have one column for each number of a sample."""
    np.save(tmp_path / "k.npy", np.ones((3, 3)))
    blur = registry.build("operator", "blur", (1, 6, 6), kernel=str(tmp_path / "k.npy"))
    torch.testing.assert_close(blur.apply(torch.ones(1, 1, 6, 6)), torch.ones(1, 1, 6, 6))
    np.save(tmp_path / "even.npy", np.ones((2, 2)))
    with pytest.raises(InputError, match="2 odd sides"):
        registry.build("operator", "blur", (1, 6, 6), kernel=str(tmp_path / "even.npy"))
    np.save(tmp_path / "a.npy", np.ones((2, 5)))
    with pytest.raises(InputError, match="needs 4 columns"):
        registry.build("operator", "matrix", (2, 2), matrix=str(tmp_path / "a.npy"))
    assert registry.build("operator", "matrix", (5,), matrix=str(tmp_path / "a.npy")).measured == (2,)


def test_not_linear() -> None:
    """The measured shape comes from a call of the function; magnitudes are differentiable everywhere."""
    assert NonLinear((2, 3), lambda x: x.flatten(1).exp().sum(1, keepdim=True)).measured == (1,)
    x = torch.zeros(1, 4, 4, dtype=torch.float64, requires_grad=True)
    Magnitude((4, 4)).apply(x).sum().backward()
    assert x.grad is not None and bool(x.grad.isfinite().all())


def test_too_large_for_a_matrix() -> None:
    """If the SVD is too expensive, the message names a method that does not need it."""
    with pytest.raises(InputError, match="use a method that needs none, such as mmps"):
        Radon((1, 64, 64), 4).svd()
