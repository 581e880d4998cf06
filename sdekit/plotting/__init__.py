"""Pictures of samples of every kind, and plots of measurements, as Pillow images or PNG files."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
