"""Guidance: functions that change a denoiser, their composition, and the context of the sampling run."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
