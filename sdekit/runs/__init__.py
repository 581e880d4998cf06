"""Run folders: file names, atomic and checksummed files, locks, the recipe, and loading."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
