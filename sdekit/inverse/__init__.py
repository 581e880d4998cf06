"""Inverse problems: measurements, restoration from them, and the parts that restoration methods share."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
