"""Exported networks in the user's cache: written once for each network, code and machine."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from sdekit.backends import PreparedNetwork, cache_folder
from sdekit.errors import InputError, SdekitError
from sdekit.models import Condition
from sdekit.runs import staged

from .export_formats import machine
from .exported_model import format_of
from .traced_program import Inputs, program, quiet


class CachedExport:
    """A network run through an export format: `cached(x (B, *), c_noise (B,), y) -> (B, *)`, in float32.

    The exported file is read from `cache_folder("export")`, and written there if it does not exist. There is one file
    for y = None and one for each kind of y; a network whose code depends on the batch size has one for each size.

    Arguments:
        network: Network to export.
        form: A key of `FORMATS`.
        user: What needs the format, for the message about a missing package.
    Raises:
        InputError: If a package is missing; from a call, if x is not float32.
    """

    def __init__(self, network: nn.Module, form: str, *, user: str) -> None:
        self.network, self.form, self.format = network, form, format_of(form)
        self.format.check(user)
        self.prepared: dict[object, PreparedNetwork] = {}

    def __call__(self, x: Tensor, c_noise: Tensor, y: Tensor | Condition | None = None) -> Tensor:
        """Run the exported network on x (B, *), c_noise (B,) and y (B, ...) or None."""
        if isinstance(y, Condition):
            raise InputError(
                f"format {self.form!r} takes no condition of several parts: use backend 'eager' or 'compile'"
            )
        if x.dtype != torch.float32:
            raise InputError(f"format {self.form!r} computes in float32, and x is {x.dtype}: use backend 'eager'")
        kind = (x.shape[1:], x.device, None if y is None else (y.shape[1:], y.dtype))
        keys = (kind, (kind, len(x)))
        prepared = next((self.prepared[key] for key in keys if key in self.prepared), None)
        # Compiled programs do not read the strides of their inputs.
        x, c_noise, y = x.contiguous(), c_noise.contiguous(), None if y is None else y.contiguous()
        return (prepared or self._prepare(keys, (x, c_noise, y)))(x, c_noise, y)

    def _prepare(self, keys: tuple[object, object], inputs: Inputs) -> PreparedNetwork:
        """Read or write a file for any batch size, or for this size alone if the code of the network depends on it."""
        device = inputs[0].device
        folder, digest = cache_folder("export"), self._digest(device)
        names = [hashlib.sha256(f"{key} {digest}".encode()).hexdigest()[:32] + self.format.suffix for key in keys]
        index = next((i for i, name in enumerate(names) if (folder / name).exists()), None)
        if index is None:
            try:
                index, traced = 0, program(self.network, inputs)
            except SdekitError:
                index, traced = 1, program(self.network, inputs, fixed=True)
            self._write(traced, folder / names[index])
        with quiet():
            self.prepared[keys[index]] = self.format.read(folder / names[index], device)
        return self.prepared[keys[index]]

    def _write(self, traced: torch.export.ExportedProgram, path: Path) -> None:
        with staged(path.parent) as new, quiet():
            self.format.save(traced, new / path.name)

    def _digest(self, device: torch.device) -> str:
        """Checksum of all that determines the file: weights, attributes and source of every module, versions."""
        digest = hashlib.sha256(f"{self.form} {machine(device)} {self.network}".encode())
        sources = set()
        for module in self.network.modules():
            plain = {k: v for k, v in sorted(vars(module).items()) if isinstance(v, (bool, int, float, str, tuple))}
            digest.update(f"{type(module).__qualname__} {plain}".encode())
            sources.add(getattr(sys.modules.get(type(module).__module__), "__file__", None) or "")
        for source in sorted(filter(os.path.isfile, sources)):
            digest.update(Path(source).read_bytes())
        for name, tensor in self.network.state_dict().items():
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        return digest.hexdigest()
