"""A model without its Python: the network as a program of torch.export, an AOTInductor package or an ONNX graph.

`torch` and `aoti` files run what they hold, as any program does: open only those that you trust. `onnx` is data.
"""

from .folder import export_run, load_export
from .formats import FORMATS, Format

__all__ = ["FORMATS", "Format", "export_run", "load_export"]
