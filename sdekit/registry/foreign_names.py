"""Names of samplers and grids in other programs, and the component that does the same here."""

from __future__ import annotations

import re

from .component_parameters import unknown_name
from .kinds import kind_name

SAMPLERS = {
    # k-diffusion and ComfyUI
    "euler": "ddim",
    "euler-a": "euler-ancestral",
    "euler-cfg-pp": "ddim, with --guidance cfg++",
    "euler-ancestral-cfg-pp": "euler-ancestral, with --guidance cfg++",
    "dpm2": "dpm-2",
    "dpm-2-ancestral": "dpmpp-2s-ancestral, a second-order ancestral method in log-SNR",
    "dpm2-a": "dpmpp-2s-ancestral, a second-order ancestral method in log-SNR",
    "dpm-fast": "auto",
    "dpm-adaptive": "ode",
    "dpmpp-2s-a": "dpmpp-2s-ancestral",
    "dpmpp-2m-cfg-pp": "dpmpp-2m, with --guidance cfg++",
    "res-multistep": "sa-solver:tau=0,predictor=2,corrector=0",
    "res-2m": "sa-solver:tau=0,predictor=2,corrector=0",
    "seeds-2": "dpmpp-sde",
    "uni-pc": "unipc:variant=bh1",
    "uni-pc-bh2": "unipc:variant=bh2",
    "ipndm-v": "lms",
    "plms": "ipndm",
    "sa-solver-pece": "sa-solver",
    "lcm": "ddim:eta=1, for a model that is distilled to few steps",
    # diffusers
    "ddimscheduler": "ddim",
    "ddpmscheduler": "ddpm",
    "pndmscheduler": "ipndm",
    "ipndmscheduler": "ipndm",
    "eulerdiscretescheduler": "ddim",
    "flowmatcheulerdiscretescheduler": "ddim",
    "eulerancestraldiscretescheduler": "euler-ancestral",
    "heundiscretescheduler": "heun",
    "flowmatchheundiscretescheduler": "heun",
    "kdpm2discretescheduler": "dpm-2",
    "kdpm2ancestraldiscretescheduler": "dpmpp-2s-ancestral, a second-order ancestral method in log-SNR",
    "lmsdiscretescheduler": "lms",
    "dpmsolvermultistepscheduler": "dpmpp-2m",
    "dpmsolversinglestepscheduler": "dpmpp-2s",
    "dpmsolversdescheduler": "dpmpp-sde",
    "unipcmultistepscheduler": "unipc:order=2",
    "deismultistepscheduler": "deis",
    "sasolverscheduler": "sa-solver",
    "scoresdevescheduler": "pc",
    # EDM, score_sde, flow_matching, torchdiffeq
    "edm": "heun, or edm-stochastic with noise",
    "edm-sampler": "heun, or edm-stochastic with noise",
    "predictor-corrector": "pc",
    "ancestral": "ddpm",
    "langevin": "pc:corrector=langevin",
    "midpoint": "ode:method=midpoint",
    "rk4": "ode:method=rk4",
    "rk45": "ode",
    "dopri5": "ode",
    "dopri8": "ode:method=dopri8",
    "bosh3": "ode:method=bosh3",
    "flow-euler": "ddim",
}
"""Maps a name, in lower case with hyphens, to the value of --solver that does the same."""

GRIDS = {
    "exponential": "log-snr",
    "polyexponential": "karras",
    "edm": "karras",
    "normal": "uniform",
    "simple": "uniform",
    "sgm-uniform": "uniform",
    "ddim-uniform": "uniform",
    "linear": "uniform",
    "trailing": "uniform",
    "leading": "uniform",
    "linspace": "uniform",
    "lambdas": "log-snr",
    "flow": "shift",
    "sd3": "shift",
    "flux": "shift",
}
"""Maps the name of a schedule of noise levels elsewhere to a grid."""

