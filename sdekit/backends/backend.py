"""Backends: ways to run a network, such as compiled or in half precision, each checked against the network itself."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from sdekit.errors import InputError, SdekitError
from sdekit.registry import resolve

NetworkCall = Callable[..., Tensor]
"""Signature of a network: `call(x (B, *), c_noise (B,), y (B, ...) or None) -> (B, *)`."""

Backend = Callable[[nn.Module], NetworkCall]
"""Function from a network to another way to run it: a callable with the network's signature, or a `PreparedNetwork`."""

TOLERANCE = {
    torch.float64: 1e-9,
    torch.float32: 1e-3,  # a GPU may use TensorFloat-32, with 10 bits, in one of the two
    torch.float16: 1e-2,
    torch.bfloat16: 5e-2,
    torch.qint8: 1e-1,
}
"""Largest deviation from the network run eagerly, relative to its largest output, by dtype of the arithmetic."""


class BackendWarning(UserWarning):
    """Warning that a backend failed or deviated, so that the network runs eagerly instead."""


@dataclass(frozen=True, kw_only=True)
class PreparedNetwork:
    """A network prepared by a backend. A plain function is enough if the defaults below hold for it.

    Arguments:
        call: Function `call(x, c_noise, y)`.
        dtype: Type of the arithmetic, which sets the tolerance; None for that of x.
        differentiable: Whether gradients with respect to x and y are correct.
        note: Information for the user, such as a choice that the backend made.
    """

    call: NetworkCall
    dtype: torch.dtype | None = None
    differentiable: bool = True
    note: str = ""

    def __call__(self, x: Tensor, c_noise: Tensor, y: Any = None) -> Tensor:
        """Run the network on x (B, *), c_noise (B,) and y (B, ...) or None."""
        return self.call(x, c_noise, y)


class BackendNetwork:
    """A network run by a backend: `network(x (B, *), c_noise (B,), y) -> (B, *)`, prepared at the first call.

    The first result for each shape, dtype and device is compared with the result of the network itself, by one more
    evaluation. If the backend deviates by more than `TOLERANCE` or fails, a `BackendWarning` is issued, and the network
    runs eagerly from then on. The weights are read when the network is prepared: later training has no effect.

    Arguments:
        network: Network to run.
        backend: Backend that prepares it.
        name: Name of the backend in messages.
    Raises:
        InputError: From a call, if gradients are needed and the backend has none, or if the backend itself raises it,
            for example because a library is missing.
    """

    def __init__(self, network: nn.Module, backend: Backend, *, name: str) -> None:
        self.network, self.backend, self.name = network, backend, name
        self.prepared: dict[tuple[torch.device, torch.dtype], NetworkCall] = {}
        self.checked: set[tuple[object, ...]] = set()
        self.fallback = ""
        """Reason why the network runs eagerly, or empty."""

    @property
    def note(self) -> str:
        """Note of the backend, or the reason why the network runs eagerly; empty before the first call."""
        notes = [prepared.note for prepared in self.prepared.values() if isinstance(prepared, PreparedNetwork)]
        return self.fallback or next(filter(None, notes), "")

    def __call__(self, x: Tensor, c_noise: Tensor, y: Any = None) -> Tensor:
        """Run the network on x (B, *), c_noise (B,) and y (B, ...) or None."""
        result = None
        if not self.fallback:
            try:
                result = self._run(x, c_noise, y)
            except InputError:
                raise
            except Exception as error:  # compilers, drivers and libraries raise many types
                self._fall_back(f"failed ({_cause(error)})")
        if result is None or self.fallback:
            result = self.network(x, c_noise, y)
        return result

    def _run(self, x: Tensor, c_noise: Tensor, y: Any) -> Tensor:
        prepared = self._ready(x)
        wanted = needs_gradient(x, y)
        if wanted and not getattr(prepared, "differentiable", True):
            raise InputError(no_gradients_message(f"backend {self.name!r}"))
        result: Tensor = prepared(x, c_noise, y)
        key = (x.shape, x.dtype, x.device, *((part.shape, part.dtype) for part in _tensors(y)), wanted)
        if key not in self.checked and prepared is not self.network:
            self._check(prepared, result, x, c_noise, y)
            if x.requires_grad and wanted and not result.requires_grad:
                raise InputError(no_gradients_message(f"backend {self.name!r}"))
        self.checked.add(key)
        return result

    def _ready(self, x: Tensor) -> NetworkCall:
        place = (x.device, x.dtype)
        if place not in self.prepared:
            self.prepared[place] = self.backend(self.network)
        return self.prepared[place]

    def _check(self, prepared: NetworkCall, result: Tensor, x: Tensor, c_noise: Tensor, y: Any) -> None:
        with torch.no_grad():
            expected = self.network(x, c_noise, y)
            if result.shape != expected.shape or result.dtype != expected.dtype:
                got, expected_form = (f"{tuple(r.shape)} {r.dtype}" for r in (result, expected))
                return self._fall_back(f"returns {got}, but the network returns {expected_form}")
            deviation = float((result - expected).abs().max() / expected.abs().max().clamp(min=1e-6))
        allowed = TOLERANCE.get(getattr(prepared, "dtype", None) or x.dtype, TOLERANCE[torch.float32])
        if not deviation <= allowed:  # NaN too
            self._fall_back(f"deviates from the network by {deviation:.2g}, more than {allowed:g}, at {tuple(x.shape)}")

    def _fall_back(self, why: str) -> None:
        self.fallback = f"{why}: the network runs eagerly"
        warnings.warn(f"backend {self.name!r} {self.fallback}", BackendWarning, stacklevel=4)


