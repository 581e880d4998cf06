from . import k_diffusion as k_diffusion
