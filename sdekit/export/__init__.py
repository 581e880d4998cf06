"""Export a network to a program of torch.export, an AOTInductor package or an ONNX graph, without its Python code.

Opening a `torch` or `aoti` file runs code from the file: open only files that you trust. An `onnx` file is data.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
