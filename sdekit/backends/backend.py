"""How a network is run: compiled, in fewer bits, by another library; checked against the network run as it is."""

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
"""`run(x (B, *), c_noise (B,), y (B, ...) or None) -> (B, *)`: a network's signature."""

Backend = Callable[[nn.Module], NetworkCall]
"""Given a network, another way to run it. What it returns may be a `Runner`, to say more of itself."""

TOLERANCE = {
    torch.float64: 1e-9,
    torch.float32: 1e-3,  # TensorFloat-32, where a GPU takes it in one of the two, keeps 10 bits
    torch.float16: 1e-2,
    torch.bfloat16: 5e-2,
    torch.qint8: 1e-1,
}
"""Largest deviation from the network run eagerly, relative to its largest output, by the dtype computed in."""


class BackendWarning(UserWarning):
    """A backend failed, or deviated, and the network runs eagerly instead."""


@dataclass(frozen=True, kw_only=True)
class PreparedNetwork:
    """A network made ready by a backend. A plain function will do where the defaults hold.

    call: `call(x, c_noise, y)`. dtype: what it computes in, None for x's own; it sets the tolerance. differentiable:
    whether gradients with respect to x and y are right. note: what a person should know, such as what was picked.
    """

    call: NetworkCall
    dtype: torch.dtype | None = None
    differentiable: bool = True
    note: str = ""

    def __call__(self, x: Tensor, c_noise: Tensor, y: Any = None) -> Tensor:
        """x (B, *), c_noise (B,), y (B, ...) or None, to (B, *)."""
        return self.call(x, c_noise, y)


class BackendNetwork:
    """A network run by a backend: `backed(x (B, *), c_noise (B,), y) -> (B, *)`, made ready at the first call.

    The first result of each shape, dtype and device is compared with the network's own, by one more call of it. Where
    the backend deviates by more than `TOLERANCE`, or fails, a `BackendWarning` says so and the network runs eagerly
    from then on. Weights are read when the backend is made ready: it does not follow a network that is trained.
    Raises InputError where gradients are asked of a backend that has none, and for what the backend itself refuses,
    as a missing library or device. name: for messages.
    """

    def __init__(self, network: nn.Module, backend: Backend, *, name: str) -> None:
        self.network, self.backend, self.name = network, backend, name
        self.runners: dict[tuple[torch.device, torch.dtype], NetworkCall] = {}
        self.checked: set[tuple[object, ...]] = set()
        self.fallback = ""
        """Why the network runs eagerly; empty where it does not."""

    @property
    def note(self) -> str:
        """What the backend has to say, or why it was left; empty before the first call."""
        notes = [runner.note for runner in self.runners.values() if isinstance(runner, PreparedNetwork)]
        return self.fallback or next(filter(None, notes), "")

    def __call__(self, x: Tensor, c_noise: Tensor, y: Any = None) -> Tensor:
        """x (B, *), c_noise (B,), y (B, ...) or None, to (B, *)."""
        result = None
        if not self.fallback:
            try:
                result = self._run(x, c_noise, y)
            except InputError:
                raise
            except Exception as error:  # whatever a compiler, a driver or a foreign library may raise
                self._leave(f"failed ({_cause(error)})")
        if result is None or self.fallback:
            result = self.network(x, c_noise, y)
        return result

    def _run(self, x: Tensor, c_noise: Tensor, y: Any) -> Tensor:
        runner = self._ready(x)
        wanted = needs_gradient(x, y)
        if wanted and not getattr(runner, "differentiable", True):
            raise InputError(no_gradients_message(f"backend {self.name!r}"))
        result: Tensor = runner(x, c_noise, y)
        key = (x.shape, x.dtype, x.device, *((part.shape, part.dtype) for part in _tensors(y)), wanted)
        if key not in self.checked and runner is not self.network:
            self._check(runner, result, x, c_noise, y)
            if x.requires_grad and wanted and not result.requires_grad:
                raise InputError(no_gradients_message(f"backend {self.name!r}"))
        self.checked.add(key)
        return result

    def _ready(self, x: Tensor) -> NetworkCall:
        place = (x.device, x.dtype)
        if place not in self.runners:
            self.runners[place] = self.backend(self.network)
        return self.runners[place]

    def _check(self, runner: NetworkCall, result: Tensor, x: Tensor, c_noise: Tensor, y: Any) -> None:
        with torch.no_grad():
            expected = self.network(x, c_noise, y)
            if result.shape != expected.shape or result.dtype != expected.dtype:
                got, asked = (f"{tuple(r.shape)} {r.dtype}" for r in (result, expected))
                return self._leave(f"gives {got} where the network gives {asked}")
            deviation = float((result - expected).abs().max() / expected.abs().max().clamp(min=1e-6))
        allowed = TOLERANCE.get(getattr(runner, "dtype", None) or x.dtype, TOLERANCE[torch.float32])
        if not deviation <= allowed:  # NaN too
            self._leave(f"deviates from the network by {deviation:.2g}, more than {allowed:g}, at {tuple(x.shape)}")

    def _leave(self, why: str) -> None:
        self.fallback = f"{why}: the network runs eagerly"
        warnings.warn(f"backend {self.name!r} {self.fallback}", BackendWarning, stacklevel=4)


def apply_backend(network: nn.Module, backend: Backend | str, *, name: str = "") -> BackendNetwork:
    """A backend, or the registered one of that name with its defaults, for a network.

    Raises InputError, with a suggestion, where there is none of that name. name: for messages.
    """
    own = backend if isinstance(backend, str) else getattr(backend, "__name__", type(backend).__name__)
    return BackendNetwork(network, resolve("backend", backend), name=name or own)


def needs_gradient(x: Tensor, y: Any) -> bool:
    """Whether a derivative with respect to x or y is being recorded, backwards or forwards."""
    inputs = [x, *_tensors(y)]
    backward = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs)
    return backward or any(forward_ad.unpack_dual(tensor).tangent is not None for tensor in inputs)


def _tensors(y: Any) -> list[Tensor]:
    """The tensors of a condition: none for None, and several for a `Condition`."""
    return [] if y is None else [y] if isinstance(y, Tensor) else list(y.parts.values())


def no_gradients_message(who: str) -> str:
    """What to say where a derivative is asked of something that has none."""
    return (
        f"{who} gives no gradients with respect to x, which are asked of it (as guidances such as dps do): sample the "
        "run itself with backend 'eager', 'compile', 'channels-last' or 'bf16'"
    )


def _cause(error: BaseException) -> str:
    """The first line that says something, of the error at the root of a chain, or of ours in it."""
    while error.__cause__ is not None and not isinstance(error, SdekitError):
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def cache_folder(name: str) -> Path:
    """A folder that outlives the process: `name` in sdekit's part of the user's cache; made if it is missing.

    Others cannot write there, unlike to a shared temporary folder: what lies in it may be loaded as code.
    """
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "sdekit" / name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
