"""Diffusion processes, each defined by alpha(t) and sigma(t), and the `Denoiser` type."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
