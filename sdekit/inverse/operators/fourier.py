"""Operators in the frequency domain: circular blurs, masks of frequencies, and magnitudes."""

from __future__ import annotations

import math
from functools import reduce

import torch
from torch import Tensor

from sdekit.arguments import check_instance, check_number
from sdekit.errors import InputError

from .operator import SVD, LinearOperator, Operator
from .operator_files import read_array, read_mask


class Blur(LinearOperator):
    """Circular convolution with a kernel, the same for each channel.

    Arguments:
        shape: Shape of a sample.
        kernel: Kernel, with an axis for each axis of space: (h,) for vectors and sequences, (h, w) for images, and
            (d, h, w) for volumes. Its sides are odd, and at most as long as the sides of a sample.
    Raises:
        InputError: If the kernel has another number of axes, or an even or too large side.
    """

    def __init__(self, shape: tuple[int, ...], kernel: Tensor) -> None:
        self.shape = self.measured = tuple(shape)
        self.axes = spatial_axes(self.shape)
        size = tuple(self.shape[a] for a in self.axes)
        kernel = torch.as_tensor(kernel, dtype=torch.float64)
        fits = kernel.ndim == len(size) and all(k <= n for k, n in zip(kernel.shape, size, strict=True))
        if not fits or any(k % 2 == 0 for k in kernel.shape):
            raise InputError(
                f"blur: the kernel has shape {tuple(kernel.shape)}; it needs {len(size)} odd sides, at most "
                f"{' x '.join(map(str, size))}"
            )
        padded = torch.zeros(size, dtype=torch.float64)
        padded[tuple(slice(0, k) for k in kernel.shape)] = kernel
        padded = padded.roll([-(k // 2) for k in kernel.shape], tuple(range(len(size))))
        self.response = torch.fft.fftn(padded)
        self.symmetric = bool(self.response.imag.abs().max() <= 1e-12 * self.response.abs().max())

    def apply(self, x: Tensor) -> Tensor:
        return self._filter(x, self.response)

    def adjoint(self, y: Tensor) -> Tensor:
        return self._filter(y, self.response.conj())

    def _filter(self, x: Tensor, response: Tensor) -> Tensor:
        f = torch.fft.fftn(x, dim=self.axes) * response.to(x.device, x.dtype.to_complex())
        filtered: Tensor = torch.fft.ifftn(f, dim=self.axes).real
        return filtered

    def svd(self) -> SVD:
        """Return the SVD, in the Hartley basis if the kernel is symmetric (and A is diagonal), else from the matrix."""
        if not self.symmetric:
            return super().svd()
        gains = self.response.real.expand(self.shape).flatten()

        def basis(z: Tensor) -> Tensor:
            return hartley(z.view(-1, *self.shape), self.axes)

        return SVD(
            gains.abs(), basis, lambda x: basis(x).flatten(1), lambda y: basis(y).flatten(1) * gains.sign().to(y)
        )


class FourierMask(LinearOperator):
    """Some frequencies of the orthonormal Fourier transform: (*shape) to (2, *shape), real and imaginary parts.

    Frequencies that are not measured are 0 in the measurement.

    Arguments:
        keep: 0 or 1 for each frequency, of the shape of a sample, in the order of torch.fft.
    Raises:
        InputError: If keep is 0 everywhere.
    """

    def __init__(self, keep: Tensor) -> None:
        self.keep = (torch.as_tensor(keep) != 0).double()
        self.shape = tuple(self.keep.shape)
        self.measured = (2, *self.shape)
        self.axes = spatial_axes(self.shape)
        if not bool(self.keep.any()):
            raise InputError("FourierMask: the mask is 0 everywhere, so that nothing is measured")

    @property
    def count(self) -> int:
        return 2 * int(self.keep.sum())

    def check(self, y: Tensor) -> Tensor:
        check_instance("the measurement", y, Tensor, "a tensor")
        """Return the measurement with 0 at frequencies that are not measured."""
        return super().check(y) * self.keep.to(y)

    def apply(self, x: Tensor) -> Tensor:
        f = torch.fft.fftn(x, dim=self.axes, norm="ortho") * self.keep.to(x)
        return torch.stack([f.real, f.imag], 1)

    def adjoint(self, y: Tensor) -> Tensor:
        f = torch.complex(y[:, 0], y[:, 1]) * self.keep.to(y)
        back: Tensor = torch.fft.ifftn(f, dim=self.axes, norm="ortho").real
        return back

    def svd(self) -> SVD:
        """Return the SVD in the Hartley basis.

        The singular value of a frequency is 1 if it is measured with both signs, and sqrt(1/2) with one sign.
        """
        negative = self.keep.flip(self.axes).roll([1] * len(self.axes), self.axes)
        gains = ((self.keep + negative) / 2).sqrt().flatten()

        def coefficients(x: Tensor) -> Tensor:
            return hartley(x, self.axes).flatten(1)

        inverse = torch.where(gains > 0, 1 / gains, 0)
        return SVD(
            gains,
            lambda c: hartley(c.view(-1, *self.shape), self.axes),
            coefficients,
            lambda y: coefficients(self.adjoint(y)) * inverse.to(y),
        )


class Magnitude(Operator):
    """Magnitudes of the orthonormal Fourier transform, (*shape) to (*shape); not linear.

    Its inverse problem is phase retrieval.

    Arguments:
        shape: Shape of a sample.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = self.measured = tuple(shape)

    def apply(self, x: Tensor) -> Tensor:
        f = torch.fft.fftn(x, dim=spatial_axes(self.shape), norm="ortho")
        magnitudes: Tensor = (f.real**2 + f.imag**2 + 1e-12).sqrt()  # 1e-12 makes it differentiable at 0
        return magnitudes


def spatial_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the axes of space, counted from the end: all but the channels, and the one axis of a vector."""
    return tuple(range(-len(shape[1:]), 0)) if len(shape) > 1 else (-1,)


def hartley(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Return the orthonormal Hartley transform of x (B, *), with cos + sin in place of exp(i .).

    It is real, symmetric and its own inverse.
    """
    f = torch.fft.fftn(x, dim=axes, norm="ortho")
    result: Tensor = f.real - f.imag
    return result


def blur(shape: tuple[int, ...], *, std: float = 1.5, kernel: str = "") -> Blur:
    """Circular blur of a sample (periodic edges), for deblurring.

    Arguments:
        shape: Shape of a sample.
        std: Standard deviation of a Gaussian kernel, in pixels (points, voxels), above 0.
        kernel: Image or .npy file of another kernel, with odd sides; it is scaled to the sum 1.
    Returns:
        The operator.
    Raises:
        InputError: If std is not positive, or the kernel sums to 0 or does not fit.
    """
    if kernel:
        weights = torch.from_numpy(read_array(kernel, "kernel"))
        if abs(float(weights.sum())) < 1e-12:
            raise InputError(f"kernel {kernel}: sums to 0 and cannot be scaled to sum to 1")
        return Blur(shape, weights / weights.sum())
    std = check_number("blur: std", std, above=0)
    size = [shape[a] for a in spatial_axes(shape)]
    reach = [min(math.ceil(4 * std), (n - 1) // 2) for n in size]
    gaussians = [(-0.5 * (torch.arange(-r, r + 1, dtype=torch.float64) / std) ** 2).exp() for r in reach]
    weights = reduce(torch.multiply, torch.meshgrid(*gaussians, indexing="ij"))
    return Blur(shape, weights / weights.sum())


def fourier_mask(
    shape: tuple[int, ...],
    *,
    mask: str = "",
    invert: bool = False,
    keep: float = 0.3,
    centre: float = 0.1,
    seed: int = 0,
) -> FourierMask:
    """Some columns of the frequency plane, as in magnetic resonance imaging.

    Arguments:
        shape: Shape of a sample.
        mask: Image or .npy file of the size of a sample, frequency 0 in its middle, white at measured frequencies.
        invert: Whether the other frequencies of the mask are measured instead.
        keep: Without a mask, the share of columns that is measured, chosen at random, in (0, 1].
        centre: Share of the lowest frequencies, which are all measured, in [0, 1].
        seed: Seed of the random choice.
    Returns:
        The operator.
    Raises:
        InputError: If a share is out of range, or the file is not a mask of the size of a sample.
    """
    if mask:
        axes = spatial_axes(shape)
        return FourierMask(torch.fft.ifftshift(read_mask(mask, shape, invert=invert), dim=axes))
    if not (0 <= centre <= 1 and 0 < keep <= 1):
        raise InputError(f"fourier-mask: keep and centre are shares between 0 and 1, got {keep} and {centre}")
    n = shape[-1]
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    low = torch.fft.fftfreq(n).abs().argsort(stable=True)[: max(1, round(centre * n))]
    columns = torch.zeros(n, dtype=torch.float64)
    columns[low] = 1
    for column in order:
        if columns.sum() < round(keep * n):
            columns[column] = 1
    return FourierMask(columns.expand(shape).contiguous())


def phase(shape: tuple[int, ...]) -> Magnitude:
    """Magnitudes of the Fourier transform (no phases), for phase retrieval; not linear, so use dps.

    Arguments:
        shape: Shape of a sample.
    Returns:
        The operator.
    """
    return Magnitude(shape)
