"""Operators that are simple in the frequency domain: circular blurs, masks of frequencies, magnitudes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sdekit.errors import InputError

from .operator import SVD, LinearOperator, Operator
from .operator_files import read_array, read_mask


def sides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes of space, from the end: of an image (C, H, W) the last two, of a vector the last."""
    return tuple(range(-len(shape[1:]), 0)) if len(shape) > 1 else (-1,)


def hartley(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The orthonormal Hartley transform (B, *): real, symmetric, its own inverse; cos + sin in place of exp(i .)."""
    f = torch.fft.fftn(x, dim=axes, norm="ortho")
    found: Tensor = f.real - f.imag
    return found


class Blur(LinearOperator):
    """Convolution with a kernel, the sample taken as periodic; the same for each channel.

    kernel: (h, w) for images, (h,) for vectors, of odd sides, at most the sample's.
    """

    def __init__(self, shape: tuple[int, ...], kernel: Tensor) -> None:
        self.shape = self.measured = tuple(shape)
        self.axes = sides(self.shape)
        size = tuple(self.shape[a] for a in self.axes)
        kernel = torch.as_tensor(kernel, dtype=torch.float64)
        fits = kernel.ndim == len(size) and all(k <= n for k, n in zip(kernel.shape, size, strict=True))
        if not fits or any(k % 2 == 0 for k in kernel.shape):
            raise InputError(
                f"blur: the kernel has shape {tuple(kernel.shape)}; it needs {len(size)} odd sides, at most "
                f"{' x '.join(map(str, size))}"
            )
        whole = torch.zeros(size, dtype=torch.float64)
        whole[tuple(slice(0, k) for k in kernel.shape)] = kernel
        whole = whole.roll([-(k // 2) for k in kernel.shape], tuple(range(len(size))))
        self.response = torch.fft.fftn(whole)
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
        """In the Hartley basis, where a symmetric kernel is diagonal; else from the matrix."""
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

    keep: 0 or 1 for each frequency, of the sample's shape, in torch.fft's order; the others are 0 in the measurement.
    """

    def __init__(self, keep: Tensor) -> None:
        self.keep = (torch.as_tensor(keep) != 0).double()
        self.shape = tuple(self.keep.shape)
        self.measured = (2, *self.shape)
        self.axes = sides(self.shape)
        if not bool(self.keep.any()):
            raise InputError("FourierMask: keeps nothing: there is no measurement")

    @property
    def count(self) -> int:
        return 2 * int(self.keep.sum())

    def check(self, y: Tensor) -> Tensor:
        """What lies outside of the mask is left out."""
        return super().check(y) * self.keep.to(y)

    def apply(self, x: Tensor) -> Tensor:
        f = torch.fft.fftn(x, dim=self.axes, norm="ortho") * self.keep.to(x)
        return torch.stack([f.real, f.imag], 1)

    def adjoint(self, y: Tensor) -> Tensor:
        f = torch.complex(y[:, 0], y[:, 1]) * self.keep.to(y)
        back: Tensor = torch.fft.ifftn(f, dim=self.axes, norm="ortho").real
        return back

    def svd(self) -> SVD:
        """In the Hartley basis: a frequency kept with both signs has 1, one kept with one sign the root of 1/2."""
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
    """The magnitudes of the orthonormal Fourier transform, (*shape) to (*shape): not linear.

    To undo it is phase retrieval.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = self.measured = tuple(shape)

    def apply(self, x: Tensor) -> Tensor:
        f = torch.fft.fftn(x, dim=sides(self.shape), norm="ortho")
        magnitudes: Tensor = (f.real**2 + f.imag**2 + 1e-12).sqrt()  # with a slope at 0
        return magnitudes


def blur(shape: tuple[int, ...], *, std: float = 1.5, kernel: str = "") -> Blur:
    """A blurred sample: deblurring. The edges are taken as periodic.

    std: of a Gaussian, in pixels, > 0. kernel: instead of it, a .npy file or an image of the kernel, of odd sides; it
    is scaled to sum to 1.
    """
    axes = len(sides(shape))
    if kernel:
        weights = torch.from_numpy(read_array(kernel, "kernel"))
        if abs(float(weights.sum())) < 1e-12:
            raise InputError(f"kernel {kernel}: sums to 0 and cannot be scaled to sum to 1")
        return Blur(shape, weights / weights.sum())
    if not std > 0:
        raise InputError(f"blur: std must be positive, got {std}")
    size = [shape[a] for a in sides(shape)]
    reach = [min(math.ceil(4 * std), (n - 1) // 2) for n in size]
    lines = [(-0.5 * (torch.arange(-r, r + 1, dtype=torch.float64) / std) ** 2).exp() for r in reach]
    weights = lines[0] if axes == 1 else lines[0][:, None] * lines[1]
    return Blur(shape, weights / weights.sum())


def fourier_mask(
    shape: tuple[int, ...], *, mask: str = "", keep: float = 0.3, centre: float = 0.1, seed: int = 0
) -> FourierMask:
    """Some frequencies are known, as in magnetic resonance imaging: whole columns of the plane of frequencies.

    mask: an image or .npy file of the sample's size, frequency 0 in its middle, white where it is known. keep: without
    a mask, the share of columns that is known, at random. centre: the share of lowest frequencies, all of them known.
    seed: of the choice.
    """
    if mask:
        axes = sides(shape)
        return FourierMask(torch.fft.ifftshift(read_mask(mask, shape), dim=axes))
    if not (0 <= centre <= 1 and 0 < keep <= 1):
        raise InputError(f"fourier-mask: keep and centre are shares between 0 and 1, got {keep} and {centre}")
    n = shape[-1]
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    low = torch.fft.fftfreq(n).abs().argsort(stable=True)[: max(1, round(centre * n))]
    kept = torch.zeros(n, dtype=torch.float64)
    kept[low] = 1
    for column in order:
        if kept.sum() < round(keep * n):
            kept[column] = 1
    return FourierMask(kept.expand(shape).contiguous())


def phase(shape: tuple[int, ...]) -> Magnitude:
    """The magnitudes of the Fourier transform, without the phases: phase retrieval. Not linear: for dps."""
    return Magnitude(shape)
