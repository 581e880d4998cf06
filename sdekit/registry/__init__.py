"""Registry of components: discovery of plugins, hooks, and the options of a component."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
