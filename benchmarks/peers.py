"""Deterministic solvers of other libraries with one interface, each on its own grids.

A peer is `solve(denoise, x, top, calls) -> x_0`. x is x_0 + top z, and `denoise(x, rho)` is the exact denoiser of
x_0 + rho z; the denoiser receives the noise levels of the library's scheduler. Libraries that cannot be imported are
skipped.
"""

from __future__ import annotations

import importlib.util
import logging
import math
import sys
import types
from collections.abc import Callable
from functools import partial
from importlib.machinery import ModuleSpec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sdekit import VP

Denoise = Callable[[Tensor, float], Tensor]
Solve = Callable[[Denoise, Tensor, float, int], Tensor]

LEAST = 0.002  # last noise level for libraries in which the user chooses it


class _Blank(types.ModuleType):
    """Stand-in for a module that is not needed: every attribute is another stand-in, and can be called."""

    __path__: list[str] = []

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = ModuleSpec(name, None)

    def __getattr__(self, name: str) -> _Blank:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Blank(f"{self.__name__}.{name}")

    def __call__(self, *_: Any, **__: Any) -> _Blank:
        return self


def importable() -> None:
    """Make k-diffusion and smalldiffusion importable with any version of torch.

    Both import torchvision, which often fails and is used on images only; the package of k-diffusion imports much more
    than its samplers.
    """
    for name in ("torchvision", "torchvision.transforms"):
        sys.modules.setdefault(name, _Blank(name))
    spec = importlib.util.find_spec("k_diffusion")
    if spec is not None and "k_diffusion" not in sys.modules:
        package = types.ModuleType("k_diffusion")
        package.__path__ = list(spec.submodule_search_locations or ())
        sys.modules["k_diffusion"] = package


def peers() -> tuple[dict[str, Solve], dict[str, str]]:
    """Return the solvers by name, and the reasons why libraries are missing, by library."""
    solvers: dict[str, Solve] = {}
    absent: dict[str, str] = {}
    importable()
    for name, load in (
        ("diffusers", _diffusers),
        ("k-diffusion", _k_diffusion),
        ("azula", _azula),
        ("smalldiffusion", _smalldiffusion),
    ):
        try:
            solvers |= {f"{name} {key}": solve for key, solve in load().items()}
        except Exception as error:  # libraries raise different errors when they are imported together
            absent[name] = f"{type(error).__name__}: {error}".splitlines()[0]
    return solvers, absent


def discrete_betas() -> NDArray[np.float32]:
    """Return 1,000 betas whose alpha-bar equals that of VP at t = i / 1000."""
    alpha2 = VP().alpha(torch.arange(1001, dtype=torch.float64) / 1000) ** 2
    return (1 - alpha2[1:] / alpha2[:-1]).numpy().astype(np.float32)


