"""Guidance by an energy: any differentiable function."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, Literal

import torch
from torch import Tensor

from sdekit.distributions import GaussianMixture
from sdekit.errors import InputError, SdekitError
from sdekit.guidance import require_finite, tilt
from sdekit.processes import SDE, Denoiser, broadcast

LARGEST_RHO = 100.0  # a network's Jacobian is no good above; by then x_0 is hardly more than a mean


def energy(
    sde: SDE,
    denoise: Denoiser,
    *,
    function: str | Callable[..., Tensor] = "",
    scale: float = 1.0,
    through: Literal["network", "x0", "xt"] = "network",
    data_std: float = 1.0,
) -> Denoiser:
    """Samples of p(x_0) exp(-scale E(x_0)): D - scale C grad E(D), C about the covariance of x_0 given x_t.

    function: E, from x_0 (B, *) in the model's units to (B,), differentiable: a function, or "module:name" to import
    one. scale: 0 is the model as it is; negative seeks a high E. through: "network" takes C = sigma^2 / alpha dD/dx by
    a backward pass, exact for linear E and Gaussian data; "x0" takes the variance of x_0 were the data Gaussian with
    standard deviation data_std, one number, without a backward pass; "xt" has E of the noisy x_t, E(x_t, t), and
    multiplies the density of x_t, exactly. data_std: of the data in the model's units, > 0, for "x0". One network
    call. Source: Song et al. 2023 ("Loss-guided diffusion models for plug-and-play controllable generation"), eq. 8-9,
    without their noise around x_0; "x0" as in He et al. 2023 (MPGD).
    """
    require_finite("energy", scale=scale)
    if not data_std > 0:
        raise InputError(f"energy: data_std must be positive, got {data_std}")
    measure = _measured(_imported(function) if isinstance(function, str) else function)

    def guided(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        if scale == 0:
            return denoise(x, t, y)
        if through == "xt":
            return denoise(x, t, y) + tilt(sde, x, t, lambda z, u: -scale * measure(z, u))
        if through == "x0":
            x0 = denoise(x, t, y)
            with torch.enable_grad():
                leaf = x0.detach().requires_grad_()
                (slope,) = torch.autograd.grad(measure(leaf).sum(), leaf)
            alpha, sigma = sde.alpha(t), sde.sigma(t)
            variance = (data_std * sigma) ** 2 / ((data_std * alpha) ** 2 + sigma**2)
            return x0 - broadcast(scale * variance, x0) * slope
        kept = []

        def log_weight(z: Tensor, u: Tensor) -> Tensor:
            kept.append(denoise(z, u, y))
            if not kept[0].requires_grad:
                raise InputError(
                    "energy: the network gives no gradients with respect to x: choose the backend eager, or through=x0"
                )
            return -scale * measure(kept[0])

        gain = tilt(sde, x, t, log_weight, largest_rho=LARGEST_RHO)
        return kept[0].detach() + gain

    return guided


def _imported(name: str) -> Callable[..., Tensor]:
    module, _, path = name.partition(":")
    if not module or not path:
        raise InputError(f"energy: say which function: function=module:name, got {name!r}")
    try:
        found: Callable[..., Tensor] = getattr(import_module(module), path)
    except (Exception, SystemExit) as error:  # a module may raise anything while it is imported
        raise InputError(
            f"energy: {name!r} cannot be imported ({type(error).__name__}: {error}): name an installed module, or "
            "write a plugin (--plugin FILE)"
        ) from error
    if not callable(found):
        raise InputError(f"energy: {name!r} is no function but a {type(found).__name__}")
    return found


def _measured(function: Callable[..., Any]) -> Callable[..., Tensor]:
    """The function; InputError, naming it, where it raises or what it returns has no gradient."""
    name = getattr(function, "__name__", type(function).__name__)

    def measure(x: Tensor, *time: Tensor) -> Tensor:
        try:
            value = function(x, *time)
        except (SdekitError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # a function of somebody's may raise anything
            raise InputError(
                f"energy: function {name} failed on x {tuple(x.shape)} {x.dtype}: {type(error).__name__}: {error}"
            ) from error
        if not (isinstance(value, Tensor) and value.requires_grad):
            what = "a tensor without gradient" if isinstance(value, Tensor) else f"a {type(value).__name__}"
            raise InputError(
                f"energy: function {name} returned {what}: compute E, (B,), from x, (B, *), by functions of torch"
            )
        result: Tensor = value
        return result

    return measure


def _trial(sde: SDE, mixture: GaussianMixture) -> Any:
    """A density of x_t times exp(-2 E), E linear: the score moves by a constant."""
    from sdekit.verify import Trial  # here, since drawing needs no checks

    base = mixture.denoiser(sde)

    def exact(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        return base(x, t, y) - broadcast(2 * sde.sigma(t) ** 2 / sde.alpha(t), x)

    return Trial({"function": lambda x, t: x.flatten(1).sum(1), "scale": 2.0, "through": "xt"}, exact)


energy.trial = _trial  # type: ignore[attr-defined]
