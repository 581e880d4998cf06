"""An exported network in the user's cache: made once for its weights, code and machine."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from sdekit.backends import PreparedNetwork, cache_folder
from sdekit.errors import InputError, SdekitError
from sdekit.models import Condition

from .export_formats import machine
from .exported_run import format_of
from .traced_program import Inputs, program, quiet


class Cached:
    """A network run through one of the export formats: `cached(x (B, *), c_noise (B,), y) -> (B, *)`, float32.

    Its file, one for y = None and one for each kind of y (for each batch size too, if that is all that the network's
    code allows), is looked for in `cache_folder("export")` and else written
    there. Raises InputError at once where a package is missing, saying that `who` needs it, and later for x that is not
    float32.
    """

    def __init__(self, network: nn.Module, form: str, *, who: str) -> None:
        self.network, self.form, self.format = network, form, format_of(form)
        self.format.check(who)
        self.runners: dict[object, PreparedNetwork] = {}

    def __call__(self, x: Tensor, c_noise: Tensor, y: Tensor | Condition | None = None) -> Tensor:
        """x (B, *), c_noise (B,), y (B, ...) or None, to (B, *)."""
        if isinstance(y, Condition):
            raise InputError(
                f"format {self.form!r} takes no condition of several parts: use backend 'eager' or 'compile'"
            )
        if x.dtype != torch.float32:
            raise InputError(f"format {self.form!r} computes in float32, and x is {x.dtype}: use backend 'eager'")
        kind = (x.shape[1:], x.device, None if y is None else (y.shape[1:], y.dtype))
        keys = (kind, (kind, len(x)))
        runner = next((self.runners[key] for key in keys if key in self.runners), None)
        return (runner or self._made(keys, (x, c_noise, y)))(x, c_noise, y)

    def _made(self, keys: tuple[object, object], inputs: Inputs) -> PreparedNetwork:
        """For any batch size, or for this one alone where the network's code depends on it."""
        device = inputs[0].device
        folder, digest = cache_folder("export"), self._digest(device)
        names = [hashlib.sha256(f"{key} {digest}".encode()).hexdigest()[:32] + self.format.suffix for key in keys]
        found = next((i for i, name in enumerate(names) if (folder / name).exists()), None)
        if found is None:
            try:
                found, made = 0, program(self.network, inputs)
            except SdekitError:
                found, made = 1, program(self.network, inputs, fixed=True)
            self._write(made, folder / names[found])
        with quiet():
            self.runners[keys[found]] = self.format.read(folder / names[found], device)
        return self.runners[keys[found]]

    def _write(self, made: torch.export.ExportedProgram, path: Path) -> None:
        """Under another name first: two processes may do it at once."""
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            partial = Path(folder) / path.name
            with quiet():
                self.format.write(made, partial)
            os.replace(partial, path)

    def _digest(self, device: torch.device) -> str:
        """Of all that decides what is written: weights, plain attributes and source of every module, versions."""
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
