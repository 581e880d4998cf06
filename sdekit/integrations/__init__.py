"""sdekit's samplers in other programs: diffusers, ComfyUI, A1111, SD.Next and k-diffusion."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
