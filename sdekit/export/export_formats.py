"""Formats of an exported network: how each is written, and how it is read and run."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sdekit.backends import PreparedNetwork
from sdekit.errors import InputError, SdekitError

LARGEST_PROTOBUF = 2**30
"""Largest size of weights in bytes for an ONNX graph in one file, because a protobuf is limited to 2 GiB."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """A file format for a network.

    Arguments:
        suffix: Suffix of its files.
        write: Function `write(program, path)`.
        read: Function `read(path, device)` that returns the network ready to run.
        code: Whether reading a file runs code from it.
        pinned: Whether a file works only with the torch version, device and kind of processor that it was made with.
        needs: Packages that only the extra `onnx` of sdekit installs; reading a file needs the first one.
    """

    suffix: str
    write: Callable[[torch.export.ExportedProgram, Path], None]
    read: Callable[[Path, torch.device], PreparedNetwork]
    code: bool
    pinned: bool = False
    needs: tuple[str, ...] = ()

    def check(self, user: str, *, writing: bool = True) -> None:
        """Check that the packages for this format are installed.

        Arguments:
            user: What needs the format, for the message.
            writing: Whether files will also be written.
        Raises:
            InputError: If a package is missing.
        """
        missing = [name for name in self.needs[: None if writing else 1] if find_spec(name) is None]
        if missing:
            raise InputError(f"{user} needs {' and '.join(missing)}: pip install 'sdekit[onnx]'")

    def save(self, program: torch.export.ExportedProgram, path: Path) -> None:
        """Write a program to a file.

        Arguments:
            program: The program.
            path: The file.
        Raises:
            SdekitError: If it cannot be written, for example because the disk is full.
        """
        try:
            self.write(program, path)
        except SdekitError:
            raise
        except Exception as error:  # the three libraries raise many types
            reason = next(iter(str(error).strip().splitlines()), "")
            raise SdekitError(f"could not write {path.name} ({type(error).__name__}: {reason[:300]})") from error


def _write_torch(program: torch.export.ExportedProgram, path: Path) -> None:
    torch.export.save(program, path)


def _read_torch(path: Path, device: torch.device) -> PreparedNetwork:
    from torch.export.passes import move_to_device_pass

    program = torch.export.load(path)  # may unpickle, so `code` is True and `load_export` requires trust
    return PreparedNetwork(call=move_to_device_pass(program, device).module())


def _write_aoti(program: torch.export.ExportedProgram, path: Path) -> None:
    from torch._inductor import aoti_compile_and_package

    aoti_compile_and_package(program, package_path=str(path))


def _read_aoti(path: Path, device: torch.device) -> PreparedNetwork:
    from torch._inductor import aoti_load_package

    package = aoti_load_package(str(path), device_index=_index(device))

    def run(x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        result: Tensor = package(x.contiguous(), c_noise.contiguous(), y)
        return result

    return PreparedNetwork(call=run, differentiable=False)


def _write_onnx(program: torch.export.ExportedProgram, path: Path) -> None:
    size = sum(tensor.numel() * tensor.element_size() for tensor in program.state_dict.values())
    torch.onnx.export(
        program,
        (),
        path,
        input_names=["x", "c_noise", "y"],
        output_names=["output"],
        dynamo=True,
        verbose=False,
        external_data=size > LARGEST_PROTOBUF,
    )


def _read_onnx(path: Path, device: torch.device) -> PreparedNetwork:
    import onnxruntime

    provider = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}.get(device.type)
    if provider not in onnxruntime.get_available_providers():
        raise InputError(
            f"ONNX Runtime cannot use {device} here (it has {', '.join(onnxruntime.get_available_providers())}): "
            "pip install onnxruntime-gpu for CUDA, or use --device cpu"
        )
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    settings.log_severity_level = 3
    options = {"device_id": device.index or 0} if device.type == "cuda" else {}
    session = onnxruntime.InferenceSession(os.fspath(path), settings, providers=[(provider, options)])
    names = [field.name for field in session.get_inputs()]

    def run(x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        inputs = {"x": x, "c_noise": c_noise} | ({} if y is None else {"y": y})
        arrays: dict[str, Any] = {name: inputs[name].detach().cpu().numpy() for name in names if name in inputs}
        (result,) = session.run(None, arrays)
        return torch.from_numpy(result).to(x.device)

    return PreparedNetwork(call=run, differentiable=False)


FORMATS = {
    "torch": Format(suffix=".pt2", write=_write_torch, read=_read_torch, code=True),
    "aoti": Format(suffix=".pt2", write=_write_aoti, read=_read_aoti, code=True, pinned=True),
    "onnx": Format(
        suffix=".onnx",
        write=_write_onnx,
        read=_read_onnx,
        code=False,
        needs=("onnxruntime", "onnx", "onnxscript"),
    ),
}
"""torch: a program of torch.export, which torch runs on any device. aoti: the same program compiled by AOTInductor to
native code, for one kind of machine. onnx: a graph for ONNX Runtime and other programs that read ONNX."""


def machine(device: torch.device) -> dict[str, str]:
    """Return the facts that a pinned format depends on.

    Arguments:
        device: Device that the network runs on.
    Returns:
        Version of torch, type of the device, and kind of processor.
    """
    on_gpu = device.type == "cuda"
    processor = torch.cuda.get_device_name(device) if on_gpu else torch.backends.cpu.get_cpu_capability()
    return {"torch": torch.__version__, "device": device.type, "processor": processor}


def _index(device: torch.device) -> int:
    """Return the index of a GPU, or -1 for the current one."""
    index: int | None = device.index
    return -1 if index is None else index
