"""A model without its Python: the network as a program of torch.export, an AOTInductor package or an ONNX graph.

`torch` and `aoti` files run what they hold, as any program does: open only those that you trust. `onnx` is data.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