def _diffusers() -> dict[str, Solve]:
    """Return the schedulers of diffusers on `discrete_betas`."""
    import diffusers

    logging.getLogger("diffusers").setLevel(logging.ERROR)
    betas = discrete_betas()

    def solve(cls: Any, options: dict[str, Any], denoise: Denoise, x: Tensor, top: float, calls: int) -> Tensor:
        scheduler = cls(trained_betas=betas, **options)
        scheduler.set_timesteps((calls + 1) // 2 if "Heun" in cls.__name__ else calls)
        exploding = hasattr(scheduler, "init_noise_sigma") and float(scheduler.init_noise_sigma) > 1.5
        x = x if exploding else x / math.sqrt(1 + top**2)
        for i, t in enumerate(scheduler.timesteps):
            if hasattr(scheduler, "sigmas"):
                rho = float(scheduler.sigmas[i])
            else:
                rho = math.sqrt(1 / float(scheduler.alphas_cumprod[int(t)]) - 1)
            scaled = scheduler.scale_model_input(x, t) if exploding else x
            x_bar = scaled * math.sqrt(1 + rho**2)
            x = scheduler.step((x_bar - denoise(x_bar, rho)) / rho, t, x).prev_sample
        return x

    multistep, unipc = diffusers.DPMSolverMultistepScheduler, diffusers.UniPCMultistepScheduler
    deis = diffusers.DEISMultistepScheduler
    karras, lu = {"use_karras_sigmas": True}, {"use_lu_lambdas": True}
    table: dict[str, tuple[Any, dict[str, Any]]] = {
        "DDIM": (diffusers.DDIMScheduler, {"clip_sample": False, "timestep_spacing": "trailing"}),
        "Euler": (diffusers.EulerDiscreteScheduler, {}),
        "Euler karras": (diffusers.EulerDiscreteScheduler, karras),
        "Heun": (diffusers.HeunDiscreteScheduler, {}),
        "Heun karras": (diffusers.HeunDiscreteScheduler, karras),
        "DPM++2M lu, Euler last": (multistep, lu | {"euler_at_final": True}),
    }
    for order in (2, 3):
        table |= {
            f"{name}{' ' + spacing if spacing else ''}": (cls, {"solver_order": order} | options)
            for name, cls in ((f"DPM++{order}M", multistep), (f"UniPC{order}", unipc), (f"DEIS{order}", deis))
            for spacing, options in (("", {}), ("karras", karras), ("lu", lu))
            if not (spacing == "lu" and cls is not multistep)
        }
    return {name: partial(solve, cls, options) for name, (cls, options) in table.items()}


def _k_diffusion() -> dict[str, Solve]:
    """Return the samplers of k-diffusion on its Karras grid, which ends with a denoising."""
    import k_diffusion.sampling as sampling

    def solve(name: str, each: int, denoise: Denoise, x: Tensor, top: float, calls: int) -> Tensor:
        sigmas = sampling.get_sigmas_karras((calls + each - 1) // each, LEAST, top).double()
        result: Tensor = getattr(sampling, f"sample_{name}")(
            lambda x, sigma: denoise(x, float(sigma[0])), x, sigmas, disable=True
        )
        return result

    names = {"euler": 1, "heun": 2, "dpm_2": 2, "lms": 1, "dpmpp_2m": 1}
    return {name: partial(solve, name, each) for name, each in names.items()}


def azula_schedule(kind: str, top: float) -> Any:
    """Return azula's schedule "VE" or "decay", from the noise level top."""
    import azula.noise

    if kind == "VE":
        return azula.noise.VESchedule(LEAST, top)
    return azula.noise.DecaySchedule(alpha_min=1 / top, sigma_min=0.001)


def azula_denoiser(denoise: Denoise, schedule: Any) -> Any:
    """Return the exact denoiser with azula's interface."""
    import azula.denoise

    class Exact(azula.denoise.Denoiser):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.schedule = schedule

        def forward(self, x: Tensor, t: Tensor, **_: Any) -> Any:
            alpha, sigma = schedule(t)
            return azula.denoise.DiracPosterior(denoise(x / alpha, float(sigma / alpha)))

    return Exact()


def _azula() -> dict[str, Solve]:
    """Return the samplers of azula on two of its schedules; they stop at the last noise level."""
    import azula.sample

    def solve(
        cls: str, each: int, options: dict[str, Any], kind: str, denoise: Denoise, x: Tensor, top: float, calls: int
    ) -> Tensor:
        schedule = azula_schedule(kind, top)
        sampler = getattr(azula.sample, cls)(
            azula_denoiser(denoise, schedule), steps=calls // each, silent=True, dtype=torch.float64, **options
        )
        ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
        (last, first), _ = schedule(ends)
        result: Tensor = sampler(x * first) / last
        return result

    table: dict[str, tuple[str, int, dict[str, Any]]] = {
        "DDIM": ("DDIMSampler", 1, {}),
        "Heun": ("HeunSampler", 2, {}),
        **{f"{v}AB{o}": (f"{v}ABSampler", 1, {"order": o}) for v in ("z", "v", "xE") for o in (2, 3)},
        "REAB2": ("REABSampler", 1, {}),
    }
    return {
        f"{name} [{kind}]": partial(solve, cls, each, options, kind)
        for name, (cls, each, options) in table.items()
        for kind in ("VE", "decay")
    }


def _smalldiffusion() -> dict[str, Solve]:
    """Return the sampler of smalldiffusion with and without momentum."""
    import smalldiffusion  # noqa: F401  # raises now if it is not installed

    return {"DDIM": partial(smalldiffusion_solve, 1.0, 0.0), "gam=2": partial(smalldiffusion_solve, 2.0, 0.0)}


def smalldiffusion_solve(gam: float, mu: float, denoise: Denoise, x: Tensor, top: float, calls: int) -> Tensor:
    """Run the sampler of smalldiffusion on log-linear noise levels; it stops at the last one."""
    import smalldiffusion

    class Exact:
        """Exact denoiser with smalldiffusion's interface, also as its accelerator."""

        device = "cpu"

        def eval(self) -> None:
            """Do nothing; there is no training mode."""

        def rand_input(self, size: int) -> Tensor:
            """Return noise of shape (size, *shape)."""
            return torch.randn(size, *x.shape[1:], dtype=torch.float64)

        def predict_eps_cfg(self, x: Tensor, sigma: Any, *_: Any) -> Tensor:
            """Return the noise in x."""
            return (x - denoise(x, float(sigma))) / float(sigma)

    sigmas = smalldiffusion.ScheduleLogLinear(1000, LEAST, top).sample_sigmas(calls).double()
    sigmas[0] = top
    *_, last = smalldiffusion.diffusion.samples(Exact(), sigmas, gam=gam, mu=mu, xt=x, accelerator=Exact())
    result: Tensor = last
    return result
