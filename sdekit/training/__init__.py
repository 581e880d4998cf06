"""Training: the trainer, its plan, noise levels, optimizer, weight average and previews."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
