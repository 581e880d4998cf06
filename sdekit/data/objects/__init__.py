"""Data sets from Python objects: arrays, tensors, lists, data sets of torch and of Hugging Face, and tables."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