def apply_backend(network: nn.Module, backend: Backend | str, *, name: str = "") -> BackendNetwork:
    """Run a network by a backend.

    Arguments:
        network: Network to run.
        backend: Registered name, for a backend with its defaults, or the backend itself.
        name: Name of the backend in messages; by default its own.
    Returns:
        The network as run by the backend.
    Raises:
        InputError: If no backend has this name; the message suggests a similar one.
    """
    own = backend if isinstance(backend, str) else getattr(backend, "__name__", type(backend).__name__)
    return BackendNetwork(network, resolve("backend", backend), name=name or own)


def needs_gradient(x: Tensor, y: Any) -> bool:
    """Return whether a derivative with respect to x or y is being recorded, in backward or forward mode.

    Arguments:
        x: Input of a network.
        y: Condition, or None.
    Returns:
        True if the result needs a derivative.
    """
    inputs = [x, *_tensors(y)]
    backward = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs)
    return backward or any(forward_ad.unpack_dual(tensor).tangent is not None for tensor in inputs)


def _tensors(y: Any) -> list[Tensor]:
    """The tensors of a condition: none for None, and several for a `Condition`."""
    return [] if y is None else [y] if isinstance(y, Tensor) else list(y.parts.values())


def no_gradients_message(user: str) -> str:
    """Return the message for gradients that are needed and not available.

    Arguments:
        user: The backend or export, at the start of the sentence.
    Returns:
        A sentence that lists backends with gradients.
    """
    return (
        f"{user} has no gradients with respect to x, which guidances such as dps need: sample the run "
        "itself with backend 'eager', 'compile', 'channels-last' or 'bf16'"
    )


def _cause(error: BaseException) -> str:
    """Return type and first line of the error at the root of a chain, or of the first SdekitError in it."""
    while error.__cause__ is not None and not isinstance(error, SdekitError):
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def cache_folder(name: str) -> Path:
    """Return a folder in the user's cache, which is created if it is missing.

    Other users cannot write to it, unlike to a shared temporary folder, so it may contain code.

    Arguments:
        name: Name of the folder in sdekit's part of the cache.
    Returns:
        Path of the folder.
    """
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "sdekit" / name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
