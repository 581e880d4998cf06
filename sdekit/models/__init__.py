"""Models: networks read as denoisers, their predictions and conditions, and noise-aware classifiers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