PROCESSES = {
    "ddpm": "vp, or ddpm-linear with the 1,000 times of DDPM",
    "linear": "ddpm-linear",
    "scaled-linear": "ddpm-linear",
    "squaredcos-cap-v2": "ddpm-cosine",
    "vpsde": "vp",
    "subvpsde": "sub-vp",
    "subvp": "sub-vp",
    "vesde": "ve",
    "flow": "rectified-flow",
    "flow-matching": "rectified-flow",
    "ot": "rectified-flow",
    "cond-ot": "rectified-flow",
    "rf": "rectified-flow",
    "karras": "edm",
}
"""Maps the name of a process or noise schedule elsewhere to a process."""

OPERATORS = {
    "inpaint": "mask",
    "inpainting": "mask",
    "outpaint": "mask",
    "sr": "super-resolution",
    "superres": "super-resolution",
    "upscale": "super-resolution",
    "downsample": "super-resolution",
    "deblur": "blur",
    "gaussian-blur": "blur",
    "colorization": "grayscale",
    "colorize": "grayscale",
    "denoise": "identity",
    "denoising": "identity",
    "mri": "fourier-mask",
    "fourier": "fourier-mask",
    "ct": "radon",
    "tomography": "radon",
    "phase-retrieval": "phase",
    "linear": "matrix",
}
"""Maps the name of an inverse problem to its operator."""

GUIDANCES = {
    "classifier-free": "cfg",
    "classifier-free-guidance": "cfg",
    "cfgpp": "cfg++",
    "cfg-pp": "cfg++",
    "cfg-zero": "cfg-zero-star",
    "cfgzero": "cfg-zero-star",
    "auto-guidance": "autoguidance",
    "classifier-guidance": "classifier",
    "dynamic-thresholding": "threshold",
    "dynamic-threshold": "threshold",
    "clip-sample": "clip",
    "clip-denoised": "clip",
    "guidance-rescale": "rescale",
}
"""Maps the name of a guidance elsewhere to a guidance."""

EQUIVALENTS = {
    "sampler": SAMPLERS,
    "grid": GRIDS,
    "sde": PROCESSES,
    "operator": OPERATORS,
    "guidance": GUIDANCES,
}

SCHEDULES = {"karras": "karras", "exponential": "log-snr"}
"""Ends of a sampler's name that choose a schedule, as in `dpmpp_2m_karras`, and the grid."""


def equivalent(kind: str, name: str, installed: list[str]) -> str | None:
    """Return the component that does the same as a component of another program.

    Arguments:
        kind: Kind of the component, a key of `sdekit.registry.KINDS`.
        name: Its name there, in any common spelling: "DPM++ 2M Karras", "dpmpp_2m", "sample_dpmpp_2m".
        installed: Names of the components of this kind.
    Returns:
        The name here, with options if it needs some, or None if no equivalent is known.
    """
    plain = re.sub(r"[\s_]+", "-", name.strip().lower().replace("dpm++", "dpmpp").replace("dpm-pp", "dpmpp"))
    plain = plain.removesuffix("-gpu")
    if kind == "sampler":
        plain = plain.removeprefix("sample-")
        for end, grid in SCHEDULES.items():
            if plain.endswith(f"-{end}") and (same := equivalent(kind, plain.removesuffix(f"-{end}"), installed)):
                return f"{same}, with --grid {grid}"
    table = EQUIVALENTS.get(kind, {})
    for spelling in (plain, plain.replace("-", "")):
        if spelling in installed:
            return spelling
        if spelling in table:
            return table[spelling]
    return None


def unknown_component(kind: str, name: str, installed: list[str]) -> str:
    """Write the message for an unknown component: with its equivalent here, or a similar name.

    Arguments:
        kind: Kind of the component, a key of `sdekit.registry.KINDS`.
        name: The unknown name.
        installed: Names of the components of this kind.
    Returns:
        The message.
    """
    if same := equivalent(kind, name, installed):
        return f"no {kind_name(kind)} {name!r}; the equivalent in sdekit is {same}"
    return unknown_name(kind_name(kind), name, installed, "Installed")
