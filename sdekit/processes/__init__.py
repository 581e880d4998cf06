"""Diffusion processes: two functions of time, alpha(t) and sigma(t), and what follows from them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
