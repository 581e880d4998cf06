"""Distributions whose denoiser, score and density are known in closed form at every t."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
