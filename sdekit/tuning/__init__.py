"""Tuning: time grids and coefficients fitted to one model and a number of network evaluations."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
