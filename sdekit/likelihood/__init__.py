"""Likelihoods of a diffusion model: exact ones by the probability-flow ODE, variational bounds, and their uses."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
