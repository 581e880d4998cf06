"""Evaluation: errors of samplers against the exact solution of the probability flow."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
