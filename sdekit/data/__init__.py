"""Data sets: items by index in the units of the model, with labels or conditions, a split and an order."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
