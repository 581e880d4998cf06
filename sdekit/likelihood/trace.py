"""The trace of the Jacobian of a denoiser: exact, or estimated with random probes.

All estimators use products v^T J of a probe with the Jacobian: one backward pass each, through one graph. On the CPU
a backward pass with respect to the input takes .5 to .8 of the time of a network evaluation. Forward mode took twice as
long for every network that was measured, and batched products (`is_grads_batched`) gained at most 25% and do not
support group normalization, so each product is a pass of its own.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.sampling import SeedNoise

Product = Callable[[Tensor], Tensor]
"""`product(v) -> v^T J`, (B, d), for v (B, d)."""

EXACT_UP_TO = 16
"""Largest number of dimensions for which `choose_trace` takes the exact trace."""


DEFAULT_PROBES = 16
"""Number of probes of `choose_trace`. The variance at equal time falls with the number of probes, because all products
share one evaluation of the network (`benchmarks/likelihood.py`)."""


class Trace(ABC):
    """A way to compute the trace of the Jacobian of a function, for each sample of a batch."""

    @property
    @abstractmethod
    def columns(self) -> int:
        """Number of independent estimates of each trace; 1 for the exact trace."""

    @abstractmethod
    def draw(self, seeds: Sequence[int], d: int) -> Tensor:
        """Draw the random probes of a run, which keeps them at all times.

        Arguments:
            seeds: One seed for each sample.
            d: Number of dimensions.
        Returns:
            Probes (B, K, d), float32; K may be 0.
        """

    @abstractmethod
    def estimate(self, product: Product, probes: Tensor) -> Tensor:
        """Estimate the trace.

        Arguments:
            product: Vector-Jacobian product of the batch.
            probes: Probes (B, K, d) of `draw`, in the dtype of the function.
        Returns:
            Estimates (B, `columns`). Their mean is the trace.
        """

    def standard_error(self, estimates: Tensor, d: int) -> Tensor:
        """Return the standard error of the mean of the estimates.

        Arguments:
            estimates: Estimates (B, `columns`) of a quantity that is linear in the trace.
            d: Number of dimensions.
        Returns:
            Standard errors (B,); NaN if there is only one random estimate.
        """
        if self.columns < 2:
            return torch.full_like(estimates[:, 0], torch.nan)
        return estimates.std(1) / math.sqrt(self.columns)

    def evaluate(self, function: Callable[[Tensor], Tensor], x: Tensor, probes: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate a function together with the trace of its Jacobian.

        Arguments:
            function: Function of x (B, *) with values (B, *), in which row i depends on row i of x alone.
            x: Samples (B, *).
            probes: Probes (B, K, d) of `draw`.
        Returns:
            Values (B, *) and estimates of the trace (B, `columns`), without gradients.
        """
        with torch.inference_mode(False), torch.enable_grad():
            x = x.detach().clone().requires_grad_()
            value = function(x)
            if not value.requires_grad:
                raise InputError(
                    "the denoiser has no derivative with respect to x: it detaches x, or runs on a backend without "
                    "gradients. Open the model without --backend"
                )
            flat = value.flatten(1)

            def product(v: Tensor) -> Tensor:
                (gradient,) = torch.autograd.grad(flat, x, v, retain_graph=True)
                return gradient.flatten(1)

            estimates = self.estimate(product, probes)
        return value.detach(), estimates.detach()


@dataclass(frozen=True, kw_only=True)
class ExactTrace(Trace):
    """The exact trace, with one backward pass for each dimension."""

    @property
    def columns(self) -> int:
        return 1

    def draw(self, seeds: Sequence[int], d: int) -> Tensor:
        return torch.empty(len(seeds), 0, d)

    def estimate(self, product: Product, probes: Tensor) -> Tensor:
        n, _, d = probes.shape
        basis = torch.eye(d, dtype=probes.dtype, device=probes.device)
        return torch.stack([product(e.expand(n, d))[:, i] for i, e in enumerate(basis)]).sum(0)[:, None]

    def standard_error(self, estimates: Tensor, d: int) -> Tensor:
        return torch.zeros_like(estimates[:, 0])


