"""Data sets, which return items by index in the units of the model, and functions that split and order the items."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