@dataclass(frozen=True, kw_only=True)
class Hutchinson(Trace):
    """Hutchinson's estimate, the mean of v^T J v over K random probes v with E[v v^T] = I.

    Probes with independent signs (Rademacher) have the smallest variance of all independent probes, and no error from
    the diagonal of J. Hadamard probes have signs too: they are K different rows of a Hadamard matrix of M columns, the
    smallest power of 2 that is at least d, whose columns have random signs. The mean of all M rows is the exact trace,
    so that K of them have the variance of K Rademacher probes times (M - K) / (M - 1). Orthogonal probes are directions
    of one random rotation, of length sqrt(d): their variance is that of Gaussian probes times (d - K) / (d - 1). A
    probe and its negative give the same estimate, so antithetic pairs do not help.

    Arguments:
        probes: Number of probes K, at least 1; at least 2 for a standard error.
        kind: "rademacher", "hadamard", "gaussian" or "orthogonal".
    Source:
        Hutchinson 1989; Bekas, Kokiopoulou & Saad 2007 (Hadamard probes); Grathwohl et al. 2019 (FFJORD), which keeps
        the probes during a run.
    """

    probes: int = 8
    kind: Literal["rademacher", "hadamard", "gaussian", "orthogonal"] = "rademacher"

    def __post_init__(self) -> None:
        if self.probes < 1:
            raise InputError(f"Hutchinson: probes must be at least 1, got {self.probes}")
        if self.kind not in ("rademacher", "hadamard", "gaussian", "orthogonal"):
            raise InputError(
                f"Hutchinson: kind must be rademacher, hadamard, gaussian or orthogonal, got {self.kind!r}"
            )

    @property
    def columns(self) -> int:
        return self.probes

    def draw(self, seeds: Sequence[int], d: int) -> Tensor:
        if self.probes > self._population(d):
            raise InputError(
                f"Hutchinson: {self.probes} {self.kind} probes in {d} dimensions: use at most {self._population(d):g}"
            )
        if self.kind == "hadamard":
            return self._hadamard(seeds, d)
        if self.kind == "orthogonal":
            frame = torch.linalg.qr(SeedNoise(seeds, (d, self.probes))().double())
            # The signs make the distribution of the frame invariant under rotations (Mezzadri 2007).
            signs = frame.R.diagonal(dim1=1, dim2=2).sign()[:, None]
            directions: Tensor = frame.Q * signs * math.sqrt(d)
            return directions.mT.float()
        probes = SeedNoise(seeds, (self.probes, d))()
        return probes.sign() if self.kind == "rademacher" else probes

    def estimate(self, product: Product, probes: Tensor) -> Tensor:
        return torch.stack([(product(v) * v).sum(1) for v in probes.unbind(1)], 1)

    def standard_error(self, estimates: Tensor, d: int) -> Tensor:
        error = super().standard_error(estimates, d)
        # The mean of the estimates with all probes of the population is exact, as in sampling without replacement.
        return error * math.sqrt(1 - self.probes / self._population(d))

    def _population(self, d: int) -> float:
        """Return the number of probes that together give the exact trace; infinite for independent probes."""
        if self.kind == "hadamard":
            return float(2 ** math.ceil(math.log2(d)))
        return d if self.kind == "orthogonal" else math.inf

    def _hadamard(self, seeds: Sequence[int], d: int) -> Tensor:
        """Return random rows (B, K, d) of Hadamard matrices whose columns have random signs.

        The entry in row i and column j is (-1)^(number of bits that are 1 in both i and j).
        """
        draw = SeedNoise(seeds, (int(self._population(d)) + d,))()
        signs, rows = draw[:, :d].sign(), draw[:, d:].argsort(1)[:, : self.probes].int()
        probes = signs[:, None].repeat(1, self.probes, 1)
        for k in range(self.probes):
            bits = rows[:, k, None] & torch.arange(d, dtype=torch.int32)
            for shift in (16, 8, 4, 2, 1):
                bits = bits ^ (bits >> shift)  # the last bit becomes the parity of the number of bits
            probes[:, k] *= 1 - 2 * (bits & 1)
        return probes


@dataclass(frozen=True, kw_only=True)
class HutchPlusPlus(Trace):
    """Hutch++: the exact trace on a random subspace of large eigenvalues, and Hutchinson's estimate on the rest.

    Each of the independent estimates spends a third of its products on finding the subspace, a third on its exact
    trace, and a third on probes in the complement. The probes have the length that a normal probe in the complement has
    on average, so that a multiple of the identity, which the Jacobian is at small noise levels, has no error.

    Arguments:
        probes: Number of products of one estimate, a multiple of 3.
        repeats: Number of independent estimates, at least 2 for a standard error.
    Source:
        Meyer et al. 2021, algorithm 1; Epperly, Tropp & Webber 2024, section 2.3 (normalised probes).
    """

    probes: int = 6
    repeats: int = 2

    def __post_init__(self) -> None:
        if self.probes < 3 or self.probes % 3 or self.repeats < 1:
            raise InputError(
                f"HutchPlusPlus: probes must be a multiple of 3 and repeats at least 1, got {self.probes}, "
                f"{self.repeats}"
            )

    @property
    def columns(self) -> int:
        return self.repeats

    def draw(self, seeds: Sequence[int], d: int) -> Tensor:
        third = self.probes // 3
        if third >= d:
            raise InputError(f"HutchPlusPlus: {self.probes} probes in {d} dimensions: use fewer than {3 * d}")
        return SeedNoise(seeds, (2 * third * self.repeats, d))()

    def estimate(self, product: Product, probes: Tensor) -> Tensor:
        third = self.probes // 3

        def products(v: Tensor) -> Tensor:
            return torch.stack([product(row) for row in v.unbind(1)], 1)

        estimates = []
        for sketch, rest in zip(*(part.split(third, 1) for part in probes.chunk(2, 1)), strict=True):
            q = torch.linalg.qr(products(sketch).mT).Q.mT  # (B, third, d), orthonormal rows
            rest = rest - (rest @ q.mT) @ q
            rest = rest * math.sqrt(rest.shape[2] - third) / rest.norm(dim=2, keepdim=True)
            exact = (products(q) * q).sum((1, 2))
            estimates.append(exact + (products(rest) * rest).sum((1, 2)) / third)
        return torch.stack(estimates, 1)


def choose_trace(d: int) -> Trace:
    """Choose how to compute the trace of a Jacobian: exactly in few dimensions, and with probes otherwise.

    Arguments:
        d: Number of dimensions.
    Returns:
        The exact trace for d up to 16, else `Hutchinson` with 16 Hadamard probes.
    """
    return ExactTrace() if d <= EXACT_UP_TO else Hutchinson(probes=DEFAULT_PROBES, kind="hadamard")
